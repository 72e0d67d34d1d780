"""Taylor series of a loss at zero, exact, and a rigorous bound on what it leaves out.

E f(βρ) = f(0) + f′(0) β E[ρ] + ½ f″(0) β² E[ρ²] + …        (Tang et al. 2024, arXiv 2402.05749, §3)
"""

from __future__ import annotations

import heapq
import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import sympy

from gpo_analysis.analysis.checks import positive, whole_number
from gpo_analysis.analysis.singularities import piece_at_zero
from gpo_analysis.calculus import at_zero
from gpo_analysis.calculus.arithmetic import NUMBERS, bounds, number
from gpo_analysis.calculus.budget import simplified
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.calculus.pieces import Piece
from gpo_analysis.calculus.zeros import vanishes
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.losses.shape import pieces

MAX_ORDER = 60
_SAME = NUMBERS.mpf(10) ** -35
_BOXES = 600
_DEPTH = 3
#: Times the largest difference at some points above which Lagrange's form is not the bound alone.
_LOOSE = 10


def derivative_at_zero(loss: MarginLoss, order: int) -> sympy.Expr:
    """f⁽ᵏ⁾(0), exact: :func:`gpo_analysis.calculus.at_zero.derivative_at_zero`; ``nan`` where there is none."""
    return at_zero.derivative_at_zero(loss.expression, loss.symbol, order)


def taylor(loss: MarginLoss | str, order: int = 4) -> sympy.Poly | sympy.Expr:
    """Taylor polynomial of f at 0.

    Parameters
    ----------
    loss : MarginLoss or str
    order : int
        Degree of the last term, 0 to 60.

    Returns
    -------
    sympy.Expr
        A polynomial in ``loss.symbol``. Its coefficients are exact but where that would take more than
        :data:`gpo_analysis.calculus.recurrences.MAX_TERMS` terms: then floats of 40 digits.

    Raises
    ------
    ValueError
        If ``order`` is not such an integer, or f has not so many derivatives at 0.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> gpo.taylor("dpo", order=4)
    -z**4/192 + z**2/8 - z/2 + log(2)
    """
    loss = get_margin_loss(loss)
    order = whole_number(order, "order", MAX_ORDER)
    coefficients = _coefficients(loss, order)
    return sum((c * loss.symbol**k for k, c in enumerate(coefficients)), sympy.S.Zero)


@lru_cache(maxsize=512)
def _coefficients(loss: MarginLoss, order: int) -> tuple[sympy.Expr, ...]:
    home = piece_at_zero(loss)
    sides = [home] if home is not None else [part for part in pieces(loss) if 0 in (part.lower, part.upper)]
    series = [_series(part.expression, loss.symbol, order) for part in sides]
    found = []
    for k in range(order + 1):
        values = [coefficients[k] for coefficients in series if coefficients is not None]
        if len(values) < len(sides):
            derivative = derivative_at_zero(loss, k)
            values = [derivative / math.factorial(k)]
        if sympy.nan in values or not at_zero.are_equal(values[0], values[-1]):
            raise ValueError(f"{loss.name} has no derivative of order {k} at 0, where it has a kink")
        found.append(values[0])
    return tuple(found)


