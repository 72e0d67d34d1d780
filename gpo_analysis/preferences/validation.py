"""Checks at the door: every bad number is refused where it enters, named with its place and with what is accepted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.labels import common_items, in_order

#: How far ``P + Pᵀ`` may be from 1, and a distribution's sum from 1, in absolute value.
TOLERANCE = 1e-9


def as_floats(values: ArrayLike, name: str) -> FloatArray:
    """A fresh float64 copy of `values`; ValueError where they are not numbers."""
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of real numbers, got {values!r:.80} ({error})") from None


def _place(index: tuple[int, ...]) -> str:
    return "[" + ", ".join(str(int(i)) for i in index) + "]"


def _first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])


def check_positive(value: float, name: str) -> float:
    """`value` as a float, required to be a finite number above zero.

    Raises
    ------
    ValueError
        For zero, negative, infinite, NaN or non-numeric values.

    Examples
    --------
    >>> check_positive(0.1, "beta")
    0.1
    >>> check_positive(0.0, "beta")
    Traceback (most recent call last):
    ...
    ValueError: beta must be a finite number above 0, got 0.0
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(value, bool | str | bytes) or not np.isfinite(number) or number <= 0:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    return number


def check_probability(value: float, name: str) -> float:
    """`value` as a float in [0, 1].

    Raises
    ------
    ValueError
        Outside [0, 1], or not a number.

    Examples
    --------
    >>> check_probability(0.25, "epsilon")
    0.25
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(value, bool | str | bytes) or not 0 <= number <= 1:
        raise ValueError(f"{name} must be a number in [0, 1], got {value!r}")
    return number


def check_distribution(
    values: ArrayLike,
    name: str,
    shape: tuple[int, ...] | None = None,
    *,
    positive: bool = False,
    items: Sequence[str] | None = None,
) -> FloatArray:
    """Probability vectors over the last axis, as a float64 copy scaled to sum to one exactly.

    Parameters
    ----------
    values : array, shape (..., n)
        Non-negative (with `positive`, above zero), each row summing to one within 1e-9.
    name : str
        What to call it in a message.
    shape : tuple of int, optional
        The shape required; by default any with at least one axis.
    positive : bool
        Whether zeros are refused.
    items : sequence of str, optional
        In whose order a labelled table is put.

    Raises
    ------
    ValueError
        Naming the first value that is wrong, its place and what is accepted.

    Examples
    --------
    >>> check_distribution([0.25, 0.75], "behavior")
    array([0.25, 0.75])
    >>> check_distribution([0.5, 0.6], "behavior")
    Traceback (most recent call last):
    ...
    ValueError: behavior must sum to 1 (within 1e-09), got 1.1
    """
    array = as_floats(in_order(values, name, items), name)
    if array.ndim == 0 or array.shape[-1] == 0 or (shape is not None and array.shape != shape):
        wanted = f"shape {shape}" if shape is not None else "at least one axis and one entry"
        raise ValueError(f"{name} must have {wanted}, got shape {array.shape}")
    if not np.isfinite(array).all():
        index = _first(~np.isfinite(array))
        raise ValueError(f"{name}{_place(index)} is {array[index]}; accepted are finite probabilities")
    wrong = array <= 0 if positive else array < 0
    if wrong.any():
        index = _first(wrong)
        accepted = "numbers above 0" if positive else "numbers of at least 0"
        raise ValueError(f"{name}{_place(index)} is {array[index]}; accepted are {accepted}")
    total = array.sum(axis=-1)
    if np.any(np.abs(total - 1) > TOLERANCE):
        index = _first(np.atleast_1d(np.abs(total - 1) > TOLERANCE))
        row = f" in row {_place(index)}" if array.ndim > 1 else ""
        value = np.atleast_1d(total)[index]
        raise ValueError(f"{name} must sum to 1 (within {TOLERANCE}){row}, got {value:.12g}")
    return np.asarray(array / total[..., None])


def check_distributions(**given: ArrayLike) -> list[FloatArray]:
    """Several by name, as :func:`check_distribution` has each; labelled ones in the order of the first with labels.

    Examples
    --------
    >>> check_distributions(p=[0.5, 0.5], q=[0.25, 0.75])
    [array([0.5, 0.5]), array([0.25, 0.75])]
    """
    items = common_items(None, *given.values())
    return [check_distribution(values, name, items=items) for name, values in given.items()]


def check_preference(values: ArrayLike, name: str = "preference", *, items: Sequence[str] | None = None) -> FloatArray:
    """Preference matrices ``P[..., i, j] = p(i ≻ j)``, as a float64 copy.

    Accepted are entries in [0, 1] with ``P[i, j] + P[j, i] = 1`` within 1e-9; the diagonal is therefore 1/2.

    Parameters
    ----------
    values : array, shape (..., n, n)
        One matrix, or a stack of them.
    name : str
        What to call it in a message.
    items : sequence of str, optional
        In whose order a labelled table is put; that of its columns by default.

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    ValueError
        Naming the first entry that is wrong and what is accepted.

    Examples
    --------
    >>> check_preference([[0.5, 0.75], [0.25, 0.5]])
    array([[0.5 , 0.75],
           [0.25, 0.5 ]])
    >>> check_preference([[0.5, 0.75], [0.75, 0.5]])
    Traceback (most recent call last):
    ...
    ValueError: preference[0, 1] + preference[1, 0] must be 1 (within 1e-09), got 0.75 + 0.75 = 1.5
    """
    matrix = as_floats(in_order(values, name, items, square=True), name)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] == 0:
        raise ValueError(f"{name} must be square, of shape (..., n, n), got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        index = _first(~np.isfinite(matrix))
        raise ValueError(f"{name}{_place(index)} is {matrix[index]}; accepted are probabilities in [0, 1]")
    outside = (matrix < 0) | (matrix > 1)
    if outside.any():
        index = _first(outside)
        hint = " (from_counts takes how often each won)" if matrix[index] > 1 else ""
        raise ValueError(f"{name}{_place(index)} is {matrix[index]}; accepted are probabilities in [0, 1]{hint}")
    both = matrix + np.swapaxes(matrix, -1, -2)
    if np.any(np.abs(both - 1) > TOLERANCE):
        index = _first(np.abs(both - 1) > TOLERANCE)
        mirror = (*index[:-2], index[-1], index[-2])
        if mirror == index:
            raise ValueError(
                f"{name}{_place(index)} is {matrix[index]:.12g}; accepted is 0.5 on the diagonal, where a response "
                "meets itself (a table of counts of wins is for from_counts, which ignores its diagonal)"
            )
        raise ValueError(
            f"{name}{_place(index)} + {name}{_place(mirror)} must be 1 (within {TOLERANCE}), "
            f"got {matrix[index]:.12g} + {matrix[mirror]:.12g} = {both[index]:.12g}"
        )
    return matrix


def check_counts(values: ArrayLike, items: Sequence[str] | None = None, *, least: int = 1) -> FloatArray:
    """Tables ``counts[i, j]``, how often i beat j, as a float64 copy whose diagonal is 0.

    Parameters
    ----------
    values : array, shape (n, n)
    items : sequence of str, optional
        In whose order a labelled table is put; that of its columns by default.
    least : {1, 2}
        The smallest n.

    Returns
    -------
    array, shape (n, n)

    Raises
    ------
    ValueError
        Naming the first entry that is wrong and what is accepted.

    Examples
    --------
    >>> check_counts([[7, 3], [1, 7]])
    array([[0., 3.],
           [1., 0.]])
    """
    table = as_floats(in_order(values, "counts", items, square=True), "counts")
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < least:
        rows = ", square with at least two rows" if least == 2 else ""
        raise ValueError(f"counts must have shape (n, n){rows}, got {table.shape}")
    np.fill_diagonal(table, 0.0)
    bad = ~np.isfinite(table) | (table < 0)
    if bad.any():
        index = _first(bad)
        raise ValueError(f"counts{_place(index)} is {table[index]}; accepted are finite numbers of at least 0")
    return table
