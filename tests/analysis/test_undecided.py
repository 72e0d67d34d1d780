"""What cannot be worked out of a loss is one kind of error, or None with its reason; nothing rests on a sample."""

from __future__ import annotations

import pickle

import mpmath
import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis import analysis
from gpo_analysis.calculus.convexity import convexity_of
from gpo_analysis.losses.shape import pieces, unproved

#: 2 − arsinh z written so that it cancels for z → −∞: where it crosses −z cannot be found.
OPEN = gpo.parse_loss("max(-z, 2-log(z+sqrt(z**2+1)))", name="open")
PROBLEM = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]))
#: A branch of these is chosen by a sign far out that has no proof (log erfc has no expansion here).
SAMPLED = ["max(1/(1+exp(z)), 1/10-log(erfc(z/100))/5)", "max(z/10+sigmoid(z)--log(erfc(z/100)),-5*z+2)"]


@pytest.mark.parametrize(
    "function",
    [
        lambda f: gpo.optimal_margin(f, 0.7),
        lambda f: analysis.bayes_risk(f, 0.7),
        lambda f: analysis.conjugate(f, -0.3),
        analysis.closed_conjugate,
        analysis.closed_link,
        analysis.closed_bayes_risk,
        analysis.certainty,
        analysis.taylor_radius,
        gpo.taylor,
        lambda f: gpo.taylor_remainder_bound(f, 3, 0.1),
        lambda f: gpo.equivalent_beta(0.1, "dpo", f),
        lambda f: gpo.equivalent_beta(0.1, f, "dpo", eta=0.8),
        gpo.population_expansion,
        lambda f: f.curvature_ratio,
        lambda f: f.beta_of(0.3),
    ],
)
def test_functions_of_a_loss_raise_one_kind(function) -> None:
    with pytest.raises(gpo.Undecided, match=r"^not decided: cannot find where .* changes its sign") as caught:
        function(OPEN)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == f"not decided: {caught.value.reason}"
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, gpo.Undecided)
    assert again.reason == caught.value.reason


def test_results_have_none_and_the_reason() -> None:
    found = gpo.analyze(OPEN)
    assert found.undecided.startswith("cannot find where")
    assert (found.is_convex, found.is_calibrated, found.link, found.bayes_risk) == (None, None, None, None)
    assert found.calibration_proof == found.undecided
    for status, reason in (
        (PROBLEM.solve(OPEN, 1.0).status, PROBLEM.solve(OPEN, 1.0).reason),
        (PROBLEM.fit(OPEN).status, PROBLEM.fit(OPEN).reason),
        (gpo.solve_features(PROBLEM, [[1.0], [0.0], [0.5]], OPEN, 1.0).status, found.undecided),
    ):
        assert status == "undecided"
        assert found.undecided in reason


def test_one_undecided_loss_does_not_take_a_grid_along() -> None:
    grid = gpo.solve_grid([PROBLEM], [OPEN, gpo.get_loss("dpo")], [1.0])
    assert sorted(grid["status"]) == ["optimum", "undecided"]


@pytest.mark.parametrize("text", SAMPLED)
def test_no_calibration_and_no_closed_form_rest_on_a_sampled_branch(text: str) -> None:
    loss = gpo.parse_loss(text)
    assert not all(piece.proved for piece in pieces(loss))
    found = gpo.analyze(loss)
    assert found.unproved == unproved(loss) != ""
    assert found.unproved in str(found)
    assert found.to_dict()["unproved"] == found.unproved
    assert found.is_calibrated is None
    assert (found.link, found.bayes_risk, found.conjugate.expression) == (None, None, None)


@pytest.mark.parametrize("text", SAMPLED)
def test_not_convex_is_shown_by_a_chord(text: str) -> None:
    """Of f itself, in 50 digits, where the signs of f″ have no proof far out."""
    loss = gpo.parse_loss(text)
    found = gpo.analyze(loss)
    assert found.is_convex is False
    near = sympy.Rational(found.convexity_proof.split("chord at z = ")[1].split(";")[0].split(",")[0])
    f = sympy.lambdify(loss.symbol, loss.expression, "mpmath")
    with mpmath.workdps(50):
        middle = mpmath.mpf(near.p) / near.q
        dips = [f(middle) - (f(middle - h) + f(middle + h)) / 2 for h in (1, 1e-2, 1e-4)]
    assert max(dips) > 0


def test_a_sampled_sign_of_f2_alone_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the sign of f″ far out a wrong guess, no chord would show it, and nothing would be said."""
    from gpo_analysis.calculus import convexity as module
    from gpo_analysis.calculus.signs import Signs

    z = sympy.Symbol("z", real=True)
    f = z**2 + sympy.sinh(z) ** 2 / 1000 + sympy.erfc(z) ** 2 / 10**6
    guess = Signs((sympy.Integer(50),), (1, -1), True, False, "intervals")
    monkeypatch.setattr(module, "signs_on", lambda *arguments: guess)
    monkeypatch.setattr(module, "curvature_by_rules", lambda *arguments: None)
    found = convexity_of.__wrapped__(f, z)
    assert found.is_convex is None
    assert "only sampled" in found.proof


def test_margins_near_one_half_of_steep_losses() -> None:
    """softplus(−k(z − 1))/k: e^{−kz} = t solves a quadratic; the floats' slopes cancel to 3e-9 of it."""
    k, eta = 1000, 0.5 + 2.0**-40
    found = float(gpo.optimal_margin(gpo.parse_loss("softplus(-1000*(z-1))/1000"), eta))
    with mpmath.workdps(60):
        p, c = mpmath.mpf(eta), mpmath.exp(k)
        # p/(1 + e^{k(z−1)}) = q/(1 + e^{−k(z+1)})
        slope = lambda z: p / (1 + mpmath.exp(k * z) / c) - (1 - p) / (1 + mpmath.exp(-k * z) / c)  # noqa: E731
        right = mpmath.findroot(slope, (0.97, 0.98), solver="anderson", tol=1e-80)
    assert found == pytest.approx(float(right), rel=1e-14)
    assert np.isfinite(found)
