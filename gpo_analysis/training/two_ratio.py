r"""The objective of training runs whose losses take two log-ratios: :class:`.Objective` with F(βh_w, βh_l).

The normaliser of the softmax does not cancel, h = log softmax(θ) − log πref, and draws of twice the same response,
which teach a margin loss nothing, have F(βh_i, βh_i): they are pairs of their own here. With g = ∂L/∂h the gradient
in the logits is g − π Σg in each context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import Loss, MarginLoss, TwoRatioLoss
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.training.objective import Objective, gather


@dataclass(frozen=True, eq=False)
class TwoRatioObjective:
    """``E F(βh_w, βh_l)`` of R stacked runs, in the logits.

    Attributes
    ----------
    base : Objective
        Pairs, weights and references; equal draws are pairs in it, and its diagonal mass is 0.
    groups : tuple of (TwoRatioLoss, slice)
        Which rows have which loss.
    """

    base: Objective
    groups: tuple[tuple[TwoRatioLoss, slice], ...]

    @classmethod
    def stack(
        cls,
        problems: Sequence[PreferenceProblem],
        losses: Sequence[TwoRatioLoss],
        betas: Sequence[float],
        *,
        renewable: bool = False,
    ) -> TwoRatioObjective:
        """Stack runs, as :meth:`Objective.stack`."""
        base = Objective.stack_pairs(problems, betas, renewable=renewable, equal_draws=True)
        starts = [r for r in range(len(losses)) if r == 0 or losses[r] != losses[r - 1]]
        stops = [*starts[1:], len(losses)]
        return cls(base, tuple((losses[a], slice(a, b)) for a, b in zip(starts, stops, strict=True)))

    def __getattr__(self, name: str) -> Any:
        if name in ("size", "contexts", "responses", "log_reference", "winner", "loser", "weight", "diagonal_mass"):
            return getattr(self.base, name)
        raise AttributeError(name)

    def log_policy(self, logits: FloatArray) -> FloatArray:
        """log π, shape (R, m·n), of logits of that shape."""
        return self.base.log_policy(logits)

    def renewed(self, logits: FloatArray) -> TwoRatioObjective:
        """The same objective with pairs drawn from the policies of these logits, equal draws among them."""
        base = self.base.renewed(logits)
        return replace(self, base=replace(base, diagonal_mass=np.zeros_like(base.diagonal_mass)))

    def partial(self, a: FloatArray, b: FloatArray, orders: tuple[int, int]) -> FloatArray:
        """∂ⁱ⁺ʲF of each row at a and b of shape (R, …)."""
        if len(self.groups) == 1:
            return np.asarray(self.groups[0][0].derivative(a, b, orders))
        return np.concatenate([loss.derivative(a[rows], b[rows], orders) for loss, rows in self.groups])

    def _ratios(self, logits: FloatArray, winner: IntArray, loser: IntArray) -> tuple[FloatArray, FloatArray]:
        """a and b of pairs."""
        u = self.base.beta * (self.base.log_policy(logits) - self.base.log_reference)
        return gather(u, winner), gather(u, loser)

    def gradient(self, logits: FloatArray) -> FloatArray:
        """Gradient of the full loss in the logits, shape (R, m·n)."""
        return self._pulled_back(logits, self.base.winner, self.base.loser, self.base.weight)

    def batch_gradient(self, logits: FloatArray, winner: IntArray, loser: IntArray) -> FloatArray:
        """Mean gradient over a mini-batch of pairs of shape (R, batch) a run."""
        return self._pulled_back(logits, winner, loser, np.full(winner.shape, 1.0 / winner.shape[1]))

    def _pulled_back(self, logits: FloatArray, winner: IntArray, loser: IntArray, weight: FloatArray) -> FloatArray:
        a, b = self._ratios(logits, winner, loser)
        scale = weight * self.base.beta
        pulls = [scale * self.partial(a, b, orders) for orders in ((1, 0), (0, 1))]
        g = self.base.scatter(pulls[0], winner) + self.base.scatter(pulls[1], loser)
        shape = (-1, self.base.contexts, self.base.responses)
        totals = g.reshape(shape).sum(axis=2, keepdims=True)
        policy = np.exp(self.base.log_policy(logits)).reshape(shape)
        return np.asarray((g.reshape(shape) - policy * totals).reshape(g.shape))

    def hessian(self, logits: FloatArray) -> FloatArray:
        """Second derivatives of the full loss of a lone run in its logits, shape (m·n, m·n)."""
        base, (w, l) = self.base, (self.base.winner[0], self.base.loser[0])  # noqa: E741
        a, b = self._ratios(logits, base.winner, base.loser)
        scale = base.weight * base.beta
        g = sum(
            base.scatter(scale * self.partial(a, b, orders), ends)[0]
            for orders, ends in (((1, 0), base.winner), ((0, 1), base.loser))
        )
        curved = np.zeros((base.size, base.size))
        cross = (scale * base.beta * self.partial(a, b, (1, 1)))[0]
        np.add.at(curved, (w, w), (scale * base.beta * self.partial(a, b, (2, 0)))[0])
        np.add.at(curved, (l, l), (scale * base.beta * self.partial(a, b, (0, 2)))[0])
        np.add.at(curved, (w, l), cross)
        np.add.at(curved, (l, w), cross)
        policy = np.exp(base.log_policy(logits))[0]
        centre = np.eye(base.size)  # the Jacobian of log softmax, a context a block
        spread = np.zeros_like(centre)
        for c in range(base.contexts):
            block = slice(c * base.responses, (c + 1) * base.responses)
            centre[block, block] -= policy[block]
            spread[block, block] = np.sum(g[block]) * (np.diag(policy[block]) - np.outer(policy[block], policy[block]))
        return np.asarray(centre.T @ curved @ centre - spread)

    def metrics(self, logits: FloatArray) -> dict[str, FloatArray]:
        """What a trajectory records but the gradient's norm, each of shape (R,)."""
        a, b = self._ratios(logits, self.base.winner, self.base.loser)
        weight = self.base.weight
        value = np.sum(np.where(weight > 0, weight * self.partial(a, b, (0, 0)), 0.0), axis=1)
        return self.base.metrics_beside(logits, value)


AnyObjective = Objective | TwoRatioObjective


def stacked(
    problems: Sequence[PreferenceProblem], losses: Sequence[Loss], betas: Sequence[float], *, renewable: bool = False
) -> AnyObjective:
    """The objective of runs whose losses are all of one kind."""
    margin = [loss for loss in losses if isinstance(loss, MarginLoss)]
    if margin:
        assert len(margin) == len(losses)
        return Objective.stack(problems, margin, betas, renewable=renewable)
    two = [loss for loss in losses if isinstance(loss, TwoRatioLoss)]
    return TwoRatioObjective.stack(problems, two, betas, renewable=renewable)
