"""Sizes and conditions of the study of a real model: what is fixed beforehand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from gpo_analysis.losses import PAPER_LOSSES
from llm.forests.config import check_grid
from llm.predicted.config import Cell

DOMAINS = ("titles", "hh")


@dataclass(frozen=True)
class AdapterCell(Cell):
    """One run; ``fixed_a``: of each adapter B alone is trained, A stays as it was drawn."""

    fixed_a: bool = False


@dataclass(frozen=True)
class RealConfig:
    """Everything that decides the study's numbers.

    Parameters
    ----------
    name : str
        Of the preset.
    domain : str
        "titles": abstracts to titles, labels by the overlap with the true title; "hh": people's pairs of dialogues.
    trained_prompts, unseen_prompts : int
        Prompts of each seed whose pairs are trained on, and further ones whose are not.
    samples, held_samples : int
        Samples of πref a prompt to form pairs of (titles), and further ones that are in no pair.
    pairs_per_prompt : int
        Pairs of distinct samples, with a hard label each, drawn from σ(scale · Δr).
    max_prompt, max_new_tokens : int
        Longest prompts, and responses, in tokens.
    scale : float
        Of the labels.
    losses, strengths : tuple
        The grid, A and B trained; hinge, whose κ is 0, by β.
    fixed_losses, fixed_strengths : tuple
        The grid with A fixed.
    seeds : tuple of int
    upper, rank, alpha : int, int, float
        Layers with adapters, from the last one down, their rank, and α: they are scaled by α/rank.
    steps, record : int, tuple of int
        Updates of a run, and after which of them it is measured; the last is the last.
    prompts_a_step : int
        Prompts of a step, with all their pairs; it divides ``trained_prompts``.
    adam_rate, fixed_rate : float
        Learning rate, and its factor in runs with A fixed, so that they go about as far.
    stack : int
        Most runs side by side.
    budget_seconds : float, optional
        Wall time of one run, which it keeps by itself (`llm.forests.pieces`); None for no limit.
    device : str
        "cpu"; where it runs.
    sources : tuple of (str, str)
        Digests of the model and of the data, set by the run.
    """

    name: str
    domain: str
    trained_prompts: int = 4
    unseen_prompts: int = 2
    samples: int = 5
    held_samples: int = 5
    pairs_per_prompt: int = 10
    max_prompt: int = 96
    max_new_tokens: int = 12
    scale: float = 10.0
    losses: tuple[str, ...] = ("logistic", "squared", "exponential", "savage")
    strengths: tuple[float, ...] = (0.1, 0.8)
    fixed_losses: tuple[str, ...] = ("logistic",)
    fixed_strengths: tuple[float, ...] = (0.8,)
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    upper: int = 2
    rank: int = 8
    alpha: float = 16.0
    steps: int = 36
    record: tuple[int, ...] = (6, 18, 36)
    prompts_a_step: int = 2
    adam_rate: float = 3e-4
    fixed_rate: float = 4.0
    stack: int = 6
    budget_seconds: float | None = None
    device: str = "cpu"
    sources: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise ValueError(f"domain is {self.domain!r}; accepted are {', '.join(DOMAINS)}")
        for name in ("trained_prompts", "unseen_prompts", "held_samples", "pairs_per_prompt", "upper", "rank", "stack"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more")
        if self.domain == "hh" and (self.samples, self.pairs_per_prompt) != (2, 1):
            raise ValueError("a pair of people's is one pair of two responses: samples 2, pairs_per_prompt 1")
        if list(self.record) != sorted(set(self.record)) or not self.record or self.record[-1] != self.steps:
            raise ValueError(f"record is {self.record}; accepted are rising steps that end with steps, {self.steps}")
        if self.prompts_a_step < 1 or self.trained_prompts % self.prompts_a_step:
            raise ValueError(
                f"{self.prompts_a_step} of {self.trained_prompts} prompts a step; accepted is a divisor of them"
            )
        if self.device != "cpu":
            raise ValueError(f"device is {self.device!r}; accepted is 'cpu'")
        check_grid(
            tuple(dict.fromkeys((*self.losses, *self.fixed_losses))),
            (*self.strengths, *self.fixed_strengths),
            self.seeds,
        )

    @property
    def prompts(self) -> int:
        """Prompts of a seed, trained on or not."""
        return self.trained_prompts + self.unseen_prompts

    @property
    def pairs(self) -> int:
        """Pairs of a seed."""
        return self.trained_prompts * self.pairs_per_prompt

    @property
    def scaling(self) -> float:
        """Of an adapter's update."""
        return self.alpha / self.rank

    @property
    def shared_split(self) -> str:
        """The labelled samples that are in no pair, for the part of a margin that responses do not share."""
        return "held" if self.domain == "titles" else "unseen"

    def rate_of(self, cell: Cell) -> float:
        """Learning rate of a cell."""
        return cell.rate * self.adam_rate

    def cells(self) -> list[AdapterCell]:
        """Every run of a seed: the limit β → 0 and the grid, then those with A fixed."""
        batch = self.prompts_a_step * self.pairs_per_prompt
        found = []
        grids = (
            (False, 1.0, self.losses, self.strengths),
            (True, self.fixed_rate, self.fixed_losses, self.fixed_strengths),
        )
        for fixed, rate, losses, strengths in grids:
            if losses:
                found.append(AdapterCell("logistic", 0.0, "adamw", rate, batch, 0.0, fixed))
            found += [AdapterCell(f, s, "adamw", rate, batch, 0.0, fixed) for s in strengths for f in losses]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)


