"""Descents: against the flow's ends, against hand-made gradient descent, and what their status says."""

from __future__ import annotations

import numpy as np
import pytest

from gpo_analysis.gaussian import GaussianMixture, Landscape, LocationFamily, counterexample, descend, descend_from

CE = counterexample()


@pytest.fixture(scope="module")
def found_landscape() -> Landscape:
    return CE.landscape(points=401)


STARTS = np.linspace(-4.0, 4.0, 9)


@pytest.mark.parametrize("objective", ["kl", "mu_squared_loss"])
def test_descents_end_where_the_landscape_says(objective: str, found_landscape: Landscape) -> None:
    ends = found_landscape.reached_from(objective, STARTS)
    paths = descend_from(CE.objectives, STARTS, objective=objective)
    for path, end in zip(paths, ends, strict=True):
        assert path.status == "converged"
        assert path.c[-1] == pytest.approx(end, abs=1e-7)
        value = path.kl if objective == "kl" else path.mu_squared_loss
        assert np.all(np.diff(value) <= 1e-14)
        assert path.gradient_norm[-1] <= 1e-8


def test_descending_the_square_loss_raises_the_kl_and_descending_the_kl_does_not() -> None:
    def path(objective: str):
        return descend(CE.policy, CE.reference, CE.behavior, start=2.0, objective=objective)

    up = path("mu_squared_loss")
    assert up.raised_other
    assert up.kl[-1] > 5.9 > up.kl[0]
    assert up.mu_squared_loss[-1] < 0.01
    down = path("kl")
    assert down.kl[-1] < 1e-15
    assert not down.raised_other


def test_plain_steps_are_gradient_descent() -> None:
    """One Gaussian of equal width: KL = c²/(2s²), so c shrinks by 1 - rate/s² a step."""
    g = GaussianMixture([1.0], [0.0], [0.5])
    path = descend(g, g, g, start=3.0, objective="kl", learning_rate=0.05, backtrack=False, steps=10)
    np.testing.assert_allclose(path.c, 3.0 * 0.8 ** np.arange(11), rtol=1e-9)
    np.testing.assert_allclose(path.kl, path.c**2 / 0.5, rtol=1e-9)
    assert path.status == "out of steps"


def test_backtracking_saves_a_step_that_would_diverge() -> None:
    g = GaussianMixture([1.0], [0.0], [0.5])
    wild = descend(g, g, g, start=1.0, objective="kl", learning_rate=2.0, backtrack=False, steps=100)
    assert wild.status == "diverged"
    tamed = descend(g, g, g, start=1.0, objective="kl", learning_rate=2.0, steps=100)
    assert tamed.status == "converged"
    assert tamed.c[-1] == pytest.approx(0.0, abs=1e-8)


def test_a_start_at_rest_stays() -> None:
    path = descend(CE.policy, CE.reference, CE.behavior, start=0.0)
    assert path.status == "converged"
    assert path.c.tolist() == [0.0]
    still = descend(CE.policy, CE.reference, CE.behavior, start=1.0, steps=0)
    assert (still.status, len(still.c)) == ("out of steps", 1)


def test_the_last_step_counts_as_converged() -> None:
    g = GaussianMixture([1.0], [0.0], [1.0])
    path = descend(g, g, g, start=1.0, objective="kl", learning_rate=1.0, steps=1)
    assert (path.status, len(path.c)) == ("converged", 2)


def test_where_nothing_falls_any_more_it_says_stalled() -> None:
    sampled = descend(
        CE.policy,
        CE.reference,
        CE.behavior,
        start=0.5,
        objective="kl",
        method="monte_carlo",
        samples=200,
        gradient_tolerance=0.0,
        steps=400,
        learning_rate=0.2,
    )
    assert sampled.status in ("stalled", "converged")
    assert len(sampled.c) < 400


def test_two_parameters() -> None:
    g = GaussianMixture([0.5, 0.5], [[0.0, 0.0], [3.0, 1.0]], [0.5, 0.5])
    mu = GaussianMixture([1.0], [[0.0, 0.0]], [0.5])
    path = descend(LocationFamily(g), g, mu, start=[-2.6, -0.8], steps=60, learning_rate=0.1)
    assert path.c.shape[1] == 2
    np.testing.assert_allclose(path.c[-1], [-3.0, -1.0], atol=0.01)
    assert list(path.table.columns) == ["step", "c_0", "c_1", "kl", "mu_squared_loss", "gradient_norm"]


def test_table_and_words() -> None:
    path = descend(CE.policy, CE.reference, CE.behavior, start=2.0)
    assert list(path.table.columns) == ["step", "c", "kl", "mu_squared_loss", "gradient_norm"]
    assert path.table["step"].tolist() == list(range(len(path.c)))
    assert "converged: c 2 → 2.99355" in repr(path)
    assert "<table" in path._repr_html_()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above zero"),
        ({"learning_rate": np.nan}, "learning_rate must be above zero"),
        ({"steps": -1}, "steps must be a whole number"),
        ({"steps": 1.5}, "steps must be a whole number"),
        ({"gradient_tolerance": np.nan}, "gradient_tolerance must be 0 or more"),
        ({"objective": "js"}, "kl or mu_squared_loss"),
        ({"start": [1.0, 2.0]}, r"one point, got 2; descend_from\(\)"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        descend(CE.policy, CE.reference, CE.behavior, **({"start": 1.0} | options))  # type: ignore[arg-type]
