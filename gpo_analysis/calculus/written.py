"""Exact expressions as people read them: what is long is named, piece by piece, or given as a decimal.

Text only: what an analysis holds, and its JSON, stays exact.

- A constant is written out where that is short (``log(2)``, ``1/4``); a long one, or a root of a polynomial that no
  formula has, is a decimal.
- A formula names its long constants and what occurs in it several times: ``log(c/(1 - η)) where c = …``.
- A formula of several pieces says for which values each is meant; one of many lines is left to the JSON.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, number

SHORT = 40  #: Characters up to which a constant is written out.
WIDE = 96  #: Of a formula on one line.
_LONGEST = 300  # of a formula with all it names
_NAMED = 12  # of a constant within a formula
_LARGEST = 150  # operations of a constant that is tidied
_FREE = (sympy.Symbol("eta", real=True), sympy.Symbol("eta"), sympy.Symbol("s", real=True), sympy.Symbol("s"))
_RELATIONS = {">": ">", "<": "<", ">=": "≥", "<=": "≤", "==": "="}


def short_floats(expression: sympy.Basic) -> sympy.Basic:
    """Floats of 40 digits to ten."""
    return expression.xreplace({f: sympy.Float(f, 10) for f in expression.atoms(sympy.Float)})


def plain(expression: sympy.Basic) -> str:
    """As one types it: ``^`` for powers, ∞ for oo; for a loss what the parser reads back.

    Examples
    --------
    >>> plain(sympy.oo)
    '∞'
    >>> plain((1 - sympy.Symbol("z")) ** 2)
    '(1 - z)^2'
    """
    text = re.sub(r"\boo\b", "∞", str(short_floats(expression)))  # not within CRootOf
    return re.sub(r"\beta\b", "η", text.replace("**", "^"))


def constant(expression: sympy.Expr, short: int = SHORT) -> str:
    """A constant as text: exact where that is short, else ten digits of it.

    Parameters
    ----------
    expression : sympy.Expr
        Without symbols.
    short : int
        Characters that the exact text may have.

    Examples
    --------
    >>> x = sympy.Symbol("x")
    >>> constant(sympy.log(2) / 3), constant(sympy.CRootOf(x**5 - x - 1, 0))
    ('log(2)/3', '1.167303978')
    """
    text = plain(expression)
    if expression.is_infinite or expression is sympy.nan or (len(text) <= short and not _is_root(expression)):
        return text
    tidied = tidy(expression)
    text = plain(tidied)
    return text if len(text) <= short and not _is_root(tidied) else digits(expression, 10)


def with_value(expression: sympy.Expr) -> str:
    """A constant with its value: ``log(2) ≈ 0.693147``; of a long one the value, and where the exact form is."""
    if expression is sympy.nan:
        return "not defined"
    text = constant(expression)
    if expression.is_Integer or expression.is_infinite or expression.is_Float:
        return text
    value = digits(expression, 6)
    if _is_decimal(text):
        return f"≈ {value} (exact form: --json)"
    return f"{text} ≈ {value}"


def digits(expression: sympy.Expr, count: int) -> str:
    """A constant to that many digits."""
    return str(NUMBERS.nstr(number(expression), count))


def tidy(expression: sympy.Expr) -> sympy.Expr:
    """The shorter one of a constant and of its quotient with common factors taken out."""
    if sympy.count_ops(expression) > _LARGEST or expression.atoms(sympy.Float) or _is_root(expression):
        return expression
    try:
        other = sympy.cancel(sympy.together(expression))
    except (sympy.PolynomialError, NotImplementedError):
        return expression
    return other if len(str(other)) < len(str(expression)) else expression


def formula(expression: sympy.Basic, wide: int = WIDE) -> str:
    """A formula in symbols as text, one line or several; see this module.

    Parameters
    ----------
    expression : sympy.Basic
    wide : int
        Characters of a line.

    Examples
    --------
    >>> eta = sympy.Symbol("eta")
    >>> print(formula(sympy.Piecewise((sympy.oo, eta > sympy.Rational(1, 2)), (0, True))))
    ∞ for η > 1/2; 0 else
    >>> edge = sympy.exp(8) / (1 + sympy.exp(8))
    >>> print(formula(sympy.Piecewise((8, eta > edge), (sympy.log(eta), True))))
    8 for η > c; log(η) else where c = exp(8)/(1 + exp(8)) ≈ 0.999665
    """
    if not expression.free_symbols:
        return constant(expression) if isinstance(expression, sympy.Expr) else plain(expression)
    if len(plain(expression)) <= wide and not _is_root(expression) and not expression.has(sympy.Piecewise):
        return plain(expression)
    named, shorter = _with_constants_named(short_floats(expression))
    pieces = _pieces(shorter)
    if sum(len(plain(e)) for e, _ in pieces) > wide:
        repeated, pieces = _with_repeats_named(pieces)
        named += repeated
    texts = [plain(e) + (f" for {_condition(c)}" if c not in (True, sympy.true) else "") for e, c in pieces]
    if len(texts) > 1:
        texts[-1] += " else" if pieces[-1][1] in (True, sympy.true) else ""
    joined = "; ".join(texts)
    body = joined if len(joined) <= wide else ";\n".join(texts)
    if len(body) + sum(map(len, named)) > _LONGEST:
        return f"a formula of {len(plain(expression))} characters (--json has it)"
    between = " where " if len(body) + sum(map(len, named)) <= wide else "\nwhere "
    said = body + (between + (",\n      " if between[0] == "\n" else ", ").join(named) if named else "")
    folded = (
        textwrap.wrap(line, wide + 24, break_long_words=False, subsequent_indent="  ") for line in said.split("\n")
    )
    return "\n".join(part for lines in folded for part in lines)


def _is_root(expression: sympy.Basic) -> bool:
    return bool(expression.has(sympy.CRootOf, sympy.RootSum))


def _is_decimal(text: str) -> bool:
    return re.fullmatch(r"-?\d+\.\d+(e[+-]?\d+)?", text) is not None


def _condition(condition: sympy.Basic) -> str:
    if isinstance(condition, sympy.core.relational.Relational):
        one = condition.reversed if condition.rhs in _FREE else condition  # η > c, not c < η
        return f"{plain(one.lhs)} {_RELATIONS.get(one.rel_op, one.rel_op)} {plain(one.rhs)}"
    if isinstance(condition, sympy.And):
        return " and ".join(_condition(part) for part in condition.args)
    if isinstance(condition, sympy.Or):
        return " or ".join(_condition(part) for part in condition.args)
    return plain(condition)


def _pieces(expression: sympy.Basic) -> list[tuple[sympy.Basic, sympy.Basic]]:
    if isinstance(expression, sympy.Piecewise):
        return [(piece.expr, piece.cond) for piece in expression.args]
    return [(expression, sympy.true)]


def _with_constants_named(expression: sympy.Basic) -> tuple[list[str], sympy.Basic]:
    """``c = …`` of every long constant, and the expression in which these names stand for them."""
    found = [one for one in dict.fromkeys(_constants(expression)) if _is_root(one) or len(plain(one)) > _NAMED]
    found += [one for one in expression.atoms(sympy.LambertW) if not one.free_symbols]
    found = list(dict.fromkeys(sorted(found, key=lambda one: -len(str(one)))))
    found = [one for one in found if isinstance(one, sympy.LambertW)] or found
    named, names = [], _names("c", len(found))
    replaced: dict[sympy.Basic, sympy.Basic] = {}
    for one in found:
        symbol = sympy.Symbol(next(names))
        replaced[one] = symbol
        exact = plain(one)
        value = digits(one, 6)
        is_short = len(exact) <= SHORT and not _is_root(one)
        named.append(f"{symbol} = {exact} ≈ {value}" if is_short else f"{symbol} = {value}")
    return named, expression.xreplace(replaced)


def _constants(expression: sympy.Basic) -> Iterator[sympy.Expr]:
    """The largest parts without a symbol."""
    if isinstance(expression, sympy.Expr) and not expression.free_symbols:
        if not expression.is_Rational and not expression.is_infinite:
            yield expression
        return
    for part in expression.args:
        yield from _constants(part)


def _with_repeats_named(
    pieces: list[tuple[sympy.Basic, sympy.Basic]],
) -> tuple[list[str], list[tuple[sympy.Basic, sympy.Basic]]]:
    """What occurs several times gets a name, where that makes the whole shorter."""
    names = (sympy.Symbol(name) for name in _names("u", 2))
    bodies = [body for body, _ in pieces]
    repeats, shorter = sympy.cse(bodies, symbols=names, order="none")
    kept: list[tuple[sympy.Symbol, sympy.Expr]] = []
    for symbol, meaning in reversed(repeats):
        count = sum(part.count(symbol) for part in [*shorter, *(m for _, m in kept)])
        if count < 2 or len(plain(meaning)) < 2 * _NAMED:  # not worth a name
            put = {symbol: meaning}
            shorter = [part.xreplace(put) for part in shorter]
            kept = [(s, m.xreplace(put)) for s, m in kept]
        else:
            kept.append((symbol, meaning))
    if len(kept) > 3:
        return [], pieces
    names_again = _names("u", len(kept))
    again = {symbol: sympy.Symbol(next(names_again)) for symbol, _ in kept}
    named = [f"{again[symbol]} = {plain(meaning.xreplace(again))}" for symbol, meaning in kept]
    return named, [(part.xreplace(again), c) for part, (_, c) in zip(shorter, pieces, strict=True)]


def _names(letter: str, count: int) -> Iterator[str]:
    yield from [letter] if count == 1 else (f"{letter}{k}" for k in range(1, 100))
