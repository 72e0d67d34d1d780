"""The optimum of one loss over many problems, as ``g = βh``: β does not enter, so one optimum serves every β.

``E f(βρ)`` depends on β and h only through g = βh, and h is free up to the constant that normalises π. Hence the
centred optimal log-ratio is exactly proportional to 1/β, for every f.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.calculus.undecided import Undecided
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import LossShape, shape_of
from gpo_analysis.solvers.cuts import is_small_enough, minimise_by_cuts
from gpo_analysis.solvers.existence import Verdict, existence, has_minimum_of_complete_pairs, listed
from gpo_analysis.solvers.faces import Intervals, fixed_blocks, least_norm
from gpo_analysis.solvers.functions import Differentiable, Stretched, stretched, unit_of
from gpo_analysis.solvers.kinks import minimise_kinked
from gpo_analysis.solvers.linear import minimise_linear
from gpo_analysis.solvers.minimum import Minimum, Status, nowhere
from gpo_analysis.solvers.newton import Ends, ends_of_stack
from gpo_analysis.solvers.nonconvex import DENSE_AT_MOST, Ahead, descend, look_ahead
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.precise import RESPONSES_AT_MOST, minimise_precisely
from gpo_analysis.solvers.sparse_newton import minimise_sparse
from gpo_analysis.solvers.starts import PairStart
from gpo_analysis.solvers.threads import one_thread
from gpo_analysis.solvers.vertices import minimise_at_vertices

#: Losses with kinks and curvature are solved with dense matrices.
KINKED_AT_MOST = 1000

#: Responses from which on a problem that stands alone is solved by its pairs, if no weight is below this share of the
#: largest.
MANY, UNEVEN = 32, 1e-6

#: Shares of the largest weight below which a weight is lost in the rounding of others.
GRADED = 1e-10

#: What numerical libraries raise when a problem is too much for them. One that does ends as "not converged".
FAILURES = (np.linalg.LinAlgError, RuntimeError, ArithmeticError)


def optimise(problems: Sequence[WeightedPairs], loss: MarginLoss) -> list[Minimum]:
    """Minimise ``E f(g_i − g_j)`` over g for each problem; those of one size share one vectorised iteration.

    Parameters
    ----------
    problems : sequence of WeightedPairs
    loss : MarginLoss

    Returns
    -------
    list of Minimum
        Its value includes the draws of twice the same response. A problem on which a solver fails is "not converged",
        with the failure as its reason; the others are not touched by it. Where the pieces of f are not decided, all are
        "undecided".
    """
    try:
        under = _under(loss)
    except Undecided as open_question:
        reason = f"of f itself: {open_question.reason}"
        return [Minimum(nowhere(pairs.n), np.nan, Status.UNDECIDED, reason) for pairs in problems]
    cases = {k: _Case(pairs, under) for k, pairs in enumerate(problems) if not under.is_settled(pairs)}
    found: dict[int, Minimum] = {}
    stacks: dict[int, list[int]] = {}
    with one_thread():
        ahead = _looked_ahead(cases)
        for k, pairs in enumerate(problems):
            if k not in cases:
                stacks.setdefault(pairs.n, []).append(k)
                continue
            case = cases[k]
            try:
                if k in ahead:
                    found[k] = case.not_convex(ahead[k])
                elif case.is_smooth and pairs.matrix is not None:
                    stacks.setdefault(pairs.n, []).append(k)
                else:
                    found[k] = case.solved()
            except FAILURES as failure:
                found[k] = case.failed(failure)
        for rows in stacks.values():
            found |= zip(rows, _stacked([cases.get(k, problems[k]) for k in rows], under), strict=True)
    return [_measured(found[k], under.unit) for k in range(len(problems))]


def _looked_ahead(cases: dict[int, _Case]) -> dict[int, Ahead]:
    """For losses that are not convex, what problems of one size can find out together; nothing where that fails."""
    sizes: dict[int, list[int]] = {}
    for k, case in cases.items():
        if case.shape.convex or case.pairs.n > DENSE_AT_MOST or case.shape.is_piecewise_linear or case.shape.kinks:
            continue
        with contextlib.suppress(*FAILURES):
            if case.verdict.status is None and case.pairs.matrix is not None:
                sizes.setdefault(case.pairs.n, []).append(k)
    found: dict[int, Ahead] = {}
    for rows in sizes.values():
        with contextlib.suppress(*FAILURES):  # each is then solved alone, so that one alone is to blame
            ahead = look_ahead([cases[k].kept for k in rows], cases[rows[0]].loss, cases[rows[0]].shape)
            found |= zip(rows, ahead, strict=True)
    return found


def _measured(found: Minimum, unit: float) -> Minimum:
    """From the solvers' unit of z back to z itself."""
    return found if unit == 1 else replace(found, reward=unit * found.reward, error=unit * found.error)


