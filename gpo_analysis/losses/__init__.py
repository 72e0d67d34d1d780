"""Losses of a margin and of two log-ratios: one sympy expression each, and everything derived from it."""

from gpo_analysis.losses.batch_losses import BatchLoss, get_batch_loss
from gpo_analysis.losses.catalogue import PAPER_LOSSES, list_losses
from gpo_analysis.losses.lookup import get_loss, get_losses, get_margin_loss, get_margin_losses
from gpo_analysis.losses.margin_loss import Claims, MarginLoss
from gpo_analysis.losses.parse import parse_loss
from gpo_analysis.losses.several import (
    RisingLossWarning,
    distinct_losses,
    refuse_repeated,
    same_function,
    warn_of_rising,
)
from gpo_analysis.losses.two_ratio import CHOSEN, REJECTED, Loss, TwoRatioLoss, mixture
from gpo_analysis.losses.two_ratio_catalogue import get_two_ratio_loss, two_ratio_losses

__all__ = [
    "CHOSEN",
    "PAPER_LOSSES",
    "REJECTED",
    "BatchLoss",
    "Claims",
    "Loss",
    "MarginLoss",
    "RisingLossWarning",
    "TwoRatioLoss",
    "distinct_losses",
    "get_batch_loss",
    "get_loss",
    "get_losses",
    "get_margin_loss",
    "get_margin_losses",
    "get_two_ratio_loss",
    "list_losses",
    "mixture",
    "parse_loss",
    "refuse_repeated",
    "same_function",
    "two_ratio_losses",
    "warn_of_rising",
]
