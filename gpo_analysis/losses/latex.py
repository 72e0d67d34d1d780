r"""LaTeX as it is copied from a paper, brought to the spelling that the parser reads.

A small grammar of formulas: ``\frac12``, ``\sqrt[3]{z}``, ``e^{-z}``, ``-\log\sigma(z)``, ``\max\{0, 1-z\}``,
``\left[1-z\right]_+^2``, ``\tanh^2(z)``. Neighbours multiply, as they do in print. What print leaves open (``\log 2z``,
``\log(z)^2``, ``z^12``) is refused with the ways to write it.
"""

from __future__ import annotations

import re

from gpo_analysis.losses.words import CONSTANTS, FUNCTIONS, REASONS, Refused

MAX_DEPTH = 40
_SPACING = r"\\[,;:! ]|\\(?:quad|qquad|displaystyle|textstyle|limits|nolimits|[bB]igg?[lrm]?)(?![A-Za-z])|[~\s]+"
_TOKEN = re.compile(
    rf"(?P<space>{_SPACING})|\\[A-Za-z]+\*?|\\.|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|log1p|expm1|log10|log2|"
    r"[A-Za-z]+|.",
    re.DOTALL,
)
_OPEN = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "|": "|", "\\lvert": "\\rvert", "\\lbrack": "\\rbrack"}
_CLOSE = {")", "]", "}", "\\}", "\\rvert", "\\rbrack"}
_BARS = ("|", "\\lvert")
_OPERATORS = {"+": " + ", "-": " - ", "*": "*", "/": "/", "\\cdot": "*", "\\times": "*", "\\div": "/", ",": ", "}
_NAMING = {"\\operatorname", "\\operatorname*", "\\mathrm", "\\text", "\\textrm", "\\mathit", "\\textit", "\\mathsf"}
_COMMANDS = {
    "\\log": "log", "\\ln": "log", "\\lg": "log10", "\\exp": "exp", "\\tanh": "tanh", "\\sinh": "sinh",
    "\\cosh": "cosh", "\\arctan": "atan", "\\max": "max", "\\min": "min", "\\sigma": "sigmoid", "\\Phi": "Phi",
}  # fmt: skip
_LISTS = ("max", "min")
_PRINTED = ("sigmoid", "Phi")  # f(z)^2 is the square of its value; \log(z)^2 is written for both
_GREEK = re.compile(
    r"\\(?:var)?(alpha|beta|gamma|delta|epsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|rho|tau|phi|chi|psi|omega|pi|Delta)"
)
_REASONS = {
    "\\begin": "the branches of cases are written with max, min, abs: max(0, 1 - z)",
    "\\mathbb": "expectations and indicators are not taken: write f(z), the loss of one pair with the margin z = βρ",
    "\\mathcal": "write f(z) alone, the loss of one pair with the margin z = βρ, no objective's name before it",
    "\\sum": "sums are not taken: write f(z), the loss of one pair with the margin z = βρ",
    "\\int": "integrals are not taken",
    "\\prime": "derivatives are not taken",
}


def is_latex(text: str) -> bool:
    r"""Whether a text is to be read as LaTeX: it has a command, a group of a power or an index, or ``(…)_+``.

    Examples
    --------
    >>> is_latex(r"\log z"), is_latex("e^{-z}"), is_latex("(1-z)_+"), is_latex("(1-z)**2")
    (True, True, True, False)
    """
    return "\\" in text or bool(re.search(r"[\^_]\s*\{|[)\]]\s*(?:[\^]\s*\w+\s*)?_\+", text))


def from_latex(text: str) -> str:
    r"""A formula in LaTeX, in the spelling that the parser reads.

    Raises
    ------
    Refused
        Where it is no formula, or can mean two.

    Examples
    --------
    >>> from_latex(r"-\log\sigma(z)"), from_latex(r"\frac{1}{2}(1-z)^2"), from_latex(r"\max\{0, 1-z\}")
    ('-log(sigmoid(z))', '((1)/(2))*(1 - z)**2', 'max(0, 1 - z)')
    """
    text = re.sub(r"\\(?:left|[bB]igg?l)\s*\|", r"\\lvert ", text)
    text = re.sub(r"\\(?:right|[bB]igg?r)\s*\|", r"\\rvert ", text)
    text = re.sub(r"\\(?:left|right|middle)(?![A-Za-z])\s*", "", text).strip()
    for opened, closed in (("\\(", "\\)"), ("\\[", "\\]")):
        if text.startswith(opened) and text.endswith(closed):
            text = text[2:-2]
    reader = _Reader([match.group() for match in _TOKEN.finditer(text) if match.group("space") is None])
    found = reader.formula(None)
    if reader.tokens:
        raise Refused(f"{reader.tokens[-1]!r} stands without its beginning")
    return found


