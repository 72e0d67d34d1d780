"""Rewards and judges trained here on comparisons: one that scores a response, one that looks at two.

The scoring model has r(x, y) and is trained by the Bradley–Terry likelihood σ(r(x, y₁) − r(x, y₂)). The comparing one
has a logit g(x, y₁, y₂); in training the order of the two is random, and its answer is symmetrised,
½ (g(x, y₁, y₂) − g(x, y₂, y₁)), so that no position is preferred.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import nn

from gpo_analysis.arrays import FloatArray, IntArray
from llm.data.types import Preference, Reward
from llm.rewards.comparisons import Comparison
from llm.rewards.network import Encoder, NetworkSize
from llm.storage.checksums import checksum_model, checksum_texts
from llm.storage.folders import new_folder
from llm.storage.reports import finished_report, mark_done, stage_key

WEIGHTS, SETTINGS = "model.safetensors", "reward.json"


@dataclass(frozen=True)
class RewardConfig:
    """How a reward is trained.

    Parameters
    ----------
    name : str
        Its name in tables.
    two_responses : bool
        Whether it looks at two responses at a time (a judge) or scores each by itself.
    size : NetworkSize
        Size of the network.
    epochs, batch_size, learning_rate : int, float
        Passes over the comparisons; comparisons in an update; AdamW's rate, falling linearly to zero.
    weight_decay, max_grad_norm : float
        AdamW's decay; the norm gradients are clipped to.
    seed : int
        Seed of the weights and of the order.
    """

    name: str = "reward"
    two_responses: bool = False
    size: NetworkSize = field(default_factory=NetworkSize)
    epochs: int = 2
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("weight_decay", "max_grad_norm"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is a finite number, 0 or more")
        if self.epochs < 1 or self.batch_size < 1 or not 0.0 < self.learning_rate < math.inf:
            raise ValueError(
                f"epochs {self.epochs}, batch_size {self.batch_size}, learning_rate {self.learning_rate}: "
                "accepted are ≥ 1, ≥ 1 and > 0"
            )


class _Network(nn.Module):
    """The encoder with a head: of one vector (score) or of two (logit that the first is the better)."""

    def __init__(self, size: NetworkSize, two_responses: bool) -> None:
        super().__init__()
        self.encoder = Encoder(size)
        self.head: nn.Module = (
            nn.Sequential(nn.Linear(3 * size.width, size.width), nn.GELU(), nn.Linear(size.width, 1))
            if two_responses
            else nn.Linear(size.width, 1)
        )

    def score(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.head(vectors)[:, 0]

    def compare(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([first, second, first * second], -1))[:, 0]

    def vectors(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        """Return (n, width); equal prompts are read once."""
        index_of = {prompt: index for index, prompt in enumerate(dict.fromkeys(prompts))}
        found: torch.Tensor = self.encoder(list(index_of), [index_of[prompt] for prompt in prompts], responses)
        return found


class RewardModel:
    """A trained reward: scores each response by itself."""

    def __init__(self, network: _Network, name: str) -> None:
        self.network, self.name = network.eval(), name

    @property
    def fingerprint(self) -> str:
        """Checksum of the weights."""
        return checksum_model(self.network)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> FloatArray:
        """Return (n,) rewards in logits: differences are log-odds."""
        found = [self.network.score(part) for part in _parts(self.network, prompts, responses)]
        return _numpy(found)

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> FloatArray:
        """Return (n,) probabilities that the first is the better, σ of the difference."""
        return np.asarray(expit(self(prompts, first) - self(prompts, second)))


class PairJudge:
    """A trained judge: looks at two responses, in both orders."""

    def __init__(self, network: _Network, name: str) -> None:
        self.network, self.name = network.eval(), name

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> FloatArray:
        """Return (n,) probabilities that the first is the better; the two orders add up to 1."""
        found = [
            0.5 * (self.network.compare(a, b) - self.network.compare(b, a))
            for a, b in zip(_parts(self.network, prompts, first), _parts(self.network, prompts, second), strict=True)
        ]
        return np.asarray(expit(_numpy(found)))

    def position_bias(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> float:
        """Return the mean of what symmetrising takes away, ½ (g(x, y₁, y₂) + g(x, y₂, y₁)), in logits."""
        found = [
            0.5 * (self.network.compare(a, b) + self.network.compare(b, a))
            for a, b in zip(_parts(self.network, prompts, first), _parts(self.network, prompts, second), strict=True)
        ]
        return float(_numpy(found).mean())


def train_reward(
    comparisons: Sequence[Comparison],
    held_out: Sequence[Comparison],
    config: RewardConfig,
    *,
    folder: str | os.PathLike[str],
    device: str = "cpu",
    progress: bool = False,
) -> tuple[RewardModel | PairJudge, dict[str, Any]]:
    """Train a reward or a judge and save it to the folder; finished with the same data, it is read.

    Parameters
    ----------
    comparisons, held_out : sequence of Comparison
        What it is trained and tested on; no prompt should be in both.
    config : RewardConfig
        See `RewardConfig`.
    folder : path
        Where it is saved.

    Returns
    -------
    reward, report
        The report has the held-out ``accuracy`` in all and by kind (equal scores count half), with how many were
        tested, its standard error, the log-loss and how many held-out prompts were trained on.
    """
    if not comparisons or not held_out:
        raise ValueError(f"{len(comparisons)} comparisons to train on and {len(held_out)} held out; both are needed")
    root = Path(folder)
    key = stage_key(config, train=checksum_texts(comparisons), held_out=checksum_texts(held_out))
    report = finished_report(root / "reward", key)
    if report is not None:
        return load_reward(root / "reward", device=device), report
    started = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = _Network(config.size, config.two_responses).to(device)
    losses = _train(network, comparisons, config, progress)
    made = (PairJudge if config.two_responses else RewardModel)(network, config.name)
    trained_on = {one.prompt for one in comparisons}
    report = accuracy(made, held_out) | {
        "comparisons": len(comparisons),
        "held_out_prompts_seen": len({one.prompt for one in held_out} & trained_on),
        "last_losses": float(np.mean(losses[-20:])),
        "seconds": time.perf_counter() - started,
    }
    if isinstance(made, PairJudge):
        report["position_bias"] = made.position_bias(*_columns(held_out))
    _save(network, config, root / "reward", key, report)
    return made, report


def accuracy(judge: Preference, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return how often the better response is preferred (½ for a draw), by kind and in all, and the log-loss."""
    chance = judge.prefer(*_columns(comparisons))
    right = np.where(chance == 0.5, 0.5, chance > 0.5)
    kinds = np.array([one.kind for one in comparisons])
    rate = float(right.mean())
    return {
        "accuracy": rate,
        "accuracy_stderr": math.sqrt(rate * (1.0 - rate) / len(right)),
        "held_out": len(right),
        "by_kind": {str(kind): float(right[kinds == kind].mean()) for kind in np.unique(kinds)},
        "log_loss": float(-np.log(np.clip(chance, 1e-12, 1.0)).mean()),
    }


