"""Which solver fits what: pairs alone go to :mod:`gpo_analysis.solvers.optimum`, all else to the joint Newton steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss
from gpo_analysis.ranking.joint import MOST_DENSE, JointFit, System, minimise_joint
from gpo_analysis.ranking.problem import ComparisonProblem
from gpo_analysis.solvers.minimum import Minimum, Status
from gpo_analysis.solvers.optimum import optimise
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.row_optimum import minimise_rows
from gpo_analysis.solvers.rows import WeightedRows
from gpo_analysis.tabular.setting import DENSE

#: Directed rows of a kinked loss with covariates, which a dense linear program takes.
MOST_ROWS = 2000


def fitted_theta(system: System, loss: MarginLoss, problem: ComparisonProblem) -> JointFit:
    """The minimum of a system, by the solver that fits it.

    Raises
    ------
    ValueError
        For what no solver takes: a kinked loss with a ridge, or with covariates on more than :data:`MOST_ROWS` rows.
    """
    plain = not system.model.has_parameter and not system.d and not system.ridge
    if plain and (not system.prior or not system.model.is_smooth):
        found = _of_minimum(system, optimise([weighted_pairs(system, problem.items)], loss)[0])
        if found.status is Status.NOT_UNIQUE and system.model.is_smooth and system.size <= MOST_DENSE:
            return _in_parts(system, found)
        return found
    if system.model.is_smooth:
        return minimise_joint(system)
    if system.ridge or system.prior:
        raise ValueError(
            f"{loss.name} has kinks: it takes no ridge, and a prior only without covariates (a prior on pairs alone "
            "keeps its scores finite); leave it out, or take a smooth loss: truncated_quadratic is hinge squared"
        )
    return _kinked(system, loss)


def _in_parts(system: System, found: JointFit) -> JointFit:
    """The fit of several connected parts, unique up to a constant for each; as found where that is not the reason."""
    joint = minimise_joint(system)
    if not joint.status.is_answer:
        return found
    reason = (
        f"the comparisons fall into {int(system.parts.max()) + 1} parts, each with scores of its own; {joint.reason}"
    )
    return replace(joint, reason=reason.rstrip("; "))


def weighted_pairs(system: System, names: tuple[str, ...], counts: FloatArray | None = None) -> WeightedPairs:
    """Directed pairs with ties at half a win each, weights summing to 1; a prior's opponent is one more item.

    Parameters
    ----------
    system : System
    names : tuple of str
    counts : array, shape (3, k), optional
        In place of the system's.
    """
    rows, n = system.rows, system.n
    given = rows.counts if counts is None else counts
    up, down = given[0] + given[2] / 2, given[1] + given[2] / 2
    winner, loser = np.concatenate([rows.first, rows.second]), np.concatenate([rows.second, rows.first])
    weight = np.concatenate([up, down])
    if system.prior:
        each, ghost = np.arange(n), np.full(n, n)
        winner, loser = np.concatenate([winner, each, ghost]), np.concatenate([loser, ghost, each])
        weight = np.concatenate([weight, np.full(2 * n, system.prior / 2)])
        names, n = (*names, "the prior's opponent"), n + 1
    keep = weight > 0
    winner, loser, weight = winner[keep], loser[keep], weight[keep] / weight.sum()
    matrix = None
    if n <= DENSE:
        matrix = np.zeros((n, n))
        matrix[winner, loser] = weight
    return WeightedPairs(n, winner, loser, weight, 0.0, names, matrix)


def _of_minimum(system: System, found: Minimum) -> JointFit:
    """A solver's answer in the terms of this package: F is a sum over votes."""
    total = float(system.rows.counts.sum() + system.prior * system.n)
    theta = found.reward
    if system.prior:
        theta = (theta - theta[-1])[:-1]
    answered = found.status.is_answer or found.status is Status.NOT_UNIQUE
    theta = theta if answered else np.full(system.n, np.nan)
    return JointFit(theta, found.value * total, found.status, found.reason, found.error, found.iterations)


def _kinked(system: System, loss: MarginLoss) -> JointFit:
    """A kinked loss with covariates: directed rows, one item of each part held at 0."""
    rows, total = system.rows, float(system.rows.counts.sum())
    up, down = rows.counts[0] + rows.counts[2] / 2, rows.counts[1] + rows.counts[2] / 2
    if (size := int((up > 0).sum() + (down > 0).sum())) > MOST_ROWS:
        raise ValueError(
            f"{loss.name} has kinks; with covariates it takes at most {MOST_ROWS:,} different rows, got {size:,}"
        )
    grounds = np.unique(system.parts, return_index=True)[1]
    free = np.setdiff1d(np.arange(system.size), grounds)
    design = system.design.toarray()[:, free]
    directed = np.vstack([design[up > 0], -design[down > 0]])
    weight = np.concatenate([up[up > 0], down[down > 0]]) / total
    if np.linalg.matrix_rank(directed) < len(free):
        return minimise_joint(replace(system))  # which says what is not identified
    found = minimise_rows(WeightedRows(directed, weight), loss)
    theta = np.zeros(system.size)
    theta[free] = found.reward
    theta = system.centred(theta)
    answered = found.status.is_answer or found.status is Status.NOT_UNIQUE
    theta = theta if answered else np.full(system.size, np.nan)
    return JointFit(theta, found.value * total, found.status, found.reason, found.error, found.iterations)
