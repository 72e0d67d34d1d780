"""The journals' table as printed by Stigler (1994)."""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo
from gpo_analysis.datasets import PUBLISHED_JOURNAL_ABILITIES

PRINTED = [[714, 730, 498, 221], [33, 425, 68, 17], [320, 813, 1072, 142], [284, 276, 325, 188]]


def test_counts_are_the_printed_ones_without_the_diagonal():
    games = gpo.load_journals()
    assert games.items == ("Biometrika", "Communications in Statistics", "JASA", "JRSS-B")
    expected = np.array(PRINTED, dtype=float)
    np.fill_diagonal(expected, 0)
    np.testing.assert_array_equal(games.matrix().toarray(), expected)
    assert tuple(PUBLISHED_JOURNAL_ABILITIES) == games.items
