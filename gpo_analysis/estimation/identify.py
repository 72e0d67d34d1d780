"""Which loss made these values: f, β, reduction, label smoothing and scale, fitted to the losses of single pairs.

A loss of one pair is taken to be scale · [a f(z) + b f(−z)], z = βρ, a + b = 1: b = 0 without label smoothing, b = ε
for (1−ε) f(z) + ε f(−z), b = −ε/(1−2ε) for robust DPO. At a given β that is linear in two unknowns, so that one
parameter is searched. EXO's loss, −H(σ(z)) − σ(z) log(1−ε) − σ(−z) log ε, is linear in −H and σ and 1 in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss, get_margin_loss, list_losses

_OF_LOGISTIC = ("smoothed_logistic", "robust_logistic")  # members of the catalogue that are logistic with an ε
GRID = np.logspace(-4, 4, 97)
"""Values of β·(size of ρ) at which the search for β starts."""


@dataclass(frozen=True)
class Pairs:
    """Log-ratios of pairs, and lengths where there are any; all arrays have shape (k,).

    Attributes
    ----------
    chosen, rejected : array, shape (k,)
        log π/πref of the chosen and of the rejected response, in nats.
    chosen_length, rejected_length : array, shape (k,), optional
        Tokens.
    """

    chosen: FloatArray
    rejected: FloatArray
    chosen_length: FloatArray | None = None
    rejected_length: FloatArray | None = None

    def rho(self, reduction: str) -> FloatArray:
        """ρ over token "sums" or "means", shape (k,)."""
        if reduction == "sums":
            return np.asarray(self.chosen - self.rejected)
        if self.chosen_length is None or self.rejected_length is None:
            raise ValueError("token means need the lengths of the responses")
        return np.asarray(self.chosen / self.chosen_length - self.rejected / self.rejected_length)

    @property
    def reductions(self) -> tuple[str, ...]:
        """The reductions that can be told apart: means only where there are lengths, and not all are one."""
        return ("sums",) if self.chosen_length is None or self.of_one_length else ("sums", "means")

    @property
    def of_one_length(self) -> bool:
        """Whether all responses have one length n: β of token sums and nβ of token means are then one objective."""
        if self.chosen_length is None or self.rejected_length is None:
            return False
        return bool(np.ptp(np.concatenate([self.chosen_length, self.rejected_length])) == 0)


@dataclass(frozen=True)
class LossReading:
    """What the values of a loss say it is.

    Attributes
    ----------
    loss : str
        The f: a name of the catalogue, or "exo".
    beta : float
        GPO's β: z = βρ.
    scale : float
        The values are scale · f.
    reduction : str
        "sums" or "means" over tokens.
    smoothing : str or None
        "smoothed", "robust", "exo", or None.
    label_smoothing : float
        ε, 0 without.
    error : float
        Largest difference between value and fit, relative to 1 + \\|value\\|.
    """

    loss: str
    beta: float
    scale: float
    reduction: str
    smoothing: str | None
    label_smoothing: float
    error: float

    def __str__(self) -> str:
        smoothing = "" if self.smoothing is None else f", {self.smoothing} with ε = {self.label_smoothing:.4g}"
        return f"{self.scale:.4g} · {self.loss} at β = {self.beta:.4g} over token {self.reduction}{smoothing}"


@dataclass(frozen=True)
class Family:
    """One f as a combination of functions of z that is linear in what is unknown beside β.

    Attributes
    ----------
    name : str
    columns : callable
        z of shape (k,) → (k, c).
    """

    name: str
    columns: Callable[[FloatArray], FloatArray]


def _two_sided(loss: MarginLoss) -> Callable[[FloatArray], FloatArray]:
    return lambda z: np.stack([loss(z), loss(-z)], axis=-1)


def _exo(z: FloatArray) -> FloatArray:
    p = expit(z)
    entropy = -(p * log_expit(z) + expit(-z) * log_expit(-z))
    return np.stack([-entropy, p, np.ones_like(z)], axis=-1)


@lru_cache(maxsize=1)
def _known() -> tuple[Family, ...]:
    names = [name for name in list_losses() if name not in _OF_LOGISTIC]
    return (*(Family(name, _two_sided(get_margin_loss(name))) for name in names), Family("exo", _exo))


def families(offered: Sequence[MarginLoss] = ()) -> tuple[Family, ...]:
    """Every f that is tried: the catalogue's, EXO's, and others that are offered.

    One that is offered under another name is tried under the catalogue's; where f(z) is the catalogue's g(sz), it takes
    the place of g, since no log could tell the two apart.

    Parameters
    ----------
    offered : sequence of MarginLoss
    """
    found = {family.name: family for family in _known()}
    for loss in offered:
        twin, factor = next(((g, s) for g in list_losses() if (s := rescaling(loss, get_margin_loss(g)))), ("", 0.0))
        if loss.name in (*found, *_OF_LOGISTIC) or (twin and abs(factor - 1) < 1e-9):
            continue
        found.pop(twin, None)
        found[loss.name] = Family(loss.name, _two_sided(loss))
    return tuple(found.values())


def rescaling(f: MarginLoss, g: MarginLoss) -> float:
    """The s for which f(z) = g(sz); 0 where there is none."""
    z = np.linspace(-3.0, 3.0, 25)
    with np.errstate(all="ignore"):
        slopes = [float(h.derivative(-0.5)) for h in (f, g)]
        first, second = ([float(h.derivative(0.0, order)) for h in (f, g)] for order in (1, 2))
        guesses = [1.0, *(a / b for a, b in (first, second, slopes) if b)]
        for s in guesses:
            if s > 0 and np.allclose(f(z), g(s * z), rtol=1e-9, atol=1e-12):
                return s
    return 0.0


def unmix(coefficients: FloatArray, exo: bool = False) -> tuple[float, str | None, float] | None:
    """Scale, smoothing and ε of fitted coefficients; None where no smoothing has them.

    Parameters
    ----------
    coefficients : array, shape (1,), (2,) or (3,)
        Of f(z), and of f(−z) where there are two; of EXO's three functions.
    exo : bool
        Whether they are EXO's.
    """
    if exo:
        scale, of_sigmoid, constant = (float(c) for c in coefficients)
        if scale <= 0:
            return None
        epsilon = float(expit(of_sigmoid / scale))
        fits = abs(constant + scale * math.log(max(epsilon, 1e-300))) <= 1e-5 * (1 + abs(constant))
        return (scale, "exo", epsilon) if 0 < epsilon < 0.5 and fits else None
    scale = float(coefficients.sum())
    if scale <= 0:
        return None
    if len(coefficients) == 1:
        return scale, None, 0.0
    share = float(coefficients[1]) / scale
    if share >= 0:
        return (scale, "smoothed", share) if share < 0.5 else None
    return scale, "robust", share / (2 * share - 1)


def identify(pairs: Pairs, values: ArrayLike, tolerance: float = 1e-6) -> tuple[LossReading, ...]:
    """Every loss of the catalogue (and EXO) whose values these are, the simplest first.

    Parameters
    ----------
    pairs : Pairs
    values : array, shape (k,)
        Loss of each pair, unreduced and without noise beyond ``tolerance``.
    tolerance : float
        Largest error of a fit, relative to 1 + \\|value\\|.

    Returns
    -------
    tuple of LossReading
        Empty where no margin loss fits.

    Examples
    --------
    >>> chosen = np.linspace(-30, 40, 71)
    >>> pairs = Pairs(chosen, -chosen[::-1] / 3)
    >>> values = (pairs.rho("sums") - 1 / (2 * 0.1)) ** 2  # IPO as most libraries write it
    >>> [str(reading) for reading in identify(pairs, values)]
    ['25 · squared at β = 0.2 over token sums']
    """
    target = np.asarray(values, dtype=np.float64)
    for columns in (1, 2):
        found = tuple(_fitting(pairs, target, tolerance, columns))
        if found:
            return found
    return ()


def _fitting(pairs: Pairs, values: FloatArray, tolerance: float, columns: int) -> Iterator[LossReading]:
    for reduction in pairs.reductions:
        rho = pairs.rho(reduction)
        for family in families():
            exo = family.name == "exo"
            if exo and columns == 1:
                continue
            beta, coefficients, error = fit_beta(family, rho, values, 3 if exo else columns)
            read = unmix(coefficients, exo) if error <= tolerance else None
            if read is not None:
                scale, smoothing, epsilon = read
                yield LossReading(family.name, beta, scale, reduction, smoothing, epsilon, error)


def fit_beta(family: Family, rho: FloatArray, values: FloatArray, columns: int) -> tuple[float, FloatArray, float]:
    """β and coefficients of least squares in residuals relative to 1 + \\|value\\|, and the largest such residual.

    Parameters
    ----------
    family : Family
    rho : array, shape (k,)
    values : array, shape (k,)
    columns : int
        How many of the family's functions are used.
    """
    weight = 1 / (1 + np.abs(values))
    size = float(np.median(np.abs(rho))) or 1.0

    def solve(log_beta: float) -> tuple[FloatArray, FloatArray]:
        design = family.columns(math.exp(log_beta) * rho)[:, :columns] * weight[:, None]
        if not np.isfinite(design).all():
            return np.full(columns, np.nan), np.full(len(rho), np.inf)
        # columns of equal size, so that one that overflows almost does not hide the other
        sizes = np.maximum(np.abs(design).max(axis=0), 1e-300)
        coefficients, *_ = np.linalg.lstsq(design / sizes, values * weight, rcond=1e-13)
        return coefficients / sizes, design @ (coefficients / sizes) - values * weight

    def badness(log_beta: float) -> float:
        return min(float(np.linalg.norm(solve(log_beta)[1])), 1e300)

    logs = np.log(GRID / size)
    heights = [badness(log_beta) for log_beta in logs]
    best, step = logs[int(np.argmin(heights))], logs[1] - logs[0]
    found = minimize_scalar(badness, bounds=(best - step, best + step), method="bounded", options={"xatol": 1e-13})
    log_beta = float(found.x) if found.fun <= min(heights) else float(best)
    coefficients, residuals = solve(log_beta)
    return math.exp(log_beta), coefficients, float(np.abs(residuals).max())
