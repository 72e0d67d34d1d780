"""The shape of a loss: pieces, kinks, tails and convexity, exact; and what decides on an optimum, as floats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import sympy
from numpy.typing import NDArray

from gpo_analysis.calculus.convexity import Convexity, convexity_of, curvature_by_rules
from gpo_analysis.calculus.limits import value_at
from gpo_analysis.calculus.pieces import Piece, kinks_of, pieces_of
from gpo_analysis.calculus.signs import signs_on
from gpo_analysis.calculus.tails import Tails, tails_of
from gpo_analysis.calculus.units import unit_of
from gpo_analysis.calculus.zeros import vanishes
from gpo_analysis.losses.margin_loss import MarginLoss


def pieces(loss: MarginLoss) -> tuple[Piece, ...]:
    """Smooth pieces of a loss from −∞ to ∞: :func:`gpo_analysis.calculus.pieces.pieces_of`."""
    return pieces_of(loss.expression, loss.symbol)


def kinks(loss: MarginLoss) -> tuple[sympy.Expr, ...]:
    """Points where f is not analytic, ascending: :func:`gpo_analysis.calculus.pieces.kinks_of`."""
    return kinks_of(loss.expression, loss.symbol)


def convexity(loss: MarginLoss) -> Convexity:
    """Whether a loss is convex, and why: :func:`gpo_analysis.calculus.convexity.convexity_of`."""
    return convexity_of(loss.expression, loss.symbol)


def tails(loss: MarginLoss) -> Tails:
    """Both tails of a loss: :func:`gpo_analysis.calculus.tails.tails_of`."""
    return tails_of(loss.expression, loss.symbol)


def unproved(loss: MarginLoss) -> str:
    """Why the pieces of a loss have no proof: a branch that was chosen by a sampled sign; "" where they have one."""
    if all(piece.proved for piece in pieces(loss)):
        return ""
    return "a branch of f far out was chosen by a sign that was only sampled there"


@dataclass(frozen=True)
class LossShape:
    """Tails, kinks and straight pieces of f.

    Attributes
    ----------
    convex : bool
        Whether f is known to be convex; False also where that could not be decided.
    left_slope, right_slope : float
        Limits of f′ at −∞ and +∞, infinite ones included.
    left_limit, right_limit : float
        Limits of f.
    flat_from, flat_until : float or None
        Where f is constant from some z on (to the right), up to some z (to the left).
    kinks : tuple of (float, float)
        Places where f′ jumps, and by how much.
    straight : tuple of (float, float)
        Maximal intervals on which f is affine.
    least : float
        inf f; for f not known to be convex the least value on a grid and at the ends.
    unit : float
        The length on which f varies: f(z/500) has 500 times that of f.
    reached : tuple of bool
        On the left and on the right: whether f far out is nowhere below what it reaches at a finite z: where it is flat
        there, or rises outward to its limit.
    concave_between_kinks : bool
        Whether f″ ≤ 0 is proved on every piece of an f that is not convex.
    """

    convex: bool
    left_slope: float
    right_slope: float
    left_limit: float
    right_limit: float
    flat_from: float | None
    flat_until: float | None
    kinks: tuple[tuple[float, float], ...]
    straight: tuple[tuple[float, float], ...]
    least: float = 0.0
    unit: float = 1.0
    reached: tuple[bool, bool] = (False, False)
    concave_between_kinks: bool = False

    @property
    def is_piecewise_linear(self) -> bool:
        """Whether the straight pieces cover the real line."""
        if not self.straight or self.straight[0][0] != -np.inf or self.straight[-1][1] != np.inf:
            return False
        return all(a[1] == b[0] for a, b in pairwise(self.straight))

    @property
    def is_flat_on_both_sides(self) -> bool:
        """Whether f is constant far out on either side, so that values at infinity are reached."""
        return self.flat_from is not None and self.flat_until is not None

    def interval(self, z: NDArray[np.float64], tolerance: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The largest interval round z on which f, without kinks, is affine; ``(z, z)`` where it is curved."""
        lower, upper = z.copy(), z.copy()
        for low, high in self.straight:
            inside = (z >= low - tolerance) & (z <= high + tolerance)
            lower[inside], upper[inside] = low, high
        return lower, upper


@lru_cache(maxsize=512)
def shape_of(loss: MarginLoss) -> LossShape:
    """The shape of a loss, from its exact pieces, tails and convexity."""
    parts, ends = pieces(loss), tails(loss)
    slopes = _number(ends.left.slope), _number(ends.right.slope)
    # Existence is decided from the slopes far out; a loss without them is treated as one that is not convex.
    convex = convexity(loss).is_convex is True and not np.isnan(slopes).any()
    left_limit, right_limit = _number(ends.left.limit), _number(ends.right.limit)
    unit = float(unit_of(loss.expression, loss.symbol))
    return LossShape(
        convex=convex,
        left_slope=slopes[0],
        right_slope=slopes[1],
        left_limit=left_limit,
        right_limit=right_limit,
        flat_from=None if ends.right.flat_from is None else float(ends.right.flat_from),
        flat_until=None if ends.left.flat_from is None else float(ends.left.flat_from),
        kinks=_kinks(parts, loss.symbol),
        straight=_straight(parts, loss.symbol),
        least=_least(loss, left_limit, right_limit, unit),
        unit=unit,
        reached=(ends.left.attained, ends.right.attained),
        concave_between_kinks=not convex and all(_is_concave(part, loss.symbol) for part in parts),
    )


def _number(value: sympy.Expr) -> float:
    """±∞ and NaN included."""
    return float("nan") if value is sympy.nan else float(value)


def _kinks(parts: tuple[Piece, ...], symbol: sympy.Symbol) -> tuple[tuple[float, float], ...]:
    """Where the slope jumps, and by how much; infinite at a cusp (√|z|)."""
    slopes = [
        tuple(
            _number(value_at(part.expression.diff(symbol), symbol, right.lower, side))
            for part, side in ((left, -1), (right, 1))
        )
        for left, right in pairwise(parts)
    ]
    # whatever the unit of z, rounding is measured by the steepest of the slopes
    steepest = max((abs(slope) for both in slopes for slope in both if np.isfinite(slope)), default=0.0)
    return tuple(
        (float(part.lower), after - before)
        for part, (before, after) in zip(parts[1:], slopes, strict=True)
        if not abs(after - before) <= 1e-12 * steepest
    )


def _straight(parts: tuple[Piece, ...], symbol: sympy.Symbol) -> tuple[tuple[float, float], ...]:
    """Pieces on which the slope is constant."""
    return tuple(
        (float(part.lower), float(part.upper))
        for part in parts
        if vanishes(part.expression.diff(symbol, 2), symbol, part.lower, part.upper)
    )


def _is_concave(part: Piece, symbol: sympy.Symbol) -> bool:
    """Whether f″ ≤ 0 is proved on a piece, by the rules of composition or by its sign."""
    if part.proved and curvature_by_rules(part.expression, symbol) in ("constant", "affine", "concave"):
        return True
    found = signs_on(part.expression.diff(symbol, 2), symbol, part.lower, part.upper)
    return part.proved and found is not None and found.proved and set(found.signs) <= {-1, 0}


def _least(loss: MarginLoss, left: float, right: float, unit: float) -> float:
    grid = np.concatenate([np.sinh(np.linspace(-7.0, 7.0, 2001)), np.linspace(-10.0, 10.0, 4001)])
    return float(np.nanmin([np.nanmin(loss(unit * grid)), left, right]))
