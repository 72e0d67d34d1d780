"""Difference constraints: which differences are fixed, and the solution of least norm, against cvxpy."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from scipy.sparse import csr_array

from gpo_analysis.solvers.faces import Intervals, _exactly_there, fixed_blocks, least_norm


def intervals(*rows):
    winner, loser, lower, upper = (np.array(column) for column in zip(*rows, strict=True))
    return Intervals(winner, loser, lower.astype(float), upper.astype(float))


def test_equalities_fix_and_one_sided_constraints_do_not():
    fixed = intervals((0, 1, 2.0, 2.0), (1, 2, 1.0, np.inf))
    assert len(set(fixed_blocks(3, fixed, np.array([3.0, 1.0, 0.0])).tolist())) == 2
    assert len(set(fixed_blocks(3, fixed, np.array([3.0, 1.0, -5.0])).tolist())) == 2


def test_a_cycle_of_tight_constraints_fixes_everything():
    # a − b ≥ 1, b − c ≥ 1, c − a ≥ −2: added up they leave no room.
    rows = intervals((0, 1, 1.0, np.inf), (1, 2, 1.0, np.inf), (2, 0, -2.0, np.inf))
    assert fixed_blocks(3, rows, np.array([2.0, 1.0, 0.0])).max() == 0
    upper = intervals((0, 1, 1.0, np.inf), (1, 2, 1.0, np.inf), (0, 2, -np.inf, 2.0))
    assert fixed_blocks(3, upper, np.array([2.0, 1.0, 0.0])).max() == 0
    loose = intervals((0, 1, 1.0, np.inf), (1, 2, 1.0, np.inf), (2, 0, -2.5, np.inf))
    assert fixed_blocks(3, loose, np.array([2.0, 1.0, 0.0])).max() == 2


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n", [4, 12])
def test_least_norm_agrees_with_cvxpy(seed, n):
    rng = np.random.default_rng(seed)
    g = rng.normal(size=n) * 3
    k = 3 * n
    winner = rng.integers(n, size=k)
    loser = (winner + rng.integers(1, n, size=k)) % n
    d = g[winner] - g[loser]
    lower = np.where(rng.random(k) < 0.5, d - rng.exponential(size=k), -np.inf)
    upper = np.where(rng.random(k) < 0.5, d + rng.exponential(size=k), np.inf)
    equal = rng.random(k) < 0.1
    lower, upper = np.where(equal, d, lower), np.where(equal, d, upper)
    rows = Intervals(winner, loser, lower, upper)
    found = least_norm(n, rows, g, fixed_blocks(n, rows, g))
    x = cp.Variable(n)
    limits = [x[i] - x[j] >= a for i, j, a in zip(winner, loser, lower, strict=True) if np.isfinite(a)]
    limits += [x[i] - x[j] <= b for i, j, b in zip(winner, loser, upper, strict=True) if np.isfinite(b)]
    cp.Problem(cp.Minimize(cp.sum_squares(x)), limits).solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_feas=1e-11)
    np.testing.assert_allclose(found, x.value, atol=1e-6)
    d = found[winner] - found[loser]
    assert np.all(d >= lower - 1e-9)
    assert np.all(d <= upper + 1e-9)


def test_least_norm_of_many_blocks_takes_the_sparse_way():
    n = 400
    rows = Intervals(np.arange(n - 1), np.arange(1, n), np.ones(n - 1), np.full(n - 1, np.inf))
    g = 2.0 * np.arange(n)[::-1]
    found = least_norm(n, rows, g, fixed_blocks(n, rows, g))
    np.testing.assert_allclose(found, (n - 1) / 2 - np.arange(n), atol=1e-6)


def test_nothing_holds():
    none = np.zeros(0, dtype=np.int64)
    rows = Intervals(none, none, np.zeros(0), np.zeros(0))
    g = np.array([3.0, -1.0])
    np.testing.assert_allclose(least_norm(2, rows, g, fixed_blocks(2, rows, g)), 0)


def test_where_no_constraint_pulls_the_point_stays_to_the_bit():
    rows, bound = csr_array(np.eye(2)), np.array([1.0, 2.0])
    near = np.array([1.0 + 1e-8, 2.0 + 1e-8])
    np.testing.assert_array_equal(_exactly_there(rows, bound, np.zeros(2), near), near)
    np.testing.assert_array_equal(_exactly_there(rows, bound, np.array([0.0, 1.0]), np.array([0.0, 2.0])), [0.0, 2.0])
    np.testing.assert_array_equal(_exactly_there(rows, bound, np.ones(2), near), bound)


def test_the_exact_point_need_not_be_better_than_the_found_one():
    """Another constraint that both miss by as much says nothing against it; one that it alone misses does."""
    rows, pulls = csr_array(np.eye(2)), np.array([1.0, 0.0])
    found = np.array([1.0 + 1e-8, 0.0])
    np.testing.assert_array_equal(_exactly_there(rows, np.array([1.0, 5.0]), pulls, found), [1.0, 0.0])
    beside = np.array([1.0 + 1e-8, 1e-8])
    np.testing.assert_array_equal(_exactly_there(rows, np.array([1.0, 5.0]), pulls, beside), beside)
