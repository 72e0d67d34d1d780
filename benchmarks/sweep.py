"""Exact population optima over problems × losses × βs, beside scipy and cvxpy cell by cell.

Problems are Bradley–Terry with standard normal rewards r, pairs are two draws from a uniform μ. The population optimum
of the logistic loss is then h = r/β exactly, so that the error of every cell is known: the largest difference of βh
from r, both centred. That is the easiest case, for ours starts where all pairs agree; so there are cyclic problems
beside them: to each pair's log-odds comes a standard normal number of its own, so that many triples go round in
circles. Their optimum is known from Newton's method in extended precision.

scipy minimises with analytic gradients from h = 0 in float64; cvxpy states the convex program and solves it with
Clarabel, at the tolerance of 1e-12 that errors of 1e-8 take. Either does a part of the cells, drawn evenly, and its
time is divided by that share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.framework import Benchmark, Side, Size, Task, Work, sizes
from gpo_analysis.arrays import FloatArray

LOSSES = ("logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage")
#: Cells that a peer does.
MOST_CELLS = {"scipy": 400, "cvxpy": 24}


def rewards(size: Size) -> FloatArray:
    """Shape (problems, responses)."""
    responses, problems, _ = size.numbers
    return np.random.default_rng(0).normal(size=(problems, responses))


def betas(size: Size) -> FloatArray:
    """From 0.01 to 10, shape (betas,)."""
    return np.geomspace(0.01, 10.0, size.numbers[2])


def chances(size: Size, cyclic: bool) -> FloatArray:
    """Of i against j, shape (problems, responses, responses)."""
    r = rewards(size)
    odds = r[:, :, None] - r[:, None, :]
    if cyclic:
        own = np.random.default_rng(1).normal(size=odds.shape) / np.sqrt(2)
        odds += own - np.swapaxes(own, 1, 2)
    return np.asarray(1 / (1 + np.exp(-odds)))


def optima(size: Size, cyclic: bool, some: int = 7) -> dict[int, FloatArray]:
    """βh at the optimum of the logistic loss, by the problem's number; of cyclic ones a few, evenly chosen."""
    if not cyclic:
        return dict(enumerate(rewards(size)))
    p = chances(size, True)
    chosen = np.linspace(0, len(p) - 1, min(some, len(p))).round().astype(int)
    return {int(k): _newton(p[k]) for k in chosen}


def _newton(p: FloatArray) -> FloatArray:
    """The gradient in extended precision, the steps in double: each step gains as many digits as double has."""
    n = len(p)
    weight = p.astype(np.longdouble) * (1 - np.eye(n))
    g = np.zeros(n, dtype=np.longdouble)
    for _ in range(60):
        lost = 1 / (1 + np.exp(g[:, None] - g))
        flow = -weight * lost
        curved = (weight * lost * (1 - lost)).astype(np.float64)
        curved = curved + curved.T
        hessian = np.diag(curved.sum(axis=1)) - curved + 1.0 / n
        step = np.linalg.solve(hessian, (flow.sum(axis=0) - flow.sum(axis=1)).astype(np.float64))
        g = g + step / max(1.0, float(np.abs(step).max()))
    return (g - g.mean()).astype(np.float64)


def ours(losses: tuple[str, ...], cyclic: bool = False) -> Callable[[Size], Work]:
    """The whole grid as one table."""

    def prepare(size: Size) -> Work:
        import gpo_analysis as gpo

        problems = [gpo.PreferenceProblem(p) for p in chances(size, cyclic)]
        scales = betas(size)

        def judge(table: Any) -> dict[str, float]:
            found = {"unsolved": float((~table.converged).sum())}
            if losses == ("logistic",):
                exact = optima(size, cyclic)
                kl = _kl(np.stack(list(exact.values()))[:, None, :] / scales[:, None])
                ours = table.kl.to_numpy().reshape(len(problems), -1)[list(exact)]
                found["error_of_kl"] = float(np.max(np.abs(ours - kl) / np.maximum(kl, 1e-8)))
                fits = gpo.fit(problems, losses)
                found["error"] = max(_error(fits[k].reward, g) for k, g in exact.items())
            else:
                found["error"] = float(np.nanmax(table.error))
            return found

        return Work(lambda: gpo.solve_grid(problems, list(losses), scales), judge)

    return prepare


def _kl(h: FloatArray) -> FloatArray:
    """KL(π‖πref) of π ∝ e^h on a uniform πref, along the last axis."""
    top = h - h.max(axis=-1, keepdims=True)
    policy = np.exp(top) / np.exp(top).sum(axis=-1, keepdims=True)
    return np.asarray((policy * np.log(np.maximum(policy, 1e-300))).sum(axis=-1) + np.log(h.shape[-1]))


def _error(g: FloatArray, r: FloatArray) -> float:
    return float(np.abs((g - g.mean()) - (r - r.mean())).max())