class _Reader:
    """Recursive descent over the tokens; what is left of them stands reversed, so that the next is the last."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens[::-1]
        self.depth = 0

    @property
    def next(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    def formula(self, closer: str | None) -> str:
        """Up to the closing delimiter, which is taken, or up to the end."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Refused("nested too deeply")
        parts: list[str] = []
        operand = divided = False
        while self.tokens and self.next not in _CLOSE:
            if self.next == closer and (closer != "|" or operand):  # a bar after an operand closes
                break
            if self.next in _OPERATORS:
                token = self.tokens.pop()
                parts.append(_OPERATORS[token] if operand or token in "*/," else token)
                operand, divided = False, token in ("/", "\\div")
                continue
            if operand and self.next[0].isdigit():
                raise Refused(f"{self.next} stands behind another factor: write * between them, or one number")
            atom = self.atom()
            if operand and divided:
                raise Refused(f"'/{parts[-1]}{atom}' can mean two things: write (…/{parts[-1]})*{atom} or "
                              f"…/({parts[-1]}*{atom})")  # fmt: skip
            parts += ["*", atom] if operand else [atom]
            operand = True
        if closer is not None:
            if self.next != closer:
                raise Refused(f"{closer!r} is missing")
            self.tokens.pop()
        self.depth -= 1
        if not parts:
            raise Refused("an empty pair of brackets" if closer else "there is no formula")
        return "".join(parts)

    def atom(self, scripts: bool = True) -> str:
        """A number, a symbol, a function with its argument or a bracket, with its power and index."""
        token = self.tokens.pop()
        if token in _OPEN:
            inner = self.formula(_OPEN[token])
            base = f"abs({inner})" if token in _BARS else f"({inner})"
            return self.scripts(base, bracket=token not in _BARS) if scripts else base
        if token in ("\\frac", "\\dfrac", "\\tfrac", "\\cfrac"):
            base = f"(({self.argument()})/({self.argument()}))"
        elif token == "\\sqrt":
            base = self.root()
        elif token in _NAMING or token in _COMMANDS:
            word = self.word() if token in _NAMING else _COMMANDS[token]
            if word in FUNCTIONS:
                return self.function(word, scripts)
            base = word
        elif greek := _GREEK.fullmatch(token):
            base = greek[1]
            if base == "pi" and self.next in ("_", "("):
                raise Refused(REASONS["pi_ref"])
        elif token[0].isdigit() or token[0] == ".":
            base = token if token != "." else self.unknown(token)
        elif token.isalpha() or token in FUNCTIONS:  # log1p and log2 hold a digit
            if token in FUNCTIONS:
                return self.function(token, scripts)
            if 1 < len(token) <= 3 and token not in CONSTANTS:  # letters side by side multiply
                self.tokens += token[:0:-1]
                token = token[0]
            base = token
        else:
            base = self.unknown(token)
        return self.scripts(base) if scripts else base

    def unknown(self, token: str) -> str:
        raise Refused(_REASONS.get(token, f"{token!r} is not allowed"))

    def word(self) -> str:
        """The letters of ``\\operatorname{…}``."""
        if self.next != "{":
            raise Refused("a name in LaTeX stands in braces: \\operatorname{softplus}")
        self.tokens.pop()
        letters = []
        while self.tokens and self.next != "}":
            letters.append(self.tokens.pop())
        if not self.tokens or not re.fullmatch(r"\w+", "".join(letters)):
            raise Refused(f"{''.join(letters)[:40]!r} is no name")
        self.tokens.pop()
        return "".join(letters)

    def root(self) -> str:
        order = ""
        if self.next == "[":
            self.tokens.pop()
            order = self.formula("]")
        inner = self.argument()
        return f"({inner})**(1/({order}))" if order else f"sqrt({inner})"

    def argument(self, power: bool = False) -> str:
        """What a ``\\frac`` or a ``^`` takes: a group, or one symbol."""
        if not self.tokens:
            raise Refused("the formula ends too early")
        if self.next == "{":
            self.tokens.pop()
            return self.formula("}")
        sign = self.tokens.pop() if power and self.next in ("+", "-") and len(self.tokens) > 1 else ""
        if re.fullmatch(r"\d{2,}", self.next):
            if power:
                raise Refused(f"the power {self.next} stands without braces: write ^{{{self.next}}}")
            self.tokens += self.tokens.pop()[::-1]  # \frac12 is 1/2
        if self.next in _OPERATORS or self.next in ("^", "_", "'", "\\prime"):
            self.unknown(self.next)
        found = self.atom(scripts=False)
        return sign + (found[1:-1] if found[0] == "(" and found.count("(") == 1 else found)

    def scripts(self, base: str, bracket: bool = False, call: str = "") -> str:
        """A base with ``^`` and ``_`` after it."""
        power = ""
        while self.next in ("^", "_", "'"):
            script = self.tokens.pop()
            if script == "'":
                self.unknown("\\prime")
            if script == "^":
                if power:
                    raise Refused("a power of a power needs braces")
                power = self.argument(power=True)
                if call and call not in (*_LISTS, *_PRINTED):
                    inner = base.removeprefix(call)
                    raise Refused(f"\\{call}{inner}^{power} can mean ({base})**{power} or {call}({inner}**{power})")
                continue
            if self.next == "+" or self.tokens[-3:] == ["}", "+", "{"]:
                del self.tokens[-1 if self.next == "+" else -3 :]
                if not bracket:
                    raise Refused("the positive part stands after a bracket: (1-z)_+ is max(0, 1 - z)")
                base = f"relu{base}"
            else:
                if not re.fullmatch(r"[A-Za-z_]+", base):
                    raise Refused("an index stands after a letter")
                index = self.word() if self.next == "{" else self.argument()
                if not re.fullmatch(r"\w+", index):
                    raise Refused(f"the index {index[:20]!r} is not taken")
                base = f"{base}_{index}"
        if not power:
            return base
        simple = re.fullmatch(r"\w+", power) is not None
        return f"{base}**{power}" if simple else f"{base}**({power})"

    def function(self, name: str, scripts: bool) -> str:
        """A function with its argument in brackets, or without where that is one symbol and nothing follows."""
        power = ""
        while self.next in ("^", "_"):
            script = self.tokens.pop()
            value = self.argument(power=True)
            if script == "^" and not power and re.fullmatch(r"\d+", value):
                power = value
            elif script == "_" and name == "log" and value in ("2", "10", "e"):
                name = "log" if value == "e" else f"log{value}"
            else:
                raise Refused(f"{name}{script}{value} is not taken")
        if not self.tokens:
            raise Refused(f"{name} is a function: write {name}(…)")
        if self.next in _OPEN and self.next not in _BARS:
            call = f"{name}({self.formula(_OPEN[self.tokens.pop()])})"
            bare = False
        else:
            call, bare = f"{name}({self.bare(name)})", True
        if power:
            return f"({call})**{power}"
        return call if bare or not scripts else self.scripts(call, call=name)

    def bare(self, name: str) -> str:
        """The argument of ``\\log z``."""
        if (
            name in _PRINTED
            or name in _LISTS
            or self.next in _OPERATORS
            or (self.next not in _OPEN and self.next in ")]}")
        ):
            raise Refused(f"{name} is a function: write {name}(…)")
        argument = self.atom(scripts=False)
        ends = ("", "+", "-", ",", *_OPEN.values())
        if self.next not in ends:
            parts = [self.scripts(argument)]
            while self.next not in (*ends, *_OPERATORS):
                parts.append(self.atom())
            wider = "" if len(parts) == 1 else f" or {name}({parts[0]})*{'*'.join(parts[1:])}"
            raise Refused(f"what {name} takes is not clear: put it in brackets, {name}({'*'.join(parts)}){wider}")
        return argument[1:-1] if argument[0] == "(" and argument.count("(") == 1 else argument
