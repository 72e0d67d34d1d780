"""The objective E[f(βρ)] of every run of a stack, on sums of token log-probabilities.

ρ = log π(y_w|x)/πref(y_w|x) − log π(y_l|x)/πref(y_l|x), sums over response tokens (Tang et al. 2024, arXiv
2402.05749). Token *means* in place of the sums are another objective and are called so: ``reduction="mean"``. The
derivative φ′ of another divergence's generator in place of the logarithm gives β [φ′(t_w) − φ′(t_l)], t = π/πref: f-DPO
(arXiv 2309.16240), χPO (arXiv 2407.13399).

Shapes: R cells, b pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from gpo_analysis.losses import MarginLoss
from llm.training.cells import SweepCell

_DERIVATIVES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "reverse_kl": lambda s: s,
    "forward_kl": lambda s: -torch.exp(-s),
    "jensen_shannon": lambda s: math.log(2.0) + torch.nn.functional.logsigmoid(s),
    "alpha": lambda s: -2.0 * torch.expm1(-0.5 * s),
    "chi_po": lambda s: torch.exp(s) + s,
}


class Terms(NamedTuple):
    """What a batch gives.

    Attributes
    ----------
    loss : tensor, shape (R, b)
        p f(z) + (1 − p) f(−z), unreduced.
    rho : tensor, shape (R, b)
        ρ on token sums (token means where the cell's reduction is "mean").
    margin : tensor, shape (R, b)
        z: βρ, or β [φ′(t_w) − φ′(t_l)].
    """

    loss: torch.Tensor
    rho: torch.Tensor
    margin: torch.Tensor


class StackedObjective:
    """The objectives of a stack's cells, computed together.

    Parameters
    ----------
    cells : sequence of SweepCell
        R cells; each loss, divergence and reduction is evaluated once for all the cells that share it.
    """

    def __init__(self, cells: Sequence[SweepCell]) -> None:
        if not cells:
            raise ValueError("no cells; accepted is one or more")
        self.cells = tuple(cells)
        self._groups: dict[tuple[str, str, str], list[int]] = {}
        for run, cell in enumerate(cells):
            self._groups.setdefault((cell.loss, cell.divergence, cell.reduction), []).append(run)

    def __call__(
        self, logprobs: torch.Tensor, reference: torch.Tensor, lengths: torch.Tensor, p: torch.Tensor
    ) -> Terms:
        """Evaluate the objectives.

        Parameters
        ----------
        logprobs : tensor, shape (R, b, 2)
            log π of chosen and rejected, sums over tokens, in nats.
        reference : tensor, shape (b, 2)
            log πref.
        lengths : tensor, shape (b, 2)
            Tokens of the responses.
        p : tensor, shape (b,)
            Soft labels.
        """
        ratios = logprobs - reference.to(logprobs)
        rows: list[Terms | None] = [None] * len(self.cells)
        for (_, divergence, reduction), runs in self._groups.items():
            s = ratios[runs]
            if reduction == "mean":
                s = s / lengths.to(s)
            beta = torch.tensor([self.cells[run].beta for run in runs], dtype=s.dtype, device=s.device)[:, None]
            rho = s[..., 0] - s[..., 1]
            g = generator_derivative(divergence, s)
            margin = beta * (rho if divergence == "reverse_kl" else g[..., 0] - g[..., 1])
            values = soft_loss(self.cells[runs[0]].margin_loss, margin, p.to(s))
            for row, run in enumerate(runs):
                rows[run] = Terms(values[row], rho[row], margin[row])
        return Terms(*(torch.stack(part) for part in zip(*[row for row in rows if row is not None], strict=True)))


def generator_derivative(divergence: str, log_ratios: torch.Tensor) -> torch.Tensor:
    """φ′(e^s) of a divergence's generator φ at log-ratios s, with autograd.

    Parameters
    ----------
    divergence : str
        One of `llm.training.cells.DIVERGENCES`; the numpy form is ``gpo_analysis.get_link(divergence).of_log``.
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
