"""What follows from a margin loss f alone: slope, curvature, convexity, calibration, series, tails, links, strength.

Conventions: exact values are sympy numbers; numerical functions take and return float64 arrays of any shape, natural
logarithms throughout. η is the probability that the first response is preferred, z = βρ the margin.
"""

from gpo_analysis.analysis.analyze import Certainty, LossAnalysis, analyze, certainty
from gpo_analysis.analysis.beta_dictionary import BetaConversion, convert_beta, get_convention, list_conventions
from gpo_analysis.analysis.calibration import Calibration, calibration
from gpo_analysis.analysis.closed_forms import closed_bayes_risk, closed_link
from gpo_analysis.analysis.conjugate import Conjugate, closed_conjugate, conjugate
from gpo_analysis.analysis.conventions import BetaConvention
from gpo_analysis.analysis.design import DesignProof, IncompatibleWishesError, design_loss, prove_design
from gpo_analysis.analysis.equivalence import equivalent_beta, strength
from gpo_analysis.analysis.expansion import PopulationExpansion, population_expansion
from gpo_analysis.analysis.margin import bayes_risk, optimal_margin
from gpo_analysis.analysis.singularities import taylor_radius
from gpo_analysis.analysis.taylor import taylor, taylor_remainder_bound
from gpo_analysis.analysis.two_ratio import OneSided, TwoRatioAnalysis

__all__ = [
    "BetaConvention",
    "BetaConversion",
    "Calibration",
    "Certainty",
    "Conjugate",
    "DesignProof",
    "IncompatibleWishesError",
    "LossAnalysis",
    "OneSided",
    "TwoRatioAnalysis",
    "PopulationExpansion",
    "analyze",
    "bayes_risk",
    "calibration",
    "certainty",
    "closed_bayes_risk",
    "closed_conjugate",
    "closed_link",
    "conjugate",
    "convert_beta",
    "design_loss",
    "equivalent_beta",
    "get_convention",
    "list_conventions",
    "optimal_margin",
    "population_expansion",
    "prove_design",
    "strength",
    "taylor",
    "taylor_radius",
    "taylor_remainder_bound",
]
