"""p f(z) + q f(−z) − s z for many (p, q, s) at once: values, slopes from either side, and what it tends to far out.

One objective serves two problems: the link z*(η) has p = η, q = 1 − η, s = 0; the conjugate f*(s) has p = 1, q = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.calculus.limits import limit_at_infinity
from gpo_analysis.calculus.pieces import Piece
from gpo_analysis.calculus.zeros import vanishes
from gpo_analysis.losses import compile as backend
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import pieces, tails

_CLOSE = 1e-12
_CORE = 30.0


def piecewise(loss: MarginLoss, z: FloatArray, order: int, side: int = 1) -> FloatArray:
    """The derivative of some order from the right (``side`` +1) or from the left (−1) of every z; any shape."""
    parts = pieces(loss)
    if len(parts) == 1:
        return _evaluated(parts[0].expression, loss.symbol, order, z)
    index = np.searchsorted(kink_floats(loss), z, side="right" if side > 0 else "left")
    result = np.empty_like(z)
    for k, part in enumerate(parts):
        here = index == k
        if here.any():
            result[here] = _evaluated(part.expression, loss.symbol, order, z[here])
    return result


def _evaluated(expression: sympy.Expr, symbol: sympy.Symbol, order: int, z: FloatArray) -> FloatArray:
    """A smooth piece in floats; where these would not do, in 45 digits by its jets, one point at a time."""
    if not backend.needs_precision(expression, symbol, order):
        return backend.evaluate(expression, symbol, order, z)
    try:
        function = jet_function(expression, symbol)
    except Unsupported:
        return backend.evaluate(expression, symbol, order, z)
    result = np.empty_like(z)
    inner = (abs(z) <= _CORE) & _is_sound_inside(expression, symbol, order)
    if inner.any():
        with np.errstate(all="ignore"):
            result[inner] = backend.numpy_function(expression, symbol, order)(z[inner])
    factor = math.factorial(order)
    result[~inner] = [float(factor * function.at(float(x), order)[order]) for x in z[~inner]]
    return result


@lru_cache(maxsize=512)
def _is_sound_inside(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> bool:
    """Whether floats are good to 12 digits for |z| ≤ 30, though not everywhere."""
    points = np.concatenate([np.linspace(-_CORE, _CORE, 41), np.linspace(-1.9, 1.9, 21)])
    function = jet_function(expression, symbol)
    exact = np.array([float(math.factorial(order) * function.at(float(x), order)[order]) for x in points])
    with np.errstate(all="ignore"):
        found = np.broadcast_to(backend.numpy_function(expression, symbol, order)(points), points.shape)
    return bool(np.all(np.isnan(exact) | (abs(found - exact) <= 1e-12 * abs(exact) + 1e-290)))


@lru_cache(maxsize=512)
def kink_floats(loss: MarginLoss) -> FloatArray:
    """Where f is not smooth, ascending, shape (k,)."""
    return np.array([float(part.lower) for part in pieces(loss)[1:]])


@lru_cache(maxsize=512)
def breakpoints(loss: MarginLoss) -> tuple[float, ...]:
    """|kinks|, ascending: where p f(z) + q f(−z) may have one for z > 0."""
    return tuple(sorted({abs(float(x)) for x in kink_floats(loss)} - {0.0}))


def is_affine(part: Piece, symbol: sympy.Symbol) -> bool:
    """Whether a piece is a straight line."""
    return vanishes(part.expression.diff(symbol, 2), symbol, part.lower, part.upper)


@dataclass(frozen=True)
class Objective:
    """p f(z) + q f(−z) − s z for vectors p, q, s of shape (k,); z has the same shape."""

    loss: MarginLoss
    p: FloatArray
    q: FloatArray
    s: FloatArray

    def value(self, z: FloatArray) -> FloatArray:
        """The objective at z."""
        with np.errstate(all="ignore"):
            both = _weighted(self.p, piecewise(self.loss, z, 0)) + _weighted(self.q, piecewise(self.loss, -z, 0))
            return both - self.s * z

    def size(self, z: FloatArray) -> FloatArray:
        """|p f(z)| + |q f(−z)| + |s z|: rounding in a value is a few units of this in the last place."""
        with np.errstate(all="ignore"):
            both = abs(_weighted(self.p, piecewise(self.loss, z, 0))) + abs(
                _weighted(self.q, piecewise(self.loss, -z, 0))
            )
            return both + abs(self.s * z)

    def slope(self, z: FloatArray, side: int = 1) -> FloatArray:
        """Its derivative from the right (``side`` +1) or from the left."""
        with np.errstate(all="ignore"):
            return (
                _weighted(self.p, piecewise(self.loss, z, 1, side))
                - _weighted(self.q, piecewise(self.loss, -z, 1, -side))
                - self.s
            )

    def take(self, index: IntArray | BoolArray) -> Objective:
        """Some of the objectives."""
        return Objective(self.loss, self.p[index], self.q[index], self.s[index])

    def mirrored(self) -> Objective:
        """The objective at −z."""
        return Objective(self.loss, self.q, self.p, -self.s)


def _weighted(weight: FloatArray, value: FloatArray) -> FloatArray:
    """weight · value with 0 · ∞ = 0: what has no weight is not there."""
    return np.where(weight == 0, 0.0, weight * value)


# ---- what happens at the ends -------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _ends(loss: MarginLoss) -> tuple[float, float, float, float, float]:
    """Limits of f′ left and right, of f left and right, and lim f′(z)/f′(−z) as z → ∞."""
    both = tails(loss)
    slopes = as_float(both.left.slope), as_float(both.right.slope)
    ratio = float("nan")
    if all(np.isinf(slopes)):
        first, last = pieces(loss)[0].expression, pieces(loss)[-1].expression
        reflected = first.diff(loss.symbol).subs(loss.symbol, -loss.symbol)
        ratio = as_float(limit_at_infinity(last.diff(loss.symbol) / reflected, loss.symbol, 1))
    return (*slopes, as_float(both.left.limit), as_float(both.right.limit), ratio)


def as_float(value: sympy.Expr) -> float:
    """A limit as a float; ±∞ and NaN included."""
    return float("nan") if value is sympy.nan else float(value)


def end_slope(loss: MarginLoss, p: FloatArray, q: FloatArray, s: FloatArray) -> FloatArray:
    """lim of p f′(z) − q f′(−z) − s for z → ∞; zeros are exact (decided in fractions), NaN where not known."""
    left, right, _, _, ratio = _ends(loss)
    with np.errstate(all="ignore"):
        end = _weighted(p, np.full_like(p, right)) - _weighted(q, np.full_like(q, left)) - s
        opposed = np.isnan(end) & ~np.isnan(ratio)
        end = np.where(opposed, np.inf * np.sign(left) * (p * ratio - q), end)
    scale = p + q + abs(s)
    for k in np.flatnonzero(np.isfinite(end) & (abs(end) <= _CLOSE * scale)):
        both = tails(loss)
        weights = exact_weights(p[k], q[k], s[k])
        exact = -weights[2]
        exact += weights[0] * both.right.slope if weights[0] else 0
        exact -= weights[1] * both.left.slope if weights[1] else 0
        end[k] = 0.0 if exact.is_zero else float(sympy.N(exact, 30))
    return end


def exact_weights(p: float, q: float, s: float) -> tuple[sympy.Rational, sympy.Rational, sympy.Rational]:
    """p, q as the fractions that they are in binary, s as the decimal that it is written as."""
    return sympy.Rational(float(p)), sympy.Rational(float(q)), sympy.Rational(repr(float(s)))


def end_value(loss: MarginLoss, p: FloatArray, q: FloatArray, s: FloatArray) -> FloatArray:
    """lim of p f(z) + q f(−z) − s z for z → ∞."""
    _, _, left, right, _ = _ends(loss)
    slope = end_slope(loss, p, q, s)
    result = np.where(slope > 0, np.inf, np.where(slope < 0, -np.inf, np.nan))
    with np.errstate(all="ignore"):
        ahead, mirror = _weighted(p, np.full_like(p, right)), _weighted(q, np.full_like(q, left))
        # what cancels is left to fractions
        sum_of_limits = np.where(abs(ahead + mirror) < 1e-3 * abs(ahead), np.nan, ahead + mirror)
    result = np.where((slope == 0) & (s == 0), sum_of_limits, result)
    for k in np.flatnonzero(np.isnan(result)):
        result[k] = as_float(exact_end(loss, p[k], q[k], s[k]))
    return result


def exact_end(loss: MarginLoss, p: float, q: float, s: float) -> sympy.Expr:
    """lim of p f(z) + q f(−z) − s z for z → ∞, exact where f's tails have exact limits; nan where not known."""
    weights = exact_weights(p, q, s)
    limits = tails(loss).right.limit, tails(loss).left.limit
    if not weights[2] and all(limit.is_finite for limit, w in zip(limits, weights, strict=False) if w):
        return sum((w * limit for limit, w in zip(limits, weights, strict=False) if w), sympy.S.Zero)
    first, last = pieces(loss)[0].expression, pieces(loss)[-1].expression
    z = loss.symbol
    total = weights[0] * last + weights[1] * first.subs(z, -z) - weights[2] * z
    return limit_at_infinity(total, z, 1)


def risk_at(loss: MarginLoss, p: FloatArray, q: FloatArray, z: FloatArray) -> FloatArray:
    """p f(z) + q f(−z), its limit where z is infinite; all of shape (k,)."""
    zero = np.zeros_like(p)
    finite = np.where(np.isfinite(z), z, 0.0)
    value = Objective(loss, p, q, zero).value(finite)
    for side in (1, -1):
        far = z == side * np.inf
        if far.any():
            a, b = (p[far], q[far]) if side > 0 else (q[far], p[far])
            value[far] = end_value(loss, a, b, zero[far])
    return value
