"""Shared by the tests of language models: one thread, no network, a tiny world, tokenizer and model."""

from __future__ import annotations

import importlib.util
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path
from typing import Any

import pytest

from llm.data.types import Example
from llm.data.world import generate, vocabulary
from llm.policy.models import LlamaSize, small_llama
from llm.policy.tokenizers import train_tokenizer

# without the extra `llm` there is nothing to test here
complete = all(map(importlib.util.find_spec, ("torch", "transformers")))
collect_ignore_glob = [] if complete else ["test_*.py", "tiny_stacks.py"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def records() -> list[Example]:
    """Forty records of the generated world."""
    return generate(40, seed=3)


@pytest.fixture(scope="session")
def word_tokenizer() -> Any:
    """The world's tokenizer."""
    return train_tokenizer([" ".join(vocabulary())])


@pytest.fixture
def tiny_model(word_tokenizer: Any) -> Any:
    """A Llama of a few thousand parameters, fresh for each test."""
    return small_llama(LlamaSize(hidden=16, layers=2, heads=2, positions=128), word_tokenizer, seed=0)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model for ``python -m llm train``."""
    from tests.llm.own_runs import tiny_model

    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of pairs for it."""
    from tests.llm.own_runs import some_pairs

    return some_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl")
