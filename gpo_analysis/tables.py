"""Reading tables: the rows where columns have given values, and the one value that a column has there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def find(table: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """Return the rows in which every named column equals its value, with their index.

    Parameters
    ----------
    table : DataFrame
        Any table.
    **where : values
        Column -> the value it has; a list, tuple, set or range stands for any of its values.

    Raises
    ------
    ValueError
        For a column that the table does not have.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"loss": ["dpo", "ipo", "dpo"], "seed": [0, 0, 1], "kl": [0.1, 0.2, 0.3]})
    >>> find(table, loss="dpo", seed=[1, 2])["kl"].tolist()
    [0.3]
    """
    unknown = [column for column in where if column not in table]
    if unknown:
        raise ValueError(f"no column {unknown[0]!r}; the table has {', '.join(map(str, table.columns))}")
    for column, value in where.items():
        several = isinstance(value, (list, tuple, set, frozenset, range))
        table = table[table[column].isin(list(value)) if several else table[column] == value]
    return table


def get(table: pd.DataFrame, column: str, **where: Any) -> Any:
    """Return the one value that a column has in the rows that `find` gives.

    Parameters
    ----------
    table : DataFrame
        Any table.
    column : str
        The column that is read; it has one value in all these rows, or NaN in all of them.
    **where : values
        As in `find`.

    Raises
    ------
    ValueError
        Where there is no such row, or the column has several values.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"loss": ["dpo", "ipo", "dpo"], "kappa": [0.5, 1.0, 0.5]})
    >>> float(get(table, "kappa", loss="dpo"))
    0.5
    """
    values = find(table, **where)[column].drop_duplicates()
    if len(values) != 1:
        told = ", ".join(f"{name} = {value!r}" for name, value in where.items()) or "the whole table"
        raise ValueError(f"{column!r} has {len(values)} values at {told}; one is read")
    return values.iloc[0]
