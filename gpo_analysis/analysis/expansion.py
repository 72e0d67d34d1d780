"""The population loss, expanded symbolically to second order.

    E f(βρ) = f(0) + f′(0) β E[ρ] + f″(0) β² · ½E_μ[ρ²] + O(β³)         (arXiv 2402.05749, §3)

The first-order term optimises the preference, the second is the μ-weighted square loss ½E_μ[ρ²] times f″(0)β².

At μ = πθ (sampling not differentiated) the gradient of the μ-weighted square loss over *pairs* is
∇E[½ρ²] = 2 ∇KL(πθ‖πref); the factor 2 goes with the pair: ¼ρ², or the one-sample ½(log πθ/πref)², has gradient ∇KL.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

import sympy

from gpo_analysis.analysis.singularities import piece_at_zero, taylor_radius
from gpo_analysis.analysis.taylor import derivative_at_zero
from gpo_analysis.calculus.written import WIDE, constant, plain
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.losses.shape import kinks
from gpo_analysis.showing import Shown

BETA = sympy.Symbol("beta", positive=True)
MEAN_RATIO = sympy.Symbol(r"E[\rho]", real=True)
"""E[ρ] under μ and the labels, ρ = log πθ(y_w)/πref(y_w) − log πθ(y_l)/πref(y_l)."""
MU_SQUARED_LOSS = sympy.Symbol(r"\frac{1}{2}E_\mu[\rho^2]", nonnegative=True)
"""The μ-weighted square loss ½E_μ[ρ²]."""


@dataclass(frozen=True)
class PopulationExpansion(Shown):
    """E f(βρ) to second order; shows itself as a formula.

    Attributes
    ----------
    name : str
    constant : sympy.Expr
        f(0), the loss at πθ = πref.
    preference : sympy.Expr
        f′(0) β E[ρ]: the term that optimises the preference.
    preference_coefficient : sympy.Expr
        f′(0) β.
    regularizer : sympy.Expr
        f″(0) β² · ½E_μ[ρ²]: the μ-weighted square loss with its weight.
    regularizer_coefficient : sympy.Expr
        f″(0) β².
    total : sympy.Expr
        The sum of the three, in the symbols β, E[ρ], ½E_μ[ρ²].
    is_exact : bool
        Whether nothing is left out (the squared loss).
    has_second_order_term : bool
        False where f″(0) = 0 (hinge).
    valid_until : sympy.Expr
        The largest |βρ| up to which the full series equals f.
    note : str
        What is left out, in words.
    """

    name: str
    constant: sympy.Expr
    preference: sympy.Expr
    preference_coefficient: sympy.Expr
    regularizer: sympy.Expr
    regularizer_coefficient: sympy.Expr
    total: sympy.Expr
    is_exact: bool
    has_second_order_term: bool
    valid_until: sympy.Expr
    note: str

    def summary(self) -> str:
        """As text."""
        parts = [constant(self.constant)]
        for coefficient, what in (
            (self.preference_coefficient, "E[ρ]"),
            (self.regularizer_coefficient, "½E_μ[ρ²]"),
        ):
            if coefficient == 0:
                continue
            negative = coefficient.could_extract_minus_sign()
            size = plain(-coefficient if negative else coefficient)
            if len(size) > WIDE:  # a long constant before β or β²
                power = 1 if coefficient is self.preference_coefficient else 2
                size = f"{constant(abs((coefficient / BETA**power).expand()))}*beta{'^2' * (power - 1)}"
            size = size.replace("beta", "β").replace("^2", "²").replace("*", " ")
            parts.append(f"{'−' if negative else '+'} {size} {what}")
        tail = "" if self.is_exact else " + …"
        return f"E f(βρ) = {' '.join(parts)}{tail}   ({self.note})"

    __str__ = summary

    def latex(self) -> str:
        """The expansion in LaTeX, without dollar signs."""
        text: str = r"\mathbb{E} f(\beta\rho) = " + sympy.latex(self.constant)
        for coefficient, what in (
            (self.preference_coefficient, r"\,\mathbb{E}[\rho]"),
            (self.regularizer_coefficient, r"\cdot\tfrac{1}{2}\mathbb{E}_\mu[\rho^2]"),
        ):
            if coefficient != 0:
                negative = coefficient.could_extract_minus_sign()
                size = sympy.latex(-coefficient if negative else coefficient)
                text += f" {'-' if negative else '+'} {size}{what}"
        return text if self.is_exact else text + r" + \cdots"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.name)}: $\\displaystyle {self.latex()}$</p><p>{html.escape(self.note)}</p>"

    _no_plot = "it is a formula; the analysis of its loss draws f with its Taylor polynomials"


def population_expansion(loss: MarginLoss | str) -> PopulationExpansion:
    """Expand the population loss E f(βρ) of any loss to second order in βρ.

    Parameters
    ----------
    loss : MarginLoss or str

    Returns
    -------
    PopulationExpansion

    Raises
    ------
    ValueError
        If f is not twice differentiable at 0.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> print(gpo.population_expansion("dpo"))
    E f(βρ) = log(2) − β/2 E[ρ] + β²/4 ½E_μ[ρ²] + …   (the series equals f while |βρ| < pi)
    >>> print(gpo.population_expansion("ipo"))
    E f(βρ) = 1 − 2 β E[ρ] + 2 β² ½E_μ[ρ²]   (exact: f is quadratic)
    >>> gpo.population_expansion("slic").has_second_order_term
    False
    """
    loss = get_margin_loss(loss)
    value, slope, curvature = (derivative_at_zero(loss, k) for k in range(3))
    if sympy.nan in (value, slope, curvature):
        raise ValueError(
            f"{loss.name} is not twice differentiable at 0, where it has a kink: there is no such expansion"
        )
    radius = taylor_radius(loss)
    home = piece_at_zero(loss)
    exact = home is not None and not kinks(loss) and home.expression.diff(loss.symbol, 3) == 0
    first, second = slope * BETA, curvature * BETA**2
    return PopulationExpansion(
        name=loss.name,
        constant=value,
        preference=first * MEAN_RATIO,
        preference_coefficient=first,
        regularizer=second * MU_SQUARED_LOSS,
        regularizer_coefficient=second,
        total=value + first * MEAN_RATIO + second * MU_SQUARED_LOSS,
        is_exact=exact,
        has_second_order_term=bool(curvature != 0),
        valid_until=radius,
        note=_note(exact, bool(curvature != 0), radius),
    )


def _note(exact: bool, second: bool, radius: sympy.Expr) -> str:
    if exact:
        return "exact: f is quadratic" if second else "exact: f is linear"
    words = "" if second else "no second-order term: f″(0) = 0; "
    if radius == sympy.oo:
        return words + "the series equals f for every βρ"
    if radius is sympy.nan:
        return words + "how far the series reaches is not known"
    if radius == 0:
        return words + "a kink at 0: the series reaches nowhere"
    return words + f"the series equals f while |βρ| < {radius.n(6) if radius.is_Float else constant(radius)}"
