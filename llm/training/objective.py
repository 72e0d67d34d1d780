"""The objective E[f(βρ)] of every run of a stack, on sums of token log-probabilities.

ρ = log π(y_w|x)/πref(y_w|x) − log π(y_l|x)/πref(y_l|x), sums over response tokens (Tang et al. 2024, arXiv
2402.05749). Token *means* in place of the sums are another objective and are called so: ``reduction="mean"``. The
derivative φ′ of another divergence's generator in place of the logarithm gives β [φ′(t_w) − φ′(t_l)], t = π/πref: f-DPO
(arXiv 2309.16240), χPO (arXiv 2407.13399).

Shapes: R cells, b pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from gpo_analysis.integrations.objective import generator_derivative, soft_loss
from llm.training.cells import SweepCell


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
