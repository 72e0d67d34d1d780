"""What the page says: labels, hints, what each view shows, facts of the losses as a table."""

from __future__ import annotations

import html
from collections.abc import Sequence

import sympy

from gpo_analysis.analysis import LossAnalysis
from gpo_analysis.explore.picture import label_of, styles_of
from gpo_analysis.explore.state import State
from gpo_analysis.explore.tables import analyses

TITLE = "gpo explore"
INTRODUCTION = (
    "<h2 style='margin:0'>What does a preference-optimisation loss do to a policy?</h2>"
    "<p style='margin:4px 0 0 0;max-width:75em'>Training on pairs (preferred y<sub>w</sub>, other y<sub>l</sub>) "
    "minimises E[<b>f</b>(βρ)] with ρ = log π/πref at y<sub>w</sub> less that at y<sub>l</sub>. DPO, IPO and SLiC "
    "differ in f alone. Choose losses or type your own on the left; everything follows. Responses are a finite "
    "set here, so that optima are exact. <b>μ</b> draws the pairs, <b>πref</b> is the policy to stay near, <b>κ</b> = "
    "f″(0)/|f′(0)| is how strongly f regularizes per unit of β, η is the probability that the first response is "
    "preferred.</p>"
)
VIEW_NAMES = {
    "losses": "Losses & Taylor",
    "link": "Link z*(η)",
    "policies": "Optimal policies",
    "regularizers": "KL against ½E_μ[ρ²]",
    "training": "Training",
    "mixture": "Mixture of Gaussians",
}
ABOUT = {
    "losses": "Left: each f, with its Taylor polynomial at 0 as a thin line; right: how far the two are apart. Inside "
    "the radius of convergence (dotted) more terms help, beyond it they do not. Near 0 slope and curvature are all "
    "that counts.",
    "link": "For one pair whose first response is preferred with probability η, f alone decides the margin βρ at the "
    "optimum: z*(η). Straight lines on the right are logit links: with Bradley–Terry preferences these losses fit the "
    "rewards themselves. What leaves the picture is infinite or large.",
    "policies": "The exact minimiser of E[f(βρ)] over all policies, for the preferences on the left. A larger β keeps "
    "it nearer to πref.",
    "regularizers": "What the paper's second-order term regularizes with is ½E_μ[ρ²] (thin), not the KL divergence "
    "(thick). Near πref with μ = πref the first is twice the second (dashed, right); far away, or with another μ, they "
    "part.",
    "training": "A softmax policy trained from πref, all losses with the same optimiser. Move the step below the "
    "settings to see the policy on its way.",
    "mixture": "πref is a mixture of Gaussians, π_c the same shifted by c, and μ draws the pairs. KL has its minimum "
    "at c = 0; ½E_μ[ρ²] can have more, far away, where another component lies under μ. Move the "
    "components on the left.",
}
LABELS = {
    "losses": "Your own f(z), several with ; between them, then Enter",
    "amount": "Its value",
    "rewards": "Rewards, one a response",
    "cycle": "Share of a cycle mixed in, 0 to 1",
    "annotators": "Rewards of each annotator, ; between annotators",
    "matrix": "p(row ≻ column), ; between rows",
    "file": "File: winner, loser, count (CSV, JSON, …)",
    "mu": "μ: weights, one a response (empty: equal)",
    "reference": "πref: weights, one a response (empty: equal)",
    "order": "Order of the Taylor polynomial (0 to 20)",
    "rate": "Learning rate",
    "steps": "Steps",
    "modes": "Means of πref's components",
    "scale": "Their standard deviation",
    "weights": "Their weights (empty: equal)",
    "mean": "Mean of μ",
    "width": "Standard deviation of μ",
}
EXAMPLES = {
    "losses": "log(cosh(1-z)); c*exp(-z) with c=2",
    "mu": "1, 1, 2",
    "reference": "1, 1, 2",
    "weights": "1, 2, 1",
}
#: Which fields a view needs.
NEEDS = {
    "losses": {"losses", "order"},
    "link": {"losses"},
    "policies": {"losses", "beta", "preferences"},
    "regularizers": {"losses", "beta", "preferences"},
    "training": {"losses", "beta", "preferences", "training"},
    "mixture": {"mixture"},
}
STYLE = (
    ".fault{color:#A40000;font-size:12px;line-height:1.3;background:#FFF0F0;border-left:3px solid #A40000;"
    "padding:4px 6px;margin:0 10px 6px 10px;overflow-wrap:anywhere}"
    ".note{background:#FFF8E1;border-left:3px solid #B58900;padding:4px 8px;font-size:13px}"
)


def fault_html(message: str) -> str:
    """A line under a field; empty where nothing is wrong."""
    return f"<div class='fault' role='alert'>{html.escape(message)}</div>" if message else ""


def notes_html(lines: Sequence[str]) -> str:
    """Remarks, a line each."""
    return "<div class='note'>" + "<br>".join(html.escape(line) for line in lines) + "</div>" if lines else ""


def _shown(value: sympy.Expr) -> str:
    if value is sympy.nan:
        return "none"
    if value in (sympy.oo, -sympy.oo):
        return "∞" if value == sympy.oo else "−∞"
    number = f"{float(value):.4g}"
    exact = str(value)
    return number if exact == number or len(exact) > 12 or value.is_Float else f"{exact} ≈ {number}"


def _yes(value: bool | None) -> str:
    return "not decided" if value is None else "yes" if value else "no"


def facts_html(state: State, betas: dict[str, float]) -> str:
    """What follows from each f alone, a row a loss, with its β and strength.

    Examples
    --------
    >>> "Taylor radius" in facts_html(State(losses=("dpo",)), {"logistic": 0.5})
    True
    """
    found, weighed = analyses(state), "beta" in NEEDS[state.view]
    styles = styles_of([one.name for one in found])
    heads = ["", "f(z)", "f′(0)", "f″(0)", "κ", "Taylor radius", "convex", "calibrated", "z* at η = 1"]
    heads += ["β", "strength βκ"] if weighed else []
    head = "".join(f"<th style='text-align:left;padding:2px 10px'>{html.escape(text)}</th>" for text in heads)
    body = "".join(_row(one, betas.get(one.name), styles[one.name].color, weighed) for one in found)
    return f"<table class='facts' style='border-collapse:collapse;font-size:13px'><tr>{head}</tr>{body}</table>"


def _row(found: LossAnalysis, beta: float | None, color: str, weighed: bool) -> str:
    kappa = float(found.curvature_ratio)
    formula = str(found.expression)
    end = found.at_certainty
    cells = [
        label_of(found.name),
        formula if len(formula) <= 44 else formula[:43] + "…",
        _shown(found.slope),
        _shown(found.curvature),
        _shown(found.curvature_ratio),
        _shown(found.taylor_radius),
        _yes(found.is_convex),
        _yes(found.is_calibrated),
        f"{_shown(end.margin)} ({end.kind})" if end.margin.is_finite else end.kind,
    ]
    if weighed:
        cells.append("none" if beta is None else f"{beta:.4g}")
        cells.append("none" if beta is None or kappa != kappa else f"{beta * kappa:.4g}")
    first = f"<td style='padding:2px 10px;border-left:5px solid {color}'><b>{html.escape(cells[0])}</b></td>"
    return "<tr>" + first + "".join(f"<td style='padding:2px 10px'>{html.escape(c)}</td>" for c in cells[1:]) + "</tr>"
