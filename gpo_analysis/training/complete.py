"""The objective of stacked runs where every response is compared with every other: tables in place of lists of pairs.

Runs come last, in tables (n, n, R) and columns (n, R): a sum over responses then adds whole rows of numbers that lie
beside each other, and nothing is gathered or scattered. Such a sum takes one term after the other whatever R, so that
a stacked run has the bits of a lone one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.relative_entropy import kl_from_log_ratio

#: f (order 0) or a derivative of it at margins whose last axis is that of the runs.
Slopes = Callable[[FloatArray, int], FloatArray]


@dataclass(frozen=True, eq=False)
class Complete:
    """``E f(βρ)`` of R runs of a single context of n responses.

    Attributes
    ----------
    weight : array, shape (n, n, R)
        Of winner, loser; 0 on the diagonal.
    diagonal_mass : array, shape (R,) or (1,)
    log_reference : array, shape (n, R) or (n, 1)
    beta : array, shape (R,)
    slopes : function of margins (..., R) and an order
    """

    weight: FloatArray
    diagonal_mass: FloatArray
    log_reference: FloatArray
    beta: FloatArray
    slopes: Slopes

    @cached_property
    def _table(self) -> FloatArray:
        """Room for differences, shape (n, n, R), used again and again: fresh pages take longer than what is written."""
        return np.empty_like(self.weight)

    def _differences(self, u: FloatArray) -> FloatArray:
        """``u_i − u_j`` of all responses of each run, of columns (n, R)."""
        columns = np.ascontiguousarray(u)
        return np.subtract(columns[:, None], columns, out=self._table)

    @cached_property
    def _pull(self) -> FloatArray:
        """βw, shape (n, n, R)."""
        return self.weight * self.beta

    @cached_property
    def _shares(self) -> tuple[FloatArray, FloatArray]:
        """Share of the pairs that each response wins, and loses, shape (n, R); NaN where no pair has weight."""
        won, lost = over_losers(self.weight), over_winners(self.weight)
        total = summed(won)
        with np.errstate(invalid="ignore"):
            return won / total, lost / total

    @cached_property
    def _unseen(self) -> FloatArray | None:
        """Pairs without weight, off the diagonal; None where there are none."""
        rows = np.arange(len(self.weight))
        found = (self.weight <= 0) & (rows[:, None] != rows)[:, :, None]
        return found if found.any() else None

    def gradient(self, logits: FloatArray) -> FloatArray:
        """Gradient of the loss in the logits, shape (R, n)."""
        pull = self.slopes(self._differences(self.beta * (logits.T - self.log_reference)), 1)
        pull *= self._pull
        return np.ascontiguousarray((over_losers(pull) - over_winners(pull)).T)

    def metrics(self, logits: FloatArray) -> dict[str, FloatArray]:
        """As :meth:`.Objective.metrics`, each of shape (R,)."""
        log_policy = np.array(logits.T, order="C")
        log_policy -= log_policy.max(axis=0)
        log_policy -= np.log(summed(np.exp(log_policy)))
        policy, log_ratio = np.exp(log_policy), log_policy - self.log_reference
        rho = self._differences(log_ratio)
        z = self.beta * rho
        at_zero = self.slopes(np.zeros((1, len(self.beta))), 0)[0]
        loss = self._weighted(self.slopes(z, 0))
        loss = loss + np.where(self.diagonal_mass > 0, self.diagonal_mass * at_zero, 0.0)
        if self._unseen is not None:
            z[self._unseen] = 0.0
        rho *= rho
        rho *= self.weight
        won, lost = self._shares
        return {
            "loss": loss,
            "kl": kl_from_log_ratio(policy, log_ratio, np.exp(self.log_reference), summed(policy * log_ratio), axis=0),
            "mu_squared_loss": 0.5 * summed(over_winners(rho)),
            "chosen_logp": summed(won * log_policy),
            "rejected_logp": summed(lost * log_policy),
            "entropy": -summed(policy * log_policy),
            "max_margin": np.abs(z, out=z).max(axis=(0, 1)),
        }

    def _weighted(self, values: FloatArray) -> FloatArray:
        """Σ w · values of each run; a weight of 0 silences an infinite value."""
        with np.errstate(invalid="ignore", over="ignore"):
            found = summed(over_winners(values * self.weight))
            if np.isfinite(found).all():
                return found
            return summed(over_winners(np.where(self.weight > 0, values * self.weight, 0.0)))


def over_winners(table: FloatArray) -> FloatArray:
    """Sum over the first axis of (n, n, R)."""
    return np.asarray(table.sum(axis=0))


def over_losers(table: FloatArray) -> FloatArray:
    """Sum over the second axis of (n, n, R)."""
    if table.shape[2] == 1:  # numpy would add in pairs what lies in a row
        return np.asarray(np.ascontiguousarray(table[:, :, 0].T).sum(axis=0)[:, None])
    return np.asarray(table.sum(axis=1))


def summed(columns: FloatArray) -> FloatArray:
    """Sum over the first axis of (n, R), shape (R,)."""
    if columns.shape[1] == 1:
        return np.asarray(np.add.accumulate(columns[:, 0])[-1:])
    return np.asarray(np.ascontiguousarray(columns).sum(axis=0))
