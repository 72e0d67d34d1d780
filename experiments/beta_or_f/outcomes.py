"""The factors, and the outcome of every combination: exact fits, or their limits, read off at every β."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

import gpo_analysis as gpo
from experiments._losses import accepted
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss
from gpo_analysis.tabular import Fit, PreferenceProblem

EXACT = 0
"""Number of labels a pair that stands for the exact shares."""


@dataclass(frozen=True)
class Config:
    """The factors.

    Parameters
    ----------
    losses : tuple of str
        The factor f: names, or expressions in z; in the presets the paper's six.
    problems : tuple of str
        Kinds of preferences: see `preference_of`.
    labels : tuple of int
        Labels a pair; 0 stands for exact shares.
    responses : int
        Number of responses n; μ is uniform, πref Dirichlet(2).
    low, high, points : float, float and int
        Grid of β (or of βκ), geometric.
    seeds : int
        Repetitions: rewards, πref and labels are drawn anew; the same for every f.
    resamples : int
        Of the bootstrap over seeds.
    seed : int
        Of all that is drawn.
    """

    losses: tuple[str, ...] = gpo.PAPER_LOSSES
    problems: tuple[str, ...] = ("weak", "strong", "two groups", "cycle")
    labels: tuple[int, ...] = (1, 3, 30, EXACT)
    responses: int = 8
    low: float = 0.03
    high: float = 30.0
    points: int = 13
    seeds: int = 12
    resamples: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        """Losses by their names, those that have no strength or no known minimum refused."""
        object.__setattr__(self, "losses", accepted(self.losses, strength=True, known=True))


def labels_words(count: int) -> str:
    """A number of labels a pair in words.

    Examples
    --------
    >>> [labels_words(count) for count in (EXACT, 1, 3)]
    ['exact shares', '1 label a pair', '3 labels a pair']
    """
    return "exact shares" if count == EXACT else f"{count} label{'s' if count > 1 else ''} a pair"


def outcomes_of(config: Config, problem: str, labels: int) -> pd.DataFrame:
    """A row a seed, f, scale and grid point."""
    truths = [truth_of(config, problem, k) for k in range(config.seeds)]
    problems = [
        observed(config, labels, k, preference, reference) for k, (preference, reference, _) in enumerate(truths)
    ]
    values = np.geomspace(config.low, config.high, config.points)
    rows = []
    for name in config.losses:
        loss = gpo.get_loss(name)
        scales = {"beta": values, "strength": np.array([loss.beta_of(value) for value in values])}
        for k, found in enumerate(gpo.fit(problems, loss)):
            reward = reward_or_limit(problems[k], loss, found)
            for scale, betas in scales.items():
                columns = {
                    "seed": k, "loss": name, "scale": scale, "point": range(len(values)), "grid": values, "beta": betas,
                    "status": found.status.value, **_outcomes(reward, betas, *truths[k]),
                }  # fmt: skip
                rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def preference_of(kind: str, rewards: FloatArray) -> FloatArray:
    """Preferences whose gold reward is `rewards`, shape (n,) → (n, n).

    weak, strong: Bradley–Terry with rewards times ½ and 3; two groups: 70 % of annotators with rewards times 3 and 30 %
    with the opposite order; cycle: Bradley–Terry with a cycle of strength 1 added to the logits.
    """
    if kind in ("weak", "strong"):
        return np.asarray(gpo.bradley_terry((0.5 if kind == "weak" else 3.0) * rewards))
    if kind == "two groups":
        groups = [gpo.bradley_terry(3.0 * rewards), gpo.bradley_terry(-rewards)]
        return np.asarray(gpo.mixture_of_annotators(groups, [0.7, 0.3]))
    n = len(rewards)
    ahead = np.subtract.outer(np.arange(n), np.arange(n)) % n
    turn = np.where(ahead == 1, 1.0, np.where(ahead == n - 1, -1.0, 0.0))
    return np.asarray(1 / (1 + np.exp(-(np.subtract.outer(rewards, rewards) + turn))))


def truth_of(config: Config, problem: str, k: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Preferences (n, n), πref (n,) and gold rewards (n,) of a seed."""
    rng = np.random.default_rng([config.seed, k])
    rewards = rng.normal(size=config.responses)
    return preference_of(problem, rewards), rng.dirichlet(np.full(config.responses, 2.0)), rewards


def observed(config: Config, labels: int, k: int, preference: FloatArray, reference: FloatArray) -> PreferenceProblem:
    """The problem with the observed shares of labels; the same number of labels for every pair, so μ is uniform."""
    if labels == EXACT:
        return PreferenceProblem(preference, reference=reference)
    rng = np.random.default_rng([config.seed, k, labels])
    first, second = np.triu_indices(len(preference), 1)
    wins = rng.binomial(labels, preference[first, second])
    shares = np.full(preference.shape, 0.5)
    shares[first, second], shares[second, first] = wins / labels, 1 - wins / labels
    return PreferenceProblem(shares, reference=reference)


def reward_or_limit(problem: PreferenceProblem, loss: MarginLoss, fit: Fit) -> FloatArray | None:
    """``βh`` up to a constant, −∞ for what loses all mass; None where a non-convex loss leaves it open."""
    if fit.minimiser is not None:
        return fit.minimiser
    if loss.name == "savage":
        return None
    shares = np.asarray(problem.preference)
    wins = (shares > 0) & ~np.eye(problem.n, dtype=bool)
    _, label = connected_components(wins, directed=True, connection="strong")
    unbeaten = [c for c in set(label.tolist()) if not wins[np.ix_(label != c, label == c)].any()]
    top = np.flatnonzero(label == unbeaten[0])
    found = np.full(problem.n, -np.inf)
    found[top] = 0.0
    if len(top) > 1:
        inner = PreferenceProblem(shares[np.ix_(top, top)])
        best = inner.fit(loss)
        if not best.converged:  # the class is strongly connected, so this cannot be
            raise RuntimeError(f"{loss.name} on an unbeaten class: {best.status}: {best.reason}")
        found[top] = best.reward
    return found


def _outcomes(
    reward: FloatArray | None, betas: FloatArray, preference: FloatArray, reference: FloatArray, rewards: FloatArray
) -> dict[str, FloatArray]:
    """Win rate against πref, share of the attainable gold reward, KL and largest margin for each β, all (points,)."""
    names = ("win_rate", "gold", "kl", "max_margin")
    if reward is None:
        return {name: np.full(len(betas), np.nan) for name in names}
    with np.errstate(invalid="ignore"):
        exponent = np.log(reference) + np.where(np.isinf(reward), -np.inf, reward - reward.max()) / betas[:, None]
    policy = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    policy /= policy.sum(axis=1, keepdims=True)
    base = float(reference @ rewards)
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(policy > 0, policy * np.log(policy / reference), 0.0).sum(axis=1)
    return {
        "win_rate": policy @ (preference @ reference),
        "gold": (policy @ rewards - base) / (rewards.max() - base),
        "kl": kl,
        "max_margin": np.full(len(betas), float(np.ptp(reward))),
    }
