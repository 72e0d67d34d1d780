"""Stacks, adapters, optimisers, the trainer, sweeps and launched processes, on a tiny Llama."""

from __future__ import annotations

import copy
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.optimization import Adafactor as TheirAdafactor

from llm.policy.batches import TokenizedPairs, batch_rows
from llm.policy.logprobs import pair_logprobs, reference_logprobs
from llm.policy.models import LoraSettings, add_lora
from llm.policy.packing import pack
from llm.storage.checkpoints import latest_checkpoint, load_tensors
from llm.sweep.export import load_cell
from llm.sweep.measure import measure_stack_size
from llm.sweep.plan import plan_stacks
from llm.sweep.run import train_sweep
from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from llm.training.lora_stacks import stack_adapters
from llm.training.optimizers import SGD, Adafactor, AdamW, StackedOptimizer, clip_gradients, gradient_norms
from llm.training.stacked import stack_model
from llm.training.trace import TRACE, StackResult
from llm.training.trainer import train_stack

ROOT = Path(__file__).parents[2]
LOSSES = (("logistic", 0.3), ("squared", 0.2), ("hinge", 0.5), ("exponential", 0.1), ("savage", 1.0))


def llama(seed: int = 0, **changes: object) -> LlamaForCausalLM:
    sizes: dict[str, object] = {
        "vocab_size": 31, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3,
    }  # fmt: skip
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **changes})).eval()


def random_pairs(n: int = 24, seed: int = 0) -> TokenizedPairs:
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> list[int]:
        return [int(i) for i in rng.integers(2, 31, rng.integers(low, high))]

    rows = [(ids(1, 9), [*ids(0, 6), 1], [*ids(0, 6), 1]) for _ in range(n)]
    return TokenizedPairs([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], np.ones(n))


MODEL, PAIRS = llama(), random_pairs()
REFERENCE = reference_logprobs(MODEL, PAIRS)


def cells_at(rate: float, losses: Sequence[tuple[str, float]] = LOSSES, seed: int = 0) -> list[SweepCell]:
    return [SweepCell(loss, beta, seed, rate) for loss, beta in losses]


def train(cells: Sequence[SweepCell], config: TrainConfig, folder: Path, **options: Any) -> StackResult:
    return train_stack(MODEL, cells, PAIRS, REFERENCE, config, folder=folder, **options)


