"""Where a smooth expression on the real line is positive, zero or negative: decided, not sampled.

Three ways, in this order:

1. *Algebra.* The expression is factored. A factor that is a polynomial in z, or in t = e^{cz} > 0, has its real roots
   isolated exactly (linear and quadratic ones written out, others as sympy's ``CRootOf``); factors such as e^u,
   cosh u, erfc u are positive; tanh u, atan u, log(1+u) have the sign of u.
2. *Intervals.* Everywhere else the line is covered by boxes on which an enclosure of the value excludes zero, or one of
   the derivative makes the expression monotone (Moore 1966; Tucker 2011). Zeros are then known to 40 digits.
3. *Tails.* Beyond a finite R the expression is expanded in x = e^{−c|z|} (or 1/|z|) and its leading coefficient is
   enclosed for all |z| ≥ R, so that the boxes have only [−R, R] to cover.

What none of them settles within a given number of operations is answered by None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.budget import digits, fraction_size
from gpo_analysis.calculus.exponentials import (
    MAX_POWER,
    exact_numbers,
    exponential_base,
    exponential_form,
    is_unwieldy,
    with_exponential,
)
from gpo_analysis.calculus.jets import JetFunction, Unsupported, jet_function
from gpo_analysis.calculus.multiple_zeros import isolate_all
from gpo_analysis.calculus.tail_signs import tail_sign
from gpo_analysis.calculus.units import unit_of
from gpo_analysis.calculus.zeros import vanishes

#: Up to which an expression is brought to one denominator and factored: (generators, terms, degree).
_FACTORED = ((1, 20_000, 150), (2, 1000, 120), (3, 300, 40))
_MAX_DIGITS = 400
MAX_POLYNOMIAL_DEGREE = 150
_FACTORED_ONCE = 8
_DIGITS = 40
#: Of points 64, 128, … at which the sign far out is looked for where it has no proof.
_FAR_POINTS = 28
_POSITIVE = (sympy.exp, sympy.cosh, sympy.erfc)
_ODD = (sympy.sinh, sympy.tanh, sympy.atan, sympy.erf, sympy.asinh)


@dataclass(frozen=True)
class Signs:
    """Signs of an expression between its zeros.

    Attributes
    ----------
    zeros : tuple of sympy.Expr
        Where it vanishes (or has a pole) strictly inside the range asked for, ascending.
    signs : tuple of int
        +1, −1 or 0 (identically zero) on each of the ``len(zeros) + 1`` open intervals between them.
    exact : bool
        Whether the zeros are closed forms; otherwise they are floats of 40 digits, each isolated.
    proved : bool
        Whether every step was exact or enclosed. False where the sign far out was only sampled.
    method : str
        "constant", "algebra", "intervals", or several, for whoever writes out the proof.
    """

    zeros: tuple[sympy.Expr, ...]
    signs: tuple[int, ...]
    exact: bool = True
    proved: bool = True
    method: str = "algebra"


def sort_numbers(numbers: Sequence[sympy.Expr]) -> list[sympy.Expr]:
    """Ascending, equal ones once."""
    ordered: list[tuple[Any, sympy.Expr]] = []
    for value, exact in sorted(((number(x), x) for x in numbers), key=lambda pair: pair[0]):
        if not ordered or abs(value - ordered[-1][0]) > NUMBERS.mpf(10) ** -35 * (1 + abs(value)):
            ordered.append((value, exact))
    return [exact for _, exact in ordered]


def signs_on(
    expression: sympy.Expr,
    symbol: sympy.Symbol,
    lower: sympy.Expr = -sympy.oo,
    upper: sympy.Expr = sympy.oo,
) -> Signs | None:
    """Signs of a smooth expression on the open interval (lower, upper); None where they cannot be decided.

    Examples
    --------
    >>> import sympy
    >>> z = sympy.Symbol("z", real=True)
    >>> signs_on(4 * sympy.exp(-2 * z) - 2 * sympy.exp(z), z)
    Signs(zeros=(log(2)/3,), signs=(1, -1), exact=True, proved=True, method='algebra')
    """
    g = exact_numbers(sympy.sympify(expression))
    unit = unit_of(g, symbol)
    if unit == 1:
        return _signs(g, symbol, lower, upper)
    found = _signs(g.subs(symbol, unit * symbol), symbol, lower / unit, upper / unit)
    return None if found is None else replace(found, zeros=tuple(unit * zero for zero in found.zeros))


@lru_cache(maxsize=4096)
def _signs(g: sympy.Expr, z: sympy.Symbol, lower: sympy.Expr, upper: sympy.Expr) -> Signs | None:
    if z not in g.free_symbols:
        return _constant_sign(g)
    found = _algebraic(g, z, lower, upper)
    return found if found is not None else _by_intervals(g, z, lower, upper)


def _constant_sign(g: sympy.Expr) -> Signs | None:
    value = number(g, 60)
    if NUMBERS.isnan(value):
        return None
    if abs(value) < NUMBERS.mpf(10) ** -45:
        if vanishes(g, sympy.Dummy()):
            return Signs((), (0,), method="constant")
        value = number(g, 400)
    return Signs((), (1 if value > 0 else -1,), method="constant") if value != 0 else None


def _algebraic(g: sympy.Expr, z: sympy.Symbol, lower: sympy.Expr, upper: sympy.Expr) -> Signs | None:
    """Signs of every factor, multiplied."""
    g = exponential_form(g)
    shift = _common_shift(g, z)
    if shift != 0:
        found = _algebraic(g.subs(z, z + shift), z, lower - shift, upper - shift)
        return None if found is None else replace(found, zeros=tuple(shift + zero for zero in found.zeros))
    base = exponential_base(g, z)
    t = sympy.Dummy("t", positive=True)
    if base is not None:
        g = with_exponential(g, z, base, t)
    # other exponentials are each one unknown: sympy would take e^{(z−1)²} apart into powers of e^z and e^{z²}, and e^40
    # as a power of e
    named = _named(g, z)
    g, names = g.xreplace(named), {name: e for e, name in named.items() if name.is_Symbol}
    size = fraction_size(g)
    if digits(g) > _MAX_DIGITS or not any(size.within(terms, degree, many) for many, terms, degree in _FACTORED):
        return None
    factored = sympy.factor(sympy.together(g)).xreplace(names)
    result = Signs((), (1,), method="constant")
    for factor in sympy.Mul.make_args(factored):
        root, power = factor.as_base_exp()
        if power.free_symbols & {z, t}:
            root, power = factor, sympy.S.One
        part = _factor_signs(root, z, t, base, lower, upper)
        if part is None:
            return None
        powered = _raised(part, power)
        if powered is None:
            return None
        result = _product(result, powered)
    return result


def _common_shift(g: sympy.Expr, z: sympy.Symbol) -> sympy.Expr:
    """b with every e^{az + c} of the form e^{a(z − b)}, 0 where there is no such b."""
    shift = sympy.S.Zero
    for node in g.atoms(sympy.exp):
        exponent = node.args[0]
        rate = exponent.diff(z)
        if rate == 0 or z in rate.free_symbols:
            continue
        own = -exponent.subs(z, 0) / rate
        if own == 0 or (shift != 0 and own != shift) or not own.is_Rational:
            return sympy.S.Zero
        shift = own
    return shift


def _named(g: sympy.Expr, z: sympy.Symbol) -> dict[sympy.Expr, sympy.Expr]:
    """An unknown for each e^u, a power of it for e^{ku} with a whole number k; u may be a constant."""
    found: dict[sympy.Expr, sympy.Expr] = {}
    known: list[tuple[sympy.Expr, sympy.Symbol]] = []
    point = sympy.Rational(37, 100)
    for e in sorted(g.atoms(sympy.exp), key=lambda e: (abs(number(e.args[0].subs(z, point))), str(e))):
        for u, name in known:
            ratio = sympy.cancel(e.args[0] / u) if fraction_size(e.args[0] / u).within(40, 20) else sympy.S.Half
            if ratio.is_Integer and abs(ratio) <= MAX_POWER:
                found[e] = name**ratio
                break
        else:
            known.append((e.args[0], sympy.Dummy("e", positive=True)))
            found[e] = known[-1][1]
    return found


def _factor_signs(
    root: sympy.Expr, z: sympy.Symbol, t: sympy.Symbol, base: sympy.Expr | None, lower: sympy.Expr, upper: sympy.Expr
) -> Signs | None:
    free = root.free_symbols & {z, t}
    if not free:
        return _constant_sign(root)
    if root == t:
        return Signs((), (1,))
    if free == {t} and root.is_polynomial(t):
        return _polynomial_signs(root, t, base, lower, upper)
    if free == {z} and root.is_polynomial(z):
        return _polynomial_signs(root, z, None, lower, upper)
    original = root.subs(t, sympy.exp(base * z)) if base is not None else root
    if isinstance(original, _POSITIVE):
        return Signs((), (1,))
    if isinstance(original, _ODD):
        return _signs(original.args[0], z, lower, upper)
    if isinstance(original, sympy.log):
        return _signs(original.args[0] - 1, z, lower, upper)
    peeled = _peeled(original, z)
    if peeled is not None:
        inner, direction = peeled
        found = _signs(inner, z, lower, upper)
        return None if found is None else replace(found, signs=tuple(direction * sign for sign in found.signs))
    return _by_intervals(original, z, lower, upper)


def _peeled(g: sympy.Expr, z: sympy.Symbol) -> tuple[sympy.Expr, int] | None:
    """k F(u) + c, with F rising, has the sign of k (u − F⁻¹(−c/k)): (that difference, sign of k), or None."""
    constant, rest = g.as_independent(z, as_Add=True)
    factor, function = rest.as_independent(z, as_Add=False)
    level = -constant / factor
    height = number(level)
    if isinstance(function, sympy.log):
        inverse = sympy.exp(level)
    elif isinstance(function, sympy.exp) and height > 0:
        inverse = sympy.log(level)
    elif isinstance(function, sympy.Pow) and function.exp == sympy.S.Half and height > 0:
        inverse = level**2
    elif isinstance(function, sympy.atan) and abs(height) < number(sympy.pi) / 2:
        inverse = sympy.tan(level)
    else:
        return None
    return function.args[0] - inverse, 1 if number(factor) > 0 else -1


def _polynomial_signs(
    g: sympy.Expr, x: sympy.Symbol, base: sympy.Expr | None, lower: sympy.Expr, upper: sympy.Expr
) -> Signs | None:
    """Real roots of a polynomial in z (base None) or in t = e^{base·z} > 0, and the signs between them."""
    polynomial = sympy.Poly(g, x)
    if polynomial.degree() > MAX_POLYNOMIAL_DEGREE:
        return None
    roots = _real_roots(polynomial)
    if roots is None:
        return None
    inside = []
    low, high = number(lower), number(upper)
    for root in roots:
        if base is not None:
            if number(root, 60) <= 0:
                continue
            root = sympy.expand_log(sympy.log(root), force=True) / base
        if low < number(root, 60) < high:
            inside.append(root)
    zeros = tuple(sort_numbers(inside))
    signs = []
    for sample in _samples(zeros, low, high):
        point = NUMBERS.exp(number(base) * sample) if base is not None else sample
        value = sum(
            (number(c, 60) * point ** int(power) for (power,), c in polynomial.terms()),
            NUMBERS.mpf(0),
        )
        signs.append(1 if value > 0 else -1)
    return Signs(zeros, tuple(signs))


def _real_roots(polynomial: sympy.Poly) -> list[sympy.Expr] | None:
    if polynomial.degree() > _FACTORED_ONCE and not all(c.is_Rational for c in polynomial.all_coeffs()):
        return None  # it is a factor already; with e, e^{1/20} … as coefficients another attempt has no bound
    whole = polynomial.as_expr()
    # e^{p/q} as a coefficient is a power of e^{1/q} to sympy, of as many terms as p says
    factors = [(whole, 1)] if is_unwieldy(whole) else sympy.factor_list(whole, *polynomial.gens)[1]
    roots: list[sympy.Expr] = []
    for factor, _ in factors:
        part = sympy.Poly(factor, *polynomial.gens)
        coefficients = part.all_coeffs()
        if part.degree() == 0:
            continue
        if part.degree() == 1:
            roots.append(-coefficients[1] / coefficients[0])
        elif part.degree() == 2:
            a, b, c = coefficients
            discriminant = number(sympy.expand(b**2 - 4 * a * c), 60)
            if abs(discriminant) < NUMBERS.mpf(10) ** -40:
                roots.append(-b / (2 * a))
            elif discriminant > 0:
                spread = sympy.sqrt(b**2 - 4 * a * c)
                roots += [(-b - spread) / (2 * a), (-b + spread) / (2 * a)]
        elif all(c.is_Rational for c in coefficients):
            roots += sympy.real_roots(part)
        else:
            return None
    return roots


def _samples(zeros: Sequence[sympy.Expr], low: Any, high: Any) -> list[Any]:
    """One point inside each of the intervals between the zeros."""
    ends = [low, *[number(x, 60) for x in zeros], high]
    points = []
    for left, right in pairwise(ends):
        if NUMBERS.isinf(left) and NUMBERS.isinf(right):
            points.append(NUMBERS.mpf(0))
        elif NUMBERS.isinf(left):
            points.append(right - 1)
        elif NUMBERS.isinf(right):
            points.append(left + 1)
        else:
            points.append((left + right) / 2)
    return points


def _raised(part: Signs, power: sympy.Expr) -> Signs | None:
    if power.is_Integer:
        signs = part.signs if int(power) % 2 else tuple(s * s for s in part.signs)
        return Signs(part.zeros, signs, part.exact, part.proved, part.method)
    if any(s < 0 for s in part.signs):
        return None  # a fractional power of a negative number is not real
    return part


def _product(a: Signs, b: Signs) -> Signs:
    zeros = sort_numbers([*a.zeros, *b.zeros])
    values = [number(x) for x in zeros]
    signs = []
    for k in range(len(zeros) + 1):
        sign = 1
        for part in (a, b):
            # the interval of `part` that holds the k-th interval of the refinement
            passed = sum(1 for x in part.zeros if k > 0 and number(x) <= values[k - 1] + abs(values[k - 1]) * 1e-30)
            sign *= part.signs[passed]
        signs.append(sign)
    methods = [m for m in dict.fromkeys((*a.method.split(" and "), *b.method.split(" and "))) if m != "constant"]
    return Signs(
        tuple(zeros), tuple(signs), a.exact and b.exact, a.proved and b.proved, " and ".join(methods) or "constant"
    )


def _by_intervals(g: sympy.Expr, z: sympy.Symbol, lower: sympy.Expr, upper: sympy.Expr) -> Signs | None:
    """Boxes on a compact interval, leading terms beyond it."""
    try:
        function = jet_function(g, z)
    except Unsupported:
        return None
    low, high, proved = number(lower), number(upper), True
    edge_signs: list[int | None] = [None, None]
    for k, (end, side) in enumerate(((low, -1), (high, 1))):
        if not NUMBERS.isinf(end):
            continue
        tail = tail_sign(g, z, side)
        if tail is None:
            tail = _sampled_tail(function, side)
            proved = False
        if tail is None:
            return None
        reach, edge_signs[k] = tail
        if side < 0:
            low = -reach if NUMBERS.isinf(high) or -reach < high else high - 1
        else:
            high = reach if reach > low else low + 1
    isolated = isolate_all(g, z, function, low, high)
    if isolated is None:
        return None
    zeros, signs = isolated
    if edge_signs[0] not in (None, signs[0]) or edge_signs[1] not in (None, signs[-1]):
        return None
    if zeros and zeros[-1] == number(upper):
        zeros, signs = zeros[:-1], signs[:-1]
    found = tuple(_recognised(g, z, x) for x in zeros)
    return Signs(found, tuple(signs), all(x.is_Rational for x in found), proved, "intervals")


def _recognised(g: sympy.Expr, z: sympy.Symbol, x: Any) -> sympy.Expr:
    """A zero as the small fraction that it is (and g vanishes at it), else as a float."""
    fraction = sympy.Rational(NUMBERS.nstr(x, _DIGITS)).limit_denominator(1000) if x != 0 else sympy.S.Zero
    if abs(number(fraction) - x) < NUMBERS.mpf(10) ** -36 and g.subs(z, fraction) == 0:
        return fraction
    return sympy.Float(NUMBERS.nstr(x, _DIGITS + 3), _DIGITS)


def _sampled_tail(function: JetFunction, side: int) -> tuple[Any, int] | None:
    """The sign far out as points show it, from where at least a dozen in a row agree: no proof."""
    start, last = NUMBERS.mpf(64), 0
    for k in range(_FAR_POINTS):
        reach = NUMBERS.mpf(64) * 2**k
        value = function.at(side * reach)[0]
        if NUMBERS.isnan(value) or value == 0:
            return None
        sign = 1 if value > 0 else -1
        if sign != last:
            start, last = reach, sign
        elif reach >= start * 2**11:
            return start, sign
    return None
