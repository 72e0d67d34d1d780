"""Study C: the tangent against finite differences and real training, its tables, and a study that is killed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gpo_analysis as gpo
from gpo_analysis.losses import PAPER_LOSSES
from llm.__main__ import main
from llm.forests.network import response_logprobs
from llm.forests.problem import Problem, make_problem, make_references
from llm.predicted.config import COIN, Cell, PredictedConfig, preset
from llm.predicted.data import Pairs, draw_pairs
from llm.predicted.models import Network, Tangent, features, gradient_moments, jacobian
from llm.predicted.study import plan_pieces, run_study
from llm.predicted.training import slopes, train
from tests.llm.killable import command, killed_after

CONFIG = preset("tiny")
HEADS = CONFIG.size.heads


@pytest.fixture(scope="module")
def problem() -> Problem:
    """πref in float64, so that differences are those of the mathematics."""
    reference = {name: value.double() for name, value in make_references(CONFIG, [0])[0].items()}
    single = {name: value.float() for name, value in reference.items()}
    return dataclasses.replace(make_problem(CONFIG, 0, single), reference=reference)


@pytest.fixture(scope="module")
def pairs(problem: Problem) -> Pairs:
    return draw_pairs(problem, CONFIG)


@pytest.fixture(scope="module")
def jacobians(problem: Problem) -> list[torch.Tensor]:
    return [jacobian(problem, part, HEADS) for _, part in problem.parts()]


def test_gradients_are_those_of_finite_differences(problem: Problem, jacobians: list[torch.Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = {k: torch.randn(v.shape, generator=generator).double() for k, v in problem.reference.items()}
        step = 1e-7

        def moved(sign: float, direction: dict[str, torch.Tensor] = direction, step: float = step) -> torch.Tensor:
            parameters = {name: value + sign * step * direction[name] for name, value in problem.reference.items()}
            return response_logprobs(parameters, HEADS, problem.seen.forest)[0]

        with torch.no_grad():
            slope = (moved(1.0) - moved(-1.0)) / (2 * step)
        flat = torch.cat([direction[name].flatten() for name in problem.reference])
        found = jacobians[0] @ flat
        present = problem.seen.forest.weight > 0
        torch.testing.assert_close(found[present], slope[present], rtol=1e-5, atol=1e-5)
        assert (found[~present] == 0).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_tangent_is_real_training_as_the_rate_goes_to_zero(
    problem: Problem, pairs: Pairs, jacobians: list[torch.Tensor], optimizer: str
) -> None:
    """What h is off by, relative to h, is of first order in the rate: the network's curvature."""
    present = problem.seen.forest.weight.numpy() > 0
    errors = []
    for rate in (0.004, 0.002, 0.001):
        config = dataclasses.replace(CONFIG, adam_rate=rate / 20, sgd_rate=rate)
        cells = [Cell("logistic", 0.4, optimizer, 1.0, 4, 0.0)]
        real = train(Network(problem, pairs, HEADS, 1), cells, pairs, config).seen[-1, 0][present].astype(np.float64)
        linear = train(Tangent(jacobians, pairs, 1), cells, pairs, config).seen[-1, 0][present]
        errors.append(float(np.abs(real - linear).max() / np.abs(linear).max()))
    assert errors[-1] < 0.2
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize("loss", PAPER_LOSSES)
def test_the_gradient_is_that_of_the_loss_over_its_first_slope(problem: Problem, pairs: Pairs, loss: str) -> None:
    rows, cell = np.arange(6), Cell(loss, 0.4, "sgd", 1.0, 6, 0.0)
    model = Network(problem, pairs, HEADS, 1)
    with torch.no_grad():
        for value in model.parameters.values():
            value += 0.02 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(value)
    sign = torch.from_numpy(pairs.signs(rows, [0.0], 0))
    weights = -sign * slopes([cell], sign * model.margins(rows)) / len(rows)
    found = model.gradient(weights)
    parameters = {name: value.detach().clone().requires_grad_() for name, value in model.parameters.items()}
    h = response_logprobs(parameters, HEADS, problem.seen.forest)[0] - model.references[0][0]
    first, second = (h[pairs.prompt[rows], column[rows]] for column in (pairs.first, pairs.second))
    f = gpo.get_loss(loss)
    value = f(cell.beta * sign[0] * (first - second)).mean() / (cell.beta * abs(float(f.derivative(0.0))))
    for name, gradient in zip(parameters, torch.autograd.grad(value, list(parameters.values())), strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-10)


