r"""Directions along which a convex loss ``F(v) = Σ_k w_k f(rows_k · v)`` never rises, by linear programming.

Far out, F falls or rises along d at the rate ``R(d) = Σ_k w_k [f′(+∞) max(0, rows_k·d) − f′(−∞) max(0, −rows_k·d)]``.
F has a bounded set of minimisers if and only if R(d) > 0 for every d ≠ 0 (Rockafellar 1970, theorem 27.1): below zero
F is unbounded, at zero it may fall for ever towards a limit, or be flat.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog, nnls

from gpo_analysis.arrays import BoolArray, FloatArray


def steepest_recession(rows: FloatArray, weight: FloatArray, left_slope: float, right_slope: float) -> float:
    """Least R(d) over ``|d_i| ≤ 1``: 0, or below 0 (by more than rounding) where F is unbounded below.

    Parameters
    ----------
    rows : array, shape (k, d)
    weight : array, shape (k,)
    left_slope, right_slope : float
        f′(−∞) ≤ f′(+∞), infinite ones included.
    """
    if left_slope <= 0 <= right_slope:
        return 0.0
    cost, equal, bounds = _program(rows, weight, left_slope, right_slope)
    least = float(_solved(cost, A_eq=equal, b_eq=np.zeros(len(rows)), bounds=bounds).fun)
    return least if least < -1e-9 * float(np.abs(cost).max()) else 0.0


def moved_to_infinity(rows: FloatArray, weight: FloatArray, left_slope: float, right_slope: float) -> BoolArray:
    """Pairs whose margin runs off along directions with R(d) = 0, one such set after the other; shape (k,).

    Meant for an f that nowhere reaches the limit of its falling tail, where R(d) ≥ 0 is known.
    """
    moved = np.zeros(len(rows), dtype=np.bool_)
    while not moved.all():
        rest = np.flatnonzero(~moved)
        size = np.abs(rows[rest]).max(axis=1)
        here = rows[rest] / np.maximum(size, 1e-300)[:, None]
        cost, equal, bounds = _program(here, weight[rest] * size, left_slope, right_slope)
        k, d = here.shape
        # R(d) = 0 with slopes ≤ 0 ≤ forbids margins to move towards a tail that rises, whatever the pair's weight
        rises = (right_slope > 0, left_slope < 0) if left_slope <= 0 <= right_slope else (False, False)
        most = [[0.0 if rising else min(1.0, high) for _, high in part]
                for rising, part in zip(rises, (bounds[d : d + k], bounds[d + k :]), strict=True)]  # fmt: skip
        found = _solved(
            np.concatenate([np.zeros(d), -np.ones(2 * k)]),
            A_ub=cost[None, :],
            b_ub=[0.0],
            A_eq=equal,
            b_eq=np.zeros(k),
            bounds=[(-np.inf, np.inf)] * d + [(0.0, high) for part in most for high in part],
        )
        going = np.abs(here @ found.x[:d]) > 1e-6
        if not going.any():
            break
        moved[rest[going]] = True
    return moved


def _program(
    rows: FloatArray, weight: FloatArray, left_slope: float, right_slope: float
) -> tuple[FloatArray, FloatArray, list[tuple[float, float]]]:
    """Variables (d, p, q) with rows·d = p − q: costs of R, the equations, and bounds (an infinite slope forbids)."""
    k, d = rows.shape
    up, down = np.isfinite(right_slope), np.isfinite(left_slope)
    cost = np.concatenate([np.zeros(d), weight * (right_slope if up else 0.0), -weight * (left_slope if down else 0.0)])
    equal = np.hstack([rows, -np.eye(k), np.eye(k)])
    bounds = [(-1.0, 1.0)] * d + [(0.0, np.inf if up else 0.0)] * k + [(0.0, np.inf if down else 0.0)] * k
    return cost, equal, bounds


def _solved(cost: FloatArray, **program: Any) -> Any:
    options: Any = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(cost, options=options, **program)
    if found.x is None:  # each program here is feasible and bounded
        raise RuntimeError(f"a linear program over recession directions was not solved: {found.message}")
    return found


def can_move(rows: FloatArray, margins: FloatArray, lower: FloatArray, upper: FloatArray) -> bool:
    """Whether a v with ``rows @ v = margins`` is not the only one with ``lower ≤ rows @ v ≤ upper``."""
    tolerance = 1e-7 * (1.0 + np.abs(margins))
    at_lower, at_upper = margins <= lower + tolerance, margins >= upper - tolerance
    active = np.vstack([rows[at_lower], -rows[at_upper]])  # a direction d must have active @ d ≥ 0
    d = rows.shape[1]
    if len(active) < d or np.linalg.matrix_rank(active, tol=1e-9 * max(float(np.abs(rows).max()), 1e-300)) < d:
        return True
    active = active / np.abs(active).max(axis=1, keepdims=True)
    found = _solved(-active.sum(axis=0), A_ub=-active, b_ub=np.zeros(len(active)), bounds=[(-1.0, 1.0)] * d)
    return bool(-found.fun > 1e-7)


def least_norm_within(rows: FloatArray, lower: FloatArray, upper: FloatArray, start: FloatArray) -> FloatArray:
    """The v of least norm with ``lower ≤ rows @ v ≤ upper`` (least-distance programming, Lawson & Hanson 1974).

    ``start`` is returned where rounding leaves no v between the bounds.
    """
    low, high = np.isfinite(lower), np.isfinite(upper)
    left = np.vstack([rows[low], -rows[high]])
    right = np.concatenate([lower[low], -upper[high]])
    if not len(right):
        return np.zeros(rows.shape[1])
    system = np.vstack([left.T, right])
    wanted = np.append(np.zeros(rows.shape[1]), 1.0)
    found, _ = nnls(system, wanted)
    residual = system @ found - wanted
    if abs(residual[-1]) < 1e-12:
        return start
    v = -residual[:-1] / residual[-1]
    slack = 1e-7 * (1.0 + np.abs(right))
    return np.asarray(v) if np.all(left @ v >= right - slack) else start
