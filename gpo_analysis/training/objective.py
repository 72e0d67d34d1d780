r"""The loss of many training runs at once: values, gradients and what a trajectory records.

Runs are stacked along the first axis: R runs over the same m contexts and n responses, each with its own problem,
loss and β. Logits are kept flat, ``(R, m·n)``. A softmax policy's normaliser cancels in ρ, so that
``ρ = u_w − u_l`` with ``u = logits − log πref``, and the loss is a function of differences of logits alone.
Every operation treats rows alone, in an order that does not depend on R: a stacked run has the bits of a lone one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import MarginLoss
from gpo_analysis.relative_entropy import kl_from_log_ratio
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.training.complete import Complete

#: What a trajectory records at a step, beside ``step`` and ``time``.
METRICS = (
    "loss", "kl", "mu_squared_loss", "chosen_logp", "rejected_logp", "entropy", "max_margin", "gradient_norm",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Objective:
    """``E f(βρ)`` of R stacked runs, in the logits.

    Attributes
    ----------
    contexts, responses : int
        m and n.
    log_reference : array, shape (R, m·n) or (1, m·n)
        log πref; one row where all runs share it, here and below.
    shares : array, shape (R, m) or (1, m)
        Weights of the contexts.
    winner, loser : array of int, shape (R, k) or (1, k)
        Places of the pairs in the flat logits; one row where all runs have the same pairs, whatever their weights. Runs
        with fewer pairs are filled up with pairs of weight 0.
    weight : array, shape (R, k) or (1, k)
        Σ weight + diagonal_mass = 1 in each row.
    diagonal_mass : array, shape (R,) or (1,)
        Weight of the pairs of equal draws, whose ρ is 0.
    preference : array, shape (R, k) or (1, k), or None
        p(winner ≻ loser), where the weights may be renewed from the policy.
    beta : array, shape (R, 1)
    groups : tuple of (MarginLoss, slice)
        Which rows have which loss.
    """

    contexts: int
    responses: int
    log_reference: FloatArray
    shares: FloatArray
    winner: IntArray
    loser: IntArray
    weight: FloatArray
    diagonal_mass: FloatArray
    preference: FloatArray | None
    beta: FloatArray
    groups: tuple[tuple[MarginLoss, slice], ...]

    @classmethod
    def stack(
        cls,
        problems: Sequence[PreferenceProblem],
        losses: Sequence[MarginLoss],
        betas: Sequence[float],
        *,
        renewable: bool = False,
    ) -> Objective:
        """Stack runs; ``renewable`` keeps every pair of the preference matrix, whatever its weight under μ."""
        starts = [r for r in range(len(losses)) if r == 0 or losses[r] != losses[r - 1]]
        groups = tuple(
            (losses[start], slice(start, stop)) for start, stop in zip(starts, [*starts[1:], len(losses)], strict=True)
        )
        return replace(cls.stack_pairs(problems, betas, renewable=renewable), groups=groups)

    @classmethod
    def stack_pairs(
        cls,
        problems: Sequence[PreferenceProblem],
        betas: Sequence[float],
        *,
        renewable: bool = False,
        equal_draws: bool = False,
    ) -> Objective:
        """Stack runs without losses; ``equal_draws`` makes pairs of the draws of twice the same response."""
        first = problems[0]
        shape = (first.contexts, first.n)
        for problem in problems:
            if (problem.contexts, problem.n) != shape:
                raise ValueError(
                    f"runs trained together must have the same contexts and responses, got {shape} and "
                    f"{(problem.contexts, problem.n)}"
                )
        shared = problems[:1] if all(problem is first for problem in problems) else problems
        rows = [_pairs(problem, renewable, equal_draws) for problem in shared]
        width = max(len(row[0]) for row in rows)
        winner, loser = np.zeros((2, len(rows), width), dtype=np.int64)
        weight, preference = np.zeros((2, len(rows), width))
        for r, row in enumerate(rows):
            count = len(row[0])
            winner[r, :count], loser[r, :count], weight[r, :count], preference[r, :count] = row
        if (winner == winner[0]).all() and (loser == loser[0]).all():
            winner, loser = winner[:1], loser[:1]
        diagonal = [0.0 if equal_draws else problem.directed_pairs().diagonal_mass for problem in shared]
        return cls(
            *shape,
            np.stack([np.log(problem.reference).ravel() for problem in shared]),
            np.stack([problem.shares() for problem in shared]),
            winner,
            loser,
            weight,
            np.array(diagonal),
            preference if renewable else None,
            np.array(betas, dtype=np.float64)[:, None],
            (),
        )

    @property
    def size(self) -> int:
        """Number of logits of a run, m·n."""
        return self.contexts * self.responses

    def renewed(self, logits: FloatArray) -> Objective:
        """The same objective with pairs drawn from the policies of these logits: μ = πθ, held fixed."""
        assert self.preference is not None
        policy = np.exp(self.log_policy(logits))
        share = np.repeat(self.shares, self.responses, axis=1)
        weight = 2.0 * gather(policy * share, self.winner) * gather(policy, self.loser) * self.preference
        return replace(self, weight=weight, diagonal_mass=np.sum(share * policy**2, axis=1))

    def slopes(self, z: FloatArray, order: int = 1) -> FloatArray:
        """f of each row (order 0) or a derivative at margins z of shape (R, …)."""
        if len(self.groups) == 1:
            return np.asarray(self.groups[0][0].derivative(z, order))
        return np.concatenate([loss.derivative(z[rows], order) for loss, rows in self.groups])

    def log_policy(self, logits: FloatArray) -> FloatArray:
        """log π, shape (R, m·n), of logits of that shape."""
        table = logits.reshape(-1, self.contexts, self.responses)
        top = table.max(axis=2, keepdims=True)
        log_sum = top + np.log(np.exp(table - top).sum(axis=2, keepdims=True))
        return np.asarray((table - log_sum).reshape(logits.shape))

    @cached_property
    def square(self) -> Complete | None:
        """The same as tables of all pairs, where those are of a single context and f′(0) is finite; else None."""
        n, rows = self.responses, np.arange(self.responses)
        winner, loser = np.nonzero(rows[:, None] != rows)
        complete = self.contexts == 1 and self.winner.shape == (1, len(winner)) and self.groups
        if not complete or (self.winner[0] != winner).any() or (self.loser[0] != loser).any():
            return None
        with np.errstate(all="ignore"):
            if not np.isfinite(self.slopes(np.zeros((len(self.beta), 1)))).all():
                return None
        weight = np.zeros((n, n, len(self.beta)))
        weight[winner, loser] = self.weight.T
        return Complete(
            weight,
            self.diagonal_mass,
            np.ascontiguousarray(self.log_reference.T),
            self.beta[:, 0],
            self._slopes_of_columns,
        )

    def gradient(self, logits: FloatArray) -> FloatArray:
        """Gradient of the full loss in the logits, shape (R, m·n)."""
        if self.square is not None:
            return self.square.gradient(logits)
        u = logits - self.log_reference
        z = self.beta * (gather(u, self.winner) - gather(u, self.loser))
        return self._scatter(self.weight * self.beta * self.slopes(z), self.winner, self.loser)

    def _slopes_of_columns(self, z: FloatArray, order: int) -> FloatArray:
        """:meth:`slopes` at margins whose last axis is that of the runs, shape (…, R)."""
        if len(self.groups) == 1:
            return np.asarray(self.groups[0][0].derivative(z, order))
        return np.concatenate([loss.derivative(z[..., rows], order) for loss, rows in self.groups], axis=-1)

    def batch_gradient(self, logits: FloatArray, winner: IntArray, loser: IntArray) -> FloatArray:
        """Mean gradient over a mini-batch of pairs of shape (R, batch) a run."""
        u = logits - self.log_reference
        z = self.beta * (gather(u, winner) - gather(u, loser))
        return self._scatter(self.beta * self.slopes(z) / winner.shape[1], winner, loser)

    def _scatter(self, pull: FloatArray, winner: IntArray, loser: IntArray) -> FloatArray:
        rows = pull.shape[0]
        offset = self.size * np.arange(rows)[:, None]
        values = pull.ravel()
        total: FloatArray = np.bincount((winner + offset).ravel(), values, minlength=rows * self.size).astype(float)
        total -= np.bincount((loser + offset).ravel(), values, minlength=rows * self.size)
        return total.reshape(rows, self.size)

    def scatter(self, pull: FloatArray, ends: IntArray) -> FloatArray:
        """Sums of what pulls on the responses at some ends of pairs, shape (R, m·n)."""
        rows = pull.shape[0]
        places = (ends + self.size * np.arange(rows)[:, None]).ravel()
        total: FloatArray = np.bincount(places, pull.ravel(), minlength=rows * self.size).astype(float)
        return total.reshape(rows, self.size)

    def hessian(self, logits: FloatArray) -> FloatArray:
        """Second derivatives of the full loss of a lone run in its logits, shape (m·n, m·n)."""
        u = logits - self.log_reference
        z = self.beta * (gather(u, self.winner) - gather(u, self.loser))
        curvature = (self.weight * self.beta**2 * self.slopes(z, 2))[0]
        found = np.zeros((self.size, self.size))
        w, l = self.winner[0], self.loser[0]  # noqa: E741
        np.add.at(found, (w, w), curvature)
        np.add.at(found, (l, l), curvature)
        np.add.at(found, (w, l), -curvature)
        np.add.at(found, (l, w), -curvature)
        return found

    def metrics(self, logits: FloatArray) -> dict[str, FloatArray]:
        """All of :data:`METRICS` but the gradient's norm, each of shape (R,)."""
        if self.square is not None:
            return self.square.metrics(logits)
        log_ratio = self.log_policy(logits) - self.log_reference
        z = self.beta * (gather(log_ratio, self.winner) - gather(log_ratio, self.loser))
        value = np.sum(np.where(self.weight > 0, self.weight * self.slopes(z, 0), 0.0), axis=1)
        at_zero = self.slopes(np.zeros((len(z), 1)), 0)[:, 0]
        loss = value + np.where(self.diagonal_mass > 0, self.diagonal_mass * at_zero, 0.0)
        return self.metrics_beside(logits, loss)

    def metrics_beside(self, logits: FloatArray, loss: FloatArray) -> dict[str, FloatArray]:
        """:meth:`metrics` with the loss given, shape (R,)."""
        log_policy = self.log_policy(logits)
        policy, log_ratio = np.exp(log_policy), log_policy - self.log_reference
        share = np.repeat(self.shares, self.responses, axis=1)
        # a policy that has underflowed to 0 adds nothing to KL and entropy: 0·log 0 = 0 (log π stays finite)
        rho = gather(log_ratio, self.winner) - gather(log_ratio, self.loser)
        z = self.beta * rho
        total = self.weight.sum(axis=1, keepdims=True)  # 0 where μ = πθ has collapsed to one response
        weight = np.divide(self.weight, total, out=np.full(self.weight.shape, np.nan), where=total > 0)
        return {
            "loss": loss,
            "kl": kl_from_log_ratio(share * policy, log_ratio, share * np.exp(self.log_reference)),
            "mu_squared_loss": 0.5 * np.sum(self.weight * rho**2, axis=1),
            "chosen_logp": np.sum(weight * gather(log_policy, self.winner), axis=1),
            "rejected_logp": np.sum(weight * gather(log_policy, self.loser), axis=1),
            "entropy": -np.sum(share * policy * log_policy, axis=1),
            "max_margin": np.max(np.where(self.weight > 0, np.abs(z), 0.0), axis=1),
        }


