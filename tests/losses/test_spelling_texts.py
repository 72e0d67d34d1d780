"""Formulas as people type them, in the parser's spelling, text by text."""

from __future__ import annotations

import pytest

from gpo_analysis.losses.spelling import name_of, respelled, unquoted
from gpo_analysis.losses.words import Ambiguous, Refused

SPELLED = {
    "½z": "(1/2)*z",
    "¼z": "(1/4)*z",
    "¾(1-z)": "(3/4)*(1-z)",
    "⅓√(z)": "(1/3)*sqrt(z)",
    "⅔ z": "(2/3)* z",
    "⅛*z": "(1/8)*z",
    "½": "(1/2)",
    "z^2": "z**2",
    "z²": "z**2",
    "z⁻¹": "z**(-1)",
    "(1+z²)⁽¹ᐟ²⁾": "(1+z**2)**((1/2))",
    "e⁻ᶻ": "e**(-z)",
    "eᵃ⁺ᵇ": "e**(a+b)",
    "|z|": "abs(z)",
    "2|z|": "2*abs(z)",
    "|1-|z||": "abs(1-abs(z))",
    "|z|^3": "abs(z)**3",
    "|z||z|": "abs(z)*abs(z)",
    "||z||": "abs(abs(z))",
    "| z | + |1-z|": "abs( z ) + abs(1-z)",
    "a|z": "a|z",
    "|a|-|b|": "abs(a)-abs(b)",
    "2z": "2*z",
    "2 z": "2* z",
    "2exp(z)": "2*exp(z)",
    "2(1-z)": "2*(1-z)",
    "2 (1-z)": "2* (1-z)",
    "1e-3z": "1e-3*z",
    "2e3z": "2e3*z",
    "1.5z": "1.5*z",
    ".5z": ".5*z",
    "1.z": "1.*z",
    "1j": "1j",
    "0x10": "0x10",
    "0b1": "0b1",
    "0o7": "0o7",
    "2_000": "2_000",
    "2 if z": "2 if z",
    "2 for z": "2 for z",
    "2 jz": "2* jz",
    "3 x": "3* x",
    "3x": "3x",
    "3oz": "3oz",
    "τz": "tau*z",
    "zτ": "z*tau",
    "2τ": "2*tau",
    "σ(z)": "sigmoid(z)",
    "-log σ(z)": "-log sigmoid(z)",
    "logσ(z)": "log sigmoid(z)",
    "σσ(z)": "sigmoid sigmoid(z)",
    "τσ(z)": "tau sigmoid(z)",
    "βz": "beta*z",
    "ab": "ab",
    "Δz": "Delta*z",
    "exp(-λ*z)": "exp(-lambda_*z)",
    "lambda*z": "lambda_*z",
    "lambda z: z": "lambda z: z",
    "lambda)": "lambda_)",
    "exp(-lambda)": "exp(-lambda_)",
    "max{0, 1-z}": "max(0, 1-z)",
    "log{z}": "log(z)",
    "foo{z}": "foo{z}",
    "max {0,z}": "max(0,z)",
    "nn.ReLU()(1-z)": "nn.ReLU(1-z)",
    "Softplus()(z)": "Softplus(z)",
    "foo()(z)": "foo()(z)",
    "ReLU( ) (z)": "ReLU(z)",
    "z**(2)": "z**2",
    "z^(2)": "z**2",
    "z**(2)*3": "z**2*3",
    "z**(12)(z)": "z**(12)(z)",
    "z**(2)z": "z**(2)z",
    "√(1+z)": "sqrt(1+z)",
    "√z": "√z",
    "1/2*z": "1/2*z",
    "(1−z)·(1–z)": "(1-z)*(1-z)",
    "z÷2": "z/2",
    "z∕2": "z/2",
    "z∗2": "z*2",
    "ℓn(z)": "ln(z)",
    "∣z∣": "abs(z)",
    "z\u200b+1": "z+1",
    "\u20612*z": "2*z",
    "（1－z）²": "(1-z)**2",
    "𝑒^(−𝑧)": "e**(-z)",
    "f’": "f'",
    "z**2 3": "z**2 3",
    "µz": "mu*z",
    "ϵ*z": "epsilon*z",
    "ϕ": "phi",
    "ϱ": "rho",
    "Φ(z)": "Phi(z)",
    "π": "pi",
    "z1": "z1",
    "2pi": "2*pi",
    "pi2": "pi2",
    "1/(2z)": "1/(2*z)",
    "3.25exp(-z)+.5": "3.25*exp(-z)+.5",
    "1E+5z": "1E+5*z",
    "|z": "|z",
    "z|": "z|",
    "2|": "2|",
    "(z)|2|": "(z)*abs(2)",
    "z.|a|": "z.*abs(a)",
    "2)(z": "2)(z",
    "exp(z)2": "exp(z)2",
    "a_1|z|": "a_1*abs(z)",
    "with2(z)": "with2(z)",
    "2 and(z)": "2 and(z)",
    "2 with": "2 with",
}  # fmt: skip
UNQUOTED = {
    '"z"': "z",
    "'z'": "z",
    "`z`": "z",
    "“z”": "z",
    "‘z’": "z",
    "$z$": "z",
    "$$z$$": "z",
    '"z\'': '"z\'',
    "'a' + 'b'": "'a' + 'b'",
    "''z''": "''z''",
    '"\'z\'"': "z",
    "z;": "z",
    "z.": "z",
    "z;.": "z",
    "'z';": "z",
    "' z '": "z",
    "z.5": "z.5",
    "\new": "ew",
    "\tab": "ab",
    "z\tz": "z\tz",
    "\rmx": "mx",
    "'": "'",
    "''": "",
    "″": "′′",
}  # fmt: skip
REFUSED = {
    "\tanh(z)": 'a backslash was read as a control character; write it as a raw text, r"\\tanh(z)"',
    "\x0crac{z}": 'a backslash was read as a control character; write it as a raw text, r"\\frac{z}"',
    "\rho": 'a backslash was read as a control character; write it as a raw text, r"\\rho"',
    "\nu z": 'a backslash was read as a control character; write it as a raw text, r"\\nu z"',
    "\nabla": 'a backslash was read as a control character; write it as a raw text, r"\\nabla"',
    "\neq": 'a backslash was read as a control character; write it as a raw text, r"\\neq"',
    "\x07lpha": 'a backslash was read as a control character; write it as a raw text, r"\\alpha"',
    "\x08eta": 'a backslash was read as a control character; write it as a raw text, r"\\beta"',
    "\x0bz": 'a backslash was read as a control character; write it as a raw text, r"\\vz"',
    "\theta": 'a backslash was read as a control character; write it as a raw text, r"\\theta"',
    "\times": 'a backslash was read as a control character; write it as a raw text, r"\\times"',
    "\text": 'a backslash was read as a control character; write it as a raw text, r"\\text"',
    "\tau": 'a backslash was read as a control character; write it as a raw text, r"\\tau"',
    "\right": 'a backslash was read as a control character; write it as a raw text, r"\\right"',
    "\rm x": 'a backslash was read as a control character; write it as a raw text, r"\\rm x"',
    "1½z": "'1½' can mean a sum or a product: write + or * between",
    "2 ¼": "'2 ¼' can mean a sum or a product: write + or * between",
    "x1½": "'1½' can mean a sum or a product: write + or * between",
}  # fmt: skip
AMBIGUOUS = {
    "1/2z": "'/2z' can mean two things: write 1/2*z or 1/(2*z)",
    "1/2(1-z)^2": "'/2(1-z)**2' can mean two things: write 1/2*(1-z)**2 or 1/(2*(1-z)**2)",
    "1/ 2 exp(-z) + 1": "'/2exp(-z)' can mean two things: write 1/2*exp(-z) + 1 or 1/(2*exp(-z)) + 1",
    "z**2z": "'**2z' can mean two things: write z**2*z or z**(2*z)",
    "z^2np.exp(z)*3": "'**2np.exp(z)' can mean two things: write z**2*np.exp(z)*3 or z**(2*np.exp(z))*3",
    "1/2(z)(z)": "'/2(z)' can mean two things: write 1/2*(z)(z) or 1/(2*(z))(z)",
    "1/2((1-z)*2)": "'/2((1-z)*2)' can mean two things: write 1/2*((1-z)*2) or 1/(2*((1-z)*2))",
}  # fmt: skip


