r"""How fast training moves: the start from f′(0) alone, the end from the Hessian at the optimum.

The parameters are logits θ of a softmax policy. With ``h = log π/πref = θ − log πref − log Z(θ)`` the softmax Jacobian
is ``∂h/∂θ = I − 1πᵀ``: it moves all of h together, and differences of h are differences of ``θ − log πref``. The loss
``E f(βρ)`` (Tang et al., arXiv 2402.05749) is therefore a function of differences of logits with the exact Hessian::

    H = Σ_{i<j} 2 μ_i μ_j β² [η_ij f″(z_ij) + (1 − η_ij) f″(−z_ij)] (e_i − e_j)(e_i − e_j)ᵀ,   z_ij = β (h_i − h_j)

the Laplacian of the comparison graph under these weights. Its null space (a constant on every connected component) is
where the loss does not move; among the other eigenvalues the least is the rate of gradient flow at the optimum, the
largest bounds the stable step of descent by ``2/λ_max``.

With ``u = β (θ − log πref)`` flow and descent depend on β only through β² times the time or the step: β is a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Curve, Panel, intervals
from gpo_analysis.showing.style import cycle_style
from gpo_analysis.solvers.minimum import described
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.training.objective import Objective

NO_CURVATURE = 1e-10
"""Eigenvalues below this share of the largest count as zero: the null space of the comparison graph."""

ADAM_EDGE = 38.0
"""Largest learning rate times preconditioned curvature at which Adam with β₁ = 0.9 is stable: (2 + 2β₁)/(1 − β₁)
(Cohen et al., arXiv 2207.14484)."""


def pair_curvature(loss: MarginLoss | str, eta: ArrayLike, margin: ArrayLike) -> FloatArray:
    """``η f″(z) + (1 − η) f″(−z)``: a pair's weight in the Hessian, without β² and its share of μ.

    At ``z = z*(η)`` it is η(1−η) for logistic, 2√(η(1−η)) for exponential, 2η²(1−η)² for Savage, 2 for squared and
    0 for hinge.

    Parameters
    ----------
    loss : MarginLoss or str
    eta : array
        p(i ≻ j).
    margin : array
        z, broadcast against ``eta``.

    Examples
    --------
    >>> bool(np.isclose(pair_curvature("logistic", 0.9, np.log(9)), 0.09))
    True
    """
    f = _loss(loss)
    p, z = np.asarray(eta, dtype=np.float64), np.asarray(margin, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"eta must lie in [0, 1], got {eta!r}")
    return np.asarray(p * f.derivative(z, 2) + (1.0 - p) * f.derivative(-z, 2))


def logit_hessian(
    problem: PreferenceProblem, loss: MarginLoss | str, beta: float, log_ratio: ArrayLike | None = None
) -> FloatArray:
    """Second derivatives of ``E f(βρ)`` in the logits.

    Parameters
    ----------
    problem : PreferenceProblem
    loss : MarginLoss or str
    beta : float
        Finite and positive.
    log_ratio : array, shape (n,) or (m, n), optional
        h, up to a constant a context; by default zero, π = πref.

    Returns
    -------
    array, shape (m·n, m·n)
        Symmetric, with rows that sum to zero.

    Examples
    --------
    >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> logit_hessian(problem, "squared", 1.0)
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    objective = Objective.stack([problem], [_loss(loss)], [check_positive(beta, "beta")])
    h = np.zeros(problem.shape) if log_ratio is None else np.asarray(log_ratio, dtype=np.float64)
    if h.shape != problem.shape or not np.isfinite(h).all():
        raise ValueError(f"log_ratio must be finite and of shape {problem.shape}, got {log_ratio!r}")
    return objective.hessian(objective.log_reference + h.reshape(1, -1))


