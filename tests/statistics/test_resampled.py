"""The two-way bootstrap against variances that are known."""

from __future__ import annotations

import numpy as np
import pytest

from gpo_analysis.statistics import two_way


def test_two_way_intervals_are_as_wide_as_seeds_and_prompts_make_them() -> None:
    """Means of nested normal draws: variance σ²_seed/S + σ²_prompt/(S·P), here by the bootstrap."""
    rng = np.random.default_rng(1)
    data = [rng.normal() + rng.normal(size=(30, 1)) for _ in range(40)]
    found = two_way(data, lambda m: float(m.mean()), 2000, 0)
    expected = np.sqrt(np.var([d.mean() for d in data]) / 40 + np.mean([d.var() for d in data]) / (40 * 30))
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(expected, rel=0.1)


def test_what_has_no_prompts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prompts of each seed: \[2, 0\]"):
        two_way([np.ones((2, 1)), np.ones((0, 1))], lambda m: float(m.mean()), 10, 0)


def test_the_value_is_that_of_the_means_over_each_seeds_own_prompts() -> None:
    rng = np.random.default_rng(3)
    data = [rng.normal(size=(prompts, 2)) for prompts in (2, 3, 5)]
    ratios = [sum(row[0] for row in part) / sum(row[1] for row in part) for part in data]  # in plain Python
    found = two_way(data, lambda m: float(np.sum(m[:, 0] / m[:, 1])), 20, 0)
    assert found.value == pytest.approx(sum(ratios))
