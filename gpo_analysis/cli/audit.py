"""``gpo audit-log``: which loss a run really trained."""

from __future__ import annotations

from pathlib import Path

import click

from gpo_analysis.cli.keeping import keep, out_option
from gpo_analysis.cli.output import json_option, print_json, say
from gpo_analysis.cli.reading import check_at_once

AUDIT_HELP = """\b
Examples:
  gpo audit-log log.jsonl
  gpo audit-log trainer_state.json --json

\b
FILE is CSV or JSON, plain or .gz, with a column loss and one of
- policy_chosen, policy_rejected, reference_chosen, reference_rejected of each pair, and
  chosen_length, rejected_length where token means are to be told from sums;
- chosen_logratio and rejected_logratio (log π/πref), or chosen_reward and
  rejected_reward (β times it), of each pair;
- margin: ρ or βρ of each pair (the β found is then that of this margin);
- rewards/margins, rewards/chosen, rewards/rejected and rewards/accuracies, means over
  batches, as in trainer_state.json.
Losses of two log-ratios (nca_pair, bco_pair, ...) are named where both log-ratios are known.
Where all rows of a step share their loss, it is taken as the mean of that step's pairs."""


@click.command("audit-log", epilog=AUDIT_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@out_option
def audit_log(file: Path, as_json: bool, out: Path | None) -> None:
    """Name the loss, β, reduction and label smoothing that a run trained, from its log, or say why it is undecided."""
    check_at_once(file)
    from gpo_analysis.estimation.audit import audit_log as audit

    found = audit(file, progress=True)
    keep(found, out)
    if as_json:
        print_json(found.to_dict())
    else:
        say(str(found))
