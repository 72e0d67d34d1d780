"""The global minimiser of p f(z) + q f(−z) − s z, for many (p, q, s) at once.

For convex f the slope is monotone, and its zero is bracketed and found. For other f the slope is looked at on a grid in
the loss's own units (between its kinks and the zeros of f′ and f″, and by a constant factor from one point to the next
over 16 orders of magnitude beyond); every stationary point that changes from falling to rising is found, every kink is
tried, and both ends of the line. What happens at infinity comes from the exact tails, not from where a float
underflows. Between two heights that floats cannot tell apart, 45 digits decide.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import sympy

from gpo_analysis.analysis.objective import (
    Objective,
    breakpoints,
    end_slope,
    end_value,
    is_affine,
    kink_floats,
)
from gpo_analysis.analysis.precise_minimum import precise_jet, precise_minimum
from gpo_analysis.analysis.roots import bracketed_zeros
from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.calculus.signs import signs_on
from gpo_analysis.calculus.undecided import Undecided
from gpo_analysis.losses import compile as backend
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import convexity, pieces

_FURTHEST = 1e300
_UNDERFLOW = 1e-290
_SLIGHT = 1e-12  # rounding against a height, above which the height is worked out in 45 digits
_CHUNK = 256
_TINY = 1e-14  # a weight so small that in floats the minimum is a plateau, or f′ underflows there
_ROUNDING = 4e-16
_PER_DECADE = 40
_DECADES = 16
_INSIDE = 48  # points between two marks


def minimiser(loss: MarginLoss, p: FloatArray, q: FloatArray, s: FloatArray) -> FloatArray:
    """Global minimisers of p f(z) + q f(−z) − s z, of smallest |z| where there are several.

    Parameters
    ----------
    p, q, s : array, shape (k,)
        Weights p, q ≥ 0, not both zero, and a linear term.

    Returns
    -------
    array, shape (k,)
        ±inf where the infimum is reached at no finite z, on the side where it is approached (the objective may be
        unbounded below there). Of two minimisers ±z the positive one.
    """
    objective = Objective(loss, p, q, s)
    if convexity(loss).is_convex:
        return _convex(objective)
    found = [_global(objective.take(np.arange(k, min(k + _CHUNK, len(p))))) for k in range(0, len(p), _CHUNK)]
    return np.concatenate(found) if found else np.empty(0)


def _root(objective: Objective, low: FloatArray, high: FloatArray) -> FloatArray:
    """Where the slope changes from below 0 (right of low) to 0 or above (left of high), to the last digits."""

    def slope(z: FloatArray, rows: IntArray) -> FloatArray:
        part, at_end = objective.take(rows), z >= high[rows]
        found = part.slope(z)
        if at_end.any():  # f may have a kink there, beyond which the slope is another
            found[at_end] = part.take(at_end).slope(z[at_end], -1)
        return found

    found = bracketed_zeros(slope, low, high)
    return np.where(np.isnan(found), (low + high) / 2, found)


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


@lru_cache(maxsize=512)
def stationary_points(loss: MarginLoss) -> tuple[sympy.Expr, ...]:
    """Zeros of f′ inside its pieces, exact or as floats of 40 digits; those that were found."""
    found = [signs_on(part.expression.diff(loss.symbol), loss.symbol, part.lower, part.upper) for part in pieces(loss)]
    return tuple(zero for signs in found if signs is not None for zero in signs.zeros)


def _one_sided(objective: Objective) -> FloatArray:
    """Where only one label occurs (q = 0 or p = 0, s = 0) the minimiser is that of f alone, or its mirror image.

    NaN where both occur, and where the minimiser of f is not known.
    """
    result = np.full(len(objective.p), np.nan)
    for weight, sign in ((objective.q, 1), (objective.p, -1)):
        alone = (weight == 0) & (objective.s == 0)
        if alone.any():
            ends = least_points(objective.loss)
            if ends is not None:
                low, high = (float(number(end)) for end in ends)
                result[alone] = sign * min(max(0.0, low), high)
    return result


def _convex(objective: Objective) -> FloatArray:
    result = _one_sided(objective)
    left_over = np.flatnonzero(np.isnan(result))
    if len(left_over):
        result[left_over] = _convex_between(objective.take(left_over))
    return result


def _convex_between(objective: Objective) -> FloatArray:
    zero = np.zeros_like(objective.p)
    result = zero.copy()
    right = objective.slope(zero, 1) < 0
    left = objective.slope(zero, -1) > 0
    if right.any():
        result[right] = _convex_right(objective.take(right))
    if left.any():
        result[left] = -_convex_right(objective.take(left).mirrored())
    return result


def _convex_right(objective: Objective) -> FloatArray:
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
        result[open_] = _beyond(objective.take(open_), low[open_], high[open_])
    return result


def _level_end(objective: Objective) -> FloatArray:
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


def _beyond(objective: Objective, low: FloatArray, high: FloatArray) -> FloatArray:
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
    z = np.full_like(low, np.inf)
    inside = np.isfinite(high)
    if inside.any():
        z[inside] = _root(objective.take(inside), low[inside], high[inside])
    return z


# ---- other f ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _units(loss: MarginLoss) -> tuple[float, ...]:
    """Lengths on which f changes: of kinks, of zeros of f′ and f″, and from its Taylor coefficients; ascending."""
    lengths = [abs(x) for x in _marks(loss) if x != 0]
    for part in pieces(loss):
        if number(part.lower) <= 0 <= number(part.upper):
            try:
                jet = jet_function(part.expression, loss.symbol).at(0, 12)
            except Unsupported:
                continue
            sizes = [(k, abs(c)) for k, c in enumerate(jet) if k and not NUMBERS.isnan(c) and abs(c) > 1e-280]
            lengths += [float((a / b) ** (NUMBERS.mpf(1) / (j - i))) for (i, a), (j, b) in pairwise(sizes)]
    return tuple(sorted(x for x in lengths if 1e-200 < x < 1e200)) or (1.0,)


@lru_cache(maxsize=512)
def _marks(loss: MarginLoss) -> tuple[float, ...]:
    """Kinks and zeros of f′ and f″, where these are known."""
    found = {float(x) for x in kink_floats(loss)}
    for part in pieces(loss):
        for order in (1, 2):
            signs = signs_on(part.expression.diff(loss.symbol, order), loss.symbol, part.lower, part.upper)
            found |= {float(number(x)) for x in signs.zeros} if signs is not None else set()
    return tuple(sorted(found))


@lru_cache(maxsize=64)
def _grid(loss: MarginLoss) -> FloatArray:
    """Where the slope is looked at: symmetric about 0, every mark and its mirror image among it."""
    slow = any(backend.needs_precision(part.expression, loss.symbol, 1) for part in pieces(loss))
    inside, density = (8, 8) if slow else (_INSIDE, _PER_DECADE)
    marks = np.unique(np.abs([0.0, *_marks(loss), *breakpoints(loss)]))
    between = [np.linspace(a, b, inside + 2) for a, b in pairwise(marks)]
    units = _units(loss)
    low, high = np.log10(units[0]) - 6, np.log10(units[-1]) + _DECADES
    far = np.logspace(low, high, int((high - low) * density))
    near = np.linspace(0, 40 * units[len(units) // 2], 20 if slow else 400)
    half = np.unique(np.concatenate([marks, *between, far[far < _FURTHEST], near]))
    return np.concatenate([-half[:0:-1], half])


def _global(objective: Objective) -> FloatArray:
    loss, grid = objective.loss, _grid(objective.loss)
    count = len(objective.p)
    one = np.ones_like(grid)
    with np.errstate(all="ignore"):
        rows = [Objective(loss, one, 0 * one, 0 * one).slope(grid, side) for side in (-1, 1)]
    sides = []
    for side, f in zip((-1, 1), rows, strict=True):
        mirrored = rows[(1 - side) // 2][::-1]
        with np.errstate(all="ignore"):
            first = np.where(objective.p[:, None] == 0, 0.0, objective.p[:, None] * f)
            second = np.where(objective.q[:, None] == 0, 0.0, objective.q[:, None] * mirrored)
            sides.append(np.sign(first - second - objective.s[:, None]))
    before, after = sides
    # an infinite slope beside a cusp (√|z| at 0) is that of the stretch next to it
    before[:, 1:] = np.where(np.isnan(before[:, 1:]), after[:, :-1], before[:, 1:])
    after[:, :-1] = np.where(np.isnan(after[:, :-1]), before[:, 1:], after[:, :-1])
    row, place = _stationary(objective, grid, before, after)
    height, noise = _heights(objective.take(row), row, place, count)
    return _lowest(objective, row, place, height, noise, count)


def _heights(part: Objective, row: IntArray, place: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Heights of stationary points and the rounding in them; in 45 digits where rounding could make one the lowest."""
    height, noise = part.value(place), _ROUNDING * part.size(place)
    height = np.where(np.isnan(height), np.inf, height)
    reach = np.full(count, np.inf)
    np.minimum.at(reach, row, height + noise)
    with np.errstate(invalid="ignore"):
        doubtful = (height - noise <= reach[row]) & (noise > _SLIGHT * abs(height)) & np.isfinite(noise)
    for k in np.flatnonzero(doubtful):
        weights = tuple(NUMBERS.mpf(float(w[k])) for w in (part.p, part.q, part.s))
        try:
            exact = float(precise_jet(part.loss, weights, NUMBERS.mpf(float(place[k])))[0])
        except Unsupported:
            continue
        if not np.isnan(exact):
            height[k], noise[k] = exact, _ROUNDING * abs(exact)
    return height, noise


