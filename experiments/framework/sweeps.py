"""Sweeps declared as data: named axes whose product is the cells of an experiment."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any


def grid(**axes: Any) -> list[dict[str, Any]]:
    """Return a cell for every combination of the axes, the last axis fastest.

    Parameters
    ----------
    axes : values
        Name -> its values, as a list, tuple, range or array; or one value (a number, a string, a dictionary) that all
        cells share, such as the name of a part. What the configuration says is no axis: `run` is given it.

    Raises
    ------
    ValueError
        For an axis without values, with a value twice, or with values that JSON does not have.

    Examples
    --------
    >>> grid(part="descent", loss=("dpo", "ipo"), seed=range(2))[1:3]
    [{'part': 'descent', 'loss': 'dpo', 'seed': 1}, {'part': 'descent', 'loss': 'ipo', 'seed': 0}]
    """
    values = {name: _values(name, axis) for name, axis in axes.items()}
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def axes_of(cells: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the names that vary over the cells, with how many values each takes.

    Examples
    --------
    >>> axes_of(grid(part="descent", loss=("dpo", "ipo"), seed=range(3)))
    {'loss': 2, 'seed': 3}
    """
    names = dict.fromkeys(name for cell in cells for name in cell)
    counts = {name: len({repr(cell[name]) for cell in cells if name in cell}) for name in names}
    return {name: count for name, count in counts.items() if count > 1}


def _values(name: str, axis: Any) -> list[Any]:
    several = isinstance(axis, (list, tuple, range)) or (hasattr(axis, "tolist") and getattr(axis, "ndim", 0) > 0)
    try:  # through JSON, as cells are kept: tuples become lists, numpy's numbers Python's
        text = json.dumps(list(axis) if several else [axis], allow_nan=False, default=_plain)
    except ValueError as error:
        raise ValueError(f"axis {name!r}: {error}; accepted are values that JSON has") from None
    values: list[Any] = json.loads(text)
    if not values:
        raise ValueError(f"axis {name!r} has no values")
    if len({repr(value) for value in values}) != len(values):
        raise ValueError(f"axis {name!r} has a value twice: {values}")
    return values


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    raise ValueError(f"a {type(value).__name__}")
