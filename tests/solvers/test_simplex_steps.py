"""On the simplex step by step: who leaves, in which direction a step goes, from where, and what is said at the end."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.losses import CHOSEN, REJECTED, TwoRatioLoss
from gpo_analysis.solvers import simplex
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.solvers.ratio_objective import GONE, RatioObjective

LIKELIHOOD = TwoRatioLoss("likelihood", -CHOSEN)
MARGIN = TwoRatioLoss("margin", sympy.log(1 + sympy.exp(REJECTED - CHOSEN)))


def objective(loss: TwoRatioLoss, first: list[int], second: list[int], n: int = 3, beta: float = 1.0) -> RatioObjective:
    one, two = np.array(first), np.array(second)
    weight = np.full(len(one), 1 / len(one))
    return RatioObjective(loss, beta, np.log(np.full(n, 1 / n)), one, two, weight, np.zeros(n, bool), np.full(n, GONE))


def test_who_never_wins_leaves_and_the_best_stays() -> None:
    at = objective(LIKELIHOOD, [0, 1], [1, 2])
    low = np.array([0.0, 0.0, -30.0])
    np.testing.assert_array_equal(simplex._leaving(at, low), [False, False, True])
    np.testing.assert_array_equal(simplex._leaving(at, np.array([0.0, 0.0, -10.0])), False)  # not yet low
    np.testing.assert_array_equal(simplex._leaving(at, np.array([0.0, -30.0, 0.0])), False)  # it wins, and is pulled up
    falling = objective(TwoRatioLoss("falling", REJECTED), [0, 1], [1, 2])
    both = simplex._leaving(falling, np.array([0.0, -30.0, -30.0]))
    np.testing.assert_array_equal(both, [False, True, True])
    none = objective(TwoRatioLoss("flat", sympy.exp(-CHOSEN)), [0], [1], n=2)
    np.testing.assert_array_equal(simplex._leaving(none, np.array([0.0, -30.0])), [False, True])


def test_where_a_pull_ends_further_down_nobody_leaves() -> None:
    """Pulled down at −30 and up again from u = −70 on: it comes to rest, however low."""
    rests = TwoRatioLoss("rests", REJECTED + sympy.exp(-(REJECTED + 70)))
    at = objective(rests, [0], [1], n=2)
    np.testing.assert_array_equal(simplex._leaving(at, np.array([0.0, -30.0])), False)
    goes = objective(TwoRatioLoss("goes", REJECTED), [0], [1], n=2)
    np.testing.assert_array_equal(simplex._leaving(goes, np.array([0.0, -30.0])), [False, True])


def test_a_group_leaves_together_where_none_does_alone() -> None:
    """Two that hold on to each other by their margin alone, and are pulled down together by likelihood of the first."""
    loss = TwoRatioLoss("both", -CHOSEN / 10 + (CHOSEN - REJECTED) ** 2)
    at = objective(loss, [0, 1, 2], [0, 2, 1])
    object.__setattr__(at, "weight", np.array([1.0, 1e-3, 1e-3]))
    theta = np.array([0.0, -40.0, -40.0])
    found = simplex._leaving_together(at, theta)
    low = np.array([False, True, True])
    mass = np.exp(at.log_policy(theta))
    g = at.gradient(at.ratios(theta))
    assert bool(found.any()) == bool(np.sum(g[low] - mass[low] * g.sum()) >= 0)
    np.testing.assert_array_equal(simplex._leaving_together(at, np.zeros(3)), False)
    down = objective(TwoRatioLoss("down", REJECTED), [0, 0], [1, 2])
    np.testing.assert_array_equal(simplex._leaving_together(down, theta), low)
    np.testing.assert_array_equal(simplex._leaving_together(down, theta - 40), low)  # a constant changes nothing


@pytest.mark.parametrize(("beta", "low"), [(0.1, -18.0), (1.0, -18.0), (3.0, -54.0)])
def test_what_counts_as_low(beta: float, low: float) -> None:
    assert simplex._low(objective(LIKELIHOOD, [0], [1], beta=beta)) == low


@pytest.mark.parametrize("seed", range(4))
def test_the_direction_is_newton_s_on_what_is_free(seed: int) -> None:
    """Against the Laplacian's pseudoinverse, badly scaled too; |λ| for λ; the constant and what is fixed stay."""
    rng = np.random.default_rng(seed)
    n = 5
    weights = np.triu(rng.exponential(size=(n, n)), 1)
    weights[0] *= 1e-9 if seed % 2 else 1.0
    hessian = np.diag((weights + weights.T).sum(1)) - weights - weights.T
    gradient = rng.normal(size=n) * (np.abs(np.diag(hessian)))
    gradient -= gradient.mean()
    every = np.ones(n, dtype=bool)
    found = simplex._direction(gradient, hessian, every)
    np.testing.assert_allclose(hessian @ found, -gradient, atol=1e-6 * np.abs(gradient).max())
    assert found.mean() == pytest.approx(0, abs=1e-12 * np.abs(found).max())
    turned = simplex._direction(gradient, -hessian, every)
    np.testing.assert_allclose(turned, found, rtol=1e-6, atol=1e-9 * np.abs(found).max())  # downhill all the same
    free = np.array([True, True, False, True, True])
    part = simplex._direction(gradient, hessian, free)
    assert part[2] == 0
    assert part[free].mean() == pytest.approx(0, abs=1e-12 * np.abs(part).max())


