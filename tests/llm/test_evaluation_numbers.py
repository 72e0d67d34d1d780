"""Numbers of an evaluation one by one, against scipy, numpy and what is written beside them."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit

import gpo_analysis as gpo

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llm.evaluation.evaluate import EvaluationSet, prepare  # noqa: E402
from llm.evaluation.margins import margins  # noqa: E402
from llm.evaluation.signatures import SIGNATURES, signature  # noqa: E402
from llm.evaluation.texts import describe, distinct  # noqa: E402
from llm.evaluation.win_rate import best_of_n, best_of_n_kl, interval, length_controlled  # noqa: E402


@pytest.mark.parametrize("n", [2, 3, 5, 40])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_is_students_within_the_unit(n: int, level: float) -> None:
    values = np.random.default_rng(n).uniform(0.3, 0.6, n)
    low, high = stats.t.interval(level, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert interval(values, level) == pytest.approx((max(low, 0.0), min(high, 1.0)), rel=1e-12)
    assert interval([0.0, 1.0]) == (0.0, 1.0)
    assert interval([0.9, 1.0, 1.0])[1] == 1.0
    assert interval([0.1, 0.0, 0.0])[0] == 0.0


def test_length_control_is_the_least_of_its_penalised_likelihood() -> None:
    """By a descent without gradients on a few prompts, where the pseudo-observation counts."""
    rng = np.random.default_rng(0)
    won, d = rng.uniform(0, 1, 12), rng.normal(3, 4, 12)
    feature = np.tanh(d / d.std())

    def height(theta: np.ndarray) -> float:
        z = theta[0] + theta[1] * feature
        return float(np.sum(np.log1p(np.exp(z)) - won * z) + np.sum(theta**2) / 8)

    found = minimize(height, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14})
    assert length_controlled(won, d) == pytest.approx(expit(found.x[0]), abs=1e-6)


def test_best_of_n_of_whole_numbers_and_what_it_refuses() -> None:
    """Integer rewards of a pool of 40: C(39, 20) is beyond int32, and the weights still sum to 1."""
    pool = np.tile(np.arange(40), (2, 1))
    found = best_of_n(pool, np.full((2, 1), -1), 20)
    assert found.result.win_rate == pytest.approx(1.0, rel=1e-12)
    assert found.mean_reward == pytest.approx(20 * 41 / 21 - 1, rel=1e-12)  # E max of n of 1 … N is n(N + 1)/(n + 1)
    for pool_, theirs, name in (([[np.nan]], [[1.0]], "pool"), ([[1.0]], [[np.nan]], "opponents")):
        with pytest.raises(ValueError, match=f"^{name} has 1 NaN"):
            best_of_n(pool_, theirs, 1)


@pytest.mark.filterwarnings("error")
def test_levels_that_underflow_add_nothing() -> None:
    """(10⁻⁴)^100 is 0 in floats: no logarithm is taken of it."""
    p = np.array([1e-4, 1 - 1e-4])
    assert best_of_n_kl(p, 100) == pytest.approx(-np.log1p(-1e-4), rel=1e-9)


def test_texts_are_counted_to_three() -> None:
    tokens = [[1, 2, 3, 1, 2, 3, 4], [1, 2, 3, 4, 1]]
    found = describe(tokens, [True, False])
    assert set(found) == {
        "length",
        "length_sd",
        "finished",
        "distinct_1",
        "distinct_2",
        "distinct_3",
        "distinct_responses",
    }
    for n in (1, 2, 3):
        grams = [tuple(row[i : i + n]) for row in tokens for i in range(len(row) + 1 - n)]
        assert found[f"distinct_{n}"] == distinct(tokens, n) == len(set(grams)) / len(grams)
    assert (found["length"], found["length_sd"], found["finished"]) == (6.0, 1.0, 0.5)


def test_columns_of_margins_and_whole_numbers_as_labels() -> None:
    rng = np.random.default_rng(1)
    policy, reference = rng.normal(size=(2, 50, 2))
    loss = gpo.get_loss("exponential")
    labels = rng.integers(0, 2, 50)
    found = margins(policy, reference, loss, 0.5, labels)
    assert list(found) == [
        "mu_squared_loss", "mean_rho", "accuracy", "chosen_logp", "rejected_logp", "chosen_change", "rejected_change",
        "beyond_taylor", "held_out_loss", "weight_error_1", "weight_error_2", "weight_error_4", "margin_q50",
        "margin_q90", "margin_q99",
    ]  # fmt: skip
    change = policy - reference
    z = 0.5 * (change[:, 0] - change[:, 1])
    assert found["held_out_loss"] == pytest.approx(np.mean(np.where(labels == 1, np.exp(-z), np.exp(z))), rel=1e-12)
    for q in (50, 90, 99):
        assert found[f"margin_q{q}"] == pytest.approx(np.percentile(np.abs(z), q), rel=1e-12)
    weight, series = -np.exp(-z), {1: -np.ones(50), 2: -1 + z, 4: -1 + z - z**2 / 2 + z**3 / 6}
    for order, expanded in series.items():
        error = np.sqrt(np.mean((expanded - weight) ** 2) / np.mean(weight**2))
        assert found[f"weight_error_{order}"] == pytest.approx(error, rel=1e-12)


def test_words_of_signatures_are_those_that_are_explained() -> None:
    base = {"entropy": 1.0, "reference_entropy": 9.0, "held_out_loss": 0.9, "loss_at_zero": 0.7, "kl": 8.0,
            "win_rate_low": 0.2, "win_rate_high": 0.3, "finished": 0.5, "length": 12.0, "reference_length": 10.0,
            "relative_error_1": 0.01}  # fmt: skip
    said = signature(base).split("; ") + signature(base | {"kl": 0.01, "win_rate_high": 0.6}).split("; ")
    assert set(said) == set(SIGNATURES)
    assert "runaway" not in signature(base | {"finished": 0.9})
    assert "runaway" not in signature(base | {"length": 11.0})


def test_what_an_evaluation_takes_where_nothing_is_said() -> None:
    """256 second responses for ½E[ρ²] on-policy and 96 pairs' gradients, as README and records say."""
    asked = inspect.signature(EvaluationSet).parameters
    values: dict[str, Any] = {name: asked[name].default for name in ("batch_size", "second_samples", "gradient_pairs")}
    assert values == {"batch_size": 256, "second_samples": 256, "gradient_pairs": 96}
    assert asked["dtype"].default == "float32"
    with pytest.raises(ValueError, match="samples is 0 for 1 prompts"):
        prepare(None, None, [object()], None, None, samples=0, max_new_tokens=1, seed=0)  # type: ignore[list-item,arg-type]
