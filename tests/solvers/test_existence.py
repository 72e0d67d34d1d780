"""Cases without a finite or unique optimum: each is said, and none is returned as a number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.preferences import Comparisons
from gpo_analysis.tabular import PreferenceProblem


def games(*pairs):
    return PreferenceProblem.from_comparisons(Comparisons.from_pairs(pairs))


def assert_withheld(found):
    assert not found.converged
    assert np.isnan(found.policy).all()
    assert np.isnan(found.log_ratio).all()
    assert np.isnan(found.kl)
    assert np.isnan(found.mu_squared_loss)
    assert np.isnan(found.max_margin)
    assert np.isnan(found.scores).all()


CHAIN = games(("a", "b", 2), ("b", "a", 1), ("b", "c", 1))


@pytest.mark.parametrize("name", ["logistic", "exponential", "savage", "cell"])
def test_separable_preferences_have_no_finite_optimum(name):
    found = CHAIN.solve(name, 1.0)
    assert_withheld(found)
    assert found.status == "no finite optimum"
    assert "separable" in found.reason
    assert "'b' over 'c'" in found.reason
    assert found.representative is None
    # The infimum: the pair (a, b) at its optimum, the pair (b, c) for nothing.
    alone = games(("a", "b", 2), ("b", "a", 1)).solve(name, 1.0)
    assert found.population_loss == pytest.approx(0.75 * alone.population_loss, rel=1e-9)
    # It is approached: margins of 40 come within 1e-9 of it.
    h = np.array([alone.log_ratio[0] - alone.log_ratio[1], 0.0, -40.0])
    assert CHAIN.loss_at(h, name, 1.0) == pytest.approx(found.population_loss, abs=1e-9)


@pytest.mark.parametrize("name", ["hinge", "truncated_quadratic"])
def test_separable_preferences_leave_a_face_to_flat_losses(name):
    found = CHAIN.solve(name, 1.0)
    assert_withheld(found)
    assert found.status == "not unique"
    assert CHAIN.loss_at(found.representative, name, 1.0) == pytest.approx(found.population_loss, rel=1e-9)
    margin = found.representative[1] - found.representative[2]
    assert margin == pytest.approx(1.0, abs=1e-9), "least norm: just far enough"


@pytest.mark.parametrize("name", ["squared", "smoothed_logistic"])
def test_losses_that_rise_on_both_sides_always_have_an_optimum(name):
    found = CHAIN.solve(name, 1.0)
    assert found.status == "optimum"
    assert found.converged


@pytest.mark.parametrize("name", ["kliep", "lsif", "robust_logistic", "sba"])
def test_losses_unbounded_below_on_one_sided_data(name):
    found = CHAIN.solve(name, 1.0)
    assert_withheld(found)
    assert found.status == "unbounded below"
    assert found.population_loss == -np.inf


@pytest.mark.parametrize("name", ["kliep", "robust_logistic"])
def test_losses_unbounded_below_have_an_optimum_on_two_sided_data(name):
    problem = games(("a", "b", 2), ("b", "a", 1), ("b", "c", 1), ("c", "b", 2))
    found = problem.solve(name, 1.0)
    assert found.status == "optimum"
    h = found.log_ratio
    for k in range(3):
        for step in (-1e-3, 1e-3):
            assert problem.loss_at(h + step * np.eye(3)[k], name, 1.0) > found.population_loss


def test_robust_logistic_is_unbounded_where_one_side_wins_more_than_it_can_bear():
    # f'(+∞) = −1/8, f'(−∞) = −9/8: raising the winner pays for ever where η/8 > (1 − η) 9/8, that is η > 9/10.
    for wins, kind in ((8, "optimum"), (10, "unbounded below")):
        found = games(("a", "b", wins), ("b", "a", 1)).solve("robust_logistic", 1.0)
        assert found.status == kind
    found = games(("a", "b", 9), ("b", "a", 1)).solve("robust_logistic", 1.0)
    assert found.status == "no finite optimum"
    assert "balanced exactly" in found.reason
    assert_withheld(found)
    # 9/10 of ℓ(z) − z/8 and 1/10 of ℓ(z) + z + z/8 add up to ℓ(z), whose infimum is 0.
    assert found.population_loss == pytest.approx(0.0, abs=1e-9)
    # A clique that is level within and beats the outsider ten to one.
    clique = [("a", "b"), ("b", "a"), ("a", "c", 10), ("b", "c", 10), ("c", "a"), ("c", "b")]
    found = games(*clique).solve("robust_logistic", 1.0)
    assert found.status == "unbounded below"
    assert found.reason.startswith("raising 'a', 'b' above the others")


def test_savage_on_cycles():
    for n, kind in ((3, "stationary point"), (5, "no finite optimum"), (6, "no finite optimum")):
        found = games(*[(str(i), str((i + 1) % n)) for i in range(n)]).solve("savage", 1.0)
        assert found.status == kind, n
        if kind == "no finite optimum":
            assert_withheld(found)
            # All but one edge of the cycle won for nothing, one lost for f(−∞) = 1.
            assert found.population_loss == pytest.approx(1 / n, abs=1e-9)
            assert "0.25" in found.reason, "the local minimum at π = πref is named"
        else:
            assert found.policy == pytest.approx(1 / 3)
            assert found.population_loss == pytest.approx(0.25)


def test_components_of_the_comparison_graph():
    problem = games(("a", "b", 2), ("b", "a", 1), ("c", "d", 3), ("d", "c", 1))
    for name in ("logistic", "squared", "exponential", "hinge", "savage"):
        found = problem.solve(name, 1.0)
        assert_withheld(found)
        assert found.status == "not unique"
        assert found.reason.startswith("the comparison graph has 2 components")
        assert problem.loss_at(found.representative, name, 1.0) == pytest.approx(found.population_loss, rel=1e-9)
    h = problem.solve("logistic", 1.0).representative
    np.testing.assert_allclose([h[0] - h[1], h[2] - h[3]], np.log([2, 3]), atol=1e-9)
    np.testing.assert_allclose(h[:2].sum(), h[2:].sum(), atol=1e-9)


def test_behavior_without_full_support_names_what_is_never_compared():
    problem = PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0, 3.0]), [0.5, 0.5, 0.0, 0.0], items=list("abcd"))
    for name in ("logistic", "squared", "hinge"):
        found = problem.solve(name, 1.0)
        assert_withheld(found)
        assert found.status == "not unique"
        assert "never compared: 'c', 'd'" in found.reason
    h = problem.solve("logistic", 1.0).representative
    np.testing.assert_allclose(h - h[2], [-0.5, 0.5, 0, 0], atol=1e-9)


def test_behavior_on_one_response():
    found = PreferenceProblem(gpo.bradley_terry([0.0, 1.0]), [1.0, 0.0]).solve("logistic", 1.0)
    assert found.status == "not unique"
    assert found.population_loss == pytest.approx(np.log(2))
    np.testing.assert_allclose(found.representative, 0, atol=1e-12)


def test_a_face_inside_one_component():
    # Hinge on a cycle: f is affine below 1, so every point with all margins at most 1 is a minimum.
    found = games(("a", "b"), ("b", "c"), ("c", "a")).solve("hinge", 1.0)
    assert found.status == "not unique"
    assert found.reason.startswith("the minimisers form a face: 3 groups")
    assert found.population_loss == pytest.approx(1.0)
    np.testing.assert_allclose(found.representative, 0, atol=1e-9)


def test_truncated_quadratic_face_inside_one_component():
    # Two chains of three, with margins 96/100 each; the top of either beats the bottom of the other by far more than 1,
    # whichever chain is a little higher: the graph is strongly connected, and the chains can still slide.
    chains = [
        pair for x in "xy" for i in (1, 2) for pair in ((f"{x}{i}", f"{x}{i + 1}", 49), (f"{x}{i + 1}", f"{x}{i}", 1))
    ]
    problem = games(*chains, ("x1", "y3", 5), ("y1", "x3", 5))
    found = problem.solve("truncated_quadratic", 1.0)
    assert_withheld(found)
    assert found.status == "not unique"
    assert found.reason.startswith("the minimisers form a face: 2 groups")
    h = dict(zip(problem.items, found.representative, strict=True))
    np.testing.assert_allclose([h["x1"] - h["x2"], h["y2"] - h["y3"], h["x2"] - h["y2"]], [0.96, 0.96, 0], atol=1e-9)
    slid = found.representative + 0.9 * np.array([name[0] == "x" for name in problem.items])
    assert problem.loss_at(slid, "truncated_quadratic", 1.0) == pytest.approx(found.population_loss, rel=1e-12)
    assert problem.solve("hinge", 1.0).population_loss <= 0.08


def test_a_straight_line_and_a_constant():
    balanced = games(("a", "b"), ("b", "a"))
    lost = games(("a", "b", 2), ("b", "a", 1))
    line = gpo.parse_loss("1 - z")
    assert balanced.solve(line, 1.0).status == "not unique"
    assert lost.solve(line, 1.0).status == "unbounded below"
    assert lost.solve(gpo.parse_loss("2 + 0*z"), 1.0).status == "not unique"


def test_a_rising_loss_is_the_mirror_image():
    problem = games(("a", "b", 2), ("b", "a", 1), ("b", "c", 1))
    found = problem.solve(gpo.parse_loss("exp(z)", name="rising"), 1.0)
    plain = problem.solve("exponential", 1.0)
    assert found.status == "no finite optimum"
    assert found.population_loss == pytest.approx(plain.population_loss, rel=1e-9)
    two = games(("a", "b", 2), ("b", "a", 1))
    a, b = two.solve(gpo.parse_loss("exp(z)", name="rising"), 1.0), two.solve("exponential", 1.0)
    np.testing.assert_allclose(a.log_ratio, b.log_ratio[::-1], atol=1e-9)
    flat = problem.solve(gpo.parse_loss("max(0, 1 + z)", name="mirror"), 1.0)
    assert flat.status == "not unique"
    assert flat.population_loss == pytest.approx(problem.solve("hinge", 1.0).population_loss, rel=1e-9)
    assert problem.loss_at(flat.representative, gpo.parse_loss("max(0, 1 + z)"), 1.0) == pytest.approx(
        flat.population_loss
    )


@given(st.integers(0, 10**6), st.integers(2, 7))
def test_a_finite_optimum_exists_exactly_when_every_split_is_contested(seed, n):
    """Ford's condition, by looking at every split, against the verdict for logistic (and exponential)."""
    rng = np.random.default_rng(seed)
    wins = rng.integers(0, 3, size=(n, n)) * (rng.random((n, n)) < 0.4)
    np.fill_diagonal(wins, 0)
    if not wins.any():
        return
    splits = [np.array([bool(bits >> k & 1) for k in range(n)]) for bits in range(1, 2**n - 1)]
    contested = all(wins[np.ix_(s, ~s)].any() for s in splits)
    compared = all((wins + wins.T)[np.ix_(s, ~s)].any() for s in splits)
    one_way = any(wins[np.ix_(s, ~s)].any() and not wins[np.ix_(~s, s)].any() for s in splits)
    problem = PreferenceProblem.from_comparisons(Comparisons.from_counts(wins))
    for name in ("logistic", "exponential"):
        found = problem.solve(name, 1.0)
        assert found.converged == contested
        assert (found.status == "no finite optimum") == one_way
        if not one_way and not compared:
            assert found.status == "not unique"
    assert problem.solve("squared", 1.0).converged == compared
