r"""The minimum of Σ w F(β h_i, β h_j) over policies, Σπ = 1 (h = log π/πref), with a bound on what is left to gain.

For convex F let g = ∂L/∂u at a policy, q = −g and Q = Σq. Relaxed to Σ πref e^{u/β} ≤ 1 the problem is convex, and

    min L ≥ L(u) − sup {q·(u′ − u) : Σ πref e^{u′/β} ≤ 1} = L(u) − β Q KL(q/Q ‖ π)        for q ≥ 0,         (1)

since the supremum is at πref e^{u′/β} = q/Q. So the policy is optimal exactly if it is the pull itself, π = q/Q: where
the losses push all log-ratios up (Q ≥ 0) the certificate is a KL divergence. Where they push down (Q < 0) Σπ = 1 is met
from the other side and the problem is not convex. Then F is split into R(a) + S(b) and a convex rest, which is replaced
by its tangent plane; what is left is a problem for each u_i by itself, minimised globally below the multiplier's
concave term by tangents and chords, and its sum bounds L from below (:mod:`.ratio_bound`). Where that leaves a gap the
bound is branched on the one mass that can be beyond where its part turns concave (:mod:`.ratio_branch`). Where a gap is
left then the best of several starts is given with it, and called a stationary point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpo_analysis.analysis.two_ratio_convexity import joint_convexity
from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.losses import TwoRatioLoss
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.solvers.ratio_bound import pull_gap, separate_gap
from gpo_analysis.solvers.ratio_objective import GONE, RatioObjective, kinked

_STEPS = 400
_STARTS = 12
_IDLE = 8
_CERTAIN = 1e-8  # largest gap of what is called an optimum, relative to 1 + |L|
_WIDTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)
_SAME, _DIFFERENT = 1e-11, 1e-3  # relative: values, and log-ratios, of two ends
_LOW = -18.0  # below it a log-ratio, times β and by itself, is asked whether it ever comes to rest
_FAR = (-40.0, -100.0, -250.0, -600.0)


@dataclass(frozen=True, eq=False)
class SimplexMinimum:
    """What was found for one context.

    Attributes
    ----------
    log_policy : array, shape (n,)
        log π; −∞ for responses that the infimum leaves without mass.
    value : float
        The infimum, attained or not.
    status : Status
    reason : str
    gap : float
        Bound on L − inf L by what :mod:`gpo_analysis.solvers.simplex` says, up to rounding; NaN where there is none.
    pull : float
        −Σ ∂L/∂u: above 0 where all log-ratios are pushed up against Σπ = 1, below 0 where they are pushed down.
    error : float
        The last step in u.
    iterations : int
    """

    log_policy: FloatArray
    value: float
    status: Status
    reason: str
    gap: float
    pull: float
    error: float
    iterations: int


def minimise_on_simplex(
    loss: TwoRatioLoss,
    beta: float,
    reference: FloatArray,
    first: Any,
    second: Any,
    weight: FloatArray,
    names: tuple[str, ...],
) -> SimplexMinimum:
    """Minimise Σ_k weight_k F(β h[first_k], β h[second_k]) over policies.

    Parameters
    ----------
    loss : TwoRatioLoss
    beta : float
    reference : array, shape (n,)
        πref, above 0.
    first, second : array of int, shape (k,)
        Chosen and rejected; equal where the same response was drawn twice.
    weight : array, shape (k,)
        Above 0.
    names : tuple of str
        Of the responses, for what is said of them.

    Returns
    -------
    SimplexMinimum
    """
    n = len(reference)
    seen = np.zeros(n, dtype=bool)
    seen[first] = seen[second] = True
    kept = np.flatnonzero(seen)
    unseen = np.flatnonzero(~seen)
    place = np.full(n, -1)
    place[kept] = np.arange(len(kept))
    mass = np.append(reference[kept], reference[unseen].sum()) if len(unseen) else reference[kept]
    objective = RatioObjective(
        loss, beta, np.log(mass), place[first], place[second], weight, np.zeros(len(mass), dtype=bool),
        np.full(len(mass), GONE),
    )  # fmt: skip
    found = _best(objective, [*(names[i] for i in kept), *(["those never compared"] if len(unseen) else [])])
    log_policy = np.full(n, -np.inf)
    log_policy[kept] = found.log_policy[: len(kept)]
    if len(unseen):
        log_policy[unseen] = found.log_policy[-1] + np.log(reference[unseen]) - np.log(mass[-1])
    if len(unseen) > 1 and found.status.is_answer:
        reason = f"{len(unseen)} responses that are never compared share π = {np.exp(found.log_policy[-1]):.6g} anyhow"
        return replace(found, log_policy=log_policy, status=Status.NOT_UNIQUE, reason=reason)
    return replace(found, log_policy=log_policy)


def _best(objective: RatioObjective, names: list[str]) -> SimplexMinimum:
    convex = joint_convexity(objective.loss)[0] is True
    starts = [objective.log_reference]
    ended = [_from_start(objective, start) for start in starts]
    gap = _gap(ended[0]) if convex and ended[0].good else np.nan
    certain = gap <= _CERTAIN * (1 + abs(ended[0].value))
    if not certain:
        starts += _other_starts(objective)
        ended += [_from_start(objective, start) for start in starts[1:]]
    # where two are as good as each other the one without −∞ is an answer
    best = min(ended, key=lambda one: (round(one.value, 11), int(one.gone.sum())))
    status, reason = Status.OPTIMUM, ""
    if _falls_for_ever(best):
        log_policy = best.objective.log_policy(best.theta)
        why = f"F falls without bound as the log-ratios of {_listed(names, _away(best))} do"
        return SimplexMinimum(
            log_policy, -np.inf, Status.UNBOUNDED_BELOW, why, np.nan, np.nan, best.error, best.iterations
        )
    if best.gone.any():
        status = Status.NO_FINITE_OPTIMUM
        reason = f"the infimum leaves no mass to {_listed(names, best.gone)}"
        if (best.objective.levels[best.gone] < GONE).any():
            reason += " (they run off together, so that the value may lie above the infimum by rounding and less)"
    elif not convex and _away(best).any():
        status = Status.NO_FINITE_OPTIMUM
        reason = f"the log-ratios of {_listed(names, _away(best))} run off; the value is where the search ended"
    elif not best.good:
        status, reason = (
            Status.NOT_CONVERGED,
            f"Newton's iteration ended with a step of {best.error:.1e} in βh",
        )
    gap = _gap(best) if convex and best.good else np.nan
    certain = gap <= _CERTAIN * (1 + abs(best.value))
    if not certain and status is not Status.NOT_CONVERGED:
        status = Status.STATIONARY_POINT if status is Status.OPTIMUM else status
        why = f"Σπ = 1 is met from above, and the gap is {gap:.1g}" if convex else "F is not known to be convex"
        local = f"local: the best of {len(starts)} starts, {why}"
        reason = f"{reason}; {local}" if reason else local
        apart = max((_apart(best, one) for one in ended), default=0.0)
        if status is Status.STATIONARY_POINT and apart > _DIFFERENT:
            status = Status.NOT_UNIQUE
            reason = f"another start came to the same value at log-ratios up to {apart:.3g} / β away; {local}"
    if status is Status.OPTIMUM and _is_level(best):
        status, reason = Status.NOT_UNIQUE, "F is level along a direction in which the policy can move"
    pull = float(-best.objective.gradient(best.objective.ratios(best.theta)).sum())
    log_policy = best.objective.log_policy(best.theta)
    return SimplexMinimum(log_policy, best.value, status, reason, gap, pull, best.error, best.iterations)


def _listed(names: list[str], some: BoolArray) -> str:
    found = [names[i] for i in np.flatnonzero(some)]
    return ", ".join(found[:5]) + (", …" if len(found) > 5 else "")


def _away(end: _End) -> BoolArray:
    """Responses without mass, and those whose log-ratios are low."""
    return end.gone | (end.objective.ratios(end.theta) < _low(end.objective))


def _falls_for_ever(end: _End) -> bool:
    """Whether L goes on falling, not less and less, as what is low is made 10³ and 10⁶ times as low."""
    away, u = _away(end), end.objective.ratios(end.theta)
    if not away.any():
        return False
    first, second, third = (
        replace(end.objective, width=0.0).value(np.where(away, factor * u, u)) for factor in (1.0, 1e3, 1e6)
    )
    return bool(first - second > 1e-6 * (1 + abs(first)) and second - third > 0.25 * (first - second))


def _is_level(end: _End) -> bool:
    """Whether L keeps its value when β log π/πref moves by 0.02 one way in which it has no curvature.

    So it is between the kinks of F; where F only bends late, as a fourth power, 0.02⁴ shows.
    """
    objective = replace(end.objective, width=0.0)
    value, _, hessian, _ = objective.in_logits(end.theta)
    free = np.flatnonzero(~objective.fixed)
    if len(free) < 2 or not np.isfinite(hessian).all():
        return False
    n = len(free)
    values, vectors = np.linalg.eigh(hessian[np.ix_(free, free)] + np.full((n, n), 1.0 + np.abs(hessian).max()) / n)
    for k in np.flatnonzero(np.abs(values) <= 1e-9 * np.abs(values).max()):
        for side in (-1.0, 1.0):
            moved = end.theta.copy()
            moved[free] += side * 0.02 / objective.beta * vectors[:, k] / np.abs(vectors[:, k]).max()
            if abs(objective.value(objective.ratios(moved)) - value) <= 1e-12 * (1 + abs(value)):
                return True
    return False


def _apart(one: _End, other: _End) -> float:
    """How far two ends of one value lie apart in u, relative to 1 + max |u|; 0 for different values."""
    if not (one.good and other.good) or (one.gone | other.gone).any():
        return 0.0
    if abs(one.value - other.value) > _SAME * (1 + abs(one.value)):
        return 0.0
    u, v = one.objective.ratios(one.theta), other.objective.ratios(other.theta)
    return float(np.abs(u - v).max() / (1 + np.abs(u).max()))


def _other_starts(objective: RatioObjective) -> list[FloatArray]:
    """Logits to start from beside πref: along the shares of wins, and at random, the same in every run."""
    rng = np.random.default_rng(0)
    wins = np.bincount(objective.first, objective.weight, objective.n)
    losses = np.bincount(objective.second, objective.weight, objective.n)
    lead = (wins - losses) / np.maximum(wins + losses, 1e-300)
    along = [objective.log_reference + size * lead / objective.beta for size in (-1.0, 1.0, 4.0)]
    spread = rng.normal(0.0, 2.0, (_STARTS - 1 - len(along), objective.n))
    return [*along, *(objective.log_reference + spread / objective.beta)]


@dataclass(frozen=True, eq=False)
class _End:
    objective: RatioObjective
    theta: FloatArray
    value: float
    error: float
    good: bool
    iterations: int

    @property
    def gone(self) -> BoolArray:
        return np.asarray(self.objective.fixed, dtype=bool)


def _from_start(objective: RatioObjective, start: FloatArray) -> _End:
    """Descend; take mass from responses that never come to rest, and go on without them."""
    theta, iterations = start, 0
    for _ in range(objective.n):
        theta, error, good, steps = _descended(objective, theta)
        iterations += steps
        leaving = _leaving(objective, theta)
        if leaving.any():
            objective = replace(objective, fixed=objective.fixed | leaving)
            continue
        leaving = _leaving_together(objective, theta)
        if not leaving.any():
            break
        u = objective.ratios(theta)
        level = np.where(leaving, GONE + u - np.max(u[leaving]), objective.levels)
        objective = replace(objective, fixed=objective.fixed | leaving, levels=level)
    return _End(objective, theta, objective.value(objective.ratios(theta)), error, good, iterations)


def _low(objective: RatioObjective) -> float:
    """Below which β log π/πref is low; at large β only where log π/πref is too."""
    return _LOW * max(1.0, objective.beta)


def _leaving(objective: RatioObjective, theta: FloatArray) -> BoolArray:
    """Responses of low log-ratio whose logit is still pulled down at every lower log-ratio that is tried."""
    u = objective.ratios(theta)
    found = np.zeros(objective.n, dtype=bool)
    smooth = replace(objective, width=0.0)
    for i in np.flatnonzero((u < _low(objective)) & ~objective.fixed):
        alone = np.arange(objective.n) == i
        found[i] = all(_pulled_down(smooth, np.where(alone, min(far, 2 * u[i]), u), alone) for far in _FAR)
    if (found | objective.fixed).all():
        found[np.argmax(u)] = False
    return found


def _leaving_together(objective: RatioObjective, theta: FloatArray) -> BoolArray:
    """Responses of low log-ratio whose logits are pulled down as a group, where none is by itself."""
    u = objective.ratios(theta)
    low = (u < _low(objective)) & ~objective.fixed
    smooth = replace(objective, width=0.0)
    if not low.any() or (low | objective.fixed).all():
        return np.zeros(objective.n, dtype=bool)
    down = all(_pulled_down(smooth, np.where(low, u + far, u), low) for far in _FAR)
    return low if down else np.zeros(objective.n, dtype=bool)


def _pulled_down(objective: RatioObjective, u: FloatArray, group: BoolArray) -> bool:
    """Whether L falls as the logits of a group are lowered together."""
    g = objective.gradient(u)
    mass = np.exp(u[group] / objective.beta + objective.log_reference[group])
    return bool(np.sum(g[group] - mass * g.sum()) >= 0)


def _descended(objective: RatioObjective, theta: FloatArray) -> tuple[FloatArray, float, bool, int]:
    if not kinked(objective.loss):
        return _newton(objective, theta)
    total = 0
    error, good = np.nan, False
    for width in _WIDTHS:
        theta, error, good, steps = _newton(replace(objective, width=width), theta)
        total += steps
    return theta, error, good, total


def _newton(objective: RatioObjective, theta: FloatArray) -> tuple[FloatArray, float, bool, int]:
    """Damped Newton steps, along directions of negative curvature downhill all the same."""
    free = ~objective.fixed
    error = best = np.inf
    idle = 0
    value, gradient, hessian, _ = objective.in_logits(theta)
    for step in range(_STEPS):
        direction = _direction(gradient, hessian, free)
        size = objective.beta * float(np.max(np.abs(direction)))
        steep = float(np.abs(gradient[free]).max(initial=0.0))
        if (
            size <= 1e-13
            and steep > 1e-10 * (1 + abs(value))
            and np.abs(hessian).max() <= 1e-9 * objective.beta * steep
        ):
            direction = np.where(free, -gradient, 0.0)  # no curvature, and not at rest: as for F linear in a and b
            direction *= 4.0 / (objective.beta * float(np.abs(direction).max()))
            size = 4.0
        # β log π/πref moves by at most 4 at once, or log π/πref by 1 where that is more
        direction *= min(1.0, max(4.0, objective.beta) / size) if size > 0 else 0.0
        error = size
        idle = 0 if size < 0.5 * best else idle + 1
        best = min(best, size)
        if idle > _IDLE and best <= 1e-6:  # steps of rounding
            return theta, best, True, step
        scale = 1.0
        slope = float(gradient @ direction)
        level = 1e-14 * (1 + abs(value))
        # where values differ by rounding alone the gradient says whether to go on; one of rounding says nothing, and
        # the step of a response that runs off, whose mass is far below it, is taken as it is
        flat = max(0.9 * float(np.abs(gradient).max()), level)
        moved = False
        for _ in range(60):
            new = theta + scale * direction
            lower = objective.value(objective.ratios(new))
            enough = lower <= value + 1e-4 * scale * slope
            if enough or lower <= value + level:
                trial = objective.in_logits(new)
                moved = enough or float(np.abs(trial[1]).max()) <= flat
            if moved:
                break
            scale *= 0.5
        if not moved:
            return theta, error, size <= 1e-7, step
        theta, (value, gradient, hessian, _) = new, trial
        if size <= 1e-13:
            return theta, error, True, step
        u = objective.ratios(theta)
        if (u[free] < _low(objective) - 8).any() and _leaving(objective, theta).any():
            return theta, error, False, step
    return theta, error, False, _STEPS


def _direction(gradient: FloatArray, hessian: FloatArray, free: BoolArray) -> FloatArray:
    """−\\|H\\|⁻¹ g on the free responses, without the common shift; scaled, as some responses weigh next to nothing."""
    h, g = hessian[np.ix_(free, free)], gradient[free]
    size = np.sqrt(np.maximum(np.abs(np.diag(h)), 1e-290))
    shift = size / np.linalg.norm(size)  # H 1 = 0
    values, vectors = np.linalg.eigh(h / np.outer(size, size) + np.outer(shift, shift))
    along = vectors.T @ (g / size)
    largest = max(float(np.abs(values).max()), 1e-300)
    flat = np.abs(values) < 1e-14 * largest
    with np.errstate(over="ignore", invalid="ignore"):
        step = -(vectors @ np.where(flat, 0.0, along / np.where(flat, 1.0, np.abs(values)))) / size
    found = np.zeros(len(gradient))
    found[free] = step - step.mean()
    return found


def _gap(end: _End) -> float:
    """A bound on what is left to gain; see the module."""
    objective = end.objective
    if kinked(objective.loss):
        objective = replace(objective, width=_WIDTHS[-1])
    u = objective.ratios(end.theta)
    over = end.value - objective.value(u)  # of the rounding of kinks
    pulled = pull_gap(objective, u)
    if not np.isfinite(pulled) or pulled > 1e-10:
        pulled = min(pulled, separate_gap(objective, u))
    return pulled + abs(over) if np.isfinite(pulled) else np.nan
