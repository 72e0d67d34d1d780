"""Rankings of comparisons: any f or a model of ties, with covariates, intervals, rank sets and tests against noise.

A row is a pair with wins, losses and ties of the first; margins are ``z = g_first − g_second + x·γ``, in nats where the
loss is logistic. Arrays of outcomes have the shape (3, k): win, loss, tie. Parameters are θ = (g, γ, τ).
"""

from gpo_analysis.ranking.intervals import ScoreIntervals
from gpo_analysis.ranking.noise import NoiseTest, NoiseTests, noise_tests
from gpo_analysis.ranking.problem import ComparisonProblem
from gpo_analysis.ranking.quality import (
    Calibration,
    Goodness,
    HeldOutVotes,
    calibration,
    compare_models,
    goodness,
    held_out,
)
from gpo_analysis.ranking.ranking import Ranking, rank, rank_all
from gpo_analysis.ranking.ranks import RankSets, rank_sets
from gpo_analysis.ranking.resampled import BootstrapScores, bootstrap

__all__ = [
    "BootstrapScores",
    "Calibration",
    "ComparisonProblem",
    "Goodness",
    "HeldOutVotes",
    "NoiseTest",
    "NoiseTests",
    "RankSets",
    "Ranking",
    "ScoreIntervals",
    "bootstrap",
    "calibration",
    "compare_models",
    "goodness",
    "held_out",
    "noise_tests",
    "rank",
    "rank_all",
    "rank_sets",
]
