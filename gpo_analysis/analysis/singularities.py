"""How far the Taylor series of a loss at zero reaches: its complex singularity nearest to the origin, or a kink.

A singularity lies where something vanishes that must not: what stands under a logarithm, in a denominator, under a root
or in atan's 1 ± iu. Such zeros are *counted* inside circles round 0 by the argument principle, with every rounding
bounded (:mod:`gpo_analysis.analysis.continuation`), each function on its own branch, continued from 0; so none is
overlooked. The nearest is found by Newton's method in 45 digits and given its closed form where it is a zero of a
polynomial in z or in t = e^{cz}. Whether it is one of f too, or cancels ((e^z − 1)/z), is seen on a loop round it:
does f come back to its value, and has its Laurent series no negative powers?

What cannot be decided so is said to be not decided (``nan``); a radius that is given is never larger than the truth by
more than one part in 10⁷.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy
from numpy.typing import NDArray

from gpo_analysis.analysis.by_name import by_name
from gpo_analysis.analysis.continuation import Continuation, Walk
from gpo_analysis.arrays import FloatArray
from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.exponentials import exponential_base, with_exponential
from gpo_analysis.calculus.jets import Unsupported
from gpo_analysis.calculus.pieces import Piece
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import pieces

_NARROW = 1e-7
"""Between circles so much smaller and larger than a zero's modulus the zero is certified to be the nearest."""
_FURTHEST = 60  # doublings and halvings of the radius within which a zero is looked for
_MAX_DEGREE = 64  # of polynomials whose roots are all computed
_LOOP = 64  # points on a loop round a zero
_NOTHING = 1e-25  # relative: what is left in 45 digits of a Laurent coefficient that is 0


class _Unsettled(Exception):
    """No radius can be vouched for."""


@dataclass(frozen=True)
class _Zero:
    """A zero of what stands at a critical place of the tape; ``count`` has its multiplicity and its conjugate's."""

    place: int
    at: Any
    count: int = 0


@by_name
def taylor_radius(loss: MarginLoss) -> sympy.Expr:
    """The largest r such that the Taylor series at 0 equals f on \\|z\\| < r.

    Exact where the nearest singularity has a closed form (π for logistic and Savage, 1 for hinge, ∞ for squared), a
    float of 30 digits otherwise, 0 where 0 itself is a kink; ``nan`` where it could not be decided.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> taylor_radius(get_loss("logistic")), taylor_radius(get_loss("hinge")), taylor_radius(get_loss("lrml"))
    (pi, 1, pi/20)
    """
    home = piece_at_zero(loss)
    if home is None:
        return sympy.S.Zero
    radius = convergence_radius(home.expression, loss.symbol)
    if radius is sympy.nan:
        return radius
    for end in (-home.lower, home.upper):
        if number(end) < number(radius):
            radius = end
    return radius


def piece_at_zero(loss: MarginLoss) -> Piece | None:
    """The smooth piece with 0 in its interior; None where 0 is a kink."""
    return next((part for part in pieces(loss) if number(part.lower) < 0 < number(part.upper)), None)


@lru_cache(maxsize=512)
def convergence_radius(expression: sympy.Expr, symbol: sympy.Symbol) -> sympy.Expr:
    """Radius of convergence at 0 of a smooth expression: exact, a float, oo, or nan where it is not decided."""
    if expression.is_polynomial(symbol):
        return sympy.oo
    try:
        function = Continuation(expression, symbol)
        return _Search(function, symbol).radius()
    except (Unsupported, _Unsettled):
        return sympy.nan


