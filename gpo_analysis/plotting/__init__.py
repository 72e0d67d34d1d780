"""Figures' parts: functions that take ``ax=`` (a new figure by default), draw, and return the axes.

matplotlib is imported when something is drawn, not before.
"""

from gpo_analysis.plotting.landscapes import plot_landscape, plot_trajectory
from gpo_analysis.plotting.losses import plot_curve, plot_loss, plot_losses, plot_zero_one
from gpo_analysis.plotting.policies import plot_frontier, plot_policy, plot_preference, plot_sweep
from gpo_analysis.plotting.rankings import plot_scores
from gpo_analysis.plotting.results import plot_result
from gpo_analysis.showing.heatmaps import plot_heatmap
from gpo_analysis.showing.style import (
    COLORS,
    LossStyle,
    cycle_style,
    figure_style,
    loss_label,
    loss_style,
    new_figure,
    panel_label,
)

__all__ = [
    "COLORS",
    "LossStyle",
    "cycle_style",
    "figure_style",
    "loss_label",
    "loss_style",
    "new_figure",
    "panel_label",
    "plot_curve",
    "plot_frontier",
    "plot_heatmap",
    "plot_landscape",
    "plot_loss",
    "plot_losses",
    "plot_policy",
    "plot_preference",
    "plot_result",
    "plot_scores",
    "plot_sweep",
    "plot_trajectory",
    "plot_zero_one",
]