def apart(a: torch.nn.Module, b: torch.nn.Module) -> float:
    return max(float((x - y).detach().abs().max()) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("tied", [False, True])
def test_a_stack_computes_what_its_runs_compute(tied: bool) -> None:
    models = [llama(seed, tie_word_embeddings=tied, attention_bias=True) for seed in range(3)]
    stack = stack_model(models[0], 3)
    assert len(stack.parameters) == len(list(models[0].parameters()))
    named = [dict(model.named_parameters()) for model in models]
    stack.load({name: torch.stack([own[name].detach() for own in named]) for name in stack.parameters})
    batch = pack(PAIRS)
    together = pair_logprobs(stack, batch)
    together.sum().backward()
    for run, model in enumerate(models):
        alone = pair_logprobs(model, batch)[0]
        torch.testing.assert_close(together[run], alone, rtol=1e-5, atol=1e-5)
        alone.sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            scale = float(parameter.grad.abs().max())
            stacked = stack.parameters[name].grad
            assert stacked is not None
            torch.testing.assert_close(stacked[run], parameter.grad, rtol=1e-4, atol=1e-5 * scale)
        assert apart(stack.cell(run), model) == 0.0
    assert (together[0] - together[1]).abs().max() > 0.5


def test_layers_that_cannot_be_stacked_are_refused() -> None:
    model = llama()
    model.model.extra = torch.nn.Conv1d(3, 3, 1)
    with pytest.raises(ValueError, match=r"model\.extra\.weight"):
        stack_model(model, 2)
    with pytest.raises(ValueError, match="runs is 0"):
        stack_model(MODEL, 0)
    stack = stack_model(MODEL, 2)
    with pytest.raises(ValueError, match="run 2"):
        stack.cell(2)


def test_other_families_can_be_stacked() -> None:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    common = {
        "vocab_size": 31,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    for model in (
        Qwen3ForCausalLM(Qwen3Config(**common, num_key_value_heads=1, head_dim=8)),  # norms on heads
        GPTNeoXForCausalLM(GPTNeoXConfig(**common)),  # layer norms, biases
    ):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        alone, together = pair_logprobs(model.eval(), pack(PAIRS)), pair_logprobs(stack_model(model, 2), pack(PAIRS))
        torch.testing.assert_close(together, alone.expand(2, -1, -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "rate", "epsilon"), [("sgd", 0.05, 1e-12), ("adamw", 1e-3, 1e-6), ("adafactor", 1e-3, 1e-12)]
)
def test_a_cell_in_a_stack_ends_where_it_ends_alone(
    tmp_path: Path, optimizer: str, rate: float, epsilon: float
) -> None:
    """Adam's ε is an ordinary one here: with a tiny one rounding in gradients that are zero becomes full steps."""
    config = TrainConfig(
        20, batch_size=6, optimizer=optimizer, warmup=3, max_grad_norm=0.5, adam_epsilon=epsilon, weight_decay=0.01
    )
    cells = cells_at(rate)
    together = train(cells, config, tmp_path / "stack")
    for run, cell in enumerate(cells):
        alone = train([cell], config, tmp_path / cell.key)
        assert apart(together.stack.cell(run), alone.stack.cell(0)) < 2e-6
        assert apart(together.stack.cell(run), MODEL) > 1e-3
        np.testing.assert_allclose(together.trace[:, run], alone.trace[:, 0], rtol=2e-4, atol=2e-5)
    assert apart(together.stack.cell(0), together.stack.cell(1)) > 1e-3
    assert (together.trace[..., TRACE.index("gradient_norm")] > 0.5).any()  # clipping acted


def test_a_stack_s_step_is_that_of_plain_torch(tmp_path: Path) -> None:
    """Five steps of AdamW on one cell against a loop on transformers' logits, torch's AdamW and clipping."""
    config = TrainConfig(5, batch_size=6, warmup=2, adam_epsilon=1e-6, max_grad_norm=0.5)
    cell = SweepCell("squared", 0.2, 3, 1e-3)
    mine = train([SweepCell("logistic", 1.0, 3, 1e-3), cell], config, tmp_path)
    model = copy.deepcopy(MODEL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-6, weight_decay=0.0)
    for step in range(5):
        rho = []
        for i in batch_rows(len(PAIRS), 6, step, 3):
            value = torch.zeros(())
            for sign, side, answer in ((1, 0, PAIRS.chosen[i]), (-1, 1, PAIRS.rejected[i])):
                start = len(PAIRS.prompt[i]) - 1
                logps = model(torch.tensor([PAIRS.prompt[i] + answer])).logits[0].log_softmax(-1)[start:-1]
                value = value + sign * (logps[range(len(answer)), answer].sum() - float(REFERENCE[i, side]))
            rho.append(value)
        loss = ((0.2 * torch.stack(rho) - 1) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1, (step + 1) / 2)
        optimizer.step()
        assert mine.trace[step, 1, 0] == pytest.approx(loss.item(), rel=1e-4)
    assert apart(mine.stack.cell(1), model) < 2e-6 < 1e-3 < apart(model, MODEL)


def test_accumulation_and_the_plain_layout_change_nothing_but_rounding(tmp_path: Path) -> None:
    cells = cells_at(0.05)
    config = TrainConfig(6, batch_size=6, optimizer="sgd")
    whole = train(cells, config, tmp_path / "whole")
    for name, other in (("parts", replace(config, accumulation=3)), ("plain", replace(config, packed=False))):
        found = train(cells, other, tmp_path / name)
        np.testing.assert_allclose(found.trace, whole.trace, rtol=1e-4, atol=1e-5)
        assert apart(found.stack.cell(1), whole.stack.cell(1)) < 1e-6


def optimizer_pairs() -> list[tuple[Any, Any]]:
    def adafactor(scaled: bool) -> Any:
        return lambda p: TheirAdafactor(
            p, lr=1e-2, scale_parameter=scaled, relative_step=False, warmup_init=False, weight_decay=0.1
        )

    return [
        (lambda p: SGD(p, weight_decay=0.1), lambda p: torch.optim.SGD(p, lr=1e-2)),
        (lambda p: AdamW(p, epsilon=1e-8, weight_decay=0.1), lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1)),
        (lambda p: Adafactor(p, weight_decay=0.1), adafactor(False)),
        (lambda p: Adafactor(p, weight_decay=0.1, scale_by_parameter=True), adafactor(True)),
    ]


@pytest.mark.parametrize("number", range(4), ids=["sgd", "adamw", "adafactor", "adafactor-scaled"])
def test_optimisers_equal_torch_s_and_transformers_run_by_run(number: int) -> None:
    """Gradients of the runs differ by factors of 1,000, so a statistic over runs would show."""
    make, theirs = optimizer_pairs()[number]
    generator = torch.Generator().manual_seed(number)
    shapes = {"matrix": (3, 5, 4), "vector": (3, 7)}
    mine = {k: torch.randn(s, generator=generator, dtype=torch.float64) for k, s in shapes.items()}
    runs = [{k: torch.nn.Parameter(v[r].clone()) for k, v in mine.items()} for r in range(3)]
    optimizer: StackedOptimizer = make(mine)
    others = [theirs(list(run.values())) for run in runs]
    for _ in range(12):
        gradients = {
            k: torch.randn(s, generator=generator, dtype=torch.float64)
            * torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64).view(3, *[1] * (len(s) - 1))
            for k, s in shapes.items()
        }
        for r, run in enumerate(runs):
            for name, parameter in run.items():
                parameter.grad = gradients[name][r].clone()
                if number == 0:  # torch's SGD has no decoupled decay
                    parameter.data.mul_(1 - 1e-2 * 0.1)
            others[r].step()
        optimizer.step(gradients, torch.full((3,), 1e-2, dtype=torch.float64), torch.ones(3, dtype=torch.bool))
    for r, run in enumerate(runs):
        for name, parameter in run.items():
            # transformers' Adafactor decays after its update is computed, as ours does
            torch.testing.assert_close(mine[name][r], parameter.detach(), rtol=1e-6, atol=1e-7)


