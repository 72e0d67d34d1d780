"""Every word and sign that a typed loss may be written with means what it means in mathematics, NumPy, torch, LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy

import gpo_analysis as gpo

POINTS = (-1.5, 0.0, 0.4, 2.0)
ONE: dict[str, Callable[[Any], Any]] = {
    "exp": mpmath.exp, "expm1": mpmath.expm1, "sinh": mpmath.sinh, "cosh": mpmath.cosh, "log": mpmath.log,
    "ln": mpmath.log, "log2": lambda u: mpmath.log(u, 2), "log10": mpmath.log10, "log1p": mpmath.log1p,
    "sqrt": mpmath.sqrt, "square": lambda u: u * u, "abs": abs, "Abs": abs, "fabs": abs, "tanh": mpmath.tanh,
    "atan": mpmath.atan, "arctan": mpmath.atan, "erf": mpmath.erf, "erfc": mpmath.erfc,
    "sigmoid": lambda u: 1 / (1 + mpmath.exp(-u)), "sigma": lambda u: 1 / (1 + mpmath.exp(-u)),
    "expit": lambda u: 1 / (1 + mpmath.exp(-u)), "softplus": lambda u: mpmath.log(1 + mpmath.exp(u)),
    "logsigmoid": lambda u: -mpmath.log(1 + mpmath.exp(-u)), "log_sigmoid": lambda u: -mpmath.log(1 + mpmath.exp(-u)),
    "log_expit": lambda u: -mpmath.log(1 + mpmath.exp(-u)), "Phi": mpmath.ncdf, "ndtr": mpmath.ncdf,
    "logcosh": lambda u: mpmath.log(mpmath.cosh(u)), "relu": lambda u: max(u, 0),
}  # fmt: skip
TWO: dict[str, Callable[[Any, Any], Any]] = {
    "max": max, "Max": max, "maximum": max, "min": min, "Min": min, "minimum": min,
    "logaddexp": lambda u, v: mpmath.log(mpmath.exp(u) + mpmath.exp(v)), "pow": lambda u, v: u**v,
    "power": lambda u, v: u**v, "clamp_min": max,
}  # fmt: skip
MODULES = (
    "np", "numpy", "jnp", "jax", "torch", "math", "Math", "F", "nn", "functional", "scipy", "special", "sp", "sympy",
    "tf", "tensorflow",
)  # fmt: skip
LETTERS = {
    "α": "alpha", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "ι": "iota",
    "κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "mu", "ν": "nu", "ξ": "xi", "ο": "omicron", "τ": "tau",
    "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Δ": "Delta", "ϵ": "epsilon", "ϕ": "phi",
}  # fmt: skip
EXP = lambda z: mpmath.exp(-z)  # noqa: E731
SIGNS = {
    **{f"exp({minus}z)": EXP for minus in "-−–‐‑‒—﹣－"},
    **{f"exp(-2{times}z)": lambda z: mpmath.exp(-2 * z) for times in "*×·⋅∗•∙⁎"},
    **{f"exp(-z{over}2)": lambda z: mpmath.exp(-z / 2) for over in "/÷∕⁄"},
    **{f"{part}exp(-z)": lambda z, value=value: value * mpmath.exp(-z)
       for part, value in {"½": 0.5, "¼": 0.25, "¾": 0.75, "⅓": mpmath.mpf(1) / 3, "⅔": mpmath.mpf(2) / 3,
                           "⅛": 0.125}.items()},
    **{f"(2+z²){raised}": lambda z, k=k: (2 + z * z) ** k for k, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹") if k},
    "eᶻ": mpmath.exp, "(2+z²)⁻²": lambda z: (2 + z * z) ** -2, "(2+z²)⁽¹ᐟ²⁾": lambda z: mpmath.sqrt(2 + z * z),
    **{f"{a}exp(-z){b}": EXP for a, b in ("\"\"", "''", "``", "“”", "‘’", "$$")},
    "exp(-z);": EXP, "exp(-z).": EXP, "∣1-z∣": lambda z: abs(1 - z), "ℓn(2+z²)": lambda z: mpmath.log(2 + z * z),
}  # fmt: skip
LATEX = {
    **{rf"\{naming}{{exp}}(-z)": EXP for naming in
       ("operatorname", "operatorname*", "mathrm", "text", "textrm", "mathit", "textit", "mathsf")},
    **{rf"\{one}(2+z^2)": lambda z, f=f: f(2 + z * z) for one, f in
       {"log": mpmath.log, "ln": mpmath.log, "lg": mpmath.log10, "tanh": mpmath.tanh, "arctan": mpmath.atan,
        "Phi": mpmath.ncdf, "sigma": ONE["sigmoid"], "sinh": mpmath.sinh, "cosh": mpmath.cosh}.items()},
    r"\exp(-z)": EXP, r"\max(0, 1-z)": lambda z: max(0, 1 - z), r"-\min(0, z-1)": lambda z: -min(0, z - 1),
    r"\left(1-z\right)^{2}": lambda z: (1 - z) ** 2, r"\bigl(1-z\bigr)^2": lambda z: (1 - z) ** 2,
    r"\Big[1-z\Big]^2": lambda z: (1 - z) ** 2, r"\{1-z\}^2": lambda z: (1 - z) ** 2,
    r"\lvert 1-z \rvert": lambda z: abs(1 - z), r"\left|1-z\right|": lambda z: abs(1 - z),
    r"2\cdot\exp(-z)": lambda z: 2 * EXP(z), r"2\times\exp(-z)": lambda z: 2 * EXP(z),
    r"\exp(-z)\div 2": lambda z: EXP(z) / 2, r"\frac{1}{2}\exp(-z)": lambda z: EXP(z) / 2,
    r"\sqrt{2+z^2}": lambda z: mpmath.sqrt(2 + z * z), r"e^{-z}\,": EXP, r"\displaystyle e^{-z}": EXP,
}  # fmt: skip
HINTS = {
    "huber(z)": "sqrt(1 + u**2) - 1", "smooth_l1(z)": "sqrt(1 + u**2) - 1", "sign(z)": "abs(u)", "where(z)": "max, min",
    "Piecewise(z)": "max(0, 1 - z)", "sin(z)": "periodic", "cos(z)": "periodic", "tan(z)": "periodic",
    "mean(z)": "the mean over the pairs", "sum(z)": "the mean over the pairs", "log_ndtr(z)": "log(ndtr(u))",
    "mse_loss(z)": "(1 - z)**2", "binary_cross_entropy_with_logits(z)": "softplus(-z)",
    "asinh(z)": "log(u + sqrt(1 + u**2))", "arcsinh(z)": "log(u + sqrt(1 + u**2))",
    r"\begin{cases}z\end{cases}": "max(0, 1 - z)", r"\mathbb{E}[z]": "the loss of one pair",
    r"\mathcal{L}(z)": "the loss of one pair", r"\sum z": "the loss of one pair", r"\int z": "integrals",
    r"f^{\prime}(z)": "derivatives",
}  # fmt: skip


def assert_same(text: str, meant: Callable[[Any], Any]) -> None:
    found = gpo.parse_loss(text)(np.array(POINTS))
    assert found == pytest.approx([float(meant(mpmath.mpf(z))) for z in POINTS], rel=1e-13, abs=1e-15), text


@pytest.mark.parametrize("word", ONE)
def test_functions(word: str) -> None:
    assert_same(f"{word}(2 + tanh(z))", lambda z: ONE[word](2 + mpmath.tanh(z)))


@pytest.mark.parametrize("word", TWO)
def test_functions_of_two(word: str) -> None:
    assert_same(f"{word}(2 + tanh(z), 2)", lambda z: TWO[word](2 + mpmath.tanh(z), 2))


def test_clipping_by_name_or_place() -> None:
    for text in ("clamp(z, -1, 1)", "clamp(z, min=-1, max=1)", "clip(z, -1, 1)", "clip(z, a_min=-1, a_max=1)"):
        assert_same(text, lambda z: min(max(z, -1), 1))
    assert_same("clamp(z, max=1)", lambda z: min(z, 1))
    assert_same("pow(2+z**2, exponent=3)", lambda z: (2 + z * z) ** 3)


POWERS = {
    "2": lambda z: 2, "-3/2": lambda z: -1.5, "3/2": lambda z: 1.5, "2+tanh(z)": lambda z: 2 + mpmath.tanh(z),
    "-2-tanh(z)": lambda z: -2 - mpmath.tanh(z), "z/50": lambda z: z / 50,
}  # fmt: skip


@pytest.mark.parametrize("power", POWERS)
def test_powers_of_two_exponentials(power: str) -> None:
    """(1 + e^{-3z})^p, where e^{-3z} is beyond every float, too; p may depend on z in a loss made with sympy."""
    z = gpo.get_loss("dpo").symbol
    loss = gpo.MarginLoss("power", (1 + sympy.exp(-3 * z)) ** sympy.sympify(power, locals={"z": z}))
    for x in (-150.0, -1.5, 0.0, 0.4, 2.0, 40.0, 300.0):
        meant = float((1 + mpmath.exp(-3 * mpmath.mpf(x))) ** POWERS[power](mpmath.mpf(x)))
        assert float(loss(x)) == pytest.approx(meant, rel=1e-12), x
    assert_same("(1+sqrt(2))**z", lambda z: (1 + mpmath.sqrt(2)) ** z)


def test_constants() -> None:
    assert_same("pi*exp(-z) + E", lambda z: mpmath.pi * EXP(z) + mpmath.e)
    assert_same("e**(-z)", EXP)


@pytest.mark.parametrize("module", MODULES)
def test_names_of_modules_may_stand_before(module: str) -> None:
    assert_same(f"{module}.exp(-z)", EXP)


@pytest.mark.parametrize("letter", LETTERS)
def test_greek_letters_are_their_names(letter: str) -> None:
    for name in (letter, LETTERS[letter]):
        assert_same(f"exp(-{letter}*z) with {name}=2", lambda z: mpmath.exp(-2 * z))
        assert_same(f"exp(-{LETTERS[letter]}*z) with {name}=2", lambda z: mpmath.exp(-2 * z))


@pytest.mark.parametrize("text", [*SIGNS, *LATEX])
def test_signs_and_commands(text: str) -> None:
    assert_same(text, {**SIGNS, **LATEX}[text])


@pytest.mark.parametrize("text", HINTS)
def test_other_words_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read") as refused:
        gpo.parse_loss(text)
    assert HINTS[text] in str(refused.value)


def test_letters_with_another_meaning_are_refused_by_it() -> None:
    for text, says in (
        ("exp(-β*z)", "it stands in z = βρ"),
        ("exp(-ρ)", "the margin without β"),
        ("exp(-θ*z)", "policies"),
    ):
        with pytest.raises(ValueError, match="cannot read") as refused:
            gpo.parse_loss(text)
        assert says in str(refused.value)
