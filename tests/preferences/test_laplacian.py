"""Laplacian systems against numpy's pseudoinverse, by conjugate gradients and by a factor."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from gpo_analysis.preferences.laplacian import centred, solve_laplacian


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("density", [0.05, 0.5])
def test_agrees_with_the_pseudoinverse(direct, density):
    rng = np.random.default_rng(0)
    n = 40
    upper = np.triu(rng.random((n, n)) * (rng.random((n, n)) < density), 1)
    weights = upper + upper.T
    labels = connected_components(sparse.csr_array(weights), directed=False)[1].astype(np.int64)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    right = laplacian @ rng.normal(size=n)
    x, iterated = solve_laplacian(sparse.csr_array(weights), right, labels, direct=direct)
    assert iterated is not direct
    np.testing.assert_allclose(x, centred(np.linalg.pinv(laplacian) @ right, labels), atol=1e-9)


def test_a_component_that_hangs_together_by_nothing_still_gets_a_finite_step():
    weights = sparse.csr_array(np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]))
    x, _ = solve_laplacian(weights, np.array([1.0, 1.0, -1.0, -1.0]), np.zeros(4, dtype=np.int64), direct=True)
    assert np.isfinite(x).all()
    assert x @ np.array([1.0, 1.0, -1.0, -1.0]) > 0
    x, _ = solve_laplacian(weights * 0, np.array([1.0, 1.0, -1.0, -1.0]), np.zeros(4, dtype=np.int64))
    assert np.isfinite(x).all()
