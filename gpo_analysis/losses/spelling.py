r"""Ways in which people write a formula, brought to the one that the parser reads.

Read are: ``^`` and raised digits for powers, Unicode minus, dots, roots, fractions and mathematical letters, Greek
letters by their names (σ is the sigmoid), ``|u|``, a number before a name (2z), ``max{0, 1-z}``, ``nn.ReLU()(u)`` and
LaTeX (:mod:`gpo_analysis.losses.latex`). What could mean several things is not read;
:mod:`gpo_analysis.losses.rewrites` makes the text out of it that was probably meant.
"""

from __future__ import annotations

import re
import unicodedata

from gpo_analysis.losses.latex import from_latex, is_latex
from gpo_analysis.losses.words import FUNCTIONS, Ambiguous, Refused

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("−–‐‑‒—﹣－", "-"), **dict.fromkeys("×·⋅∗•∙⁎\u2062", "*"), **dict.fromkeys("÷∕⁄", "/"),
        **dict.fromkeys("\u200b\u200c\u200d\ufeff\u2060\u2061"), "’": "'",
        "∣": "|", "ℓ": "l",
    }
)  # fmt: skip
_PARTS = {"½": "(1/2)", "¼": "(1/4)", "¾": "(3/4)", "⅓": "(1/3)", "⅔": "(2/3)", "⅛": "(1/8)"}
_PART = re.compile(rf"([{''.join(_PARTS)}])(\s*[\w(√])?")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᶻᵃᵇ⁽⁾ᐟ", "0123456789-+zab()/")
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᶻᵃᵇ⁽⁾ᐟ]+")
_LETTERS = {
    **dict(zip("αγδεζηθικλμνξορςτυφχψω",
               ("alpha", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
                "xi", "omicron", "rho", "sigma_", "tau", "upsilon", "phi", "chi", "psi", "omega"), strict=True)),
    "β": "beta", "σ": "sigmoid", "π": "pi", "Φ": "Phi", "Δ": "Delta", "µ": "mu", "ϵ": "epsilon", "ϕ": "phi", "ϱ": "rho",
}  # fmt: skip
_GREEK = re.compile(f"[{''.join(_LETTERS)}]")
_TOKENS = re.compile(r"[^\W\d]\w*|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|\s+|\*\*|.", re.DOTALL)
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_QUOTES = ('"', "'", "`", "“”", "‘’", "$", "“", "”")
_KEYWORDS = {"if", "else", "and", "or", "not", "in", "is", "for", "lambda", "with", "where"}
_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\v": r"\v", "\t": r"\t", "\r": r"\r", "\n": r"\n"}
_ESCAPED = re.compile(r"[\a\b\f\v]\w|\t(?:anh|au|ext|imes|frac|heta)|\r(?:ho|ight|m\b)|\n(?:u\b|abla|eq)")


def unquoted(text: str) -> str:
    """A text without the quotes, semicolon and full stop around it, and with plain minus signs and dots.

    Raises
    ------
    Refused
        Where a backslash of LaTeX became a control character, with the text to write.

    Examples
    --------
    >>> unquoted("'log(1+exp(−z))';")
    'log(1+exp(-z))'
    """
    if _ESCAPED.search(text):
        raw = "".join(_ESCAPES.get(letter, letter) for letter in text)
        raise Refused(f'a backslash was read as a control character; write it as a raw text, r"{raw}"')
    text = text.strip().rstrip(";.").strip()
    for pair in _QUOTES:
        if len(text) > 1 and text[0] == pair[0] and text[-1] == pair[-1] and text[0] not in text[1:-1]:
            text = text[1:-1].strip()
    text = text.removeprefix("$$").removesuffix("$$")
    mixed = re.search(rf"\d\s*[{''.join(_PARTS)}]", text)
    if mixed:
        raise Ambiguous(f"'{mixed.group()}' can mean a sum or a product: write + or * between")
    text = _PART.sub(lambda m: _PARTS[m[1]] + (f"*{m[2]}" if m[2] else ""), text)
    raised = _RAISED_RUN.sub(lambda m: "**(" + m.group().translate(_RAISED) + ")", text.translate(_SIGNS))
    return unicodedata.normalize("NFKC", raised).translate(_SIGNS).strip().rstrip(";.").strip()


