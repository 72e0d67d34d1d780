"""Every known loss fitted to a log of pairs by weighted least squares.

What is evaluated at one β serves every scale and label smoothing of a family (`gpo_analysis.estimation.identify`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.identify import Family, families
from gpo_analysis.estimation.loss_log import LossLog
from gpo_analysis.losses import MarginLoss
from gpo_analysis.progress import Progress, followed

BETAS, SCALES = 5 * math.log(10), 5.0
"""Widths of log β and of the logarithm of a free scale before anything is known."""
LARGEST = 1e100
"""Of a column: weighted, squared and summed it still is a float. Losses that were logged are at most 3e38."""
IPO = ("squared", "truncated_quadratic")
"""What libraries scale by 1/β²."""


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
    weight : array, shape (m,), or None
        One over that noise; None of means over batches.
    directions : array, shape (m, parameters), or None
        By how much the fit moves where one of its parameters goes through all that was possible.
    of_two : bool
        Whether it is a loss of two log-ratios.
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
    weight: FloatArray | None = None
    directions: FloatArray | None = None
    of_two: bool = False


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
            for scale in ("free",) if free else ("one", "ipo", "quarter") if family.name in IPO else ("one",):
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

    def at(
        self, log_beta: float, scale: str, smoothed: bool
    ) -> tuple[float, float, FloatArray, FloatArray, FloatArray] | None:
        """χ², Σ log noise, residuals in units of noise, coefficients, one over that noise, at one β."""
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
        return float(residuals @ residuals), float(-np.log(weight).sum()), residuals, coefficients, weight

    def _directions(self, log_beta: float, coefficients: FloatArray, scale: str) -> FloatArray:
        """See :class:`Fitted`."""
        d, count = 1e-4, len(coefficients)
        mean, up, down = (self.columns(x)[0][:, :count] for x in (log_beta, log_beta + d, log_beta - d))
        of_beta = (up - down) @ coefficients / (2 * d)
        found = [BETAS * (of_beta - 2 * mean @ coefficients if scale == "ipo" else of_beta)]
        if self.family.name == "exo":
            e = float(expit(coefficients[1] / coefficients[0]))
            of_epsilon = mean @ (coefficients[0] * np.array([0.0, 1 / (1 - e), -1.0]))
            found.append(math.log(0.49 / 1e-5) * of_epsilon)
        elif count == 2:
            found.append(float(coefficients.sum()) * (mean[:, 1] - mean[:, 0]))  # of b/(a + b), from −½ to ½
        if scale == "free":
            found.append(SCALES * (mean @ coefficients))
        return np.stack(found, -1)

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
        chi, log_noise, residuals, coefficients, weight = at
        d = 1e-4
        beside = [self._height(log_beta + sign * d, scale, smoothed) for sign in (-1, 1)]
        curvature = (sum(beside) - 2 * self._height(log_beta, scale, smoothed)) / d**2
        error = 1 / math.sqrt(curvature / 2) if curvature > 1e-8 else math.inf
        read = read_coefficients(self.family.name, coefficients)
        parameters = 1 + int(smoothed) + int(scale == "free")
        return Fitted(
            self.family.name, reduction, math.exp(log_beta), *read, error, chi, log_noise, parameters, residuals,
            weight=weight, directions=self._directions(log_beta, coefficients, scale),
        )  # fmt: skip

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


def read_coefficients(name: str, coefficients: FloatArray) -> tuple[float, str | None, float]:
    """Scale, smoothing and ε.

    Parameters
    ----------
    name : str
        Of the family.
    coefficients : array, shape (1,), (2,) or (3,)
    """
    if name == "exo":
        return float(coefficients[0]), "exo", float(expit(coefficients[1] / coefficients[0]))
    scale = float(coefficients.sum())
    if len(coefficients) == 1:
        return scale, None, 0.0
    share = float(coefficients[1]) / scale
    return (scale, "smoothed", share) if share > 0 else (scale, "robust", share / (2 * share - 1))
