"""Pairs in partitions: the same answer as in one place, on a cluster too, with a worker lost on the way."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future
from functools import partial

import numpy as np
import pytest
from scipy.special import expit

import gpo_analysis as gpo
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.partitioned import _curved_labels, _State, minimise_partitioned

ITEMS, EACH = 30, 1500


def votes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One partition, made from its seed wherever it is needed."""
    rng = np.random.default_rng([7, seed])
    i = rng.integers(ITEMS, size=EACH)
    j = (i + rng.integers(1, ITEMS, size=EACH)) % ITEMS
    first = rng.random(EACH) < expit((i - j) / ITEMS)
    return np.where(first, i, j), np.where(first, j, i)


PARTITIONS = [partial(votes, seed) for seed in range(3)]


class Here:
    """The client's two calls, in this process."""

    def submit(self, function, *arguments, pure):
        future: Future = Future()
        future.set_result(function(*(a.result() if isinstance(a, Future) else a for a in arguments)))
        return future

    def gather(self, futures):
        return [future.result() for future in futures]


def together(partitions) -> gpo.PreferenceProblem:
    sides = [part() for part in partitions]
    winner, loser = (np.concatenate(side) for side in zip(*sides, strict=True))
    return gpo.PreferenceProblem.from_comparisons(gpo.Comparisons(winner, loser))


@pytest.mark.parametrize("name", ["logistic", "squared", "exponential", "truncated_quadratic"])
def test_partitions_give_what_all_pairs_give(name):
    found = minimise_partitioned(PARTITIONS, ITEMS, gpo.get_loss(name), Here())
    whole = together(PARTITIONS).fit(name)
    assert found.status == "optimum"
    np.testing.assert_allclose(found.reward, whole.reward, atol=1e-9)
    assert found.value == pytest.approx(whole.value, rel=1e-12)
    assert found.error < 1e-9


def test_items_that_nothing_connects_are_said():
    halves = [lambda: (np.array([0, 1]), np.array([1, 0])), lambda: (np.array([2, 3]), np.array([3, 2]))]
    found = minimise_partitioned(halves, 4, gpo.get_loss("logistic"), Here())
    assert found.status == "not unique"
    assert "2 groups" in found.reason


def test_separable_pairs_do_not_converge():
    found = minimise_partitioned([lambda: ([0, 1], [1, 2])], 3, gpo.get_loss("logistic"), Here())
    assert found.status == "not converged"


@pytest.mark.parametrize("wrong", ["hinge", "savage"])
def test_other_losses_are_refused(wrong):
    with pytest.raises(ValueError, match="convex losses without kinks"):
        minimise_partitioned(PARTITIONS, ITEMS, gpo.get_loss(wrong), Here())
    with pytest.raises(ValueError, match="at least one"):
        minimise_partitioned([], ITEMS, gpo.get_loss("logistic"), Here())


class Losing:
    """A client whose worker of the first partition is killed in the middle of the fit."""

    def __init__(self, client) -> None:
        self.client, self.calls, self.killed = client, 0, 0
        self.gather = client.gather

    def submit(self, function, *arguments, pure):
        self.calls += 1
        if self.calls == 60:
            holders = self.client.who_has()
            workers = sorted({worker for held in holders.values() for worker in held})
            pids = self.client.run(os.getpid, workers=workers[:1])
            for pid in pids.values():
                os.kill(pid, signal.SIGKILL)
                self.killed += 1
        return self.client.submit(function, *arguments, pure=pure)


def test_a_lost_worker_costs_time_and_nothing_else():
    pytest.importorskip("distributed")
    from experiments.framework.engines import connected

    with connected("local", 2) as client:
        client.run(os.getpid)
        losing = Losing(client)
        found = minimise_partitioned(PARTITIONS, ITEMS, gpo.get_loss("logistic"), losing)
    assert losing.killed == 1
    assert losing.calls > 100
    whole = minimise_partitioned(PARTITIONS, ITEMS, gpo.get_loss("logistic"), Here())
    np.testing.assert_array_equal(found.reward, whole.reward)


def test_pairs_without_curvature_connect_nothing():
    pairs = WeightedPairs(3, np.array([0, 1]), np.array([1, 2]), np.ones(2), 0.0, ("a", "b", "c"), None)
    groups = {(0.0, 0.0): 3, (1.0, 0.0): 2, (0.0, 2.0): 2, (1.0, 2.0): 1, (1.0, 1e-15): 2, (1e-15, 1e-15): 1}
    for curvature, count in groups.items():
        labels = _curved_labels(_State(pairs, np.array(curvature), np.zeros(3), np.zeros(3)))
        assert len(set(labels.tolist())) == count
