"""``gpo losses`` and ``gpo analyze``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gpo_analysis.cli.output import json_option, print_json, print_table, say

if TYPE_CHECKING:
    from gpo_analysis.losses import MarginLoss


@click.command(epilog="\b\nExamples:\n  gpo losses\n  gpo losses --json")
@json_option
def losses(as_json: bool) -> None:
    """List the losses of the catalogue, the six of the GPO paper first."""
    from gpo_analysis.losses import get_loss, list_losses

    rows = [_row(get_loss(name)) for name in list_losses()]
    if as_json:
        print_json(rows)
        return
    shown = [{**row, "aliases": ", ".join(row["aliases"])} for row in rows]
    print_table([{key: value for key, value in row.items() if key != "reference"} for row in shown], index="name")
    say("\nsources: gpo losses --json")


def _row(loss: MarginLoss) -> dict[str, Any]:
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


ANALYZE_HELP = (
    '\b\nExamples:\n  gpo analyze savage\n  gpo analyze "log(cosh(1-z))"\n  gpo analyze "max(0, 1-z)**3" --json'
)


@click.command(epilog=ANALYZE_HELP, context_settings={"ignore_unknown_options": True})
@click.argument("loss", metavar="NAME|EXPRESSION")
@json_option
def analyze(loss: str, as_json: bool) -> None:
    """Say what follows from a loss f alone: slope, curvature, κ, convexity, tails, link, …"""
    from gpo_analysis.analysis import analyze as analyse
    from gpo_analysis.losses.naming import find_loss

    found = analyse(find_loss(loss))
    if as_json:
        print_json(found.to_dict())
    else:
        say(str(found))
