"""Exact population optima over problems × losses × βs, beside scipy and cvxpy cell by cell.

Problems are Bradley–Terry with standard normal rewards r, pairs are two draws from a uniform μ. The population optimum
of the logistic loss is then h = r/β exactly, so that the error of every cell is known: the largest difference of βh
from r, both centred. scipy minimises with analytic gradients from h = 0 in float64; cvxpy states the convex program and
solves it with Clarabel, at the tolerance of 1e-12 that errors of 1e-8 take. Either does a part of the cells, drawn
evenly, and its time is divided by that share.
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


def ours(losses: tuple[str, ...]) -> Callable[[Size], Work]:
    """The whole grid as one table."""

    def prepare(size: Size) -> Work:
        import gpo_analysis as gpo

        problems = [gpo.PreferenceProblem(gpo.bradley_terry(r)) for r in rewards(size)]
        scales = betas(size)

        def judge(table: Any) -> dict[str, float]:
            found = {"unsolved": float((~table.converged).sum())}
            if losses == ("logistic",):
                exact = np.repeat(_kl(rewards(size)[:, None, :] / scales[:, None]).ravel(), 1)
                found["error_of_kl"] = float(np.max(np.abs(table.kl.to_numpy() - exact) / np.maximum(exact, 1e-8)))
                fits = gpo.fit(problems, losses)
                found["error"] = max(_error(f.reward, r) for f, r in zip(fits, rewards(size), strict=True))
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


def by_scipy(size: Size) -> Work:
    """L-BFGS with gradients, tolerances so that β h is right to 1e-8."""
    from scipy.optimize import minimize

    r, cells = rewards(size), _cells(size, MOST_CELLS["scipy"])
    n = size.numbers[0]
    chances = [1 / (1 + np.exp(row[None, :] - row[:, None])) for row in r]
    weights = [2.0 * p * (1 - np.eye(n)) / n**2 for p in chances]

    def solve(k: int, beta: float) -> FloatArray:
        w = weights[k]

        def value(h: FloatArray) -> tuple[float, FloatArray]:
            z = beta * (h[:, None] - h)
            slope = -w * beta / (1 + np.exp(z))
            return float((w * np.logaddexp(0, -z)).sum()), slope.sum(axis=1) - slope.sum(axis=0)

        options = {"gtol": 1e-11 * beta, "ftol": 1e-17, "maxiter": 2000, "maxcor": 20}
        return np.asarray(beta * minimize(value, np.zeros(n), jac=True, method="L-BFGS-B", options=options).x)

    def judge(found: list[FloatArray]) -> dict[str, float]:
        return {"error": max(_error(g, r[k]) for g, (k, _) in zip(found, cells, strict=True))}

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
                Side("scipy L-BFGS, a cell at a time", by_scipy, "scipy"),
                Side("cvxpy with Clarabel, a cell at a time", by_cvxpy, "cvxpy"),
            ),
            "300 times scipy, 1,000 times cvxpy, errors of at most 1e-8",
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
