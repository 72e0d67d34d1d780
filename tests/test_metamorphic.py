"""Laws between two answers, over random losses, problems and policies; and answers at the ends of the scales.

A response that is split in two, a prompt or a vote that stands twice, another order, another unit of β, the other side
of every pair: each must change the answer as it must, or not at all. Laws of a loss alone are in tests/analysis,
renamed responses and scaled losses in tests/tabular/test_solve.py, peers (cvxpy, scipy, statsmodels, TRL) in
tests/solvers,
tests/ranking and tests/integrations. ``GPO_HYPOTHESIS=long`` tries 2,000 cases of each (tests/cases.py).
"""

from __future__ import annotations

import random
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.losses.lookup import get_margin_loss
from gpo_analysis.ranking import ComparisonProblem, rank
from gpo_analysis.tabular import PreferenceProblem
from tests.analysis.test_random_properties import drawn
from tests.cases import cases

STRICT = ("logistic", "squared", "exponential", "softplus(3*(1-z))", "(1-z)**4 + (1-z)**2", "sqrt(1+(1-z)**2) - z/3")
ANY = (*STRICT, "hinge", "savage", "truncated_quadratic")
BETAS = (1e-6, 1e-3, 1.0, 1e3, 1e6)
few = cases(12)
seeds = st.integers(0, 10**6)


def problem_of(seed: int, n: int = 4, rare: float = 0.0) -> PreferenceProblem:
    """A random problem off Bradley–Terry; ``rare`` is μ of the last response, where it is given."""
    rng = np.random.default_rng(seed)
    half = np.triu(rng.uniform(0.05, 0.95, (n, n)), 1)
    preference = half + np.tril(1 - half.T, -1) + 0.5 * np.eye(n)
    behavior, reference = rng.dirichlet(np.ones(n)) + 0.05, rng.dirichlet(np.ones(n)) + 0.05
    behavior, reference = behavior / behavior.sum(), reference / reference.sum()
    if rare:
        behavior[-1] = 0.0
        behavior = np.append(behavior[:-1] / behavior.sum() * (1 - rare), rare)
    return PreferenceProblem(preference, behavior, reference)


def rows(problem: PreferenceProblem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (np.array(problem.preference), np.array(problem.behavior), np.array(problem.reference))


# -- the same thing said otherwise -------------------------------------------------------------------------------------


@few
@given(seeds, st.sampled_from(STRICT), st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.05, 20))
def test_a_response_split_in_two_is_one_response(seed: int, f: str, of_mu: float, of_ref: float, beta: float) -> None:
    problem = problem_of(seed)
    p, mu, ref = rows(problem)
    twice = np.append(np.arange(4), 3)
    split = p[np.ix_(twice, twice)]
    split[3:, 3:] = 0.5  # each copy against the other is a toss
    share = lambda x, t: np.append(x[:3], [x[3] * t, x[3] * (1 - t)])  # noqa: E731
    a = problem.solve(f, beta)
    b = PreferenceProblem(split, share(mu, of_mu), share(ref, of_ref)).solve(f, beta)
    np.testing.assert_allclose(b.policy[:3], a.policy[:3], rtol=1e-7)
    np.testing.assert_allclose(b.policy[3:], a.policy[3] * np.array([of_ref, 1 - of_ref]), rtol=1e-7)
    assert b.kl == pytest.approx(a.kl, rel=1e-6, abs=1e-10)


@few
@given(seeds, st.sampled_from(ANY), st.integers(1, 5), st.randoms(use_true_random=False))
def test_votes_that_stand_several_times_or_elsewhere_are_their_sum(seed: int, f: str, parts: int, chance: Any) -> None:
    rng = np.random.default_rng(seed)
    i, j = (index.astype(np.int64) for index in np.triu_indices(5, 1))
    wins, losses = rng.integers(1, 9, (2, len(i)))
    whole = rank(ComparisonProblem(i, j, wins, losses), f)
    lines = [(a, b, 1.0, 0.0) for a, b, n in zip(i, j, wins, strict=True) for _ in range(n)]
    lines += [(b, a, 1.0, 0.0) for a, b, n in zip(i, j, losses, strict=True) for _ in range(n)]  # as the other's wins
    lines += [(i[0], j[0], 0.0, 0.0)] * parts  # nothing
    chance.shuffle(lines)
    first, second, won, lost = (np.array(column) for column in zip(*lines, strict=True))
    again = rank(ComparisonProblem(first.astype(np.int64), second.astype(np.int64), won, lost), f)
    assert again.converged == whole.converged
    if f in STRICT:
        np.testing.assert_allclose(again.scores, whole.scores, atol=1e-8)


