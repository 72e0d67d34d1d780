"""KL divergence between two language models, along given responses.

Arrays: ``input_ids`` (b, t) holds prompt and response, ``mask`` (b, t) is 1 on the response's tokens, its end token
included, and 0 on prompt and padding. Natural logarithms; sums are accumulated in float32 or wider.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def next_token_kl(policy_logits: torch.Tensor, reference_logits: torch.Tensor) -> torch.Tensor:
    """Exact KL of next-token distributions, over the whole vocabulary, in nats.

    Parameters
    ----------
    policy_logits, reference_logits
        (…, v) logits of πθ and πref. A logit of −∞ is a token of probability 0.

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


@torch.no_grad()
def sequence_kl(
    policy: nn.Module,
    reference: nn.Module,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    mask: torch.Tensor,
    *,
    chunk: int = 4096,
    **reference_arguments: Any,
) -> torch.Tensor:
    """Sum over a response's tokens of the exact full-vocabulary KL between next-token distributions.

    For responses sampled from πθ its mean is an unbiased estimate of KL(πθ‖πref) of the sequence distribution, of lower
    variance than log πθ(y) − log πref(y) (used in arXiv 2405.08448). For other responses it is the token-level KL along
    them, another number.

    Parameters
    ----------
    policy, reference
        Causal language models whose call returns ``.logits`` (b, t, v).
    input_ids, attention_mask, mask
        (b, t) each; see the module's docstring.
    chunk
        Number of response positions whose distributions are in memory at once.
    reference_arguments
        Passed to the reference's call as well.

    Returns
    -------
    Tensor
        (b,) nats.
    """
    positions = mask[:, 1:].bool()
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False}
    logits = policy(**inputs).logits[:, :-1][positions]
    base = reference(**inputs, **reference_arguments).logits[:, :-1][positions]
    pieces = [next_token_kl(a, b) for a, b in zip(logits.split(chunk), base.split(chunk), strict=True)]
    rows = positions.nonzero()[:, 0]
    kl = torch.cat(pieces) if pieces else logits.new_zeros(0)
    return torch.zeros(len(input_ids), dtype=kl.dtype, device=kl.device).index_add(0, rows, kl)


def _wide(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
