r"""What follows from a loss F(a, b) of two log-ratios alone.

To second order, with g = (F_a, F_b) and H = ((F_aa, F_ab), (F_ab, F_bb)) at 0,

    F(a, b) = F(0, 0) + g·(a, b) + ½ (−F_ab)(a − b)² + ½ (F_aa + F_ab) a² + ½ (F_bb + F_ab) b² + …                  (1)

is the only way to write the quadratic form as a part in the margin and a pull of each log-ratio to 0 by itself. For
F = f(a − b) the first is f″(0) and the pulls are 0. Two numbers take the place of κ = f″(0)/|f′(0)|. Both are κ for a
margin loss; m = ½(F_a − F_b) is the slope along the margin:

    κ along the margin: the curvature ¼(F_aa − 2F_ab + F_bb) of t ↦ F(t/2, −t/2) at 0, over |m|;                     (2)
    κ in a population: ½(F_aa + F_bb)/|m|.                                                                           (3)

(3) is what weighs on the variance of u = βh when the two responses are drawn independently and E_μ u = 0: then
E[u_w] = −E[u_l] and E[u_w u_l] = 0 at P = ½, so that E F = F(0, 0) + m E[u_w − u_l] + ½(F_aa + F_bb) Var_μ(u) + …,
where f has f″(0) Var_μ(u). A loss without F_ab therefore regularizes a population twice as hard as it does one pair.

*Calibration.* The pair problem at probability η is min ηF(s + m/2, s − m/2) + (1−η)F(s − m/2, s + m/2) over the common
shift s and the margin m: with s profiled out it is a risk of the margin alone, and F is called calibrated if for η > ½
no m ≤ 0 does as well as the best. For convex F this risk is convex in m (a partial minimum), and its slope at m = 0 is
½(2η − 1)(F_a − F_b) at (s₀, s₀), s₀ a minimiser of F(s, s), whatever η. So a convex F that is differentiable there is
calibrated exactly if F_a < F_b at (s₀, s₀). Where F(s, s) has no minimum the profile is not defined without Σπ = 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from gpo_analysis.analysis.calibration import calibration
from gpo_analysis.analysis.least_in_box import least_in_box
from gpo_analysis.analysis.margin import optimal_margin
from gpo_analysis.analysis.two_ratio_convexity import joint_convexity
from gpo_analysis.analysis.two_ratio_report import as_html, as_text, rows, to_dict
from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.calculus.at_zero import derivative_at_zero
from gpo_analysis.calculus.budget import simplified
from gpo_analysis.calculus.signs import signs_on
from gpo_analysis.calculus.undecided import Undecided
from gpo_analysis.calculus.zeros import vanishes
from gpo_analysis.losses import CHOSEN, REJECTED, MarginLoss, TwoRatioLoss
from gpo_analysis.losses.margin_loss import MARGIN
from gpo_analysis.losses.shape import tails
from gpo_analysis.showing import Panel, Shown

_CLEAR = 1e-9


@dataclass(frozen=True)
class OneSided(Shown):
    """What a pair that is always won (P = 1) drives the log-ratios to.

    Attributes
    ----------
    kind : str
        "finite" (both log-ratios come to rest), "infinity" (the infimum is approached far out) or "unbounded below".
    a, b : float
        Where a and b go without Σπ = 1; ±inf, or NaN for a log-ratio that takes no part. Found numerically; of many
        minimisers the one nearest to 0.
    chosen : float
        π(y_w) for two responses of equal πref at β = 1, where Σπ = 1 holds; 1.0 where it is approached.
    """

    kind: str
    a: float
    b: float
    chosen: float


@dataclass(frozen=True)
class TwoRatioAnalysis(Shown):
    """What follows from a loss of two log-ratios alone; see :func:`gpo_analysis.analyze` and this module.

    Attributes
    ----------
    name : str
    expression : sympy.Expr
        F in the real symbols a and b.
    value : sympy.Expr
        F(0, 0).
    slopes : tuple of two sympy.Expr
        (F_a, F_b) at 0; ``nan`` at a kink, here and below.
    curvatures : tuple of two tuples of two sympy.Expr
        ((F_aa, F_ab), (F_ab, F_bb)) at 0.
    slope, curvature : sympy.Expr
        Of t ↦ F(t/2, −t/2) at 0; f′(0) and f″(0) for F = f(a − b).
    curvature_ratio : sympy.Expr
        κ along the margin.
    population_curvature_ratio : sympy.Expr
        κ in a population of independent responses.
    margin_part : sympy.Expr
        −F_ab: what (a − b)² is weighed with.
    own_pulls : tuple of two sympy.Expr
        (F_aa + F_ab, F_bb + F_ab): what pulls a and b to 0 by themselves.
    shift_slope, shift_curvature : sympy.Expr
        Of s ↦ F(s, s) at 0; both are 0 for F = f(a − b).
    is_shift_invariant : bool
        Whether F is a function of a − b as it is written.
    is_convex : bool or None
        In (a, b) jointly; None where it is not decided.
    convexity_proof : str
    is_calibrated : bool or None
        Of the pair problem with the common shift profiled out.
    calibration_proof : str
    at_certainty : OneSided

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> found = gpo.analyze("bco_pair")
    >>> found.slopes, found.own_pulls, found.margin_part
    ((-1/2, 1/2), (1/4, 1/4), 0)
    >>> found.curvature_ratio, found.population_curvature_ratio, found.is_convex, found.is_calibrated
    (1/4, 1/2, True, True)
    """

    name: str
    expression: sympy.Expr
    value: sympy.Expr
    slopes: tuple[sympy.Expr, sympy.Expr]
    curvatures: tuple[tuple[sympy.Expr, sympy.Expr], tuple[sympy.Expr, sympy.Expr]]
    slope: sympy.Expr
    curvature: sympy.Expr
    curvature_ratio: sympy.Expr
    population_curvature_ratio: sympy.Expr
    margin_part: sympy.Expr
    own_pulls: tuple[sympy.Expr, sympy.Expr]
    shift_slope: sympy.Expr
    shift_curvature: sympy.Expr
    is_shift_invariant: bool
    is_convex: bool | None
    convexity_proof: str
    is_calibrated: bool | None
    calibration_proof: str
    at_certainty: OneSided
    loss: TwoRatioLoss = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values; exact values as ``{"exact": "1/4", "float": 0.25}``, infinite floats null."""
        return to_dict(self)

    def to_json(self, **options: Any) -> str:
        """:meth:`to_dict` as strict JSON; ``options`` go to :func:`json.dumps`."""
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False, **options)

    def summary(self) -> str:
        """As text: a line a finding."""
        return as_text(self)

    __str__ = __repr__ = summary

    def _repr_html_(self) -> str:
        return as_html(self)

    def _columns(self) -> Mapping[str, Any]:
        told = rows(self)
        return {"what": [what for what, _ in told], "value": [value for _, value in told]}

    def _panel(self) -> Panel:
        return self.loss._panel()


