r"""Self-play towards the regularized Nash policy: Nash-MD and online IPO, with exact expectations.

The offline squared loss with behaviour μ has the optimum ``π ∝ πref exp(P(· ≻ μ)/τ)`` (Azar et al., arXiv 2310.12036).
With μ = π that is the equilibrium of the preference game regularized by ``τ KL(·‖πref)``. Both methods follow

    log π_{t+1} = (1 − ητ) log π_t + ητ log πref + η P(· ≻ opponent) − log Z,

a step of size ητ of natural-gradient descent on the squared loss whose pairs are drawn from the opponent: π_t itself
(online IPO, Calandriello et al., arXiv 2403.08635) or the mixture ``π_t^{1−ητ} πref^{ητ}/Z`` (Nash-MD, Munos et al.,
arXiv 2312.00886, and the sampling of IPO-MD). Online IPO rests at the equilibrium exactly; with a mixed opponent the
rest point is off by an amount of the order of the step.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from ..preferences.validation import check_distribution, check_positive

__all__ = ["self_play"]

FloatArray = NDArray[np.float64]


def self_play(
    preference: ArrayLike,
    reference: ArrayLike,
    tau: float,
    *,
    step: float,
    steps: int,
    opponent: Literal["policy", "mixture"] = "policy",
) -> FloatArray:
    """Iterates of online IPO (opponent "policy") or Nash-MD ("mixture"), from πref.

    Parameters
    ----------
    preference : array, shape (n, n)
        ``P[i, j] = p(i ≻ j)``.
    reference : array, shape (n,)
        πref, above 0.
    tau : float
        τ, above 0, in probability of winning per nat.
    step : float
        ητ in (0, 1]: how far a step goes towards the optimum against the present opponent.
    steps : int
    opponent : str
        Whom the responses are compared with.

    Returns
    -------
    array, shape (steps + 1, n)
        Policies, πref first.

    Raises
    ------
    ValueError
        For a preference that does not fit the reference, τ or a step out of range, an unknown opponent.

    Examples
    --------
    >>> from gpo_analysis.tabular import nash_policy
    >>> P = [[0.5, 0.9, 0.3], [0.1, 0.5, 0.8], [0.7, 0.2, 0.5]]
    >>> path = self_play(P, [0.5, 0.3, 0.2], 0.3, step=0.2, steps=300)
    >>> bool(np.allclose(path[-1], nash_policy(P, [0.5, 0.3, 0.2], 0.3).policy, atol=1e-9))
    True
    """
    matrix = np.asarray(preference, dtype=np.float64)
    ref = check_distribution(reference, "reference", positive=True)
    if matrix.shape != (len(ref), len(ref)):
        raise ValueError(f"preference must have shape {(len(ref),) * 2} as reference has, got {matrix.shape}")
    if not np.allclose(matrix + matrix.T, 1.0, atol=1e-9):
        raise ValueError("preference must satisfy P[i, j] + P[j, i] = 1")
    strength = check_positive(tau, "tau")
    if not 0 < step <= 1:
        raise ValueError(f"step must lie in (0, 1], got {step!r}")
    if int(steps) != steps or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
    if opponent not in ("policy", "mixture"):
        raise ValueError(f"opponent {opponent!r}; accepted are 'policy' and 'mixture'")
    base = np.log(ref)
    path = np.empty((int(steps) + 1, len(ref)))
    path[0], log_policy = ref, base
    for t in range(int(steps)):
        mixed = (1 - step) * log_policy + step * base
        faced = log_policy if opponent == "policy" else mixed - logsumexp(mixed)
        log_policy = mixed + step / strength * (matrix @ np.exp(faced))
        log_policy = log_policy - logsumexp(log_policy)
        path[t + 1] = np.exp(log_policy)
    return path
