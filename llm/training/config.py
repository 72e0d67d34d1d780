"""How the cells of a stack are trained: the one configuration of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from gpo_analysis.reading import is_finite
from llm.policy.logprobs import CHUNK_ELEMENTS, DTYPES
from llm.training.optimizers import OPTIMIZERS


@dataclass(frozen=True)
class TrainConfig:
    """How the cells of a stack are trained, all alike; what differs from cell to cell is `llm.training.cells`'.

    Parameters
    ----------
    steps : int
        Steps of the optimiser.
    batch_size : int
        Pairs a step.
    accumulation : int
        Parts a batch is computed in, to save memory; it divides ``batch_size``.
    optimizer : {"adamw", "adafactor", "sgd"}
        Adafactor at 1e-5 is the paper's.
    warmup : int
        Steps over which the learning rate rises linearly.
    decay : {"constant", "linear"}
        "linear": to zero after the last step.
    max_grad_norm : float, optional
        Each cell's gradient is clipped to this norm; None clips nothing.
    weight_decay : float
        Decoupled.
    adam_betas, adam_epsilon : pair of floats, float
        AdamW's; ε far below the gradients, which scale with β.
    scale_by_parameter : bool
        Adafactor's rate relative to a parameter's size (`llm.training.optimizers.Adafactor`).
    checkpoint_every : int
        Steps between checkpoints; 0 writes one at the evaluated steps and the end alone.
    evaluate_at : tuple of int
        Steps after which policies are handed out to be evaluated; empty for every checkpoint and the last step.
    dtype : {"float32", "bfloat16"}
        Of the computation; "bfloat16" by autocast with parameters, sums and statistics in float32.
    packed : bool
        Whether the prompt of a pair is computed once for both responses, by a mask of t² booleans a row; without, a
        row holds one response and attention is plainly causal (`llm.policy.packing`).
    bucket : int
        Pairs of a batch are computed in groups of like width, padded to a multiple of this many tokens, so that few
        shapes come up and little is padded; 0 computes them together.
    chunk_elements : int
        Logits in memory at once (`llm.policy.logprobs`).

    Raises
    ------
    ValueError
        For a number or name out of range.
    """

    steps: int
    batch_size: int = 32
    accumulation: int = 1
    optimizer: str = "adamw"
    warmup: int = 0
    decay: str = "constant"
    max_grad_norm: float | None = 1.0
    weight_decay: float = 0.0
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: float = 1e-12
    scale_by_parameter: bool = False
    checkpoint_every: int = 0
    evaluate_at: tuple[int, ...] = ()
    dtype: str = "float32"
    packed: bool = True
    bucket: int = 0
    chunk_elements: int = field(default=CHUNK_ELEMENTS, repr=False)

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 1),
            ("batch_size", 1),
            ("accumulation", 1),
            ("warmup", 0),
            ("checkpoint_every", 0),
            ("bucket", 0),
            ("weight_decay", 0.0),
        ):
            value = getattr(self, name)
            if not (value >= least and is_finite(value)):
                raise ValueError(f"{name} is {value}; accepted is a finite number, {least} or more")
        if self.batch_size % self.accumulation:
            raise ValueError(f"accumulation is {self.accumulation}; it must divide batch_size, {self.batch_size}")
        for name, names in (("optimizer", OPTIMIZERS), ("decay", ("constant", "linear")), ("dtype", DTYPES)):
            if getattr(self, name) not in names:
                raise ValueError(f"{name} is {getattr(self, name)!r}; accepted are {', '.join(names)}")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ValueError(f"max_grad_norm is {self.max_grad_norm}; accepted is a number above 0, or None")
        outside = [step for step in self.evaluate_at if not 0 < step <= self.steps]
        if outside or list(self.evaluate_at) != sorted(set(self.evaluate_at)):
            raise ValueError(f"evaluate_at is {self.evaluate_at}; accepted are rising steps from 1 to {self.steps}")

    def rate(self, step: int) -> float:
        """Return the factor of the learning rate in step ``step``, counted from 0.

        Examples
        --------
        >>> [TrainConfig(steps=4, warmup=2).rate(step) for step in range(4)]
        [0.5, 1.0, 1.0, 1.0]
        """
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return warm * (1.0 if self.decay == "constant" else 1.0 - step / self.steps)

    @property
    def evaluated_steps(self) -> tuple[int, ...]:
        """Steps after which policies are handed out.

        Examples
        --------
        >>> TrainConfig(steps=5, checkpoint_every=2).evaluated_steps, TrainConfig(9, evaluate_at=(3,)).evaluated_steps
        ((2, 4, 5), (3,))
        """
        return self.evaluate_at or tuple(step for step in range(1, self.steps + 1) if self.saves(step))

    def evaluates(self, step: int) -> bool:
        """Whether policies are handed out when ``step`` steps are done."""
        return step in self.evaluate_at if self.evaluate_at else self.saves(step)

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is written when ``step`` steps are done."""
        due = bool(self.checkpoint_every and step % self.checkpoint_every == 0)
        return due or step == self.steps or step in self.evaluate_at

    def decisive(self) -> dict[str, Any]:
        """The settings that decide a number; how often something is written does not."""
        return {k: v for k, v in asdict(self).items() if k not in ("checkpoint_every", "evaluate_at")}
