"""Changes that work on every f: label smoothing, its robust correction, soft labels, a common slope at zero."""

from __future__ import annotations

import math
from numbers import Real

import sympy

from gpo_analysis.calculus.pieces import pieces
from gpo_analysis.losses.margin_loss import MARGIN, MarginLoss

_HALF = sympy.Rational(1, 2)


def exact_number(value: float, what: str, accepted: sympy.Interval) -> sympy.Rational:
    """``value`` as the rational that its shortest decimal writes (0.1 is 1/10), checked to lie in ``accepted``."""
    if not isinstance(value, Real | sympy.Rational) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{what} must be a number in {accepted}, got {value!r}")
    exact = value if isinstance(value, sympy.Rational) else sympy.nsimplify(repr(float(value)), rational=True)
    if exact not in accepted:
        raise ValueError(f"{what} must be a number in {accepted}, got {value!r}")
    return exact


def reflected(loss: MarginLoss) -> sympy.Expr:
    """f(−z) as an expression: the loss of the same pair with its label flipped."""
    return loss.expression.xreplace({MARGIN: -MARGIN})


def soft_label(loss: MarginLoss, probability: float) -> MarginLoss:
    """p f(z) + (1−p) f(−z): the expected loss of a pair whose first response wins with probability p.

    Parameters
    ----------
    probability : float in [0, 1]

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> get_loss("squared").soft_label(0.75).expression
    (-z - 1)**2/4 + 3*(z - 1)**2/4
    """
    p = exact_number(probability, "probability", sympy.Interval(0, 1))
    mixed = p * loss.expression + (1 - p) * reflected(loss)
    return MarginLoss(f"soft_label({loss.name}, {float(p):g})", mixed, reference=loss.reference)


def smoothed(loss: MarginLoss, epsilon: float) -> MarginLoss:
    """(1−ε) f(z) + ε f(−z): label smoothing, *conservative DPO* for the logistic f.

    Its slope at zero is (1−2ε) f′(0), its curvature f″(0): κ grows by 1/(1−2ε).
    Source: E. Mitchell, "A note on DPO with noisy preferences & relationship to IPO" (2023), for the logistic loss.

    Parameters
    ----------
    epsilon : float in [0, 1/2]
        The share of labels taken to be flipped.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> get_loss("dpo").smoothed(0.1).expression
    9*log(1 + exp(-z))/10 + log(exp(z) + 1)/10
    """
    e = exact_number(epsilon, "epsilon", sympy.Interval(0, _HALF))
    mixed = (1 - e) * loss.expression + e * reflected(loss)
    return MarginLoss(f"smoothed({loss.name}, {float(e):g})", mixed, reference=loss.reference)


def robust(loss: MarginLoss, epsilon: float) -> MarginLoss:
    """[(1−ε) f(z) − ε f(−z)]/(1−2ε): unbiased for the loss of the clean label when a share ε of labels is flipped.

    Source: Natarajan et al. 2013 for classification; Chowdhury et al. 2024 (arXiv 2403.00409) for DPO.
    For an f that is not bounded above it is not bounded below: one-sided data have no optimum.

    Parameters
    ----------
    epsilon : float in [0, 1/2)

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> loss = get_loss("squared")
    >>> bool(abs(0.9 * loss.robust(0.1)(0.3) + 0.1 * loss.robust(0.1)(-0.3) - loss(0.3)) < 1e-12)
    True
    """
    e = exact_number(epsilon, "epsilon", sympy.Interval.Ropen(0, _HALF))
    corrected = ((1 - e) * loss.expression - e * reflected(loss)) / (1 - 2 * e)
    return MarginLoss(f"robust({loss.name}, {float(e):g})", corrected, reference=loss.reference)


def rescaled(loss: MarginLoss) -> MarginLoss:
    """f/|f′(0)|, so that the slope at zero is −1 and losses of different scale can be compared.

    The population optimum does not move; the learning rate that it takes does.

    Raises
    ------
    ValueError
        If f′(0) is not negative, or f has a kink at 0.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> float(get_loss("savage").rescaled().derivative(0.0))
    -1.0
    """
    slopes = {
        sympy.nsimplify(piece.expression.diff(MARGIN).subs(MARGIN, 0))
        for piece in pieces(loss)
        if piece.lower <= 0 <= piece.upper
    }
    slope = slopes.pop()
    if slopes or not slope.is_negative:
        found = "does not exist (a kink)" if slopes else f"is {slope}"
        raise ValueError(f"rescaling needs f′(0) < 0, but f′(0) of {loss.name} {found}")
    return MarginLoss(f"rescaled({loss.name})", loss.expression / -slope, reference=loss.reference)
