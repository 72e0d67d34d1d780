"""One fit of scores, covariates' coefficients and a tie parameter together: Newton's method on merged rows.

θ = (g, γ, τ). The rows' margins are ``g_first − g_second + x·γ``, and::

    F(θ) = Σ counts · losses + ½ λ (|g|² + |γ|²) + ½ a Σ_i (f(g_i) + f(−g_i))

with a ridge λ and a prior of a: as if each item had also won a/2 and lost a/2 votes against an opponent of score 0.
Without either, adding a constant to the scores of a connected part changes nothing, so g is centred there, and the
Hessian is given the missing curvature along these constants before it is factored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import linprog

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.preferences.laplacian import centred
from gpo_analysis.ranking.outcomes import Halved, OutcomeModel, Terms
from gpo_analysis.ranking.problem import Rows
from gpo_analysis.solvers.minimum import Status

#: Parameters for which matrices are held whole.
MOST_DENSE = 5000
#: Numbers in a design up to which it is held whole.
SMALL = 200_000
#: Newton's decrement, relative to Σ|counts · losses|, at which a minimum is found.
DECREMENT = 1e-24
STEPS = 200
#: Margins beyond which a descent is asked whether it goes to infinity.
FAR = 25.0
#: Eigenvalues of the scaled information below which a direction counts as not identified.
FLAT = 1e-11


@dataclass(frozen=True, eq=False)
class System:
    """Rows under a model of their outcomes.

    Attributes
    ----------
    rows : Rows
    n : int
        Items.
    parts : array of int, shape (n,)
        Labels of the connected parts.
    model : OutcomeModel
    ridge, prior : float
    """

    rows: Rows
    n: int
    parts: IntArray
    model: OutcomeModel
    ridge: float = 0.0
    prior: float = 0.0

    @property
    def d(self) -> int:
        return int(self.rows.features.shape[1])

    @property
    def size(self) -> int:
        """Number of parameters, p."""
        return self.n + self.d + self.model.has_parameter

    @cached_property
    def design(self) -> sparse.csr_array:
        """Derivative of the margins in θ, shape (k, p)."""
        k = len(self.rows.first)
        at = np.arange(k)
        i, j = np.nonzero(self.rows.features)
        row = np.concatenate([at, at, i])
        column = np.concatenate([self.rows.first, self.rows.second, self.n + j])
        value = np.concatenate([np.ones(k), -np.ones(k), self.rows.features[i, j]])
        return sparse.coo_array((value, (row, column)), shape=(k, self.size)).tocsr()

    @cached_property
    def table(self) -> Any:
        """The design as it is multiplied with: whole where it is small, for which sparse tables are slow."""
        small = self.design.shape[0] * self.size <= SMALL
        return self.design.toarray() if small else self.design

    @property
    def is_penalised(self) -> bool:
        return self.ridge > 0 or self.prior > 0

    def prior_terms(self, theta: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Value of the prior, its slope and curvature in each parameter (p,)."""
        slope, curve = np.zeros(self.size), np.zeros(self.size)
        if not self.prior:
            return 0.0, slope, curve
        terms = self.opponent.terms(theta[: self.n], 0.0)
        slope[: self.n], curve[: self.n] = self.prior * terms.z[2], self.prior * terms.zz[2]
        return self.prior * float(terms.value[2].sum()), slope, curve

    @cached_property
    def opponent(self) -> OutcomeModel:
        """How votes against the prior's opponent count: f, a tie model's logistic."""
        return Halved(get_margin_loss("logistic")) if self.model.has_parameter else self.model

    @cached_property
    def penalty(self) -> FloatArray:
        """λ of each parameter, shape (p,)."""
        weight = np.full(self.size, self.ridge)
        weight[self.n + self.d :] = 0.0
        return weight

    @cached_property
    def constants(self) -> FloatArray:
        """Directions that change nothing, shape (p, parts): a constant on each part."""
        table = np.zeros((self.size, int(self.parts.max()) + 1))
        table[np.arange(self.n), self.parts] = 1.0
        return table

    def split(self, theta: FloatArray) -> tuple[FloatArray, float]:
        """Margins (k,) and τ."""
        z = self.table @ theta
        return np.asarray(z), float(theta[-1]) if self.model.has_parameter else 0.0

    def terms(self, theta: FloatArray) -> Terms:
        return self.model.terms(*self.split(theta))

    def value(self, theta: FloatArray, terms: Terms) -> tuple[float, float]:
        """F, and Σ|counts · losses|."""
        each = self.rows.counts * terms.value
        value = each.sum() + 0.5 * self.penalty @ theta**2 + self.prior_terms(theta)[0]
        return float(value), float(np.abs(each).sum())

    def gradient(self, theta: FloatArray, terms: Terms) -> FloatArray:
        """∂F, shape (p,)."""
        slope = self.table.T @ (self.rows.counts * terms.z).sum(axis=0)
        if terms.t is not None:
            slope[-1] += float((self.rows.counts * terms.t).sum())
        return np.asarray(slope + self.penalty * theta + self.prior_terms(theta)[1])

    def gram(self, zz: FloatArray, zt: FloatArray | None = None, tt: float = 0.0) -> FloatArray:
        """``Σ_k zz_k x_k x_kᵀ``, with the cross terms and the corner of τ; shape (p, p)."""
        full: FloatArray
        if isinstance(self.table, np.ndarray):
            full = (self.table.T * zz) @ self.table
        else:
            full = np.asarray((self.design.T @ (sparse.diags_array(zz) @ self.design)).toarray())
        if zt is not None:
            cross = np.asarray(self.table.T @ zt)
            full[:, -1] += cross
            full[-1, :] += cross
            full[-1, -1] += tt
        return full

    def hessian(self, theta: FloatArray, terms: Terms) -> FloatArray:
        """∂²F, shape (p, p)."""
        counts = self.rows.counts
        zt = None if terms.zt is None else (counts * terms.zt).sum(axis=0)
        tt = 0.0 if terms.tt is None else float((counts * terms.tt).sum())
        return self.gram((counts * terms.zz).sum(axis=0), zt, tt) + np.diag(self.penalty + self.prior_terms(theta)[2])

    def held(self, matrix: FloatArray) -> FloatArray:
        """The matrix with curvature along the constants, of the size that it has elsewhere."""
        if self.prior:
            return matrix
        size = float(np.abs(np.diag(matrix)).max(initial=0.0)) or 1.0
        return matrix + (size / self.n) * (self.constants @ self.constants.T)

    def centred(self, theta: FloatArray) -> FloatArray:
        if self.prior:
            return theta
        return np.concatenate([centred(theta[: self.n], self.parts), theta[self.n :]])

    def unidentified(self) -> int:
        """Dimensions of θ that no row sees, besides the constants: covariates that are functions of the items."""
        if not self.d:
            return 0
        table = self.held(self.gram(self.rows.counts.sum(axis=0)))
        kept = self.n + self.d
        table = table[:kept, :kept]
        scale = 1 / np.sqrt(np.maximum(np.diag(table), 1e-300))
        return int((np.linalg.eigvalsh(table * scale[:, None] * scale) < FLAT).sum())


