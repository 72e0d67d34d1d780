"""Closed-form gradients against torch autograd and finite differences; the constant 2 of the identity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpo_analysis.tabular.gradients import gradient_identity, kl_gradient, mu_squared_loss_gradient
from tests.cases import cases


def instance(seed: int, n: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n) * 2, rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n))


def torch_kl(theta: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    log_policy = torch.log_softmax(theta, -1)
    return (log_policy.exp() * (log_policy - reference.log())).sum()


def torch_mu_squared(theta: torch.Tensor, reference: torch.Tensor, mu: torch.Tensor) -> torch.Tensor:
    """Straight from the definition: the mean over all pairs of ½ρ²."""
    h = torch.log_softmax(theta, -1) - reference.log()
    rho = h[:, None] - h[None, :]
    return 0.5 * (mu[:, None] * mu[None, :] * rho**2).sum()


@pytest.mark.parametrize("seed", range(5))
def test_against_autograd(seed: int) -> None:
    theta, reference, mu = instance(seed)
    t, r, m = (torch.tensor(x) for x in (theta, reference, mu))
    t.requires_grad_(True)
    (expected,) = torch.autograd.grad(torch_kl(t, r), t)
    np.testing.assert_allclose(kl_gradient(theta, reference), expected.numpy(), atol=1e-14)
    (expected,) = torch.autograd.grad(torch_mu_squared(t, r, m), t)
    np.testing.assert_allclose(mu_squared_loss_gradient(theta, reference, mu), expected.numpy(), atol=1e-13)


def test_identity_of_the_paper_with_its_constant_two() -> None:
    """μ = π as a constant, the pairs not differentiated: autograd through the definition gives 2∇KL."""
    theta, reference, _ = instance(7)
    t, r = torch.tensor(theta, requires_grad=True), torch.tensor(reference)
    mu = torch.softmax(t, -1).detach()
    (gradient,) = torch.autograd.grad(torch_mu_squared(t, r, mu), t)
    (kl,) = torch.autograd.grad(torch_kl(t, r), t)
    np.testing.assert_allclose(gradient, 2 * kl, atol=1e-14)
    h = torch.log_softmax(t, -1) - r.log()
    (one_sample,) = torch.autograd.grad((mu * 0.5 * h**2).sum(), t)  # the form that needs no 2
    np.testing.assert_allclose(one_sample, kl, atol=1e-14)


def test_against_finite_differences() -> None:
    theta, reference, mu = instance(3, n=4)
    r, m = torch.tensor(reference), torch.tensor(mu)

    def slope(value: Callable[[torch.Tensor], torch.Tensor], k: int, step: float = 1e-6) -> float:
        up, down = theta.copy(), theta.copy()
        up[k] += step
        down[k] -= step
        return float(value(torch.tensor(up)) - value(torch.tensor(down))) / (2 * step)

    kl = [slope(lambda t: torch_kl(t, r), k) for k in range(4)]
    mu_squared = [slope(lambda t: torch_mu_squared(t, r, m), k) for k in range(4)]
    np.testing.assert_allclose(kl_gradient(theta, reference), kl, atol=1e-8)
    np.testing.assert_allclose(mu_squared_loss_gradient(theta, reference, mu), mu_squared, atol=1e-8)


def test_prompts_are_rows() -> None:
    rows = [instance(seed) for seed in (0, 1)]
    theta, reference, mu = (np.stack(part) for part in zip(*rows, strict=True))
    for k, (t, r, m) in enumerate(rows):
        np.testing.assert_array_equal(kl_gradient(theta, reference)[k], kl_gradient(t, r))
        np.testing.assert_array_equal(
            mu_squared_loss_gradient(theta, reference, mu)[k], mu_squared_loss_gradient(t, r, m)
        )


@cases(50)
@given(st.lists(st.floats(-30, 30), min_size=2, max_size=7), st.integers(0, 2**32 - 1))
def test_identity_and_zero_sum(theta: list[float], seed: int) -> None:
    reference = np.random.default_rng(seed).dirichlet(np.full(len(theta), 5.0))
    logits = np.array(theta)
    policy = np.exp(logits - logits.max())
    policy /= policy.sum()
    scale = 1 + np.abs(logits).max()
    found = mu_squared_loss_gradient(logits, reference, policy)
    np.testing.assert_allclose(found, 2 * kl_gradient(logits, reference), atol=1e-13 * scale)
    assert abs(found.sum()) < 1e-13 * scale
    shifted = mu_squared_loss_gradient(logits + 5.0, reference, policy)
    np.testing.assert_allclose(shifted, found, atol=1e-13 * scale)


def test_identity_record() -> None:
    theta, reference, mu = instance(2)
    policy = np.exp(theta) / np.exp(theta).sum()
    there = gradient_identity(theta, reference, policy)
    assert there.cosine == pytest.approx(1.0, abs=1e-14)
    assert there.norm_ratio == pytest.approx(1.0, abs=1e-14)
    elsewhere = gradient_identity(theta, reference, mu)
    assert elsewhere.cosine < 0.99
    at_reference = gradient_identity(np.log([0.25, 0.75]), [0.25, 0.75], [0.5, 0.5])
    assert np.isnan(at_reference.cosine)
    assert np.isnan(at_reference.norm_ratio)


def test_one_point_behavior_has_no_gradient() -> None:
    assert np.all(mu_squared_loss_gradient([1.0, 0.0], [0.5, 0.5], [1.0, 0.0]) == 0)


@pytest.mark.parametrize(
    ("theta", "reference", "mu", "message"),
    [
        ([np.nan, 0.0], [0.5, 0.5], [0.5, 0.5], "logits"),
        (0.0, [0.5, 0.5], [0.5, 0.5], "logits"),
        ([1.0, 0.0], [1.0, 0.0], [0.5, 0.5], "reference must be positive"),
        ([1.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5], "reference must have shape"),
        ([1.0, 0.0], [0.5, 0.5], [0.5, 0.6], "behavior must be non-negative"),
        ([1.0, 0.0], [0.5, 0.5], [1.0], "behavior must have shape"),
        ([[1.0, 0.0]], [0.5, 0.5], [0.5, 0.5], "logits must have shape"),
    ],
)
def test_bad_input(theta: object, reference: object, mu: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_identity(theta, reference, mu)  # type: ignore[arg-type]
