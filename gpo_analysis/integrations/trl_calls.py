"""Two calls of TRL's and transformers' trainers that `GPOTrainer` steps into: the forward pass, the training loop."""

from __future__ import annotations

from typing import Any


class Recorder:
    """A model that remembers what its first call returned."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.first: Any = None

    def __call__(self, **inputs: Any) -> Any:
        outputs = self.model(**inputs)
        if self.first is None:
            self.first = outputs
        return outputs


class OwnBatchSize:
    """A trainer whose batches are as large as its arguments say, also where it goes on from a checkpoint.

    transformers 5.0 takes the batch size of a device from the checkpoint: one process that goes on from where two were
    then trains on half of each batch.
    """

    args: Any

    def _inner_training_loop(self, batch_size: Any = None, *arguments: Any, **named: Any) -> Any:
        own = batch_size if self.args.auto_find_batch_size else self.args.train_batch_size
        return super()._inner_training_loop(own, *arguments, **named)  # type: ignore[misc]
