"""Cells of the table of TRL's losses that need no TRL: exact optima beside scipy's solvers, and gradient flows.

One problem serves all: four responses, Bradley–Terry preferences, μ and πref not uniform; every response has one token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import linprog, minimize

from gpo_analysis.analysis import BetaConvention
from gpo_analysis.analysis.two_ratio_convexity import joint_convexity
from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import GeneratorDerivative
from gpo_analysis.losses import Loss, MarginLoss, get_margin_loss
from gpo_analysis.losses.shape import convexity
from gpo_analysis.preferences.models import bradley_terry
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.tabular import PreferenceProblem, Solution, link_flow
from gpo_analysis.training import train

BETA = 0.5
TOLERANCE = 1e-8
"""Largest accepted difference from scipy's policy, or from its least loss where there is no optimum."""
_FLOW = 1e-6
_SORTS = "none: a batch is sorted, so that no loss of pairs stands under the expectation"


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes
    ----------
    text : str
    holds : bool or None
        None for a reason or a statement, which nothing is held against.
    """

    text: str
    holds: bool | None


@cache
def table_problem() -> PreferenceProblem:
    """The problem of all cells."""
    return PreferenceProblem(bradley_terry([0.0, 0.5, 0.9, 1.3]), [0.4, 0.3, 0.2, 0.1], [0.35, 0.3, 0.2, 0.15])


@cache
def _solved(row: BetaConvention, epsilon: float) -> Solution:
    return table_problem().solve(row.pair_loss(epsilon), row.to_gpo(BETA))


def optimum_cell(row: BetaConvention, epsilon: float) -> Cell:
    """The exact optimum beside scipy's.

    Parameters
    ----------
    row : BetaConvention
    epsilon : float
    """
    if row.kind == "batch":
        return Cell(_SORTS, None)
    problem, loss, beta = table_problem(), row.pair_loss(epsilon), row.to_gpo(BETA)
    found = _solved(row, epsilon)
    if isinstance(loss, MarginLoss) and loss.name == "hinge":
        return _against_linear_program(found, beta)
    theirs, value = scipy_optimum(problem, loss, beta)
    tail = " (all responses of one token)" if row.ratio == "means" else ""
    if found.converged:
        off, lower = float(np.abs(found.policy - theirs).max()), found.population_loss - value
        local = ", local" if found.status is Status.STATIONARY_POINT else ""
        certified = f", gap at most {found.gap:.0e}" if np.isfinite(found.gap) else ""
        text = f"{found.status}{local}: scipy's policy is {off:.1e} away, its loss {-lower:.0e} above{certified}"
        return Cell(text + tail, off <= TOLERANCE)
    above = value - found.population_loss
    return Cell(f"{found.status}: {found.reason}; scipy's least is {above:.1e} above{tail}", above >= -TOLERANCE)


def _against_linear_program(found: Solution, beta: float) -> Cell:
    """Hinge: the minimum of a linear program, Σ w s with s ≥ 0, s ≥ 1 − (g_w − g_l)."""
    problem = table_problem()
    pairs, n = problem.directed_pairs(), problem.n
    count = len(pairs)
    margins = np.zeros((count, n))
    margins[np.arange(count), pairs.winner] += 1.0
    margins[np.arange(count), pairs.loser] -= 1.0
    done: Any = linprog(
        np.concatenate([np.zeros(n), pairs.weight]),
        A_ub=np.hstack([-margins, -np.eye(count)]), b_ub=-np.ones(count),
        bounds=[(0, 0), *[(None, None)] * (n - 1), *[(0, None)] * count],
    )  # fmt: skip
    least = float(done.fun) + pairs.diagonal_mass
    reward = done.x[:n]
    policy = problem.reference * np.exp(reward / beta)
    off = float(np.abs(found.policy - policy / policy.sum()).max())
    above = abs(least - found.population_loss)
    text = f"{found.status}: scipy's linear program has the policy {off:.1e} away, the loss {above:.0e}"
    return Cell(text, off <= TOLERANCE and above <= TOLERANCE)


def scipy_optimum(problem: PreferenceProblem, loss: Loss, beta: float) -> tuple[FloatArray, float]:
    """Policy and least loss by scipy's SLSQP over h = log π/πref with Σ πref e^h = 1, the best of several starts.

    Parameters
    ----------
    problem : PreferenceProblem
        Without contexts.
    loss : MarginLoss or TwoRatioLoss
    beta : float

    Returns
    -------
    tuple of (array, float)
    """
    pairs, own = problem.directed_pairs(), problem.diagonal_weights()[0]
    every = np.arange(problem.n)
    w, l = np.concatenate([pairs.winner, every]), np.concatenate([pairs.loser, every])  # noqa: E741
    weight = np.concatenate([pairs.weight, own])

    def both(h: FloatArray) -> tuple[float, FloatArray]:
        a, b = beta * h[w], beta * h[l]
        if isinstance(loss, MarginLoss):
            values, slope = loss(a - b), loss.derivative(a - b)
            pulls = (slope, -slope)
        else:
            values, pulls = loss(a, b), loss.gradient(a, b)
        gradient = beta * sum(
            np.bincount(end, weight * pull, problem.n) for end, pull in zip((w, l), pulls, strict=True)
        )
        return float(weight @ values), np.asarray(gradient)

    convex = isinstance(loss, MarginLoss) or joint_convexity(loss)[0] is True
    convex = convex and (not isinstance(loss, MarginLoss) or convexity(loss).is_convex is True)
    spread, starts = (1.0, 3) if convex else (2.0 / beta, 16)
    return _constrained(problem.reference, both, spread=spread, starts=starts)


def _constrained(
    reference: FloatArray,
    both: Callable[[FloatArray], tuple[float, FloatArray]],
    spread: float = 1.0,
    starts: int = 3,
) -> tuple[FloatArray, float]:
    """SLSQP, again from where it ended until it moves no more; from πref and from random places."""
    rng = np.random.default_rng(1)
    constraint = {
        "type": "eq",
        "fun": lambda h: np.sum(reference * np.exp(h)) - 1.0,
        "jac": lambda h: reference * np.exp(h),
    }
    solver: Any = minimize  # its stubs take no function with its gradient
    options: dict[str, Any] = {"ftol": 1e-18, "maxiter": 500}
    bounds = [(-60.0, -float(np.log(p))) for p in reference]
    best, least = np.zeros_like(reference), np.inf
    for start in (np.zeros_like(reference), *rng.normal(0.0, spread, (starts, len(reference)))):
        h = start - np.log(np.sum(reference * np.exp(start)))
        for _ in range(4):
            ended = solver(both, h, jac=True, method="SLSQP", bounds=bounds, constraints=[constraint], options=options)
            moved, h = float(np.abs(ended.x - h).max()), ended.x - np.log(np.sum(reference * np.exp(ended.x)))
            if moved <= 1e-12:
                break
        value = both(h)[0]
        if value < least - 1e-13:
            best, least = h, value
    return np.asarray(reference * np.exp(best)), least


def dynamics_cell(row: BetaConvention, epsilon: float) -> Cell:
    """How far the gradient flow from πref ends above the optimum.

    Parameters
    ----------
    row : BetaConvention
    epsilon : float
    """
    if row.kind == "batch":
        return Cell("none in a world of pairs: ranks jump; GPOTrainer descends it on batches", None)
    loss, beta = row.pair_loss(epsilon), row.to_gpo(BETA)
    found = _solved(row, epsilon)
    run = train(table_problem(), loss, beta, optimizer="flow", learning_rate=4000.0, steps=10, record_every=10)
    above = float(run.columns["loss"][-1] - found.population_loss)
    if found.status is Status.OPTIMUM:
        return Cell(f"gradient flow ends {above:.1e} above the optimum", run.finished and abs(above) <= _FLOW)
    still = float(run.columns["gradient_norm"][-1])
    at = f"gradient flow ends with a gradient of {still:.0e}, {above:.1e} above the value beside"
    return Cell(at, run.finished and above >= -_FLOW)


def link_optimum_cell(link: GeneratorDerivative) -> Cell:
    """The optimum of the sigmoid loss under a divergence beside scipy's.

    Parameters
    ----------
    link : GeneratorDerivative
    """
    problem, f = table_problem(), get_margin_loss("logistic")
    pairs = problem.directed_pairs()

    def both(h: FloatArray) -> tuple[float, FloatArray]:
        g, steep = link.of_log(h), link.derivative(np.exp(h)) * np.exp(h)
        z = BETA * (g[pairs.winner] - g[pairs.loser])
        pull = BETA * pairs.weight * f.derivative(z)
        gradient = np.bincount(pairs.winner, pull, problem.n) - np.bincount(pairs.loser, pull, problem.n)
        return float(pairs.weight @ f(z)), np.asarray(gradient * steep)

    found = problem.solve(f, BETA, link=link)
    theirs, _ = _constrained(problem.reference, both)
    off = float(np.abs(found.policy - theirs).max())
    return Cell(f"{found.status}: scipy's policy is {off:.1e} away", off <= TOLERANCE)


def link_dynamics_cell(link: GeneratorDerivative) -> Cell:
    """How far the gradient flow under a divergence ends from the optimum.

    Parameters
    ----------
    link : GeneratorDerivative
    """
    problem = table_problem()
    run = link_flow(problem, "dpo", BETA, link, duration=40_000.0)
    off = float(np.abs(run.policies[-1] - problem.solve("dpo", BETA, link=link).policy).max())
    return Cell(f"gradient flow ends {off:.1e} from the optimum", run.status == "finished" and off <= _FLOW)
