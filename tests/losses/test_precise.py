"""Values where floats cancel or overflow: against mpmath in thousands of digits, in float64, float32 and on torch."""

from __future__ import annotations

import math
import time

import mpmath
import numpy as np
import pytest
import sympy
import torch

import gpo_analysis as gpo
from gpo_analysis.calculus.arithmetic import numbers
from gpo_analysis.losses.compile import doubtful_ranges, evaluate_precisely
from gpo_analysis.losses.precise import _EXACT, PreciseFunction, _error, _functions, _Step
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


SIZES = ("0", "1e-40", "0.3", "0.999", "1", "1.001", "2.5", "30", "700")
ATOMS = {
    "softplus": lambda u: mpmath.log1p(mpmath.exp(u)),
    "expit": lambda u: 1 / (1 + mpmath.exp(-u)),
    "tanh_": mpmath.tanh,
    "tanh": mpmath.tanh,
    "logcosh": lambda u: mpmath.log(mpmath.cosh(u)),
    "log1p_": mpmath.log1p,
    "expm1_": mpmath.expm1,
    "erfc_": mpmath.erfc,
    "erfc": mpmath.erfc,
    "erf": mpmath.erf,
    "erfcx_": lambda u: mpmath.exp(u * u) * mpmath.erfc(u),
    "logndtr": lambda u: mpmath.log(mpmath.erfc(-u / mpmath.sqrt(2)) / 2),
    "signum": mpmath.sign,
    "absolute": abs,
    "exp": mpmath.exp,
    "log": mpmath.log,
    "sqrt": mpmath.sqrt,
    "cosh": mpmath.cosh,
    "sinh": mpmath.sinh,
    "atan": mpmath.atan,
}


def in_many_digits(name: str, u: str) -> mpmath.mpf:
    with mpmath.workdps(700):
        return ATOMS[name](mpmath.mpf(u))


@pytest.mark.parametrize("name", ATOMS)
def test_every_function_in_many_digits(name: str) -> None:
    """At both signs of its argument, on both sides of 1, where another form of it is taken."""
    function = _functions(300)[name]
    for size in SIZES:
        for u in (size, f"-{size}"):
            if u.startswith("-") and name in ("log", "sqrt", "log1p_") and (name != "log1p_" or float(u) <= -1):
                continue
            if (name == "log" and float(u) == 0) or (name == "erfcx_" and abs(float(u)) > 30):
                continue
            if name == "logndtr" and abs(float(u)) > 30:  # takes a second in so many digits
                continue
            found, wanted = function(numbers(300).mpf(u)), in_many_digits(name, u)
            # log σ and the like lose what is far below 1; they are exact beside 1
            assert abs(found - wanted) <= mpmath.mpf(10) ** -80 * (abs(wanted) + (abs(wanted) < 1e-35)), (name, u)


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [("tanh_", -1, 1), ("tanh", -1, 1), ("erf", -1, 1), ("erfc", 2, 0), ("erfc_", 2, 0), ("expit", 0, 1),
     ("exp", 0, math.inf), ("softplus", 0, math.inf), ("logcosh", math.inf, math.inf), ("signum", -1, 1)],
)  # fmt: skip
def test_the_ends_of_functions_beyond_every_size(name: str, left: float, right: float) -> None:
    function = _functions(150)[name]
    for size in ("1e101", "1e300", "1e400"):
        low, high = (float(function(numbers(150).mpf(f"{sign}{size}"))) for sign in ("-", ""))
        assert low == left or (name == "logcosh" and low == float(size))
        assert high == right or (name in ("softplus", "logcosh") and high == float(size))


def test_scaled_and_logarithmic_tails_of_the_gaussian() -> None:
    """exp(u²) erfc u → 1/(u √π), and log Φ(u) → −u²/2 − log(−u √(2π)), between sizes where either form is taken."""
    m = numbers(300)
    for u in (9.9e4, 1.1e5, 1e8, 1e50):
        assert float(_functions(300)["erfcx_"](m.mpf(u)) * u * math.sqrt(math.pi)) == pytest.approx(1, rel=1e-9)
    for u in (-200.0, -40.0, -10.0):
        wanted = -u * u / 2 - math.log(-u * math.sqrt(2 * math.pi)) - 1 / u**2
        assert float(_functions(300)["logndtr"](m.mpf(u))) == pytest.approx(wanted, rel=1e-5)
    assert float(_functions(300)["logndtr"](m.mpf(9))) == pytest.approx(-1.1285884059538407e-19, rel=1e-12)


