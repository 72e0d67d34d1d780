"""EXO's pairwise loss: a margin loss with an ε that it cannot be without."""

from __future__ import annotations

import sympy

from gpo_analysis.losses.margin_loss import MARGIN, MarginLoss, shown_number

EXO_EPSILON = 1e-3
"""The ε that EXO's paper recommends, taken where none is named."""


def exo_loss(label_smoothing: float = EXO_EPSILON) -> MarginLoss:
    """KL(Bernoulli σ(z) ‖ Bernoulli(1−ε)) (Ji et al. 2024, arXiv 2402.00856, eq. 16).

    f′(0) = −¼ logit(1−ε) and f″(0) = ¼, so that κ = 1/logit(1−ε): 0.145 at the paper's ε = 1e-3.

    Parameters
    ----------
    label_smoothing : float
        ε, in (0, ½).

    Raises
    ------
    ValueError
        If ε is not in (0, ½).

    Examples
    --------
    >>> round(float(exo_loss().curvature_ratio), 4)
    0.1448
    """
    if not 0 < label_smoothing < 0.5:
        raise ValueError(f"label_smoothing of EXO must be in (0, 1/2), got {label_smoothing!r}")
    z, e = MARGIN, sympy.Rational(repr(float(label_smoothing)))
    chosen, rejected = 1 / (1 + sympy.exp(-z)), 1 / (1 + sympy.exp(z))
    expression = chosen * (-sympy.log(1 + sympy.exp(-z)) - sympy.log(1 - e)) + rejected * (
        -sympy.log(1 + sympy.exp(z)) - sympy.log(e)
    )
    return MarginLoss(
        f"exo({shown_number(label_smoothing)})", expression, reference="Ji et al. 2024, arXiv 2402.00856, eq. 16"
    )
