"""From gold rewards to labels: Bradley–Terry, the greater reward, votes; ties and flips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from gpo_analysis.arrays import BoolArray, FloatArray

MODES = ("bt", "argmax", "votes")


@dataclass(frozen=True)
class LabelConfig:
    """How gold rewards become labels.

    Parameters
    ----------
    mode : str
        "bt": the first is chosen with probability σ(Δr / temperature) (Bradley–Terry). "argmax": the greater reward is
        chosen; equal rewards are a tie. "votes": each of ``voters`` says first, second or tie, with probabilities in
        the ratio σ(Δ), σ(−Δ), ``tie_weight`` · √(σ(Δ)σ(−Δ)) (Davidson 1970), Δ = Δr / temperature; the majority
        chooses.
    temperature : float
        Temperature of Bradley–Terry, in units of reward.
    flip : float
        Share of labels turned round afterwards, rounded to whole pairs.
    soft : bool
        Whether p is kept: σ(Δr / temperature) for "bt" (the chosen one is then that of greater reward), the share of
        votes, a tie counted as half, for "votes". Else p = 1.
    voters, tie_weight : int, float
        For "votes".
    """

    mode: str = "bt"
    temperature: float = 1.0
    flip: float = 0.0
    soft: bool = False
    voters: int = 5
    tie_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; accepted are {', '.join(MODES)}")
        if not self.temperature > 0.0:
            raise ValueError(f"temperature is {self.temperature}; accepted is more than 0 (mode 'argmax' is its limit)")
        if not 0.0 <= self.flip <= 1.0:
            raise ValueError(f"flip is {self.flip}; accepted is a share from 0 to 1")
        if self.voters < 1 or self.tie_weight < 0.0:
            raise ValueError(f"voters is {self.voters}, tie_weight {self.tie_weight}; accepted is ≥ 1 and ≥ 0")
        if self.soft and self.mode == "argmax":
            raise ValueError("soft is True with mode 'argmax', whose labels are all certain")


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of n pairs.

    Parameters
    ----------
    first_chosen : boolean array, shape (n,)
        Whether the first response is the chosen one.
    p : array, shape (n,)
        Probabilities that the chosen one is the better: 1 for hard labels.
    tied : boolean array, shape (n,)
        No label could be given (equal rewards in "argmax", equal votes when labels are hard).
    flipped : boolean array, shape (n,)
        The label was turned round.
    """

    first_chosen: BoolArray
    p: FloatArray
    tied: BoolArray
    flipped: BoolArray


def label(first: FloatArray, second: FloatArray, config: LabelConfig, *, seed: int) -> Labels:
    """Label pairs by their gold rewards.

    Parameters
    ----------
    first, second : array, shape (n,)
        Rewards of the two responses.
    config : LabelConfig
        See `LabelConfig`.
    seed : int
        Seed of the draws.

    Examples
    --------
    >>> rewards = np.array([1.0, 0.0, 2.0]), np.array([0.0, 1.0, 2.0])
    >>> labels = label(*rewards, LabelConfig("argmax"), seed=0)
    >>> labels.first_chosen.tolist(), labels.tied.tolist()
    ([True, False, False], [False, False, True])
    """
    gap = (np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)) / config.temperature
    if not np.isfinite(gap).all():
        index = int(np.flatnonzero(~np.isfinite(gap))[0])
        raise ValueError(
            f"pair {index} has the rewards {first[index]} and {second[index]}; accepted are finite numbers"
        )
    rng = np.random.default_rng([seed, 1])
    chance = expit(gap)
    tied = np.zeros(len(gap), dtype=np.bool_)
    if config.mode == "argmax":
        share, tied = (gap > 0).astype(np.float64), gap == 0
    elif config.mode == "votes":
        share = _votes(gap, config, rng)
    else:
        share = chance if config.soft else (rng.random(len(gap)) < chance).astype(np.float64)
    even = share == 0.5
    first_chosen = np.where(even, rng.random(len(gap)) < 0.5, share > 0.5)
    if config.mode == "votes" and not config.soft:
        tied = even
    p = np.maximum(share, 1.0 - share) if config.soft else np.ones(len(gap))
    flipped = np.zeros(len(gap), dtype=np.bool_)
    labelled = np.flatnonzero(~tied)
    flipped[rng.permutation(labelled)[: round(config.flip * len(labelled))]] = True
    return Labels(first_chosen ^ flipped, p, tied, flipped)


def _votes(gap: FloatArray, config: LabelConfig, rng: np.random.Generator) -> FloatArray:
    """Return (n,) shares of votes for the first, ties counted as half (Davidson 1970)."""
    # divided by √(σ(Δ)σ(−Δ)) the three weights are e^(Δ/2), e^(−Δ/2) and the tie's
    weights = np.exp(np.stack([gap, -gap], 1) / 2.0 - np.abs(gap)[:, None] / 2.0)
    tie = config.tie_weight * np.exp(-np.abs(gap) / 2.0)
    chances = np.concatenate([weights, tie[:, None]], 1)
    votes = rng.multinomial(config.voters, chances / chances.sum(1, keepdims=True))
    return (votes[:, 0] + 0.5 * votes[:, 2]) / config.voters
