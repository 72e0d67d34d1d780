"""Statistics of fits and of results: asymptotic covariance, intervals, variance decomposition.

Conventions as in :mod:`gpo_analysis.tabular`; scores and log-ratios are centred.
"""

from .asymptotics import Asymptotics, SampledFits, asymptotics, relative_efficiency, sampled_fits
from .decomposition import variance_shares
from .intervals import Interval, bootstrap_interval, mean_interval, share_interval

__all__ = [
    "Asymptotics",
    "Interval",
    "SampledFits",
    "asymptotics",
    "bootstrap_interval",
    "mean_interval",
    "relative_efficiency",
    "sampled_fits",
    "share_interval",
    "variance_shares",
]
