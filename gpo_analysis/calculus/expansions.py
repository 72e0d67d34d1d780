"""Expansions of an expression far out and at a point, and their leading terms.

As s = |z| → ∞ an expression made of exponentials is a power series in x = e^{−cs} with polynomials in s as its
coefficients; one without exponentials is a power series in x = 1/|z| with polynomials in s = log |z|; next to a point p
it is one in x = |z − p|.
Logarithms and powers are expanded about their leading monomial first: log(1 + e^s) = s + log(1 + x). What is left,

    g = Σᵢ Aᵢ(x) sⁱ,    Aᵢ(x) = x^{kᵢ} Cᵢ(x),

behaves like the term of lowest kᵢ, and of these like that of highest i. Expressions that would grow too large while
they are rewritten (:mod:`gpo_analysis.calculus.budget`) are not expanded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, bounds, number, sign_of
from gpo_analysis.calculus.budget import DIGITS, digits, fraction_size, is_small, simplified
from gpo_analysis.calculus.exponentials import exponential_base, exponential_form, with_exponential
from gpo_analysis.calculus.jets import JetFunction, Unsupported, jet_function
from gpo_analysis.calculus.zeros import vanishes

_ORDERS = (4, 12, 30, 60)
#: Multiplications of intervals that the search for a first coefficient may take.
_WORK = 100_000
_TERMS, _DEGREE, _GENERATORS = 1500, 400, 12
_MOST_POWERS = 64
_EXACT_ORDER, _EXACT_NODES = 8, 60
_SUBSTITUTED_NODES = 400


class _Outside(Exception):
    """The expression is not of the form expanded here."""


@dataclass(frozen=True)
class Term:
    """x^{order} s^{power} C(x), with C(x) = A(x)/x^{order} and x^{shift} A(x) = ``function`` analytic at 0."""

    order: int
    power: int
    function: JetFunction
    expression: sympy.Expr
    symbol: sympy.Symbol
    shift: int
    is_zero: bool

    def coefficient(self) -> sympy.Expr | None:
        """C(0): exact where that is quick, else a float of 40 digits; None where it is not known to differ from 0."""
        index = self.order + self.shift
        low, high = bounds(self.function.over(0, 0, index)[index])
        if low <= 0 <= high:
            return None
        middle = (low + high) / 2
        exact = self._exact(index)
        value = number(exact) if exact is not None and exact.is_number else NUMBERS.nan
        if abs(value - middle) <= abs(middle) * NUMBERS.mpf(10) ** -30:
            return exact
        fraction = sympy.Rational(NUMBERS.nstr(middle, 40)).limit_denominator(1000)
        if abs(number(fraction) - middle) <= abs(middle) * NUMBERS.mpf(10) ** -38:
            return fraction
        return sympy.Float(NUMBERS.nstr(middle, 43), 40)

    def _exact(self, index: int) -> sympy.Expr | None:
        if index == 0 and is_small(self.expression, _SUBSTITUTED_NODES, 10 * DIGITS):
            return simplified(self.expression.subs(self.symbol, 0))
        if index > _EXACT_ORDER or not is_small(self.expression, _EXACT_NODES):
            return None
        try:
            return simplified(sympy.sympify(self.function.exactly_at_zero(index)[index]))
        except (ZeroDivisionError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Expansion:
    """Terms, the leading one first; ``rate`` is c of x = e^{−cs}, None where x = 1/|z| (s = log |z|) or |z − p|."""

    terms: tuple[Term, ...]
    rate: sympy.Expr | None


@dataclass(frozen=True)
class Leading:
    """g ~ coefficient · x^{order} s^{power}; coefficient 0 for what vanishes identically."""

    order: int
    power: int
    coefficient: sympy.Expr
    rate: sympy.Expr | None

    def limit(self) -> sympy.Expr:
        """lim g, ±oo allowed."""
        if self.order > 0 or self.coefficient == 0:
            return sympy.S.Zero
        if self.order < 0 or self.power > 0:
            return sympy.oo if number(self.coefficient) > 0 else -sympy.oo
        return self.coefficient


def leading_at_infinity(expression: sympy.Expr, symbol: sympy.Symbol, side: int) -> Leading | None:
    """The leading term for z → side·∞, None where it is not found.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> leading_at_infinity(sympy.log(1 + sympy.exp(z)) - z, z, 1)
    Leading(order=1, power=0, coefficient=1, rate=1)
    """
    return _leading(expansion_at_infinity(expression, symbol, side))


def leading_at(expression: sympy.Expr, symbol: sympy.Symbol, point: sympy.Expr, side: int) -> Leading | None:
    """The leading term in x = \\|z − point\\| from the right (side 1) or the left, None where it is not found.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> leading_at(sympy.sinh(z) / z, z, sympy.S.Zero, 1).limit()
    1
    """
    x = sympy.Dummy("x", positive=True)
    return _leading(_expansion(expression.subs(symbol, point + side * x), x, None, None))


def _leading(found: Expansion | None) -> Leading | None:
    if found is None:
        return None
    for term in found.terms:
        if term.is_zero:
            continue
        coefficient = term.coefficient()
        return None if coefficient is None else Leading(term.order, term.power, coefficient, found.rate)
    return Leading(0, 0, sympy.S.Zero, found.rate)


@lru_cache(maxsize=2048)
def expansion_at_infinity(expression: sympy.Expr, symbol: sympy.Symbol, side: int) -> Expansion | None:
    """The expansion for z → side·∞, None where the expression is not of the form expanded here."""
    s, x = sympy.Dummy("s", positive=True), sympy.Dummy("x", positive=True)
    g = exponential_form(expression).xreplace({symbol: side * s})
    if g.has(sympy.sin, sympy.cos, sympy.tan):
        return None
    base = exponential_base(g, s)
    if base is None:
        return _expansion(g.xreplace({s: 1 / x}), x, sympy.Dummy("s", positive=True), None)
    # half of the base, so that a square root of x is an integer power too
    base = base / 2 if any(p.exp.is_Rational and p.exp.q == 2 for p in g.atoms(sympy.Pow)) else base
    return _expansion(with_exponential(g, s, base, 1 / x), x, s, base)


def _expansion(g: sympy.Expr, x: sympy.Symbol, s: sympy.Symbol | None, rate: sympy.Expr | None) -> Expansion | None:
    try:
        g = _Expander(x, s, rate)(g)
        _require_small(g)
        parts = {0: g} if s is None or not g.has(s) else _powers(g, s)
        terms = [_ordered(c, x, power) for power, c in parts.items()]
    except (_Outside, Unsupported, sympy.PolynomialError):
        return None
    return Expansion(tuple(sorted(terms, key=lambda term: (term.is_zero, term.order, -term.power))), rate)


def _powers(node: sympy.Expr, s: sympy.Symbol) -> dict[int, sympy.Expr]:
    """Coefficients of a polynomial in s, nothing else multiplied out."""
    if not node.has(s):
        return {0: node}
    if node == s:
        return {1: sympy.S.One}
    if isinstance(node, sympy.Add):
        total: dict[int, list[sympy.Expr]] = {}
        for argument in node.args:
            for power, c in _powers(argument, s).items():
                total.setdefault(power, []).append(c)
        return {power: sympy.Add(*parts) for power, parts in total.items()}
    if isinstance(node, sympy.Pow) and node.exp.is_Integer and 0 < node.exp <= _MOST_POWERS:
        factors = [node.base] * int(node.exp)
    elif isinstance(node, sympy.Mul):
        factors = list(node.args)
    else:
        raise _Outside
    product: dict[int, sympy.Expr] = {0: sympy.S.One}
    for factor in factors:
        parts = _powers(factor, s)
        product = {
            power: sympy.Add(*[product[j] * parts[power - j] for j in product if power - j in parts])
            for power in sorted({j + k for j in product for k in parts})
        }
    return product


def _require_small(expression: sympy.Expr) -> None:
    if not fraction_size(expression).within(_TERMS, _DEGREE, _GENERATORS) or digits(expression) > 20 * DIGITS:
        raise _Outside


def _ordered(coefficient: sympy.Expr, x: sympy.Symbol, power: int) -> Term:
    """A term with the order of its first coefficient that is not 0."""
    _require_small(coefficient)
    numerator, denominator = sympy.fraction(sympy.together(coefficient))
    shift = 0
    if denominator.has(x):
        shift = _lowest_power(denominator, x)
        denominator = sympy.expand(denominator / x**shift) if denominator.is_polynomial(x) else denominator / x**shift
    analytic = numerator / denominator
    function = jet_function(analytic, x)
    order = 0
    for order in _ORDERS:
        if function.length * order**2 > _WORK and order > _ORDERS[0]:
            break
        for k, c in enumerate(function.over(0, 0, order)):
            low, high = bounds(c)
            if NUMBERS.isinf(low) or NUMBERS.isinf(high):
                raise _Outside
            if sign_of(c) not in (None, 0):
                return Term(k - shift, power, function, analytic, x, shift, False)
    is_zero = numerator == 0 or vanishes(analytic, x, sympy.S.Zero, sympy.Rational(1, 10))
    return Term(order + 1 - shift, power, function, analytic, x, shift, is_zero)


def _lowest_power(polynomial: sympy.Expr, x: sympy.Symbol) -> int:
    total = 0
    for factor in sympy.Mul.make_args(polynomial):
        root, power = factor.as_base_exp()
        if not root.has(x):
            continue
        if not power.is_Integer:
            continue
        if root.is_polynomial(x):
            total += int(power) * min(monomial[0] for monomial in sympy.Poly(root, x).monoms())
    return total


class _Expander:
    """Rewrite logarithms, powers and arc tangents so that what is left is analytic in x at 0, and polynomial in s."""

    def __init__(self, x: sympy.Symbol, s: sympy.Symbol | None, rate: sympy.Expr | None) -> None:
        self.x, self.s, self.rate = x, s, rate

    def __call__(self, node: sympy.Expr) -> sympy.Expr:
        if not node.has(self.x) and (self.s is None or not node.has(self.s)):
            return node
        if not node.args:
            return node
        arguments = [self(argument) for argument in node.args]
        if isinstance(node, sympy.log):
            order, rest = self._leading(arguments[0])
            return self._log_of_x(order) + sympy.log(rest)
        if isinstance(node, sympy.exp | sympy.erf | sympy.erfc):
            if self._leading(1 + arguments[0])[0] < 0:
                raise _Outside
            return node.func(*arguments)
        if isinstance(node, sympy.Pow) and not (node.exp.is_Integer):
            order, rest = self._leading(arguments[0])
            if not node.exp.is_Rational or (order * node.exp.p) % node.exp.q:
                raise _Outside
            return self.x ** (order * node.exp) * rest**node.exp
        if isinstance(node, sympy.atan):
            order, rest = self._leading(arguments[0])
            if order >= 0:
                return sympy.atan(arguments[0])
            sign = 1 if number(rest.subs(self.x, 0)) > 0 else -1
            return sign * sympy.pi / 2 - sympy.atan(self.x**-order / rest)
        if isinstance(node, sympy.Add | sympy.Mul | sympy.Pow):
            return node.func(*arguments)
        if isinstance(node, sympy.sinh | sympy.cosh | sympy.tanh) and self.s is None:
            if self._leading(1 + arguments[0])[0] < 0:
                raise _Outside
            return node.func(*arguments)
        raise _Outside

    def _log_of_x(self, order: int) -> sympy.Expr:
        if order == 0:
            return sympy.S.Zero
        if self.s is None:
            raise _Outside  # log x is no power series in x
        return -order * (1 if self.rate is None else self.rate) * self.s

    def _leading(self, node: sympy.Expr) -> tuple[int, sympy.Expr]:
        """(m, v) with node = x^m v(x), v analytic and not 0 at 0."""
        if self.s is not None and node.has(self.s):
            raise _Outside
        _require_small(node)
        numerator, denominator = (sympy.expand(part) for part in sympy.fraction(sympy.together(node)))
        order = 0
        for part, sign in ((numerator, 1), (denominator, -1)):
            if not part.is_polynomial(self.x):
                value = number(part.subs(self.x, 0))
                if NUMBERS.isnan(value) or value == 0:
                    raise _Outside
            elif part.has(self.x):
                order += sign * min(monomial[0] for monomial in sympy.Poly(part, self.x).monoms())
        low = _lowest_power(numerator, self.x) if numerator.is_polynomial(self.x) else 0
        rest = sympy.expand(numerator / self.x**low) / sympy.expand(denominator / self.x ** (low - order))
        return order, rest
