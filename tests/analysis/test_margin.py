"""z*(η) and the Bayes risk against closed forms, brute force and many digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.special
import sympy
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.analysis import bayes_risk
from gpo_analysis.losses import MarginLoss
from tests.analysis.losses import TYPED, loss_of, precise, risk
from tests.cases import cases

ETA = np.array([0.0, 1e-12, 0.003, 0.1, 0.25, 0.4, 0.5, 0.55, 0.7, 0.9, 0.99, 1 - 1e-9, 1.0])
LOGIT = ["logistic", "savage", "sba", "lsif", "kliep"]


def exact_logit(eta: float) -> float:
    with mpmath.workdps(60):
        p = mpmath.mpf(eta)
        return float(mpmath.log(p / (1 - p)))


@pytest.mark.parametrize("name", [*LOGIT, "exponential"])
@pytest.mark.parametrize(
    "eta", [1e-100, 1e-9, 0.02, 0.3, 0.5 - 1e-9, 0.5 + 1e-13, 0.500001, 0.51, 0.77, 0.999, 1 - 2**-40]
)
def test_logit_family_to_twelve_digits(name: str, eta: float) -> None:
    wanted = exact_logit(eta) * (0.5 if name == "exponential" else 1.0)
    assert float(gpo.optimal_margin(name, eta)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("text", ["-log(0.999+0.001*tanh(z))", "sqrt(1+z**4)-z", "logcosh(5*(1-z))/5", "z**4/4-z"])
@pytest.mark.parametrize("eta", [0.5 + 1e-13, 0.5000001, 0.50001])
def test_near_half_with_little_or_no_curvature_at_zero(text: str, eta: float) -> None:
    # the parts of f′ balance far beyond the radius of convergence, or the odd one begins with z³
    loss = loss_of(text)
    found = float(gpo.optimal_margin(loss, eta))
    slope = sympy.lambdify(loss.symbol, loss.expression.diff(loss.symbol), "mpmath")
    with mpmath.workdps(60):
        p = mpmath.mpf(eta)
        wanted = mpmath.findroot(lambda z: p * slope(z) - (1 - p) * slope(-z), found)
    assert found == pytest.approx(float(wanted), rel=1e-12)


@pytest.mark.parametrize("eta", [1e-300, 1e-160, 5e-324])
def test_savage_where_its_slope_underflows(eta: float) -> None:
    assert float(gpo.optimal_margin("savage", eta)) == pytest.approx(exact_logit(eta), rel=1e-9)


def test_the_other_closed_forms() -> None:
    for name in ("squared", "truncated_quadratic"):
        np.testing.assert_allclose(gpo.optimal_margin(name, ETA), 2 * ETA - 1, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(gpo.optimal_margin("hinge", ETA), np.sign(2 * ETA - 1))
    inner = ETA[1:-1]
    np.testing.assert_allclose(
        gpo.optimal_margin("smoothed_logistic", ETA), scipy.special.logit(0.9 * ETA + 0.1 * (1 - ETA)), atol=1e-12
    )
    np.testing.assert_allclose(gpo.optimal_margin(loss_of("2**(-z)"), inner), scipy.special.logit(inner) / np.log(4))
    np.testing.assert_allclose(
        gpo.optimal_margin(loss_of("z**4/4-z"), ETA), np.cbrt(2 * ETA - 1), rtol=1e-10, atol=1e-5
    )
    cubed = gpo.optimal_margin(loss_of("max(0,1-z)**3"), ETA)
    root = np.sqrt(ETA * (1 - ETA))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(cubed, np.where(ETA == 0.5, 0.0, (1 - 2 * root) / (2 * ETA - 1)), atol=1e-7)


def test_certain_labels() -> None:
    at_one = {
        "logistic": np.inf,
        "hinge": 1,
        "squared": 1,
        "exponential": np.inf,
        "truncated_quadratic": 1,
        "savage": np.inf,
        "kliep": np.inf,
        "lsif": np.inf,
        "sba": np.inf,
        "robust_logistic": np.inf,
        "smoothed_logistic": scipy.special.logit(0.9),
    }
    for name, z in at_one.items():
        assert float(gpo.optimal_margin(name, 1.0)) == pytest.approx(z, rel=1e-13)
        assert float(gpo.optimal_margin(name, 0.0)) == pytest.approx(-z, rel=1e-13)
    assert float(gpo.optimal_margin(loss_of("(1-z)**64"), 1.0)) == 1.0
    assert float(gpo.optimal_margin(loss_of("z"), 1.0)) == -np.inf
    assert float(gpo.optimal_margin(loss_of("exp(-z)+z"), 1.0)) == 0.0


def test_robust_logistic_has_no_optimum_where_labels_are_too_sure() -> None:
    z = gpo.optimal_margin("robust_logistic", [0.05, 0.11, 0.5, 0.89, 0.95])
    assert z[0] == -np.inf
    assert z[-1] == np.inf
    assert z[1] == pytest.approx(float(scipy.special.logit(0.01 / 0.8)), rel=1e-10)
    assert z[2] == 0.0
    assert bayes_risk("robust_logistic", 0.95) == -np.inf


def test_lrml_jumps_at_one_half() -> None:
    z = gpo.optimal_margin("lrml", [0.5 - 1e-9, 0.5, 0.5 + 1e-9])
    assert z[0] == pytest.approx(-0.48, abs=0.005)
    assert z[2] == pytest.approx(0.48, abs=0.005)
    assert z[1] == pytest.approx(z[2], abs=1e-6)  # of ±z the positive one
    grid = np.linspace(0.51, 0.99, 49)
    assert np.all(gpo.optimal_margin("lrml", grid) > 0)


@pytest.mark.parametrize("text", [*gpo.list_losses(), *TYPED])
def test_nothing_beats_the_minimiser(text: str) -> None:
    loss = loss_of(text)
    etas = np.array([0.0, 0.03, 0.2, 0.4321, 0.5, 0.61, 0.83, 0.97, 1.0])
    found, risks = gpo.optimal_margin(loss, etas), bayes_risk(loss, etas)
    assert not np.isnan(found).any()
    rivals = np.concatenate([[0.0], np.sinh(np.linspace(-5.3, 5.3, 161)), np.linspace(-3, 3, 61)])
    with mpmath.workdps(60):
        for eta, z, height in zip(etas, found, risks, strict=True):
            lowest = min(risk(loss, eta, x) for x in rivals)
            if np.isfinite(z):
                assert risk(loss, eta, z) <= lowest + mpmath.mpf("1e-13") * (1 + abs(lowest))
                assert float(risk(loss, eta, z)) == pytest.approx(height, rel=1e-9, abs=1e-12)
                # of several minimisers the nearest to zero: half-way to it the risk is larger, or it is 0
                assert z == 0 or risk(loss, eta, z / 2) > risk(loss, eta, z) - mpmath.mpf("1e-25") * (1 + abs(lowest))
            else:
                assert height <= float(lowest) + 1e-12 * (1 + abs(float(lowest)))


@pytest.mark.parametrize("text", ["logistic", "savage", "cell", "log(cosh(1-z))", "-log(erfc(-z/sqrt(2))/2)", "lrml"])
def test_stationary_in_fifty_digits(text: str) -> None:
    loss = loss_of(text)
    for eta in (0.013, 0.37, 0.5 + 1e-7, 0.66, 0.9973):
        if text == "lrml" and abs(eta - 0.5) < 1e-3:
            continue
        found = float(gpo.optimal_margin(loss, eta))
        with mpmath.workdps(50):
            assert abs(exact_margin(loss, eta, found) / found - 1) < 1e-10


def exact_margin(loss: MarginLoss, eta: float, start: float) -> mpmath.mpf:
    """The root of η f′(z) − (1 − η) f′(−z) next to ``start``, derivatives by differences in the working precision."""
    f, p = precise(loss), mpmath.mpf(eta)
    return mpmath.findroot(lambda z: p * mpmath.diff(f, z) - (1 - p) * mpmath.diff(f, -z), mpmath.mpf(start))


@given(eta=st.floats(0, 1), name=st.sampled_from(gpo.list_losses()))
@cases(60)
def test_swapping_the_responses_flips_the_margin(eta: float, name: str) -> None:
    if (
        1 - (1 - eta) != eta
        or (name == "lrml" and eta == 0.5)
        or (name == "robust_logistic" and abs(eta - 0.5) > 0.399)
    ):
        return
    z, mirrored = float(gpo.optimal_margin(name, eta)), float(gpo.optimal_margin(name, 1 - eta))
    assert mirrored == pytest.approx(-z, rel=1e-10)


@given(
    name=st.sampled_from(["logistic", "squared", "cell", "savage", "hinge"]), low=st.floats(0, 1), high=st.floats(0, 1)
)
@cases(40)
def test_more_certain_labels_want_larger_margins(name: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    first, last = gpo.optimal_margin(name, [low, high])
    assert first <= last or first - last <= 1e-10 * (1 + abs(first))


@pytest.mark.parametrize(
    "name", ["logistic", "exponential", "squared", "truncated_quadratic", "savage", "cell", "kliep"]
)
def test_curvature_ratio_is_two_over_the_links_slope(name: str) -> None:
    step = 1e-5
    up, down = gpo.optimal_margin(name, [0.5 + step, 0.5 - step])
    slope = (up - down) / (2 * step)
    assert float(gpo.analyze(name).curvature_ratio) == pytest.approx(2 / slope, rel=1e-8)


@given(
    weights=st.lists(st.floats(0.01, 5), min_size=len(LOGIT), max_size=len(LOGIT)),
    eta=st.floats(0.02, 0.98),
)
@cases(4)
def test_every_loss_whose_link_is_the_logit_has_ratio_one_half(weights: list[float], eta: float) -> None:
    # σ(z) f′(z) even ⇔ logit link, which positive combinations keep
    texts = ["log(1+exp(-z))", "1/(1+exp(z))**2", "exp(-3*z/2)/6-exp(z/2)/2", "exp(-2*z)-2*exp(z)", "exp(-z)-z"]
    loss = gpo.parse_loss("+".join(f"{w!r}*({text})" for w, text in zip(weights, texts, strict=True)))
    slope, curvature = float(loss.derivative(0.0)), float(loss.derivative(0.0, 2))
    assert curvature / abs(slope) == pytest.approx(0.5, rel=1e-12)
    assert float(gpo.optimal_margin(loss, eta)) == pytest.approx(float(scipy.special.logit(eta)), rel=1e-9, abs=1e-12)


def test_shapes_and_scalars() -> None:
    assert gpo.optimal_margin("dpo", 0.5).shape == ()
    assert gpo.optimal_margin("dpo", np.full((2, 3), 0.7)).shape == (2, 3)
    assert gpo.optimal_margin("dpo", []).shape == (0,)
    assert gpo.optimal_margin("savage", []).shape == (0,)
    assert bayes_risk("dpo", [[0.5]]).shape == (1, 1)
    many = gpo.optimal_margin("savage", np.linspace(0.001, 0.999, 1001))
    np.testing.assert_allclose(many, scipy.special.logit(np.linspace(0.001, 0.999, 1001)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", [-0.1, 1.0000001, np.nan, np.inf, [0.5, 2.0], "half", None])
def test_what_is_no_probability_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        gpo.optimal_margin("dpo", bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        bayes_risk("dpo", bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "closed"),
    [
        ("logistic", lambda p: scipy.special.entr(p) + scipy.special.entr(1 - p)),
        ("hinge", lambda p: 2 * np.minimum(p, 1 - p)),
        ("squared", lambda p: 4 * p * (1 - p)),
        ("exponential", lambda p: 2 * np.sqrt(p * (1 - p))),
        ("truncated_quadratic", lambda p: 4 * p * (1 - p)),
        ("savage", lambda p: p * (1 - p)),
    ],
)
def test_bayes_risks_of_the_paper(name: str, closed) -> None:
    np.testing.assert_allclose(bayes_risk(name, ETA), closed(ETA), rtol=1e-11, atol=1e-15)


@given(name=st.sampled_from(gpo.list_losses()), a=st.floats(0.01, 0.99), b=st.floats(0.01, 0.99), t=st.floats(0, 1))
@cases(40)
def test_bayes_risk_is_concave_and_symmetric(name: str, a: float, b: float, t: float) -> None:
    if name == "robust_logistic":
        a, b = 0.15 + 0.7 * a, 0.15 + 0.7 * b
    middle = t * a + (1 - t) * b
    ends, height, mirrored = (
        bayes_risk(name, [a, b]),
        float(bayes_risk(name, middle)),
        float(bayes_risk(name, 1 - middle)),
    )
    assert height >= t * ends[0] + (1 - t) * ends[1] - 1e-9 * (1 + abs(height))
    assert mirrored == pytest.approx(height, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("excess", [1e-3, 1e-6, 1e-9, 1e-13])
def test_near_one_half_where_a_higher_derivative_jumps_at_zero(excess):
    """With h(z) = 1 − 1/(1 + z)², f′(±z) = ±h − ½ for z > 0, so that h(z*) = η − ½."""
    loss = loss_of("z**2/(1+abs(z))-z/2")
    for sign in (1, -1):
        eta = 0.5 + sign * excess
        wanted = sign * np.expm1(-np.log1p(-abs(eta - 0.5)) / 2)
        assert float(gpo.optimal_margin(loss, eta)) == pytest.approx(wanted, rel=1e-12)
