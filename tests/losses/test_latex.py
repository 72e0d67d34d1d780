r"""LaTeX in the parser's spelling, text by text; what print leaves open is refused in these words."""

from __future__ import annotations

import pytest

from gpo_analysis.losses.latex import MAX_DEPTH, from_latex, is_latex
from gpo_analysis.losses.words import Refused

ONE_PAIR = "write f(z), the loss of one pair with the margin z = βρ"
POLICIES = "f is written in z = βρ, or in a and b, the two log-ratios β log π/πref; policies do not stand in it"
READ = {
    r"\frac12z": "((1)/(2))*z",
    r"\frac{1}{2}": "((1)/(2))",
    r"\dfrac{a}{b}": "((a)/(b))",
    r"\tfrac 1 3": "((1)/(3))",
    r"\cfrac{z}2": "((z)/(2))",
    r"\sqrt{z}": "sqrt(z)",
    r"\sqrt[3]{z}": "(z)**(1/(3))",
    r"\sqrt2": "sqrt(2)",
    "z^2": "z**2",
    "z^{12}": "z**12",
    "z^{-1}": "z**(-1)",
    "z^-1": "z**(-1)",
    "z^+2": "z**(+2)",
    "e^{-z/2}": "e**(-z/2)",
    "ab": "a*b",
    "abz": "a*b*z",
    "abcd": "abcd",
    "pi": "pi",
    r"\pi z": "pi*z",
    "c_1 z": "c_1*z",
    "c_{12}z": "c_12*z",
    "c_{max}": "c_max",
    r"\tau_1": "tau_1",
    r"\varepsilon z": "epsilon*z",
    r"\varphi": "phi",
    r"\Delta": "Delta",
    "[1-z]_+": "relu(1 - z)",
    "(1-z)_+^2": "relu(1 - z)**2",
    "(1-z)^2_+": "relu(1 - z)**2",
    "(1-z)_{+}": "relu(1 - z)",
    r"\left[1-z\right]_+": "relu(1 - z)",
    r"\{1-z\}": "(1 - z)",
    r"\lbrack z\rbrack": "(z)",
    "|z|": "abs(z)",
    "|1-|z||": "abs(1 - abs(z))",
    "2|z|": "2*abs(z)",
    r"\lvert z\rvert^2": "abs(z)**2",
    r"\left|z\right|": "abs(z)",
    r"\bigl|z\bigr|": "abs(z)",
    r"\Bigl( z \Bigr)": "(z)",
    r"\log z": "log(z)",
    r"\log(1+z)": "log(1 + z)",
    r"\log{z}": "log(z)",
    r"\log_2 z": "log2(z)",
    r"\log_{10}(z)": "log10(z)",
    r"\log_e z": "log(z)",
    r"\lg z": "log10(z)",
    r"\ln z": "log(z)",
    r"\log^2 z": "(log(z))**2",
    r"\tanh^2(z)": "(tanh(z))**2",
    r"\tanh^{2}(z)": "(tanh(z))**2",
    r"\sigma(z)^2": "sigmoid(z)**2",
    r"\Phi(z)^2": "Phi(z)**2",
    r"\max(0,z)^2": "max(0, z)**2",
    r"\min\{0,z\}": "min(0, z)",
    r"\sigma^2(z)": "(sigmoid(z))**2",
    r"\exp(z)": "exp(z)",
    r"\operatorname{softplus}(z)": "softplus(z)",
    r"\operatorname*{max}(0,z)": "max(0, z)",
    r"\mathrm{foo}z": "foo*z",
    r"\text{relu}(1-z)": "relu(1 - z)",
    "softplus(z)": "softplus(z)",
    r"2\cdot z\times 3\div 4": "2*z*3/4",
    "+z": "+z",
    "-z": "-z",
    "z-1+2*3/4": "z - 1 + 2*3/4",
    "a,b": "a, b",
    "2z": "2*z",
    r"2 z\,a": "2*z*a",
    "1.5e-3z": "1.5e-3*z",
    ".5z": ".5*z",
    "z/2+1": "z/2 + 1",
    r"\log|z|": "log(abs(z))",
    r"\log\frac{z}{2}": "log(((z)/(2)))",
    r"-\log\sigma(z)": "-log(sigmoid(z))",
    r"\(z\)": "z",
    r"\[z\]": "z",
    r"z\quad a~b": "z*a*b",
    r"\operatorname{a b}": "ab",
    "z_{1}": "z_1",
    r"\tanh^2 z": "(tanh(z))**2",
    r"\log z+1": "log(z) + 1",
    r"\log z, a": "log(z), a",
    r"(\log z)": "(log(z))",
    r"a\log z": "a*log(z)",
    r"\log_{2}|z|": "log2(abs(z))",
}  # fmt: skip
READ |= {
    "log1p(z)": "log1p(z)",
    "expm1(z)": "expm1(z)",
    "log10(z)+log2(z)": "log10(z) + log2(z)",
    r"\frac{log1p(z)}{expm1(z)}": "((log1p(z))/(expm1(z)))",
}  # fmt: skip
REFUSED = {
    r"\log|z|^2": "what log takes is not clear: put it in brackets, log(abs(z)**2)",
    r"\log 2z": "what log takes is not clear: put it in brackets, log(2*z) or log(2)*z",
    r"\log z^2": "what log takes is not clear: put it in brackets, log(z**2)",
    r"\log z a b": "what log takes is not clear: put it in brackets, log(z*a*b) or log(z)*a*b",
    r"\log(z)^2": r"\log(z)^2 can mean (log(z))**2 or log((z)**2)",
    "z/2a": "'/2a' can mean two things: write (…/2)*a or …/(2*a)",
    r"z\div 2 a": "'/2a' can mean two things: write (…/2)*a or …/(2*a)",
    "z2": "2 stands behind another factor: write * between them, or one number",
    "2 3": "3 stands behind another factor: write * between them, or one number",
    "z)": "')' stands without its beginning",
    "(z": "')' is missing",
    "()": "an empty pair of brackets",
    "{}": "an empty pair of brackets",
    "": "there is no formula",
    "z^": "the formula ends too early",
    "z^12": "the power 12 stands without braces: write ^{12}",
    "z^2^3": "a power of a power needs braces",
    "z_+": "the positive part stands after a bracket: (1-z)_+ is max(0, 1 - z)",
    "z'": "derivatives are not taken",
    r"z^\prime": "derivatives are not taken",
    r"\foo": r"'\\foo' is not allowed",
    r"\sum z": f"sums are not taken: {ONE_PAIR}",
    r"\int": "integrals are not taken",
    r"\mathbb{E}": f"expectations and indicators are not taken: {ONE_PAIR}",
    r"\mathcal L": "write f(z) alone, the loss of one pair with the margin z = βρ, no objective's name before it",
    r"\prime": "derivatives are not taken",
    r"\begin{cases}": "the branches of cases are written with max, min, abs: max(0, 1 - z)",
    r"\operatorname z": r"a name in LaTeX stands in braces: \operatorname{softplus}",
    r"\operatorname{a-b}": "'a-b' is no name",
    r"\operatorname{ab": "'ab' is no name",
    "(z)_1": "an index stands after a letter",
    "2_1": "an index stands after a letter",
    "z_{a+b}": "'a+b' is no name",
    r"\log_3 z": "log_3 is not taken",
    r"\log^z(2)": "log^z is not taken",
    r"\log": "log is a function: write log(…)",
    r"\log +z": "log is a function: write log(…)",
    r"\log)": "log is a function: write log(…)",
    r"\sigma z": "sigmoid is a function: write sigmoid(…)",
    r"\max z": "max is a function: write max(…)",
    r"\pi_{ref}": POLICIES,
    r"\pi(z)": POLICIES,
    ".": "'.' is not allowed",
    "#": "'#' is not allowed",
    r"\frac1": "the formula ends too early",
    r"\frac+2": "'+' is not allowed",
    r"\frac12345": "3 stands behind another factor: write * between them, or one number",
    r"\tanh^2^3 z": "tanh^3 is not taken",
    r"\tanh^{2z}(z)": "tanh^2*z is not taken",
    r"\log z \log a": "what log takes is not clear: put it in brackets, log(z*log(a)) or log(z)*log(a)",
    r"\exp(z)_1": "an index stands after a letter",
    "z~2": "2 stands behind another factor: write * between them, or one number",
    "log2(z)+log10(z)^{2}": r"\log10(z)^2 can mean (log10(z))**2 or log10((z)**2)",
}  # fmt: skip


