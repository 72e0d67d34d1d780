"""Statistics of results: intervals over what was drawn independently, shares of variance."""

from gpo_analysis.statistics.decomposition import Effect, anova, variance_shares
from gpo_analysis.statistics.intervals import Interval, mean_interval, mean_share_interval, share_interval
from gpo_analysis.statistics.resampled import (
    bootstrap_interval,
    resampled_ends,
    resampled_interval,
    two_way,
    two_way_interval,
    two_way_means,
)

__all__ = [
    "Effect",
    "Interval",
    "anova",
    "bootstrap_interval",
    "mean_interval",
    "mean_share_interval",
    "resampled_ends",
    "resampled_interval",
    "share_interval",
    "two_way",
    "two_way_interval",
    "two_way_means",
    "variance_shares",
]
