"""One door to scipy's linear programming (HiGHS), at its tightest tolerances."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog

from gpo_analysis.arrays import FloatArray


def linear_program(
    cost: FloatArray,
    equalities: Any,
    balance: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    inequalities: Any = None,
    limits: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """``min cost @ x`` with ``equalities @ x = balance``, ``lower ≤ x ≤ upper`` and ``inequalities @ x ≤ limits``.

    Returns
    -------
    x : array
    multipliers : array
        Of the equalities: by how much the minimum rises with each entry of `balance`.

    Raises
    ------
    RuntimeError
        Where HiGHS does not find an optimum.
    """
    solver: Any = linprog
    found = solver(
        cost,
        A_ub=inequalities,
        b_ub=limits,
        A_eq=equalities,
        b_eq=balance,
        bounds=np.column_stack([lower, upper]),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if not found.success:
        raise RuntimeError(f"the linear program was not solved: {found.message}")
    return np.asarray(found.x, dtype=np.float64), np.asarray(found.eqlin.marginals, dtype=np.float64)