@few
@given(seeds, st.sampled_from(STRICT), st.floats(0.1, 0.9), st.floats(0.05, 20))
def test_a_prompt_that_stands_twice_is_one_prompt(seed: int, f: str, share: float, beta: float) -> None:
    one, other = rows(problem_of(seed)), rows(problem_of(seed + 1))
    stack = lambda *several: [np.stack(column) for column in zip(*several, strict=True)]  # noqa: E731
    a = PreferenceProblem(*stack(one, other), context_weights=[0.6, 0.4]).solve(f, beta)
    b = PreferenceProblem(*stack(one, other, one), context_weights=[0.6 * share, 0.4, 0.6 * (1 - share)]).solve(f, beta)
    np.testing.assert_allclose(b.policy[:2], a.policy, rtol=1e-10)
    np.testing.assert_allclose(b.policy[2], a.policy[0], rtol=1e-10)
    assert b.population_loss == pytest.approx(a.population_loss, rel=1e-12)
    assert b.kl == pytest.approx(a.kl, rel=1e-9)


@few
@given(seeds, st.sampled_from(STRICT), st.sampled_from([-7.0, 0.0, 1e3, 1e-6]))
def test_a_constant_moves_the_loss_and_nothing_else(seed: int, f: str, height: float) -> None:
    problem, loss = problem_of(seed), get_margin_loss(f)
    moved = gpo.parse_loss(f"({loss.expression}) + ({height!r})")
    a, b = problem.solve(loss, 0.7), problem.solve(moved, 0.7)
    np.testing.assert_allclose(b.log_ratio, a.log_ratio, atol=1e-8)
    assert b.population_loss - height == pytest.approx(a.population_loss, abs=1e-9 * max(1.0, abs(height)))


# -- β, and the other side ---------------------------------------------------------------------------------------------


@few
@given(seeds, st.sampled_from(STRICT), st.floats(0.01, 100), st.sampled_from([0.01, 0.5, 3.0, 1e3]))
def test_beta_is_a_unit_of_the_margin(seed: int, f: str, beta: float, unit: float) -> None:
    problem, loss = problem_of(seed), get_margin_loss(f)
    stretched = gpo.parse_loss(
        str(loss.expression).replace("exp", "EXP").replace("z", f"({unit!r}*z)").replace("EXP", "exp")
    )
    a, b = problem.solve(loss, beta * unit), problem.solve(stretched, beta)
    assert b.converged == a.converged
    np.testing.assert_allclose(b.policy, a.policy, atol=1e-8)


@few
@given(seeds, st.sampled_from(STRICT), st.floats(0.01, 100))
def test_preferences_turned_round_turn_the_reward_round(seed: int, f: str, beta: float) -> None:
    problem = problem_of(seed)
    p, mu, ref = rows(problem)
    a, b = problem.fit(f), PreferenceProblem(p.T, mu, ref).fit(f)
    np.testing.assert_allclose(b.reward - b.reward.mean(), -(a.reward - a.reward.mean()), atol=1e-7)
    there, back = (np.array(x.solve(f, beta).log_ratio) for x in (problem, PreferenceProblem(p.T, mu, ref)))
    np.testing.assert_allclose(back - back.mean(), there.mean() - there, atol=1e-7 * max(1.0, 1 / beta))


@few
@given(seeds, st.sampled_from(STRICT))
def test_a_large_beta_is_the_reference_and_a_small_one_its_best_response(seed: int, f: str) -> None:
    problem = problem_of(seed)
    reward = np.array(problem.fit(f).reward)
    gaps = np.abs(reward[:, None] - reward)[np.triu_indices(4, 1)].min()
    far = problem.solve(f, 1e6)
    np.testing.assert_allclose(far.policy, problem.reference, rtol=1e-4)
    # KL = Var_ref(g) / 2β² to leading order
    ref = np.array(problem.reference)
    spread = ref @ reward**2 - (ref @ reward) ** 2
    assert problem.solve(f, 1e3).kl == pytest.approx(spread / 2e6, rel=0.05)
    near = problem.solve(f, gaps / 50 if gaps > 1e-6 else 1e-8)
    if gaps > 1e-6:
        assert near.policy[np.argmax(reward)] > 1 - 1e-12
        assert near.kl == pytest.approx(-np.log(ref[np.argmax(reward)]), abs=1e-9)


