r"""What another β or f would have done, said from one run: the clock of margins.

Let s be the margins ρ of N pairs, the chosen's over the rejected, trained with the gradient of E f(βs) divided by
β|f′(0)| (Adam divides it out by itself). While the policy is linear in its parameters, whatever they are,

    ds_i/dt = (1/N) Σ_j K_ij w(βs_j),    w(z) = f′(z)/f′(0) = 1 − κz + …,

K the symmetric kernel of the margins' gradients, preconditioned by a fixed diagonal. In the limit β → 0 every w is 1:
s_i = t·(K1)_i/N, one direction u = s/E[s], and the mean m₀ is linear in t. As K is symmetric, *whatever* s is, the mean
m = E[s] obeys

    dm/dm₀ = E[u w(βs)],                                                                                          (1)

for what the pairs' pushes do to the mean is u itself. So u, read off one run in the limit, decides. What is missing
is s.

*One direction*: s = m·u, the margins that the limit run had when its mean was m. Then dm/dm₀ = G(βm), with
G(x) = E[u w(xu)], one equation for every f and β. It is exact to first order in β,

    m = m₀ (1 − ½ a βκ m₀ + …),    a = E[u²] = E[s²]/E[s]²,                                                        (2)

(for labels with P = η and u the best guess of them a = 1/E[(2η − 1)²]). For the squared loss it is m₀φ(aβκm₀),
φ(x) = (1 − e^(−x))/x, while the linear model's mean is m₀ Σ p_k φ(x_k) over the modes of K with Σ p_k x_k = aβκm₀: φ is
convex, so one direction is then a lower bound.

*Two parts*: a network moves a response for two reasons, what it shares with others and what is its own. With A the
pairs' incidence, A_iy = ±1 for the chosen and rejected response of pair i,

    K = vvᵀ + c·AAᵀ,    K1 = N·u,                                                                                 (3)

where c is such that the share ``own`` of the limit run's mean margin comes from the second term, and v is what is left
of u. The share is measured on the same run: samples that are in no pair have no part of their own, so that it is 1 less
their mean margin over that of the pairs trained on. ``own`` = 0 is one direction; ``own`` = 1 a tabular policy.

**Adam** divides the gradient by the root of its running mean square; where that is noise, as with small batches, it
goes as E[w²], and every rate above is divided by √V, V the bias-corrected running mean of E[w²]. To first order a in
(2) is then a − ½ while the memory is longer than the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss, get_loss

_STEEP = 1e100  # slopes are cut off here: beyond, a pair's push is that of a run that has broken


@dataclass(frozen=True, eq=False)
class Course:
    """Margins of a run that was not made.

    Attributes
    ----------
    margins : array, shape (k, N)
        s of every pair at the recorded steps, in nats.
    shared : array, shape (k,)
        How far the shared part has gone, as a multiple of the limit run's shared part at its last step.
    own : array, shape (k, n)
        What each response has gained on its own, in nats.
    """

    margins: FloatArray
    shared: FloatArray
    own: FloatArray

    @property
    def mean_rho(self) -> FloatArray:
        """Mean margin at the recorded steps, shape (k,)."""
        return np.asarray(self.margins.mean(1))


def relative_slope(loss: MarginLoss | str, z: ArrayLike) -> FloatArray:
    f = get_loss(loss)
    with np.errstate(over="ignore", invalid="ignore"):
        w = np.asarray(f.derivative(np.asarray(z, dtype=np.float64)) / float(f.derivative(0.0)))
    return np.clip(np.nan_to_num(w, nan=_STEEP), -_STEEP, _STEEP)


def predicted_course(
    loss: MarginLoss | str,
    beta: float,
    limit_margins: ArrayLike,
    steps: ArrayLike,
    *,
    own_share: float = 0.0,
    responses: tuple[ArrayLike, ArrayLike] | None = None,
    optimizer: Literal["gd", "adam"] = "adam",
    betas: tuple[float, float] = (0.9, 0.999),
    signal: float = 0.0,
) -> Course:
    f = get_loss(loss)
    s0, t = np.asarray(limit_margins, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    count = s0.shape[1]
    pairs = np.arange(count)
    chosen, rejected = (2 * pairs, 2 * pairs + 1) if responses is None else (np.asarray(r) for r in responses)
    n = int(max(chosen.max(), rejected.max())) + 1
    incidence = csr_array(
        (np.repeat([1.0, -1.0], count), (np.tile(pairs, 2), np.concatenate([chosen, rejected]))), shape=(count, n)
    )
    m0 = np.concatenate([[0.0], s0.mean(1)])
    times = np.concatenate([[0.0], t])
    u = s0[-1] / m0[-1]
    gained = incidence.T @ np.ones(count) / count
    each = own_share / float((incidence @ gained).mean())
    v = u - each * (incidence @ gained)
    slow, fast = betas if optimizer == "adam" else (0.0, 0.0)
    amplitude, tau = 0.0, np.zeros(n)
    momentum, momentum_own, square = 0.0, np.zeros(n), 0.0
    found, step, last = [], 0, int(t[-1])
    growth = np.diff(np.interp(np.arange(last + 1), times, m0))
    recorded = set(t.astype(int).tolist())
    for step in range(1, last + 1):
        w = relative_slope(f, beta * (amplitude * v + incidence @ tau))
        push = float(v @ w) / count / (1.0 - own_share) if own_share < 1.0 else 0.0
        push_own = each * (incidence.T @ w) / count
        momentum = slow * momentum + (1 - slow) * push
        momentum_own = slow * momentum_own + (1 - slow) * push_own
        rate = growth[step - 1] / (1 - slow**step)
        if optimizer == "adam":
            square = fast * square + (1 - fast) * (
                signal * float(np.mean(u * w)) ** 2 + (1 - signal) * float(np.mean(w * w))
            )
            rate /= math.sqrt(max(square / (1 - fast**step), 1e-12))
        amplitude += rate * momentum
        tau = tau + rate * momentum_own
        if step in recorded:
            found.append(np.concatenate([[amplitude, 0.0], tau]))
    states = np.array(found)
    return Course(states[:, :1] * v + (incidence @ states[:, 2:].T).T, states[:, 0] / m0[-1], states[:, 2:])
