"""Every known loss fitted to means over batches, whose pairs were not logged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtr

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.audit_fits import IPO, Fitted, read_coefficients
from gpo_analysis.estimation.identify import Family, families
from gpo_analysis.estimation.loss_log import LossLog
from gpo_analysis.losses import MarginLoss
from gpo_analysis.progress import Progress, followed

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


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
        if family.name in IPO:
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
    read = read_coefficients(family.name, coefficients if smoothed else np.array([coefficients.sum()]))
    residuals = np.nan_to_num(residuals, nan=1e6, posinf=1e6, neginf=-1e6)
    chi = float(residuals @ residuals + off @ off)
    return Fitted(
        family.name, "sums", beta, *read, 0.0, chi if math.isfinite(chi) else 1e12, float(-np.log(weight).sum()),
        2 + int(smoothed) + int(free), residuals, float(np.sqrt(np.mean((residuals / weight) ** 2))),
    )  # fmt: skip
