"""The convex conjugate f*(s) = sup_z (s z − f(z)) of a loss: closed form where found, numbers everywhere.

It is what a dual of preference learning is written in: inf_h Σ w f(h_i − h_j) = −inf Σ w f*(−α) over flows α.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.analysis.closed_forms import conjugate_on_pieces
from gpo_analysis.analysis.minimise import end_value, minimiser, piecewise
from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.calculus.exponentials import exponential_form
from gpo_analysis.calculus.limits import limit_at_infinity
from gpo_analysis.losses import MarginLoss, get_loss
from gpo_analysis.losses.shape import convexity, pieces, tails


@dataclass(frozen=True)
class Conjugate:
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

    def __call__(self, s: ArrayLike) -> NDArray[np.float64]:
        return conjugate(self.loss, s)


def conjugate(loss: MarginLoss | str, s: ArrayLike) -> NDArray[np.float64]:
    """f*(s) = sup_z (s z − f(z)), numerically.

    Parameters
    ----------
    loss : MarginLoss or str
        Any loss; of one that is not convex this is the conjugate of its convex hull.
    s : array_like, any shape
        Slopes; for decreasing losses negative ones.

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
    loss = get_loss(loss)
    array = np.asarray(s, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"s must be finite, got {float(array[~np.isfinite(array)].ravel()[0])}")
    flat = array.ravel()
    one, zero = np.ones_like(flat), np.zeros_like(flat)
    z = minimiser(loss, one, zero, flat)
    finite = np.where(np.isfinite(z), z, 0.0)
    with np.errstate(all="ignore"):
        value = flat * finite - piecewise(loss, finite, 0)
    right, left = z == np.inf, z == -np.inf
    if right.any():
        value[right] = -end_value(loss, one[right], zero[right], flat[right])
    if left.any():
        value[left] = -end_value(loss, zero[left], one[left], -flat[left])
    return np.asarray(value + 0.0).reshape(array.shape)


@lru_cache(maxsize=512)
def closed_conjugate(loss: MarginLoss) -> Conjugate:
    """The conjugate with its domain, and its closed form where one is found.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> f = closed_conjugate(get_loss("truncated_quadratic"))
    >>> f.expression, f.domain
    (s**2/4 + s, Interval(-oo, 0))
    """
    both = tails(loss)
    low, high = both.left.slope, both.right.slope
    if sympy.nan in (low, high):
        return Conjugate(None, None, loss)
    domain = _domain(loss, low, high)
    form = conjugate_on_pieces(loss, lambda s: conjugate(loss, s)) if convexity(loss).is_convex else None
    if form is None and isinstance(domain, sympy.FiniteSet):
        form = _single(loss, domain.args[0])
    return Conjugate(form, domain, loss)


def _domain(loss: MarginLoss, low: sympy.Expr, high: sympy.Expr) -> sympy.Set:
    """Slopes between those of the two tails; an end belongs to it where f* is finite there."""
    if number(low) > number(high):
        return sympy.EmptySet
    parts, z = (pieces(loss)[0], pieces(loss)[-1]), loss.symbol
    missing = []
    for end, part, side in zip((low, high), parts, (-1, 1), strict=True):
        gap = sympy.oo if end.is_infinite else limit_at_infinity(exponential_form(part.expression) - end * z, z, side)
        missing.append(not gap.is_finite)
    return sympy.Interval(low, high, *missing)


def _single(loss: MarginLoss, slope: sympy.Expr) -> sympy.Expr | None:
    """f* at the one slope of its domain: minus the infimum of f(z) − slope · z."""
    value = float(conjugate(loss, float(slope)))
    for tail in (tails(loss).left, tails(loss).right):
        if slope == 0 and tail.limit.is_finite and abs(float(tail.limit) + value) <= 1e-12 * (1 + abs(value)):
            return -tail.limit
    nearest = sympy.nsimplify(value, rational=True, tolerance=1e-13)
    return nearest if nearest.q < 1000 else sympy.Float(value, 15)
