"""Log-probabilities of responses: the one way to them, for training, the reference's table and evaluation.

Hidden states are taken where a response's token is predicted (`llm.policy.packing.Batch`), the head is applied to a
chunk of them at a time, sums are in float32 or wider. Training's and the reference's numbers come by the same
operations in the same dtype (`precision`), so that at the start of training ρ is 0 up to the order of sums.

Shapes: R runs of a stack (1 for a model by itself), n response tokens, d the model's width, v its vocabulary, b pairs,
k responses.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.integrations.sampling import cache_name
from gpo_analysis.integrations.sequences import next_token_kl
from llm.policy.batches import TokenizedPairs
from llm.policy.packing import Batch, Ids, pack, response_rows, unpacked
from llm.storage.checkpoints import CheckpointError, load_tensors, save_tensors
from llm.storage.checksums import checksum_model

#: How many logits are in memory at once, at most (64 MiB in float32), unless one position of all runs has more.
CHUNK_ELEMENTS = 1 << 24

#: Of a computation: float32, or bfloat16 by autocast with float32 parameters and sums.
DTYPES = ("float32", "bfloat16")


def chosen_logprobs(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, *, chunk_elements: int = CHUNK_ELEMENTS
) -> torch.Tensor:
    """log softmax(hidden · weightᵀ)[target], in float32 or wider, with autograd, a chunk of positions at a time.

    The backward pass computes each chunk's logits again instead of keeping them.

    Parameters
    ----------
    hidden : tensor, shape (R, n, d)
        Hidden states where a response's token is predicted.
    weight : tensor, shape (R, v, d)
        Output embeddings of the runs, or (v, d) shared by all.
    targets : tensor, shape (n,)
        Ids of the tokens.
    chunk_elements : int
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
    hidden, weight = _as_multiplied(hidden, weight)
    step = max(1, chunk_elements // (hidden.shape[0] * weight.shape[-2]))
    with torch.autocast(hidden.device.type, enabled=False):  # which would round the float32 logits
        result: torch.Tensor = _ChosenLogprobs.apply(hidden, weight, targets, step)  # type: ignore[no-untyped-call]
    return result


def _as_multiplied(hidden: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in the dtype that their product is taken in."""
    if torch.is_autocast_enabled(hidden.device.type):
        half = torch.get_autocast_dtype(hidden.device.type)
        return hidden.to(half), weight.to(half)
    return hidden, weight.to(hidden.dtype)


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


def precision(device: torch.device | str, dtype: str) -> AbstractContextManager[Any]:
    """Return the context to compute log-probabilities in: autocast for "bfloat16", nothing for "float32"."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; accepted are {', '.join(DTYPES)}")
    return torch.autocast(torch.device(device).type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()


def response_logprobs(model: Any, batch: Batch, *, chunk_elements: int = CHUNK_ELEMENTS) -> torch.Tensor:
    """log π(y|x) of each response, with autograd.

    Parameters
    ----------
    model : model
        A causal language model of `transformers` (R = 1), a `peft` model, or a stack (`llm.training.stacked`,
        `llm.training.lora_stacks`).
    batch : Batch
        On the model's device.
    chunk_elements : int
        See `chosen_logprobs`.

    Returns
    -------
    tensor, shape (R, k)
        float32 (float64 of a float64 model) sums over a response's tokens, in nats.

    Raises
    ------
    ValueError
        For a model whose logits are more than hidden states times output embeddings, another attention than sdpa and
        eager, or rows that are longer than a sliding window.
    """
    hidden, weight = _predicting(model, batch)
    logps = chosen_logprobs(hidden, weight, batch.targets, chunk_elements=chunk_elements)
    return _summed(logps, batch)


def pair_logprobs(model: Any, batch: Batch, *, chunk_elements: int = CHUNK_ELEMENTS) -> torch.Tensor:
    """log π(y|x) of both responses of each pair: `response_logprobs` as (R, b, 2), chosen first."""
    found = response_logprobs(model, batch, chunk_elements=chunk_elements)
    return found.view(len(found), -1, 2)


@torch.no_grad()
def logprobs_of(model: Any, prompts: Ids, responses: Ids, *, batch_size: int = 128) -> FloatArray:
    """log π(y|x) of any number of responses, in batches of like length.

    Parameters
    ----------
    model : model
        A causal language model.
    prompts, responses : sequences of k lists of ids
        Responses end with the end token.
    batch_size : int
        Responses side by side.

    Returns
    -------
    array, shape (k,)
        In nats.
    """
    found = np.empty(len(prompts))
    for rows in _like_lengths(prompts, responses, batch_size):
        batch = response_rows([prompts[i] for i in rows], [responses[i] for i in rows]).to(model.device)
        found[rows] = response_logprobs(model, batch)[0].double().cpu().numpy()
    return found


@torch.no_grad()
def along(policy: Any, reference: Any, prompts: Ids, responses: Ids, *, batch_size: int = 128) -> FloatArray:
    """KL, log πθ(y|x) and log πref(y|x) along responses.

    KL is the sum over a response's tokens of the exact KL of the next-token distributions, over the whole vocabulary.
    For responses of πθ its mean is an unbiased estimate of KL(πθ‖πref), of lower variance than that of the difference
    of the log-probabilities.

    Parameters
    ----------
    policy, reference : model
        Causal language models of one vocabulary.
    prompts, responses : sequences of k lists of ids
        Responses end with the end token.
    batch_size : int
        Responses side by side.

    Returns
    -------
    array, shape (k, 3)
        In nats.
    """
    found = np.empty((len(prompts), 3))
    for rows in _like_lengths(prompts, responses, batch_size):
        batch = response_rows([prompts[i] for i in rows], [responses[i] for i in rows]).to(policy.device)
        first, second = (_as_multiplied(*_predicting(model, batch)) for model in (policy, reference))
        step = max(1, CHUNK_ELEMENTS // first[1].shape[-2])
        parts = []
        with torch.autocast(batch.input_ids.device.type, enabled=False):  # which would round the float32 logits
            for start in range(0, len(batch.targets), step):
                mine, theirs = (
                    _logits(hidden[:, start : start + step], weight)[0] for hidden, weight in (first, second)
                )
                index = batch.targets[start : start + step, None]
                logps = [(x.gather(-1, index)[:, 0] - x.logsumexp(-1)).double() for x in (mine, theirs)]
                parts.append(torch.stack([next_token_kl(mine, theirs).double(), *logps]))
            found[rows] = _summed(torch.cat(parts, 1), batch).T.cpu().numpy()
    return found


def next_logits(model: Any, **inputs: Any) -> tuple[torch.Tensor, Any]:
    """Logits of the token behind the last column, (m, v) in float32 or wider, and the keys and values.

    Under autocast a model rounds its logits to half precision, which is not the policy that `along` speaks of.

    Parameters
    ----------
    model : model
        A causal language model.
    **inputs : object
        Of its forward.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    out = inner.base_model(**inputs, use_cache=True)
    hidden, weight = _as_multiplied(out.last_hidden_state[None, :, -1], _head(inner).weight)
    with torch.autocast(hidden.device.type, enabled=False):
        return _logits(hidden, weight)[0], getattr(out, cache_name(inner))


def _predicting(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(R, n, d) hidden states that predict the batch's response tokens, and the output embeddings."""
    runs = int(getattr(model, "runs", 1))
    network = getattr(model, "network", model)
    inner = network.get_base_model() if hasattr(network, "get_base_model") else network
    head = _head(inner)
    _refuse_beyond_window(inner, batch)
    visible = batch.visible
    if inner.config._attn_implementation == "eager":  # adds its mask
        unseen = ~batch.mask()
        visible = torch.zeros(unseen.shape, device=unseen.device).masked_fill_(unseen, torch.finfo(torch.float32).min)
    elif inner.config._attn_implementation != "sdpa":
        raise ValueError(f"attention {inner.config._attn_implementation!r}; accepted are 'sdpa' and 'eager'")
    hidden = inner.base_model(
        input_ids=batch.input_ids.repeat(runs, 1),
        attention_mask=None if visible is None else visible.repeat(runs, 1, 1, 1),
        position_ids=batch.positions.repeat(runs, 1),
        use_cache=False,
    ).last_hidden_state
    return hidden.reshape(runs, -1, hidden.shape[-1])[:, batch.sources], head.weight


def _refuse_beyond_window(model: Any, batch: Batch) -> None:
    """Attention that sees only so many tokens back is not computed here: our mask takes the place of the family's."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    strange = kinds - {"full_attention", "sliding_attention"}
    if strange:
        raise ValueError(f"{type(model).__name__} has {', '.join(sorted(strange))}; accepted is full attention")
    window = getattr(config, "sliding_window", None)
    if not window or not getattr(config, "use_sliding_window", True) or (kinds and "sliding_attention" not in kinds):
        return
    longest = int(batch.positions.max()) + 1
    if longest > window:
        raise ValueError(
            f"{type(model).__name__} attends to the last {window} tokens, and a row has {longest}; accepted are "
            f"prompts and responses of {window} tokens together"
        )


def _summed(values: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(R, n) numbers of tokens → (R, k) sums over responses."""
    total = torch.zeros(len(values), batch.responses, dtype=values.dtype, device=values.device)
    return total.index_add(1, batch.segments, values)


def _like_lengths(prompts: Ids, responses: Ids, size: int) -> Iterator[IntArray]:
    """Indices in batches of like length."""
    order = np.argsort([len(x) + len(y) for x, y in zip(prompts, responses, strict=True)], kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _head(model: Any) -> Any:
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(model.config, name, None) not in (None, 1, 1.0):
            raise ValueError(f"the model's configuration has {name}; its logits are not computed here")
    head = model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        raise ValueError("the model has no output embeddings, or ones with a bias; its logits are not computed here")
    return head


@torch.no_grad()
def reference_logprobs(
    model: Any,
    pairs: TokenizedPairs,
    *,
    cache: str | os.PathLike[str] | None = None,
    batch_size: int = 64,
    chunk_elements: int = CHUNK_ELEMENTS,
    dtype: str = "float32",
    packed: bool = True,
) -> NDArray[np.float32]:
    """log πref of every pair's two responses, computed once and kept.

    Parameters
    ----------
    model : model
        The reference.
    pairs : TokenizedPairs
        n pairs.
    cache : path, optional
        Folder for the file ``reference-<checksum of model, pairs and dtype>.safetensors``; None keeps nothing. A file
        that cannot be read is computed again.
    batch_size : int
        Pairs a batch. Batches hold pairs of like length.
    chunk_elements : int
        See `chosen_logprobs`.
    dtype : {"float32", "bfloat16"}
        Of the computation: that of the training which the numbers are for, or ρ would start at a rounding error.
    packed : bool
        As rows of pairs or of single responses (`llm.policy.packing`): likewise.

    Returns
    -------
    array, shape (n, 2)
        Sums over tokens in nats, chosen first.

    Raises
    ------
    ValueError
        Where a log-probability is not finite, naming the pair.
    """
    layout = "" if packed else " unpacked"
    key = hashlib.sha256((checksum_model(model) + pairs.checksum() + dtype + layout).encode()).hexdigest()[:32]
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
        batch = (pack if packed else unpacked)(pairs.take(rows)).to(device)
        with precision(device, dtype):
            found[rows] = pair_logprobs(model, batch, chunk_elements=chunk_elements)[0].float().cpu().numpy()
    broken = np.flatnonzero(~np.isfinite(found).all(1))
    if broken.size:
        raise ValueError(f"the reference gives pair {broken[0]} the log-probabilities {found[broken[0]].tolist()}")
    if path is not None:
        save_tensors({"logprobs": torch.from_numpy(found)}, path, {"checksum": key})
    return found
