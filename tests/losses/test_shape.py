"""Shapes in numbers: slopes, limits, kinks, flat and straight pieces, least values, units."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.losses.shape import LossShape, shape_of

INF = math.inf
SHAPES = {
    "logistic": (True, -1.0, 0.0, INF, 0.0, None, None, (), (), 0.0, 1.0, (True, False), False),
    "hinge": (True, -1.0, 0.0, INF, 0.0, 1.0, None, ((1.0, 1.0),),
              ((-INF, 1.0), (1.0, INF)), 0.0, 1.0, (True, True), False),
    "squared": (True, -INF, INF, INF, INF, None, None, (), (), 0.0, 1.0, (True, True), False),
    "truncated_quadratic": (True, -INF, 0.0, INF, 0.0, 1.0, None, (), ((1.0, INF),), 0.0, 1.0, (True, True), False),
    "min(1, max(0, 1-z))": (False, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, ((0.0, -1.0), (1.0, 1.0)),
                            ((-INF, 0.0), (0.0, 1.0), (1.0, INF)), 0.0, 1.0, (True, True), True),
    "abs(z)-2*abs(z-1)": (False, 1.0, -1.0, -INF, -INF, None, None, ((0.0, 2.0), (1.0, -4.0)),
                          ((-INF, 0.0), (0.0, 1.0), (1.0, INF)), -INF, 1.0, (False, False), True),
    "log(1+exp(-z/500))": (True, -0.002, 0.0, INF, 0.0, None, None, (), (), 0.0, 500.0, (True, False), False),
    "sqrt(abs(z))": (False, 0.0, 0.0, INF, INF, None, None, ((0.0, INF),), (), 0.0, 1.0, (True, True), True),
    "exp(-z)-z": (True, -INF, -1.0, INF, -INF, None, None, (), (), -INF, 1.0, (True, False), False),
    "(z-2)**2-3": (True, -INF, INF, INF, INF, None, None, (), (), -3.0, 1.0, (True, True), False),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_the_shape_of_a_loss(name: str) -> None:
    found, wanted = shape_of(gpo.get_loss(name)), LossShape(*SHAPES[name])
    for field in LossShape.__dataclass_fields__:
        mine, right = getattr(found, field), getattr(wanted, field)
        if field == "least":
            assert mine == pytest.approx(right, abs=1e-4)
        elif field == "kinks":
            assert [place for place, _ in mine] == [place for place, _ in right]
            assert [jump for _, jump in mine] == pytest.approx([jump for _, jump in right], rel=1e-12)
        else:
            assert mine == right, field


def test_flat_on_both_sides_and_straight_everywhere() -> None:
    flat = {name: shape_of(gpo.get_loss(name)).is_flat_on_both_sides for name in SHAPES}
    assert [name for name, is_flat in flat.items() if is_flat] == ["min(1, max(0, 1-z))"]
    straight = {name: shape_of(gpo.get_loss(name)).is_piecewise_linear for name in SHAPES}
    assert [name for name, yes in straight.items() if yes] == ["hinge", "min(1, max(0, 1-z))", "abs(z)-2*abs(z-1)"]
    for pieces in (((-INF, 0.0), (1.0, INF)), ((-INF, 0.0),), ((0.0, INF),), ()):
        assert not LossShape(True, 0, 0, 0, 0, None, None, (), pieces).is_piecewise_linear
    plain = LossShape(True, 0, 0, 0, 0, None, None, (), ())
    assert (plain.least, plain.unit, plain.reached, plain.concave_between_kinks) == (0.0, 1.0, (False, False), False)


def test_the_straight_interval_about_a_point() -> None:
    shape = shape_of(gpo.get_loss("truncated_quadratic"))
    z = np.array([-1.0, 0.989, 0.991, 1.0, 7.0])
    low, high = shape.interval(z, 0.01)
    np.testing.assert_array_equal(low, [-1.0, 0.989, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(high, [-1.0, 0.989, INF, INF, INF])
    middle = LossShape(True, 0, 0, 0, 0, None, None, (), ((0.0, 1.0),))
    low, high = middle.interval(np.array([-0.02, -0.005, 0.5, 1.005, 1.02]), 0.01)
    np.testing.assert_array_equal(low, [-0.02, 0.0, 0.0, 0.0, 1.02])
    np.testing.assert_array_equal(high, [-0.02, 1.0, 1.0, 1.0, 1.02])