def _stacked(members: Sequence[_Case | WeightedPairs], under: _Under) -> list[Minimum]:
    """Smooth convex problems of one size, together; one by one where that fails, so that one alone is to blame.

    Of those that are pairs the minimum is known to exist and to be the only one, and no more is asked.
    """
    if len(members) == 1:
        (member,) = members
        return [_alone(_Case(member, under) if isinstance(member, WeightedPairs) else member)]
    kept = [member if isinstance(member, WeightedPairs) else member.kept for member in members]
    try:
        ends = under.ends(kept)
    except FAILURES:
        return [_stacked([member], under)[0] for member in members]
    centred = ends.reward - ends.reward.mean(axis=1, keepdims=True)
    columns = (ends.good, ends.value, ends.error, ends.iterations)
    numbers = zip(members, *(column.tolist() for column in columns), strict=True)
    found = []
    for k, (member, good, value, error, iterations) in enumerate(numbers):
        if good and isinstance(member, WeightedPairs):
            value += member.diagonal_mass * under.at_zero if member.diagonal_mass else 0.0
            found.append(Minimum(centred[k], value, Status.OPTIMUM, "", error, iterations))
            continue
        case = _Case(member, under) if isinstance(member, WeightedPairs) else member
        found.append(case.ended(ends, k))
    return found


def _alone(case: _Case) -> Minimum:
    """A smooth convex problem by itself."""

    def solved() -> Minimum:
        if case.is_even:  # alone it takes less by pairs than as a matrix, and no LAPACK
            minimum = minimise_sparse(case.kept, case.loss)
            if minimum.converged:
                return case.concluded(minimum)
        return case.concluded(case.under.ends([case.kept]).minimum(0))

    return case.tried(solved)


@dataclass(frozen=True, eq=False)
class _Under:
    """A loss, `loss` and `shape` in the solvers' unit of z, `given` and `source` in the user's; `at_zero` is f(0)."""

    loss: Differentiable
    shape: LossShape
    given: LossShape
    source: MarginLoss
    unit: float
    at_zero: float

    @cached_property
    def start(self) -> PairStart | None:
        """Where Newton's method starts; None for zeros."""
        return None if self.shape.straight else PairStart.of(self.loss)

    @cached_property
    def _is_settled(self) -> bool:
        is_curved = not (self.shape.kinks or self.shape.straight)
        return is_curved and has_minimum_of_complete_pairs(self.given)

    def is_settled(self, pairs: WeightedPairs) -> bool:
        """Whether a minimum of these pairs is known to exist, to be the only one, and Newton's method finds it."""
        return self._is_settled and pairs.matrix is not None and pairs.is_complete

    def ends(self, problems: Sequence[WeightedPairs]) -> Ends:
        """Newton's method on problems of one size."""
        weights, blocks = np.stack([one.dense() for one in problems]), np.stack([one.parts for one in problems])
        return ends_of_stack(weights, self.loss, blocks, self.start)


@lru_cache(maxsize=512)
def _under(loss: MarginLoss) -> _Under:
    """A loss as the solvers take it."""
    unit, shape = unit_of(loss), shape_of(loss)
    f: Differentiable = loss if unit == 1 else Stretched(loss, unit)
    return _Under(f, stretched(shape, unit), shape, loss, unit, float(loss(np.zeros(()))))