@lru_cache(maxsize=256)
def analyze_two_ratio(loss: TwoRatioLoss) -> TwoRatioAnalysis:
    """What follows from a loss of two log-ratios alone.

    Parameters
    ----------
    loss : TwoRatioLoss
    """
    f_a, f_aa = (_at_zero(loss, MARGIN, sympy.S.Zero, order) for order in (1, 2))
    f_b, f_bb = (_at_zero(loss, sympy.S.Zero, MARGIN, order) for order in (1, 2))
    shift, bend = (_at_zero(loss, MARGIN, MARGIN, order) for order in (1, 2))
    slope, curvature = (_at_zero(loss, MARGIN / 2, -MARGIN / 2, order) for order in (1, 2))
    f_ab = _tidy((bend - f_aa - f_bb) / 2)
    convex, proof = joint_convexity(loss)
    calibrated, why = _calibrated(loss, convex)
    falls = slope is not sympy.nan and number(slope) < 0
    return TwoRatioAnalysis(
        name=loss.name,
        expression=loss.expression,
        value=loss.expression.xreplace({CHOSEN: sympy.S.Zero, REJECTED: sympy.S.Zero}),
        slopes=(f_a, f_b),
        curvatures=((f_aa, f_ab), (f_ab, f_bb)),
        slope=slope,
        curvature=curvature,
        curvature_ratio=_tidy(curvature / -slope) if falls else sympy.nan,
        population_curvature_ratio=_tidy((f_aa + f_bb) / (-2 * slope)) if falls else sympy.nan,
        margin_part=_tidy(-f_ab),
        own_pulls=(_tidy(f_aa + f_ab), _tidy(f_bb + f_ab)),
        shift_slope=shift,
        shift_curvature=bend,
        is_shift_invariant=loss.margin_loss is not None,
        is_convex=convex,
        convexity_proof=proof,
        is_calibrated=calibrated,
        calibration_proof=why,
        at_certainty=one_sided(loss),
        loss=loss,
    )


def _at_zero(loss: TwoRatioLoss, a: sympy.Expr, b: sympy.Expr, order: int) -> sympy.Expr:
    """A derivative at 0 of F along a line through 0; nan at a kink."""
    line = loss.expression.xreplace({CHOSEN: a, REJECTED: b})
    if MARGIN not in line.free_symbols:
        return sympy.S.Zero
    return derivative_at_zero(line, MARGIN, order)


def _tidy(value: sympy.Expr) -> sympy.Expr:
    return sympy.nan if value is sympy.nan else simplified(value)


def _calibrated(loss: TwoRatioLoss, convex: bool | None) -> tuple[bool | None, str]:
    if loss.margin_loss is not None:
        found = calibration(loss.margin_loss)
        return found.is_calibrated, f"as f(a − b): {found.proof}"
    try:
        return _of_convex(loss) if convex else _of_parts(loss)
    except (Undecided, ValueError) as reason:
        return None, str(reason)


