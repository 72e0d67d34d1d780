"""What people type: read where it is unambiguous, with the values of its mathematics; else refused with a rewrite."""

from __future__ import annotations

import random
import re

import mpmath
import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from fuzz.expressions import expression, same_loss
from gpo_analysis.losses import two_ratio_losses
from gpo_analysis.losses.rewrites import proposals
from gpo_analysis.losses.spelling import respelled

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
    "(1-z).relu()": HINGE,
    "torch.clamp(1-z, min=0)**2": lambda z: HINGE(z) ** 2,
    "(1-z).clamp(min=0)": HINGE,
    "np.clip(1-z, 0, 3)": lambda z: min(HINGE(z), mpmath.mpf(3)),
    "torch.pow(1-z, 2)": SQUARED,
    "nn.ReLU()(1-z)": HINGE,
    "nn.functional.relu(1-z)": HINGE,
    "Softplus(-z)": LOGISTIC,
    "Log(1 + Exp(-z))": LOGISTIC,
    "2 z": lambda z: 2 * z,
    "2 exp(-z)": lambda z: 2 * mpmath.exp(-z),
    "½(1−z)²": lambda z: SQUARED(z) / 2,
    "|z| + |1-z|": lambda z: abs(z) + abs(1 - z),
    "|1-|z||": lambda z: abs(1 - abs(z)),
    "2|z|": lambda z: 2 * abs(z),
    "max{0, 1-z}": HINGE,
    "(1-z)_+": HINGE,
    "[1-z]_+^2": lambda z: HINGE(z) ** 2,
    "e^{-z}": lambda z: mpmath.exp(-z),
    "e⁻ᶻ": lambda z: mpmath.exp(-z),
    "√(1+z²)": lambda z: mpmath.sqrt(1 + z * z),
    "-log(Φ(z))": lambda z: -log(mpmath.ncdf(z)),
    "（1－z）²": SQUARED,
    "𝑒^(−𝑧)": lambda z: mpmath.exp(-z),
    "f(x) = exp(-x)": lambda z: mpmath.exp(-z),
    "lambda z: log(1+exp(-z))": LOGISTIC,
    "f = lambda x: log(1+exp(-x))": LOGISTIC,
    "def f(rho): return exp(-rho)": lambda z: mpmath.exp(-z),
    "x ↦ exp(-x)": lambda z: mpmath.exp(-z),
    "x -> exp(-x)": lambda z: mpmath.exp(-z),
    "c*exp(-z) with c=2": lambda z: 2 * mpmath.exp(-z),
    "c*exp(-k*z), c=2, k=1/3": lambda z: 2 * mpmath.exp(-z / 3),
    "c*exp(-z) where c = sqrt(2)": lambda z: mpmath.sqrt(2) * mpmath.exp(-z),
    "f(x) = τ*log(1+exp(-x/τ)); τ = 0.5": lambda z: LOGISTIC(2 * z) / 2,
    "lambda*exp(-z) with lambda=2": lambda z: 2 * mpmath.exp(-z),
    "cτ + exp(-z) for c=2 and τ=3": lambda z: 6 + mpmath.exp(-z),
}
LATEX = {
    r"\log(1+e^{-z})": LOGISTIC,
    r"\ln\left(1+\exp(-z)\right)": LOGISTIC,
    r"$-\log\sigma(z)$": LOGISTIC,
    r"\(-\log \left( \sigma \left( z \right) \right)\)": LOGISTIC,
    r"\operatorname{softplus}(-z)": LOGISTIC,
    r"\mathrm{softplus}(-z).": LOGISTIC,
    r"\ell(z) = \log\bigl(1+e^{-z}\bigr)": LOGISTIC,
    r"\mathcal{L}_{DPO}(x) = \log(1+e^{-x})": LOGISTIC,
    r"\frac{1}{2}(1-z)^2": lambda z: SQUARED(z) / 2,
    r"\tfrac12\,(1-z)^{2}": lambda z: SQUARED(z) / 2,
    r"\left(1-z\right)^{2}": SQUARED,
    r"\max(0, 1-z)": HINGE,
    r"\max\{0, 1-z\}^2": lambda z: HINGE(z) ** 2,
    r"\left[1-z\right]_+^2": lambda z: HINGE(z) ** 2,
    r"\left|1-z\right|": lambda z: abs(1 - z),
    r"\lvert 1 - \lvert z\rvert\rvert": lambda z: abs(1 - abs(z)),
    r"\tanh^2(z)": lambda z: mpmath.tanh(z) ** 2,
    r"1-\tanh z": lambda z: 1 - mpmath.tanh(z),
    r"\sqrt{1+z^2} - z": lambda z: mpmath.sqrt(1 + z * z) - z,
    r"\sqrt[3]{1+z^2}": lambda z: mpmath.cbrt(1 + z * z),
    r"2\cdot e^{-z} \times 3": lambda z: 6 * mpmath.exp(-z),
    r"\frac{e^{-z}}{1+e^{-z}}": lambda z: SIGMOID(-z),
    r"z\sigma(-z)": lambda z: z * SIGMOID(-z),
    r"\sigma(z)(1-\sigma(z))": lambda z: SIGMOID(z) * SIGMOID(-z),
    r"(\log(1+e^{-z}))^2": lambda z: LOGISTIC(z) ** 2,
    r"\log_2(1+e^{-z})": lambda z: LOGISTIC(z) / mpmath.log(2),
    r"\tau \log(1+e^{-z/\tau}), \quad \tau = 0.5": lambda z: LOGISTIC(2 * z) / 2,
    r"c\,e^{-z} \text{ with } c=2": lambda z: 2 * mpmath.exp(-z),
    r"\arctan(-z) + \frac\pi2": lambda z: mpmath.atan(-z) + mpmath.pi / 2,
}
READ |= LATEX


