"""For one's own data: which β, what a training log shows, how sure a fit is, which f predicts fresh labels best.

Conventions as in :mod:`gpo_analysis.tabular`: ρ is a difference of sequence sums, natural logarithms, KL in nats.
Intervals are of 95 % unless told otherwise and come from the bootstrap; every random step takes a `seed`.
"""

from .choice import HeldOut, LossChoice, choose_loss
from .diagnose import Diagnosis, diagnose
from .logs import TrainingLog, read_training_log
from .recommend import BetaRecommendation, BetaRecommendations, recommend_beta
from .resampling import ScoreIntervals, bootstrap_scores, resampled

__all__ = [
    "BetaRecommendation",
    "BetaRecommendations",
    "Diagnosis",
    "HeldOut",
    "LossChoice",
    "ScoreIntervals",
    "TrainingLog",
    "bootstrap_scores",
    "choose_loss",
    "diagnose",
    "read_training_log",
    "recommend_beta",
    "resampled",
]