def agreement(
    reward: Reward, judge: Preference, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]
) -> dict[str, float]:
    """Return on what share of pairs the judge prefers the response of greater reward; pairs of equal reward left out.

    Parameters
    ----------
    reward, judge : Reward, Preference
        The gold reward and the separate judge.
    prompts, first, second : sequence of str
        n prompts with two responses each, such as samples of the policy.

    Returns
    -------
    dict
        ``agreement``, its ``stderr`` and ``pairs``, how many were compared.
    """
    gap = reward(prompts, first) - reward(prompts, second)
    chance = judge.prefer(prompts, first, second)
    decided = gap != 0.0
    same = np.where(chance == 0.5, 0.5, (chance > 0.5) == (gap > 0.0))[decided]
    if not len(same):
        raise ValueError("no pair has two different rewards, so agreement is not defined")
    rate = float(same.mean())
    return {"agreement": rate, "stderr": math.sqrt(rate * (1.0 - rate) / len(same)), "pairs": float(len(same))}


def load_reward(folder: str | os.PathLike[str], *, device: str = "cpu") -> RewardModel | PairJudge:
    """Load what `train_reward` saved in ``folder/reward``."""
    from safetensors.torch import load_model

    settings = json.loads((Path(folder) / SETTINGS).read_text(encoding="utf-8"))
    network = _Network(NetworkSize(**settings["size"]), settings["two_responses"])
    load_model(network, str(Path(folder) / WEIGHTS))
    return (PairJudge if settings["two_responses"] else RewardModel)(network.to(device), settings["name"])


