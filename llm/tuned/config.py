"""Sizes of study B: what is fixed beforehand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from gpo_analysis.losses import PAPER_LOSSES
from llm.data.world import WorldConfig
from llm.forests.config import ReferenceConfig, check_grid, rate_at
from llm.policy.models import LlamaSize


def log_grid(low: float, high: float, points: int) -> tuple[float, ...]:
    """Numbers from ``low`` to ``high`` that rise by one factor, to three digits.

    Examples
    --------
    >>> log_grid(0.003, 3.0, 4)
    (0.003, 0.03, 0.3, 3.0)
    """
    return tuple(float(f"{low * (high / low) ** (k / (points - 1)):.3g}") for k in range(points))


@dataclass(frozen=True)
class TunedConfig:
    """Everything that decides the study's numbers.

    Parameters
    ----------
    name : str
        Of the preset.
    trained : tuple of int
        Prompts that are trained on, a condition each, few before many: the first ones of the seed's list.
    unseen : int
        Prompts that no policy is trained on, on which all are judged.
    samples, held_samples : int
        Samples of πref for each prompt: to be labelled in pairs, and to be judged on.
    generated : int
        Samples of each policy for each unseen prompt, beside the tilt of πref's.
    max_new_tokens : int
        Most tokens of a sample, the end token included.
    scale : float
        Each pair of different samples of a prompt has one hard label: i wins with chance σ(scale · (r_i − r_j)).
    losses, strengths, seeds : tuple of str, tuple of float, tuple of int
        The grid. A strength is βκ; where κ is 0 (hinge) β itself.
    size, world, reference : LlamaSize, WorldConfig, ReferenceConfig
        Of the policy, of the data, of πref's fine-tuning.
    steps, batch_size : int
        Updates of a policy in either condition, and prompts in each, with all their labelled pairs.
    learning_rate, warmup : float, int
        Adam's rate rises over ``warmup`` steps and falls to 0 along a cosine. Its height is ``rate_at`` the strength.
    stack : int
        Most policies trained together, of one seed and condition: a piece of the study.
    device : str
        "cpu" or "cuda".
    budget_seconds : float, optional
        Wall time of one run, which it keeps by itself (`llm.forests.pieces`); None for no limit.
    """

    name: str
    trained: tuple[int, ...] = (64, 512)
    unseen: int = 160
    samples: int = 4
    held_samples: int = 16
    generated: int = 4
    max_new_tokens: int = 20
    scale: float = 1.0
    losses: tuple[str, ...] = PAPER_LOSSES
    strengths: tuple[float, ...] = log_grid(0.003, 3.0, 8)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    size: LlamaSize = field(default_factory=LlamaSize)
    world: WorldConfig = field(default_factory=WorldConfig)
    reference: ReferenceConfig = field(default_factory=lambda: ReferenceConfig(pool=1200, steps=300, batch_size=16))
    steps: int = 128
    batch_size: int = 8
    learning_rate: float = 2e-3
    warmup: int = 20
    stack: int = 12
    device: str = "cpu"
    budget_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("unseen", "held_samples", "generated", "steps", "batch_size", "stack"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more")
        if self.samples < 2 or self.unseen < 2:
            raise ValueError(f"samples is {self.samples}, unseen {self.unseen}; accepted is 2 or more: pairs, halves")
        if not self.trained or list(self.trained) != sorted(set(self.trained)) or self.trained[0] < 1:
            raise ValueError(f"trained is {self.trained}; accepted are rising numbers of prompts, 1 or more")
        if any(prompts % self.batch_size for prompts in self.trained):
            raise ValueError(f"batch_size is {self.batch_size}; it must divide each of trained, {self.trained}")
        if self.steps % 4:
            raise ValueError(f"steps is {self.steps}; accepted are multiples of 4: training is watched by quarters")
        check_grid(self.losses, self.strengths, self.seeds)

    @property
    def prompts(self) -> int:
        """Prompts of a seed, those that are trained on before the unseen ones."""
        return self.trained[-1] + self.unseen

    def rate_at(self, strength: float) -> float:
        """Return the height of the learning rate at a strength (`llm.forests.config.rate_at`).

        Examples
        --------
        >>> config = TunedConfig("mine", learning_rate=1.0)
        >>> [config.rate_at(strength) for strength in (0.1, 0.2, 0.8)]
        [1.0, 1.0, 0.25]
        """
        return rate_at(self.learning_rate, strength)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)


PRESETS: dict[str, TunedConfig] = {
    "tiny": TunedConfig(
        "tiny", trained=(4, 8), unseen=4, samples=3, held_samples=6, generated=2,
        losses=("logistic", "hinge", "squared"),
        strengths=(0.03, 0.3), seeds=(0, 1), size=LlamaSize(hidden=16, layers=1, heads=2),
        reference=ReferenceConfig(pool=64, demonstrations=2, steps=30, batch_size=8, warmup=5), steps=20, batch_size=2,
        warmup=2, stack=6,
    ),
    "cpu": TunedConfig("cpu", strengths=(0.03, 0.1, 0.3), seeds=(100, 101)),
    "small": TunedConfig("small"),
    "fresh": TunedConfig("fresh", seeds=tuple(range(100, 120)), stack=48, device="cuda"),
    "gpu": TunedConfig(
        "gpu", trained=(256, 2048), unseen=256, generated=4, strengths=log_grid(0.003, 3.0, 10),
        size=LlamaSize(hidden=256, layers=4, heads=4),
        reference=ReferenceConfig(pool=4000, steps=1200, batch_size=32, learning_rate=1.5e-3, warmup=100), steps=512,
        batch_size=16, learning_rate=3e-4, warmup=50, stack=18, device="cuda", budget_seconds=780,
    ),
}  # fmt: skip
"""``tiny`` is for tests; ``cpu`` is the miniature from which tolerances and power were worked out, four minutes of a
processor; ``small`` takes half an hour of one; ``fresh`` is ``small`` on 20 seeds that no earlier run had, on a GPU
(two processes of ten seeds, some seven minutes of an H100); ``gpu`` keeps within thirteen minutes of one H100 and has
not been run on one."""


def preset(name: str) -> TunedConfig:
    """Return a preset by name; a ValueError names those there are."""
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}; accepted are {', '.join(PRESETS)}")
    return PRESETS[name]