class _Search:
    """The search for the nearest singularity of one function."""

    def __init__(self, function: Continuation, symbol: sympy.Symbol) -> None:
        self.function, self.symbol = function, symbol
        self.harmless: list[_Zero] = []
        moduli = [_exact_moduli(inner, symbol) for inner in function.critical.values()]
        self.complete = all(part is not None for part in moduli)
        self.exact = sorted({modulus for part in moduli for modulus in part or ()}, key=number)

    def radius(self) -> sympy.Expr:
        if not self.function.critical or (self.complete and not self.exact):
            return sympy.oo
        for _ in range(8):
            zeros, modulus = self._nearest()
            checked = [self._checked(zero) for zero in zeros]
            if None in checked:
                return modulus
            self.harmless += [zero for zero in checked if zero is not None]
            if self._has_no_other(modulus):
                return sympy.oo
        raise _Unsettled

    def _has_no_other(self, modulus: sympy.Expr) -> bool:
        """Whether there are finitely many zeros in all, and every one was found to be harmless."""
        if not all(inner.is_polynomial(self.symbol) for inner in self.function.critical.values()):
            return False
        furthest = number(modulus) * (1 + _NARROW)
        return all(number(m) <= furthest for m in self.exact) and self._is_clear(float(furthest)) is True

    # ---- counting -----------------------------------------------------------------------------------------------

    def _excess(self, radius: float) -> dict[int, int] | None:
        """Zeros in \\|z\\| < radius beyond the harmless ones, by place; of places all of whose inner ones have none.

        None where the circle runs too close to a zero, or where numbers overflow.
        """
        walk = self.function.around(radius)
        return None if walk is None else self._counts(walk, radius)

    def _counts(self, walk: Walk, radius: float) -> dict[int, int]:
        counts: dict[int, int] = {}
        for place in self.function.critical:
            if any(counts.get(k, 1) for k in self.function.inner(place)):
                continue
            known = sum(zero.count for zero in self.harmless if zero.place == place and abs(zero.at) < radius)
            counts[place] = walk.turns(place) - known
            if counts[place] < 0:
                raise _Unsettled
        return {place: count for place, count in counts.items() if count or len(counts) == len(self.function.critical)}

    def _is_clear(self, radius: float) -> bool | None:
        """Whether no zero lies in \\|z\\| < radius; None where that cannot be said."""
        counts = self._excess(radius)
        if counts is None:
            return None
        return not any(counts.values())

    def _nearest(self) -> tuple[list[_Zero], sympy.Expr]:
        """The nearest zeros that are not known to be harmless, and their modulus."""
        beyond = max((float(abs(zero.at)) for zero in self.harmless), default=0.0)
        for modulus in self.exact:
            m = float(number(modulus))
            inside, outside = m * (1 - _NARROW), m * (1 + _NARROW)
            if m > beyond * (1 + _NARROW) and self._is_clear(inside) and self._is_clear(outside) is False:
                return self._polished(m * (1 + 1e-3), m), modulus
        low, high = self._bracket(beyond)
        while high > low * (1 + 1e-3):
            middle = float(np.sqrt(low * high))
            clear = self._is_clear(middle)
            if clear is None:
                middle *= 1 + 0.1 * (high / low - 1)
                clear = self._is_clear(middle)
            if clear is None:
                raise _Unsettled
            low, high = (middle, high) if clear else (low, middle)
        zeros = self._polished(high, None)
        modulus = min((abs(zero.at) for zero in zeros), default=None)
        if modulus is None or not low * (1 - 1e-9) <= modulus <= high * (1 + 1e-9):
            raise _Unsettled
        m = float(modulus)
        if self._is_clear(m * (1 - _NARROW)) is not True or self._is_clear(m * (1 + _NARROW)) is not False:
            raise _Unsettled
        zeros = [zero for zero in zeros if abs(zero.at) <= modulus * (1 + _NARROW)]
        for exact in self.exact:
            if abs(number(exact) - modulus) <= NUMBERS.mpf(10) ** -30 * modulus:
                return zeros, exact
        return zeros, sympy.Float(NUMBERS.nstr(modulus, 32), 30)

    def _bracket(self, beyond: float) -> tuple[float, float]:
        """A circle without zeros (other than harmless ones) and a larger one with some."""
        low = beyond * (1 + 1e-6)
        radius = 1.0 if beyond == 0 else 1.5 * beyond
        clear = self._settled(radius)
        for _ in range(_FURTHEST):
            if clear:
                low, radius = radius, 2 * radius
                clear = self._settled(radius)
            if clear is False and (beyond or low):
                return low, radius
            if clear is None and (beyond or low):
                raise _Unsettled
            if not clear:  # too far out for numbers, too: of f(1024 z) the circle of radius 1 is
                if self._settled(radius / 2):
                    return radius / 2, radius
                radius = radius / 2
        raise _Unsettled

    def _settled(self, radius: float) -> bool | None:
        turns = (self._is_clear(radius * stretch) for stretch in (1.0, 1.013, 0.981))
        return next((clear for clear in turns if clear is not None), None)

    # ---- finding ------------------------------------------------------------------------------------------------

    def _polished(self, radius: float, modulus: float | None) -> list[_Zero]:
        """Zeros next to the circle, by Newton's method from where the values on it are least against their ball."""
        walk = self.function.around(radius) or self.function.around(radius * 1.0007)
        if walk is None:
            raise _Unsettled
        counts = self._counts(walk, abs(walk.points[0]))
        found: list[_Zero] = []
        for place, count in counts.items():
            if count <= 0:
                continue
            size = abs(walk.middle[place])
            slope = size / np.maximum(walk.radius[place], 1e-300) * abs(np.diff(walk.points))
            order = np.argsort(slope, kind="stable")
            starts: list[int] = []
            for k in order:
                upper = self._is_real(place) and walk.points[k].imag < -1e-9 * radius
                if not upper and all(abs(walk.points[k] - walk.points[j]) > 0.02 * radius for j in starts):
                    starts.append(int(k))
                if len(starts) == 6:
                    break
            for k in starts:
                at = self._newton(place, walk, k)
                if at is None or abs(at) > radius * (1 + 1e-9):
                    continue
                if modulus is not None and abs(abs(at) - modulus) > 1e-9 * modulus:
                    continue
                if all(zero.place != place or abs(zero.at - at) > 1e-12 * radius for zero in found + self.harmless):
                    found.append(_Zero(place, at))
        if not found:
            raise _Unsettled
        return found

    def _newton(self, place: int, walk: Walk, k: int) -> Any:
        guide = {critical: float(phase[k]) for critical, phase in walk.phase.items()}
        start = NUMBERS.mpc(complex(walk.points[k] + walk.points[k + 1]) / 2)
        x = start
        for _ in range(80):
            try:
                value, slope = self.function.precisely(x, guide, place)[place]
            except (ZeroDivisionError, ValueError, OverflowError):
                return None
            if value == 0:
                return x
            if slope == 0:
                return None
            step = value / slope
            x = x - step
            if not abs(x - start) < abs(start):
                return None
            if abs(step) < NUMBERS.mpf(10) ** -38 * (1 + abs(x)):
                return x
        return None

    def _is_real(self, place: int) -> bool:
        """Whether the function at a place is real on the real line, so that its zeros come with their conjugates."""
        return not self.function.critical[place].has(sympy.I)

    # ---- does it matter? ----------------------------------------------------------------------------------------

    def _checked(self, zero: _Zero) -> _Zero | None:
        """None where f has a singularity at a zero; else the zero with its count, to be left out from now on.

        One that cancels in f must cancel in every function whose zeros are counted, or nothing can be said.
        """
        at = complex(zero.at)
        if at == 0:
            raise _Unsettled
        radius = 1e-3 * abs(at)
        base = at - radius * at / abs(at)

        def path(t: FloatArray) -> NDArray[np.complex128]:
            """First from 0 to the loop, then once round it."""
            turn = np.clip(2 * t - 1, 0, 1)
            return np.where(t <= 0.5, 2 * t * base, at + (base - at) * np.exp(2j * np.pi * turn))

        walk = self.function.along(path, 2 * max(abs(base), 2 * np.pi * radius), start=64)
        if walk is None:
            raise _Unsettled
        first = int(np.argmax(abs(walk.points - at) <= radius * (1 + 1e-9)))
        below = [k for k in self.function.below(zero.place) if k in self.function.critical]
        values = self._values_on_loop(walk, first, at, [len(self.function.tape) - 1, *below])
        outcomes = [_has_singularity(row) for row in values]
        if outcomes[0]:
            return None
        if any(outcomes[1:]):
            raise _Unsettled  # what was counted inside is then of several branches
        phase = walk.phase[zero.place]
        count = round(float(phase[-1] - phase[first]) / (2 * np.pi))
        twin = self._is_real(zero.place) and abs(at.imag) > 1e-9 * abs(at)
        return _Zero(zero.place, zero.at, count * (2 if twin else 1))

    def _values_on_loop(self, walk: Walk, first: int, at: complex, watched: list[int]) -> list[list[Any]]:
        """Values of places at equal steps round the loop, the first point once more at the end."""
        centre = NUMBERS.mpc(at)
        start = NUMBERS.mpc(complex(walk.points[-1])) - centre
        angles = np.unwrap(np.angle((walk.points[first:] - at) / (walk.points[-1] - at)))
        angles = angles - angles[0]
        rows: list[list[Any]] = [[] for _ in watched]
        for k in range(_LOOP + 1):
            turn = 2 * np.pi * k / _LOOP
            stretch = min(max(int(np.searchsorted(angles, turn, side="left")) - 1, 0), len(angles) - 2)
            guide = {place: float(phase[first + stretch]) for place, phase in walk.phase.items()}
            z = centre + start * NUMBERS.expjpi(2 * NUMBERS.mpf(k) / _LOOP)
            found = self.function.precisely(z, guide)
            for row, place in zip(rows, watched, strict=True):
                row.append(found[place][0])
        return rows


