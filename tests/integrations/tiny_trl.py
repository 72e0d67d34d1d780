"""A tokenizer of six words, a tiny Llama, pairs and trainers, on which GPOTrainer is tested."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

WORDS = ("a", "b", "c", "d")
PAIRS = [("a b", "c", "d d b"), ("b", "a a c", "d"), ("c d", "b b", "a c d a"), ("d", "a", "b"), ("a", "d c", "c d")]


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(("<pad>", "<eos>", *WORDS))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")


def llama(seed: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=6, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=None, initializer_range=0.4,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def pair_set(pairs: list[tuple[str, str, str]] = PAIRS) -> Any:
    from datasets import Dataset

    return Dataset.from_list([{"prompt": p, "chosen": " " + c, "rejected": " " + r} for p, c, r in pairs])


def make_trainer(kind: Any, folder: Path, *, settings: dict[str, Any] | None = None, **named: Any) -> Any:
    from trl import DPOConfig

    named_config = named.pop("config", DPOConfig)
    default = {"per_device_train_batch_size": 5, "per_device_eval_batch_size": 5, "use_cpu": True, "bf16": False}
    default |= {"report_to": [], "max_steps": 3, "learning_rate": 0.05, "logging_steps": 1, "save_strategy": "no"}
    default |= {"gradient_checkpointing": False, "disable_tqdm": True, "beta": 0.3}
    args = named_config(output_dir=str(folder), **{**default, **(settings or {})})
    named.setdefault("model", llama(0))
    named.setdefault("ref_model", llama(1))
    named.setdefault("train_dataset", pair_set())
    named.setdefault("processing_class", tokenizer())
    return kind(args=args, **named)


def gpo_trainer() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from gpo_analysis.integrations.trl import GPOTrainer

    return GPOTrainer


def logp(model: Any, prompt: list[int], answer: list[int]) -> Any:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer])).logits[0]
    logps = logits.log_softmax(-1)
    return sum(logps[len(prompt) + i - 1, token] for i, token in enumerate(answer))
