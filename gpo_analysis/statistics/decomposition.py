"""How much of an outcome's variance is due to which factor of a balanced factorial experiment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray


def variance_shares(outcome: ArrayLike, factors: Sequence[str], *, within: bool = True) -> dict[str, float]:
    """Shares of the sum of squares of every factor, every interaction, and the repetitions.

    In a balanced layout the total sum of squares about the mean is the sum of those of the effects (Fisher 1925); the
    effect of a set of factors is the mean over the others, less the effects of its subsets.

    Parameters
    ----------
    outcome : array, shape (a, b, …, r)
        One axis a factor, in the order of `factors`; with `within` a last axis of r repetitions. No NaN.
    factors : sequence of str
        Names, one an axis.
    within : bool
        Whether the last axis holds repetitions; their share is called ``"within"``.

    Returns
    -------
    dict of str to float
        ``"a"``, ``"b"``, ``"a:b"``, …, ``"within"``, adding up to 1; all NaN where nothing varies.

    Raises
    ------
    ValueError
        For axes that do not fit the names, or values that are not finite.

    Examples
    --------
    >>> variance_shares([[0.0, 1.0], [0.0, 1.0]], ["f", "beta"], within=False)
    {'f': 0.0, 'beta': 1.0, 'f:beta': 0.0}
    """
    y = np.asarray(outcome, dtype=np.float64)
    if y.ndim != len(factors) + within:
        raise ValueError(
            f"outcome has {y.ndim} axes; expected {len(factors) + within}, one for each of {list(factors)}"
            + (" and one of repetitions" if within else "")
        )
    if not np.isfinite(y).all():
        raise ValueError(f"outcome must be finite; {int((~np.isfinite(y)).sum())} of {y.size} values are not")
    cell = y.mean(axis=-1) if within else y
    effects: dict[tuple[int, ...], FloatArray] = {(): np.asarray(cell.mean(keepdims=True)).reshape((1,) * cell.ndim)}
    squares: dict[str, float] = {}
    for order in range(1, len(factors) + 1):
        for chosen in combinations(range(len(factors)), order):
            others = tuple(axis for axis in range(cell.ndim) if axis not in chosen)
            effect = cell.mean(axis=others, keepdims=True)
            for smaller in range(order):
                for subset in combinations(chosen, smaller):
                    effect = effect - effects[subset]
            effects[chosen] = effect
            squares[":".join(factors[k] for k in chosen)] = float(np.sum(effect**2)) * y.size / effect.size
    if within:
        squares["within"] = float(np.sum((y - cell[..., None]) ** 2))
    total = float(np.sum((y - y.mean()) ** 2))
    return {name: value / total if total > 0 else np.nan for name, value in squares.items()}
