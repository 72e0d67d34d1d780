"""Sizes and conditions of study C: what is fixed beforehand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from gpo_analysis.losses import PAPER_LOSSES, get_loss
from llm.data.world import WorldConfig
from llm.forests.config import ReferenceConfig, check_grid
from llm.policy.models import LlamaSize

OPTIMIZERS = ("adamw", "sgd")
#: Share of flipped labels at which a label says nothing; such labels are tossed anew at every visit of a pair.
COIN = 0.5


@dataclass(frozen=True)
class Cell:
    """One run: what is trained, and how.

    Parameters
    ----------
    loss : str
    strength : float
        βκ; where κ is 0 (hinge) β itself; 0 for the limit β → 0, in which every loss is the same.
    optimizer : str
        "adamw" or "sgd".
    rate : float
        Factor of the optimiser's learning rate.
    batch : int
        Pairs in a step.
    epsilon : float
        Share of the labels that are flipped; `COIN`: labels tossed anew at every visit.
    """

    loss: str
    strength: float
    optimizer: str
    rate: float
    batch: int
    epsilon: float

    @property
    def beta(self) -> float:
        """β of the strength; 0 in the limit."""
        return get_loss(self.loss).beta_of(self.strength) if self.strength else 0.0


@dataclass(frozen=True)
class PredictedConfig:
    """Everything that decides the study's numbers.

    Parameters
    ----------
    name : str
        Of the preset.
    trained_prompts, unseen_prompts : int
        Prompts of each seed whose pairs are trained on, and further ones whose are not.
    samples, held_samples : int
        Samples of πref for each prompt to form pairs of, and further ones that are in no pair.
    pairs : int
        Pairs of distinct samples of one trained prompt, drawn with the samples' shares, with a label each.
    max_new_tokens, scale : int, float
        Most tokens of a sample; labels are Bernoulli(σ(scale · Δr)), then flipped with the cell's ε.
    losses, strengths, sgd_strengths : tuple
        The grid; see `Cell`.
    varied, varied_strengths, rates, batches, epsilons : tuple
        Losses and strengths at which learning rate, batch and ε are varied, one at a time, with Adam.
    coin_losses, coin_strengths : tuple
        Grid of runs on tossed labels, with Adam; logistic at every rate and batch.
    seeds : tuple of int
    size, world, reference : LlamaSize, WorldConfig, ReferenceConfig
        Of the policy, of the data, of πref's fine-tuning.
    steps, record : int, tuple of int
        Updates of a run, and after which of them it is measured; the last is the last.
    batch : int
        Pairs in a step.
    adam_rate, sgd_rate : float
        Learning rates, of the gradient divided by β|f′(0)|: runs of all f and β begin alike. Adam does so by itself.
    device : str
        "cpu" or "cuda".
    tf32 : bool
        Whether matrix products on a GPU round their factors to 10 bits.
    budget_seconds : float, optional
        Wall time of one run, which it keeps by itself (`llm.forests.pieces`); None for no limit.
    """

    name: str
    trained_prompts: int = 6
    unseen_prompts: int = 4
    samples: int = 16
    held_samples: int = 16
    pairs: int = 576
    max_new_tokens: int = 20
    scale: float = 1.0
    losses: tuple[str, ...] = PAPER_LOSSES
    strengths: tuple[float, ...] = (0.05, 0.2, 0.8, 3.2)
    sgd_strengths: tuple[float, ...] = (0.2, 0.8)
    varied: tuple[str, ...] = ("logistic", "squared")
    varied_strengths: tuple[float, ...] = (0.2, 0.8)
    rates: tuple[float, ...] = (2.0,)
    batches: tuple[int, ...] = (64,)
    epsilons: tuple[float, ...] = (0.1, 0.2)
    coin_losses: tuple[str, ...] = ("logistic", "squared", "exponential", "savage")
    coin_strengths: tuple[float, ...] = (1.6, 6.4)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    size: LlamaSize = field(default_factory=LlamaSize)
    world: WorldConfig = field(default_factory=lambda: WorldConfig(distractors=1))
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    steps: int = 90
    record: tuple[int, ...] = (10, 20, 40, 60, 90)
    batch: int = 16
    adam_rate: float = 2e-4
    sgd_rate: float = 3e-3
    device: str = "cpu"
    tf32: bool = False
    budget_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("trained_prompts", "unseen_prompts", "samples", "held_samples", "pairs", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more")
        if self.samples < 2:
            raise ValueError(f"samples is {self.samples}; a pair needs 2")
        if list(self.record) != sorted(set(self.record)) or not self.record or self.record[-1] != self.steps:
            raise ValueError(f"record is {self.record}; accepted are rising steps that end with steps, {self.steps}")
        if self.record[0] < 1:
            raise ValueError(f"record begins with {self.record[0]}; accepted are steps from 1")
        check_grid(
            tuple(dict.fromkeys((*self.losses, *self.varied, *self.coin_losses))),
            (*self.strengths, *self.sgd_strengths, *self.varied_strengths, *self.coin_strengths), self.seeds,
        )  # fmt: skip
        if not all(0 < epsilon < COIN for epsilon in self.epsilons):
            raise ValueError(f"epsilons {self.epsilons}; accepted are numbers between 0 and {COIN}")
        if max(self.batch, *self.batches, 1) > self.pairs:
            raise ValueError(f"a batch of {(self.batch, *self.batches)} of {self.pairs} pairs; accepted is at most all")

    @property
    def prompts(self) -> int:
        """Prompts of a seed, trained on or not."""
        return self.trained_prompts + self.unseen_prompts

    @property
    def shared_split(self) -> str:
        """The samples in no pair that tell what responses share (`llm.predicted.tables`)."""
        return "held"

    def rate_of(self, cell: Cell) -> float:
        """Learning rate of a cell."""
        return cell.rate * (self.adam_rate if cell.optimizer == "adamw" else self.sgd_rate)

    def cells(self) -> list[Cell]:
        """Every run of a seed, in the order in which they are trained; each beside its own limit β → 0."""
        found = [Cell("logistic", 0.0, "adamw", 1.0, self.batch, 0.0)]
        found += [Cell(f, s, "adamw", 1.0, self.batch, 0.0) for s in self.strengths for f in self.losses]
        if self.sgd_strengths:
            found.append(Cell("logistic", 0.0, "sgd", 1.0, self.batch, 0.0))
            found += [Cell(f, s, "sgd", 1.0, self.batch, 0.0) for s in self.sgd_strengths for f in self.losses]
        varied = [(rate, self.batch, 0.0) for rate in self.rates]
        varied += [(1.0, self.batch, epsilon) for epsilon in self.epsilons]
        varied += [(1.0, batch, 0.0) for batch in self.batches]
        for one in varied if self.varied else ():
            found.append(Cell("logistic", 0.0, "adamw", *one))
            found += [Cell(f, s, "adamw", *one) for s in self.varied_strengths for f in self.varied]
        if self.coin_losses:
            found.append(Cell("logistic", 0.0, "adamw", 1.0, self.batch, COIN))
        for strength in self.coin_strengths:
            found += [Cell(f, strength, "adamw", 1.0, self.batch, COIN) for f in self.coin_losses]
            if "logistic" in self.coin_losses:
                found += [Cell("logistic", strength, "adamw", rate, self.batch, COIN) for rate in self.rates]
                found += [Cell("logistic", strength, "adamw", 1.0, batch, COIN) for batch in self.batches]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)


PRESETS: dict[str, PredictedConfig] = {
    "tiny": PredictedConfig(
        "tiny", trained_prompts=3, unseen_prompts=2, samples=6, held_samples=4, pairs=24,
        losses=("logistic", "hinge", "savage"), strengths=(0.4,), sgd_strengths=(0.4,), varied=("logistic",),
        varied_strengths=(0.4,), rates=(2.0,), batches=(8,), epsilons=(0.2,), coin_losses=("logistic",),
        coin_strengths=(1.6,), seeds=(0, 1), size=LlamaSize(hidden=16, layers=1, heads=2),
        reference=ReferenceConfig(pool=64, demonstrations=2, steps=30, batch_size=8, warmup=5),
        steps=12, record=(4, 12), batch=4,
    ),
    "cpu": PredictedConfig(
        "cpu", trained_prompts=6, unseen_prompts=2, samples=12, held_samples=8, pairs=288,
        strengths=(0.2, 0.8), sgd_strengths=(0.8,), varied=(), coin_losses=(), seeds=(0, 1),
        size=LlamaSize(hidden=48), reference=ReferenceConfig(pool=1200, steps=250, batch_size=16),
        steps=80, record=(10, 20, 40, 80),
    ),
    "small": PredictedConfig("small", reference=ReferenceConfig(steps=500)),
    "fresh": PredictedConfig(
        "fresh", seeds=tuple(range(100, 124)), reference=ReferenceConfig(steps=500), device="cuda"
    ),
    "gpu": PredictedConfig(
        "gpu", trained_prompts=32, unseen_prompts=12, samples=24, held_samples=16, pairs=3072,
        strengths=(0.05, 0.2, 0.8, 1.6, 3.2), size=LlamaSize(hidden=256, layers=4, heads=4),
        world=WorldConfig(),
        reference=ReferenceConfig(pool=4000, steps=1200, batch_size=32, learning_rate=1.5e-3, warmup=100),
        steps=320, record=(10, 20, 40, 80, 160, 240, 320), device="cuda", budget_seconds=780,
    ),
}  # fmt: skip
"""``tiny`` is for tests; ``cpu`` is the study in miniature; ``small`` takes a quarter of an hour of one core; ``fresh``
is ``small`` on 24 seeds that no earlier run had, on a GPU (three processes of eight seeds, some six minutes of an
H100); ``gpu`` is larger and keeps within thirteen minutes of one."""


def preset(name: str) -> PredictedConfig:
    """Return a preset by name; a ValueError names those there are."""
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}; accepted are {', '.join(PRESETS)}")
    return PRESETS[name]
