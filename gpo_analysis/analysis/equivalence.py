"""Equal strength: which β of one loss regularizes like a given β of another.

To second order E f(βρ) = f(0) + f′(0) β E[ρ] + ½ f″(0) β² E[ρ²]. Divided by |f′(0)| β, the preference term is the same
for every loss and the regularizer is weighted by βκ, κ = f″(0)/|f′(0)|: so β_a κ_a = β_b κ_b, to leading order in the
margin. At one given η it can be made exact: the fitted log-ratio difference is z*(η)/β, hence β_b = β_a z*_b/z*_a.
"""

from __future__ import annotations

import math

import sympy

from gpo_analysis.analysis.checks import positive
from gpo_analysis.analysis.margin import optimal_margin
from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.calculus.at_zero import derivative_at_zero
from gpo_analysis.losses import Loss, TwoRatioLoss, get_loss, get_margin_loss


def strength(loss: Loss | str) -> sympy.Expr:
    """κ = f″(0)/\\|f′(0)\\| where it can stand in a denominator; of a loss of two log-ratios along the margin.

    Raises
    ------
    ValueError
        Where κ is not positive, the slope at 0 is not negative, or f has a kink at 0: then no β of this loss has the
        strength of another loss's β to leading order.

    Examples
    --------
    >>> strength("dpo"), strength("ipo")
    (1/2, 1)
    >>> strength("slic")
    Traceback (most recent call last):
    ...
    ValueError: hinge has no second-order term: κ = f″(0)/|f′(0)| = 0, so no β of it matches another loss's ...
    """
    loss = get_loss(loss)
    kappa = loss.curvature_ratio
    if kappa == 0:
        raise ValueError(
            f"{loss.name} has no second-order term: κ = f″(0)/|f′(0)| = 0, so no β of it matches another loss's "
            "to leading order (give eta to match at one η)"
        )
    if number(kappa) < 0:
        f = loss.along_margin if isinstance(loss, TwoRatioLoss) else loss
        curvature = derivative_at_zero(f.expression, f.symbol, 2)
        raise ValueError(f"{loss.name} has f″(0) = {curvature} < 0: its second-order term does not regularize")
    return kappa


def equivalent_beta(beta: float, source: Loss | str, target: Loss | str, eta: float | None = None) -> float:
    """The β of ``target`` that regularizes like ``beta`` of ``source``.

    Parameters
    ----------
    beta : float
        Positive.
    source, target : MarginLoss, TwoRatioLoss or str
        Losses, names or aliases. A loss of two log-ratios counts with its κ along the margin: pairs by themselves are
        regularized alike, a population is not (:mod:`gpo_analysis.analysis.two_ratio`).
    eta : float, optional
        Without it, equal strength to leading order in the margin, β_t = β κ_s/κ_t. With it, exactly equal fitted
        log-ratios for pairs of that preference probability: β_t = β z*_t(η)/z*_s(η).

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If ``beta`` is not positive and finite; without ``eta``, where κ of either loss is 0, negative or not defined
        (hinge, LRML); with it, where a margin z*(η) is 0, infinite, or of the wrong sign.

    Notes
    -----
    Leading order means: exact for η → ½. At equal βκ logistic, Savage and exponential have the same population
    optimum on Bradley–Terry preferences whatever the margin, and so have squared and truncated quadratic while the
    squared loss's \\|z\\| ≤ 1; between these two families it is an approximation.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> gpo.equivalent_beta(0.1, source="dpo", target="ipo")
    0.05
    >>> round(gpo.equivalent_beta(0.1, source="dpo", target="ipo", eta=0.9), 6)
    0.03641
    """
    beta = positive(beta)
    source, target = get_loss(source), get_loss(target)
    if eta is None:
        return float(sympy.Float(beta, 30) * strength(source) / strength(target))
    source, target = get_margin_loss(source), get_margin_loss(target)
    margins = {loss: float(optimal_margin(loss, eta)) for loss in (source, target)}
    for loss, z in margins.items():
        if z == 0 or not math.isfinite(z):
            raise ValueError(f"{loss.name} has z*(η) = {z:g} at η = {eta:g}: it fixes no β (take η in (0, 1), not ½)")
    ratio = margins[target] / margins[source]
    if ratio < 0:
        raise ValueError(f"{source.name} and {target.name} drive a pair with η = {eta:g} to opposite sides")
    return beta * ratio
