"""Which loss a run really trained: f, β, reduction and label smoothing from what it logged, or why that is undecided.

Every loss of the catalogue (and EXO), with and without label smoothing, over token sums and means, in the scales that
libraries give it, is fitted to the logged losses by weighted least squares; weights come from the rounding that the
columns show (bfloat16, or a number of decimals), passed on from the margin by the slope of the loss. Losses are then
compared by BIC, their noise inflated to what the best of them leaves. A loss is named where its share is at least 99 %
and its residuals show no pattern; where several losses fit, their set is the answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, ndtr
from scipy.stats import chi2

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.identify import Family, families
from gpo_analysis.estimation.loss_log import LossLog, read_loss_log

SURE = 0.99
"""Share of the evidence at which a loss is named."""
CLOSE = 0.05
"""Relative error of β beyond which it is not named."""
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


@dataclass(frozen=True)
class LossAudit:
    """What a log says of the loss that was trained.

    Attributes
    ----------
    undecided : str or None
        Why nothing is named; then the fields from `loss` to `label_smoothing` are None.
    loss : str or None
    beta : float or None
        GPO's β, z = β · `of`.
    reduction : str or None
        "sums" or "means" over tokens; None where only margins were logged.
    smoothing : str or None
    label_smoothing : float or None
    scale : float or None
        The logged loss is scale · f.
    confidence : float
        Share of the evidence of the loss named, or of the set.
    losses : tuple of str
        The losses that the log does not separate, the likeliest first.
    of : str
        "log-ratios" or "logged margins".
    """

    undecided: str | None
    loss: str | None
    beta: float | None
    reduction: str | None
    smoothing: str | None
    label_smoothing: float | None
    scale: float | None
    confidence: float
    losses: tuple[str, ...]
    of: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the answer, or ``undecided`` and the set of losses that fit."""
        if self.undecided is not None:
            return {"undecided": self.undecided, "losses": list(self.losses), "confidence": self.confidence}
        return {
            "loss": self.loss, "beta": self.beta, "reduction": self.reduction, "label_smoothing": self.label_smoothing,
            "confidence": self.confidence, "smoothing": self.smoothing, "scale": self.scale, "beta_of": self.of,
        }  # fmt: skip

    def __str__(self) -> str:
        if self.undecided is not None:
            return f"undecided: {self.undecided}"
        over = f" over token {self.reduction}" if self.reduction else ""
        smoothing = f", {self.smoothing}, ε = {self.label_smoothing:.3g}" if self.smoothing else ", no label smoothing"
        return (
            f"{self.loss} at β = {self.beta:.4g} of the {self.of}{over}{smoothing}; the logged loss is "
            f"{self.scale:.4g} times f (confidence {self.confidence:.3f})"
        )


def audit_log(log: str | Path | LossLog) -> LossAudit:
    """Name the loss that a run trained, from its log.

    Parameters
    ----------
    log : str, Path or LossLog
        A file as :func:`gpo_analysis.estimation.loss_log.read_loss_log` reads it, or what it returned.

    Returns
    -------
    LossAudit

    Raises
    ------
    ValueError
        For a file that cannot be read so.

    Examples
    --------
    >>> from gpo_analysis.estimation.loss_log import loss_log
    >>> margin = np.linspace(-2.5, 4.0, 60)
    >>> print(audit_log(loss_log({"margin": margin, "loss": np.maximum(0, 1 - margin)})))
    hinge at β = 1 of the logged margins, no label smoothing; the logged loss is 1 times f (confidence 1.000)
    """
    log = log if isinstance(log, LossLog) else read_loss_log(log)
    with np.errstate(all="ignore"):  # losses that grow like exp(−z) overflow at a β that is tried and is not theirs
        fitted = list(_means(log) if log.means else _pairs(log, free=False))
        if not log.means and not _explains(log, _best(fitted)):
            fitted += _pairs(log, free=True)
        return _decide(log, fitted)


def _best(fitted: list[Fitted]) -> Fitted:
    return min(fitted, key=lambda f: f.chi + 2 * f.log_noise + f.parameters * math.log(len(f.residuals)))


