"""Models are saved whole or not at all, loaded as they were, and LoRA starts as the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llm.policy.models import (
    LlamaSize,
    LoraSettings,
    add_lora,
    count_parameters,
    load_model,
    new_folder,
    save_model,
    small_llama,
)
from llm.storage.checksums import checksum_model

IDS = torch.tensor([[4, 5, 6, 7]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(IDS).logits
    return found


def test_seeds_and_sizes(word_tokenizer: Any) -> None:
    size = LlamaSize(hidden=16, layers=2, heads=2)
    state = torch.random.get_rng_state()
    one, same, other = (small_llama(size, word_tokenizer, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's stream is untouched
    assert checksum_model(one) == checksum_model(same) != checksum_model(other)
    v, d, m = len(word_tokenizer), 16, 48  # 8/3 · 16 = 42.7, up to a multiple of 8
    assert count_parameters(one) == 2 * v * d + 2 * (4 * d * d + 3 * d * m + 2 * d) + d
    assert count_parameters(small_llama(LlamaSize(16, 2, 2, tied=True), word_tokenizer, seed=0)) == (
        count_parameters(one) - v * d
    )


def test_saved_as_safetensors_and_loaded_the_same(tmp_path: Path, tiny_model: Any, word_tokenizer: Any) -> None:
    save_model(tiny_model, word_tokenizer, tmp_path / "model")
    assert set(load_file(tmp_path / "model" / "model.safetensors")) == set(tiny_model.state_dict())
    again, tokenizer = load_model(tmp_path / "model")
    assert checksum_model(again) == checksum_model(tiny_model)
    assert tokenizer.get_vocab() == word_tokenizer.get_vocab()
    half, _ = load_model(tmp_path / "model", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_leaves_the_previous_model(
    tmp_path: Path, tiny_model: Any, word_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tiny_model, word_tokenizer, tmp_path / "model")
    before = checksum_model(tiny_model)
    with torch.no_grad():
        tiny_model.lm_head.weight += 1.0

    def full(folder: Path, **_: Any) -> None:
        (Path(folder) / "model.safetensors").write_bytes(b"half a fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tiny_model, "save_pretrained", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(tiny_model, word_tokenizer, tmp_path / "model")
    assert checksum_model(load_model(tmp_path / "model")[0]) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_new_folder_takes_the_place_of_the_old(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with new_folder(tmp_path / "x" / "y") as fresh:
            (fresh / content).write_text(content)
    assert [path.name for path in (tmp_path / "x" / "y").iterdir()] == ["two"]
    with (
        pytest.raises(ValueError, match="holds two; it is not replaced"),
        new_folder(tmp_path / "x" / "y", replaces=("a",)),
    ):
        pass
    with pytest.raises(RuntimeError, match="stop"), new_folder(tmp_path / "x" / "y") as fresh:
        raise RuntimeError("stop")
    assert [path.name for path in (tmp_path / "x").rglob("*")] == ["y", "two"]


def test_lora_starts_as_the_model_and_trains_little(tmp_path: Path, tiny_model: Any, word_tokenizer: Any) -> None:
    plain, total = logits(tiny_model), count_parameters(tiny_model)
    adapted = add_lora(tiny_model, LoraSettings(rank=2, alpha=4.0, targets=("q_proj", "v_proj")))
    assert torch.equal(logits(adapted), plain)
    assert count_parameters(adapted, trainable=True) == 2 * 2 * 2 * (16 * 2)  # layers · targets · (A and B) · d·r
    assert count_parameters(adapted) == total + count_parameters(adapted, trainable=True)
    with pytest.raises(ValueError, match="no layers named c_attn"):
        add_lora(tiny_model, LoraSettings(targets=("c_attn", "q_proj")))


def test_lora_from_a_folder(tmp_path: Path, tiny_model: Any, word_tokenizer: Any) -> None:
    save_model(tiny_model, word_tokenizer, tmp_path / "model")
    adapted, _ = load_model(tmp_path / "model", lora=LoraSettings(rank=2))
    assert all(("lora_" in name) == p.requires_grad for name, p in adapted.named_parameters())
    assert torch.equal(logits(adapted), logits(tiny_model))


def test_bad_input(tmp_path: Path, tiny_model: Any, word_tokenizer: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no folder with a model"):
        load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere is no folder with a model"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="dtype is 'float16'"):
        load_model(tmp_path, dtype="float16")
    with pytest.raises(ValueError, match="each head needs an even width"):
        LlamaSize(hidden=10, heads=4)
    with pytest.raises(ValueError, match="layers is 0"):
        LlamaSize(layers=0)
