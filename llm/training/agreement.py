"""Whether a stack computes what its model computes: compared on one small batch whenever a stack is made.

Layers are replaced by kind, and a family may do something of its own that the replacement knows nothing of (scaled
embeddings, positions of its own, a mask that is ignored): such a family is refused by name instead of trained wrongly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from llm.policy.batches import TokenizedPairs
from llm.policy.logprobs import pair_logprobs
from llm.policy.packing import pack

_SIZES = ((3, 2, 3), (1, 3, 1))  # tokens of prompt, chosen, rejected


@torch.no_grad()
def check_agreement(stack: Any, model: Any) -> None:
    """Raise ValueError where the first run's log-probabilities are not those of the model it was made from.

    Parameters
    ----------
    stack : Stack
    model : model
        Its template; nothing of it is changed.
    """
    name = type(model.get_base_model() if hasattr(model, "get_base_model") else model).__name__
    rng = np.random.default_rng(0)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    rows = [[rng.integers(0, vocabulary, size).tolist() for size in sizes] for sizes in _SIZES]
    pairs = TokenizedPairs([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], np.ones(len(rows)))
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        expected = torch.tensor([[_logprob(model, x, y, device) for y in sides] for x, *sides in rows])
        found = pair_logprobs(stack, pack(pairs).to(device))[0].double().cpu()
    except (TypeError, RuntimeError, AttributeError, IndexError) as error:
        raise ValueError(f"{name} cannot be stacked: its layers are called in another way ({error})") from None
    finally:
        model.train(was_training)
    wide = all(p.dtype in (torch.float32, torch.float64) for p in model.parameters())
    # GPUs may round products of float32 to ten bits
    tolerance = 1e-3 + 1e-4 * float(expected.abs().max()) if wide and device.type == "cpu" else 0.05 if wide else 0.3
    off = float((found - expected).abs().max())
    if not off <= tolerance:
        raise ValueError(
            f"{name} cannot be stacked: log-probabilities of a stack are off by {off:.3g} nats from the model's own, "
            "so something of this family is not understood; train it one by one with gpo_analysis.integrations.trl"
        )


def _logprob(model: Any, prompt: list[int], response: list[int], device: torch.device) -> float:
    """log π(y|x) by the model's own forward."""
    ids = torch.tensor([[*prompt, *response]], device=device)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0]
    logps = logits.double().log_softmax(-1)[len(prompt) - 1 : -1]
    return float(logps.gather(1, ids[0, len(prompt) :, None]).sum())
