"""What a function does far out, on either side: its limit, that of its slope, and how fast it gets there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS
from gpo_analysis.calculus.expansions import leading_at_infinity
from gpo_analysis.calculus.exponentials import exponential_form
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.calculus.limits import FAR, limit_at_infinity
from gpo_analysis.calculus.pieces import Piece, pieces_of
from gpo_analysis.calculus.tail_signs import tail_sign
from gpo_analysis.calculus.zeros import vanishes

KINDS = {
    "flat": "constant beyond a finite z",
    "vanishing": "approaches a finite limit that it does not reach",
    "sublinear": "grows without bound, slower than |z|",
    "linear": "grows like |z|",
    "polynomial": "grows like a power of |z| above 1",
    "exponential": "grows like an exponential of |z|, or faster",
    "unbounded_below": "falls to −∞",
    "oscillating": "has no limit",
    "unknown": "could not be worked out",
}
"""Every value of :attr:`Tail.kind`, with its meaning."""


@dataclass(frozen=True)
class Tail:
    """One tail of a function.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    limit : sympy.Expr
        lim f, ±oo allowed; ``nan`` where there is none.
    slope : sympy.Expr
        lim f′, ±oo allowed; ``nan`` where there is none.
    attained : bool
        Whether the infimum of f over the tail is reached at a finite z: on a flat piece and where f rises outward it
        is, on logistic's right tail it is not.
    flat_from : sympy.Expr or None
        z beyond which f is constant, None where it is not.
    growth : sympy.Expr or None
        The power of |z| for linear and polynomial tails; the rate c of e^{c|z|} for exponential ones (oo if faster);
        for vanishing ones the rate of decay c of e^{−c|z|} towards the limit (0 if slower, oo if faster).
    """

    kind: str
    limit: sympy.Expr
    slope: sympy.Expr
    attained: bool
    flat_from: sympy.Expr | None = None
    growth: sympy.Expr | None = None


@dataclass(frozen=True)
class Tails:
    """Both tails of a function: ``left`` for z → −∞, ``right`` for z → +∞."""

    left: Tail
    right: Tail


@lru_cache(maxsize=1024)
def tails_of(expression: sympy.Expr, symbol: sympy.Symbol) -> Tails:
    """Tails of a function of one real symbol.

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
    >>> both = tails_of(sympy.log(1 + sympy.exp(-z)), z)
    >>> both.left.kind, both.left.slope, both.right.kind, both.right.attained
    ('linear', -1, 'vanishing', False)
    >>> tails_of(sympy.Max(0, 1 - z), z).right.flat_from
    1
    """
    cut = pieces_of(expression, symbol)
    return Tails(_tail(cut[0], symbol, -1), _tail(cut[-1], symbol, 1))


def _tail(piece: Piece, symbol: sympy.Symbol, side: int) -> Tail:
    f = exponential_form(piece.expression)  # 1 − tanh z is 2/(e^{2z} + 1), which does not cancel
    if symbol not in f.free_symbols or vanishes(f.diff(symbol), symbol, piece.lower, piece.upper):
        value = f.subs(symbol, piece.inner_point())
        start = piece.lower if side > 0 else piece.upper
        return Tail("flat", value, sympy.S.Zero, True, start)
    slope_expression = f.diff(symbol)
    limit = limit_at_infinity(f, symbol, side)
    slope = limit_at_infinity(slope_expression, symbol, side)
    kind, growth = _kind(f, symbol, side, limit, slope)
    return Tail(kind, limit, slope, _attained(slope_expression, symbol, side, limit), None, growth)


def _kind(
    f: sympy.Expr, symbol: sympy.Symbol, side: int, limit: sympy.Expr, slope: sympy.Expr
) -> tuple[str, sympy.Expr | None]:
    if limit is sympy.nan:
        return ("oscillating" if f.has(sympy.sin, sympy.cos) else "unknown"), None
    if limit == -sympy.oo:
        return "unbounded_below", None
    if limit != sympy.oo:
        return "vanishing", _decay(f - limit, symbol, side)
    if slope.is_finite and not slope.is_zero:
        return "linear", sympy.S.One
    leading = leading_at_infinity(f, symbol, side)
    if leading is not None and leading.rate is not None and leading.order < 0:
        return "exponential", -leading.order * leading.rate
    if leading is not None:
        power = sympy.Integer(leading.power if leading.rate is not None else -leading.order)
        return ("polynomial" if power > 1 else "linear" if power == 1 else "sublinear"), power
    rate = side * limit_at_infinity(f.diff(symbol) / f, symbol, side)
    if rate is not sympy.nan and rate > 0:
        return "exponential", rate
    power = limit_at_infinity(symbol * f.diff(symbol) / f, symbol, side)
    if power is sympy.nan:
        return "unknown", None
    if power == 1:
        return "linear", power
    return ("polynomial" if power > 1 else "sublinear"), power


def _decay(gap: sympy.Expr, symbol: sympy.Symbol, side: int) -> sympy.Expr | None:
    leading = leading_at_infinity(gap, symbol, side)
    if leading is not None and leading.coefficient != 0:
        return sympy.S.Zero if leading.rate is None else leading.order * leading.rate
    rate = -side * limit_at_infinity(gap.diff(symbol) / gap, symbol, side)
    return None if rate is sympy.nan else rate


def _attained(slope: sympy.Expr, symbol: sympy.Symbol, side: int, limit: sympy.Expr) -> bool:
    """The infimum over the tail is reached at a finite z unless f falls outward for ever."""
    if limit == -sympy.oo:
        return False
    if limit == sympy.oo:
        return True
    found = tail_sign(slope, symbol, side)
    outward = found[1] if found is not None else _sampled_sign(slope, symbol, side)
    return side * outward > 0


def _sampled_sign(expression: sympy.Expr, symbol: sympy.Symbol, side: int) -> int:
    try:
        values = [jet_function(expression, symbol).at(side * x)[0] for x in FAR[:4]]
    except Unsupported:
        return 0
    seen = [value for value in values if not NUMBERS.isnan(value) and value != 0]
    return 0 if not seen else (1 if seen[-1] > 0 else -1)
