"""Integrals against a standard normal density by the trapezoidal rule, for smooth functions on the line.

For a function analytic in a strip about the line and vanishing at both ends the rule's error falls exponentially in the
number of points (Trefethen and Weideman 2014, SIAM Review 56). All integrals share their nodes: what is the same for
many of them (the policy seen from its own components, πref seen from μ) is computed once for all, and sums are products
of matrices. Halving the step doubles the digits, so that an integral takes few nodes or is left to adaptive boxes.

A step is told from one of twice and four times its length: the stated error is ``|T(h) − T(2h)|``, which is that of the
coarser, or the square of ``|T(2h) − T(4h)|`` in units of ``∫|f|`` where that is larger, so that no coincidence of two
values ends it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gpo_analysis.arrays import AT_ONCE, BoolArray, FloatArray, IntArray
from gpo_analysis.gaussian.integrate import BatchResult
from gpo_analysis.gaussian.log_ratio import LogRatio

#: Intervals at first, a multiple of 4, and how often they are halved.
FIRST, HALVINGS = 96, 3
#: By how much an error may be missed by what is foreseen of it, and the rule still goes on.
_SLACK = 10.0


@dataclass
class _Sums:
    """A row an output of a task: the rule, its two coarser ones, ``∫|f|`` and rounding."""

    fine: FloatArray  # (m, T)
    half: FloatArray
    quarter: FloatArray
    size: FloatArray
    noise: FloatArray

    def error(self) -> FloatArray:
        """Stated error of ``fine``."""
        last, before = np.abs(self.fine - self.half), np.abs(self.half - self.quarter)
        scale = np.where(self.size > 0.0, self.size, 1.0)
        return np.asarray(np.maximum(last, before * np.minimum(before / scale, 1.0)))

    def foreseen(self, halvings: int) -> FloatArray:
        """What the error will be after some halvings: each squares the ratio of two differences."""
        last, before = np.abs(self.fine - self.half), np.abs(self.half - self.quarter)
        falls = np.minimum(last / np.where(before > 0.0, before, 1.0), 1.0)
        return np.asarray(last * falls ** (2 ** (halvings + 1) - 2))


def integrate_on_line(
    log_ratio: LogRatio,
    spread: FloatArray,
    offset: FloatArray,
    *,
    radius: float,
    second: bool,
    absolute: float,
    relative: float,
) -> tuple[BatchResult, BoolArray]:
    """Integrals of the log-ratio, its square, the slope and their product, and which problems are done.

    Parameters
    ----------
    log_ratio : LogRatio
        In one dimension.
    spread : ndarray, shape (T, J)
        Scales of what each task must resolve, in units of its component's.
    offset : ndarray, shape (B,)
        What is subtracted of the log-ratio of each problem.
    radius : float
        Beyond which the normal density counts as 0.
    second : bool
        Whether the square is wanted.
    absolute, relative : float
        Errors asked for, as of :func:`gpo_analysis.gaussian.integrate.integrate_batch`.

    Returns
    -------
    result : BatchResult
        Zero for problems that are not done, but for the evaluations.
    done : ndarray of bool, shape (B,)
    """
    n_problems, owner = offset.size, log_ratio.owner
    outputs = 1 + second + (0 if log_ratio.tangent is None else 2 * log_ratio.tangent.means.shape[3])
    values, errors = np.zeros((n_problems, outputs)), np.zeros((n_problems, outputs))
    spent, done = np.zeros(n_problems, dtype=np.int64), np.zeros(n_problems, dtype=bool)
    step = 2.0 * radius / FIRST
    wide = np.ones(n_problems, dtype=bool)
    wide[owner[spread.min(axis=1) < 2.0 * step]] = False  # may fall between the nodes of the coarser rule
    tasks = np.flatnonzero(wide[owner])
    if not tasks.size:
        return BatchResult(values, errors, spent), done
    nodes = np.linspace(-radius, radius, FIRST + 1)
    place = np.arange(FIRST + 1) % 4
    parts = _sums(log_ratio, offset, nodes, np.stack([place == 0, place == 2, place % 2 == 1]), tasks, second)
    spent += nodes.size * np.bincount(owner[tasks], minlength=n_problems)
    at_four, at_two, odd = parts[0]
    sums = _Sums(
        step * (at_four + at_two + odd), 2.0 * step * (at_four + at_two), 4.0 * step * at_four,
        step * parts[1], step * parts[2],
    )  # fmt: skip
    for halving in range(HALVINGS + 1):
        problem, weight = owner[tasks], log_ratio.weight[tasks]

        def total(rows: FloatArray, problem: IntArray = problem, weight: FloatArray = weight) -> FloatArray:
            return np.stack([np.bincount(problem, weight * row, minlength=n_problems) for row in rows], axis=1)

        error = sums.error()
        concerned = np.bincount(problem, minlength=n_problems) > 0
        allowed = np.maximum(absolute, relative * total(sums.size))
        near = np.all(total(error) <= allowed, axis=1)
        rough = np.ones(n_problems, dtype=bool)
        rough[problem[np.any(error > sums.noise, axis=0)]] = False
        now = concerned & (near | rough)
        found, stated = total(sums.fine), total(np.maximum(error, sums.noise))
        values[now], errors[now] = found[now], stated[now]
        done |= now
        left = HALVINGS - halving
        hopeful = np.all(total(sums.foreseen(left)) <= _SLACK * allowed, axis=1) | (halving == 0)
        open_task = (~done & hopeful)[problem]
        if left == 0 or not np.any(open_task):
            break
        tasks = tasks[open_task]
        step *= 0.5
        nodes = np.asarray(np.arange(1, round(2.0 * radius / step), 2) * step - radius, dtype=np.float64)
        new, size, noise = _sums(log_ratio, offset, nodes, np.ones((1, nodes.size), dtype=bool), tasks, second)
        spent += nodes.size * np.bincount(owner[tasks], minlength=n_problems)
        kept = _Sums(*(rows[:, open_task] for rows in vars(sums).values()))
        sums = _Sums(
            0.5 * kept.fine + step * new[0], kept.fine, kept.half,
            0.5 * kept.size + step * size, 0.5 * kept.noise + step * noise,
        )  # fmt: skip
    return BatchResult(values, errors, spent), done


def _sums(
    log_ratio: LogRatio, offset: FloatArray, nodes: FloatArray, groups: BoolArray, tasks: IntArray, second: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weighted sums over groups of nodes (G, m, T), and over all nodes of ``|f|`` and of rounding (m, T)."""
    density = np.exp(-0.5 * nodes**2) / math.sqrt(2.0 * math.pi)
    weights = np.concatenate([groups * density, density[None]])
    most = max(1, AT_ONCE // nodes.size)
    parts: list[tuple[FloatArray, ...]] = []
    order: list[IntArray] = []
    component = log_ratio.component[tasks]
    for one in np.unique(component):
        alike = np.flatnonzero(component == one)
        for start in range(0, alike.size, most):
            rows = alike[start : start + most]
            order.append(rows)
            parts.append(_of_tasks(log_ratio, offset, nodes, weights, tasks[rows], second))
    back = np.argsort(np.concatenate(order))
    value, size, noise = (np.concatenate(column, axis=-1)[..., back] for column in zip(*parts, strict=True))
    return value, size, noise


def _of_tasks(
    log_ratio: LogRatio, offset: FloatArray, nodes: FloatArray, weights: FloatArray, tasks: IntArray, second: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The same for some tasks of one component."""
    ratio, rounding, slope, terms = log_ratio.at_common_nodes(nodes, tasks)
    ratio -= offset[log_ratio.owner[tasks]]
    size, steep = np.abs(ratio), np.abs(slope)
    uncertain = size * rounding
    groups, every = weights[:-1], weights[-1]
    value, magnitude, noise = [_over(groups, ratio)], [_over(every, size)], [_over(every, rounding)]
    if second:
        square = ratio * ratio
        value.append(_over(groups, square))
        magnitude.append(_over(every, square))
        noise.append(2.0 * _over(every, uncertain) + _over(every, rounding, rounding))
    for one, absolute, sum_of_terms in zip(slope, steep, terms, strict=True):
        value.append(np.broadcast_to(_over(groups, one), (len(groups), tasks.size)))
        magnitude.append(np.broadcast_to(_over(every, absolute), tasks.size))
        noise.append(_over(every, rounding, sum_of_terms))
    for one, absolute, sum_of_terms in zip(slope, steep, terms, strict=True):
        value.append(_over(groups, ratio, one))
        magnitude.append(_over(every, size, absolute))
        noise.append(_over(every, uncertain, sum_of_terms) + _over(every, rounding, absolute))
    return np.stack(value, axis=-2), np.stack(magnitude), np.stack(noise)


def _over(weights: FloatArray, rows: FloatArray, factor: FloatArray | None = None) -> FloatArray:
    """Weighted sums over nodes of rows (N, T), or of their product with another array, (N, T) or (N, 1)."""
    if factor is None:
        return np.asarray(weights @ rows)
    if factor.shape[1] == 1:
        return np.asarray((weights * factor[:, 0]) @ rows)
    return np.asarray(weights @ (rows * factor))
