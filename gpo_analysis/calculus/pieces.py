"""The smooth pieces of a function, and the kinks between them.

``Max``, ``Min``, ``Abs``, ``sign``, ``Heaviside`` and ``Piecewise`` are resolved from the inside out: the line is cut
where their choice changes, and on each interval the chosen branch is written down. Roots of even order and fractional
powers of what touches zero (√(cosh z − 1)) cut it too. Neighbours that are the same expression in truth (Abs(z)²) are
joined again. What remains has derivatives of every order inside each piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.budget import simplified
from gpo_analysis.calculus.exponentials import exact_numbers, is_unwieldy
from gpo_analysis.calculus.jets import JetFunction, Unsupported, jet_function
from gpo_analysis.calculus.signs import signs_on, sort_numbers
from gpo_analysis.calculus.undecided import Undecided
from gpo_analysis.calculus.zeros import vanishes

MAX_PIECES = 64
_CHOOSING = (sympy.Max, sympy.Min, sympy.Abs, sympy.sign, sympy.Heaviside, sympy.Piecewise)


@dataclass(frozen=True)
class Piece:
    """A smooth piece of a function: f = ``expression`` for ``lower`` ≤ z ≤ ``upper``.

    Attributes
    ----------
    lower, upper : sympy.Expr
        Ends, exact where a closed form is known, ±oo at the ends of the line.
    expression : sympy.Expr
        Free of Max, Min, Abs and the like; decimal numbers have become exact fractions.
    proved : bool
        False where a sign far out by which a branch was chosen was only sampled.
    """

    lower: sympy.Expr
    upper: sympy.Expr
    expression: sympy.Expr
    proved: bool = True

    def inner_point(self) -> sympy.Expr:
        """A rational number strictly between the ends."""
        low, high = number(self.lower), number(self.upper)
        if NUMBERS.isinf(low) and NUMBERS.isinf(high):
            return sympy.S.Zero
        if NUMBERS.isinf(low):
            return sympy.Integer(int(NUMBERS.floor(high)) - 1)
        if NUMBERS.isinf(high):
            return sympy.Integer(int(NUMBERS.ceil(low)) + 1)
        return sympy.Rational(NUMBERS.nstr((low + high) / 2, 30))


@lru_cache(maxsize=1024)
def pieces_of(expression: sympy.Expr, symbol: sympy.Symbol) -> tuple[Piece, ...]:
    """Smooth pieces of a function from −∞ to ∞.

    Parameters
    ----------
    expression : sympy.Expr
        f, in ``symbol``.
    symbol : sympy.Symbol
        Real.

    Raises
    ------
    ValueError
        Where f is not a finite real number on the whole line (log z, 1/z).
    Undecided
        A ValueError, where what decides between two branches cannot be worked out.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> for piece in pieces_of(sympy.Max(0, 1 - z), z):
    ...     print(piece.lower, piece.upper, piece.expression)
    -oo 1 1 - z
    1 oo 0
    """
    expression = exact_numbers(sympy.sympify(expression))
    if expression.has(sympy.I):
        raise ValueError(f"{expression} has no real value")
    cut = _split(Piece(-sympy.oo, sympy.oo, expression), symbol)
    joined: list[Piece] = []
    for piece in cut:
        if joined and _same(joined[-1].expression, piece.expression, symbol):
            last = joined[-1]
            joined[-1] = Piece(last.lower, piece.upper, last.expression, last.proved and piece.proved)
        else:
            joined.append(piece)
    for piece in joined:
        _require_real(piece, symbol)
    return tuple(joined)


def kinks_of(expression: sympy.Expr, symbol: sympy.Symbol) -> tuple[sympy.Expr, ...]:
    """Points where f is not analytic, ascending: hinge and truncated quadratic (1,), logistic ().

    A jump of any derivative counts: truncated quadratic has a continuous slope at 1, and its second derivative jumps.
    """
    return tuple(piece.lower for piece in pieces_of(expression, symbol)[1:])


def _split(piece: Piece, symbol: sympy.Symbol) -> list[Piece]:
    done: list[Piece] = []
    pending = [piece]
    while pending:
        if len(done) + len(pending) > MAX_PIECES:
            raise Undecided(f"{piece.expression} has more than {MAX_PIECES} smooth pieces")
        current = pending.pop()
        choice = _innermost(current.expression)
        if choice is None:
            done += _split_at_roots(current, symbol)
        else:
            pending += reversed(_resolve(current, choice, symbol))
    return done


def _sorted(nodes: set[sympy.Basic]) -> list[sympy.Basic]:
    """In an order that does not depend on hashes, so that of two faults always the same one is named."""
    return sorted(nodes, key=sympy.default_sort_key)


def _innermost(expression: sympy.Expr) -> sympy.Expr | None:
    """A choosing function of z whose arguments choose no more, the first in a fixed order."""
    nodes = [node for node in sympy.preorder_traversal(expression) if isinstance(node, _CHOOSING) and node.free_symbols]
    inner = [node for node in nodes if not any(argument.has(*_CHOOSING) for argument in node.args)]
    return min(inner, key=sympy.default_sort_key) if inner else None


def _resolve(piece: Piece, choice: sympy.Expr, symbol: sympy.Symbol) -> list[Piece]:
    """Cut where ``choice`` changes its branch, and write the branch in its place."""
    if isinstance(choice, sympy.Piecewise):
        deciders = [
            relation.lhs - relation.rhs
            for _, condition in choice.args
            for relation in _sorted(condition.atoms(sympy.core.relational.Relational))
        ]
    elif isinstance(choice, sympy.Max | sympy.Min):
        deciders = [a - b for k, a in enumerate(choice.args) for b in choice.args[:k]]
    else:
        deciders = [choice.args[0]]
    cuts: list[sympy.Expr] = []
    ties: list[sympy.Expr] = []  # where two branches touch without crossing, as 0 and z² do
    proved = piece.proved
    for decider in deciders:
        found = signs_on(decider, symbol, piece.lower, piece.upper)
        if found is None:
            raise Undecided(f"cannot find where {decider} changes its sign between {piece.lower} and {piece.upper}")
        proved = proved and found.proved
        sides = list(zip(found.zeros, found.signs[:-1], found.signs[1:], strict=True))
        changes = [x for x, a, b in sides if a != b]
        ties += [x for x, a, b in sides if a == b]
        cuts += changes if found.exact else _closed_forms(decider, symbol, changes)
    ends = [piece.lower, *sort_numbers(cuts), piece.upper]
    parts = []
    for lower, upper in pairwise(ends):
        inside = [x for x in sort_numbers(ties) if number(lower) < number(x) < number(upper)]
        point = Piece(lower, inside[0] if inside else upper, sympy.S.Zero).inner_point()
        branch = _branch(choice, symbol, point)
        parts.append(Piece(lower, upper, piece.expression.xreplace({choice: branch}), proved))
    return parts


def _closed_forms(decider: sympy.Expr, symbol: sympy.Symbol, zeros: list[sympy.Expr]) -> list[sympy.Expr]:
    """Zeros isolated as floats, replaced by LambertW where the decider is a e^{cz} + b z + d."""
    exact = _lambert_zeros(decider, symbol)
    return [next((x for x in exact if abs(number(x) - number(zero)) < NUMBERS.mpf(10) ** -30), zero) for zero in zeros]


def _lambert_zeros(decider: sympy.Expr, symbol: sympy.Symbol) -> list[sympy.Expr]:
    """Real zeros of a e^{cz} + b z + d: z = −d/b − W((a c/b) e^{−cd/b})/c, both branches of W."""
    terms = {type(rest): factor for factor, rest in (t.as_independent(symbol) for t in sympy.Add.make_args(decider))}
    exponentials = [e for e in decider.atoms(sympy.exp) if e.has(symbol)]
    wanted = {sympy.exp, sympy.Symbol}
    if len(exponentials) != 1 or not wanted <= set(terms) <= {*wanted, type(sympy.S.One)} or is_unwieldy(decider):
        return []
    c = exponentials[0].args[0].diff(symbol)
    if c.has(symbol):
        return []
    a = terms[sympy.exp] * sympy.exp(exponentials[0].args[0] - c * symbol)
    b = terms[sympy.Symbol]
    d = decider.subs(symbol, 0) - a
    argument = a * c / b * sympy.exp(-c * d / b)
    found = [simplified(-d / b) - sympy.LambertW(argument, branch) / c for branch in (0, -1)]
    return [x for x in found if not NUMBERS.isnan(number(x))]


def _branch(choice: sympy.Expr, symbol: sympy.Symbol, point: sympy.Expr) -> sympy.Expr:
    if isinstance(choice, sympy.Max | sympy.Min):
        key = 1 if isinstance(choice, sympy.Max) else -1
        return max(choice.args, key=lambda argument: key * number(argument.subs(symbol, point)))
    if isinstance(choice, sympy.Piecewise):
        for branch, condition in choice.args:
            if condition.subs(symbol, point) == sympy.true:
                return branch
        raise ValueError(f"{choice} has no value at z = {point}")
    positive = number(choice.args[0].subs(symbol, point)) > 0
    if isinstance(choice, sympy.Abs):
        return choice.args[0] if positive else -choice.args[0]
    if isinstance(choice, sympy.sign):
        return sympy.S.One if positive else sympy.S.NegativeOne
    return sympy.S.One if positive else sympy.S.Zero


def _split_at_roots(piece: Piece, symbol: sympy.Symbol) -> list[Piece]:
    """Cut at the zeros of the bases of fractional powers: √u is not smooth where u = 0."""
    cuts: list[sympy.Expr] = []
    for node in _sorted(piece.expression.atoms(sympy.Pow)):
        if node.exp.is_Integer or not node.exp.is_number or symbol not in node.base.free_symbols:
            continue
        found = signs_on(node.base, symbol, piece.lower, piece.upper)
        if found is not None:
            if -1 in found.signs:
                raise ValueError(f"{node} is not real everywhere between {piece.lower} and {piece.upper}")
            cuts += found.zeros
    ends = [piece.lower, *sort_numbers(cuts), piece.upper]
    return [Piece(a, b, piece.expression, piece.proved) for a, b in pairwise(ends)]


def _same(left: sympy.Expr, right: sympy.Expr, symbol: sympy.Symbol) -> bool:
    if left == right:
        # √u cut at u = 0 is written alike on both sides and yet not smooth there
        return not any(not p.exp.is_Integer and p.exp.is_number and p.base.has(symbol) for p in left.atoms(sympy.Pow))
    return vanishes(left - right, symbol)


def _require_real(piece: Piece, symbol: sympy.Symbol) -> None:
    """Refuse log u or u⁻¹ where u reaches zero or falls below it, and pieces that have no value."""
    where = f"on {piece.lower} ≤ z ≤ {piece.upper}"
    for node in _sorted(piece.expression.atoms(sympy.log, sympy.Pow)):
        base = node.args[0]
        if symbol not in base.free_symbols or (isinstance(node, sympy.Pow) and not _must_not_vanish(node)):
            continue
        found = signs_on(base, symbol, piece.lower, piece.upper)
        if found is None:
            continue
        if isinstance(node, sympy.log) and any(sign < 0 for sign in found.signs):
            raise ValueError(f"{node} is not a finite real number {where}")
        if found.zeros and not _finite_at(piece, symbol, found.zeros):
            raise ValueError(f"{node} is not finite at z = {found.zeros[0]}")
        for end in (piece.lower, piece.upper):
            if not end.is_infinite and not _finite_at(piece, symbol, (end,)):
                raise ValueError(f"{node} is not finite at z = {end}")
    middle = piece.inner_point()
    try:
        value = jet_function(piece.expression, symbol).at(number(middle))[0]
    except Unsupported:
        value = number(piece.expression.subs(symbol, middle))
    if NUMBERS.isnan(value):
        raise ValueError(f"{piece.expression} has no real value at z = {middle}")


def _must_not_vanish(power: sympy.Pow) -> bool:
    return bool(power.exp.is_number and power.exp.is_negative)


def _finite_at(piece: Piece, symbol: sympy.Symbol, points: tuple[sympy.Expr, ...]) -> bool:
    """Whether the limit is finite there ((e^z − 1)/z is, at 0), by what the values next to it do."""
    function: JetFunction = jet_function(piece.expression, symbol)
    for point in points:
        x = number(point)
        low, high = number(piece.lower), number(piece.upper)
        sides = [side for side in (-1, 1) if low < x + side * NUMBERS.mpf(10) ** -9 < high]
        for side in sides:
            near = [function.at(x + side * NUMBERS.mpf(10) ** -k)[0] for k in (8, 16, 32)]
            if any(NUMBERS.isnan(value) for value in near):
                return False
            if abs(near[2] - near[1]) > max(abs(near[1] - near[0]), 1):  # even log u moves on by 37 from 1e-16 to 1e-32
                return False
    return True
