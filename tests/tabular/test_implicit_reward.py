"""What is fitted, the implicit reward: one problem, many at once, and the policies read off it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import softmax

import gpo_analysis as gpo
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.tabular import PreferenceProblem


def problem_of(n: int = 4, seed: int = 0) -> PreferenceProblem:
    rng = np.random.default_rng(seed)
    rewards, behavior, reference = rng.normal(size=n), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n))
    return PreferenceProblem(gpo.bradley_terry(rewards), behavior, reference)


def test_policies_are_tilts_by_the_reward():
    problem = problem_of()
    fit = problem.fit("logistic")
    assert fit.reward.sum() == pytest.approx(0.0, abs=1e-12)
    for beta in (0.05, 1.0, 40.0):
        np.testing.assert_allclose(fit.policy(beta), softmax(np.log(problem.reference) + fit.reward / beta), rtol=1e-9)
        one = problem.solve("logistic", beta)
        np.testing.assert_array_equal(fit.solution(beta).policy, one.policy)
        assert fit.kl(beta) == pytest.approx(gpo.kl_divergence(one.policy, problem.reference), rel=1e-9, abs=1e-14)
    assert fit.kl([0.05, 1.0]).shape == (2,)
    assert fit.value == pytest.approx(problem.population_loss(fit.policy(3.0), "logistic", 3.0), rel=1e-12)
    np.testing.assert_allclose(fit.margins, problem.directed_pairs().margins(fit.reward[None]))


def test_other_divergences_share_the_reward():
    problem = problem_of()
    fit, link = problem.fit("squared"), gpo.get_link("chi_po")
    u = 0.7 * link(fit.policy(0.7, "chi_po") / problem.reference)
    np.testing.assert_allclose(u - u.mean(), fit.reward, atol=1e-9)


def test_many_at_once_are_each_as_alone():
    problems = [problem_of(n, seed) for seed, n in enumerate((3, 5, 3, 4))]
    losses = ["logistic", "hinge", gpo.get_loss("savage")]
    fits = gpo.fit(problems, losses)
    assert [(fit.problem, fit.loss) for fit in fits] == [
        (problem, name) for problem in problems for name in ("logistic", "hinge", "savage")
    ]
    for fit in fits:
        alone = fit.problem.fit(fit.loss)
        assert (fit.status, fit.reason) == (alone.status, alone.reason)
        np.testing.assert_allclose(fit.reward, alone.reward, atol=1e-12)
    assert len(gpo.fit(problems[0], "dpo")) == 1
    assert [fit.loss for fit in gpo.fit({"a": problems[0]}, ["dpo", "ipo"])] == ["logistic", "squared"]


def test_what_has_no_answer_says_so_and_shows_none():
    sure = PreferenceProblem(gpo.deterministic([0.0, 1.0, 2.0]))
    fit = sure.fit("logistic")
    assert fit.status is Status.NO_FINITE_OPTIMUM
    assert fit.status == "no finite optimum"
    assert fit.reason.startswith("the preferences are separable")
    assert not fit.converged
    for shown in (fit.reward, fit.policy(1.0), fit.log_ratio(1.0), fit.kl(1.0)):
        assert np.isnan(shown).all()
    assert fit.minimiser is None
    many = sure.fit("hinge")
    assert many.status == "not unique"
    assert np.isnan(many.reward).all()
    assert sure.loss_at(many.minimiser, "hinge", 1.0) == pytest.approx(many.value)
    assert "no finite optimum: the preferences are separable" in str(fit)


def test_contexts_are_rows_and_the_worst_is_said():
    stack = np.stack([gpo.bradley_terry([0.0, 1.0]), gpo.deterministic([0.0, 1.0]), gpo.deterministic([1.0, 0.0])])
    fit = PreferenceProblem(stack).fit("logistic")
    assert fit.reward.shape == (3, 2)
    assert fit.status == "no finite optimum"
    assert fit.reason.startswith("context 1 (and 1 more contexts): the preferences are separable")
    assert [one.status.value for one in fit.minima] == ["optimum", "no finite optimum", "no finite optimum"]
    assert np.isfinite(fit.policy(1.0)[0]).all()
    assert np.isnan(fit.policy(1.0)[1:]).all()


def test_statuses_are_plain_strings_in_tables_and_json():
    table = gpo.solve_grid(problem_of(), ["logistic", "hinge"], 1.0)
    assert [type(x) for x in table["status"]] == [str, str]
    assert json.loads(json.dumps(problem_of().fit("logistic").status)) == "optimum"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], "dpo"), "at least one problem"),
        ((problem_of(), []), "losses must be at least one"),
        ((problem_of(), "nothing"), "nothing"),
        (("x", "dpo"), "problem 0 is str"),
    ],
)
def test_bad_fits_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        gpo.fit(*arguments)


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), "a"])
def test_bad_beta_is_refused(beta):
    with pytest.raises(ValueError, match="beta must be a finite number above 0"):
        problem_of().fit("dpo").policy(beta)
