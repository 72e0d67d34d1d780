"""Analytic continuation of an expression from 0 along paths in the complex plane, with every rounding bounded.

Arithmetic is that of *balls*: a midpoint in floats and a radius that bounds the distance to the true value for every z
in the ball that stands for a stretch of the path. A logarithm, a reciprocal or a root of u is only taken where the ball
of u excludes 0; the stretch is halved until it does. Consecutive balls share a point, so that the argument of u turns
by less than π from one to the next: the branch is followed without a doubt, and the turns of u round a closed path are
its zeros inside (the argument principle, for a u that is analytic there).

Work is counted in balls, never in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from gpo_analysis.arrays import FloatArray
from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.exponentials import exact_numbers, exponential_form
from gpo_analysis.calculus.jets import Unsupported

Complex = NDArray[np.complex128]

MAX_BALLS = 6000
"""Stretches of one path beyond which the walk is given up."""
_ROUNDS = 60
_EPS = 2.0**-50  # per operation: complex products round to a few units in the last place
_ERROR_FUNCTION = 1e-12  # relative, of scipy's erf and erfc in the complex plane (1e-13 by their author)


@dataclass(frozen=True)
class Walk:
    """Values along a path.

    Attributes
    ----------
    points : array, shape (k + 1,)
        Ends of the stretches, as complex numbers.
    middle, radius : list of array, shape (k,)
        A ball for every place of the tape and every stretch.
    phase : dict of int to array, shape (k,)
        Argument of the branch that is followed, for every critical place.
    """

    points: Complex
    middle: list[Complex]
    radius: list[FloatArray]
    phase: dict[int, FloatArray]

    def turns(self, place: int) -> int:
        """How often the value at a place goes round 0 on a closed path."""
        phase, middle = self.phase[place], self.middle[place]
        last = float(np.angle(middle[0] / abs(middle[0]) * np.conj(middle[-1] / abs(middle[-1]))))
        return round((float(phase[-1] - phase[0]) + last) / (2 * np.pi))

    def largest(self) -> float:
        """An upper bound of the modulus of the whole expression on the path."""
        return float(np.max(abs(self.middle[-1]) + self.radius[-1]))


class Continuation:
    """An expression in one symbol, compiled to be continued from 0.

    Parameters
    ----------
    expression : sympy.Expr
        Smooth, real and finite near 0, of sums, products, powers and exp, log, sinh, cosh, tanh, sin, cos, atan,
        asinh, erf, erfc.
    symbol : sympy.Symbol

    Raises
    ------
    Unsupported
        For any other function.
    """

    def __init__(self, expression: sympy.Expr, symbol: sympy.Symbol) -> None:
        self._symbol = symbol
        self.tape: list[tuple[str, tuple[int, ...], Any]] = []
        self._places: dict[sympy.Expr, int] = {}
        self.critical: dict[int, sympy.Expr] = {}
        root = self._place(exponential_form(exact_numbers(sympy.sympify(expression))))
        if root != len(self.tape) - 1:
            self._append("mul", (root,))
        self._needs = [self._above(k) for k in range(len(self.tape))]

    def _append(self, kind: str, children: tuple[int, ...] = (), extra: Any = None) -> int:
        self.tape.append((kind, children, extra))
        return len(self.tape) - 1

    def _place(self, node: sympy.Expr) -> int:
        if node not in self._places:
            self._places[node] = self._entry(node)
        return self._places[node]

    def _must_not_vanish(self, node: sympy.Expr) -> int:
        place = self._place(node)
        if self._symbol in node.free_symbols:
            self.critical[place] = node
        return place

    def _entry(self, node: sympy.Expr) -> int:
        z = self._symbol
        if node == z:
            return self._append("symbol")
        if z not in node.free_symbols:
            return self._append("constant", (), _complex_number(node))
        if isinstance(node, sympy.Add | sympy.Mul):
            return self._append("add" if node.is_Add else "mul", tuple(self._place(child) for child in node.args))
        if isinstance(node, sympy.exp):
            return self._append("exp", (self._place(node.args[0]),))
        if isinstance(node, sympy.Pow):
            return self._power(node)
        u = node.args[0]
        if isinstance(node, sympy.log):
            return self._append("log", (self._must_not_vanish(u),))
        if isinstance(node, sympy.atan):
            up, down = (self._must_not_vanish(1 + sign * sympy.I * u) for sign in (1, -1))
            both = [self._append("log", (place,)) for place in (up, down)]
            halves = [self._append("constant", (), _complex_number(c)) for c in (-sympy.I / 2, sympy.I / 2)]
            terms = [self._append("mul", pair) for pair in zip(halves, both, strict=True)]
            return self._append("add", tuple(terms))
        if isinstance(node, sympy.asinh):
            return self._place(sympy.log(u + sympy.sqrt(1 + u**2)))
        if isinstance(node, sympy.erf | sympy.erfc | sympy.sin | sympy.cos):
            return self._append(type(node).__name__, (self._place(u),))
        raise Unsupported(f"no continuation for {type(node).__name__}")

    def _power(self, node: sympy.Pow) -> int:
        base, exponent = node.base, node.exp
        if self._symbol in exponent.free_symbols:
            return self._place(sympy.exp(exponent * sympy.log(base), evaluate=False))
        if exponent.is_Integer and 0 <= int(exponent) <= 1024:
            return self._append("power", (self._place(base),), int(exponent))
        if exponent.is_Integer and int(exponent) >= -1024:
            below = self._append("power", (self._must_not_vanish(base),), -int(exponent))
            return self._append("inverse", (below,))
        logarithm = self._append("log", (self._must_not_vanish(base),))
        factor = self._append("constant", (), _complex_number(exponent))
        return self._append("exp", (self._append("mul", (factor, logarithm)),))

    def _above(self, place: int) -> frozenset[int]:
        """Places of the tape on which a place depends, itself left out."""
        seen: set[int] = set()
        pending = list(self.tape[place][1])
        while pending:
            k = pending.pop()
            if k not in seen:
                seen.add(k)
                pending += self.tape[k][1]
        return frozenset(seen)

    def below(self, place: int) -> list[int]:
        """Places that depend on a place."""
        return [k for k, needs in enumerate(self._needs) if place in needs]

    def inner(self, place: int) -> frozenset[int]:
        """Critical places on which a place depends."""
        return self._needs[place] & self.critical.keys()

    # ---- balls --------------------------------------------------------------------------------------------------

    def along(self, path: Callable[[FloatArray], Complex], speed: float, start: int = 16) -> Walk | None:
        """Follow the expression along z = path(t), 0 ≤ t ≤ 1, |dz/dt| ≤ speed; None where 0 cannot be kept out.

        The path starts at 0, or at a point of the real line that is joined to 0 by a stretch on which the expression
        is real and smooth.
        """
        edges = np.linspace(0.0, 1.0, start + 1)
        for _ in range(_ROUNDS):
            low, high = edges[:-1], edges[1:]
            centre = path((low + high) / 2)
            reach = speed * (high - low) / 2 * (1 + 4 * _EPS) + _EPS * abs(centre)
            with np.errstate(all="ignore"):
                middle, radius, phase = self._balls(centre, reach)
                open_ = np.zeros(len(centre), dtype=bool)
                for place in self.critical:
                    open_ |= ~(radius[place] < abs(middle[place]) * 0.99)
                open_ |= ~np.isfinite(radius[-1])
            if not open_.any():
                return Walk(path(edges), middle, radius, phase)
            if len(edges) + open_.sum() > MAX_BALLS or (high - low)[open_].min() < 1e-13:
                return None
            edges = np.sort(np.concatenate([edges, ((low + high) / 2)[open_]]))
        return None

    def around(self, radius: float) -> Walk | None:
        """Once round the circle |z| = radius, from the positive real axis on."""
        return self.along(lambda t: radius * np.exp(2j * np.pi * t), 2 * np.pi * radius)

    def _balls(
        self, centre: Complex, reach: FloatArray
    ) -> tuple[list[Complex], list[FloatArray], dict[int, FloatArray]]:
        middle: list[Complex] = []
        radius: list[FloatArray] = []
        phase: dict[int, FloatArray] = {}
        for place, (kind, children, extra) in enumerate(self.tape):
            m = [middle[c] for c in children]
            r = [radius[c] for c in children]
            value: Complex
            error: Any
            if kind == "symbol":
                value, error = centre, reach
            elif kind == "constant":
                value = np.full(centre.shape, complex(extra))
                error = abs(value) * _EPS
            elif kind == "add":
                value = np.sum(m, axis=0)
                error = np.sum(r, axis=0) + _EPS * len(m) * np.sum(np.abs(m), axis=0)
            elif kind == "mul":
                value, error = m[0], r[0]
                for b, s in zip(m[1:], r[1:], strict=True):
                    error = abs(value) * s + abs(b) * error + error * s
                    value = value * b
                    error = error + _EPS * abs(value)
            elif kind == "power":
                value = m[0] ** extra
                size = abs(m[0])
                error = ((size + r[0]) ** extra - size**extra) + _EPS * extra * (size + r[0]) ** extra
            elif kind == "inverse":
                value = 1 / m[0]
                size = abs(m[0])
                error = np.where(r[0] < size, r[0] / (size * (size - r[0])), np.inf) + 4 * _EPS * abs(value)
            elif kind == "exp":
                value = np.exp(m[0])
                error = abs(value) * (np.expm1(r[0]) + 4 * _EPS * (1 + abs(m[0])))
            elif kind == "log":
                value = np.log(abs(m[0])) + 1j * phase[children[0]]
                share = r[0] / abs(m[0])
                error = np.where(share < 1, -np.log1p(-np.minimum(share, 1 - 1e-16)), np.inf) + 8 * _EPS * (
                    1 + abs(value)
                )
            else:
                value, error = _entire(kind, m[0], r[0])
            middle.append(value)
            radius.append(error)
            if place in self.critical:
                phase[place] = np.unwrap(np.angle(np.where(np.isfinite(value), value, 1.0)))
        return middle, radius, phase

    # ---- many digits --------------------------------------------------------------------------------------------

    def precisely(self, z: Any, guide: dict[int, float], last: int | None = None) -> list[tuple[Any, Any]]:
        """(value, derivative) at the places of the tape up to ``last``, on the branch next to the given phases."""
        context = NUMBERS
        found: list[tuple[Any, Any]] = []
        for kind, children, extra in self.tape[: None if last is None else last + 1]:
            kids = [found[c] for c in children]
            if kind == "symbol":
                entry = (context.mpmathify(z), context.mpf(1))
            elif kind == "constant":
                entry = (extra, context.mpf(0))
            elif kind == "add":
                entry = (sum(v for v, _ in kids), sum(d for _, d in kids))
            elif kind == "mul":
                entry = kids[0]
                for v, d in kids[1:]:
                    entry = (entry[0] * v, entry[0] * d + entry[1] * v)
            elif kind == "power":
                v, d = kids[0]
                entry = (v**extra, extra * v ** (extra - 1) * d if extra else context.mpf(0))
            elif kind == "inverse":
                v, d = kids[0]
                entry = (1 / v, -d / v**2)
            elif kind == "exp":
                v, d = kids[0]
                e = context.exp(v)
                entry = (e, e * d)
            elif kind == "log":
                v, d = kids[0]
                principal = context.log(v)
                angle = guide.get(children[0], 0.0)
                branch = int(context.nint((angle - context.im(principal)) / (2 * context.pi)))
                entry = (principal + 2j * context.pi * branch, d / v)
            else:
                entry = _entire_precisely(kind, *kids[0])
            found.append(entry)
        return found


def _entire(kind: str, m: Complex, r: FloatArray) -> tuple[Complex, FloatArray]:
    """erf, erfc, sin or cos of a ball, the radius by a bound on the derivative."""
    if kind in ("sin", "cos"):
        value = np.sin(m) if kind == "sin" else np.cos(m)
        slope = np.cosh(abs(m.imag) + r)
        return value, r * slope + 8 * _EPS * (1 + abs(m)) * slope
    import scipy.special  # here: it takes long to load, and few losses have error functions

    value = scipy.special.erf(m) if kind == "erf" else scipy.special.erfc(m)
    steepest = 2 / np.sqrt(np.pi) * np.exp(-(m**2).real + 2 * abs(m) * r + r**2)
    return value, r * steepest + _ERROR_FUNCTION * (abs(value) + (1.0 if kind == "erf" else 0.0))


def _entire_precisely(kind: str, v: Any, d: Any) -> tuple[Any, Any]:
    context = NUMBERS
    if kind == "sin":
        return context.sin(v), context.cos(v) * d
    if kind == "cos":
        return context.cos(v), -context.sin(v) * d
    bell = 2 / context.sqrt(context.pi) * context.exp(-(v**2)) * d
    return (context.erf(v), bell) if kind == "erf" else (context.erfc(v), -bell)


def _complex_number(node: sympy.Expr) -> Any:
    real, imaginary = (node, sympy.S.Zero) if not node.has(sympy.I) else node.as_real_imag()
    parts = [number(sympy.sympify(part)) for part in (real, imaginary)]
    if any(NUMBERS.isnan(part) or NUMBERS.isinf(part) for part in parts):
        raise Unsupported(f"{node} is not a finite number")
    return parts[0] if parts[1] == 0 else NUMBERS.mpc(*parts)
