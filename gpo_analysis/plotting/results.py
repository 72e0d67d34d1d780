"""Drawing a result by its type: solutions, landscapes, trajectories, diagnoses, recommended β, analyses, rankings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.plotting.landscapes import plot_landscape, plot_trajectory
from gpo_analysis.plotting.losses import plot_loss
from gpo_analysis.plotting.policies import plot_policy
from gpo_analysis.plotting.style import axes_or_new, cycle_style, loss_label, loss_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_result(result: Any, ax: Axes | None = None) -> Axes:
    """Draw what a function of the library returned.

    Parameters
    ----------
    result : Solution, Landscape, Trajectory, Diagnosis, MeanDiagnosis, BetaRecommendations, LossAnalysis or Ranking
    ax : Axes, optional
        Where to draw; a new figure by default.

    Raises
    ------
    ValueError
        For another type, or a solution of several contexts.

    Examples
    --------
    >>> from gpo_analysis.analysis import analyze
    >>> plot_result(analyze("dpo")).get_xlabel()
    'margin $z = βρ$'
    """
    kind = type(result).__name__
    if kind not in _DRAWN:
        raise ValueError(f"a {kind} cannot be drawn; accepted are {', '.join(_DRAWN)}")
    return _DRAWN[kind](result, ax)


def _solution(result: Any, ax: Axes | None) -> Axes:
    if result.policy.ndim != 1:
        raise ValueError(f"a solution of {len(result.policy)} contexts; accepted is one context, such as problem[0]")
    ax = plot_policy({result.loss: result.policy}, result.reference, ax, labels=result.items)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _landscape(result: Any, ax: Axes | None) -> Axes:
    if result.c.ndim != 1:
        raise ValueError("a landscape over several parameters; accepted is one over a line")
    ax = axes_or_new(ax)
    for index, (name, label) in enumerate((("kl", "KL(π‖πref)"), ("mu_squared_loss", "½ E[ρ²]"))):
        at = [m.c for m in getattr(result, f"{name}_minima")]
        plot_landscape(result.c, getattr(result, name), ax, minima=at, label=label, index=index)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _trajectory(result: Any, ax: Axes | None) -> Axes:
    columns = [name for name in ("kl", "mu_squared_loss") if name in result.columns]
    ax = plot_trajectory(result.table, columns, ax)
    ax.set_ylabel("nats, nats²")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _means(result: Any, ax: Axes | None) -> Axes:
    ax = axes_or_new(ax)
    rows = result.steps
    if len(rows) < 2 and hasattr(result, "rho_quantiles"):  # one step: the margins themselves
        ax.plot([*result.rho_quantiles.values()], [*result.rho_quantiles], **cycle_style(0).points())
        ax.set_xlabel("ρ  [nats]")
        ax.set_ylabel("share of pairs below")
        return ax
    for index, (name, label) in enumerate(
        (("mean_rho", "E[ρ]"), ("chosen_change", "log π/πref, chosen"), ("rejected_change", "log π/πref, rejected"))
    ):
        ax.plot([r["step"] for r in rows], [r[name] for r in rows], label=label, **cycle_style(index).line())
    ax.set_xlabel("step")
    ax.set_ylabel("nats")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _recommended(result: Any, ax: Axes | None) -> Axes:
    ax = axes_or_new(ax)
    for index, row in enumerate(result.rows):
        style = loss_style(row.loss)
        ax.hlines(index, row.beta.low, row.beta.high, colors=style.color, linewidth=1.2)
        ax.plot([row.beta.value], [index], linestyle="none", marker=style.marker, color=style.color)
    ax.set_yticks(np.arange(len(result.rows)), [loss_label(row.loss) for row in result.rows])
    ax.set_ylim(len(result.rows) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xlabel(f"β for {result.target}")
    return ax


def _analysis(result: Any, ax: Axes | None) -> Axes:
    ax = plot_loss(result.loss, ax, low=-4.0, high=4.0)
    z, top = np.linspace(-4.0, 4.0, 401), ax.get_ylim()
    at = [float(x) for x in (result.value, result.slope, result.curvature)]
    for order in (1, 2):
        series = at[0] + at[1] * z + (at[2] / 2 * z**2 if order == 2 else 0.0)
        ax.plot(z, series, label=f"Taylor, order {order}", **cycle_style(order + 3).line())
    ax.set_ylim(*top)
    radius = float(result.taylor_radius)
    if 0 < radius < 4:
        ax.axvspan(-radius, radius, alpha=0.1, label=f"radius {radius:.3g}")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _ranking(result: Any, ax: Axes | None) -> Axes:
    drawn: Axes = result.plot(ax)
    return drawn


_DRAWN = {
    "Solution": _solution, "Landscape": _landscape, "Trajectory": _trajectory, "Diagnosis": _means,
    "MeanDiagnosis": _means, "BetaRecommendations": _recommended, "LossAnalysis": _analysis, "Ranking": _ranking,
}  # fmt: skip