def _cells(size: Size, most: int) -> list[tuple[int, float]]:
    """Numbers of problems and βs, drawn evenly."""
    every = [(k, float(b)) for k in range(size.numbers[1]) for b in betas(size)]
    return [every[i] for i in np.linspace(0, len(every) - 1, min(most, len(every))).round().astype(int)]


def by_scipy(cyclic: bool = False) -> Callable[[Size], Work]:
    """L-BFGS with gradients, tolerances so that β h is right to 1e-8."""
    return lambda size: _by_scipy(size, cyclic)


def _by_scipy(size: Size, cyclic: bool) -> Work:
    from scipy.optimize import minimize

    exact, cells, n = optima(size, cyclic), _cells(size, MOST_CELLS["scipy"]), size.numbers[0]
    weights = 2.0 * chances(size, cyclic) * (1 - np.eye(n)) / n**2

    def solve(k: int, beta: float) -> FloatArray:
        w = weights[k]

        def value(h: FloatArray) -> tuple[float, FloatArray]:
            z = beta * (h[:, None] - h)
            slope = -w * beta / (1 + np.exp(z))
            return float((w * np.logaddexp(0, -z)).sum()), slope.sum(axis=1) - slope.sum(axis=0)

        options = {"gtol": 1e-11 * beta, "ftol": 1e-17, "maxiter": 2000, "maxcor": 20}
        return np.asarray(beta * minimize(value, np.zeros(n), jac=True, method="L-BFGS-B", options=options).x)

    def judge(found: list[FloatArray]) -> dict[str, float]:
        return {"error": max(_error(g, exact[k]) for g, (k, _) in zip(found, cells, strict=True) if k in exact)}

    share = len(cells) / (size.numbers[1] * size.numbers[2])
    return Work(lambda: [solve(k, beta) for k, beta in cells], judge, share)


def by_cvxpy(size: Size) -> Work:
    """One program a cell, compiled once a problem size, at tolerances of 1e-8."""
    import cvxpy as cp

    r, cells, n = rewards(size), _cells(size, MOST_CELLS["cvxpy"]), size.numbers[0]
    first, second = np.nonzero(~np.eye(n, dtype=bool))

    def do() -> list[FloatArray]:
        h = cp.Variable(n)
        beta = cp.Parameter(nonneg=True)
        weight = cp.Parameter(len(first), nonneg=True)
        loss = weight @ cp.logistic(-beta * (h[first] - h[second]))
        program = cp.Problem(cp.Minimize(loss), [cp.sum(h) == 0])
        found = []
        for k, scale in cells:
            beta.value = scale
            weight.value = 2 / (1 + np.exp(r[k][second] - r[k][first])) / n**2
            tight = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
            program.solve(solver=cp.CLARABEL, ignore_dpp=True, **tight)
            found.append(np.asarray(scale * h.value))
        return found

    def judge(found: list[FloatArray]) -> dict[str, float]:
        return {"error": max(_error(g, r[k]) for g, (k, _) in zip(found, cells, strict=True))}

    return Work(do, judge, len(cells) / (size.numbers[1] * size.numbers[2]))


SWEEP = Benchmark(
    "sweep",
    "exact population optima over problems and βs",
    (
        Task(
            "logistic",
            "a table of optima of the logistic loss",
            sizes("20x10x50", "20x100x50", "20x400x50"),
            (
                Side("ours", ours(("logistic",))),
                Side("scipy L-BFGS, a cell at a time", by_scipy(), "scipy"),
                Side("cvxpy with Clarabel, a cell at a time", by_cvxpy, "cvxpy"),
            ),
            "300 times scipy, 1,000 times cvxpy, errors of at most 1e-8",
            "error",
            1e-8,
        ),
        Task(
            "cyclic",
            "the same of preferences that go round in circles",
            sizes("20x10x50", "20x100x50", "20x400x50"),
            (
                Side("ours", ours(("logistic",), cyclic=True)),
                Side("scipy L-BFGS, a cell at a time", by_scipy(cyclic=True), "scipy"),
            ),
            "300 times scipy, errors of at most 1e-8",
            "error",
            1e-8,
        ),
        Task(
            "catalogue",
            "the six losses of the paper on all problems and βs",
            sizes("20x10x50", "20x100x50", "20x400x50"),
            (Side("ours", ours(LOSSES)),),
            "the 30,000 cells of 20x100x50 in 3 s",
            "error",
            1e-8,
        ),
        *(
            Task(loss, f"{loss} alone", sizes("20x100x50"), (Side("ours", ours((loss,))),), "", "error", 1e-8)
            for loss in LOSSES[1:]
        ),
    ),
    ("responses", "problems", "betas"),
    Size((5, 2, 2)),
    lambda size: size.numbers[1],
)
