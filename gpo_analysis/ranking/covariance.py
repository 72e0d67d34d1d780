r"""The sandwich covariance of a fit to votes, by vote or by cluster.

θ̂ minimises ``Σ_v ℓ_v(θ)`` over votes v. With ``H = ∂²F`` at θ̂ and the votes' gradients s_v (Huber 1967; White 1982)::

    V = H⁻¹ M H⁻¹,    M = Σ_v s_v s_vᵀ,   or by cluster   M = C/(C−1) Σ_c (Σ_{v∈c} s_v)(Σ_{v∈c} s_v)ᵀ

(Liang and Zeger 1986; intervals and tests are by Student's law of C − 1 degrees then), on what comparisons identify:
H⁻¹ is the inverse along scores that sum to zero in each connected part. A tie at half a win each is one vote, with the
mean of both gradients. V holds whether or not the model does; where numbers of votes a pair are fixed by design and the
model is wrong it errs to the wide side.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.ranking.joint import MOST_DENSE, System
from gpo_analysis.ranking.outcomes import Terms
from gpo_analysis.ranking.problem import ComparisonProblem


class NoCovarianceError(ValueError):
    """There is no covariance; the message says why."""


def bread(system: System, theta: FloatArray, terms: Terms) -> FloatArray:
    """H⁻¹ on what is identified, shape (p, p).

    Raises
    ------
    NoCovarianceError
        Where f has no curvature at the fit, or there are too many items for whole matrices.
    """
    if system.size > MOST_DENSE:
        raise NoCovarianceError(f"standard errors take at most {MOST_DENSE:,} parameters, got {system.size:,}")
    matrix = system.held(system.hessian(theta, terms))
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    try:
        factor = cho_factor(matrix * scale[:, None] * scale, check_finite=False)
    except LinAlgError:
        raise NoCovarianceError(_STRAIGHT.format(system.model.name)) from None
    if np.diag(factor[0]).min() < 1e-6:
        raise NoCovarianceError(_STRAIGHT.format(system.model.name))
    inverse = cho_solve(factor, np.diag(scale), check_finite=False) * scale[:, None]
    return project(system, inverse)


_STRAIGHT = (
    "{} has directions without curvature at its optimum, to rounding (straight between kinks, or items too far apart "
    "for their votes to count): it is not approached as if normal, so that a standard error would say nothing"
)


_KINKS = (
    "{} has kinks: its optimum moves in jumps from kink to kink and is not normal at the rate 1/√N, so that it has no "
    "standard error; the bootstrap gives intervals, but their coverage is not promised"
)


def project(system: System, matrix: FloatArray) -> FloatArray:
    """``P A Pᵀ`` with P centring the scores of each part."""
    basis = system.constants / np.sqrt(np.maximum(system.constants.sum(axis=0), 1.0))
    left = matrix - basis @ (basis.T @ matrix)
    return np.asarray(left - (left @ basis) @ basis.T)


def meat_by_vote(system: System, terms: Terms) -> FloatArray:
    """M with each vote on its own, shape (p, p)."""
    counts = system.rows.counts
    zz = (counts * terms.z**2).sum(axis=0)
    if terms.t is None:
        return system.gram(zz)
    return system.gram(zz, (counts * terms.z * terms.t).sum(axis=0), float((counts * terms.t**2).sum()))


def meat_by_cluster(system: System, terms: Terms, problem: ComparisonProblem, cluster: IntArray) -> FloatArray:
    """M with the votes of a cluster together, shape (p, p).

    Parameters
    ----------
    system : System
    terms : Terms
        At the fit, of the merged rows.
    problem : ComparisonProblem
        The rows as given.
    cluster : array of int, shape (m,)
        From 0.
    """
    clusters = int(cluster.max()) + 1
    if clusters < 2:
        raise NoCovarianceError("one cluster alone has no standard error by cluster")
    total = cluster_scores(system, terms, problem, cluster)
    return np.asarray(clusters / (clusters - 1) * (total.T @ total).toarray())


def cluster_scores(system: System, terms: Terms, problem: ComparisonProblem, cluster: IntArray) -> sparse.csr_array:
    """Gradients summed over each cluster, shape (C, p)."""
    rows = problem.rows
    counts = np.where(rows.turned, problem.counts[[1, 0, 2]], problem.counts)
    pull = (counts * terms.z[:, rows.source]).sum(axis=0)
    gather = sparse.csr_array((pull, (cluster, rows.source)), shape=(int(cluster.max()) + 1, len(rows.first)))
    total = gather @ system.design
    if terms.t is not None:
        tau = np.bincount(cluster, (counts * terms.t[:, rows.source]).sum(axis=0))
        corner = sparse.csr_array((tau, (np.arange(len(tau)), np.full(len(tau), system.size - 1))), shape=total.shape)
        total = total + corner
    return sparse.csr_array(total)


def sandwich(
    system: System, theta: FloatArray, problem: ComparisonProblem, cluster: IntArray | None
) -> tuple[FloatArray, FloatArray]:
    """V and H⁻¹, each (p, p).

    Raises
    ------
    NoCovarianceError
        Saying why there is none: kinks, directions without curvature, too many items, one cluster.
    """
    if not system.model.is_smooth:
        raise NoCovarianceError(_KINKS.format(system.model.name))
    terms = system.terms(theta)
    inverse = bread(system, theta, terms)
    middle = meat_by_vote(system, terms) if cluster is None else meat_by_cluster(system, terms, problem, cluster)
    return inverse @ middle @ inverse, inverse
