"""Training of tabular policies, and what can be said of it before any is done.

:func:`train` follows gradient descent, Adam or the gradient flow; :func:`self_play` has the policy draw its own pairs.
Beside them what f, the preferences and the graph of comparisons say beforehand: rates at the start and at the optimum,
where the expansion in the margin holds on the way, and how far the policy ends from its reference. From one run, of
whatever policy, :func:`predicted_course` says what another f or β would have done, and :func:`noise_variance` how far
mini-batches keep a run from its optimum.
"""

from gpo_analysis.training.clock import Course, limit_mean, predicted_course, relative_slope
from gpo_analysis.training.deviation import Deviation, chosen_slope, compared, deviation, link_log_ratio
from gpo_analysis.training.dynamics import train, train_many
from gpo_analysis.training.expansions import (
    expanded_gradients,
    expansion_table,
    margin_quantiles,
    predicted_margins,
    share_beyond,
)
from gpo_analysis.training.rates import (
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
from gpo_analysis.training.self_play import SelfPlay, self_play
from gpo_analysis.training.thermometer import averaged_slope, noise_balance, noise_variance, rescaled_noise
from gpo_analysis.training.trajectory import TrainState, TrainStatus, Trajectory

__all__ = [
    "ADAM_EDGE",
    "Course",
    "Deviation",
    "EarlyPhase",
    "LocalRates",
    "SelfPlay",
    "TrainState",
    "TrainStatus",
    "Trajectory",
    "adam_second_moments",
    "averaged_slope",
    "chosen_slope",
    "compared",
    "deviation",
    "early_phase",
    "expanded_gradients",
    "expansion_table",
    "limit_mean",
    "link_log_ratio",
    "local_rates",
    "logit_hessian",
    "margin_quantiles",
    "momentum_factor",
    "noise_balance",
    "noise_variance",
    "pair_curvature",
    "preconditioned_curvature",
    "predicted_course",
    "predicted_margins",
    "relative_slope",
    "rescaled_noise",
    "self_play",
    "share_beyond",
    "train",
    "train_many",
]
