"""``gpo gaussians``: where descending the μ-weighted square loss leads the KL divergence astray."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpo_analysis.cli.keeping import figure_option, keep, out_option, save_figure
from gpo_analysis.cli.numbers import NUMBER
from gpo_analysis.cli.output import json_option, print_json, print_table, say
from gpo_analysis.reading import number_of, shown

if TYPE_CHECKING:
    from gpo_analysis.gaussian import Counterexample, Landscape

GAUSSIANS_HELP = """\b
Examples:
  gpo gaussians
  gpo gaussians --modes -3,0,3 --scale 0.5 --mean 0 --width 0.5 --figure landscape.png
  gpo gaussians --family --json

\b
It compares the two regularizers, which no loss f has a part in. What f does to a policy over
responses: problem.solve, gpo.solve_grid and gpo.train in Python."""


MOST_MODES = 12  # the work grows with their square


def _numbers(text: str, option: str) -> list[float]:
    parts = text.split(",")
    if len(parts) > MOST_MODES:
        raise ValueError(f"{option} takes at most {MOST_MODES} numbers, got {len(parts)}")
    try:
        found = [number_of(part) for part in parts]
    except ValueError:
        raise ValueError(f"{option} takes numbers with commas between them, got {shown(text)!r}") from None
    if max(map(abs, found)) > 1e100:
        raise ValueError(f"{option} takes numbers of at most 1e100 in size, got {shown(text)!r}")
    return found


@click.command(epilog=GAUSSIANS_HELP)
@click.option("--modes", default="-3,0,3", show_default=True, help="Means of the reference mixture's components.")
@click.option("--scale", type=NUMBER, default=0.5, show_default=True, help="Standard deviation of each component.")
@click.option("--mean", type=NUMBER, default=0.0, show_default=True, help="Mean of the behaviour distribution μ.")
@click.option("--width", type=NUMBER, default=0.5, show_default=True, help="Standard deviation of μ.")
@click.option("--family", is_flag=True, help="Map μ's width and mean: where does descent raise the KL?")
@json_option
@out_option
@figure_option
def gaussians(
    modes: str,
    scale: float,
    mean: float,
    width: float,
    family: bool,
    as_json: bool,
    out: Path | None,
    figure: Path | None,
) -> None:
    """Shift a mixture of Gaussians: KL against the μ-weighted square loss, with all local minima.

    The policy is the reference shifted by c. Both regularizers are least at c = 0; the μ-weighted square loss may have
    further minima, where the KL divergence is large.
    """
    means = _numbers(modes, "--modes")
    from gpo_analysis.gaussian import counterexample

    example = counterexample(width=width, mean=mean, modes=means, scale=scale)
    if family:
        _family(example, as_json, out, figure)
        return
    landscape = example.landscape()
    _check_resolved(landscape)
    keep(landscape, out)
    if figure is not None:
        _draw(landscape, figure)
    if as_json:
        print_json(example.to_dict())
        return
    say(repr(example))
    say(f"\n{landscape!r}")
    on_reference = example.on_reference().landscape()
    count = len(on_reference.mu_squared_loss_minima)
    say(f"\nwith μ = πref the μ-weighted square loss has {count} local minim{'um' if count == 1 else 'a'}")


def _check_resolved(landscape: Landscape) -> None:
    """Both regularizers are 0 at c = 0 and nowhere less: a landscape without that minimum is too coarse or too wide."""
    import numpy as np

    step = float(landscape.c[1] - landscape.c[0])
    for objective in ("kl", "mu_squared_loss"):
        found = landscape.minima(objective)
        if not any(np.linalg.norm(minimum.c) <= 2 * step and abs(minimum.kl) < 1e-6 for minimum in found):
            raise ValueError(
                f"the grid of {len(landscape.c)} shifts does not resolve this example: {objective} has no minimum at "
                "c = 0 on it; accepted are widths, scales and distances within a factor of some thousands of each other"
            )


def _family(example: Counterexample, as_json: bool, out: Path | None, figure: Path | None) -> None:
    import numpy as np

    from gpo_analysis.gaussian import counterexample_family

    widths, means = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0]), np.array([0.0, 0.75, 1.5, 2.25, 3.0])
    found = counterexample_family(widths, means, reference=example.reference, progress=True)
    rows = [{str(key): item for key, item in row.items()} for row in found.table.to_dict("records")]
    keep(found, out)
    if figure is not None:
        from gpo_analysis.plotting import new_figure, plot_heatmap

        drawn, axes = new_figure(height=3.4)
        plot_heatmap(
            found.share_raised, means, widths, axes, x="mean of μ", y="width of μ", value="share of starts, KL raised"
        )
        save_figure(drawn, figure)
    if as_json:
        print_json(rows)
        return
    say(f"{found!r}\n")
    print_table(rows)


def _draw(landscape: Landscape, path: Path) -> None:
    from gpo_analysis.plotting import figure_style, new_figure, plot_landscape

    with figure_style():
        figure, axes = new_figure()
        pairs = (("KL(π_c‖πref), nats", "kl"), ("½E_μ[ρ²]", "mu_squared_loss"))
        for index, (label, objective) in enumerate(pairs):
            at = [minimum.c for minimum in landscape.minima(objective)]  # type: ignore[arg-type]
            plot_landscape(landscape.c, getattr(landscape, objective), axes, minima=at, label=label, index=index)
        axes.set_xlabel("shift $c$ of the policy")
        axes.plot([], [], linestyle="none", marker="v", color="white", markeredgecolor="black", label="local minima")
        axes.axhspan(-0.02, 0.1, color="0.94", zorder=0, label="linear below 0.1, logarithmic above")
        axes.set_ylabel("nats, nats²")
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(-0.02, None)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        save_figure(figure, path)
