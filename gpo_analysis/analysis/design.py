r"""A loss to order: from wishes to an f that has them, proven by :func:`analyze`, or to the reason why none exists.

What excludes what, for f differentiable at 0 with f′(0) < 0, is settled on paper. Where f is smooth the minimiser of
η f(z) + (1−η) f(−z) obeys log[f′(−z)/f′(z)] = logit η. Differentiated at z = 0 it gives z*′(½) = 2/κ; so

1. z* = c logit η for all η in (0, 1) forces κ = 1/(2c): κ = ½ for the logit itself, and never κ = 0.
2. z* = c logit η forces an infinite margin at η = 1. The condition reads f′(−z) = e^{z/c} f′(z), under which the slope
   of the risk is f′(z) times a factor that turns from positive to negative at z = c logit η. Where f′ > 0 that point
   would be a maximum, so f falls everywhere; and where f were flat beyond a finite margin, z* would be no logit there.
3. κ < 0 means f″(0) < 0: at η = ½ the margin 0 is then a maximum of the risk, z* jumps there and κ measures nothing.
4. A margin m ≤ 0 at η = 1 puts certain labels on the wrong side (or on none).

Nothing else is excluded. The rest is shown by construction, for every κ ≥ 0, every m > 0, either growth of the gradient
and either answer on convexity: a *base* falls for ever with the wanted κ, and f(z) = base(z) + c max(0, z − m) with
c = |base′(0)| has its minimum at m and the base's κ; its link is the base's, cut off at ±m. κm alone is free of the
unit of z: where it is 1, or where no number is asked for, smoother members are preferred (squared, pseudo-Huber).
The logit is met by every f′(z) = −φ(z) e^{−z/2c} with φ even and positive; such an f is convex where |φ′| ≤ φ/2c.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import sympy

from gpo_analysis.analysis.analyze import LossAnalysis, analyze
from gpo_analysis.calculus.limits import value_at
from gpo_analysis.losses import MarginLoss, parse_loss
from gpo_analysis.losses.shape import pieces
from gpo_analysis.showing import Shown

Link = Literal["scaled"] | bool | None
_z = sympy.Symbol("z", real=True)
_NONCONVEX = 20  # of Savage's part against a convex one; large enough that f″ < 0 somewhere, which analyze confirms


class IncompatibleWishesError(ValueError):
    """No loss has all of the wishes.

    Attributes
    ----------
    conflicts : tuple of (tuple of str, str)
        The wishes that exclude each other, and why.
    """

    def __init__(self, conflicts: list[tuple[tuple[str, ...], str]]) -> None:
        self.conflicts = tuple(conflicts)
        super().__init__("; ".join(f"{' and '.join(wishes)} cannot be had: {why}" for wishes, why in conflicts))


@dataclass(frozen=True)
class DesignProof(Shown):
    """One wish, what :func:`analyze` found, and whether that is it; None where it is not decided."""

    wish: str
    found: str
    holds: bool | None

    _no_plot = "it is a wish and what was found"


def design_loss(
    *,
    kappa: float | str | None = None,
    margin: Literal["finite", "infinite"] | float | None = None,
    bounded_gradient: bool | None = None,
    logit_link: Link = None,
    convex: bool = True,
    name: str = "designed",
) -> MarginLoss:
    """A calibrated loss with the wished properties, proven before it is returned.

    Parameters
    ----------
    kappa : float or str, optional
        κ = f″(0)/\\|f′(0)\\|, at least 0, taken exactly as written (``0.3`` and ``"3/10"`` are 3/10). By default ½ with
        the logit link, the reciprocal of a margin given as a number, 1 otherwise.
    margin : "finite", "infinite" or float, optional
        What η = 1 drives the margin z to; a number for that very margin. "infinite" by default.
    bounded_gradient : bool, optional
        Whether \\|f′\\| stays bounded on the line. True by default.
    logit_link : True, False or "scaled", optional
        ``True``: z*(η) = logit η. ``"scaled"``: some multiple of it. ``False``: no multiple of it. None: either.
    convex : bool
    name : str
        Of the loss.

    Returns
    -------
    MarginLoss

    Raises
    ------
    IncompatibleWishesError
        (A ValueError.) Naming the wishes that exclude each other and why.
    ValueError
        For values that are no such wishes.

    Examples
    --------
    >>> design_loss(kappa=1, margin="finite", bounded_gradient=False).expression
    (1 - z)**2
    >>> design_loss(logit_link=True).expression
    log(1 + exp(-z))
    >>> design_loss(logit_link=True, kappa=1)
    Traceback (most recent call last):
    ...
    gpo_analysis.analysis.design.IncompatibleWishesError: logit_link=True and kappa=1 cannot be had: ...
    """
    m = _margin(margin)
    strength = _kappa(kappa, m, logit_link)
    _check_flags(bounded_gradient, logit_link, convex)
    _refuse_conflicts(strength, margin, m, logit_link)
    bounded = True if bounded_gradient is None else bounded_gradient
    finite = m is not None and m != sympy.oo
    shape = _finite(strength, m, bounded, convex) if finite else _base(strength, bounded, logit_link is False, convex)
    loss: MarginLoss = parse_loss(str(shape), name=name)
    proof = prove_design(
        loss, kappa=strength, margin=margin or "infinite", bounded_gradient=bounded, logit_link=logit_link,
        convex=convex,
    )  # fmt: skip
    failed = [line for line in proof if not line.holds]
    if failed:
        raise RuntimeError(f"{shape} should have {failed[0].wish}, but analyze finds {failed[0].found}")
    return loss


def prove_design(
    loss: MarginLoss,
    *,
    kappa: float | str | sympy.Expr | None = None,
    margin: Literal["finite", "infinite"] | float | None = None,
    bounded_gradient: bool | None = None,
    logit_link: Link = None,
    convex: bool | None = None,
) -> tuple[DesignProof, ...]:
    """Whether a loss has the wishes, by :func:`analyze`; wishes that are None are not asked. Calibration always is.

    Parameters
    ----------
    loss : MarginLoss
    kappa, margin, bounded_gradient, logit_link, convex : as of :func:`design_loss`
        The wishes.

    Returns
    -------
    tuple of DesignProof
        One line a wish: what was asked, what was found, whether it holds.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> [(line.found, line.holds) for line in prove_design(get_loss("ipo"), kappa=1, margin="infinite")]
    [('calibrated: True', True), ('κ = 1', True), ('finite margin, 1', False)]
    """
    found = analyze(loss)
    lines = [DesignProof("calibrated", f"calibrated: {found.is_calibrated}", found.is_calibrated)]
    if kappa is not None:
        same = sympy.simplify(found.curvature_ratio - _exact(kappa)) == 0
        lines.append(DesignProof(f"kappa={kappa}", f"κ = {found.curvature_ratio}", bool(same)))
    if margin is not None:
        at = found.at_certainty
        lines.append(DesignProof(f"margin={margin}", f"{at.kind}, {at.margin}", _has_margin(found, _margin(margin))))
    if bounded_gradient is not None:
        bounded, words = _has_bounded_slope(found)
        holds = None if bounded is None else bounded == bounded_gradient
        lines.append(DesignProof(f"bounded_gradient={bounded_gradient}", words, holds))
    if logit_link is not None:
        holds, words = _has_link(found, logit_link)
        lines.append(DesignProof(f"logit_link={logit_link}", words, holds))
    if convex is not None:
        holds = None if found.is_convex is None else found.is_convex is convex
        lines.append(DesignProof(f"convex={convex}", f"convex: {found.is_convex}", holds))
    return tuple(lines)


def _exact(value: float | str | sympy.Expr) -> sympy.Expr:
    try:
        number = value if isinstance(value, sympy.Expr) else sympy.Rational(str(value))
    except (TypeError, ValueError):
        number = sympy.nan
    if isinstance(value, bool) or not number.is_finite:
        raise ValueError(f"kappa and margin take finite numbers such as 0.5 or '1/2', got {value!r}")
    return number


def _margin(margin: str | float | None) -> sympy.Expr | None:
    """oo, a number, or None for any finite one; no wish is ``infinite``."""
    if margin is None or margin == "infinite" or margin == float("inf"):
        return sympy.oo
    if margin == "finite":
        return sympy.nan
    if isinstance(margin, str) and not margin.replace("/", "").replace(".", "").isdigit():
        raise ValueError(f"margin must be 'finite', 'infinite' or a number, got {margin!r}")
    return _exact(margin)


def _kappa(kappa: float | str | None, m: sympy.Expr | None, link: Link) -> sympy.Expr:
    if kappa is not None:
        return _exact(kappa)
    if link is True:
        return sympy.Rational(1, 2)
    return 1 / m if m is not None and m.is_finite and m > 0 else sympy.S.One


def _check_flags(bounded: bool | None, link: Link, convex: bool) -> None:
    if link not in (True, False, None, "scaled"):
        raise ValueError(f"logit_link must be True, False, 'scaled' or None, got {link!r}")
    for key, value in (("bounded_gradient", bounded), ("convex", convex)):
        if not (isinstance(value, bool) or (value is None and key == "bounded_gradient")):
            raise ValueError(f"{key} must be True or False, got {value!r}")


def _refuse_conflicts(kappa: sympy.Expr, margin: str | float | None, m: sympy.Expr | None, link: Link) -> None:
    asked, logit = f"kappa={kappa}", f"logit_link={link!r}"
    conflicts: list[tuple[tuple[str, ...], str]] = []
    if kappa < 0:
        conflicts.append(((asked, "calibration"), "f″(0) < 0 makes z = 0 a maximum of the risk at η = ½"))
    if m is not None and m.is_finite and m <= 0:
        conflicts.append(((f"margin={margin}", "calibration"), "certain labels must be given a positive margin"))
    if link is True and kappa >= 0 and kappa != sympy.Rational(1, 2):
        conflicts.append(((logit, asked), "κ = 2/z*′(½), and z* = logit η has z*′(½) = 4, so κ = 1/2"))
    if link == "scaled" and kappa == 0:
        conflicts.append(((logit, asked), "κ = 2/z*′(½), and z* = c logit η has z*′(½) = 4c, so κ = 1/(2c) > 0"))
    if link in (True, "scaled") and m is not sympy.oo:
        why = "with f′(−z) = e^{z/c} f′(z) f has to fall everywhere, so that η = 1 drives the margin to infinity"
        conflicts.append(((logit, f"margin={margin!r}"), why))
    if conflicts:
        raise IncompatibleWishesError(conflicts)


def _base(k: sympy.Expr, bounded: bool, not_logit: bool, convex: bool) -> sympy.Expr:
    """A loss of strength k ≥ 0 that falls for ever."""
    z = _z
    if k == 0:
        line, curve = (sympy.log(1 + sympy.exp(1)) - (1 + z) / 2, sympy.log(1 + sympy.exp(-z)))
        if not bounded:
            line, curve = sympy.cosh(1) - z * sympy.sinh(1), sympy.exp(-z)
        chord = sympy.Max(line, curve)  # f″(0) = 0: between −1 and 1 the chord lies above the curve
        sigmoid = 1 / (1 + sympy.exp(z))
        return chord if convex else sigmoid if bounded else chord + sigmoid
    if not_logit and convex:  # logit η = 2 asinh(κz), and 4 asinh(κz/2)
        return sympy.sqrt(1 + (k * z) ** 2) - k * z if bounded else (sympy.sqrt(4 + (k * z) ** 2) - k * z) ** 2
    if not_logit:  # of strengths k/2 and 3k/2, with one slope at 0: two multiples of the logit make none
        gentle = sympy.log(1 + sympy.exp(-k * z)) if bounded else sympy.exp(-k * z / 2)
        return gentle + sympy.Rational(2, 3) / (1 + sympy.exp(3 * k * z)) ** 2
    savage = 1 / (1 + sympy.exp(2 * k * z)) ** 2  # z* = logit η/(2κ), here and below
    if bounded:
        return sympy.log(1 + sympy.exp(-2 * k * z)) if convex else savage
    return sympy.exp(-k * z) + (0 if convex else _NONCONVEX * savage)


def _finite(k: sympy.Expr, m: sympy.Expr, bounded: bool, convex: bool) -> sympy.Expr:
    """A loss of strength k ≥ 0 with its minimum at m > 0 (anywhere, for nan)."""
    z = _z
    anywhere = m is sympy.nan
    if convex and k == 0:
        m = sympy.S.One if anywhere else m
        return sympy.Max(0, m - z) + (0 if bounded else sympy.Max(0, -m - z) ** 2)
    if convex and not bounded and (anywhere or k * m == 1):
        return (1 - k * z) ** 2
    if convex and bounded and (anywhere or k * m < 1):  # pseudo-Huber: κm = 1/(1 + a²m²)
        m = 1 / (2 * k) if anywhere else m
        return sympy.sqrt(1 + (1 / (k * m) - 1) * (z / m - 1) ** 2)
    if anywhere:
        m = 1 / k if k > 0 else sympy.S.One
    base = _base(k, bounded, False, convex)
    return base + abs(base.diff(z).subs(z, 0) if k > 0 else sympy.S.One) * sympy.Max(0, z - m)


def _has_margin(found: LossAnalysis, m: sympy.Expr | None) -> bool:
    at = found.at_certainty
    if m is sympy.oo:
        return at.kind == "infinity" and at.margin == sympy.oo  # a loss that rises drives it to −∞
    finite = at.kind in ("finite margin", "half line")
    return finite and (m is sympy.nan or m is None or bool(abs(at.margin - m) <= 1e-12 * (1 + abs(m))))


def _has_bounded_slope(found: LossAnalysis) -> tuple[bool | None, str]:
    """By the limits of f′ at the ends of every smooth piece: on what is between them f′ is continuous."""
    z, tails = found.loss.symbol, (found.left_tail.slope, found.right_tail.slope)
    inner = [
        (f"z = {right.lower}{'−' if side < 0 else '+'}", value_at(part.expression.diff(z), z, right.lower, side))
        for left, right in pairwise(pieces(found.loss))
        for part, side in ((left, -1), (right, 1))
    ]
    slopes = [*tails, *(slope for _, slope in inner)]
    words = [f"lim f′ = {tails[0]}, {tails[1]}"]
    words += [f"{slope} at {place}" for place, slope in inner if slope.is_finite is not True]
    endless = any(slope.is_infinite for slope in slopes)
    return False if endless else None if sympy.nan in slopes else True, "; ".join(words)


def _has_link(found: LossAnalysis, wish: Link) -> tuple[bool, str]:
    """By the identity f′(−z) = e^{z/c} f′(z) with c = 1/(2κ), exactly; refuted by two margins of different scale."""
    if found.at_certainty.kind in ("finite margin", "half line"):
        return wish is False, f"z*(1) = {found.at_certainty.margin}, where every multiple of the logit is infinite"
    eta = np.array([0.6, 0.9, 0.99])
    scale = found.optimal_margin(eta) / np.log(eta / (1 - eta))
    words = f"z*/logit η = {', '.join(f'{c:.6g}' for c in scale)} at η = 0.6, 0.9, 0.99"
    if not np.isfinite(scale).all() or np.ptp(scale) > 1e-9 * abs(scale).max():
        return wish is False, words
    if wish is False:
        return False, words
    slope, z = found.expression.diff(_loss_symbol(found)), _loss_symbol(found)
    identity = slope.subs(z, -z) - sympy.exp(2 * found.curvature_ratio * z) * slope
    exact = sympy.simplify(identity.rewrite(sympy.exp)) == 0
    unit = wish == "scaled" or found.curvature_ratio == sympy.Rational(1, 2)
    return bool(exact and unit), f"f′(−z) = e^({2 * found.curvature_ratio} z) f′(z): {exact}; {words}"


def _loss_symbol(found: LossAnalysis) -> sympy.Symbol:
    return found.loss.symbol
