"""``gpo recommend-beta`` and ``gpo diagnose``: for one's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpo_analysis.cli.completing import convention_names, loss_names
from gpo_analysis.cli.keeping import figure_option, keep, out_option
from gpo_analysis.cli.numbers import NUMBER, WHOLE, check_beta
from gpo_analysis.cli.output import json_option, print_json, say, say_report
from gpo_analysis.cli.reading import check_at_once, columns_of, columns_option, options_of, reading_options
from gpo_analysis.diagnosis_words import ALTERNATIVES, OTHERS

RECOMMEND_HELP = """\b
Examples:
  gpo recommend-beta labels.csv --kl 0.05
  gpo recommend-beta labels.jsonl --margin 2 --loss dpo --loss ipo --json
  gpo recommend-beta one-label-a-pair.csv --kl 0.1 --smoothing 0.1
  gpo recommend-beta --log run.csv --beta 0.1 --loss dpo --kl-per-token 0.01
  gpo recommend-beta --log run.csv --beta 0.1 --loss dpo --drop 5

\b
FILE is CSV, TSV, JSON lines, a JSON array or Parquet, plain or .gz, or - for standard
input, with the columns winner,loser and optionally count and prompt, or
prompt,chosen,rejected (texts or messages; whole dialogues share their prompt). Without
prompts, items that comparisons connect are responses to one.

\b
Which policy, which reference. With FILE the numbers are of the exact optimum over the
responses that were compared under each prompt, against a πref that is uniform over
them. No policy over them has a KL beyond -log min πref: log 2 = 0.693 nats with two
responses a prompt. A language model spreads over all texts; with S the compared ones,
  KL(π‖πref) >= π(S) KL(π(.|S)‖πref(.|S)),
