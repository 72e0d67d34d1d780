r"""KTO whose reference point is the KL divergence of its own policy, in place of a number.

KTO charges λ_D σ(r − a) and λ_U σ(b − r), a and b β times log-ratios, r = βz₀. Its paper means z₀ = KL(π‖πref), without
a gradient. A policy at rest is then one that is optimal at the r that it has itself:

    r = β KL(π_r‖πref),     π_r = argmin Σ w [λ_D σ(r − u_i) + λ_U σ(u_j − r)],                                (1)

a root of one variable: β KL(π_r) lies between 0 and β max log 1/πref. F is not convex, so that π_r can jump; a jump
that passes r leaves no policy at rest.

What trainers do is something else. TRL 1.16 (``KTOTrainer``) takes for z₀ the mean over a batch of log π/πref of the
completion of *another* prompt, cut off at 0, over all processes: an estimate of E[log π/πref] under the data, of pairs
that do not belong together, which is no KL divergence of π, and moves from batch to batch. Responses of one prompt are
no responses of another here, so that this estimate has no counterpart; it is `reference_point`, a number, at which
``problem.solve(get_two_ratio_loss("kto", reference_point=r), beta)`` gives the optimum.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import rel_entr

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_two_ratio_loss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, policies
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.tabular.solution import Solution

_GRID = 8
_AT_REST = 1e-8


@dataclass(frozen=True, eq=False)
class SelfConsistentKTO(Shown):
    """A policy that is KTO's optimum at the reference point that it has itself.

    Attributes
    ----------
    reference_point : float
        r = β KL(π‖πref), the least of `roots`; NaN where there is none.
    policy : array, shape (n,) or (m, n)
        With zeros for responses that KTO leaves without mass; NaN where there is no root.
    roots : tuple of float
        All that were found; see :func:`crossings`.
    jumps : tuple of float
        Where β KL(π_r) − r changes its sign by a jump of π_r: no policy is at rest there.
    solution : Solution
        KTO's solution at `reference_point` held fixed; at r = 0 where there is no root.
    """

    reference_point: float
    policy: FloatArray
    roots: tuple[float, ...]
    jumps: tuple[float, ...]
    solution: Solution

    def _facts(self) -> list[tuple[str, Any]]:
        found = [
            (name, ", ".join(f"{r:.6g}" for r in values) or "none")
            for name, values in (("all roots", self.roots), ("jumps", self.jumps))
        ]
        return [("reference point, nats", self.reference_point), *found, ("status", str(self.solution.status))]

    def _columns(self) -> Mapping[str, Any]:
        return {"item": self.solution.to_frame()["item"].to_numpy(), "policy": np.ravel(self.policy)}

    def _panel(self) -> Panel:
        title = f"KTO at its own reference point: {self.reference_point:.4g} nats"
        return policies(self.solution.items, self.solution.reference, {"KTO": self.policy}, title)


def self_consistent_kto(
    problem: PreferenceProblem, beta: float, *, desirable: float = 1.0, undesirable: float = 1.0
) -> SelfConsistentKTO:
    """KTO's optimum with the reference point β KL(π‖πref) of the policy itself, averaged over contexts.

    Parameters
    ----------
    problem : PreferenceProblem
    beta : float
    desirable, undesirable : float
        λ_D and λ_U, above 0.

    Returns
    -------
    SelfConsistentKTO

    Raises
    ------
    ValueError
        For β, λ_D or λ_U that is not a finite number above 0.

    Examples
    --------
    With equal weights the better of two responses gets all mass, and r is β log 2.

    >>> import gpo_analysis as gpo
    >>> found = self_consistent_kto(gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]), 0.5)
    >>> round(found.reference_point, 6), found.policy
    (0.346574, array([1., 0.]))
    """
    scale = check_positive(beta, "beta")
    shares = problem.shares()

    def at(r: float) -> Solution:
        loss = get_two_ratio_loss("kto", reference_point=r, desirable=desirable, undesirable=undesirable)
        return problem.solve(loss, scale)

    def excess(r: float) -> float:
        divergence = rel_entr(np.atleast_2d(_limit(at(r))), np.atleast_2d(problem.reference)).sum(axis=1)
        return scale * float(shares @ divergence) - r

    most = scale * float(-np.log(np.min(problem.reference)))
    roots, jumps = crossings(excess, most)
    solution = at(roots[0] if roots else 0.0)
    policy = _limit(solution) if roots else np.full(problem.shape, np.nan)
    return SelfConsistentKTO(roots[0] if roots else np.nan, policy, tuple(roots), tuple(jumps), solution)


def crossings(excess: Callable[[float], float], most: float) -> tuple[list[float], list[float]]:
    """Where a function on [0, most] is 0, and where it changes its sign by a jump.

    The sign is looked at on 8 cells and, between three neighbours of one sign of which the middle one is nearest to 0,
    where the function comes nearest to 0: two roots in one cell show there, unless they are so close together, or so
    far from the dip that the neighbours show, that twenty steps do not meet them.

    Parameters
    ----------
    excess : callable
    most : float
        Above 0.

    Examples
    --------
    >>> [round(root, 9) for root in crossings(lambda r: (r - 0.41) * (r - 0.44), 1.0)[0]]
    [0.41, 0.44]
    """
    points = [float(r) for r in np.linspace(0.0, most, _GRID + 1)]
    values = [excess(r) for r in points]
    known = dict(zip(points, values, strict=True))
    for k in range(1, _GRID):
        side = np.sign(values[k])
        if all(np.sign(values[j]) == side for j in (k - 1, k + 1)) and abs(values[k]) <= min(
            abs(values[k - 1]), abs(values[k + 1])
        ):
            known |= _nearest_to_zero(excess, points[k - 1], points[k + 1], float(side), most)
    ordered = sorted(known)
    roots = [r for r in ordered if known[r] == 0]
    jumps: list[float] = []
    for low, high in itertools.pairwise(ordered):
        if known[low] * known[high] < 0:
            root = float(brentq(excess, low, high, xtol=1e-14 * (1 + most), rtol=1e-14))
            (roots if abs(excess(root)) <= _AT_REST * (1 + most) else jumps).append(root)
    return sorted(roots), jumps


class _Crossed(Exception):
    """The function's sign has changed; no need to go on."""


def _nearest_to_zero(
    excess: Callable[[float], float], low: float, high: float, side: float, most: float
) -> dict[float, float]:
    """Values met on the way to the least distance to 0, up to the first of another sign."""
    met: dict[float, float] = {}

    def distance(r: float) -> float:
        met[float(r)] = excess(float(r))
        if side * met[float(r)] <= 0:
            raise _Crossed
        return side * met[float(r)]

    with contextlib.suppress(_Crossed):
        minimize_scalar(
            distance, bounds=(low, high), method="bounded", options={"maxiter": 20, "xatol": 1e-6 * (1 + most)}
        )
    return met


def _limit(solution: Solution) -> FloatArray:
    """The policy, or where mass runs off what it tends to."""
    assert solution.limit is not None
    return solution.limit
