"""Means over the pairs of a stretch of training or evaluation, whatever the sizes of the batches they came in."""

from __future__ import annotations

import numpy as np
import torch


class PairMeans:
    """Sums over the pairs that were seen since the last log."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self.batches: list[int] = []
        self.rho = self.square = self.saturated = self.loss = 0.0

    @property
    def count(self) -> int:
        """Pairs seen."""
        return sum(self.batches)

    def add(self, rho: torch.Tensor, margin: torch.Tensor, loss: torch.Tensor) -> None:
        """Count a batch."""
        self.batches.append(len(rho))
        self.rho += float(rho.sum())
        self.square += float((rho**2).sum())
        self.saturated += float((margin.abs() > 1).sum())
        self.loss += float(loss.sum())

    def means(self, theirs: dict[str, list[float]]) -> dict[str, float]:
        """Means over pairs: TRL's, which are given a batch each, and ours."""
        weights, count = self.batches, self.count
        found = {
            name: float(np.average(values, weights=weights if count and len(values) == len(weights) else None))
            for name, values in theirs.items()
        }
        if count:
            found |= {"mu_squared_loss": 0.5 * self.square / count, "mean_rho": self.rho / count}
            found["margins/saturated"] = self.saturated / count
        return found


def pair_metrics(rows: torch.Tensor, beta: float) -> dict[str, float]:
    """TRL's metrics that are means over pairs, for a batch that it would average with the pairs that fill it up.

    Parameters
    ----------
    rows : tensor, shape (b, 4)
        log π/πref of chosen and rejected, log π of both.
    beta : float
    """
    chosen, rejected = beta * rows[:, 0], beta * rows[:, 1]
    columns = {
        "rewards/chosen": chosen, "rewards/rejected": rejected, "rewards/accuracies": (chosen > rejected).double(),
        "rewards/margins": chosen - rejected, "logps/chosen": rows[:, 2], "logps/rejected": rows[:, 3],
    }  # fmt: skip
    return {name: float(values.mean()) for name, values in columns.items()}
