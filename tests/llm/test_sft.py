"""Fine-tuning: the loss by hand, exact resume, a stage that is read when it is done, and that it learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import llm.training.sft
from llm.data.types import Example
from llm.data.world import generate
from llm.policy.models import LoraSettings, add_lora, load_model
from llm.policy.tokenizers import encode_prompts, encode_responses
from llm.rewards.world import WorldReward
from llm.storage.checksums import checksum_model
from llm.training.likelihood import negative_log_likelihood
from llm.training.quality import held_out_loss, measure_quality
from llm.training.sft import SftConfig, epoch_batches, fine_tune

SHORT = SftConfig(steps=12, batch_size=4, warmup=2, checkpoint_every=5, learning_rate=1e-2)


def test_held_out_loss_by_hand(tiny_model: Any, word_tokenizer: Any, records: list[Example]) -> None:
    # targets of different lengths, one row at a time and without padding
    examples = [Example(r.prompt, " ".join(r.target.split()[: 2 + i])) for i, r in enumerate(records[:6])]
    prompts = encode_prompts(word_tokenizer, [e.prompt for e in examples])
    responses = encode_responses(word_tokenizer, [e.target for e in examples])
    total = 0.0
    for x, y in zip(prompts, responses, strict=True):
        with torch.no_grad():
            logp = torch.log_softmax(tiny_model(torch.tensor([x + y])).logits[0].double(), -1)
        total -= sum(float(logp[len(x) - 1 + at, token]) for at, token in enumerate(y))
    found = held_out_loss(tiny_model, word_tokenizer, examples, batch_size=4)
    assert found["nats_per_response"] == pytest.approx(total / 6, rel=1e-5)
    assert found["nats_per_token"] == pytest.approx(total / sum(map(len, responses)), rel=1e-5)


def test_prompt_weight_by_hand(tiny_model: Any, word_tokenizer: Any, records: list[Example]) -> None:
    rows = list(
        zip(
            encode_prompts(word_tokenizer, [r.prompt for r in records[:3]]),
            encode_responses(word_tokenizer, [r.target for r in records[:3]]),
            strict=True,
        )
    )
    rows[0] = (rows[0][0][:9], rows[0][1])
    expected = weight = 0.0
    for x, y in rows:
        with torch.no_grad():
            logp = torch.log_softmax(tiny_model(torch.tensor([x + y])).logits[0].double(), -1)
        for at, token in enumerate((x + y)[1:]):
            w = 1.0 if at + 1 >= len(x) else 0.25
            expected, weight = expected - w * float(logp[at, token]), weight + w
    with torch.no_grad():
        found, total = negative_log_likelihood(tiny_model, word_tokenizer.pad_token_id, rows, 0.25)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert total == pytest.approx(weight)


def test_epochs_show_each_example_once() -> None:
    lengths = list(np.random.default_rng(0).integers(5, 50, size=203))
    batches = epoch_batches(lengths, 8, seed=1, epoch=0)
    shown = np.concatenate(batches)
    assert len(batches) == 25
    assert len(set(shown.tolist())) == len(shown) == 200
    again = epoch_batches(lengths, 8, seed=1, epoch=0)
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))
    assert any((a != b).any() for a, b in zip(batches, epoch_batches(lengths, 8, seed=1, epoch=1), strict=True))
    padded = sum(8 * max(lengths[i] for i in b) for b in batches)
    assert padded < 1.2 * sum(lengths)  # like lengths together
    assert sorted(epoch_batches([1, 1, 1], 4, seed=0, epoch=0)[0].tolist()) in (
        [0, 0, 1, 2],
        [0, 1, 1, 2],
        [0, 1, 2, 2],
    )


class Killed(Exception):
    """Stands for a process that is killed."""


def test_a_killed_run_ends_with_the_same_parameters(
    tmp_path: Path, tiny_model: Any, word_tokenizer: Any, records: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    import copy

    base = copy.deepcopy(tiny_model)
    whole = fine_tune(tiny_model, word_tokenizer, records, SHORT, folder=tmp_path / "whole")
    step = llm.training.sft._step

    def killed_at_8(*arguments: Any) -> float:
        if arguments[-1] == 8:
            raise Killed
        return step(*arguments)

    monkeypatch.setattr(llm.training.sft, "_step", killed_at_8)
    with pytest.raises(Killed):
        fine_tune(copy.deepcopy(base), word_tokenizer, records, SHORT, folder=tmp_path / "parts")
    assert (tmp_path / "parts" / "checkpoint").is_dir()
    steps: list[int] = []

    def counted(*arguments: Any) -> float:
        steps.append(arguments[-1])
        return step(*arguments)

    monkeypatch.setattr(llm.training.sft, "_step", counted)
    resumed = fine_tune(copy.deepcopy(base), word_tokenizer, records, SHORT, folder=tmp_path / "parts")
    assert steps == list(range(5, 12))
    assert resumed.report["losses"] == whole.report["losses"]  # to the bit
    assert checksum_model(resumed.model) == checksum_model(whole.model) != checksum_model(base)
    assert checksum_model(load_model(resumed.folder)[0]) == checksum_model(whole.model)
    assert not (tmp_path / "parts" / "checkpoint").exists()


def test_a_finished_stage_is_read_and_another_configuration_is_not(
    tmp_path: Path, tiny_model: Any, word_tokenizer: Any, records: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    import copy

    base = copy.deepcopy(tiny_model)
    first = fine_tune(tiny_model, word_tokenizer, records, SHORT, folder=tmp_path)

    def never(*_: Any) -> float:
        raise AssertionError("trained again")

    step = llm.training.sft._step
    monkeypatch.setattr(llm.training.sft, "_step", never)
    again = fine_tune(copy.deepcopy(base), word_tokenizer, records, SHORT, folder=tmp_path)
    assert checksum_model(again.model) == checksum_model(first.model)
    assert again.report == first.report
    for config, examples in ((dataclasses.replace(SHORT, seed=1), records), (SHORT, records[:-1])):
        with pytest.raises(AssertionError, match="trained again"):
            fine_tune(copy.deepcopy(base), word_tokenizer, examples, config, folder=tmp_path)
    monkeypatch.setattr(llm.training.sft, "_step", step)
    other = fine_tune(copy.deepcopy(base), word_tokenizer, records, dataclasses.replace(SHORT, seed=1), folder=tmp_path)
    assert other.report["losses"] != first.report["losses"]


def test_it_learns_and_says_so(tmp_path: Path, tiny_model: Any, word_tokenizer: Any) -> None:
    examples, held_out = generate(200, seed=0), generate(20, seed=1)
    gold = WorldReward(held_out)
    config = SftConfig(steps=60, batch_size=16, warmup=5, learning_rate=1e-2)
    result = fine_tune(
        tiny_model, word_tokenizer, examples, config, folder=tmp_path, held_out=held_out,
        quality=lambda model: measure_quality(model, word_tokenizer, held_out, gold, max_new_tokens=16),
    )  # fmt: skip
    before, after = result.report["before"], result.report["after"]
    assert before["nats_per_token"] == pytest.approx(np.log(len(word_tokenizer)), rel=0.05)
    # at best every value is one of 7 to 12 by chance and every other word is certain: about 11 nats in 10 tokens
    assert after["nats_per_token"] < 1.6
    assert after["sampled_reward"] > before["sampled_reward"]
    assert after["sampled_finished"] > 0.9
    assert before["target_reward"] == after["target_reward"] == 5.0
    assert 0.0 <= after["greedy_exact"] <= 1.0


@pytest.mark.filterwarnings("ignore:Could not find a config file in  :UserWarning")  # PEFT 0.15, which asks the hub
def test_adapters_alone_are_trained_and_read_back(
    tmp_path: Path, tiny_model: Any, word_tokenizer: Any, records: list[Example]
) -> None:
    import copy

    base = checksum_model(tiny_model)
    adapted = add_lora(copy.deepcopy(tiny_model), LoraSettings(rank=2))
    fresh = copy.deepcopy(adapted)
    result = fine_tune(adapted, word_tokenizer, records, SHORT, folder=tmp_path)
    assert (result.folder / "adapter_model.safetensors").is_file()
    again = fine_tune(fresh, word_tokenizer, records, SHORT, folder=tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(result.model(ids).logits, again.model(ids).logits)
        assert not torch.allclose(result.model(ids).logits, tiny_model(ids).logits, atol=1e-4)
    assert checksum_model(again.model.unload()) == base


def test_what_is_not_finite_stops_and_long_examples_are_counted(
    tmp_path: Path, tiny_model: Any, word_tokenizer: Any, records: list[Example]
) -> None:
    lengths = sorted(len(r.prompt.split()) + 10 for r in records)
    config = dataclasses.replace(SHORT, max_length=lengths[30])
    report = fine_tune(tiny_model, word_tokenizer, records, config, folder=tmp_path).report
    assert report["examples"] == sum(n <= lengths[30] for n in lengths) < 40
    assert report["too_long"] == 40 - report["examples"]
    with pytest.raises(ValueError, match="no example of 40 has at most 5 tokens"):
        fine_tune(tiny_model, word_tokenizer, records, dataclasses.replace(SHORT, max_length=5), folder=tmp_path)
    with torch.no_grad():
        tiny_model.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="loss of fine-tuning is nan at step 0"):
        fine_tune(tiny_model, word_tokenizer, records, dataclasses.replace(SHORT, seed=3), folder=tmp_path)


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"batch_size": 0}, {"decay": 2.0}, {"learning_rate": 0.0}, {"dtype": "float16"}]
)
def test_bad_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))} is"):
        SftConfig(**bad)
