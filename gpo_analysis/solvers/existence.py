"""Does a finite optimum exist? Decided from the tails of f and from who beat whom, before anything is solved.

Along a direction v a convex F grows by its recession function (Rockafellar 1970, §8)::

    Σ_k w_k (s₊ max(0, v_i − v_j) + s₋ max(0, v_j − v_i)),    s₊ = f′(+∞),  s₋ = −f′(−∞)

F has a minimum, its set bounded up to what no pair holds, where this is above 0 for every v that moves a compared pair;
it is unbounded below where it is negative for some v.

- s₊ > 0 and s₋ > 0 (squared): always above 0.
- s₊ = 0 < s₋ (logistic, exponential, hinge …): 0 exactly for those v in which no winner falls below its loser; such a v
  moves something if and only if some pair joins two strongly connected components of the graph winner → loser. Then
  the data are *separable*, and those pairs go to +∞ without hurting any other (Ford 1957 for Bradley–Terry).
- s₊ < 0 (KLIEP, robust logistic): by a linear program, or as above where s₋ = ∞.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gpo_analysis.arrays import BoolArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.cells import Cell
from gpo_analysis.solvers.program import linear_program


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is known before solving.

    Attributes
    ----------
    kind : str
        "optimum" (a minimum exists), "no finite optimum", "unbounded below" or "open" (f is not known to be convex).
    reason : str
    parted : array of bool, shape (k,), or None
        Pairs that go to infinity, or as far as f falls; the rest is solved without them. None where there are none, or
        where they cannot be told from the rest.
    limit : float
        f at the end to which those pairs go.
    attained : bool
        Whether f reaches that limit, so that the parted pairs only need a large enough margin.
    """

    kind: str
    reason: str = ""
    parted: BoolArray | None = None
    limit: float = 0.0
    attained: bool = True


def judge(cell: Cell, shape: LossShape) -> Verdict:
    """Decide for one cell and one loss."""
    right, left = shape.right_slope, -shape.left_slope
    falls_right = right == 0 and left > 0
    falls_left = left == 0 and right > 0
    if shape.convex and right > 0 and left > 0:
        return Verdict("optimum")
    parted = ~cell.within(cell.cycles)
    if shape.convex and (falls_right or falls_left):
        if not parted.any():
            return Verdict("optimum")
        limit = shape.right_limit if falls_right else shape.left_limit
        flat = shape.flat_from if falls_right else shape.flat_until
        if limit == -np.inf:
            return Verdict(
                "unbounded below", _one_sided(cell, parted, "the loss falls without bound as those margins grow")
            )
        if flat is not None:
            return Verdict("optimum", "", parted, limit, True)
        why = "the loss falls for ever as those margins grow, and never reaches its infimum"
        return Verdict("no finite optimum", _one_sided(cell, parted, why), parted, limit, False)
    if parted.any() and shape.right_limit == -np.inf:
        return Verdict(
            "unbounded below", _one_sided(cell, parted, "the loss falls without bound as those margins grow")
        )
    if parted.any() and shape.left_limit == -np.inf:
        return Verdict("unbounded below", _one_sided(cell, parted, "the loss falls without bound as the losers rise"))
    if not shape.convex:
        if parted.any() and shape.right_limit <= shape.least:
            flat = shape.flat_from is not None
            why = "any margin that is large enough will do" if flat else "the loss falls to its infimum as they grow"
            return Verdict("open", _one_sided(cell, parted, why), parted, shape.right_limit, flat)
        return Verdict("open")
    if np.inf in (right, left):
        return Verdict("optimum")
    return _by_program(cell, right, left)


def _by_program(cell: Cell, right: float, left: float) -> Verdict:
    """Finite slopes of which one is not positive: is 0 inside the subdifferential of the recession function at 0?

    That is, is there a flow λ, balanced at every response, with ``−w_k s₋ + ε w_k ≤ λ_k ≤ w_k s₊ − ε w_k``? The largest
    ε is above 0 where a minimum exists and below 0 where F is unbounded below.
    """
    k, n = len(cell.weight), cell.n
    if k == 0 or right + left <= 0:
        slope = np.bincount(cell.winner, cell.weight, n) - np.bincount(cell.loser, cell.weight, n)
        if right == 0 or np.abs(slope).max(initial=0.0) <= 1e-12:
            return Verdict("optimum")
        return Verdict("unbounded below", "f is a straight line and the wins are not balanced")
    w = cell.weight / cell.weight.max()
    columns = np.arange(k)
    balance = sparse.coo_array(
        (
            np.concatenate([np.ones(k), -np.ones(k)]),
            (np.concatenate([cell.winner, cell.loser]), np.tile(columns, 2)),
        ),
        shape=(n, k + 1),
    ).tocsr()
    rows = np.tile(np.arange(2 * k), 2)
    entries = np.concatenate([np.ones(k), -np.ones(k), w, w])
    limits = sparse.coo_array(
        (entries, (rows, np.concatenate([columns, columns, np.full(2 * k, k)]))), shape=(2 * k, k + 1)
    )
    bound = np.append(np.full(k, np.inf), (right + left) / 2)
    x, height = linear_program(
        np.append(np.zeros(k), -1.0),
        balance,
        np.zeros(n),
        np.full(k + 1, -np.inf),
        bound,
        limits,
        np.concatenate([w * right, w * left]),
    )
    inside = float(x[-1])
    if inside > 1e-9:
        return Verdict("optimum")
    side = height > (height.max() + height.min()) / 2
    won = (side[cell.winner] != side[cell.loser]).any() and (
        np.sum(cell.weight[side[cell.winner] & ~side[cell.loser]]) * right
        + np.sum(cell.weight[~side[cell.winner] & side[cell.loser]]) * left
    )
    if won > 0:
        side = ~side
    group = listed([cell.names[i] for i in np.flatnonzero(side)])
    if inside < -1e-9:
        return Verdict(
            "unbounded below",
            f"raising {group} above the others lowers the loss for ever: their wins outweigh their losses, given "
            f"f'(+∞) = {right:g} and f'(−∞) = {-left:g}",
        )
    return Verdict(
        "no finite optimum",
        f"raising {group} above the others changes the loss ever less: wins and losses are balanced exactly, given "
        f"f'(+∞) = {right:g} and f'(−∞) = {-left:g}",
    )


def _one_sided(cell: Cell, parted: BoolArray, why: str) -> str:
    """Names an example of a pair that only ever goes one way."""
    k = int(np.argmax(parted))
    winner, loser = cell.names[cell.winner[k]], cell.names[cell.loser[k]]
    groups = int(cell.cycles.max()) + 1
    return (
        f"the preferences are separable: the responses fall into {groups} groups between which all wins go one way "
        f"(e.g. {winner!r} over {loser!r}); {why}"
    )


def listed(names: list[str] | tuple[str, ...], most: int = 6) -> str:
    """Names for a message, the first few of them."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