and the rest is how it moves mass between S and all else, which labels do not show. So
--kl compares losses and data at equal strength; what one label a pair identifies is a
--margin. For a language model's budget give the --log of one short run (as for gpo
diagnose): --kl-per-token, --kl a response, --drop of the chosen, or --margin are then
of a run of the same data, rate and length at another β. Its --beta is needed, and its
--loss (logistic unless given), but for a run of llm train, whose run.json says them."""


@click.command("recommend-beta", epilog=RECOMMEND_HELP)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--kl", type=NUMBER, help="Budget for KL(π‖πref) in nats, averaged over prompts.")
@click.option("--margin", type=NUMBER, help="Target for the mean |ρ| over the labels, in nats.")
@click.option("--log", type=click.Path(path_type=Path), help="A run's log, in place of FILE: β for its next run.")
@click.option("--beta", type=NUMBER, help="With --log: that run's β, in GPO's convention (with trl:ipo in TRL's).")
@click.option("--drop", type=NUMBER, help="With --log: target for the fall of log π/πref of the chosen, in nats.")
@click.option("--kl-per-token", type=NUMBER, help="With --log: budget in nats a token.")
@click.option(
    "--loss", "losses", multiple=True, shell_complete=loss_names,
    help="A loss by name or expression (again for more; default: six); with --log the run's own (default: logistic).",
)  # fmt: skip
@click.option("--smoothing", type=NUMBER, default=0.0, show_default=True, help="ε of (1−ε) f(z) + ε f(−z), below 0.5.")
@click.option("--resamples", type=WHOLE, default=200, show_default=True, help="Of the bootstrap.")
@click.option("--confidence", type=NUMBER, default=0.95, show_default=True, help="Of the intervals.")
@click.option("--seed", type=WHOLE, default=0, show_default=True, help="Of the bootstrap.")
@reading_options
@json_option
@out_option
@figure_option
def recommend_beta(
    file: Path | None,
    kl: float | None,
    margin: float | None,
    log: Path | None,
    beta: float | None,
    drop: float | None,
    kl_per_token: float | None,
    losses: tuple[str, ...],
    smoothing: float,
    resamples: int,
    confidence: float,
    seed: int,
    as_json: bool,
    out: Path | None,
    figure: Path | None,
    **reading: Any,
) -> None:
    """Say which β spends a KL budget, or reaches a target margin, for each loss, with an interval."""
    if (file is None) == (log is None):
        raise ValueError("recommend-beta takes a FILE of comparisons, or the --log of a run, one of the two")
    if log is not None:
        targets = {"margin": margin, "drop": drop, "kl": kl, "kl_per_token": kl_per_token}
        columns = columns_of(reading.pop("columns"), "policy_chosen=pi_w")
        _only_columns(reading)
        _from_log(log, columns, beta, losses, targets, resamples, confidence, _seed(seed), as_json, (out, figure))
        return
    if drop is not None or kl_per_token is not None or beta is not None:
        raise ValueError(
            "--drop, --kl-per-token and --beta are of a run's --log: comparisons do not say what a language model "
            "spends or drops; a FILE takes --kl or --margin"
        )
    if (kl is None) == (margin is None):
        raise ValueError("recommend-beta takes --kl or --margin, one of the two")
    assert file is not None
    check_at_once(file, losses)
    from gpo_analysis.estimation import recommend_beta as recommend
    from gpo_analysis.losses.lookup import get_margin_loss
    from gpo_analysis.preferences import read_comparisons

    comparisons = read_comparisons(file, **options_of(reading))
    found = recommend(
        comparisons, kl=kl, margin=margin, losses=[get_margin_loss(name) for name in losses] or None,
        smoothing=smoothing, resamples=resamples, confidence=confidence, seed=_seed(seed), progress=True,
    )  # fmt: skip
    keep(found, out, figure)
    if as_json:
        report = comparisons.report
        print_json(found.to_dict() | {"report": None if report is None else report.to_dict()})
    else:
        say_report(comparisons.report)
        say(str(found))


def _only_columns(reading: dict[str, Any]) -> None:
    """Of the options that comparisons are read with a log has --columns alone."""
    given = next((name for name, value in reading.items() if value not in (None, ())), None)
    if given is not None:
        raise ValueError(f"--{given.replace('_', '-')} is of a FILE of comparisons; with --log --columns is accepted")


def _from_log(
    log: Path,
    columns: dict[str, str] | None,
    beta: float | None,
    losses: tuple[str, ...],
    targets: dict[str, float | None],
    resamples: int,
    confidence: float,
    seed: int,
    as_json: bool,
    files: tuple[Path | None, Path | None],
) -> None:
    if len(losses) > 1:
        raise ValueError(f"--log takes the one --loss that the run was trained with, got {len(losses)}")
    check_at_once(log, [name for name in losses if ":" not in name])
    from gpo_analysis.estimation import beta_from_log
    from gpo_analysis.estimation.margin_log import read_pairs

    _needs_beta(log, beta, "recommend-beta --log")
    data = read_pairs(log, columns=columns)
    found = beta_from_log(
        data, losses[0] if losses else None, None if beta is None else check_beta(beta, "--beta"),
        resamples=resamples, confidence=confidence, seed=seed,
        margin=targets["margin"], drop=targets["drop"], kl=targets["kl"], kl_per_token=targets["kl_per_token"],
    )  # fmt: skip
    keep(found, *files)
    if as_json:
        print_json(found.to_dict() | {"report": None if data.report is None else data.report.to_dict()})
    else:
        say_report(data.report)
        say(str(found))


DIAGNOSE_HELP = """\b
Examples:
  gpo diagnose log.csv --loss dpo --beta 0.1
  gpo diagnose log.jsonl.gz --loss ipo --beta 0.2 --try-beta 0.1 --try-beta 0.4 --json
  gpo diagnose log.csv --loss dpo --beta 0.1 --columns policy_chosen=pi_w
  gpo diagnose trainer_state.json --loss trl:ipo --beta 0.1

