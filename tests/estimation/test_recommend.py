"""β for a budget or a margin: against closed forms, a scan, and what must be refused."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.special import expit, rel_entr

import gpo_analysis as gpo
from gpo_analysis.estimation.prompts import PromptFits
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


def test_the_smallest_budgets_against_many_digits() -> None:
    """β → √(Var/2KL), and KL of the tilt by 60 digits at every size; computed as a difference it is lost at 1e-16."""
    games = gpo.Comparisons.from_pairs([("p1 yes", "p1 no", 9), ("p1 no", "p1 yes", 1)])
    found = gpo.recommend_beta(games, kl=1e-20, losses=["dpo"], resamples=5)["logistic"]
    assert found.beta.value == pytest.approx(np.log(9) / 2 / np.sqrt(2e-20), rel=1e-9)
    assert found.beta.value == pytest.approx(7.768e9, rel=1e-4)
    g, reference = np.array([1.2, -0.3, -0.9]), np.array([0.5, 0.2, 0.3])
    fit = PromptFits(g, reference, np.zeros(3, dtype=np.int64), 1.0)
    with mpmath.workdps(60):
        for beta in (0.01, 1.0, 3.0, 4.2, 4.3, 50.0, 1e4, 1e9):
            tilt = [mpmath.mpf(r) * mpmath.exp(mpmath.mpf(x) / beta) for r, x in zip(reference, g, strict=True)]
            total = sum(tilt)
            exact = sum(t / total * mpmath.log(t / total / mpmath.mpf(r)) for t, r in zip(tilt, reference, strict=True))
            exact -= mpmath.log(1 / sum(map(mpmath.mpf, reference)))  # the floats do not sum to one exactly
            assert fit.kl(beta) == pytest.approx(float(exact), rel=1e-11)


SMALL = "a,b,9 b,a,4 c,d,6 d,c,5 c,e,2 e,c,3 d,e,4 e,d,1"


def test_strength_is_that_of_the_loss_that_was_fitted() -> None:
    games = gpo.Comparisons.from_pairs([(w, x, float(n)) for w, x, n in (row.split(",") for row in SMALL.split())])
    found = gpo.recommend_beta(games, kl=0.2, smoothing=0.1, losses=["dpo", "ipo"], resamples=5)
    assert found["logistic"].beta_kappa == pytest.approx(0.2086, abs=5e-5)
    assert found["squared"].beta_kappa == pytest.approx(0.2033, abs=5e-5)
    # κ of (1−ε) f(z) + ε f(−z) is κ/(1−2ε)
    assert found["logistic"].beta_kappa == pytest.approx(found["logistic"].beta.value * 0.5 / 0.8)


@pytest.mark.parametrize("prompts", [3, 25])
def test_one_label_a_pair_has_no_interval_of_width_zero(prompts: int) -> None:
    games = gpo.Comparisons.from_pairs([(f"q{k} good", f"q{k} bad") for k in range(prompts)])
    found = gpo.recommend_beta(games, kl=0.2, resamples=30)
    assert found["logistic"].status.startswith("no finite optimum")
    for name in ("squared", "hinge", "truncated_quadratic"):
        assert np.isfinite(found[name].beta.value)
        assert np.isnan(found[name].beta.low)
        assert np.isnan(found[name].beta.high)
    assert "none" in str(found)


@pytest.mark.parametrize(
    ("count", "arguments", "word"),
    [
        (1e299, {}, r"at most 4.6e\+18, got 2e\+299"),
        (1.0, {"resamples": 10**20}, "at most 100,000"),
        (1.0, {"resamples": 10**6}, "at most 100,000"),
    ],
)
def test_more_labels_or_resamples_than_can_be_drawn(count: float, arguments: dict, word: str) -> None:
    games = gpo.Comparisons.from_pairs([("a", "b", count), ("b", "a", count)])
    with pytest.raises(ValueError, match=word):
        gpo.recommend_beta(games, kl=0.1, losses=["dpo"], **arguments)
    with pytest.raises(ValueError, match=word):
        gpo.bootstrap_scores(games, "dpo", **arguments)


def test_more_held_out_labels_than_memory_holds() -> None:
    games = gpo.Comparisons.from_pairs([("a", "b", 1e9), ("b", "a", 1e9)])
    with pytest.raises(ValueError, match=r"at most 20,000,000, got 2e\+09"):
        gpo.choose_loss(games, ["dpo"])
