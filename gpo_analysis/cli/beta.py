"""``gpo beta``: one library's β in another's convention."""

from __future__ import annotations

from pathlib import Path

import click

from gpo_analysis.cli.completing import convention_names
from gpo_analysis.cli.keeping import keep, keep_rows, out_option
from gpo_analysis.cli.numbers import NUMBER
from gpo_analysis.cli.output import json_option, print_json, say
from gpo_analysis.convention_names import find_convention

BETA_HELP = """\b
Examples:
  gpo beta 0.1 --from trl:ipo --to gpo:ipo
  gpo beta 0.1 --from gpo:dpo --to gpo:ipo
  gpo beta 0.1 --from trl:dpo --to trl:ipo --tokens 200
  gpo beta 0.1 --from trl:hinge --to gpo:dpo --eta 0.8
  gpo beta 0.1 --from "log(cosh(1-z))" --to ipo --label-smoothing 0.1
  gpo beta --list"""


@click.command(epilog=BETA_HELP, context_settings={"ignore_unknown_options": True})  # -1 is a value, and a bad one
@click.argument("value", type=NUMBER, required=False)
@click.option(
    "--from",
    "source",
    metavar="CONVENTION",
    shell_complete=convention_names,
    help="Where the value comes from: trl:ipo, a loss, or an expression in z.",
)
@click.option(
    "--to", "target", metavar="CONVENTION", shell_complete=convention_names, help="Where it is to be used, likewise."
)
@click.option("--label-smoothing", type=NUMBER, help="The ε that the source is run with.")
@click.option("--tokens", type=NUMBER, help="Length of a response, between token means and sums.")
@click.option("--eta", type=NUMBER, help="Between losses: match pairs of this preference probability, in (0, 1).")
@click.option("--list", "listing", is_flag=True, help="List the conventions that are known.")
@json_option
@out_option
def beta(
    value: float | None,
    source: str | None,
    target: str | None,
    label_smoothing: float | None,
    tokens: float | None,
    eta: float | None,
    listing: bool,
    as_json: bool,
    out: Path | None,
) -> None:
    """Convert a regularization strength β between the conventions of libraries and papers.

    Between two losses the converted value regularizes alike to leading order in the margin (β_a κ_a = β_b κ_b), or with
    --eta exactly for pairs of that preference probability.
    """
    if not listing and (value is None or source is None or target is None):
        raise ValueError("beta needs a value, --from and --to (gpo beta --list names the conventions)")
    for name in (source, target):
        if name is not None and not listing:
            find_convention(name)  # an unknown one is refused before computer algebra is loaded
    from gpo_analysis.analysis import convert_beta, list_conventions

    if listing:
        conventions = list_conventions()
        keep_rows([item.to_dict() for item in conventions], out)
        if as_json:
            print_json([item.to_dict() for item in conventions])
            return
        width = max(len(item.name) for item in conventions)
        for item in conventions:
            say(f"{item.name:<{width}}  {item.objective}")
        return
    assert value is not None
    assert source is not None
    assert target is not None
    found = convert_beta(value, source, target, label_smoothing=label_smoothing, tokens=tokens, eta=eta)
    keep(found, out)
    if as_json:
        print_json(found.to_dict())
    else:
        say(str(found))
