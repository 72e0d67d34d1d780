"""How an analysis shows itself: a table in a terminal, formulas in Jupyter, JSON for other programs."""

from __future__ import annotations

import html
import math
import re
from typing import Any, Protocol

import sympy

from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.calculus.tails import Tail
from gpo_analysis.calculus.written import constant, formula, plain, short_floats, with_value
from gpo_analysis.losses.margin_loss import TYPED, MarginLoss

_LONG = 160  # characters of an exact expression that is set as a formula in a notebook


class _AtCertainty(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def margin(self) -> sympy.Expr: ...


class _Conjugate(Protocol):
    @property
    def expression(self) -> sympy.Expr | None: ...
    @property
    def domain(self) -> sympy.Set | None: ...


class Analysed(Protocol):
    """What is shown: the fields of :class:`gpo_analysis.LossAnalysis`."""

    @property
    def name(self) -> str: ...
    @property
    def expression(self) -> sympy.Expr: ...
    @property
    def loss(self) -> MarginLoss: ...
    @property
    def value(self) -> sympy.Expr: ...
    @property
    def slope(self) -> sympy.Expr: ...
    @property
    def curvature(self) -> sympy.Expr: ...
    @property
    def curvature_ratio(self) -> sympy.Expr: ...
    @property
    def is_convex(self) -> bool | None: ...
    @property
    def nonconvex_region(self) -> sympy.Set | None: ...
    @property
    def convexity_proof(self) -> str: ...
    @property
    def is_calibrated(self) -> bool | None: ...
    @property
    def calibration_proof(self) -> str: ...
    @property
    def taylor_radius(self) -> sympy.Expr: ...
    @property
    def kinks(self) -> tuple[sympy.Expr, ...]: ...
    @property
    def left_tail(self) -> Tail: ...
    @property
    def right_tail(self) -> Tail: ...
    @property
    def link(self) -> sympy.Expr | None: ...
    @property
    def at_certainty(self) -> _AtCertainty: ...
    @property
    def bayes_risk(self) -> sympy.Expr | None: ...
    @property
    def conjugate(self) -> _Conjugate: ...
    @property
    def undecided(self) -> str: ...
    @property
    def unproved(self) -> str: ...


def exact(expression: sympy.Expr | None) -> dict[str, Any] | None:
    """An exact constant as ``{"exact": "1/4", "float": 0.25}``; the float is null where it is not finite."""
    if expression is None:
        return None
    value = as_float(expression)
    return {"exact": str(expression), "float": value if math.isfinite(value) else None}


def as_float(expression: sympy.Expr) -> float:
    """A constant as a float; ±inf and NaN included."""
    return math.nan if expression is sympy.nan else float(number(expression))


def to_dict(a: Analysed) -> dict[str, Any]:
    """The fields of an analysis as JSON values, under their own names."""
    region = a.nonconvex_region
    return {
        "name": a.name,
        "expression": str(a.expression),
        "value": exact(a.value),
        "slope": exact(a.slope),
        "curvature": exact(a.curvature),
        "curvature_ratio": exact(a.curvature_ratio),
        "is_convex": a.is_convex,
        "nonconvex_region": None if region is None else {"exact": str(region), "intervals": _intervals(region)},
        "convexity_proof": a.convexity_proof,
        "is_calibrated": a.is_calibrated,
        "calibration_proof": a.calibration_proof,
        "taylor_radius": exact(a.taylor_radius),
        "kinks": [exact(kink) for kink in a.kinks],
        "left_tail": _tail(a.left_tail),
        "right_tail": _tail(a.right_tail),
        "link": None if a.link is None else str(a.link),
        "at_certainty": {"kind": a.at_certainty.kind, "margin": exact(a.at_certainty.margin)},
        "bayes_risk": None if a.bayes_risk is None else str(a.bayes_risk),
        "conjugate": {
            "expression": None if a.conjugate.expression is None else str(a.conjugate.expression),
            "domain": None if a.conjugate.domain is None else str(a.conjugate.domain),
        },
        "undecided": a.undecided,
        "unproved": a.unproved,
    }


def _intervals(region: sympy.Set) -> list[list[float | None]]:
    """[[low, high], …] of a union of intervals and points, null for an infinite end."""
    parts = region.args if isinstance(region, sympy.Union) else (region,)
    found: list[list[float | None]] = []
    for part in parts:
        ends = [(x, x) for x in part] if isinstance(part, sympy.FiniteSet) else [(part.start, part.end)]
        found += [[value if math.isfinite(value := as_float(x)) else None for x in pair] for pair in ends]
    return found


def _tail(tail: Tail) -> dict[str, Any]:
    return {
        "kind": tail.kind,
        "limit": exact(tail.limit),
        "slope": exact(tail.slope),
        "attained": tail.attained,
        "flat_from": exact(tail.flat_from),
        "growth": exact(tail.growth),
    }


# ---- text -----------------------------------------------------------------------------------------------------------


def shown_text(expression: sympy.Basic) -> str:
    """A constant, a formula or a set as text: see :mod:`gpo_analysis.calculus.written`."""
    if isinstance(expression, sympy.Union):
        return " ∪ ".join(shown_text(part) for part in expression.args)
    if isinstance(expression, sympy.Interval):
        left, right = "(" if expression.left_open else "[", ")" if expression.right_open else "]"
        return f"{left}{constant(expression.start, 24)}, {constant(expression.end, 24)}{right}"
    if isinstance(expression, sympy.FiniteSet):
        return "{" + ", ".join(constant(part, 24) for part in expression.args) + "}"
    return formula(expression)


def _worded(proof: str) -> str:
    return re.sub(r"\boo\b", "∞", proof)


def truth(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "not decided"}[value]


def _tail_words(tail: Tail) -> str:
    if tail.kind == "flat":
        return f"flat at {shown_text(tail.limit)}, from z = {shown_text(tail.flat_from)} on"
    words = {
        "vanishing": f"tends to {shown_text(tail.limit)}",
        "unbounded_below": "falls to −∞",
        "oscillating": "oscillates",
        "unknown": "not worked out",
    }.get(tail.kind, f"{tail.kind}, to {shown_text(tail.limit)}")
    return f"{words}; slope {'not known' if tail.slope is sympy.nan else shown_text(tail.slope)}"


def rows(a: Analysed) -> list[tuple[str, str]]:
    """(what, value) as text, in the order in which a table shows them."""
    certain = a.at_certainty
    region = "" if a.nonconvex_region is None else f"; f″ < 0 on {shown_text(a.nonconvex_region)}"
    conjugate = a.conjugate
    domain = "" if conjugate.domain is None else f"s in {shown_text(conjugate.domain)}"
    star = "numerical" if conjugate.expression is None else shown_text(conjugate.expression)
    among = f"{domain}: {star}" if domain and (" for " in star or " where " in star) else f"{star}, {domain}"
    level = a.right_tail is not None and a.right_tail.flat_from == -sympy.oo  # a constant f
    found = [
        ("f(z)", plain(a.expression)),
        ("value f(0)", with_value(a.value)),
        ("slope f′(0)", with_value(a.slope)),
        ("curvature f″(0)", with_value(a.curvature)),
        ("κ = f″(0)/|f′(0)|", with_value(a.curvature_ratio)),
        ("convex", truth(a.is_convex) + region),
        ("  because", _worded(a.convexity_proof)),
        ("calibrated", truth(a.is_calibrated)),
        ("  because", _worded(a.calibration_proof)),
        ("Taylor radius", with_value(a.taylor_radius)),
        ("kinks", ", ".join(shown_text(kink) for kink in a.kinks) or "none"),
        ("left tail", _tail_words(a.left_tail)),
        ("right tail", _tail_words(a.right_tail)),
        ("link z*(η)", "numerical" if a.link is None else shown_text(a.link)),
        ("at η = 1", "every z" if level else _certain_words(certain.kind, certain.margin)),
        ("Bayes risk H(η)", "numerical" if a.bayes_risk is None else shown_text(a.bayes_risk)),
        ("conjugate f*(s)", among if domain else star),
    ]
    if a.loss.reference not in ("", TYPED):  # with the parameters that a name of the catalogue stands for
        found.append(("source", a.loss.reference))
    if not a.undecided:
        return [*found, ("not proved", a.unproved)] if a.unproved else found
    # what does not rest on the pieces of f stays
    kept = ("f(z)", "value f(0)", "convex", "calibrated", "  because", "source")
    return [
        *((what, value if what in kept else "not decided") for what, value in found),
        ("not decided", f"because {a.undecided}"),
    ]


def _certain_words(kind: str, margin: sympy.Expr) -> str:
    if kind == "finite margin":
        return f"finite margin z = {constant(margin)}"
    if kind == "half line":
        return f"half line: every z ≥ {shown_text(margin)}"
    return f"{kind}: z → {shown_text(margin)}"


def as_text(a: Analysed) -> str:
    """The table of a terminal."""
    table = rows(a)
    width = max(len(what) for what, _ in table)
    lines = [a.name, "─" * max(len(a.name), width)]
    for what, value in table:
        lines.append(f"{what:<{width}}  {value}".replace("\n", "\n" + " " * (width + 2)))
    return "\n".join(lines)


# ---- HTML -----------------------------------------------------------------------------------------------------------


def latex(expression: sympy.Basic) -> str:
    """LaTeX with ten digits in floats and log for the natural logarithm."""
    return str(sympy.latex(short_floats(expression), ln_notation=False))


def _is_set(expression: sympy.Basic | None) -> bool:
    """Whether LaTeX reads better than the text: a formula that is not long, and no root that has no formula."""
    return expression not in (None, sympy.nan) and len(str(expression)) <= _LONG and not expression.has(sympy.CRootOf)


def as_html(a: Analysed) -> str:
    """The table of a notebook, formulas set by MathJax."""
    typeset: dict[str, sympy.Basic | None] = {
        "f(z)": a.expression,
        "value f(0)": a.value,
        "slope f′(0)": a.slope,
        "curvature f″(0)": a.curvature,
        "κ = f″(0)/|f′(0)|": a.curvature_ratio,
        "Taylor radius": a.taylor_radius,
        "link z*(η)": a.link,
        "Bayes risk H(η)": a.bayes_risk,
    }
    lines = []
    for what, value in rows(a):
        exactly = typeset.get(what)
        shown = html.escape(value).replace("\n", "<br>")
        if exactly is not None and _is_set(exactly):
            shown = f"$\\displaystyle {latex(exactly)}$"
        elif what.startswith("conjugate") and a.conjugate.expression is not None and _is_set(a.conjugate.expression):
            domain = "" if a.conjugate.domain is None else f",\\quad s \\in {latex(a.conjugate.domain)}"
            shown = f"$\\displaystyle {latex(a.conjugate.expression)}{domain}$"
        elif what == "convex" and a.nonconvex_region is not None and _is_set(a.nonconvex_region):
            shown = f"no; $f'' < 0$ on ${latex(a.nonconvex_region)}$"
        lines.append(
            f'<tr><th style="text-align:left">{html.escape(what)}</th><td style="text-align:left">{shown}</td></tr>'
        )
    return f"<table><caption>{html.escape(a.name)}</caption><tbody>{''.join(lines)}</tbody></table>"
