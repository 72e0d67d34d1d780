"""Edges of a fit: separable votes and how many go ever better, likelihoods' parameters, words of errors, statistics."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, xlogy
from scipy.stats import chi2, norm, t

from gpo_analysis.losses import get_margin_loss
from gpo_analysis.ranking import ComparisonProblem, rank, rank_sets
from gpo_analysis.ranking.covariance import NoCovarianceError, bread, meat_by_cluster, project
from gpo_analysis.ranking.fitting import weighted_pairs
from gpo_analysis.ranking.intervals import caveats, information, spread
from gpo_analysis.ranking.joint import System, minimise_joint, recession_rows, separated
from gpo_analysis.ranking.noise import NoiseTest, _line, _Null, _strong, _tested, noise_tests
from gpo_analysis.ranking.outcomes import Halved, outcome_model
from gpo_analysis.ranking.profile import Profile
from gpo_analysis.ranking.quality import Goodness, HeldOutVotes, _log_scores, _mean, _slope, calibration, goodness
from gpo_analysis.ranking.ranks import _first_share
from gpo_analysis.solvers.minimum import Status

LOGISTIC = get_margin_loss("logistic")


def system_of(problem: ComparisonProblem, ties: str = "half", ridge: float = 0.0, prior: float = 0.0) -> System:
    return System(problem.rows, problem.n, problem.parts, outcome_model(LOGISTIC, ties), ridge, prior)


def chain(wins: list[float], losses: list[float], ties: list[float] | None = None, **more: Any) -> ComparisonProblem:
    """0 against 1, 1 against 2, …"""
    m = len(wins)
    return ComparisonProblem(range(m), range(1, m + 1), wins, losses, ties, **more)


@pytest.mark.parametrize(
    ("wins", "losses", "ties", "helped", "of"),
    [
        ([3, 2], [0, 0], None, 2, 2), ([3, 2], [0, 1], None, 1, 3), ([3, 2], [1, 0], None, 1, 3),
        ([3, 2], [1, 1], None, None, 4), ([3, 2], [0, 0], [0, 1], 1, 3), ([0, 0, 0], [1, 1, 1], None, 3, 3),
    ],
)  # fmt: skip
def test_separable_votes_say_how_many_go_ever_better(
    wins: list[float], losses: list[float], ties: list[float] | None, helped: int | None, of: int
) -> None:
    system = system_of(chain(wins, losses, ties))
    assert recession_rows(system).shape[0] == of
    said = separated(system)
    if helped is None:
        assert said is None
        return
    assert said is not None
    assert f"scores and covariates {helped} of {of} kinds of votes go ever better and none worse" in said
    fit = minimise_joint(system)
    assert (fit.status, fit.reason) == (Status.NO_FINITE_OPTIMUM, said)
    assert np.isnan(fit.theta).all()
    assert fit.theta.shape == (system.size,)
    assert rank(chain(wins, losses, ties), ridge=0.1).converged


def test_a_ray_along_a_covariate_is_separation_too() -> None:
    x = np.array([[1.0], [-1.0], [2.0]])
    problem = ComparisonProblem([0, 0, 0], [1, 1, 1], [4, 0, 3], [0, 5, 0], features=x)
    said = separated(system_of(problem))
    assert said is not None
    assert "3 of 3 kinds" in said
    mixed = ComparisonProblem([0, 0, 0], [1, 1, 1], [4, 2, 3], [1, 5, 2], features=x)
    assert separated(system_of(mixed)) is None


@pytest.mark.parametrize("ties", ["davidson", "rao-kupper"])
def test_models_of_ties_have_their_rays(ties: str) -> None:
    both = chain([3], [2], [4])
    system = system_of(both, ties)
    rows = recession_rows(system).toarray()
    assert separated(system) is None
    rng = np.random.default_rng(0)
    assert rows.shape == ({"davidson": 6, "rao-kupper": 4}[ties], 3)
    for _ in range(200):  # along a direction that the rows allow no loss rises, far out
        d = rng.normal(size=3)
        if ties == "davidson" or d[2] > 0:
            far, farther = (system.model.terms(*system.split(size * d)).value for size in (40.0, 80.0))
            assert bool((farther - far > 1e-6).any()) is bool((rows @ d < -1e-9).any())
    never = system_of(chain([3], [0], [0]), ties)
    assert separated(never) is not None


def test_spread_is_told_from_rounding_relative_to_the_largest() -> None:
    found = spread(np.array([4.0, 4e-18 * 0.9, 4e-18 * 1.1, 0.0, -1e-20]))
    assert found[0] == 2.0
    assert np.isnan(found[[1, 3, 4]]).all()
    assert found[2] == pytest.approx(np.sqrt(4.4e-18))
    small = spread(np.array([1e-24, 1e-26]))
    np.testing.assert_allclose(small, [1e-12, 1e-13])  # however small the largest is
    assert np.isnan(spread(np.array([1e-6]), largest=1e13)).all()
    assert np.isfinite(spread(np.array([1e-6]), largest=1e11)).all()
    assert np.isnan(spread(np.zeros(2))).all()


def test_the_inverse_of_the_hessian_is_that_on_scores_that_sum_to_zero_whatever_its_size() -> None:
    for size in (1e-14, 1.0, 1e6):  # votes that weigh little or much
        problem = chain([3 * size, 2 * size], [2 * size, 4 * size])
        system = system_of(problem)
        theta = np.array([0.3, -0.1, -0.2])
        terms = system.terms(theta)
        found = bread(system, theta, terms)
        p = expit(np.array([0.4, 0.1]))
        w = np.array([5.0, 6.0]) * size * p * (1 - p)
        hessian = np.array([[w[0], -w[0], 0], [-w[0], w.sum(), -w[1]], [0, -w[1], w[1]]])
        np.testing.assert_allclose(found, np.linalg.pinv(hessian), rtol=1e-9)
        np.testing.assert_allclose(project(system, np.eye(3)), np.eye(3) - 1 / 3, atol=1e-12)


def test_without_curvature_or_with_one_cluster_there_is_no_covariance() -> None:
    problem = chain([3, 2], [2, 4], cluster=[0, 0])
    system = system_of(problem)
    terms = system.terms(np.zeros(3))
    with pytest.raises(NoCovarianceError, match="one cluster alone has no standard error by cluster"):
        meat_by_cluster(system, terms, problem, np.zeros(2, dtype=int))
    far = np.array([60.0, 0.0, -1.0])
    with pytest.raises(NoCovarianceError, match="logistic has directions without curvature at its optimum"):
        bread(system, far, system.terms(far))
    found = rank(problem)
    assert found.covariance is None
    assert "one cluster alone" in found.why
    hinge = rank(chain([30, 20], [20, 40]), "hinge")
    assert hinge.covariance is None
    assert "hinge has kinks: its optimum moves in jumps" in hinge.why
    with pytest.raises(ValueError, match="no intervals of differences: hinge has kinks"):
        hinge.differences(0, 1)


def test_information_is_that_of_each_item_s_votes() -> None:
    system = system_of(chain([3, 2], [2, 4], [1, 0]))
    theta = np.array([0.5, 0.0, -1.0])
    each = np.array([6.0, 6.0]) * expit([0.5, 1.0]) * expit([-0.5, -1.0])
    np.testing.assert_allclose(information(system, theta), [each[0], each.sum(), each[1]])
    davidson = system_of(chain([3, 2], [2, 4], [1, 0]), "davidson")
    np.testing.assert_allclose(information(davidson, np.append(theta, 0.3)), [each[0], each.sum(), each[1]])


@pytest.mark.parametrize(("votes", "few"), [(19, True), (20, False)])
def test_few_votes_are_said_below_twenty(votes: int, few: bool) -> None:
    problem = ComparisonProblem([0, 1], [1, 2], [50, votes - 9], [40, 9], items=["a", "b", "c"])
    told = caveats(problem, ("sandwich",), True, True)
    assert bool(told) is few
    if few:
        assert told == [
            "intervals by the sandwich and rank sets are normal approximations, too narrow for few votes (c: 19, fewer "
            "than 20)"
        ]  # fmt: skip
        assert caveats(problem, ("profile",), True, True)[0].startswith("rank sets are normal approximations")
    assert caveats(problem, ("sandwich",), True, False) == []
    two = ComparisonProblem([0, 2], [1, 3], [50, 50], [40, 40])
    assert caveats(two, ("sandwich",), True, True) == [
        "no comparisons connect the 2 parts: scores have mean zero in each, ranks compare none"
    ]
    assert caveats(two, ("sandwich",), False, True) == []


def test_a_profile_ends_where_the_deviance_is_the_quantile() -> None:
    """Two items: 2 [ℓ(ĝ) − ℓ(t)] = χ² at the ends, found by the likelihood of one number."""
    for wins, losses in ((7.0, 2.0), (3000.0, 11.0), (1.0, 1.0)):
        problem = ComparisonProblem([0], [1], [wins], [losses])
        profile = Profile.of(system_of(problem))
        ends = profile.interval(np.array([1.0, -1.0]), 0.9)
        p = wins / (wins + losses)
        top = xlogy(wins, p) + xlogy(losses, 1 - p)
        for end in ends:
            deviance = 2 * (top - wins * np.log(expit(end)) - losses * np.log(expit(-end)))
            assert deviance == pytest.approx(chi2.ppf(0.9, 1), rel=1e-4)
        assert ends[0] < np.log(wins / losses) < ends[1]
    open_ = Profile.of(system_of(ComparisonProblem([0], [1], [5.0], [0.0]))).interval(np.array([1.0, -1.0]), 0.95)
    assert open_[1] == np.inf
    assert 2 * -5 * np.log(expit(open_[0])) == pytest.approx(chi2.ppf(0.95, 1), rel=1e-4)


@pytest.mark.parametrize("ties", ["half", "davidson", "rao-kupper"])
def test_criteria_count_free_parameters_and_outcomes(ties: str) -> None:
    rng = np.random.default_rng(1)
    i, j = np.triu_indices(4, 1)
    counts = rng.integers(5, 20, (3, len(i))) * np.array([[1], [1], [ties != "half"]])
    problem = ComparisonProblem(i, j, *counts, position=rng.choice([-1.0, 1.0], len(i)))
    found: Goodness = goodness(rank(problem, ties=ties))
    has = ties != "half"
    assert found.parameters == 4 - 1 + 1 + has
    assert found.degrees_of_freedom == 6 * (1 + has) - found.parameters
    assert found.aic == pytest.approx(2 * found.parameters - 2 * found.log_likelihood)
    assert found.bic == pytest.approx(np.log(counts.sum()) * found.parameters - 2 * found.log_likelihood)
    share = counts / counts.sum(axis=0)
    assert found.deviance == pytest.approx(2 * (xlogy(counts, share).sum() - found.log_likelihood))
    assert found.p == pytest.approx(chi2.sf(found.deviance, found.degrees_of_freedom))
    thin = ComparisonProblem(i, j, *np.minimum(counts, [[2], [2], [1]]))
    if not has:
        assert np.isnan(goodness(rank(thin)).p), "few votes: the limit is far"
        with pytest.raises(ValueError, match="squared has no deviance: it is no likelihood, or has no finite fit"):
            goodness(rank(problem, "squared"))


def test_two_parts_have_a_parameter_less() -> None:
    problem = ComparisonProblem([0, 2], [1, 3], [6, 7], [5, 4])
    found = goodness(rank(problem))
    assert (found.parameters, found.degrees_of_freedom) == (2, 0)
    assert np.isnan(found.p)
    assert found.deviance == pytest.approx(0, abs=1e-9)


def test_log_scores_of_ties_and_of_floors() -> None:
    counts = np.ones((1, 3, 2))
    probability = np.array([[[0.6, 0.001], [0.2, 0.999], [0.2, 0.0]]])
    votes = HeldOutVotes(counts, probability)
    three = _log_scores(votes, three=True)
    np.testing.assert_allclose(three[0, :, 0], np.log([0.6, 0.2, 0.2]))
    assert three[0, 2, 1] == pytest.approx(np.log(1e-12))
    two = _log_scores(votes, three=False)
    np.testing.assert_allclose(two[0, :, 0], [np.log(0.75), np.log(0.25), np.log(0.75 * 0.25) / 2])
    np.testing.assert_allclose(two[0, :2, 1], [np.log(0.005), np.log(0.995)])
    frame = votes.to_frame()
    assert list(frame.columns) == ["fold", "votes", "log_likelihood"]
    assert frame["votes"].tolist() == [6.0]


def test_a_mean_over_votes_has_student_s_interval() -> None:
    score, counts = np.array([[[1.0, 3.0], [2.0, 9.0], [0.0, 0.0]]]), np.array([[[2.0, 1.0], [3.0, 0.0], [0.0, 0.0]]])
    each = np.array([1.0, 1.0, 3.0, 2.0, 2.0, 2.0])
    found = _mean(score, counts)
    half = t.ppf(0.975, 5) * each.std(ddof=1) / np.sqrt(6)
    assert [found.value, found.low, found.high] == pytest.approx([each.mean(), each.mean() - half, each.mean() + half])
    one = _mean(np.array([[[1.0]]]), np.array([[[1.0]]]))
    assert one.value == 1.0
    assert np.isnan([one.low, one.high]).all()
    assert np.isnan(_mean(np.array([[[np.nan, 1.0]]]), np.array([[[1.0, 1.0]]])).value)
    assert _mean(np.array([[[np.nan, 1.0]]]), np.array([[[0.0, 1.0]]])).value == 1.0


def test_the_slope_is_that_of_a_logistic_regression_through_zero() -> None:
    from scipy.optimize import minimize_scalar

    rng = np.random.default_rng(0)
    share, total = rng.uniform(0.05, 0.95, 40), rng.integers(1, 30, 40).astype(float)
    won = rng.binomial(total.astype(int), expit(0.7 * np.log(share / (1 - share)))).astype(float)
    x = np.log(share / (1 - share))

    def deviance(b: float) -> float:
        return float((won * np.logaddexp(0, -b * x) + (total - won) * np.logaddexp(0, b * x)).sum())

    found = _slope(share, won, total)
    assert found.value == pytest.approx(minimize_scalar(deviance, bounds=(0, 3), method="bounded").x, abs=1e-5)
    mean = expit(found.value * x)
    middle = 2 * (x**2 * (won * (1 - mean) ** 2 + (total - won) * mean**2)).sum()
    half = norm.ppf(0.975) * np.sqrt(middle) / (total * mean * (1 - mean) * x**2).sum()
    assert [found.low, found.high] == pytest.approx([found.value - half, found.value + half])


def test_bins_hold_each_vote_from_both_sides() -> None:
    counts = np.array([[[8.0, 1.0], [2.0, 3.0], [0.0, 2.0]]])
    votes = HeldOutVotes(counts, np.array([[[0.7, 0.3], [0.3, 0.5], [0.0, 0.2]]]))
    found = calibration(votes, bins=2)
    np.testing.assert_allclose(found.votes, [8.0, 8.0])
    assert found.predicted[0] == pytest.approx(1 - found.predicted[1])
    assert found.observed[0] == pytest.approx(1 - found.observed[1])
    assert found.predicted[1] == pytest.approx((10 * 0.7 + 6 * 0.6) / 16)
    assert found.observed[1] == pytest.approx((8 + 4) / 16)
    assert found.error == pytest.approx(abs(found.predicted - found.observed).mean())
    with pytest.raises(ValueError, match="no fold has a finite fit, so that nothing is predicted; a prior gives one"):
        calibration(HeldOutVotes(counts, np.full((1, 3, 2), np.nan)))


def test_equal_draws_share_the_first_place() -> None:
    drawn = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0], [3.0, 3.0 - 1e-12, 3.0], [1e3, 1e3 - 1e-5, 0.0]])
    np.testing.assert_allclose(_first_share(drawn), [(0.5 + 0 + 1 / 3 + 1) / 4, (0.5 + 1 + 1 / 3) / 4, (1 / 3) / 4])
    one = rank_sets(np.array([2.0]), np.zeros((1, 1)))
    assert (one.best.tolist(), one.worst.tolist(), one.best_probability.tolist()) == ([1], [1], [1.0])
    assert (one.critical, one.score_critical) == (0.0, 0.0)


def test_a_statistic_beside_simulations_counts_itself_and_ties() -> None:
    same = np.zeros(6)
    found = _tested("cyclic triples", np.array([2.0, 1.0, 2.0, 3.0, 0.0, 4.0]), same)
    assert found.p == pytest.approx((1 + 3) / (1 + 5))
    assert (found.observed, found.expected) == (2.0, 2.0)
    assert [found.low, found.high] == pytest.approx(np.quantile([1, 2, 3, 0, 4], [0.025, 0.975]).tolist())
    nothing = _tested("cyclic triples", np.array([np.nan, 1.0]), np.zeros(2))
    assert nothing.p == 1.0
    assert np.isnan([nothing.observed, nothing.expected, nothing.low, nothing.high]).all()
    away = np.array([0.0, -2.0, -1.0, 1.0, 2.0, 0.0])
    linear = _tested("x", 5.0 + 3.0 * away, away)  # all of it is linear in the spread
    assert linear.expected == pytest.approx(5.0)
    assert linear.p == 1.0


def test_strong_transitivity_by_enumeration() -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        p = np.round(rng.random((5, 5)), 1)
        p = np.triu(p, 1) + np.tril(1 - p.T, -1)
        p[np.diag_indices(5)] = np.nan
        expected = sum(
            p[i, j] >= 0.5 and p[j, k] >= 0.5 and p[i, k] < max(p[i, j], p[j, k]) - 1e-12
            for i in range(5) for j in range(5) for k in range(5) if len({i, j, k}) == 3
        )  # fmt: skip
        assert _strong(p) == expected


@pytest.mark.parametrize(
    ("wins", "simulations", "message"),
    [
        ([1.5], 99, "tests against noise take whole numbers of votes; these are weights, with fractions"),
        ([3.0], 18, "simulations must be a whole number of at least 19, got 18"),
        ([3.0], 19.5, r"simulations must be a whole number of at least 19, got 19\.5"),
        ([3.0], True, "simulations must be a whole number of at least 19, got True"),
        ([0.0], 99, "tests against noise take decided votes; there are only ties"),
    ],
)
def test_what_cannot_be_tested_against_noise(wins: list[float], simulations: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        noise_tests(ComparisonProblem([0], [1], wins, [0.0], [1.0]), simulations=simulations)


def test_the_misfit_of_the_null_is_pearson_s_to_first_order() -> None:
    i, j = np.triu_indices(4, 1)
    wins, losses = np.array([410, 620, 700, 600, 640, 560]), np.array([400, 400, 310, 420, 380, 450])
    problem = ComparisonProblem(i, j, wins, losses)
    null = _Null.of(problem)
    found = float(null.misfit(wins[None, :].astype(float))[0])
    p = expit(np.subtract(*rank(problem).scores[np.array([i, j])]))
    expected = float(((wins - (wins + losses) * p) ** 2 / ((wins + losses) * p * (1 - p))).sum())
    assert found == pytest.approx(expected, rel=0.02)
    told = noise_tests(problem, simulations=19)
    assert told.degrees_of_freedom == 3
    assert told.chi_square_p == pytest.approx(chi2.sf(told.misfit.observed, 3))
    assert [one.name for one in told.tests] == [
        "cyclic part (mean flow)", "cyclic triples", "weak violations", "strong violations",
        "misfit of Bradley–Terry (X²)",
    ]  # fmt: skip
    assert list(told.to_dict()) == [
        "cyclic_share", "cyclic_triples", "weak_violations", "strong_violations", "misfit", "degrees_of_freedom",
        "chi_square_p", "simulations",
    ]  # fmt: skip
    lines = told.summary().splitlines()
    assert lines[0] == "against 19 sets of exactly Bradley–Terry votes, as many a pair:"
    assert re.search(r"cyclic part \(mean flow\) +\S+% of the votes' flow; noise alone makes \S+% \[", lines[1])
    few = noise_tests(ComparisonProblem(i, j, [3, 2, 4, 3, 2, 4], [2, 2, 1, 3, 2, 1]), simulations=19)
    assert np.isnan(few.chi_square_p)
    assert few.to_dict()["chi_square_p"] is None


def test_ties_and_a_prior_are_halves_of_directed_pairs() -> None:
    problem = chain([3, 0], [1, 2], [2, 0])
    found = weighted_pairs(system_of(problem), ("a", "b", "c"))
    pairs = {(int(one), int(two)): x for one, two, x in zip(found.winner, found.loser, found.weight, strict=True)}
    assert pairs == pytest.approx({(0, 1): 4 / 8, (1, 0): 2 / 8, (2, 1): 2 / 8})
    more = weighted_pairs(system_of(problem, prior=1.0), ("a", "b", "c"))
    assert more.n == 4
    weights = {(int(one), int(two)): x for one, two, x in zip(more.winner, more.loser, more.weight, strict=True)}
    total = 8 + 3 * 1.0
    assert weights[0, 3] == weights[3, 0] == weights[2, 3] == pytest.approx(0.5 / total)
    assert weights[0, 1] == pytest.approx(4 / total)
    assert more.weight.sum() == pytest.approx(1)


def test_models_of_ties_are_of_the_logistic_loss_alone() -> None:
    with pytest.raises(ValueError, match="ties must be one of 'half', 'davidson', 'rao-kupper', got 'none'"):
        outcome_model(LOGISTIC, "none")
    with pytest.raises(ValueError, match="ties='davidson' is a model of the logistic loss; squared takes ties='half'"):
        outcome_model(get_margin_loss("squared"), "davidson")
    for tied in (0.1, 0.4):
        davidson, threshold = outcome_model(LOGISTIC, "davidson"), outcome_model(LOGISTIC, "rao-kupper")
        for model in (davidson, threshold):  # the start has the share of ties at equal scores
            assert model.probabilities(np.zeros(1), model.start(tied))[2, 0] == pytest.approx(tied)
        assert davidson.admits(-5.0)
        assert not threshold.admits(0.0)
        assert threshold.admits(1e-9)
    assert Halved(LOGISTIC).is_likelihood
    assert not Halved(get_margin_loss("savage")).is_likelihood
    assert not Halved(get_margin_loss("savage")).is_convex
    assert not Halved(get_margin_loss("hinge")).is_smooth


@pytest.mark.parametrize(("wins", "method"), [(10, "sandwich"), (9, "profile")])
def test_the_profile_is_taken_where_an_item_has_less_than_five_of_information(wins: int, method: str) -> None:
    """Votes N at even chances have N/4: twenty of them 5, which is enough."""
    found = rank(ComparisonProblem([0], [1], [wins], [wins])).intervals
    assert found.method == (method, method)


@pytest.mark.parametrize(("high", "beyond"), [(2.1, True), (0.9, False)])
def test_a_share_that_noise_may_exceed_says_so(high: float, beyond: bool) -> None:
    """Shares are of the flow of the votes as they are; noise may make more cycles than that in all."""
    line = _line(NoiseTest("cyclic part (mean flow)", 0.05, 0.94, 0.13, high, 0.9))
    assert f"5.00% of the votes' flow; noise alone makes 94.00% [13.00%, {high:.2%}] of that flow" in line
    assert ("more than the votes show in all" in line) is beyond
    assert "of that flow" not in _line(NoiseTest("cyclic triples", 3.0, 2.0, 0.0, 5.0, 0.4))
