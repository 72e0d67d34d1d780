"""The objective E[f(βρ)] of every run of a stack, on sums of token log-probabilities.

ρ = log π(y_w|x)/πref(y_w|x) − log π(y_l|x)/πref(y_l|x), sums over response tokens (Tang et al. 2024, arXiv
2402.05749). Token *means* in place of the sums are another objective and are called so: ``reduction="mean"``. A link g
in place of the logarithm gives β [g(t_w) − g(t_l)], t = π/πref: f-DPO (arXiv 2309.16240), χPO (arXiv 2407.13399).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import NamedTuple

import torch

from gpo_analysis.losses import MarginLoss, get_loss, parse_loss

__all__ = ["Objective", "SweepCell", "Terms", "apply_link", "soft_loss"]

_LINKS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "reverse_kl": lambda s: s,
    "forward_kl": lambda s: -torch.exp(-s),
    "jensen_shannon": lambda s: math.log(2.0) + torch.nn.functional.logsigmoid(s),
    "alpha": lambda s: -2.0 * torch.expm1(-0.5 * s),
    "chi_po": lambda s: torch.exp(s) + s,
}


@dataclass(frozen=True)
class SweepCell:
    """One run of a sweep.

    Parameters
    ----------
    loss
        A loss's name, or an expression in z.
    beta
        β of f(βρ), above 0.
    seed
        Which order the data come in; cells of one seed can be stacked.
    learning_rate
        Step size after warm-up.
    link
        reverse_kl (the logarithm), forward_kl, jensen_shannon, alpha (α = ½) or chi_po.
    reduction
        "sum": ρ on sums over tokens, as the paper has it. "mean": on token means, another objective.

    Raises
    ------
    ValueError
        For an unknown loss, link or reduction, or a number out of range.

    Examples
    --------
    >>> SweepCell("squared", 0.1, 0, 1e-3).key[:22]
    'squared-beta0.1-seed0-'
    """

    loss: str
    beta: float
    seed: int
    learning_rate: float
    link: str = "reverse_kl"
    reduction: str = "sum"

    def __post_init__(self) -> None:
        for name in ("beta", "learning_rate"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is a finite number above 0")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; accepted is 0 or more")
        if self.link not in _LINKS:
            raise ValueError(f"link is {self.link!r}; accepted are {', '.join(_LINKS)}")
        if self.reduction not in ("sum", "mean"):
            raise ValueError(f"reduction is {self.reduction!r}; accepted are 'sum' and 'mean'")
        _loss(self.loss)

    @property
    def margin_loss(self) -> MarginLoss:
        """The loss f."""
        return _loss(self.loss)

    @property
    def key(self) -> str:
        """A name for files: readable, and distinct for cells that differ in anything."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9_]+', '_', self.loss)[:40]}-beta{self.beta:g}-seed{self.seed}-{digest}"


@lru_cache(maxsize=256)
def _loss(name: str) -> MarginLoss:
    try:
        return get_loss(name)
    except ValueError as unknown:
        if re.fullmatch(r"\w+", name) and name != "z":
            raise
        try:
            return parse_loss(name)
        except ValueError as error:
            raise ValueError(f"loss {name!r} is neither a name ({unknown}) nor an expression ({error})") from None


class Terms(NamedTuple):
    """What a batch gives, (R, b) each.

    Attributes
    ----------
    loss
        p f(z) + (1 − p) f(−z), unreduced.
    rho
        ρ on token sums (token means where the cell's reduction is "mean").
    margin
        z: βρ, or β [g(t_w) − g(t_l)].
    """

    loss: torch.Tensor
    rho: torch.Tensor
    margin: torch.Tensor


class Objective:
    """The objectives of a stack's cells, computed together.

    Parameters
    ----------
    cells
        R cells; each loss, link and reduction is evaluated once for all the cells that share it.
    """

    def __init__(self, cells: Sequence[SweepCell]) -> None:
        if not cells:
            raise ValueError("no cells; accepted is one or more")
        self.cells = tuple(cells)
        self._groups: dict[tuple[str, str, str], list[int]] = {}
        for run, cell in enumerate(cells):
            self._groups.setdefault((cell.loss, cell.link, cell.reduction), []).append(run)

    def __call__(
        self, logprobs: torch.Tensor, reference: torch.Tensor, lengths: torch.Tensor, p: torch.Tensor
    ) -> Terms:
        """Evaluate the objectives.

        Parameters
        ----------
        logprobs
            (R, b, 2) log π of chosen and rejected, sums over tokens, in nats.
        reference
            (b, 2) log πref.
        lengths
            (b, 2) tokens of the responses.
        p
            (b,) soft labels.
        """
        ratios = logprobs - reference.to(logprobs)
        rows: list[Terms | None] = [None] * len(self.cells)
        for (loss, link, reduction), runs in self._groups.items():
            s = ratios[runs]
            if reduction == "mean":
                s = s / lengths.to(s)
            beta = torch.tensor([self.cells[run].beta for run in runs], dtype=s.dtype, device=s.device)[:, None]
            rho = s[..., 0] - s[..., 1]
            g = apply_link(link, s)
            margin = beta * (rho if link == "reverse_kl" else g[..., 0] - g[..., 1])
            values = soft_loss(_loss(loss), margin, p.to(s))
            for place, run in enumerate(runs):
                rows[run] = Terms(values[place], rho[place], margin[place])
        return Terms(*(torch.stack(part) for part in zip(*[row for row in rows if row is not None], strict=True)))


def apply_link(name: str, log_ratios: torch.Tensor) -> torch.Tensor:
    """g(e^s) of a link at log-ratios s, with autograd; the numpy form is `gpo_analysis.get_link(name).of_log`."""
    if name not in _LINKS:
        raise ValueError(f"link is {name!r}; accepted are {', '.join(_LINKS)}")
    return _LINKS[name](log_ratios)


def soft_loss(loss: MarginLoss, z: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """p f(z) + (1 − p) f(−z), where a weight of 0 removes its term even if f is infinite there.

    Parameters
    ----------
    loss
        f.
    z
        (…, b) margins.
    p
        (b,) soft labels.

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
