"""The optimum of one loss over many cells, as ``g = βh``: β does not enter, so one optimum serves every β.

``E f(βρ)`` depends on β and h only through g = βh, and h is free up to the constant that normalises π. Hence the
centred optimal log-ratio is exactly proportional to 1/β, for every f.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.losses.shape import LossShape, shape_of
from gpo_analysis.solvers.cells import Cell
from gpo_analysis.solvers.existence import Verdict, judge, listed
from gpo_analysis.solvers.faces import Intervals, fixed_blocks, least_norm
from gpo_analysis.solvers.kinks import minimise_kinked
from gpo_analysis.solvers.linear import solve_linear
from gpo_analysis.solvers.newton import minimise_stack
from gpo_analysis.solvers.nonconvex import descend
from gpo_analysis.solvers.sparse_newton import minimise_sparse

if TYPE_CHECKING:
    from gpo_analysis.losses import MarginLoss

#: Losses with kinks and curvature are solved with dense matrices.
KINKED_AT_MOST = 1000


@dataclass(frozen=True, eq=False)
class Optimum:
    """What is found for one cell.

    Attributes
    ----------
    g : array, shape (n,), or None
        The unique minimiser, centred; None where there is none.
    value : float
        The infimum of ``E f``, attained or not; −∞ where it is unbounded below.
    status : str
        "optimum", "no finite optimum", "not unique", "unbounded below", "stationary point" or "not converged", with
        ": reason" where there is one.
    representative : array, shape (n,), or None
        The minimiser of least norm where the infimum is attained and not unique.
    iterations : int
    error : float
        Estimated largest error of g.
    """

    g: FloatArray | None
    value: float
    status: str
    representative: FloatArray | None = None
    iterations: int = 0
    error: float = np.nan

    @property
    def converged(self) -> bool:
        """Whether `g` is the answer."""
        return self.g is not None


def optimise(cells: Sequence[Cell], loss: MarginLoss) -> list[Optimum]:
    """Minimise ``E f(g_i − g_j)`` over g for each cell; cells of one size share one vectorised iteration."""
    shape = shape_of(loss)
    verdicts = [judge(cell, shape) for cell in cells]
    results: list[Optimum | None] = [None] * len(cells)
    smooth: dict[int, list[int]] = {}
    for k, (cell, verdict) in enumerate(zip(cells, verdicts, strict=True)):
        if verdict.kind == "unbounded below":
            results[k] = Optimum(None, -np.inf, _status(verdict.kind, verdict.reason))
        elif verdict.kind == "open":
            results[k] = _open(cell, loss, shape, verdict)
        elif shape.is_piecewise_linear:
            results[k] = _linear(cell, loss, shape, verdict)
        elif shape.kinks:
            results[k] = _kinked(cell, loss, shape, verdict)
        elif cell.matrix is not None:
            smooth.setdefault(cell.n, []).append(k)
        else:
            results[k] = _sparse(cell, loss, shape, verdict)
    for rows in smooth.values():
        for k, found in zip(
            rows, _dense([cells[k] for k in rows], loss, shape, [verdicts[k] for k in rows]), strict=True
        ):
            results[k] = found
    return [found for found in results if found is not None]


def _dense(cells: list[Cell], loss: MarginLoss, shape: LossShape, verdicts: list[Verdict]) -> list[Optimum]:
    kept = [_kept(cell, verdict) for cell, verdict in zip(cells, verdicts, strict=True)]
    weights = np.stack([cell.matrix for cell in kept if cell.matrix is not None])
    blocks = np.stack([cell.parts for cell in kept])
    found = minimise_stack(weights, loss, blocks)
    return [
        _conclude(
            cell,
            loss,
            shape,
            verdict,
            found.g[k],
            float(found.value[k]),
            float(found.error[k]),
            bool(found.converged[k]),
            int(found.iterations[k]),
        )
        for k, (cell, verdict) in enumerate(zip(cells, verdicts, strict=True))
    ]


def _sparse(cell: Cell, loss: MarginLoss, shape: LossShape, verdict: Verdict) -> Optimum:
    kept = _kept(cell, verdict)
    g, value, error, converged, iterations = minimise_sparse(kept, loss, kept.parts)
    return _conclude(cell, loss, shape, verdict, g, value, error, converged, iterations)


def _linear(cell: Cell, loss: MarginLoss, shape: LossShape, verdict: Verdict) -> Optimum:
    kept = _kept(cell, verdict)
    if len(kept.weight):
        g, intervals = solve_linear(cell.n, kept.winner, kept.loser, kept.weight, shape)
    else:
        none = np.zeros(0, dtype=np.int64)
        g, intervals = np.zeros(cell.n), Intervals(none, none, np.zeros(0), np.zeros(0))
    value = float(kept.weight @ loss(g[kept.winner] - g[kept.loser]))
    return _unique_or_not(cell, loss, shape, verdict, g, _total(cell, loss, verdict, value), intervals)


def _kinked(cell: Cell, loss: MarginLoss, shape: LossShape, verdict: Verdict) -> Optimum:
    kept = _kept(cell, verdict)
    if cell.n > KINKED_AT_MOST:
        return Optimum(
            None,
            np.nan,
            f"not converged: losses with both kinks and curvature are solved for at most {KINKED_AT_MOST} responses, "
            f"this problem has {cell.n}",
        )
    found = minimise_kinked(kept, loss, shape)
    total = _total(cell, loss, verdict, found.value)
    if not found.converged:
        reason = "the slopes at the kinks do not balance"
        return Optimum(None, total, f"not converged: {reason}", None, found.iterations)
    if verdict.kind != "optimum":
        return Optimum(None, total, _status(verdict.kind, verdict.reason), None, found.iterations)
    done = _unique_or_not(cell, loss, shape, verdict, found.g, total, found.intervals)
    return replace(done, iterations=found.iterations)


def _open(cell: Cell, loss: MarginLoss, shape: LossShape, verdict: Verdict) -> Optimum:
    """f is not known to be convex."""
    found = descend(_kept(cell, verdict), loss, shape)
    total = _total(cell, loss, verdict, found.value)
    unsettled = found.value == -np.inf or (found.status.startswith("not converged") and verdict.attained)
    if verdict.parted is None or unsettled:
        return Optimum(found.g, total, found.status, found.representative, found.iterations, found.error)
    kind = "not unique" if verdict.attained else "no finite optimum"
    return Optimum(None, total, _status(kind, verdict.reason), None, found.iterations, found.error)


def _kept(cell: Cell, verdict: Verdict) -> Cell:
    return cell if verdict.parted is None else cell.restricted(~verdict.parted)


def _total(cell: Cell, loss: MarginLoss, verdict: Verdict, value: float) -> float:
    """The infimum of E f: what was solved, the pairs that part, and the draws of twice the same response."""
    if verdict.parted is not None and verdict.parted.any():
        value += float(cell.weight[verdict.parted].sum()) * verdict.limit
    return value + (cell.diagonal_mass * float(loss(0.0)) if cell.diagonal_mass else 0.0)


def _conclude(
    cell: Cell,
    loss: MarginLoss,
    shape: LossShape,
    verdict: Verdict,
    g: FloatArray,
    value: float,
    error: float,
    converged: bool,
    iterations: int,
) -> Optimum:
    """From the end of Newton's iteration to a verdict."""
    total = _total(cell, loss, verdict, value)
    if verdict.kind == "no finite optimum" and verdict.parted is None:
        return Optimum(None, total, _status(verdict.kind, verdict.reason), None, iterations, error)
    if not converged:
        reason = (
            f"Newton's iteration ended after {iterations} steps with an estimated error of {error:.1e} in β·log-ratio"
        )
        return Optimum(None, total, _status("not converged", reason), None, iterations, error)
    if verdict.kind != "optimum":
        return Optimum(None, total, _status(verdict.kind, verdict.reason), None, iterations, error)
    kept = _kept(cell, verdict)
    lower, upper = shape.interval(g[kept.winner] - g[kept.loser], 1e-8 * (1 + float(np.abs(g).max(initial=0.0))))
    intervals = Intervals(kept.winner, kept.loser, lower, upper)
    found = _unique_or_not(cell, loss, shape, verdict, g, total, intervals)
    return replace(found, iterations=iterations, error=error)