@dataclass(frozen=True, eq=False)
class JointFit:
    """Where Newton's method ended.

    Attributes
    ----------
    theta : array, shape (p,)
        NaN without an answer.
    value : float
        F there, or its infimum as far as the descent came.
    status : Status
    reason : str
    error : float
        Norm of the gradient's largest entry, relative to the size of its terms.
    iterations : int
    """

    theta: FloatArray
    value: float
    status: Status
    reason: str
    error: float
    iterations: int


def minimise_joint(system: System, start: FloatArray | None = None) -> JointFit:
    """Minimise F by damped Newton steps.

    Parameters
    ----------
    system : System
        Of a smooth model.
    start : array, shape (p,), optional

    Raises
    ------
    ValueError
        For more than :data:`MOST_DENSE` parameters.
    """
    if system.size > MOST_DENSE:
        raise ValueError(
            f"covariates, tie models and ridge are fitted for at most {MOST_DENSE:,} parameters together, "
            f"got {system.size:,}; plain scores with ties at half a win each have no such limit"
        )
    if (hidden := system.unidentified()) and not system.is_penalised:
        reason = f"{hidden} directions of the covariates are functions of the items: no comparison tells them from "
        return _without(system, np.nan, Status.NOT_UNIQUE, reason + "the scores; leave them out, or give a ridge", 0)
    theta = _start(system) if start is None else start
    terms = system.terms(theta)
    value, size = system.value(theta, terms)
    for iteration in range(1, STEPS + 1):
        gradient = system.gradient(theta, terms)
        step = _step(system, theta, terms, gradient)
        slope = float(gradient @ step)
        length = 1.0
        while length > 1e-12:
            trial = system.centred(theta + length * step)
            if system.model.admits(float(trial[-1])):
                new = system.terms(trial)
                fallen, bulk = system.value(trial, new)
                if fallen <= value + 1e-4 * length * slope + 1e-15 * size:
                    break
            length *= 0.5
        else:
            break
        theta, terms, value, size = trial, new, fallen, bulk
        if -slope <= DECREMENT * size or np.abs(step).max() <= 1e-14 * (1 + np.abs(theta).max()):
            break
        if np.abs(system.split(theta)[0]).max() > FAR and not system.is_penalised:
            away = separated(system)
            if away is not None:
                return _without(system, value, Status.NO_FINITE_OPTIMUM, away, iteration)
    return _concluded(system, theta, terms, value, iteration)


def _start(system: System) -> FloatArray:
    theta = np.zeros(system.size)
    if system.model.has_parameter:
        theta[-1] = system.model.start(float(system.rows.counts[2].sum() / system.rows.counts.sum()))
    return theta


