"""Losses of two log-ratios: values, slopes and tensors against other arithmetic; how they are typed and refused."""

from __future__ import annotations

import itertools
import pickle

import mpmath
import numpy as np
import pytest
import sympy
import torch

import gpo_analysis as gpo
from gpo_analysis.losses import (
    CHOSEN,
    REJECTED,
    TwoRatioLoss,
    get_margin_loss,
    get_two_ratio_loss,
    mixture,
    two_ratio_losses,
)
from gpo_analysis.losses.compile_two import doubtful
from gpo_analysis.losses.lookup import get_loss
from tests.losses.pair_formulas import DIGITS, SLOPES, bump

POINTS = (-1000.0, -709.0, -37.0, -5.0, -1e-8, 0.3, 1.7, 36.0, 709.0, 1000.0)
GRID = np.array(list(itertools.product(POINTS, POINTS)))
ORDERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))


def exact(name: str, a: float, b: float, orders: tuple[int, int]) -> float:
    with mpmath.workdps(60 if orders == (0, 0) else 200):
        if orders == (0, 0):
            return float(DIGITS[name](mpmath.mpf(a), mpmath.mpf(b)))
        return float(mpmath.diff(DIGITS[name], (mpmath.mpf(a), mpmath.mpf(b)), orders))


@pytest.mark.parametrize("name", DIGITS)
def test_values_are_right_to_the_end_of_the_range(name: str) -> None:
    found = gpo.get_loss(name)(GRID[:, 0], GRID[:, 1])
    truth = np.array([exact(name, a, b, (0, 0)) for a, b in GRID])
    np.testing.assert_allclose(found, truth, rtol=1e-12, atol=1e-290)
    assert set(two_ratio_losses()) == set(DIGITS)


@pytest.mark.parametrize("name", DIGITS)
def test_slopes_and_curvatures(name: str) -> None:
    loss = gpo.get_loss(name)
    a, b = GRID.T
    for found, expected in zip(loss.gradient(a, b), SLOPES[name](a, b), strict=True):
        # F_a of apo_down is a difference of two terms, in either arithmetic: rounding is measured by these
        terms = 1e-15 * (bump(a) + bump(b - a)) if name == "apo_down" else 0.0
        allowed = 1e-9 * np.abs(expected) + terms + 1e-290
        assert (np.abs(found - expected) <= allowed).all()
    for point in ((-2.3, 0.4), (0.7, -1.1), (30.0, 2.0)):
        for orders in ORDERS[3:]:
            found = float(loss.derivative(*point, orders))
            assert found == pytest.approx(exact(name, *point, orders), rel=1e-9, abs=1e-20)


LINES = {"a = 0": lambda t: (t, 0.7), "b = 0": lambda t: (0.7, t), "a = b": lambda t: (0.7 + t, 0.7)}


@pytest.mark.parametrize("name", DIGITS)
def test_kinks_are_claimed_where_the_slope_jumps(name: str) -> None:
    loss = gpo.get_loss(name)
    jumps = [
        line
        for line, at in LINES.items()
        if np.abs(np.subtract(loss.gradient(*at(1e-7)), loss.gradient(*at(-1e-7)))).max() > 1e-3
    ]
    assert loss.claims is not None
    assert list(loss.claims.kinks) == jumps


@pytest.mark.parametrize("name", DIGITS)
def test_no_loss_of_the_catalogue_needs_many_digits(name: str) -> None:
    loss = gpo.get_loss(name)
    assert not any(doubtful(loss.expression, loss.symbols, orders) for orders in ORDERS)


