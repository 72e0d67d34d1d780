"""The losses of two log-ratios fitted to a log that has both, by weighted least squares.

Each is scale · [F₀(a, b; p) + Σ wₖ Fₖ(a, b; p)], a = βh_w and b = βh_l, with at most one parameter p that is searched
beside β, and weights w that are solved for. Members that hold a margin loss as their case w = 0 (rpo, dpop, cal_dpo)
are tried from a least weight on: a margin loss is then never theirs, unless the log has no row that would tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.audit_fits import BETAS, SCALES, Fitted, least_squares, within_floats
from gpo_analysis.estimation.loss_log import Apart, LossLog
from gpo_analysis.progress import Progress, followed

Parts = Callable[[FloatArray, FloatArray, float], FloatArray]
_Column = tuple[FloatArray, FloatArray]  #: −log π as means of groups, and its noise
LIKELIHOODS = ("log π/πref", "log π", "log π a token")
"""What the likelihood of rpo and sft may be over: the last is the mean over all tokens of the rows of one loss."""
_STEP = 1e-4
_ALWAYS_FINITE = 1e200


@dataclass(frozen=True)
class TwoRatioFamily:
    """A loss of two log-ratios as a combination that is linear in its weights.

    Attributes
    ----------
    name : str
        Of the catalogue.
    parts : callable
        (a, b, p) → (k, c): what β and p shape; the first has coefficient 1 where `base`, the others their weights.
    parameter : str
        The name of p, "" without one.
    grid : array
        Where p is searched; for tau, which sets targets ±1/(2 tau) of a and b, βp in units of 1 over the log-ratios.
    weights : tuple of (str, float, float)
        Name, least and largest value of each weight.
    base : bool
    scales : tuple of str
        "one"; "ipo": divided by β²; "free".
    """

    name: str
    parts: Parts
    parameter: str = ""
    grid: FloatArray | None = None
    weights: tuple[tuple[str, float, float], ...] = ()
    base: bool = True
    scales: tuple[str, ...] = ("one",)


def _softplus(u: FloatArray) -> FloatArray:
    return np.asarray(np.logaddexp(0, u))


def _columns(*parts: FloatArray) -> FloatArray:
    return np.stack(parts, axis=-1)


_SHIFTS = np.linspace(-6, 6, 25)

FAMILIES = (
    TwoRatioFamily("nca_pair", lambda a, b, p: _columns(_softplus(-a) + 0.5 * _softplus(a) + 0.5 * _softplus(b))),
    TwoRatioFamily("bco_pair", lambda a, b, p: _columns(_softplus(-a) + _softplus(b))),
    TwoRatioFamily("bco_pair", lambda a, b, p: _columns(_softplus(p - a) + _softplus(b - p)), "shift", _SHIFTS),
    TwoRatioFamily("sppo_hard", lambda a, b, p: _columns((a - 0.5) ** 2 + (b + 0.5) ** 2), scales=("one", "ipo")),
    TwoRatioFamily("apo_zero", lambda a, b, p: _columns(expit(-a) + expit(b)), scales=("one", "free")),
    TwoRatioFamily("apo_down", lambda a, b, p: _columns(expit(a) + expit(b - a))),
    TwoRatioFamily(
        "kto", lambda a, b, p: _columns(expit(p - a), expit(b - p)), "reference_point", np.linspace(0, 6, 25),
        (("desirable", 0.02, 100.0), ("undesirable", 0.02, 100.0)), base=False,
    ),
    TwoRatioFamily(
        "cal_dpo",
        lambda a, b, p: _columns(_softplus(b - a), (a - 0.5 / p) ** 2 + (b + 0.5 / p) ** 2),
        "tau", np.geomspace(0.01, 10.0, 31), (("weight", 0.01, 100.0),),
    ),
    TwoRatioFamily(
        "dpop", lambda a, b, p: _columns(_softplus(b - a + p * np.maximum(0, -a))),
        "penalty", np.geomspace(0.5, 200, 25),
    ),
    TwoRatioFamily("rpo", lambda a, b, p: _columns(_softplus(b - a), -a), weights=(("weight", 0.02, 1e4),)),
)  # fmt: skip
"""What is tried; sft, and rpo with the likelihood of columns of its own, beside them."""
_POSITIVE_PARAMETERS = ("tau", "penalty")
_STARTS = 3


def two_ratio_fits(log: LossLog, free: bool, progress: bool | Progress = False) -> Iterator[Fitted]:
    """Every loss of two log-ratios fitted to a log of pairs that has both; none where it has not.

    Parameters
    ----------
    log : LossLog
    free : bool
        Whether the scale of the loss is fitted, too.
    progress : bool or function
    """
    if log.apart is None:
        return
    for reduction in log.pairs.reductions:
        apart = _over(log, log.apart, reduction)
        of_policy = _likelihoods(log, reduction)
        extras: list[tuple[str, _Column | None]] = [("", None), *of_policy]
        for family in followed(FAMILIES, progress, f"losses of two log-ratios, token {reduction}"):
            for likelihood, column in extras if family.name == "rpo" else extras[:1]:
                for scale in ("free",) if free and family.base else family.scales:
                    found = _TwoFit(log, apart, family, scale, likelihood, column)(reduction)
                    if found is not None:
                        yield found
        yield from _likelihood_alone(log, apart, reduction, of_policy)


def _over(log: LossLog, apart: Apart, reduction: str) -> Apart:
    if reduction == "sums":
        return apart
    first, second = log.pairs.chosen_length, log.pairs.rejected_length
    assert first is not None
    assert second is not None
    return Apart(
        apart.chosen / first, apart.rejected / second, apart.chosen_noise / first, apart.rejected_noise / second
    )


def _likelihoods(log: LossLog, reduction: str) -> list[tuple[str, _Column]]:
    """−log π of the chosen as means of groups, and its noise, for each way that the columns allow."""
    apart = log.apart
    if apart is None or apart.policy is None or apart.policy_noise is None or reduction != "sums":
        return []
    counts = np.bincount(log.group)
    total = -np.bincount(log.group, apart.policy)
    noise = np.sqrt(np.bincount(log.group, apart.policy_noise**2))
    found = [(LIKELIHOODS[1], (total / counts, noise / counts))]
    if log.pairs.chosen_length is not None:
        tokens = np.bincount(log.group, log.pairs.chosen_length)
        found.append((LIKELIHOODS[2], (total / tokens, noise / tokens)))
    return found


class _TwoFit:
    """One family, at one scale, fitted to a log of pairs."""

    def __init__(
        self, log: LossLog, apart: Apart, family: TwoRatioFamily, scale: str, likelihood: str,
        column: _Column | None,
    ) -> None:  # fmt: skip
        self.log, self.family, self.scale = log, family, scale
        self.likelihood, self.column = likelihood, column
        self.h = apart.chosen, apart.rejected
        coarse = [(h * 2.0**-7) ** 2 / 12 if log.coarse else 0.0 for h in self.h]
        self.variances = apart.chosen_noise**2 + coarse[0], apart.rejected_noise**2 + coarse[1]
        self.counts = np.bincount(log.group).astype(np.float64)
        self.size = size = float(np.quantile(np.abs(np.concatenate(self.h)), 0.9)) or 1.0
        self.logs = np.log(np.geomspace(10.0**-2.5, 10.0**2.5, 61) / size)
        self.positive = family.parameter in _POSITIVE_PARAMETERS
        self.rough_weight = 1 / (0.1 * float(np.median(np.abs(log.loss))) + np.abs(log.loss) + 1e-12)

    def parts(self, x: FloatArray, moved: tuple[float, float] = (0.0, 0.0)) -> FloatArray:
        beta = math.exp(x[0])
        p = self.parameter(x) if self.family.parameter else 0.0
        a, b = beta * self.h[0] + moved[0], beta * self.h[1] + moved[1]
        columns = self.family.parts(a, b, p)
        if (label := self.log.label) is not None:  # p F(a, b) + (1 − p) F(b, a)
            columns = label[:, None] * columns + (1 - label[:, None]) * self.family.parts(b, a, p)
        return columns[:, :1] if self.column is not None else columns

    def parameter(self, x: FloatArray) -> float:
        """p; tau is searched as β tau, of which the targets of the log-ratios themselves depend, and not those of a."""
        if self.family.parameter == "tau":
            return math.exp(x[1] - x[0])
        return math.exp(x[1]) if self.positive else float(x[1])

    def means(self, parts: FloatArray) -> FloatArray:
        mean = np.stack([np.bincount(self.log.group, c) for c in parts.T], -1) / self.counts[:, None]
        return mean if self.column is None else np.column_stack([mean, self.column[0]])

    def solve(self, mean: FloatArray, weight: FloatArray, x: FloatArray) -> FloatArray | None:
        """Coefficients of the columns; None where a weight is less than its least."""
        target, design = self.log.loss * weight, mean * weight[:, None]
        if self.scale == "free" or not self.family.base:
            if design.shape[1] == 1:
                found = np.array([float(design[:, 0] @ target) / max(float(design[:, 0] @ design[:, 0]), 1e-300)])
            else:
                found = least_squares(design, target)
        else:
            size = math.exp(-2 * x[0]) if self.scale == "ipo" else 1.0
            rest = target - size * design[:, 0]
            found = np.array([size])
            if design.shape[1] == 2:
                found = np.array([size, float(design[:, 1] @ rest) / max(float(design[:, 1] @ design[:, 1]), 1e-300)])
        size = float(found[0]) if self.family.base else 1.0
        weights = found[1:] / size if self.family.base else found
        within = all(low <= w <= high for w, (_, low, high) in zip(weights, self.family.weights, strict=True))
        return np.asarray(found) if size > 0 and within else None

    def rough(self, x: FloatArray) -> float:
        """Squared residuals relative to 0.1 + |loss|."""
        mean = self.means(self.parts(x))
        found = self.solve(mean, self.rough_weight, x) if within_floats(mean) else None
        if found is None:
            return _ALWAYS_FINITE
        residuals = (mean @ found - self.log.loss) * self.rough_weight
        return min(float(residuals @ residuals), _ALWAYS_FINITE)

    def at(self, x: FloatArray) -> tuple[float, float, FloatArray, FloatArray, FloatArray] | None:
        """χ², Σ log noise, residuals in units of noise, coefficients, one over that noise."""
        parts = self.parts(x)
        mean = self.means(parts)
        beside = [self.parts(x, moved) for moved in ((_STEP, 0.0), (-_STEP, 0.0), (0.0, _STEP), (0.0, -_STEP))]
        if not within_floats(mean, *beside):
            return None
        beta = math.exp(x[0])
        slopes = [(beside[i] - beside[i + 1]) / (2 * _STEP) * beta for i in (0, 2)]
        found, weight = self.solve(mean, self.rough_weight, x), self.rough_weight
        for _ in range(2):
            if found is None:
                return None
            c = found[: parts.shape[1]]
            spread = sum((slope @ c) ** 2 * v for slope, v in zip(slopes, self.variances, strict=True))
            variance = self.log.loss_noise**2 + np.bincount(self.log.group, spread) / self.counts**2
            if self.column is not None:
                variance = variance + (found[-1] * self.column[1]) ** 2
            weight = 1 / np.maximum(np.sqrt(variance), 1e-12)
            found = self.solve(mean, weight, x)
        if found is None:
            return None
        residuals = (mean @ found - self.log.loss) * weight
        return float(residuals @ residuals), float(-np.log(weight).sum()), residuals, found, weight

    def _directions(self, x: FloatArray, found: FloatArray) -> FloatArray:
        """See :class:`gpo_analysis.estimation.audit_fits.Fitted`."""
        d, grid = 1e-4, self.family.grid
        unit = np.eye(2) * d
        widths = (
            [BETAS] if grid is None else [BETAS, float(math.log(grid[-1] / grid[0]) if self.positive else np.ptp(grid))]
        )
        beside = [[self.means(self.parts(x + sign * unit[i])) @ found for sign in (1, -1)] for i in range(len(widths))]
        columns = [width * (up - down) / (2 * d) for width, (up, down) in zip(widths, beside, strict=True)]
        mean, first = self.means(self.parts(x)), int(self.family.base)
        for k, (_, low, high) in enumerate(self.family.weights, start=first):
            columns.append(math.log(high / low) * found[k] * mean[:, k])
        if self.scale == "free":
            columns.append(SCALES * (mean @ found))
        return np.stack(columns, -1)

    def height(self, x: FloatArray) -> float:
        at = self.at(x)
        return _ALWAYS_FINITE if at is None else min(at[0] + 2 * at[1], _ALWAYS_FINITE)

    def __call__(self, reduction: str) -> Fitted | None:
        grid = self.family.grid
        second = np.array([0.0]) if grid is None else np.log(grid) if self.positive else grid
        if self.family.parameter == "tau":
            second = second - math.log(self.size)
        heights = np.array([[self.rough(np.array([log_beta, p])) for p in second] for log_beta in self.logs])
        if heights.min() >= _ALWAYS_FINITE:
            return None
        of_beta = np.argsort(heights.min(axis=1), kind="stable")[: 1 if grid is None else _STARTS]
        starts = [np.array([self.logs[i], second[int(heights[i].argmin())]]) for i in of_beta]
        unknown = 1 if grid is None else 2
        low, high = (float(second[0]), float(second[-1])) if grid is not None else (0.0, 0.0)
        steps = [float(self.logs[1] - self.logs[0]) / 2, float(second[1] - second[0]) / 2 if grid is not None else 0.0]

        def placed(y: FloatArray) -> FloatArray:
            return np.array([y[0], min(max(y[1], low), high) if unknown == 2 else 0.0])

        def lower(x: FloatArray, height: Callable[[FloatArray], float], scale: float) -> FloatArray:
            simplex = np.vstack([x[:unknown], x[:unknown] + scale * np.diag(steps[:unknown])])
            options: Any = {"initial_simplex": simplex, "xatol": 1e-6, "fatol": 1e-9, "maxiter": 120}

            def of_unknown(y: FloatArray) -> float:
                return height(placed(y))

            found = minimize(of_unknown, x[:unknown], method="Nelder-Mead", options=options)
            return placed(found.x) if found.fun <= height(x) else x

        x = min((lower(start, self.rough, 1.0) for start in starts), key=self.rough)
        x = lower(x, self.height, 0.1)
        at = self.at(x)
        return None if at is None else self._read(reduction, x, unknown, at)

    def _read(
        self, reduction: str, x: FloatArray, unknown: int, at: tuple[float, float, FloatArray, FloatArray, FloatArray]
    ) -> Fitted:
        chi, log_noise, residuals, found, weight = at
        family = self.family
        scale = float(found[0]) if family.base else 1.0
        values = dict(zip((n for n, _, _ in family.weights), found[1:] / scale if family.base else found, strict=True))
        if family.parameter:
            values = {family.parameter: self.parameter(x), **values}
        of = self.likelihood or (LIKELIHOODS[0] if family.name == "rpo" else "")
        count = unknown + len(family.weights) + int(self.scale == "free")
        return Fitted(
            family.name, reduction, math.exp(x[0]), scale, None, 0.0, self._error(x, unknown), chi, log_noise, count,
            residuals, parameters_of_loss=tuple((k, float(v)) for k, v in values.items()), likelihood=of,
            weight=weight, directions=self._directions(x, found), of_two=True,
        )  # fmt: skip

    def _error(self, x: FloatArray, unknown: int) -> float:
        """Standard error of log β, the parameter beside it left free."""
        d = 1e-3
        unit = np.eye(2) * d
        middle = self.height(x)
        hessian = np.zeros((unknown, unknown))
        for i in range(unknown):
            hessian[i, i] = (self.height(x + unit[i]) + self.height(x - unit[i]) - 2 * middle) / d**2
        if unknown == 2:
            corners = [self.height(x + s * unit[0] + t * unit[1]) * s * t for s in (1, -1) for t in (1, -1)]
            hessian[0, 1] = hessian[1, 0] = sum(corners) / (4 * d**2)
        half = hessian / 2
        schur = half[0, 0] - (half[0, 1] ** 2 / half[1, 1] if unknown == 2 and half[1, 1] > 1e-8 else 0.0)
        return 1 / math.sqrt(schur) if schur > 1e-8 and np.isfinite(schur) else math.inf


def _likelihood_alone(
    log: LossLog, apart: Apart, reduction: str, extras: list[tuple[str, _Column]]
) -> Iterator[Fitted]:
    """sft: β times −log π/πref, or a multiple of −log π."""
    counts = np.bincount(log.group).astype(np.float64)
    coarse = (apart.chosen * 2.0**-7) ** 2 / 12 if log.coarse else 0.0
    own = (
        -np.bincount(log.group, apart.chosen) / counts,
        np.sqrt(np.bincount(log.group, apart.chosen_noise**2 + coarse)) / counts,
    )
    for likelihood, (column, noise) in [(LIKELIHOODS[0], own), *extras]:
        weight, size = 1 / np.maximum(log.loss_noise, 1e-12), 1.0
        for _ in range(3):
            size = float((column * weight) @ (log.loss * weight)) / max(
                float((column * weight) @ (column * weight)), 1e-300
            )
            weight = 1 / np.maximum(np.sqrt(log.loss_noise**2 + (size * noise) ** 2), 1e-12)
        if size <= 0:
            continue
        residuals = (size * column - log.loss) * weight
        error = 1 / (size * math.sqrt(float((column * weight) @ (column * weight))))
        whole = likelihood == LIKELIHOODS[0]
        yield Fitted(
            "sft", reduction, size if whole else math.nan, 1.0 if whole else size, None, 0.0, error,
            float(residuals @ residuals), float(-np.log(weight).sum()), 1, residuals, likelihood=likelihood,
            weight=weight, directions=BETAS * size * column[:, None], of_two=True,
        )  # fmt: skip
