"""Minima in a box against closed forms and against scipy's descents from many places, on both ways to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import lambertw

from gpo_analysis.analysis import least_in_box as module
from gpo_analysis.analysis.least_in_box import least_in_box
from gpo_analysis.arrays import FloatArray
from gpo_analysis.loss_names import OF_TWO_RATIOS
from gpo_analysis.losses import get_two_ratio_loss
from gpo_analysis.losses.parse import parse_loss

BOXES = [(60.0, 1e-6), (240.0, 1e-9)]
TYPED = [
    "log(1+exp(-(a-b))) + 0.1*a**2",
    "exp(-a) + exp(b) + (a-b-1)**2",
    "(a-b-1)**2 + (a+3)**2/100",
    "-a + log(1+exp(a-b))",
    "log(1+exp(-a)) + log(1+exp(b-2*a))",
    "(a-b-1)**2 + (a*b+3)**2/10",
    "log(1+exp(-a))*log(1+exp(b))",
    "exp(-a+b) + exp(a/3)/100",
]
KINKED = ["abs(a-3.3) + abs(b+7.1)", "max(0,1-a) + max(0,b)", "100*(b-a**2)**2 + (1-a)**2"]


def by_scipy(text: str, radius: float, weight: float) -> float:
    """The least value that twelve descents by differences find."""
    loss = get_two_ratio_loss(text) if text in OF_TWO_RATIOS else parse_loss(text)
    rng = np.random.default_rng(0)
    starts = np.vstack([np.zeros(2), [1, -1], [radius, -radius], [radius, 0], rng.uniform(-radius, radius, (8, 2))])

    def value(x: Any) -> float:
        return min(float(loss(x[0], x[1])) + weight * float(x @ x), 1e200)

    with np.errstate(all="ignore"):
        ends = [
            minimize(value, start, method="L-BFGS-B", bounds=[(-radius, radius)] * 2, options={"ftol": 1e-15})
            for start in starts
        ]
    return min(float(end.fun) for end in ends)


@pytest.mark.parametrize(("radius", "weight"), BOXES)
@pytest.mark.parametrize("text", [*OF_TWO_RATIOS, *TYPED, *KINKED])
def test_no_descent_ends_lower(text: str, radius: float, weight: float) -> None:
    loss = get_two_ratio_loss(text) if text in OF_TWO_RATIOS else parse_loss(text)
    a, b = least_in_box(loss, radius, weight)
    assert max(abs(a), abs(b)) <= radius
    value = float(loss(a, b)) + weight * (a * a + b * b)
    assert value <= by_scipy(text, radius, weight) + 1e-9 * (1 + abs(value))


@pytest.mark.parametrize(("radius", "weight"), BOXES)
def test_closed_forms(radius: float, weight: float) -> None:
    # (a − b − 1)² + w(a² + b²): a = −b = 1/(2 + w)
    assert least_in_box(parse_loss("(a-b-1)**2"), radius, weight) == pytest.approx(
        (1 / (2 + weight), -1 / (2 + weight))
    )
    # e^−a + e^b + w(a² + b²): e^−a = 2wa, so that a = −b is Lambert's W of 1/(2w)
    far = float(np.real(lambertw(1 / (2 * weight))))
    assert least_in_box(parse_loss("exp(-a)+exp(b)"), radius, weight) == pytest.approx((far, -far), abs=1e-6)
    # beyond the box in both; and along one edge of it
    assert least_in_box(parse_loss("-a+b"), radius, weight) == (radius, -radius)
    a, b = least_in_box(parse_loss("-a+(b-2)**2"), radius, weight)
    assert a == radius
    assert b == pytest.approx(2 / (1 + weight))


@pytest.mark.parametrize("text", [*OF_TWO_RATIOS, *TYPED])
def test_smooth_losses_are_settled_without_scipy(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = get_two_ratio_loss(text) if text in OF_TWO_RATIOS else parse_loss(text)
    calls: list[float] = []
    descended = module._Objective.descended

    def counted(own: module._Objective, radius: float) -> FloatArray:
        calls.append(radius)
        return descended(own, radius)

    monkeypatch.setattr(module._Objective, "descended", counted)
    for radius, weight in BOXES:
        least_in_box(loss, radius, weight)
    assert calls == []


@pytest.mark.parametrize("text", KINKED)
def test_kinks_and_bent_valleys_are_descended(text: str) -> None:
    objective = module._Objective(parse_loss(text), 1e-6)
    found = objective.settled(objective.least_on_grid(60.0), 60.0)
    expected = {"abs(a-3.3) + abs(b+7.1)": (3.3, -7.1), "max(0,1-a) + max(0,b)": (1.0, 0.0)}.get(text, (1.0, 1.0))
    assert found is None or found == pytest.approx(expected, abs=1e-4)
    assert least_in_box(parse_loss(text), 60.0, 1e-6) == pytest.approx(expected, abs=1e-4)
