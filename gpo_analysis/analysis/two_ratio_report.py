"""How an analysis of a loss of two log-ratios shows itself: a table in a terminal and in Jupyter, JSON."""

from __future__ import annotations

import html
import math
from typing import Any, Protocol

import sympy

from gpo_analysis.analysis.report import exact, latex, truth
from gpo_analysis.calculus.written import plain, with_value


class _OneSided(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def a(self) -> float: ...
    @property
    def b(self) -> float: ...
    @property
    def chosen(self) -> float: ...


class Analysed(Protocol):
    """What is shown: the fields of :class:`gpo_analysis.analysis.TwoRatioAnalysis`."""

    @property
    def name(self) -> str: ...
    @property
    def expression(self) -> sympy.Expr: ...
    @property
    def value(self) -> sympy.Expr: ...
    @property
    def slopes(self) -> tuple[sympy.Expr, sympy.Expr]: ...
    @property
    def curvatures(self) -> tuple[tuple[sympy.Expr, sympy.Expr], tuple[sympy.Expr, sympy.Expr]]: ...
    @property
    def slope(self) -> sympy.Expr: ...
    @property
    def curvature(self) -> sympy.Expr: ...
    @property
    def curvature_ratio(self) -> sympy.Expr: ...
    @property
    def population_curvature_ratio(self) -> sympy.Expr: ...
    @property
    def margin_part(self) -> sympy.Expr: ...
    @property
    def own_pulls(self) -> tuple[sympy.Expr, sympy.Expr]: ...
    @property
    def shift_slope(self) -> sympy.Expr: ...
    @property
    def shift_curvature(self) -> sympy.Expr: ...
    @property
    def is_shift_invariant(self) -> bool: ...
    @property
    def is_convex(self) -> bool | None: ...
    @property
    def convexity_proof(self) -> str: ...
    @property
    def is_calibrated(self) -> bool | None: ...
    @property
    def calibration_proof(self) -> str: ...
    @property
    def at_certainty(self) -> _OneSided: ...


def to_dict(a: Analysed) -> dict[str, Any]:
    """The fields as JSON values, under their own names."""
    certain = a.at_certainty
    return {
        "name": a.name,
        "kind": "two log-ratios",
        "expression": str(a.expression),
        "value": exact(a.value),
        "slopes": [exact(x) for x in a.slopes],
        "curvatures": [[exact(x) for x in row] for row in a.curvatures],
        "slope": exact(a.slope),
        "curvature": exact(a.curvature),
        "curvature_ratio": exact(a.curvature_ratio),
        "population_curvature_ratio": exact(a.population_curvature_ratio),
        "margin_part": exact(a.margin_part),
        "own_pulls": [exact(x) for x in a.own_pulls],
        "shift_slope": exact(a.shift_slope),
        "shift_curvature": exact(a.shift_curvature),
        "is_shift_invariant": a.is_shift_invariant,
        "is_convex": a.is_convex,
        "convexity_proof": a.convexity_proof,
        "is_calibrated": a.is_calibrated,
        "calibration_proof": a.calibration_proof,
        "at_certainty": {
            "kind": certain.kind,
            "a": _finite(certain.a),
            "b": _finite(certain.b),
            "chosen": certain.chosen,
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def rows(a: Analysed) -> list[tuple[str, str]]:
    """(what, value) as text, in the order in which a table shows them."""
    (aa, ab), (_, bb) = a.curvatures
    certain = a.at_certainty
    invariant = "yes: F = f(a − b), and gpo analyze of f says more" if a.is_shift_invariant else "no: Σπ = 1 takes part"
    return [
        ("F(a, b)", plain(a.expression)),
        ("value F(0, 0)", with_value(a.value)),
        ("slopes (F_a, F_b)", ", ".join(map(with_value, a.slopes))),
        ("curvatures F_aa, F_ab, F_bb", ", ".join(map(with_value, (aa, ab, bb)))),
        ("along the margin: slope", with_value(a.slope)),
        ("along the margin: curvature", with_value(a.curvature)),
        ("κ along the margin", with_value(a.curvature_ratio)),
        ("κ in a population", with_value(a.population_curvature_ratio)),
        ("weight of (a − b)²/2", with_value(a.margin_part)),
        ("weights of a²/2, b²/2", ", ".join(map(with_value, a.own_pulls))),
        ("common shift: slope, curvature", ", ".join(map(with_value, (a.shift_slope, a.shift_curvature)))),
        ("a common shift changes nothing", invariant),
        ("convex", truth(a.is_convex)),
        ("  because", a.convexity_proof),
        ("calibrated", truth(a.is_calibrated)),
        ("  because", a.calibration_proof),
        ("a pair that is always won", f"{certain.kind}: a → {_place(certain.a)}, b → {_place(certain.b)}"),
        (
            "  of two responses at β = 1",
            f"π(chosen) {_going(certain.chosen)}",
        ),
    ]


def _going(chosen: float) -> str:
    return f"{'→' if chosen in (0.0, 1.0) else '='} {chosen:.6g}"


def _place(value: float) -> str:
    if math.isnan(value):
        return "anywhere"
    return f"{value:g}" if math.isfinite(value) else ("∞" if value > 0 else "−∞")


def as_text(a: Analysed) -> str:
    """The table of a terminal."""
    table = rows(a)
    width = max(len(what) for what, _ in table)
    return "\n".join([a.name, "─" * max(len(a.name), width), *(f"{what:<{width}}  {value}" for what, value in table)])


def as_html(a: Analysed) -> str:
    """The table of a notebook."""
    lines = []
    for what, value in rows(a):
        shown = f"$\\displaystyle {latex(a.expression)}$" if what == "F(a, b)" else html.escape(value)
        lines.append(
            f'<tr><th style="text-align:left">{html.escape(what)}</th><td style="text-align:left">{shown}</td></tr>'
        )
    return f"<table><caption>{html.escape(a.name)}</caption><tbody>{''.join(lines)}</tbody></table>"
