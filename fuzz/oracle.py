"""Brute force for losses of one margin and for small problems, in mpmath: shares with the library the expression alone.

A minimum over the line is sought on a grid of 2,000 points (of even steps near 0, by a constant factor beyond) and
narrowed down by golden sections in 50 digits. A minimum over the rewards of a few responses is sought by descents from
many starts in floats; what counts of them is the value in 50 digits at their ends. So what is found is a bound from
above: the library is wrong where it claims something higher, and nothing can be missed by rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import sympy
from scipy.optimize import minimize

import gpo_analysis as gpo

DIGITS = 50
_GOLD = (mpmath.sqrt(5) - 1) / 2
_HALF = np.unique(np.concatenate([np.linspace(0, 12, 601), np.geomspace(12, 1e7, 250), np.geomspace(1e-7, 1e-2, 60)]))
GRID = np.concatenate([-_HALF[:0:-1], _HALF])


def _nested(expression: sympy.Expr) -> bool:
    """Whether an exponential stands in the exponent of another: far out mpmath itself has no bound on its work."""
    kinds = (sympy.exp, sympy.cosh, sympy.sinh, sympy.tanh)
    return any(node.args[0].has(*kinds) for node in expression.atoms(*kinds))


class Line:
    """A loss on the line: f in 50 digits, its values on the grid."""

    def __init__(self, loss: gpo.MarginLoss) -> None:
        self._f = sympy.lambdify(loss.symbol, loss.expression, "mpmath")
        most = 60.0 if _nested(loss.expression) else 1e7
        self.grid = GRID[abs(GRID) <= most]
        self.far = [20.0, 40.0, 60.0] if most < 1e7 else [10.0**k for k in (2, 3, 5, 7, 11, 15, 20, 30)]
        self.values = [self(x) for x in self.grid]

    def __call__(self, z: Any) -> Any:
        try:
            value = self._f(mpmath.mpf(z))
        except (OverflowError, ZeroDivisionError):
            return mpmath.inf
        return mpmath.re(value)

    def at(self, p: Any, q: Any, s: Any, z: Any) -> Any:
        """p f(z) + q f(−z) − s z."""
        total = -s * mpmath.mpf(z)
        total += p * self(z) if p else 0
        return total + (q * self(-mpmath.mpf(z)) if q else 0)

    def size(self, p: Any, q: Any, s: Any, z: Any) -> Any:
        """|p f(z)| + |q f(−z)| + |s z|: a float's rounding is a few units of this in the last place."""
        return abs(p * self(z)) + abs(q * self(-mpmath.mpf(z))) + abs(s * mpmath.mpf(z))

    def lowest(self, p: Any, q: Any, s: Any) -> tuple[Any, Any]:
        """The least value of p f(z) + q f(−z) − s z that is found, and where."""
        rows = [
            p * a + q * b - s * x if q else p * a - s * x
            for x, a, b in zip(map(mpmath.mpf, self.grid), self.values, self.values[::-1], strict=True)
        ]
        inner = [k for k in range(1, len(rows) - 1) if rows[k] <= rows[k - 1] and rows[k] <= rows[k + 1]]
        best = min((0, len(rows) - 1), key=lambda k: rows[k])
        found = (rows[best], mpmath.mpf(self.grid[best]))
        for k in sorted(inner, key=lambda k: rows[k])[:4]:
            low, high = mpmath.mpf(self.grid[k - 1]), mpmath.mpf(self.grid[k + 1])
            found = min(found, _golden(lambda z: self.at(p, q, s, z), low, high), (rows[k], mpmath.mpf(self.grid[k])))
        return found


def _golden(f: Callable[[Any], Any], low: Any, high: Any) -> tuple[Any, Any]:
    """The least value in [low, high], by sections down to 1e-24 of it."""
    a, b = high - _GOLD * (high - low), low + _GOLD * (high - low)
    fa, fb = f(a), f(b)
    for _ in range(110):
        if fa <= fb:
            high, b, fb = b, a, fa
            a = high - _GOLD * (high - low)
            fa = f(a)
        else:
            low, a, fa = a, b, fb
            b = low + _GOLD * (high - low)
            fb = f(b)
    return min((fa, a), (fb, b))


@dataclass(frozen=True)
class Table:
    """A problem as its sum Σ w f(g_i − g_j) in 50 digits."""

    line: Line
    loss: gpo.MarginLoss
    pairs: Any
    n: int

    def exact(self, g: Any) -> Any:
        """Σ w f(g_i − g_j) with the draws of twice the same response."""
        g = [mpmath.mpf(x) for x in g]
        known: dict[Any, Any] = {}
        total = mpmath.mpf(float(self.pairs.diagonal_mass)) * self.line(0)
        for i, j, w in zip(self.pairs.winner, self.pairs.loser, self.pairs.weight, strict=True):
            z = g[i] - g[j]
            if z not in known:
                known[z] = self.line(z)
            total += mpmath.mpf(float(w)) * known[z]
        return total

    def shaken(self, g: Any) -> Any:
        """By how much the rounding of g in floats can change the sum: much, beside a cusp."""
        total, room = mpmath.mpf(0), mpmath.mpf(2) ** -51 * (1 + max(abs(float(x)) for x in g))
        for i, j, w in zip(self.pairs.winner, self.pairs.loser, self.pairs.weight, strict=True):
            z = mpmath.mpf(float(g[i])) - mpmath.mpf(float(g[j]))
            total += mpmath.mpf(float(w)) * max(abs(self.line(z + k * room) - self.line(z)) for k in (-1, 1))
        return total

    def floats(self, x: np.ndarray) -> float:
        """The same in floats, the last reward 0; infinite where it is no number."""
        g = np.append(x, 0.0)
        with np.errstate(all="ignore"):
            value = float(self.pairs.weight @ self.loss(g[self.pairs.winner] - g[self.pairs.loser]))
        return value if np.isfinite(value) else 1e300

    def lowest(self, rng: np.random.Generator, more: list[np.ndarray]) -> tuple[Any, np.ndarray]:
        """The least value that many descents find, and the rewards there."""
        n = self.n
        starts = [np.zeros(n - 1), *[np.asarray(g[:-1] - g[-1]) for g in more if np.isfinite(g).all()]]
        starts += [scale * rng.normal(size=n - 1) for scale in (0.5, 2.0, 2.0, 6.0, 20.0)]
        ends: list[np.ndarray] = []
        for start in starts:
            for method in ("BFGS", "Nelder-Mead"):
                options = {"maxiter": 400 * n} if method == "Nelder-Mead" else {"gtol": 1e-11}
                with np.errstate(all="ignore"):
                    end = minimize(self.floats, start, method=method, options=options, tol=1e-13).x
                if np.isfinite(end).all() and abs(end).max(initial=0.0) < 1e6:
                    ends.append(end)
        order = sorted(ends or starts, key=self.floats)[:3]
        found = [(self.exact(np.append(end, 0.0)), np.append(end, 0.0)) for end in order]
        return min(found, key=lambda pair: pair[0])
