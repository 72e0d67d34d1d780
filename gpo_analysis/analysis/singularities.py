"""How far the Taylor series of a loss at zero reaches: its complex singularity nearest to the origin, or a kink.

Candidates are read off the expression: the zeros of what stands under a logarithm, in a denominator, under a root or
in atan's u² + 1. Zeros of polynomials in z or in t = e^{cz} are exact; others (of erfc, say) are found from the Taylor
polynomial of the inner function and polished to 30 digits. A candidate may be no singularity at all ((e^z − 1)/z), so
each is held against the growth of the Taylor coefficients of f itself (Cauchy and Hadamard).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.bounded import bounded
from gpo_analysis.calculus.exponentials import exponential_base, exponential_form, with_exponential
from gpo_analysis.calculus.jets import JetFunction, Unsupported, jet_function
from gpo_analysis.calculus.pieces import Piece
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import pieces

_ORDER = 128
_SECONDS = 3.0


@lru_cache(maxsize=512)
def taylor_radius(loss: MarginLoss) -> sympy.Expr:
    """The largest r such that the Taylor series at 0 equals f on \\|z\\| < r.

    Exact where the nearest singularity has a closed form (π for logistic and Savage, 1 for hinge, ∞ for squared), a
    float of 30 digits otherwise, 0 where 0 itself is a kink; ``nan`` where it could not be worked out.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> taylor_radius(get_loss("logistic")), taylor_radius(get_loss("hinge")), taylor_radius(get_loss("lrml"))
    (pi, 1, pi/20)
    """
    home = piece_at_zero(loss)
    if home is None:
        return sympy.S.Zero
    radius: sympy.Expr = bounded(lambda: convergence_radius(home.expression, loss.symbol), 2 * _SECONDS, sympy.nan)
    if radius is sympy.nan:
        return radius
    for end in (-home.lower, home.upper):
        if number(end) < number(radius):
            radius = end
    return radius


def piece_at_zero(loss: MarginLoss) -> Piece | None:
    """The smooth piece with 0 in its interior; None where 0 is a kink."""
    return next((part for part in pieces(loss) if number(part.lower) < 0 < number(part.upper)), None)


def convergence_radius(expression: sympy.Expr, symbol: sympy.Symbol) -> sympy.Expr:
    """Radius of convergence at 0 of a smooth expression: exact, a float, oo, or nan where nothing was found."""
    if expression.is_polynomial(symbol):
        return sympy.oo
    coefficients = _coefficients(expression, symbol)
    estimate = None if coefficients is None else _root_test(coefficients)
    known = True
    moduli: list[sympy.Expr] = []
    for inner in _suspects(exponential_form(expression), symbol):
        zeros = _zero_moduli(inner, symbol)
        if zeros is None:
            known = False
        else:
            moduli += zeros
    for modulus in sorted(moduli, key=number):
        # a removable singularity leaves the coefficients smaller than it would make them
        near = estimate is None or number(modulus) > 0.85 * estimate
        if coefficients is None or (near and _shows(coefficients, number(modulus))):
            return modulus
    if known:
        return sympy.oo
    return sympy.nan if estimate is None else sympy.Float(NUMBERS.nstr(estimate, 2), 2)


def _suspects(expression: sympy.Expr, symbol: sympy.Symbol) -> list[sympy.Expr]:
    """Functions whose zeros are where a singularity may be."""
    found = []
    for node in sympy.preorder_traversal(expression):
        if symbol not in node.free_symbols:
            continue
        if isinstance(node, sympy.log):
            found.append(node.args[0])
        elif isinstance(node, sympy.Pow) and node.base != sympy.E and not (node.exp.is_Integer and node.exp > 0):
            found.append(node.base)
        elif isinstance(node, sympy.atan | sympy.asinh):
            found.append(node.args[0] ** 2 + 1)
    return list(dict.fromkeys(found))


def _zero_moduli(inner: sympy.Expr, symbol: sympy.Symbol) -> list[sympy.Expr] | None:
    """Moduli of zeros of a function, the nearest ones among them; None where they are not known."""
    if symbol not in inner.free_symbols:
        return []
    base = exponential_base(inner, symbol)
    t = sympy.Dummy("t", positive=True)
    changed = inner if base is None else with_exponential(inner, symbol, base, t)
    numerator = sympy.fraction(sympy.together(changed))[0]
    if base is None and numerator.is_polynomial(symbol):
        return [_modulus(root) for root in _roots(sympy.Poly(numerator, symbol))]
    if base is not None and symbol not in numerator.free_symbols and numerator.is_polynomial(t):
        return _logarithms(sympy.Poly(numerator, t), base)
    return _numeric_zeros(inner, symbol)


def _logarithms(polynomial: sympy.Poly, base: sympy.Expr) -> list[sympy.Expr]:
    """|z| of the nearest z with e^{base·z} a root of the polynomial."""
    terms = polynomial.terms()
    lowest = terms[-1][0][0]
    if len(terms) == 1:
        return []
    if len(terms) == 2:  # a tᵐ + b tᵏ: t^{m−k} = −b/a
        power = terms[0][0][0] - lowest
        target = -terms[1][1] / terms[0][1]
        return [_log_modulus(target, power * base)]
    reduced = sympy.Poly([c for (k,), c in _dense(polynomial) if k >= lowest], *polynomial.gens)
    return [_log_modulus(root, base) for root in _roots(reduced)]


def _dense(polynomial: sympy.Poly) -> list[tuple[tuple[int], sympy.Expr]]:
    degree = polynomial.degree()
    return [((degree - k,), c) for k, c in enumerate(polynomial.all_coeffs())]


def _log_modulus(target: sympy.Expr, rate: sympy.Expr) -> sympy.Expr:
    """|log target| / rate with the principal logarithm: the nearest of its branches."""
    if target.is_real and target.is_negative:
        size = sympy.log(-target)
        return sympy.simplify(sympy.sqrt(size**2 + sympy.pi**2)) / rate if size != 0 else sympy.pi / rate
    if target.is_real:
        return abs(sympy.expand_log(sympy.log(target), force=True)) / rate
    size, angle = sympy.log(sympy.Abs(target)), sympy.arg(target)
    return sympy.sqrt(sympy.simplify(size**2 + angle**2)) / rate


def _modulus(root: sympy.Expr) -> sympy.Expr:
    return sympy.simplify(sympy.Abs(root))


def _roots(polynomial: sympy.Poly) -> list[sympy.Expr]:
    """Complex roots of a polynomial: written out for factors of degree one and two, else to 30 digits."""
    roots: list[sympy.Expr] = []
    for factor, _ in sympy.factor_list(polynomial.as_expr(), *polynomial.gens)[1]:
        part = sympy.Poly(factor, *polynomial.gens)
        if part.degree() in (1, 2):
            roots += list(sympy.roots(part))
        elif part.degree() > 2:
            roots += part.nroots(n=30, maxsteps=200)
    return roots


def _numeric_zeros(inner: sympy.Expr, symbol: sympy.Symbol) -> list[sympy.Expr] | None:
    """Zeros near the origin: roots of the Taylor polynomial, polished by Newton steps on the function itself."""
    try:
        function = jet_function(inner, symbol)
    except Unsupported:
        return None
    coefficients = function.at(0, _ORDER)
    if any(NUMBERS.isnan(c) for c in coefficients):
        return None
    radius = _root_test(coefficients)
    scale = NUMBERS.mpf(8) if radius is None else min(radius / 2, NUMBERS.mpf(8))
    found: list[Any] = []
    for _ in range(6):
        scaled = np.array([complex(c * scale**k) for k, c in enumerate(coefficients)])
        size = abs(scaled).max()
        if not np.isfinite(size) or size == 0:
            scale = scale / 2
            continue
        significant = np.flatnonzero(abs(scaled) > 1e-17 * size)
        roots = np.roots(scaled[: significant[-1] + 1][::-1])
        for root in roots[abs(roots) < 1.2]:
            polished = _polished(function, NUMBERS.mpc(complex(root)) * scale)
            if polished is not None:
                found.append(polished)
        if found:
            break
        scale = scale / 2
    return [sympy.Float(NUMBERS.nstr(abs(root), 32), 30) for root in found]


def _polished(function: JetFunction, start: Any) -> Any:
    x = start
    for _ in range(60):
        value, slope = function.at(x, 1)
        if NUMBERS.isnan(value) or slope == 0:
            return None
        step = value / slope
        x = x - step
        if abs(step) < NUMBERS.mpf(10) ** -38 * (1 + abs(x)):
            return x if abs(x - start) < 0.2 * (1 + abs(start)) else None
    return None


def _coefficients(expression: sympy.Expr, symbol: sympy.Symbol) -> list[Any] | None:
    """128 Taylor coefficients at 0 in 45 digits."""
    try:
        found = jet_function(expression, symbol).at(0, _ORDER)
    except Unsupported:
        return None
    return None if any(NUMBERS.isnan(c) for c in found) else found


def _shows(coefficients: list[Any], radius: Any) -> bool:
    """Whether aₙ rⁿ stays above rounding: what is left of a singularity that cancels is some 1e-45 of the largest."""
    sizes = [abs(c) * radius**k for k, c in enumerate(coefficients)]
    return bool(max(sizes[-16:]) > NUMBERS.mpf(10) ** -30 * max(sizes))


def _root_test(coefficients: list[Any]) -> Any:
    """The slope of the upper envelope of log|aₙ| over the last half; None where it says that there is no limit."""
    windows = [max(abs(c) for c in coefficients[k - 16 : k]) for k in (len(coefficients) // 2, len(coefficients))]
    if windows[1] == 0:
        return None
    places = [
        max(range(k - 16, k), key=lambda n: abs(coefficients[n])) for k in (len(coefficients) // 2, len(coefficients))
    ]
    rate = (NUMBERS.log(windows[1]) - NUMBERS.log(windows[0])) / (places[1] - places[0])
    return NUMBERS.exp(-rate)
