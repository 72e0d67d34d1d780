"""What a problem on sampled prompts is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gpo_analysis.losses import get_loss, refuse_repeated
from llm.data.world import WorldConfig
from llm.policy.models import LlamaSize


@dataclass(frozen=True)
class ReferenceConfig:
    """How πref is fine-tuned on careless demonstrations, by Adam with a warm-up and a linear decay.

    Parameters
    ----------
    pool, demonstrations : int
        Records, and careless summaries of each; a step takes whole records.
    steps, batch_size : int
        Updates, and records in each.
    learning_rate, warmup, decay : float, int, float
        The rate rises over ``warmup`` steps and falls linearly to 0 over the last ``decay`` share of them.
    """

    pool: int = 4000
    demonstrations: int = 4
    steps: int = 800
    batch_size: int = 24
    learning_rate: float = 5e-3
    warmup: int = 50
    decay: float = 0.3

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0.

        Examples
        --------
        >>> config = ReferenceConfig(steps=100, warmup=10, decay=0.5, learning_rate=1.0)
        >>> config.rate(0), config.rate(20), config.rate(99)
        (0.1, 1.0, 0.02)
        """
        return self.learning_rate * min(1.0, (step + 1) / self.warmup, (self.steps - step) / (self.decay * self.steps))


class SampledConfig(Protocol):
    """What a study says of the problem that it draws; any configuration with these fields will do.

    Attributes
    ----------
    prompts, samples, held_samples : int
        Prompts of a seed, samples of πref for each to train on, and further ones that are not trained on.
    max_new_tokens : int
        Most tokens of a sample, the end token included.
    size, world, reference : LlamaSize, WorldConfig, ReferenceConfig
        Of the policy, of the data, of πref's fine-tuning.
    device : str
        "cpu" or "cuda".
    """

    @property
    def prompts(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def held_samples(self) -> int: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def size(self) -> LlamaSize: ...
    @property
    def world(self) -> WorldConfig: ...
    @property
    def reference(self) -> ReferenceConfig: ...
    @property
    def device(self) -> str: ...


def rate_at(height: float, strength: float) -> float:
    """Return the height of the learning rate at a strength βκ (hinge: β): ``height`` up to 0.2, then as 1/βκ.

    Adam takes the scale out of the gradient, so that its first steps move h alike whatever β; but the optimum's h goes
    as 1/β, and f sees βh. In proportion to 1/β training is the same in units of βh at every β. At one rate for all,
    β = 3.2 begins with margins of 20: exponential's gradient there fills Adam's memory for the rest of the run,
    Savage's is gone, and what samples that are not trained on were given by chance stays.

    Examples
    --------
    >>> [rate_at(1.0, strength) for strength in (0.1, 0.2, 0.8)]
    [1.0, 1.0, 0.25]
    """
    return height * min(1.0, 0.2 / strength)


def check_grid(losses: Sequence[str], strengths: Sequence[float], seeds: Sequence[int]) -> None:
    """Refuse, with a ValueError, a loss without a name, a strength of 0 or less, a seed below 0, and none of a kind.

    Examples
    --------
    >>> check_grid(["logistic"], [0.1], [0])
    """
    for name in losses:
        get_loss(name)
    refuse_repeated(losses)
    if not (len(losses) and len(strengths) and len(seeds)) or min(strengths) <= 0 or min(seeds) < 0:
        raise ValueError(
            f"losses {losses}, strengths {strengths}, seeds {seeds}; accepted is one or more of each, strengths above "
            "0, seeds from 0"
        )
