"""``gpo conventions``: the dictionary of losses and their β, and its check against an installed trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpo_analysis.cli.extras import needs_extra
from gpo_analysis.cli.keeping import keep_rows, out_option
from gpo_analysis.cli.output import json_option, print_json, say

CONVENTIONS_HELP = """\b
Examples:
  gpo conventions
  gpo conventions --json
  gpo conventions --check
  gpo conventions --check --json
  gpo conventions --table

\b
--check runs the installed TRL's own losses on random log-ratios and lengths (a few
seconds, no GPU) and holds every row for TRL against the values. The exit code is 1
where one differs. --table says of every loss_type and divergence of TRL what is done
with it: value and gradient beside TRL's, κ or form, exact optimum beside scipy's, flow,
and what GPOTrainer trains (half a minute). The exit code is 1 where a cell fails."""


@click.command(epilog=CONVENTIONS_HELP)
@click.option("--check", is_flag=True, help="Execute the installed trainer's losses and compare.")
@click.option("--table", is_flag=True, help="Every loss and divergence of TRL, and what is done with it.")
@json_option
@out_option
@click.pass_context
def conventions(context: click.Context, check: bool, table: bool, as_json: bool, out: Path | None) -> None:
    """Print how libraries and papers write their losses and β, or hold that against an installed trainer."""
    if check and table:
        raise ValueError("conventions takes --check or --table, one of the two")
    if table:
        context.exit(_table(as_json, out))
    if check:
        context.exit(_check(as_json, out))
    from gpo_analysis.analysis import list_conventions

    rows = list_conventions()
    keep_rows([row.to_dict() for row in rows], out)
    if as_json:
        print_json([row.to_dict() for row in rows])
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        smoothing = {None: "no label smoothing", "ignored": "label smoothing ignored", "exo": "ε of EXO"}
        said = smoothing.get(row.smoothing, f"label smoothing {row.smoothing}")
        read = f"; {row.version}" if row.version else ""
        say(
            f"{row.name:<{width}}  {row.objective}  [token {row.ratio}; {said}{read}{'' if row.read else '; not read'}]"
        )


def _check(as_json: bool, out: Path | None) -> int:
    with needs_extra("trl", "gpo"):
        from gpo_analysis.integrations.guard import check_trl
    found = check_trl(progress=True)
    keep_rows([verdict.to_dict() for verdict in found], out)
    if as_json:
        print_json([verdict.to_dict() for verdict in found])
    else:
        _show([verdict.to_dict() for verdict in found])
    return 1 if any(verdict.agrees is False for verdict in found) else 0


def _table(as_json: bool, out: Path | None) -> int:
    with needs_extra("trl", "gpo"):
        from gpo_analysis.integrations.trl_table import COLUMNS, trl_table
    rows = trl_table(progress=True)
    keep_rows(
        [{"name": row.name, **{c: getattr(row, c).text for c in COLUMNS}, "holds": row.holds} for row in rows], out
    )
    if as_json:
        print_json([row.to_dict() for row in rows])
    else:
        marks = {True: "", False: "FAILS: ", None: ""}
        for row in rows:
            say(row.name)
            for column in COLUMNS:
                cell = getattr(row, column)
                say(f"  {column:<9} {marks[cell.holds]}{cell.text}")
        failing = sum(not row.holds for row in rows)
        say(f"\n{len(rows)} rows, {failing} with a cell that fails")
    return 0 if all(row.holds for row in rows) else 1


def _show(rows: list[dict[str, Any]]) -> None:
    words = {True: "agrees", False: "DIFFERS", None: "not covered"}
    width = max(len(row["name"]) for row in rows)
    say(f"{rows[0]['library']} {rows[0]['version']}")
    for row in rows:
        say(f"{row['name']:<{width}}  {words[row['agrees']]:<11}  {row['by']}".rstrip())
    counts = {word: sum(words[row["agrees"]] == word for row in rows) for word in words.values()}
    say(", ".join(f"{count} {word.lower()}" for word, count in counts.items()))
