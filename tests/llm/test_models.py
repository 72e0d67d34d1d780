"""Models are saved whole or not at all, loaded as they were, and LoRA starts as the model itself."""

from __future__ import annotations

import io
import json
import sys
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
    save_model,
    small_llama,
)
from llm.storage.checksums import checksum_model
from llm.storage.folders import new_folder

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
    assert files_of(tmp_path, 1) == ["model"]


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
    assert files_of(tmp_path, 1) == ["model"]


def files_of(folder: Path, depth: int) -> list[str]:
    """What lies in a folder, and nothing in its place for temporaries."""
    assert [path.name for path in (folder / ".tmp").iterdir()] == ["lock"]
    found = [path.relative_to(folder) for path in folder.rglob("*")]
    return sorted(path.as_posix() for path in found if len(path.parts) <= depth and path.parts[0] != ".tmp")


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
    assert files_of(tmp_path / "x", 2) == ["y", "y/two"]


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


def test_code_that_comes_with_a_model_is_never_run(
    tmp_path: Path, tiny_model: Any, word_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a class of the folder's own, nor one put in the place of a known one, nor where "yes" is answered."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n" * 9))
    for number, kind in enumerate(("llama", "own")):
        folder = tmp_path / kind
        save_model(tiny_model, word_tokenizer, folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config |= {"model_type": kind, "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        ran = tmp_path / f"ran-{number}"
        (folder / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n", encoding="utf-8")
        if kind == "llama":
            assert torch.equal(logits(load_model(folder)[0]), logits(tiny_model))
        else:
            with pytest.raises(ValueError, match="trust_remote_code"):
                load_model(folder)
        assert not ran.exists()


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