def _step(system: System, theta: FloatArray, terms: Terms, gradient: FloatArray) -> FloatArray:
    """Newton's step; for an f that is not convex |λ| for λ."""
    matrix = system.held(system.hessian(theta, terms))
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    scaled = matrix * scale[:, None] * scale
    try:
        factor = cho_factor(scaled, check_finite=False)
        if np.diag(factor[0]).min() > 1e-7:
            return np.asarray(-scale * cho_solve(factor, scale * gradient, check_finite=False))
    except LinAlgError:
        pass
    values, axes = np.linalg.eigh(scaled)
    inverse = 1 / np.maximum(np.abs(values), FLAT)
    return np.asarray(-scale * (axes @ (inverse * (axes.T @ (scale * gradient)))))


def _concluded(system: System, theta: FloatArray, terms: Terms, value: float, iterations: int) -> JointFit:
    gradient = system.gradient(theta, terms)
    traffic = abs(system.design).T @ np.abs(system.rows.counts * terms.z).sum(axis=0)
    if terms.t is not None:
        traffic[-1] += np.abs(system.rows.counts * terms.t).sum()
    error = float(
        (
            np.abs(gradient)
            / np.maximum(traffic + system.penalty * np.abs(theta) + np.abs(system.prior_terms(theta)[1]), 1e-300)
        ).max()
    )
    if error > 1e-9:
        away = None if system.is_penalised else separated(system)
        if away is not None:
            return _without(system, value, Status.NO_FINITE_OPTIMUM, away, iterations)
        reason = f"Newton's method ended after {iterations} steps with a relative gradient of {error:.1e}"
        return JointFit(theta, value, Status.NOT_CONVERGED, reason, error, iterations)
    matrix = system.held(system.hessian(theta, terms))
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    least = float(np.linalg.eigvalsh(matrix * scale[:, None] * scale)[0])
    if least < FLAT:
        if system.model.is_convex:
            return JointFit(theta, value, Status.NOT_UNIQUE, "the loss is flat around its minimum", error, iterations)
        return _without(system, value, Status.NO_FINITE_OPTIMUM, "descent from equal scores runs off", iterations)
    if system.model.is_convex:
        return JointFit(theta, value, Status.OPTIMUM, "", error, iterations)
    reason = "f is not convex; descent from equal scores leads here"
    return JointFit(theta, value, Status.STATIONARY_POINT, reason, error, iterations)


def _without(system: System, value: float, status: Status, reason: str, iterations: int) -> JointFit:
    return JointFit(np.full(system.size, np.nan), value, status, reason, np.nan, iterations)


def recession_rows(system: System) -> sparse.csr_array:
    """Rows a with ``a·d ≥ 0`` for every direction d along which no loss rises, one or two a kind of vote that occurs.

    Davidson's loss of an outcome grows as the largest of z/2, −z/2 and τ less its own; Rao–Kupper's win as (τ − z)₊,
    tie as (τ − z)₊ + (τ + z)₊ − 2τ.
    """
    design, counts = system.design, system.rows.counts
    up, down, tied = (counts[k] > 0 for k in range(3))
    if not system.model.has_parameter:
        return sparse.csr_array(sparse.vstack([design[up | tied], -design[down | tied]]))
    tau = np.zeros(system.size)
    tau[-1] = 1.0
    unit = sparse.csr_array(tau[None, :])

    def less(rows: sparse.csr_array, sign: float) -> sparse.csr_array:
        ones = sparse.csr_array(np.ones((rows.shape[0], 1)))
        return sparse.csr_array(rows + sign * (ones @ unit))

    half = design * 0.5 if system.model.name == "davidson" else design
    blocks = [less(half[up], -1.0), less(-half[down], -1.0), less(half[tied], 1.0), less(-half[tied], 1.0)]
    if system.model.name == "davidson":
        blocks += [design[up], -design[down]]
    return sparse.csr_array(sparse.vstack(blocks))


def separated(system: System) -> str | None:
    """Why there is no finite optimum, for losses that fall for ever: some direction hurts no vote and helps one.

    Directions may be of any length, so that the linear program's least value is minus the most kinds of votes that one
    of them helps.
    """
    rows = recession_rows(system)
    k, p = rows.shape
    solver: Any = linprog
    found = solver(
        np.concatenate([np.zeros(p), -np.ones(k)]),
        A_ub=sparse.csr_array(sparse.hstack([-rows, sparse.eye_array(k)])),
        b_ub=np.zeros(k),
        bounds=[(None, None)] * p + [(0.0, 1.0)] * k,
        method="highs",
    )
    helped = 0 if found.x is None else round(-found.fun)
    if not helped:
        return None
    return (
        f"the votes are separable: along one direction of scores and covariates {helped} of {k} kinds of votes go ever "
        "better and none worse, so that the loss never reaches its infimum; a ridge or a prior keeps scores finite"
    )
