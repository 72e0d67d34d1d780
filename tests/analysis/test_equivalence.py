"""Equal strength, and the symbolic expansion of the population loss, against simulated policies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.analysis import strength
from gpo_analysis.analysis.expansion import BETA, MEAN_RATIO, MU_SQUARED_LOSS
from tests.analysis.losses import loss_of
from tests.cases import cases

SMOOTH = ["logistic", "squared", "exponential", "truncated_quadratic", "savage", "cell", "kliep", "smoothed_logistic"]


@pytest.mark.parametrize("source", SMOOTH)
@pytest.mark.parametrize("target", SMOOTH)
def test_equal_strength_is_equal_beta_kappa(source: str, target: str) -> None:
    beta = gpo.equivalent_beta(0.3, source, target)
    a, b = gpo.analyze(source), gpo.analyze(target)
    assert beta * float(b.curvature_ratio) == pytest.approx(0.3 * float(a.curvature_ratio), rel=1e-14)
    assert gpo.equivalent_beta(beta, target, source) == pytest.approx(0.3, rel=1e-14)


def test_half_of_dpos_beta() -> None:
    for target in ("ipo", "exponential", "truncated_quadratic"):
        assert gpo.equivalent_beta(0.1, "dpo", target) == 0.05
    assert gpo.equivalent_beta(0.1, source="dpo", target="savage") == 0.1


def test_leading_order_is_the_limit_of_the_exact_one() -> None:
    for target in SMOOTH:
        leading = gpo.equivalent_beta(1.0, "dpo", target)
        gaps = [abs(gpo.equivalent_beta(1.0, "dpo", target, eta=0.5 + d) / leading - 1) for d in (1e-1, 1e-3, 1e-5)]
        assert gaps[2] < 1e-8
        assert gaps[2] <= gaps[1] + 1e-12
    # where the links are proportional it is exact at every η
    for eta in (0.01, 0.3, 0.9, 0.999):
        assert gpo.equivalent_beta(0.2, "dpo", "exponential", eta=eta) == pytest.approx(0.1, rel=1e-11)
        assert gpo.equivalent_beta(0.2, "ipo", "truncated_quadratic", eta=eta) == pytest.approx(0.2, rel=1e-11)


@given(beta=st.floats(1e-6, 1e6), eta=st.floats(0.51, 0.99))
@cases(30)
def test_exact_strength_fits_the_same_log_ratio(beta: float, eta: float) -> None:
    other = gpo.equivalent_beta(beta, "dpo", "ipo", eta=eta)
    fitted = [float(gpo.optimal_margin(name, eta)) / b for name, b in (("dpo", beta), ("ipo", other))]
    assert fitted[0] == pytest.approx(fitted[1], rel=1e-10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("slic", "no second-order term"),
        ("lrml", "slope f′\\(0\\) = 17/4"),
        ("log(1+exp(-z))+max(0,-z)/2", "not twice differentiable"),
        ("exp(-z)+z", "slope f′\\(0\\) = 0 ≥ 0"),
        ("exp(-z)-exp(-2*z)/3", "f″\\(0\\) = -1/3 < 0"),
    ],
)
def test_what_divides_by_the_ratio_refuses(name: str, message: str) -> None:
    loss = loss_of(name) if name not in ("slic",) else gpo.get_loss(name)
    with pytest.raises(ValueError, match=message):
        strength(loss)
    with pytest.raises(ValueError, match=message):
        gpo.equivalent_beta(0.1, "dpo", loss)
    with pytest.raises(ValueError, match=message):
        gpo.equivalent_beta(0.1, loss, "dpo")


def test_hinge_matches_at_one_eta() -> None:
    assert gpo.equivalent_beta(0.1, "ipo", "slic", eta=0.75) == pytest.approx(0.2)


@pytest.mark.parametrize("beta", [0, -1, math.nan, math.inf, "0.1", None, True, [1.0]])
def test_betas_are_checked(beta: object) -> None:
    with pytest.raises(ValueError, match="beta must be a positive finite"):
        gpo.equivalent_beta(beta, "dpo", "ipo")  # type: ignore[arg-type]


def test_etas_that_fix_no_beta() -> None:
    for eta in (0.5, 1.0):
        with pytest.raises(ValueError, match="fixes no β"):
            gpo.equivalent_beta(0.1, "dpo", "ipo", eta=eta)
    with pytest.raises(ValueError, match="opposite sides"):
        gpo.equivalent_beta(0.1, "dpo", gpo.parse_loss("(1+z)**2"), eta=0.8)
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        gpo.equivalent_beta(0.1, "dpo", "ipo", eta=1.5)
    with pytest.raises(ValueError, match="did you mean"):
        gpo.equivalent_beta(0.1, "dpo", "ippo")


# ---- the expansion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SMOOTH, "hinge", "lrml", "log(cosh(1-z))"])
def test_expansion_is_the_second_order_of_a_sampled_loss(name: str) -> None:
    loss = loss_of(name)
    found = gpo.population_expansion(loss)
    rho = np.random.default_rng(5).normal(0.3, 1.0, size=4001)
    assert rho.std() > 0.9
    for beta in (1e-3, 2e-3):
        terms = {BETA: beta, MEAN_RATIO: float(rho.mean()), MU_SQUARED_LOSS: float(0.5 * (rho**2).mean())}
        predicted = float(found.total.subs(terms))
        left_out = sum(
            abs(float(loss.derivative(0.0, k))) * np.mean(np.abs(rho) ** k) * beta**k / math.factorial(k)
            for k in (3, 4)
        )
        assert float(np.mean(loss(beta * rho))) == pytest.approx(predicted, abs=2 * left_out + 1e-15)
    assert found.total == found.constant + found.preference + found.regularizer


def test_coefficients() -> None:
    found = gpo.population_expansion("dpo")
    assert found.preference_coefficient == -BETA / 2
    assert found.regularizer_coefficient == BETA**2 / 4
    assert found.constant == sympy.log(2)
    assert found.valid_until == sympy.pi
    assert not found.is_exact
    assert found.has_second_order_term


def test_squared_is_exact_and_hinge_has_no_second_order() -> None:
    squared = gpo.population_expansion("ipo")
    assert squared.is_exact
    rho = np.random.default_rng(1).normal(size=1000)
    terms = {BETA: 7.0, MEAN_RATIO: float(rho.mean()), MU_SQUARED_LOSS: float(0.5 * (rho**2).mean())}
    assert float(squared.total.subs(terms)) == pytest.approx(float(np.mean((7 * rho - 1) ** 2)), rel=1e-12)
    hinge = gpo.population_expansion("slic")
    assert not hinge.has_second_order_term
    assert not hinge.is_exact
    assert "no second-order term" in str(hinge)
    linear = gpo.population_expansion(loss_of("-z"))
    assert linear.is_exact
    assert "linear" in linear.note
    assert "every βρ" in gpo.population_expansion("exponential").note
    assert "kink at 0" in gpo.population_expansion(loss_of("abs(z)**3")).note


def test_formulas_show() -> None:
    found = gpo.population_expansion("dpo")
    assert found._repr_latex_().startswith("$\\displaystyle")
    assert r"\frac{\beta^{2}}{4}\cdot\tfrac{1}{2}\mathbb{E}_\mu[\rho^2] + \cdots" in found._repr_latex_()
    assert "logistic" in found._repr_html_()
    assert str(found).startswith("E f(βρ) = log(2) − β/2 E[ρ]")
    assert r"\cdots" not in gpo.population_expansion("ipo").latex()
    assert "3.40630" in str(gpo.population_expansion(loss_of("-log(erfc(-z/sqrt(2))/2)")))


SERIES = {
    "squared": (
        "1 − 2 β E[ρ] + 2 β² ½E_μ[ρ²]   (exact: f is quadratic)",
        r"1 - 2 \beta\,\mathbb{E}[\rho] + 2 \beta^{2}\cdot\tfrac{1}{2}\mathbb{E}_\mu[\rho^2]",
    ),
    "savage": (
        "1/4 − β/4 E[ρ] + β²/8 ½E_μ[ρ²] + …   (the series equals f while |βρ| < pi)",
        r"\frac{1}{4} - \frac{\beta}{4}\,\mathbb{E}[\rho] + \frac{\beta^{2}}{8}"
        r"\cdot\tfrac{1}{2}\mathbb{E}_\mu[\rho^2] + \cdots",
    ),
    "exponential": (
        "1 − β E[ρ] + β² ½E_μ[ρ²] + …   (the series equals f for every βρ)",
        r"1 - \beta\,\mathbb{E}[\rho] + \beta^{2}\cdot\tfrac{1}{2}\mathbb{E}_\mu[\rho^2] + \cdots",
    ),
    "hinge": (
        "1 − β E[ρ] + …   (no second-order term: f″(0) = 0; the series equals f while |βρ| < 1)",
        r"1 - \beta\,\mathbb{E}[\rho] + \cdots",
    ),
    "-z": ("0 − β E[ρ]   (exact: f is linear)", r"0 - \beta\,\mathbb{E}[\rho]"),
    "z-z**2": (
        "0 + β E[ρ] − 2 β² ½E_μ[ρ²]   (exact: f is quadratic)",
        r"0 + \beta\,\mathbb{E}[\rho] - 2 \beta^{2}\cdot\tfrac{1}{2}\mathbb{E}_\mu[\rho^2]",
    ),
    "abs(z)**3": ("0 + …   (no second-order term: f″(0) = 0; a kink at 0: the series reaches nowhere)", r"0 + \cdots"),
}


@pytest.mark.parametrize("text", SERIES)
def test_the_whole_formula_as_text_and_latex(text: str) -> None:
    found, (words, latex) = gpo.population_expansion(loss_of(text)), SERIES[text]
    assert str(found) == "E f(βρ) = " + words
    assert found.latex() == r"\mathbb{E} f(\beta\rho) = " + latex


def test_kinks_at_zero_have_no_expansion() -> None:
    with pytest.raises(ValueError, match="not twice differentiable"):
        gpo.population_expansion(loss_of("log(1+exp(-z))+max(0,-z)/2"))


def test_gradient_identity_constant_is_two() -> None:
    # ∇E[½ρ²] = 2 ∇KL at μ = πθ, by differences of both objectives in a direction of the logits
    generator = np.random.default_rng(11)
    reference = generator.dirichlet(np.ones(6))
    logits, direction = generator.normal(size=6), generator.normal(size=6)

    def policy(t: float) -> np.ndarray:
        weights = np.exp(logits + t * direction)
        return weights / weights.sum()

    mu = policy(0.0)

    def squared(t: float) -> float:
        h = np.log(policy(t) / reference)
        return float(0.5 * np.einsum("i,j,ij->", mu, mu, (h[:, None] - h[None, :]) ** 2))

    def kl(t: float) -> float:
        p = policy(t)
        return float(p @ np.log(p / reference))

    step = 1e-5
    slopes = [(f(step) - f(-step)) / (2 * step) for f in (squared, kl)]
    assert slopes[0] == pytest.approx(2 * slopes[1], rel=1e-6)
