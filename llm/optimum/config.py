"""Sizes of study A: what is fixed beforehand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from gpo_analysis.losses import PAPER_LOSSES
from llm.data.world import WorldConfig
from llm.forests.config import ReferenceConfig, check_grid, rate_at
from llm.policy.models import LlamaSize


@dataclass(frozen=True)
class OptimumConfig:
    """Everything that decides the study's numbers.

    Parameters
    ----------
    name : str
        Of the preset.
    prompts, samples : int
        Prompts of each seed, and samples of πref for each that the policies are trained on.
    held_samples : int
        Further samples of πref for the same prompts, which no policy is trained on.
    max_new_tokens : int
        Most tokens of a sample, the end token included.
    scale : float
        Labels are p = σ(scale · (r_i − r_j)).
    losses, strengths, seeds : tuple of str, tuple of float, tuple of int
        The grid. A strength is βκ; where κ is 0 (hinge) β itself.
    size, world, reference : LlamaSize, WorldConfig, ReferenceConfig
        Of the policy, of the data, of πref's fine-tuning.
    steps, batch_size : int
        Updates of a policy, and prompts in each, with all their pairs.
    learning_rate, warmup : float, int
        Adam's rate rises over ``warmup`` steps and falls to 0 along a cosine. Its height is ``rate_at`` the strength.
    stack : int
        Policies trained together, of one seed: a piece of the study.
    device : str
        "cpu" or "cuda".
    tf32 : bool
        Whether matrix products on a GPU round their factors to 10 bits, for πref as for the policies. bfloat16's 7
        bits are no choice here: their noise of some 0.03 nats a response is a third of log π/πref at βκ = 6.4.
    budget_seconds : float, optional
        Wall time of one run, which it keeps by itself (`llm.forests.pieces`); None for no limit.
    """

    name: str
    prompts: int = 48
    samples: int = 32
    held_samples: int = 32
    max_new_tokens: int = 20
    scale: float = 1.0
    losses: tuple[str, ...] = PAPER_LOSSES
    strengths: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    size: LlamaSize = field(default_factory=LlamaSize)
    world: WorldConfig = field(default_factory=WorldConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    steps: int = 400
    batch_size: int = 8
    learning_rate: float = 2e-3
    warmup: int = 20
    stack: int = 12
    device: str = "cpu"
    tf32: bool = True
    budget_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("prompts", "samples", "held_samples", "steps", "batch_size", "stack"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more")
        if self.prompts % self.batch_size:
            raise ValueError(f"batch_size is {self.batch_size}; it must divide prompts, {self.prompts}")
        if self.steps % 10:
            raise ValueError(f"steps is {self.steps}; accepted are multiples of 10, for the last tenth is measured")
        check_grid(self.losses, self.strengths, self.seeds)

    def rate_at(self, strength: float) -> float:
        """Return the height of the learning rate at a strength (`llm.forests.config.rate_at`).

        Examples
        --------
        >>> config = OptimumConfig("mine", learning_rate=1.0)
        >>> [config.rate_at(strength) for strength in (0.1, 0.2, 0.8)]
        [1.0, 1.0, 0.25]
        """
        return rate_at(self.learning_rate, strength)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)


PRESETS: dict[str, OptimumConfig] = {
    "tiny": OptimumConfig(
        "tiny", prompts=4, samples=8, held_samples=8, losses=("logistic", "hinge", "squared"), strengths=(0.4, 1.6),
        seeds=(0, 1), size=LlamaSize(hidden=16, layers=1, heads=2),
        reference=ReferenceConfig(pool=64, demonstrations=2, steps=30, batch_size=8, warmup=5),
        steps=20, batch_size=2, warmup=2, stack=3,
    ),
    "cpu": OptimumConfig(
        "cpu", prompts=8, samples=16, held_samples=16, strengths=(0.2, 0.8, 3.2), seeds=(0, 1),
        reference=ReferenceConfig(pool=1200, steps=300, batch_size=16), steps=120, batch_size=4, stack=18,
    ),
    "small": OptimumConfig("small"),
    "gpu": OptimumConfig(
        "gpu", prompts=96, samples=48, held_samples=48, size=LlamaSize(hidden=256, layers=4, heads=4),
        reference=ReferenceConfig(pool=4000, steps=1200, batch_size=32, learning_rate=1.5e-3, warmup=100),
        steps=1000, batch_size=12, learning_rate=3e-4, warmup=50, stack=18, device="cuda", budget_seconds=780,
    ),
}  # fmt: skip
PRESETS["gpu-hinge"] = dataclasses.replace(
    PRESETS["gpu"], name="gpu-hinge", losses=("hinge",), seeds=(0, 1, 2), steps=4000, stack=7
)
"""``tiny`` is for tests; ``cpu`` is the study in miniature, about a minute; ``small`` takes one to two hours on two
cores; ``gpu`` keeps within thirteen minutes of one H100 or H200 (in pieces of 42 policies it took nine of an H200);
``gpu-hinge`` is hinge alone, with four times the steps, for some four minutes
(``docs/predictions/llm-optimum-hinge.md``)."""


def preset(name: str) -> OptimumConfig:
    """Return a preset by name; a ValueError names those there are."""
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}; accepted are {', '.join(PRESETS)}")
    return PRESETS[name]
