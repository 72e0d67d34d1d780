"""What people type: read where it is unambiguous, with the values of its mathematics; else refused with a rewrite."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.losses.spelling import proposals, respelled

POINTS = (-7.5, -1.0, 0.0, 0.3, 2.0, 11.0)


def log(x: float) -> mpmath.mpf:
    return mpmath.log(x)


LOGISTIC = lambda z: mpmath.log1p(mpmath.exp(-z))  # noqa: E731
HINGE = lambda z: max(mpmath.mpf(0), 1 - z)  # noqa: E731
SIGMOID = lambda z: 1 / (1 + mpmath.exp(-z))  # noqa: E731
SQUARED = lambda z: (1 - z) ** 2  # noqa: E731

READ = {
    "-log(sigma(z))": LOGISTIC,
    "-log(σ(z))": LOGISTIC,
    "np.log(1+np.exp(-z))": LOGISTIC,
    "numpy.log1p(numpy.exp(-z))": LOGISTIC,
    "np.logaddexp(0,-z)": LOGISTIC,
    "torch.relu(1-z)": HINGE,
    "torch.nn.functional.softplus(-z)": LOGISTIC,
    "F.softplus(-z)": LOGISTIC,
    "math.log(1+math.exp(-z))": LOGISTIC,
    "-F.logsigmoid(z)": LOGISTIC,
    "scipy.special.expit(-z)": lambda z: SIGMOID(-z),
    "log(1+e**(-z))": LOGISTIC,
    "log(1+e^(-z))": LOGISTIC,
    "log(1+E^(-z))": LOGISTIC,
    "(1-z)^2": SQUARED,
    "1+z^2": lambda z: 1 + z * z,
    "-z^2": lambda z: -z * z,
    "(1-z)²": SQUARED,
    "(1−z)**2": SQUARED,
    "(1 – z)·(1 – z)": SQUARED,
    "(2+z²)⁻¹": lambda z: 1 / (2 + z * z),
    "2z": lambda z: 2 * z,
    "2(1-z)": lambda z: 2 * (1 - z),
    "2e3z + 1e-3": lambda z: 2000 * z + mpmath.mpf("0.001"),
    "3exp(-2z)": lambda z: 3 * mpmath.exp(-2 * z),
    "ln(1+exp(-z))": LOGISTIC,
    "log2(1+exp(-z))": lambda z: LOGISTIC(z) / mpmath.log(2),
    "log10(1+exp(-z))": lambda z: LOGISTIC(z) / mpmath.log(10),
    "np.maximum(0,1-z)": HINGE,
    "Max(0, 1 - z)": HINGE,
    "|1-z|": lambda z: abs(1 - z),
    "|1-z|^3 / 2": lambda z: abs(1 - z) ** 3 / 2,
    "π/2 - arctan(z)": lambda z: mpmath.pi / 2 - mpmath.atan(z),
    '"log(1+exp(-z))"': LOGISTIC,
    "'log(1+exp(-z))'": LOGISTIC,
    "$log(1+exp(-z))$": LOGISTIC,
    "f(z)=log(1+exp(-z))": LOGISTIC,
    "loss = log(1+exp(-z))": LOGISTIC,
    "log(1+exp(-z));": LOGISTIC,
    "min(1,max(0,1-z))": lambda z: min(mpmath.mpf(1), HINGE(z)),
    "max(0.0,1-z)**2": lambda z: HINGE(z) ** 2,
    "max(1-z, 0, 0.25, -3)": lambda z: max(1 - z, mpmath.mpf("0.25")),
    "min(3, pi, z)": lambda z: min(mpmath.mpf(3), z),
    "max(1, pi)*z - relu(-2) + relu(2) + abs(-3)": lambda z: mpmath.pi * z + 5,
    "-(1-sigmoid(z))**2*logsigmoid(z)": lambda z: -((1 - SIGMOID(z)) ** 2) * log(SIGMOID(z)),
    "0.5*erfc(z/sqrt(2))": lambda z: mpmath.erfc(z / mpmath.sqrt(2)) / 2,
    "abs(z)**(1/3)": lambda z: abs(z) ** (mpmath.mpf(1) / 3),
    "1/(1+exp(z))**2": lambda z: (1 - SIGMOID(z)) ** 2,
    "log(1+exp(-1e-6*z))": lambda z: LOGISTIC(z / 10**6),
    "0": lambda z: mpmath.mpf(0),
}


@pytest.mark.parametrize("text", READ)
def test_read_with_the_values_that_are_meant(text: str) -> None:
    loss = gpo.parse_loss(text)
    with mpmath.workdps(40):
        wanted = [float(READ[text](mpmath.mpf(z))) for z in POINTS]
    np.testing.assert_allclose(loss(np.array(POINTS)), wanted, rtol=1e-12, atol=1e-14)
    assert loss.name == text.strip()


REWRITTEN = {
    r"\log(1+e^{-z})": "log(1+exp(-z))",
    r"-\log \sigma(z)": "-log(sigmoid(z))",
    r"\frac{1}{1+e^{z}}": "((1)/(1+exp(z)))",
    r"\left(1-z\right)^{2}": "(1-z )**(2)",
    r"\max(0, 1-z)": "max(0, 1-z)",
    "log(1+exp(-x))": "log(1+exp(-z))",
    "log(1+exp(-margin))": "log(1+exp(-z))",
    "log(1+exp(-beta*rho))": "log(1+exp(-z))",
    "lambda z: log(1+exp(-z))": "log(1+exp(-z))",
    "log(1+exp(-z)": "log(1+exp(-z))",
    "log(1+exp(-z)))": "log(1+exp(-z))",
    "(1-z)(1-z)": "(1-z)*(1-z)",
    "exp(-z) if z>0 else 1-z": "as in max(0, 1 - z)",
    "where(z>1,0,1-z)": "is max(0, 1 - z)",
    "np.where(z>1,0,1-z)": "is max(0, 1 - z)",
    "huber(1-z)": "sqrt(1 + u**2) - 1",
    "sign(1-z)": "tanh(u)",
    "sin(z)": "periodic",
    "tan(z)": "periodic",
}


@pytest.mark.parametrize("text", REWRITTEN)
def test_refused_with_a_rewrite(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read") as caught:
        gpo.parse_loss(text)
    assert REWRITTEN[text] in str(caught.value)


@pytest.mark.parametrize("text", ["log(z)", "sqrt(z)", "1/z", "log(-exp(z))", "0*log(z)+1/(z-1)", "z**z", "(-2)**z"])
def test_refused_for_what_it_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a finite real number|needs a positive number"):
        gpo.parse_loss(text)


def test_proposals_can_be_read_themselves() -> None:
    for text, proposed in REWRITTEN.items():
        if proposed in list(proposals(text, {"log", "exp", "max", "sigmoid", "z"})):
            assert gpo.parse_loss(proposed).expression.free_symbols <= {gpo.get_loss("dpo").symbol}


def test_what_stays_as_it_is() -> None:
    for text in ("log1p(exp(-z))", "0x10*z", "1j*z", "1e5", "log10(2)", "z == 1", "1_000*z"):
        assert respelled(text) == text


@pytest.mark.parametrize("name", gpo.list_losses())
def test_what_is_printed_is_read_back(name: str) -> None:
    loss = gpo.get_loss(name)
    z = np.linspace(-3, 3, 31)
    for printed in (str(loss.expression), str(loss.expression).replace("**", "^")):
        np.testing.assert_allclose(gpo.parse_loss(printed)(z), loss(z), rtol=1e-11, atol=1e-13)
