"""Values where floats cancel or overflow: against mpmath in thousands of digits, in float64, float32 and on torch."""

from __future__ import annotations

import math
import time

import mpmath
import numpy as np
import pytest
import torch

import gpo_analysis as gpo
from gpo_analysis.losses.compile import doubtful_ranges, evaluate_precisely
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.losses.torch_backend import needs_double

CANCELLING = {
    "z*tanh(z)-z": lambda z: z * mpmath.tanh(z) - z,
    "cosh(z)-sinh(z)": lambda z: mpmath.exp(-z),
    "exp(z)-exp(-z)-2*sinh(z)+z": lambda z: z,
    "log(1+exp(-z))-exp(-z)": lambda z: mpmath.log1p(mpmath.exp(-z)) - mpmath.exp(-z),
    "z*exp(-z)-z+z**2": lambda z: z * mpmath.expm1(-z) + z**2,
    "sqrt(1+z**2)-abs(z)": lambda z: 1 / (mpmath.sqrt(1 + z**2) + abs(z)),
    "z**2*erf(z)-z**2": lambda z: -(z**2) * mpmath.erfc(z),
    "3*exp(z)*sigmoid(2*z)-3*exp(z)+z": lambda z: z - 3 * mpmath.exp(z) / (1 + mpmath.exp(2 * z)),
    "log(1+exp(-z)+z**2)": lambda z: mpmath.log(1 + mpmath.exp(-z) + z**2),
}
POINTS = (-1000.0, -37.0, -2.5, -1e-3, 0.0, 0.4, 3.0, 21.0, 300.0, 1000.0)


@pytest.mark.parametrize("text", CANCELLING)
def test_cancelling_expressions(text: str) -> None:
    found = gpo.parse_loss(text)(np.array(POINTS))
    for z, value in zip(POINTS, found, strict=True):
        with mpmath.workdps(2000):
            wanted = CANCELLING[text](mpmath.mpf(z))
            wanted = float(wanted) if abs(wanted) < 1e308 else math.copysign(math.inf, wanted)
        # far out, where f falls like an exponential, floats are compared with the size of f at the next probe
        assert value == pytest.approx(wanted, rel=1e-9, abs=1e-15 if abs(z) < 50 else 1e-30), z
        loss = gpo.parse_loss(text)
        assert evaluate_precisely(loss.expression, loss.symbol, 0, z) == pytest.approx(wanted, rel=1e-15, abs=1e-307)


def test_what_digits_do_not_settle_is_no_number() -> None:
    loss = gpo.parse_loss("exp(z)-exp(-z)-2*sinh(z)+z")  # at 10⁶ three terms of 2^1,442,695 leave 10⁶
    assert math.isnan(evaluate_precisely(loss.expression, loss.symbol, 0, 1e6))
    assert evaluate_precisely(loss.expression, loss.symbol, 0, 1000.0) == 1000.0


def test_far_out_is_microseconds_a_point() -> None:
    loss = gpo.parse_loss("z*tanh(z)-z")
    z = np.linspace(-1e6, 1e6, 100_001)
    began = time.process_time()
    found = loss(z)
    assert time.process_time() - began < 2.0
    assert not doubtful_ranges(loss.expression, loss.symbol, 0)
    np.testing.assert_allclose(found[z < -50], -2 * np.abs(z[z < -50]) * -1.0, rtol=1e-13)
    assert np.all(np.abs(found[z > 800]) == 0)


def test_only_the_doubtful_ranges_are_slow() -> None:
    loss = gpo.parse_loss("log(1+exp(-z))-exp(-z)")
    ranges = doubtful_ranges(loss.expression, loss.symbol, 0)
    assert ranges
    assert all(low >= 5 and high <= 110 for low, high in ranges)


def test_float32_reaches_what_it_can_hold() -> None:
    loss = gpo.parse_loss("log(200+z**2+exp(z/10))-z/50")
    assert loss(torch.tensor([1000.0])).item() == pytest.approx(80.0, rel=1e-6)
    squared = gpo.parse_loss("sqrt(1+(z**2+exp(z/8))**2)")  # exp(125) is beyond float32, its square beyond further
    z = torch.tensor([600.0, 700.0], dtype=torch.float32)
    assert needs_double(squared.expression, squared.symbol, 0)
    wanted = [600.0**2 + math.exp(75.0), 700.0**2 + math.exp(87.5)]
    np.testing.assert_allclose(squared(z).numpy(), np.array(wanted), rtol=1e-5)


@pytest.mark.parametrize("name", gpo.list_losses())
def test_no_loss_of_the_catalogue_needs_double(name: str) -> None:
    loss = gpo.get_loss(name)
    assert [needs_double(loss.expression, loss.symbol, order) for order in (0, 1, 2)] == [False] * 3


@pytest.mark.parametrize("text", ["1e19*(1-z)**2", "1e25*(1-z)**2+1e19*z", "(1-z)**2/1e30", "12345678901234567890*z"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_coefficients_beyond_int64(text: str, dtype: torch.dtype) -> None:
    loss = gpo.parse_loss(text)
    z = torch.tensor([-2.0, 0.25, 3.0], dtype=dtype, requires_grad=True)
    values = loss(z)
    np.testing.assert_allclose(values.detach().numpy(), loss(z.detach().double().numpy()), rtol=1e-5)
    values.sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), loss.derivative(z.detach().double().numpy()), rtol=1e-5)


def test_sums_of_softplus_are_shaped_at_once() -> None:
    began = time.process_time()
    shape = shape_of(gpo.parse_loss("softplus(-z+1)+softplus(-2*z+2)/2+softplus(-3*z)/3+softplus(-4*z+1)/4"))
    assert time.process_time() - began < 10.0
    assert shape.convex
    assert (shape.left_slope, shape.right_slope, shape.straight, shape.kinks) == (-4.0, 0.0, (), ())


def test_cusps_have_a_shape() -> None:
    shape = shape_of(gpo.parse_loss("sqrt(abs(z-1))"))
    assert [place for place, _ in shape.kinks] == [1.0]
    assert shape.kinks[0][1] == math.inf
    assert not shape.convex


def test_both_tails_with_a_slope_that_no_float_holds() -> None:
    shape = shape_of(gpo.parse_loss("exp(-z**2)-z/10"))
    assert (shape.left_slope, shape.right_slope) == (-0.1, -0.1)
    assert (shape.left_limit, shape.right_limit) == (math.inf, -math.inf)
