"""β for a budget or a margin: against closed forms, a scan, and what must be refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, rel_entr

import gpo_analysis as gpo
from gpo_analysis.preferences import Comparisons


def two(wins: float, losses: float) -> Comparisons:
    return Comparisons.from_pairs([("a", "b", wins), ("b", "a", losses)])


def test_two_items_have_a_closed_form() -> None:
    z = np.log(7 / 3)
    found = gpo.recommend_beta(two(70, 30), kl=0.1, losses=["dpo", "ipo"], resamples=30)
    for name, margin in (("logistic", z), ("squared", 0.4)):
        p = expit(margin / found[name].beta.value)  # π(a) = σ(z*/β)
        assert np.sum(rel_entr([p, 1 - p], [0.5, 0.5])) == pytest.approx(0.1, abs=1e-9)
    by_margin = gpo.recommend_beta(two(70, 30), margin=2.0, losses=["dpo"], resamples=30)["logistic"]
    assert by_margin.beta.value == pytest.approx(z / 2)
    assert by_margin.mean_abs_rho == pytest.approx(2.0)


def test_beta_gives_the_budget_when_the_problem_is_solved_with_it() -> None:
    data = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 0.5, 1.0, 2.0])).sample(500, seed=1)
    reference = np.array([0.1, 0.2, 0.3, 0.4])
    found = gpo.recommend_beta(
        data, kl=0.25, losses=["logistic", "squared", "savage"], reference=reference, resamples=5
    )
    for row in found.rows:
        solved = gpo.fit_comparisons(data, [row.loss], row.beta.value, reference=reference).solutions[row.loss]
        assert solved.kl == pytest.approx(0.25, abs=1e-7)
        assert row.kl == pytest.approx(0.25, abs=1e-9)


def test_prompts_are_averaged_and_resampled_whole() -> None:
    pairs = []
    for k in range(40):
        pairs += [(f"{k}a", f"{k}b", 6 + k % 3), (f"{k}b", f"{k}a", 3.0)]
    found = gpo.recommend_beta(Comparisons.from_pairs(pairs), kl=0.05, losses=["dpo"], resamples=50)
    assert found.prompts == 40
    p = expit(np.log([(6 + k % 3) / 3 for k in range(40)]) / found["logistic"].beta.value)
    assert np.mean(rel_entr(p, 0.5) + rel_entr(1 - p, 0.5)) == pytest.approx(0.05, abs=1e-9)
    beta = found["logistic"].beta
    assert beta.low < beta.value < beta.high


def test_larger_prompts_among_pairs() -> None:
    pairs = [("x", "y", 3), ("y", "x", 1), ("a", "b", 4), ("b", "a", 2), ("b", "c", 4), ("c", "b", 2), ("a", "c", 5)]
    found = gpo.recommend_beta(Comparisons.from_pairs(pairs), kl=0.2, losses=["ipo"], resamples=5)["squared"]
    together = []
    for part in (pairs[:2], pairs[2:]):
        fit = gpo.fit_comparisons(Comparisons.from_pairs(part), ["ipo"], found.beta.value).solutions["squared"]
        together.append(fit.kl)
    assert np.mean(together) == pytest.approx(0.2, abs=1e-7)


def test_one_label_a_pair_needs_smoothing() -> None:
    data = Comparisons.from_pairs([(f"{k}a", f"{k}b") for k in range(30)])
    plain = gpo.recommend_beta(data, kl=0.1, losses=["dpo", "ipo"], resamples=5)
    assert "smoothing" in plain["logistic"].status
    assert np.isnan(plain["logistic"].beta.value)
    assert plain["squared"].status == "found"
    smooth = gpo.recommend_beta(data, margin=2.0, losses=["dpo"], smoothing=0.1, resamples=5)["logistic"]
    assert smooth.beta.value == pytest.approx(np.log(9) / 2)


def test_a_budget_out_of_reach_is_told() -> None:
    found = gpo.recommend_beta(two(70, 30), kl=0.8, losses=["dpo"], resamples=5)["logistic"]  # log 2 = 0.693
    assert "out of reach" in found.status
    assert "0.6931" in found.status


def test_the_interval_covers_the_population() -> None:
    problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 0.7, 1.4]))
    g = problem.solve("dpo", 1.0).scores

    def kl(beta: float) -> float:
        p = np.exp(g / beta) / np.exp(g / beta).sum()
        return float(np.sum(p * np.log(3 * p)))

    grid = np.geomspace(0.1, 10, 4001)
    true = grid[np.argmin([abs(kl(b) - 0.2) for b in grid])]
    hits = sum(
        true in gpo.recommend_beta(problem.sample(300, seed=k), kl=0.2, losses=["dpo"], resamples=60).rows[0].beta
        for k in range(40)
    )
    assert 32 <= hits <= 40  # binomial(40, 0.95) is below 33 with probability 0.0009


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "kl"), ({"kl": 1.0, "margin": 1.0}, "one of"), ({"kl": -1.0}, "-1"), ({"margin": 0.0}, "margin"),
        ({"kl": 1.0, "smoothing": 0.5}, "smoothing"), ({"kl": 1.0, "resamples": 0}, "resamples"),
        ({"kl": 1.0, "confidence": 1.0}, "confidence"), ({"kl": 1.0, "reference": [1.0, -1.0]}, "reference"),
        ({"kl": 1.0, "losses": []}, "losses"), ({"kl": 1.0, "losses": ["dop"]}, "dop"),
    ],
)  # fmt: skip
def test_bad_input_is_named(arguments: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        gpo.recommend_beta(two(3, 1), **arguments)