@dataclass(frozen=True, eq=False)
class LocalRates(Shown):
    """The spectrum of the Hessian at a policy, and what it says of training nearby.

    Attributes
    ----------
    hessian : array, shape (m·n, m·n)
    eigenvalues : array, shape (k,)
        Those that are not zero, ascending.
    null_modes : int
        Directions in which the loss does not move: one a connected component of the comparison graph (and context).
    """

    hessian: FloatArray
    eigenvalues: FloatArray
    null_modes: int

    @property
    def slowest(self) -> float:
        """Rate of gradient flow, ``‖θ(t) − θ*‖ ~ exp(−slowest · t)``; negative at a saddle."""
        return float(self.eigenvalues[0])

    @property
    def fastest(self) -> float:
        """Largest curvature."""
        return float(self.eigenvalues[-1])

    @property
    def condition(self) -> float:
        """Largest over least curvature: what decides the speed once the step is the best one."""
        return self.fastest / self.slowest

    @property
    def largest_stable_step(self) -> float:
        """2/λ_max: gradient descent with a larger step leaves the optimum."""
        return 2.0 / self.fastest

    @property
    def best_step(self) -> float:
        """2/(λ_min + λ_max), the step of gradient descent with the best local rate."""
        return 2.0 / (self.slowest + self.fastest)

    def descent_rate(self, learning_rate: float) -> float:
        """``−log max_i |1 − lr λ_i|``: nats that the distance loses a step; negative where descent is unstable."""
        step = check_positive(learning_rate, "learning_rate")
        return float(-np.log(np.max(np.abs(1.0 - step * self.eigenvalues))))

    def _facts(self) -> list[tuple[str, Any]]:
        names = ("slowest", "fastest", "condition", "largest_stable_step", "best_step", "null_modes")
        return [(name.replace("_", " "), getattr(self, name)) for name in names]

    def _panel(self) -> Panel:
        at = np.arange(float(len(self.eigenvalues)))
        modes = Curve(at, self.eigenvalues, "", cycle_style(0), points=True)
        log = "y" if (self.eigenvalues > 0).all() else ""
        names = [str(k + 1) for k in range(len(at))] if len(at) <= 20 else []
        title, axis = "curvature along each direction", "mode, the slowest first"
        return Panel(title, axis, "rate of gradient flow", [modes], log=log, ticks=names)


def local_rates(
    problem: PreferenceProblem, loss: MarginLoss | str, beta: float, log_ratio: ArrayLike | None = None
) -> LocalRates:
    """Local rates at the population optimum, or at another policy.

    Parameters
    ----------
    problem : PreferenceProblem
    loss : MarginLoss or str
        With curvature: for hinge there is none, and its flow arrives in a finite time instead.
    beta : float
    log_ratio : array, shape (n,) or (m, n), optional
        Where; by default the optimum of ``problem.solve(loss, beta)``.

    Raises
    ------
    ValueError
        Where f has no curvature at the margins, or the optimum is asked for and is not unique and finite.

    Examples
    --------
    Two responses, the first preferred with 0.8: λ = β² · 2 · (μ₁μ₂ · 2) · η(1−η).

    >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> found = local_rates(problem, "logistic", beta=1.0)
    >>> round(found.slowest, 12), found.null_modes, round(found.largest_stable_step, 6)
    (0.16, 1, 12.5)
    """
    f = _loss(loss)
    if log_ratio is None:
        solution = problem.solve(f, beta)
        if not solution.converged:
            why = described(solution.status, solution.reason)
            raise ValueError(f"{f.name} at beta = {beta:g} has no unique finite optimum here: {why}")
        log_ratio = solution.log_ratio
    hessian = logit_hessian(problem, f, beta, log_ratio)
    values = np.linalg.eigvalsh(hessian)
    top = float(np.abs(values).max())
    if top == 0.0:
        raise ValueError(f"{f.name} has no curvature at these margins, so there is no local rate")
    kept = values[np.abs(values) > NO_CURVATURE * top]
    return LocalRates(hessian, kept, len(values) - len(kept))


@dataclass(frozen=True, eq=False)
class EarlyPhase(Shown):
    """The start of training at π = πref, which of f knows the slope f′(0) alone.

    Attributes
    ----------
    direction : array, shape (n,) or (m, n)
        ``Σ_k weight_k (e_winner − e_loser)``: wins less losses of each response. The same for every f and β.
    speed : float
        β |f′(0)|: logits move by ``speed · direction`` a unit of time, −f′(0) < 0 taken for granted.
    loss_rate : float
        dL/dt = −β² f′(0)² ‖direction‖².
    kl_coefficient : float
        KL(t) = kl_coefficient · t² + O(t³), ½ speed² Var_πref(direction).
    """

    direction: FloatArray
    speed: float
    loss_rate: float
    kl_coefficient: float

    def _columns(self) -> Mapping[str, Any]:
        return {"direction": np.ravel(self.direction)}

    def _panel(self) -> Panel:
        direction = np.atleast_2d(self.direction)[0]
        names = [f"y{k + 1}" for k in range(len(direction))]
        return intervals(
            "where training starts to go", "wins less losses: logits move along it", names, direction, level=0.0
        )


