r"""AlphaPO's reward on responses with lengths: r = β (1 − p^(−α))/α of the mean likelihood p = π(y)^{1/T} of a token.

A margin loss f(r_w − r_l) sees r up to a constant, and r grows with p. With g the implicit reward that f fits
(:meth:`PreferenceProblem.fit`), δ = (max g − g)/β and one unknown v, the optimum is

    log π_i = −T_i [v + log(1 + αδ_i e^{−αv})/α],     Σπ = 1,                                                   (1)

whose sum falls with v: for α > 0 from at least 1 to 0, so that there is exactly one optimum for every f with a finite
fit. For α → 0 it is SimPO's, log π_i = −T_i (v + δ_i). For α < 0 rewards are bounded, r ≥ −β/\|α\| with equality at
π = 0, and not every g is within reach. Then the optimum gives some response no mass at all: were all above 0, so would
be the multiplier λ of Σπ ≤ 1 in ∂L/∂r_i + λ ∂π_i/∂r_i = 0, although Σ ∂L/∂r_i = 0 for every loss of margins. For
convex f and T ≥ \|α\| that is a convex problem in x = π^{\|α\|/T}, which an interior-point method solves here, with a
duality gap; and since rewards are bounded, it has a solution for one-sided preferences too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import logsumexp

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss
from gpo_analysis.preferences.pairs import DirectedPairs
from gpo_analysis.preferences.validation import as_floats, check_positive

_NEWTON = 60
_LEAST = 1e-11  # last weight of the barrier, a unit of its first


def shaped_by_length(
    reward: ArrayLike, lengths: ArrayLike, beta: float, alpha: float, *, log: bool = False
) -> FloatArray:
    """The policy whose AlphaPO rewards β (1 − π^(−α/T))/α differ as `reward` does.

    Parameters
    ----------
    reward : array, shape (n,)
        The implicit reward g; a constant added to it changes nothing.
    lengths : array, shape (n,)
        T, above 0.
    beta : float
        Finite and above 0.
    alpha : float
        Finite; 0 is SimPO (:func:`tilted_by_length` without reference).
    log : bool
        Return log π.

    Returns
    -------
    array, shape (n,)

    Raises
    ------
    ValueError
        For bad input, and where α < 0 bounds rewards so that no policy has these differences.

    Notes
    -----
    AlphaPO, arXiv 2501.03884; the formula as TRL 1.16 executes it (``CPOTrainer.cpo_loss``).

    Examples
    --------
    Two responses of one token, α = 1: 1 − 1/π differ by 1, so that 1/π_1 − 1/π_2 = 1.

    >>> policy = shaped_by_length([0.0, 1.0], [1, 1], 1.0, 1.0)
    >>> policy.round(6), (1 / policy[0] - 1 / policy[1]).round(12)
    (array([0.381966, 0.618034]), np.float64(1.0))
    """
    g, size, scale = as_floats(reward, "reward"), as_floats(lengths, "lengths"), check_positive(beta, "beta")
    if g.ndim != 1 or not len(g) or size.shape != g.shape:
        raise ValueError(f"reward and lengths must have one shape (n,), got {g.shape} and {size.shape}")
    if not np.isfinite(g).all():
        raise ValueError("reward must be finite")
    if not (np.isfinite(size).all() and (size > 0).all()):
        raise ValueError(f"lengths must be above 0, got {float(size.min())!r}")
    shape = checked_alpha(alpha)
    with np.errstate(over="ignore"):
        below = g.max() / scale - g / scale
    if not np.isfinite(below).all():
        raise ValueError(f"beta = {scale!r} is so small that reward/beta is no float")
    found = _shaped(below, size, shape)
    if found is None:
        raise ValueError(
            f"alpha = {shape:g} bounds rewards by -beta/|alpha| = {-scale / abs(shape):.6g}: no policy has rewards "
            f"that differ by {float(np.ptp(g)):.6g}"
        )
    return found if log else np.exp(found)


def checked_alpha(alpha: float) -> float:
    """α as a finite float.

    Raises
    ------
    ValueError
        For what is no finite number.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.number) or not np.isfinite(float(alpha)):
        raise ValueError(f"alpha must be a finite number, got {alpha!r}")
    return float(alpha)


