"""Equations solved by computer algebra: every real root that a fine search finds is among the candidates."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from scipy.optimize import brentq

from gpo_analysis.analysis.algebra import solutions

Z, S = sympy.symbols("z s", real=True)
exp, sqrt, tanh, log = sympy.exp, sympy.sqrt, sympy.tanh, sympy.log
#: Equations in z with the values of s at which they are tried.
EQUATIONS = [
    (2 * (Z - 1) - S, (-3.0, 0.5)),
    (-exp(-Z) - S, (-0.2, -5.0)),
    (Z * exp(Z) - S, (0.3, 2.0)),
    (Z + exp(Z) - S, (-1.0, 3.0)),
    (Z - exp(-2 * Z) - S, (-1.0, 3.0)),
    (1 / (1 + exp(-Z)) - S, (0.2, 0.9)),
    (exp(2 * Z) - 3 * exp(Z) + S, (1.0, 2.0)),
    (-exp(Z) / (1 + exp(Z)) ** 2 + S, (0.1, 0.2)),
    (Z**2 - S, (0.3, 4.0)),
    ((Z - 1) ** 3 - S, (8.0, 0.5)),
    (Z**4 - 3 * Z**2 + S, (1.0, 2.0)),
    (log(1 + exp(Z)) - S, (0.1, 2.0)),
    (tanh(Z) - S, (-0.5, 0.9)),
    (Z / sqrt(1 + Z**2) - S, (-0.5, 0.9)),
    (sqrt(1 + Z**2) - S - Z / 2, (1.0, 3.0)),
    (sympy.cosh(Z) - S, (1.5, 4.0)),
    (sympy.atan(Z) - S, (-1.0, 0.7)),
]


@pytest.mark.parametrize(("equation", "values"), EQUATIONS, ids=lambda part: str(part) if part in EQUATIONS else None)
def test_real_roots_are_among_the_candidates(equation: sympy.Expr, values: tuple[float, ...]) -> None:
    found = solutions(equation, Z)
    grid = np.linspace(-12.013, 12.0, 4803)
    for s in values:
        f = sympy.lambdify(Z, equation.subs(S, s), "numpy")
        at = f(grid)
        change = np.flatnonzero(np.sign(at[:-1]) != np.sign(at[1:]))
        roots = [brentq(f, grid[k], grid[k + 1], xtol=1e-14) for k in change]
        assert roots
        known = [complex(sympy.N(root.subs(S, s), 20)) for root in found]
        real = [value.real for value in known if abs(value.imag) < 1e-12]
        for root in roots:
            assert min(abs(root - other) for other in real) < 1e-9, (s, root, found)