def test_formulas_in_the_spelling_of_the_parser() -> None:
    for text, spelled in SPELLED.items():
        assert respelled(text) == spelled, text


def test_what_stands_around_a_formula_is_left_out() -> None:
    for text, inside in UNQUOTED.items():
        assert unquoted(text) == inside, text


def test_control_characters_and_mixed_numbers_are_refused() -> None:
    for text, said in REFUSED.items():
        with pytest.raises(Refused) as refused:
            unquoted(text)
        assert str(refused.value) == said, text


def test_what_can_mean_two_things_is_written_both_ways() -> None:
    for text, said in AMBIGUOUS.items():
        with pytest.raises(Ambiguous) as refused:
            respelled(text)
        assert str(refused.value) == said, text


def test_names_of_symbols() -> None:
    for text, name in {
        "τ": "tau", r"\tau": "tau", "lambda": "lambda_", "λ": "lambda_", r"\lambda": "lambda_", "c_1": "c_1",
        "c_{1}": "c_1", " k ": "k", "𝑐": "c", "σ": "sigmoid", "lambdas": "lambdas",
    }.items():  # fmt: skip
        assert name_of(text) == name, text


def test_every_greek_letter_by_its_name() -> None:
    small = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma_ sigmoid"
    assert respelled(" ".join("αβγδεζηθικλμνξοπρςστυφχψω")) == f"{small} tau upsilon phi chi psi omega"
    assert respelled("Φ + Δ + µ + ϵ + ϕ + ϱ") == "Phi + Delta + mu + epsilon + phi + rho"


