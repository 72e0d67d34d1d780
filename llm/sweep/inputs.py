"""What the cells of a sweep are trained from and on, as one value that every step of a sweep is handed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.policy.batches import TokenizedPairs
from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from llm.training.trainer import run_key


@dataclass(frozen=True, eq=False)
class SweepInputs:
    """A sweep's model, data and configuration.

    Parameters
    ----------
    base_model : model
        Where every cell starts (`llm.training.trainer.train_stack`).
    pairs : TokenizedPairs
        n pairs.
    reference : array, shape (n, 2)
        log πref of their responses (`llm.policy.logprobs.reference_logprobs`).
    config : TrainConfig
        How cells are trained.
    arms : mapping of str to int
        How many of the first pairs the cells of an arm see; all for an arm that is not named.
    """

    base_model: Any
    pairs: TokenizedPairs
    reference: NDArray[np.floating[Any]]
    config: TrainConfig
    arms: Mapping[str, int] = field(default_factory=dict)

    def of_arm(self, arm: str) -> tuple[TokenizedPairs, NDArray[np.floating[Any]]]:
        """Return the pairs an arm sees, and their reference log-probabilities."""
        count = self.arms.get(arm, len(self.pairs))
        if not 1 <= count <= len(self.pairs):
            raise ValueError(f"arm {arm!r} sees {count} pairs; accepted is 1 to {len(self.pairs)}")
        return self.pairs.take(range(count)), self.reference[:count]

    def key(self, stack: Sequence[SweepCell]) -> str:
        """Key of all that decides what a stack's training gives."""
        pairs, reference = self.of_arm(stack[0].arm)
        return run_key(self.base_model, stack, pairs, reference, self.config)
