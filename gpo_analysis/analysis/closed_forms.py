"""Closed forms of what a loss is minimised to: the link z*(η), the Bayes risk, the conjugate.

On each smooth piece the stationarity condition is turned into a polynomial in z or in t = e^{cz} where that is
possible, and solved; elsewhere sympy's ``solve`` gets a second. A candidate is returned only if it agrees with the
numerical minimiser to nine digits wherever it was tried: a closed form that holds on a part of the range only is not
passed off as the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from gpo_analysis.analysis.margin import optimal_margin, risk_at
from gpo_analysis.analysis.minimise import is_affine
from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.calculus.bounded import bounded
from gpo_analysis.calculus.exponentials import exponential_base, exponential_form, is_unwieldy, with_exponential
from gpo_analysis.calculus.pieces import Piece
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import pieces, tails

ETA = sympy.Symbol("eta", real=True)
"""η, the probability that the first response is preferred."""

_SECONDS = 1.5
_TRIED = np.array([0.51, 0.55, 0.62, 0.7, 0.78, 0.85, 0.9123, 0.96, 0.99, 0.9991])
_HALF = sympy.Rational(1, 2)


@lru_cache(maxsize=512)
def closed_link(loss: MarginLoss) -> sympy.Expr | None:
    """z*(η) for η in (0, 1) in the symbol :data:`ETA`, or None.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> closed_link(get_loss("logistic")), closed_link(get_loss("ipo")), closed_link(get_loss("slic"))
    (log(eta/(1 - eta)), 2*eta - 1, sign(2*eta - 1))
    """
    truth = optimal_margin(loss, _TRIED)
    mirrored = optimal_margin(loss, 1 - _TRIED)
    if not np.allclose(truth, -mirrored, rtol=1e-9, atol=1e-12):
        return None
    if not np.any(np.isfinite(truth)):
        if not np.all(truth == truth[0]):
            return None
        end = sympy.oo if truth[0] > 0 else -sympy.oo
        at_half = sympy.oo if np.isinf(float(optimal_margin(loss, 0.5))) else sympy.S.Zero
        return sympy.Piecewise((end, ETA > _HALF), (at_half, sympy.Eq(ETA, _HALF)), (-end, True))
    finite = np.isfinite(truth)
    for candidate in _link_candidates(loss):
        if not _agrees(candidate, ETA, _TRIED[finite], truth[finite]):
            continue
        whole = _on_both_sides(candidate, 1 - _TRIED[finite], mirrored[finite])
        return whole if finite.all() else _with_ends(loss, whole, truth)
    return None


def _link_candidates(loss: MarginLoss) -> list[sympy.Expr]:
    """Solutions of η f′(z) = (1 − η) f′(−z) on every pair of pieces, then the kinks."""
    z, found = loss.symbol, []
    for part in pieces(loss):
        for mirror in pieces(loss):
            low, high = max(number(part.lower), -number(mirror.upper)), min(number(part.upper), -number(mirror.lower))
            if not max(low, 0) < high:
                continue
            reflected = mirror.expression.diff(z).subs(z, -z)
            found += _solutions(ETA * part.expression.diff(z) - (1 - ETA) * reflected, z, ETA)
    places = {abs(part.lower) for part in pieces(loss)[1:]}
    return list(dict.fromkeys([sympy.S.Zero, *found, *sorted(places, key=number)]))


def _solutions(equation: sympy.Expr, z: sympy.Symbol, parameter: sympy.Symbol) -> list[sympy.Expr]:
    """Expressions for z, not yet checked, that may solve equation = 0."""
    if z not in equation.free_symbols:
        return []
    found = bounded(lambda: _by_polynomial(equation, z), _SECONDS, None)
    if found is not None:
        return found
    if equation.has(sympy.erf, sympy.erfc) or sympy.count_ops(equation) > 60 or is_unwieldy(equation):
        return []
    solved: list[sympy.Expr] = bounded(lambda: list(sympy.solve(equation, z)), _SECONDS, [])
    return [x for x in solved if x.free_symbols <= {parameter}]


def _by_polynomial(equation: sympy.Expr, z: sympy.Symbol) -> list[sympy.Expr] | None:
    """Roots of factors of degree one or two, or with two terms, in z or in t = e^{cz}; None where it is neither."""
    equation = exponential_form(equation)
    base = exponential_base(equation, z)
    t = sympy.Dummy("t", positive=True)
    changed = equation if base is None else with_exponential(equation, z, base, t)
    unknown = z if base is None else t
    numerator = sympy.fraction(sympy.together(changed))[0]
    if (base is not None and z in numerator.free_symbols) or not numerator.is_polynomial(unknown):
        return None
    roots: list[sympy.Expr] = []
    for factor, _ in sympy.factor_list(numerator, unknown)[1]:
        polynomial = sympy.Poly(factor, unknown)
        terms = polynomial.terms()
        if len(terms) == 2 and terms[1][0][0] == 0:  # a xⁿ + b
            power, ratio = terms[0][0][0], _fraction(-terms[1][1] / terms[0][1])
            if base is not None:
                roots.append(sympy.log(ratio) / (power * base))
            elif power % 2:
                roots.append(sympy.sign(ratio) * sympy.Abs(ratio) ** sympy.Rational(1, power) if power > 1 else ratio)
            else:
                roots += [ratio ** sympy.Rational(1, power), -(ratio ** sympy.Rational(1, power))]
        elif polynomial.degree() == 2:
            solutions = [sympy.simplify(root) for root in sympy.roots(polynomial)]
            roots += solutions if base is None else [sympy.log(root) / base for root in solutions]
    return [sympy.expand(root) if root.is_polynomial() else root for root in roots]


def _fraction(expression: sympy.Expr) -> sympy.Expr:
    """n/d with d > 0 half-way, as people write it: η/(1 − η), not −η/(η − 1)."""
    numerator, denominator = sympy.fraction(sympy.factor(sympy.together(expression)))
    middle = {symbol: sympy.Rational(5, 8) for symbol in denominator.free_symbols}
    if number(denominator.subs(middle)) < 0:
        numerator, denominator = -numerator, -denominator
    return sympy.expand(numerator) / sympy.expand(denominator)


def _agrees(
    expression: sympy.Expr, symbol: sympy.Symbol, points: NDArray[np.float64], truth: NDArray[np.float64]
) -> bool:
    """The expression has these values at these points, to nine digits."""
    for point, wanted in zip(points, truth, strict=True):
        try:
            value = complex(sympy.N(expression.subs(symbol, sympy.Rational(float(point))), 20))
        except (TypeError, ValueError):
            return False
        if not abs(value - wanted) <= 1e-9 * (1e-3 + abs(wanted)):
            return False
    return True


def _on_both_sides(candidate: sympy.Expr, points: NDArray[np.float64], truth: NDArray[np.float64]) -> sympy.Expr:
    """A form found for η > ½, extended to η < ½ by z*(1 − η) = −z*(η)."""
    if _agrees(candidate, ETA, points, truth):
        return candidate
    if ETA not in candidate.free_symbols:
        return candidate * sympy.sign(2 * ETA - 1)
    flipped = -candidate.subs(ETA, 1 - ETA)
    return sympy.Piecewise((candidate, ETA > _HALF), (flipped, ETA < _HALF), (0, True))


def _with_ends(loss: MarginLoss, inner: sympy.Expr, truth: NDArray[np.float64]) -> sympy.Expr | None:
    """Where the slope at infinity changes its sign, the margin goes to ±∞: η f′(∞) = (1 − η) f′(−∞)."""
    both = tails(loss)
    left, right = both.left.slope, both.right.slope
    if not (left.is_finite and right.is_finite) or left + right == 0:
        return None
    edge = sympy.simplify(left / (left + right))
    expected = np.where(float(edge) <= _TRIED, np.inf, 0.0)
    if not np.array_equal(np.isinf(truth), np.isinf(expected)):
        return None
    return sympy.Piecewise((sympy.oo, sympy.Ge(ETA, edge)), (-sympy.oo, sympy.Le(ETA, 1 - edge)), (inner, True))


@lru_cache(maxsize=512)
def closed_bayes_risk(loss: MarginLoss) -> sympy.Expr | None:
    """H(η) for η in (0, 1) in the symbol :data:`ETA`, or None.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> closed_bayes_risk(get_loss("savage"))
    -eta**2 + eta
    """
    link = closed_link(loss)
    points = np.concatenate([_TRIED, 1 - _TRIED])
    z = optimal_margin(loss, points)
    truth = risk_at(loss, points, 1 - points, z)
    if link is None or not np.all(np.isfinite(truth)):
        return None
    if np.all(np.isinf(z)):
        both = tails(loss)
        low, high = sorted((both.left.limit, both.right.limit), key=number)
        form: sympy.Expr = sympy.expand(sympy.Min(ETA, 1 - ETA) * (high - low) + low)
        return form if _agrees(form, ETA, points, truth) else None
    if isinstance(link, sympy.Piecewise) and not np.all(np.isfinite(z)):
        return None
    return bounded(lambda: _risk_form(loss, link, points, truth), 2 * _SECONDS, None)


def _risk_form(
    loss: MarginLoss, link: sympy.Expr, points: NDArray[np.float64], truth: NDArray[np.float64]
) -> sympy.Expr | None:
    """η f(z*) + (1 − η) f(−z*) on the pieces that hold ±z* for η > ½, in the shortest form that agrees."""
    z = loss.symbol
    upper = link.args[0][0] if isinstance(link, sympy.Piecewise) else link.subs(sympy.sign(2 * ETA - 1), 1)
    at = number(upper.subs(ETA, sympy.Rational(7, 10)))
    f, mirrored = (exponential_form(_piece_around(loss, x).expression) for x in (at, -at))
    # with η and 1 − η as two positive symbols, powers of η/(1 − η) come apart
    p, q = sympy.symbols("p q", positive=True)
    split = upper.subs(1 - ETA, q).subs(ETA, p)
    plain = p * f.subs(z, split) + q * mirrored.subs(z, -split)
    forms = [form.subs({p: ETA, q: 1 - ETA}) for form in short_forms(plain, {p: 0.625, q: 0.375}, {p + q: sympy.S.One})]
    forms.append(plain.subs({p: ETA, q: 1 - ETA}))
    forms += short_forms(forms[-1], {ETA: 0.625}, {})
    forms.sort(key=_length)
    half = _TRIED.size
    for form in forms:
        if _agrees(form, ETA, points, truth):
            return form
    for form in forms:
        if _agrees(form, ETA, points[:half], truth[:half]):
            return sympy.Piecewise((form, ETA >= _HALF), (sympy.expand(form.subs(ETA, 1 - ETA)), True))
    return None


def _piece_around(loss: MarginLoss, x: Any) -> Piece:
    return next(part for part in pieces(loss) if number(part.lower) <= x <= number(part.upper))


def _length(form: sympy.Expr) -> tuple[int, str]:
    return int(sympy.count_ops(form)), str(form)


def short_forms(
    expression: sympy.Expr, sample: dict[sympy.Symbol, float], identities: dict[sympy.Expr, sympy.Expr]
) -> list[sympy.Expr]:
    """Ways to write an expression: logarithms taken apart and collected, simplified, factored, multiplied out.

    ``sample`` is a point at which every logarithm's argument is positive, which decides how signs are drawn out;
    ``identities`` (p + q = 1) are applied inside the logarithms and to the result.
    """

    def apart(inner: sympy.Expr) -> sympy.Expr:
        reduced = sympy.factor(sympy.together(sympy.powsimp(inner))).subs(identities)
        return _log_apart(reduced, sample)

    split = sympy.expand(expression.replace(sympy.log, apart))
    gathered = sympy.collect(split, sorted(split.atoms(sympy.log), key=str), sympy.factor).subs(identities)
    forms = [split.subs(identities), gathered]
    if not expression.has(sympy.log):
        simple = sympy.simplify(expression).subs(identities)
        forms += [simple, sympy.factor(sympy.expand(simple)), sympy.expand(simple)]
    return forms


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


# ---- the conjugate -------------------------------------------------------------------------------------------------

SLOPE = sympy.Symbol("s", real=True)
"""s, the argument of the conjugate f*(s) = sup_z (s z − f(z)): a slope."""


def conjugate_on_pieces(
    loss: MarginLoss, numeric: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> sympy.Expr | None:
    """f* of a convex loss as one expression or a Piecewise over the slopes, or None where no closed form was found.

    Each smooth piece covers the slopes that it takes, each kink the slopes between those of its two sides.
    """
    z = loss.symbol
    parts = pieces(loss)
    branches: list[tuple[sympy.Expr, sympy.Expr, sympy.Expr]] = []
    for k, part in enumerate(parts):
        low, high = _end_slopes(loss, part)
        if sympy.nan in (low, high):
            return None
        if k > 0:
            before = _end_slopes(loss, parts[k - 1])[1]
            if number(before) < number(low):
                corner = SLOPE * part.lower - sympy.simplify(part.expression.subs(z, part.lower))
                branches.append((before, low, corner))
        if is_affine(part, z) or not number(low) < number(high):
            continue
        form = _conjugate_of(part, z, low, high, numeric)
        if form is None:
            return None
        branches.append((low, high, form))
    return _joined(branches)


def _end_slopes(loss: MarginLoss, part: Piece) -> tuple[sympy.Expr, sympy.Expr]:
    from gpo_analysis.calculus.limits import value_at

    slope = part.expression.diff(loss.symbol)
    both = tails(loss)
    low = both.left.slope if part.lower == -sympy.oo else value_at(slope, loss.symbol, part.lower, 1)
    high = both.right.slope if part.upper == sympy.oo else value_at(slope, loss.symbol, part.upper, -1)
    return low, high


def _conjugate_of(
    part: Piece,
    z: sympy.Symbol,
    low: sympy.Expr,
    high: sympy.Expr,
    numeric: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> sympy.Expr | None:
    a, b = float(low), float(high)
    if np.isinf(a) and np.isinf(b):
        points = np.array([-3.1, -1.2, -0.4, 0.3, 1.7])
    elif np.isinf(a):
        points = b - np.array([0.1, 0.5, 1.3, 4.2])
    elif np.isinf(b):
        points = a + np.array([0.1, 0.5, 1.3, 4.2])
    else:
        points = a + (b - a) * np.array([0.05, 0.3, 0.5, 0.8, 0.95])
    truth = numeric(points)
    middle = {SLOPE: float(points[len(points) // 2])}
    for place in _solutions(part.expression.diff(z) - SLOPE, z, SLOPE):
        plain = SLOPE * place - exponential_form(part.expression).subs(z, place)

        def forms(plain: sympy.Expr = plain) -> list[sympy.Expr]:
            found = [*short_forms(plain, middle, {}), plain]
            return [sympy.expand(form) if form.is_polynomial() else form for form in found]

        for candidate in sorted(bounded(forms, _SECONDS, [plain]), key=_length):
            if _agrees(candidate, SLOPE, points, truth):
                return candidate
    return None


def _joined(branches: list[tuple[sympy.Expr, sympy.Expr, sympy.Expr]]) -> sympy.Expr | None:
    merged: list[tuple[sympy.Expr, sympy.Expr, sympy.Expr]] = []
    for low, high, form in branches:
        if merged and sympy.expand(merged[-1][2] - form) == 0:
            merged[-1] = (merged[-1][0], high, form)
        else:
            merged.append((low, high, form))
    if not merged:
        return None
    if len(merged) == 1:
        return merged[0][2]
    return sympy.Piecewise(*[(form, sympy.Le(SLOPE, high)) for _, high, form in merged[:-1]], (merged[-1][2], True))