def test_where_searches_start() -> None:
    at = objective(LIKELIHOOD, [0, 0, 1], [1, 2, 2], beta=0.5)
    starts = simplex._other_starts(at)
    lead = np.array([1.0, 0.0, -1.0])
    for start, size in zip(starts, (-1.0, 1.0, 4.0), strict=False):
        np.testing.assert_allclose(start, at.log_reference + size * lead / 0.5, rtol=1e-14)
    assert len(starts) == 11
    drawn = np.array(starts[3:])
    assert len({tuple(row) for row in drawn}) == 8
    assert 2.0 < drawn.std() < 8.0  # two nats of βh
    np.testing.assert_array_equal(simplex._other_starts(at)[5], starts[5])
    unseen = objective(LIKELIHOOD, [0], [1], beta=0.5)
    assert simplex._other_starts(unseen)[0][2] == unseen.log_reference[2]  # neither wins nor losses


def test_newton_s_steps_are_few_and_the_end_exact() -> None:
    at = objective(LIKELIHOOD, [0, 0, 1, 2], [1, 2, 2, 0])
    theta, error, good, steps = simplex._newton(at, at.log_reference)
    assert good
    assert steps <= 8
    assert error <= 1e-7
    np.testing.assert_allclose(np.exp(at.log_policy(theta)), [0.5, 0.25, 0.25], rtol=1e-12)
    far = np.array([0.0, 25.0, -25.0])
    theta, error, good, steps = simplex._newton(at, far)
    assert good
    assert steps <= 60
    np.testing.assert_allclose(np.exp(at.log_policy(theta)), [0.5, 0.25, 0.25], rtol=1e-9)


@pytest.mark.parametrize("beta", [0.05, 1.0, 20.0])
def test_one_start_is_enough_where_it_is_certified(beta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    inner = simplex._from_start

    def counted(one: RatioObjective, start: np.ndarray) -> object:
        asked.append(1)
        return inner(one, start)

    monkeypatch.setattr(simplex, "_from_start", counted)
    problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 0.5, 1.0]))
    found = problem.solve("sft", beta)
    assert found.status is Status.OPTIMUM
    assert found.reason == ""
    assert len(asked) == 1
    asked.clear()
    local = problem.solve("kto", beta)
    assert len(asked) == 12
    assert local.reason.endswith("local: the best of 12 starts, F is not known to be convex")
    assert np.isnan(local.gap)


def test_unseen_responses_share_their_mass_as_the_reference_has_it() -> None:
    reference = np.array([0.2, 0.3, 0.1, 0.4])
    pairs = np.array([0, 1]), np.array([1, 0])
    wants = TwoRatioLoss("wants", (CHOSEN + 1) ** 2)  # u = −1 each: mass is left for the others
    found = simplex.minimise_on_simplex(wants, 1.0, reference, *pairs, np.array([0.5, 0.5]), tuple("abcd"))
    left = 1 - 0.5 * np.exp(-1)
    np.testing.assert_allclose(np.exp(found.log_policy), [0.2 / np.e, 0.3 / np.e, left / 5, left * 4 / 5], rtol=1e-9)
    assert found.status is Status.NOT_UNIQUE
    assert found.reason == f"2 responses that are never compared share π = {left:.6g} anyhow"
    assert found.value == pytest.approx(0.0, abs=1e-15)
    alone = simplex.minimise_on_simplex(
        wants, 1.0, np.array([0.2, 0.3, 0.5]), *pairs, np.array([0.5, 0.5]), tuple("abc")
    )
    assert alone.status is Status.OPTIMUM
    np.testing.assert_allclose(np.exp(alone.log_policy), [0.2 / np.e, 0.3 / np.e, left], rtol=1e-9)
    gone = simplex.minimise_on_simplex(LIKELIHOOD, 1.0, reference, *pairs, np.array([0.75, 0.25]), tuple("abcd"))
    assert gone.status is Status.NO_FINITE_OPTIMUM
    assert gone.reason == "the infimum leaves no mass to those never compared"
    np.testing.assert_allclose(np.exp(gone.log_policy), [0.75, 0.25, 0, 0], atol=1e-12)
    assert gone.pull == pytest.approx(1.0)
    assert gone.value == pytest.approx(-0.75 * np.log(0.75 / 0.2) - 0.25 * np.log(0.25 / 0.3))


def test_however_low_a_response_is_it_is_asked_further_down() -> None:
    """At −700, and at rest at −1000: every place that is looked at lies below where it is."""
    rests = objective(TwoRatioLoss("rests", REJECTED + sympy.exp(-(REJECTED + 1000))), [0], [1], n=2)
    np.testing.assert_array_equal(simplex._leaving(rests, np.array([0.0, -700.0])), False)
    goes = objective(TwoRatioLoss("goes", REJECTED), [0], [1], n=2)
    np.testing.assert_array_equal(simplex._leaving(goes, np.array([0.0, -700.0])), [False, True])
