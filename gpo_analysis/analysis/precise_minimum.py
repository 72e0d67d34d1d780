"""The objective p f(z) + q f(−z) − s z in 45 digits: for what floats cannot tell apart, or do not hold at all.

What does not depend on the weights, f′ on a coarse grid of the whole line, is worked out once a loss.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import sympy

from gpo_analysis.analysis.objective import Objective, exact_end
from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.bracketed_root import bracketed_root
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import pieces

_DENSITY = 20
_REACH = 8  # units of sinh: up to 1,490 times the unit
_BESIDE = NUMBERS.mpf(10) ** -6
_BESIDE_ZERO = NUMBERS.mpf(10) ** -9
#: A relative step beyond which no digits are.
_LAST = NUMBERS.mpf(10) ** -43


def precise_jet(loss: MarginLoss, weights: tuple[Any, ...], z: Any) -> tuple[Any, Any]:
    """p f(z) + q f(−z) − s z and its slope in 45 digits, for weights (p, q, s).

    Raises
    ------
    Unsupported
        Where f holds a function without a recurrence.
    """
    p, q, s = weights
    ahead, mirror = _jet(loss, z), _jet(loss, -z)
    return _times(p, ahead[0]) + _times(q, mirror[0]) - s * z, _times(p, ahead[1]) - _times(q, mirror[1]) - s


def _height(loss: MarginLoss, weights: tuple[Any, ...], z: Any) -> Any:
    """The objective alone, which there is at a cusp too, where the slope is not."""
    p, q, s = weights
    return _times(p, _jet(loss, z, 0)[0]) + _times(q, _jet(loss, -z, 0)[0]) - s * z


def precise_root(loss: MarginLoss, weights: tuple[Any, Any], z: float, within: float) -> float | None:
    """The zero of p f′(z) − q f′(−z), rising, next to a z that rounding has moved; None where none is that near.

    Parameters
    ----------
    loss : MarginLoss
    weights : tuple
        p and q, as numbers of 45 digits.
    z : float
    within : float
        How far rounding can have moved it.
    """
    p, q = weights
    at = NUMBERS.mpf(z)
    for _ in range(8):
        try:
            ahead, mirror = _jet(loss, at, 2), _jet(loss, -at, 2)
        except (Unsupported, StopIteration):
            return None
        slope = _times(p, ahead[1]) - _times(q, mirror[1])
        curvature = 2 * (_times(p, ahead[2]) + _times(q, mirror[2]))
        if not curvature > 0:
            return None
        at -= slope / curvature
        if not abs(at - z) <= within:
            return None
        if abs(slope / curvature) <= NUMBERS.mpf(10) ** -20 * abs(at):
            return float(at)
    return None


def _jet(loss: MarginLoss, z: Any, order: int = 1) -> list[Any]:
    """f, f′ and so on, each divided by its factorial."""
    k = next(k for k, (low, high) in enumerate(_edges(loss)) if low <= z <= high)
    return list(jet_function(pieces(loss)[k].expression, loss.symbol).at(z, order))


@lru_cache(maxsize=512)
def _edges(loss: MarginLoss) -> tuple[tuple[Any, Any], ...]:
    return tuple((number(part.lower), number(part.upper)) for part in pieces(loss))


def _times(weight: Any, value: Any) -> Any:
    return NUMBERS.mpf(0) if weight == 0 else weight * value


@lru_cache(maxsize=64)
def _coarse_slopes(loss: MarginLoss, unit: float, span: float) -> tuple[list[Any], list[Any]]:
    """z, symmetric about 0, on the whole line, and f′ there."""
    steps = int(_DENSITY * (_REACH + np.log(span)))
    marks = [NUMBERS.sinh(NUMBERS.mpf(j) / _DENSITY) * NUMBERS.mpf(unit) for j in range(-steps, steps + 1)]
    return marks, [_jet(loss, z)[1] for z in marks]


def precise_minimum(
    objective: Objective, k: int, to_the_right: bool, units: tuple[float, ...], known: float | None
) -> float | None:
    """The best stationary point of one objective without under- or overflow; None if an end of the line is lower.

    Parameters
    ----------
    objective : Objective
    k : int
        Which of its weights.
    to_the_right : bool
        Which end of the line it is compared with.
    units : tuple of float
        Lengths on which f changes, ascending.
    known : float or None
        Where it is looked for; on a coarse grid of the whole line where that is None.
    """
    loss = objective.loss
    weights = [float(w[k]) for w in (objective.p, objective.q, objective.s)]
    limit = exact_end(loss, *weights) if to_the_right else exact_end(loss, weights[1], weights[0], -weights[2])
    if limit is sympy.nan or limit == -sympy.oo:
        return None
    exact = tuple(NUMBERS.mpf(w) for w in weights)
    try:
        candidates = _stationary(loss, exact, units, known)
    except Unsupported:
        return None
    if not candidates:
        return None
    height, z = min(candidates, key=lambda found: (found[0], abs(found[1]), -found[1]))
    end = number(limit)
    return float(z) if height <= end + NUMBERS.mpf(10) ** -42 * abs(end) else None


def _stationary(
    loss: MarginLoss, weights: tuple[Any, ...], units: tuple[float, ...], known: float | None
) -> list[tuple[Any, Any]]:
    """(height, z) of the places at which the slope goes from falling to rising, and of the known one."""
    candidates = []
    if known is None:
        marks, rows = _coarse_slopes(loss, units[0], units[-1] / units[0])
        p, q, s = weights
        slopes = [_times(p, a) - _times(q, b) - s for a, b in zip(rows, reversed(rows), strict=True)]
    else:
        x = _exact_kink(loss, known)
        reach = abs(x) * _BESIDE if x != 0 else NUMBERS.mpf(units[0]) * _BESIDE_ZERO
        marks = [x - reach, x + reach]
        slopes = [precise_jet(loss, weights, z)[1] for z in marks]
        # level on one side or on both: from a kink on f may be level as far as the end of the line
        if precise_jet(loss, weights, x)[1] == 0 or slopes[0] <= 0 <= slopes[1]:
            candidates.append((_height(loss, weights, x), x))
    for (low, high), (before, after) in zip(pairwise(marks), pairwise(slopes), strict=True):
        if before < 0 <= after:
            z = _turning(loss, weights, low, high)
            candidates.append((_height(loss, weights, z), z))
    return candidates


def _exact_kink(loss: MarginLoss, z: float) -> Any:
    """The kink, or the mirror image of one, of which z is the float; z itself where there is none."""
    edges = [edge for low, _ in _edges(loss)[1:] for edge in (low, -low)]
    return next((edge for edge in edges if float(edge) == z), NUMBERS.mpf(z))


def _turning(loss: MarginLoss, weights: tuple[Any, ...], low: Any, high: Any) -> Any:
    """Where the slope goes from falling to rising, to a share of 2⁻¹²⁰ of the bracket or in all digits."""
    p, q, s = weights

    def slope_and_curvature(z: Any) -> tuple[Any, Any]:
        ahead, mirror = _jet(loss, z, 2), _jet(loss, -z, 2)
        slope = _times(p, ahead[1]) - _times(q, mirror[1]) - s
        return slope, 2 * (_times(p, ahead[2]) + _times(q, mirror[2]))

    absolute = (high - low) * NUMBERS.mpf(2) ** -120
    return bracketed_root(slope_and_curvature, low, high, rising=True, absolute=absolute, relative=_LAST)
