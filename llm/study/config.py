"""The configuration of a study, and its presets.

A study is one reference policy, one gold reward, one set of pairs, and a grid of (f, β, seed) trained on them. Sizes of
the presets are ours; the paper's policy is T5X Large and its grid is not known (Tang et al. 2024, arXiv 2402.05749).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import gpo_analysis as gpo
from gpo_analysis.losses import PAPER_LOSSES, MarginLoss, get_loss
from llm.data.world import WorldConfig
from llm.policy.models import LlamaSize, LoraSettings
from llm.policy.tokenizers import TokenizerConfig
from llm.rewards.gold import GoldConfig
from llm.rewards.labels import LabelConfig
from llm.rewards.pairs import PairsConfig
from llm.training.sft import SftConfig

__all__ = [
    "PRESETS",
    "Counts",
    "EvaluationConfig",
    "GridConfig",
    "PolicyConfig",
    "StudyConfig",
    "TrainingConfig",
    "beta_of",
    "preset",
]


@dataclass(frozen=True)
class Counts:
    """How many records each part of a study gets; no record is in two parts.

    Parameters
    ----------
    fine_tuning
        Examples of supervised fine-tuning.
    reward
        Examples the gold reward and its judges are trained on; the generated world's reward is a program and needs
        them for its judge alone (0: no judge).
    pairs
        Prompts whose two samples are labelled and trained on.
    held_out
        Prompts of the pairs that no policy is trained on.
    evaluation
        Prompts of win rates and KL.
    """

    fine_tuning: int
    pairs: int
    held_out: int
    evaluation: int
    reward: int = 0

    def __post_init__(self) -> None:
        for name in ("fine_tuning", "pairs", "held_out", "evaluation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more")


@dataclass(frozen=True)
class PolicyConfig:
    """The policy before fine-tuning.

    Parameters
    ----------
    source
        Folder or hub name of a causal language model; None for a small Llama from scratch.
    size, tokenizer
        Of the model from scratch.
    lora
        Adapters for the sweep's cells over one shared base; None trains all parameters.
    pad_token
        For a tokenizer that has none.
    """

    source: str | None = None
    size: LlamaSize = field(default_factory=LlamaSize)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    lora: LoraSettings | None = None
    pad_token: str | None = None


@dataclass(frozen=True)
class GridConfig:
    """The grid f × β × seed.

    Parameters
    ----------
    losses
        Names of margin losses.
    strengths
        Values of βκ, κ = f″(0)/|f′(0)|; of β itself where κ is 0 (hinge).
    seeds
        Seeds of the order of the pairs.
    reused_losses, reused_epochs
        A second arm sees fewer pairs ``reused_epochs`` times in as many steps, to tell reuse of data from
        over-optimisation; for these losses and the first seed only.
    """

    losses: tuple[str, ...] = PAPER_LOSSES
    strengths: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    seeds: tuple[int, ...] = (0,)
    reused_losses: tuple[str, ...] = ()
    reused_epochs: int = 8

    def __post_init__(self) -> None:
        for name in (*self.losses, *self.reused_losses):
            get_loss(name)
        if not self.losses or not self.strengths or not self.seeds or min(self.strengths) <= 0:
            raise ValueError(
                f"losses {self.losses}, strengths {self.strengths}, seeds {self.seeds}; accepted is at least one of "
                "each, strengths above 0"
            )


@dataclass(frozen=True)
class TrainingConfig:
    """How a cell is trained.

    Parameters
    ----------
    steps, batch_size, learning_rate, warmup
        Updates, pairs in each, and the rate, which rises over ``warmup`` steps and then stays.
    optimizer
        "adamw" or "adafactor".
    max_grad_norm
        Gradients are clipped to this norm, each cell's by itself.
    accumulation
        Parts a batch is computed in.
    checkpoints
        Shares of the steps after which every cell is evaluated; the last is 1.
    stack
        Cells trained together; None measures it on the machine at hand (`llm.sweep.run.measure_stack_size`).
    workers
        Processes side by side.
    dtype
        Of computation: "float32", or "bfloat16" with float32 sums.
    """

    steps: int = 200
    batch_size: int = 32
    learning_rate: float = 3e-4
    warmup: int = 10
    optimizer: str = "adamw"
    max_grad_norm: float = 1.0
    accumulation: int = 1
    checkpoints: tuple[float, ...] = (0.25, 1.0)
    stack: int | None = 5
    workers: int = 2
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "stack", "workers", "accumulation"):
            if name == "stack" and self.stack is None:
                continue
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more")
        if (
            not self.checkpoints
            or self.checkpoints[-1] != 1.0
            or sorted(set(self.checkpoints)) != list(self.checkpoints)
        ):
            raise ValueError(f"checkpoints are {self.checkpoints}; accepted are rising shares of the steps up to 1.0")

    @property
    def evaluated_steps(self) -> tuple[int, ...]:
        """Steps after which cells are evaluated.

        Examples
        --------
        >>> TrainingConfig(steps=200, checkpoints=(0.25, 1.0)).evaluated_steps
        (50, 200)
        """
        return tuple(dict.fromkeys(max(1, round(share * self.steps)) for share in self.checkpoints))


@dataclass(frozen=True)
class EvaluationConfig:
    """How policies are evaluated: see `llm.evaluation`.

    Parameters
    ----------
    samples
        Samples of πref a prompt that a policy's response is compared with.
    second_samples
        Prompts that get a second response of the policy.
    gradient_pairs
        Held-out pairs whose gradient is compared with its expansions.
    best_of_pool
        Further samples of πref a prompt for best-of-n, n up to this number.
    batch_size
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
    name
        Of the preset.
    counts, world, policy, sft, reward, pairs, grid, training, evaluation
        The parts.
    max_prompt
        Longest prompt in words, where records come from files; longer ones are counted and left out.
    seed
        Of everything.
    device
        "cpu" or "cuda".
    """

    name: str
    counts: Counts
    world: WorldConfig = field(default_factory=WorldConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    reward: GoldConfig = field(default_factory=GoldConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    max_prompt: int = 200
    seed: int = 0
    device: str = "cpu"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)


def beta_of(loss: MarginLoss, strength: float) -> float:
    """β at which βκ is ``strength``; where κ is 0 (hinge) β itself is.

    Examples
    --------
    >>> [beta_of(get_loss(name), 0.3) for name in ("logistic", "squared", "hinge")]
    [0.6, 0.3, 0.3]
    """
    kappa = float(gpo.analyze(loss).curvature_ratio)
    return strength / kappa if kappa > 0 else strength


_WORLD_LABELS = LabelConfig("bt", temperature=1.0)

PRESETS: dict[str, StudyConfig] = {
    "tiny": StudyConfig(
        "tiny",
        Counts(fine_tuning=400, pairs=96, held_out=32, evaluation=24),
        policy=PolicyConfig(size=LlamaSize(hidden=16, layers=1, heads=2)),
        sft=SftConfig(steps=30, warmup=5),
        pairs=PairsConfig(max_new_tokens=12, keep_unfinished=True, labels=_WORLD_LABELS, seed=1),
        grid=GridConfig(losses=("logistic", "hinge", "squared"), strengths=(0.1, 1.0)),
        training=TrainingConfig(steps=6, batch_size=8, checkpoints=(0.5, 1.0), stack=2, workers=1),
        evaluation=EvaluationConfig(samples=2, second_samples=8, gradient_pairs=8, best_of_pool=4),
    ),
    "cpu": StudyConfig(
        "cpu",
        Counts(fine_tuning=16000, pairs=6800, held_out=384, evaluation=512),
        policy=PolicyConfig(size=LlamaSize(hidden=64, layers=2, heads=4)),
        sft=SftConfig(steps=1000),
        pairs=PairsConfig(max_new_tokens=24, labels=_WORLD_LABELS, seed=1),
        grid=GridConfig(),
        evaluation=EvaluationConfig(second_samples=192, gradient_pairs=48),
    ),
    "files": StudyConfig(
        "files",
        Counts(fine_tuning=12000, reward=6000, pairs=4800, held_out=256, evaluation=512),
        policy=PolicyConfig(
            size=LlamaSize(hidden=96, layers=2, heads=4, positions=384), tokenizer=TokenizerConfig("bpe", 2048)
        ),
        sft=SftConfig(steps=1000, learning_rate=3e-3),
        pairs=PairsConfig(max_new_tokens=24, keep_unfinished=True, labels=_WORLD_LABELS, seed=1),
        grid=GridConfig(losses=("logistic", "squared", "hinge")),
        training=TrainingConfig(steps=120, checkpoints=(1.0,)),
        evaluation=EvaluationConfig(second_samples=128, gradient_pairs=48),
        max_prompt=100,
    ),
    "small": StudyConfig(
        "small",
        Counts(fine_tuning=40000, pairs=16000, held_out=1024, evaluation=768),
        policy=PolicyConfig(size=LlamaSize(hidden=128, layers=3, heads=4)),
        sft=SftConfig(steps=2000, learning_rate=3e-3),
        pairs=PairsConfig(max_new_tokens=24, labels=_WORLD_LABELS, seed=1),
        grid=GridConfig(
            strengths=(0.03, 0.1, 0.3, 1.0, 2.0, 4.0), seeds=(0, 1, 2), reused_losses=("logistic", "squared")
        ),
        training=TrainingConfig(steps=300, learning_rate=3e-4, checkpoints=(0.1, 0.33, 1.0)),
    ),
    "h200": StudyConfig(
        "h200",
        Counts(fine_tuning=80000, reward=16000, pairs=80000, held_out=2048, evaluation=2048),
        policy=PolicyConfig(
            size=LlamaSize(hidden=384, layers=8, heads=6, positions=640), tokenizer=TokenizerConfig("bpe", 8192)
        ),
        sft=SftConfig(steps=4000, batch_size=64, learning_rate=1e-3, warmup=200, dtype="bfloat16", max_length=640),
        pairs=PairsConfig(max_new_tokens=48, labels=_WORLD_LABELS, batch_size=2048, seed=1),
        grid=GridConfig(
            strengths=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0), seeds=(0, 1, 2), reused_losses=("logistic", "squared")
        ),
        training=TrainingConfig(
            steps=2000, batch_size=32, learning_rate=1e-5, optimizer="adafactor", warmup=100,
            checkpoints=(0.1, 0.25, 0.5, 1.0), stack=None, workers=1, dtype="bfloat16",
        ),
        evaluation=EvaluationConfig(samples=8, second_samples=1024, gradient_pairs=256, batch_size=4096),
        max_prompt=320,
        device="cuda",
    ),
}  # fmt: skip
"""``tiny`` is for tests; ``cpu`` takes minutes on two cores, ``files`` too (with --data), ``small`` one to two hours;
``h200`` is for a large GPU."""


def preset(name: str) -> StudyConfig:
    """Return a preset by name; a ValueError names those there are."""
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}; accepted are {', '.join(PRESETS)}")
    return PRESETS[name]