\b
FILE is CSV or JSON, plain or .gz, a row a pair: policy_chosen, policy_rejected,
reference_chosen, reference_rejected (sums of token log-probabilities in nats; names
with _logps and ref_ are understood, others given by --columns), optionally
chosen_length, rejected_length, step. Or rho of each pair, or chosen_logratio and
rejected_logratio (log π/πref): then what needs the rest is not told. Rows that lack a
number, as after a divergence, are left out, which is said.
Or means over batches: TRL's trainer_state.json or its log_history, an export of W&B or
TensorBoard, or a folder of TensorBoard's event files; these say E[ρ] = rewards/margins
over β, and not the quantiles. Or the folder of a run: llm train's with its log.jsonl,
TRL's with its trainer_state.json.

\b
--loss takes names and expressions, with GPO's β, and libraries' names (trl:ipo,
openrlhf:dpo; gpo conventions lists them), with the β that the library was given. A run
of llm train needs neither --loss nor --beta: its run.json says them. Both together count
instead of it, which is said; one alone must be what it says.

\b
Columns of the table of what each f and β would make of these ρ:
""" + "\n".join((*ALTERNATIVES, "And of runs of their own:", *OTHERS))


@click.command(epilog=DIAGNOSE_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--loss",
    shell_complete=convention_names,
    help="What the run was trained with (also trl:ipo).  [default: run.json's, else logistic]",
)
@click.option("--beta", type=NUMBER, help="Its β: GPO's, or with a library's name its own; needed (but see below).")
@click.option(
    "--reduction", type=click.Choice(["sum", "mean"]), help="Of ρ over tokens (default: the library's, or sum)."
)
@click.option(
    "--try-loss", "losses", multiple=True, shell_complete=loss_names,
    help="A loss to compare with (again for more; default: six).",
)  # fmt: skip
@click.option("--try-beta", "betas", multiple=True, type=NUMBER, help="A β to compare with (again for more).")
@columns_option
@click.option("--resamples", type=WHOLE, default=500, show_default=True, help="Of the bootstrap over pairs.")
@click.option("--confidence", type=NUMBER, default=0.95, show_default=True, help="Of the intervals.")
@click.option("--seed", type=WHOLE, default=0, show_default=True, help="Of the bootstrap.")
@json_option
@out_option
@figure_option
def diagnose(
    file: Path,
    loss: str | None,
    beta: float | None,
    reduction: str | None,
    losses: tuple[str, ...],
    betas: tuple[float, ...],
    columns: tuple[str, ...],
    resamples: int,
    confidence: float,
    seed: int,
    as_json: bool,
    out: Path | None,
    figure: Path | None,
) -> None:
    """Read a training log: how far the policy moved, where the expansion fails, what falls, which f differs."""
    check_at_once(file, losses)
    if beta is not None:
        check_beta(beta, "--beta")
    from gpo_analysis.estimation import diagnose as diagnosis
    from gpo_analysis.losses.lookup import get_margin_loss

    _needs_beta(file, beta, "diagnose")
    found = diagnosis(
        file, loss, beta, reduction=reduction, columns=columns_of(columns, "policy_chosen=pi_w"),
        losses=[get_margin_loss(name) for name in losses] or None,
        betas=[check_beta(b, "--try-beta") for b in betas] or None,
        resamples=resamples, confidence=confidence, seed=_seed(seed),
    )  # fmt: skip
    keep(found, out, figure)
    if as_json:
        print_json(found.to_dict())
    else:
        say_report(found.report)
        say(str(found))


def _needs_beta(log: Path, beta: float | None, verb: str) -> None:
    """Of a run without a record β has to be given; its loss is logistic unless given, for every verb."""
    from gpo_analysis.estimation.trained_with import recorded_objective

    if beta is None and recorded_objective(log) is None:
        raise ValueError(
            f"--beta is missing: {verb} needs what the run was trained with, --beta and --loss (logistic, which is "
            "DPO, unless given), such as --loss ipo --beta 0.1, or a library's: --loss trl:ipo --beta 0.1"
        )


def _seed(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"--seed must be at least 0, got {seed}")
    return seed