def test_log_sum_exp_in_many_digits() -> None:
    m, found = numbers(300), _functions(300)["logsumexp"]
    for parts in ((1, 2, 3), (-700, 0, 1), (10**6, 10**6, -(10**6)), (3,), (-5000, -5001, -5000)):
        with mpmath.workdps(120):
            wanted = max(parts) + mpmath.log(sum(mpmath.exp(mpmath.mpf(part - max(parts))) for part in parts))
        assert abs(found(*map(m.mpf, parts)) - wanted) <= mpmath.mpf(10) ** -80 * (1 + abs(wanted))


U = sympy.Symbol("u", real=True)
BOUNDED = [
    "exp(u)", "log(2+u**2)", "exp(u)-1-u", "1/(3+u)", "(u**2+1)**(1/3)", "u**7", "tanh_(u)-u", "softplus(u)-log(2)",
    "expit(u)*exp(-u)", "log1p_(u**2)", "expm1_(u)-u", "erfc_(u)-1", "erf(u)", "erfcx_(u)", "logndtr(u)", "atan(u)-u",
    "logcosh(u)", "cosh(u)-1", "sinh(u)-u", "sqrt(1+u**2)-1", "absolute(u-1/3)", "logsumexp(u,2*u,1)", "signum(u)*u",
    "exp(u)*(u-1)*(u+1)", "(1+u)**u", "exp(20*u)-exp(19*u)", "select(u,exp(u),u**2)", "log(3+u)**5",
]  # fmt: skip


@pytest.mark.parametrize("text", BOUNDED)
def test_a_value_is_within_the_bound_on_its_error(text: str) -> None:
    """Where few digits are taken, against many; the bound is no idle one: it leaves 60 of 150 bits at a middle z."""
    atoms = {name: getattr(gpo.losses.atoms, name) for name in ATOMS if hasattr(gpo.losses.atoms, name)}
    more = {name: getattr(gpo.losses.atoms, name) for name in ("logsumexp", "select")}
    function = PreciseFunction(sympy.sympify(text, locals={"u": U, **atoms, **more}, rational=True), U)
    for z in (-2.7, -0.9, -1e-3, 1e-6, 0.37, 1.0, 2.0, 5.3, 11.0):
        if text == "(1+u)**u" and z < -1:
            assert function._at(z, 150) is None
            continue
        found = [function._at(z, bits) for bits in (150, 1200)]
        (few, error), (many, _) = (pair for pair in found if pair is not None)
        if error == -(10**12):
            assert few == many
            continue
        assert abs(few - many) <= mpmath.mpf(2) ** (error + 8)  # to first order: log Φ(u) rounds u² on its way
        assert error <= (mpmath.mp.mag(many) if many else 0) - 60


@pytest.mark.parametrize(
    ("text", "z", "value"),
    [("log(u)", -1.0, math.nan), ("1/u", 0.0, math.nan), ("sqrt(u)", -2.0, math.nan), ("exp(u)", 1e300, math.inf),
     ("-exp(u)", 1e300, -math.inf), ("exp(u)", -1e300, 0.0), ("u", math.nan, math.nan), ("u", math.inf, math.nan),
     ("exp(exp(exp(u)))", 100.0, math.inf), ("1/(1+exp(exp(u)))", 1000.0, 0.0), ("u*0.1", 3.0, 0.3), ("u-u", 2.0, 0.0),
     ("I*u", 1.0, math.nan), ("LambertW(u)", 1.0, 0.5671432904097838), ("u*pi", 1.0, math.pi),
     ("gamma(u)", 5.0, 24.0), ("exp(u)-exp(-u)", 1e-320, 2e-320)],
)  # fmt: skip
def test_values_at_the_edge(text: str, z: float, value: float) -> None:
    found = PreciseFunction(sympy.sympify(text, locals={"u": U}), U).value(z)
    assert found == value or (math.isnan(value) and math.isnan(found))


def test_functions_without_many_digits_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="Heaviside is not a function that is computed in many digits"):
        PreciseFunction(sympy.Heaviside(U), U)


@pytest.mark.parametrize("exponent", [-7, -2, -0.5, 0.5, 3, 20])
@pytest.mark.parametrize("inner", [1e-6, 0.3, 1.0, 7.0, 1e4])
def test_the_error_of_a_power_is_bounded_by_that_of_its_base(inner: float, exponent: float) -> None:
    """A change of the base by its error changes the power by no more than is said."""
    m = numbers(300)
    base, error = m.mpf(inner), -100
    value = base ** m.mpf(exponent)
    bound = _error(_Step("power", (0, 1)), [base, m.mpf(exponent)], [error, _EXACT], value, m)
    moved = abs((base + m.mpf(2) ** error) ** m.mpf(exponent) - value)
    assert moved <= m.mpf(2) ** bound
    assert m.mpf(2) ** bound <= 2**12 * moved  # and not by much more
    assert _error(_Step("power", (0, 1)), [base, m.mpf(exponent)], [_EXACT, _EXACT], value, m) <= m.mag(value) - 298
