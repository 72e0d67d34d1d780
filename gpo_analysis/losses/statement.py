r"""What stands around a formula: ``f(z) = …`` or ``lambda x: …`` before it, the values of its parameters after it.

``c*exp(-z) with c=2``, ``f(x) = c*exp(-x), c=1/2``, ``squared: f(z) = (z - 1)**2`` (as a loss prints itself).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import sympy

from gpo_analysis.losses.spelling import name_of, unquoted
from gpo_analysis.losses.words import Refused

_SYMBOL = r"(?:\\[A-Za-z]+|[^\W\d_])\w*(?:_\{\w+\})?"
_VARIABLES = rf"(?P<variables>{_SYMBOL}(?:\s*,\s*{_SYMBOL})*)"
_HEAD = r"(?:\\(?:mathcal|mathrm|mathit|text)\{\w+\}|\\?[^\W\d_]\w*)(?:_\{[^{}=]*\}|_\w+)?'?"
_PRINTED = re.compile(r"(?P<name>.*): (?P<call>f\(z\)|F\(a, b\)) = (?P<body>[^=]+)", re.DOTALL)
_FORMS = (
    re.compile(rf"(?:lambda\s+|λ\s+){_VARIABLES}\s*:\s*(?P<body>.+)", re.DOTALL),
    re.compile(rf"def\s+\w+\s*\(\s*{_VARIABLES}\s*\)\s*:\s*return\s+(?P<body>.+)", re.DOTALL),
    re.compile(rf"{_VARIABLES}\s*(?:↦|->|=>|\\mapsto(?![a-z]))\s*(?P<body>.+)", re.DOTALL),
    re.compile(rf"{_HEAD}\s*\(\s*{_VARIABLES}\s*\)\s*(?::=|=)(?!=)\s*(?P<body>.+)", re.DOTALL),
)
_ASSIGNED = re.compile(r"(?![zab]\s*=)[^\W\d]\w*\s*(?::=|=)(?![=>])\s*(?P<body>.+)", re.DOTALL)
_GIVEN = rf"{_SYMBOL}\s*=\s*[^=,;]+"
_CLAUSE = re.compile(rf"(?:with|where|for|given)?\s*(?P<given>{_GIVEN}(?:(?:[,;]|\band\b)\s*{_GIVEN})*)")
_LATEX_SPACE = re.compile(r"^(?:\\q?quad|\\[,; ]|\s)+")
_TEXT = re.compile(r"\\(?:text|textrm|mathrm)\{\s*(with|where|for|given|and)\s*\}")
_SEPARATOR = re.compile(r"\s(?=(?:with|where|for|given)\s)|[,;]|[()\[\]{}]")


@dataclass(frozen=True)
class Statement:
    """A formula and what was said beside it.

    Attributes
    ----------
    name : str
        That of a loss as it prints itself; else empty.
    body : str
        The formula.
    variables : tuple of str
        As a definition names them; empty where there is none.
    given : dict of str to str
        The parameters' values, as they are written.
    """

    name: str
    body: str
    variables: tuple[str, ...]
    given: dict[str, str]


def read_statement(text: str, parameters: Mapping[str, Any]) -> Statement:
    """A text taken apart.

    Parameters
    ----------
    text : str
    parameters : mapping of str to object
        Values beside the text: numbers, or texts such as "1/3".

    Raises
    ------
    Refused
        For a parameter with two values, or one whose value is no number.

    Examples
    --------
    >>> read_statement("f(x) = c*exp(-x) with c=2", {})
    Statement(name='', body='c*exp(-x)', variables=('x',), given={'c': '2'})
    """
    body, given = split_parameters(_TEXT.sub(r" \1 ", unquoted(text)))
    for key, value in parameters.items():
        if name_of(key) in given:
            raise Refused(f"the parameter {key} has two values, one in the text and {value!r} beside it")
        given[name_of(key)] = written(key, value)
    printed = _PRINTED.fullmatch(body)
    if printed:
        variables: tuple[str, ...] = ("z",) if printed["call"] == "f(z)" else ("a", "b")
        return Statement(printed["name"], printed["body"], variables, given)
    assigned = _ASSIGNED.fullmatch(body)
    body = assigned["body"] if assigned else body
    for form in _FORMS:
        found = form.fullmatch(body)
        if found:
            variables = tuple(name_of(one) for one in found["variables"].split(","))
            return Statement("", found["body"].strip(), variables, given)
    return Statement("", body, (), given)


def split_parameters(text: str) -> tuple[str, dict[str, str]]:
    """A text and the values that stand after it, ``with c=2``, ``, c=2``, by the parameters' names.

    Examples
    --------
    >>> split_parameters("c*exp(-k*z) with c=2, k=1/3")
    ('c*exp(-k*z)', {'c': '2', 'k': '1/3'})
    >>> split_parameters("max(0, 1-z)")
    ('max(0, 1-z)', {})
    """
    depth = 0
    for separator in _SEPARATOR.finditer(text):
        mark = separator.group()
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
        elif depth == 0:
            clause = _CLAUSE.fullmatch(_LATEX_SPACE.sub("", text[separator.end() :].strip()))
            if clause:
                return text[: separator.start()].strip(), _assignments(clause["given"])
    return text, {}


def _assignments(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in re.split(r"[,;]|\band\b", text):
        name, _, value = part.partition("=")
        if name_of(name) in found:
            raise Refused(f"the parameter {name.strip()} has two values")
        found[name_of(name)] = value.strip()
    return found


def written(name: str, value: Any) -> str:
    """A parameter's value as a text that is read exactly.

    Examples
    --------
    >>> written("c", 0.1), written("c", "1/3"), written("c", 2)
    ('0.1', '1/3', '2')
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        raise Refused(f"the parameter {name} is {value!r}; accepted is a finite number, or a text such as '1/3'")
    if isinstance(value, sympy.Rational | Integral):
        return str(value)
    if isinstance(value, Real):
        text = repr(float(str(value))) if type(value).__module__ == "numpy" else repr(float(value))
        if text not in ("nan", "inf", "-inf"):
            return text
    raise Refused(f"the parameter {name} is {value!r}; accepted is a finite number, or a text such as '1/3'")
