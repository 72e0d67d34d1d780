"""How well the Taylor series of f predicts the gradient of a model in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gpo_analysis.losses import MarginLoss
from llm.policy.logprobs import response_logprobs
from llm.policy.packing import Ids, response_rows

ORDERS = (1, 2, 4)
TRUE = 0  # stands for the loss itself among the orders of its series
PAIRS = 32  # whose graph is in memory at a time


def compare_gradients(
    model: Any,
    prompts: Ids,
    chosen: Ids,
    rejected: Ids,
    reference_logps: Any,
    loss: MarginLoss,
    beta: float,
    *,
    p: Any | None = None,
    orders: Sequence[int] = ORDERS,
) -> dict[str, float]:
    """Cosine and relative error of the gradient of mean p f(βρ) + (1 − p) f(−βρ) with that of its series.

    The gradient is mean_i [p_i f′(z_i) − (1 − p_i) f′(−z_i)] β ∇ρ_i (Tang et al., arXiv 2402.05749, eq. 5, for
    p = 1); the series to order k has Σ_{j<k} f^(j+1)(0) z^j / j! in the place of f′(z). At order 2 that is the
    preference term and the μ-weighted square loss. A zero gradient has cosine NaN, written as 0 with
    ``gradient_norm`` 0.

    Parameters
    ----------
    model : model
        A causal language model; its gradients are put back to None.
    prompts, chosen, rejected : sequences of lists of ids
        n token lists each, responses with their end token.
    reference_logps : array, shape (n, 2)
        Of πref.
    loss, beta : MarginLoss, float
        f and β.
    p : array, shape (n,), optional
        Soft labels; ones unless given.
    orders : sequence of int
        Orders k of the series.

    Returns
    -------
    dict
        ``gradient_norm``; for each order k ``cosine_k`` and ``relative_error_k``, |g_k − g| / |g|.
    """
    count = len(prompts)
    parameters = [value for value in model.parameters() if value.requires_grad]
    soft = torch.ones(count, dtype=torch.float64) if p is None else torch.as_tensor(p, dtype=torch.float64)
    base = torch.as_tensor(reference_logps)
    sums: dict[int, torch.Tensor] = {}
    for start in range(0, count, PAIRS):
        part = slice(start, start + PAIRS)
        rho = _margins(model, prompts[part], chosen[part], rejected[part], base[part])
        z = (beta * rho).detach().double()
        for order, weights in _weights(loss, z, soft[part].to(z.device), orders).items():
            with torch.autocast(rho.device.type, enabled=False):  # it is the forward pass's alone
                pieces = torch.autograd.grad(
                    (weights.to(rho) * rho).sum() * (beta / count), parameters, retain_graph=True, allow_unused=True
                )
            piece = torch.cat([one.flatten().double() for one in pieces if one is not None])
            sums[order] = sums[order] + piece if order in sums else piece
    true = sums[TRUE]
    found = {"gradient_norm": float(true.norm())}
    size = max(float(true.norm()), 1e-300)
    for order in orders:
        expanded = sums[order]
        found[f"cosine_{order}"] = float(true @ expanded) / (size * max(float(expanded.norm()), 1e-300))
        found[f"relative_error_{order}"] = float((expanded - true).norm()) / size
    return found


def _margins(model: Any, prompts: Ids, chosen: Ids, rejected: Ids, base: torch.Tensor) -> torch.Tensor:
    """(n,) ρ of some pairs, with autograd; ``base`` is (n, 2) of the reference."""
    batch = response_rows([*prompts, *prompts], [*chosen, *rejected]).to(model.device)
    logps = response_logprobs(model, batch)[0]
    reference = base.to(logps)
    return (logps[: len(prompts)] - reference[:, 0]) - (logps[len(prompts) :] - reference[:, 1])


def _weights(loss: MarginLoss, z: torch.Tensor, soft: torch.Tensor, orders: Sequence[int]) -> dict[int, torch.Tensor]:
    """What ∇ρ is weighted with, but for β/n: by f itself under `TRUE`, by its series to each order."""
    found = {TRUE: soft * loss.derivative(z) - (1 - soft) * loss.derivative(-z)}
    at_zero = torch.zeros(1, dtype=torch.float64)
    series, term, sign = torch.zeros_like(z), torch.ones_like(z), 1
    for order in range(1, max(orders) + 1):
        series = series + float(loss.derivative(at_zero, order)) * (soft - sign * (1 - soft)) * term
        term, sign = term * z / order, -sign
        if order in orders:
            found[order] = series
    return found
