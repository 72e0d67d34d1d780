"""Fits, covariances, intervals and rank sets against finite differences, closed forms and direct minimisation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import expit
from scipy.stats import chi2, norm

from gpo_analysis.losses import PAPER_LOSSES, get_loss, parse_loss
from gpo_analysis.preferences import Comparisons, Contests
from gpo_analysis.ranking import ComparisonProblem, bootstrap, rank, rank_all, rank_sets
from gpo_analysis.ranking.outcomes import outcome_model
from gpo_analysis.tabular import PreferenceProblem

SMOOTH = [name for name in PAPER_LOSSES if name != "hinge"]


def made(n: int = 6, votes: int = 30, *, seed: int = 0, tied: float = 0.2, d: int = 0) -> ComparisonProblem:
    """Pairs of n items with ties; with covariates a row a vote."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=n)
    i, j = np.triu_indices(n, 1)
    if d:
        i, j = (np.repeat(x, votes) for x in (i, j))
        votes = 1
    x = rng.normal(size=(len(i), d))
    p = expit(g[i] - g[j] + x @ np.full(d, 0.5))
    ties = rng.binomial(votes, tied, size=len(i))
    wins = rng.binomial(votes - ties, p)
    return ComparisonProblem(i, j, wins, votes - ties - wins, ties, features=x if d else None)


@pytest.mark.parametrize(
    ("name", "ties"),
    [("logistic", "half"), ("savage", "half"), ("logistic", "davidson"), ("logistic", "rao-kupper")],
)
def test_derivatives_of_outcomes_are_those_of_finite_differences(name: str, ties: str) -> None:
    model = outcome_model(get_loss(name), ties)
    z, tau, h = np.linspace(-4, 4, 9), 0.7, 1e-5
    terms = model.terms(z, tau)
    up, down = model.terms(z + h, tau), model.terms(z - h, tau)
    np.testing.assert_allclose(terms.z, (up.value - down.value) / (2 * h), atol=1e-8)
    np.testing.assert_allclose(terms.zz, (up.z - down.z) / (2 * h), atol=1e-8)
    slope, rise = model.slopes(z, np.full(1, tau))
    np.testing.assert_allclose(slope, terms.z, atol=1e-14)
    if terms.t is not None and terms.zt is not None and terms.tt is not None and rise is not None:
        more, less = model.terms(z, tau + h), model.terms(z, tau - h)
        np.testing.assert_allclose(rise, terms.t, atol=1e-14)
        np.testing.assert_allclose(terms.t, (more.value - less.value) / (2 * h), atol=1e-8)
        np.testing.assert_allclose(terms.zt, (more.z - less.z) / (2 * h), atol=1e-8)
        assert more.t is not None
        assert less.t is not None
        np.testing.assert_allclose(terms.tt + np.zeros((3, 9)), (more.t - less.t) / (2 * h), atol=1e-8)
        np.testing.assert_allclose(model.probabilities(z, tau), np.exp(-terms.value), rtol=1e-12)
        np.testing.assert_allclose(model.probabilities(z, tau).sum(axis=0), 1.0, rtol=1e-12)


@pytest.mark.parametrize("name", PAPER_LOSSES)
def test_scores_without_covariates_are_those_of_the_tabular_fit(name: str) -> None:
    problem = made()
    i, j, (won, lost, tied) = problem.first, problem.second, problem.counts
    half = Comparisons(
        np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([won + tied / 2, lost + tied / 2])
    )
    there = PreferenceProblem.from_comparisons(half).fit(name)
    found = rank(problem, name)
    assert found.fit.status is there.minima[0].status
    np.testing.assert_allclose(found.scores, there.reward, atol=1e-9)