def _pairs(
    problem: PreferenceProblem, renewable: bool, equal_draws: bool
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Winner, loser (places in the flat logits), weight and p(winner ≻ loser); equal draws last."""
    found = _different(problem, renewable)
    if not equal_draws:
        return found
    own = problem.diagonal_weights().ravel()
    same = np.arange(len(own)) if renewable else np.flatnonzero(own)
    half = np.full(len(same), 0.5)  # so that 2 μ_i μ_i P is μ_i²
    added = (same, same, own[same], half)
    joined = [np.concatenate([before, more]) for before, more in zip(found, added, strict=True)]
    return joined[0], joined[1], joined[2], joined[3]


def _different(problem: PreferenceProblem, renewable: bool) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    if not renewable:
        pairs = problem.directed_pairs()
        base = problem.n * pairs.context
        if not len(pairs):
            raise ValueError("behavior never draws two different responses, so there is nothing to learn from")
        return base + pairs.winner, base + pairs.loser, pairs.weight, np.zeros(len(pairs))
    if problem.preference is None:
        raise ValueError("refresh_every needs a preference matrix: observed comparisons have no pair for every draw")
    table = problem.preference.reshape(-1, problem.n, problem.n).copy()
    table[:, np.arange(problem.n), np.arange(problem.n)] = 0.0
    context, winner, loser = np.nonzero(table)
    weights = (problem.pair_weights() * problem.shares()[:, None, None])[context, winner, loser]
    return problem.n * context + winner, problem.n * context + loser, weights, table[context, winner, loser]


def gather(values: FloatArray, index: IntArray) -> FloatArray:
    if len(index) == 1:
        return np.asarray(values[:, index[0]])
    return np.take_along_axis(values, index, axis=1)
