"""AlphaPO on responses with lengths: against TRL's executed loss, SimPO's limit and scipy's constrained solver."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

import gpo_analysis as gpo
from gpo_analysis.tabular import PreferenceProblem, PrefixTree, shaped_by_length, solve_sequences, tilted_by_length

MEAN, SUM = "mean_without_reference", "sum_without_reference"
TREE = PrefixTree(letters=2, depth=2, stop=0.4, letter_weights=[0.3, 0.7])


def drawn(seed: int = 0, steep: float = 1.0) -> PreferenceProblem:
    rng = np.random.default_rng(seed)
    return TREE.problem(gpo.bradley_terry(steep * rng.normal(size=TREE.n)), rng.dirichlet(np.full(TREE.n, 3.0)))


def rewards(policy: NDArray[np.float64], alpha: float, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """r = (1 − p^(−α))/α word by word."""
    p = policy ** (1 / lengths)
    return np.log(p) if alpha == 0 else (1 - p**-alpha) / alpha


@pytest.mark.parametrize("alpha", [0.5, 0.0, -0.25])
def test_the_loss_is_the_one_that_trl_executes(alpha: float) -> None:
    torch = pytest.importorskip("torch")
    trainer = pytest.importorskip("trl.experimental.cpo", reason="the extra trl is not installed").CPOTrainer
    problem, beta, gamma = drawn(), 2.0, 0.5
    loss = f"-log(sigmoid(z - {gamma}))"
    found = solve_sequences(TREE, problem, loss, beta, reduction=MEAN, alpha=alpha)
    pairs = problem.directed_pairs()
    same = np.flatnonzero(problem.diagonal_weights()[0])
    first, second = np.append(pairs.winner, same), np.append(pairs.loser, same)
    weight = np.append(pairs.weight, problem.diagonal_weights()[0][same])
    stand_in = SimpleNamespace(
        alpha=alpha, beta=beta, simpo_gamma=gamma, label_smoothing=0.0, loss_type="simpo",
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip

    def theirs(logits: object) -> object:
        """TRL's loss of the average log-probability of a token, in the mean over pairs."""
        average = torch.log_softmax(logits, 0) / torch.tensor(TREE.lengths)
        losses, *_ = trainer.cpo_loss(stand_in, average[first], average[second])
        return (torch.tensor(weight) * losses).sum()

    logits = torch.tensor(np.log(found.policy), requires_grad=True)
    value = theirs(logits)
    value.backward()  # type: ignore[attr-defined]
    assert value.item() == pytest.approx(found.population_loss, abs=1e-13)  # type: ignore[attr-defined]
    assert logits.grad.abs().max().item() < 1e-13


@pytest.mark.filterwarnings("ignore:Values in x were outside bounds")  # of scipy 1.15's SLSQP, which is the peer
@pytest.mark.parametrize("alpha", [2.0, 0.3, -0.3, -1.0])
@pytest.mark.parametrize(("loss", "reduction"), [("dpo", MEAN), ("ipo", MEAN), ("ipo", SUM)])
def test_the_optimum_is_what_constrained_optimisation_finds(loss: str, reduction: str, alpha: float) -> None:
    """Scipy's, in the mean likelihood q of a token; for α < 0 in q^|α|, where rewards are smooth."""
    problem, f, size = drawn(1, 2.0), gpo.get_loss(loss), -alpha if alpha < 0 else 1.0
    pairs = problem.directed_pairs()
    lengths = (TREE.lengths if reduction == MEAN else np.ones(TREE.n)) / size
    for beta in (0.5, 6.0):

        def value(q: NDArray[np.float64], beta: float = beta) -> float:
            r = beta * (1 - q ** (-alpha / size)) / alpha
            return float(pairs.weight @ f(r[pairs.winner] - r[pairs.loser]) + pairs.diagonal_mass * f(0.0))

        ours = solve_sequences(TREE, problem, loss, beta, reduction=reduction, alpha=alpha)
        assert ours.converged
        at = ours.policy ** (1 / lengths)
        assert value(at) == pytest.approx(ours.population_loss, abs=1e-12)
        total = {
            "type": "eq", "fun": lambda q: np.sum(q**lengths) - 1, "jac": lambda q: lengths * q ** (lengths - 1)
        }  # fmt: skip
        low = 0.0 if alpha < 0 else 1e-6
        theirs = minimize(  # type: ignore[call-overload]
            value, 0.3 * at + 0.7 * TREE.reference ** (1 / lengths), method="SLSQP", jac="3-point",
            bounds=[(low, 1)] * TREE.n, constraints=[total], options={"ftol": 1e-15, "maxiter": 1000},
        )  # fmt: skip
        assert abs(np.sum(theirs.x**lengths) - 1) < 1e-9
        assert ours.population_loss == pytest.approx(theirs.fun, abs=2e-9)
        assert ours.population_loss <= theirs.fun + 1e-12
        np.testing.assert_allclose(at, theirs.x, atol=1e-3)
        assert (ours.policy == 0).any() == (
            not np.isnan(ours.gap)
        )  # a certificate where some mass is 0, and only there
        assert (ours.policy == 0).any() <= (alpha < 0)
    assert alpha > 0 or (solve_sequences(TREE, problem, loss, 0.2, reduction=reduction, alpha=alpha).policy == 0).any()