def test_clipping_is_per_run_and_equals_torch_s() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = {k: torch.randn(s, generator=generator) for k, s in (("a", (3, 4, 2)), ("b", (3, 5)))}
    for value in gradients.values():
        value[1] *= 1e-3
        value[2] = 0.0
    before = {k: v.clone() for k, v in gradients.items()}
    norms = gradient_norms(gradients)
    clip_gradients(gradients, norms, 0.5)
    for run in range(3):
        parameters = [torch.nn.Parameter(v[run].clone()) for v in before.values()]
        for parameter in parameters:
            parameter.grad = parameter.detach().clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        assert float(norms[run]) == pytest.approx(float(norm), rel=1e-6)
        for parameter, value in zip(parameters, gradients.values(), strict=True):
            torch.testing.assert_close(value[run], parameter.grad, rtol=1e-5, atol=1e-9)
    assert torch.equal(gradients["a"][1], before["a"][1])  # small ones are left as they are


def test_adam_takes_the_scale_of_beta_out(tmp_path: Path) -> None:
    """f(βρ) with a tiny β has gradients proportional to it: with ε = 1e-12 the run is that of the linear loss."""
    config = TrainConfig(4, batch_size=len(PAIRS), max_grad_norm=None)
    small = [SweepCell("logistic", beta, 0, 1e-3) for beta in (1e-7, 1e-6)]
    found = train(small, config, tmp_path / "tiny")
    rho = found.trace[-1, :, TRACE.index("mean_rho")]
    assert rho[0] == pytest.approx(rho[1], rel=2e-2)
    ordinary = train(small, replace(config, adam_epsilon=1e-6), tmp_path / "ordinary")
    other = ordinary.trace[-1, :, TRACE.index("mean_rho")]
    assert 0 < other[0] < 0.5 * other[1]


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_a_run_that_stops_goes_on_to_the_same_end_to_the_bit(tmp_path: Path, optimizer: str) -> None:
    cells = cells_at(1e-3)
    config = TrainConfig(9, batch_size=5, accumulation=5, optimizer=optimizer, warmup=4, checkpoint_every=2)
    whole = train(cells, config, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(index: int, step: int, model: Any) -> None:
        if step == 6:
            raise Killed

    with pytest.raises(Killed):
        train(cells, config, tmp_path / "again", on_checkpoint=kill)
    newest = latest_checkpoint(tmp_path / "again")
    assert newest is not None
    assert newest.name == "step-00000004"
    again = train(cells, config, tmp_path / "again")
    assert np.array_equal(again.trace, whole.trace)
    assert all(apart(again.stack.cell(i), whole.stack.cell(i)) == 0.0 for i in range(len(cells)))
    seen: list[int] = []
    finished = train(cells, config, tmp_path / "again", on_checkpoint=lambda i, s, m: seen.append(s))
    assert np.array_equal(finished.trace, whole.trace)
    assert seen == []  # what is finished is not trained again
    with pytest.raises(ValueError, match="holds a run with other"):
        train(cells, replace(config, warmup=5), tmp_path / "again")


SCRIPT = """
import sys
from pathlib import Path
from tests.llm import test_stacks as t

def main(folder):
    config = t.TrainConfig(40, batch_size=4, checkpoint_every=1)
    result = t.train(t.cells_at(1e-3), config, Path(folder))
    print(result.trace.tobytes().hex()[:64])

main(sys.argv[1])
"""


def test_a_process_killed_at_any_moment_leaves_what_it_takes_to_go_on(tmp_path: Path) -> None:
    config = TrainConfig(40, batch_size=4, checkpoint_every=1)
    whole = train(cells_at(1e-3), replace(config, checkpoint_every=0), tmp_path / "whole")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, str(script), str(folder)], env=environment, cwd=ROOT)
    deadline = time.monotonic() + 60
    while latest_checkpoint(folder) is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    newest = latest_checkpoint(folder)
    assert newest is not None
    again = train(cells_at(1e-3), config, folder)
    np.testing.assert_allclose(again.trace, whole.trace, rtol=1e-6, atol=1e-9)  # threads may differ from the child's
    assert again.statuses == ("finished",) * len(LOSSES)
    assert not list(folder.glob(".writing-*"))