@pytest.mark.parametrize("name", [*SMOOTH, "log(cosh(1-z))"])
def test_a_joint_fit_with_covariates_is_the_minimum_found_by_scipy(name: str) -> None:
    problem = made(5, 12, d=2)
    f = parse_loss(name) if "(" in name else get_loss(name)
    found = rank(problem, f, ridge=0.3)

    def total(theta: np.ndarray) -> float:
        z = problem.rows.margins(theta[:5], theta[5:])
        up, down, tied = problem.rows.counts
        return float((up + tied / 2) @ f(z) + (down + tied / 2) @ f(-z) + 0.15 * theta @ theta)

    there = minimize(total, np.zeros(7), method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(found.fit.theta, there.x, atol=2e-6)
    assert found.fit.value == pytest.approx(there.fun, rel=1e-12)


def test_hinge_with_covariates_is_the_linear_program() -> None:
    problem = made(4, 6, d=1, tied=0.0)
    found = rank(problem, "hinge")
    there = minimize(
        lambda t: float(problem.rows.counts[0] @ np.maximum(0, 1 - problem.rows.margins(t[:4], t[4:]))
                        + problem.rows.counts[1] @ np.maximum(0, 1 + problem.rows.margins(t[:4], t[4:]))),
        np.zeros(5), method="Powell", options={"xtol": 1e-10, "ftol": 1e-14, "maxiter": 20000},
    )  # fmt: skip
    assert found.fit.value <= there.fun + 1e-6
    assert found.covariance is None
    assert "kink" in found.why
    assert np.isnan(found.intervals.low).all()


def test_home_advantage_has_a_closed_form_for_two_items() -> None:
    # a at home wins 30 of 40, b at home wins 22 of 40: logits g + h and −g + h
    problem = ComparisonProblem([0, 1], [1, 0], [30, 22], [10, 18], position=[1, 1])
    found = rank(problem)
    home, away = np.log(30 / 10), np.log(22 / 18)
    assert found.scores[0] - found.scores[1] == pytest.approx((home - away) / 2, abs=1e-10)
    assert found.coefficients[0] == pytest.approx((home + away) / 2, abs=1e-10)
    variance = (40 / (30 * 10) + 40 / (22 * 18)) / 4
    assert found.coefficients_frame().loc["position", "standard_error"] == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_a_tie_is_one_vote_in_the_sandwich() -> None:
    problem = ComparisonProblem([0], [1], [6], [3], [11])
    found = rank(problem)
    p = (6 + 5.5) / 20
    spread = (6 * (1 - p) ** 2 + 3 * p**2 + 11 * (0.5 - p) ** 2) / (20 * p * (1 - p)) ** 2
    assert found.differences(0, 1, simultaneous=False)["standard_error"][0] == pytest.approx(np.sqrt(spread), rel=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_sandwich_by_cluster_of_single_votes_is_the_one_by_vote(name: str) -> None:
    plain = made(4, 15, d=1)
    votes = len(plain.first)
    single = ComparisonProblem(
        plain.first, plain.second, *plain.counts, features=plain.features, cluster=np.arange(votes)
    )
    by_vote, by_cluster = rank(plain, name), rank(single, name)
    assert by_vote.covariance is not None
    assert by_cluster.covariance is not None
    np.testing.assert_allclose(by_cluster.covariance, by_vote.covariance * votes / (votes - 1), rtol=1e-9, atol=1e-15)


def test_the_order_of_a_pair_does_not_matter() -> None:
    problem = made(5, 10, d=2)
    flip = np.arange(len(problem.first)) % 3 == 0
    turned = ComparisonProblem(
        np.where(flip, problem.second, problem.first),
        np.where(flip, problem.first, problem.second),
        *np.where(flip, problem.counts[[1, 0, 2]], problem.counts),
        features=np.where(flip[:, None], -problem.features, problem.features),
    )
    for ties in ("half", "davidson", "rao-kupper"):
        one, other = rank(problem, ties=ties), rank(turned, ties=ties)
        np.testing.assert_allclose(one.fit.theta, other.fit.theta, atol=1e-10)
        np.testing.assert_allclose(one.standard_errors, other.standard_errors, rtol=1e-8)


def test_separable_votes_are_said_and_a_prior_or_ridge_keeps_them_finite() -> None:
    for problem in (
        ComparisonProblem([0, 0, 1], [1, 2, 2], [5, 5, 5]),
        ComparisonProblem([0, 0, 1], [1, 2, 2], [5, 5, 5], features=[[0.1], [0.2], [0.3]]),
        ComparisonProblem([0, 0, 1], [1, 2, 2], [5, 5, 3], [0, 0, 2], [0, 0, 1]),
    ):
        ties = "half" if not problem.counts[2].any() else "davidson"
        found = rank(problem, ties=ties)
        assert found.fit.status == "no finite optimum"
        assert "separable" in found.why
        assert np.isnan(found.scores).all()
        assert found.ranks is None
        finite = rank(problem, ties=ties, ridge=0.1)
        assert finite.converged
        assert np.isfinite(finite.standard_errors).all()
    for name in PAPER_LOSSES:
        found = rank(ComparisonProblem([0, 0, 1], [1, 2, 2], [5, 5, 5]), name, prior=2.0)
        assert found.converged or found.fit.status == "not unique"
    two = rank(ComparisonProblem([0], [1], [5]), prior=2.0)  # g and −g: 5 σ(−2g) = 2 (σ(g) − ½)
    g = brentq(lambda g: 5 * expit(-2 * g) - 2 * (expit(g) - 0.5), 0, 10, xtol=1e-14)
    assert two.scores[0] == pytest.approx(g, abs=1e-10)


def test_profile_intervals_are_where_the_likelihood_falls_by_half_a_quantile() -> None:
    problem = ComparisonProblem([0, 0, 1], [1, 2, 2], [9, 4, 3], [1, 2, 3])
    found = rank(problem)
    assert set(found.intervals.method) == {"profile"}

    def likelihood(theta: np.ndarray) -> float:
        z = problem.rows.margins(theta, np.zeros(0))
        return float(problem.rows.counts[0] @ np.log1p(np.exp(-z)) + problem.rows.counts[1] @ np.log1p(np.exp(z)))

    least, goal = likelihood(found.scores), chi2.ppf(0.95, 1) / 2

    def fall(t: float) -> float:  # score 0 at t, the others at −t/2 ± u
        inner = minimize(lambda u: likelihood(np.array([t, -t / 2 + u[0], -t / 2 - u[0]])), [0.0], tol=1e-12)
        return float(inner.fun) - least - goal

    low = brentq(fall, found.scores[0] - 5, found.scores[0])
    high = brentq(fall, found.scores[0], found.scores[0] + 5)
    assert found.intervals.low[0] == pytest.approx(low, abs=1e-5)
    assert found.intervals.high[0] == pytest.approx(high, abs=1e-5)


def test_an_item_that_never_lost_has_an_interval_open_above() -> None:
    # 2 beat both others five times: z ≥ log(p/(1−p)) with p^5-like falls; its low end solves the profile
    problem = ComparisonProblem([0, 2], [1, 0], [6, 5], [4, 0], items=["a", "b", "c"])
    found = rank(problem)
    assert found.fit.status == "no finite optimum"
    low, high = found.intervals.low, found.intervals.high
    assert high[2] == np.inf
    assert np.isfinite(low).all()
    assert np.isfinite(high[:2]).all()
    # a against b has the profile of 6 of 10, whatever c did: the mean of a and b is the zero
    goal = chi2.ppf(0.95, 1) / 2

    def fall(d: float) -> float:
        return float(6 * np.log1p(np.exp(-d)) + 4 * np.log1p(np.exp(d)) + 6 * np.log(0.6) + 4 * np.log(0.4) - goal)

    assert high[0] == pytest.approx(brentq(fall, 0.4, 9) / 2, abs=1e-4)
    assert low[0] == pytest.approx(brentq(fall, -9, 0.4) / 2, abs=1e-4)
    assert "mean of the largest group" in found.intervals.reason
    assert found.to_frame()["item"].tolist() == ["a", "b", "c"]


def test_rank_sets_of_independent_normals_have_the_critical_value_of_the_range() -> None:
    from scipy.stats import studentized_range

    n = 5
    found = rank_sets(np.zeros(n), np.eye(n), draws=40_000, seed=1)
    # max |Z_i − Z_j| / √2 over independent unit normals
    assert found.critical == pytest.approx(studentized_range.ppf(0.95, n, np.inf) / np.sqrt(2), rel=0.01)
    assert (found.best == 1).all()
    assert (found.worst == n).all()
    np.testing.assert_allclose(found.best_probability, 1 / n, atol=0.01)
    apart = rank_sets(np.arange(n) * 50.0, np.eye(n))
    np.testing.assert_array_equal(apart.best, np.arange(n, 0, -1))
    np.testing.assert_array_equal(apart.worst, apart.best)


def test_steps_reject_more_and_never_less() -> None:
    rng = np.random.default_rng(4)
    more = 0
    for _ in range(40):
        scores, spread = rng.normal(size=8) * 2, np.diag(rng.uniform(0.1, 0.6, size=8))
        one, many = (rank_sets(scores, spread, stepwise=step, draws=500) for step in (False, True))
        assert (many.above >= one.above).all()
        more += int((many.above != one.above).any())
    assert more > 5


def test_items_of_two_parts_are_never_told_apart() -> None:
    problem = ComparisonProblem([0, 2], [1, 3], [90, 80], [10, 20])
    found = rank(problem)
    assert found.ranks is not None
    assert found.ranks.best.tolist() == [1, 2, 1, 2]
    assert found.ranks.worst.tolist() == [3, 4, 3, 4]
    assert found.to_frame()["best_probability"].isna().all()
    assert found.differences(0, 2)["difference"].isna().all()
    with pytest.raises(ValueError, match="no comparisons connect"):
        found.predict_proba(0, 2)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("kind", ["plain", "covariates", "clusters"])
def test_the_bootstrap_agrees_with_the_sandwich(name: str, kind: str) -> None:
    problem = made(5, 60 if kind == "plain" else 40, d=0 if kind == "plain" else 1, tied=0.3)
    if kind == "clusters":
        cluster = np.random.default_rng(0).integers(150, size=len(problem.first))
        problem = ComparisonProblem(
            problem.first, problem.second, *problem.counts, features=problem.features, cluster=cluster
        )
    found = rank(problem, name)
    [again] = bootstrap([found], resamples=600, seed=3)
    assert again.without_fit == 0
    np.testing.assert_allclose(again.standard_error, found.standard_errors[:5], rtol=0.15)
    assert not again.reason


def test_refits_of_the_bootstrap_are_optima_of_their_weights() -> None:
    from dataclasses import replace

    from gpo_analysis.ranking.bootstrap import weights_of_cells
    from gpo_analysis.ranking.joint import minimise_joint

    for ties in ("half", "davidson", "rao-kupper"):
        found = rank(made(5, 8), ties=ties)
        [again] = bootstrap([found], resamples=20, seed=5)
        [weights] = list(weights_of_cells(found.problem, None, 20, 5))
        for theta, counts in zip(again.theta, weights, strict=True):
            exact = minimise_joint(replace(found.system, rows=replace(found.problem.rows, counts=counts)))
            assert np.abs((theta - exact.theta) / found.standard_errors).max() < 5e-3


def test_a_hinge_score_that_never_moves_has_no_interval_of_no_width() -> None:
    problem = ComparisonProblem([0, 0, 1], [1, 2, 2], [90, 95, 80], [10, 5, 20])
    [again] = bootstrap([rank(problem, "hinge")], resamples=50)
    assert np.isnan(again.low).all()
    assert "kink" in again.reason


def test_votes_without_spread_have_no_interval_of_no_width() -> None:
    tied = ComparisonProblem([0, 1, 0], [1, 2, 2], wins=[0, 0, 0], losses=[0, 0, 0], ties=[40, 40, 40])
    for name in ("squared", "savage", "logistic"):
        found = rank(tied, name)
        assert np.isnan(found.standard_errors).all()
        assert found.ranks is not None
        np.testing.assert_allclose(found.ranks.best_probability, 1 / 3)
        np.testing.assert_array_equal([found.ranks.best, found.ranks.worst], [[1, 1, 1], [3, 3, 3]])
        if name == "logistic":  # the profile of half a win each, 80 ties an item, is no point
            assert (found.intervals.high - found.intervals.low > 0.1).all()
        else:
            assert np.isnan([found.intervals.low, found.intervals.high]).all()
            assert "no spread" in found.intervals.reason
    agreed = rank(ComparisonProblem([0], [1], wins=[7], losses=[0]), "squared")
    assert np.isnan(agreed.intervals.low).all()
    assert agreed.differences([0, 0], [1, 0])["low"].isna().tolist() == [True, False]


def test_few_votes_and_parts_are_said() -> None:
    votes = ComparisonProblem([0, 1, 2], [1, 2, 0], wins=[1, 1, 0], losses=[0, 0, 1])
    assert "fewer than 20" in rank(votes, "squared").intervals.reason
    assert rank(made(), "squared").intervals.reason == ""
    parts = ComparisonProblem([0, 2], [1, 3], wins=[30, 20], losses=[20, 30])
    assert "no comparisons connect the 2 parts" in rank(parts).intervals.reason


def test_predictions_and_tables() -> None:
    problem = made(6, 40)
    for ties in ("half", "davidson", "rao-kupper"):
        found = rank(problem, ties=ties)
        three = found.predict_proba([0, 1], [2, 3], outcomes=True)
        np.testing.assert_allclose(three.sum(axis=1), 1.0)
        np.testing.assert_allclose(found.predict_proba([0, 1], [2, 3]), three[:, 0] + three[:, 2] / 2)
        np.testing.assert_allclose(found.predict_proba("0", "2") + found.predict_proba("2", "0"), 1.0)
        table = found.to_frame()
        assert isinstance(table, pd.DataFrame)
        assert table["score"].is_monotonic_decreasing
        assert table[["wins", "losses"]].sum().nunique() == 1
        assert (table["rank_best"] <= table["rank"]).all()
        assert (table["rank"] <= table["rank_worst"]).all()
        assert found.loss in found.summary()
        half = norm.ppf(0.975) * table["standard_error"]
        np.testing.assert_allclose(table["high"] - table["score"], half)
    ax = rank(problem).plot()
    assert len(ax.get_yticklabels()) == 6
    assert set(rank_all(problem, ["logistic", "hinge"])) == {"logistic", "hinge"}


def test_a_problem_for_each_prompt_and_from_contests() -> None:
    held = Contests(
        4, [0, 1, 2, 0], [1, 0, 3, 1], [0, 1, 2, 3], [2, 1, 3, 1], ordered=True, covariates=[[1.0], [0], [2], [0]],
        covariate_names=["length"], prompt=[0, 0, 1, 0], cluster=[0, 1, 1, 0],
    )  # fmt: skip
    problem = ComparisonProblem.from_comparisons(Comparisons.of_contests(held, ["a", "b", "c", "d"]), position=True)
    assert problem.feature_names == ("length", "position")
    np.testing.assert_array_equal(problem.counts, [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 1]])
    parts = problem.by_prompt()
    assert [one.items for one in parts.values()] == [("a", "b"), ("c", "d")]
    assert parts["0"].feature_names == ("length", "position")
    with pytest.raises(ValueError, match="who was shown first"):
        ComparisonProblem.from_comparisons(Comparisons([0], [1]), position=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"wins": [-1.0, 1.0]}, r"wins\[0\] is -1"),
        ({"ties": [np.nan, 1.0]}, r"ties\[0\] is nan"),
        ({"losses": [1.0]}, "losses must have shape"),
        ({"features": [[np.inf], [0.0]]}, "covariate 'x1' is inf in row 0"),
        ({"position": [2, 0]}, r"position\[0\] is 2"),
        ({"cluster": [1]}, "cluster must have shape"),
        ({"features": [[1.0], [2.0]], "feature_names": ["a", "b"]}, "feature_names are 2 for 1"),
    ],
)
def test_bad_rows_are_named(given: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ComparisonProblem([0, 1], [1, 2], **given)


def test_bad_choices_are_named() -> None:
    problem = made(4, 10, tied=0.0)
    with pytest.raises(ValueError, match="takes both ties and decided votes"):
        rank(problem, ties="davidson")
    with pytest.raises(ValueError, match="model of the logistic loss"):
        rank(made(4, 10), "squared", ties="davidson")
    with pytest.raises(ValueError, match="ties must be one of"):
        rank(problem, ties="none")
    with pytest.raises(ValueError, match="takes no ridge"):
        rank(problem, "hinge", ridge=1.0)
    with pytest.raises(ValueError, match="ridge must be"):
        rank(problem, ridge=-1.0)
    with pytest.raises(ValueError, match="unknown item 'z'"):
        rank(problem).predict_proba("z", 0)
    hidden = ComparisonProblem([0, 0, 1], [1, 2, 2], [5, 4, 3], [2, 3, 4], features=[[1.0], [3.0], [2.0]])
    found = rank(hidden)  # the covariate is 0, −1, −3 of the items
    assert found.fit.status == "not unique"
    assert "functions of the items" in found.why


def test_who_was_shown_first_second_or_neither() -> None:
    problem = ComparisonProblem([0, 0, 1], [1, 2, 2], [5, 6, 7], [3, 2, 1], position=[1, -1, 0])
    np.testing.assert_array_equal(problem.rows.features[:, -1], [1, -1, 0])
    for strange in (-2, -0.5, 0.5, 2):
        with pytest.raises(ValueError, match=rf"position\[1\] is {strange}; accepted are 1 \(the first\), -1"):
            ComparisonProblem([0, 1], [1, 0], [1, 2], position=[1, strange])
