"""Losses with powers that are no whole number: derivatives at every place, and the margins that follow from them."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from gpo_analysis.analysis import optimal_margin
from gpo_analysis.losses import parse_loss
from gpo_analysis.losses.compile import derived

POWERS = [
    "exp(-z) + abs(z)**1.5",
    "(1-z)**2 + abs(z)**1.5",
    "exp(-z) + abs(z)**2.5",
    "exp(-z) + max(0,z)**1.5",
    "exp(-z) + max(0,-z)**1.5",
    "exp(-z) + sqrt(abs(z))**3",
    "exp(-z) + max(0,-z**3)**1.5",
    "log(1+exp(-z)) + abs(z-1)**1.3",
    "max(0,1-z)**1.5",
    "max(0,1-z)**(5/2) + abs(z)/4",
    "exp(-z) + max(z/3,2*z+5)**1.5*0 + min(0,z)**2",
]
Z = np.array([-2.3, -1.0, -0.2, 0.4, 1.7, 3.0])


@pytest.mark.parametrize("text", POWERS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_are_finite_differences_on_both_sides_of_a_kink(text: str, order: int) -> None:
    loss, h = parse_loss(text), 1e-5
    differences = (loss.derivative(Z + h, order - 1) - loss.derivative(Z - h, order - 1)) / (2 * h)
    assert loss.derivative(Z, order) == pytest.approx(differences, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("text", POWERS)
def test_the_optimal_margin_is_the_least_of_a_fine_grid(text: str) -> None:
    loss, eta = parse_loss(text), np.array([0.6, 0.75, 0.9, 0.97])
    z = np.linspace(-4.0, 4.0, 400_001)
    won, lost = loss(z), loss(-z)
    expected = [z[np.argmin(share * won + (1 - share) * lost)] for share in eta]
    assert optimal_margin(loss, eta) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("base", ["-z", "1-z", "-2*z", "-z**3", "2-3*z", "-z*exp(z)"])
@pytest.mark.parametrize("power", [sympy.Rational(1, 2), sympy.Rational(3, 2), sympy.Rational(7, 3)])
def test_roots_stay_in_one_piece(base: str, power: sympy.Rational) -> None:
    z = sympy.Symbol("z", real=True)
    root = sympy.sympify(base, locals={"z": z}) ** power
    first = derived(root, z)
    second = derived(first, z)
    at = sympy.Rational(-3, 7)
    for found, expected in ((first, root.diff(z)), (second, root.diff(z, 2))):
        assert sympy.N(found.subs(z, at) - expected.subs(z, at), 30, chop=True) == pytest.approx(0, abs=1e-20)
    if power > 1 and base in ("-z", "-2*z", "-z**3"):
        assert first.subs(z, 0) == 0, "0/0 where it is written with 1/z"


@pytest.mark.parametrize("text", ["max(0,1-a)**1.5 + max(0,b)**2.5", "abs(a)**1.5 + exp(b-a)"])
def test_of_two_log_ratios_too(text: str) -> None:
    loss, h = parse_loss(text), 1e-6
    a, b = np.meshgrid(Z, Z)
    along_a = (loss.derivative(a + h, b, (1, 0)) - loss.derivative(a - h, b, (1, 0))) / (2 * h)
    along_b = (loss.derivative(a, b + h, (0, 1)) - loss.derivative(a, b - h, (0, 1))) / (2 * h)
    assert loss.derivative(a, b, (2, 0)) == pytest.approx(along_a, rel=1e-6, abs=1e-7)
    assert loss.derivative(a, b, (0, 2)) == pytest.approx(along_b, rel=1e-6, abs=1e-7)


def test_tensors_have_gradients_where_a_branch_has_none() -> None:
    torch = pytest.importorskip("torch")
    z = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(parse_loss("max(0,1-z)**1.5")(z).sum(), z, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), z)
    below = np.array([3.0, 0.5])
    assert slope.detach().numpy() == pytest.approx([*(-1.5 * np.sqrt(below)), 0.0])
    assert curvature.numpy() == pytest.approx([*(0.75 / np.sqrt(below)), 0.0])
