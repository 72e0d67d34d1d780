"""``analyze``: everything that follows from f alone, in one record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, overload

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.analysis import report
from gpo_analysis.analysis.calibration import Calibration, calibration
from gpo_analysis.analysis.closed_forms import closed_bayes_risk, closed_link
from gpo_analysis.analysis.conjugate import Conjugate, closed_conjugate
from gpo_analysis.analysis.margin import bayes_risk, optimal_margin
from gpo_analysis.analysis.minimise import least_points, stationary_points
from gpo_analysis.analysis.singularities import taylor_radius
from gpo_analysis.analysis.taylor import derivative_at_zero, taylor, taylor_remainder_bound
from gpo_analysis.analysis.two_ratio import TwoRatioAnalysis, analyze_two_ratio
from gpo_analysis.calculus.at_zero import curvature_ratio
from gpo_analysis.calculus.convexity import Convexity
from gpo_analysis.calculus.exponentials import exact_numbers
from gpo_analysis.calculus.tails import Tail
from gpo_analysis.calculus.undecided import Undecided
from gpo_analysis.losses import MarginLoss, TwoRatioLoss, get_loss, get_margin_loss
from gpo_analysis.losses.shape import convexity, kinks, tails, unproved
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Curve, Panel
from gpo_analysis.showing.style import cycle_style, loss_label, loss_style


@dataclass(frozen=True)
class Certainty(Shown):
    """What a deterministic preference (η = 1) drives the margin to.

    Attributes
    ----------
    kind : str
        "finite margin" (one minimiser of f, or the one of smallest \\|z\\|), "half line" (every z ≥ margin is one),
        "infinity" (the infimum is approached far out only), "unbounded below" or "undecided".
    margin : sympy.Expr
        z*(1): exact where it is a kink or the link has a closed form, a float otherwise, ±oo; ``nan`` if undecided.
    """

    kind: str
    margin: sympy.Expr

    _no_plot = "it is one margin"


@dataclass(frozen=True)
class LossAnalysis(Shown):
    """What follows from a margin loss f alone; see :func:`analyze`.

    It prints as a table in a terminal and, with formulas, in Jupyter.

    Attributes
    ----------
    name : str
    expression : sympy.Expr
        f in the real symbol z.
    value, slope, curvature : sympy.Expr
        f(0), f′(0), f″(0), exact; ``nan`` where f has no such derivative at 0 (a kink there).
    curvature_ratio : sympy.Expr
        κ = f″(0)/\\|f′(0)\\|: the strength of the regularization per unit of β (arXiv 2402.05749, §3); ``nan`` where
        the slope is 0 or does not exist.
    is_convex : bool or None
        Decided exactly or by rigorous enclosures; None where neither settles it.
    nonconvex_region : sympy.Set or None
        Where f″ < 0, and the kinks at which the slope falls.
    convexity_proof, calibration_proof : str
        Why, in words.
    is_calibrated : bool or None
        Classification calibration (Bartlett, Jordan and McAuliffe 2006); None where it is not decided.
    taylor_radius : sympy.Expr
        The largest r such that the series at 0 equals f on \\|z\\| < r.
    kinks : tuple of sympy.Expr
        Where f is not smooth.
    left_tail, right_tail : Tail
        What f does for z → −∞ and z → ∞.
    link : sympy.Expr or None
        z*(η) for 0 < η < 1 in the symbol ``eta``, None where no closed form was found.
    at_certainty : Certainty
        What happens at η = 1.
    bayes_risk : sympy.Expr or None
        H(η) = min_z η f(z) + (1−η) f(−z) in the symbol ``eta``, None where no closed form was found.
    conjugate : Conjugate
        f*(s) = sup_z s z − f(z): closed form, domain, and a call for numbers.
    undecided : str
        Why the fields that rest on the smooth pieces of f (kinks, derivatives at 0, radius, tails, link, Bayes risk,
        conjugate) are not decided: None, empty or ``nan``; "" where they are. The numerical link, Bayes risk and
        conjugate then raise :class:`gpo_analysis.calculus.Undecided` (a ValueError) with this reason.
    unproved : str
        Why what f does far out has no proof, where its branch there was chosen by a sign that was only sampled: then no
        closed form is given, and convexity and calibration are None unless something else settles them. "" otherwise.

    Examples
    --------
    >>> found = analyze("savage")
    >>> found.curvature_ratio, found.is_convex, found.nonconvex_region
    (1/2, False, Interval.open(-oo, -log(2)))
    """

    name: str
    expression: sympy.Expr
    value: sympy.Expr
    slope: sympy.Expr
    curvature: sympy.Expr
    curvature_ratio: sympy.Expr
    is_convex: bool | None
    nonconvex_region: sympy.Set | None
    convexity_proof: str
    is_calibrated: bool | None
    calibration_proof: str
    taylor_radius: sympy.Expr
    kinks: tuple[sympy.Expr, ...]
    left_tail: Tail
    right_tail: Tail
    link: sympy.Expr | None
    at_certainty: Certainty
    bayes_risk: sympy.Expr | None
    conjugate: Conjugate
    loss: MarginLoss = field(repr=False)
    undecided: str = ""
    unproved: str = ""

    def optimal_margin(self, eta: ArrayLike) -> NDArray[np.float64]:
        """z*(η), numerically: :func:`gpo_analysis.optimal_margin`."""
        return optimal_margin(self.loss, eta)

    def bayes_risk_at(self, eta: ArrayLike) -> NDArray[np.float64]:
        """H(η), numerically: :func:`gpo_analysis.analysis.bayes_risk`."""
        return bayes_risk(self.loss, eta)

    def taylor(self, order: int = 4) -> sympy.Expr:
        """The Taylor polynomial at 0: :func:`gpo_analysis.taylor`."""
        return taylor(self.loss, order)

    def taylor_remainder_bound(self, order: int, radius: float) -> float:
        """What the polynomial leaves out: :func:`gpo_analysis.taylor_remainder_bound`."""
        return taylor_remainder_bound(self.loss, order, radius)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values; exact values as ``{"exact": "1/4", "float": 0.25}``.

        Infinite floats become null, their exact text stays ("oo").
        """
        return report.to_dict(self)

    def to_json(self, **options: Any) -> str:
        """:meth:`to_dict` as strict JSON; ``options`` go to :func:`json.dumps`."""
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False, **options)

    def summary(self) -> str:
        """As text: a line a finding."""
        return report.as_text(self)

    __str__ = __repr__ = summary

    def _repr_html_(self) -> str:
        return report.as_html(self)

    def _columns(self) -> Mapping[str, Any]:
        told = report.rows(self)
        return {"what": [what for what, _ in told], "value": [value for _, value in told]}

    def _panel(self) -> Panel:
        z = np.linspace(-4.0, 4.0, 401)
        f = self.loss(z)
        own = replace(loss_style(self.name), linestyle="-")  # the polynomials are dashed and dotted
        curves = [Curve(z, f, loss_label(self.name), own)]
        at = [report.as_float(x) for x in (self.value, self.slope, self.curvature)]
        for order in (1, 2):
            series = at[0] + at[1] * z + (at[2] / 2 * z**2 if order == 2 else 0.0)
            curves += (
                [Curve(z, series, f"Taylor, order {order}", cycle_style(order + 5))] if np.isfinite(series[0]) else []
            )
        radius, seen = report.as_float(self.taylor_radius), f[np.isfinite(f)]
        bands = [(-radius, radius, f"Taylor radius {radius:.3g}")] if 0 < radius < 4 else []
        low, high = (seen.min(), np.quantile(seen, 0.98)) if len(seen) else (0.0, 1.0)
        near = 30 * max(np.abs(at[:2])) if np.isfinite(at[:2]).all() else 0.0
        if near > 0:  # steep losses: what lies around z = 0 is to be seen
            low, high = max(low, -near), min(high, near)
        space = 0.06 * (high - low) or 1.0
        limits = (float(low - space), float(high + space))
        return Panel(
            "f and its Taylor polynomials at 0",
            "margin z = βρ",
            "loss f(z)",
            curves,
            ylim=limits,
            bands=bands,
        )


