"""Study A: trees of responses, the objective and its optimum, and a study that is killed and goes on."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gpo_analysis as gpo
from experiments._llm import run_as_written
from gpo_analysis.locks import FolderBusy, run_lock
from gpo_analysis.losses import PAPER_LOSSES
from llm.__main__ import main
from llm.data.world import demonstrations, generate, vocabulary
from llm.forests.measures import kl_of_tilt, measures
from llm.forests.network import response_logprobs, stack_parameters
from llm.forests.problem import make_problem, make_references, population_optimum, reward_of_levels
from llm.forests.trees import plant, side_by_side
from llm.optimum.config import OptimumConfig, preset
from llm.optimum.study import plan_pieces, run_study
from llm.optimum.training import PolicyCell, pair_loss, train_piece
from llm.policy.models import LlamaSize, small_llama
from llm.policy.tokenizers import encode_prompts, encode_responses, train_tokenizer
from tests.llm.killable import command, killed_after

SIZE = LlamaSize(hidden=16, layers=2, heads=2)


def some_trees(seed: int, prompts: int = 3, responses: int = 6):
    tokenizer = train_tokenizer(vocabulary())
    examples = generate(prompts, seed=seed)
    shown = encode_responses(tokenizer, [d.target for d in demonstrations(examples, seed=seed, copies=responses)])
    grouped = [shown[at : at + responses] for at in range(0, len(shown), responses)]
    asked = encode_prompts(tokenizer, [example.prompt for example in examples])
    return tokenizer, asked, plant(asked, grouped)


def test_a_tree_gives_what_rows_of_their_own_give_in_transformers() -> None:
    tokenizer, prompts, (forest, distinct) = some_trees(0)
    models = [small_llama(SIZE, tokenizer, seed=seed) for seed in (0, 1)]
    with torch.no_grad():
        found = response_logprobs(stack_parameters(models), SIZE.heads, forest)
        for run, model in enumerate(models):
            for row, responses in enumerate(distinct):
                for place, y in enumerate(responses):
                    whole = torch.tensor([prompts[row] + list(y)])
                    logits = model(input_ids=whole).logits[0, len(prompts[row]) - 1 : -1].log_softmax(-1)
                    expected = logits.gather(1, torch.tensor(y)[:, None]).sum()
                    torch.testing.assert_close(found[run, row, place], expected, atol=2e-5, rtol=1e-6)
                assert (found[run, row, len(responses) :] == 0).all()
    assert not torch.allclose(found[0], found[1])  # the models differ
    assert forest.weight.sum(1).numpy() == pytest.approx(1.0)
    assert {len(set(map(tuple, d))) for d in distinct} == {len(d) for d in distinct}


def test_trees_of_its_own_for_each_run() -> None:
    (tokenizer, _, (first, _)), (_, _, (second, _)) = some_trees(1), some_trees(2)
    parameters = stack_parameters([small_llama(SIZE, tokenizer, seed=seed) for seed in (0, 1)])
    with torch.no_grad():
        both = response_logprobs(parameters, SIZE.heads, side_by_side([first, second]))
        for run, forest in enumerate((first, second)):
            one = {name: value[run : run + 1] for name, value in parameters.items()}
            alone = response_logprobs(one, SIZE.heads, forest)[0]
            torch.testing.assert_close(both[run, :, : alone.shape[1]], alone, atol=2e-5, rtol=1e-6)
    with pytest.raises(ValueError, match="prompts; accepted"):
        side_by_side([first, first.take(torch.tensor([0]))])


def test_what_no_tree_can_be_grown_from() -> None:
    for prompts, responses in (([], []), ([[1]], [[]]), ([[]], [[[1]]]), ([[1]], [[[]]])):
        with pytest.raises(ValueError, match="prompt"):
            plant(prompts, responses)


def world(seed: int, prompts: int = 3, responses: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight = rng.dirichlet(np.full(responses, 2.0), size=prompts)
    return np.round(rng.normal(size=(prompts, responses)), 6), weight  # equal rewards are told to nine digits


@pytest.mark.parametrize("loss", PAPER_LOSSES)
def test_the_objective_is_the_population_loss(loss: str) -> None:
    rewards, weight = world(0)
    h = np.random.default_rng(1).normal(size=rewards.shape)
    p = torch.sigmoid(torch.from_numpy(rewards[:, :, None] - rewards[:, None, :]))
    beta = torch.tensor([0.7], dtype=torch.float64)
    found = pair_loss([loss], beta, torch.from_numpy(h)[None], torch.from_numpy(weight), p)
    problem = gpo.PreferenceProblem(np.stack([gpo.bradley_terry(r) for r in rewards]), weight)
    assert float(found[0]) == pytest.approx(problem.loss_at(h, loss, 0.7), rel=1e-12)


@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential", "truncated_quadratic", "savage"])
def test_a_tabular_policy_comes_to_rest_at_the_optimum_whatever_it_does_elsewhere(loss: str) -> None:
    """The derivation of `llm.optimum`: h on the samples up to a constant is all that training determines."""
    rewards, weight = world(2)
    beta, elsewhere = 0.8, 0.3
    reference = np.concatenate([(1 - elsewhere) * weight, np.full((len(weight), 1), elsewhere)], 1)
    log_reference, shares = torch.from_numpy(np.log(reference)), torch.from_numpy(weight)
    p = torch.sigmoid(torch.from_numpy(rewards[:, :, None] - rewards[:, None, :]))
    logits = log_reference + 0.5 * torch.randn(log_reference.shape, generator=torch.Generator().manual_seed(0))
    logits = logits.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], lr=1.0, max_iter=2000, tolerance_grad=1e-13, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def h() -> torch.Tensor:
        return (logits.log_softmax(1) - log_reference)[None, :, :-1]

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = pair_loss([loss], torch.tensor([beta], dtype=torch.float64), h(), shares, p)[0]
        value.backward()
        return value

    optimizer.step(closure)
    optimum = np.stack([reward_of_levels(r, w, loss)[0] for r, w in zip(rewards, weight, strict=True)]) / beta
    trained = h().detach()[0]
    centred = trained - (shares * trained).sum(1, keepdim=True)
    assert centred.numpy() == pytest.approx(optimum, abs=2e-5)
    assert kl_of_tilt(trained, shares).numpy() == pytest.approx(
        kl_of_tilt(torch.from_numpy(optimum), shares).numpy(), rel=1e-4
    )
    # the same policy with the mass elsewhere halved: another KL to πref, the same loss and the same KL of the tilt
    moved = trained + np.log(1.2)
    assert float(kl_of_tilt(moved, shares)[0]) == pytest.approx(float(kl_of_tilt(trained, shares)[0]), rel=1e-12)


def test_optima_of_the_logit_family_coincide_at_equal_strength_and_the_squared_one_is_bordas() -> None:
    rewards, weight = world(3, prompts=1, responses=6)
    r, mu = rewards[0], weight[0]
    logistic, squared = reward_of_levels(r, mu, "logistic")[0], reward_of_levels(r, mu, "squared")[0]
    assert logistic == pytest.approx(r - mu @ r, abs=1e-8)
    for name in ("exponential", "savage"):
        found = reward_of_levels(r, mu, name)[0] * float(gpo.get_loss(name).curvature_ratio)
        assert found == pytest.approx(0.5 * logistic, abs=1e-6)
    borda = (2 * gpo.bradley_terry(r) - 1) @ mu
    assert squared == pytest.approx(borda - mu @ borda, abs=1e-10)


def test_measures_are_those_of_the_tilted_samples() -> None:
    _, problem = tiny_problem()
    mu, h = problem.seen.forest.weight.numpy(), np.random.default_rng(0).normal(size=problem.seen.rewards.shape)
    found = measures(problem.seen, h)
    for row in range(len(mu)):
        own = mu[row] > 0
        q = mu[row, own] * np.exp(h[row, own])
        q /= q.sum()
        r = problem.seen.rewards[row, own]
        assert found["kl"][row] == pytest.approx(gpo.kl_divergence(q, mu[row, own]), abs=1e-12)
        wins = (r[:, None] > r[None, :]) + 0.5 * (r[:, None] == r[None, :])
        assert found["win_rate"][row] == pytest.approx(float(q @ wins @ mu[row, own]), abs=1e-12)
    assert measures(problem.seen, np.zeros_like(h))["win_rate"] == pytest.approx(0.5, abs=1e-12)


def tiny_problem() -> tuple[OptimumConfig, object]:
    config = preset("tiny")
    return config, make_problem(config, 0, make_references(config, [0])[0])


def test_policies_come_near_the_optimum_and_start_at_the_reference() -> None:
    config, problem = tiny_problem()
    config = dataclasses.replace(config, steps=200, learning_rate=5e-3)
    cells = [PolicyCell("logistic", 0.8, 1.6, 0), PolicyCell("squared", 0.8, 0.8, 0)]
    trained = train_piece(problem, cells, config)
    for run, cell in enumerate(cells):
        optimum = population_optimum(problem, cell.loss, config.scale)
        measured, predicted = (
            measures(problem.seen, h)["kl"].mean() for h in (trained.log_ratio[run], optimum.seen / cell.beta)
        )
        assert abs(np.log(measured / predicted)) < 0.25
        assert trained.loss[-1, run] < trained.loss[0, run]
    assert (trained.gradient[1] < 0.5 * trained.gradient[0]).all()
    reference = dataclasses.replace(config.reference, learning_rate=float("nan"))
    with pytest.raises(FloatingPointError, match="fine-tuning"):
        make_references(dataclasses.replace(config, reference=reference), [0])


def test_what_a_configuration_may_be() -> None:
    for change, said in (
        ({"batch_size": 3}, "divide"),
        ({"steps": 25}, "multiples"),
        ({"seeds": ()}, "one or more"),
        ({"losses": ("nope",)}, "nope"),
    ):
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(preset("tiny"), **change)
    with pytest.raises(ValueError, match="accepted are"):
        preset("huge")


def test_a_budget_stops_between_pieces_and_seeds_come_first(tmp_path: Path) -> None:
    said: list[str] = []
    config = preset("tiny")
    ticks = itertools.count(0)  # asked before each of 30 steps of πref and 20 of a piece
    assert not run_study(config, tmp_path, budget_seconds=72, say=said.append, clock=ticks.__next__)
    table = pd.read_parquet(tmp_path / "policies.parquet")
    assert set(table["seed"]) == {0}
    assert len(table) == len(plan_pieces(config)[0].cells)
    assert any("within the budget" in line for line in said)
    assert not run_study(config, tmp_path, budget_seconds=0.0, say=said.append)  # tables alone
    with pytest.raises(ValueError, match="seed 9"):
        run_study(config, tmp_path, seeds=[9])
    with pytest.raises(ValueError, match="another configuration"):
        run_study(dataclasses.replace(config, steps=10), tmp_path)


@pytest.mark.parametrize("file", ["piece-0.sealed", "piece-1.sealed", "samples", "reference.safetensors"])
def test_what_is_damaged_is_named_and_made_again(tmp_path: Path, file: str) -> None:
    config, said = dataclasses.replace(preset("tiny"), seeds=(0,), steps=10), []
    run_study(config, tmp_path, say=said.append)
    before = pd.read_parquet(tmp_path / "policies.parquet")
    path = tmp_path / "seed-0" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    said.clear()
    assert run_study(config, tmp_path, say=said.append)
    assert file in said[0]
    assert said[0].endswith("it is trained again" if "piece" in file else "seed 0 begins anew")
    after = pd.read_parquet(tmp_path / "policies.parquet")
    pd.testing.assert_frame_equal(after.drop(columns="seconds"), before.drop(columns="seconds"))


def test_a_damaged_note_of_whose_a_folder_is_is_written_again(tmp_path: Path) -> None:
    config, said = dataclasses.replace(preset("tiny"), seeds=(0,), steps=10), []
    run_study(config, tmp_path, say=said.append, tables=False)
    note, whole = tmp_path / "study.json", (tmp_path / "study.json").read_bytes()
    note.write_bytes(whole.replace(b"1", b"2", 1))
    with pytest.raises(ValueError, match=r"study\.json is damaged .* not of this configuration"):
        run_study(dataclasses.replace(config, steps=20), tmp_path, say=said.append, tables=False)
    said.clear()
    assert run_study(config, tmp_path, say=said.append, tables=False)
    assert said[0].endswith("it is written again")
    assert not any("policies in" in line for line in said)  # nothing was trained again
    assert note.read_bytes() == whole
    note.write_bytes((tmp_path / "run.json").read_bytes())  # sound, and of another file
    said.clear()
    assert run_study(config, tmp_path, say=said.append, tables=False)
    assert "study.json is another document (it has no 'key')" in said[0]
    assert note.read_bytes() == whole


@pytest.mark.parametrize("file", ["policies.parquet", "prompts.parquet", "run.json"])
def test_damaged_tables_are_not_read(tmp_path: Path, file: str) -> None:
    config = dataclasses.replace(preset("tiny"), seeds=(0,), steps=10)
    folder = tmp_path / "optimum-tiny"
    run_study(config, folder, say=lambda _line: None)
    assert run_as_written(folder)["planned"] == 2
    data = bytearray((folder / file).read_bytes())
    data[len(data) // 3] ^= 1
    other = (folder / ("study.json" if file == "run.json" else file)).read_bytes()
    for wrong in (bytes(data), other[: None if file == "run.json" else 99]):
        (folder / file).write_bytes(wrong)
        with pytest.raises(ValueError, match=f"{file} is (damaged|another document|not what the study wrote)"):
            run_as_written(folder)
    run_study(config, folder, say=lambda _line: None, budget_seconds=0.0)
    assert run_as_written(folder)["planned"] == 2


def test_a_piece_in_anothers_place_is_no_piece(tmp_path: Path) -> None:
    config, said = dataclasses.replace(preset("tiny"), seeds=(0,), steps=10), []
    run_study(config, tmp_path, say=said.append, tables=False)
    one, other = (tmp_path / "seed-0" / f"piece-{k}.sealed" for k in (0, 1))
    other.write_bytes(one.read_bytes())
    said.clear()
    assert run_study(config, tmp_path, say=said.append, tables=False)
    assert "piece-0.sealed, not" in said[0]
    assert len([line for line in said if "policies in" in line]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="locks hold nothing there")
def test_one_run_a_seed(tmp_path: Path) -> None:
    config = dataclasses.replace(preset("tiny"), steps=10)
    with run_lock(tmp_path / "seed-0", "another"), pytest.raises(FolderBusy, match="is at work in"):
        run_study(config, tmp_path)
    with run_lock(tmp_path / "seed-0", "another"):
        assert run_study(config, tmp_path, seeds=[1], tables=False)


def test_a_killed_study_goes_on_to_the_same_tables(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ["optimum", "--preset", "tiny", "--traceback", "--out"]
    killed_after(killed, "seed-0/piece-0.sealed", command, [*words, str(killed)])
    before = {path: path.stat().st_mtime_ns for path in killed.rglob("*.sealed")}
    assert 0 < len(before) < 4
    assert not (killed / "policies.parquet").exists()
    assert main([*words, str(killed)]) == 0
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())  # nothing was trained twice
    assert main([*words, str(whole)]) == 0
    for name in ("policies.parquet", "prompts.parquet"):
        one, other = (
            pd.read_parquet(folder / name).drop(columns="seconds", errors="ignore") for folder in (whole, killed)
        )
        pd.testing.assert_frame_equal(one, other)
    assert {"loss", "strength", "seed", "kl", "kl_optimum", "win_rate", "win_rate_optimum", "status"} <= set(
        pd.read_parquet(whole / "policies.parquet").columns
    )


def test_what_a_machine_sends_home_becomes_tables_elsewhere(tmp_path: Path) -> None:
    from benchmarks import llm_optimum_gpu

    away, home = tmp_path / "away", tmp_path / "home"
    for folder in (away, home):
        folder.mkdir()
    words = ["--out", str(away), "--work", str(tmp_path), "--preset", "tiny", "--device", "cpu", "--commit", "abc"]
    assert llm_optimum_gpu.main([*words, "--seeds", "1"]) == 0
    assert [path.name for path in away.iterdir()] == ["optimum.tar.gz"]
    with tarfile.open(away / "optimum.tar.gz") as packed:
        packed.extractall(home, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # from 3.11.4 on
    assert not list(home.rglob("*.safetensors"))
    assert not run_study(preset("tiny"), home / "optimum-tiny", budget_seconds=0.0, say=lambda line: None)
    assert set(pd.read_parquet(home / "optimum-tiny" / "policies.parquet")["seed"]) == {1}
    assert json.loads((home / "optimum-tiny" / "run.json").read_text())["pieces"][0]["git"]["commit"] == "abc"
