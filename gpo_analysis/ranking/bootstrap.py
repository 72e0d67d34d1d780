"""The weighted bootstrap of a fit: every vote (or cluster) an exponential weight, each refit started from the fit.

Weights Exp(1) a vote are the Bayesian bootstrap (Rubin 1981; for M-estimators Chatterjee and Bose 2005). A cell of c
votes together weighs Gamma(c), so that nothing is drawn vote by vote; and as no vote loses its weight, every refit is
finite where the fit is. All refits share the inverse of the fit's Hessian and are iterated side by side to a thousandth
of a standard error; those that do not arrive so are solved by Newton's method one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.ranking.joint import System, minimise_joint
from gpo_analysis.ranking.problem import ComparisonProblem

#: Numbers of weights held at a time.
CHUNK = 3_000_000
#: Of a standard error: how far from its optimum a refit may end.
PRECISION = 1e-3
ROUNDS = 30


@dataclass(frozen=True, eq=False)
class Resampled:
    """Refits.

    Attributes
    ----------
    theta : array, shape (r, p)
        Those that have an optimum.
    without_fit : int
        Resamples without one.
    """

    theta: FloatArray
    without_fit: int


def weights_of_cells(
    problem: ComparisonProblem, cluster: IntArray | None, resamples: int, seed: int
) -> Iterator[FloatArray]:
    """Random counts of the merged rows, chunks of shape (b, 3, k); the same for every loss at one seed."""
    rng = np.random.default_rng(seed)
    rows = problem.rows
    cells = rows.counts.size if cluster is None else 3 * len(problem.first) + int(cluster.max()) + 1
    size = max(1, min(resamples, CHUNK // cells))
    gather = None if cluster is None else _gathered(problem)
    for start in range(0, resamples, size):
        b = min(size, resamples - start)
        if cluster is None or gather is None:
            yield rng.standard_gamma(np.broadcast_to(rows.counts, (b, *rows.counts.shape)))
            continue
        weight = rng.standard_exponential((b, int(cluster.max()) + 1))[:, cluster]
        yield np.stack([np.asarray((part @ weight.T).T) for part in gather], axis=1)


def _gathered(problem: ComparisonProblem) -> list[sparse.csr_array]:
    """For each outcome a (k, m) table of the counts that go into a merged row."""
    rows, m = problem.rows, len(problem.first)
    counts = np.where(rows.turned, problem.counts[[1, 0, 2]], problem.counts)
    shape = (len(rows.first), m)
    return [sparse.csr_array((part, (rows.source, np.arange(m))), shape=shape) for part in counts]


def refitted(
    system: System, theta: FloatArray, inverse: FloatArray, error: FloatArray, chunks: Iterator[FloatArray]
) -> Resampled:
    """Refit a smooth model to reweighted counts.

    Parameters
    ----------
    system : System
    theta : array, shape (p,)
        The fit.
    inverse : array, shape (p, p)
        Of its Hessian, on what is identified.
    error : array, shape (p,)
        Standard errors, the unit of precision.
    chunks : iterator of arrays, shape (b, 3, k)
        Counts.
    """
    found, without = [], 0
    for counts in chunks:
        ends, arrived = _iterated(system, theta, inverse, error, counts)
        for b in np.flatnonzero(~arrived):
            again = replace(system, rows=replace(system.rows, counts=counts[b]))
            fit = minimise_joint(again, start=theta)
            arrived[b], ends[b] = fit.status.is_answer, fit.theta
        found.append(ends[arrived])
        without += int((~arrived).sum())
    return Resampled(np.concatenate(found), without)


def _iterated(
    system: System, theta: FloatArray, inverse: FloatArray, error: FloatArray, counts: FloatArray
) -> tuple[FloatArray, np.ndarray]:
    """Steps with the fit's inverse Hessian until they are small; where they ended (b, p), and whether they are."""
    at = np.repeat(theta[None, :], len(counts), axis=0)
    arrived = np.zeros(len(counts), dtype=bool)
    active = np.arange(len(counts))
    last = np.full(len(counts), np.inf)
    unit = np.where(error > 0, error, np.inf)
    for _ in range(ROUNDS):
        step = -_gradients(system, at[active], counts[active]) @ inverse
        size = (np.abs(step) / unit).max(axis=1)
        going = size < 0.7 * last[active]  # a step that does not shrink is left to Newton's method
        if system.model.has_parameter:
            going &= np.array([system.model.admits(t) for t in at[active, -1] + step[:, -1]])
        active, step, size = active[going], step[going], size[going]
        at[active] += step
        last[active] = size
        # steps shrink by this factor, so that what is still to come is at most size · rate / (1 − rate)
        arrived[active[size <= PRECISION]] = True
        active = active[size > PRECISION]
        if not len(active):
            break
    return at, arrived


def _gradients(system: System, theta: FloatArray, counts: FloatArray) -> FloatArray:
    """∂F of each row of θ under its own counts, shape (b, p)."""
    z = np.asarray((system.table @ theta.T).T) if system.d else _differences(system, theta)
    tau = theta[:, -1:] if system.model.has_parameter else np.zeros((1, 1))
    slope, rise = system.model.slopes(z, tau)
    pull = np.einsum("obk,bok->bk", slope, counts)
    gradient = np.asarray((system.table.T @ pull.T).T)
    if rise is not None:
        gradient[:, -1] += np.einsum("obk,bok->b", rise, counts)
    if system.is_penalised:
        gradient = gradient + system.penalty * theta
        if system.prior:
            g = theta[:, : system.n]
            gradient[:, : system.n] += system.prior * system.opponent.slopes(g, np.zeros(1))[0][2]
    return np.asarray(gradient)


def _differences(system: System, theta: FloatArray) -> FloatArray:
    return np.asarray(theta[:, system.rows.first] - theta[:, system.rows.second])
