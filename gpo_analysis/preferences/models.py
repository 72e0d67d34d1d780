"""Preference models: where ``P[i, j] = p(i ≻ j)`` comes from, from Bradley–Terry to what breaks it.

Every function returns float64 of shape (..., n, n) with entries in [0, 1] and ``P + Pᵀ = 1``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, ndtr

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.validation import (
    as_floats,
    check_counts,
    check_distribution,
    check_positive,
    check_preference,
    check_probability,
)


def _differences(values: ArrayLike, name: str) -> FloatArray:
    scores = as_floats(values, name)
    if scores.ndim == 0 or scores.shape[-1] == 0:
        raise ValueError(f"{name} must have shape (..., n), got shape {scores.shape}")
    if not np.isfinite(scores).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(scores))[0])
        raise ValueError(f"{name}{list(index)} is {scores[index]}; accepted are finite numbers")
    return np.asarray(scores[..., :, None] - scores[..., None, :])


def bradley_terry(rewards: ArrayLike) -> FloatArray:
    """Bradley–Terry: ``p(i ≻ j) = σ(r_i − r_j)`` (Bradley and Terry 1952).

    Parameters
    ----------
    rewards : array, shape (..., n)
        Finite; only differences matter.

    Examples
    --------
    >>> bradley_terry([0.0, 1.0]).round(4)
    array([[0.5   , 0.2689],
           [0.7311, 0.5   ]])
    """
    return np.asarray(expit(_differences(rewards, "rewards")))


def thurstone(means: ArrayLike, scale: float = 1.0) -> FloatArray:
    """Thurstone's case V: ``p(i ≻ j) = Φ((m_i − m_j) / (√2 · scale))`` (Thurstone 1927).

    Each response's utility is an independent normal draw with standard deviation `scale`.

    Parameters
    ----------
    means : array, shape (..., n)
    scale : float
        Above 0.

    Examples
    --------
    >>> thurstone([0.0, 1.0]).round(4)
    array([[0.5   , 0.2398],
           [0.7602, 0.5   ]])
    """
    return np.asarray(ndtr(_differences(means, "means") / (np.sqrt(2.0) * check_positive(scale, "scale"))))


def deterministic(scores: ArrayLike) -> FloatArray:
    """The higher score always wins; equal scores are a toss-up.

    Parameters
    ----------
    scores : array, shape (..., n)

    Examples
    --------
    >>> deterministic([0.0, 1.0])
    array([[0.5, 0. ],
           [1. , 0.5]])
    """
    return np.asarray(0.5 + 0.5 * np.sign(_differences(scores, "scores")))


def cyclic(base: int | ArrayLike, strength: float = 1.0) -> FloatArray:
    """Rock, paper, scissors: response i is preferred to the next ones round the circle.

    Parameters
    ----------
    base : int or array, shape (n, n)
        A number n ≥ 3 of responses, otherwise indifferent; or preferences to mix the cycle into.
    strength : float
        s in [0, 1]: the result is ``(1 − s) · base + s · C``, where ``C[i, j]`` is 1 if j follows i by less than half
        the circle, ½ if it stands opposite (n even), else 0. At s = 0 there is no cycle.

    Examples
    --------
    >>> cyclic(3, 0.5)
    array([[0.5 , 0.75, 0.25],
           [0.25, 0.5 , 0.75],
           [0.75, 0.25, 0.5 ]])
    """
    share = check_probability(strength, "strength")
    if isinstance(base, int | np.integer) and not isinstance(base, bool):
        n = int(base)
        ground = np.full((max(n, 0),) * 2, 0.5)
    else:
        ground = check_preference(base, "base")
        n = ground.shape[-1]
    if n < 3 or ground.ndim != 2:
        raise ValueError(f"a cycle needs one (n, n) matrix or a number n of at least 3 responses, got {base!r:.60}")
    ahead = (np.arange(n)[None, :] - np.arange(n)[:, None]) % n
    circle = 0.5 + 0.5 * np.sign(n - 2.0 * ahead) * (ahead > 0)
    return np.asarray((1 - share) * ground + share * circle)


def mixture_of_annotators(preferences: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """A population of annotators, each with preferences of its own: ``P = Σ_a w_a P_a``.

    Every annotator may be Bradley–Terry and the mixture still not be: it may even have a Condorcet cycle.

    Parameters
    ----------
    preferences : array, shape (a, ..., n, n)
    weights : array, shape (a,), optional
        Shares of the annotators; equal by default.

    Examples
    --------
    >>> voters = [deterministic(s) for s in ([3, 2, 1], [1, 3, 2], [2, 1, 3])]
    >>> mixture_of_annotators(voters).round(3)
    array([[0.5  , 0.667, 0.333],
           [0.333, 0.5  , 0.667],
           [0.667, 0.333, 0.5  ]])
    """
    stack = check_preference(preferences, "preferences")
    if stack.ndim < 3:
        raise ValueError(f"preferences must have shape (a, ..., n, n), got {stack.shape}")
    a = stack.shape[0]
    shares = np.full(a, 1 / a) if weights is None else check_distribution(weights, "weights", (a,))
    return np.asarray(np.clip(np.tensordot(shares, stack, axes=1), 0.0, 1.0))


def label_noise(preference: ArrayLike, epsilon: float) -> FloatArray:
    """Each label is flipped with probability ε: ``(1 − ε) P + ε Pᵀ``.

    Parameters
    ----------
    preference : array, shape (..., n, n)
    epsilon : float
        In [0, 1]; ½ leaves nothing to learn.

    Examples
    --------
    >>> label_noise(deterministic([0.0, 1.0]), 0.25)
    array([[0.5 , 0.25],
           [0.75, 0.5 ]])
    """
    matrix = check_preference(preference)
    share = check_probability(epsilon, "epsilon")
    return np.asarray((1 - share) * matrix + share * np.swapaxes(matrix, -1, -2))


def from_matrix(preference: ArrayLike) -> FloatArray:
    """A plain matrix, checked: entries in [0, 1], ``P[i, j] + P[j, i] = 1`` within 1e-9.

    Parameters
    ----------
    preference : array, shape (..., n, n)

    Raises
    ------
    ValueError
        Naming the first entry that is wrong and what is accepted.

    Examples
    --------
    >>> from_matrix([[0.5, 1.0], [0.0, 0.5]])
    array([[0.5, 1. ],
           [0. , 0.5]])
    """
    return check_preference(preference)


def from_counts(counts: ArrayLike, prior: float = 0.0) -> FloatArray:
    """Shares of wins from a table of counts: ``P[i, j] = (c_ij + prior) / (c_ij + c_ji + 2 prior)``.

    A dense matrix gives every pair the weight μ_i μ_j, whether it was seen once or a thousand times; to weigh pairs by
    how often they were seen, and leave out those never seen, use ``PreferenceProblem.from_comparisons``.

    Parameters
    ----------
    counts : array, shape (n, n)
        ``counts[i, j]``: how often i beat j; finite, at least 0, the diagonal is ignored.
    prior : float
        Pseudo-count added to both sides of every pair, at least 0.

    Raises
    ------
    ValueError
        For a bad count, and for a pair never compared while `prior` is 0.

    Examples
    --------
    >>> from_counts([[0, 3], [1, 0]])
    array([[0.5 , 0.75],
           [0.25, 0.5 ]])
    """
    table = check_counts(counts)
    if not (np.isfinite(prior) and prior >= 0):
        raise ValueError(f"prior must be a finite number of at least 0, got {prior!r}")
    table += prior
    total = table + table.T
    np.fill_diagonal(total, 1.0)
    if np.any(total == 0):
        i, j = (int(x) for x in np.argwhere(total == 0)[0])
        raise ValueError(
            f"{i} and {j} were never compared: give prior > 0, or keep the pairs sparse with "
            "PreferenceProblem.from_comparisons"
        )
    shares = table / total
    np.fill_diagonal(shares, 0.5)
    return np.asarray(shares)
