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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.sparse import csr_array

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, lines

ADAM_BETAS = (0.9, 0.999)
_STEEP = 1e100  # slopes are cut off here: beyond, a pair's push is that of a run that has broken
_MOST_STEPS = 500  # longer runs are followed in this many strides
_MOST_LIMIT = 1e6  # of the run's own mean margin: a limit run that went farther is not looked for


@dataclass(frozen=True, eq=False)
class Course(Shown):
    """Margins of a run that was not made.

    Attributes
    ----------
    margins : array, shape (k, N)
        s of every pair at the recorded steps, in nats.
    shared : array, shape (k,)
        How far the shared part has gone, as a multiple of the limit run's at its last step.
    own : array, shape (k, n)
        What each response has gained on its own, in nats.
    """

    margins: FloatArray
    shared: FloatArray
    own: FloatArray

    @property
    def mean_rho(self) -> FloatArray:
        """Mean margin at the recorded steps, shape (k,), in nats."""
        return np.asarray(self.margins.mean(1))

    def _facts(self) -> list[tuple[str, Any]]:
        steps, pairs = self.margins.shape
        return [("recorded steps", steps), ("pairs", pairs), ("mean ρ at the end, nats", self.mean_rho[-1])]

    def _columns(self) -> Mapping[str, Any]:
        low, high = np.quantile(self.margins, [0.05, 0.95], axis=1)
        return {"record": np.arange(len(self.shared)), "mean_rho": self.mean_rho, "rho_5_percent": low,
                "rho_95_percent": high, "shared": self.shared}  # fmt: skip

    def _panel(self) -> Panel:
        c = self._columns()
        parts = {"mean of ρ": c["mean_rho"], "5 % of the pairs below": c["rho_5_percent"],
                 "95 % of the pairs below": c["rho_95_percent"]}  # fmt: skip
        return lines("margins of a run that was not made", "record", "ρ  [nats]", c["record"], parts)


def relative_slope(loss: MarginLoss | str, z: ArrayLike) -> FloatArray:
    """w(z) = f′(z)/f′(0): how hard a pair of margin z is pushed, beside one of margin 0.

    Parameters
    ----------
    loss : MarginLoss or str
    z : array of any shape
        βs. What is beyond ±1e100 is cut off there.

    Returns
    -------
    array, of the shape of z

    Examples
    --------
    >>> relative_slope("squared", [0.0, 0.5, 2.0]).tolist()
    [1.0, 0.5, -1.0]
    """
    f = get_margin_loss(loss)
    return _slope(f, float(f.derivative(0.0)), np.asarray(z, dtype=np.float64))


def _slope(f: MarginLoss, first: float, z: FloatArray) -> FloatArray:
    """`relative_slope`, f′(0) given."""
    with np.errstate(over="ignore", invalid="ignore"):
        w = np.asarray(f.derivative(z) / first)
    return np.clip(np.where(np.isnan(w), _STEEP, w), -_STEEP, _STEEP)


