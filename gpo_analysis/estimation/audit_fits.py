"""Every known loss fitted to a log: by weighted least squares where pairs were logged, through means of batches else.

What is evaluated at one β serves every scale and label smoothing of a family (`gpo_analysis.estimation.identify`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, ndtr

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.identify import Family, families
from gpo_analysis.estimation.loss_log import LossLog
from gpo_analysis.losses import MarginLoss
from gpo_analysis.progress import Progress, followed

LARGEST = 1e100
"""Of a column: weighted, squared and summed it still is a float. Losses that were logged are at most 3e38."""
_IPO = ("squared", "truncated_quadratic")
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


@dataclass(frozen=True)
class Fitted:
    """One loss fitted to a log.

    Attributes
    ----------
    loss, reduction : str
    beta, scale : float
    smoothing : str or None
    label_smoothing : float
    error : float
        Standard error of log β.
    chi : float
        Sum of squared residuals in units of the noise that rounding explains.
    log_noise : float
        Sum of the logarithms of that noise.
    parameters : int
    residuals : array, shape (m,)
        In units of that noise.
    rms : float
        Their size in the loss's own unit.
    parameters_of_loss : tuple of (str, float)
        Those of a loss of two log-ratios, by their names in the catalogue.
    likelihood : str
        Of rpo and sft: which likelihood of the chosen, "" elsewhere.
    """

    loss: str
    reduction: str
    beta: float
    scale: float
    smoothing: str | None
    label_smoothing: float
    error: float
    chi: float
    log_noise: float
    parameters: int
    residuals: FloatArray
    rms: float = 0.0
    parameters_of_loss: tuple[tuple[str, float], ...] = ()
    likelihood: str = ""


def within_floats(*columns: FloatArray) -> bool:
    """Whether columns can be fitted: what grows like exp(−z) leaves the floats at a β that is tried and not its own.

    Examples
    --------
    >>> within_floats(np.array([0.5, 1e99])), within_floats(np.array([1.0]), np.array([1e101, np.nan]))
    (True, False)
    """
    return all(bool(np.all(np.abs(column) <= LARGEST)) for column in columns)


def least_squares(design: FloatArray, target: FloatArray) -> FloatArray:
    """Coefficients of columns, shape (c,), that are first brought to one size: one near 1e100 does not hide another.

    Parameters
    ----------
    design : array, shape (m, c)
        Within floats, as :func:`within_floats` has it.
    target : array, shape (m,)

    Examples
    --------
    >>> design = np.array([[1e90, 1.0], [2e90, 1.0], [3e90, 1.0]])
    >>> least_squares(design, design @ [2e-90, 0.5]) * [1e90, 1.0]
    array([2. , 0.5])
    """
    sizes = np.maximum(np.abs(design).max(axis=0), 1e-300)
    coefficients, *_ = np.linalg.lstsq(design / sizes, target, rcond=None)
    return np.asarray(coefficients / sizes)


def pair_fits(
    log: LossLog, free: bool, progress: bool | Progress = False, offered: Sequence[MarginLoss] = ()
) -> Iterator[Fitted]:
    """Every candidate for a log of pairs.

    Parameters
    ----------
    log : LossLog
    free : bool
        Whether the scale of the loss is fitted, too, and not one of those that libraries use.
    progress : bool or function
    offered : sequence of MarginLoss
        Losses that are tried beside the known ones.
    """
    for reduction in log.pairs.reductions:
        rho = log.pairs.rho(reduction)
        noise = log.noise
        if reduction == "means":
            assert log.pairs.chosen_length is not None
            assert log.pairs.rejected_length is not None
            noise = noise / np.minimum(log.pairs.chosen_length, log.pairs.rejected_length)
        for family in followed(families(offered), progress, f"losses, token {reduction}"):
            fit = _PairFit(log, family, rho, noise)
            for scale in ("free",) if free else ("one", "ipo", "quarter") if family.name in _IPO else ("one",):
                for smoothed in (True,) if family.name == "exo" else (False, True):
                    found = fit(reduction, scale, smoothed)
                    if found is not None:
                        yield found


class _PairFit:
    """Fits of one family to a log of pairs: what is evaluated at a β serves every scale and smoothing."""

    def __init__(self, log: LossLog, family: Family, rho: FloatArray, noise: FloatArray) -> None:
        self.log, self.family, self.rho = log, family, rho
        self.counts = np.bincount(log.group).astype(np.float64)
        coarse = (np.abs(rho) * 2.0**-7) ** 2 / 12 if log.coarse else 0.0
        self.variance = noise**2 + coarse
        self.grid = np.log(np.logspace(-2.5, 2.5, 61) / (float(np.quantile(np.abs(rho), 0.9)) or 1.0))
        self.kept: dict[float, tuple[FloatArray, FloatArray]] = {}

    def columns(self, log_beta: float) -> tuple[FloatArray, FloatArray]:
        """The family's functions as means of groups, (m, c), and their slopes in ρ at each row, (k, c)."""
        if log_beta not in self.kept:
            beta, step = math.exp(log_beta), 1e-4
            z = beta * self.rho
            with np.errstate(all="ignore"):
                at = self._functions(z)
                slope = (self._functions(z + step) - self._functions(z - step)) / (2 * step) * beta
            mean = np.stack([np.bincount(self.log.group, c) for c in at.T], -1) / self.counts[:, None]
            self.kept[log_beta] = mean, slope
        return self.kept[log_beta]

    def _functions(self, z: FloatArray) -> FloatArray:
        """The family's functions, (k, c); of pairs with soft labels p those of z by p, and of −z by 1 − p."""
        p = self.log.label
        if p is None:
            return self.family.columns(z)
        won, lost = (np.where(w[:, None] > 0, w[:, None] * self.family.columns(x), 0) for w, x in ((p, z), (1 - p, -z)))
        return won + lost

    def at(self, log_beta: float, scale: str, smoothed: bool) -> tuple[float, float, FloatArray, FloatArray] | None:
        """χ², Σ log noise, residuals in units of noise, coefficients, at one β."""
        mean, slope = self.columns(log_beta)
        if not within_floats(mean, slope):
            return None
        size = self._size(log_beta, scale)
        coefficients = self._start(mean, size, smoothed)
        weight = np.ones(len(mean))
        for _ in range(3):  # the noise depends on the slope of the loss, and that on the coefficients
            spread = (slope[:, : len(coefficients)] @ coefficients) ** 2 * self.variance
            noise = np.sqrt(self.log.loss_noise**2 + np.bincount(self.log.group, spread) / self.counts**2)
            weight = 1 / np.maximum(noise, 1e-12)
            found = self._solve(mean, weight, size, smoothed)
            if found is None:
                return None
            coefficients = found
        residuals = (mean[:, : len(coefficients)] @ coefficients - self.log.loss) * weight
        return float(residuals @ residuals), float(-np.log(weight).sum()), residuals, coefficients

    def _start(self, mean: FloatArray, size: float | None, smoothed: bool) -> FloatArray:
        if self.family.name == "exo":
            return np.array([1.0, -2.0, 2.3])
        return np.array([size or 1.0, 0.0]) if smoothed else np.array([size or 1.0])

    def _solve(self, mean: FloatArray, weight: FloatArray, size: float | None, smoothed: bool) -> FloatArray | None:
        target = self.log.loss * weight
        if self.family.name == "exo":
            return self._exo(mean, weight, target, size)
        f = mean[:, 0] * weight
        if not smoothed:
            return np.array([size if size is not None else float(f @ target) / max(float(f @ f), 1e-300)])
        if size is None:
            both = least_squares(mean[:, :2] * weight[:, None], target)
        else:
            turn = mean[:, 1] * weight - f
            b = float(turn @ (target - size * f)) / max(float(turn @ turn), 1e-300)
            both = np.array([size - b, b])
        total = float(both.sum())
        return (
            np.asarray(both, dtype=np.float64)
            if total > 0 and both[1] < 0.499 * total and abs(both[1]) > 0.005 * total
            else None
        )

    def _exo(self, mean: FloatArray, weight: FloatArray, target: FloatArray, size: float | None) -> FloatArray | None:
        """One number ε: −H − σ log(1−ε) − (1−σ) log ε is −H + (σ)·logit ε − log ε, found on a grid and refined."""
        scale = 1.0 if size is None else size

        def coefficients(log_epsilon: float) -> FloatArray:
            e = math.exp(log_epsilon)
            return scale * np.array([1.0, log_epsilon - math.log1p(-e), -log_epsilon])

        def height(log_epsilon: float) -> float:
            return float((((mean @ coefficients(log_epsilon)) * weight - target) ** 2).sum())

        found = minimize_scalar(height, bounds=(math.log(1e-5), math.log(0.49)), method="bounded")
        return coefficients(float(found.x))

    def __call__(self, reduction: str, scale: str, smoothed: bool) -> Fitted | None:
        """The best β: from a grid by χ² in units of the loss's own spread, then by likelihood."""
        heights = np.array([self._rough(log_beta, scale, smoothed) for log_beta in self.grid])
        if not np.isfinite(heights).any():
            return None
        log_beta, around = float(self.grid[int(np.nanargmin(heights))]), float(self.grid[1] - self.grid[0])
        for height, width in ((self._rough, around), (self._height, 0.02)):
            found = minimize_scalar(
                lambda x, height=height: min(height(float(x), scale, smoothed), 1e300),
                bounds=(log_beta - width, log_beta + width), method="bounded", options={"xatol": 1e-7, "maxiter": 60},
            )  # fmt: skip
            if found.fun <= height(log_beta, scale, smoothed):
                log_beta = float(found.x)
        at = self.at(log_beta, scale, smoothed)
        if at is None:
            return None
        chi, log_noise, residuals, coefficients = at
        d = 1e-4
        beside = [self._height(log_beta + sign * d, scale, smoothed) for sign in (-1, 1)]
        curvature = (sum(beside) - 2 * self._height(log_beta, scale, smoothed)) / d**2
        error = 1 / math.sqrt(curvature / 2) if curvature > 1e-8 else math.inf
        read = _read(self.family.name, coefficients)
        parameters = 1 + int(smoothed) + int(scale == "free")
        return Fitted(
            self.family.name, reduction, math.exp(log_beta), *read, error, chi, log_noise, parameters, residuals
        )

    def _rough(self, log_beta: float, scale: str, smoothed: bool) -> float:
        """Squared residuals relative to 0.1 + |loss|: smooth where the likelihood's valley is narrow."""
        mean, _ = self.columns(log_beta)
        if not within_floats(mean):
            return math.inf
        weight = 1 / (0.1 * float(np.median(np.abs(self.log.loss))) + np.abs(self.log.loss) + 1e-12)
        coefficients = self._solve(mean, weight, self._size(log_beta, scale), smoothed)
        if coefficients is None:
            return math.inf
        residuals = (mean[:, : len(coefficients)] @ coefficients - self.log.loss) * weight
        return float(np.minimum(residuals @ residuals, 1e200))

    @staticmethod
    def _size(log_beta: float, scale: str) -> float | None:
        return {"one": 1.0, "ipo": math.exp(-2 * log_beta), "quarter": 0.25, "free": None}[scale]

    def _height(self, log_beta: float, scale: str, smoothed: bool) -> float:
        at = self.at(log_beta, scale, smoothed)
        return math.inf if at is None else at[0] + 2 * at[1]