@pytest.mark.parametrize("text", READ)
def test_read_with_the_values_that_are_meant(text: str) -> None:
    loss = gpo.parse_loss(text)
    with mpmath.workdps(40):
        wanted = [float(READ[text](mpmath.mpf(z))) for z in POINTS]
    np.testing.assert_allclose(loss(np.array(POINTS)), wanted, rtol=1e-12, atol=1e-14)
    assert loss.name == text.strip()


REWRITTEN = {
    r"\log(1+e^{-\beta z})": "β is no part of f",
    r"-\log\sigma(\beta \rho_\theta)": "write -log(sigmoid(z))",
    r"\log 2z": "log(2*z) or log(2)*z",
    r"\log z^2": "in brackets, log(z**2)",
    r"\log(1+z^2)^2": "(log(1 + z**2))**2 or log((1 + z**2)**2)",
    r"e^{-z}z^12": "write ^{12}",
    r"\frac{1}{2}/2z": "can mean two things",
    r"\tau\log(1+e^{-z/\tau})": "with tau=1, or whatever tau is (in Python tau=…, on the command line --param tau=…)",
    r"\begin{cases}0\end{cases}": "max(0, 1 - z)",
    r"\mathbb{E}[e^{-z}]": "the loss of one pair",
    r"-\log\frac{\pi_\theta(y_w|x)}{\pi_{ref}(y_w|x)}": "policies do not stand in it",
    r"\log(1+e^{-z}": "')' is missing",
    r"\foo(z)": "'\\\\foo' is not allowed",
    "\tanh(z)": r'as a raw text, r"\tanh(z)"',
    "\frac{1}{2}z": r'as a raw text, r"\frac{1}{2}z"',
    r"1\,000z": "one number",
    "1½z": "can mean a sum or a product",
    "f(b, a) = exp(b-a)": "write exp(a-b)",
    "(1-z).max(0)": "another thing in numpy and torch",
    "√z + 1 - √z": "cannot read",
    "exp(-√2*z)": "write exp(-sqrt(2)*z)",
    "1/2z": "write 1/2*z or 1/(2*z)",
    "1/2(1-z)^2": "write 1/2*(1-z)**2 or 1/(2*(1-z)**2)",
    "z^2(1-z)": "write z**2*(1-z) or z**(2*(1-z))",
    "c*exp(-z)": "write c*exp(-z) with c=1, or whatever c is (in Python c=…, on the command line --param c=…)",
    "exp(-cz)": "write exp(-c*z) with c=1",
    "c*exp(-x)": "write c*exp(-z) with c=1",
    "a*exp(-z)": "write c*exp(-z) with c=1",
    "a*exp(-z) with a=2": "a is taken: a parameter needs another name",
    "exp(-z) with c=2": "the parameter c does not stand in",
    "c*exp(-z) with c=nan": "the parameter c is 'nan'; accepted is a number",
    "c*exp(-z) with c=z": "the parameter c is 'z'; accepted is a number",
    "c*exp(-z) with c=1, c=2": "the parameter c has two values",
    "c*exp(-z) with c=0.1**999": "the parameter c is",
    "beta*exp(-z) with beta=2": "β is no part of f",
    "(z - 1/(2*beta))**2": "write (z - 1/(2*c))**2 with c=1",
    "(logits - 1/(2*self.beta))**2": "write (z - 1/(2*c))**2 with c=1",
    "-F.logsigmoid(self.beta * logits)": "write -F.logsigmoid(z)",
    "log(1+exp(-z)).mean()": "write log(1+exp(-z))",
    "exp(-rho)": "write exp(-z)",
    "f(x) = exp(-z)": "write exp(-z)",
    "lambda x, y: exp(y-x)": "write exp(b-a)",
    "f(a) = exp(-a)": "a is taken",
    "[1-z]^2": "write (1-z)**2",
    "z(1-z)": "write z*(1-z)",
    "z exp(-z)": "write z*exp(-z)",
    "-log Φ(z)": "write -log(Phi(z))",
    "exp": "exp is a function: write exp(…)",
    "z = 1": "an equation is no loss",
    "F.relu(1-z, inplace=1)": "relu(inplace=…) is not allowed",
    "clamp(z)": "clamp takes u, min, max",
    "clamp(1-z, low=0)": "clamp takes u, min, max",
    "log(1+exp(-x))": "log(1+exp(-z))",
    "log(1+exp(-margin))": "log(1+exp(-z))",
    "log(1+exp(-beta*rho))": "log(1+exp(-z))",
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
    read = 0
    for proposed in REWRITTEN.values():
        if proposed.startswith("write ") and " or " not in proposed and "^" not in proposed:
            gpo.parse_loss(proposed.removeprefix("write "))
            read += 1
    assert read > 12
    assert next(proposals("log(1+exp(-x))", {})) == "log(1+exp(-z))"


def test_parameters_beside_the_text() -> None:
    loss = gpo.parse_loss("c*exp(-k*z)", c=2, k="1/3")
    z = gpo.get_loss("dpo").symbol
    assert loss.expression == 2 * sympy.exp(-z / 3)
    assert loss.name == "c*exp(-k*z) with c=2, k=1/3"
    assert gpo.parse_loss(loss.name) == gpo.get_loss(loss.name) == loss
    assert gpo.parse_loss("c*z", c=0.1).expression == z / 10
    assert gpo.parse_loss("c*z", c=np.float32(0.1)).expression == z / 10
    assert gpo.parse_loss("c*a + b", c=np.int64(3)).expression == gpo.parse_loss("3*a + b").expression
    assert gpo.parse_loss("λ*z", λ=sympy.Rational(1, 3)).expression == z / 3
    for bad in (float("nan"), float("inf"), True, None, 1j, [1]):
        with pytest.raises(ValueError, match=r"the parameter c is .*; accepted is a finite number"):
            gpo.parse_loss("c*z", c=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two values"):
        gpo.parse_loss("c*z with c=1", c=2)


def test_parameters_of_the_catalogue_and_names_as_they_are_printed() -> None:
    made = (
        gpo.get_loss("kto", desirable=2), gpo.get_loss("dpop", penalty=5), gpo.get_loss("bco_pair", shift="1/3"),
        gpo.get_loss("cal_dpo", tau=0.3), gpo.get_loss("exo", label_smoothing=0.0123456789),
        gpo.get_loss("dpo").smoothed(0.123456789), gpo.get_loss("savage").robust(0.1).rescaled(),
        gpo.get_loss("exp(-z)").soft_label(0.25), gpo.get_loss("bco").swapped(), gpo.get_loss("bco").smoothed(0.2),
        gpo.get_loss("c*exp(-z)", c=2).smoothed(0.1),
    )  # fmt: skip
    for loss in made:
        assert gpo.get_loss(loss.name).expression == loss.expression, loss.name
        assert gpo.get_loss(str(loss)) == gpo.get_loss(loss.name)
    assert gpo.get_loss("dpop with penalty=5") == gpo.get_loss("dpop", penalty=5)
    for text, words in {
        "dpo with c=2": "has no parameter c; it has none", "kto(0, 1, 1, 1)": "has 3 parameters",
        "smoothed(dpo)": "takes a loss and a number", "smoothed(dpo, x)": "accepted is a number",
        "swapped(dpo)": "is not made of logistic", "dpop(weight=2)": "has no parameter weight; it has penalty",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=words.replace("(", r"\(")):
            gpo.get_loss(text)
    with pytest.raises(ValueError, match="is a loss already"):
        gpo.get_loss(gpo.get_loss("dpo"), c=2)  # type: ignore[call-overload]


def test_what_stays_as_it_is() -> None:
    for text in ("log1p(exp(-z))", "0x10*z", "1j*z", "1e5", "log10(2)", "z == 1", "1_000*z"):
        assert respelled(text) == text


@pytest.mark.parametrize("name", [*gpo.list_losses(), *two_ratio_losses()])
def test_the_catalogue_is_read_back_from_what_is_printed(name: str) -> None:
    loss = gpo.get_loss(name)
    assert gpo.get_loss(str(loss)) == gpo.parse_loss(str(loss)) == loss
    assert gpo.parse_loss(str(loss.expression).replace("**", "^")).expression == loss.expression


@pytest.mark.parametrize("name", [*gpo.list_losses(), *two_ratio_losses()])
def test_the_catalogue_is_read_from_its_latex(name: str) -> None:
    loss = gpo.get_loss(name)
    assert same_loss(gpo.parse_loss(sympy.latex(loss.expression)), loss)


def test_another_loss_is_not_called_by_a_name_of_the_catalogue() -> None:
    text = "logistic: f(z) = exp(-z)"
    assert gpo.parse_loss(text).name == text
    assert gpo.parse_loss("mine: f(z) = exp(-z)").name == "mine"


@pytest.mark.parametrize("symbols", [("z",), ("a", "b")])
def test_whatever_is_read_is_read_back_from_what_is_printed(symbols: tuple[str, ...]) -> None:
    """Texts drawn from the grammar, with parameters."""
    generator, read, small = random.Random(11), 0, 0
    while read < 60:
        text = expression(generator, generator.randint(1, 4))
        text = re.sub(r"\bz\b", lambda _: generator.choice(symbols), text)
        text = text.replace("(2)", "(k)", 1)
        try:
            loss = gpo.parse_loss(text, **({"k": "2"} if re.search(r"\bk\b", text) else {}))
        except ValueError:
            continue
        read += 1
        if len(str(loss)) > 900:
            small += 1
            continue
        assert same_loss(gpo.parse_loss(str(loss.expression)), loss), text
        again = gpo.parse_loss(str(loss))
        assert again.name == loss.name
        assert type(again) is type(loss)
        assert same_loss(again, loss), text
        assert gpo.get_loss(loss.name) == loss
    assert small < 6
