"""Theory and analysis of offline preference-optimisation losses.

Conventions, stated once. A *margin loss* f is a function of z = βρ, ρ = log π(y_w)/πref(y_w) − log π(y_l)/πref(y_l),
and training minimises E[f(βρ)] (Tang et al. 2024, arXiv 2402.05749). Logarithms are natural, KL is in nats, theory and
simulation run in float64. A preference matrix has P[i, j] = p(i ≻ j) and P[i, j] + P[j, i] = 1. Pairs are two
independent draws from the behaviour policy μ unless they are observed comparisons, which carry weights of their own.
The μ-weighted square loss is ½E_μ[ρ²], its ½ included. A z whose loss a float cannot hold gives ``inf``, silently.

Everything public is reached from here and loaded on first use: ``import gpo_analysis as gpo`` imports none of torch,
matplotlib, pandas and sympy.
"""

import difflib

import lazy_loader

_attribute, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """What is public, loaded now; of other names, which was meant."""
    if name in __all__ or name.startswith("_"):
        return _attribute(name)
    near = [known for known in __all__ if name.lower() in known.lower() and name[0].isupper() == known[0].isupper()]
    near = difflib.get_close_matches(name, near or __all__, n=3, cutoff=0.0 if near else 0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else " (dir(gpo_analysis) lists what there is)"
    raise AttributeError(f"gpo_analysis has no {name!r}{hint}", name=name)


__version__ = "0.1.0"