def _read(name: str, coefficients: FloatArray) -> tuple[float, str | None, float]:
    """Scale, smoothing and ε."""
    if name == "exo":
        return float(coefficients[0]), "exo", float(expit(coefficients[1] / coefficients[0]))
    scale = float(coefficients.sum())
    if len(coefficients) == 1:
        return scale, None, 0.0
    share = float(coefficients[1]) / scale
    return (scale, "smoothed", share) if share > 0 else (scale, "robust", share / (2 * share - 1))


def mean_fits(log: LossLog, progress: bool | Progress = False, offered: Sequence[MarginLoss] = ()) -> Iterator[Fitted]:
    """Means over batches: the pairs' margins taken as normal about their mean, of variance c₀ + c₁ mean².

    The shares of positive margins say how wide, where they were logged. β is that of the logged margins: 1, or 2 for
    the squared loss of the libraries, whose scale is then free.

    Parameters
    ----------
    log : LossLog
        Of means.
    progress : bool or function
    offered : sequence of MarginLoss
        Losses that are tried beside the known ones.
    """
    m = log.pairs.chosen
    for family in followed(families(offered), progress, "losses"):
        ways = [(1.0, False, False)]
        if family.name == "exo":
            continue
        ways += [(1.0, True, False)]
        if family.name in _IPO:
            ways += [(2.0, False, True)]
        for beta, smoothed, free in ways:
            found = _mean_fit(log, family, m, beta, smoothed, free)
            # less cannot be told from the shape of a batch's margins; more makes losses of two log-ratios look like one
            if not smoothed or 0.02 < found.label_smoothing <= 0.3:
                yield found