def _save(network: _Network, config: RewardConfig, folder: Path, key: str, report: dict[str, Any]) -> None:
    from safetensors.torch import save_model

    with new_folder(folder) as fresh:
        save_model(network, str(fresh / WEIGHTS))
        (fresh / SETTINGS).write_text(json.dumps(asdict(config)), encoding="utf-8")
    mark_done(folder, key, report, ["."])


def _train(network: _Network, comparisons: Sequence[Comparison], config: RewardConfig, progress: bool) -> list[float]:
    from tqdm import tqdm

    rng = np.random.default_rng([config.seed, 3])
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    per_epoch = -(-len(comparisons) // config.batch_size)
    total = config.epochs * per_epoch
    losses: list[float] = []
    network.train()
    with tqdm(total=total, desc=config.name, disable=not progress) as bar:
        for _ in range(config.epochs):
            order = _order(comparisons, config.batch_size, rng)
            for start in range(0, len(order), config.batch_size):
                batch = [comparisons[index] for index in order[start : start + config.batch_size]]
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * (1.0 - len(losses) / total)
                loss = _loss(network, batch, config.two_responses, rng)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
                optimizer.step()
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):
                    raise FloatingPointError(f"the loss of {config.name} is {losses[-1]} at step {len(losses) - 1}")
                bar.update()
    network.eval()
    return losses


def _order(comparisons: Sequence[Comparison], batch_size: int, rng: np.random.Generator) -> IntArray:
    """Shuffle prompts; comparisons of one prompt stay together, so that it is read once."""
    prompts = {prompt: index for index, prompt in enumerate(dict.fromkeys(one.prompt for one in comparisons))}
    ranks = rng.permutation(len(prompts))
    keys = np.array([ranks[prompts[one.prompt]] for one in comparisons])
    return np.argsort(keys, kind="stable")


def _loss(
    network: _Network, batch: Sequence[Comparison], two_responses: bool, rng: np.random.Generator
) -> torch.Tensor:
    prompts, better, worse = _columns(batch)
    vectors = network.vectors([*prompts, *prompts], [*better, *worse])
    good, bad = vectors[: len(batch)], vectors[len(batch) :]
    if not two_responses:
        return nn.functional.softplus(network.score(bad) - network.score(good)).mean()
    turned = torch.from_numpy(rng.random(len(batch)) < 0.5).to(good.device)
    swap = turned[:, None]
    logit = network.compare(torch.where(swap, bad, good), torch.where(swap, good, bad))
    return nn.functional.softplus(torch.where(turned, logit, -logit)).mean()


def _columns(comparisons: Sequence[Comparison]) -> tuple[list[str], list[str], list[str]]:
    return (
        [one.prompt for one in comparisons],
        [one.better for one in comparisons],
        [one.worse for one in comparisons],
    )


@torch.no_grad()
def _parts(network: _Network, prompts: Sequence[str], responses: Sequence[str], size: int = 256) -> list[torch.Tensor]:
    if len(prompts) != len(responses):
        raise ValueError(f"{len(prompts)} prompts and {len(responses)} responses; accepted are as many of each")
    return [
        network.vectors(prompts[start : start + size], responses[start : start + size]).detach()
        for start in range(0, len(prompts), size)
    ]


def _numpy(parts: list[torch.Tensor]) -> FloatArray:
    if not parts:
        return np.zeros(0)
    return torch.cat(parts).detach().cpu().numpy().astype(np.float64)
