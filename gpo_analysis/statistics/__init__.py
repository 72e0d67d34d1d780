"""Statistics of results: intervals over what was drawn independently, shares of variance."""

from gpo_analysis.statistics.decomposition import Effect, anova, variance_shares
from gpo_analysis.statistics.intervals import Interval, bootstrap_interval, mean_interval, share_interval
from gpo_analysis.statistics.resampled import two_way, two_way_means

__all__ = [
    "Effect",
    "Interval",
    "anova",
    "bootstrap_interval",
    "mean_interval",
    "share_interval",
    "two_way",
    "two_way_means",
    "variance_shares",
]