def test_the_limit_is_every_loss_at_a_small_beta(problem: Problem, pairs: Pairs, jacobians: list[torch.Tensor]) -> None:
    cells = [Cell("logistic", 0.0, "adamw", 1.0, 4, 0.0)]
    cells += [Cell(loss, 1e-7, "adamw", 1.0, 4, 0.0) for loss in PAPER_LOSSES]
    course = train(Tangent(jacobians, pairs, len(cells)), cells, pairs, CONFIG).seen[-1]
    for run in range(1, len(cells)):
        assert course[run] == pytest.approx(course[0], rel=1e-5, abs=1e-7)


def test_a_run_in_a_stack_is_the_run_alone(problem: Problem, pairs: Pairs) -> None:
    before = {name: value.clone() for name, value in problem.reference.items()}
    cells = [Cell(loss, 0.4, "adamw", 1.0, 4, e) for loss, e in (("logistic", 0.0), ("savage", 0.2), ("hinge", COIN))]
    whole = train(Network(problem, pairs, HEADS, 3), cells, pairs, CONFIG)
    for run, cell in enumerate(cells):
        alone = train(Network(problem, pairs, HEADS, 1), [cell], pairs, CONFIG)
        assert alone.seen[:, 0] == pytest.approx(whole.seen[:, run], abs=1e-6)
    for name, value in problem.reference.items():  # a stack of one is a copy, too
        assert torch.equal(value, before[name])
    with pytest.raises(ValueError, match="do not share"):
        train(Network(problem, pairs, HEADS, 2), [cells[0], Cell("logistic", 0.4, "sgd", 1.0, 4, 0.0)], pairs, CONFIG)


def test_a_run_that_breaks_is_stopped_and_others_go_on(pairs: Pairs, jacobians: list[torch.Tensor]) -> None:
    cells = [Cell("exponential", 50.0, "adamw", 1e5, 4, 0.0), Cell("logistic", 0.4, "adamw", 1.0, 4, 0.0)]
    course = train(Tangent([one.float() for one in jacobians], pairs, 2), cells, pairs, CONFIG)
    assert course.stopped[0] > 0
    assert course.stopped[1] == 0
    assert np.isfinite(course.seen).all()