def attainable(reward: FloatArray, lengths: FloatArray, beta: float, alpha: float) -> bool:
    """Whether some policy has rewards that differ as `reward` does."""
    return _shaped((reward.max() - reward) / beta, lengths, alpha) is not None


def _shaped(below: FloatArray, lengths: FloatArray, alpha: float) -> FloatArray | None:
    """Log π of (1) at δ = `below`; None where α < 0 leaves it out of reach."""

    def terms(v: float) -> FloatArray:
        if alpha == 0:
            return np.asarray(-lengths * (v + below))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            inner = alpha * below * np.exp(-alpha * v)
            small = np.log1p(inner) / alpha
            # e^{−αv} δ by itself where α δ is nothing beside 1
            small = np.where(np.abs(inner) < 1e-300, below * np.exp(-alpha * v), small)
        return np.asarray(-lengths * (v + small))

    high = float(np.log(len(below)) / lengths.min())  # π ≤ e^{−Tv}, so that Σπ ≤ 1 there
    most = -alpha * float(below.max())
    if alpha < 0 and most > 0:
        bound = -np.log(most) / -alpha  # where the least reward is −β/|α|
        if not bound > 0:
            return None
        high = min(high, float(bound) * (1 - 1e-15))
    if high == 0:
        return np.zeros(len(below))

    def excess(v: float) -> float:
        total = float(logsumexp(terms(v)))
        return total if np.isfinite(total) else -1e300

    if excess(high) > 0:
        if alpha < 0:
            return None
        high *= 1 + 1e-12
    if excess(0.0) <= 0:  # one response has all mass that floats can tell
        found = terms(0.0)
    else:
        found = terms(float(brentq(excess, 0.0, high, xtol=1e-300, rtol=4 * np.finfo(float).eps, maxiter=300)))
    return np.asarray(found - logsumexp(found))


@dataclass(frozen=True, eq=False)
class BoundedOptimum:
    """What AlphaPO has with α < 0 where no policy holds the margins that f fits.

    Attributes
    ----------
    log_policy : array, shape (n,)
        −∞ for responses without mass.
    value : float
    gap : float
        What is at most left to gain, by what the conditions of the optimum lack.
    """

    log_policy: FloatArray
    value: float
    gap: float


def bounded_optimum(
    pairs: DirectedPairs, own: float, loss: MarginLoss, lengths: FloatArray, beta: float, alpha: float
) -> BoundedOptimum:
    """Minimise Σ w f(β/\\|α\\| (x_i − x_j)) over x ≥ 0 with Σ x^{T/\\|α\\|} ≤ 1; see the module.

    Parameters
    ----------
    pairs : DirectedPairs
    own : float
        Weight of twice the same response, which has f(0).
    loss : MarginLoss
        Convex and smooth.
    lengths : array, shape (n,)
        At least \\|α\\|, so that x^{T/\\|α\\|} is convex.
    beta, alpha : float
        β above 0, α below 0.
    """
    barrier = _Barrier(pairs, loss, lengths / -alpha, beta / -alpha)
    x = np.full(len(lengths), 0.5 * len(lengths) ** (-1 / barrier.power.min()))
    first = weight = 1.0 + abs(barrier.loss_at(x)[0])
    best: tuple[float, FloatArray] = (np.inf, x)
    while weight > _LEAST * first:
        x = barrier.centred(x, weight)
        if weight <= 1e-4 * first:
            best = min(best, barrier.polished(x, weight), key=lambda end: end[0])
        if best[0] <= 1e-13 * first:
            break
        weight *= 0.2
    gap, x = best
    value = barrier.loss_at(x)[0]
    with np.errstate(divide="ignore"):
        log_policy = barrier.power * np.log(x)
    return BoundedOptimum(log_policy - logsumexp(log_policy), value + own * float(loss(0.0)), gap)