def early_phase(problem: PreferenceProblem, loss: MarginLoss | str, beta: float) -> EarlyPhase:
    """First-order course of gradient flow from πref.

    In the time ``s = β² |f′(0)| t`` the margins of all losses start alike, ``z = s (d_i − d_j)``; the next term is
    ``−½ κ s² L d`` with L the graph's Laplacian: κ is the first thing of f, after the clock, that shows.

    Raises
    ------
    ValueError
        If f′(0) is not below zero.

    Examples
    --------
    >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> start = early_phase(problem, "logistic", beta=0.5)
    >>> start.direction.round(6), start.speed
    (array([ 0.3, -0.3]), 0.25)
    """
    f, scale = _loss(loss), check_positive(beta, "beta")
    slope = float(f.derivative(0.0, 1))
    if not slope < 0:
        raise ValueError(f"{f.name} has slope {slope:g} at 0; the early phase needs one below zero")
    pairs = problem.directed_pairs()
    base = problem.n * pairs.context
    size = problem.n * problem.contexts
    flat: FloatArray = np.bincount(base + pairs.winner, pairs.weight, size).astype(np.float64)
    flat -= np.bincount(base + pairs.loser, pairs.weight, size)
    direction = flat.reshape(problem.shape)
    centred = direction - np.sum(problem.reference * direction, axis=-1, keepdims=True)
    variance = np.sum(problem.reference * centred**2, axis=-1).reshape(-1)
    speed = -scale * slope
    return EarlyPhase(
        direction, speed, -(speed**2) * float(flat @ flat), 0.5 * speed**2 * float(problem.shares() @ variance)
    )


def adam_second_moments(gradients: ArrayLike, decay: float = 0.999) -> FloatArray:
    """Adam's bias-corrected second moments along a run whose gradients were all kept.

    Parameters
    ----------
    gradients : array, shape (t, ...)
        Of every step, from the first.
    decay : float
        β₂.

    Returns
    -------
    array, shape (t, ...)
        v̂ as it stands when the step at that gradient is taken.

    Examples
    --------
    >>> adam_second_moments([[2.0], [2.0]]).ravel().round(9)
    array([4., 4.])
    """
    squares = np.asarray(gradients, dtype=np.float64) ** 2
    found, running = np.empty_like(squares), np.zeros_like(squares[0])
    for step, square in enumerate(squares):
        running = decay * running + (1.0 - decay) * square
        found[step] = running / (1.0 - decay ** (step + 1))
    return found


def preconditioned_curvature(hessian: ArrayLike, second_moment: ArrayLike, epsilon: float = 1e-8) -> FloatArray:
    """Eigenvalues of P⁻¹H with P = diag(√v̂ + ε), ascending: the curvature that Adam's step sees.

    Parameters
    ----------
    hessian : array, shape (p, p)
    second_moment : array, shape (p,)
        v̂.
    epsilon : float

    Examples
    --------
    >>> preconditioned_curvature([[2.0, 0.0], [0.0, 2.0]], [4.0, 1.0]).round(6)
    array([1., 2.])
    """
    scale = np.sqrt(np.asarray(second_moment, dtype=np.float64)) + epsilon
    found: FloatArray = eigh(np.asarray(hessian, dtype=np.float64), np.diag(scale), eigvals_only=True)
    return found


def momentum_factor(step: ArrayLike, decay: float = 0.9) -> FloatArray:
    """Factor a step takes off a quadratic's distance under an averaged gradient (Adam with its scale held fixed).

    The larger root, in absolute value, of ``r² − (1 + β₁ − (1 − β₁) s) r + β₁``, s = learning rate × curvature: above 1
    for s beyond (2 + 2β₁)/(1 − β₁).

    Parameters
    ----------
    step : array
        s.
    decay : float
        β₁.

    Examples
    --------
    >>> momentum_factor([0.0, 0.01, 38.0]).round(4)
    array([1.    , 0.9889, 1.    ])
    """
    middle = 1.0 + decay - (1.0 - decay) * np.asarray(step, dtype=np.float64)
    root = np.sqrt(middle.astype(complex) ** 2 - 4.0 * decay)
    return np.asarray(np.maximum(np.abs(middle + root), np.abs(middle - root)) / 2.0)


def _loss(loss: MarginLoss | str) -> MarginLoss:
    return get_margin_loss(loss)
