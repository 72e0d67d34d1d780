"""The objective of a pair in torch: p f(z) + (1 − p) f(−z) at its margin z = β [φ′(t_w) − φ′(t_l)], t = π/πref.

With φ′ the logarithm z is βρ (Tang et al. 2024, arXiv 2402.05749); the generator derivative φ′ of another divergence
makes f-DPO (arXiv 2309.16240) and χPO (arXiv 2407.13399) of it, with any f. A loss F of two log-ratios is taken at
a = βh_w and b = βh_l, with the flipped label F(b, a); AOT's is a loss of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from gpo_analysis.losses import BatchLoss, MarginLoss, TwoRatioLoss

_DERIVATIVES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "reverse_kl": lambda s: s,
    "forward_kl": lambda s: -torch.exp(-s),
    "jensen_shannon": lambda s: math.log(2.0) + torch.nn.functional.logsigmoid(s),
    "alpha": lambda s: -2.0 * torch.expm1(-0.5 * s),
    "chi_po": lambda s: torch.exp(s) + s,
}
#: Divergences whose generator derivative is known here; "alpha" is that of α = ½.
DIVERGENCES = tuple(_DERIVATIVES)


def generator_derivative(divergence: str, log_ratios: torch.Tensor) -> torch.Tensor:
    """φ′(e^s) of a divergence's generator φ at log-ratios s, with autograd.

    Parameters
    ----------
    divergence : str
        One of `DIVERGENCES`; the numpy form is ``gpo_analysis.get_link(divergence).of_log``.
    log_ratios : tensor
        s = log π/πref.

    Raises
    ------
    ValueError
        For another name.
    """
    if divergence not in _DERIVATIVES:
        raise ValueError(f"divergence is {divergence!r}; accepted are {', '.join(_DERIVATIVES)}")
    return _DERIVATIVES[divergence](log_ratios)


def soft_loss(loss: MarginLoss, z: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """p f(z) + (1 − p) f(−z), where a weight of 0 removes its term even if f is infinite there.

    Parameters
    ----------
    loss : MarginLoss
        f.
    z : tensor, shape (…, b)
        Margins.
    p : tensor, shape (b,)
        Soft labels.

    Examples
    --------
    >>> from gpo_analysis import get_loss
    >>> soft_loss(get_loss("squared"), torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.75])).tolist()
    [0.25, 0.75]
    """
    if bool((p == 1).all()):
        return loss(z)
    zero = torch.zeros_like(z)
    # at z = 1000, p = 1 the exponential's f(−z) is inf, and 0 · inf would be NaN: such margins are never evaluated
    won = p * loss(torch.where(p > 0, z, zero))
    return won + (1 - p) * loss(torch.where(p < 1, -z, zero))


Objective = MarginLoss | TwoRatioLoss | BatchLoss
"""What `GPOTrainer` trains."""


class PairSums(NamedTuple):
    """What is known of the pairs of a batch, chosen first.

    Attributes
    ----------
    logps, reference : tensor, shape (b, 2)
        log πθ and log πref of the responses, sums over tokens.
    lengths : tensor, shape (b, 2)
        Their tokens.
    """

    logps: torch.Tensor
    reference: torch.Tensor
    lengths: torch.Tensor

    def ratios(self, reduction: str) -> torch.Tensor:
        """h = log πθ/πref, (b, 2); over token means where ``reduction`` is "mean"."""
        found = self.logps - self.reference
        return found / self.lengths.clamp(min=1) if reduction == "mean" else found


def pair_losses(
    loss: Objective,
    beta: float,
    pairs: PairSums,
    *,
    reduction: str = "sum",
    link: str = "reverse_kl",
    p: torch.Tensor | None = None,
    real: torch.Tensor | None = None,
) -> torch.Tensor:
    """The objective of each pair, unreduced, shape (b,); of AOT that of each rank in the batch.

    Parameters
    ----------
    loss : MarginLoss, TwoRatioLoss or BatchLoss
    beta : float
    pairs : PairSums
    reduction : {"sum", "mean"}
    link : str
        Of margin losses; "reverse_kl" with others.
    p : tensor, shape (b,), optional
        Soft labels; 1 by default, and always with a loss of the batch.
    real : tensor of bool, shape (b,), optional
        Which pairs a loss of the batch sorts; the others have 0.

    Examples
    --------
    >>> from gpo_analysis import get_loss
    >>> zeros = torch.zeros(1, 2)
    >>> pairs = PairSums(torch.tensor([[1.0, -1.0]]), zeros, torch.ones(1, 2))
    >>> pair_losses(get_loss("sppo_hard"), 0.5, pairs).tolist()
    [0.0]
    """
    if isinstance(loss, BatchLoss):
        kept = torch.ones(len(pairs.logps), dtype=torch.bool, device=pairs.logps.device) if real is None else real
        logps, reference = pairs.logps[kept], pairs.reference[kept]
        found = 0.0 * pairs.logps.sum(1)
        if bool(kept.any()):
            found = found.masked_scatter(kept, loss(logps[:, 0], logps[:, 1], reference[:, 0], reference[:, 1], beta))
        return found
    scores = generator_derivative(link, pairs.ratios(reduction))
    labels = torch.ones_like(scores[:, 0]) if p is None else p.to(scores)
    if isinstance(loss, MarginLoss):
        return soft_loss(loss, beta * (scores[:, 0] - scores[:, 1]), labels)
    a, b = beta * scores[:, 0], beta * scores[:, 1]
    if bool((labels == 1).all()):
        return loss(a, b)
    zero = torch.zeros_like(a)
    won = labels * loss(torch.where(labels > 0, a, zero), torch.where(labels > 0, b, zero))
    return won + (1 - labels) * loss(torch.where(labels < 1, b, zero), torch.where(labels < 1, a, zero))


def wpo_weights(policy: Any, mask: torch.Tensor) -> torch.Tensor:
    """exp of the mean of log π − log Σπ² over tokens, chosen times rejected (WPO, arXiv 2406.11827, eq. 2), shape (b,).

    Parameters
    ----------
    policy : outputs of a model
        With ``log_probs`` and ``log_sum_sq_probs`` of tokens, shape (2b, t).
    mask : tensor, shape (2b, t)
        1 at tokens of completions.
    """
    with torch.no_grad():
        aligned = (policy.log_probs - policy.log_sum_sq_probs)[:, -mask.size(1) :].float() * mask
        chosen, rejected = torch.exp(aligned.sum(1) / mask.sum(1).clamp_min(1)).chunk(2)
    return chosen * rejected
