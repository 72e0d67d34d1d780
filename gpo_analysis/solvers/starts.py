"""Where a descent starts: the weighted least-squares projection of what each pair by itself would like best.

Two responses alone have ``W_ij f(m) + W_ji f(−m)``, least where ``f′(−m)/f′(m) = W_ij/W_ji``: a function of log-odds
``L = log W_ij/W_ji`` and of f alone, which is tabulated (for the logistic loss it is m = L). The start is the g whose
differences come nearest to these margins, weighted by the pairs' curvatures there,

    min_g Σ_{i<j} c_ij (g_i − g_j − m_ij)²,        c_ij = W_ij f″(m_ij) + W_ji f″(−m_ij),

one linear system. It is the minimum itself where the pairs agree with each other (Bradley–Terry preferences under any f
that is tabulated here), and one Newton step less exact than the minimum where they nearly do. It is a start and no
more: where the minimum is the only one, it is found from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from gpo_analysis.arrays import AT_ONCE, FloatArray, IntArray
from gpo_analysis.solvers.functions import Differentiable

#: Log-odds of a pair that is always won: any that is large; and the largest that the table holds, in steps of so much.
ONE_SIDED, LARGEST, STEP = 6.0, 48.0, 1 / 16
#: Margins at which f is looked at, in its own unit.
_MARGINS = np.concatenate([np.arange(0.0, 4.0, 1 / 32), np.geomspace(4.0, 128.0, 128)])


@dataclass(frozen=True, eq=False)
class PairStart:
    """Margins and curvatures of lone pairs at log-odds 0, STEP, 2 STEP …

    Attributes
    ----------
    margin, curvature : array, shape (k,)
        Of weights that sum to 1.
    at_zero : float
        f(0).
    """

    margin: FloatArray
    curvature: FloatArray
    at_zero: float

    @classmethod
    def of(cls, loss: Differentiable) -> PairStart | None:
        """The table of a convex f; None where f does not fall at 0, or no curvature holds a pair."""
        with np.errstate(all="ignore"):
            toward, back = -loss.derivative(_MARGINS), -loss.derivative(-_MARGINS)
            odds = np.log(back) - np.log(toward)
            rising = np.isfinite(odds) & np.concatenate([[True], np.diff(odds) > 0])
        count = len(odds) if rising.all() else int(np.argmin(rising))
        if count < 2:
            return None
        at = np.arange(0.0, min(float(odds[count - 1]), LARGEST), STEP)
        margin, share = np.interp(at, odds[:count], _MARGINS[:count]), expit(at)
        with np.errstate(all="ignore"):
            curvature = share * loss.derivative(margin, order=2) + (1 - share) * loss.derivative(-margin, order=2)
        if len(at) < 2 or not np.isfinite(curvature).all() or not (curvature > 0).all():
            return None
        if np.ptp(curvature) <= 1e-12 * curvature[0]:  # f is quadratic there: the first step is the whole way
            return None
        return cls(margin, np.asarray(curvature), float(loss(np.zeros(()))))

    def pull(self, weights: FloatArray, held: FloatArray) -> FloatArray:
        """``Σ_j c_ij m_ij`` (b, n) of weights (b, n, n); their curvatures c, symmetric, are written into `held`."""
        b, n, _ = weights.shape
        pulled, pairs = np.empty((b, n)), np.triu_indices(n, 1)
        rows = max(1, AT_ONCE // max(1, n * n))
        for first in range(0, b, rows):
            part = slice(first, first + rows)
            pulled[part] = self._pull(weights[part], pairs, held[part])
        return pulled

    def _pull(self, weights: FloatArray, pairs: tuple[IntArray, IntArray], held: FloatArray) -> FloatArray:
        first, second = pairs
        forward, backward = weights[:, first, second], weights[:, second, first]
        total = forward + backward
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = np.log(forward) - np.log(backward)
        if not np.isfinite(odds).all():
            odds = np.where(np.isfinite(odds), odds, np.where(total > 0, np.sign(forward - backward) * ONE_SIDED, 0.0))
        place = np.minimum(np.abs(odds) / STEP, len(self.margin) - 1.0)
        low = np.minimum(place.astype(np.int64), len(self.margin) - 2)
        part = place - low
        margin = self.margin[low] + part * (self.margin[low + 1] - self.margin[low])
        curvature = total * (self.curvature[low] + part * (self.curvature[low + 1] - self.curvature[low]))
        want = np.zeros(weights.shape)
        held[...] = 0.0
        held[:, first, second] = held[:, second, first] = curvature
        want[:, first, second] = np.copysign(curvature * margin, odds)
        return np.asarray(want.sum(axis=2) - want.sum(axis=1))