@overload
def analyze(loss: MarginLoss) -> LossAnalysis: ...
@overload
def analyze(loss: TwoRatioLoss) -> TwoRatioAnalysis: ...
@overload
def analyze(loss: str) -> Any: ...
def analyze(loss: Any) -> Any:
    """What follows from a loss alone: from f of a margin, or from F of two log-ratios.

    Parameters
    ----------
    loss : MarginLoss, TwoRatioLoss or str
        A loss, or the name of one in the catalogue.

    Returns
    -------
    LossAnalysis or TwoRatioAnalysis

    Raises
    ------
    ValueError
        If there is no loss of that name, or it is not a finite real function on the whole line or plane.

    Notes
    -----
    Everything symbolic is bounded by counted operations, so that the answer is the same on every machine; what computer
    algebra does not find is None (a closed form) or found numerically (the link, the Bayes risk and the conjugate
    remain available as functions).

    Examples
    --------
    >>> a = analyze("savage")
    >>> a.slope, a.curvature, a.curvature_ratio, a.taylor_radius
    (-1/4, 1/8, 1/2, pi)
    >>> a.is_convex, a.nonconvex_region, a.is_calibrated
    (False, Interval.open(-oo, -log(2)), True)
    >>> a.link, a.bayes_risk
    (log(eta/(1 - eta)), -eta**2 + eta)
    """
    found = get_loss(loss)
    return analyze_two_ratio(found) if isinstance(found, TwoRatioLoss) else _analyze(found)


