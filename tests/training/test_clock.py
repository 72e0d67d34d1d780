"""The laws of a run from its limit β → 0, and the noise floor: closed forms, limits, simulated training."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad

import gpo_analysis as gpo
from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.training import (
    averaged_slope,
    limit_mean,
    noise_balance,
    noise_variance,
    predicted_course,
    relative_slope,
    rescaled_noise,
)

STEPS = np.arange(1, 401)


def kernel(seed: int, pairs: int = 60, width: int = 25) -> np.ndarray:
    """Gradients of the margins of a linear model, some labels wrong, their mean pushing ahead."""
    rng = np.random.default_rng(seed)
    sign = np.where(rng.random(pairs) < 0.25, -1.0, 1.0)[:, None]
    return sign * (rng.normal(size=(pairs, width)) * 0.6 + rng.normal(size=width))


def descend(phi: np.ndarray, loss: str, beta: float, rate: float, steps: int) -> np.ndarray:
    """Margins along full-batch descent of the linear model, (steps, N)."""
    delta, found = np.zeros(phi.shape[1]), []
    for _ in range(steps):
        delta = delta + rate * phi.T @ relative_slope(loss, beta * (phi @ delta)) / len(phi)
        found.append(phi @ delta)
    return np.array(found)


@pytest.mark.parametrize("loss", PAPER_LOSSES)
def test_slopes_are_those_of_the_loss(loss: str) -> None:
    z = np.linspace(-3, 0.9, 14)
    f = gpo.get_loss(loss)
    assert relative_slope(loss, z) == pytest.approx(f.derivative(z) / f.derivative(0.0))
    assert np.isfinite(relative_slope("exponential", [-1e4, 1e4])).all()


@pytest.mark.parametrize("own", [0.0, 0.4, 1.0])
def test_in_the_limit_the_run_itself_comes_back(own: float) -> None:
    limit = np.linspace(0.01, 4.0, 400)[:, None] * np.array([1.5, 0.8, -0.2, 1.9])
    for optimizer in ("gd", "adam"):
        found = predicted_course("logistic", 0.0, limit, STEPS, own_share=own, optimizer=optimizer, signal=0.3)
        if own < 1.0:  # a tabular policy keeps nothing that pairs share
            assert found.margins[-1] == pytest.approx(limit[-1], rel=1e-10)
        assert found.mean_rho == pytest.approx(limit.mean(1), rel=1e-10)


def test_one_direction_is_phi_for_the_squared_loss_and_exact_for_one_mode() -> None:
    direction = np.array([2.0, 1.0, -0.5, 1.5])
    limit = np.linspace(0.0075, 3.0, 400)[:, None] * direction
    beta, m0 = 0.7, limit.mean(1)
    a = (direction**2).mean() / direction.mean() ** 2
    x = a * beta * m0
    found = predicted_course("squared", beta, limit, STEPS, optimizer="gd").mean_rho
    assert found == pytest.approx(m0 * -np.expm1(-x) / x, rel=0.02)  # a step is no infinitesimal
    phi = direction[:, None]  # one parameter: the linear model has one direction
    rate = 0.001
    for loss in ("squared", "logistic", "savage", "exponential"):
        one = descend(phi, loss, beta, rate, 400)
        law = predicted_course(loss, beta, descend(phi, loss, 0.0, rate, 400), STEPS, optimizer="gd")
        assert law.margins == pytest.approx(one, rel=1e-9)


@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential", "savage"])
def test_exact_to_first_order_in_beta_by_descent(loss: str) -> None:
    """Halving β quarters what the law is off by: its error is of second order."""
    phi, rate = kernel(0), 0.0005
    limit = descend(phi, loss, 0.0, rate, 200)
    steps, kappa = np.arange(1, 201), float(gpo.get_loss(loss).curvature_ratio)
    errors = []
    for strength in (0.08, 0.04, 0.02):
        beta = strength / kappa
        law = predicted_course(loss, beta, limit, steps, optimizer="gd").mean_rho[-1]
        errors.append(abs(law - descend(phi, loss, beta, rate, 200)[-1].mean()))
    order = np.log2(np.array(errors[:-1]) / errors[1:])
    assert order == pytest.approx(2.0, abs=0.3)
    small = predicted_course(loss, 1e-3 / kappa, limit, steps, optimizer="gd").mean_rho[-1]
    m0 = limit[-1].mean()
    a = (limit[-1] ** 2).mean() / m0**2
    assert 1 - small / m0 == pytest.approx(0.5 * a * 1e-3 * m0, rel=0.03)


def test_adams_memory_takes_a_half_off_a() -> None:
    limit = np.linspace(0.002, 2.0, 1000)[:, None] * np.array([2.0, 1.0, -0.5, 1.5])
    m0, strength = limit[-1].mean(), 1e-3
    a = (limit[-1] ** 2).mean() / m0**2
    # memory far longer than the run, no momentum
    found = predicted_course("squared", strength, limit, np.arange(1, 1001), betas=(0.0, 0.9999999)).mean_rho[-1]
    assert 1 - found / m0 == pytest.approx(0.5 * (a - 0.5) * strength * m0, rel=0.01)
    signal = predicted_course("squared", strength, limit, np.arange(1, 1001), betas=(0.0, 0.9999999), signal=1.0)
    assert 1 - signal.mean_rho[-1] / m0 == pytest.approx(0.25 * a * strength * m0, rel=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_one_direction_is_a_lower_bound_for_the_squared_loss(seed: int) -> None:
    phi, rate = kernel(seed), 0.001
    limit = descend(phi, "squared", 0.0, rate, 300)
    for beta in (0.05, 0.2, 1.0):
        law = predicted_course("squared", beta, limit, np.arange(1, 301), optimizer="gd").mean_rho
        real = descend(phi, "squared", beta, rate, 300).mean(1)
        assert (law <= real * (1 + 1e-9)).all()
        assert law[-1] < real[-1]


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
@pytest.mark.parametrize("loss", PAPER_LOSSES)
def test_two_parts_are_exact_where_the_kernel_has_two_parts(loss: str, optimizer: str) -> None:
    """Responses with a parameter each, and one direction in common; by descent exact, by Adam nearer than one part."""
    rng = np.random.default_rng(3)
    pairs, responses, rate, steps = 80, 24, 0.02, 150
    ids = np.stack([rng.choice(responses, 2, replace=False) for _ in range(pairs)]).T
    incidence = np.zeros((pairs, responses))
    incidence[np.arange(pairs), ids[0]], incidence[np.arange(pairs), ids[1]] = 1.0, -1.0
    v = rng.normal(0.5, 0.5, pairs)
    k = np.outer(v, v) + 2.0 * incidence @ incidence.T
    push = k @ np.ones(pairs) / pairs
    own = 2.0 * float((incidence @ incidence.T @ np.ones(pairs)).mean() / pairs) / float(push.mean())

    def follow(beta: float) -> np.ndarray:
        s, square, found = np.zeros(pairs), 0.0, []
        for step in range(1, steps + 1):
            w = relative_slope(loss, beta * s)
            square = 0.999 * square + 0.001 * float(np.mean(w * w))
            scale = math.sqrt(square / (1 - 0.999**step)) if optimizer == "adam" else 1.0
            s = s + rate / scale * k @ w / pairs
            found.append(s)
        return np.array(found)

    beta = 0.3
    law = predicted_course(
        loss, beta, follow(0.0), np.arange(1, steps + 1), own_share=own, responses=(ids[0], ids[1]),
        optimizer=optimizer, betas=(0.0, 0.999),
    )  # fmt: skip
    assert law.margins == pytest.approx(follow(beta), rel=1e-8, abs=1e-10)


def test_long_runs_are_followed_in_strides() -> None:
    limit = np.array([[2.0, 1.0, -0.5, 1.5]]) * 2.0
    short = predicted_course("logistic", 0.5, limit, [500]).mean_rho[-1]
    fine = predicted_course("logistic", 0.5, limit, [500], betas=(0.9**1000, 0.999**1000)).mean_rho[-1]
    coarse = predicted_course("logistic", 0.5, limit, [500_000]).mean_rho[-1]
    assert coarse == pytest.approx(fine, rel=2e-3)
    assert short != pytest.approx(coarse, rel=1e-3)  # of 500 steps Adam remembers all


@pytest.mark.parametrize("loss", PAPER_LOSSES)
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_the_limit_of_a_predicted_run_is_found_again(loss: str, optimizer: str) -> None:
    limit = np.array([[2.0, 1.0, -0.5, 1.5]])
    run = predicted_course(loss, 0.4, limit, [300], optimizer=optimizer)
    assert limit_mean(loss, 0.4, run.margins[0], 300, optimizer=optimizer) == pytest.approx(1.0, rel=1e-3)
    rest = predicted_course("squared", 5.0, 20 * limit, [300], optimizer="gd").margins[0]
    assert math.isnan(limit_mean("squared", 5.0, rest, 300, optimizer="gd"))


def normal_mean(function: Callable[[float], float], variance: float) -> float:
    """Of function(√v Z)."""
    deviation = math.sqrt(variance)
    value, _ = quad(lambda x: function(deviation * x) * math.exp(-x * x / 2), -9, 9, limit=400, points=(0.0,))
    return float(value / math.sqrt(2 * math.pi))


@pytest.mark.parametrize("variance", [0.3, 2.0, 9.0])
@pytest.mark.parametrize("loss", ["logistic", "savage", "truncated_quadratic"])
def test_averages_over_the_normal_distribution(loss: str, variance: float) -> None:
    f = gpo.get_loss(loss)
    first = float(f.derivative(0.0))
    kappa, omega = averaged_slope(loss, variance)
    assert kappa == pytest.approx(-normal_mean(lambda z: float(f.derivative(z, 2)) / first, variance), rel=1e-4)
    assert omega**2 == pytest.approx(normal_mean(lambda z: (float(f.derivative(z)) / first) ** 2, variance), rel=1e-6)


@pytest.mark.parametrize("variance", [0.3, 2.0, 4.0])
def test_averages_that_have_a_closed_form(variance: float) -> None:
    assert averaged_slope("exponential", variance) == pytest.approx(
        (math.exp(variance / 2), math.exp(variance)), rel=1e-3
    )
    density = math.exp(-1 / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    assert averaged_slope("hinge", variance)[0] == pytest.approx(density, rel=1e-2)


def test_which_losses_find_no_rest() -> None:
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"^theta must"):
            noise_variance("squared", wrong)
    assert noise_variance("exponential", 0.73) < 2.1 < math.inf
    assert noise_variance("exponential", 2 / math.e + 0.001) == math.inf  # v e^(−v/2) is greatest at v = 2
    assert noise_variance("exponential", 0.245, optimizer="gd") < 2 / 3 + 0.05
    assert noise_variance("exponential", 0.246, optimizer="gd") == math.inf
    assert noise_variance("savage", 0.55) < 13
    assert noise_variance("savage", 0.57) == math.inf
    for loss in ("logistic", "hinge", "squared", "truncated_quadratic"):
        assert noise_variance(loss, 3.0) < math.inf
    assert noise_variance("squared", 1.0, optimizer="gd") == math.inf
    assert noise_variance("squared", 0.75, optimizer="gd") == pytest.approx(3.0)
    assert noise_variance("logistic", 1e-4) == pytest.approx(1e-4 / 0.5, rel=1e-3)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_the_noise_floor_of_simulated_descent(loss: str) -> None:
    """SGD of a linear model on coin tosses, at a small rate: the variance of z at rest."""
    rng = np.random.default_rng(1)
    width, batch, beta, rate = 12, 4, 1.0, 0.004
    scales = np.geomspace(0.5, 2.0, width)  # the law does not ask for the spectrum
    delta, squares, kept = np.zeros((400, width)), np.zeros(width), 0
    for step in range(1500):
        phi = rng.normal(size=(400, batch, width)) * scales
        w = relative_slope(loss, beta * np.einsum("rbk,rk->rb", phi, delta))
        delta += rate * np.einsum("rbk,rb->rk", phi, w) / batch
        if step >= 1000 and step % 25 == 0:
            squares, kept = squares + (delta**2).mean(0), kept + 1
    variance = beta**2 * float((squares / kept) @ scales**2)
    theta = beta * rate * float((scales**2).sum()) / (2 * batch)
    assert variance == pytest.approx(noise_variance(loss, theta, optimizer="gd"), rel=0.05)


def test_noise_of_another_run() -> None:
    kl = noise_variance("logistic", 0.02) / (4 * 0.3**2)
    found = rescaled_noise(kl, "logistic", 0.3, "squared", 0.3, rate=2.0, batch=4.0)
    assert found == pytest.approx(noise_variance("squared", 0.02) / (4 * 0.3**2), rel=1e-9)
    assert rescaled_noise(0.1, "logistic", 1.0, "savage", 8.0) == math.inf
    assert noise_balance("squared", 1e-6) == pytest.approx(1e-6, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"beta": -1.0}, "beta"), ({"beta": math.nan}, "beta"), ({"own_share": 1.5}, "own_share"),
        ({"signal": -0.1}, "signal"), ({"optimizer": "sgd"}, "optimizer"), ({"betas": (1.0, 0.9)}, "betas"),
        ({"steps": [2, 1]}, "rising"), ({"steps": [1]}, "shapes"), ({"limit_margins": [[1.0], [math.inf]]}, "finite"),
        ({"limit_margins": [[1.0], [-1.0]]}, "mean margin"), ({"responses": ([0], [0])}, "differ"),
        ({"responses": ([0.5], [1.0])}, "whole"), ({"loss": "nope"}, "nope"),
    ],
)  # fmt: skip
def test_what_is_refused(change: dict[str, object], said: str) -> None:
    given: dict[str, object] = {"loss": "dpo", "beta": 0.1, "limit_margins": [[1.0], [2.0]], "steps": [1, 2]} | change
    with pytest.raises(ValueError, match=said):
        predicted_course(given.pop("loss"), given.pop("beta"), given.pop("limit_margins"), given.pop("steps"), **given)  # type: ignore[arg-type]


def test_bad_noise_is_refused() -> None:
    for call in (
        lambda: noise_variance("dpo", -1.0), lambda: noise_balance("dpo", 1.0, optimizer="sgd"),  # type: ignore[arg-type]
        lambda: rescaled_noise(0.0, "dpo", 1.0, "dpo", 1.0), lambda: averaged_slope("dpo", 0.0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"theta|optimizer|kl|variance"):
            call()
