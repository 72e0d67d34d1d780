"""Equations solved, and expressions shortened, by methods whose work is counted before it is begun.

An equation in z is turned into a polynomial in z, or in t = e^{cz}, or (after squaring) in either with one square root;
or its outermost function is inverted; or it is linear in z and e^{cz} (Lambert's W). What comes out are candidates: who
asks holds each against the equation, in 40 digits, before it is believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.budget import fraction_size, is_small
from gpo_analysis.calculus.exponentials import (
    constants_named,
    exponential_base,
    exponential_form,
    is_unwieldy,
    with_exponential,
)
from gpo_analysis.calculus.values import quick_value

MAX_TERMS = 300
MAX_DEGREE = 24
_SIMPLIFIED = 60  # nodes up to which sympy's simplify is asked
_DEEPEST = 4


def is_tractable(expression: sympy.Expr) -> bool:
    """Whether an expression may be brought to one denominator and factored."""
    return fraction_size(expression).within(MAX_TERMS, MAX_DEGREE, 5) and is_small(expression, 400, 200)


def solutions(equation: sympy.Expr, z: sympy.Symbol) -> list[sympy.Expr]:
    """Candidates for the z with equation = 0, in its other symbols.

    Examples
    --------
    >>> z, s = sympy.symbols("z s", real=True)
    >>> solutions(2 * (z - 1) - s, z), solutions(-sympy.exp(-z) - s, z)
    ([s/2 + 1], [log(-1/s)])
    """
    found = _solved(exponential_form(equation), z, _DEEPEST)
    return list(dict.fromkeys(sympy.expand(root) if root.is_polynomial() else root for root in found))


def _solved(equation: sympy.Expr, z: sympy.Symbol, depth: int) -> list[sympy.Expr]:
    if z not in equation.free_symbols or depth == 0 or not is_small(equation, 400, 200):
        return []
    if not fraction_size(equation).within(MAX_TERMS, MAX_DEGREE, 5):
        return []
    base = exponential_base(equation, z)
    t = sympy.Dummy("t", positive=True)
    changed = equation if base is None else with_exponential(equation, z, base, t)
    unknown = z if base is None else t
    if base is not None and z in changed.free_symbols:
        return _lambert(changed, z, t, base) + _inverted(equation, z, depth)
    roots = _by_polynomial(changed, unknown)
    if roots is None:
        return _inverted(equation, z, depth)
    if base is None:
        return roots + (_inverted(equation, z, depth) if not roots else [])
    return [sympy.log(root) / base if not root.is_Pow else root.exp * sympy.log(root.base) / base for root in roots]


def _by_polynomial(equation: sympy.Expr, x: sympy.Symbol) -> list[sympy.Expr] | None:
    """Roots in x of an equation that is rational in x and at most one square root; None where it is not."""
    names = constants_named(equation)
    found = _rational_roots(equation.xreplace(names), x)
    back = {name: e for e, name in names.items() if name.is_Symbol}
    return None if found is None else [root.xreplace(back) for root in found]


def _rational_roots(equation: sympy.Expr, x: sympy.Symbol) -> list[sympy.Expr] | None:
    radicals = {p.base for p in equation.atoms(sympy.Pow) if p.exp.is_Rational and p.exp.q == 2 and x in p.free_symbols}
    if len(radicals) > 1:
        return None
    w = sympy.Dummy("w", nonnegative=True)
    for inner in radicals:
        equation = equation.replace(
            lambda node: node.is_Pow and node.base == inner and node.exp.is_Rational and node.exp.q == 2,  # noqa: B023
            lambda node: w ** (2 * node.exp),
        )
    if not fraction_size(equation).within(MAX_TERMS, MAX_DEGREE, 5):
        return None
    numerator = sympy.fraction(sympy.together(equation))[0]
    if not numerator.is_polynomial(x, w):
        return None
    for inner in radicals:
        top, bottom = sympy.fraction(sympy.together(inner))
        if not (top.is_polynomial(x) and bottom.is_polynomial(x)):
            return None
        if sympy.Poly(numerator, w).degree() > 4 or sympy.Poly(numerator, x).degree() > 4:
            return None
        numerator = sympy.resultant(numerator, bottom * w**2 - top, w)
    return _roots(numerator, x)


def _roots(numerator: sympy.Expr, x: sympy.Symbol) -> list[sympy.Expr]:
    """Roots of the factors that have degree one or two in a power of x."""
    roots: list[sympy.Expr] = []
    y = sympy.Dummy("y")
    for factor, _ in sympy.factor_list(numerator, x)[1]:
        terms = sympy.Poly(factor, x).terms()
        power = sympy.igcd(0, *[k for (k,), _ in terms])
        if power == 0:
            continue
        reduced = sympy.Poly({(k // power,): c for (k,), c in terms}, y)
        if reduced.degree() == 1:
            inner = [as_fraction(-terms[1][1] / terms[0][1]) if len(terms) == 2 else sympy.S.Zero]
        elif reduced.degree() == 2:
            a, b, c = reduced.all_coeffs()
            spread = _square_root(b**2 - 4 * a * c)
            inner = [sympy.factor_terms((sign * spread - b) / (2 * a)) for sign in (1, -1)]
        else:
            continue
        for root in inner:
            roots += _extracted(root, power, x)
    return roots


def _extracted(value: sympy.Expr, power: int, x: sympy.Symbol) -> list[sympy.Expr]:
    """The real x with x^power = value; for x = e^{cz} the positive one."""
    if power == 1:
        return [value]
    if x.is_positive:
        return [sympy.Pow(value, sympy.Rational(1, power))]
    if power % 2:
        return [sympy.sign(value) * sympy.Abs(value) ** sympy.Rational(1, power)]
    root = value ** sympy.Rational(1, power)
    return [root, -root]


def _square_root(expression: sympy.Expr) -> sympy.Expr:
    """√ of a product with s taken out of √(s²), of whatever sign: both signs of the whole are tried."""
    constant, factors = sympy.factor_list(expression)
    outside, inside = sympy.sqrt(abs(constant)), sympy.sign(constant)
    for factor, power in factors:
        outside *= factor ** (power // 2)
        inside *= factor ** (power % 2)
    return outside * sympy.sqrt(inside)


def as_fraction(expression: sympy.Expr) -> sympy.Expr:
    """n/d with d > 0 half-way, as people write it: η/(1 − η), not −η/(η − 1)."""
    numerator, denominator = sympy.fraction(sympy.factor(sympy.together(expression)))
    middle = {symbol: sympy.Rational(5, 8) for symbol in denominator.free_symbols}
    if number(denominator.subs(middle)) < 0:
        numerator, denominator = -numerator, -denominator
    return sympy.expand(numerator) / sympy.expand(denominator)


def _inverted(equation: sympy.Expr, z: sympy.Symbol, depth: int) -> list[sympy.Expr]:
    """k F(u) + c = 0 as u = F⁻¹(−c/k), for a function F that rises."""
    constant, rest = equation.as_independent(z, as_Add=True)
    factor, function = rest.as_independent(z, as_Add=False)
    level = as_fraction(-constant / factor) if is_tractable(constant / factor) else -constant / factor
    if isinstance(function, sympy.log):
        inverse = sympy.exp(level)
    elif isinstance(function, sympy.exp):
        inverse = sympy.log(level)
    elif isinstance(function, sympy.atan):
        inverse = sympy.tan(level)
    elif isinstance(function, sympy.Pow) and function.exp.is_Rational and function.exp.p == 1:
        inverse = level**function.exp.q
    elif isinstance(function, sympy.Pow) and function.exp.is_Integer and function.exp % 2:
        inverse = sympy.sign(level) * sympy.Abs(level) ** (1 / function.exp)
    else:
        return []
    return _solved(function.args[0] - inverse, z, depth - 1)


def _lambert(changed: sympy.Expr, z: sympy.Symbol, t: sympy.Symbol, base: sympy.Expr) -> list[sympy.Expr]:
    """a t + b z + d = 0 with t = e^{cz}: z = −d/b − W((ac/b) e^{−cd/b})/c, on either real branch."""
    numerator = sympy.expand(sympy.fraction(sympy.together(changed))[0])
    for e in (1, -1):
        form = sympy.expand(numerator.subs(t, 1 / t) * t) if e < 0 else numerator
        if not form.is_polynomial(t, z):
            continue
        polynomial = sympy.Poly(form, t, z)
        if polynomial.total_degree() != 1:
            continue
        a, b, d = (polynomial.coeff_monomial(m) for m in (t, z, sympy.S.One))
        c = e * base
        if a == 0 or b == 0:
            continue
        argument = a * c / b * sympy.exp(-c * d / b)
        return [-d / b - sympy.LambertW(argument, k) / c for k in (0, -1)]
    return []


# ---- held against numbers -------------------------------------------------------------------------------------------


def value_of(expression: sympy.Expr, values: dict[sympy.Symbol, sympy.Expr]) -> Any:
    """An expression at exact values of its symbols, as a real in 45 digits; NaN where it is not real or not finite.

    A value may hold other symbols, whose values come after it.
    """
    quick = quick_value(expression, values)
    try:
        if quick is None:
            for symbol, value in values.items():
                expression = expression.subs(symbol, value)
            real, imaginary = sympy.N(expression, 50).as_real_imag()
            parts = [NUMBERS.mpf(str(part)) for part in (real, imaginary)]
        else:
            parts = [NUMBERS.re(quick), NUMBERS.im(quick)]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, AttributeError):
        return NUMBERS.nan
    if NUMBERS.isnan(parts[0]) or abs(parts[1]) > NUMBERS.mpf(10) ** -30 * (1 + abs(parts[0])):
        return NUMBERS.nan
    return parts[0]


def agree(a: sympy.Expr, b: sympy.Expr, symbol: sympy.Symbol, points: Sequence[sympy.Expr]) -> bool:
    """Whether two expressions have the same values, to 25 digits, at all of these points."""
    for point in points:
        left, right = value_of(a, {symbol: point}), value_of(b, {symbol: point})
        if not abs(left - right) <= NUMBERS.mpf(10) ** -25 * (NUMBERS.mpf(10) ** -3 + abs(right)):
            return False
    return True


# ---- shorter --------------------------------------------------------------------------------------------------------


def length(form: sympy.Expr) -> tuple[int, str]:
    """By which of two forms the shorter one is told."""
    return int(sympy.count_ops(form)), str(form)


def short_forms(
    expression: sympy.Expr, sample: dict[sympy.Symbol, float], identities: dict[sympy.Expr, sympy.Expr]
) -> list[sympy.Expr]:
    """Ways to write an expression: logarithms taken apart and collected, simplified, factored, multiplied out.

    ``sample`` is a point at which every logarithm's argument is positive, which decides how signs are drawn out;
    ``identities`` (p + q = 1) are applied inside the logarithms and to the result.
    """
    if is_unwieldy(expression) and expression.has(sympy.log, sympy.exp):
        return [expression]  # logarithms and exponentials would become powers that fit nowhere
    if any(abs(number(e.args[0])) > MAX_DEGREE for e in expression.atoms(sympy.exp) if e.is_number):
        return [expression]  # and e^1000 the thousandth power of e
    if not is_tractable(expression) or any(not is_tractable(u.args[0]) for u in expression.atoms(sympy.log)):
        return [expression]

    def apart(inner: sympy.Expr) -> sympy.Expr:
        reduced = sympy.factor(sympy.together(sympy.powsimp(inner))).subs(identities)
        return _log_apart(reduced, sample)

    split = sympy.expand(expression.replace(sympy.log, apart))
    gathered = sympy.collect(split, sorted(split.atoms(sympy.log), key=str), sympy.factor).subs(identities)
    forms = [split.subs(identities), gathered]
    if not expression.has(sympy.log):
        simple = sympy.simplify(expression) if is_small(expression, _SIMPLIFIED) else sympy.together(expression)
        simple = simple.subs(identities)
        rooted = simple.replace(_is_root, lambda node: _root_apart(node, sample))
        if rooted != simple:
            forms += [rooted, sympy.expand(rooted), sympy.cancel(sympy.together(rooted))]
        forms += [simple, sympy.factor(sympy.expand(simple)), sympy.expand(simple)]
    return forms


def _is_root(node: sympy.Expr) -> bool:
    return bool(node.is_Pow and node.exp.is_Rational and node.exp.q == 2 and node.free_symbols)


def _root_apart(node: sympy.Pow, sample: dict[sympy.Symbol, float]) -> sympy.Expr:
    """√(n/d) as √n/√d with d > 0 at the sample, squares taken out."""
    top, bottom = sympy.fraction(sympy.factor(sympy.together(node.base)))
    if number(bottom.subs({symbol: sympy.Rational(value) for symbol, value in sample.items()})) < 0:
        top, bottom = -top, -bottom
    return (_square_root(top) / _square_root(bottom)) ** (2 * node.exp)


def _log_apart(inner: sympy.Expr, sample: dict[sympy.Symbol, float]) -> sympy.Expr:
    """log of a product as a sum of logarithms of factors that are positive at the sample."""
    point = {symbol: sympy.Rational(value) for symbol, value in sample.items()}
    total, constant = sympy.S.Zero, sympy.S.One
    for factor in sympy.Mul.make_args(inner):
        base, power = factor.as_base_exp()
        if not power.is_number or factor.is_number or not factor.free_symbols:
            constant = constant * factor
            continue
        if number(base.subs(point)) < 0:
            base, constant = sympy.expand(-base), constant * sympy.S.NegativeOne**power
        if power.is_Integer:
            total += power * sympy.log(base)
        else:
            total += power * _log_apart(sympy.factor(sympy.together(base)), sample)
    return total + sympy.expand_log(sympy.log(constant), force=True)
