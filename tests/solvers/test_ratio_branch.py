"""Where losses push down against Σπ = 1: the branched bound against the whole line of policies of two responses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_expit

import gpo_analysis as gpo
from gpo_analysis.losses import TwoRatioLoss, get_loss
from gpo_analysis.solvers.ratio_branch import Separate, branched_bound


def _drawn(seed: int, n: int) -> Separate:
    rng = np.random.default_rng(seed)
    split = get_loss(("nca_pair", "bco_pair", "sppo_hard")[seed % 3]).parts
    reference, beta = rng.dirichlet(np.ones(n)), float(np.exp(rng.uniform(np.log(0.1), np.log(5))))
    wins, losses = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n))
    parts = TwoRatioLoss("R", split.chosen), TwoRatioLoss("S", split.rejected)
    return Separate(*parts, wins, losses, np.zeros(n), np.log(reference), beta)


@pytest.mark.parametrize("seed", range(12))
def test_the_bound_is_the_least_value_on_the_line(seed: int) -> None:
    parts = _drawn(seed, 2)
    theta = np.linspace(-60, 60, 200_001)
    log_policy = np.stack([log_expit(theta), log_expit(-theta)])
    u = parts.beta * (log_policy - parts.log_reference[:, None])
    values = sum(parts.at(u[i], np.full(len(theta), i), 0) for i in range(2))
    least = float(np.min(values))
    bound = branched_bound(parts, least, 1e-9 * (1 + abs(least)))
    assert bound <= least + 1e-13
    assert bound >= least - 1e-6  # the line is in steps of 6e-4
    assert branched_bound(parts, least + 0.1, 1e-3) <= least + 1e-13  # a worse policy does not move it up


def test_steep_problems_that_push_down_are_certified() -> None:
    rng, found = np.random.default_rng(1), []
    for k in range(42):
        n, steep = int(rng.integers(2, 6)), rng.choice([1.0, 3.0, 6.0])
        beta = float(np.exp(rng.uniform(np.log(0.05), np.log(5))))
        reward = rng.normal(size=n) * steep
        reference, behavior = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n))
        if k in (5, 33, 40, 41):  # without branching gaps of 4e-4, 3e-3, 2e-6 and 1e-2 were left
            problem = gpo.PreferenceProblem(gpo.bradley_terry(reward), behavior, reference)
            found.append(problem.solve(("nca_pair", "bco_pair", "sppo_hard")[k % 3], beta))
    assert all(one.pull < 0 for one in found)
    assert [str(one.status) for one in found] == ["optimum"] * 4
    assert all(one.gap <= 1e-8 * (1 + abs(one.population_loss)) for one in found)


@pytest.mark.parametrize("beta", [1e-6, 1.0, 30.0, 1e6])
def test_large_and_small_beta(beta: float) -> None:
    reference = np.array([0.2, 0.3, 0.5])
    problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]), reference, reference)
    pairs, own = problem.directed_pairs(), problem.diagonal_weights()[0]
    wins = np.bincount(pairs.winner, pairs.weight, 3) + own
    shares = problem.solve("sft", beta)
    np.testing.assert_allclose(shares.policy, wins, atol=1e-9)  # a likelihood knows no β
    assert str(shares.status) == "optimum"
    if beta == 30:  # far from indifference one of the two exponentials of log σ is nothing: rpo counts wins alone
        found, further = problem.solve("rpo", 1e3 * beta), problem.solve("rpo", 1e5 * beta)
        assert str(found.status) == str(further.status) == "optimum"
        np.testing.assert_allclose(found.policy, further.policy, atol=1e-3)
    for loss in ("nca_pair", "cal_dpo"):
        with np.errstate(all="raise", under="ignore"):
            assert str(problem.solve(loss, beta).status) == "optimum"
