"""Is a loss classification-calibrated: does minimising it put every margin on the right side of zero?

With t = η − ½ > 0, e(z) = ½(f(z) + f(−z)) and o(z) = f(z) − f(−z) the risk is e(z) + t o(z) at z ≥ 0, and e(z) − t o(z)
at −z. Calibrated means inf_{z≥0} (e − t o) > inf_{z>0} (e + t o) for every t in (0, ½] (Bartlett, Jordan and McAuliffe
2006, Definition 1). Besides their theorem for convex f three conditions decide it for all t at once:

- *One minimum*: where the slope of the risk changes its sign once (:func:`.closed_forms.has_one_minimum`) and f falls
  at 0, the minimisers for η > ½ are positive.
- *A good place*: where e has its infimum at some z₀ > 0 (or far out) and f(z₀) < inf_{z≤0} f. The gap is at least
  inf_{z≥0} (e − t o) − (e + t o)(z₀), which is concave in t, 0 at t = 0 and positive at t = ½, so positive between.
- *A falling odd part*: where o < 0 on z > 0 and f′(0) < 0. On the wrong side the risk is at least inf e; where e has
  its infimum at a finite z it is less there, or just right of 0, on the right side.

It is refuted where o vanishes everywhere, or at an η > ½ whose minimiser is not positive. What neither proves nor
refutes is not decided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy

from gpo_analysis.analysis.by_name import by_name
from gpo_analysis.analysis.closed_forms import has_one_minimum
from gpo_analysis.analysis.margin import optimal_margin
from gpo_analysis.analysis.minimise import minimiser
from gpo_analysis.analysis.objective import as_float, end_value, piecewise, risk_at
from gpo_analysis.analysis.taylor import derivative_at_zero
from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.calculus.limits import limit_at_infinity
from gpo_analysis.calculus.pieces import pieces_of
from gpo_analysis.calculus.signs import signs_on
from gpo_analysis.calculus.undecided import Undecided
from gpo_analysis.calculus.written import constant
from gpo_analysis.calculus.zeros import vanishes
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import convexity, kinks, pieces, tails, unproved
from gpo_analysis.showing import Shown

_ETA = np.concatenate([0.5 + np.geomspace(1e-4, 0.4, 40), 1 - np.geomspace(0.1, 1e-6, 40)[1:], [1.0]])
_CLEAR = 1e-9  # relative: a gap that rounding does not make
_EQUAL = 1e-13


@dataclass(frozen=True)
class Calibration(Shown):
    """Whether a loss is classification-calibrated, and why.

    Attributes
    ----------
    is_calibrated : bool or None
        None where it is not decided.
    proof : str
        The theorem used, or the η at which it fails.
    """

    is_calibrated: bool | None
    proof: str


@by_name
def calibration(loss: MarginLoss) -> Calibration:
    """Decide the calibration of a loss; see the module for the conditions.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> calibration(get_loss("logistic")).proof
    'convex, differentiable at 0 with slope -1/2 < 0 (Bartlett et al. 2006)'
    >>> calibration(get_loss("savage")).is_calibrated
    True
    """
    try:
        return _calibration(loss)
    except Undecided as reason:
        return Calibration(None, reason.reason)


def _calibration(loss: MarginLoss) -> Calibration:
    slope = derivative_at_zero(loss, 1)
    if convexity(loss).is_convex:
        if slope is sympy.nan:
            return Calibration(False, "convex, not differentiable at 0 (Bartlett et al. 2006)")
        holds = bool(number(slope) < 0)
        sign = "< 0" if holds else "≥ 0"
        return Calibration(
            holds, f"convex, differentiable at 0 with slope {constant(slope)} {sign} (Bartlett et al. 2006)"
        )
    if unproved(loss):
        return Calibration(None, f"not shown to be convex, and {unproved(loss)}")
    falls = slope is not sympy.nan and number(slope) < 0
    if falls and has_one_minimum(loss):
        return Calibration(True, "not convex; for η > ½ the risk falls at 0 and its slope changes sign once")
    place = _good_place(loss)
    if place is not None:
        return Calibration(True, f"not convex; at η = ½ {place}, and f is less there than at any z ≤ 0")
    if falls and _odd_part_falls(loss):
        return Calibration(True, "not convex; f(z) < f(−z) for every z > 0, and f falls at 0")
    z = loss.symbol
    odd = loss.expression - loss.expression.subs(z, -z)
    if all(vanishes(part.expression, z, part.lower, part.upper) for part in pieces_of(odd, z)):
        return Calibration(False, "f(z) = f(−z): it does not tell the signs of margins apart")
    eta = _counterexample(loss)
    if eta is not None:
        return Calibration(False, f"not convex; at η = {eta:.6g} a margin of the wrong sign does as well")
    return Calibration(None, "not convex; none of the conditions holds, and none of 80 η refutes it")


def _good_place(loss: MarginLoss) -> str | None:
    """Where e has its infimum over z ≥ 0, if that is not 0, and f is less there than anywhere on z ≤ 0."""
    half, zero = np.array([0.5]), np.array([0.0])
    least = float(risk_at(loss, half, half, minimiser(loss, half, half, zero))[0])
    wrong = _lowest_left(loss)
    if not np.isfinite(least) or np.isnan(wrong):
        return None
    z = float(minimiser(loss, half, half, zero)[0])
    if _is_level(loss):  # any z is one; the best is where f is least
        z = float(optimal_margin(loss, 1.0))
    if 0 < z < np.inf and _less(_at(loss, z), wrong):
        return f"the risk is least at z = {z:.6g}"
    far = float(end_value(loss, half, half, zero)[0])
    limit = as_float(tails(loss).right.limit)
    return "the risk is least far out" if _same(far, least) and _less(limit, wrong) else None


def _at(loss: MarginLoss, z: float) -> float:
    return float(piecewise(loss, np.array([z]), 0)[0])


def _is_level(loss: MarginLoss) -> bool:
    """Whether e is one constant."""
    z = loss.symbol
    slope = loss.expression.diff(z) - loss.expression.diff(z).subs(z, -z)
    smooth = not kinks(loss)
    return smooth and vanishes(slope, z)


def _same(a: float, b: float) -> bool:
    return a == b or abs(a - b) <= _EQUAL * (abs(a) + abs(b)) < np.inf


def _less(a: float, b: float) -> bool:
    return bool(a < b and (np.isinf(a) or np.isinf(b) or b - a > _CLEAR * (abs(a) + abs(b))))


def _lowest_left(loss: MarginLoss) -> float:
    """inf of f over z ≤ 0: at the zeros of f′, the kinks, 0 and −∞; NaN where these are not known to be all."""
    z, values = loss.symbol, [_at(loss, 0.0), as_float(tails(loss).left.limit)]
    for part in pieces(loss):
        if number(part.lower) >= 0:
            continue
        signs = signs_on(part.expression.diff(z), z, part.lower, sympy.Min(part.upper, 0))
        if signs is None or not signs.proved:
            return float("nan")
        values += [_at(loss, float(number(x))) for x in signs.zeros]
        values += [_at(loss, float(part.lower))] if part.lower.is_finite else []
    return float(np.min(values))


def _odd_part_falls(loss: MarginLoss) -> bool:
    """o < 0 on z > 0, and e has its infimum at a finite z, or −o outweighs what e has above it far out."""
    z = loss.symbol
    odd = loss.expression - loss.expression.subs(z, -z)
    for part in () if _falls_everywhere(loss) else pieces_of(odd, z):
        if number(part.upper) <= 0:
            continue
        signs = signs_on(part.expression, z, sympy.Max(part.lower, 0), part.upper)
        if signs is None or not signs.proved or set(signs.signs) != {-1}:
            return False
    half, zero = np.array([0.5]), np.array([0.0])
    place = float(minimiser(loss, half, half, zero)[0])
    if np.isfinite(place):
        return True
    limit = tails(loss).left.limit + tails(loss).right.limit
    if not limit.is_finite:
        return False
    gap = limit_at_infinity(odd / ((loss.expression + loss.expression.subs(z, -z)) / 2 - limit / 2), z, 1)
    return bool(gap == -sympy.oo)


def _falls_everywhere(loss: MarginLoss) -> bool:
    z = loss.symbol
    found = [signs_on(part.expression.diff(z), z, part.lower, part.upper) for part in pieces(loss)]
    return not kinks(loss) and all(signs is not None and signs.proved and signs.signs == (-1,) for signs in found)


def _counterexample(loss: MarginLoss) -> float | None:
    """An η > ½ at which no margin of the right sign does better than the best of the wrong sign."""
    p, q = _ETA, 1 - _ETA
    zero = np.zeros_like(p)
    z = optimal_margin(loss, p)
    far = [end_value(loss, p, q, zero), end_value(loss, q, p, zero)]
    failing = (z <= 0) | (np.isinf(z) & (far[0] == far[1]))
    return float(_ETA[failing][0]) if failing.any() else None
