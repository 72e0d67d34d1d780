"""Names that tables bring: of the rows and columns of a DataFrame, of a Series.

Labels say whose number it is, so that two labelled tables are put in one order rather than taken by position.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gpo_analysis.reading.visible import shown


def labels_of(values: Any) -> tuple[str, ...] | None:
    """The names along the last axis of a DataFrame or Series of pandas, or of the first of a list of them.

    Returns
    -------
    tuple of str, or None
        None for anything else, and where pandas only numbered: that is no name.

    Examples
    --------
    >>> import pandas as pd
    >>> labels_of(pd.Series({"tea": 0.5, "mate": 0.5})), labels_of(pd.Series([0.5, 0.5])), labels_of([0.5, 0.5])
    (('tea', 'mate'), None, None)
    """
    pandas = sys.modules.get("pandas")  # whoever has a frame has loaded it
    if pandas is None:
        return None
    for table in values if isinstance(values, list | tuple) else [values]:
        if isinstance(table, pandas.DataFrame | pandas.Series):
            found = _names(table.columns if isinstance(table, pandas.DataFrame) else table.index)
            if found is not None:
                return found
    return None


def common_items(items: Sequence[str] | None, *tables: Any) -> Sequence[str] | None:
    """The items that are given, or the labels of the first table that has some; None where there are none.

    Labels that are the numbers from 0 in any order, as a count of values has them, are places: the items are then
    numbered, and a table without labels keeps its order.

    Examples
    --------
    >>> import pandas as pd
    >>> common_items(None, [[0.5, 0.5]], pd.Series({"tea": 0.5, "mate": 0.5}))
    ('tea', 'mate')
    >>> common_items(None, [[0.5, 0.5]], pd.Series([0.75, 0.25], index=[1, 0]))
    ('0', '1')
    """
    if items is not None:
        return items
    found = next((found for found in map(labels_of, tables) if found is not None), None)
    numbers = () if found is None else tuple(map(str, range(len(found))))
    return numbers if found is not None and sorted(numbers) == sorted(found) else found


def in_order(values: Any, name: str, items: Sequence[str] | None = None, *, square: bool = False) -> Any:
    """The numbers of a labelled table in the order of the items; whatever has no labels as it is.

    Parameters
    ----------
    values : array_like
    name : str
        Of the argument, for the message.
    items : sequence of str, optional
        Those along its last axis by default. Where they are only numbered, the table is taken by position.
    square : bool
        Whether rows and columns name the same: the rows are then put in order too.

    Raises
    ------
    ValueError
        Where rows and columns, or the table and the items, have different names, or one stands twice; the message has
        them.

    Examples
    --------
    >>> import pandas as pd
    >>> in_order(pd.Series({"tea": 0.75, "mate": 0.25}), "behavior", ("mate", "tea"))
    array([0.25, 0.75])
    """
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return values
    if isinstance(values, list | tuple) and any(isinstance(one, pandas.DataFrame | pandas.Series) for one in values):
        items = common_items(items, *values)
        return [in_order(one, f"{name}[{i}]", items, square=square) for i, one in enumerate(values)]
    if not isinstance(values, pandas.DataFrame | pandas.Series):
        return values
    labels, table = labels_of(values), values.to_numpy()
    rows = _names(values.index) if square else labels
    if square and rows != labels:
        if table.shape[0] != table.shape[1]:
            return table  # refused for its shape
        one, other = (tuple(map(str, axis)) for axis in (values.index, values.columns))
        if sorted(one) != sorted(other) or rows is None or labels is None:
            raise ValueError(
                f"{name} has rows named {_listed(one)} and columns named {_listed(other)}; accepted is a table with "
                f"the same names on both, or its numbers alone, {name}.to_numpy()"
            )
    if labels is None or rows is None:
        return table
    twice = [label for seen in (labels, rows) for label, times in Counter(seen).items() if times > 1]
    if twice:
        raise ValueError(f"{name} has {shown(twice[0])} twice among its names; accepted is each name once")
    wanted = tuple(labels if items is None else items)
    if sorted(map(str, wanted)) != sorted(labels):
        if len(wanted) == len(labels) and wanted == tuple(map(str, range(len(wanted)))):
            if rows != labels:
                raise ValueError(
                    f"{name} has rows in the order {_listed(rows)} and columns in the order {_listed(labels)}, and the "
                    f"items are only numbered; accepted is one order, or its numbers alone, {name}.to_numpy()"
                )
            return table  # items that are only numbered have no names
        raise ValueError(
            f"{name} has the names {_listed(labels)}, the items are {_listed(wanted)}; accepted are the same names in "
            f"any order, or its numbers alone, {name}.to_numpy()"
        )
    place = {label: i for i, label in enumerate(labels)}
    table = table[..., [place[str(item)] for item in wanted]]
    place = {label: i for i, label in enumerate(rows)}
    return table[[place[str(item)] for item in wanted]] if square else table


def _names(axis: Any) -> tuple[str, ...] | None:
    """Labels as text; None where pandas numbered from 0."""
    numbered = type(axis).__name__ == "RangeIndex" and (axis.start, axis.step) == (0, 1)
    return None if numbered else tuple(map(str, axis))


def _listed(names: Sequence[str]) -> str:
    few = ", ".join(shown(str(name), 40) for name in names[:6])
    return few + (f" and {len(names) - 6} more" if len(names) > 6 else "")
