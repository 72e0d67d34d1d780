"""Losses of two log-ratios, part by part: derivatives by differences, bounds against fine lines, turns by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy
from scipy.optimize import minimize
from scipy.special import expit, log_expit, rel_entr

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import CHOSEN, REJECTED, TwoRatioLoss
from gpo_analysis.solvers import ratio_branch
from gpo_analysis.solvers.ratio_bound import _above_least, _cell_bounds, _Own, pull_gap, separate_gap
from gpo_analysis.solvers.ratio_branch import Separate, branched_bound
from gpo_analysis.solvers.ratio_objective import GONE, RatioObjective, kinked, rounded
from gpo_analysis.solvers.simplex import minimise_on_simplex

GENERAL = TwoRatioLoss("general", sympy.exp(-CHOSEN) + REJECTED**2 + CHOSEN * REJECTED / 3 + REJECTED / 5)


def objective(loss: TwoRatioLoss, beta: float = 0.7, fixed: tuple[int, ...] = ()) -> RatioObjective:
    gone = np.isin(np.arange(4), fixed)
    return RatioObjective(
        loss, beta, np.log([0.1, 0.2, 0.3, 0.4]), np.array([0, 1, 2, 3, 2, 0]), np.array([1, 0, 3, 1, 2, 3]),
        np.array([0.3, 0.1, 0.25, 0.15, 0.05, 0.15]), gone, np.where(gone, -3.0, GONE),
    )  # fmt: skip


@pytest.mark.parametrize("fixed", [(), (1,), (0, 3)])
@pytest.mark.parametrize("beta", [0.7, 2.0])
def test_gradients_and_hessians_are_differences_of_values(beta: float, fixed: tuple[int, ...]) -> None:
    at = objective(GENERAL, beta, fixed)
    theta, step = np.array([0.3, -0.2, 0.1, 0.6]), 1e-5
    free = [k for k in range(4) if k not in fixed]
    policy = np.exp(theta) * ~at.fixed
    np.testing.assert_allclose(np.exp(at.log_policy(theta)), policy / policy.sum(), rtol=1e-14)
    u = at.ratios(theta)
    shares = policy[free] / policy.sum()
    np.testing.assert_allclose(u[free], beta * (np.log(shares) - at.log_reference[free]), rtol=1e-13)
    np.testing.assert_array_equal(u[list(fixed)], -3.0)
    a, b = u[at.first], u[at.second]
    terms = np.exp(-a) + b**2 + a * b / 3 + b / 5
    assert at.value(u) == pytest.approx(float(at.weight @ terms), rel=1e-14)
    unit = np.eye(4) * ~at.fixed
    by_u = [(at.value(u + step * e) - at.value(u - step * e)) / (2 * step) for e in unit]
    np.testing.assert_allclose(at.gradient(u), by_u, atol=1e-9)
    twice = [(at.gradient(u + step * e) - at.gradient(u - step * e)) / (2 * step) for e in unit]
    np.testing.assert_allclose(at.hessian(u), twice, atol=1e-8)
    value, gradient, hessian, whole = at.in_logits(theta)
    assert value == at.value(u)
    np.testing.assert_allclose(whole, policy / policy.sum(), rtol=1e-14)
    moved = [at.in_logits(theta + side * step * e) for e in np.eye(4) for side in (1, -1)]
    slopes = [(moved[2 * k][0] - moved[2 * k + 1][0]) / (2 * step) for k in range(4)]
    np.testing.assert_allclose(gradient, slopes, atol=1e-9)
    bent = [(moved[2 * k][1] - moved[2 * k + 1][1]) / (2 * step) for k in range(4)]
    np.testing.assert_allclose(hessian, bent, atol=1e-8)
    assert at.n == 4


@pytest.mark.parametrize("width", [0.5, 1e-3])
def test_rounded_kinks_lie_above_them_by_at_most_the_width_times_log_two(width: float) -> None:
    w = sympy.Rational(width)
    z = np.linspace(-2, 2, 81)
    for expression, sign in ((sympy.Max(0, CHOSEN), 1), (sympy.Min(0, CHOSEN), -1), (sympy.Abs(CHOSEN), 2)):
        away = [float(rounded(expression, w).subs(CHOSEN, x)) - float(expression.subs(CHOSEN, x)) for x in z]
        expected = sign * width * np.logaddexp(0, -np.abs(z) / width)
        np.testing.assert_allclose(away, expected, atol=1e-12)
        assert float(rounded(2 * expression + REJECTED, w).subs({CHOSEN: 0.3, REJECTED: 5})) == pytest.approx(
            5 + 2 * float(rounded(expression, w).subs(CHOSEN, 0.3))
        )
        assert kinked(TwoRatioLoss("kinked", expression + REJECTED))
    assert rounded(CHOSEN, w) == CHOSEN
    assert not kinked(GENERAL)
    at = replace(objective(TwoRatioLoss("kinked", sympy.Max(0, 1 - CHOSEN) + REJECTED**2)), width=width)
    u = np.array([0.9, 0.2, -0.4, 1.3])
    smooth = width * np.logaddexp(0, (1 - u[at.first]) / width) + u[at.second] ** 2
    assert at.value(u) == pytest.approx(float(at.weight @ smooth), rel=1e-12)
    slope = np.bincount(at.first, -at.weight * expit((1 - u[at.first]) / width), 4)
    np.testing.assert_allclose(at.gradient(u), slope + np.bincount(at.second, 2 * at.weight * u[at.second], 4))


@pytest.mark.parametrize("beta", [0.3, 2.0])
def test_the_pull_s_gap_is_a_divergence_of_its_own_shares(beta: float) -> None:
    """Likelihood: q are the shares of the wins whatever the policy, and nothing but KL(q‖π) is lost, exactly."""
    at = objective(TwoRatioLoss("likelihood", -CHOSEN), beta)
    theta = np.array([0.3, -0.2, 0.1, 0.6])
    wins = np.bincount(at.first, at.weight, 4)
    policy = np.exp(theta) / np.exp(theta).sum()
    gap = pull_gap(at, at.ratios(theta))
    assert gap == pytest.approx(beta * float(rel_entr(wins, policy).sum()), rel=1e-12)
    assert pull_gap(at, at.ratios(np.log(wins))) == pytest.approx(0.0, abs=1e-15)
    assert pull_gap(objective(TwoRatioLoss("down", REJECTED), beta), at.ratios(theta)) == np.inf
    assert pull_gap(objective(TwoRatioLoss("both", REJECTED - CHOSEN), beta), at.ratios(theta)) == np.inf  # Σq = 0
    assert pull_gap(objective(TwoRatioLoss("some", REJECTED / 2 - CHOSEN), beta), at.ratios(theta)) == np.inf
    without = replace(at, fixed=np.array([False, False, False, True]))
    u = without.ratios(theta)
    left, shares = wins[:3] / wins[:3].sum(), policy[:3] / policy[:3].sum()
    assert pull_gap(without, u) == pytest.approx(beta * wins[:3].sum() * float(rel_entr(left, shares).sum()), rel=1e-12)


CONVEX: dict[str, Any] = {
    "exponential": (lambda x: np.exp(-x) + 0.4 * x, lambda x: -np.exp(-x) + 0.4),
    "square": (lambda x: 0.5 * (x + 1) ** 2, lambda x: x + 1),
    "softplus": (lambda x: np.logaddexp(0, -2 * x) + x / 5, lambda x: -2 * expit(-2 * x) + 0.2),
}


@pytest.mark.parametrize("multiplier", [-1.7, -0.2, 0.0, 0.4, 3.0])
@pytest.mark.parametrize("name", CONVEX)
def test_what_lies_above_the_least_of_one_log_ratio(name: str, multiplier: float) -> None:
    f, slope = CONVEX[name]
    beta, log_reference = 0.6, -1.3
    top = -beta * log_reference

    def convex(x: np.ndarray, order: int) -> np.ndarray:
        return np.asarray((f, slope)[order](x))

    def exponential(x: np.ndarray) -> np.ndarray:
        return np.asarray(multiplier * beta * np.exp(x / beta + log_reference))

    line = np.linspace(top - 40, top, 400_001)
    least = float(np.min(f(line) + exponential(line)))
    for start in (top, 0.0, -2.0, -11.0):
        exact = float(f(start) + exponential(np.array(start))) - least
        found = _above_least(convex, multiplier, beta, log_reference, start)
        assert exact - 1e-7 <= found <= exact + 2e-8  # no less than it is, and hardly more
    left, right = np.linspace(-3, top, 9)[:-1], np.linspace(-3, top, 9)[1:]
    bounds = _cell_bounds(convex, exponential, multiplier, left, right)
    for a, b, bound in zip(left, right, bounds, strict=True):
        inside = np.linspace(a, b, 1001)
        true = float(np.min(f(inside) + exponential(inside)))
        assert bound <= true + 1e-12
        assert bound >= true - 0.5 * (b - a) * (
            np.ptp(slope(inside)) + abs(multiplier) * np.exp(b / beta + log_reference)
        )
    narrow = _cell_bounds(convex, exponential, multiplier, left, left + 1e-3)
    np.testing.assert_allclose(narrow, np.minimum(*(f(x) + exponential(x) for x in (left, left + 1e-3))), atol=3e-3)


def test_a_part_that_falls_for_ever_to_the_left_gives_no_bound() -> None:
    def bowl(centre: float) -> Callable[[FloatArray, int], FloatArray]:
        return lambda x, order: np.asarray(1e-3 * (x - centre) ** 2 if order == 0 else 2e-3 * (x - centre))

    assert _above_least(lambda x, order: x if order == 0 else np.ones_like(x), 0.5, 0.6, -1.0, 0.0) == np.inf
    assert _above_least(bowl(-5e3), 0.0, 0.6, -1.0, 0.0) == pytest.approx(1e-3 * 5e3**2, rel=1e-9)
    assert _above_least(bowl(-5e5), 0.0, 0.6, -1.0, 0.0) == np.inf


@pytest.mark.parametrize("multiplier", [-1.5, -0.3, 0.8])
@pytest.mark.parametrize("branch", [None, (2, 0.3, 0.5)])
def test_the_dual_s_value_at_any_masses(multiplier: float, branch: tuple[int, float, float] | None) -> None:
    """φ above its tangent at p̂, whose least over [0, P] lies at one end; φ_k on an interval above its chord."""
    parts, most = separate(np.array([0.3, -0.4, 0.2])), np.array([0.6, 0.5, 0.9])
    which = np.arange(3 if branch is None else 2)
    p = np.array([0.25, 0.35, 0.4])[which]
    u = parts.beta * (np.log(p) - parts.log_reference[which])
    pull = parts.beta * parts.at(u, which, 1)

    def phi(k: int, mass: float) -> float:
        x = np.array([parts.beta * (np.log(mass) - parts.log_reference[k])])
        return float(parts.at(x, np.array([k]), 0)[0])

    expected = -multiplier
    for k in which.tolist():
        steep = (phi(k, p[k] + 1e-6) - phi(k, p[k] - 1e-6)) / 2e-6 + multiplier
        tangent = [phi(k, p[k]) + multiplier * p[k] + steep * (end - p[k]) for end in (0.0, most[k])]
        expected += min(tangent)
    if branch is not None:
        expected += min(phi(2, end) + multiplier * end for end in branch[1:])
    found = ratio_branch._dual(parts, which, most[which], u, p, pull, multiplier, branch)
    assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("mass", [0.4, 0.9, 1.0])
@pytest.mark.parametrize("beta", [0.3, 2.0])
def test_at_rest_every_slope_in_mass_is_the_same(beta: float, mass: float) -> None:
    parts = separate(np.array([0.05, -0.1, 0.0]), beta)
    which, most = np.arange(3), np.ones(3)
    u, multiplier = ratio_branch._at_rest(parts, which, most, mass)
    p = np.exp(u / beta + parts.log_reference)
    assert p.sum() == pytest.approx(mass, abs=1e-10)
    np.testing.assert_allclose(beta * parts.at(u, which, 1) + multiplier * p, 0, atol=1e-9)


def test_few_points_are_looked_at() -> None:
    """Cells are halved only where they can hold something lower: some hundreds of points for twelve digits."""
    seen: list[int] = []

    def convex(x: np.ndarray, order: int) -> np.ndarray:
        seen.append(len(x))
        return np.asarray(CONVEX["exponential"][order](x))

    _above_least(convex, -0.5, 0.6, -1.3, 0.3)
    assert 65 < sum(seen) < 6000


def separate(tilt: np.ndarray, beta: float = 0.8) -> Separate:
    up, down = TwoRatioLoss("R", sympy.exp(-CHOSEN)), TwoRatioLoss("S", REJECTED**2 / 2)
    wins, losses = np.array([0.5, 0.2, 0.3]), np.array([0.1, 0.6, 0.3])
    return Separate(up, down, wins, losses, tilt, np.log([0.2, 0.3, 0.5]), beta)


def test_parts_and_their_derivatives() -> None:
    tilt = np.array([0.3, -0.4, 0.0])
    parts, u, which = separate(tilt), np.array([0.5, -0.3]), np.array([1, 0])
    w, l, t = parts.wins[which], parts.losses[which], tilt[which]  # noqa: E741
    np.testing.assert_allclose(parts.at(u, which, 0), w * np.exp(-u) + l * u**2 / 2 + t * u, rtol=1e-14)
    np.testing.assert_allclose(parts.at(u, which, 1), -w * np.exp(-u) + l * u + t, rtol=1e-14)
    np.testing.assert_allclose(parts.at(u, which, 2), w * np.exp(-u) + l, rtol=1e-14)
    for k, other in ((1, 0.5), (0, -0.3)):
        own = _Own(parts.up, parts.down, float(parts.wins[k]), float(parts.losses[k]), float(tilt[k]))
        for order in (0, 1):
            x = np.array([other])
            np.testing.assert_allclose(own(x, order), parts.at(x, np.array([k]), order), rtol=1e-15)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_the_turns_in_closed_form(beta: float) -> None:
    """c = l u²/2 + t u: β c″ − c′ = l (β − u) − t, so that φ turns concave at u = β − t/l."""
    up, down = TwoRatioLoss("R", sympy.Integer(0) * CHOSEN), TwoRatioLoss("S", REJECTED**2 / 2)
    losses, tilt, log_reference = np.array([0.5, 0.25, 0.125]), np.array([0.5, 1.0, -4.0]), np.log([0.25, 0.25, 0.5])
    parts = Separate(up, down, np.zeros(3), losses, tilt, log_reference, beta)
    expected = np.minimum(1.0, np.exp((beta - tilt / losses) / beta + log_reference))
    turns = parts.turns()
    assert turns is not None
    np.testing.assert_allclose(turns, expected, rtol=1e-12)
    assert (expected < 1).any()
    assert (expected == 1).any()
    alone = replace(parts, up=TwoRatioLoss("R", sympy.exp(-CHOSEN)), wins=losses, losses=0 * losses, tilt=0 * tilt)
    np.testing.assert_array_equal(alone.turns(), 1.0)  # l (β + 1) e^−u > 0 everywhere
    np.testing.assert_array_equal(replace(alone, wins=0 * losses).turns(), 1.0)  # nothing at all
    wavy = replace(parts, down=TwoRatioLoss("S", sympy.sin(3 * REJECTED)))
    assert wavy.turns() is None
    assert branched_bound(wavy, 0.0, 1e-9) == -np.inf


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5])
def test_with_tilts_the_bound_is_the_least_value_on_the_line(seed: int) -> None:
    rng = np.random.default_rng(seed)
    beta = float(rng.uniform(0.3, 2.0))
    up, down = TwoRatioLoss("R", sympy.Integer(0) * CHOSEN), TwoRatioLoss("S", REJECTED**2 / 2)
    log_reference = np.log(rng.dirichlet(np.full(2, 5.0)))
    parts = Separate(up, down, np.zeros(2), rng.dirichlet(np.ones(2)), rng.uniform(0.2, 1.5, 2), log_reference, beta)

    def value(logit: float) -> float:
        u = beta * (np.array([log_expit(logit), log_expit(-logit)]) - log_reference)
        return float((parts.losses * u**2 / 2 + parts.tilt * u).sum())

    def first(x: FloatArray) -> float:
        return value(float(x[0]))

    grid = np.linspace(-30, 30, 6001)
    at = grid[np.argmin([value(logit) for logit in grid])]
    least = float(minimize(first, np.array([float(at)]), method="BFGS", tol=1e-10).fun)
    bound = branched_bound(parts, least, 1e-9)
    assert least - 2e-8 <= bound <= least + 1e-12


def test_the_number_of_intervals_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []
    inner = ratio_branch._convex_bound

    def counted(*arguments: object) -> float:
        calls.append(1.0)
        return inner(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ratio_branch, "_convex_bound", counted)
    monkeypatch.setattr(ratio_branch, "_MOST_INTERVALS", 5)
    up, down = TwoRatioLoss("R", sympy.Integer(0) * CHOSEN), TwoRatioLoss("S", REJECTED**2 / 2)
    parts = Separate(up, down, np.zeros(2), np.full(2, 0.5), np.array([1.0, 1.2]), np.log([0.5, 0.5]), 0.5)
    turning = int(np.sum(np.asarray(parts.turns()) < 1))
    assert turning == 2
    branched_bound(parts, -np.inf, 0.0)
    asked = len(calls)
    calls.clear()
    branched_bound(parts, np.inf, 0.0)
    assert len(calls) == 1 + 8 * turning + 2 * 5
    assert asked <= len(calls)


@pytest.mark.parametrize("centre", [1.0, -0.5])
def test_a_sum_of_parts_is_certified_at_its_optimum_and_bounded_off_it(centre: float) -> None:
    loss = TwoRatioLoss("square", (CHOSEN - centre) ** 2 / 2 + (REJECTED + sympy.Rational(1, 4)) ** 2 / 2)
    at = objective(loss, 0.7)
    best = minimise_on_simplex(loss, 0.7, np.exp(at.log_reference), at.first, at.second, at.weight, tuple("abcd"))
    assert separate_gap(at, at.ratios(best.log_policy)) <= 1e-9
    for step in np.random.default_rng(0).normal(0, 0.1, (3, 4)):
        u = at.ratios(best.log_policy + step)
        assert separate_gap(at, u) >= at.value(u) - best.value - 1e-12
    concave = objective(TwoRatioLoss("concave", -(CHOSEN**2) + REJECTED**2), 0.7)
    assert separate_gap(concave, at.ratios(best.log_policy)) == np.inf
    concave = objective(TwoRatioLoss("concave", CHOSEN**2 - REJECTED**2), 0.7)
    assert separate_gap(concave, at.ratios(best.log_policy)) == np.inf
