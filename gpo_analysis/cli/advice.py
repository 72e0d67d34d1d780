"""``gpo recommend-beta`` and ``gpo diagnose``: for one's own data."""

from __future__ import annotations

from pathlib import Path

import click

from gpo_analysis.cli.numbers import NUMBER, WHOLE, check_beta
from gpo_analysis.cli.output import json_option, print_json, say, say_report

RECOMMEND_HELP = """\b
Examples:
  gpo recommend-beta labels.csv --kl 0.5
  gpo recommend-beta labels.jsonl --margin 2 --loss dpo --loss ipo --json
  gpo recommend-beta one-label-a-pair.csv --kl 0.2 --smoothing 0.1

\b
FILE is CSV or JSON (one object a line, or an array), plain or .gz, with the columns
winner,loser and optionally count and prompt, or prompt,chosen,rejected. Without prompts,
items that comparisons connect are responses to one."""


@click.command("recommend-beta", epilog=RECOMMEND_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--kl", type=NUMBER, help="Budget for KL(π‖πref) in nats, averaged over prompts.")
@click.option("--margin", type=NUMBER, help="Target for the mean |ρ| over the labels, in nats.")
@click.option("--loss", "losses", multiple=True, help="A loss by name or expression (again for more; default: six).")
@click.option("--smoothing", type=NUMBER, default=0.0, show_default=True, help="ε of (1−ε) f(z) + ε f(−z), below 0.5.")
@click.option("--resamples", type=WHOLE, default=200, show_default=True, help="Of the bootstrap.")
@click.option("--confidence", type=NUMBER, default=0.95, show_default=True, help="Of the intervals.")
@click.option("--seed", type=WHOLE, default=0, show_default=True, help="Of the bootstrap.")
@json_option
def recommend_beta(
    file: Path,
    kl: float | None,
    margin: float | None,
    losses: tuple[str, ...],
    smoothing: float,
    resamples: int,
    confidence: float,
    seed: int,
    as_json: bool,
) -> None:
    """Say which β spends a KL budget, or reaches a target margin, for each loss, with an interval."""
    from gpo_analysis.estimation import recommend_beta as recommend
    from gpo_analysis.losses.naming import find_loss
    from gpo_analysis.preferences import read_comparisons

    if (kl is None) == (margin is None):
        raise ValueError("recommend-beta takes --kl or --margin, one of the two")
    comparisons = read_comparisons(file)
    found = recommend(
        comparisons, kl=kl, margin=margin, losses=[find_loss(name) for name in losses] or None,
        smoothing=smoothing, resamples=resamples, confidence=confidence, seed=_seed(seed),
    )  # fmt: skip
    if as_json:
        report = comparisons.report
        print_json(found.to_dict() | {"report": None if report is None else report.to_dict()})
    else:
        say_report(comparisons.report)
        say(str(found))


DIAGNOSE_HELP = """\b
Examples:
  gpo diagnose log.csv --loss dpo --beta 0.1
  gpo diagnose log.jsonl.gz --loss ipo --beta 0.2 --try-beta 0.1 --try-beta 0.4 --json

\b
FILE is CSV or JSON, plain or .gz, a row a pair: policy_chosen, policy_rejected,
reference_chosen, reference_rejected (sums of token log-probabilities in nats; names
with _logps and ref_ are understood), optionally chosen_length, rejected_length, step."""


@click.command(epilog=DIAGNOSE_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--loss", default="logistic", show_default=True, help="What the run was trained with.")
@click.option("--beta", required=True, type=NUMBER, help="Its β, in GPO's convention (see gpo beta).")
@click.option("--try-loss", "losses", multiple=True, help="A loss to compare with (again for more; default: six).")
@click.option("--try-beta", "betas", multiple=True, type=NUMBER, help="A β to compare with (again for more).")
@click.option("--resamples", type=WHOLE, default=500, show_default=True, help="Of the bootstrap over pairs.")
@click.option("--confidence", type=NUMBER, default=0.95, show_default=True, help="Of the intervals.")
@click.option("--seed", type=WHOLE, default=0, show_default=True, help="Of the bootstrap.")
@json_option
def diagnose(
    file: Path,
    loss: str,
    beta: float,
    losses: tuple[str, ...],
    betas: tuple[float, ...],
    resamples: int,
    confidence: float,
    seed: int,
    as_json: bool,
) -> None:
    """Read a training log: how far the policy moved, where the expansion fails, what falls, which f differs."""
    from gpo_analysis.estimation import diagnose as diagnosis
    from gpo_analysis.losses.naming import find_loss

    found = diagnosis(
        file, find_loss(loss), check_beta(beta, "--beta"), losses=[find_loss(name) for name in losses] or None,
        betas=[check_beta(b, "--try-beta") for b in betas] or None,
        resamples=resamples, confidence=confidence, seed=_seed(seed),
    )  # fmt: skip
    if as_json:
        print_json(found.to_dict())
    else:
        say_report(found.report)
        say(str(found))


def _seed(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"--seed must be at least 0, got {seed}")
    return seed