def _series(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> tuple[sympy.Expr, ...] | None:
    """Exact coefficients by jets over exact numbers, which need no differentiation.

    Where these grow too large (powers of many different logarithms), in floats of 40 digits; None where f is not
    analytic at 0 from this side, or holds a function without a recurrence.
    """
    try:
        function = jet_function(expression, symbol)
    except Unsupported:
        return None
    numeric = function.at(0, order)
    if any(NUMBERS.isnan(c) or NUMBERS.isinf(c) for c in numeric):
        return None
    try:
        jet = function.exactly_at_zero(order)
    except OverflowError:
        return tuple(sympy.Float(NUMBERS.nstr(c, 40), 40) for c in numeric)
    return tuple(sympy.S.Zero if _vanishes(c, v) else simplified(c) for c, v in zip(jet, numeric, strict=True))


def _vanishes(exact: sympy.Expr, value: Any) -> bool:
    """Whether an exact number vanishes without showing it; a fraction shows it, and may be as small as 1/60!."""
    if exact.is_Rational:
        return bool(exact == 0)
    return bool(abs(value) < _SAME) and vanishes(exact, sympy.Dummy())


def taylor_remainder_bound(loss: MarginLoss | str, order: int, radius: float) -> float:
    """A bound on \\|f(z) − Taylor polynomial\\| for all \\|z\\| ≤ radius, rounding included.

    Parameters
    ----------
    loss : MarginLoss or str
    order : int
        Degree n of the Taylor polynomial, 0 to 58.
    radius : float
        Positive and finite.

    Returns
    -------
    float
        Within the smooth piece round 0, Lagrange's form: r^{n+1} max \\|f⁽ⁿ⁺¹⁾\\| / (n+1)!, the maximum enclosed by
        interval arithmetic; where that is far from the difference, as next to (1 − z)^{3/2} at 1, and beyond a kink
        the difference itself is enclosed. The bound holds whether or not the radius is within that of convergence.

    Raises
    ------
    ValueError
        If the arguments are not such numbers, or f has a kink at 0.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> bound = gpo.taylor_remainder_bound("dpo", order=3, radius=1.0)  # max |f⁗|/4! = 1/192 at 0
    >>> bool(1 / 192 <= bound <= 1.02 / 192)
    True
    >>> gpo.taylor_remainder_bound("ipo", order=2, radius=10.0)
    0.0
    """
    loss = get_margin_loss(loss)
    order = whole_number(order, "order", MAX_ORDER - 2)
    r = NUMBERS.mpf(positive(radius, "radius"))
    home = piece_at_zero(loss)
    if home is None:
        raise ValueError(f"{loss.name} has a kink at 0, so that its Taylor series says nothing of f around it")
    z = loss.symbol
    polynomial = taylor(loss, order)
    total = NUMBERS.mpf(0)
    for part in pieces(loss):
        low, high = max(number(part.lower), -r), min(number(part.upper), r)
        if low >= high:
            continue
        try:
            if part is home:
                if part.expression.diff(z, order + 1) == 0:
                    continue
                difference = part.expression - polynomial
                for a, b in ((NUMBERS.mpf(0), high), (low, NUMBERS.mpf(0))):
                    size = _largest(part.expression, z, a, b, order + 1) * max(abs(a), abs(b)) ** (order + 1)
                    if not size <= _LOOSE * _sampled(difference, z, a, b):
                        size = min(size, _largest_between(difference, z, part, a, b))
                    total = max(total, size)
            else:
                total = max(total, _largest_between(part.expression - polynomial, z, part, low, high))
        except Unsupported as error:
            raise ValueError(f"no bound for {part.expression}: {error}") from None
    # a float above the bound
    return math.nextafter(float(total), math.inf) if total > 0 else 0.0


def _sampled(expression: sympy.Expr, symbol: sympy.Symbol, low: Any, high: Any) -> Any:
    """The largest absolute value at 16 points, which may be less than the maximum."""
    function = jet_function(expression, symbol)
    values = [abs(function.at(low + (high - low) * k / 16)[0]) for k in range(17)]
    return max((value for value in values if not NUMBERS.isnan(value)), default=NUMBERS.mpf(0))


def _largest_between(expression: sympy.Expr, symbol: sympy.Symbol, part: Piece, low: Any, high: Any) -> Any:
    """An upper bound of max \\|expression\\| over [low, high], from a piece's ends inward where they are ends of it.

    With x = z − 3/10 in the place of z a power of z − 3/10 is one of what is not negative, to the last digit.
    """
    x, width = sympy.Dummy("x", real=True), high - low
    anchors = [(part.lower, 1)] if number(part.lower) == low else []
    anchors += [(part.upper, -1)] if number(part.upper) == high else []
    if not anchors:
        return _largest(expression, symbol, low, high, 0)
    share = width if len(anchors) == 1 else width * NUMBERS.mpf("0.5000001")
    return max(
        _largest(expression.subs(symbol, anchor + side * x), x, NUMBERS.mpf(0), share, 0) for anchor, side in anchors
    )


def _largest(expression: sympy.Expr, symbol: sympy.Symbol, low: Any, high: Any, order: int) -> Any:
    """An upper bound of max |c_order| over [low, high], within about 1 % where 600 boxes suffice for that."""
    function = jet_function(expression, symbol)

    def upper(a: Any, b: Any) -> Any:
        middle, width = (a + b) / 2, (b - a) / 2
        here, over = function.over(middle, middle, order + _DEPTH), function.over(a, b, order + _DEPTH)
        # c_order at m + d is Σⱼ C(order + j, j) c_{order+j}(m) dʲ, its last term taken over the whole box
        total = _magnitude(over[order + _DEPTH]) * math.comb(order + _DEPTH, _DEPTH) * width**_DEPTH
        for k in range(_DEPTH):
            total += _magnitude(here[order + k]) * math.comb(order + k, k) * width**k
        return min(_magnitude(over[order]), total)

    count = 16
    edges = [low + (high - low) * k / count for k in range(count + 1)]
    edges[-1] = high
    heap = [(-upper(a, b), k, a, b) for k, (a, b) in enumerate(pairwise(edges))]
    heapq.heapify(heap)
    known = max(abs(function.at(x, order)[order]) for x in edges)
    for step in range(_BOXES):
        largest, _, a, b = heap[0]
        if -largest <= known * NUMBERS.mpf("1.005"):
            break
        heapq.heappop(heap)
        middle = (a + b) / 2
        known = max(known, abs(function.at(middle, order)[order]))
        for c, d in ((a, middle), (middle, b)):
            heapq.heappush(heap, (-upper(c, d), count + 2 * step + (c == a), c, d))
    return -heap[0][0]


def _magnitude(interval: Any) -> Any:
    low, high = bounds(interval)
    return max(abs(low), abs(high))