def test_formulas_in_the_spelling_of_the_parser() -> None:
    for text, spelled in READ.items():
        assert from_latex(text) == spelled, text


def test_what_is_refused_says_why() -> None:
    for text, said in REFUSED.items():
        with pytest.raises(Refused) as refused:
            from_latex(text)
        assert str(refused.value) == said, text


def test_brackets_are_nested_to_a_depth() -> None:
    text = "(" * (MAX_DEPTH - 1) + "z" + ")" * (MAX_DEPTH - 1)
    assert from_latex(text) == text
    with pytest.raises(Refused, match="nested too deeply"):
        from_latex(f"({text})")
    assert from_latex("(z)" + "+(z)" * 50).count("(z)") == 51  # beside one another there may be more


def test_what_is_read_as_latex() -> None:
    for text in (r"\log z", "e^{-z}", "c_{1}*z", "(1-z)_+", "[1-z]_+", "(1-z)^2_+", "(1-z) ^ 2 _+", "z^ {2}"):
        assert is_latex(text), text
    for text in ("(1-z)**2", "e^(-z)", "max{0, z}", "z_+", "c_1*z", "(1-z)+1"):
        assert not is_latex(text), text


def test_brackets_that_are_closed_leave_the_depth_of_those_around_them() -> None:
    """One that stood beside the deepest lets none be deeper."""
    deep = "(" * (MAX_DEPTH - 1) + "z" + ")" * (MAX_DEPTH - 1)
    with pytest.raises(Refused, match="nested too deeply"):
        from_latex(f"((z)+{deep})")
    assert from_latex(f"(((z)))+{deep}") == f"(((z))) + {deep}"
