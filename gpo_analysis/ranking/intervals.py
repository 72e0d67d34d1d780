"""Intervals of scores: sandwich where scores are normal, the profile near the edge, or none with the reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.ranking.joint import JointFit, System
from gpo_analysis.ranking.problem import ComparisonProblem
from gpo_analysis.ranking.profile import Profile
from gpo_analysis.ranking.ranks import NOTHING
from gpo_analysis.reading import shown
from gpo_analysis.showing import Shown
from gpo_analysis.solvers.faces import components
from gpo_analysis.solvers.minimum import described

#: Information Σ N p (1 − p) of an item below which it is near the edge, and the profile is taken.
SURE = 5.0
#: Votes on an item below which normal approximations are said to be too narrow.
FEW = 20
#: Why a score has no sandwich interval although there is a covariance.
NO_SPREAD = (
    "no interval where votes show no spread: all votes on a pair agree (or are ties), or none bears on the item; the "
    "sandwich is 0 there, which is no certainty"
)


@dataclass(frozen=True, eq=False)
class ScoreIntervals(Shown):
    """Intervals of scores, each by itself.

    Attributes
    ----------
    low, high : array, shape (n,)
        Infinite where the votes do not bound that side; NaN where there is none.
    method : tuple of str, length n
        "sandwich", "profile" or "none".
    reason : str
        Where an interval is "none" or open: why.
    core : array of bool, shape (n,)
        Items whose mean, over the connected part, is the zero: all of them where there is a finite fit.
    """

    low: FloatArray
    high: FloatArray
    method: tuple[str, ...]
    reason: str
    core: BoolArray

    _no_plot = "its ranking draws scores with these intervals"


def near_the_edge(given: ScoreIntervals, system: System, fit: JointFit, confidence: float) -> ScoreIntervals:
    """The profile in place of the interval of each item near the edge: of all where there is no finite optimum.

    Parameters
    ----------
    given : ScoreIntervals
    system : System
        Of a likelihood, without a penalty.
    fit : JointFit
    confidence : float

    Notes
    -----
    A score is measured against the mean of its connected part, or where there is no finite optimum against the mean of
    the part's largest group within which wins go both ways.
    """
    finite = fit.status.is_answer
    edge = np.isnan(given.low) | (information(system, fit.theta) < SURE) if finite else np.ones(system.n, dtype=bool)
    if not edge.any():
        return given
    low, high, method = given.low.copy(), given.high.copy(), list(given.method)
    profile, groups = Profile.of(system), system.parts if finite else _two_way_groups(system)
    core = np.zeros(system.n, dtype=bool)
    for part in range(int(system.parts.max()) + 1):
        core |= groups == np.bincount(groups[system.parts == part]).argmax()
    for i in np.flatnonzero(edge):
        zero = core & (system.parts == system.parts[i])
        contrast = np.zeros(system.size)
        contrast[: system.n][zero] -= 1 / zero.sum()
        contrast[i] += 1.0
        if contrast.any():  # not alone in its part
            low[i], high[i] = profile.interval(contrast, confidence)
            method[i] = "profile"
    if finite:
        return ScoreIntervals(low, high, tuple(method), given.reason if "none" in method else "", core)
    reason = (
        f"{described(fit.status, fit.reason)}. Intervals are profiles of the score less the mean of the largest group "
        "within which wins go both ways; open where no vote bounds them"
    )
    return ScoreIntervals(low, high, tuple(method), reason, core)


def spread(variance: FloatArray, largest: float | None = None) -> FloatArray:
    """Standard errors, NaN where a variance is 0 to rounding: votes that all agree show no spread, not certainty."""
    top = max(float(variance.max(initial=0.0)) if largest is None else largest, 0.0)
    return np.sqrt(np.where(variance > NOTHING**2 * top, variance, np.nan))


def caveats(problem: ComparisonProblem, method: tuple[str, ...], is_answer: bool, is_normal: bool) -> list[str]:
    """What intervals and rank sets do not say: of parts that nothing connects, and of few votes.

    Parameters
    ----------
    problem : ComparisonProblem
    method : tuple of str
        Of the intervals.
    is_answer, is_normal : bool
        Whether there is a finite optimum, and a covariance.
    """
    told, parts, rows = [], int(problem.parts.max()) + 1, problem.rows
    if is_answer and parts > 1:
        told.append(f"no comparisons connect the {parts} parts: scores have mean zero in each, ranks compare none")
    each = rows.counts.sum(axis=0)
    votes = np.bincount(rows.first, each, problem.n) + np.bincount(rows.second, each, problem.n)
    few = int(votes.argmin())
    if is_normal and votes[few] < FEW:
        what = "intervals by the sandwich and rank sets" if "sandwich" in method else "rank sets"
        told.append(
            f"{what} are normal approximations, too narrow for few votes ({shown(problem.items[few], 40)}: "
            f"{votes[few]:g}, fewer than {FEW})"
        )
    return told


def information(system: System, theta: FloatArray) -> FloatArray:
    """``Σ N p (1 − p)`` over an item's votes, p the probability of a win among decided ones; shape (n,)."""
    rows = system.rows
    win, loss, _ = system.model.probabilities(*system.split(theta))
    each = rows.counts.sum(axis=0) * win * loss / np.maximum(win + loss, 1e-300) ** 2
    return np.asarray(np.bincount(rows.first, each, system.n) + np.bincount(rows.second, each, system.n))


def _two_way_groups(system: System) -> IntArray:
    """Labels (n,) of the groups within which wins go both ways."""
    rows = system.rows
    up: BoolArray = rows.counts[0] + rows.counts[2] > 0
    down: BoolArray = rows.counts[1] + rows.counts[2] > 0
    tail = np.concatenate([rows.first[up], rows.second[down]])
    head = np.concatenate([rows.second[up], rows.first[down]])
    return components(system.n, tail, head, strong=True)
