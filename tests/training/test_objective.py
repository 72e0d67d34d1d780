"""The gradient of stacked runs, by matrices where all pairs are there, against differences of the loss; f's kernels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import gpo_analysis as gpo
from gpo_analysis.losses.compile import NUMPY
from gpo_analysis.training.objective import Objective

RNG = np.random.default_rng(0)
COMPLETE = [gpo.PreferenceProblem(gpo.bradley_terry(RNG.normal(size=5))) for _ in range(3)]
PART = gpo.PreferenceProblem.from_comparisons(gpo.Comparisons([0, 1, 2, 0, 3, 4], [1, 2, 0, 3, 4, 0]))
BATCH = gpo.PreferenceProblem(np.stack([gpo.bradley_terry(RNG.normal(size=4)) for _ in range(2)]))


@pytest.mark.parametrize(
    ("problems", "losses", "by_matrices"),
    [
        (COMPLETE, ["logistic", "squared", "savage"], True),
        (COMPLETE[:1] * 3, ["logistic"] * 3, True),
        ([PART, PART], ["logistic", "exponential"], False),
        ([BATCH], ["logistic"], False),
        ([COMPLETE[0], PART], ["logistic", "logistic"], False),
        (COMPLETE[:1], ["sqrt(abs(z)) + z**2"], False),  # f′(0) is infinite
    ],
)
def test_the_gradient_is_that_of_the_loss(problems: list, losses: list[str], by_matrices: bool) -> None:
    found = [gpo.get_loss(name) for name in losses]
    objective = Objective.stack(problems, found, [0.5 + 0.3 * r for r in range(len(losses))])
    assert (objective.square is not None) == by_matrices
    logits = np.random.default_rng(1).normal(size=(len(losses), objective.size))
    gradient = objective.gradient(logits)
    for k in range(objective.size):
        step = np.zeros(objective.size)
        step[k] = 1e-6
        ahead, behind = (objective.metrics(logits + sign * step)["loss"] for sign in (1, -1))
        np.testing.assert_allclose(gradient[:, k], (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_recorded_of_complete_problems_is_that_of_their_policies(count: int) -> None:
    problems = COMPLETE[:count]
    objective = Objective.stack(problems, [gpo.get_loss("logistic")] * count, [0.7] * count)
    logits = np.random.default_rng(3).normal(size=(count, 5))
    before = logits.copy()
    found = objective.metrics(logits)
    np.testing.assert_array_equal(logits, before)
    for r, problem in enumerate(problems):
        policy = special.softmax(logits[r])
        h, pairs = np.log(policy / problem.reference), problem.directed_pairs()
        rho = h[pairs.winner] - h[pairs.loser]
        share = pairs.weight / pairs.weight.sum()
        expected = {
            "loss": problem.population_loss(policy, "logistic", 0.7),
            "kl": policy @ h,
            "mu_squared_loss": 0.5 * pairs.weight @ rho**2,
            "chosen_logp": share @ np.log(policy)[pairs.winner],
            "rejected_logp": share @ np.log(policy)[pairs.loser],
            "entropy": -policy @ np.log(policy),
            "max_margin": 0.7 * np.abs(rho).max(),
        }
        assert {name: values[r] for name, values in found.items()} == pytest.approx(expected, rel=1e-13)


def test_large_arrays_have_the_values_of_their_pieces() -> None:
    z = np.random.default_rng(4).normal(size=(41, 1000)) * 10
    z[3, 5], z[40, 999] = np.nan, np.inf
    for name in ("logistic", "hinge", "squared", "z"):
        for order in (0, 1, 2):
            loss = gpo.get_loss(name)
            whole = loss.derivative(z, order)
            assert not np.may_share_memory(whole, z)
            np.testing.assert_array_equal(whole, np.stack([loss.derivative(row, order) for row in z]))
            np.testing.assert_array_equal(loss.derivative(z.T, order), whole.T)


@pytest.mark.parametrize("shape", [(), (7,), (3, 0), (2, 3, 4)])
def test_kernels_are_those_of_scipy_in_every_shape_and_leave_their_argument_alone(shape: tuple[int, ...]) -> None:
    u = np.random.default_rng(2).normal(size=shape) * 50
    given = np.array(u)
    for name, exact in (("expit", special.expit(u)), ("softplus", np.logaddexp(0.0, u))):
        found = NUMPY[name](u)
        assert np.shape(found) == shape
        np.testing.assert_allclose(found, exact, rtol=1e-15, atol=1e-300)
    np.testing.assert_array_equal(u, given)


def test_kernels_at_the_ends() -> None:
    ends = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 745.0, -745.0, 1e-300])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(NUMPY["expit"](ends), special.expit(ends), rtol=1e-15, atol=1e-320)
        np.testing.assert_allclose(NUMPY["softplus"](ends), np.logaddexp(0.0, ends), rtol=1e-15)


@pytest.mark.parametrize("renewable", [True, False])
@pytest.mark.parametrize("links", [((0, 1), (1, 2), (0, 2)), ((0, 1), (1, 2))])
def test_certain_pairs_add_nothing_where_their_other_direction_is_infinite(renewable: bool, links: tuple) -> None:
    """0 always beats 1, 1 always 2: e^{-z} of what never happens is e^2000, of weight 0; of what happens it is 0."""
    p = np.full((3, 3), 0.5)
    for winner, loser in links:
        p[winner, loser], p[loser, winner] = 1.0, 0.0
    objective = Objective.stack([gpo.PreferenceProblem(p)], [gpo.get_loss("exponential")], [1.0], renewable=renewable)
    certain = len(links) == 3
    logits = np.array([[4000.0, 2000.0, 0.0]]) if certain else np.array([[2000.0, 0.0, 2000.0 - 1e-3]])
    with np.errstate(all="ignore"):
        loss = objective.metrics(logits)["loss"][0]
    if certain:  # what is left is f(0) = 1 of pairs of a response and itself, a third of all
        assert loss == pytest.approx(1 / 3, rel=1e-12)
    else:  # 1 beats 2 always, and here is 2000 below it
        assert loss == np.inf
