"""Adaptive quadrature of many integrals at once, on boxes of one or two dimensions.

An integral is a sum over boxes. Each box is measured by the Gauss–Kronrod rule of 15 points a side (tensor product in
two dimensions); what it differs by from the Gauss rule of 7 points on the same nodes is the box's error. Boxes whose
error is too large are halved along every side. All integrals of a batch share every numpy call, so that a landscape of
two thousand points costs a few dozen calls.

The nodes are those of QUADPACK (Piessens et al. 1983).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.showing import Shown

#: ``evaluate(points (P, N, d), task (P,)) -> (values (P, N, m), noise (P, N, m))``
Integrand = Callable[[FloatArray, IntArray], tuple[FloatArray, FloatArray]]

_KRONROD_NODES = (
    0.991455371120812639206854697526329,
    0.949107912342758524526189684047851,
    0.864864423359769072789712788640926,
    0.741531185599394439863864773280788,
    0.586087235467691130294144691693013,
    0.405845151377397166906606412076961,
    0.207784955007898467600689403773245,
    0.0,
)
_KRONROD_WEIGHTS = (
    0.022935322010529224963732008058970,
    0.063092092629978553290700663189204,
    0.104790010322250183839876322541518,
    0.140653259715525918745189590510238,
    0.169004726639267902826583426598550,
    0.190350578064785409913256402421014,
    0.204432940075298892414161999234649,
    0.209482141084727828012999174891714,
)
_GAUSS_WEIGHTS = (
    0.0,
    0.129484966168869693270611432679082,
    0.0,
    0.279705391489276667901467771423780,
    0.0,
    0.381830050505118944950369775488975,
    0.0,
    0.417959183673469387755102040816327,
)
_MAX_ROUNDS = 60


class IntegrationWarning(UserWarning):
    """An integral's stated error is larger than was asked for."""


@dataclass(frozen=True)
class Estimate(Shown):
    """A number with what is known of its error.

    Attributes
    ----------
    value : float
    error : float
        What it is depends on ``method``: 0 up to rounding for ``"closed_form"``; for ``"quadrature"`` the
        difference of two rules, or its sum over boxes, which has bounded the true error wherever it was tested; for
        ``"monte_carlo"`` one standard error.
    method : str
        ``"closed_form"``, ``"quadrature"`` or ``"monte_carlo"``.
    evaluations : int
        Points at which the integrand was computed.

    Examples
    --------
    >>> e = Estimate(0.5, 1e-12, "quadrature", 300)
    >>> float(e), e
    (0.5, 0.5 ± 1e-12 (quadrature, 300 points))
    """

    value: float
    error: float
    method: str
    evaluations: int

    def __float__(self) -> float:
        return self.value

    def summary(self) -> str:
        """The value, its error, and how it was found."""
        return f"{self.value:.12g} ± {self.error:.2g} ({self.method}, {self.evaluations} points)"

    _no_plot = "it is one number with its error"


