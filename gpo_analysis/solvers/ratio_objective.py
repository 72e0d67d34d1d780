r"""Σ_k w_k F(u_i, u_j) over pairs of log-ratios u = β log π/πref, for policies on the simplex.

The policy is softmax θ, so that u = β(θ − logsumexp θ − log πref) keeps Σπ = 1 by itself. With g = ∂L/∂u and
J = I − 1πᵀ the gradient in θ is β Jᵀg = β(g − π Σg), and the Hessian β² Jᵀ(∂²L/∂u²)J − β(Σg)(diag π − ππᵀ).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.losses import CHOSEN, REJECTED, TwoRatioLoss
from gpo_analysis.losses.compile_two import numpy_function

#: A log-ratio that stands for −∞.
GONE = -700.0


@lru_cache(maxsize=256)
def kinked(loss: TwoRatioLoss) -> bool:
    """Whether a max, min or absolute value stands in F."""
    return bool(loss.expression.has(sympy.Max, sympy.Min, sympy.Abs))


@lru_cache(maxsize=256)
def rounded(expression: sympy.Expr, width: sympy.Rational) -> sympy.Expr:
    """F with max(p, q) as q + w log(1 + e^{(p − q)/w}), at most w log 2 above it; min and \\|·\\| likewise."""
    if not expression.args:
        return expression
    arguments = [rounded(argument, width) for argument in expression.args]
    if expression.func in (sympy.Max, sympy.Min):
        sign = 1 if expression.func is sympy.Max else -1
        found = arguments[0]
        for other in arguments[1:]:
            found = other + sign * width * sympy.log(1 + sympy.exp(sign * (found - other) / width))
        return found
    if expression.func is sympy.Abs:
        return 2 * width * sympy.log(1 + sympy.exp(arguments[0] / width)) - arguments[0]
    return expression.func(*arguments)


@dataclass(frozen=True, eq=False)
class RatioObjective:
    """The loss of one context.

    Attributes
    ----------
    loss : TwoRatioLoss
    beta : float
    log_reference : array, shape (n,)
    first, second : array of int, shape (k,)
        The chosen and the rejected of each pair; equal draws, i = j, are pairs too.
    weight : array, shape (k,)
        Above 0.
    fixed : array of bool, shape (n,)
        Responses without mass, whose u is :data:`GONE` and less.
    levels : array, shape (n,)
        u of these.
    width : float
        Of the rounding of kinks; 0 for none.
    """

    loss: TwoRatioLoss
    beta: float
    log_reference: FloatArray
    first: IntArray
    second: IntArray
    weight: FloatArray
    fixed: BoolArray
    levels: FloatArray
    width: float = 0.0

    @property
    def n(self) -> int:
        """Number of responses."""
        return len(self.log_reference)

    def log_policy(self, theta: FloatArray) -> FloatArray:
        """log π of logits, −∞ for responses without mass."""
        free = np.where(self.fixed, -np.inf, theta)
        top = float(free.max())
        return np.asarray(free - top - np.log(np.sum(np.exp(free - top))))

    def ratios(self, theta: FloatArray) -> FloatArray:
        """u, those of responses without mass at their levels."""
        with np.errstate(invalid="ignore"):
            u = self.beta * (self.log_policy(theta) - self.log_reference)
        return np.where(self.fixed, self.levels, u)

    def _partial(self, u: FloatArray, orders: tuple[int, int]) -> FloatArray:
        a, b = u[self.first], u[self.second]
        if self.width:
            function = _rounded_function(self.loss.expression, self.width, orders)
            with np.errstate(all="ignore"):
                return np.broadcast_to(np.asarray(function(a, b), dtype=np.float64), a.shape)
        return np.asarray(self.loss.derivative(a, b, orders))

    def value(self, u: FloatArray) -> float:
        """L(u)."""
        return float(self.weight @ self._partial(u, (0, 0)))

    def gradient(self, u: FloatArray) -> FloatArray:
        """∂L/∂u, shape (n,)."""
        pulls = [self.weight * self._partial(u, orders) for orders in ((1, 0), (0, 1))]
        found = np.bincount(self.first, pulls[0], self.n) + np.bincount(self.second, pulls[1], self.n)
        return np.where(self.fixed, 0.0, found)

    def hessian(self, u: FloatArray) -> FloatArray:
        """∂²L/∂u², shape (n, n)."""
        found = np.zeros((self.n, self.n))
        cross = self.weight * self._partial(u, (1, 1))
        np.add.at(found, (self.first, self.first), self.weight * self._partial(u, (2, 0)))
        np.add.at(found, (self.second, self.second), self.weight * self._partial(u, (0, 2)))
        np.add.at(found, (self.first, self.second), cross)
        np.add.at(found, (self.second, self.first), cross)
        found[self.fixed] = 0.0
        found[:, self.fixed] = 0.0
        return found

    def in_logits(self, theta: FloatArray) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """L, its gradient and Hessian in θ, and the policy."""
        u, policy = self.ratios(theta), np.exp(self.log_policy(theta))
        g, h = self.gradient(u), self.hessian(u)
        total, beta = float(g.sum()), self.beta
        column = h.sum(axis=1)
        bent = h - np.outer(policy, column) - np.outer(column, policy) + column.sum() * np.outer(policy, policy)
        curved = beta**2 * bent - beta * total * (np.diag(policy) - np.outer(policy, policy))
        return self.value(u), beta * (g - policy * total), curved, policy


@lru_cache(maxsize=512)
def _rounded_function(expression: sympy.Expr, width: float, orders: tuple[int, int]) -> Callable[[Any, Any], Any]:
    return numpy_function(rounded(expression, sympy.Rational(width)), (CHOSEN, REJECTED), orders)
