"""Margin losses: one sympy expression each, and everything derived from it."""

from gpo_analysis.losses.catalogue import PAPER_LOSSES, get_loss, get_losses, list_losses
from gpo_analysis.losses.margin_loss import Claims, MarginLoss
from gpo_analysis.losses.parse import parse_loss

__all__ = ["PAPER_LOSSES", "Claims", "MarginLoss", "get_loss", "get_losses", "list_losses", "parse_loss"]
