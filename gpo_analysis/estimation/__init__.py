"""Estimation from data: fits of comparisons and their covariance, which β, which f, what a training log shows.

Conventions as in :mod:`gpo_analysis.tabular`: ρ is a difference of sequence sums, natural logarithms, KL in nats.
Intervals are of 95 % unless told otherwise and come from the bootstrap; every random step takes a `seed`.
"""

from gpo_analysis.estimation.audit import LossAudit, audit_log
from gpo_analysis.estimation.choice import HeldOut, LossChoice, choose_loss
from gpo_analysis.estimation.covariance import Asymptotics, SampledFits, asymptotics, relative_efficiency, sampled_fits
from gpo_analysis.estimation.diagnose import Diagnosis, diagnose
from gpo_analysis.estimation.fits import ComparisonFits, FitDifference, fit_comparisons
from gpo_analysis.estimation.from_log import LoggedBeta, beta_from_log
from gpo_analysis.estimation.histories import History, read_history
from gpo_analysis.estimation.logs import TrainingLog, read_training_log
from gpo_analysis.estimation.mean_diagnosis import MeanDiagnosis
from gpo_analysis.estimation.recommend import BetaRecommendation, BetaRecommendations, recommend_beta
from gpo_analysis.estimation.resampling import ScoreIntervals, bootstrap_scores, resampled

__all__ = [
    "Asymptotics",
    "BetaRecommendation",
    "BetaRecommendations",
    "ComparisonFits",
    "Diagnosis",
    "FitDifference",
    "HeldOut",
    "History",
    "LoggedBeta",
    "LossAudit",
    "LossChoice",
    "MeanDiagnosis",
    "SampledFits",
    "ScoreIntervals",
    "TrainingLog",
    "asymptotics",
    "audit_log",
    "beta_from_log",
    "bootstrap_scores",
    "choose_loss",
    "diagnose",
    "fit_comparisons",
    "read_history",
    "read_training_log",
    "recommend_beta",
    "relative_efficiency",
    "resampled",
    "sampled_fits",
]
