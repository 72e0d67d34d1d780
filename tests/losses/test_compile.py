"""From formulas to arrays: what is doubted, where a part overflows early, which intervals are computed slowly."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import sympy
import torch

import gpo_analysis as gpo
from gpo_analysis.losses import TwoRatioLoss
from gpo_analysis.losses import compile as one
from gpo_analysis.losses import compile_two as two
from gpo_analysis.losses.compile import NUMPY, infinite_early, module_of, numeric_constants
from gpo_analysis.losses.torch_backend import TORCH, apply_two

Z = gpo.get_loss("dpo").symbol
A, B = gpo.get_loss("bco").symbols


def test_probes_lie_in_order_on_both_sides() -> None:
    for probes in (one.PROBES, two.PROBES):
        assert list(probes) == sorted(set(probes))
        assert probes[0] == -1000.0
        assert probes[-1] == 1000.0
    assert sum(z < 0 for z in one.PROBES) == 9


@pytest.mark.parametrize("functions", [NUMPY, TORCH], ids=["numpy", "torch"])
def test_every_function_of_an_array_library(functions: dict[str, object]) -> None:
    """Against the same function in many digits."""
    from gpo_analysis.calculus.arithmetic import numbers
    from gpo_analysis.losses.precise import _functions

    u = np.array([-30.0, -2.5, -0.9, -1e-3, 0.3, 0.999, 1.001, 4.0, 25.0])
    wrap = torch.from_numpy if functions is TORCH else np.asarray
    exact = _functions(300)
    for name in NUMPY:
        assert name in functions
        if name in ("logsumexp", "select"):
            continue
        inside = u[u > 0] if name in ("log", "sqrt") else u[u > -1] if name == "log1p_" else u
        inside = inside[inside > -5] if name == "erfcx_" else inside
        found = np.asarray(functions[name](wrap(inside)))  # type: ignore[operator]
        wanted = [float(exact[name](numbers(300).mpf(x))) for x in inside]
        np.testing.assert_allclose(found, wrap(np.array(wanted)), rtol=1e-13, atol=1e-300, err_msg=name)
    parts = [wrap(u), wrap(u[::-1].copy()), wrap(0 * u)]
    found = np.asarray(functions["logsumexp"](*parts))  # type: ignore[operator]
    np.testing.assert_allclose(found, np.log(np.exp(u) + np.exp(u[::-1]) + 1), rtol=1e-13)
    chosen = np.asarray(functions["select"](wrap(np.array([-1.0, 0.0, 1.0])), wrap(u[:3]), wrap(u[3:6])))  # type: ignore[operator]
    np.testing.assert_array_equal(chosen, [u[3], u[4], u[2]])


def test_a_value_is_wrong_beside_its_size_and_that_of_its_neighbours() -> None:
    exact = [5.0, 1.0, 0.0, 1e-20, 2e301, -2e301, math.nan, math.inf]
    wrong = one._is_wrong
    assert not wrong(1.0 + 0.9e-9, exact, 1)
    assert wrong(1.0 + 1.1e-9, exact, 1)
    assert wrong(1.0 - 1.1e-9, exact, 1)
    assert not wrong(0.9e-15, exact, 2)  # beside a neighbour of size 1
    assert wrong(1.5e-15, exact, 2)  # though five at two steps away would allow it
    assert not wrong(0.0, [0.0, 0.0, 0.0], 1)
    assert wrong(1e-299, [0.0, 0.0, 0.0], 1)
    assert not wrong(math.inf, exact, 4)
    assert not wrong(1e300, exact, 4)
    assert wrong(1e298, exact, 4)
    assert wrong(-math.inf, exact, 4)
    assert not wrong(-math.inf, exact, 5)
    assert wrong(math.inf, exact, 5)
    assert not wrong(3.0, exact, 6)  # nothing is known there
    assert wrong(math.nan, exact, 1)
    assert not wrong(math.inf, exact, 7)
    grid = np.array([[5.0, 1.0, 0.0, 1e-20], [7.0, 1.0, 1e-20, 0.0], [5.0, math.nan, 2e301, -2e301]])
    of_two = two._is_wrong
    cases = [
        (1 + 0.9e-9, 0, 1, False), (1 + 1.1e-8, 0, 1, True), (0.9e-15, 0, 2, False), (1.5e-15, 0, 2, True),
        (1e-20 + 0.9e-29, 0, 3, False), (0.9e-30, 0, 3, True), (math.inf, 2, 2, False), (1e298, 2, 2, True),
        (-math.inf, 2, 3, False), (math.inf, 2, 3, True), (3.0, 2, 1, False), (math.nan, 0, 0, True),
        (6e-9, 0, 0, True),
    ]  # fmt: skip
    for value, i, j, expected in cases:
        assert of_two(value, grid, i, j) == expected, (value, i, j)


@pytest.mark.parametrize("rising", [True, False])
def test_where_a_part_is_infinite_early(rising: bool) -> None:
    """Printed beyond 10.25, truly beyond 11: what lies between is found to the last float, on either side."""
    side = 1.0 if rising else -1.0
    (found,) = infinite_early(lambda z: side * z >= 10.25, lambda z: side * z >= 11)
    low, high = sorted(side * end for end in found)
    assert low == 10.25
    assert high == 11
    assert infinite_early(lambda z: side * z >= 10.25, lambda z: side * z >= 10.25) == ()
    assert infinite_early(lambda z: False, lambda z: False) == ()
    both = infinite_early(lambda z: abs(z) >= 50, lambda z: abs(z) >= 60)
    assert both == ((-60.0, -50.0), (50.0, 60.0))


def test_ranges_about_a_doubtful_probe() -> None:
    between = list(itertools.pairwise([-math.inf, *two.PROBES, math.inf]))
    x = np.array([-5000.0, -500.0, -50.0, -5.0, -1.0, 0.1, 3.0, 20.0, 100.0, 600.0, 5000.0])
    for index in range(len(two.PROBES)):
        beside = two._beside(x, index)
        assert beside.sum() == 2
        assert list(np.flatnonzero(beside)) == [k for k in (index, index + 1) if between[k]]
    assert two._beside(np.array(two.PROBES), 3).tolist() == [k in (2, 3, 4) for k in range(len(two.PROBES))]
    assert list(one.PROBES) == sorted(one.PROBES)
    lost = gpo.parse_loss("log(1+exp(-z))-exp(-z)")
    ranges = one.doubtful_ranges(lost.expression, lost.symbol, 0)
    assert set(ranges) <= set(itertools.pairwise([-math.inf, *one.PROBES, math.inf]))


def test_constants_are_numbers_that_a_tensor_takes() -> None:
    assert numeric_constants(sympy.log(2) * Z).args[0].is_Float
    assert numeric_constants(Z / 3) == Z / 3
    assert numeric_constants(2**53 * Z) == 2**53 * Z
    assert numeric_constants((2**53 + 1) * Z).args[0].is_Float
    assert numeric_constants(Z / (2**53 + 1)).args[0].is_Float
    assert numeric_constants(sympy.pi + 0 * Z).is_Float


def test_arrays_by_their_library() -> None:
    assert module_of(torch.zeros(1)) == "torch"
    assert module_of(torch.nn.Parameter(torch.zeros(1))) == "torch"
    assert module_of(np.zeros(1)) == module_of(1.0) == "numpy"


def test_large_arrays_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = gpo.get_loss("lrml")
    z = np.linspace(-3, 3, 100).reshape(4, 25)
    whole = loss(z)
    monkeypatch.setattr(one, "AT_ONCE", 7)
    np.testing.assert_array_equal(loss(z), whole)
    np.testing.assert_array_equal(loss(z.T), whole.T)
    assert np.isnan(loss(np.where(z > 2, np.nan, z))).sum() == (z > 2).sum()


def test_missing_values_stay_missing_beside_others() -> None:
    loss = gpo.parse_loss("log(1 + exp(-a)) + (cosh(b) - sinh(b))*exp(b)")  # many digits are taken here
    found = loss(np.array([0.0, np.nan, 0.0, np.nan]), np.array([300.0, 1.0, np.nan, np.nan]))
    assert np.isnan(found).tolist() == [False, True, True, True]
    assert found[0] == pytest.approx(math.log(2) + 1, rel=1e-12)
    constant = TwoRatioLoss("two", sympy.Integer(2))
    assert np.isnan(constant(np.array([0.0, np.nan]), 0.0)).tolist() == [False, True]


def test_one_tensor_of_numbers_with_a_point_is_enough() -> None:
    loss = gpo.get_loss("bco_pair")
    whole, real = torch.tensor([1, 2]), torch.tensor([0.5, 1.5], dtype=torch.float64)
    for a, b in ((whole, real), (real, whole)):
        found = apply_two(a, b, loss.expression, loss.symbols, (0, 0))
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), loss(a.double().numpy(), b.double().numpy()), rtol=1e-12)
    with pytest.raises(TypeError, match=r"floating-point tensors, got dtypes torch\.int64 and torch\.int64"):
        apply_two(whole, whole, loss.expression, loss.symbols, (0, 0))


def test_both_ends_of_a_doubtful_interval_are_computed_in_many_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = gpo.get_loss("dpo")
    z = np.array([-0.5, 0.0, 0.25, 1.0, 1.5, np.nan])
    monkeypatch.setattr(one, "doubtful_ranges", lambda *_: ((0.0, 1.0),))
    found = one._mended(np.array([7.0, 7.0, 7.0, 7.0, 7.0, 7.0]), loss.expression, Z, 0, z)
    exact = np.log1p(np.exp(-z))
    np.testing.assert_allclose(found[1:4], exact[1:4], rtol=1e-15)
    assert found[[0, 4]].tolist() == [7.0, 7.0]  # elsewhere what floats gave stays
