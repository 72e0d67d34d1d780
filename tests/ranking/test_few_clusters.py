"""Votes that come in few clusters: Student's law of clusters less one, in place of the normal one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gpo_analysis.ranking import ComparisonProblem, bootstrap, rank, rank_sets


def test_few_clusters_have_students_law() -> None:
    """Five judges: intervals, differences and tests by t with four degrees, and draws of ranks as wide."""
    rng = np.random.default_rng(0)
    votes, judges = 60, 5
    first, second = np.zeros(votes, dtype=int), rng.integers(1, 3, votes)
    wins = rng.integers(0, 2, votes).astype(float)
    problem = ComparisonProblem(first, second, wins, 1 - wins, cluster=np.arange(votes) % judges)
    found = rank(problem)
    half = stats.t.ppf(0.975, judges - 1) * found.standard_errors
    np.testing.assert_allclose(found.intervals.high - found.scores, half, rtol=1e-12)
    row = found.differences("0", "1", simultaneous=False).iloc[0]
    t = row["difference"] / row["standard_error"]
    assert (row["high"] - row["difference"]) / row["standard_error"] == pytest.approx(stats.t.ppf(0.975, judges - 1))
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(t), judges - 1))
    two = rank_sets(np.zeros(2), np.array([[0.25, -0.25], [-0.25, 0.25]]), draws=200_000, freedom=4.0)
    assert two.critical == pytest.approx(stats.t.ppf(0.975, 4), rel=0.02)
    [again] = bootstrap([found], resamples=400, seed=1)
    assert (again.high - again.low > 2 * stats.t.ppf(0.975, 4) * again.standard_error * 1.1).all()
