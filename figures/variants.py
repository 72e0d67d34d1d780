"""Six losses at equal β and at equal βκ, and where they part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from figures._panels import strength_label
from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("variants",)
SIX = ("logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage")


def caption(records: Mapping[str, Record]) -> str:
    """Say what is drawn, with the settings."""
    config = records["variants"].config
    losses = list(records["variants"].table["loss"].drop_duplicates())
    base = _base(records["variants"].table)
    base = base if base == "logistic" else loss_label(base)
    usual = set(losses) == set(SIX)
    who = "six losses" if usual else f"{len(losses)} losses ({', '.join(loss_label(name) for name in losses)})"
    return f"""KL(π‖πref) of the exact optimum for {who}, settings ours; πref and μ uniform. (a) Eight responses
    with Bradley-Terry preferences, rewards in [−{config["shown"]:g}, {config["shown"]:g}], at equal β. (b) The same at
    equal βκ, κ = f″(0)/|f′(0)|[[logistic,exponential,savage|: logistic, exponential and Savage fall on one curve
    exactly]][[logistic,squared,truncated_quadratic|, squared and truncated quadratic on lower ones]][[hinge|; hinge has
    κ = 0 and is drawn over β itself, in grey]]. (c) KL relative to {base}'s at βκ = 1 as rewards shrink towards
    indifference: all with κ > 0 meet at 1[[hinge|; hinge (at β = 1) goes off to infinity and is said, not drawn]]. (d)
    Two groups of annotators who disagree, not Bradley-Terry[[logistic,exponential,savage|: the three that fell on one
    curve part a little]]. (e) Few labels: {config["comparisons"][0]:,}
    comparisons of {config["finite_responses"]} responses, median of {config["samples"]} samples. (f) KL relative to
    {base}'s at βκ = 1 over the number of labels, medians over samples on which both have an optimum; the bars at the
    right are the population's."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Draw six panels."""
    config, table = records["variants"].config, records["variants"].table
    bradley = find(table, kind="bradley-terry")
    shown = find(bradley, scale=config["shown"])
    samples = find(table, kind="sample")
    figure, ((a, b, c), (d, e, f)) = new_figure(2, 3, height=2.65)
    _curves(a, shown, "beta")
    _curves(b, shown, "strength")
    _curves(d, find(table, kind="annotators"), "strength")
    _curves(e, find(samples, comparisons=config["comparisons"][0]), "strength")
    _relative(c, bradley, "scale")
    _relative(f, samples[samples["comparisons"] > 0], "comparisons")
    _limits(f, find(samples, comparisons=0), max(config["comparisons"]))
    a.set_xlabel("β")
    for ax in (b, d, e):
        ax.set_xlabel(strength_label(table["loss"]))
    base = _base(table)
    over = f"KL / {base if base == 'logistic' else loss_label(base)}'s, at βκ = 1"
    c.set(xlabel="half range of rewards", ylabel=over, ylim=(0.4, 1.15))
    if "hinge" in set(table["loss"]):
        least = _ratio(bradley, "scale", "hinge").min()
        c.text(0.03, 0.93, f"hinge: ≥ {least:.1f}, off the top", transform=c.transAxes, fontsize=7, va="top",
               color="#6E6E6E")  # fmt: skip
        for ax in (b, d, e):
            ax.text(0.97, 0.95, "grey: hinge, over β", transform=ax.transAxes, fontsize=7, ha="right", va="top",
                    color="#6E6E6E")  # fmt: skip
    f.set(xlabel="labelled comparisons", ylabel=over)
    titles = ("equal β", "equal βκ", "towards indifference", "disagreeing annotators", "few labels", "more labels")
    for ax, letter, title in zip((a, b, c, d, e, f), "abcdef", titles, strict=True):
        panel_label(ax, letter, title)
    handles, labels = a.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _curves(ax: Axes, rows: pd.DataFrame, x: str) -> None:
    """Draw KL over β or strength, medians over seeds; hinge in grey where it is out of place."""
    for name, group in rows.groupby("loss", sort=False):
        median = group.groupby(x)["kl"].median().dropna()
        ax.plot(median.index, median, label=loss_label(str(name)), **_line(str(name), misplaced=x == "strength"))
    ax.set(xscale="log", yscale="log", ylabel="KL(π‖πref)  [nats]")
    ax.set_xlim(2.0**-4, 2.0**3)
    ax.set_ylim(1.5e-3, 5.0)


def _line(name: str, *, misplaced: bool) -> dict[str, Any]:
    line = loss_style(name).line()
    return {**line, "color": "#9A9A9A", "linewidth": 1.1} if misplaced and name == "hinge" else line


def _curved(rows: pd.DataFrame) -> list[str]:
    """The losses with κ > 0."""
    return [str(name) for name in rows.loc[rows["kappa"] > 0, "loss"].drop_duplicates()]


def _base(rows: pd.DataFrame) -> str:
    """The loss that others are set over: logistic, or the first with κ > 0 where that is not there."""
    names = _curved(rows)
    return "logistic" if "logistic" in names else names[0]


def _ratio(rows: pd.DataFrame, x: str, name: str) -> pd.Series:
    """Return KL over that of `_base` at strength 1: medians over the samples on which both have an answer."""
    at_one, base = find(rows, strength=1.0), _base(rows)
    kl = {loss: find(at_one, loss=loss).set_index([x, "seed"])["kl"] for loss in (name, base)}
    return (kl[name] / kl[base]).dropna().groupby(level=0).median()


def _relative(ax: Axes, rows: pd.DataFrame, x: str) -> None:
    """Draw KL over that of logistic, of the losses with κ > 0."""
    for name in _curved(rows):
        ratio = _ratio(rows, x, name)
        ax.plot(ratio.index, ratio, **loss_style(name).points())
    ax.set(xscale="log")
    ax.axhline(1.0, color=COLORS["grey"], linewidth=0.7, zorder=0)


def _limits(ax: Axes, population: pd.DataFrame, last: float) -> None:
    """Mark the population's ratios at the right."""
    for name in _curved(population):
        ratio = float(_ratio(population, "comparisons", name).iloc[0])
        ax.plot([last, 3.0 * last], [ratio, ratio], **loss_style(name).line(linewidth=2.4))