def name_of(text: str) -> str:
    r"""A symbol's name as the parser has it: λ, ``\lambda`` and ``lambda`` are one.

    Examples
    --------
    >>> name_of("τ"), name_of(r"\tau"), name_of("lambda"), name_of("c_1")
    ('tau', 'tau', 'lambda_', 'c_1')
    """
    name = text.strip().removeprefix("\\").replace("{", "").replace("}", "")
    name = _GREEK.sub(lambda m: _LETTERS[m.group()], unicodedata.normalize("NFKC", name))
    return "lambda_" if name == "lambda" else name


def respelled(text: str) -> str:
    r"""The formula in the spelling that the parser reads.

    Raises
    ------
    Refused
        Where it can mean several things.

    Examples
    --------
    >>> respelled("(1−z)²"), respelled("2z + |1 - z|^3"), respelled(r"-\log\sigma(z)")
    ('(1-z)**2', '2*z + abs(1 - z)**3', '-log(sigmoid(z))')
    """
    text = _separated(unquoted(text))
    if is_latex(text):
        text = from_latex(text)
    text = re.sub(r"(\w+)\(\s*\)\s*(?=\()", lambda m: m[1] if m[1].lower() in FUNCTIONS else m[0], text)
    text = re.sub(r"\*\*\((\d+)\)(?!\s*[\w(])", r"**\1", text.replace("^", "**").replace("√(", "sqrt("))
    text = re.sub(r"\blambda\b(?=\s*(?:[-+*/),]|$))", "lambda_", text)
    return _with_products(_without_bars(_with_calls(text)))


def _separated(text: str) -> str:
    """Greek letters by their names, each a symbol of its own: τz is τ times z."""
    text = re.sub(r"(?<=[α-ωϵϕϱµΔ])(?=[^\W\d_])|(?<=[a-zA-Z0-9])(?=[α-ωϵϕϱµΔ])", _between, text)
    return _GREEK.sub(lambda m: _LETTERS[m.group()], text)


def _between(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1]
    after = match.string[match.start()]
    return " " if after == "σ" and before.isalpha() else "" if before == "σ" else "*"


def _with_calls(text: str) -> str:
    """``max{0, 1-z}`` with round brackets."""
    pattern = re.compile(r"\b(\w+)\s*\{([^{}]*)\}")
    return pattern.sub(lambda m: f"{m[1]}({m[2]})" if m[1] in FUNCTIONS else m[0], text)


def _without_bars(text: str) -> str:
    """Bars as abs: one after an operand closes, any other opens; where they do not match, they are left."""
    if "|" not in text or ("||" in text.replace(" ", "") and text.count("|") == 2):
        return text
    spelled, opened, operand = [], 0, False
    for token in _TOKENS.findall(text):
        if token == "|" and operand and opened:
            opened -= 1
            spelled.append(")")
            continue
        if token == "|":
            opened += 1
            spelled.append("*abs(" if operand else "abs(")
            operand = False
            continue
        spelled.append(token)
        if not token.isspace():
            operand = token[0].isalnum() or token[0] in "_.)]"
    return text if opened else "".join(spelled)


def _with_products(text: str) -> str:
    """A number before a name or a bracket multiplies it; 1j and 0x10 stay as they are."""
    tokens = _TOKENS.findall(text)
    spelled: list[str] = []
    for position, token in enumerate(tokens):
        spelled.append(token)
        spaced = position + 1 < len(tokens) and tokens[position + 1].isspace()
        after = tokens[position + 1 + spaced] if position + 1 + spaced < len(tokens) else ""
        name = after[:1].isalpha() and after not in _KEYWORDS and (spaced or after[:1] not in "jJxXoObB_")
        if not (_NUMBER.fullmatch(token) and (name or after == "(")):
            continue
        before = "".join(spelled[:-1]).rstrip()
        sign = "/" if before.endswith("/") else "**" if before.endswith("**") else ""
        if sign:
            start = position + 1 + spaced
            end = _end(tokens, start)
            rest, left = "".join(tokens[start:end]), "".join(tokens[end:])
            raise Ambiguous(
                f"'{sign}{token}{rest}' can mean two things: write {before}{token}*{rest}{left} "
                f"or {before}({token}*{rest}){left}"
            )
        spelled.append("*")
    return "".join(spelled)


def _end(tokens: list[str], start: int) -> int:
    """The end of a name, of a bracket or of a name with a bracket after it, with a power."""
    end, depth = start, 0
    for end in range(start, len(tokens)):
        depth += (tokens[end] == "(") - (tokens[end] == ")")
        follows = tokens[end + 1] if end + 1 < len(tokens) else ""
        goes_on = follows in (".", "**") or tokens[end] in (".", "**") or (follows == "(" and tokens[end] != ")")
        if depth <= 0 and not goes_on:
            break
    return end + 1
