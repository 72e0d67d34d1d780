"""Log-probabilities of responses, without the full logits: a chunked head, float32 sums, a cache of the reference.

Shapes: R runs of a stack (1 for a plain model), n response tokens, d the model's width, v its vocabulary, b pairs.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm.policy.batches import TokenizedPairs
from llm.policy.packing import Batch, pack
from llm.training.checkpoints import CheckpointError, load_tensors, save_tensors

__all__ = ["CHUNK_ELEMENTS", "chosen_logprobs", "model_checksum", "pair_logprobs", "reference_logprobs", "sum_segments"]

#: How many logits are in memory at once, at most (64 MiB in float32), unless one position of all runs has more.
CHUNK_ELEMENTS = 1 << 24


def chosen_logprobs(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, *, chunk_elements: int = CHUNK_ELEMENTS
) -> torch.Tensor:
    """log softmax(hidden · weightᵀ)[target], in float32 or wider, with autograd, a chunk of positions at a time.

    The backward pass computes each chunk's logits again instead of keeping them.

    Parameters
    ----------
    hidden
        (R, n, d) hidden states where a response's token is predicted.
    weight
        (R, v, d) output embeddings of the runs, or (v, d) shared by all.
    targets
        (n,) ids of the tokens.
    chunk_elements
        How many logits, over all runs, may be in memory at once.

    Returns
    -------
    Tensor
        (R, n) float32 (float64 where ``hidden`` is).

    Raises
    ------
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> h, w = torch.zeros(1, 2, 3), torch.zeros(4, 3)
    >>> chosen_logprobs(h, w, torch.tensor([0, 3])).exp().tolist()
    [[0.25, 0.25]]
    """
    if hidden.ndim != 3 or weight.shape[-1] != hidden.shape[-1] or targets.shape != hidden.shape[1:2]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)}, weight {tuple(weight.shape)}, targets {tuple(targets.shape)}; accepted are "
            "(R, n, d), (R, v, d) or (v, d), and (n,)"
        )
    if torch.is_autocast_enabled(hidden.device.type):
        half = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(half), weight.to(half)
    elif hidden.dtype != weight.dtype:
        weight = weight.to(hidden.dtype)
    step = max(1, chunk_elements // (hidden.shape[0] * weight.shape[-2]))
    with torch.autocast(hidden.device.type, enabled=False):  # which would round the float32 logits
        result: torch.Tensor = _ChosenLogprobs.apply(hidden, weight, targets, step)  # type: ignore[no-untyped-call]
    return result


class _ChosenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, step: int) -> torch.Tensor:
        logps, normalizers = [], []
        for start in range(0, hidden.shape[1], step):
            logits = _logits(hidden[:, start : start + step], weight)
            normalizer = logits.logsumexp(-1)
            index = targets[start : start + step].expand(len(logits), -1)[..., None]
            logps.append(logits.gather(-1, index)[..., 0] - normalizer)
            normalizers.append(normalizer)
        ctx.save_for_backward(hidden, weight, targets, torch.cat(normalizers, 1))
        ctx.step = step
        return torch.cat(logps, 1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        hidden, weight, targets, normalizers = ctx.saved_tensors
        wide = normalizers.dtype
        grad_hidden = torch.empty_like(hidden)  # autocast is off here: it is the forward pass's alone
        grad_weight = torch.zeros(weight.shape, dtype=wide, device=weight.device) if ctx.needs_input_grad[1] else None
        for start in range(0, hidden.shape[1], ctx.step):
            part = slice(start, start + ctx.step)
            rows, g = hidden[:, part], grad[:, part, None].to(wide)
            # d logp / d logits = onehot − softmax
            slope = _logits(rows, weight).sub_(normalizers[:, part, None]).exp_().mul_(-g)
            slope.scatter_add_(-1, targets[part].expand(len(rows), -1)[..., None], g)
            low = slope.to(hidden.dtype)
            grad_hidden[:, part] = low @ weight
            if grad_weight is not None:
                pieces = low.transpose(1, 2) @ rows
                grad_weight += pieces if weight.ndim == 3 else pieces.sum(0)
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None


def _logits(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(R, n, v) logits in float32 or wider: a half-precision logit of 8 is off by up to 0.03."""
    runs = weight.transpose(-1, -2).expand(len(hidden), -1, -1)
    if hidden.dtype in (torch.float32, torch.float64):
        return torch.bmm(hidden, runs)
    if hidden.is_cuda:  # tensor cores with float32 results
        return torch.bmm(hidden, runs, out_dtype=torch.float32)
    return torch.bmm(hidden.float(), runs.float())


