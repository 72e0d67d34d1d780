"""Causal language models: a small Llama from scratch, a local folder, a name on the hub; LoRA; safe saving.

A model and its tokenizer lie in one folder, the weights as safetensors. A folder is written beside its place and
renamed into it, so that a full disk or a killed process leaves the previous one as it was.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.policy.tokenizers import FINGERPRINT, check_tokenizer, fingerprint, load_tokenizer
from llm.storage.folders import new_folder

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class LlamaSize:
    """Size of a Llama trained from scratch.

    Parameters
    ----------
    hidden : int
        Width of the residual stream.
    layers, heads : int
        Number of blocks, and of attention heads in each.
    intermediate : int
        Width inside the feed-forward blocks; 0 for 8/3 of ``hidden``, rounded up to a multiple of 8.
    positions : int
        Longest sequence, prompt and response together.
    tied : bool
        Whether input and output embeddings are one matrix.
    """

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    intermediate: int = 0
    positions: int = 256
    tied: bool = False

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "heads", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more")
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden is {self.hidden} with {self.heads} heads; each head needs an even width")


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters (Hu et al., arXiv 2106.09685), through `peft`.

    Parameters
    ----------
    rank, alpha : int, float
        Rank r of the update, which is scaled by alpha / r.
    targets : tuple of str
        Names of the linear layers that get one.
    dropout : float
        Dropout on the adapter's input; 0 keeps runs reproducible across stacks.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    dropout: float = 0.0


def small_llama(size: LlamaSize, tokenizer: Any, *, seed: int) -> Any:
    """Return an untrained Llama for the tokenizer's vocabulary, float32, its weights drawn from the seed.

    Examples
    --------
    >>> from llm.policy.tokenizers import train_tokenizer
    >>> tokenizer = train_tokenizer(["a red boat ."])
    >>> model = small_llama(LlamaSize(hidden=8, layers=1, heads=2), tokenizer, seed=0)
    >>> model.config.vocab_size == len(tokenizer)
    True
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate or -(-size.hidden * 8 // 3 // 8) * 8,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=size.positions,
        tie_word_embeddings=size.tied,
        # the usual 0.02 suits a width of 600; a width of 64 then takes twice the steps to learn to copy
        initializer_range=0.5 * size.hidden**-0.5,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    setattr(config, FINGERPRINT, fingerprint(tokenizer))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).float().eval()


def load_model(
    source: str | os.PathLike[str],
    *,
    tokenizer_source: str | os.PathLike[str] | None = None,
    pad_token: str | None = None,
    lora: LoraSettings | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer from a folder or, by name, from the hub.

    Code that comes with a model is never run: a model that needs it is refused.

    Parameters
    ----------
    source : path
        Folder with config.json and safetensors, or name on the hub.
    tokenizer_source : path, optional
        Where the tokenizer is, if not with the model.
    pad_token : str, optional
        Token to pad with, where the tokenizer names none (`llm.policy.tokenizers.check_tokenizer`).
    lora : LoraSettings, optional
        Adapters to add; the weights themselves are then frozen.
    dtype : str
        "float32" or "bfloat16".
    device : str
        A torch device.

    Returns
    -------
    model, tokenizer

    Raises
    ------
    ValueError
        For an unknown dtype, or a tokenizer that does not fit the model.
    FileNotFoundError
        For a path that is no folder with a model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; accepted are {', '.join(DTYPES)}")
    text = os.fspath(source)
    looks_local = Path(text).exists() or text.startswith((".", "/", "~")) or text.count("/") > 1
    if looks_local and not (Path(text) / "config.json").is_file():
        raise FileNotFoundError(f"{text} is no folder with a model: it has no config.json")
    with no_bars():
        model = AutoModelForCausalLM.from_pretrained(
            text, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False
        )
    tokenizer = load_tokenizer(tokenizer_source or text, pad_token=pad_token)
    check_tokenizer(tokenizer, model)
    if lora is not None:
        model = add_lora(model, lora)
    return model.to(device).eval(), tokenizer


def add_lora(model: Any, settings: LoraSettings, *, seed: int = 0) -> Any:
    """Return the model with fresh adapters, which change nothing before they are trained."""
    import torch
    from peft import LoraConfig, get_peft_model

    known = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    missing = [name for name in settings.targets if name not in known]
    if missing:
        raise ValueError(f"the model has no layers named {', '.join(missing)}; give LoRA other targets")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            target_modules=list(settings.targets),
            lora_dropout=settings.dropout,
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():  # peft asks transformers by a name that is to go
            warnings.simplefilter("ignore", FutureWarning)
            return get_peft_model(model, config)


def count_parameters(model: Any, *, trainable: bool = False) -> int:
    """Return the number of parameters, each counted once; of those that train alone, if asked."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def save_model(
    model: Any, tokenizer: Any, folder: str | os.PathLike[str], *, weights: dict[str, Any] | None = None
) -> None:
    """Save a model (or its adapters) as safetensors with its tokenizer, the whole folder or nothing.

    Parameters
    ----------
    model, tokenizer : model, tokenizer
    folder : path
    weights : dict of str to tensor, optional
        Its state, where the model itself holds a part of it only (sharded).

    Raises
    ------
    OSError
        Where the disk is full or the folder cannot be written; what was there before is then left as it was.
    """
    with new_folder(folder) as fresh, no_bars():
        model.save_pretrained(fresh, **({} if weights is None else {"state_dict": weights}))
        tokenizer.save_pretrained(fresh)


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep the progress bars of loading and saving out of our own progress."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
