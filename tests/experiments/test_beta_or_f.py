"""The factorial at a small size, and the parts that its conclusions rest on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import gpo_analysis as gpo
from experiments import beta_or_f as experiment
from experiments.beta_or_f import outcomes
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


def test_the_range_in_which_f_counts() -> None:
    rows = pd.DataFrame(
        [
            (d, e, s)
            for d, f, b in ((0.5, 0.6, 0.2), (1.0, 0.4, 0.4), (2.0, 0.1, 0.8))
            for e, s in (("f", f), ("beta", b))
        ],
        columns=["decades", "effect", "share"],
    )
    assert experiment.equal_range(rows) == 1.0
    assert np.isnan(experiment.equal_range(rows[rows["decades"] == 2.0]))
