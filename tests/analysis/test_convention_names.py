"""The names of conventions that are known without computer algebra, beside the rows that they stand for."""

from __future__ import annotations

import gpo_analysis as gpo
from gpo_analysis.convention_names import convention_names


def test_names_known_before_the_dictionary_are_those_of_its_rows() -> None:
    rows = gpo.list_conventions()
    assert list(convention_names()) == [row.name for row in rows]
    # those of GPO's own are the aliases of the losses themselves, which are read from elsewhere
    assert {row.name: row.aliases for row in rows} == convention_names()