def test_every_sign() -> None:
    for signs, plain in (("−–‐‑‒—﹣－", "-"), ("×·⋅∗•∙⁎\u2062", "*"), ("÷∕⁄", "/")):
        for sign in signs:
            assert unquoted(f"2{sign}z") == f"2{plain}z"
    for nothing in "\u200b\u200c\u200d\ufeff\u2060\u2061":
        assert unquoted(f"2*{nothing}z") == "2*z"
    assert unquoted("z⁰¹²³⁴⁵⁶⁷⁸⁹") == "z**(0123456789)"
    assert unquoted("z⁻⁺ᶻᵃᵇ⁽⁾ᐟ") == "z**(-+zab()/)"


def test_keywords_are_no_factors() -> None:
    for word in ("if", "else", "and", "or", "not", "in", "is", "for", "lambda", "with", "where"):
        assert respelled(f"2 {word} z") == f"2 {word} z"


def test_a_letter_is_no_fraction_and_any_quotes_are_taken_off() -> None:
    for letter in "XYk":
        assert unquoted(f"exp(-{letter})") == f"exp(-{letter})"
    for first, last in ("“”", "””", "““", "‘’", "''", '""', "``", "$$"):
        assert unquoted(f"{first}exp(-z){last}") == "exp(-z)"


def test_capital_letters_that_look_like_latin_ones_are_not_read_as_greek() -> None:
    """Only Φ and Δ have a meaning of their own."""
    for letter in "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ":
        assert name_of(letter) == letter
    assert (name_of("Φ"), name_of("Δ"), name_of("ϵ"), name_of("ε")) == ("Phi", "Delta", "epsilon", "epsilon")