def pairs_a_row(accuracy: FloatArray | None) -> int:
    """The least number of pairs of which all the shares are shares; 16 where that cannot be seen."""
    if accuracy is None:
        return 16
    for count in range(2, 1025):
        if np.all(np.abs(accuracy * count - np.round(accuracy * count)) <= 1e-4 * count):
            return count
    return 16


def _mean_fit(log: LossLog, family: Family, m: FloatArray, beta: float, smoothed: bool, free: bool) -> Fitted:
    wide = max(float(np.abs(m).max()), 1e-3)

    count = pairs_a_row(log.accuracy)

    def parts(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        sd = np.sqrt(np.exp(x[0]) + np.exp(x[1]) * m**2)
        z = beta * (m[:, None] + sd[:, None] * _NODES)
        with np.errstate(all="ignore"):
            columns = family.columns(z.reshape(-1))[:, :2].reshape(*z.shape, 2)
        mean = np.einsum("tnc,n->tc", columns, _WEIGHTS) / _WEIGHTS.sum()
        f = columns[..., 0] - mean[:, None, 0]
        along = np.einsum("tn,n->t", f * _NODES, _WEIGHTS) / _WEIGHTS.sum()  # what the batch's mean margin says of f
        spread = np.einsum("tn,n->t", (f - along[:, None] * _NODES) ** 2, _WEIGHTS) / _WEIGHTS.sum()
        if free:
            spread = spread * (log.loss / np.maximum(mean[:, 0], 1e-12)) ** 2
        floor = 0.004 * (np.abs(log.loss) + 0.1 * float(np.median(np.abs(log.loss))))
        weight = 1 / np.sqrt(log.loss_noise**2 + log.noise**2 + floor**2 + 1.5 * spread / count)
        off = np.zeros(0)
        if log.accuracy is not None:
            off = (log.accuracy - ndtr(m / np.maximum(sd, 1e-9))) / math.sqrt(0.25 / count + 0.03**2)
        return mean, weight, off

    def solve(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        mean, weight, off = parts(x)
        target, f = log.loss * weight, mean[:, 0] * weight
        if free:
            coefficients = np.array([float(f @ target) / max(float(f @ f), 1e-300), 0.0])
        elif smoothed:
            turn = mean[:, 1] * weight - f
            b = float(turn @ (target - f)) / max(float(turn @ turn), 1e-300)
            b = min(max(b, -2.0), 0.45)
            coefficients = np.array([1 - b, b])
        else:
            coefficients = np.array([1.0, 0.0])
        return mean @ coefficients * weight - target, coefficients, weight, off

    def height(x: FloatArray) -> float:
        residuals, _, weight, off = solve(np.clip(x, -20, 6))
        total = float(residuals @ residuals + off @ off) - 2 * float(np.log(weight).sum())
        return total if math.isfinite(total) else 1e12

    starts = [np.array([2 * math.log(wide) + a, b]) for a, b in ((-6.0, -4.0), (-2.0, -1.0), (0.0, 0.5))]
    found = min(
        (minimize(height, x, method="Nelder-Mead", options={"maxiter": 60}) for x in starts), key=lambda r: r.fun
    )
    residuals, coefficients, weight, off = solve(np.clip(found.x, -20, 6))
    read = _read(family.name, coefficients if smoothed else np.array([coefficients.sum()]))
    residuals = np.nan_to_num(residuals, nan=1e6, posinf=1e6, neginf=-1e6)
    chi = float(residuals @ residuals + off @ off)
    return Fitted(
        family.name, "sums", beta, *read, 0.0, chi if math.isfinite(chi) else 1e12, float(-np.log(weight).sum()),
        2 + int(smoothed) + int(free), residuals, float(np.sqrt(np.mean((residuals / weight) ** 2))),
    )  # fmt: skip
