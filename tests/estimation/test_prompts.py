"""Many prompts as few problems: against a prompt at a time, brentq at every resample, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, rel_entr

import gpo_analysis as gpo
from gpo_analysis.estimation.prompts import PromptFits, Prompts, fit_prompts, margins_and_labels, prompts_of
from gpo_analysis.estimation.warm import refitted
from gpo_analysis.losses import get_loss
from gpo_analysis.preferences import Comparisons


def many(prompts: int, seed: int = 0) -> tuple[Comparisons, np.ndarray]:
    """Prompts of two to four responses, each pair labelled once or twice; and a reference."""
    rng = np.random.default_rng(seed)
    rows, base = [], 0
    for _ in range(prompts):
        m = int(rng.integers(2, 5))
        cycle = [(base + i, base + (i + 1) % m, float(rng.integers(1, 3))) for i in range(m)]
        rows += [(i, j, n) if rng.random() < 0.5 else (j, i, n) for i, j, n in cycle]
        rows += [(i, i + 1, 1.0) for i in range(base, base + m - 1)]
        rows += [(i + 1, i, 1.0) for i in range(base, base + m - 1)]
        base += m
    shuffled = rng.permutation(base)  # items of one prompt do not stand together
    winner, loser, count = zip(*rows, strict=True)
    return Comparisons(shuffled[list(winner)], shuffled[list(loser)], count), rng.integers(1, 3, base).astype(float)


def one_at_a_time(
    games: Comparisons, reference: np.ndarray, loss: str
) -> list[tuple[np.ndarray, np.ndarray, float, float]]:
    """g, πref, sum of count · |g_w − g_l| and of counts, of each prompt by itself."""
    prompt = prompts_of(games.aggregated())
    found = []
    for k in range(prompt.max() + 1):
        members = np.flatnonzero(prompt == k)
        index = {int(i): place for place, i in enumerate(members)}
        rows = [
            (index[w], index[x], c)
            for w, x, c in zip(games.winner, games.loser, games.count, strict=True)
            if w in index
        ]
        w, x, c = (np.array(column) for column in zip(*rows, strict=True))
        g = gpo.fit_comparisons(Comparisons(w, x, c), [loss]).solutions[loss].scores
        share = reference[members] / reference[members].sum()
        found.append((g, share, float(c @ np.abs(g[w] - g[x])), float(c.sum())))
    return found


def kl_of(g: np.ndarray, share: np.ndarray, beta: float) -> float:
    policy = share * np.exp((g - g.max()) / beta)
    policy /= policy.sum()
    return float(np.sum(rel_entr(policy, share)))


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_merged_prompts_are_the_prompts_one_by_one(loss: str) -> None:
    games, reference = many(60)
    found = gpo.recommend_beta(games, kl=0.1, losses=[loss], reference=reference, resamples=5)[loss]
    single = one_at_a_time(games, reference, loss)
    beta = brentq(lambda b: np.mean([kl_of(g, share, b) for g, share, _, _ in single]) - 0.1, 1e-2, 1e2)
    assert found.beta.value == pytest.approx(beta, rel=1e-7)
    mean_abs = sum(size for *_, size, _ in single) / sum(labels for *_, labels in single)
    assert found.mean_abs_rho == pytest.approx(mean_abs / beta, rel=1e-7)


def test_equal_prompts_are_one_problem() -> None:
    pairs = [(f"{k}{w}", f"{k}{x}") for k in range(300) for w, x in ("ab", "bc", "ca", "ab")]
    games = Comparisons.from_pairs(pairs)
    pool = games.aggregated()
    known = Prompts.of(pool, prompts_of(pool), np.full(900, 1 / 3))
    assert (len(known.times), known.prompts, known.largest_kl) == (1, 300, pytest.approx(np.log(3)))


def test_resamples_of_prompts_against_a_root_each() -> None:
    games, reference = many(80, seed=3)
    pool = games.aggregated()
    prompt = prompts_of(pool)
    share = reference / np.bincount(prompt, reference)[prompt]
    known = Prompts.of(pool, prompt, share)
    fit, _ = fit_prompts(known, get_loss("dpo"))
    times = np.random.default_rng(0).multinomial(80, known.times / 80, size=20).astype(float)
    times[0] = 0
    times[0, np.argmax(fit.limits)] = 80  # far from the rest
    for budget in (1e-9, 0.05, 0.3):
        found = fit.betas_of_kl(budget, times)
        for row, beta in zip(times, found, strict=True):
            alone = PromptFits(fit.g, fit.reference, fit.prompt, fit.mean_abs, row).beta_of_kl(budget)
            assert beta == pytest.approx(alone, rel=1e-8, nan_ok=True)
    means = margins_and_labels(known, fit.g, times)
    size = known.count * np.abs(fit.g[known.winner] - fit.g[known.loser])
    by_hand = [
        np.sum(size * row[known.problem[known.winner]]) / np.sum(known.count * row[known.problem[known.winner]])
        for row in times
    ]
    np.testing.assert_allclose(means, by_hand, rtol=1e-13)


def test_the_bootstrap_is_over_prompts() -> None:
    """Two kinds of prompts: the mean margin is linear in the share of one, whose binomial is known."""
    pairs = []
    for k in range(400):
        pairs += [(f"{k}a", f"{k}b", 3.0 if k % 2 else 7.0), (f"{k}b", f"{k}a", 1.0 if k % 2 else 3.0)]
    found = gpo.recommend_beta(Comparisons.from_pairs(pairs), margin=1.0, losses=["dpo"], resamples=4000)["logistic"]
    z, labels = np.log([3.0, 7 / 3]), np.array([4.0, 10.0])
    ratio = (labels @ z) / labels.sum()
    # standard error of a ratio of means over prompts drawn with replacement
    error = np.sqrt(np.mean((labels * (z - ratio)) ** 2) / 400) / labels.mean()
    width = np.log(found.beta.high / found.beta.low) / (2 * 1.959964)
    assert found.beta.value == pytest.approx(ratio)
    assert width == pytest.approx(error / ratio, rel=0.05)


@pytest.mark.parametrize("reference", [None, [0.2, 0.8] * 30])
def test_the_largest_kl_with_two_responses_is_said(reference: list[float] | None) -> None:
    games = Comparisons(np.arange(0, 60, 2), np.arange(1, 60, 2))
    found = gpo.recommend_beta(games, kl=5.0, losses=["ipo"], reference=reference, resamples=5)
    largest = np.log(2) if reference is None else -np.log(0.2)
    assert found.largest_kl == pytest.approx(largest)
    assert f"−log min πref = {largest:.4g}" in str(found)
    assert "out of reach" in found["squared"].status
    assert ("assumption" in found.policy) is (reference is None)
    assert "one label" in str(found)


def test_progress_is_told_in_order() -> None:
    told: list[tuple[float, str]] = []
    games = Comparisons.from_pairs([("a", "b", 7), ("b", "a", 3)])
    gpo.recommend_beta(games, kl=0.1, resamples=2, losses=["dpo", "ipo"], progress=lambda *state: told.append(state))
    assert told == [(0.0, "logistic"), (0.5, "squared"), (1.0, "done")]


def test_kl_of_two_responses_at_every_beta() -> None:
    fit = PromptFits(np.array([0.4, -0.4]), np.array([0.5, 0.5]), np.zeros(2, dtype=np.int64), 0.8)
    for beta in (1e-300, 1e-3, 0.5, 1.0, 3.0):
        p = expit(0.8 / beta)
        assert fit.kl(beta) == pytest.approx(float(np.sum(rel_entr([p, 1 - p], 0.5))), rel=1e-12)


@pytest.mark.parametrize("loss", ["logistic", "truncated_quadratic", "savage", "hinge"])
def test_warm_refits_are_those_of_the_solver(loss: str) -> None:
    """Or are left to it: kinks, an item without labels, labels that all go one way."""
    games = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 0.4, 0.9, 1.5])).sample(150, seed=0).aggregated()
    counts = np.random.default_rng(1).multinomial(150, games.count / games.total, size=12).astype(float)
    counts[0, (games.winner == 3) | (games.loser == 3)] = 0
    counts[1, games.winner < games.loser] = 0
    (start,) = gpo.fit(gpo.PreferenceProblem.from_comparisons(games), loss)
    found = refitted(get_loss(loss), games.winner, games.loser, counts, start.reward)
    assert np.isnan(found[:2]).all() or loss == "truncated_quadratic"
    for g, count in zip(found, counts, strict=True):
        keep = count > 0
        part = Comparisons(games.winner[keep], games.loser[keep], count[keep], items=games.items)
        (solved,) = gpo.fit(gpo.PreferenceProblem.from_comparisons(part), loss)
        if np.isfinite(g).all():
            np.testing.assert_allclose(g, solved.reward, atol=1e-7)
        else:
            assert loss == "hinge" or count is counts[0] or not solved.converged or keep.sum() < len(keep)
    assert bool(np.isfinite(found[2:]).all()) == (loss != "hinge")


def test_a_prompt_without_an_optimum_is_named_by_its_responses() -> None:
    """Not by their numbers among the prompts that are alike."""
    items = ("x", "y", "z", "yes", "no", "perhaps")
    pool = Comparisons([0, 1, 1, 2, 0, 2, 3, 4, 3], [1, 0, 2, 1, 2, 0, 4, 3, 5], items=items)
    (row,) = gpo.recommend_beta(pool, kl=0.1, losses=["dpo"], resamples=20).rows
    assert "'yes' over 'perhaps'" in row.status


def test_the_largest_kl_counts_every_prompt_that_a_problem_stands_for() -> None:
    """Three prompts of two responses and one of four, πref uniform: KL tends to (3 log 2 + log 4)/4 as β → 0."""
    fits = PromptFits(
        np.array([0.5, -0.5, 1.5, 0.5, -0.5, -1.5]),
        np.array([1 / 2] * 2 + [1 / 4] * 4),
        np.array([0, 0, 1, 1, 1, 1]),
        1.0,
        np.array([3.0, 1.0]),
    )
    assert fits.kl_limit() == pytest.approx(1.25 * np.log(2))
    assert fits.kl(1e-3) == pytest.approx(1.25 * np.log(2))
    assert np.isnan(fits.beta_of_kl(1.26 * np.log(2)))
    assert fits.kl(fits.beta_of_kl(1.24 * np.log(2))) == pytest.approx(1.24 * np.log(2))
