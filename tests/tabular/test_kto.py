"""KTO at rest: the reference point is the KL of the optimum that it gives; against torch with a stopped gradient."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.losses import get_two_ratio_loss
from gpo_analysis.tabular import self_consistent_kto
from gpo_analysis.tabular.kto import crossings


def drawn(seed: int, n: int, steep: float) -> gpo.PreferenceProblem:
    rng = np.random.default_rng(seed)
    reward, reference = rng.normal(size=n) * steep, rng.dirichlet(np.ones(n) * 3)
    return gpo.PreferenceProblem(gpo.bradley_terry(reward), reference, reference)


@pytest.mark.parametrize(("beta", "up", "down"), [(0.5, 2.0, 1.0)])
def test_descent_with_the_gradient_of_the_reference_point_stopped_rests_there(
    beta: float, up: float, down: float
) -> None:
    torch = pytest.importorskip("torch")
    problem = drawn(0, 4, 1.0)
    found = self_consistent_kto(problem, beta, desirable=up, undesirable=down)
    assert len(found.roots) == 1
    assert not found.jumps
    pairs, own = problem.directed_pairs(), problem.diagonal_weights()[0]
    wins = torch.tensor(np.bincount(pairs.winner, pairs.weight, 4) + own)
    losses = torch.tensor(np.bincount(pairs.loser, pairs.weight, 4) + own)
    base = torch.tensor(np.log(problem.reference))
    policy = np.maximum(found.policy, 1e-13)
    theta = torch.tensor(np.log(policy / policy.sum()), requires_grad=True)

    def loss() -> object:
        h = torch.log_softmax(theta, 0) - base
        r = beta * (torch.exp(h + base) * h).sum().detach().clamp(min=0)  # without a gradient, as trainers have it
        return (up * wins * torch.sigmoid(r - beta * h) + down * losses * torch.sigmoid(beta * h - r)).sum()

    loss().backward()  # type: ignore[attr-defined]
    kept = found.policy > 0
    assert theta.grad is not None
    assert theta.grad.numpy()[kept] == pytest.approx(0, abs=1e-7)
    assert (theta.grad.numpy()[~kept] >= 0).all()  # what has no mass is not pulled back up
    h = np.log(policy) - np.log(problem.reference)
    assert beta * float(policy[kept] @ h[kept]) == pytest.approx(found.reference_point, abs=1e-7)
    fixed = problem.solve(
        get_two_ratio_loss("kto", reference_point=found.reference_point, desirable=up, undesirable=down), beta
    )
    np.testing.assert_array_equal(fixed.limit, found.policy)
    assert np.abs(problem.solve("kto", beta).limit - found.policy).max() > 1e-3  # the constant 0 has another


def test_two_responses_in_closed_form_and_contexts_on_average() -> None:
    one = np.array([[0.5, 0.8], [0.2, 0.5]])
    found = self_consistent_kto(gpo.PreferenceProblem(one), 0.3)
    assert found.reference_point == pytest.approx(0.3 * np.log(2), rel=1e-9)
    np.testing.assert_array_equal(found.policy, [1.0, 0.0])
    both = gpo.PreferenceProblem(np.stack([one, one.T]), reference=np.array([[0.5, 0.5], [0.25, 0.75]]))
    several = self_consistent_kto(both, 0.3)
    np.testing.assert_array_equal(several.policy, [[1.0, 0.0], [0.0, 1.0]])
    assert several.reference_point == pytest.approx(0.3 * 0.5 * (np.log(2) - np.log(0.75)), rel=1e-9)


@pytest.mark.parametrize(("beta", "weights"), [(0.0, {}), (1.0, {"desirable": 0.0}), (1.0, {"undesirable": np.nan})])
def test_bad_input_is_refused(beta: float, weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"beta|desirable|undesirable"):
        self_consistent_kto(drawn(0, 3, 1.0), beta, **weights)


@pytest.mark.parametrize("wanted", [[0.7], [0.26, 0.37], [0.51, 0.53], [0.52, 0.59, 0.9], [0.9, 0.91]])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_two_roots_between_neighbouring_points_are_found(wanted: list[float], sign: float) -> None:
    def excess(r: float) -> float:
        return sign * float(np.prod(r - np.array(wanted)))

    roots, jumps = crossings(excess, 1.0)
    assert roots == pytest.approx(wanted, abs=1e-12)
    assert not jumps


def test_a_jump_beside_a_root_is_told_from_it() -> None:
    roots, jumps = crossings(lambda r: 0.3 - r if r < 0.55 else 0.7 - r, 1.0)
    assert roots == pytest.approx([0.3, 0.7])
    assert jumps == pytest.approx([0.55])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_two_roots_in_a_cell_are_found_beside_one_in_the_cell_before(sign: float) -> None:
    wanted = [0.19, 0.39, 0.41]
    for roots in (wanted, [1 - root for root in reversed(wanted)]):
        found, jumps = crossings(lambda r, roots=roots: sign * float(np.prod([r - root for root in roots])), 1.0)
        assert found == pytest.approx(roots, abs=1e-9)
        assert jumps == []
