"""Where tied policies are descended from: log π moves by about 2 a token, whatever the features' number and size."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_loss
from gpo_analysis.tabular import PrefixTree, descend_sequences
from gpo_analysis.tabular.sequence_descent import _Descent


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
def test_random_starts_move_log_probabilities_by_about_two(size: float) -> None:
    tree = PrefixTree(2, 2, 0.4)
    problem = tree.problem(gpo.bradley_terry(np.arange(float(tree.n))))
    phi = size * np.random.default_rng(1).normal(size=(tree.tokens, 60))
    descent = _Descent.of(tree, problem, get_loss("dpo"), 0.5, "sum", 1.0, phi)
    first, *others = descent.starts()
    np.testing.assert_array_equal(first, 0)
    assert len(others) >= 5
    moved = np.array([phi @ start for start in others])
    assert 1.7 < np.sqrt(np.mean(moved**2)) < 2.3
    plain = _Descent.of(tree, problem, get_loss("dpo"), 0.5, "sum", 1.0, None)
    (only,) = plain.starts()
    np.testing.assert_array_equal(only, tree.token_reference)


def test_the_lowest_end_is_taken_and_not_the_flattest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that stay where they begin, each with a gradient the smaller the higher its loss."""
    tree = PrefixTree(2, 2, 0.4)
    problem = tree.problem(gpo.bradley_terry(np.arange(float(tree.n))))
    values: list[float] = []

    def stays(self: _Descent, start: FloatArray) -> tuple[FloatArray, float]:
        values.append(self.value(start))
        return start, 1e-10 / (1 + values[-1])

    monkeypatch.setattr(_Descent, "minimum", stays)
    found = descend_sequences(tree, problem, "dpo", 0.5, features=tree.token_features("token"))
    assert len(set(values)) == len(values) > 1
    assert found.population_loss == min(values)
    assert found.reason == f"the best of {len(values)} starts, which 1 of them reach"
