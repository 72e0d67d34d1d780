"""The losses themselves: f over ρ, and what is read off at zero.

The paper's first figure draws DPO, IPO and SLiC beside the 0-1 loss over ρ in [−1, 2] at β = 1, the logistic curve
divided by log 2 so that all pass through (0, 1) (Tang et al. 2024, arXiv 2402.05749). Here all six of its Table 1 are
tabulated, with slope and curvature at zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sympy

import gpo_analysis as gpo
from experiments._losses import accepted, each_of, of_the_preset, rows_of
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.tables import find

CLAIM = "All six losses are upper bounds of the 0-1 loss through (0, 1) once scaled, with the slopes of Table 1."
FIGURE = "losses"

SLOPES = {
    "logistic": -0.5, "squared": -2.0, "hinge": -1.0, "exponential": -1.0, "truncated_quadratic": -2.0, "savage": -0.25,
}  # fmt: skip
"""f′(0), Table 1."""


@dataclass(frozen=True)
class Config:
    """What is tabulated.

    Parameters
    ----------
    low, high : float
        Range of the margin ρ, at β = 1; the paper's figure has [−1, 2].
    points : int
        Number of grid points.
    losses : tuple of str
        Losses tabulated: names, or expressions in z.
    """

    low: float = -1.0
    high: float = 2.0
    points: int = 301
    losses: tuple[str, ...] = gpo.PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those that do not start downwards refused."""
        object.__setattr__(self, "losses", accepted(self.losses))


PRESETS = {"quick": Config(), "paper": Config(points=1201)}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a loss."""
    return grid(loss=config.losses)


def run(config: Config, *, loss: str) -> pd.DataFrame:
    """Tabulate one loss: its value and the value divided by f(0)."""
    f = gpo.get_loss(loss)
    rho = np.linspace(config.low, config.high, config.points)
    value = f(rho)
    at_zero = float(f(0.0))
    shown = {} if loss in gpo.PAPER_LOSSES else {"formula": latex(f)}
    return pd.DataFrame(
        {
            "loss": loss,
            "rho": rho,
            "value": value,
            "scaled": value / at_zero if at_zero else np.nan,
            "at_zero": at_zero,
            "slope": float(f.derivative(0.0)),
            "curvature": float(f.derivative(0.0, 2)),
            **shown,
        }
    )


def latex(f: gpo.MarginLoss) -> str:
    """F of the margin ρ, for the figure's table; of the paper's losses the figure has it as the paper writes it."""
    return str(sympy.latex(f.expression.subs(f.symbol, sympy.Symbol("ρ"))))


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Slopes of Table 1, and the 0-1 loss below every scaled curve."""
    slopes, gaps = {}, {}
    for name, rows in rows_of(table).groupby("loss", sort=False):
        slopes[str(name)] = Check.equal("f′(0)", SLOPES[str(name)], float(rows["slope"].iloc[0]), 1e-12)
        gap = float((rows["scaled"] - (rows["rho"] < 0)).min())
        gaps[str(name)] = Check.at_least("f/f(0) less the 0-1 loss", 0.0, gap, 1e-12)
    claims = {"f′(0) is that of Table 1": slopes, "f/f(0) is nowhere below the 0-1 loss": gaps}
    return [each_of(claim, parts).as_theorem() for claim, parts in claims.items()]


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """What the six curves have in common and where they part."""
    first = table.groupby("loss", sort=False).first()
    kappa = first["curvature"] / first["slope"].abs()
    gap = float((table["scaled"] - (table["rho"] < 0)).min())
    ends = find(table, rho=table["rho"].max()).set_index("loss")["scaled"]
    strengths = ", ".join(f"{name} {value:g}" for name, value in kappa.items())
    return (
        f"On ρ in [{config.low:g}, {config.high:g}] every loss divided by f(0) passes through (0, 1) and stays above "
        f"the 0-1 loss (smallest distance {gap:.3g}). Beyond that they have little in common: at ρ = {config.high:g} "
        f"the scaled values run from {ends.min():.3g} ({ends.idxmin()}) to {ends.max():.3g} ({ends.idxmax()}), and "
        f"the curvature per slope at zero, κ = f″(0)/|f′(0)|, is {strengths}. A loss with κ = 0 has no second-order "
        f"term, and so no μ-weighted square regularizer, at all ({', '.join(kappa.index[kappa == 0])}). To remember: "
        "one β is not one strength; at equal β the regularizers of these losses differ by the ratios of κ."
    )
