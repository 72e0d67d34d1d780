"""The factorial at a small size, and the parts that its conclusions rest on."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from experiments import beta_or_f as experiment
from experiments.beta_or_f import narrow, outcomes
from fuzz.small import computed
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem


def test_every_combination_is_there() -> None:
    _, _, table = computed("beta-or-f")
    curves = find(table, part="curve")
    assert len(curves) == 4 * 3 * 2 * 6 * 7
    assert not curves.duplicated(["problem", "labels", "loss", "scale", "point"]).any()
    assert curves.loc[curves["loss"] != "savage", "win_rate"].notna().all()


def test_an_optimum_is_that_of_the_problem() -> None:
    config = experiment.Config(responses=5, seeds=4, points=7)
    preference, reference, rewards = outcomes.truth_of(config, "strong", 2)
    rows = outcomes.outcomes_of(config, "strong", outcomes.EXACT)
    row = rows[(rows["loss"] == "exponential") & (rows["seed"] == 2)].iloc[3]
    policy = PreferenceProblem(preference, reference=reference).solve("exponential", row["beta"]).policy
    assert row["win_rate"] == pytest.approx(policy @ preference @ reference, rel=1e-9)
    assert row["kl"] == pytest.approx(gpo.kl_divergence(policy, reference), rel=1e-7)
    best = (policy @ rewards - reference @ rewards) / (rewards.max() - reference @ rewards)
    assert row["gold"] == pytest.approx(best, rel=1e-9)


def test_limits_are_where_training_goes() -> None:
    """One-sided labels: the policy of a far-trained logistic fit against the limit that is used."""
    shares = np.array([[0.5, 1.0, 0.0, 1.0], [0.0, 0.5, 1.0, 1.0], [1.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.0, 0.5]])
    reference = np.array([0.4, 0.3, 0.2, 0.1])
    problem = PreferenceProblem(shares, reference=reference)
    loss = gpo.get_loss("logistic")
    fit = outcomes.reward_or_limit(problem, loss, problem.fit(loss))
    assert fit is not None
    np.testing.assert_allclose(fit[:3], 0.0, atol=1e-9)  # a cycle of three on top
    assert fit[3] == -np.inf
    found = outcomes._outcomes(fit, np.array([0.7]), shares, reference, np.arange(4.0))
    nearly = PreferenceProblem(np.clip(shares, 1e-9, 1 - 1e-9), reference=reference).solve(loss, 0.7).policy
    assert found["win_rate"][0] == pytest.approx(nearly @ shares @ reference, abs=1e-6)
    assert found["kl"][0] == pytest.approx(-np.log(0.9))


def test_preferences_are_preferences() -> None:
    rewards = np.random.default_rng(0).normal(size=6)
    for kind in experiment.Config().problems:
        P = outcomes.preference_of(kind, rewards)
        np.testing.assert_allclose(P + P.T, 1.0, atol=1e-12)
    bt = outcomes.preference_of("strong", rewards)
    assert np.log(bt[0, 1] / bt[1, 0]) == pytest.approx(3 * (rewards[0] - rewards[1]))
    cycle = outcomes.preference_of("cycle", np.zeros(6))
    assert np.log(cycle[1, 0] / cycle[0, 1]) == pytest.approx(1)
    assert np.log(cycle[0, 5] / cycle[5, 0]) == pytest.approx(1)


def two_factor(slope: float, f: float, seeds: int) -> np.ndarray:
    """Win rates (f, β, seed) of a parabola in log β, of two losses f apart, and seeds at levels of their own."""
    x = np.linspace(-1.5, 1.5, 13)
    level = 0.1 * np.random.default_rng(0).normal(size=seeds)
    curve = -slope * x**2
    return np.array([curve[:, None] + level, curve[:, None] + f + level])


def test_about_the_best_beta_f_counts_or_does_not() -> None:
    """Against sums of squares by hand: half a decade about the top of the parabola has x in −¼, 0, ¼."""
    points = np.logspace(-1.5, 1.5, 13)
    for slope, f in ((1.0, 0.5), (4.0, 0.01)):
        values = two_factor(slope, f, 40)
        ((effect, width, gap, low, high),) = narrow.rows_near(values, points, experiment.shares, 200, 0)
        near = values[:, 5:8]
        of_f = 2 * 3 * 40 * (f / 2) ** 2
        of_beta = 2 * 40 * float(((near[0, :, 0] - near[0, :, 0].mean()) ** 2).sum())
        total = float(((near - near.mean()) ** 2).sum())
        assert (effect, width) == (narrow.EFFECT, pytest.approx(0.5))
        assert gap == pytest.approx((of_f - of_beta) / total, rel=1e-9)
        assert low <= gap <= high
        assert np.sign([low, gap, high]).tolist() == [np.sign(of_f - of_beta)] * 3


def test_the_claim_about_the_best_beta_can_fail() -> None:
    _, config, table = computed("beta-or-f")
    shares = find(table, part="share")
    rows = shares["effect"] == narrow.EFFECT
    assert (shares.loc[rows, "low"] <= shares.loc[rows, "share"]).all()
    curves = find(table, part="curve")
    top = curves["grid"].max() ** 0.5 * curves["grid"].min() ** 0.5
    inside = curves.assign(win_rate=1 - 0.1 * np.log(curves["grid"] / top) ** 2)
    for sign, verdict in ((1.0, "holds"), (-1.0, "contradicted")):
        moved = shares.copy()
        moved.loc[rows, ["share", "low", "high"]] = sign * 0.2 + np.array([0.0, -0.1, 0.1])
        assert {c.verdict for c in narrow.check_near(moved, inside, config.seeds, experiment.SCALES)} == {verdict}
        for rising in (-curves["grid"], curves["grid"]):  # the best β is the smallest there is, or the largest
            ends = narrow.check_near(moved, curves.assign(win_rate=rising), config.seeds, experiment.SCALES)
            assert {part.verdict for c in ends for _, part in c.parts} == {"undecided"}
    (first, _) = narrow.check_near(shares[~rows], inside, config.seeds, experiment.SCALES)
    assert first.verdict == "not run"


def test_what_f_has_with_its_interaction_is_said_beside_main_effects() -> None:
    _, config, table = computed("beta-or-f")
    claims = [c for c in experiment.check(config, table) if "three decades" in c.claim]
    shares = find(table, part="share", scale="beta", outcome="win_rate")
    whole = shares[shares["low"].notna()].pivot_table(index=["problem", "labels"], columns="effect", values="share")
    more = int((whole["f"] + whole["f:beta"] > whole["beta"]).sum())
    assert len(claims) == 4
    assert f"more than β in {more} of {len(whole)}" in claims[0].note
