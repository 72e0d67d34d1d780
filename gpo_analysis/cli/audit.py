"""``gpo audit-log``: which loss a run really trained."""

from __future__ import annotations

from pathlib import Path

import click

from gpo_analysis.cli.completing import loss_names
from gpo_analysis.cli.keeping import keep, out_option
from gpo_analysis.cli.output import json_option, print_json, say
from gpo_analysis.cli.reading import check_at_once, columns_of, columns_option

AUDIT_HELP = """\b
Examples:
  gpo audit-log log.jsonl
  gpo audit-log trainer_state.json --json
  gpo audit-log log.csv --columns margin=z --columns loss=train_objective
  gpo audit-log out/own --try-loss "log(cosh(1-z))" --try-loss "exp(-c*z) with c=2"

\b
FILE is CSV or JSON, plain or .gz, an export of W&B or TensorBoard, a folder of
TensorBoard's event files or of a run (llm train's with its log.jsonl, TRL's with its
trainer_state.json); it has a column loss and one of
- policy_chosen, policy_rejected, reference_chosen, reference_rejected of each pair, and
  chosen_length, rejected_length where token means are to be told from sums;
- chosen_logratio and rejected_logratio (log π/πref), or chosen_reward and
  rejected_reward (β times it), of each pair;
- margin: ρ or βρ of each pair (the β found is then that of this margin);
- rewards/margins, rewards/chosen, rewards/rejected and rewards/accuracies, means over
  batches, as in trainer_state.json.
Losses of two log-ratios (nca_pair, bco_pair, ...) are named where both log-ratios are known.
Where all rows of a step share their loss, it is taken as the mean of that step's pairs.
Of a run of llm train the loss that its run.json names is tried, too, and said to be
borne out, contradicted, or left open by the log."""


@click.command("audit-log", epilog=AUDIT_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--try-loss", "losses", multiple=True, shell_complete=loss_names,
    help="A loss of one's own to try, too (again for more).",
)  # fmt: skip
@columns_option
@json_option
@out_option
def audit_log(file: Path, losses: tuple[str, ...], columns: tuple[str, ...], as_json: bool, out: Path | None) -> None:
    """Name the loss, β, reduction and label smoothing that a run trained, from its log, or say why it is undecided."""
    check_at_once(file, losses)
    from gpo_analysis.estimation.audit import audit_log as audit

    found = audit(file, columns=columns_of(columns, "policy_chosen=pi_w"), losses=losses or None, progress=True)
    keep(found, out)
    if as_json:
        print_json(found.to_dict())
    else:
        say(str(found))
