"""How much work computer algebra is asked for, counted before it is begun.

Nothing in this package looks at a clock: what is answered depends on the question alone. An operation of sympy whose
time has no bound of its own is begun only on expressions that are small by the counts below, and what is too large is
answered in another way (numerically, on jets) or said to be undecided.
"""

from __future__ import annotations

import sympy

#: Nodes of an expression up to which sympy's ``simplify`` is asked.
SIMPLIFY_NODES = 40
#: The same for ``expand`` and other rewriting whose result is not much larger than what it is given.
EXPAND_NODES = 400
#: Decimal digits of all numbers in an expression, together, up to which it is rewritten.
DIGITS = 60


def nodes(expression: sympy.Expr) -> int:
    """Nodes of the expression tree: 1 for a symbol or a number.

    Examples
    --------
    >>> z = sympy.Symbol("z")
    >>> nodes(sympy.log(1 + sympy.exp(-z)))
    6
    """
    return sum(1 for _ in sympy.preorder_traversal(expression))


def digits(expression: sympy.Expr) -> int:
    """Decimal digits of the rational numbers in an expression beyond the first of each, together."""
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

    Sums with logarithms are multiplied out only: sympy's simplify would gather 10⁵ log 2 into log 2^(10⁵).

    Examples
    --------
    >>> simplified(sympy.exp(1) / (1 + sympy.exp(1)) + 1 / (1 + sympy.exp(1)))
    1
    """
    if expression.is_Number or expression is sympy.nan:
        return expression
    if expression.has(sympy.log):
        return sympy.expand(expression) if is_small(expression, EXPAND_NODES) else expression
    return sympy.simplify(expression) if is_small(expression, SIMPLIFY_NODES) else expression
