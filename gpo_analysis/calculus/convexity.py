"""Is a function convex? Decided, with a proof in words, and the region where it is not.

A function made of smooth pieces is convex exactly if it is continuous, f″ ≥ 0 on every piece, and the slope jumps
upwards at every kink (Rockafellar 1970, Theorem 24.1). Composition rules (Grant, Boyd and Ye 2006) settle most convex
losses at a glance; :func:`gpo_analysis.calculus.signs.signs_on` settles the sign of f″ elsewhere, exactly or by
enclosures. What neither settles is answered by None, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import INTERVALS, NUMBERS, bounds, number
from gpo_analysis.calculus.exponentials import exact_numbers
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.calculus.limits import value_at
from gpo_analysis.calculus.pieces import Piece, pieces_of
from gpo_analysis.calculus.signs import signs_on
from gpo_analysis.calculus.undecided import Undecided
from gpo_analysis.calculus.units import unit_of
from gpo_analysis.calculus.written import constant

_TINY = 1e-35
#: Operations of intervals that the search for a point of negative curvature may take on either side.
_SEARCH = 6000
_RULES = "convex by the rules of composition (affine maps, sums, maxima, exp, log-sum-exp, …)"
_SAMPLED = "a sign far out was only sampled"
_HOW = {
    "constant": "it is constant there",
    "algebra": "factored, with its real roots isolated exactly",
    "intervals": "enclosed by interval arithmetic, its leading terms beyond",
    "algebra and intervals": "factored; what is left enclosed by interval arithmetic, by its leading terms far out",
}


@dataclass(frozen=True)
class Convexity:
    """Whether a function is convex, and why.

    Attributes
    ----------
    is_convex : bool or None
        None where it cannot be decided.
    region : sympy.Set or None
        Where f″ < 0, with the points at which the slope (or f itself) jumps the wrong way; None for a convex one, and
        where the region is not known in full.
    proof : str
        The reason, in words.
    exact : bool
        Whether the ends of the region are closed forms; otherwise they are floats of 40 digits.
    """

    is_convex: bool | None
    region: sympy.Set | None
    proof: str
    exact: bool = True


@lru_cache(maxsize=1024)
def convexity_of(expression: sympy.Expr, symbol: sympy.Symbol) -> Convexity:
    """Decide the convexity of a function of one real symbol.

    Parameters
    ----------
    expression : sympy.Expr
        f, in ``symbol``.
    symbol : sympy.Symbol
        Real.

    Raises
    ------
    ValueError
        Where f is not a finite real function on the whole line.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> convexity_of(sympy.log(1 + sympy.exp(-z)), z).is_convex
    True
    >>> convexity_of(1 / (1 + sympy.exp(z)) ** 2, z).region
    Interval.open(-oo, -log(2))
    """
    expression = exact_numbers(sympy.sympify(expression))
    by_rules = curvature_by_rules(expression, symbol) in ("constant", "affine", "convex")
    try:
        cut = pieces_of(expression, symbol)  # refuses what is not a function on the whole line
    except Undecided as reason:
        return Convexity(True, None, _RULES) if by_rules else Convexity(None, None, reason.reason)
    if by_rules:
        return Convexity(True, None, _RULES)
    concave: list[sympy.Set] = []
    sampled: list[sympy.Set] = []  # of these, what rests on a sign that was only sampled
    reasons, exact, decided = [], True, True
    proved = all(piece.proved for piece in cut)
    for piece in cut:
        found = signs_on(piece.expression.diff(symbol, 2), symbol, piece.lower, piece.upper)
        if found is None:
            decided = False
            continue
        ends = [piece.lower, *found.zeros, piece.upper]
        negative = [
            sympy.Interval.open(a, b) for a, b, s in zip(ends[:-1], ends[1:], found.signs, strict=True) if s < 0
        ]
        concave += negative
        sampled += negative if not (found.proved and piece.proved) else []
        exact, proved = exact and (found.exact or not negative), proved and found.proved
        reasons.append(_sentence(piece, found.method, bool(negative), found.exact))
    for left, right in pairwise(cut):
        jump = _wrong_jump(left, right, symbol)
        if jump is None:
            decided = False
        elif jump:
            concave.append(sympy.FiniteSet(right.lower))
            sampled += concave[-1:] if not (left.proved and right.proved) else []
            reasons.append(f"at the kink z = {constant(right.lower, 24)} {jump}")
    if not decided:
        return _undecided(expression, cut, symbol, [part for part in concave if part not in sampled])
    if concave and not proved:
        words = "; ".join(reasons)
        region = sympy.Union(*concave)
        if len(concave) > len(sampled):
            return Convexity(False, region, f"{words}; elsewhere {_SAMPLED}", exact)
        near = _above_a_chord(expression, symbol, concave)
        if near is None:
            return Convexity(None, None, f"{words}; but {_SAMPLED}")
        return Convexity(False, region, f"{words}; f lies above its chord at z = {near}, but {_SAMPLED}", exact)
    if not concave:
        if len(cut) > 1:
            reasons.append("the slope rises at every kink")
        if not proved:
            return Convexity(None, None, f"{'; '.join(reasons)}; but {_SAMPLED}", exact)
        return Convexity(True, None, "; ".join(reasons))
    return Convexity(False, sympy.Union(*concave), "; ".join(reasons), exact)


def _sentence(piece: Piece, method: str, negative: bool, exact: bool) -> str:
    whole = piece.lower == -sympy.oo and piece.upper == sympy.oo
    where = "" if whole else f" on ({constant(piece.lower, 24)}, {constant(piece.upper, 24)})"
    how = _HOW.get(method, _HOW["algebra and intervals"])
    ends = "" if exact or not negative else " (ends to 40 digits)"
    return f"f″ {'< 0 somewhere' if negative else '≥ 0'}{where}: {how}{ends}"


def _wrong_jump(left: Piece, right: Piece, symbol: sympy.Symbol) -> str | None:
    """What is not convex at the kink between two pieces: "" for nothing, None where it cannot be said."""
    point = right.lower
    for order, what in ((0, "f jumps"), (1, "the slope falls")):
        before = value_at(left.expression.diff(symbol, order) if order else left.expression, symbol, point, -1)
        after = value_at(right.expression.diff(symbol, order) if order else right.expression, symbol, point, 1)
        if sympy.nan in (before, after):
            return None
        gap = number(after) - number(before)
        if NUMBERS.isnan(gap):
            return None
        if abs(gap) < _TINY * (1 + abs(number(before))):
            continue
        if order == 0:
            return what
        return f"{what} from {before} to {after}" if gap < 0 else ""
    return ""


def _above_a_chord(expression: sympy.Expr, symbol: sympy.Symbol, concave: list[sympy.Set]) -> str | None:
    """Where f″ < 0 rests on a sampled sign: a z at which f itself, in 60 digits, lies above a chord; None for none."""
    for part in concave:
        for middle, width in _probes(part):
            low, at, high = (number(expression.subs(symbol, middle + k * width), 60) for k in (-1, 0, 1))
            size = abs(low) + abs(at) + abs(high)
            if at - (low + high) / 2 > size * NUMBERS.mpf(10) ** -30:
                return str(NUMBERS.nstr(number(middle), 10))
    return None


def _probes(part: sympy.Set) -> list[tuple[sympy.Rational, sympy.Rational]]:
    """Middles and half widths of chords inside an interval, or about a point."""
    if isinstance(part, sympy.FiniteSet):
        point = sympy.Rational(NUMBERS.nstr(number(part.args[0]), 40))
        return [(point, sympy.Rational(1, 10**k)) for k in (0, 2, 4, 8)]
    low, high = (number(end) for end in (part.start, part.end))
    if NUMBERS.isinf(low) and NUMBERS.isinf(high):
        low = NUMBERS.mpf(-1)
    inner = []
    for k in range(6):
        if NUMBERS.isinf(high):
            a, b = low, low + 4**k * (1 + abs(low) / 8)
        elif NUMBERS.isinf(low):
            a, b = high - 4**k * (1 + abs(high) / 8), high
        else:
            a, b = low, low + (high - low) / 2**k
        inner.append((a, b))
    ends = [tuple(sympy.Rational(NUMBERS.nstr(x, 40)) for x in pair) for pair in inner]
    return [((a + b) / 2, (b - a) * sympy.Rational(49, 100)) for a, b in ends]


def _undecided(
    expression: sympy.Expr, cut: tuple[Piece, ...], symbol: sympy.Symbol, concave: list[sympy.Set]
) -> Convexity:
    """A certified point of negative curvature settles it; otherwise it stays open."""
    if concave:
        return Convexity(False, None, f"f″ < 0 on {sympy.Union(*concave)}; elsewhere its sign is not settled")
    unsettled = "neither the rules of composition nor the sign of f″ could be settled"
    for piece in cut:
        point = _counterexample(piece, symbol)
        if point is None:
            continue
        if piece.proved:
            return Convexity(False, None, f"f″ < 0 at z = {point} (enclosed); the whole region is not known")
        near = _above_a_chord(expression, symbol, [sympy.FiniteSet(sympy.Rational(point))])
        if near is not None:
            return Convexity(False, None, f"f lies above its chord at z = {near}; the whole region is not known")
    return Convexity(None, None, unsettled)


def _counterexample(piece: Piece, symbol: sympy.Symbol) -> str | None:
    """A z at which an enclosure of f″ is negative."""
    try:
        function = jet_function(piece.expression, symbol)
    except Unsupported:
        return None
    low, high = number(piece.lower), number(piece.upper)
    count = max(min(_SEARCH // function.length, 280), 20)
    unit = number(unit_of(piece.expression, symbol))
    for k in sorted(range(-count, count + 1), key=abs):
        x = unit * NUMBERS.sinh(NUMBERS.mpf(7 * k) / count)
        if low < x < high and bounds(function.over(x, x, 2)[2])[1] < 0:
            return str(NUMBERS.nstr(x, 10))
    return None


# ---- rules of composition ----------------------------------------------------------------------------------------

_FLIP = {"convex": "concave", "concave": "convex"}


def curvature_by_rules(expression: sympy.Expr, symbol: sympy.Symbol) -> str | None:
    """Return "constant", "affine", "convex" or "concave" by the rules of composition, or None where they do not say.

    Examples
    --------
    >>> import sympy
    >>> z = sympy.Symbol("z", real=True)
    >>> curvature_by_rules(sympy.Max(0, 1 - z) ** 3 + sympy.Abs(z), z)
    'convex'
    """
    if symbol not in expression.free_symbols:
        return "constant"
    if expression == symbol:
        return "affine"
    if isinstance(expression, sympy.Add):
        return _combined([curvature_by_rules(term, symbol) for term in expression.args])
    if isinstance(expression, sympy.Mul):
        factor, rest = expression.as_independent(symbol, as_Add=False)
        if factor == 1:
            return None
        kind = curvature_by_rules(rest, symbol)
        return _FLIP.get(kind, kind) if kind is not None and number(factor) < 0 else kind
    if isinstance(expression, sympy.Max | sympy.Min):
        kinds = [curvature_by_rules(argument, symbol) for argument in expression.args]
        wanted = "convex" if isinstance(expression, sympy.Max) else "concave"
        return wanted if all(kind in ("constant", "affine", wanted) for kind in kinds) else None
    if isinstance(expression, sympy.Pow) and expression.base != sympy.E:
        return _power_rule(expression, symbol)
    return _function_rule(expression, symbol)


def _combined(kinds: list[str | None]) -> str | None:
    seen = set(kinds)
    if None in seen or {"convex", "concave"} <= seen:
        return None
    return next((kind for kind in ("convex", "concave", "affine") if kind in seen), "constant")


def _function_rule(expression: sympy.Expr, symbol: sympy.Symbol) -> str | None:
    argument = expression.args[0]
    kind = curvature_by_rules(argument, symbol)
    if isinstance(expression, sympy.exp):
        return "convex" if kind in ("affine", "convex") else None
    if isinstance(expression, sympy.cosh):
        return "convex" if kind == "affine" else None
    if isinstance(expression, sympy.Abs):
        return "convex" if kind == "affine" or (kind == "convex" and argument.is_nonnegative) else None
    if not isinstance(expression, sympy.log):
        return None
    if kind in ("affine", "concave"):
        return "concave"
    if isinstance(argument, sympy.cosh) and curvature_by_rules(argument.args[0], symbol) == "affine":
        return "convex"
    if _is_log_concave(argument, symbol):
        return "concave"
    return "convex" if _is_sum_of_exponentials(argument, symbol) else None


def _is_log_concave(expression: sympy.Expr, symbol: sympy.Symbol) -> bool:
    """c erfc(affine), which sympy may have written as 2c − c erfc(−affine), or c ± c erf(affine).

    The tail of a log-concave density (here the Gaussian) is log-concave (Prékopa 1971).
    """
    constant, rest = expression.as_independent(symbol, as_Add=True)
    factor, function = rest.as_independent(symbol, as_Add=False)
    if not isinstance(function, sympy.erf | sympy.erfc) or curvature_by_rules(function.args[0], symbol) != "affine":
        return False
    if isinstance(function, sympy.erf):
        return bool(number(constant) > 0 and abs(factor) == constant)
    return bool((constant == 0 and number(factor) > 0) or (constant == -2 * factor and number(factor) < 0))


def _is_sum_of_exponentials(expression: sympy.Expr, symbol: sympy.Symbol) -> bool:
    """Σ cₖ e^{uₖ} + c₀ with cₖ, c₀ ≥ 0 and convex uₖ: its logarithm is convex (Boyd and Vandenberghe 2004, §3.1.5)."""
    for term in sympy.Add.make_args(expression):
        factor, rest = term.as_independent(symbol, as_Add=False)
        if not number(factor) > 0:
            return False
        if rest == 1:
            continue
        if not isinstance(rest, sympy.exp) or curvature_by_rules(rest.args[0], symbol) not in ("affine", "convex"):
            return False
    return True


def _power_rule(expression: sympy.Expr, symbol: sympy.Symbol) -> str | None:
    base, power = expression.base, expression.exp
    if symbol in power.free_symbols:
        return None
    kind, p = curvature_by_rules(base, symbol), number(power)
    if kind == "affine" and power.is_Integer and int(power) % 2 == 0 and p > 0:
        return "convex"
    if p >= 1 and kind == "convex" and base.is_nonnegative:
        return "convex"
    if power == sympy.S.Half and _is_sum_of_squares(base, symbol):
        return "convex"
    if kind in ("affine", "concave") and 0 < p < 1:
        return "concave"
    if kind == "concave" and p < 0 and base.is_positive:
        return "convex"
    return None


def _is_sum_of_squares(expression: sympy.Expr, symbol: sympy.Symbol) -> bool:
    """A sum of squares of affine functions and non-negative constants: its root is a norm."""
    polynomial: Any = expression.as_poly(symbol)
    if polynomial is None or polynomial.degree() != 2:
        return False
    a, b, c = polynomial.all_coeffs()
    least = INTERVALS.mpf(0) + number(c - b**2 / (4 * a))
    return bool(number(a) > 0 and bounds(least)[0] >= -_TINY)
