"""Pairs as arrays: components by links and by cycles, and what they are labelled by."""

from __future__ import annotations

import numpy as np

from gpo_analysis.solvers.pairs import WeightedPairs


def test_labels_are_whole_numbers_of_sixty_four_bits() -> None:
    """Pairs of labels are told apart by products of them, which of some ten thousand groups exceed 32 bits."""
    pairs = WeightedPairs(5, np.array([0, 1, 1, 3]), np.array([1, 0, 2, 4]), np.ones(4), 0.0, tuple("abcde"), None)
    assert pairs.parts.dtype == pairs.cycles.dtype == np.int64
    assert len(set(pairs.parts[:3].tolist())) == 1
    assert len(set(pairs.parts.tolist())) == 2
    assert pairs.cycles[0] == pairs.cycles[1]
    assert len(set(pairs.cycles.tolist())) == 4