def _stationary(
    objective: Objective, grid: FloatArray, before: FloatArray, after: FloatArray
) -> tuple[IntArray, FloatArray]:
    """(row, z) of every place where a slope changes from falling to rising: roots, kinks, level stretches."""
    row, column = np.nonzero((after[:, :-1] < 0) & (before[:, 1:] > 0))
    part, low, high = objective.take(row), grid[column], grid[column + 1]
    roots = _root(part, low, high) if len(row) else np.empty(0)
    # where the slopes underflow their sign says nothing
    sound = np.maximum(-part.slope(low, 1), part.slope(high, -1)) > _UNDERFLOW
    rows, places = [row[sound]], [roots[sound]]
    row, column = np.nonzero((before < 0) & (after > 0))
    rows.append(row)
    places.append(grid[column])
    # level stretches: of the grid points between a fall and a rise the one nearest to 0
    for k, start, end in _level_stretches(before, after):
        inner = grid[start : end + 1]
        rows.append(np.array([k]))
        places.append(inner[[np.argmin(abs(inner) - 1e-12 * inner)]])
    return np.concatenate(rows).astype(np.int64), np.concatenate(places)


def _level_stretches(before: FloatArray, after: FloatArray) -> list[tuple[int, int, int]]:
    """(row, first, last) grid points between which the slope is 0, entered falling and left rising.

    One that goes on to an end of the line counts too: whether it is level in truth, or f falls there by less than a
    float holds, is decided when its height is compared with that at infinity.
    """
    found = []
    # the slopes in the order in which the line is walked: left of a point, right of it, left of the next …
    walked = np.stack([before, after], axis=2).reshape(before.shape[0], -1)
    for k in np.flatnonzero(np.any(walked == 0, axis=1)):
        signs = walked[k]
        level = np.flatnonzero(signs == 0)
        for run in np.split(level, np.flatnonzero(np.diff(level) > 1) + 1):
            left = signs[run[0] - 1] if run[0] > 0 else -1.0
            right = signs[run[-1] + 1] if run[-1] + 1 < len(signs) else 1.0
            if left < 0 < right:
                found.append((int(k), int(run[0] // 2), int(run[-1] // 2)))
    return found


def _lowest(
    objective: Objective, row: IntArray, place: FloatArray, height: FloatArray, noise: FloatArray, count: int
) -> FloatArray:
    """The best of the stationary points and the two ends, for each of ``count`` objectives."""
    best = np.full(count, np.inf)
    np.minimum.at(best, row, height)
    doubt = np.zeros(count)
    result = np.full(count, np.nan)
    tied = np.isfinite(height) & (height <= best[row] + noise)
    for k in np.flatnonzero(tied):
        current, candidate = result[row[k]], place[k]
        close = 1e-9 * max(abs(candidate), 0.0 if np.isnan(current) else abs(current))
        nearer = abs(candidate) < abs(current) - close
        if np.isnan(current) or nearer or (abs(abs(candidate) - abs(current)) <= close and candidate > current):
            result[row[k]], doubt[row[k]] = candidate, noise[k]
    right = end_value(objective.loss, objective.p, objective.q, objective.s)
    left = end_value(objective.loss, objective.q, objective.p, -objective.s)
    unknown = np.isnan(left) | np.isnan(right)
    if unknown.any():
        first = objective.take(np.flatnonzero(unknown)[:1])
        total = f"{first.p[0]:g} f(z) + {first.q[0]:g} f(−z) − {first.s[0]:g} z"
        raise Undecided(f"what {total} tends to far out is not known")
    lowest = np.minimum(left, right)
    with np.errstate(invalid="ignore"):
        beyond = np.isnan(result) | (lowest < best)
        side = np.where(right < left, np.inf, np.where(left < right, -np.inf, np.nan))
        near = np.isfinite(lowest) & (abs(lowest - best) <= 4 * (doubt + _ROUNDING * abs(lowest)))
    small = (np.minimum(objective.p, objective.q) < _TINY) & (objective.p * objective.q > 0)
    for k in np.flatnonzero((beyond & small) | near):
        known = None if small[k] else float(result[k])
        z = precise_minimum(objective, int(k), right[k] <= left[k], _units(objective.loss), known)
        if z is not None:
            result[k], beyond[k] = z, False
        elif near[k]:
            beyond[k] = True
    # both ends alike: the side of the larger weight, and of ±∞ the positive one
    lean = np.where(objective.p < objective.q, -np.inf, np.inf)
    return np.where(beyond, np.where(np.isnan(side), lean, side), result)
