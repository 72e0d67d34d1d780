"""The configuration of a study.

A study is one reference policy, one gold reward, one set of pairs, and a grid of (f, β, seed) trained on them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llm.data.splits import Counts
from llm.data.world import WorldConfig
from llm.policy.logprobs import DTYPES
from llm.policy.models import LlamaSize, LoraSettings
from llm.policy.tokenizers import TokenizerConfig
from llm.rewards.gold import GoldConfig
from llm.rewards.pairs import PairsConfig
from llm.sweep.plan import GridConfig
from llm.training.config import TrainConfig
from llm.training.sft import SftConfig

SEED_STEP = 1000
"""How far one seed of a study moves the seeds of its parts."""
SEEDS = ("seed", "seeds")
ABOVE_ZERO = ("samples", "batch_size", "max_new_tokens", "learning_rate", "chunk_elements")
"""Numbers that may not be 0; no number of a study is negative, nor infinite. Parts refuse more by themselves."""
_Part = TypeVar("_Part")


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
    dtype : {"float32", "bfloat16"}
        In which policies and πref are evaluated, both alike; "bfloat16" by autocast.
    """

    samples: int = 4
    second_samples: int = 256
    gradient_pairs: int = 96
    best_of_pool: int = 16
    batch_size: int = 512
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}; accepted are {', '.join(DTYPES)}")


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
        Of everything: records, base model, fine-tuning, reward, samples, labels, order, evaluation (`seeded`).
    device : {"cpu", "cuda"}
        Where to compute.
    budget_seconds : float, optional
        Wall time of one run, which it keeps by itself (`llm.study.budgeted`): of the conditions f × β it makes those
        that fit, by the speed measured on this device, each with all its seeds; None for no limit.

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
    budget_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("stack", "workers", "max_prompt"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; accepted is 1 or more")
        if self.budget_seconds is not None and not (0 < self.budget_seconds < math.inf and self.workers == 1):
            raise ValueError(
                f"budget_seconds is {self.budget_seconds} with {self.workers} workers; accepted is a number above 0, "
                "and with it one worker"
            )
        for where, value in _numbers(self):
            if where.rpartition(".")[2] in ABOVE_ZERO and value == 0:
                raise ValueError(f"{where} is {value}; accepted is more than 0")
            if not 0 <= value < math.inf:
                raise ValueError(f"{where} is {value}; accepted is 0 or more")
        if self.training.evaluated_steps[-1] != self.training.steps:
            raise ValueError(
                f"evaluate_at is {self.training.evaluate_at} of {self.training.steps} steps; the last step must be "
                "evaluated"
            )

    def seeded(self) -> StudyConfig:
        """The study as it is run: every seed in it moved by the study's own, in steps that keep them apart.

        Studies of two seeds share no draw: neither records nor samples, labels, order or evaluation. Seed 0 leaves the
        parts' seeds as they are.

        Examples
        --------
        >>> study = StudyConfig("demo", Counts(1, 1, 1, 1), seed=2, grid=GridConfig(seeds=(0, 1)))
        >>> study.seeded().seeds
        {'seed': 2000, 'sft.seed': 2000, 'reward.gold.seed': 2000, 'reward.judge.seed': 2001, \
'reward.pair_judge.seed': 2002, 'reward.seed': 2000, 'pairs.seed': 2000, 'grid.seeds': (2000, 2001)}
        """
        by = SEED_STEP * self.seed
        return dataclasses.replace(_moved(self, by), seed=by)

    @property
    def seeds(self) -> dict[str, Any]:
        """Every seed in the configuration, by where it stands."""
        return dict(_seeds(self))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)


def _moved(part: _Part, by: int) -> _Part:
    """A dataclass with every seed in it, and in its parts, moved."""
    changed: dict[str, Any] = {}
    for field_ in dataclasses.fields(part):  # type: ignore[arg-type]
        value = getattr(part, field_.name)
        if field_.name in SEEDS:
            changed[field_.name] = tuple(one + by for one in value) if isinstance(value, tuple) else value + by
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed[field_.name] = _moved(value, by)
    return dataclasses.replace(part, **changed)  # type: ignore[type-var]


def _numbers(part: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a configuration and its parts, by where it stands."""
    for field_ in dataclasses.fields(part):
        value = getattr(part, field_.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _numbers(value, f"{where}{field_.name}.")
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, int | float) and not isinstance(one, bool):
                yield where + field_.name, one


def _seeds(part: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    for field_ in sorted(dataclasses.fields(part), key=lambda one: one.name not in SEEDS or bool(where)):
        value = getattr(part, field_.name)
        if field_.name in SEEDS:
            yield where + field_.name, value
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _seeds(value, f"{where}{field_.name}.")
