"""Small published tables that ship with the package."""

from __future__ import annotations

from importlib import resources

from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.files import read_comparisons

__all__ = ["PUBLISHED_JOURNAL_ABILITIES", "load_journals"]

#: Bradley–Terry abilities of the journals as published with the table, Biometrika at 0.
PUBLISHED_JOURNAL_ABILITIES: dict[str, float] = {
    "Biometrika": 0.0,
    "Communications in Statistics": -2.949,
    "JASA": -0.480,
    "JRSS-B": 0.269,
}


def load_journals() -> Comparisons:
    """Citations among four statistics journals (Stigler 1994, *Citation patterns in the journals of statistics and
    probability*, Statistical Science 9, 94–108).

    Each citation is a comparison that the cited journal wins against the citing one: of the published table's entry
    "times the row's journal is cited by the column's" the row wins. Citations within a journal are left out.

    Returns
    -------
    Comparisons
        4 items, 12 ordered pairs.

    Examples
    --------
    >>> load_journals()
    Comparisons(4 items, 6 compared pairs, total count 3727)
    """
    with resources.as_file(resources.files(__package__) / "journals.csv") as path:
        return read_comparisons(path)