@lru_cache(maxsize=512)
def _analyze(loss: MarginLoss) -> LossAnalysis:
    shape, right = convexity(loss), calibration(loss)
    try:
        both = tails(loss)
    except Undecided as reason:
        return _without_pieces(loss, shape, right, reason.reason)
    slope, curvature = derivative_at_zero(loss, 1), derivative_at_zero(loss, 2)
    return LossAnalysis(
        name=loss.name,
        expression=loss.expression,
        value=derivative_at_zero(loss, 0),
        slope=slope,
        curvature=curvature,
        curvature_ratio=curvature_ratio(loss.expression, loss.symbol),
        is_convex=shape.is_convex,
        nonconvex_region=shape.region,
        convexity_proof=shape.proof,
        is_calibrated=right.is_calibrated,
        calibration_proof=right.proof,
        taylor_radius=taylor_radius(loss),
        kinks=kinks(loss),
        left_tail=both.left,
        right_tail=both.right,
        link=closed_link(loss),
        at_certainty=certainty(loss),
        bayes_risk=closed_bayes_risk(loss),
        conjugate=closed_conjugate(loss),
        loss=loss,
        unproved=unproved(loss),
    )


def _without_pieces(loss: MarginLoss, shape: Convexity, right: Calibration, reason: str) -> LossAnalysis:
    """What remains where the smooth pieces of f could not be told apart: its value at 0, and what rules decide."""
    unknown, z = Tail("unknown", sympy.nan, sympy.nan, False), loss.symbol
    return LossAnalysis(
        name=loss.name,
        expression=loss.expression,
        value=exact_numbers(loss.expression).subs(z, 0),
        slope=sympy.nan,
        curvature=sympy.nan,
        curvature_ratio=sympy.nan,
        is_convex=shape.is_convex,
        nonconvex_region=shape.region,
        convexity_proof=shape.proof,
        is_calibrated=right.is_calibrated,
        calibration_proof=right.proof,
        taylor_radius=sympy.nan,
        kinks=(),
        left_tail=unknown,
        right_tail=unknown,
        link=None,
        at_certainty=Certainty("undecided", sympy.nan),
        bayes_risk=None,
        conjugate=Conjugate(None, None, loss),
        loss=loss,
        undecided=reason,
    )


def certainty(loss: MarginLoss | str) -> Certainty:
    """What a deterministic preference (η = 1) drives the margin to.

    Examples
    --------
    >>> [certainty(name).kind for name in ("ipo", "slic", "dpo", "kliep")]
    ['finite margin', 'half line', 'infinity', 'unbounded below']
    """
    loss = get_margin_loss(loss)
    z = float(optimal_margin(loss, 1.0))
    both = tails(loss)
    if np.isinf(z):
        limit = (both.right if z > 0 else both.left).limit
        kind = "unbounded below" if limit == -sympy.oo else "infinity"
        return Certainty(kind, sympy.oo if z > 0 else -sympy.oo)
    margin = _exact_margin(loss, z)
    flat = both.right.flat_from
    if flat is not None and float(flat) <= z + 1e-12 and _is_least(loss, both.right):
        return Certainty("half line", margin)
    return Certainty("finite margin", margin)


def _is_least(loss: MarginLoss, tail: Tail) -> bool:
    lowest = float(bayes_risk(loss, 1.0))
    return abs(float(tail.limit) - lowest) <= 1e-12 * (1 + abs(lowest))


def _exact_margin(loss: MarginLoss, z: float) -> sympy.Expr:
    """The number that z stands for: a zero of f′, a kink, the link at 1, else a float."""
    if convexity(loss).is_convex:
        places = tuple(end for end in least_points(loss) or () if end.is_finite)
    else:
        places = stationary_points(loss)
    for place in (*places, *kinks(loss)):
        if abs(float(place) - z) <= 4e-15 * (1 + abs(z)):
            return sympy.Float(place, 15) if place.is_Float else place
    link = closed_link(loss)
    if link is not None:
        value = link.subs(sympy.Symbol("eta", real=True), 1)
        if value.is_finite and abs(float(value) - z) <= 1e-9 * (1 + abs(z)):
            return value
    return sympy.Float(z, 15)
