"""Responses sampled from a causal language model, token by token from its own softmax: nothing else shapes them.

`generate` of transformers is not used: what a model's generation config sets (min_p, typical_p, suppressed tokens, a
least length, n-grams that may not come twice, …) would be in the samples, and a KL divergence measured on them would be
that of another distribution.

Arrays: b prompts of any lengths are padded on the left, responses on the right.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import torch


class Sampled(NamedTuple):
    """Prompts with the responses sampled to them.

    Attributes
    ----------
    input_ids, attention_mask : tensor, shape (b, t)
        Prompt and response; 0 in the attention mask is padding.
    mask : tensor, shape (b, t)
        1 on the response's tokens, its end token included.
    finished : boolean tensor, shape (b,)
        Whether the response ended by itself.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    mask: torch.Tensor
    finished: torch.Tensor


def end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every token at which a response ends: those of the generation config, the configuration and the tokenizer.

    Parameters
    ----------
    model, tokenizer : model, tokenizer
        Of transformers. An end token may be one id, several or none.
    """
    found: set[int] = set()
    for source in (getattr(model, "generation_config", None), getattr(model, "config", None), tokenizer):
        ends = getattr(source, "eos_token_id", None)
        found |= set() if ends is None else {int(end) for end in (ends if isinstance(ends, Iterable) else [ends])}
    return tuple(sorted(found))


def position_limit(model: Any) -> int | None:
    """Most tokens that a model has positions for, or None where its configuration names no number."""
    config = model.config
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    limit = getattr(config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def has_learned_positions(model: Any) -> bool:
    """Whether positions beyond the limit have no embedding, so that longer texts end in an error."""
    limit = position_limit(model)
    return limit is not None and any(
        isinstance(module, torch.nn.Embedding)
        and ("pos" in name.rpartition(".")[2] or name.endswith("wpe"))
        and limit <= module.num_embeddings <= limit + 2  # some keep rows for padding
        for name, module in model.named_modules()
    )


def accepts_positions(model: Any) -> bool:
    """Whether the model's forward takes position_ids; others read them off the attention mask."""
    return "position_ids" in _taken(model)


def cache_name(model: Any) -> str:
    """What a model's forward and its output call keys and values: ``cache`` since transformers 5.24."""
    return "cache" if "cache" in _taken(model) else "past_key_values"


def _taken(model: Any) -> Collection[str]:
    """The arguments of a model's forward, that of what adapters wrap."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inspect.signature(inner.forward).parameters.keys()


def positions_of(attention_mask: torch.Tensor) -> torch.Tensor:
    """(b, t) positions that padding on the left does not shift."""
    return (attention_mask.cumsum(1) - 1).clamp(min=0)


@torch.no_grad()
def sample_responses(
    model: Callable[..., Any],
    prompts: Sequence[Sequence[int]],
    *,
    ends: Sequence[int],
    most: int | Sequence[int],
    pad: int,
    device: torch.device | str = "cpu",
    numbers: torch.Tensor,
    positions: bool = True,
    cached_as: str | None = "past_key_values",
    alive_anywhere: Callable[[bool], bool] = bool,
) -> Sampled:
    """One response a prompt from the model's distribution at temperature 1, over the whole vocabulary.

    Parameters
    ----------
    model : callable
        A causal language model: called with input_ids, attention_mask and use_cache it returns ``.logits`` (b, t, v),
        and its keys and values where it keeps them.
    prompts : sequence of b lists of ids
        Each of one token or more.
    ends : sequence of int
        Tokens at which a response ends.
    most : int or sequence of b ints
        Where responses are cut, one number for all or one each.
    pad : int
        Id that stands for padding; it is masked, so any will do.
    device : device
        Where to compute.
    numbers : tensor, shape (b, most)
        From 0 to below 1, drawn uniformly: a row's t-th token is the one where its cumulative probability passes the
        t-th number, so that a row's response is the same in any batch.
    positions : bool
        Whether the model is given position_ids.
    cached_as : str or None
        What the model calls keys and values (:func:`cache_name`); without, the whole text is computed for every token.
    alive_anywhere : callable
        Is told whether a response here is still open and returns whether to go on: processes that must call a sharded
        model equally often agree by it.

    Raises
    ------
    ValueError
        For a prompt without a token.
    """
    empty = [index for index, prompt in enumerate(prompts) if not len(prompt)]
    if empty or not prompts:
        raise ValueError(f"prompt {empty[0]} has no token; accepted are one or more" if empty else "no prompts")
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in prompts], device=device)
    seen = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=device)
    cut = torch.tensor([most] * len(prompts) if isinstance(most, int) else list(most), device=device)
    ending = torch.tensor(list(ends), dtype=ids.dtype, device=device)
    open_, finished = cut > 0, torch.zeros(len(prompts), dtype=torch.bool, device=device)
    mask, cache, step = torch.zeros_like(seen), None, 0
    while alive_anywhere(bool(open_.any())):
        part = slice(-1, None) if cache is not None else slice(None)
        inputs: dict[str, Any] = {"input_ids": ids[:, part], "attention_mask": seen, "use_cache": cached_as is not None}
        if positions:
            inputs["position_ids"] = positions_of(seen)[:, part]
        if cached_as is not None and cache is not None:
            inputs[cached_as] = cache
        output = model(**inputs)
        cache = None if cached_as is None else getattr(output, cached_as, None)
        drawn = _draw(output.logits[:, -1], numbers[:, min(step, numbers.shape[1] - 1)], open_)
        drawn = torch.where(open_, drawn, pad)
        now = open_.to(seen)[:, None]
        # a row that has ended stays in the batch: what it goes on with is masked, and no longer read
        ids, seen, mask = (torch.cat(pair, 1) for pair in ((ids, drawn[:, None]), (seen, now), (mask, now)))
        step += 1
        ended = open_ & torch.isin(drawn, ending)
        finished = finished | ended
        open_ = open_ & ~ended & (step < cut)
    return Sampled(ids, seen, mask, finished)


def _draw(logits: torch.Tensor, numbers: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(b,) ids by the softmax of (b, v) logits and (b,) numbers; rows that do not count may hold anything.

    Where logits are NaN any token is drawn: the KL there is NaN, too, which is said once all processes have theirs.
    """
    wide = logits.double()
    wide = torch.where(rows[:, None] & ~wide.isnan().any(-1, keepdim=True), wide, torch.zeros_like(wide))
    rising = wide.softmax(-1).cumsum(-1)
    found = torch.searchsorted(rising, numbers[:, None].to(rising) * rising[:, -1:], right=True)[:, 0]
    return found.clamp(max=rising.shape[1] - 1)
