"""Joint convexity in two log-ratios: the rules one by one, places that refute, and the words."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.analysis import two_ratio_convexity
from gpo_analysis.analysis.two_ratio_convexity import joint_convexity
from gpo_analysis.losses import CHOSEN as A
from gpo_analysis.losses import REJECTED as B
from gpo_analysis.losses import TwoRatioLoss

exp, log, Max, Abs = sympy.exp, sympy.log, sympy.Max, sympy.Abs
RULES = {
    sympy.Integer(2): "constant",
    A - 2 * B + 1: "affine",
    exp(A - B): "convex",
    exp(A) + exp(B) + A: "convex",
    exp(A) + A * B: None,
    3 * exp(A + B): "convex",
    -3 * exp(A + B): None,
    A * exp(B): None,
    2 * A * B: None,
    Max(A, B): "convex",
    Max(A, A * B): None,
    Abs(A + B): "convex",
    Abs(exp(A) - B): None,
    Abs(A * B): None,
    exp(exp(A) + B): "convex",
    exp(A * B): None,
    log(1 + exp(A + B)): "convex",
    log(exp(A) + exp(B) + 2): "convex",
    log(exp(A) + exp(A * B)): None,
    log(exp(A) - exp(B)): None,
    log(1 + A**2 + B**2): None,
    (A + B) ** 2: "convex",
    (A - B + 1) ** 4: "convex",
    (A + B) ** 3: None,
    (A + B) ** -2: None,
    exp(2 * A).func(A * B) ** 2: None,
    (A + exp(B)) ** 2: None,
    sympy.tanh(A + B): None,
}


@pytest.mark.parametrize("expression", RULES, ids=str)
def test_every_rule(expression: sympy.Expr) -> None:
    assert two_ratio_convexity._jointly(expression) == RULES[expression]
    if RULES[expression] is None:
        return
    f = sympy.lambdify([A, B], expression, "numpy")  # no chord of 500 at random lies below
    ends = np.random.default_rng(0).uniform(-2, 2, (4, 500))
    middle = f((ends[0] + ends[1]) / 2, (ends[2] + ends[3]) / 2)
    chords = (f(ends[0], ends[2]) + f(ends[1], ends[3])) / 2
    assert np.all(middle <= chords + 1e-12 * (1 + np.abs(chords)))


def decided(text: str) -> tuple[bool | None, str]:
    loss = gpo.parse_loss(text)
    assert isinstance(loss, TwoRatioLoss)
    return joint_convexity(loss)


def test_places_that_refute_are_named() -> None:
    """Which second derivative is below 0 there, or that the determinant is."""
    for text, which in (("exp(-a) - b**2", "F_bb = -2 < 0"), ("exp(-b) - a**2", "F_aa = -2 < 0"),
                        ("-a**2 - b**2", "F_aa = -2 < 0"), ("-a**2 - 3*b**2", "F_bb = -6 < 0"),
                        ("a**2 + b**2 + 3*a*b", "F_aa F_bb − F_ab² = -5 < 0")):  # fmt: skip
        found, words = decided(text)
        assert found is False
        assert words.endswith(which), words
        assert words.startswith("at a = -6, b = -6 ")


def test_what_is_proved_names_its_parts() -> None:
    for text in ("exp(-a) + exp(b)", "log(1+exp(-a)) + abs(b) + (a-b)**2", "exp(-a) + log(exp(a)+exp(2*b)+1)"):
        found, words = decided(text)
        assert found is True
        assert "convex" in words
    assert decided("exp(-a) + exp(b)")[1].count("R(a)") == 1
    assert "what is left, by the rules of composition" in decided("exp(-a) + log(exp(a)+exp(2*b)+1)")[1]
    assert "what is left" not in decided("exp(-a) + exp(b)")[1]
