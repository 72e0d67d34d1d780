"""The words of a typed formula, without what they mean: what can be said of one before computer algebra is loaded."""

from __future__ import annotations

import ast
import re

from gpo_analysis.loss_names import EXO, OF_MARGINS, OF_TWO_RATIOS, check_loss_name, normal_name, proper_names

#: Functions of one argument or more; :data:`gpo_analysis.losses.words.FUNCTIONS` builds them, in this order.
FUNCTION_NAMES = (
    "exp", "expm1", "sinh", "cosh", "log", "ln", "log2", "log10", "log1p", "sqrt", "square", "abs", "Abs", "fabs",
    "max", "Max", "maximum", "min", "Min", "minimum", "relu", "tanh", "atan", "arctan", "erf", "erfc", "sigmoid",
    "sigma", "expit", "softplus", "logsigmoid", "log_sigmoid", "log_expit", "Phi", "ndtr", "logcosh", "logaddexp",
)  # fmt: skip
#: Functions with arguments that may be named or left out.
SPECIAL = {
    "pow": ("u", "exponent"), "power": ("u", "exponent"),
    "clamp": ("u", "min", "max"), "clip": ("u", "a_min", "a_max"), "clamp_min": ("u", "min"),
}  # fmt: skip
#: Functions that are not taken, and what to write for them.
HINTS = {
    "huber": "write the pseudo-Huber function of u as sqrt(1 + u**2) - 1",
    "smooth_l1": "write the pseudo-Huber function of u as sqrt(1 + u**2) - 1",
    "sign": "a loss does not jump; write abs(u) for u sign(u), tanh(u) or a sigmoid for a soft one",
    "where": "write the branches with max, min, abs or relu: where(z > 1, 0, 1 - z) is max(0, 1 - z)",
    "Piecewise": "write the branches with max, min, abs or relu, as in max(0, 1 - z)",
    "sin": "periodic functions are not taken",
    "cos": "periodic functions are not taken",
    "tan": "periodic functions are not taken",
    "mean": "the library takes the mean over the pairs: write f(z), the loss of one pair",
    "sum": "the library takes the mean over the pairs: write f(z), the loss of one pair",
    "log_ndtr": "write log(ndtr(u))",
    "mse_loss": "write (1 - z)**2",
    "binary_cross_entropy_with_logits": "with the label 1 it is softplus(-z)",
    "asinh": "write log(u + sqrt(1 + u**2))",
    "arcsinh": "write log(u + sqrt(1 + u**2))",
}
#: Losses made of others: their arguments, with the loss.
MODIFIERS = {"smoothed": 2, "robust": 2, "soft_label": 2, "rescaled": 1, "swapped": 1}
#: Letters in it beyond which a text is not read.
MAX_LENGTH = 1000
ACCEPTED = (
    "accepted: the symbol z, or a and b for the two log-ratios, numbers, pi, e, the operators + - * / **, and the "
    "functions " + ", ".join(sorted(FUNCTION_NAMES)) + "; LaTeX; values of other letters after it, c*exp(-z) with c=2"
)
_SHOWN = 60
_LETTERS = ("z", "a", "b", "pi", "e", "E")
_PLAIN = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Constant, ast.Load, ast.Add, ast.Sub, ast.Mult,
    ast.Div, ast.Pow, ast.USub, ast.UAdd,
)  # fmt: skip
_NAMES = {*(name.lower() for name in FUNCTION_NAMES), *SPECIAL, *MODIFIERS, *EXO}


def in_short(text: str) -> str:
    """A formula as messages name it, with its quotes."""
    shown = text.strip()
    return repr(shown if len(text) <= _SHOWN else shown[: _SHOWN - 3] + "…")


def cannot_read(text: str, why: str, instead: str = "") -> str:
    """What is said of a formula that cannot be read."""
    return f"cannot read {in_short(text)}: {why}{instead}; {ACCEPTED}"


def no_loss(text: str, error: object, why: object = "gpo losses lists them") -> str:
    """What is said of a text that is neither the name of a loss nor a formula."""
    return f"loss {text!r} is neither a name ({why}) nor an expression ({error})"


def unknown_function(name: str) -> str:
    """What is said of a function that is not taken.

    Examples
    --------
    >>> unknown_function("csh"), unknown_function("sin")
    ("unknown function 'csh'", "unknown function 'sin': periodic functions are not taken")
    """
    return f"unknown function {name!r}" + (f": {HINTS[name]}" if name in HINTS else "")


def check_loss_text(text: str) -> None:
    """Refuse a word that is no loss, and a formula with a function that is not taken; what may be a loss passes.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> check_loss_text("ipo"), check_loss_text("(1-z)**2")
    (None, None)
    """
    check_loss_name(text)
    check_functions(text)


def check_functions(text: str) -> None:
    """Refuse a plain formula for a function that is not taken; what may be written in another way passes.

    Raises
    ------
    ValueError
        The words of the parser, which would have no other text to propose: what it rewrites leaves functions as
        they are.

    Examples
    --------
    >>> check_functions("log(cosh(1-z))")
    >>> check_functions("log(csh(1-z))")
    Traceback (most recent call last):
    ...
    ValueError: loss 'log(csh(1-z))' is neither a name (gpo losses lists them) nor an expression (cannot read ...
    """
    if len(text) > MAX_LENGTH or not re.fullmatch(r"[A-Za-z0-9_ .,()+\-*/^]+", text):
        return
    try:
        nodes = list(ast.walk(ast.parse(text.strip().replace("^", "**"), mode="eval")))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return
    functions = [node.func for node in nodes if isinstance(node, ast.Call) and not node.keywords]
    called = {id(node): node.id for node in functions if isinstance(node, ast.Name)}
    names = [node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called]
    if not all(isinstance(node, _PLAIN) for node in nodes) or not set(names) <= set(_LETTERS):
        return
    losses = {*proper_names(OF_MARGINS), *proper_names(OF_TWO_RATIOS)}
    strange = [name for name in called.values() if name.lower() not in _NAMES and normal_name(name) not in losses]
    # letters before a bracket may be products, and so may be words with a space between
    if len(set(strange)) == 1 and len(strange[0]) > 1 and f"{strange[0]}(" in text:
        raise ValueError(no_loss(text, cannot_read(text, unknown_function(strange[0]))))
