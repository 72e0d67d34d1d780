"""Groups of the paper's losses that several experiments compare."""

from __future__ import annotations

from gpo_analysis.losses import PAPER_LOSSES, get_loss

CURVED = tuple(name for name in PAPER_LOSSES if get_loss(name).curvature_ratio > 0)
"""Those with κ > 0, which a strength βκ puts on one scale: all but hinge."""
