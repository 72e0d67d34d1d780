"""The mixture-of-Gaussians counterexample: densities, landscapes, descents, and where it happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.plotting import COLORS, cycle_style, new_figure, panel_label, plot_landscape
from gpo_analysis.tables import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("mixture-of-gaussians",)
PAPER = "its mixture of Gaussians, in a setting of ours"
KL, LOSS = "KL$(π_c\\,\\|\\,$πref$)$", "$\\frac{1}{2}E_μ[ρ^2]$"


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config = records["mixture-of-gaussians"].config
    modes = ", ".join(f"{m:g}".replace("-", "−") for m in config["modes"])
    scale, width, mean = config["scale"], config["width"], config["mean"]
    span = max(config["modes"]) - min(config["modes"])
    return f"""A mixture of Gaussians moved by c: πref is an equal mixture of N(m, {scale:g}²) at m in {{{modes}}},
    π_c(y) = πref(y − c), μ = N({mean:g}, {width:g}²). The constants of the paper's figure are not known; this setting
    is ours. (a) The three densities, π_c at the remote minimum: under μ it looks like πref. (b) KL divergence and
    μ-weighted square loss over c, local minima marked; the circles show the KL at the remote minima of the square loss.
    (c) The same with μ = πref: one minimum each. (d) KL along gradient descents on the square loss, by their first c,
    and on the KL from c = 2. (e) Over μ's width and mean: share of first c, evenly spread over [−{span:g}, {span:g}],
    from which gradient flow on the square loss ends with a higher KL than it began with; right of the line the square
    loss has one minimum. (f) KL where that flow ends, mean over first c."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Draw all six panels."""
    record = records["mixture-of-gaussians"]
    table = record.table
    figure, axes = new_figure(3, 2, height=2.45)
    minima = find(table, part="minimum")
    remote = find(minima, setting="mode", objective="mu_squared_loss")["c"].max()
    _densities(record.config, float(remote), axes[0, 0])
    _landscape(table, "mode", axes[0, 1])
    _landscape(table, "reference", axes[1, 0])
    _descents(find(table, part="descent"), axes[1, 1])
    _map(find(table, part="map"), "share_raised", "share of starts", axes[2, 0])
    _map(find(table, part="map"), "mean_kl_reached", "KL reached  [nats]", axes[2, 1])
    titles = (
        "densities",
        "μ on one mode",
        "μ = πref",
        "KL along descents",
        "descent raises the KL",
        "KL where it ends",
    )
    for ax, letter, title in zip(axes.flat, "abcdef", titles, strict=True):
        panel_label(ax, letter, title)
    return figure


def _densities(config: Mapping[str, Any], shift: float, ax: Axes) -> None:
    modes, scale = np.array(config["modes"]), config["scale"]
    low, high = modes.min() - 4 * scale, modes.max() + shift + 3 * scale
    y = np.linspace(low, high, 600)

    def density(places: Any, width: float) -> Any:
        z = (y[:, None] - np.atleast_1d(places)) / width
        return np.exp(-0.5 * z**2).mean(axis=1) / (width * np.sqrt(2 * np.pi))

    ax.fill_between(y, density(config["mean"], config["width"]), color="#D9D9D9", linewidth=0, label="μ")
    ax.plot(y, density(modes, scale), **cycle_style(0).line(label="πref"))
    ax.plot(y, density(modes + shift, scale), **cycle_style(1).line(label=f"$π_c$, $c = {shift:.2f}$"))
    ax.set_xlabel("response $y$")
    ax.set_ylabel("density")
    ax.set_ylim(0.0, None)
    ax.legend()


def _landscape(table: pd.DataFrame, setting: str, ax: Axes) -> None:
    here = find(table, setting=setting)
    curve = find(here, part="curve")
    curve = curve[curve["c"].abs() <= 4.6]
    minima = find(here, part="minimum")
    for k, (objective, label) in enumerate((("kl", KL), ("mu_squared_loss", LOSS))):
        at = np.sort(find(minima, objective=objective)["c"])
        plot_landscape(curve["c"], curve[objective], ax, minima=at, label=label, index=k)
    ax.set_xlabel("shift $c$")
    ax.set_ylabel("nats, nats²")
    ax.set_ylim(-0.6, 15.0)
    if setting == "mode":  # the other landscape has the same two curves
        for row in minima[(minima["objective"] == "mu_squared_loss") & (minima["kl"] > 0.1)].itertuples():
            ax.vlines(row.c, row.mu_squared_loss, row.kl, colors=COLORS["grey"], linewidths=0.9, linestyles=":")
            ax.plot(row.c, row.kl, **cycle_style(0).points())
            inward = (-6, 3) if row.c > 0 else (6, 3)
            ax.annotate(
                f"{row.kl:.2f}",
                (row.c, row.kl),
                inward,
                textcoords="offset points",
                ha="right" if row.c > 0 else "left",
            )
        ax.legend(loc="upper center")


def _descents(steps: pd.DataFrame, ax: Axes) -> None:
    by_loss = find(steps, objective="mu_squared_loss")
    starts = [start for start in sorted(by_loss["start"].unique()) if start > 0]
    for k, start in enumerate(starts):
        path = find(by_loss, start=start)
        ax.plot(path["step"], path["kl"], **cycle_style(k).line(label=f"on {LOSS}, from ${start:g}$"))
        ax.plot(path["step"].iloc[-1], path["kl"].iloc[-1], **cycle_style(k).points())
    path = find(steps, objective="kl", start=2.0)
    ax.plot(path["step"], path["kl"], **cycle_style(len(starts)).line(label="on KL, from $2$"))
    ax.set_xlabel("step")
    ax.set_ylabel("KL  [nats]")
    ax.set_xlim(-2.0, 140.0)
    ax.legend(ncol=1, loc="upper right")


def _map(grid: pd.DataFrame, column: str, label: str, ax: Axes) -> None:
    values = grid.pivot_table(index="mean", columns="width", values=column)
    minima = grid.pivot_table(index="mean", columns="width", values="minima")
    width, mean = values.columns.to_numpy(dtype=float), values.index.to_numpy(dtype=float)
    mesh = ax.pcolormesh(width, mean, values.to_numpy(), cmap="cividis", shading="nearest", vmin=0.0, rasterized=True)
    ax.contour(width, mean, minima.to_numpy(), levels=[1.5], colors=COLORS["vermillion"], linewidths=1.3)
    ax.plot([], [], color=COLORS["vermillion"], linewidth=1.3, label="right of it one minimum")
    ax.legend(loc="lower left", frameon=True, facecolor="white", framealpha=0.9)
    ax.set_xscale("log")
    ticks = [w for w in (0.1, 0.2, 0.5, 1.0, 2.0, 4.0) if width.min() <= w <= width.max()]
    ax.set_xticks(ticks, [f"{w:g}" for w in ticks])
    ax.minorticks_off()
    ax.set_xlabel("width of μ")
    ax.set_ylabel("mean of μ")
    ax.grid(False)
    ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.02)
