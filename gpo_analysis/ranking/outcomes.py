"""What a vote says of a margin: a margin loss with ties at half a win each, or a model of win, loss and tie.

Each gives, for margins z (k,) and its own tie parameter τ, the loss of a win, of a loss and of a tie of the first, with
derivatives in z and τ: arrays of shape (3, k) in the order of :data:`gpo_analysis.ranking.problem.OUTCOMES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import expit, log_expit

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss
from gpo_analysis.losses.shape import shape_of

TIES = ("half", "davidson", "rao-kupper")


@dataclass(frozen=True, eq=False)
class Terms:
    """Losses and their derivatives, each (3, k); those in τ are None without a tie parameter."""

    value: FloatArray
    z: FloatArray
    zz: FloatArray
    t: FloatArray | None = None
    zt: FloatArray | None = None
    tt: FloatArray | None = None


class OutcomeModel(Protocol):
    """A loss of win, loss and tie."""

    @property
    def name(self) -> str: ...
    @property
    def has_parameter(self) -> bool: ...
    @property
    def is_likelihood(self) -> bool: ...
    @property
    def is_convex(self) -> bool: ...
    @property
    def is_smooth(self) -> bool: ...
    def start(self, tied: float) -> float: ...
    def admits(self, tau: float) -> bool: ...
    def terms(self, z: FloatArray, tau: float) -> Terms: ...
    def slopes(self, z: FloatArray, tau: FloatArray) -> tuple[FloatArray, FloatArray | None]: ...
    def probabilities(self, z: FloatArray, tau: float) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class Halved:
    """A margin loss: f(z) for a win, f(−z) for a loss, the mean of both for a tie."""

    loss: MarginLoss
    has_parameter: bool = False

    @property
    def name(self) -> str:
        return self.loss.name

    @property
    def is_likelihood(self) -> bool:
        """Whether f is the negative log-likelihood of Bradley–Terry."""
        return str(self.loss.expression) == "log(1 + exp(-z))"

    @property
    def is_convex(self) -> bool:
        return shape_of(self.loss).convex

    @property
    def is_smooth(self) -> bool:
        shape = shape_of(self.loss)
        return not shape.kinks and not shape.is_piecewise_linear

    def start(self, tied: float) -> float:
        return 0.0

    def admits(self, tau: float) -> bool:
        return True

    def terms(self, z: FloatArray, tau: float) -> Terms:
        both = np.stack([z, -z])
        value, slope, curve = (self.loss.derivative(both, order) for order in (0, 1, 2))
        slope[1] *= -1
        value, slope, curve = (np.concatenate([part, part.mean(axis=0)[None]]) for part in (value, slope, curve))
        return Terms(value, slope, curve)

    def slopes(self, z: FloatArray, tau: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """Derivatives in z and τ alone, shape (3, …) for z of any shape."""
        up = self.loss.derivative(z)
        down = up + 1.0 if self.is_likelihood else -self.loss.derivative(-z)
        return np.stack([up, down, 0.5 * (up + down)]), None

    def probabilities(self, z: FloatArray, tau: float) -> FloatArray:
        """Probability of a win, a loss and a tie (0) by f's own link, shape (3, k)."""
        from gpo_analysis.estimation.choice import link_probability

        win = expit(z) if self.is_likelihood else link_probability(self.loss, z)
        return np.stack([win, 1 - win, np.zeros_like(win)])