def test_pairs_labels_and_order(problem: Problem, pairs: Pairs) -> None:
    assert (pairs.first != pairs.second).all()
    assert np.bincount(pairs.prompt).tolist() == [8, 8, 8]
    counts = (problem.seen.forest.weight.numpy() > 0).sum(1)
    assert (np.maximum(pairs.first, pairs.second) < counts[pairs.prompt]).all()
    for size in (4, 8):
        passed = np.concatenate([pairs.batch(step, size) for step in range(len(pairs) // size)])
        assert sorted(passed) == list(range(len(pairs)))
    assert (pairs.batch(0, 4) != pairs.batch(6, 4)).any()
    flipped = [set(np.flatnonzero(pairs.labels(e) != pairs.label)) for e in (0.0, 0.2, 0.4)]
    assert not flipped[0]
    assert flipped[1] <= flipped[2]
    rows = np.arange(20)
    first, again, other = (pairs.signs(rows, [COIN, 0.0], step) for step in (0, 0, 1))
    assert (first == again).all()
    assert (first[0] != other[0]).any()
    assert (first[1] == pairs.label[rows]).all()
    many = draw_pairs(problem, dataclasses.replace(CONFIG, pairs=6000))
    gap = problem.seen.rewards[many.prompt, many.first] - problem.seen.rewards[many.prompt, many.second]
    for value in np.unique(np.round(gap, 6))[::4]:
        part = many.label[np.isclose(gap, value)] > 0
        chance = 1 / (1 + np.exp(-CONFIG.scale * value))
        assert abs(part.mean() - chance) < 4.5 * np.sqrt(0.25 / len(part))


def test_moments_of_the_gradients(pairs: Pairs, jacobians: list[torch.Tensor]) -> None:
    (four, eight) = gradient_moments(jacobians[0], pairs, [4, 8])
    phi = features(jacobians[0], pairs, np.arange(len(pairs))).numpy() * pairs.label[:, None]
    assert four[:3] == pytest.approx([4, np.sqrt((phi**2).mean(0)).sum(), (phi**2).sum(1).mean()])
    first, square = phi.mean(0), phi.mean(0) ** 2 + phi.var(0) / 4
    moved = np.divide(first**2, np.sqrt(square), out=np.zeros_like(first), where=square > 0)
    share = np.divide(first**2, square, out=np.zeros_like(first), where=square > 0)
    assert four[3] == pytest.approx((moved * share).sum() / moved.sum())
    assert four[3] < eight[3] < 1  # the larger the batch, the less noise


def test_what_a_configuration_may_be() -> None:
    for change, said in (
        ({"record": (12, 4)}, "record"), ({"record": (4,)}, "record"), ({"record": (0, 12)}, "from 1"),
        ({"samples": 1}, "pair needs 2"), ({"pairs": 0}, "1 or more"), ({"losses": ("nope",)}, "nope"),
        ({"seeds": ()}, "one or more"), ({"epsilons": (0.5,)}, "epsilons"), ({"batches": (64,)}, "at most all"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(CONFIG, **change)
    with pytest.raises(ValueError, match="accepted are"):
        preset("huge")


def test_every_run_has_its_limit_beside_it() -> None:
    for name in ("tiny", "cpu", "small", "gpu"):
        for piece in plan_pieces(preset(name), [0]):
            limits = {(one.rate, one.epsilon) for one in piece.cells if one.strength == 0}
            assert {(one.rate, one.epsilon) for one in piece.cells if one.epsilon != COIN} <= limits
            assert len(set(piece.cells)) == len(piece.cells)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predicted")
    assert run_study(CONFIG, folder, say=lambda line: None)
    return folder


def _shares(study: Path, seed: int) -> np.ndarray:
    """μ of the trained prompts, (m, n)."""
    from llm.forests.store import Store, claim

    problem = Store(study, claim(study, CONFIG.to_json()), print).problem(seed)
    return np.asarray(problem.seen.forest.weight[: CONFIG.trained_prompts].double().numpy())


def test_tables(study: Path) -> None:
    steps, prompts = (pd.read_parquet(study / f"{name}.parquet") for name in ("steps", "prompts"))
    assert {
        "loss", "strength", "seed", "step", "optimizer", "method", "mean_rho", "mean_rho_predicted", "kl",
        "kl_predicted", "mu_squared_loss", "mu_squared_loss_predicted", "chosen_logp", "chosen_logp_predicted",
    } <= set(steps.columns)  # fmt: skip
    assert set(steps["method"]) == {"tangent", "scalar", "direction", "kappa", "thermometer"}
    runs = steps[["loss", "strength", "optimizer", "rate", "batch", "epsilon", "seed"]].drop_duplicates()
    assert len(runs) == len(CONFIG.cells()) * len(CONFIG.seeds)
    first = prompts[(prompts["step"] == 4) & (prompts["method"] == "tangent") & (prompts["seed"] == 0)]
    ratio = np.log(first["kl_predicted"] / first["kl"])
    assert abs(ratio.median()) < 0.1
    assert set(steps["split"]) == {"seen", "held", "unseen"}
    cold = prompts[prompts["method"] == "thermometer"].set_index(["seed", "prompt"])["kl_predicted"]
    shares = {seed: [*_shares(study, seed)] for seed in CONFIG.seeds}
    # times of drawing two different samples, counted one by one: the same for every run of a prompt
    for seed, own in shares.items():
        distinct = [sum(p * q for i, p in enumerate(w) for j, q in enumerate(w) if i != j) for w in own]
        theirs = cold[seed].groupby("prompt").mean()
        assert (theirs / theirs[0]).to_numpy() == pytest.approx(np.array(distinct) / distinct[0], rel=1e-5)
    scalar = steps[(steps["method"] == "scalar") & (steps["split"] == "seen")]
    assert np.isfinite(scalar[["mean_rho_predicted", "kl_predicted", "chosen_logp_predicted"]].to_numpy()).all()


def test_expected_margins_are_means_over_pairs_and_labels(study: Path) -> None:
    import json

    from llm.forests.problem import problem_from
    from llm.forests.store import Store, claim
    from llm.predicted.tables import _expected

    store = Store(study, claim(study, CONFIG.to_json()), lambda line: None)
    held = problem_from(json.loads(store.read("seed-0/samples")), {}).held
    h = np.random.default_rng(0).normal(size=held.rewards.shape)
    rho, chosen = _expected(held, h, 1.0, 0.1)
    mu, r = held.forest.weight.numpy(), held.rewards
    for row in range(len(mu)):
        total = margin = better = 0.0
        for i in range(mu.shape[1]):
            for j in range(mu.shape[1]):
                if i != j:
                    p = 0.1 + 0.8 / (1 + np.exp(r[row, j] - r[row, i]))
                    weight = mu[row, i] * mu[row, j]
                    total += weight
                    margin += weight * (2 * p - 1) * (h[row, i] - h[row, j])
                    better += weight * (p * h[row, i] + (1 - p) * h[row, j])
        assert (rho[row], chosen[row]) == pytest.approx((margin / total, better / total))


@pytest.mark.parametrize("file", ["piece-1.sealed", "samples"])
def test_what_is_damaged_is_named_and_made_again(tmp_path: Path, file: str) -> None:
    config, said = small(), []
    run_study(config, tmp_path, say=said.append)
    before = pd.read_parquet(tmp_path / "prompts.parquet")
    path = tmp_path / "seed-0" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    said.clear()
    assert run_study(config, tmp_path, say=said.append)
    assert file in said[0]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "prompts.parquet"), before)


def small() -> PredictedConfig:
    return dataclasses.replace(CONFIG, seeds=(0,), varied=(), coin_losses=(), coin_strengths=())


def test_a_command_without_time_writes_the_tables_of_what_is_there(tmp_path: Path) -> None:
    from llm.predicted.__main__ import main

    assert main(["--preset", "tiny", "--seeds", "0", "--out", str(tmp_path)]) == 0
    before = pd.read_parquet(tmp_path / "steps.parquet")
    (tmp_path / "steps.parquet").unlink()
    assert main(["--preset", "tiny", "--budget-seconds", "0", "--out", str(tmp_path)]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "steps.parquet"), before)


def test_a_budget_of_nothing_and_other_configurations(tmp_path: Path) -> None:
    said: list[str] = []
    assert not run_study(small(), tmp_path, budget_seconds=0.0, say=said.append)
    assert any("within the budget" in line for line in said)
    with pytest.raises(ValueError, match="seed 9"):
        run_study(small(), tmp_path, seeds=[9])
    with pytest.raises(ValueError, match="another configuration"):
        run_study(dataclasses.replace(small(), adam_rate=1e-3), tmp_path)


def test_a_killed_study_goes_on_to_the_same_tables(tmp_path: Path, study: Path) -> None:
    words = ["predicted", "--preset", "tiny", "--traceback", "--out", str(tmp_path)]
    killed_after(tmp_path, "seed-0/piece-0.sealed", command, words)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.sealed")}
    assert 0 < len(before) < 6
    assert main(words) == 0
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())  # nothing was trained twice
    for name in ("steps", "prompts"):
        one, other = (pd.read_parquet(folder / f"{name}.parquet") for folder in (study, tmp_path))
        pd.testing.assert_frame_equal(one, other, rtol=1e-4, atol=1e-6)  # threads of a product may differ
