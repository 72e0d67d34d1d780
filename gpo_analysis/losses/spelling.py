"""Ways in which people write a formula, brought to the one that the parser reads; and rewrites to propose for others.

Read are: ``^`` and raised digits for powers, Unicode minus and dots, σ and π, \\|u\\|, a number before a name (2z),
quotes and a semicolon around the text, ``f(z) =`` before it. What could mean several things, or has another symbol, is
not read; :func:`proposals` makes the text out of it that was probably meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "σ": "sigmoid", "π": "pi", "’": "'"}
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_TOKENS = re.compile(r"[A-Za-z_]\w*|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|.", re.DOTALL)
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_NAMED = re.compile(r"^[A-Za-z_]\w*\s*(?:\(\s*z\s*\))?\s*=(?!=)")
_QUOTES = ('"', "'", "`", "“”", "‘’", "$")
_LATEX = (
    (re.compile(r"\\(?:left|right|displaystyle|,|;|!| )"), " "),
    (re.compile(r"\\(?:cdot|times)"), "*"),
    (re.compile(r"\\(?:mathrm|text|operatorname)\{(\w+)\}"), r"\1"),
    (re.compile(r"\\sigma"), "sigmoid"),
    (re.compile(r"\\(\w+)"), r"\1"),
)
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_POWER_OF_E = re.compile(r"(?<!\w)e\^\{([^{}]*)\}")
_RAISED_GROUP = re.compile(r"\^\{([^{}]*)\}")
_GROUP = re.compile(r"\{([^{}]*)\}")
_BARE_ARGUMENT = re.compile(r"\b(log|exp|sigmoid|tanh|max|min)\s+(\w+(?:\([^()]*\))?)")
_PRODUCT = re.compile(r"\bbeta\s*\*\s*\w+|\b\w+\s*\*\s*beta\b")


def respelled(text: str) -> str:
    """The text in the spelling that the parser reads.

    Examples
    --------
    >>> respelled("f(z) = (1−z)²;"), respelled("2z + |1 - z|^3"), respelled("'log2(1+exp(-z))'")
    ('(1-z)**2', '2*z + abs(1 - z)**3', 'log2(1+exp(-z))')
    """
    text = text.strip().rstrip(";").strip()
    for pair in _QUOTES:
        if len(text) > 1 and text[0] == pair[0] and text[-1] == pair[-1] and text[0] not in text[1:-1]:
            text = text[1:-1].strip()
    text = _NAMED.sub("", text).strip().translate(_SIGNS)
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+", lambda m: "**(" + m.group().translate(_RAISED) + ")", text)
    text = re.sub(r"\*\*\((\d+)\)", r"**\1", text.replace("^", "**"))
    if text.count("|") == 2 and "||" not in text:
        text = re.sub(r"\|(.*)\|", r"abs(\1)", text, flags=re.DOTALL)
    return _with_products(text)


def _with_products(text: str) -> str:
    """A number that stands directly before a name or a bracket multiplies it; 1j and 0x10 stay as they are."""
    tokens = _TOKENS.findall(text)
    spelled = []
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        spelled.append(token)
        name = after[:1].isalpha() and after[:1] not in "jJxXoObB_"
        if _NUMBER.fullmatch(token) and (name or after == "("):
            spelled.append("*")
    return "".join(spelled)


def proposals(text: str, names: set[str]) -> Iterator[str]:
    """Texts that may have been meant by one that cannot be read; the caller tries whether they can.

    Parameters
    ----------
    text : str
        What was typed.
    names : set of str
        The names that the parser knows.

    Examples
    --------
    >>> next(proposals(r"\\log(1+e^{-z})", {"log", "exp", "z"}))
    'log(1+exp(-z))'
    >>> next(proposals("log(1+exp(-x))", {"log", "exp", "z"}))
    'log(1+exp(-z))'
    """
    text = respelled(text)
    if "\\" in text or "{" in text:
        text = _without_latex(text)
        yield text
    if text.startswith("lambda") and ":" in text:
        text = text.partition(":")[2].strip()
        yield text
    missing = text.count("(") - text.count(")")
    if 0 < missing <= 3:
        yield text + ")" * missing
    if missing < 0 and text.endswith(")"):
        yield text[:missing]
    shorter = _PRODUCT.sub("z", text)
    if shorter != text:
        yield shorter
    strangers = [name for name in dict.fromkeys(re.findall(r"[A-Za-z_]\w*", shorter)) if name not in names]
    if len(strangers) == 1 and "z" not in re.findall(r"[A-Za-z_]\w*", shorter):
        yield re.sub(rf"\b{strangers[0]}\b(?!\()", "z", shorter)
    multiplied = re.sub(r"(\)|\bz)\s*(?=\(|z\b)", r"\1*", text)
    if multiplied != text:
        yield multiplied


def _without_latex(text: str) -> str:
    text = text.replace("**{", "^{").replace("**", "^")
    for _ in range(8):  # as deep as groups may be nested
        before = text
        text = _RAISED_GROUP.sub(r"^(\1)", _POWER_OF_E.sub(r"exp(\1)", text))
        text = _FRACTION.sub(r"((\1)/(\2))", text)
        if text == before:
            break
    for pattern, meaning in _LATEX:
        text = pattern.sub(meaning, text)
    text = re.sub(r"\s+", " ", _GROUP.sub(r"(\1)", text)).replace("^", "**").strip()
    return _BARE_ARGUMENT.sub(r"\1(\2)", _BARE_ARGUMENT.sub(r"\1(\2)", text))
