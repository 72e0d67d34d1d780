"""The value of an expression at numbers, in many digits, by one walk over its tree.

sympy's own way (put the numbers in, then evaluate) builds a new expression for every point and asks of each of its
parts whether it is real, positive or finite; that takes ten times as long. Here the tree is walked with numbers of two
precisions. Where the two agree the digits are believed; where they do not (numbers that cancel, a value of 0), or a
function is not known here, the answer is None and sympy is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, numbers

#: Bits in which an expression is evaluated; between the two, what cancels shows.
_BITS = (240, 340)
#: Bits that have to be left of a sum or a logarithm.
_SURE = 170
#: Relative difference of the two with which the first 45 digits are believed.
_AGREE = NUMBERS.mpf(2) ** -165
#: |x| beyond which eˣ is left to sympy.
_LARGE = 1e6

_FAILURES = (ZeroDivisionError, OverflowError, ValueError, TypeError, AttributeError, NotImplementedError)


def quick_value(expression: sympy.Expr, values: Mapping[sympy.Symbol, sympy.Expr]) -> Any:
    """The real or complex value of an expression, or None where it is not settled this way.

    Parameters
    ----------
    expression : sympy.Expr
    values : mapping of sympy.Symbol to sympy.Expr
        An expression each, which may hold other symbols of the mapping.

    Returns
    -------
    mpmath number or None
        To 45 digits and more.

    Examples
    --------
    >>> z, eta = sympy.symbols("z eta", real=True)
    >>> float(quick_value(sympy.exp(-z) * (1 - eta), {z: sympy.log(eta / (1 - eta)), eta: sympy.Rational(1, 4)}))
    2.25
    >>> quick_value(z - z**2 / z**2, {z: sympy.Integer(1)}) is None  # 0: nothing tells it from what rounding leaves
    True
    """
    found = []
    for bits in _BITS:
        try:
            found.append(_Walk(values, bits).of(expression))
        except _FAILURES:
            return None
    first, second = (NUMBERS.mpmathify(value) for value in found)
    if not NUMBERS.isfinite(second) or not abs(first - second) <= _AGREE * abs(second) or second == 0:
        return None
    return second


class _Walk:
    """One evaluation, in so many bits; equal parts are evaluated once."""

    def __init__(self, values: Mapping[sympy.Symbol, sympy.Expr], bits: int) -> None:
        self.context, self.values = numbers(bits), values
        self.known: dict[sympy.Expr, Any] = {}
        self.functions = _functions(self.context)

    def of(self, node: sympy.Expr) -> Any:
        if node not in self.known:
            self.known[node] = self.computed(node)
        return self.known[node]

    def computed(self, node: sympy.Expr) -> Any:
        m = self.context
        if node.is_Rational:
            return m.mpf(int(node.p)) / int(node.q)
        if node.is_Symbol:
            return self.of(self.values[node]) if node in self.values else _refuse(node)
        if node is sympy.pi or node is sympy.E:
            return +m.pi if node is sympy.pi else +m.e
        if node.is_Add:
            terms = [self.of(argument) for argument in node.args]
            return _large_enough(m.fsum(terms), max(map(abs, terms)), m)
        if node.is_Mul:
            return m.fprod([self.of(argument) for argument in node.args])
        if node.is_Pow and node.exp.is_Integer:
            return self.of(node.base) ** int(node.exp)
        if node.is_Pow and node.exp is sympy.S.Half:
            return m.sqrt(self.of(node.base))
        function = self.functions.get(type(node).__name__)
        return _refuse(node) if function is None else function(*[self.of(argument) for argument in node.args])


def _large_enough(value: Any, size: Any, m: Any) -> Any:
    """A number of which :data:`_SURE` bits are left after what numbers of that size have lost; else it is refused.

    Without this a sum that cancels to exactly 0 in both precisions would be believed once something is added to it.
    """
    return value if size == 0 or abs(value) >= m.ldexp(size, _SURE - m.prec) else _refuse(value)


def _refuse(node: sympy.Expr) -> Any:
    raise NotImplementedError(str(node))


def _functions(m: Any) -> dict[str, Callable[..., Any]]:
    def exp(x: Any) -> Any:
        return m.exp(x) if abs(x) < _LARGE else _refuse(x)

    return {
        "exp": exp,
        "log": lambda x: _large_enough(m.log(x), 1, m) if x != 1 else _refuse(x),
        "Pow": lambda x, y: exp(y * m.log(x)) if m.im(x) == 0 and m.re(x) > 0 else m.power(x, y),
        "Abs": abs,
        "sign": lambda x: m.sign(x),
        "LambertW": lambda x, k=0: m.lambertw(x, int(k)),
        "atan": m.atan,
        "tanh": m.tanh,
        "sinh": m.sinh,
        "cosh": m.cosh,
        "tan": m.tan,
    }
