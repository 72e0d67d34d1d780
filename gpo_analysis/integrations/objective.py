"""The objective of a pair in torch: p f(z) + (1 − p) f(−z) at its margin z = β [φ′(t_w) − φ′(t_l)], t = π/πref.

With φ′ the logarithm z is βρ (Tang et al. 2024, arXiv 2402.05749); the generator derivative φ′ of another divergence
makes f-DPO (arXiv 2309.16240) and χPO (arXiv 2407.13399) of it, with any f.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from gpo_analysis.losses import MarginLoss

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