def _unique_or_not(
    cell: Cell,
    loss: MarginLoss,
    shape: LossShape,
    verdict: Verdict,
    g: FloatArray,
    total: float,
    intervals: Intervals,
) -> Optimum:
    blocks = fixed_blocks(cell.n, intervals, g)
    parted = verdict.parted
    if parted is not None and parted.any():
        flat = shape.flat_from if shape.flat_from is not None else shape.flat_until
        assert flat is not None
        ends = cell.winner[parted], cell.loser[parted]
        if shape.flat_from is None:
            ends, flat = (ends[1], ends[0]), -flat
        intervals = intervals.and_at_least(ends[0], ends[1], flat)
    if blocks.max() == 0:
        return Optimum(g - g.mean(), total, "optimum")
    representative = least_norm(cell.n, intervals, g, blocks)
    return Optimum(None, total, _status("not unique", _why_free(cell, blocks, parted)), representative)


def _why_free(cell: Cell, blocks: IntArray, parted: BoolArray | None) -> str:
    """Why differences between the blocks may vary."""
    parts = int(cell.parts.max()) + 1
    if parts > 1:
        seen = np.zeros(cell.n, dtype=bool)
        seen[cell.winner], seen[cell.loser] = True, True
        never = [cell.names[i] for i in np.flatnonzero(~seen)]
        reason = f"the comparison graph has {parts} components, between which nothing is compared"
        return reason + (f" (never compared: {listed(never)})" if never else "")
    groups = int(blocks.max()) + 1
    why = f"the minimisers form a face: {groups} groups of responses can move against one another on flat or straight "
    why += "pieces of the loss"
    if parted is not None and parted.any():
        why += ", the preferences being separable"
    return why


def _status(kind: str, reason: str) -> str:
    return f"{kind}: {reason}" if reason else kind
