"""Stacks of runs and of adapters and the trainer: each run ends where it ends alone, and where plain torch takes it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from llm.policy.batches import TokenizedPairs, batch_rows
from llm.policy.logprobs import pair_logprobs, reference_logprobs
from llm.policy.models import LoraSettings, add_lora
from llm.policy.packing import pack
from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from llm.training.lora_stacks import stack_adapters
from llm.training.stacked import stack_model
from llm.training.trace import TRACE
from llm.training.trainer import train_stack
from tests.llm.tiny_stacks import MODEL, PAIRS, REFERENCE, apart, cells_at, llama, train


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