def test_a_cell_that_meets_nan_is_stopped_alone(tmp_path: Path) -> None:
    """exp(−z) overflows at a huge β: that cell stops, its parameters stay finite, the others end as without it."""
    bad = SweepCell("exponential", 1e4, 0, 0.05)
    good = cells_at(0.05, LOSSES[:2])
    config = TrainConfig(8, batch_size=6, optimizer="sgd", max_grad_norm=1.0, checkpoint_every=3)
    seen: list[tuple[int, int]] = []
    found = train([good[0], bad, good[1]], config, tmp_path / "a", on_checkpoint=lambda i, s, m: seen.append((i, s)))
    stopped = found.statuses[1]
    assert stopped.startswith("nan at step ")
    step = int(stopped.split()[-1])
    assert 1 < step < 8
    assert (found.statuses[0], found.statuses[2]) == ("finished", "finished")
    assert not np.isfinite(found.trace[step - 1, 1]).all()
    assert np.isfinite(found.trace[: step - 1, 1]).all()
    assert np.isfinite(found.trace[:, [0, 2]]).all()
    assert all(bool(torch.isfinite(p).all()) for p in found.stack.cell(1).parameters())
    before = train([bad], replace(config, steps=step - 1), tmp_path / "b")
    assert apart(found.stack.cell(1), before.stack.cell(0)) < 2e-6
    alone = train(good, config, tmp_path / "c")
    assert apart(found.stack.cell(2), alone.stack.cell(1)) < 2e-6
    assert (tmp_path / "a" / f"stopped-{bad.key}.safetensors").is_file()
    assert {i for i, s in seen if s >= step} == {0, 2}
    assert set(found.table().loc[lambda t: t["cell"] == bad.key, "status"]) == {stopped}
    again = train([good[0], bad, good[1]], config, tmp_path / "a")
    assert again.statuses == found.statuses


def test_a_stack_of_stopped_cells_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = TrainConfig(50, batch_size=6, optimizer="sgd")
    found = train([SweepCell("exponential", 1e4, 0, 0.05)], config, tmp_path, progress=True)
    assert "stopped" in capsys.readouterr().err  # the bar says so
    assert found.statuses[0].startswith("nan at step")
    assert latest_checkpoint(tmp_path) is not None


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adafactor"])
def test_a_stopped_cell_keeps_no_infinite_parameters(tmp_path: Path, optimizer: str) -> None:
    """Finite losses and gradients, and a step that leaves the range of floats: the step is not taken."""
    wild, good = SweepCell("logistic", 0.3, 0, 1e38), SweepCell("logistic", 0.3, 0, 1e-3)
    config = TrainConfig(6, batch_size=6, optimizer=optimizer, max_grad_norm=None, weight_decay=10.0)
    found = train([wild, good], config, tmp_path / "both")
    assert found.statuses[0].startswith("nan at step ")
    assert found.statuses[1] == "finished"
    for run in (0, 1):
        assert all(bool(torch.isfinite(p).all()) for p in found.stack.cell(run).parameters())
    step = int(found.statuses[0].split()[-1])
    assert step > 1 or apart(found.stack.cell(0), MODEL) == 0.0, "its parameters are those before the step"
    stopped = load_tensors(tmp_path / "both" / f"stopped-{wild.key}.safetensors")[0]
    assert all(bool(torch.isfinite(value).all()) for value in stopped.values())
    alone = train([good], config, tmp_path / "alone")
    assert apart(found.stack.cell(1), alone.stack.cell(0)) < 1e-5


