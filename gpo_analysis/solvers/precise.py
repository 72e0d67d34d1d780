"""Newton's method in as many digits as the weights span, for small problems that floats do not settle.

With wins of probability 1 beside losses of 1e-17 the minimum of max(0, 1 − z)² has margins nearer to 1 than floats tell
from 1, and the curvature of f on the two sides of 1 differs by as much. Nothing is rounded away here: the weights are
what they are as fractions, and the answer is rounded to floats at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.calculus.arithmetic import number, numbers
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import pieces
from gpo_analysis.solvers.minimum import Minimum, ended
from gpo_analysis.solvers.pairs import WeightedPairs

#: Responses up to which this is done: matrices of numbers of many digits are slow.
RESPONSES_AT_MOST = 30
_MOST_BITS = 6000
_STEPS, _HALVINGS = 200, 400


class _Function:
    """f, f′ and f″ of a loss on numbers of one precision; at a kink of f′ those of the piece on the left."""

    def __init__(self, loss: MarginLoss, context: Any) -> None:
        self.context = context
        self.parts = [
            (context.mpf(number(part.upper)), jet_function(part.expression, loss.symbol)) for part in pieces(loss)
        ]

    def __call__(self, z: Any, order: int) -> list[Any]:
        jet = next(function for upper, function in self.parts if z <= upper)
        return list(jet.steps(z, order, self.context)[-1])


def minimise_precisely(pairs: WeightedPairs, loss: MarginLoss, start: FloatArray) -> Minimum | None:
    """Minimise ``Σ w f(g_i − g_j)`` of a convex and once differentiable f; None where that is not settled either.

    Parameters
    ----------
    pairs : WeightedPairs
        Of at most :data:`RESPONSES_AT_MOST` responses.
    loss : MarginLoss
    start : array, shape (n,)
    """
    if pairs.n > RESPONSES_AT_MOST or not len(pairs.weight):
        return None
    bits = int(200 + 2 * np.log2(pairs.weight.max()) - 2 * np.log2(pairs.weight.min()))
    if bits > _MOST_BITS:
        return None
    try:
        return _Descent(pairs, loss, numbers(bits)).run(start)
    except (Unsupported, ArithmeticError, ValueError, StopIteration):
        return None


class _Descent:
    """One problem on numbers of one precision; the first response of each component stays where it is."""

    def __init__(self, pairs: WeightedPairs, loss: MarginLoss, context: Any) -> None:
        self.context, self.function, self.n = context, _Function(loss, context), pairs.n
        self.parts = pairs.parts
        grounds = set(np.unique(pairs.parts, return_index=True)[1].tolist())
        self.moved = [k for k in range(pairs.n) if k not in grounds]
        self.pairs = list(zip(pairs.winner.tolist(), pairs.loser.tolist(), pairs.weight.tolist(), strict=True))

    def value(self, g: Sequence[Any]) -> Any:
        return self.context.fsum(w * self.function(g[i] - g[j], 0)[0] for i, j, w in self.pairs)

    def derivatives(self, g: Sequence[Any]) -> tuple[list[Any], Any]:
        """The gradient and the Hessian of what moves."""
        m, n = self.context, self.n
        gradient, hessian = [m.zero] * n, [[m.zero] * n for _ in range(n)]
        for i, j, w in self.pairs:
            _, slope, half = self.function(g[i] - g[j], 2)
            gradient[i] += w * slope
            gradient[j] -= w * slope
            for a, b, sign in ((i, i, 2), (j, j, 2), (i, j, -2), (j, i, -2)):
                hessian[a][b] += sign * w * half
        # where F is straight a step is as long as this lets it be, and halved
        tiny = max(hessian[k][k] for k in range(n)) * m.ldexp(m.mpf(1), -m.prec // 2 - 60)
        rows = [[hessian[a][b] + (tiny if a == b else 0) for b in self.moved] for a in self.moved]
        return gradient, m.matrix(rows)

    def run(self, start: FloatArray) -> Minimum | None:
        m = self.context
        g = [m.mpf(float(x)) for x in start] if np.isfinite(start).all() else [m.zero] * self.n
        value = self.value(g)
        for iteration in range(_STEPS):
            gradient, matrix = self.derivatives(g)
            step = [m.zero] * self.n
            for k, x in zip(self.moved, m.lu_solve(matrix, m.matrix([-gradient[k] for k in self.moved])), strict=True):
                step[k] = x
            size = max(abs(x) for x in step)
            # smaller than what the weakest pair can move against the strongest
            if size <= m.ldexp(1 + max(abs(x) for x in g), -m.prec // 2):
                reward = np.array([float(x) for x in g])
                reward -= (np.bincount(self.parts, reward) / np.bincount(self.parts))[self.parts]
                error = float(np.finfo(float).eps * (1 + np.abs(reward).max()))
                return ended(reward, float(value), error, True, iteration)
            slope, length = m.fdot(zip(gradient, step, strict=True)), m.mpf(1)
            for _ in range(_HALVINGS):
                trial = [a + length * b for a, b in zip(g, step, strict=True)]
                new = self.value(trial)
                if new <= value + length * slope / 1000:
                    break
                length /= 2
            else:
                return None
            g, value = trial, new
        return None
