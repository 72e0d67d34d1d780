"""The torch form against the numpy form (tested elsewhere against 50 digits), and autograd against gradcheck."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch

import gpo_analysis as gpo

Z = np.array([-1000.0, -100.0, -37.0, -3.0, -1e-8, 0.0, 1e-8, 0.5, 1.0, 2.0, 37.0, 100.0, 1000.0])
TYPED = ["log(cosh(1-z))", "-log(erfc(-z/sqrt(2))/2)", "log(1+exp(-z)+exp(-2*z))", "sqrt(1+(1-z)**2)", "abs(1-z)"]
TYPED += [
    "log1p(z**2)",
    "atan(-z)",
    "erf(z)",
    "sinh(z)/cosh(z)",
    "exp(z)*relu(1-z)",
    "(1-exp(-z))/(1+exp(-z))",
    "expm1(z)",
]
LOSSES = [*gpo.list_losses(), *TYPED]


def loss_of(name: str) -> gpo.MarginLoss:
    return gpo.get_loss(name) if name in gpo.list_losses() else gpo.parse_loss(name)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_torch_agrees_with_numpy(name: str, dtype: torch.dtype) -> None:
    loss = loss_of(name)
    z = torch.tensor(Z, dtype=dtype)
    for order in (0, 1, 2):
        found = loss.derivative(z, order)
        assert found.dtype == dtype
        assert found.shape == z.shape
        expected = loss.derivative(z.numpy().astype(np.float64), order)
        with np.errstate(over="ignore", under="ignore"):
            expected = expected.astype(found.numpy().dtype)
        tolerance = {"rtol": 1e-11, "atol": 1e-14} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 3e-5}
        np.testing.assert_allclose(found.numpy(), expected, **tolerance)


@pytest.mark.parametrize("name", LOSSES)
def test_autograd_is_the_stable_derivative(name: str) -> None:
    loss = loss_of(name)
    z = torch.tensor(Z, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(loss(z).sum(), z, create_graph=True)
    np.testing.assert_array_equal(first.detach().numpy(), loss.derivative(z.detach()).numpy())
    (second,) = torch.autograd.grad(first.sum(), z)
    np.testing.assert_array_equal(second.numpy(), loss.derivative(z.detach(), 2).numpy())


@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck(name: str) -> None:
    z = torch.tensor([-1.3, -0.2, 0.4, 0.8, 1.6], dtype=torch.float64, requires_grad=True)
    loss = loss_of(name)
    assert torch.autograd.gradcheck(loss, (z,))
    assert torch.autograd.gradgradcheck(loss, (z,))


def test_vmap_and_functional_gradients() -> None:
    loss = gpo.get_loss("savage")
    z = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(3, 4)
    slopes = torch.func.vmap(torch.func.grad(lambda row: loss(row).sum()))(z)
    torch.testing.assert_close(slopes, loss.derivative(z))


@pytest.mark.parametrize("name", gpo.list_losses())
def test_half_precision_is_computed_wide(name: str) -> None:
    loss = gpo.get_loss(name)
    z = torch.tensor([-2.0, -0.5, 0.0, 0.75, 3.0], dtype=torch.bfloat16)
    found = loss(z)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, loss(z.double()).to(torch.bfloat16))


def test_what_is_not_a_margin() -> None:
    with pytest.raises(TypeError, match="floating-point"):
        gpo.get_loss("dpo")(torch.tensor([1, 2]))
    assert torch.isnan(gpo.get_loss("squared").derivative(torch.tensor([float("nan")]), 2)).all()
    assert gpo.get_loss("dpo")(torch.zeros(2, 0)).shape == (2, 0)


def test_parameters_and_subclasses_are_tensors() -> None:
    parameter = torch.nn.Parameter(torch.tensor([0.5]))
    assert gpo.get_loss("dpo")(parameter).requires_grad

    class Own(torch.Tensor):
        """A class of another module, as libraries of wrappers have them."""

    found = gpo.get_loss("dpo")(torch.tensor([0.5], dtype=torch.float64).as_subclass(Own))
    assert isinstance(found, torch.Tensor)
    assert float(found) == pytest.approx(math.log1p(math.exp(-0.5)), rel=1e-15)


def test_what_a_float_holds_is_finite_where_a_part_of_it_is_not() -> None:
    """cell is e^−z/2 far out: e^710/2 and, in float32, e^89/2 are numbers although e^710 and e^89 are none."""
    cell = gpo.get_loss("cell")
    z = torch.tensor([-710.45, -710.0, -709.8, -709.0, -711.0, 3.0, float("nan")], dtype=torch.float64)
    truth = [float(mpmath.exp(-mpmath.mpf(float(x))) / 2) for x in z[:4]]
    np.testing.assert_allclose(cell(z)[:4].numpy(), truth, rtol=1e-12)
    np.testing.assert_allclose(cell(z).numpy(), cell(z.numpy()), rtol=1e-12)
    assert torch.isinf(cell(z)[4])
    z.requires_grad_()
    (slope,) = torch.autograd.grad(cell(z)[:6].sum(), z)
    np.testing.assert_allclose(slope[:4].numpy(), -np.array(truth), rtol=1e-12)
    narrow = torch.tensor([-89.0, -88.9, -88.0], dtype=torch.float32)
    np.testing.assert_allclose(cell(narrow).numpy(), np.exp(-narrow.double().numpy()) / 2, rtol=1e-6)
    for dtype in (torch.float32, torch.float64):
        rows = torch.tensor([[-710.0, 0.5], [1.0, -89.0]], dtype=dtype)
        together = torch.func.vmap(torch.func.grad(lambda row: cell(row).sum()))(rows)
        for row, found in zip(rows, together, strict=True):
            alone = row.clone().requires_grad_()
            assert torch.equal(torch.autograd.grad(cell(alone).sum(), alone)[0], found)
