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

from functools import lru_cache
from typing import Any

import mpmath
import sympy

from gpo_analysis.calculus.arithmetic import EXACT, INTERVALS, NUMBERS, constant
from gpo_analysis.calculus.float_intervals import FLOATS, enclosed
from gpo_analysis.calculus.recurrences import FUNCTIONS, PAIRS, Jet, log_or_log1p, multiply, power

#: What operations cost on intervals, in that of a sum; 2 where nothing is said.
_COSTS = {
    "symbol": 0,
    "constant": 0,
    "add": 1,
    "mul": 2,
    "power": 3,
    "exp": 4,
    "log": 6,
    "log1p": 8,
    "log_or_log1p": 8,
    "tanh": 10,
    "one_minus_tanh": 6,
    "sinh": 8,
    "cosh": 8,
    "sin": 4,
    "cos": 4,
    "erf": 13,
    "erfc": 13,
    "atan": 7,
    "asinh": 7,
    "LambertW": 30,
}


class Unsupported(Exception):
    """The expression holds a function for which no recurrence is written."""


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
    >>> from gpo_analysis.calculus.arithmetic import bounds
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
        self._indices: dict[sympy.Expr, int] = {}
        self._constants: dict[tuple[Any, int], Any] = {}
        self._root = self._index(sympy.sympify(expression))

    def _index(self, node: sympy.Expr) -> int:
        if node not in self._indices:
            entry = self._entry(node)
            self._indices[node] = len(self._tape)
            self._tape.append(entry)
        return self._indices[node]

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
            return ("power", (self._index(node.base), self._index(exponent)), exponent)
        if isinstance(node, sympy.Pow):  # aˣ = e^{x log a}
            return self._entry(sympy.exp(node.exp * sympy.log(node.base), evaluate=False))
        if isinstance(node, sympy.Add):
            complement = _complement(node)
            if complement is not None:
                kind, coefficient, argument, rest = complement
                function = self._append((kind, (self._index(argument),), None))
                product = self._append(("mul", (self._index(coefficient), function), None))
                return ("add", (product, self._index(rest)), None)
            return ("add", tuple(self._index(child) for child in node.args), None)
        if isinstance(node, sympy.Mul):
            return ("mul", tuple(self._index(child) for child in node.args), None)
        inner = node.args[0] if isinstance(node, sympy.log) else None
        if isinstance(inner, sympy.Add) and _complement(inner) is not None:
            return ("log_or_log1p", (self._index(inner), self._index(inner - 1)), None)
        if isinstance(inner, sympy.Add) and inner.as_coeff_Add()[0] == 1:
            return ("log1p", (self._index(inner - 1),), None)  # log(1 + e^{−z}) keeps all digits for large z
        name = type(node).__name__
        if (name not in FUNCTIONS and name not in PAIRS) or len(node.args) != 1:
            raise Unsupported(f"no Taylor recurrence for {name}")
        return (name, (self._index(node.args[0]),), None)

    @property
    def length(self) -> int:
        """Operations in one evaluation: what a budget counts."""
        return len(self._tape)

    @property
    def cost(self) -> int:
        """Those operations by what they cost on intervals: an exponential as much as four sums, tanh as ten."""
        return sum(_COSTS.get(kind, 2) for kind, _, _ in self._tape)

    @property
    def sums(self) -> frozenset[int]:
        """Indices of the sums among :meth:`steps`: only there can numbers cancel."""
        return frozenset(k for k, (kind, _, _) in enumerate(self._tape) if kind == "add")

    def uses(self, *names: str) -> bool:
        """Whether one of these functions occurs."""
        return any(kind in names for kind, _, _ in self._tape)

    def steps(self, x: Any, order: int, context: Any) -> list[Jet]:
        """The jets of all operations, in the order in which they are done; the last is that of the expression.

        Raises what the arithmetic of ``context`` raises where the expression has no value.
        """
        jets: list[Jet] = []
        pairs: dict[tuple[Any, int], tuple[Jet, Jet]] = {}
        zero, one = context.zero, context.mpf(1)
        for index, (kind, children, extra) in enumerate(self._tape):
            if kind == "symbol":
                jets.append([x, one, *[zero] * (order - 1)][: order + 1])
            elif kind == "constant":
                key = (context, index)
                if key not in self._constants:
                    self._constants[key] = constant(extra, context)
                jets.append([self._constants[key]] + [zero] * order)
            elif kind == "add":
                jets.append([sum(column[1:], column[0]) for column in zip(*(jets[c] for c in children), strict=True)])
            elif kind == "mul":
                jet = jets[children[0]]
                for child in children[1:]:
                    jet = multiply(jet, jets[child], zero)
                jets.append(jet)
            elif kind == "power":
                jets.append(power(jets[children[0]], extra, jets[children[1]][0], context))
            elif kind == "log_or_log1p":
                jets.append(log_or_log1p(jets[children[0]], jets[children[1]], context))
            elif kind in PAIRS:
                both, which = PAIRS[kind]
                if (both, children[0]) not in pairs:
                    pairs[both, children[0]] = both(jets[children[0]], context)
                jets.append(pairs[both, children[0]][which])
            else:
                jets.append(FUNCTIONS[kind](jets[children[0]], context))
        return jets

    def _run(self, x: Any, order: int, context: Any) -> Jet:
        return self.steps(x, order, context)[self._root]

    def at(self, x: Any, order: int = 0) -> Jet:
        """Taylor coefficients c₀ … c_order at a real or complex point, to about PRECISION bits.

        Where the expression has no value there (a pole, the logarithm of 0, at a real point that of −1) every entry is
        NaN.
        """
        point = NUMBERS.mpmathify(x)
        try:
            jet = self._run(point, order, NUMBERS)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.ComplexResult):
            return [NUMBERS.nan] * (order + 1)
        if isinstance(point, NUMBERS.mpf) and any(isinstance(c, NUMBERS.mpc) for c in jet):
            return [NUMBERS.nan] * (order + 1)
        return jet

    def exactly_at_zero(self, order: int) -> Jet:
        """Taylor coefficients c₀ … c_order at 0 as exact sympy numbers."""
        return self._run(sympy.S.Zero, order, EXACT)

    def over(self, lower: Any, upper: Any, order: int = 0) -> Jet:
        """Enclosures of c₀ … c_order over [lower, upper], (-∞, ∞) where nothing is known."""
        try:
            return self._run(INTERVALS.mpf([lower, upper]), order, INTERVALS)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.ComplexResult):
            return [INTERVALS.mpf(["-inf", "inf"])] * (order + 1)

    def quickly_over(self, lower: Any, upper: Any, order: int = 0) -> Jet | None:
        """As :meth:`over`, with floats as ends: wider by their rounding; None where floats cannot compute it."""
        try:
            return self._run(enclosed([lower, upper]), order, FLOATS)
        except (ArithmeticError, ValueError, TypeError, AttributeError, KeyError, NotImplementedError):
            return None


@lru_cache(maxsize=1024)
def jet_function(expression: sympy.Expr, symbol: sympy.Symbol) -> JetFunction:
    """A compiled :class:`JetFunction`, remembered."""
    return JetFunction(expression, symbol)


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
