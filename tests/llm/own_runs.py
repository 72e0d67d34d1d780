"""A tiny model, preference pairs and a short run of ``python -m llm train``, shared by its tests."""

from __future__ import annotations

import json
from pathlib import Path

from llm.__main__ import main
from llm.policy.models import LlamaSize, save_model, small_llama
from llm.policy.tokenizers import train_tokenizer

TEMPLATE = (
    "{% for m in messages %}{{ '[' + m['role'] + '] ' + m['content'] }}{% if m['role'] == 'assistant' %}"
    "{{ eos_token + ' done' }}{% endif %}{{ ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)
SHORT = (
    "--steps",
    "4",
    "--batch",
    "4",
    "--lr",
    "0.01",
    "--kl-prompts",
    "4",
    "--kl-max-new-tokens",
    "5",
    "--no-progress",
)


def tiny_model(folder: Path) -> Path:
    """A Llama of some thousand parameters with its tokenizer, saved in a folder."""
    words = "why how when yes no maybe never always done [user] [assistant] [system] red blue"
    tokenizer = train_tokenizer([words])
    tokenizer.chat_template = TEMPLATE
    save_model(small_llama(LlamaSize(hidden=16, layers=2, heads=2, positions=64), tokenizer, seed=0), tokenizer, folder)
    return folder


def some_pairs(path: Path) -> Path:
    """Sixteen pairs with soft labels of 0.9, as JSON lines."""
    words = ["yes", "no", "maybe", "never", "always", "red blue"]
    rows = [
        {
            "prompt": ["why", "how", "when"][i % 3],
            "chosen": words[i % 6],
            "rejected": words[(i + 1 + i // 6) % 6],
            "p": 0.9,
        }
        for i in range(18)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if row["chosen"] != row["rejected"]))
    return path


def train(model: Path, pairs: Path, out: Path, *more: str, code: int = 0) -> None:
    """Run the command, which is to end with this status."""
    arguments = ["train", "--model", str(model), "--pairs", str(pairs), "--out", str(out), *SHORT, *more]
    assert main(arguments) == code
