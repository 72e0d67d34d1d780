"""``gpo losses`` and ``gpo analyze``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpo_analysis.cli.completing import loss_names
from gpo_analysis.cli.keeping import figure_option, keep, keep_rows, out_option, save_figure
from gpo_analysis.cli.output import json_option, print_json, print_table, say
from gpo_analysis.formula_words import check_loss_text

if TYPE_CHECKING:
    from gpo_analysis.losses import TwoRatioLoss


@click.command(epilog="\b\nExamples:\n  gpo losses\n  gpo losses --json")
@json_option
@out_option
@figure_option
def losses(as_json: bool, out: Path | None, figure: Path | None) -> None:
    """List the losses of the catalogue, the six of the GPO paper first."""
    from gpo_analysis.losses import get_loss, list_losses, two_ratio_losses

    rows = [_row(get_loss(name)) for name in list_losses()]
    pairs = [_two_ratio_row(get_loss(name)) for name in two_ratio_losses()]
    keep_rows([*rows, *pairs], out)
    if figure is not None:
        _draw(figure)
    if as_json:
        print_json([*rows, *pairs])
        return
    print_table([_shown(row) for row in rows], index="name")
    say("\nof two log-ratios a = β log π(y_w)/πref(y_w) and b = β log π(y_l)/πref(y_l):\n")
    print_table([_shown(row) for row in pairs], index="name")
    say("\nsources: gpo losses --json")


def _draw(path: Path) -> None:
    """The six losses of the paper, the legend beside them."""
    from gpo_analysis.losses import PAPER_LOSSES
    from gpo_analysis.plotting import figure_style, new_figure, plot_losses

    with figure_style():
        figure, ax = new_figure()
        plot_losses(PAPER_LOSSES, ax, scaled=True)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        save_figure(figure, path)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {key: ", ".join(value) if key == "aliases" else value for key, value in row.items() if key != "reference"}


def _two_ratio_row(loss: TwoRatioLoss) -> dict[str, Any]:
    slopes = [float(slope) for slope in loss.gradient(0.0, 0.0)]
    try:
        kappa: float | None = float(loss.curvature_ratio)
    except ValueError:  # a kink at 0
        kappa = None
    return {
        "name": loss.name,
        "aliases": loss.aliases,
        "formula": str(loss.expression),
        "slope": 0.5 * (slopes[0] - slopes[1]),
        "curvature_ratio": kappa,
        "convex": loss.claims.convex if loss.claims else None,
        "reference": loss.reference,
    }


def _row(loss: Any) -> dict[str, Any]:
    slope, curvature = float(loss.derivative(0.0)), float(loss.derivative(0.0, 2))
    return {
        "name": loss.name,
        "aliases": loss.aliases,
        "formula": str(loss.expression),
        "slope": slope,
        "curvature": curvature,
        "curvature_ratio": curvature / abs(slope) + 0.0,
        "convex": loss.claims.convex if loss.claims else None,
        "reference": loss.reference,
    }


def read_parameters(words: tuple[str, ...]) -> dict[str, str]:
    """``c=2`` for each word."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ValueError(f"--param {word!r}; accepted is NAME=VALUE, such as c=2 or c=1/3")
        if name.strip() in found:
            raise ValueError(f"--param {name.strip()} is given twice")
        found[name.strip()] = value.strip()
    return found


ANALYZE_HELP = (
    '\b\nExamples:\n  gpo analyze savage\n  gpo analyze "log(cosh(1-z))"\n  gpo analyze "max(0, 1-z)**3" --json\n'
    '  gpo analyze bco_pair\n  gpo analyze "-log(sigmoid(a)) - log(sigmoid(-b))"\n'
    '  gpo analyze "c*exp(-z)" --param c=2\n  gpo analyze "dpop with penalty=5"'
)


class _OfAFormula(click.Command):
    """A command whose operand may begin with a minus sign: ``-h(z)`` is a formula, not the option ``-h``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        names = {name for option in options for name in option.opts}
        with_value = {name for option in options if not (option.is_flag or option.is_eager) for name in option.opts}
        end = args.index("--") if "--" in args else len(args)
        kept: list[str] = []
        formulas: list[str] = []
        for here in args[:end]:
            is_value = bool(kept) and kept[-1] in with_value
            is_option = not here.startswith("-") or here.startswith("--") or here in names
            (kept if is_value or is_option else formulas).append(here)
        return super().parse_args(ctx, [*kept, "--", *formulas, *args[end + 1 :]])


@click.command(cls=_OfAFormula, epilog=ANALYZE_HELP, context_settings={"ignore_unknown_options": True})
@click.argument("loss", metavar="NAME|EXPRESSION", shell_complete=loss_names)
@click.option("--param", "parameters", metavar="NAME=VALUE", multiple=True, help="A value of a letter in the loss.")
@json_option
@out_option
@figure_option
def analyze(loss: str, parameters: tuple[str, ...], as_json: bool, out: Path | None, figure: Path | None) -> None:
    """Say what follows from a loss alone: slope, curvature, κ, convexity, tails, link, …"""
    check_loss_text(loss)
    from gpo_analysis.analysis import analyze as analyse
    from gpo_analysis.losses.lookup import get_loss

    found = analyse(get_loss(loss, **read_parameters(parameters)))
    keep(found, out, figure)
    if as_json:
        print_json(found.to_dict())
    else:
        say(str(found))
