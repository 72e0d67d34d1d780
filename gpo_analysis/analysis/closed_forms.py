"""Closed forms of what a loss is minimised to: the link z*(η) and the Bayes risk H(η).

The slope of the risk η f(z) + (1 − η) f(−z) is −D(z) (η − E(z)) with

    D(z) = −f′(z) − f′(−z),    E(z) = f′(−z)/(f′(z) + f′(−z)).

For convex f it rises in z; for other f it changes its sign but once where D > 0 and E rises, which is decided by the
signs of D and E′ on every piece. Then z* = E⁻¹(η), piece by piece: between the values that E takes at two neighbouring
breakpoints one equation holds, at a kink z* stays put, and beyond E(∞) it is infinite. Each closed form comes with that
range, and is held against the equation there, in 45 digits; without a proof of the one minimum there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import sympy

from gpo_analysis.analysis.algebra import agree, length, short_forms, solutions, value_of
from gpo_analysis.analysis.by_name import by_name
from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.budget import simplified
from gpo_analysis.calculus.exponentials import exponential_form
from gpo_analysis.calculus.limits import limit_at_infinity, value_at
from gpo_analysis.calculus.pieces import Piece
from gpo_analysis.calculus.signs import signs_on, sort_numbers
from gpo_analysis.calculus.zeros import vanishes
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import convexity, pieces, tails, unproved

ETA = sympy.Symbol("eta", real=True)
"""η, the probability that the first response is preferred."""

_HALF = sympy.Rational(1, 2)
_SHARES = tuple(sympy.Rational(k, 1000) for k in (3, 101, 229, 371, 503, 631, 773, 897, 997))


@dataclass(frozen=True)
class Branch:
    """z*(η) = ``form`` from where the branch before it ends (η = ½ for the first) up to η = ``until``."""

    form: sympy.Expr
    until: sympy.Expr


@dataclass(frozen=True)
class _Stretch:
    """f′(z) and f′(−z) for ``low`` < z < ``high`` without a kink of either."""

    low: sympy.Expr
    high: sympy.Expr
    ahead: Piece
    mirror: Piece
    slope: sympy.Expr
    mirrored: sympy.Expr


def _stretches(loss: MarginLoss) -> list[_Stretch]:
    """z > 0, cut at the kinks of f(z) and of f(−z)."""
    z = loss.symbol
    places = [abs(part.lower) for part in pieces(loss)[1:]]
    marks = [sympy.S.Zero, *sort_numbers([x for x in places if number(x) > 0]), sympy.oo]
    found = []
    for low, high in pairwise(marks):
        inside = number(Piece(low, high, sympy.S.Zero).inner_point())
        ahead, mirror = _piece_around(loss, inside), _piece_around(loss, -inside)
        reflected = mirror.expression.diff(z).subs(z, -z)
        found.append(_Stretch(low, high, ahead, mirror, ahead.expression.diff(z), reflected))
    return found


def _piece_around(loss: MarginLoss, x: object) -> Piece:
    return next(part for part in pieces(loss) if number(part.lower) <= x <= number(part.upper))


@lru_cache(maxsize=512)
def has_one_minimum(loss: MarginLoss) -> bool:
    """Whether it is proved that for η > ½ the slope of the risk, on z > 0, falls first and then rises, once.

    Convex f, and those with D > 0 and E not falling up to where f′(z) ≥ 0 ≥ f′(−z): then all minimisers form one
    interval, for every η.
    """
    if unproved(loss):
        return False
    if convexity(loss).is_convex:
        return True
    z, reached, risen = loss.symbol, NUMBERS.mpf("0.5"), False
    for part in _stretches(loss):
        # where f′(z) ≥ 0 ≥ f′(−z) the risk rises, for every η
        if _has_signs(part.slope, z, part, {0, 1}) and _has_signs(part.mirrored, z, part, {-1, 0}):
            risen = True
            continue
        total = part.slope + part.mirrored
        if risen:
            return False
        if not _has_signs(total, z, part, {-1}):
            return False
        bend = part.mirrored.diff(z) * total - part.mirrored * total.diff(z)
        if not vanishes(bend, z, part.low, part.high) and not _has_signs(bend, z, part, {0, 1}):
            return False
        # and E does not jump down at a kink
        start = _threshold(part, z, part.low, 1)
        end = _threshold(part, z, part.high, -1)
        if start is None or end is None or number(start) < reached - NUMBERS.mpf(10) ** -30:
            return False
        reached = number(end)
    return True


def _has_signs(expression: sympy.Expr, z: sympy.Symbol, part: _Stretch, allowed: set[int]) -> bool:
    found = signs_on(expression, z, part.low, part.high)
    return found is not None and found.proved and set(found.signs) <= allowed


def _threshold(part: _Stretch, z: sympy.Symbol, point: sympy.Expr, side: int) -> sympy.Expr | None:
    """E at an end of a stretch: the η beyond which z* lies further out; oo where none does, None if not known."""
    if point == sympy.oo:
        return _threshold_at_infinity(part, z)
    a, b = (value_at(slope, z, point, side) for slope in (part.slope, part.mirrored))
    if sympy.nan in (a, b):
        return None
    total = a + b
    if number(total) >= 0 or vanishes(total, z):
        return sympy.oo if number(b) < 0 or number(a) > 0 else None
    return simplified(b / total)


def _threshold_at_infinity(part: _Stretch, z: sympy.Symbol) -> sympy.Expr | None:
    limits = [limit_at_infinity(slope, z, 1) for slope in (part.slope, part.mirrored)]
    total = limits[0] + limits[1]
    if all(x.is_finite for x in limits) and number(total) < -(NUMBERS.mpf(10) ** -30):
        return simplified(limits[1] / total)
    if limits[0] is not sympy.nan and number(limits[0]) > 0 and number(limits[1]) <= 0 and limits[1].is_finite:
        return sympy.oo
    limit = limit_at_infinity(part.mirrored / (part.slope + part.mirrored), z, 1)
    return None if limit is sympy.nan else sympy.oo if limit == -sympy.oo else limit


@lru_cache(maxsize=512)
def link_branches(loss: MarginLoss) -> tuple[Branch, ...] | None:
    """z*(η) for ½ < η < 1 of a loss that falls at 0, piece by piece; None where a piece has no closed form."""
    if not has_one_minimum(loss):
        return None
    z = loss.symbol
    parts = _stretches(loss)
    branches: list[Branch] = []
    reached: sympy.Expr = _HALF
    for part in parts:
        start = _threshold(part, z, part.low, 1)
        end = _threshold(part, z, part.high, -1)
        if start is None or end is None:
            return None
        if number(start) > number(reached):  # a kink: z* stays there
            branches.append(Branch(part.low, start))
        if number(start) >= 1:
            return _merged(branches)
        reached = end if number(end) > number(start) else start
        if number(end) > number(start):
            form = _solution(part, z, start, end)
            if form is None:
                return None
            branches.append(Branch(form, end))
        if number(reached) >= 1:
            return _merged(branches)
    return _merged([*branches, Branch(sympy.oo, sympy.S.One)])


def _merged(branches: list[Branch]) -> tuple[Branch, ...]:
    merged: list[Branch] = []
    for branch in branches:
        if merged and merged[-1].form == branch.form:
            merged[-1] = branch
        else:
            merged.append(branch)
    return tuple(merged)


def _solution(part: _Stretch, z: sympy.Symbol, start: sympy.Expr, end: sympy.Expr) -> sympy.Expr | None:
    """The z in a stretch with η f′(z) = (1 − η) f′(−z), for E(low) < η < E(high)."""
    points = points_between(start, sympy.S.One if number(end) > 1 else end)
    equation = ETA * part.slope - (1 - ETA) * part.mirrored
    low, high = number(part.low), number(part.high)
    for candidate in sorted(solutions(equation, z), key=length):
        for point in points:
            place = value_of(candidate, {ETA: point})
            if not low < place < high or not _is_zero_at(part, z, point, candidate):
                break
        else:
            return candidate
    return None


def _is_zero_at(part: _Stretch, z: sympy.Symbol, eta: sympy.Expr, candidate: sympy.Expr) -> bool:
    a, b = (value_of(slope, {z: candidate, ETA: eta}) for slope in (part.slope, part.mirrored))
    p, q = number(eta), number(1 - eta)
    return bool(abs(p * a - q * b) <= NUMBERS.mpf(10) ** -25 * (abs(p * a) + abs(q * b)))


def points_between(low: sympy.Expr, high: sympy.Expr) -> list[sympy.Rational]:
    """Nine rational numbers between two constants."""
    a, b = (sympy.Rational(NUMBERS.nstr(number(x), 30)) for x in (low, high))
    return [a + (b - a) * share for share in _SHARES]


def _falls_at_zero(loss: MarginLoss) -> int | None:
    """+1 where f falls at 0 on the whole (f′(0−) + f′(0+) < 0), −1 where it rises, 0 where neither; None unknown."""
    z = loss.symbol
    first = _stretches(loss)[0]
    total = value_at(first.slope, z, sympy.S.Zero, 1) + value_at(first.mirrored, z, sympy.S.Zero, 1)
    if total is sympy.nan or NUMBERS.isnan(number(total)):
        return None
    size = number(total)
    return 0 if abs(size) < NUMBERS.mpf(10) ** -40 else 1 if size < 0 else -1


@by_name
def closed_link(loss: MarginLoss) -> sympy.Expr | None:
    """z*(η) for η in (0, 1) in the symbol :data:`ETA`, or None.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> closed_link(get_loss("logistic")), closed_link(get_loss("ipo")), closed_link(get_loss("slic"))
    (log(eta/(1 - eta)), 2*eta - 1, sign(2*eta - 1))
    """
    if not has_one_minimum(loss):
        return None
    falls = _falls_at_zero(loss)
    if falls is None:
        return None
    if falls == 0:  # convex: at 0 the risk's slopes are those of f + f(−z), whatever η
        return sympy.S.Zero if convexity(loss).is_convex else None
    if falls < 0:
        reflected = closed_link(_reflected(loss))
        return None if reflected is None else _negated(reflected)
    branches = link_branches(loss)
    return None if branches is None else _both_sides(branches, sign=-1)


def _reflected(loss: MarginLoss) -> MarginLoss:
    z = loss.symbol
    return MarginLoss(loss.name, loss.expression.subs(z, -z))


def _negated(link: sympy.Expr) -> sympy.Expr:
    if isinstance(link, sympy.Piecewise):
        return sympy.Piecewise(*[(-form, condition) for form, condition in link.args])
    return sympy.expand(-link) if link.is_polynomial() else -link


def _both_sides(branches: tuple[Branch, ...], sign: int) -> sympy.Expr:
    """A function of η on (½, 1) continued by g(1 − η) = ``sign`` g(η) to (0, 1)."""
    first, outer = branches[0], branches[1:]
    mirrored = [sign * branch.form.subs(ETA, 1 - ETA) for branch in branches]
    if first.form == sympy.oo:
        inner = [(sympy.oo, ETA > _HALF), (sympy.S.Zero, sympy.Eq(ETA, _HALF)), (-sympy.oo, sympy.true)]
        return sympy.Piecewise(*inner)
    whole = _continued(first, mirrored[0], sign)
    if whole is not None and not outer:
        return whole
    cases: list[tuple[sympy.Expr, object]] = []
    for k in reversed(range(1, len(branches))):
        edge, form = branches[k - 1].until, branches[k].form
        # where z* becomes infinite it is so at the edge itself: there the risk falls for ever
        above, below = (sympy.Ge, sympy.Le) if form == sympy.oo else (sympy.Gt, sympy.Lt)
        cases += [(form, above(ETA, edge)), (mirrored[k], below(ETA, 1 - edge))]
    if whole is not None:
        return sympy.Piecewise(*cases, (whole, True))
    if sign > 0:
        return sympy.Piecewise(*cases, (first.form, ETA >= _HALF), (sympy.expand(mirrored[0]), True))
    middle = (sympy.S.Zero, True)
    return sympy.Piecewise(*cases, (first.form, ETA > _HALF), (mirrored[0], ETA < _HALF), middle)


def _continued(first: Branch, mirrored: sympy.Expr, sign: int) -> sympy.Expr | None:
    """One expression on both sides of ½, where the first branch is one there."""
    if ETA not in first.form.free_symbols:
        return first.form if sign > 0 or first.form == 0 else first.form * sympy.sign(2 * ETA - 1)
    until = sympy.S.One if number(first.until) > 1 else first.until
    return first.form if agree(first.form, mirrored, ETA, points_between(1 - until, _HALF)) else None


@by_name
def closed_bayes_risk(loss: MarginLoss) -> sympy.Expr | None:
    """H(η) for η in (0, 1) in the symbol :data:`ETA`, or None.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> closed_bayes_risk(get_loss("savage"))
    -eta**2 + eta
    """
    if not has_one_minimum(loss):
        return None
    falls = _falls_at_zero(loss)
    if falls is None or (falls == 0 and not convexity(loss).is_convex):
        return None
    if falls < 0:
        return closed_bayes_risk(_reflected(loss))
    branches = (Branch(sympy.S.Zero, sympy.S.One),) if falls == 0 else link_branches(loss)
    if branches is None:
        return None
    risks: list[Branch] = []
    start: sympy.Expr = _HALF
    for branch in branches:
        form = _risk_form(loss, branch, start)
        if form is None:
            return None
        risks.append(Branch(form, branch.until))
        start = branch.until
    return _both_sides(_merged(risks), sign=1)


def _risk_form(loss: MarginLoss, branch: Branch, start: sympy.Expr) -> sympy.Expr | None:
    """η f(z*) + (1 − η) f(−z*) on the pieces that hold ±z*, in the shortest form."""
    z = loss.symbol
    if branch.form == sympy.oo:
        both = tails(loss)
        limits = both.right.limit, both.left.limit
        if not all(limit.is_finite for limit in limits) or start != _HALF:
            return None  # unbounded below, but not where the slope at infinity is 0
        return sympy.expand(ETA * limits[0] + (1 - ETA) * limits[1])
    points = points_between(start, sympy.S.One if number(branch.until) > 1 else branch.until)
    at = value_of(branch.form, {ETA: points[4]})
    f, mirrored = (exponential_form(_piece_around(loss, x).expression) for x in (at, -at))
    # with η and 1 − η as two positive symbols, powers of η/(1 − η) come apart
    p, q = sympy.symbols("p q", positive=True)
    split = branch.form.subs(1 - ETA, q).subs(ETA, p)
    whole = p * f.subs(z, split) + q * mirrored.subs(z, -split)
    back = {p: ETA, q: 1 - ETA}
    sample = {p: float(points[4]), q: float(1 - points[4])}
    forms = [form.subs(back) for form in short_forms(whole, sample, {p + q: sympy.S.One})]
    forms.append(whole.subs(back))
    forms += short_forms(forms[-1], {ETA: float(points[4])}, {})
    return shortest(forms, whole.subs(back), ETA, points)


def shortest(
    forms: list[sympy.Expr], right: sympy.Expr, symbol: sympy.Symbol, points: list[sympy.Rational]
) -> sympy.Expr:
    """The shortest of some forms that agree with the right one."""
    agrees: Callable[[sympy.Expr], bool] = lambda form: agree(form, right, symbol, points)  # noqa: E731
    return next((form for form in sorted(dict.fromkeys(forms), key=length) if agrees(form)), right)