@lru_cache(maxsize=2)
def rule(dimension: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Nodes on ``[-1, 1]^d``, shape (15^d, d), with the Kronrod and the Gauss weights, shape (15^d,) each.

    Examples
    --------
    >>> nodes, kronrod, gauss = rule(1)
    >>> bool(abs(kronrod @ nodes[:, 0] ** 22 - 2 / 23) < 1e-15)
    True
    """
    nodes = np.array(_KRONROD_NODES)
    nodes = np.concatenate([-nodes[:-1], nodes[::-1]])
    kronrod, gauss = (np.concatenate([w[:-1], w[::-1]]) for w in (np.array(_KRONROD_WEIGHTS), np.array(_GAUSS_WEIGHTS)))
    if dimension == 1:
        return nodes[:, None], kronrod, gauss
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    return grid, np.outer(kronrod, kronrod).ravel(), np.outer(gauss, gauss).ravel()


@dataclass(frozen=True)
class BatchResult:
    """What :func:`integrate_batch` returns: ``values`` and ``errors`` (B, m), ``evaluations`` (B,)."""

    values: FloatArray
    errors: FloatArray
    evaluations: IntArray


@dataclass
class _Boxes:
    """Boxes and what was measured on them: a row each."""

    lower: FloatArray  # (P, d)
    side: FloatArray  # (P,)
    task: IntArray  # (P,)
    values: FloatArray  # (P, m)
    errors: FloatArray  # (P, m)
    sizes: FloatArray  # (P, m): integral of |f|
    noise: FloatArray  # (P, m): rounding error

    def take(self, keep: NDArray[np.bool_]) -> _Boxes:
        return _Boxes(*(a[keep] for a in vars(self).values()))

    def join(self, other: _Boxes) -> _Boxes:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Boxes(*(np.concatenate(pair) for pair in pairs))


def integrate_batch(
    evaluate: Integrand,
    lower: FloatArray,
    side: FloatArray,
    task: IntArray,
    owner: IntArray,
    n_integrals: int,
    *,
    absolute: float,
    relative: float,
    max_evaluations: int,
    points_per_call: int = 40_000,
) -> BatchResult:
    """Integrate vector-valued functions over unions of cubes.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(points, task)`` with points of shape (P, N, d) and ``task`` of shape (P,) saying which function each
        row belongs to; returns values and the size of their rounding error, both (P, N, m).
    lower, side, task : ndarray, shapes (P, d), (P,), (P,)
        The first boxes: lower corner, side, function.
    owner : ndarray, shape (T,)
        Integral to which each function's boxes are added.
    n_integrals : int
        Number ``B`` of integrals.
    absolute, relative : float
        An integral is done when each of its ``m`` outputs has an error of at most ``max(absolute, relative · ∫|f|)``,
        or when no box has an error above its rounding error.
    max_evaluations : int
        Points an integral may use; beyond, it stops with the error it has.
    points_per_call : int
        Points handed to one call of ``evaluate``.

    Returns
    -------
    BatchResult
    """
    spent = np.zeros(n_integrals, dtype=np.int64)
    n_nodes = rule(lower.shape[1])[1].size

    def total(boxes: _Boxes, rows: FloatArray) -> FloatArray:
        index = owner[boxes.task]
        columns = [np.bincount(index, weights=rows[:, j], minlength=n_integrals) for j in range(rows.shape[1])]
        return np.stack(columns, axis=1)

    def measured(low: FloatArray, width: FloatArray, of: IntArray) -> _Boxes:
        spent[:] += n_nodes * np.bincount(owner[of], minlength=n_integrals)
        return _measure(evaluate, low, width, of, points_per_call)

    active = measured(lower, side, task)
    values = np.zeros((n_integrals, active.values.shape[1]))
    errors, sizes = values.copy(), values.copy()
    for _ in range(_MAX_ROUNDS):
        error_now = errors + total(active, active.errors)
        allowed = np.maximum(absolute, relative * (sizes + total(active, active.sizes)))
        open_integral = np.any(error_now > allowed, axis=1) & (spent < max_evaluations)
        index = owner[active.task]
        count = np.bincount(index, minlength=n_integrals)
        share = allowed[index] / (2.0 * np.maximum(count[index], 1))[:, None]
        split = np.any((active.errors > share) & (active.errors > active.noise), axis=1) & open_integral[index]
        if not np.any(split):
            break
        # integrals that are done retire, so that later rounds do not carry them
        done = ~open_integral[index]
        if np.any(done):
            retired = active.take(done)
            values += total(retired, retired.values)
            errors += total(retired, np.maximum(retired.errors, retired.noise))
            sizes += total(retired, retired.sizes)
        parents = active.take(split)
        children = measured(*_halves(parents.lower, parents.side, parents.task))
        active = active.take(~split & ~done).join(children)
    values += total(active, active.values)
    errors += total(active, np.maximum(active.errors, active.noise))
    return BatchResult(values, errors, spent)


def _measure(evaluate: Integrand, lower: FloatArray, side: FloatArray, task: IntArray, points: int) -> _Boxes:
    """Apply both rules to every box, a bounded number of points at a time."""
    nodes, kronrod, gauss = rule(lower.shape[1])
    step = max(1, points // kronrod.size)
    parts: list[tuple[FloatArray, ...]] = []
    for start in range(0, max(task.size, 1), step):
        rows = slice(start, start + step)
        # nodes and outputs first in memory, boxes last: numpy works fast along a long last axis
        at = (0.5 * side[rows]) * (1.0 + nodes.T[..., None]) + lower[rows].T[:, None]
        value, noise = (one.T for one in evaluate(at.T, task[rows]))
        volume = (0.5 * side[rows]) ** lower.shape[1]
        fine, coarse = (volume * np.einsum("n,mnp->mp", weights, value) for weights in (kronrod, gauss))
        size = volume * np.einsum("n,mnp->mp", kronrod, np.abs(value))
        rounding = volume * np.einsum("n,mnp->mp", kronrod, noise)
        parts.append((fine.T, np.abs(fine - coarse).T, size.T, rounding.T))
    joined = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Boxes(lower, side, task, *joined)


def _halves(lower: FloatArray, side: FloatArray, task: IntArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """The 2^d children of each box."""
    d = lower.shape[1]
    corners = np.stack(np.meshgrid(*([np.array([0.0, 0.5])] * d), indexing="ij"), axis=-1).reshape(-1, d)
    children = (lower[:, None, :] + corners * side[:, None, None]).reshape(-1, d)
    return children, np.repeat(0.5 * side, len(corners)), np.repeat(task, len(corners))


def graded_boxes(
    centers: FloatArray, scales: FloatArray, *, radius: float, own: float, grading: float
) -> tuple[FloatArray, FloatArray, IntArray]:
    """First boxes for integrals against a standard Gaussian of functions with features at known places.

    Every feature (a component of a mixture: centre, scale) is resolved from the start, however narrow: a box is halved
    while its side exceeds ``grading`` times the feature's scale or its distance from the feature, whichever is larger,
    and near the origin while it exceeds ``own``. Boxes farther than ``radius`` from the origin are left out.

    Parameters
    ----------
    centers : ndarray, shape (T, J, d)
        Centres of the features of each of T functions, in units of the Gaussian.
    scales : ndarray, shape (T, J)
        Their scales; ``inf`` for a feature to ignore.
    radius, own, grading : float

    Returns
    -------
    lower, side, task : ndarray, shapes (P, d), (P,), (P,)

    Examples
    --------
    >>> lower, side, task = graded_boxes(np.array([[[3.0]]]), np.array([[1e-4]]), radius=8.0, own=2.0, grading=2.0)
    >>> bool(side.min() <= 2e-4), bool(side.max() <= 4.0), float(side.sum())
    (True, True, 16.0)
    """
    n_tasks, _, d = centers.shape
    lower = np.full((n_tasks, d), -radius)
    side = np.full(n_tasks, 2.0 * radius)
    task = np.arange(n_tasks)
    finished: list[tuple[FloatArray, FloatArray, IntArray]] = []
    while task.size:
        upper = lower + side[:, None]
        from_origin = np.sqrt((np.maximum(np.maximum(lower, -upper), 0.0) ** 2).sum(axis=-1))
        inside = from_origin <= radius
        lower, upper, side, task, from_origin = (a[inside] for a in (lower, upper, side, task, from_origin))
        gap = np.maximum(lower[:, None] - centers[task], centers[task] - upper[:, None])
        distance = np.maximum(gap, 0.0).max(axis=-1)
        limit = (grading * np.maximum(scales[task], distance)).min(axis=1)
        # a box of the size of rounding cannot be halved
        split = (side > np.where(from_origin < 4.5, np.minimum(own, limit), limit)) & (side > 1e-13 * radius)
        finished.append((lower[~split], side[~split], task[~split]))
        lower, side, task = _halves(lower[split], side[split], task[split])
    lowers, sides, tasks = zip(*finished, strict=True)
    return np.concatenate(lowers), np.concatenate(sides), np.concatenate(tasks)
