"""Mixtures of Gaussians: densities, the two regularizers between them, and their landscapes over a parameter.

Array conventions
-----------------
A point array ``y`` has shape ``(...,)`` for mixtures over numbers (means of shape ``(k,)``) and ``(..., d)`` for
mixtures over vectors (means of shape ``(k, d)``). A parameter array ``c`` has shape ``(n,)`` for families of one
parameter and ``(n, p)`` for families of several. Natural logarithms, KL in nats, float64.
"""

from gpo_analysis.gaussian.closed_form import closed_form_kl, closed_form_mu_squared_loss
from gpo_analysis.gaussian.counterexample import Counterexample, FamilyMap, counterexample, counterexample_family
from gpo_analysis.gaussian.descent import DescentPath, descend, descend_from
from gpo_analysis.gaussian.divergences import kl_estimate, mu_squared_loss_estimate
from gpo_analysis.gaussian.families import Family, LocationFamily, ParametricFamily
from gpo_analysis.gaussian.integrate import Estimate, IntegrationWarning
from gpo_analysis.gaussian.landscape import Landscape, landscape
from gpo_analysis.gaussian.minima import LocalMinimum
from gpo_analysis.gaussian.mixture import GaussianMixture
from gpo_analysis.gaussian.regularizers import Regularizers, Values

__all__ = [
    "Counterexample",
    "DescentPath",
    "Estimate",
    "Family",
    "FamilyMap",
    "GaussianMixture",
    "IntegrationWarning",
    "Landscape",
    "LocationFamily",
    "LocalMinimum",
    "Regularizers",
    "ParametricFamily",
    "Values",
    "closed_form_kl",
    "closed_form_mu_squared_loss",
    "counterexample",
    "counterexample_family",
    "descend",
    "descend_from",
    "kl_estimate",
    "landscape",
    "mu_squared_loss_estimate",
]
