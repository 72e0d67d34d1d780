"""Zeros of a smooth function on a compact interval, and the signs between them, by bisection of boxes.

On a box where an enclosure of the value excludes zero the sign is known; where one of the derivative does, the function
is monotone there and has a zero exactly if the signs at the ends differ (Moore 1966; Tucker 2011). Other boxes are
halved, as long as a number of operations is not used up. A zero of higher order (0 of e^z − 1 − z) is not found so: its
place is told, and :func:`around_zero` gives the signs about it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from gpo_analysis.calculus.arithmetic import INTERVALS, NUMBERS, bounds, sign_of
from gpo_analysis.calculus.bracketed_root import bracketed_root
from gpo_analysis.calculus.float_intervals import enclosed
from gpo_analysis.calculus.jets import JetFunction

MAX_BOXES = 6000
#: Operations on jets of intervals, each by its cost; a box takes two or three evaluations of the function.
MAX_WORK = 240_000
#: Share of a box's enclosure that its rounding takes up, at most, where floats may say that it is to be halved.
OPEN = 1e-3


def isolate(
    function: JetFunction, low: Any, high: Any, stuck: list[Any] | None = None
) -> tuple[list[Any], list[int]] | None:
    """Simple zeros in [low, high] and the signs between them, by bisection of boxes; None for what stays undecided.

    A place that boxes close in upon without an answer, as they do on a zero of higher order, is put into ``stuck``, and
    the place reached when the operations are used up.
    """
    stuck = [] if stuck is None else stuck
    edges = sorted({low, high, *[x for k in range(-2, 12) for x in (-(2.0**k), 2.0**k, 0.0) if low < x < high]})
    pending = [(NUMBERS.mpf(a), NUMBERS.mpf(b)) for a, b in pairwise(edges)][::-1]
    zeros: list[Any] = []
    runs: list[int] = []
    done = 0
    while pending:
        done += 1
        a, b = pending.pop()
        if done > MAX_BOXES or 3 * done * function.cost > MAX_WORK:
            stuck.append(b)
            return None
        outcome = _box(function, a, b)
        if outcome is None:
            middle = (a + b) / 2
            if b - a < 1e-25 * (1 + abs(middle)):
                stuck.append(middle)
                return None
            pending += [(middle, b), (a, middle)]
            continue
        for entry in outcome:
            if isinstance(entry, int):
                if not runs or len(runs) == len(zeros):
                    runs.append(entry)
                elif runs[-1] != entry:
                    stuck.append(a)  # a zero sits on the common edge of two boxes
                    return None
            else:
                zeros.append(entry)
    return (zeros, runs) if len(runs) == len(zeros) + 1 else None


def around_zero(function: JetFunction, place: Any, order: int) -> tuple[Any, int, int] | None:
    """(δ, sign before, sign after) on [place − δ, place + δ], where the first ``order`` coefficients at place are 0.

    By Taylor's theorem with the remainder in Lagrange's form the place is the only zero where an enclosure of the next
    coefficient excludes zero.
    """
    for halving in range(-2, 60):
        width = NUMBERS.mpf(2) ** -halving
        sign = sign_of(function.over(place - width, place + width, order)[order])
        if sign is not None and sign != 0:
            return width, sign * (-1) ** order, sign
    return None


def _box(function: JetFunction, a: Any, b: Any) -> list[Any] | None:
    """[sign], [sign, zero, sign], or None: split further."""
    quick = _quickly(function, a, b)
    if quick is not None:
        return [quick] if quick else None
    over = function.over(a, b, 1)
    sign = sign_of(over[0])
    if sign is not None and sign != 0:
        return [sign]
    middle = (a + b) / 2
    value = function.over(middle, middle, 0)[0]
    sign = sign_of(value + over[1] * (INTERVALS.mpf([a, b]) - middle))
    if sign is not None and sign != 0:
        return [sign]
    if sign_of(over[1]) in (None, 0):
        return None
    left, right = sign_of(function.over(a, a, 0)[0]), sign_of(function.over(b, b, 0)[0])
    if left is None or right is None or left == 0 or right == 0:
        return _nudged(function, a, b)
    return [left] if left == right else [left, _zero(function, a, b, left), right]


def _quickly(function: JetFunction, a: Any, b: Any) -> int | None:
    """The sign on a box where intervals of floats prove it; 0 where more digits would not, None where they may.

    They would not where what is left open is open by the width of the box: on its middle alone the enclosures are
    thinner by :data:`OPEN`.
    """
    first = function.quickly_over(a, b)
    sign = None if first is None else sign_of(first[0])
    if first is None or sign:
        return sign
    over, middle = function.quickly_over(a, b, 1), (a + b) / 2
    at = function.quickly_over(middle, middle, 1)
    if over is None or at is None:
        return None
    sign = sign_of(at[0] + over[1] * enclosed([a - middle, b - middle]))
    if sign:
        return sign
    thick = [high - low for low, high in map(bounds, over)]
    thin = [high - low for low, high in map(bounds, at)]
    is_open = sign_of(over[1]) in (None, 0)
    settled = all(math.isfinite(width) and narrow <= OPEN * width for width, narrow in zip(thick, thin, strict=True))
    return 0 if is_open and settled else None


def _nudged(function: JetFunction, a: Any, b: Any) -> list[Any] | None:
    """A box whose end is a zero (1 of z − 1, say), where the expression is known to be monotone."""
    for x in (a, b):
        value = function.at(x)[0]
        if value == 0 or sign_of(function.over(x, x, 0)[0]) is None:
            width = (b - a) / 4
            left = sign_of(function.over(x - width, x - width, 0)[0])
            right = sign_of(function.over(x + width, x + width, 0)[0])
            if left in (None, 0) or right in (None, 0) or left == right:
                return None
            # the zero belongs to the box on its left, so that it is counted once
            return [left, x, right] if x == b else [right]
    return None


def _zero(function: JetFunction, a: Any, b: Any, left: int) -> Any:
    """The one zero in [a, b]."""
    last = NUMBERS.mpf(10) ** -43
    return bracketed_root(lambda x: function.at(x, 1), a, b, rising=left < 0, absolute=last, relative=last)
