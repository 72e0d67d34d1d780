"""The global minimiser of p f(z) + q f(−z) − s z, for many (p, q, s) at once.

One problem serves two: the link z*(η) has p = η, q = 1 − η, s = 0; the conjugate f*(s) has p = 1, q = 0. Convex f take
Newton steps inside a bracket on the monotone derivative; other f are compared at every stationary point that a grid
over [−1000, 1000] brackets, at every kink, and at both ends of the line. What happens at infinity comes from the exact
:func:`~gpo_analysis.calculus.tails.tails`, not from where a float underflows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.calculus.limits import limit_at_infinity
from gpo_analysis.calculus.pieces import Piece
from gpo_analysis.calculus.signs import signs_on
from gpo_analysis.losses import compile as backend
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import convexity, pieces, tails

Array = NDArray[np.float64]

_FURTHEST = 1e300
_CLOSE = 1e-12
_CHUNK = 256
_CORE = 30.0
_TINY = 1e-14  # a weight so small that in floats the minimum is a plateau, or f′ underflows there


def piecewise(loss: MarginLoss, z: Array, order: int, side: int = 1) -> Array:
    """The derivative of some order from the right (``side`` +1) or from the left (−1) of every z; any shape."""
    parts = pieces(loss)
    if len(parts) == 1:
        return _evaluated(parts[0].expression, loss.symbol, order, z)
    index = np.searchsorted(_kink_floats(loss), z, side="right" if side > 0 else "left")
    result = np.empty_like(z)
    for k, part in enumerate(parts):
        here = index == k
        if here.any():
            result[here] = _evaluated(part.expression, loss.symbol, order, z[here])
    return result


def _evaluated(expression: sympy.Expr, symbol: sympy.Symbol, order: int, z: Array) -> Array:
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
def _kink_floats(loss: MarginLoss) -> Array:
    return np.array([float(part.lower) for part in pieces(loss)[1:]])


def is_affine(part: Piece, symbol: sympy.Symbol) -> bool:
    """Whether a piece is a straight line."""
    second = part.expression.diff(symbol, 2)
    return bool(second == 0 or sympy.simplify(second) == 0)


@dataclass(frozen=True)
class _Objective:
    """p f(z) + q f(−z) − s z for vectors p, q, s of one length k; z has the shape (k,) or (k, m)."""

    loss: MarginLoss
    p: Array
    q: Array
    s: Array

    def value(self, z: Array) -> Array:
        with np.errstate(all="ignore"):
            return (
                _weighted(self.p, piecewise(self.loss, z, 0))
                + _weighted(self.q, piecewise(self.loss, -z, 0))
                - self.s * z
            )

    def slope(self, z: Array, side: int = 1) -> Array:
        with np.errstate(all="ignore"):
            return (
                _weighted(self.p, piecewise(self.loss, z, 1, side))
                - _weighted(self.q, piecewise(self.loss, -z, 1, -side))
                - self.s
            )

    def curvature(self, z: Array) -> Array:
        with np.errstate(all="ignore"):
            return _weighted(self.p, piecewise(self.loss, z, 2)) + _weighted(self.q, piecewise(self.loss, -z, 2))

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> _Objective:
        return _Objective(self.loss, self.p[index], self.q[index], self.s[index])

    def mirrored(self) -> _Objective:
        """The objective at −z."""
        return _Objective(self.loss, self.q, self.p, -self.s)


def _weighted(weight: Array, value: Array) -> Array:
    """weight · value with 0 · ∞ = 0: what has no weight is not there."""
    return np.where(weight == 0, 0.0, weight * value)


def minimiser(loss: MarginLoss, p: Array, q: Array, s: Array) -> Array:
    """Global minimisers of p f(z) + q f(−z) − s z, of smallest |z| where there are several.

    Parameters
    ----------
    p, q, s : ndarray, shape (k,)
        Weights p, q ≥ 0, not both zero, and a linear term.

    Returns
    -------
    ndarray, shape (k,)
        ±inf where the infimum is reached at no finite z, on the side where it is approached (the objective may be
        unbounded below there). Of two minimisers ±z the positive one.
    """
    objective = _Objective(loss, p, q, s)
    if convexity(loss).is_convex:
        return _convex(objective)
    found = [_global(objective.take(np.arange(k, min(k + _CHUNK, len(p))))) for k in range(0, len(p), _CHUNK)]
    return np.concatenate(found) if found else np.empty(0)


# ---- convex f -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def least_points(loss: MarginLoss) -> tuple[sympy.Expr, sympy.Expr] | None:
    """Ends of the interval of minimisers of a convex f, exact where they have closed forms; None where not decided.

    (oo, oo) or (-oo, -oo) where f falls for ever.
    """
    ends: list[sympy.Expr] = [-sympy.oo]
    signs: list[int] = []
    for part in pieces(loss):
        found = signs_on(part.expression.diff(loss.symbol), loss.symbol, part.lower, part.upper)
        if found is None:
            return None
        ends += [*found.zeros, part.upper]
        signs += found.signs
    falling = max((k + 1 for k, sign in enumerate(signs) if sign < 0), default=0)
    rising = min((k for k, sign in enumerate(signs) if sign > 0), default=len(signs))
    return ends[falling], ends[rising]


def _one_sided(objective: _Objective, result: Array) -> Array:
    """Where only one label occurs (q = 0 or p = 0, s = 0) the minimiser is that of f alone, or its mirror image."""
    for weight, sign in ((objective.q, 1), (objective.p, -1)):
        alone = (weight == 0) & (objective.s == 0)
        if alone.any():
            ends = least_points(objective.loss)
            if ends is not None:
                low, high = (float(number(end)) for end in ends)
                result[alone] = sign * min(max(0.0, low), high)
    return result


def _convex(objective: _Objective) -> Array:
    zero = np.zeros_like(objective.p)
    result = zero.copy()
    right = objective.slope(zero, 1) < 0
    left = objective.slope(zero, -1) > 0
    if right.any():
        result[right] = _convex_right(objective.take(right))
    if left.any():
        result[left] = -_convex_right(objective.take(left).mirrored())
    return _one_sided(objective, result)


def _convex_right(objective: _Objective) -> Array:
    """The smallest minimiser of convex objectives that fall at 0."""
    loss, count = objective.loss, len(objective.p)
    result = np.full(count, np.nan)
    end = end_slope(objective.loss, objective.p, objective.q, objective.s)
    result[end < 0] = np.inf
    level = end == 0
    if level.any():
        result[level] = _level_end(objective.take(level))
    low, high = np.zeros(count), np.full(count, np.inf)
    for k in breakpoints(loss):
        place = np.full(count, k)
        before, after = objective.slope(place, -1), objective.slope(place, 1)
        open_ = np.isnan(result)
        result[open_ & (before < 0) & (after >= 0)] = k
        high = np.where((before >= 0) & np.isinf(high), k, high)
        low = np.where(after < 0, k, low)
    open_ = np.isnan(result)
    if open_.any():
        result[open_] = _root(objective.take(open_), low[open_], high[open_])
    return result


@lru_cache(maxsize=512)
def breakpoints(loss: MarginLoss) -> tuple[float, ...]:
    """|kinks|, ascending: where p f(z) + q f(−z) may have one for z > 0."""
    return tuple(sorted({abs(float(x)) for x in _kink_floats(loss)} - {0.0}))


def _level_end(objective: _Objective) -> Array:
    """Where the slope tends to exactly 0: the place from which it is 0, if there is one, else inf."""
    loss = objective.loss
    first, last = is_affine(pieces(loss)[0], loss.symbol), is_affine(pieces(loss)[-1], loss.symbol)
    straight = ((objective.p == 0) | last) & ((objective.q == 0) | first)
    result = np.full(len(objective.p), np.inf)
    for k in reversed(breakpoints(loss)):
        after = objective.slope(np.full(len(objective.p), k), 1)
        scale = abs(objective.p) + abs(objective.q) + abs(objective.s)
        result = np.where(straight & (abs(after) <= 1e-14 * scale), k, result)
    return result


def _root(objective: _Objective, low: Array, high: Array) -> Array:
    """Zero of the slope in (low, high), where it rises from below 0 (at low) to 0 or above (at high, maybe ∞)."""
    low, high = low.copy(), high.copy()
    step = np.ones_like(low)
    while True:
        open_ = np.isinf(high) & (low < _FURTHEST)
        if not open_.any():
            break
        trial = low[open_] + step[open_]
        reached = ~(objective.take(open_).slope(trial) < 0)
        high[open_] = np.where(reached, trial, np.inf)
        low[open_] = np.where(reached, low[open_], trial)
        step = step * 4
    z = np.where(np.isinf(high), np.inf, (low + high) / 2)
    active = np.isfinite(z)
    for iteration in range(300):
        if not active.any():
            break
        part, here = objective.take(active), z[active]
        slope = part.slope(here)
        falling = slope < 0
        low[active] = np.where(falling, here, low[active])
        high[active] = np.where(falling, high[active], here)
        with np.errstate(all="ignore"):
            trial = here - slope / part.curvature(here)
        # every third step halves the bracket, whatever Newton does (it crawls towards a zero of high order)
        inside = (trial >= low[active]) & (trial <= high[active]) & (iteration % 3 != 2)
        trial = np.where(inside, trial, (low[active] + high[active]) / 2)
        tolerance = 2e-16 * abs(here)
        done = (inside & (abs(trial - here) <= tolerance)) | (high[active] - low[active] <= tolerance)
        # one Newton step more costs nothing; but a flat stretch is left at its lower end
        z[active] = np.where(done & ~inside, high[active], trial)
        active[active] = ~done
    return z


# ---- what happens at the ends -------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _ends(loss: MarginLoss) -> tuple[float, float, float, float, float]:
    """Limits of f′ left and right, of f left and right, and lim f′(z)/f′(−z) as z → ∞."""
    both = tails(loss)
    slopes = _float(both.left.slope), _float(both.right.slope)
    ratio = float("nan")
    if all(np.isinf(slopes)):
        first, last = pieces(loss)[0].expression, pieces(loss)[-1].expression
        reflected = first.diff(loss.symbol).subs(loss.symbol, -loss.symbol)
        ratio = _float(limit_at_infinity(last.diff(loss.symbol) / reflected, loss.symbol, 1))
    return (*slopes, _float(both.left.limit), _float(both.right.limit), ratio)


def _float(value: sympy.Expr) -> float:
    return float("nan") if value is sympy.nan else float(value)


def end_slope(loss: MarginLoss, p: Array, q: Array, s: Array) -> Array:
    """lim of p f′(z) − q f′(−z) − s for z → ∞; zeros are exact (decided in fractions), NaN where not known."""
    left, right, _, _, ratio = _ends(loss)
    with np.errstate(all="ignore"):
        end = _weighted(p, np.full_like(p, right)) - _weighted(q, np.full_like(q, left)) - s
        opposed = np.isnan(end) & ~np.isnan(ratio)
        end = np.where(opposed, np.inf * np.sign(left) * (p * ratio - q), end)
    scale = p + q + abs(s)
    for k in np.flatnonzero(np.isfinite(end) & (abs(end) <= _CLOSE * scale)):
        both = tails(loss)
        weights = [sympy.Rational(float(w[k])) for w in (p, q, s)]
        exact = -weights[2]
        exact += weights[0] * both.right.slope if weights[0] else 0
        exact -= weights[1] * both.left.slope if weights[1] else 0
        end[k] = 0.0 if exact.is_zero else float(sympy.N(exact, 30))
    return end


def end_value(loss: MarginLoss, p: Array, q: Array, s: Array) -> Array:
    """lim of p f(z) + q f(−z) − s z for z → ∞."""
    _, _, left, right, _ = _ends(loss)
    slope = end_slope(loss, p, q, s)
    result = np.where(slope > 0, np.inf, np.where(slope < 0, -np.inf, np.nan))
    with np.errstate(all="ignore"):
        plain = _weighted(p, np.full_like(p, right)) + _weighted(q, np.full_like(q, left))
    result = np.where((slope == 0) & (s == 0), plain, result)
    for k in np.flatnonzero(np.isnan(result)):
        first, last = pieces(loss)[0].expression, pieces(loss)[-1].expression
        weights = [sympy.Rational(float(w[k])) for w in (p, q, s)]
        z = loss.symbol
        total = weights[0] * last + weights[1] * first.subs(z, -z) - weights[2] * z
        result[k] = _float(limit_at_infinity(total, z, 1))
    return result


# ---- other f ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _grid(loss: MarginLoss) -> tuple[Array, Array, Array]:
    """Points from −1000 to 1000, dense near 0 and beside the kinks, with f there and at their mirror images."""
    slow = any(backend.needs_precision(part.expression, loss.symbol, 0) for part in pieces(loss))
    half = np.sinh(np.linspace(0.0, np.arcsinh(1000.0), 200 if slow else 2000))
    marks = [k + d for k in (*breakpoints(loss), 0.0) for d in (-1e-6, 0.0, 1e-6)]
    half = np.unique(np.concatenate([half, np.abs(marks)]))
    grid = np.concatenate([-half[:0:-1], half])
    f = piecewise(loss, grid, 0)
    return grid, f, f[::-1].copy()


def _global(objective: _Objective) -> Array:
    grid, f, mirrored = _grid(objective.loss)
    p, q, s = objective.p[:, None], objective.q[:, None], objective.s[:, None]
    with np.errstate(all="ignore"):
        values = _weighted(p, f[None, :]) + _weighted(q, mirrored[None, :]) - s * grid[None, :]
    values = np.where(np.isnan(values), np.inf, values)
    inner = values[:, 1:-1]
    least = (inner <= values[:, :-2]) & (inner <= values[:, 2:]) & np.isfinite(inner)
    # a stretch that is level on both sides is rounding or underflow; of one round 0 the middle is kept
    least &= (inner < values[:, :-2]) | (inner < values[:, 2:]) | (grid[1:-1] == 0)
    row, column = np.nonzero(least)
    column = column + 1
    places = _stationary(objective.take(row), grid[column - 1], grid[column], grid[column + 1])
    part = objective.take(row)
    with np.errstate(all="ignore"):
        heights = np.where(np.isnan(places), np.inf, part.value(np.where(np.isnan(places), 0.0, places)))
    best = np.full(len(objective.p), np.inf)
    np.minimum.at(best, row, heights)
    result = np.full(len(objective.p), np.nan)
    tolerance = 1e-14 * (1 + abs(best))
    with np.errstate(invalid="ignore"):
        tied = np.isfinite(heights) & (heights <= best[row] + tolerance[row])
    for k in np.flatnonzero(tied):
        current, candidate = result[row[k]], places[k]
        nearer = abs(candidate) < abs(current) - 1e-9
        if np.isnan(current) or nearer or (abs(abs(candidate) - abs(current)) <= 1e-9 and candidate > current):
            result[row[k]] = candidate
    right = end_value(objective.loss, objective.p, objective.q, objective.s)
    left = end_value(objective.loss, objective.q, objective.p, -objective.s)
    with np.errstate(invalid="ignore"):
        lowest = np.fmin(left, right)
        beyond = np.isnan(result) | (lowest < best)
        side = np.where(right < left, np.inf, np.where(left < right, -np.inf, np.nan))
    for k in np.flatnonzero(beyond & (np.minimum(objective.p, objective.q) < _TINY) & (objective.p * objective.q > 0)):
        z = _precise(objective, int(k), float(lowest[k]))
        if z is not None:
            result[k], beyond[k] = z, False
    # both ends alike: the side of the larger weight, and of ±∞ the positive one
    lean = np.where(objective.p < objective.q, -np.inf, np.inf)
    return np.where(beyond, np.where(np.isnan(side), lean, side), result)


def _stationary(objective: _Objective, low: Array, middle: Array, high: Array) -> Array:
    """The stationary point, kink or flat place that a grid minimum brackets; NaN for a plateau of rounding."""
    result = np.full(len(middle), np.nan)
    before, after = objective.slope(middle, -1), objective.slope(middle, 1)
    kink = (before <= 0) & (after >= 0) & ((before < 0) | (after > 0))
    result[kink & np.isin(abs(middle), (0.0, *breakpoints(objective.loss)))] = np.nan
    at_kink = kink & np.isin(abs(middle), breakpoints(objective.loss))
    result[at_kink] = middle[at_kink]
    bracketed = ~at_kink & (objective.slope(low, 1) < 0) & (objective.slope(high, -1) > 0)
    if bracketed.any():
        part = objective.take(bracketed)
        result[bracketed] = _bisected(part, low[bracketed], high[bracketed])
    flat = np.isnan(result) & (before == 0) & (after == 0) & (middle == 0)
    result[flat] = 0.0  # level all around: the smallest |z| of a flat stretch
    return result


def _bisected(objective: _Objective, low: Array, high: Array) -> Array:
    """A zero of the slope between low (falling) and high (rising): Newton where it stays inside, else bisection."""
    low, high = low.copy(), high.copy()
    z = (low + high) / 2
    active = np.ones(z.shape, dtype=bool)
    for iteration in range(300):
        if not active.any():
            break
        part, here = objective.take(active), z[active]
        slope = part.slope(here)
        falling = slope < 0
        low[active], high[active] = np.where(falling, here, low[active]), np.where(falling, high[active], here)
        with np.errstate(all="ignore"):
            trial = here - slope / part.curvature(here)
        inside = (trial >= low[active]) & (trial <= high[active]) & (iteration % 3 != 2)
        trial = np.where(inside, trial, (low[active] + high[active]) / 2)
        narrow = high[active] - low[active] <= 4e-16 * abs(here)
        z[active] = trial
        active[active] = ~((inside & (abs(trial - here) <= 2e-16 * abs(here))) | narrow)
    return z


def _precise(objective: _Objective, k: int, end: float) -> float | None:
    """The best stationary point of one objective in 45 digits without under- or overflow; None if an end is lower."""
    loss = objective.loss
    p, q, s = (NUMBERS.mpf(float(w[k])) for w in (objective.p, objective.q, objective.s))

    def jet(z: Any) -> tuple[Any, Any]:
        sides = []
        for x in (z, -z):
            part = next(part for part in pieces(loss) if number(part.lower) <= x <= number(part.upper))
            sides.append(jet_function(part.expression, loss.symbol).at(x, 1))
        return p * sides[0][0] + q * sides[1][0] - s * z, p * sides[0][1] - q * sides[1][1] - s

    try:
        marks = [NUMBERS.sinh(NUMBERS.mpf(j) / 20) for j in range(-152, 153)]
        slopes = [jet(z)[1] for z in marks]
    except Unsupported:
        return None
    best: tuple[Any, Any] | None = None
    for low, high, before, after in zip(marks[:-1], marks[1:], slopes[:-1], slopes[1:], strict=True):
        if not (before < 0 < after):
            continue
        for _ in range(120):
            middle = (low + high) / 2
            low, high = (middle, high) if jet(middle)[1] < 0 else (low, middle)
        height = jet(low)[0]
        if best is None or height < best[0]:
            best = (height, low)
    return float(best[1]) if best is not None and best[0] <= end * (1 + 1e-12 * (1 if end > 0 else -1)) else None