def test_alpha_0_is_simpo_and_the_limit_of_both_sides() -> None:
    reward, lengths = np.array([0.0, 2.0, -3.0, 0.5]), np.array([1, 7, 3, 40])
    simpo = tilted_by_length(reward, lengths, 0.7)
    for alpha in (1e-9, -1e-9, 1e-300, -1e-300, 0.0):
        np.testing.assert_allclose(shaped_by_length(reward, lengths, 0.7, alpha), simpo, atol=1e-8)
    near = shaped_by_length(reward, lengths, 0.7, 1e-3)
    assert 1e-6 < np.abs(near - simpo).max() < 1e-2
    for alpha, beta in ((3.0, 1e-6), (20.0, 1.0), (0.5, 1e9), (-0.5, 1e9)):
        policy = shaped_by_length(reward, lengths, beta, alpha)
        assert policy.sum() == pytest.approx(1, abs=1e-12)
        r = beta * rewards(policy, alpha, lengths)
        wide = policy > 1e-250
        rounding = 1e-13 * (1 + abs(alpha)) * np.abs(r[wide]).max() + 1e-16 * beta
        np.testing.assert_allclose(np.diff(r[wide]), np.diff(reward[wide]), rtol=1e-9, atol=rounding)


def test_below_0_one_sided_preferences_have_an_optimum_too() -> None:
    certain = np.triu(np.ones((TREE.n, TREE.n)), 1) + 0.5 * np.eye(TREE.n)
    assert not solve_sequences(TREE, TREE.problem(certain), "dpo", 1.0, reduction=MEAN, alpha=0.5).converged
    found = solve_sequences(TREE, TREE.problem(certain), "dpo", 1.0, reduction=MEAN, alpha=-0.5)
    assert found.converged
    assert found.gap < 1e-12
    assert "without mass" in found.reason
    assert found.policy[-1] == 0
    assert found.log_ratio[-1] == -np.inf
    assert np.isfinite(found.kl)


def test_what_is_not_certified_is_said() -> None:
    steep = drawn(1, 4.0)
    for loss, alpha, why in (("savage", -1.0, "convex and smooth"), ("dpo", -3.0, "shorter than |alpha| = 3")):
        found = solve_sequences(TREE, steep, loss, 0.1, reduction=MEAN, alpha=alpha)
        assert not found.converged
        assert why in found.reason
        assert np.isnan(found.policy).all()
    flat = TREE.problem(np.full((TREE.n, TREE.n), 0.5))
    for alpha in (-9.0, -1.0, 1.0):  # rewards that do not differ are within reach of every α
        assert solve_sequences(TREE, flat, "savage", 0.1, reduction=MEAN, alpha=alpha).converged


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solve_sequences(TREE, drawn(), "dpo", 1.0, alpha=0.5), "without reference"),
        (lambda: solve_sequences(TREE, drawn(), "dpo", 1.0, reduction=MEAN, alpha=np.nan), "alpha must be a finite"),
        (lambda: shaped_by_length([0.0, 1.0], [1, 1], 1.0, True), "alpha must be a finite"),
        (lambda: shaped_by_length([0.0, 1.0], [1, 1], 0.1, -1.0), "bounds rewards"),
        (lambda: shaped_by_length([0.0, np.nan], [1, 1], 1.0, 1.0), "reward must be finite"),
        (lambda: shaped_by_length([0.0, 1.0], [1, 0], 1.0, 1.0), "above 0"),
        (lambda: shaped_by_length([0.0, 1.0], [1], 1.0, 1.0), "one shape"),
        (lambda: gpo.get_loss("alphapo"), "solve_sequences"),
    ],
)
def test_bad_input_is_refused_by_name(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
