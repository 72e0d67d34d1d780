"""Random losses on random problems against cvxpy (convex) and brute force (not convex)."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize

import gpo_analysis as gpo
from gpo_analysis.tabular import PreferenceProblem

#: Convex functions of a margin, as they are typed and as cvxpy has them; a, b, c are drawn.
ATOMS = (
    ("softplus({a}*({b} - z))*{c}", lambda z, a, b, c: c * cp.logistic(a * (b - z))),
    ("exp(-{a}*z)*{c}", lambda z, a, b, c: c * cp.exp(-a * z)),
    ("{c}*(z - {b})**2", lambda z, a, b, c: c * cp.square(z - b)),
    ("{c}*max(0, {b} - {a}*z)**2", lambda z, a, b, c: c * cp.square(cp.pos(b - a * z))),
    ("{c}*max(0, {b} - {a}*z)", lambda z, a, b, c: c * cp.pos(b - a * z)),
    ("{c}*abs(z - {b})", lambda z, a, b, c: c * cp.abs(z - b)),
    ("softplus({a}*z)*{c}/8", lambda z, a, b, c: c / 8 * cp.logistic(a * z)),
)


def random_problem(rng: np.random.Generator) -> PreferenceProblem:
    n = int(rng.integers(2, 6))
    upper = np.triu(rng.uniform(0.02, 0.98, (n, n)), 1)
    preference = upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n)
    return PreferenceProblem(preference, rng.dirichlet(np.full(n, rng.choice([0.3, 3.0]))))


@pytest.mark.parametrize("seed", range(16))
def test_random_convex_losses_against_cvxpy(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng)
    chosen = rng.choice(len(ATOMS), size=rng.integers(1, 3), replace=False)
    numbers = [dict(zip("abc", (int(x) for x in rng.integers(1, 4, 3)), strict=True)) for _ in chosen]
    text = " + ".join(ATOMS[k][0].format(**drawn) for k, drawn in zip(chosen, numbers, strict=True))
    loss = gpo.parse_loss(text, name=text)
    found = problem.fit(loss)
    pairs, h = problem.directed_pairs(), cp.Variable(problem.n)
    z = h[pairs.winner] - h[pairs.loser]
    terms = [pairs.weight @ ATOMS[k][1](z, **drawn) for k, drawn in zip(chosen, numbers, strict=True)]
    program = cp.Problem(cp.Minimize(cp.sum(terms)), [cp.sum(h) == 0])
    program.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    best = program.value + pairs.diagonal_mass * float(loss(0.0))
    assert found.status != "not converged", (text, found.reason)
    assert found.value == pytest.approx(best, rel=1e-6, abs=1e-8), text
    if found.minimiser is not None:
        assert problem.loss_at(found.minimiser, loss, 1.0) == pytest.approx(found.value, rel=1e-9), text


@pytest.mark.parametrize("seed", range(9))
def test_random_losses_that_are_not_convex_against_many_starts(seed):
    rng = np.random.default_rng(100 + seed)
    problem = random_problem(rng)
    a, b, c = rng.integers(1, 4, 3).tolist()
    texts = (f"1/(1+exp({a}*z))**2 + z**2/40", f"{c}*(z-{b})**2/8 + exp(-z**2)", f"log(1+({b}-z)**2)*{c}")
    text = texts[seed % 3]
    loss = gpo.parse_loss(text, name=text)
    found = problem.fit(loss)
    ends = []
    for k in range(6):
        start = (0.0 if k == 0 else 3.0) * rng.normal(size=problem.n - 1)
        ends.append(
            minimize(lambda x: problem.loss_at(np.append(x, 0.0), loss, 1.0), start, method="BFGS", tol=1e-10).fun
        )
    assert found.value <= min(ends) + 1e-8, text
    if found.converged:
        assert problem.loss_at(found.reward, loss, 1.0) == pytest.approx(found.value, rel=1e-10)
