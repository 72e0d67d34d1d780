"""RLHF within a class of policies: against scipy, a fine line, and the class that holds every reward."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

import gpo_analysis as gpo
from gpo_analysis.arrays import FloatArray
from gpo_analysis.tabular import restricted_optimum
from gpo_analysis.tabular.restricted import _Class


def objective(w: np.ndarray, r: np.ndarray, ref: np.ndarray, phi: np.ndarray, beta: float) -> float:
    logits = np.log(ref) + phi @ w
    log_policy = logits - logsumexp(logits)
    return float(np.exp(log_policy) @ (r - beta * (log_policy - np.log(ref))))


@pytest.mark.parametrize("seed", range(4))
def test_no_start_of_scipy_finds_a_better_policy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    r, ref, phi, beta = rng.normal(size=6), rng.dirichlet(np.full(6, 2.0)), rng.normal(size=(6, 2)), 0.3
    found = restricted_optimum(r, ref, phi, beta)
    assert found.gradient < 1e-9
    assert found.objective == pytest.approx(objective(found.weights, r, ref, phi, beta), abs=1e-13)
    theirs = [minimize(lambda w: -objective(w, r, ref, phi, beta), 3 * rng.normal(size=2)).fun for _ in range(8)]
    assert found.objective >= -min(theirs) - 1e-10


def test_in_one_dimension_against_a_fine_line_with_two_maxima() -> None:
    r, ref, phi, beta = np.array([3.0, 0.0, 3.2]), np.array([0.2, 0.6, 0.2]), np.array([[-1.0], [0.0], [1.0]]), 0.5
    line = np.linspace(-12, 12, 24001)
    values = np.array([objective(np.array([w]), r, ref, phi, beta) for w in line])
    inner = (values[1:-1] > values[:-2]) & (values[1:-1] > values[2:])
    assert inner.sum() == 2
    found = restricted_optimum(r, ref, phi, beta)
    assert found.objective >= values.max() - 1e-12
    assert found.weights[0] == pytest.approx(line[values.argmax()], abs=2e-3)


def test_a_class_that_holds_every_reward_has_the_tilt_and_no_gap() -> None:
    rng = np.random.default_rng(3)
    r, ref = rng.normal(size=5), rng.dirichlet(np.ones(5))
    found = restricted_optimum(r, ref, np.eye(5), 0.4)
    assert str(found.status) == "optimum"
    np.testing.assert_allclose(found.policy, gpo.regularized_optimum(r, ref, 0.4), atol=1e-9)
    assert found.objective == pytest.approx(0.4 * logsumexp(r / 0.4, b=ref), abs=1e-12)


def test_the_gap_is_what_all_policies_have_more() -> None:
    r, ref = np.array([0.0, 2.0, 1.0]), np.full(3, 1 / 3)
    found = restricted_optimum(r, ref, [[0.0], [1.0], [2.0]], 0.5)
    assert found.gap == pytest.approx(0.5 * logsumexp(r / 0.5, b=ref) - found.objective, abs=1e-12)
    assert str(found.status) == "stationary point"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0, np.inf], [0.5, 0.5], [[1.0], [0.0]], 1.0), "reward"),
        (([0.0, 1.0], [1.0, 0.0], [[1.0], [0.0]], 1.0), "reference"),
        (([0.0, 1.0], [0.5, 0.5], [1.0, 0.0], 1.0), "features"),
        (([0.0, 1.0], [0.5, 0.5], [[1.0], [np.nan]], 1.0), "features"),
        (([0.0, 1.0], [0.5, 0.5], [[1.0], [0.0]], 0.0), "beta"),
    ],
)
def test_bad_input_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restricted_optimum(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(6))
def test_no_step_of_a_climb_goes_down(seed: int) -> None:
    """Steep rewards, few mass where they are: from every start each policy on the way is as good as the last."""
    rng = np.random.default_rng(seed)
    r, ref, phi = 5 * rng.normal(size=6), rng.dirichlet(np.full(6, 0.5)), rng.normal(size=(6, 2))
    met: list[float] = []

    class Noted(_Class):
        def derivatives(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
            met.append(self.objective(weights))
            return super().derivatives(weights)

    at = Noted(r, np.log(ref), phi, 0.2)
    for start in at.starts():
        met.clear()
        end = at.climbed(start)
        values = np.array([*met, at.objective(end)])
        assert (np.diff(values) >= -1e-13 * (1 + np.abs(values[1:]))).all()