def sum_segments(logps: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(R, n) token log-probabilities → (R, b, 2) sums over the chosen and the rejected response."""
    total = torch.zeros(len(logps), 2 * batch.pairs, dtype=logps.dtype, device=logps.device)
    return total.index_add(1, batch.segments, logps).view(len(logps), batch.pairs, 2)


def pair_logprobs(model: Any, batch: Batch, *, chunk_elements: int = CHUNK_ELEMENTS) -> torch.Tensor:
    """log π(y|x) of both responses of each pair: (R, b, 2) float32 sums over response tokens, with autograd.

    Parameters
    ----------
    model
        A causal language model of `transformers` (R = 1), a `peft` model, or a stack (`llm.training.stacked`,
        `llm.training.lora_stacks`).
    batch
        On the model's device.

    Raises
    ------
    ValueError
        For a model whose logits are more than hidden states times output embeddings.
    """
    runs = int(getattr(model, "runs", 1))
    network = getattr(model, "network", model)
    inner = network.get_base_model() if hasattr(network, "get_base_model") else network
    head = _head(inner)
    visible = batch.visible
    if inner.config._attn_implementation == "eager":  # adds its mask
        visible = torch.zeros(visible.shape, device=visible.device).masked_fill_(
            ~visible, torch.finfo(torch.float32).min
        )
    elif inner.config._attn_implementation != "sdpa":
        raise ValueError(f"attention {inner.config._attn_implementation!r}; accepted are 'sdpa' and 'eager'")
    hidden = inner.base_model(
        input_ids=batch.input_ids.repeat(runs, 1),
        attention_mask=visible.repeat(runs, 1, 1, 1),
        position_ids=batch.positions.repeat(runs, 1),
        use_cache=False,
    ).last_hidden_state
    rows = hidden.reshape(runs, -1, hidden.shape[-1])[:, batch.sources]
    return sum_segments(chosen_logprobs(rows, head.weight, batch.targets, chunk_elements=chunk_elements), batch)


def _head(model: Any) -> Any:
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(model.config, name, None) not in (None, 1, 1.0):
            raise ValueError(f"the model's configuration has {name}; its logits are not computed here")
    head = model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        raise ValueError("the model has no output embeddings, or ones with a bias; its logits are not computed here")
    return head


def model_checksum(model: Any) -> str:
    """Return a SHA-256 over the model's configuration and weights, in hexadecimal digits."""
    total = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True, default=str).encode())
    for name, value in sorted(model.state_dict().items()):
        total.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        total.update(value.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return total.hexdigest()


@torch.no_grad()
def reference_logprobs(
    model: Any,
    pairs: TokenizedPairs,
    *,
    cache: str | os.PathLike[str] | None = None,
    batch_size: int = 64,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> NDArray[np.float32]:
    """log πref of every pair's two responses, (n, 2) sums in nats, computed once and kept.

    Parameters
    ----------
    model
        The reference.
    pairs
        Tokenised pairs.
    cache
        Folder for the file ``reference-<checksum of model and pairs>.safetensors``; None keeps nothing. A file that
        cannot be read is computed again.
    batch_size
        Pairs a batch. Batches hold pairs of like length.
    chunk_elements
        See `chosen_logprobs`.

    Raises
    ------
    ValueError
        Where a log-probability is not finite, naming the pair.
    """
    key = hashlib.sha256((model_checksum(model) + pairs.checksum()).encode()).hexdigest()[:32]
    path = None if cache is None else Path(cache) / f"reference-{key}.safetensors"
    if path is not None and path.is_file():
        try:
            return np.asarray(load_tensors(path)[0]["logprobs"].numpy())
        except CheckpointError:
            path.unlink()
    device = next(model.parameters()).device
    order = np.argsort(
        [len(x) + len(a) + len(b) for x, a, b in zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True)]
    )
    found = np.empty((len(pairs), 2), dtype=np.float32)
    for start in range(0, len(pairs), batch_size):
        rows = order[start : start + batch_size]
        batch = pack(pairs.take(rows)).to(device)
        found[rows] = pair_logprobs(model, batch, chunk_elements=chunk_elements)[0].float().cpu().numpy()
    broken = np.flatnonzero(~np.isfinite(found).all(1))
    if broken.size:
        raise ValueError(f"the reference gives pair {broken[0]} the log-probabilities {found[broken[0]].tolist()}")
    if path is not None:
        save_tensors({"logprobs": torch.from_numpy(found)}, path, {"checksum": key})
    return found