@dataclass(frozen=True, eq=False)
class _Barrier:
    pairs: DirectedPairs
    loss: MarginLoss
    power: FloatArray
    scale: float

    def loss_at(self, x: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """L, its gradient and Hessian in x."""
        i, j, w, n = self.pairs.winner, self.pairs.loser, self.pairs.weight, len(x)
        z = self.scale * (x[i] - x[j])
        first = self.scale * w * self.loss.derivative(z, 1)
        second = self.scale**2 * w * self.loss.derivative(z, 2)
        hessian = np.zeros((n, n))
        for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            np.add.at(hessian, (a, b), sign * second)
        gradient = np.bincount(i, first, n) - np.bincount(j, first, n)
        return float(w @ self.loss(z)), np.asarray(gradient), hessian

    def value(self, x: FloatArray, weight: float) -> float:
        """L with the barrier; ∞ outside."""
        inside = 1 - float(np.sum(np.maximum(x, 0.0) ** self.power))
        if not (x > 0).all() or inside <= 0:
            return np.inf
        i, j = self.pairs.winner, self.pairs.loser
        total = float(self.pairs.weight @ self.loss(self.scale * (x[i] - x[j])))
        return total - weight * float(np.log(inside) + np.log(x).sum())

    def centred(self, x: FloatArray, weight: float) -> FloatArray:
        """The minimum at one weight of the barrier, by Newton steps."""
        for _ in range(_NEWTON):
            _, slope, hessian = self.loss_at(x)
            pull = self.power * x ** (self.power - 1)
            inside = 1 - float(np.sum(x**self.power))
            slope = slope + weight * (pull / inside - 1 / x)
            bent = self.power * (self.power - 1) * x ** (self.power - 2) / inside + 1 / x**2
            hessian = hessian + weight * (np.diag(bent) + np.outer(pull, pull) / inside**2)
            # in units of x, where the barrier is round
            step = -x * np.linalg.lstsq(hessian * np.outer(x, x), slope * x, rcond=None)[0]
            decrement = -float(slope @ step)
            now, size = self.value(x, weight), 1.0
            while size > 1e-12 and self.value(x + size * step, weight) > now - 0.1 * size * decrement:
                size *= 0.5
            if size <= 1e-12 or decrement <= 1e-16 * weight:
                break
            x = x + size * step
        return x

    def polished(self, x: FloatArray, weight: float) -> tuple[float, FloatArray]:
        """What is at most left to gain, and the point: Newton steps on the conditions of the optimum themselves.

        x = 0 where the barrier's multiplier is the larger of the two; Σ x^power = 1. L(x) − L* is at most what the
        gradient of L + λ Σ x^power leaves where x > 0, and what it is below 0 where x = 0, summed: x is at most 1.
        """
        inside = 1 - float(np.sum(x**self.power))
        free = np.flatnonzero(x > weight / x)
        most = weight / inside
        x = np.where(x > weight / x, x, 0.0)
        found, at = np.inf, x
        for _ in range(20):
            _, slope, hessian = self.loss_at(x)
            pull = np.where(x > 0, self.power * x ** (self.power - 1), self.power == 1)
            left, over = slope + most * pull, float(np.sum(x**self.power)) - 1
            lacking = np.where(x > 0, np.abs(left), np.maximum(-left, 0.0)).sum() + abs(most * over)
            if most >= 0 and lacking < found:
                found, at = float(lacking), x
            bent = np.zeros(len(x))
            bent[free] = self.power[free] * (self.power[free] - 1) * x[free] ** (self.power[free] - 2)
            system = np.zeros((len(free) + 1, len(free) + 1))
            system[:-1, :-1] = hessian[np.ix_(free, free)] + most * np.diag(bent[free])
            system[:-1, -1] = system[-1, :-1] = pull[free]
            step = np.linalg.lstsq(system, np.append(left[free], over), rcond=None)[0]
            new = x.copy()
            new[free] -= step[:-1]
            if not (new[free] > 0).all():
                break
            x, most = new, most - float(step[-1])
        return found, at