def _of_convex(loss: TwoRatioLoss) -> tuple[bool | None, str]:
    diagonal = loss.expression.xreplace({CHOSEN: MARGIN, REJECTED: MARGIN})
    if MARGIN not in diagonal.free_symbols or vanishes(diagonal.diff(MARGIN), MARGIN):
        least = 0.0
    else:
        least = float(optimal_margin(MarginLoss("F(s, s)", diagonal), 1.0))
    if not math.isfinite(least):
        return None, "not defined without Σπ = 1: F(s, s) falls for ever, so that the common shift runs off"
    for shift in (least, least + 1.0, least - 1.0):
        level = float(loss(shift, shift)) - float(loss(least, least))
        if level <= _CLEAR * (1 + abs(float(loss(least, least)))) and _is_smooth(loss, shift):
            slope = 0.5 * float(np.subtract(*loss.gradient(shift, shift)))
            sign = "< 0" if slope < -_CLEAR else "≥ 0"
            why = f"convex; at the best common shift s = {shift:.6g} the slope along the margin is {slope:.6g} {sign}"
            return slope < -_CLEAR, why
    return None, f"convex, but with a kink at the best common shift s = {least:.6g}"


def _is_smooth(loss: TwoRatioLoss, shift: float) -> bool:
    """Whether the gradient does not jump at (s, s), by differences."""
    step = 1e-6 * (1 + abs(shift))
    around = [loss.gradient(shift + i * step, shift + j * step) for i in (-1, 1) for j in (-1, 1)]
    spread = np.ptp(np.array(around, dtype=np.float64), axis=0)
    return bool((spread <= 1e-3 * (1 + np.abs(np.array(around)).max())).all())


def _of_parts(loss: TwoRatioLoss) -> tuple[bool | None, str]:
    """Calibration of what is not convex, where its parts decide it."""
    parts = loss.parts
    if parts.mixed == 0 and parts.margin.is_number and parts.chosen != 0:
        up = parts.chosen.xreplace({CHOSEN: MARGIN})
        down = parts.rejected.xreplace({REJECTED: -MARGIN})
        if down != 0 and vanishes((up - down).diff(MARGIN), MARGIN):
            found = calibration(MarginLoss("R", up))
            why = f"F = R(a) + R(−b) splits into one problem a response, calibrated exactly if R is; R is {found.proof}"
            return found.is_calibrated, why
    if parts.mixed == 0 and parts.rejected == 0 and not parts.margin.is_number and parts.chosen != 0:
        own = parts.chosen.xreplace({CHOSEN: MARGIN})
        signs = signs_on(own.diff(MARGIN), MARGIN, -sympy.oo, sympy.oo)
        if signs is not None and signs.proved and len(set(signs.signs)) == 1:
            both = tails(MarginLoss("R", own))
            if (both.left if signs.signs[0] > 0 else both.right).limit.is_finite:
                found = calibration(MarginLoss("f", parts.margin))
                why = "R(a) is least far out, at every margin, so that the profile is that of f(a − b)"
                return found.is_calibrated, f"{why}; f: {found.proof}"
    return None, "not convex, and none of the rules for its parts decides it"


def one_sided(loss: TwoRatioLoss) -> OneSided:
    """Where a pair that is always won drives its two log-ratios.

    Parameters
    ----------
    loss : TwoRatioLoss

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> [one_sided(get_loss(name)).kind for name in ("sppo_hard", "bco_pair", "sft")]
    ['finite', 'infinity', 'unbounded below']
    """
    near, far = least_in_box(loss, 60.0, 1e-6), least_in_box(loss, 240.0, 1e-9)
    takes_part = [symbol in loss.expression.free_symbols for symbol in (CHOSEN, REJECTED)]
    places = [_place(near[k], far[k]) if takes_part[k] else math.nan for k in (0, 1)]
    kind = "infinity" if any(map(math.isinf, places)) else "finite"
    if float(loss(near[0], near[1])) - float(loss(far[0], far[1])) > 1.0:
        kind = "unbounded below"
    return OneSided(kind, places[0], places[1], _chosen_of_two(loss))


def _place(near: float, far: float) -> float:
    """Where a log-ratio goes: a number, or ±inf where it grows with the box that it may move in."""
    if abs(near - far) <= 1e-3 * (1 + abs(near)):
        return round(far, 5) + 0.0
    return math.copysign(math.inf, far)


def _chosen_of_two(loss: TwoRatioLoss) -> float:
    """π(y_w) that is best for two responses of equal πref at β = 1, by a grid in the logit that is refined."""
    t = np.linspace(-60.0, 60.0, 2401)
    for _ in range(8):
        values = loss(np.log(2.0) - np.logaddexp(0.0, -t), np.log(2.0) - np.logaddexp(0.0, t))
        best = int(np.argmin(values))
        if abs(t[best]) > 59.0:
            return 1.0 if t[best] > 0 else 0.0
        width = t[1] - t[0]
        t = np.linspace(t[best] - 2 * width, t[best] + 2 * width, 401)
    return float(1.0 / (1.0 + np.exp(-t[len(t) // 2])))
