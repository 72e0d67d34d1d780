"""The convex conjugate f*(s) = sup_z (s z − f(z)) of a loss: closed form where found, numbers everywhere.

It is what a dual of preference learning is written in: inf_h Σ w f(h_i − h_j) = −inf Σ w f*(−α) over flows α.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike

from gpo_analysis.analysis.algebra import length, short_forms, solutions, value_of
from gpo_analysis.analysis.by_name import by_name
from gpo_analysis.analysis.closed_forms import points_between, shortest
from gpo_analysis.analysis.minimise import minimiser
from gpo_analysis.analysis.objective import end_value, is_affine, piecewise
from gpo_analysis.analysis.precise_minimum import precise_jet
from gpo_analysis.arrays import FloatArray
from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.budget import simplified
from gpo_analysis.calculus.exponentials import exponential_form
from gpo_analysis.calculus.jets import Unsupported
from gpo_analysis.calculus.limits import limit_at_infinity, value_at
from gpo_analysis.calculus.pieces import Piece, pieces_of
from gpo_analysis.calculus.signs import signs_on
from gpo_analysis.calculus.tails import tails_of
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.losses.shape import convexity, pieces, tails, unproved
from gpo_analysis.showing import Shown

_CANCELS = 1e3  # times the difference, above which s z and f(z) are subtracted in 45 digits


@dataclass(frozen=True)
class Conjugate(Shown):
    """f*, its domain and, where it was found, its closed form.

    Attributes
    ----------
    expression : sympy.Expr or None
        f*(s) inside the domain, in the real symbol ``s``; at an end of the domain its limit is meant (0 log 0 = 0).
        None where no closed form was found: ``conjugate(loss, s)`` computes it for every loss.
    domain : sympy.Set or None
        The slopes s at which f* is finite; None where the tails of f could not be worked out.
    """

    expression: sympy.Expr | None
    domain: sympy.Set | None
    loss: MarginLoss = field(repr=False)
    _no_plot = "it is a formula; called with slopes it gives numbers"

    def __call__(self, s: ArrayLike) -> FloatArray:
        return conjugate(self.loss, s)


def conjugate(loss: MarginLoss | str, s: ArrayLike) -> FloatArray:
    """f*(s) = sup_z (s z − f(z)), numerically.

    Parameters
    ----------
    loss : MarginLoss or str
        Any loss; of one that is not convex this is the conjugate of its convex hull.
    s : array_like, any shape
        Slopes; for decreasing losses negative ones. A float is taken as the decimal that it is written as:
        −0.1 is −1/10.

    Returns
    -------
    ndarray, same shape as ``s``
        ``inf`` outside the domain.

    Raises
    ------
    ValueError
        If an element of ``s`` is NaN or infinite.

    Examples
    --------
    >>> from gpo_analysis.analysis import conjugate
    >>> conjugate("ipo", [-2.0, 0.0]), conjugate("slic", [-2.0, -1.0, -0.25, 0.5])
    (array([-1.,  0.]), array([  inf, -1.  , -0.25,   inf]))
    """
    loss = get_margin_loss(loss)
    array = np.asarray(s, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"s must be finite, got {float(array[~np.isfinite(array)].ravel()[0])}")
    flat = array.ravel()
    one, zero = np.ones_like(flat), np.zeros_like(flat)
    z = minimiser(loss, one, zero, flat)
    finite = np.where(np.isfinite(z), z, 0.0)
    with np.errstate(all="ignore"):
        value = flat * finite - piecewise(loss, finite, 0)
        cancels = np.isfinite(z) & (abs(flat * finite) > _CANCELS * abs(value))
    for k in np.flatnonzero(cancels):
        weights = tuple(NUMBERS.mpf(w) for w in (1, 0, float(flat[k])))
        try:
            value[k] = -float(precise_jet(loss, weights, NUMBERS.mpf(float(z[k])))[0])
        except Unsupported:
            continue
    right, left = z == np.inf, z == -np.inf
    if right.any():
        value[right] = -end_value(loss, one[right], zero[right], flat[right])
    if left.any():
        value[left] = -end_value(loss, zero[left], one[left], -flat[left])
    return np.asarray(value + 0.0).reshape(array.shape)


@by_name
def closed_conjugate(loss: MarginLoss) -> Conjugate:
    """The conjugate with its domain, and its closed form where one is found.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> f = closed_conjugate(get_loss("truncated_quadratic"))
    >>> f.expression, f.domain
    (s**2/4 + s, Interval(-oo, 0))
    """
    domain = _domain(loss)
    if domain is None or domain is sympy.S.EmptySet or unproved(loss):
        return Conjugate(None, domain, loss)
    form = _on_pieces(loss) if convexity(loss).is_convex else None
    if form is None and isinstance(domain, sympy.FiniteSet):
        lowest = infimum(loss.expression - domain.args[0] * loss.symbol, loss.symbol)
        form = None if lowest is None else -lowest
    return Conjugate(form, domain, loss)


def _domain(loss: MarginLoss) -> sympy.Set | None:
    """Slopes between those of the two tails; an end belongs to it where f − sz does not fall to −∞ on its side."""
    both, z = tails(loss), loss.symbol
    low, high = both.left.slope, both.right.slope
    if sympy.nan in (low, high):
        return None
    if number(low) > number(high) or (low == high and low.is_infinite):
        return sympy.EmptySet
    parts = pieces(loss)[0], pieces(loss)[-1]
    missing = []
    for end, part, side in zip((low, high), parts, (-1, 1), strict=True):
        gap = sympy.oo if end.is_infinite else limit_at_infinity(exponential_form(part.expression - end * z), z, side)
        if gap is sympy.nan:
            return None
        missing.append(bool(end.is_infinite or gap == -sympy.oo))
    if low == high:
        return sympy.EmptySet if any(missing) else sympy.FiniteSet(low)
    return sympy.Interval(low, high, *missing)


def infimum(expression: sympy.Expr, z: sympy.Symbol) -> sympy.Expr | None:
    """inf over the real line: exact where it is reached at an exact z, or a limit; None if not known."""
    both, found = tails_of(expression, z), []
    for tail in (both.left, both.right):
        if tail.limit is sympy.nan:
            return None
        found.append(tail.limit)
    for part in pieces_of(expression, z):
        signs = signs_on(part.expression.diff(z), z, part.lower, part.upper)
        if signs is None:
            return None
        places = [*signs.zeros, *(end for end in (part.lower, part.upper) if end.is_finite)]
        found += [simplified(part.expression.subs(z, place)) for place in places]
    if any(value.is_finite is None or NUMBERS.isnan(number(value)) for value in found if value.is_finite):
        return None
    lowest: sympy.Expr = min(found, key=number)
    return lowest


# ---- the closed form of a convex loss -------------------------------------------------------------------------------

SLOPE = sympy.Symbol("s", real=True)
"""s, the argument of the conjugate f*(s) = sup_z (s z − f(z)): a slope."""


def _on_pieces(loss: MarginLoss) -> sympy.Expr | None:
    """f* of a convex loss as one expression or a Piecewise over the slopes, or None where no closed form was found.

    Each smooth piece covers the slopes that it takes, each kink the slopes between those of its two sides.
    """
    z = loss.symbol
    parts = pieces(loss)
    branches: list[tuple[sympy.Expr, sympy.Expr]] = []
    for k, part in enumerate(parts):
        low, high = _end_slopes(loss, part)
        if sympy.nan in (low, high):
            return None
        if k > 0:
            before = _end_slopes(loss, parts[k - 1])[1]
            if number(before) < number(low):
                branches.append((low, SLOPE * part.lower - simplified(part.expression.subs(z, part.lower))))
        if is_affine(part, z) or not number(low) < number(high):
            continue
        form = _of_piece(part, z, low, high)
        if form is None:
            return None
        branches.append((high, form))
    merged: list[tuple[sympy.Expr, sympy.Expr]] = []
    for high, form in branches:
        if merged and sympy.expand(merged[-1][1] - form) == 0:
            merged[-1] = (high, form)
        else:
            merged.append((high, form))
    if not merged:
        return None
    if len(merged) == 1:
        return merged[0][1]
    return sympy.Piecewise(*[(form, sympy.Le(SLOPE, high)) for high, form in merged[:-1]], (merged[-1][1], True))


def _end_slopes(loss: MarginLoss, part: Piece) -> tuple[sympy.Expr, sympy.Expr]:
    slope = part.expression.diff(loss.symbol)
    both = tails(loss)
    low = both.left.slope if part.lower == -sympy.oo else value_at(slope, loss.symbol, part.lower, 1)
    high = both.right.slope if part.upper == sympy.oo else value_at(slope, loss.symbol, part.upper, -1)
    return low, high


def _of_piece(part: Piece, z: sympy.Symbol, low: sympy.Expr, high: sympy.Expr) -> sympy.Expr | None:
    """s z − f(z) at the z of the piece where f′(z) = s, which is one since f′ rises there."""
    if low.is_infinite and high.is_infinite:
        points = [sympy.Rational(k, 10) for k in (-31, -12, -4, 3, 17)]
    elif low.is_infinite or high.is_infinite:
        end = sympy.Rational(NUMBERS.nstr(number(low if high.is_infinite else high), 30))
        away = 1 if high.is_infinite else -1
        points = [end + away * sympy.Rational(k, 10) for k in (1, 5, 13, 42, 200)]
    else:
        points = points_between(low, high)
    slope, ends = part.expression.diff(z), (number(part.lower), number(part.upper))
    for place in sorted(solutions(slope - SLOPE, z), key=length):
        if not all(_is_solution(slope, z, place, point, ends) for point in points):
            continue
        whole = SLOPE * place - exponential_form(part.expression).subs(z, place)
        forms = [*short_forms(whole, {SLOPE: float(points[len(points) // 2])}, {}), whole]
        forms = [sympy.expand(form) if form.is_polynomial() else form for form in forms]
        return shortest(forms, whole, SLOPE, points)
    return None


def _is_solution(
    slope: sympy.Expr, z: sympy.Symbol, place: sympy.Expr, s: sympy.Rational, ends: tuple[Any, Any]
) -> bool:
    x = value_of(place, {SLOPE: s})
    if not ends[0] <= x <= ends[1]:
        return False
    found = value_of(slope, {z: place, SLOPE: s})
    return bool(abs(found - number(s)) <= NUMBERS.mpf(10) ** -25 * (NUMBERS.mpf(10) ** -3 + abs(number(s))))
