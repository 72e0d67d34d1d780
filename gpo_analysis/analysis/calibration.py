"""Is a loss classification-calibrated: does minimising it put every margin on the right side of zero?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy
from numpy.typing import NDArray

from gpo_analysis.analysis.margin import optimal_margin, risk_at
from gpo_analysis.analysis.minimise import breakpoints, end_value, piecewise
from gpo_analysis.analysis.taylor import derivative_at_zero
from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import convexity

_ETA = np.concatenate([0.5 + np.geomspace(1e-4, 0.4, 40), 1 - np.geomspace(0.1, 1e-6, 40)[1:]])


@dataclass(frozen=True)
class Calibration:
    """Whether a loss is classification-calibrated, and why.

    Attributes
    ----------
    is_calibrated : bool
    proof : str
        The theorem used, or on which η it was computed.
    """

    is_calibrated: bool
    proof: str


@lru_cache(maxsize=512)
def calibration(loss: MarginLoss) -> Calibration:
    """Decide the calibration of a loss (Bartlett, Jordan and McAuliffe 2006, Theorem 2 and Definition 1).

    A convex f is calibrated exactly if it is differentiable at 0 with f′(0) < 0. For other f the definition is
    computed: for every η ≠ ½ the infimum of η f(z) + (1 − η) f(−z) over the margins of the wrong sign (and 0) must lie
    above that over all margins; on 79 values of η from 0.5001 to 1 − 1e-6 (η < ½ follows by symmetry).

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> calibration(get_loss("logistic"))
    Calibration(is_calibrated=True, proof='convex, differentiable at 0 with slope -1/2 < 0 (Bartlett et al. 2006)')
    """
    if convexity(loss).is_convex:
        slope = derivative_at_zero(loss, 1)
        if slope is sympy.nan:
            return Calibration(False, "convex, not differentiable at 0 (Bartlett et al. 2006)")
        holds = bool(number(slope) < 0)
        sign = "< 0" if holds else "≥ 0"
        return Calibration(holds, f"convex, differentiable at 0 with slope {slope} {sign} (Bartlett et al. 2006)")
    p, q = _ETA, 1 - _ETA
    best = risk_at(loss, p, q, optimal_margin(loss, p))
    wrong = _wrong_side(loss)
    with np.errstate(invalid="ignore"):
        right = (wrong - best > 1e-12 * (1 + abs(best))) | (np.isneginf(best) & (wrong > -np.inf))
    place = "the risk computed at 79 values of η from 0.5001 to 1 − 1e-6"
    if right.all():
        return Calibration(True, f"not convex; the minimiser is on the right side by {place}")
    return Calibration(
        False, f"not convex; at η = {_ETA[~right][0]:.6g} a margin of the wrong sign does as well, by {place}"
    )


def _wrong_side(loss: MarginLoss) -> NDArray[np.float64]:
    """inf over z ≤ 0 of η f(z) + (1 − η) f(−z), for η > ½: on a grid, at the kinks and at −∞."""
    p, q = _ETA, 1 - _ETA
    grid = np.concatenate([[0.0], -np.asarray(breakpoints(loss)), -np.sinh(np.linspace(1e-4, 7.6, 1500))])
    f, mirrored = piecewise(loss, grid, 0), piecewise(loss, -grid, 0)
    with np.errstate(all="ignore"):
        risks = p[:, None] * f + q[:, None] * mirrored
    least: NDArray[np.float64] = np.nanmin(risks, axis=1)
    return np.minimum(least, end_value(loss, q, p, np.zeros_like(p)))
