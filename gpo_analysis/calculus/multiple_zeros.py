"""Zeros of a smooth function on a compact interval, those of higher order at fractions among them.

Boxes do not part a zero of higher order from the line: e^z − 1 − z touches it at 0. Where the first coefficients vanish
exactly at a fraction and an enclosure of the next one excludes zero, Taylor's theorem gives the signs on both sides;
the boxes have the rest to cover.
"""

from __future__ import annotations

from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.boxes import around_zero, isolate
from gpo_analysis.calculus.jets import JetFunction
from gpo_analysis.calculus.zeros import vanishes

_DIGITS = 40
#: Zeros of a higher order are not decided.
_MOST_ORDER = 8
#: Denominators of the fractions that are tried as zeros of higher order.
_FINE, _COARSE = 1000, 12


def isolate_all(
    g: sympy.Expr, z: sympy.Symbol, function: JetFunction, low: Any, high: Any
) -> tuple[list[Any], list[int]] | None:
    """Zeros in [low, high] and the signs between them; zeros of higher order where they are fractions."""
    place, order = sympy.S.Zero, None
    if low <= 0 <= high:
        order = _order_of_zero(g, z, function, place)
    if order is None or order == 1:
        stuck: list[Any] = []
        isolated = isolate(function, low, high, stuck)
        if isolated is not None or not stuck:
            return isolated
        for denominator in (_FINE, _COARSE):
            place = sympy.Rational(NUMBERS.nstr(stuck[0], _DIGITS)).limit_denominator(denominator)
            order = _order_of_zero(g, z, function, place) if low <= number(place) <= high else None
            if order is not None:
                break
    around = None if order is None else around_zero(function, number(place), order)
    if around is None:
        return None
    x, (width, before, after) = number(place), around
    parts = []
    if low < x:
        parts.append(isolate_all(g, z, function, low, x - width) if low < x - width else ([], [before]))
    if x < high:
        parts.append(isolate_all(g, z, function, x + width, high) if x + width < high else ([], [after]))
    if any(part is None for part in parts):
        return None
    sides = [part for part in parts if part is not None]
    if (low < x and sides[0][1][-1] != before) or (x < high and sides[-1][1][0] != after):
        return None
    if len(sides) == 1:
        return sides[0]
    return [*sides[0][0], x, *sides[1][0]], [*sides[0][1], *sides[1][1]]


def _order_of_zero(g: sympy.Expr, z: sympy.Symbol, function: JetFunction, place: sympy.Expr) -> int | None:
    """How many of the first derivatives vanish at an exact place; None for none, and where that is not known."""
    derivative = g
    for order, coefficient in enumerate(function.at(number(place), _MOST_ORDER)):
        if NUMBERS.isnan(coefficient):
            return None
        if abs(coefficient) > NUMBERS.mpf(10) ** -25:
            return order or None
        if not vanishes(derivative.subs(z, place), sympy.Dummy()):
            return None
        derivative = derivative.diff(z)
    return None
