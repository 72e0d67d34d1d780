"""What the columns of a diagnosis are: the lines under its tables, and in the help of ``gpo diagnose``."""

from __future__ import annotations

ALTERNATIVES = (
    "  βκ           strength that compares between losses; κ = f″(0)/|f′(0)|",
    "  beyond r     share with |βρ| beyond the Taylor radius of f",
    "  idle         share with |f′(βρ)| below 5 % of |f′(0)|: they no longer train",
    "  pulled back  share with f′(βρ) > 0: past the margin of f, their ρ is lowered again",
    "  mean slope   mean of −f′(βρ)/|f′(0)|: 1 at the start, 0 where preference and regularization balance",
    "  cosine       between f′(βρ) and f′(0) + f″(0)βρ: 1 where the second-order picture holds",
)
"""Of what each f and β would make of these ρ."""
OTHERS = ("  reach        aβκm₀ of this run or the row's, the larger; a = E[ρ²]/E[ρ]², m₀ the mean margin for β → 0",)
"""Of where runs of their own would be."""