def predicted_course(
    loss: MarginLoss | str,
    beta: float,
    limit_margins: ArrayLike,
    steps: ArrayLike,
    *,
    own_share: float = 0.0,
    responses: tuple[ArrayLike, ArrayLike] | None = None,
    optimizer: Literal["gd", "adam"] = "adam",
    betas: tuple[float, float] = ADAM_BETAS,
    signal: float = 0.0,
) -> Course:
    """Margins that another f and β would have had, from a run in the limit β → 0 of the same data, rate and order.

    Parameters
    ----------
    loss : MarginLoss or str
    beta : float
        Finite, 0 or more.
    limit_margins : array, shape (k, N)
        Margins s, the chosen's over the rejected, of the pairs trained on, at k steps of a run with βs small throughout
        (as a rule \\|βκs\\| < 0.1). Their mean must be above 0.
    steps : array, shape (k,)
        Those steps, whole and rising, from 1. Runs longer than 500 steps are followed in that many strides.
    own_share : float
        From 0 to 1: the share of the mean margin that is the responses' own, 1 less the mean margin of samples that
        are in no pair over that of the pairs trained on, both at the last step.
    responses : two arrays, shape (N,), optional
        Numbers, from 0, of each pair's chosen and rejected response, where pairs share responses; by default they
        share none.
    optimizer : {"gd", "adam"}
        With "gd" the rate is that of the gradient divided by β|f′(0)|.
    betas : two floats
        Adam's.
    signal : float
        From 0 to 1: share of Adam's mean square gradient that is not noise, 1/(1 + noise scale/batch); its size goes
        as the mean push, that of the noise as E[w²].

    Returns
    -------
    Course

    Raises
    ------
    ValueError
        For what is out of these ranges.

    Notes
    -----
    Exact to first order in β for whatever policy is linear in its parameters over the run; beyond it as good as (3).
    On a network of 0.12 million parameters it is tested by the experiment ``llm-predicted-training``. Noise of the
    batches is left out: see :func:`noise_variance`.

    Examples
    --------
    Every label right and every pair alike: IPO goes to margin 1/β, by descent as 1 − e^(−x) with x = βm₀.

    >>> limit = np.linspace(0.05, 5.0, 100)[:, None] * np.ones(3)
    >>> course = predicted_course("ipo", 1.0, limit, np.arange(1, 101), optimizer="gd")
    >>> round(float(course.mean_rho[-1]), 2), round(1 - float(np.exp(-5.0)), 2)
    (0.99, 0.99)
    """
    f = get_margin_loss(loss)
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta is {beta}; accepted is a finite number, 0 or more")
    s0, t = _checked(limit_margins, steps)
    for name, value in (("own_share", own_share), ("signal", signal)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; accepted is a number from 0 to 1")
    if optimizer not in ("gd", "adam"):
        raise ValueError(f"optimizer is {optimizer!r}; accepted are 'gd' and 'adam'")
    if not (0 <= betas[0] < 1 and 0 <= betas[1] < 1):
        raise ValueError(f"betas are {betas}; accepted are two numbers from 0, below 1")
    incidence = _incidence(responses, s0.shape[1])
    parts = _Parts(s0[-1], incidence, own_share)
    moving = betas if optimizer == "adam" else None
    states = _follow(f, beta, parts, np.concatenate([[0.0], s0.mean(1)]), np.concatenate([[0.0], t]), moving, signal)
    shared, own = states[:, 0], states[:, 1:]
    return Course(shared[:, None] * parts.direction + (incidence @ own.T).T, shared / s0[-1].mean(), own)


def limit_mean(
    loss: MarginLoss | str,
    beta: float,
    margins: ArrayLike,
    steps: int,
    *,
    optimizer: Literal["gd", "adam"] = "adam",
    betas: tuple[float, float] = ADAM_BETAS,
) -> float:
    """Mean margin that a run would have had in the limit β → 0, by one direction at a constant rate.

    Parameters
    ----------
    loss, beta : MarginLoss or str, float
        What the run was trained with.
    margins : array, shape (N,)
        s of its pairs after the last step. Their mean must be above 0.
    steps : int
        How many steps it had; only Adam's memory asks.
    optimizer : {"gd", "adam"}
    betas : two floats
        As of :func:`predicted_course`.

    Returns
    -------
    float
        In nats; NaN for a run at rest, or as good as: its mean no longer says how far the limit run would have gone.

    Examples
    --------
    >>> s = np.full(10, 0.5)
    >>> round(limit_mean("squared", 1.0, s, 400, optimizer="gd"), 2)  # 1 − e^(−x) = ½
    0.69
    """
    s = np.asarray(margins, dtype=np.float64)
    check_positive(beta, "beta")
    _checked(s[None], [steps])
    mean = float(s.mean())
    u = s / mean
    if float(np.mean(u * relative_slope(loss, beta * s))) < 0.02:
        return math.nan

    def excess(log_factor: float) -> float:
        limit = math.exp(log_factor) * mean * u
        found = predicted_course(loss, beta, limit[None], [steps], optimizer=optimizer, betas=betas).mean_rho[0]
        return float(found - mean)

    low, high = -2.0, 1.0
    while excess(high) < 0:
        high += 1.0
        if high > math.log(_MOST_LIMIT):
            return math.nan
    return mean * math.exp(brentq(excess, low, high, xtol=1e-4))


@dataclass(frozen=True, eq=False)
class _Parts:
    """The limit run's last margins, taken apart: what pairs share, and what a response gains of its own."""

    last: FloatArray
    incidence: csr_array
    own_share: float

    @property
    def gained(self) -> FloatArray:
        """What each response is pushed by, in the limit."""
        count = self.incidence.shape[0]
        return np.asarray(self.incidence.T @ np.ones(count) / count)

    @property
    def own_rate(self) -> float:
        """So that the own part has its share of the mean margin."""
        return self.own_share / float((self.incidence @ self.gained).mean())

    @property
    def direction(self) -> FloatArray:
        """u less the own part, (N,)."""
        return np.asarray(self.last / self.last.mean() - self.own_rate * (self.incidence @ self.gained))


def _follow(
    f: MarginLoss,
    beta: float,
    parts: _Parts,
    m0: FloatArray,
    times: FloatArray,
    betas: tuple[float, float] | None,
    signal: float,
) -> FloatArray:
    """Shared amplitude and own parts at the recorded times, (k, 1 + n), by the optimiser's own recursion."""
    count, n = parts.incidence.shape
    strides = np.unique(np.concatenate([times, np.linspace(0.0, times[-1], min(int(times[-1]), _MOST_STEPS) + 1)]))
    growth, lengths = np.diff(np.interp(strides, times, m0)), np.diff(strides)
    u, direction, own_rate, first = parts.last / parts.last.mean(), parts.direction, parts.own_rate, f.derivative(0.0)
    incidence, transposed, none = parts.incidence, parts.incidence.T, np.zeros(n)
    state, momentum, square = np.zeros(1 + n), np.zeros(1 + n), 0.0
    found = []
    for end, gain, length, kept in zip(strides[1:], growth, lengths, np.isin(strides[1:], times), strict=True):
        margins = state[0] * direction + incidence @ state[1:] if own_rate else state[0] * direction
        w = _slope(f, float(first), beta * margins)
        shared = float(direction @ w) / count / (1.0 - parts.own_share) if parts.own_share < 1.0 else 0.0
        push = np.concatenate([[shared], own_rate * (transposed @ w) / count if own_rate else none])
        if betas is None:
            state = state + gain * push
        else:
            slow, fast = betas[0] ** length, betas[1] ** length
            momentum = slow * momentum + (1 - slow) * push
            size = signal * float(np.mean(u * w)) ** 2 + (1 - signal) * float(np.mean(w * w))
            square = fast * square + (1 - fast) * size
            scale = math.sqrt(max(square / (1 - betas[1] ** end), 1e-24)) * (1 - betas[0] ** end)
            state = state + gain / scale * momentum
        if kept:
            found.append(state)
    return np.array(found)


def _checked(limit_margins: ArrayLike, steps: ArrayLike) -> tuple[FloatArray, FloatArray]:
    s0, t = np.asarray(limit_margins, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    if s0.ndim != 2 or t.shape != s0.shape[:1] or not s0.size:
        raise ValueError(f"margins {s0.shape} at steps {t.shape}; accepted are shapes (k, N) and (k,), not empty")
    if not np.isfinite(s0).all():
        raise ValueError("margins that are not finite; accepted are finite ones")
    if not (np.isfinite(t).all() and (t == np.round(t)).all() and t[0] >= 1 and (np.diff(t) > 0).all()):
        raise ValueError(f"steps are {t.tolist()}; accepted are whole ones from 1, rising")
    if s0[-1].mean() <= 0:
        raise ValueError(f"the mean margin is {s0[-1].mean():.3g} at the last step; the clock needs one above 0")
    return s0, t


def _incidence(responses: tuple[ArrayLike, ArrayLike] | None, count: int) -> csr_array:
    pairs = np.arange(count)
    found = (2 * pairs, 2 * pairs + 1) if responses is None else tuple(np.asarray(ids) for ids in responses)
    if len(found) != 2 or any(ids.shape != (count,) or ids.dtype.kind not in "iu" for ids in found):
        raise ValueError(f"responses must be two arrays of {count} whole numbers, those of the chosen and the rejected")
    chosen, rejected = found
    if min(chosen.min(), rejected.min()) < 0 or (chosen == rejected).any():
        raise ValueError("responses are numbered from 0, and a pair's two differ")
    columns = np.concatenate([chosen, rejected])
    return csr_array(
        (np.repeat([1.0, -1.0], count), (np.tile(pairs, 2), columns)), shape=(count, int(columns.max()) + 1)
    )
