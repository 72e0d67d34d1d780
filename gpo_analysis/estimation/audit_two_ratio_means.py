"""The losses of two log-ratios fitted to means over batches, whose pairs were not logged.

A batch's a and b are taken as normal about their means, of variances c₀ + c₁ mean² each and one correlation; the shares
of positive margins say how wide a − b is. Only losses without a free parameter are tried: a weight or a shift cannot be
told apart from the spread of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtr

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.audit_fits import Fitted
from gpo_analysis.estimation.audit_means import pairs_a_row
from gpo_analysis.estimation.audit_two_ratio import FAMILIES, TwoRatioFamily
from gpo_analysis.estimation.loss_log import LossLog
from gpo_analysis.progress import Progress, followed

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_FIRST, _SECOND = (n.reshape(-1) for n in np.meshgrid(_NODES, _NODES, indexing="ij"))
_BOTH = np.outer(_WEIGHTS, _WEIGHTS).reshape(-1) / _WEIGHTS.sum() ** 2
_STARTS = ((-6.0, -4.0), (-2.0, -1.0))
_NAMES = ("nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down")


def two_ratio_mean_fits(log: LossLog, progress: bool | Progress = False) -> Iterator[Fitted]:
    """The losses of two log-ratios without a parameter, fitted to a log of means that has both; none where it has not.

    Parameters
    ----------
    log : LossLog
        Of means.
    progress : bool or function
    """
    if log.apart is None:
        return
    families = [family for family in FAMILIES if family.name in _NAMES and not family.parameter]
    for family in followed(families, progress, "losses of two log-ratios"):
        yield _mean_fit(log, family, free="ipo" in family.scales)


def _mean_fit(log: LossLog, family: TwoRatioFamily, free: bool) -> Fitted:
    apart = log.apart
    assert apart is not None
    count = pairs_a_row(log.accuracy)
    noise = apart.chosen_noise + apart.rejected_noise

    def parts(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        spreads = [np.sqrt(np.exp(x[i]) + np.exp(x[i + 1]) * h**2) for i, h in ((0, apart.chosen), (2, apart.rejected))]
        r = math.tanh(x[4])
        a = apart.chosen[:, None] + spreads[0][:, None] * _FIRST
        b = apart.rejected[:, None] + spreads[1][:, None] * (r * _FIRST + math.sqrt(1 - r * r) * _SECOND)
        values = family.parts(a, b, 0.0)[..., 0]
        mean = values @ _BOTH
        f = values - mean[:, None]
        along = f @ (_BOTH * _FIRST), f @ (_BOTH * _SECOND)  # what the batch's two means say of F
        left = (f - along[0][:, None] * _FIRST - along[1][:, None] * _SECOND) ** 2 @ _BOTH
        scale = float(np.median(log.loss) / max(float(np.median(mean)), 1e-12)) if free else 1.0
        floor = 0.004 * (np.abs(log.loss) + 0.1 * float(np.median(np.abs(log.loss))))
        weight = 1 / np.sqrt(log.loss_noise**2 + (scale * noise) ** 2 + floor**2 + 1.5 * scale**2 * left / count)
        if free:
            f_weighted = mean * weight
            scale = float(f_weighted @ (log.loss * weight)) / max(float(f_weighted @ f_weighted), 1e-300)
        off = np.zeros(0)
        if log.accuracy is not None:
            wide = np.sqrt(np.maximum(spreads[0] ** 2 + spreads[1] ** 2 - 2 * r * spreads[0] * spreads[1], 1e-18))
            share = ndtr((apart.chosen - apart.rejected) / wide)
            off = (log.accuracy - share) / math.sqrt(0.25 / count + 0.03**2)
        return scale * mean, weight, off, scale

    def height(x: FloatArray) -> float:
        mean, weight, off, _ = parts(np.clip(x, -20, 6))
        residuals = (mean - log.loss) * weight
        total = float(residuals @ residuals + off @ off) - 2 * float(np.log(weight).sum())
        return total if math.isfinite(total) else 1e12

    wide = [2 * math.log(max(float(np.abs(h).max()), 1e-3)) for h in (apart.chosen, apart.rejected)]
    starts = [np.array([wide[0] + p, q, wide[1] + p, q, r]) for p, q in _STARTS for r in (0.0, 1.0)]
    found = min(
        (minimize(height, x, method="Nelder-Mead", options={"maxiter": 150}) for x in starts), key=lambda m: m.fun
    )
    mean, weight, off, scale = parts(np.clip(found.x, -20, 6))
    residuals = np.nan_to_num((mean - log.loss) * weight, nan=1e6, posinf=1e6, neginf=-1e6)
    chi = float(residuals @ residuals + off @ off)
    return Fitted(
        family.name, "sums", 1.0, scale, None, 0.0, 0.0, chi if math.isfinite(chi) else 1e12,
        float(-np.log(weight).sum()), 5 + int(free), residuals,
        float(np.sqrt(np.mean((residuals / weight) ** 2))),
    )  # fmt: skip
