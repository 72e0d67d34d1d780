"""Taylor coefficients of an expression, as numbers of any precision or as rigorous enclosures.

A *jet* at x is the list [c₀, …, cₙ] of an expression's Taylor coefficients there, cₖ = f⁽ᵏ⁾(x)/k!, computed by the
recurrences of automatic differentiation (Moore 1966; Griewank and Walther 2008, chapter 13). One set of recurrences
serves three arithmetics:

- real and complex numbers of any precision (mpmath): high derivatives, root tests, polishing of roots;
- intervals (mpmath's ``iv``): a jet over [a, b] holds every cₖ at every point of [a, b]. What is decided from such a
  jet is decided for all these points, rounding included. tanh, atan, erf and the like are monotone and are evaluated
  at the end points, in more digits than are kept.

Nothing here simplifies or solves, so that the time is a fixed number of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import mpmath
import sympy

#: Bits kept. f″ of a loss at z = ±100 is computed without a subtraction that 40 digits would not survive.
PRECISION = 150
_GUARD = 30
#: |x| beyond which eˣ is taken as 0 or ∞: numbers of that size stand for nothing, and cost time without bound.
_HUGE = 2.0**1000


class Unsupported(Exception):
    """The expression holds a function for which no recurrence is written."""


class _Exact:
    """Exact sympy numbers behind the few names by which the recurrences call an arithmetic."""

    inf = sympy.oo
    zero = sympy.S.Zero
    pi = sympy.pi
    exp, log, sqrt = sympy.exp, sympy.log, staticmethod(sympy.sqrt)
    log1p = staticmethod(lambda x: sympy.log(1 + x))
    sin, cos, sinh, tanh, atan, asinh = sympy.sin, sympy.cos, sympy.sinh, sympy.tanh, sympy.atan, sympy.asinh
    erf, erfc, lambertw = sympy.erf, sympy.erfc, sympy.LambertW
    mpf = staticmethod(sympy.Integer)
    re = staticmethod(lambda x: x)


def _context(interval: bool) -> Any:
    context = mpmath.ctx_iv.MPIntervalContext() if interval else mpmath.MPContext()
    context.prec = PRECISION
    return context


NUMBERS = _context(False)
INTERVALS = _context(True)
EXACT = _Exact()
_WIDE = _context(False)
_WIDE.prec = PRECISION + _GUARD

Jet = list[Any]


class JetFunction:
    """An expression in one symbol, compiled to evaluate its jets.

    Parameters
    ----------
    expression : sympy.Expr
        Sums, products, powers with constant exponents, and the functions exp, log, sinh, cosh, tanh, sin, cos,
        atan, asinh, erf, erfc and LambertW (principal branch), in one symbol. No kinks: see
        :mod:`gpo_analysis.calculus.pieces`.
    symbol : sympy.Symbol
        The variable.

    Raises
    ------
    Unsupported
        For any other function.

    Examples
    --------
    >>> import sympy
    >>> z = sympy.Symbol("z", real=True)
    >>> f = JetFunction(sympy.exp(-z), z)
    >>> [float(c) for c in f.at(0, 3)]  # doctest: +ELLIPSIS
    [1.0, -1.0, 0.5, -0.1666...]
    >>> low, high = bounds(f.over(0, 1, 0)[0])
    >>> float(low) <= 2.718281828459045 ** -1 and float(high) >= 1.0
    True
    """

    def __init__(self, expression: sympy.Expr, symbol: sympy.Symbol) -> None:
        self._symbol = symbol
        self._tape: list[tuple[Any, tuple[int, ...], Any]] = []
        self._places: dict[sympy.Expr, int] = {}
        self._constants: dict[tuple[int, int], Any] = {}
        self._root = self._place(sympy.sympify(expression))

    def _place(self, node: sympy.Expr) -> int:
        if node not in self._places:
            entry = self._entry(node)
            self._places[node] = len(self._tape)
            self._tape.append(entry)
        return self._places[node]

    def _append(self, entry: tuple[Any, tuple[int, ...], Any]) -> int:
        self._tape.append(entry)
        return len(self._tape) - 1

    def _entry(self, node: sympy.Expr) -> tuple[Any, tuple[int, ...], Any]:
        if node == self._symbol:
            return ("symbol", (), None)
        if not node.free_symbols and (node.is_Number or node.is_NumberSymbol):
            if not node.is_finite:
                raise Unsupported(f"{node} is not a finite number")
            return ("constant", (), node)
        if isinstance(node, sympy.Pow) and node.exp.is_number and node.base != sympy.E:
            exponent = sympy.Rational(str(node.exp)) if node.exp.is_Float else node.exp
            return ("power", (self._place(node.base),), exponent)
        if isinstance(node, sympy.Pow):  # aˣ = e^{x log a}
            return self._entry(sympy.exp(node.exp * sympy.log(node.base), evaluate=False))
        if isinstance(node, sympy.Add):
            complement = _complement(node)
            if complement is not None:
                kind, coefficient, argument, rest = complement
                function = self._append((kind, (self._place(argument),), None))
                product = self._append(("mul", (self._place(coefficient), function), None))
                return ("add", (product, self._place(rest)), None)
            return ("add", tuple(self._place(child) for child in node.args), None)
        if isinstance(node, sympy.Mul):
            return ("mul", tuple(self._place(child) for child in node.args), None)
        if isinstance(node, sympy.log) and _is_one_plus(node.args[0]):
            return ("log1p", (self._place(node.args[0] - 1),), None)  # log(1 + e^{−z}) keeps all digits for large z
        name = type(node).__name__
        if name not in _FUNCTIONS or len(node.args) != 1:
            raise Unsupported(f"no Taylor recurrence for {name}")
        return (name, (self._place(node.args[0]),), None)

    def _run(self, x: Any, order: int, context: Any) -> Jet:
        jets: list[Jet] = []
        zero, one = context.mpf(0), context.mpf(1)
        for place, (kind, children, extra) in enumerate(self._tape):
            if kind == "symbol":
                jets.append([x, one, *[zero] * (order - 1)][: order + 1])
            elif kind == "constant":
                key = (id(context), place)
                if key not in self._constants:
                    self._constants[key] = _constant(extra, context)
                jets.append([self._constants[key]] + [zero] * order)
            elif kind == "add":
                jets.append([sum(column[1:], column[0]) for column in zip(*(jets[c] for c in children), strict=True)])
            elif kind == "mul":
                jet = jets[children[0]]
                for child in children[1:]:
                    jet = _multiply(jet, jets[child], zero)
                jets.append(jet)
            elif kind == "power":
                jets.append(_power(jets[children[0]], extra, context))
            else:
                jets.append(_FUNCTIONS[kind](jets[children[0]], context))
        return jets[self._root]

    def at(self, x: Any, order: int = 0) -> Jet:
        """Taylor coefficients c₀ … c_order at a real or complex point, to about PRECISION bits.

        Where the expression has no value there (a pole, the logarithm of 0) every entry is NaN.
        """
        try:
            return self._run(NUMBERS.mpmathify(x), order, NUMBERS)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.ComplexResult):
            return [NUMBERS.nan] * (order + 1)

    def exactly_at_zero(self, order: int) -> Jet:
        """Taylor coefficients c₀ … c_order at 0 as exact sympy numbers."""
        return self._run(sympy.S.Zero, order, EXACT)

    def over(self, lower: Any, upper: Any, order: int = 0) -> Jet:
        """Enclosures of c₀ … c_order over [lower, upper], (-∞, ∞) where nothing is known."""
        try:
            return self._run(INTERVALS.mpf([lower, upper]), order, INTERVALS)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.ComplexResult):
            return [INTERVALS.mpf(["-inf", "inf"])] * (order + 1)


@lru_cache(maxsize=1024)
def jet_function(expression: sympy.Expr, symbol: sympy.Symbol) -> JetFunction:
    """A compiled :class:`JetFunction`, remembered."""
    return JetFunction(expression, symbol)


def bounds(interval: Any) -> tuple[Any, Any]:
    """Lower and upper end of an enclosure, as mpmath numbers; (-∞, ∞) for one that holds NaN."""
    low, high = (NUMBERS.make_mpf(end) for end in interval._mpi_)
    if NUMBERS.isnan(low) or NUMBERS.isnan(high):
        return NUMBERS.ninf, NUMBERS.inf
    return low, high


def sign_of(interval: Any) -> int | None:
    """+1 or −1 where an enclosure lies strictly on one side of 0, 0 where it is {0}, None otherwise."""
    low, high = bounds(interval)
    if low > 0:
        return 1
    if high < 0:
        return -1
    return 0 if low == 0 == high else None


def number(expression: sympy.Expr, digits: int = 50) -> Any:
    """Value of a constant expression as an mpmath real; ±∞ allowed, NaN where there is no real value."""
    if expression in (sympy.oo, -sympy.oo):
        return NUMBERS.inf if expression == sympy.oo else NUMBERS.ninf
    value = sympy.N(expression, digits)
    if value.is_Float or value.is_Integer or value.is_Rational:
        return NUMBERS.mpf(str(value))
    return NUMBERS.nan


def _complement(total: sympy.Expr) -> tuple[str, sympy.Expr, sympy.Expr, sympy.Expr] | None:
    """Find c − c erf u, 2c − c erfc u or c − c tanh u in a sum, which cancel where u is large.

    Returns (function, coefficient, argument, rest of the sum) with sum = coefficient · function(argument) + rest, or
    None. sympy itself turns erfc(−u) into 2 − erfc(u), so that this must be undone where numbers are computed.
    """
    constant, _ = total.as_coeff_Add()
    if constant == 0:
        return None
    for term in total.args:
        coefficient, function = term.as_coeff_Mul()
        if not isinstance(function, sympy.erf | sympy.erfc | sympy.tanh):
            continue
        u, rest = function.args[0], total - term - constant
        if isinstance(function, sympy.erfc) and constant == -2 * coefficient:
            return "erfc", -coefficient, -u, rest
        if not isinstance(function, sympy.erfc) and abs(coefficient) == abs(constant):
            side = -u if coefficient == constant else u
            return "erfc" if isinstance(function, sympy.erf) else "one_minus_tanh", constant, side, rest
    return None


def _is_one_plus(node: sympy.Expr) -> bool:
    return bool(node.is_Add and node.as_coeff_Add()[0] == 1 and _complement(node) is None)


def _constant(node: sympy.Expr, context: Any) -> Any:
    if context is EXACT:
        return node
    if node.is_Rational:
        return context.mpf(int(node.p)) / int(node.q)
    if node.is_Float:
        exact = sympy.Rational(str(node))
        return context.mpf(int(exact.p)) / int(exact.q)
    if node is sympy.pi:
        return +context.pi
    if node is sympy.E:
        return context.exp(context.mpf(1))
    return _widened(_WIDE.mpf(str(sympy.N(node, 70))), context)


def _widened(value: Any, context: Any) -> Any:
    """A number known to ``_WIDE`` precision, as one of ``context``: an interval that is sure to hold the true one."""
    if context is NUMBERS:
        return context.mpmathify(value)
    slack = abs(value) * _WIDE.mpf(2) ** (-PRECISION)
    return context.mpf([value - slack, value + slack])


def _monotone(name: str, x: Any, context: Any, rising: bool = True) -> Any:
    """A monotone function of a number, or of an interval from its end points."""
    if context is not INTERVALS:
        return getattr(context, name)(x)
    function = getattr(_WIDE, name)
    low, high = (_WIDE.make_mpf(end) for end in x._mpi_)
    if not rising:
        low, high = high, low
    values = _widened(function(low), context), _widened(function(high), context)
    return context.mpf([values[0].a, values[1].b])


def _exponential(x: Any, context: Any) -> Any:
    """eˣ with the exponent kept in reach (a tower of exponentials must not ask for gigabytes)."""
    if context is INTERVALS:
        low, high = bounds(x)
        if low > _HUGE:
            return context.mpf([context.exp(context.mpf(_HUGE)).a, "inf"])
        if high < -_HUGE:
            return context.mpf([0, context.exp(context.mpf(-_HUGE)).b])
        bottom = context.exp(context.mpf(low)).a if low > -_HUGE else 0
        top = context.exp(context.mpf(high)).b if high < _HUGE else "inf"
        return context.mpf([bottom, top])
    real = context.re(x)
    if real > _HUGE:
        return context.inf
    return context.zero if real < -_HUGE else context.exp(x)


def _tidy(value: Any) -> Any:
    """Exact numbers are multiplied out, so that sums of them do not grow without bound."""
    return sympy.radsimp(sympy.expand(value)) if isinstance(value, sympy.Expr) and not value.is_Rational else value


def _multiply(a: Jet, b: Jet, zero: Any) -> Jet:
    return [_tidy(sum((a[j] * b[k - j] for j in range(k + 1)), zero)) for k in range(len(a))]


def _divide(a: Jet, b: Jet, zero: Any) -> Jet:
    quotient: Jet = []
    for k in range(len(a)):
        quotient.append(_tidy((a[k] - sum((b[j] * quotient[k - j] for j in range(1, k + 1)), zero)) / b[0]))
    return quotient


def _integrate(first: Any, derivative: Callable[[int], Any], order: int) -> Jet:
    """[first, d₀/1, d₁/2, …]: the jet whose derivative has the coefficients d."""
    jet = [first]
    for k in range(1, order + 1):
        jet.append(derivative(k - 1) / k)
    return jet


def _slopes(a: Jet) -> Jet:
    return [a[k] * k for k in range(1, len(a))]


def _power(a: Jet, exponent: sympy.Expr, context: Any) -> Jet:
    zero, one = context.mpf(0), context.mpf(1)
    if exponent.is_Integer and 0 <= int(exponent) <= 1024:
        return _natural_power(a, int(exponent), context)
    if exponent.is_Integer and -1024 <= int(exponent) < 0:
        return _divide([one] + [zero] * (len(a) - 1), _natural_power(a, -int(exponent), context), zero)
    r = (
        _constant(exponent, context)
        if exponent.is_Number
        else JetFunction(exponent, sympy.Symbol("_"))._run(zero, 0, context)[0]
    )
    if context is INTERVALS and bounds(a[0])[0] < 0:
        raise ValueError("power of a negative number")
    jet = [context.sqrt(a[0]) if exponent == sympy.S.Half else _exponential(r * context.log(a[0]), context)]
    for k in range(1, len(a)):
        total = sum(((r * j - (k - j)) * a[j] * jet[k - j] for j in range(1, k + 1)), zero)
        jet.append(_tidy(total / (k * a[0])))
    return jet


def _natural_power(a: Jet, exponent: int, context: Any) -> Jet:
    zero, one = context.mpf(0), context.mpf(1)
    result: Jet = [one] + [zero] * (len(a) - 1)
    square, left = a, exponent
    while left:
        if left & 1:
            result = _multiply(result, square, zero) if left != exponent else list(square)
        left >>= 1
        if left:
            low = square[0]
            square = _multiply(square, square, zero)
            square[0] = low**2  # an interval squared knows that it is not negative
    return result


def _exp(a: Jet, context: Any) -> Jet:
    slopes, zero = _slopes(a), context.mpf(0)
    jet = [_exponential(a[0], context)]
    for k in range(1, len(a)):
        jet.append(sum((slopes[j] * jet[k - 1 - j] for j in range(k)), zero) / k)
    return jet


def _log(a: Jet, context: Any) -> Jet:
    if context is INTERVALS and bounds(a[0])[0] <= 0:
        raise ValueError("logarithm of what may be negative")
    quotient = _divide(_slopes(a), a[:-1], context.mpf(0)) if len(a) > 1 else []
    return _integrate(context.log(a[0]), lambda k: quotient[k], len(a) - 1)


def _log1p(a: Jet, context: Any) -> Jet:
    if context is INTERVALS and bounds(a[0])[0] <= -1:
        raise ValueError("logarithm of what may be negative")
    quotient = _divide(_slopes(a), [a[0] + 1, *a[1:-1]], context.mpf(0)) if len(a) > 1 else []
    return _integrate(_monotone("log1p", a[0], context), lambda k: quotient[k], len(a) - 1)


def _from_slope(name: str, slope: Callable[[Jet, Any], Jet]) -> Callable[[Jet, Any], Jet]:
    """A monotone function of a jet from its own derivative, as a function of the jet."""

    def jet(a: Jet, context: Any) -> Jet:
        first = _monotone(name, a[0], context, rising=name != "erfc")
        if len(a) == 1:
            return [first]
        derivative = _multiply(slope(a[:-1], context), _slopes(a), context.mpf(0))
        return _integrate(first, lambda k: derivative[k], len(a) - 1)

    return jet


def _one_plus_square(a: Jet, context: Any) -> Jet:
    square = _natural_power(a, 2, context)
    return [square[0] + 1, *square[1:]]


def _ones(a: Jet, context: Any) -> Jet:
    return [context.mpf(1)] + [context.mpf(0)] * (len(a) - 1)


def _sech_squared(a: Jet, context: Any) -> Jet:
    """4 e^{−2u} / (1 + e^{−2u})², on the side where the exponential does not overflow."""
    low = bounds(a[0])[0] if context is INTERVALS else context.re(a[0])
    flip = -2 if low > 0 else 2
    e = _exp([flip * c for c in a], context)
    return _divide([4 * c for c in e], _natural_power([e[0] + 1, *e[1:]], 2, context), context.mpf(0))


def _one_minus_tanh(a: Jet, context: Any) -> Jet:
    """1 − tanh u = 2 / (1 + e^{2u})."""
    e = _exp([2 * c for c in a], context)
    return _divide([context.mpf(2)] + [context.mpf(0)] * (len(a) - 1), [e[0] + 1, *e[1:]], context.mpf(0))


def _gaussian(sign: int) -> Callable[[Jet, Any], Jet]:
    def slope(a: Jet, context: Any) -> Jet:
        bell = _exp([-c for c in _natural_power(a, 2, context)], context)
        factor = sign * 2 / context.sqrt(+context.pi)
        return [factor * c for c in bell]

    return slope


def _trigonometric(a: Jet, context: Any) -> tuple[Jet, Jet]:
    slopes, zero = _slopes(a), context.mpf(0)
    sine, cosine = [context.sin(a[0])], [context.cos(a[0])]
    for k in range(1, len(a)):
        up = sum((slopes[j] * cosine[k - 1 - j] for j in range(k)), zero) / k
        down = sum((slopes[j] * sine[k - 1 - j] for j in range(k)), zero) / k
        sine.append(up)
        cosine.append(-down)
    return sine, cosine


def _hyperbolic(a: Jet, context: Any) -> tuple[Jet, Jet]:
    rising, falling = _exp(a, context), _exp([-c for c in a], context)
    sinh = [(up - down) / 2 for up, down in zip(rising, falling, strict=True)]
    cosh = [(up + down) / 2 for up, down in zip(rising, falling, strict=True)]
    if context is INTERVALS:
        sinh[0] = _monotone("sinh", a[0], context)
        low, high = bounds(a[0])
        if low <= 0 <= high:
            cosh[0] = context.mpf([1, cosh[0].b])
    return sinh, cosh


def _lambert(a: Jet, context: Any) -> Jet:
    """w eʷ = a, so w′ = a′ / (eʷ (1 + w)), solved coefficient by coefficient."""
    zero = context.mpf(0)
    jet = [_monotone("lambertw", a[0], context)]
    for k in range(1, len(a)):
        e = _exp(jet, context)
        weight = _multiply(e, [1 + jet[0], *jet[1:]], zero)
        derivative = _divide(_slopes(a)[:k], weight[:k], zero)
        jet.append(derivative[k - 1] / k)
    return jet


_FUNCTIONS: dict[str, Callable[[Jet, Any], Jet]] = {
    "exp": _exp,
    "log": _log,
    "log1p": _log1p,
    "sinh": lambda a, context: _hyperbolic(a, context)[0],
    "cosh": lambda a, context: _hyperbolic(a, context)[1],
    "tanh": _from_slope("tanh", _sech_squared),
    "sin": lambda a, context: _trigonometric(a, context)[0],
    "cos": lambda a, context: _trigonometric(a, context)[1],
    "atan": _from_slope("atan", lambda a, c: _divide(_ones(a, c), _one_plus_square(a, c), c.mpf(0))),
    "asinh": _from_slope("asinh", lambda a, c: _power(_one_plus_square(a, c), sympy.Rational(-1, 2), c)),
    "erf": _from_slope("erf", _gaussian(1)),
    "one_minus_tanh": _one_minus_tanh,
    "erfc": _from_slope("erfc", _gaussian(-1)),
    "LambertW": _lambert,
}


def polynomial(coefficients: Sequence[Any], x: Any) -> Any:
    """Σ cₖ xᵏ by Horner's rule, in whatever arithmetic c and x are."""
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