@dataclass(frozen=True, eq=False)
class _Case:
    """One problem under one loss."""

    pairs: WeightedPairs
    under: _Under

    @property
    def loss(self) -> Differentiable:
        return self.under.loss

    @property
    def shape(self) -> LossShape:
        return self.under.shape

    def tried(self, solver: Callable[[], Minimum]) -> Minimum:
        """What a solver finds; where it raises, that it did."""
        try:
            return solver()
        except FAILURES as failure:
            return self.failed(failure)

    @cached_property
    def verdict(self) -> Verdict:
        """What is known before solving."""
        return existence(self.pairs, self.under.given)

    @cached_property
    def kept(self) -> WeightedPairs:
        """The pairs that are solved: those that go to infinity left out."""
        away = self.verdict.separated
        return self.pairs if away is None else self.pairs.restricted(~away)

    @property
    def is_smooth(self) -> bool:
        """Whether Newton's method alone solves it."""
        is_open = self.verdict.status in (None, Status.UNBOUNDED_BELOW)
        return not is_open and not self.shape.kinks and not self.shape.is_piecewise_linear

    @property
    def is_even(self) -> bool:
        """Whether the weights are near enough to each other for conjugate gradients, and the responses many."""
        weight = self.kept.weight
        return self.pairs.n >= MANY and weight.min(initial=1.0) > UNEVEN * weight.max(initial=0.0)

    def solved(self) -> Minimum:
        """The minimum, by the method that fits the loss."""
        solver: Callable[[], Minimum]
        if self.verdict.status is Status.UNBOUNDED_BELOW:
            return self.without(Status.UNBOUNDED_BELOW, self.verdict.reason, -np.inf)
        if self.verdict.status is None:
            return self.not_convex()
        if self.shape.is_piecewise_linear:
            solver = lambda: minimise_linear(self.kept, self.loss, self.shape)  # noqa: E731
        elif not self.shape.kinks:
            solver = lambda: minimise_sparse(self.kept, self.loss)  # noqa: E731
        elif self.pairs.n > KINKED_AT_MOST:
            reason = f"losses with both kinks and curvature are solved for at most {KINKED_AT_MOST} responses, this "
            return self.without(Status.NOT_CONVERGED, f"{reason}problem has {self.pairs.n}", np.nan)
        else:
            solver = lambda: minimise_kinked(self.kept, self.loss, self.shape)  # noqa: E731
        return self.concluded(solver())

    def failed(self, failure: Exception) -> Minimum:
        """What is said where a solver raised."""
        return self.without(Status.NOT_CONVERGED, f"{type(failure).__name__}: {failure}", np.nan)

    def ended(self, ends: Ends, k: int) -> Minimum:
        """The answer where this is the k-th of a stack."""
        return self.tried(lambda: self.concluded(ends.minimum(k)))

    def without(self, status: Status, reason: str, value: float) -> Minimum:
        return Minimum(nowhere(self.pairs.n), value, status, reason)

    def total(self, value: float) -> float:
        """The infimum of E f: what was solved, the pairs that are separated, and draws of twice the same response."""
        away = self.verdict.separated
        if away is not None and away.any():
            value += float(self.pairs.weight[away].sum()) * self.verdict.limit
        diagonal = self.pairs.diagonal_mass
        return value + (diagonal * self.under.at_zero if diagonal else 0.0)

    def concluded(self, found: Minimum) -> Minimum:
        """From the end of a solver to the answer for the whole problem."""
        if not found.converged and self.is_smooth and is_small_enough(self.kept):
            found = minimise_by_cuts(self.kept, self.loss, found.reward)
        if self.is_smooth and (not found.converged or self._is_beyond_floats):
            found = self._in_many_digits(found)
        found = replace(found, value=self.total(found.value))
        if self.verdict.status is Status.NO_FINITE_OPTIMUM and (found.converged or self.verdict.separated is None):
            return self._nowhere(found, Status.NO_FINITE_OPTIMUM, self.verdict.reason)
        if not found.converged:
            return found
        return self._unique_or_not(found)

    @property
    def _is_beyond_floats(self) -> bool:
        """Whether what is level to floats (pairs on a straight piece) may be decided by pairs of a tiny weight."""
        weight = self.kept.weight
        return bool(self.shape.straight) and weight.min(initial=1.0) < GRADED * weight.max(initial=0.0)

    def _in_many_digits(self, found: Minimum) -> Minimum:
        """What floats do not settle; what they seemed to is not believed where this does not either."""
        settled = minimise_precisely(self.kept, self.under.source, self.under.unit * found.reward)
        if settled is not None:
            reward, iterations = settled.reward / self.under.unit, found.iterations + settled.iterations
            return replace(settled, reward=reward, iterations=iterations)
        if not found.converged:
            return found
        ratio = self.kept.weight.min() / self.kept.weight.max()
        reason = f"the loss has straight pieces, and the weights of the pairs are down to {ratio:.0e} of the largest: "
        reason += f"too little for floats; more digits are taken for at most {RESPONSES_AT_MOST} responses"
        return replace(found, status=Status.NOT_CONVERGED, reason=reason)

    def _nowhere(self, found: Minimum, status: Status, reason: str) -> Minimum:
        return replace(found, reward=nowhere(self.pairs.n), status=status, reason=reason)

    def _unique_or_not(self, found: Minimum) -> Minimum:
        g = found.reward
        if found.intervals is None and self._is_held(g):
            return replace(found, reward=g - g.mean(), status=Status.OPTIMUM)
        intervals = self._intervals(g) if found.intervals is None else found.intervals
        blocks = fixed_blocks(self.pairs.n, intervals, g)
        if blocks.max() == 0:
            return replace(found, reward=g - g.mean(), status=Status.OPTIMUM)
        nearest = least_norm(self.pairs.n, self._with_separated(intervals), g, blocks)
        return replace(found, reward=nearest, status=Status.NOT_UNIQUE, reason=self._why_free(blocks))

    def _is_held(self, g: FloatArray) -> bool:
        """Whether pairs where an f without kinks is curved connect all responses, so that no other g is as good."""
        if not self.shape.straight:
            return not self.kept.parts.any()
        intervals = self._intervals(g)
        curved = intervals.lower == intervals.upper
        return not self.kept.restricted(curved).parts.any()

    def _intervals(self, g: FloatArray) -> Intervals:
        """Within which every minimiser's margins stay, for an f without kinks."""
        tolerance = 1e-8 * (1 + float(np.abs(g).max(initial=0.0)))
        lower, upper = self.shape.interval(self.kept.margins(g), tolerance)
        return Intervals(self.kept.winner, self.kept.loser, lower, upper)

    def _with_separated(self, intervals: Intervals) -> Intervals:
        """Separated pairs of a loss that is flat far out have to reach that far."""
        away = self.verdict.separated
        if away is None or not away.any():
            return intervals
        winner, loser = self.pairs.winner[away], self.pairs.loser[away]
        if self.shape.flat_from is not None:
            return intervals.and_at_least(winner, loser, self.shape.flat_from)
        assert self.shape.flat_until is not None
        return intervals.and_at_least(loser, winner, -self.shape.flat_until)

    def _why_free(self, blocks: IntArray) -> str:
        """Why differences between the blocks may vary."""
        parts = int(self.pairs.parts.max()) + 1
        if parts > 1:
            seen = np.zeros(self.pairs.n, dtype=bool)
            seen[self.pairs.winner], seen[self.pairs.loser] = True, True
            never = [self.pairs.names[i] for i in np.flatnonzero(~seen)]
            reason = f"the comparison graph has {parts} components, between which nothing is compared"
            return reason + (f" (never compared: {listed(never)})" if never else "")
        groups = int(blocks.max()) + 1
        why = f"the minimisers form a face: {groups} groups of responses can move against one another on flat or "
        why += "straight pieces of the loss"
        if self.verdict.separated is not None and self.verdict.separated.any():
            why += ", the preferences being separable"
        return why

    def not_convex(self, ahead: Ahead | None = None) -> Minimum:
        """f is not known to be convex."""
        found = minimise_at_vertices(self.kept, self.loss, self.shape)
        found = descend(self.kept, self.loss, self.shape, ahead=ahead) if found is None else found
        found = replace(found, value=self.total(found.value))
        unsettled = found.status is Status.NOT_CONVERGED and self.verdict.attained
        if self.verdict.separated is None or found.value == -np.inf or unsettled:
            return found
        status = Status.NOT_UNIQUE if self.verdict.attained else Status.NO_FINITE_OPTIMUM
        return self._nowhere(found, status, self.verdict.reason)