@dataclass(frozen=True, eq=False)
class Davidson:
    """Davidson 1970 (JASA 65, 317-328): win, loss, tie ∝ e^{z/2}, e^{−z/2}, ν; τ = log ν."""

    name: str = "davidson"
    has_parameter: bool = True
    is_likelihood: bool = True
    is_convex: bool = True
    is_smooth: bool = True

    def start(self, tied: float) -> float:
        return float(np.log(2 * tied / (1 - tied)))

    def admits(self, tau: float) -> bool:
        return True

    def probabilities(self, z: FloatArray, tau: float | FloatArray) -> FloatArray:
        logits = np.stack([z / 2, -z / 2, np.broadcast_to(tau, np.shape(z))])
        logits = logits - logits.max(axis=0)
        share = np.exp(logits)
        return np.asarray(share / share.sum(axis=0))

    def terms(self, z: FloatArray, tau: float) -> Terms:
        win, loss, tie = self.probabilities(z, tau)
        total = np.logaddexp(np.logaddexp(z / 2, -z / 2), tau)
        lead = (win - loss) / 2
        one = np.ones((3, 1))
        curve = one * ((win + loss) / 4 - lead**2)
        return Terms(
            np.stack([total - z / 2, total + z / 2, total - tau]),
            np.stack([lead - 0.5, lead + 0.5, lead]),
            curve,
            np.stack([tie, tie, tie - 1]),
            one * (-lead * tie),
            one * (tie * (1 - tie)),
        )

    def slopes(self, z: FloatArray, tau: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        win, loss, tie = self.probabilities(z, tau)
        lead = (win - loss) / 2
        return np.stack([lead - 0.5, lead + 0.5, lead]), np.stack([tie, tie, tie - 1])


@dataclass(frozen=True, eq=False)
class RaoKupper:
    """Rao and Kupper 1967 (JASA 62, 194-204): a win is σ(z − τ), a loss σ(−z − τ); τ = log θ > 0, the threshold."""

    name: str = "rao-kupper"
    has_parameter: bool = True
    is_likelihood: bool = True
    is_convex: bool = True
    is_smooth: bool = True

    def start(self, tied: float) -> float:
        return float(np.log((1 + tied) / (1 - tied)))  # at z = 0

    def admits(self, tau: float) -> bool:
        return tau > 0

    def probabilities(self, z: FloatArray, tau: float | FloatArray) -> FloatArray:
        win, loss = expit(z - tau), expit(-z - tau)
        return np.stack([win, loss, np.expm1(2 * np.asarray(tau)) * win * loss])

    def terms(self, z: FloatArray, tau: float) -> Terms:
        win, loss = expit(z - tau), expit(-z - tau)
        a, b = win * (1 - win), loss * (1 - loss)
        log_win, log_loss = log_expit(z - tau), log_expit(-z - tau)
        gap = -np.expm1(-2 * tau)  # 1 − θ⁻²
        tied = -(2 * tau + np.log(gap)) - log_win - log_loss
        zero = np.zeros_like(a)
        slope = np.stack([win - 1, 1 - loss, win - loss])
        rise = np.stack([1 - win, 1 - loss, 2 - win - loss - 2 / gap])
        bend = 4 * np.exp(-2 * tau) / gap**2
        return Terms(
            np.stack([-log_win, -log_loss, tied]),
            slope,
            np.stack([a, b, a + b]),
            rise,
            np.stack([-a, b, b - a]) + zero,
            np.stack([a, b, a + b + bend]),
        )

    def slopes(self, z: FloatArray, tau: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        win, loss = expit(z - tau), expit(-z - tau)
        gap = -np.expm1(-2 * np.maximum(tau, 1e-300))
        return np.stack([win - 1, 1 - loss, win - loss]), np.stack([1 - win, 1 - loss, 2 - win - loss - 2 / gap])


def outcome_model(loss: MarginLoss, ties: str) -> OutcomeModel:
    """The model of a loss and a way to take ties.

    Raises
    ------
    ValueError
        For an unknown way, and for Davidson or Rao–Kupper with another loss than logistic.
    """
    if ties == "half":
        return Halved(loss)
    if ties not in TIES:
        raise ValueError(f"ties must be one of {', '.join(map(repr, TIES))}, got {ties!r}")
    if not Halved(loss).is_likelihood:
        raise ValueError(f"ties={ties!r} is a model of the logistic loss; {loss.name} takes ties='half'")
    return Davidson() if ties == "davidson" else RaoKupper()
