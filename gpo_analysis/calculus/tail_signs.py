"""The sign of an expression for all |z| ≥ R, proved from its leading term.

As s = |z| → ∞ an expression made of exponentials is a power series in x = e^{−cs} with polynomials in s as its
coefficients; one without exponentials is a power series in x = 1/s. Logarithms and powers are expanded about their
leading monomial first: log(1 + e^s) = s + log(1 + x). What is left,

    g = Σᵢ Aᵢ(x) sⁱ,    Aᵢ(x) = x^{kᵢ} Cᵢ(x),

has its sign from the term of lowest kᵢ (and of these highest i), once the enclosure of that C over [0, x(R)] outweighs
the enclosures of the others: Taylor's theorem with the remainder in Lagrange's form, in interval arithmetic.
"""

from __future__ import annotations

from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import INTERVALS, NUMBERS, number, sign_of
from gpo_analysis.calculus.exponentials import exponential_base, exponential_form, with_exponential
from gpo_analysis.calculus.jets import JetFunction, Unsupported, jet_function

MAX_ORDER = 60
_ZERO = 1e-35


class _Outside(Exception):
    """The expression is not of the form expanded here."""


def tail_sign(expression: sympy.Expr, symbol: sympy.Symbol, side: int) -> tuple[Any, int] | None:
    """(R, sign) with the expression of that sign for every z ≥ R (side +1) or z ≤ −R (side −1); None if not found.

    Examples
    --------
    >>> import sympy
    >>> z = sympy.Symbol("z", real=True)
    >>> tail_sign(sympy.exp(-z) - z * sympy.exp(-2 * z), z, 1)[1]
    1
    """
    s, x = sympy.Dummy("s", positive=True), sympy.Dummy("x", positive=True)
    try:
        g = exponential_form(expression).subs(symbol, side * s)
        if g.has(sympy.erf, sympy.erfc, sympy.sin, sympy.cos, sympy.tan):
            return None
        base = exponential_base(g, s)
        if base is not None:
            # half of the base, so that a square root of x is an integer power too
            base = base / 2 if any(p.exp.is_Rational and p.exp.q == 2 for p in g.atoms(sympy.Pow)) else base
            g = with_exponential(g, s, base, 1 / x)
            if g.atoms(sympy.exp) and any(e.has(s) or e.has(x) for e in g.atoms(sympy.exp)):
                return None
            g = _Expander(x, s, base)(g)
        else:
            g = _Expander(x, None, None)(g.subs(s, 1 / x))
        parts = [(int(power), c) for (power,), c in sympy.Poly(sympy.expand(g), s).terms()] if g.has(s) else [(0, g)]
        terms = [term for power, c in parts if (term := _ordered(c, x, power)) is not None]
    except (_Outside, Unsupported, sympy.PolynomialError):
        return None
    if not terms:
        return None
    terms.sort(key=lambda term: (term[0], -term[1]))
    rate = number(base) if base is not None else None
    for doubling in range(2, 12):
        reach = NUMBERS.mpf(2) ** doubling
        sign = _sign_beyond(terms, reach, rate)
        if sign is not None:
            return reach, sign
    return None


def _ordered(coefficient: sympy.Expr, x: sympy.Symbol, power: int) -> tuple[int, int, JetFunction, int] | None:
    """(k, i, function, shift): x^{shift} A is analytic with its first non-zero coefficient at k + shift."""
    numerator, denominator = sympy.fraction(sympy.together(coefficient))
    shift = 0
    if denominator.has(x):
        shift = _lowest_power(denominator, x)
        denominator = sympy.expand(denominator / x**shift) if denominator.is_polynomial(x) else denominator / x**shift
    function = jet_function(numerator / denominator, x)
    for order in (4, 12, MAX_ORDER):
        jet = function.over(0, 0, order)
        for k, c in enumerate(jet):
            if not abs(c.mid) < _ZERO or abs(c.delta) > _ZERO:
                if sign_of(c) in (None, 0):
                    raise _Outside
                return k - shift, power, function, shift
    return None if numerator == 0 else (MAX_ORDER + 1 - shift, power, function, shift)


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


def _sign_beyond(terms: list[tuple[int, int, JetFunction, int]], reach: Any, rate: Any) -> int | None:
    """The sign for all s ≥ reach, or None."""
    small = NUMBERS.exp(-rate * reach) if rate is not None else 1 / reach
    k0, i0, _, _ = terms[0]
    total = INTERVALS.mpf(0)
    for k, i, function, shift in terms:
        enclosure = function.over(0, small, k + shift)[k + shift]
        d, e = k - k0, i - i0
        if d == 0 and e == 0:
            factor = INTERVALS.mpf(1)
        elif rate is None:
            return None
        else:
            # x^d s^e = e^{−c d s} s^e falls in s beyond e/(c d)
            if e > 0 and (d == 0 or reach < e / (rate * d)):
                return None
            factor = INTERVALS.mpf([0, reach**e * NUMBERS.exp(-rate * d * reach) * (1 + NUMBERS.mpf(10) ** -30)])
        total = total + enclosure * factor
    sign = sign_of(total)
    return sign if sign else None


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
        raise _Outside

    def _log_of_x(self, order: int) -> sympy.Expr:
        if order == 0:
            return sympy.S.Zero
        if self.s is None or self.rate is None:
            raise _Outside  # log s is no power series in 1/s
        return -order * self.rate * self.s

    def _leading(self, node: sympy.Expr) -> tuple[int, sympy.Expr]:
        """(m, v) with node = x^m v(x), v analytic and not 0 at 0."""
        if self.s is not None and node.has(self.s):
            raise _Outside
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