@pytest.mark.parametrize("name", [*DIGITS, "log(1 + exp(-a) + exp(b))", "(1-exp(-a))/(1+exp(-a)) + abs(b)"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_tensors_agree_with_arrays(name: str, dtype: torch.dtype) -> None:
    loss = get_loss(name)
    a, b = (torch.tensor(column, dtype=dtype) for column in GRID.T)
    tolerance = {"rtol": 1e-11, "atol": 1e-14} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 3e-5}
    for orders in ORDERS:
        found = loss.derivative(a, b, orders)
        assert found.dtype == dtype
        with np.errstate(over="ignore", under="ignore"):
            expected = loss.derivative(a.double().numpy(), b.double().numpy(), orders).astype(found.numpy().dtype)
        np.testing.assert_allclose(found.numpy(), expected, **tolerance)


@pytest.mark.parametrize("name", DIGITS)
def test_autograd(name: str) -> None:
    loss = gpo.get_loss(name)
    x = [torch.tensor([-1.3, 0.4, 1.6], dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(loss, x)
    assert torch.autograd.gradgradcheck(loss, x)
    far = torch.tensor([-1000.0, 1000.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(far, -far).sum(), far)
    assert torch.isfinite(slope).all()


def test_shapes_dtypes_and_scalars() -> None:
    loss = gpo.get_loss("bco")
    assert loss(np.zeros((3, 1)), np.zeros(4)).shape == (3, 4)
    assert loss(np.float32(1.0), np.float32(2.0)).dtype == np.float32
    assert loss(1, 2).dtype == np.float64
    assert np.isnan(loss(np.nan, 0.0))
    assert loss(torch.zeros(2, 1), 1.0).shape == (2, 1)
    assert pickle.loads(pickle.dumps(loss)) == loss
    with pytest.raises(TypeError, match="real numbers"):
        loss(1j, 0.0)
    with pytest.raises(ValueError, match="two integers"):
        loss.derivative(0.0, 0.0, 1)  # type: ignore[call-overload]


def test_typed_losses() -> None:
    typed = gpo.parse_loss("-log(sigmoid(a)) - log(sigmoid(-b))", name="mine")
    assert isinstance(typed, TwoRatioLoss)
    np.testing.assert_allclose(typed(*GRID.T), gpo.get_loss("bco_pair")(*GRID.T), rtol=1e-12)
    # what cancels on its way is computed in many digits
    lost = gpo.parse_loss("log(1 + exp(-a)) + (cosh(b) - sinh(b))*exp(b)")
    np.testing.assert_allclose(lost(0.0, np.array([-300.0, 0.0, 300.0])), np.log(2) + 1, rtol=1e-12)
    margin = gpo.parse_loss("log(1 + exp(b - a))")
    assert margin.margin_loss.expression == gpo.get_loss("dpo").expression
    assert get_margin_loss(margin).name == "log(1 + exp(b - a))"
    assert typed.margin_loss is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("log(1+exp(-z)) - a", "z is their difference a - b"),
        ("a - c", "unknown name 'c'"),
        ("log(a)", "not a finite real number at a = -1000"),
        ("1/b", "not a finite real number"),
        ("a.real", "not allowed"),
        ("exp(exp(exp(a)))", "nested more than"),
        ("exp(1e9 + b)", "beyond"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gpo.parse_loss(text)


def test_parameters() -> None:
    a, b = CHOSEN, REJECTED
    shifted = get_two_ratio_loss("bco_pair", shift=0.3)
    assert shifted.expression == gpo.get_loss("bco").expression.xreplace(
        {a: a - sympy.Rational(3, 10), b: b - sympy.Rational(3, 10)}
    )
    kto = get_two_ratio_loss("kto", reference_point=0.5, desirable=2.0, undesirable=3.0)
    assert float(kto(0.5, 0.5)) == pytest.approx(2.5)
    assert float(get_two_ratio_loss("cal_dpo", tau=0.5, weight=1.0)(1.0, -1.0)) == pytest.approx(np.log1p(np.exp(-2)))
    assert get_two_ratio_loss("dpop", penalty=0).margin_loss is not None
    assert float(get_two_ratio_loss("rpo", weight=2.0)(1.0, 1.0)) == pytest.approx(np.log(2) - 2)
    for name, parameters in (
        ("bco_pair", {"shift": "x"}),
        ("kto", {"desirable": 0.0}),
        ("kto", {"reference_point": -1.0}),
        ("sft", {"weight": 1.0}),
        ("nothing", {}),
    ):
        with pytest.raises(ValueError, match=r"must be a number|no parameter|unknown loss"):
            get_two_ratio_loss(name, **parameters)  # type: ignore[arg-type]


def test_modifiers_and_mixtures() -> None:
    loss = gpo.get_loss("nca_pair")
    x, y = np.array([0.3, -2.0]), np.array([1.1, 0.4])
    np.testing.assert_allclose(loss.swapped()(x, y), loss(y, x))
    np.testing.assert_allclose(loss.smoothed(0.1)(x, y), 0.9 * loss(x, y) + 0.1 * loss(y, x), rtol=1e-12)
    np.testing.assert_allclose(loss.soft_label(0.25)(x, y), 0.25 * loss(x, y) + 0.75 * loss(y, x), rtol=1e-12)
    both = mixture([(1.0, gpo.get_loss("dpo")), (0.5, loss)])
    np.testing.assert_allclose(both(x, y), np.log1p(np.exp(y - x)) + 0.5 * loss(x, y), rtol=1e-12)
    assert mixture([(2.0, gpo.get_loss("ipo"))]).margin_loss is not None
    with pytest.raises(ValueError, match="at least one"):
        mixture([])


def test_a_verb_for_margins_says_what_it_was_given() -> None:
    for verb in (
        lambda: get_margin_loss("bco_pair"),
        lambda: get_margin_loss("log(1+exp(-a))"),
        lambda: gpo.optimal_margin(gpo.get_loss("nca"), 0.7),
        lambda: gpo.taylor("apo_zero"),
        lambda: gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]).fit("sppo"),
    ):
        with pytest.raises(ValueError, match="of two log-ratios, no function of their difference"):
            verb()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("simpo", "without πref"),
        ("ORPO", "odds"),
        ("AlphaPO", "powers"),
        ("sigmoid_norm", "token means"),
        ("aot", "statistic of a batch"),
        ("wpo", "weight"),
        ("ld-dpo", "shorter response"),
        ("bco_pear", "did you mean"),
    ],
)
def test_names_that_are_not_held_say_why(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gpo.get_loss(name)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("nca", "nca_pair"), ("bco", "bco_pair"), ("sppo", "sppo_hard"), ("nll", "sft"), ("smaug", "dpop"),
        ("dpo_positive", "dpop"), ("dpo_nll", "rpo"),
    ],
)  # fmt: skip
def test_a_loss_has_the_names_of_its_papers_at_its_papers_parameters_alone(alias: str, name: str) -> None:
    assert get_two_ratio_loss(alias).name == get_two_ratio_loss(name).name == name


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("dpop", {"penalty": 2.0}), ("rpo", {"weight": 2.0}), ("cal_dpo", {"weight": 2.0})],
)
def test_with_other_parameters_it_has_another_name_and_no_aliases(name: str, parameters: dict[str, float]) -> None:
    other = get_two_ratio_loss(name, **parameters)
    assert other.aliases == ()
    assert other.name.startswith(f"{name}(")
    assert "2" in other.name
