"""What every solver returns: a :class:`Minimum`, its status a word of :class:`Status` with the reason beside it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.solvers.faces import Intervals


class Status(StrEnum):
    """How the search for a minimum ended, the worst first."""

    UNBOUNDED_BELOW = "unbounded below"
    NO_FINITE_OPTIMUM = "no finite optimum"
    UNDECIDED = "undecided"
    NOT_CONVERGED = "not converged"
    NOT_UNIQUE = "not unique"
    STATIONARY_POINT = "stationary point"
    OPTIMUM = "optimum"

    @property
    def is_answer(self) -> bool:
        """Whether one point is the answer: the only minimum, or for f not known to be convex a stationary point."""
        return self in (Status.OPTIMUM, Status.STATIONARY_POINT)


@dataclass(frozen=True, eq=False)
class Minimum:
    """What was found for one problem, by any solver.

    Attributes
    ----------
    reward : array, shape (n,)
        The implicit reward ``g = βh``, centred within each component of what is compared (for problems in other
        coordinates: the point in those). The minimiser where `status` is an answer, the one of least norm where it is
        not unique, where the solver ended where it did not converge; NaN where there is nothing to be shown.
    value : float
        The infimum, attained or not; −∞ where there is none.
    status : Status
    reason : str
        What is to be said of it beside the status; often empty.
    error : float
        Estimate of the largest error in `reward`: the last step, and rounding carried through the Hessian.
    iterations : int
    intervals : Intervals or None
        Constraints on differences that describe all minimisers, where the solver knows them.
    gap : float
        How far the value at `reward` can lie above the infimum, by a dual solution, a unit of weight; NaN without one.
    """

    reward: FloatArray
    value: float
    status: Status
    reason: str = ""
    error: float = np.nan
    iterations: int = 0
    intervals: Intervals | None = None
    gap: float = np.nan

    @property
    def converged(self) -> bool:
        """Whether `reward` is the answer."""
        return self.status.is_answer

    @property
    def minimiser(self) -> FloatArray | None:
        """The answer, or the minimiser of least norm where there are many; None where there is neither."""
        shown = self.converged or self.status is Status.NOT_UNIQUE
        return self.reward if shown and np.isfinite(self.reward).all() else None


def ended(reward: FloatArray, value: float, error: float, good: bool, iterations: int) -> Minimum:
    """Where Newton's iteration ended, as a minimum found or one not found."""
    if good:
        return Minimum(reward, value, Status.OPTIMUM, "", error, iterations)
    reason = f"Newton's iteration ended after {iterations} steps with an estimated error of {error:.1e} in β·log-ratio"
    return Minimum(reward, value, Status.NOT_CONVERGED, reason, error, iterations)


def nowhere(n: int) -> FloatArray:
    """The reward of a problem without one: NaN, shape (n,)."""
    return np.full(n, np.nan)


def described(status: Status, reason: str) -> str:
    """Both in one line, for people."""
    return f"{status}: {reason}" if reason else str(status)
