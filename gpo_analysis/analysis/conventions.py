"""What β means in other libraries and papers: the record that :mod:`.convention_rows` fills, one a library's loss.

Every objective here is scale · f(β_GPO ρ) with β_GPO = factor · βᵖ and scale = c · β^q. ρ is a difference of log-ratios
summed over tokens ("sums") or averaged over them ("means"): with responses of one length T the second is the first
divided by T, otherwise the two are different objectives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import sympy

from gpo_analysis.losses import Loss, MarginLoss, TwoRatioLoss, get_loss, get_margin_loss, two_ratio_losses
from gpo_analysis.losses.exo import EXO_EPSILON, exo_loss
from gpo_analysis.showing import Shown

BATCH_LOSSES = ("aot", "aot_unpaired")


@dataclass(frozen=True)
class BetaConvention(Shown):
    """How one library or paper writes its β.

    Attributes
    ----------
    name : str
        "library:loss", such as "trl:ipo".
    objective : str
        Its loss of one pair, in its own β and ρ.
    loss : str, MarginLoss or TwoRatioLoss
        The f, as a name of the catalogue or the loss itself; "exo" for EXO's at its ε, the name of a loss of two
        log-ratios, or "aot" and "aot_unpaired" for those of a batch.
    factor, power : float
        β_GPO = factor · βᵖ; power 0 where its β takes no part.
    scale, scale_power : float
        Its loss is scale · β^q · f(β_GPO ρ).
    ratio : str
        "sums" or "means" over tokens.
    smoothing : str or None
        What its label smoothing ε makes of f: "smoothed" (1−ε) f(z) + ε f(−z), "robust" [(1−ε) f(z) − ε f(−z)]/(1−2ε),
        "exo" the ε of EXO, "ignored" where an ε is accepted and has no effect, or None where there is none to set.
    needs_smoothing : bool
        Whether it refuses ε = 0.
    source : str
        Where this was read.
    version : str
        Which version or commit was read, and when.
    read : bool
        Whether the source itself was read for this record; False for what another text reports of it.
    note : str
        What to beware of.
    aliases : tuple of str
        Other names.
    """

    name: str
    objective: str
    loss: str | Loss
    source: str
    factor: float = 1.0
    power: int = 1
    scale: float = 1.0
    scale_power: int = 0
    ratio: str = "sums"
    smoothing: str | None = None
    needs_smoothing: bool = False
    note: str = ""
    version: str = ""
    read: bool = True
    aliases: tuple[str, ...] = field(default=())

    @property
    def library(self) -> str:
        """What stands before the colon of the name."""
        return self.name.partition(":")[0]

    def to_gpo(self, value: float) -> float:
        """β in GPO's terms."""
        return float(self.exact_to_gpo(value))

    def from_gpo(self, beta: float) -> float:
        """This convention's β."""
        return float(self.exact_from_gpo(beta))

    def loss_scale(self, value: float) -> float:
        """This convention's loss over f(β_GPO ρ)."""
        return float(self.exact_loss_scale(value))

    def exact_to_gpo(self, value: float | sympy.Expr) -> sympy.Expr:
        """β in GPO's terms, in thirty digits and of any size."""
        return self.factor * _digits(value) ** self.power

    def exact_from_gpo(self, beta: float | sympy.Expr) -> sympy.Expr:
        """This convention's β, in thirty digits and of any size."""
        if self.power == 0:
            raise ValueError(f"the β of {self.name} takes no part in its loss, so that there is none to be found")
        return (_digits(beta) / sympy.Float(self.factor, 30)) ** sympy.Rational(1, self.power)

    def exact_loss_scale(self, value: float | sympy.Expr) -> sympy.Expr:
        """This convention's loss over f(β_GPO ρ), in thirty digits and of any size."""
        return sympy.Float(self.scale, 30) * _digits(value) ** self.scale_power

    @property
    def kind(self) -> str:
        """What its loss is a function of: "margin", "two log-ratios" or "batch"."""
        if self.loss in BATCH_LOSSES:
            return "batch"
        if isinstance(self.loss, TwoRatioLoss) or self.loss in two_ratio_losses():
            return "two log-ratios"
        return "margin"

    def margin_loss(self, label_smoothing: float | None = None) -> MarginLoss:
        """:meth:`pair_loss` where it is a function of the margin.

        Parameters
        ----------
        label_smoothing : float, optional

        Raises
        ------
        ValueError
            As :meth:`pair_loss`, and for a loss of two log-ratios.
        """
        return get_margin_loss(self.pair_loss(label_smoothing))

    def pair_loss(self, label_smoothing: float | None = None) -> Loss:
        """The f or F, with its label smoothing.

        Parameters
        ----------
        label_smoothing : float, optional
            ε; without it none, and 1e-3 for EXO.

        Raises
        ------
        ValueError
            For an ε where there is none to set, for 0 where the library refuses it, and for a loss of a batch.
        """
        if self.kind == "batch":
            raise ValueError(f"{self.name} is a statistic of a batch, no loss of a pair: it has no β to convert")
        if self.needs_smoothing and label_smoothing == 0:
            raise ValueError(f"{self.name} refuses label_smoothing = 0; its paper recommends {EXO_EPSILON:g}")
        if self.smoothing == "exo":
            return exo_loss(EXO_EPSILON if label_smoothing is None else label_smoothing)
        loss: Loss = get_loss(self.loss)
        if not label_smoothing or self.smoothing == "ignored":
            return loss
        if self.smoothing is None:
            raise ValueError(f"{self.name} has no label smoothing, got label_smoothing = {label_smoothing!r}")
        if self.smoothing == "smoothed":
            return loss.smoothed(label_smoothing)
        return get_margin_loss(loss).robust(label_smoothing)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        plain = not isinstance(self.loss, MarginLoss | TwoRatioLoss)
        fields = asdict(self if plain else replace(self, loss=str(self.loss)))
        return {**fields, "kind": self.kind, "aliases": list(self.aliases)}

    _no_plot = "it is a formula; the analysis of its loss draws that"


def _digits(value: float | sympy.Expr) -> sympy.Float:
    """Thirty digits of any size: what a float holds, or an expression's value."""
    return sympy.Float(value, 30) if isinstance(value, float | int) else sympy.N(value, 30)
