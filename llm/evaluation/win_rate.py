"""Win rates by a gold reward: ties apart, intervals over prompts, length taken out, best-of-n as baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, gammaln, ndtri, stdtrit

from gpo_analysis.arrays import FloatArray


@dataclass(frozen=True)
class WinRate:
    """Share of comparisons won, a tie counting one half.

    Parameters
    ----------
    win_rate, low, high : float
        Mean and its 95 % interval over prompts.
    ties : float
        Share of comparisons tied, whatever side they count for.
    prompts : int
        Number of prompts.
    """

    win_rate: float
    low: float
    high: float
    ties: float
    prompts: int


def compare(rewards: ArrayLike, opponents: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Share won (ties half) and share tied of each prompt.

    Parameters
    ----------
    rewards : array, shape (m,) or (m, k)
        Rewards of the policy's responses.
    opponents : array, shape (m,) or (m, s)
        Rewards of what they are compared with; every one with every one of the same prompt.

    Returns
    -------
    (m,), (m,)

    Examples
    --------
    >>> won, tied = compare([1.0, 2.0], [[0.0, 1.0], [3.0, 4.0]])
    >>> won.tolist(), tied.tolist()
    ([0.75, 0.0], [0.5, 0.0])
    """
    mine, theirs = _table("rewards", rewards), _table("opponents", opponents)
    if len(mine) != len(theirs):
        raise ValueError(f"rewards of {len(mine)} prompts and opponents of {len(theirs)}; accepted is one row a prompt")
    difference = mine[:, :, None] - theirs[:, None, :]
    tied = (difference == 0).mean((1, 2))
    return (difference > 0).mean((1, 2)) + 0.5 * tied, tied


def win_rate(rewards: ArrayLike, opponents: ArrayLike) -> WinRate:
    """Win rate of a policy against others' responses to the same prompts; arguments as in `compare`.

    Examples
    --------
    >>> win_rate([1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]).win_rate
    0.5
    """
    won, tied = compare(rewards, opponents)
    low, high = interval(won)
    return WinRate(float(won.mean()), low, high, float(tied.mean()), len(won))


def interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval for the mean of per-prompt values in [0, 1]: Student's, or Wilson's where all are 0 or all 1.

    Student's interval of values that do not vary is a point; at 0 and at 1 Wilson's score interval of that many
    Bernoulli draws is used instead, which is not.
    """
    x = np.asarray(values, dtype=np.float64)
    n, mean = len(x), float(x.mean())
    if n == 1:
        return 0.0, 1.0
    if mean in (0.0, 1.0):
        z = float(ndtri(0.5 + level / 2))
        edge = z * z / (n + z * z)
        return (0.0, edge) if mean == 0.0 else (1.0 - edge, 1.0)
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * float(x.std(ddof=1)) / math.sqrt(n)
    return max(0.0, mean - half), min(1.0, mean + half)


def length_controlled(won: ArrayLike, length_difference: ArrayLike) -> float:
    """Win rate at equal length, by a logistic regression on the difference of lengths.

    The share won w of a prompt is fitted by P = σ(a + b tanh(d/sd(d))), d the difference of lengths (policy's minus
    opponent's), and σ(a) returned, as in length-controlled AlpacaEval (Dubois et al. 2024, arXiv 2404.04475) without
    its terms for instructions. A ridge of one pseudo-observation keeps separable data finite.

    Parameters
    ----------
    won : array, shape (m,)
        In [0, 1].
    length_difference : array, shape (m,)
        In tokens.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> d = rng.normal(2.0, 1.0, 5000)  # longer by two, and length alone wins
    >>> won = (rng.random(5000) < 1 / (1 + np.exp(-2 * np.tanh(d / d.std())))).astype(float)
    >>> bool(won.mean() > 0.75), bool(abs(length_controlled(won, d) - 0.5) < 0.06)
    (True, True)
    """
    from scipy.optimize import minimize

    w, d = np.asarray(won, dtype=np.float64), np.asarray(length_difference, dtype=np.float64)
    spread = float(d.std())
    feature = np.tanh(d / spread) if spread > 0 else np.zeros_like(d)

    def objective(theta: FloatArray) -> tuple[float, FloatArray]:
        a, b = theta
        z = a + b * feature
        value = float(np.sum(np.logaddexp(0.0, z) - w * z)) + 0.5 * float(theta @ theta) / 4
        residual = expit(z) - w
        return value, np.array([residual.sum(), residual @ feature]) + theta / 4

    found = minimize(objective, np.zeros(2), jac=True, method="BFGS")
    return float(expit(found.x[0]))


@dataclass(frozen=True)
class BestOfN:
    """The best of n samples of πref, by the gold reward.

    Parameters
    ----------
    n : int
        Number of samples.
    kl : float
        Mean over prompts of its KL to πref in nats, by the levels of reward in the pool (`best_of_n_kl`).
    kl_bound : float
        log n − (n − 1)/n, an upper bound of its KL to πref, exact where no two responses have the same reward
        (Beirami et al., arXiv 2401.01879).
    result : WinRate
        Its win rate against πref.
    mean_reward : float
        Its mean reward.
    """

    n: int
    kl: float
    kl_bound: float
    result: WinRate
    mean_reward: float


def best_of_n(pool: ArrayLike, opponents: ArrayLike, n: int) -> BestOfN:
    """Best-of-n from a pool of samples, against other samples, over all n-subsets of the pool at once.

    The j-th smallest of K rewards is the largest of a random n-subset with probability C(j−1, n−1)/C(K, n).

    Parameters
    ----------
    pool : array, shape (m, K)
        Rewards of samples of πref.
    opponents : array, shape (m, s)
        Rewards of other samples of πref.
    n : int
        1 … K.

    Examples
    --------
    >>> best_of_n([[0.0, 1.0, 2.0]], [[1.0]], 3).result.win_rate, best_of_n([[0.0, 1.0, 2.0]], [[1.0]], 1).mean_reward
    (1.0, 1.0)
    """
    rewards, theirs = np.sort(_table("pool", pool), axis=1), _table("opponents", opponents)
    size = rewards.shape[1]
    if not 1 <= n <= size:
        raise ValueError(f"n is {n}; accepted is 1 to {size}, the samples in the pool")
    rank = np.arange(1, size + 1)
    with np.errstate(divide="ignore"):
        weights = np.where(rank >= n, np.exp(_log_choose(rank - 1, n - 1) - _log_choose(size, n)), 0.0)
    difference = rewards[:, :, None] - theirs[:, None, :]
    tied = (difference == 0).mean(2) @ weights
    won = (difference > 0).mean(2) @ weights + 0.5 * tied
    low, high = interval(won)
    result = WinRate(float(won.mean()), low, high, float(tied.mean()), len(won))
    kl = float(np.mean([best_of_n_kl(np.unique(row, return_counts=True)[1] / size, n) for row in rewards]))
    return BestOfN(n, kl, math.log(n) - (n - 1) / n, result, float((rewards @ weights).mean()))


def best_of_n_kl(levels: ArrayLike, n: int) -> float:
    """KL of the best of n draws to one draw, in nats, from the probabilities of the levels of reward.

    Among draws of the greatest reward any is taken alike, so that within a level responses keep their proportions and
    the KL is that of the levels: level k has probability p_k, the best of n has it with F_kⁿ − F_{k−1}ⁿ, F_k = p_1 +
    … + p_k. It is log n − (n − 1)/n where no two responses have the same reward (Beirami et al., arXiv 2401.01879).

    Parameters
    ----------
    levels : array, shape (k,)
        Probabilities of the levels, from the lowest reward up; they sum to 1.
    n : int
        1 or more.

    Raises
    ------
    ValueError
        For numbers that are no probabilities, or n below 1.

    Examples
    --------
    >>> best_of_n_kl([1.0], 4), round(best_of_n_kl([0.5, 0.5], 2), 6)  # ¼ log ½ + ¾ log 3/2
    (0.0, 0.130812)
    """
    p = np.asarray(levels, dtype=np.float64)
    if p.ndim != 1 or not len(p) or not (p > 0).all() or abs(p.sum() - 1) > 1e-9 or n < 1:
        raise ValueError(f"levels are {levels}, n is {n}; accepted are positive numbers that sum to 1, and 1 or more")
    edges = np.concatenate([[0.0], np.cumsum(p)[:-1], [1.0]])
    best = np.diff(edges**n)
    return float(np.sum(best[best > 0] * np.log(best[best > 0] / p[best > 0])))


def _log_choose(n: ArrayLike, k: int) -> FloatArray:
    n = np.maximum(np.asarray(n, dtype=np.float64), k)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _table(name: str, values: ArrayLike) -> FloatArray:
    x = np.asarray(values, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"{name} has shape {x.shape}; accepted is one row a prompt, with at least one response")
    if np.isnan(x).any():
        raise ValueError(f"{name} has {int(np.isnan(x).sum())} NaN; a reward is a number")
    return x
