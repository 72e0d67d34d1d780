"""How much work computer algebra is asked for, counted before it is begun.

Nothing in this package looks at a clock: what is answered depends on the question alone. An operation of sympy whose
time has no bound of its own is begun only on expressions that are small by the counts below, and what is too large is
answered in another way (numerically, on jets) or said to be undecided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import sympy

#: Nodes of an expression up to which sympy's ``simplify`` is asked.
SIMPLIFY_NODES = 40
#: The same for ``expand`` and other rewriting whose result is not much larger than what it is given.
EXPAND_NODES = 400
#: Decimal digits of all numbers in an expression, together, up to which it is rewritten.
DIGITS = 60
#: Terms, and degree, beyond which counting stops: "too many" is all that is asked.
_MANY = 10**6


_NOT_SIMPLIFIED = (sympy.sinh, sympy.cosh, sympy.tanh, sympy.sin, sympy.cos, sympy.tan)


_MOST_UNLIKE = 2  # exponentials, roots and the like


def nodes(expression: sympy.Expr) -> int:
    """Nodes of the expression tree: 1 for a symbol or a number.

    Examples
    --------
    >>> z = sympy.Symbol("z")
    >>> nodes(sympy.log(1 + sympy.exp(-z)))
    7
    """
    return sum(1 for _ in sympy.preorder_traversal(expression))


def digits(expression: sympy.Expr) -> int:
    """Decimal digits of the rational numbers in an expression, numerators and denominators together."""
    return sum((abs(int(x.p)).bit_length() + int(x.q).bit_length()) * 3 // 10 for x in expression.atoms(sympy.Rational))


def is_small(expression: sympy.Expr, most_nodes: int, most_digits: int = DIGITS) -> bool:
    """Whether an expression has at most so many nodes, and so many digits in its numbers.

    Examples
    --------
    >>> z = sympy.Symbol("z")
    >>> is_small(sympy.sqrt(1 + z), 10), is_small(z + sympy.Integer(10) ** 100, 10)
    (True, False)
    """
    return nodes(expression) <= most_nodes and digits(expression) <= most_digits


def simplified(expression: sympy.Expr) -> sympy.Expr:
    """A constant in a shorter form where sympy is sure to be quick about it, else as it is.

    Sums with logarithms are multiplied out only: sympy's simplify would gather 10⁵ log 2 into log 2^(10⁵). So are those
    with hyperbolic functions or more than two other irrational numbers, of which it factors polynomials in as many
    unknowns, without a bound on its work.

    Examples
    --------
    >>> simplified(sympy.exp(1) / (1 + sympy.exp(1)) + 1 / (1 + sympy.exp(1)))
    1
    """
    if expression.is_Number or expression is sympy.nan:
        return expression
    unlike = {node for node in expression.atoms(sympy.Function, sympy.Pow) if not (node.is_Pow and node.exp.is_Integer)}
    if len(unlike) > _MOST_UNLIKE or expression.has(sympy.log, *_NOT_SIMPLIFIED):
        return (
            min(sympy.expand(expression), expression, key=nodes) if is_small(expression, EXPAND_NODES) else expression
        )
    return sympy.simplify(expression) if is_small(expression, SIMPLIFY_NODES) else expression


@dataclass(frozen=True)
class Size:
    """How large a fraction gets when it is brought to one denominator and multiplied out: upper bounds.

    Attributes
    ----------
    terms : int
        Terms of the larger of numerator and denominator, at most 10⁶ (which stands for "that or more").
    degree : int
        Their total degree in the generators.
    generators : int
        Symbols and functions that are no numbers, powers and sums of others: z, e^z, log(1 + e^z) …
    """

    terms: int
    degree: int
    generators: int

    def within(self, terms: int, degree: int, generators: int = 3) -> bool:
        """Whether none of the three counts is above these."""
        return self.terms <= terms and self.degree <= degree and self.generators <= generators


@dataclass(frozen=True)
class _Fraction:
    """Counts of a numerator, and the factors of a denominator with their powers."""

    terms: int
    degree: int
    below: dict[sympy.Expr, int]


def fraction_size(expression: sympy.Expr) -> Size:
    """Size of an expression over one denominator, from its tree alone.

    Examples
    --------
    >>> z = sympy.Symbol("z")
    >>> fraction_size((1 + z) ** 3 + 1 / (1 + z**2) ** 2)
    Size(terms=13, degree=7, generators=1)
    """
    generators: set[sympy.Expr] = set()
    whole = _fraction(expression, generators)
    terms, degree = _denominator(whole.below, generators)
    return Size(max(whole.terms, terms), max(whole.degree, degree), len(generators))


def _fraction(node: sympy.Expr, generators: set[sympy.Expr]) -> _Fraction:
    if not node.free_symbols:
        return _Fraction(1, 0, {})
    if isinstance(node, sympy.Mul):
        parts = [_fraction(argument, generators) for argument in node.args]
        below: dict[sympy.Expr, int] = {}
        for part in parts:
            for factor, power in part.below.items():
                below[factor] = below.get(factor, 0) + power
        return _Fraction(
            min(math.prod(part.terms for part in parts), _MANY), min(sum(part.degree for part in parts), _MANY), below
        )
    if isinstance(node, sympy.Add):
        return _sum_size([_fraction(argument, generators) for argument in node.args], generators)
    if isinstance(node, sympy.Pow) and node.exp.is_Integer:
        base = _fraction(node.base, generators)
        if node.exp.is_negative:
            terms, degree = _power_size(*_denominator(base.below, generators), -int(node.exp))
            return _Fraction(terms, degree, {node.base: -int(node.exp)})
        terms, degree = _power_size(base.terms, base.degree, int(node.exp))
        return _Fraction(terms, degree, {factor: power * int(node.exp) for factor, power in base.below.items()})
    generators.add(node)
    return _Fraction(1, 1, {})


def _sum_size(parts: list[_Fraction], generators: set[sympy.Expr]) -> _Fraction:
    below: dict[sympy.Expr, int] = {}
    for part in parts:
        for factor, power in part.below.items():
            below[factor] = max(below.get(factor, 0), power)
    terms, degree = 0, 0
    for part in parts:
        missing = {factor: power - part.below.get(factor, 0) for factor, power in below.items()}
        more, higher = _denominator(missing, generators)
        terms, degree = min(terms + part.terms * more, _MANY), min(max(degree, part.degree + higher), _MANY)
    return _Fraction(terms, degree, below)


def _denominator(below: dict[sympy.Expr, int], generators: set[sympy.Expr]) -> tuple[int, int]:
    """Terms and degree of a product of powers of factors (each without its own denominator)."""
    terms, degree = 1, 0
    for factor, power in below.items():
        if power > 0:
            inner = _fraction(factor, generators)
            more, higher = _power_size(inner.terms, inner.degree, power)
            terms, degree = min(terms * more, _MANY), min(degree + higher, _MANY)
    return terms, degree


def _power_size(terms: int, degree: int, power: int) -> tuple[int, int]:
    power = min(power, _MANY)
    if terms <= 1 or power == 0:
        return 1, min(degree * power, _MANY)
    if power > 1000 or terms > 1000:
        return _MANY, min(degree * power, _MANY)
    return min(math.comb(terms + power - 1, power), _MANY), min(degree * power, _MANY)
