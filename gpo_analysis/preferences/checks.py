"""What a function that takes comparisons is given."""

from __future__ import annotations

import os
from typing import Any

from gpo_analysis.preferences.comparisons import Comparisons


def check_comparisons(given: Any, name: str = "comparisons") -> Comparisons:
    """The comparisons that were given; of anything else, how they are made of it.

    Parameters
    ----------
    given : Comparisons
    name : str
        Of the argument, for the message.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> check_comparisons("votes.csv")
    Traceback (most recent call last):
    ...
    ValueError: comparisons is a str; accepted are Comparisons: gpo.Comparisons.read('votes.csv') reads a file
    """
    if isinstance(given, Comparisons):
        return given
    how = ", as gpo.Comparisons.read(file), .from_frame(table) or .from_counts(matrix) make them"
    if isinstance(given, str | os.PathLike):
        how = f": gpo.Comparisons.read({os.fspath(given)!r}) reads a file"
    elif hasattr(given, "columns") and list(given.columns) == list(getattr(given, "index", ())):
        how = ": gpo.Comparisons.from_counts(table) takes wins, of the row's name over the column's"
    elif hasattr(given, "columns"):
        how = ": gpo.Comparisons.from_frame(table) takes a table"
    elif hasattr(given, "shape"):
        how = ": gpo.Comparisons.from_counts(matrix) takes wins, counts[i, j] of i over j"
    raise ValueError(f"{name} is a {type(given).__name__}; accepted are Comparisons{how}")
