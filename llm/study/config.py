"""The configuration of a study.

A study is one reference policy, one gold reward, one set of pairs, and a grid of (f, β, seed) trained on them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from llm.data.splits import Counts
from llm.data.world import WorldConfig
from llm.policy.models import LlamaSize, LoraSettings
from llm.policy.tokenizers import TokenizerConfig
from llm.rewards.gold import GoldConfig
from llm.rewards.pairs import PairsConfig
from llm.sweep.plan import GridConfig
from llm.training.config import TrainConfig
from llm.training.sft import SftConfig


@dataclass(frozen=True)
class PolicyConfig:
    """The policy before fine-tuning.

    Parameters
    ----------
    source : str, optional
        Folder or hub name of a causal language model; None for a small Llama from scratch.
    size : LlamaSize
        Of the model from scratch.
    tokenizer : TokenizerConfig
        Of the model from scratch.
    lora : LoraSettings, optional
        Adapters for the sweep's cells over one shared base; None trains all parameters.
    pad_token : str, optional
        For a tokenizer that has none.
    """

    source: str | None = None
    size: LlamaSize = field(default_factory=LlamaSize)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    lora: LoraSettings | None = None
    pad_token: str | None = None


@dataclass(frozen=True)
class EvaluationConfig:
    """How policies are evaluated: see `llm.evaluation`.

    Parameters
    ----------
    samples : int
        Samples of πref a prompt that a policy's response is compared with.
    second_samples : int
        Prompts that get a second response of the policy.
    gradient_pairs : int
        Held-out pairs whose gradient is compared with its expansions.
    best_of_pool : int
        Further samples of πref a prompt for best-of-n, n up to this number.
    batch_size : int
        Responses drawn side by side.
    """

    samples: int = 4
    second_samples: int = 256
    gradient_pairs: int = 96
    best_of_pool: int = 16
    batch_size: int = 512


@dataclass(frozen=True)
class StudyConfig:
    """Everything that decides a study's numbers, but the data's own content.

    Parameters
    ----------
    name : str
        Of the preset.
    counts, world, policy, sft, reward, pairs, grid, training, evaluation : dataclass of its own
        The parts.
    stack : int, optional
        Cells trained together; None measures it on the machine at hand (`llm.sweep.measure`).
    workers : int
        Processes side by side; like ``stack`` it decides no number beyond rounding.
    max_prompt : int
        Longest prompt in words, where records come from files; longer ones are counted and left out.
    seed : int
        Of everything.
    device : {"cpu", "cuda"}
        Where to compute.

    Raises
    ------
    ValueError
        For a number out of range, or a training whose last step is not evaluated.
    """

    name: str
    counts: Counts
    world: WorldConfig = field(default_factory=WorldConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    reward: GoldConfig = field(default_factory=GoldConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    training: TrainConfig = field(default_factory=lambda: TrainConfig(200, warmup=10, evaluate_at=(50, 200)))
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    stack: int | None = 5
    workers: int = 2
    max_prompt: int = 200
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("stack", "workers", "max_prompt"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; accepted is 1 or more")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; accepted is 0 or more")
        if self.training.evaluated_steps[-1] != self.training.steps:
            raise ValueError(
                f"evaluate_at is {self.training.evaluate_at} of {self.training.steps} steps; the last step must be "
                "evaluated"
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)