@few
@given(
    seeds, st.sampled_from(STRICT), st.sampled_from([1e-6, 1e-3, 1.0, 1e3, 1e6]), st.sampled_from([1e-3, 1e-9, 1e-12])
)
def test_every_beta_and_rare_responses_obey_the_first_order_condition(
    seed: int, f: str, beta: float, rare: float
) -> None:
    problem = problem_of(seed, rare=rare)
    p, mu, _ = rows(problem)
    found, loss = problem.solve(f, beta), get_margin_loss(f)
    assert found.converged
    log_ratio = np.array(found.log_ratio)
    assert np.isfinite(log_ratio).all()
    assert found.policy.sum() == pytest.approx(1.0, abs=1e-12)
    z = beta * (log_ratio[:, None] - log_ratio)
    slopes = np.array(loss.derivative(z))
    force = (p * slopes - p.T * slopes.T) * mu  # of each response over its own μ: what is rare is no smaller
    scale = (np.abs(p * slopes) * mu).sum(axis=1)
    np.testing.assert_allclose(force.sum(axis=1) / scale, 0.0, atol=1e-6)


# -- numbers at the ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", gpo.losses.list_losses())
def test_values_and_slopes_from_minus_to_plus_a_thousand(name: str) -> None:
    """Against 500 digits; infinite where no double holds the value, and never NaN."""
    import sympy

    loss = gpo.get_loss(name)
    ends = (-1000.0, -745.2, -710.47, -710.0, -709.78, -474.38, -473.2, -88.0)
    z = np.array([*ends, -1e-12, 0.0, 1e-12, 17.0, 88.0, 710.0, 745.2, 1000.0])
    values = np.array(loss(z))
    assert not np.isnan(values).any()
    function = sympy.lambdify(loss.symbol, loss.expression, "mpmath")
    with mpmath.workdps(500):
        exact = [function(mpmath.mpf(float(x))) for x in z]
    for value, truth in zip(values, exact, strict=True):
        if abs(truth) > mpmath.mpf(np.finfo(float).max):
            assert value == np.inf * int(mpmath.sign(truth))
        else:
            assert float(abs(value - truth)) <= 1e-12 * float(abs(truth)) + 1e-300


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["logistic", "hinge", "squared", "exponential", "savage", "truncated_quadratic"])
def test_low_precision_is_the_double_rounded_once(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    loss, kind = gpo.get_loss(name), getattr(torch, dtype)
    z = torch.linspace(-30, 30, 241, dtype=torch.float64).to(kind).requires_grad_()
    value = loss(z)
    assert value.dtype == kind
    exact = loss(z.detach().double())
    held = exact <= torch.finfo(kind).max
    ulp, tiny = torch.finfo(kind).eps, float(torch.finfo(kind).tiny)
    torch.testing.assert_close(value.detach().double()[held], exact[held], rtol=2 * ulp, atol=tiny)
    assert not torch.isnan(value).any()
    value[held].sum().backward()
    wide = z.detach().double().requires_grad_()
    loss(wide)[held].sum().backward()
    fits = held & (wide.grad.abs() <= torch.finfo(kind).max)
    torch.testing.assert_close(z.grad.double()[fits], wide.grad[fits], rtol=4 * ulp, atol=4 * tiny)


@pytest.mark.filterwarnings("ignore:.*does not push chosen above rejected")
@few
@given(seeds)
@example(42544)  # sinh, which falls for ever: its descent passes where f″ is ∞
def test_a_random_loss_finds_nothing_better_nearby(seed: int) -> None:
    """Any f of the grammar, convex or not: what is called an optimum is no worse than 200 policies around it."""
    generator = random.Random(seed)
    text = drawn(generator, 1)
    try:
        loss = gpo.parse_loss(text)
        found = problem_of(seed, 3).solve(loss, 1.0)
    except ValueError:  # refused, or not decided
        return
    if not found.converged:
        return
    problem, rng = problem_of(seed, 3), np.random.default_rng(seed)
    p, mu, _ = rows(problem)
    weights = p * mu[:, None] * mu
    base = np.array(found.log_ratio)

    def value(u: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            return float(np.nansum(weights * np.array(loss(u[:, None] - u))))

    here = value(base)
    for scale in (1e-3, 0.1, 1.0, 10.0):
        for _ in range(50):
            other = value(base + scale * rng.normal(size=3))
            assert other >= here - 1e-9 * max(1.0, abs(here)), (text, scale)
