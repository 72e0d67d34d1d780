"""KL divergence between two language models, along given responses.

Arrays: ``input_ids`` (b, t) holds prompt and response, ``mask`` (b, t) is 1 on the response's tokens, its end token
included, and 0 on prompt and padding. Natural logarithms; sums are accumulated in float32 or wider.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from gpo_analysis.integrations.sampling import positions_of


def next_token_kl(policy_logits: torch.Tensor, reference_logits: torch.Tensor) -> torch.Tensor:
    """Exact KL of next-token distributions, over the whole vocabulary, in nats.

    Parameters
    ----------
    policy_logits, reference_logits : Tensor, shape (…, v)
        Logits of πθ and πref. A logit of −∞ is a token of probability 0.

    Returns
    -------
    Tensor
        (…,) KL(πθ‖πref) ≥ 0 up to rounding; ``inf`` where πθ puts mass on what πref excludes.

    Raises
    ------
    ValueError
        If the shapes differ, as they do for two tokenizers.

    Examples
    --------
    >>> import torch
    >>> half, skewed = torch.zeros(2, dtype=torch.float64), torch.tensor([0.9, 0.1], dtype=torch.float64).log()
    >>> round(float(next_token_kl(half, skewed)), 6)  # ½ log(0.5/0.9) + ½ log(0.5/0.1)
    0.510826
    """
    if policy_logits.shape != reference_logits.shape:
        raise ValueError(
            f"logits of shapes {tuple(policy_logits.shape)} and {tuple(reference_logits.shape)}; "
            "policy and reference need one vocabulary"
        )
    p, q = (_wide(logits).log_softmax(-1) for logits in (policy_logits, reference_logits))
    terms = p.exp() * (p - q)
    # p = 0 gives 0 · (−∞ − …) = NaN where the term is 0
    return torch.where(torch.isneginf(p), torch.zeros_like(terms), terms).sum(-1)


class Along(NamedTuple):
    """What two models say along responses; each (b,), in nats.

    Attributes
    ----------
    kl : Tensor
        Sum over the response's tokens of the exact KL between next-token distributions.
    policy_logps, reference_logps : Tensor
        log πθ(y|x) and log πref(y|x): sums over the response's tokens.
    """

    kl: torch.Tensor
    policy_logps: torch.Tensor
    reference_logps: torch.Tensor


@torch.no_grad()
def compare_along(
    policy: Callable[..., Any],
    reference: Callable[..., Any],
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    mask: torch.Tensor,
    *,
    chunk: int = 4096,
    positions: bool = True,
) -> Along:
    """KL between next-token distributions, and log-probabilities, summed along given responses.

    For responses sampled from πθ the mean of ``kl`` is an unbiased estimate of KL(πθ‖πref) of the sequence
    distribution, of lower variance than log πθ(y) − log πref(y) (used in arXiv 2405.08448). For other responses it is
    the token-level KL along them, another number.

    Parameters
    ----------
    policy, reference : callable
        Causal language models: called with input_ids, attention_mask and use_cache they return ``.logits`` (b, t, v).
    input_ids, attention_mask, mask : Tensor, shape (b, t)
        See the module's docstring. Padding may stand on either side.
    chunk : int
        Number of response positions whose distributions are in memory at once.
    positions : bool
        Whether the models are given position_ids.
    """
    kept = mask[:, 1:].bool()
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False}
    if positions:
        inputs["position_ids"] = positions_of(attention_mask)
    tokens = torch.split(input_ids[:, 1:][kept], chunk)
    # adapters that prepend virtual tokens return logits for them too
    width = input_ids.shape[1]
    logits = policy(**inputs).logits[:, -width:][:, :-1][kept].split(chunk)
    base = reference(**inputs).logits[:, -width:][:, :-1][kept].split(chunk)
    rows = kept.nonzero()[:, 0]

    def summed(pieces: list[torch.Tensor]) -> torch.Tensor:
        values = torch.cat(pieces)
        return torch.zeros(len(input_ids), dtype=values.dtype, device=values.device).index_add(0, rows, values)

    return Along(
        summed([next_token_kl(a, b) for a, b in zip(logits, base, strict=True)]),
        summed([_chosen(a, t) for a, t in zip(logits, tokens, strict=True)]),
        summed([_chosen(b, t) for b, t in zip(base, tokens, strict=True)]),
    )


def sequence_kl(
    policy: Callable[..., Any],
    reference: Callable[..., Any],
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    mask: torch.Tensor,
    *,
    chunk: int = 4096,
    positions: bool = True,
) -> torch.Tensor:
    """Return ``kl`` of `compare_along`: (b,) nats."""
    return compare_along(policy, reference, input_ids, attention_mask, mask, chunk=chunk, positions=positions).kl


def _chosen(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return _wide(logits).log_softmax(-1).gather(-1, tokens[:, None])[:, 0]


def _wide(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