def _explains(log: LossLog, best: Fitted) -> bool:
    """Whether what is left has no pattern along the margin, judged by the means of ten bins against their spread."""
    if best.chi <= 1.5 * len(best.residuals):
        return True
    if log.means:  # the shape of the margins within a batch is not known, and its noise neither
        return best.chi <= 3 * len(best.residuals)
    rho = log.pairs.rho(best.reduction)
    middle = np.bincount(log.group, rho) / np.bincount(log.group)
    order = best.residuals[np.argsort(middle, kind="stable")]
    bins = [part for part in np.array_split(order, min(10, len(order) // 4)) if len(part)]
    within = sum(float(((part - part.mean()) ** 2).sum()) for part in bins) / max(len(order) - len(bins), 1)
    between = sum(len(part) * float(part.mean()) ** 2 for part in bins)
    return bool(chi2.sf(between / max(within, 1e-12), len(bins)) > 1e-6)


def _decide(log: LossLog, fitted: list[Fitted]) -> LossAudit:
    best = _best(fitted)
    count = len(best.residuals)
    if not _explains(log, best):
        why = f"no known loss explains the logged values (the nearest is {best.loss} at β = {best.beta:.4g})"
        return LossAudit(why, *[None] * 6, 0.0, (best.loss,), log.of)
    inflation = max(1.0, best.chi / max(count - best.parameters, 1)) * (4.0 if log.means else 1.0)
    evidence = np.array([-0.5 * (f.chi / inflation + 2 * f.log_noise + f.parameters * math.log(count)) for f in fitted])
    share = np.exp(evidence - evidence.max())
    share /= share.sum()
    kinds: dict[tuple[str, str], float] = {}
    for f, s in zip(fitted, share, strict=True):
        kinds[f.loss, f.reduction] = kinds.get((f.loss, f.reduction), 0.0) + float(s)
    likely = sorted((kind for kind, s in kinds.items() if s > 1 - SURE), key=lambda kind: -kinds[kind])
    losses = tuple(dict.fromkeys(loss for loss, _ in likely))
    total = sum(kinds[kind] for kind in likely)

    def undecided(why: str) -> LossAudit:
        return LossAudit(why, *[None] * 6, total, losses, log.of)

    rows = log.pairs.rho(likely[0][1])
    if len(losses) > 1:
        z = best.beta * rows
        return undecided(
            f"the log does not separate {', '.join(losses)}: margins reach from {z.min():.2g} to {z.max():.2g}"
        )
    if len(likely) > 1:
        return undecided(f"the log does not separate token sums from token means for {losses[0]}")
    of_kind = [(f, s) for f, s in zip(fitted, share, strict=True) if (f.loss, f.reduction) == likely[0]]
    alive = [f for f, s in of_kind if s > 0.01]
    chosen = max(of_kind, key=lambda item: item[1])[0]
    if chosen.error * math.sqrt(inflation) > CLOSE or any(abs(math.log(f.beta / chosen.beta)) > CLOSE for f in alive):
        return undecided(f"{losses[0]}, but the log does not separate its β from its label smoothing or scale")
    reduction = likely[0][1] if log.of == "log-ratios" else None
    return LossAudit(
        None, chosen.loss, chosen.beta, reduction, chosen.smoothing, chosen.label_smoothing, chosen.scale,
        kinds[likely[0]], losses, log.of,
    )  # fmt: skip


def _pairs(log: LossLog, free: bool) -> Iterator[Fitted]:
    """Every candidate; with a free scale only where those of the libraries do not explain the log."""
    for reduction in log.pairs.reductions:
        rho = log.pairs.rho(reduction)
        noise = log.noise
        if reduction == "means":
            lengths = np.minimum(log.pairs.chosen_length, log.pairs.rejected_length)  # type: ignore[type-var]
            noise = noise / np.asarray(lengths)
        for family in families():
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
                at = self.family.columns(z)
                slope = (self.family.columns(z + step) - self.family.columns(z - step)) / (2 * step) * beta
            mean = np.stack([np.bincount(self.log.group, c) for c in at.T], -1) / self.counts[:, None]
            self.kept[log_beta] = mean, slope
        return self.kept[log_beta]

    def at(self, log_beta: float, scale: str, smoothed: bool) -> tuple[float, float, FloatArray, FloatArray] | None:
        """χ², Σ log noise, residuals in units of noise, coefficients, at one β."""
        mean, slope = self.columns(log_beta)
        if not (np.isfinite(mean).all() and np.isfinite(slope).all()):
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
            both, *_ = np.linalg.lstsq(mean[:, :2] * weight[:, None], target, rcond=None)
        else:
            turn = mean[:, 1] * weight - f
            b = float(turn @ (target - size * f)) / max(float(turn @ turn), 1e-300)
            both = np.array([size - b, b])
        total = float(both.sum())
        return both if total > 0 and both[1] < 0.499 * total and abs(both[1]) > 0.005 * total else None

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
        if not np.isfinite(mean).all():
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


def _means(log: LossLog) -> Iterator[Fitted]:
    """Means over batches: the pairs' margins taken as normal about their mean, of variance c₀ + c₁ mean².

    The shares of positive margins say how wide, where they were logged. β is that of the logged margins: 1, or 2 for
    the squared loss of the libraries, whose scale is then free.
    """
    m = log.pairs.chosen
    for family in families():
        ways = [(1.0, False, False)]
        if family.name == "exo":
            continue
        ways += [(1.0, True, False)]
        if family.name in _IPO:
            ways += [(2.0, False, True)]
        for beta, smoothed, free in ways:
            yield _mean_fit(log, family, m, beta, smoothed, free)


def _pairs_a_row(accuracy: FloatArray | None) -> int:
    """The least number of pairs of which all the shares are shares; 16 where that cannot be seen."""
    if accuracy is None:
        return 16
    for count in range(2, 1025):
        if np.all(np.abs(accuracy * count - np.round(accuracy * count)) <= 1e-4 * count):
            return count
    return 16


def _mean_fit(log: LossLog, family: Family, m: FloatArray, beta: float, smoothed: bool, free: bool) -> Fitted:
    wide = max(float(np.abs(m).max()), 1e-3)

    pairs_a_row = _pairs_a_row(log.accuracy)

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
        weight = 1 / np.sqrt(log.loss_noise**2 + log.noise**2 + floor**2 + 1.5 * spread / pairs_a_row)
        off = np.zeros(0)
        if log.accuracy is not None:
            off = (log.accuracy - ndtr(m / np.maximum(sd, 1e-9))) / math.sqrt(0.25 / pairs_a_row + 0.03**2)
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