def _has_singularity(values: list[Any]) -> bool:
    """Whether values round a loop belong to no analytic function: they do not close, or have negative powers."""
    size = max(abs(v) for v in values)
    if size == 0:
        return False
    if abs(values[-1] - values[0]) > _NOTHING * size:
        return True
    count = len(values) - 1
    for power in range(1, count // 2):
        coefficient = sum(v * NUMBERS.expjpi(2 * NUMBERS.mpf(power * k) / count) for k, v in enumerate(values[:-1]))
        if abs(coefficient) > _NOTHING * size * count:
            return True
    return False


# ---- closed forms ---------------------------------------------------------------------------------------------------


def _exact_moduli(inner: sympy.Expr, symbol: sympy.Symbol) -> list[sympy.Expr] | None:
    """Moduli of the zeros of a polynomial in z or in t = e^{cz} (the nearest for each t); None for other functions."""
    base = exponential_base(inner, symbol)
    t = sympy.Dummy("t", positive=True)
    changed = inner if base is None else with_exponential(inner, symbol, base, t)
    numerator = sympy.fraction(sympy.together(changed))[0]
    unknown = symbol if base is None else t
    if (base is not None and symbol in numerator.free_symbols) or not numerator.is_polynomial(unknown):
        return None
    polynomial = sympy.Poly(numerator, unknown)
    if polynomial.degree() > _MAX_DEGREE:
        return None
    try:
        return _logarithms(polynomial, base) if base is not None else [_modulus(root) for root in _roots(polynomial)]
    except mpmath.libmp.NoConvergence:
        return None  # multiple roots in many digits: the circles find them


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
    unknown = polynomial.gens[0]
    reduced = sympy.Poly({(power - lowest,): c for (power,), c in terms}, unknown)
    return [_log_modulus(root, base) for root in _roots(reduced)]


def _log_modulus(target: sympy.Expr, rate: sympy.Expr) -> sympy.Expr:
    """|log target| / rate with the principal logarithm: the nearest of its branches."""
    if target.is_real and target.is_negative:
        size = sympy.log(-target)
        return sympy.sqrt(size**2 + sympy.pi**2) / rate if size != 0 else sympy.pi / rate
    if target.is_real:
        return abs(sympy.expand_log(sympy.log(target), force=True)) / rate
    size, angle = sympy.log(sympy.Abs(target)), sympy.arg(target)
    return sympy.sqrt(size**2 + angle**2) / rate


def _modulus(root: sympy.Expr) -> sympy.Expr:
    return sympy.sqrt(sympy.expand(root * sympy.conjugate(root))) if root.is_finite else sympy.Abs(root)


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
