"""What f, the preferences and the graph of comparisons say of training, before any is done.

Rates at the start and at the optimum, where the expansion in the margin holds on the way, and how far the policy ends
from its reference. Conventions as in :mod:`gpo_analysis.tabular`; this package may use `analysis` and `tabular`.
"""

from .deviation import Deviation, chosen_slope, compared, deviation, link_log_ratio
from .expansions import expanded_gradients, expansion_table, margin_quantiles, predicted_margins, share_beyond
from .rates import (
    ADAM_EDGE,
    EarlyPhase,
    LocalRates,
    adam_second_moments,
    early_phase,
    local_rates,
    logit_hessian,
    momentum_factor,
    pair_curvature,
    preconditioned_curvature,
)

__all__ = [
    "ADAM_EDGE",
    "Deviation",
    "EarlyPhase",
    "LocalRates",
    "adam_second_moments",
    "chosen_slope",
    "compared",
    "deviation",
    "early_phase",
    "expanded_gradients",
    "expansion_table",
    "link_log_ratio",
    "local_rates",
    "logit_hessian",
    "margin_quantiles",
    "momentum_factor",
    "pair_curvature",
    "preconditioned_curvature",
    "predicted_margins",
    "share_beyond",
]
