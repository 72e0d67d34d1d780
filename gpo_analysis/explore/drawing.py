"""The pictures of the views, from their tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.explore.fields import Files, losses_of, mixtures_of, number, problem_of
from gpo_analysis.explore.picture import as_matplotlib, label_of, styles_of
from gpo_analysis.explore.state import State
from gpo_analysis.explore.tables import MARGINS, analyses, fit_of, mixture_landscape, runs, table
from gpo_analysis.losses.lookup import get_margin_loss
from gpo_analysis.showing.charts import Curve, Panel
from gpo_analysis.showing.style import LossStyle, cycle_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_GREY = LossStyle("#777777", (0, (2.0, 2.0)), "|")
_SHOWN = 20  # responses in a picture


def panels(state: State, files: Files | None = None, shown: pd.DataFrame | None = None) -> list[Panel]:
    """What is drawn of a view.

    Parameters
    ----------
    state : State
    files : mapping of str to Comparisons, optional
    shown : DataFrame, optional
        The view's table, where it is there already.
    """
    given = {} if files is None else files
    rows = table(state, given) if shown is None else shown
    match state.view:
        case "losses":
            return _losses(state, rows)
        case "link":
            return _link(state, rows)
        case "policies":
            return _policies(state, rows)
        case "regularizers":
            return _regularizers(state, rows)
        case "training":
            return _training(state, rows, given)
        case _:
            return _mixture(state, rows)


def figure(state: State, files: Files | None = None) -> Figure:
    """A view as a matplotlib figure, for a file.

    Examples
    --------
    >>> drawn = figure(State(losses=("dpo", "ipo"), view="link"))
    >>> [ax.get_title(loc="left") for ax in drawn.axes]
    ['link: the margin that fits a preference', 'the same over the log-odds of η']
    """
    return as_matplotlib(panels(state, files))


def _styles(state: State) -> dict[str, LossStyle]:
    return styles_of([loss.name for loss in losses_of(state)])


def _by_loss(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(name), part) for name, part in rows.groupby("loss", sort=False)]


def _values(part: pd.DataFrame, column: str) -> FloatArray:
    return np.asarray(part[column], dtype=np.float64)


def _losses(state: State, rows: pd.DataFrame) -> list[Panel]:
    styles, order = _styles(state), state.order.strip()
    curves, series = [], []
    for name, part in _by_loss(rows):
        z, f, polynomial = (_values(part, column) for column in ("z", "f", "taylor"))
        curves.append(Curve(z, f, label_of(name), styles[name]))
        series.append(Curve(z, np.maximum(np.abs(polynomial - f), 1e-12), label_of(name), styles[name]))
        curves.append(Curve(z, polynomial, "", LossStyle(styles[name].color, "-", ""), faint=True))
    near = rows[(rows["z"] >= -2) & (rows["z"] <= 3)]["f"]
    low, high = float(near.min()), float(near.max())
    space = 0.05 * (high - low or 1.0)
    radii = {one.name: float(one.taylor_radius) for one in analyses(state) if one.taylor_radius.is_finite}
    marks = [(sign * r, styles[name].color) for name, r in radii.items() if 0 < r < MARGINS[1] for sign in (-1, 1)]
    return [
        Panel(
            f"f (thick), Taylor polynomial of order {order} (thin)",
            "margin z = βρ",
            "f(z)",
            curves,
            ylim=(low - space, high + space),
            marks=marks,
        ),
        Panel(
            "what it leaves out; dotted: radius",
            "margin z = βρ",
            "|Taylor polynomial − f|",
            series,
            log="y",
            ylim=(1e-6, 1e2),
            marks=marks,
        ),
    ]


def _link(state: State, rows: pd.DataFrame) -> list[Panel]:
    styles, left, right = _styles(state), [], []
    for name, part in _by_loss(rows):
        eta, margin = _values(part, "eta"), _values(part, "margin")
        margin = np.where(np.isfinite(margin), margin, np.nan)
        left.append(Curve(eta, margin, label_of(name), styles[name]))
        right.append(Curve(np.log(eta / (1 - eta)), margin, label_of(name), styles[name]))
    limit = (-5.5, 5.5)
    return [
        Panel("link: the margin that fits a preference", "η = p(first is preferred)", "z*(η)", left, ylim=limit),
        Panel("the same over the log-odds of η", "log η/(1−η)", "z*(η)", right, ylim=limit),
    ]


def _policies(state: State, rows: pd.DataFrame) -> list[Panel]:
    styles, left, right = _styles(state), [], []
    groups = _by_loss(rows)
    first = groups[0][1]
    items = [str(item)[:16] for item in first["item"]][:_SHOWN]
    places = np.arange(len(items), dtype=float)
    left.append(Curve(places, _values(first, "reference")[:_SHOWN], "πref", _GREY, points=True))
    for k, (name, part) in enumerate(groups):
        x = places + 0.5 * ((k + 0.5) / len(groups) - 0.5)
        left.append(Curve(x, _values(part, "policy")[:_SHOWN], label_of(name), styles[name], points=True))
        right.append(Curve(x, _values(part, "log_ratio")[:_SHOWN], label_of(name), styles[name], points=True))
    more = f" (the first {_SHOWN})" if len(first) > _SHOWN else ""
    edge = (-0.5, len(items) - 0.5)
    return [
        Panel(f"optimal policy{more}", "response", "π(response)", left, ticks=items, xlim=edge, ylim=(-0.03, 1.03)),
        Panel("log-ratio to the reference", "response", "log π/πref  [nats]", right, ticks=items, xlim=edge),
    ]


def _regularizers(state: State, rows: pd.DataFrame) -> list[Panel]:
    styles, left, right = _styles(state), [], []
    x, axis = ("beta", "β") if state.by == "beta" else ("strength", "strength βκ")
    for name, part in _by_loss(rows):
        kl, squared = _values(part, "kl"), _values(part, "mu_squared_loss")
        at = _values(part, x)
        if not np.isfinite(kl).any() or not np.isfinite(at).all() or not (at > 0).all():
            continue
        left.append(Curve(at, kl, f"{label_of(name)}: KL", styles[name]))
        faint = LossStyle(styles[name].color, "-", "")
        left.append(Curve(at, squared, f"{label_of(name)}: ½E[ρ²]", faint, faint=True))
        right.append(Curve(kl, squared, label_of(name), styles[name]))
    line = np.logspace(-5, 1, 61)
    right.append(Curve(line, 2 * line, "½E[ρ²] = 2 KL", _GREY))
    amount = number(state, "amount", 1e-4, 1e4)
    return [
        Panel(
            "both at the optimum; dotted: yours",
            axis,
            "nats",
            left,
            log="xy",
            xlim=(1e-3, 1e2),
            ylim=(1e-5, 1e4),
            marks=[(amount, "#777777")],
        ),
        Panel(
            "one against the other",
            "KL(π‖πref)  [nats]",
            "½E_μ[ρ²]",
            right,
            log="xy",
            xlim=(1e-5, 10.0),
            ylim=(1e-5, 1e4),
        ),
    ]


def _training(state: State, rows: pd.DataFrame, files: Files) -> list[Panel]:
    styles, left, right = _styles(state), [], []
    problem = problem_of(state, files)
    items = [str(item)[:16] for item in problem.items][:_SHOWN]
    places = np.arange(len(items), dtype=float)
    wanted = number(state, "step", 0, math.inf, whole=True)
    right.append(Curve(places, problem.reference[:_SHOWN], "πref", _GREY, points=True))
    shown, groups, taken = runs(state, files), _by_loss(rows), 0.0
    for k, (name, part) in enumerate(groups):
        step, run, beta = _values(part, "step"), shown[name], float(part["beta"].iloc[0])
        left.append(Curve(step, _values(part, "kl"), f"{label_of(name)}: KL", styles[name]))
        faint = LossStyle(styles[name].color, "-", "")
        squared = _values(part, "mu_squared_loss")
        left.append(Curve(step, squared, f"{label_of(name)}: ½E[ρ²]", faint, faint=True))
        at = int(np.argmin(np.abs(step - wanted)))
        taken = max(taken, step[at])
        assert run.policies is not None
        x = places + 0.5 * ((k + 0.5) / len(groups) - 0.5)
        right.append(Curve(x, run.policies[at][:_SHOWN], label_of(name), styles[name], points=True))
        optimum = fit_of(problem, get_margin_loss(name)).policy(beta)[:_SHOWN]
        right.append(Curve(x, optimum, "", LossStyle(styles[name].color, "-", "X"), points=True))
    top = max((float(np.nanmax(c.y)) for c in left if np.isfinite(c.y).any()), default=1.0)
    return [
        Panel(
            "training; dotted: the step beside",
            "step",
            "nats",
            left,
            marks=[(taken, "#777777")],
            ylim=(-0.02 * min(top, 50), 1.05 * min(top, 50) or 1.0),
        ),
        Panel(
            f"policy at step {taken:g}; ×: the optimum",
            "response",
            "π(response)",
            right,
            ticks=items,
            xlim=(-0.5, len(items) - 0.5),
            ylim=(-0.03, 1.03),
        ),
    ]


def _mixture(state: State, rows: pd.DataFrame) -> list[Panel]:
    reference, behavior = mixtures_of(state)
    c = number(state, "shift", -1000, 1000)
    grid = rows[rows["minimum"] == ""]
    end = float(grid["c"].max())
    centres = np.concatenate([reference.means, behavior.means, reference.means + c])
    around = 4 * max(float(reference.scales.max()), float(behavior.scales.max()))
    y = np.linspace(centres.min() - around, centres.max() + around, 401)
    densities = [
        Curve(y, np.exp(reference.log_prob(y)), "πref", cycle_style(0)),
        Curve(y, np.exp(behavior.log_prob(y)), "μ", LossStyle("#777777", (0, (2.0, 2.0)), "")),
        Curve(y, np.exp(reference.shifted(c).log_prob(y)), f"π_c, c = {c:g}", cycle_style(1)),
    ]
    landscape = mixture_landscape(state)
    curves = []
    pairs = (
        ("kl", "KL(π_c‖πref)", landscape.kl_minima),
        ("mu_squared_loss", "½E_μ[ρ²]", landscape.mu_squared_loss_minima),
    )
    for k, (column, label, minima) in enumerate(pairs):
        style = cycle_style(k + 1)
        curves.append(Curve(_values(grid, "c"), 0.01 + _values(grid, column), label, style))
        at = np.array([float(m.c) for m in minima if isinstance(m.c, float)])
        values = np.array([float(getattr(m, column)) for m in minima])
        marker = LossStyle(style.color, "-", "v")
        curves.append(Curve(at, 0.01 + np.maximum(values, 0.0), f"its minima: {len(minima)}", marker, points=True))
    return [
        Panel("the densities", "y", "density", densities),
        Panel(
            "over the shift; dotted: the c beside",
            "shift c",
            "nats + 0.01",
            curves,
            log="y",
            xlim=(-end, end),
            marks=[(c, "#777777")],
        ),
    ]