def test_a_full_disk_while_saving_leaves_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, config = cells_at(1e-3), TrainConfig(6, batch_size=4, checkpoint_every=2)
    whole = train(cells, config, tmp_path / "whole")

    def full(index: int, step: int, model: Any) -> None:
        if step == 4:
            monkeypatch.setattr(os, "fsync", refuse)

    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device.*step-00000002 is intact"):
        train(cells, config, tmp_path / "full", on_checkpoint=full)
    monkeypatch.undo()
    assert np.array_equal(train(cells, config, tmp_path / "full").trace, whole.trace)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps"), ({"accumulation": 5}, "accumulation"), ({"optimizer": "lion"}, "lion"),
        ({"dtype": "float16"}, "float16"), ({"max_grad_norm": 0.0}, "max_grad_norm"), ({"decay": "cosine"}, "cosine"),
        ({"evaluate_at": (11,)}, "11"), ({"warmup": -1}, "warmup"), ({"weight_decay": float("nan")}, "weight_decay"),
        ({"weight_decay": -0.1}, "weight_decay"), ({"evaluate_at": (4, 2)}, "rising"),
    ],
)  # fmt: skip
def test_configurations_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"steps": 10, "batch_size": 32, **changes})


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    config = TrainConfig(1)

    def refused(cells: Sequence[SweepCell], pairs: TokenizedPairs, reference: NDArray[Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            train_stack(MODEL, cells, pairs, reference, config, folder=tmp_path)

    cells = cells_at(1e-3)
    refused([], PAIRS, REFERENCE, "no cells")
    refused([cells[0], cells[0]], PAIRS, REFERENCE, "twice")
    refused([cells[0], *cells_at(1e-3, seed=1)], PAIRS, REFERENCE, "seeds")
    refused(cells, PAIRS, REFERENCE[:-1], "shape")
    refused(cells, PAIRS, np.where(REFERENCE > 0, REFERENCE, np.nan), "finite")
    strange = TokenizedPairs([[40]], [[1]], [[2]], np.ones(1))
    refused(cells, strange, np.zeros((1, 2)), "token 40")


def test_learning_rates_differ_by_cell_and_decay(tmp_path: Path) -> None:
    config = TrainConfig(4, batch_size=6, optimizer="sgd", decay="linear", max_grad_norm=None)
    assert [config.rate(step) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    slow, fast = SweepCell("squared", 0.1, 0, 1e-4), SweepCell("squared", 0.1, 0, 1e-3)
    found = train([slow, fast], config, tmp_path)
    moved = [apart(found.stack.cell(run), MODEL) for run in (0, 1)]
    assert moved[1] == pytest.approx(10 * moved[0], rel=0.2)


def test_bfloat16_follows_float32_with_float32_parameters(tmp_path: Path) -> None:
    config = TrainConfig(6, batch_size=6)
    half = train(cells_at(1e-3), replace(config, dtype="bfloat16"), tmp_path / "half")
    full = train(cells_at(1e-3), config, tmp_path / "full")
    assert {p.dtype for p in half.stack.parameters.values()} == {torch.float32}
    np.testing.assert_allclose(half.trace[..., 0], full.trace[..., 0], rtol=0.15, atol=0.02)
    assert not np.array_equal(half.trace, full.trace)


def test_bfloat16_starts_at_the_reference_it_is_compared_with(tmp_path: Path) -> None:
    """Before the first step ρ is 0 where both sides are computed alike, and rounding where the reference is not."""
    config, square = TrainConfig(1, batch_size=len(PAIRS), dtype="bfloat16"), TRACE.index("mu_squared_loss")
    alike = reference_logprobs(MODEL, PAIRS, cache=tmp_path / "cache", dtype="bfloat16")
    found = train_stack(MODEL, cells_at(1e-3), PAIRS, alike, config, folder=tmp_path / "alike")
    assert found.trace[0, :, square].max() < 1e-6
    other = train(cells_at(1e-3), config, tmp_path / "other")
    assert other.trace[0, :, square].min() > 1e-4
    again = reference_logprobs(MODEL, PAIRS, cache=tmp_path / "cache")  # kept apart from those in bfloat16
    assert np.array_equal(again, REFERENCE)
    with pytest.raises(ValueError, match="float16"):
        reference_logprobs(MODEL, PAIRS, dtype="float16")


def test_adapters_are_stacked_over_one_base(tmp_path: Path) -> None:
    base = copy.deepcopy(MODEL)
    tuned = add_lora(base, LoraSettings(rank=2, alpha=4.0), seed=1).eval()
    reference = reference_logprobs(tuned, PAIRS)
    np.testing.assert_allclose(reference, REFERENCE, rtol=1e-5, atol=1e-5)
    cells, config = cells_at(0.5), TrainConfig(12, batch_size=6, optimizer="sgd")
    together = train_stack(tuned, cells, PAIRS, reference, config, folder=tmp_path / "stack")
    frozen = {id(p) for p in tuned.parameters() if not p.requires_grad}
    assert {id(p) for p in together.stack.network.parameters() if not p.requires_grad} == frozen  # one base
    batch = pack(PAIRS)
    for run, cell in enumerate(cells):
        alone = train_stack(tuned, [cell], PAIRS, reference, config, folder=tmp_path / cell.key)
        model = together.stack.cell(run)
        assert apart(model, alone.stack.cell(0)) < 2e-6
        assert apart(model, tuned) > 1e-3
        with torch.no_grad():  # peft's own layers give what the stacked ones give
            torch.testing.assert_close(
                pair_logprobs(model, batch)[0], pair_logprobs(together.stack, batch)[run], rtol=1e-5, atol=2e-5
            )
    assert apart(tuned, add_lora(copy.deepcopy(MODEL), LoraSettings(rank=2, alpha=4.0), seed=1)) == 0.0


def test_adapters_that_cannot_be_stacked_are_refused() -> None:
    with pytest.raises(ValueError, match="dropout"):
        stack_adapters(add_lora(copy.deepcopy(MODEL), LoraSettings(dropout=0.1)), 2)


def test_sweeps_train_each_cell_as_alone_and_go_on(tmp_path: Path) -> None:
    cells = [*cells_at(0.05), *cells_at(0.05, LOSSES[:2], seed=1)]
    config = TrainConfig(4, batch_size=6, optimizer="sgd")
    seen: list[tuple[str, int]] = []
    found = train_sweep(
        MODEL, cells, PAIRS, REFERENCE, config, folder=tmp_path, stack_size=3,
        on_checkpoint=lambda cell, step, model: seen.append((cell.key, step)),
    )  # fmt: skip
    assert sorted(seen) == sorted((cell.key, 4) for cell in cells)
    assert found.statuses == ("finished",) * len(cells)
    assert (len(found.stacks), found.trained) == (3, 3)
    assert [(file.cell, file.step) for file in found.policies()] == [(cell, 4) for cell in cells]
    assert len(found.table()) == 4 * len(cells)
    for cell in (cells[1], cells[-1]):
        alone = train([cell], config, tmp_path / "alone" / cell.key)
        assert apart(load_cell(MODEL, tmp_path, cell), alone.stack.cell(0)) < 2e-6
    seen.clear()
    again = train_sweep(
        MODEL, cells, PAIRS, REFERENCE, config, folder=tmp_path, on_checkpoint=lambda *a: seen.append(a)
    )  # type: ignore[arg-type]
    assert (again.stack_size, again.trained, seen) == (3, 0, [])
    with pytest.raises(ValueError, match="no stack with the cell"):
        load_cell(MODEL, tmp_path, SweepCell("savage", 9.0, 0, 0.05))


def test_stack_sizes_are_measured_and_leave_no_trace(tmp_path: Path) -> None:
    before = copy.deepcopy(MODEL)
    timings = measure_stack_size(
        MODEL, cells_at(1e-3), PAIRS, REFERENCE, TrainConfig(100, batch_size=4), sizes=(1, 2), steps=2
    )
    assert [timing.size for timing in timings][:1] == [1]
    assert {timing.size for timing in timings} <= {1, 2, 5}
    assert all(timing.seconds > 0 for timing in timings)
    assert apart(before, MODEL) == 0.0
    found = train_sweep(MODEL, cells_at(1e-3), PAIRS, REFERENCE, TrainConfig(1, batch_size=2), folder=tmp_path)
    assert 1 <= found.stack_size <= 5
    assert '"seconds"' in (tmp_path / "plan.json").read_text()


def test_stacks_are_of_one_seed() -> None:
    cells = [*cells_at(1e-3), *cells_at(1e-3, seed=1)]
    stacks = plan_stacks(cells, 4)
    assert all(len({cell.seed for cell in stack}) == 1 for stack in stacks)
    assert sorted(len(stack) for stack in stacks) == [2, 2, 3, 3]
    assert [cell for stack in stacks for cell in stack] == cells
    with pytest.raises(ValueError, match="size is 0"):
        plan_stacks(cells, 0)


LAUNCHED = """
import sys
from pathlib import Path
from llm.devices import on_first, this_rank
from llm.sweep.run import train_sweep
from tests.llm import test_stacks as t

if __name__ == "__main__":
    where = this_rank("cpu")
    assert on_first(where, lambda: where.rank) == 0
    here = []
    found = train_sweep(
        t.MODEL, t.cells_at(0.05), t.PAIRS, t.REFERENCE, t.TrainConfig(3, batch_size=6, optimizer="sgd"),
        folder=sys.argv[1], device="cpu", stack_size=2,
        on_checkpoint=lambda cell, s, m: here.append(t.cells_at(0.05).index(cell)),
    )
    Path(sys.argv[1], f"rank-{where.rank}-of-{where.world}").write_text(f"{sorted(here)} {found.statuses}")
"""


@pytest.mark.parametrize(
    "launcher",
    [
        ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
        ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
         "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"],
    ],
    ids=["torchrun", "accelerate"],
)  # fmt: skip
def test_cells_are_spread_over_launched_processes(tmp_path: Path, launcher: list[str]) -> None:
    script = tmp_path / "launched.py"
    script.write_text(LAUNCHED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *launcher, str(script), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = {path.name: path.read_text() for path in (tmp_path / "out").glob("rank-*")}
    assert set(told) == {"rank-0-of-2", "rank-1-of-2"}
    assert told["rank-0-of-2"].startswith("[0, 1, 4]")  # stacks [0, 1], [2, 3], [4]
    assert told["rank-1-of-2"].startswith("[2, 3]")
    assert all(text.count("finished") == len(LOSSES) for text in told.values())
    alone = train_sweep(
        MODEL, cells_at(0.05), PAIRS, REFERENCE, TrainConfig(3, batch_size=6, optimizer="sgd"),
        folder=tmp_path / "one", stack_size=5,
    )  # fmt: skip
    assert alone.stack_size == 5
    for cell in cells_at(0.05):
        assert apart(load_cell(MODEL, tmp_path / "out", cell), load_cell(MODEL, tmp_path / "one", cell)) < 2e-6


BESIDE = """
import sys
from pathlib import Path
from llm.sweep.run import train_sweep
from tests.llm import test_stacks as t

def note(cell, step, model):
    Path(sys.argv[1], f"saw-{t.cells_at(0.05).index(cell)}").write_text(str(step))

if __name__ == "__main__":
    train_sweep(
        t.MODEL, t.cells_at(0.05)[:4], t.PAIRS, t.REFERENCE, t.TrainConfig(3, batch_size=6, optimizer="sgd"),
        folder=sys.argv[1], stack_size=2, processes=2, on_checkpoint=note,
    )
"""


def test_processes_side_by_side_train_what_one_trains(tmp_path: Path) -> None:
    script = tmp_path / "beside.py"
    script.write_text(BESIDE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(path.name for path in (tmp_path / "out").glob("saw-*")) == [f"saw-{i}" for i in range(4)]
    alone = train([cells_at(0.05)[1]], TrainConfig(3, batch_size=6, optimizer="sgd"), tmp_path / "alone")
    assert apart(load_cell(MODEL, tmp_path / "out", cells_at(0.05)[1]), alone.stack.cell(0)) < 2e-6
