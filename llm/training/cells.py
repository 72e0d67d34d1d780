"""One policy of a sweep: which loss, at which β, on which data in which order."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from gpo_analysis.losses import MarginLoss
from gpo_analysis.losses.lookup import get_margin_loss
from gpo_analysis.reading import is_finite

#: f-divergences whose generator's derivative may stand in the place of the logarithm (`llm.training.objective`).
DIVERGENCES = ("reverse_kl", "forward_kl", "jensen_shannon", "alpha", "chi_po")
REDUCTIONS = ("sum", "mean")


@dataclass(frozen=True)
class SweepCell:
    """One run of a sweep.

    Parameters
    ----------
    loss : str
        A loss's name, or an expression in z.
    beta : float
        β of f(βρ), above 0.
    seed : int
        Which order the data come in; cells of one seed and arm can be stacked.
    learning_rate : float
        Step size after warm-up.
    divergence : {"reverse_kl", "forward_kl", "jensen_shannon", "alpha", "chi_po"}
        Whose generator's derivative φ′ is taken of π/πref: reverse_kl has the logarithm, alpha is that of α = ½.
    reduction : {"sum", "mean"}
        "sum": ρ on sums over tokens, as the paper has it. "mean": on token means, another objective.
    arm : str
        Which of the pairs it sees, by the name that `llm.sweep.run.train_sweep` is given; "fresh" for all of them.

    Raises
    ------
    ValueError
        For an unknown loss, divergence or reduction, or a number out of range.

    Examples
    --------
    >>> cell = SweepCell("logistic", 0.6, 0, 1e-3)
    >>> cell.key[:23], cell.name, cell.strength
    ('logistic-beta0.6-seed0-', 'logistic-0.3-s0-fresh', 0.3)
    """

    loss: str
    beta: float
    seed: int
    learning_rate: float
    divergence: str = "reverse_kl"
    reduction: str = "sum"
    arm: str = "fresh"

    def __post_init__(self) -> None:
        for name in ("beta", "learning_rate"):
            if not (getattr(self, name) > 0 and is_finite(getattr(self, name))):
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is a finite number above 0")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; accepted is 0 or more")
        for name, accepted in (("divergence", DIVERGENCES), ("reduction", REDUCTIONS)):
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name} is {getattr(self, name)!r}; accepted are {', '.join(accepted)}")
        if not re.fullmatch(r"\w+", self.arm):
            raise ValueError(f"arm is {self.arm!r}; accepted is a word")
        get_margin_loss(self.loss)

    @property
    def margin_loss(self) -> MarginLoss:
        """The loss f."""
        return get_margin_loss(self.loss)

    @property
    def strength(self) -> float:
        """βκ, κ = f″(0)/|f′(0)|, to 12 digits; β itself where κ is 0 (hinge) or not defined."""
        try:
            kappa = float(self.margin_loss.curvature_ratio)
        except ValueError:
            kappa = 0.0
        return float(f"{self.beta * kappa if kappa > 0 else self.beta:.12g}")

    @property
    def name(self) -> str:
        """A name for people: loss, strength, seed and arm."""
        return f"{self.loss}-{self.strength:g}-s{self.seed}-{self.arm}"

    @property
    def key(self) -> str:
        """A name for files: readable, and distinct for cells that differ in anything."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9_]+', '_', self.loss)[:40]}-beta{self.beta:g}-seed{self.seed}-{digest}"