def _hh(config: RealConfig, **changed: Any) -> RealConfig:
    """The same study on people's pairs, one a prompt, so with more prompts."""
    own = {"domain": "hh", "samples": 2, "pairs_per_prompt": 1, "scale": 50.0}
    return dataclasses.replace(config, name=config.name.replace("titles", "hh"), **{**own, **changed})


_TINY = RealConfig(
    "titles-tiny", "titles", trained_prompts=4, unseen_prompts=2, samples=4, held_samples=4, pairs_per_prompt=6,
    max_prompt=112, max_new_tokens=8, losses=("logistic", "savage"), strengths=(0.4,), fixed_strengths=(0.4,),
    seeds=(0, 1), upper=2, rank=2, alpha=4.0, steps=8, record=(2, 8), adam_rate=3e-3, stack=3,
)  # fmt: skip
_SMALL = RealConfig("titles-small", "titles")
_FULL = dataclasses.replace(
    _SMALL, name="titles-full", trained_prompts=8, unseen_prompts=4, samples=6, held_samples=6, pairs_per_prompt=15,
    max_new_tokens=16, losses=PAPER_LOSSES, strengths=(0.05, 0.1, 0.4, 1.6), seeds=(0, 1, 2, 3, 4),
    fixed_losses=("logistic", "squared", "exponential", "savage"), fixed_strengths=(0.1, 0.4, 1.6),
    steps=72, record=(6, 18, 36, 72),
)  # fmt: skip
_MORE = {"trained_prompts": 8, "unseen_prompts": 4, "held_samples": 3, "max_new_tokens": 20, "prompts_a_step": 4}
PRESETS: dict[str, RealConfig] = {
    one.name: one
    for one in (
        _TINY,
        _hh(_TINY, trained_prompts=6, unseen_prompts=3, prompts_a_step=3, max_new_tokens=14),
        _SMALL,
        _hh(_SMALL, **_MORE),
        _FULL,
        _hh(_FULL, **{**_MORE, "trained_prompts": 24, "unseen_prompts": 12}),
    )
}


def preset(name: str) -> RealConfig:
    """Return a preset by name; a ValueError names those there are."""
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}; accepted are {', '.join(PRESETS)}")
    return PRESETS[name]
