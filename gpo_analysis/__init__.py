"""Theory and analysis of offline preference-optimisation losses.

Conventions, stated once. A *margin loss* f is a function of z = βρ, ρ = log π(y_w)/πref(y_w) − log π(y_l)/πref(y_l),
and training minimises E[f(βρ)] (Tang et al. 2024, arXiv 2402.05749). Logarithms are natural, KL is in nats, theory and
simulation run in float64. A preference matrix has P[i, j] = p(i ≻ j) and P[i, j] + P[j, i] = 1. Pairs are two
independent draws from the behaviour policy μ unless they are observed comparisons, which carry weights of their own.
The μ-weighted square loss is ½E_μ[ρ²], its ½ included. A z whose loss a float cannot hold gives ``inf``, silently.

Everything public is reached from here and loaded on first use: ``import gpo_analysis as gpo`` imports none of torch,
matplotlib, pandas and sympy.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
