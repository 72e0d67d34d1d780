"""``gpo solve``: fit every loss to observed comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpo_analysis.cli.numbers import NUMBER, WHOLE, check_beta
from gpo_analysis.cli.output import figure_option, json_option, print_json, print_table, save_figure, say, say_report
from gpo_analysis.reading import shown

if TYPE_CHECKING:
    from gpo_analysis.estimation import ComparisonFits, LossChoice, ScoreIntervals
    from gpo_analysis.losses import MarginLoss
    from gpo_analysis.preferences import Comparisons

SOLVE_HELP = """\b
Examples:
  gpo solve comparisons.csv
  gpo solve comparisons.jsonl.gz --loss dpo --loss ipo --json
  gpo solve --example journals --figure journals.png
  gpo solve votes.jsonl.gz --votes arguments --json
  gpo solve comparisons.csv --bootstrap 500 --held-out 5

\b
FILE is CSV or JSON (one object a line, or an array), plain or .gz, with the columns
winner,loser and optionally count (or votes, weight, n), tie and prompt; or
chosen,rejected; or model_a,model_b,winner. A tie is half a win each. With prompts there
is a fit a prompt, unless --across-prompts says that a name is one item under all."""

_SHOWN = 20  # fits that are printed


@click.command(epilog=SOLVE_HELP)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--example", type=click.Choice(["journals"]), help="Use a table that ships with the package.")
@click.option("--loss", "losses", multiple=True, help="A loss by name or expression (again for more; default: six).")
@click.option(
    "--beta", type=NUMBER, default=1.0, show_default=True, help="β of the policies; scores are at β = 1 in any case."
)
@click.option(
    "--votes",
    type=click.Choice(["comparisons", "arguments"]),
    default="comparisons",
    show_default=True,
    help="'arguments' reads annotators' votes on pairs of arguments (UKPConvArg1 as JSON lines), a fit a debate.",
)
@click.option("--across-prompts", is_flag=True, help="A name is one item whatever the prompt (models, say).")
@click.option(
    "--bootstrap", type=WHOLE, default=0, metavar="N", help="Intervals of the scores from N resamples of the labels."
)
@click.option(
    "--held-out",
    type=WHOLE,
    default=0,
    metavar="FOLDS",
    help="Choose a loss by likelihood and accuracy on held-out labels.",
)
@click.option("--smoothing", type=NUMBER, default=0.0, show_default=True, help="ε of the fits of --held-out.")
@click.option("--seed", type=WHOLE, default=0, show_default=True, help="Of --bootstrap and --held-out.")
@json_option
@figure_option
def solve(
    file: Path | None,
    example: str | None,
    losses: tuple[str, ...],
    beta: float,
    votes: str,
    across_prompts: bool,
    bootstrap: int,
    held_out: int,
    smoothing: float,
    seed: int,
    as_json: bool,
    figure: Path | None,
) -> None:
    """Fit losses to real comparisons: scores, policies, transitivity, and how the losses differ."""
    from gpo_analysis.estimation import fit_comparisons
    from gpo_analysis.losses.naming import find_loss

    if (file is None) == (example is None):
        raise ValueError("solve takes a FILE or --example journals, one of the two")
    if bootstrap < 0 or seed < 0:
        raise ValueError(f"--bootstrap and --seed must be at least 0, got {bootstrap} and {seed}")
    check_beta(beta, "--beta")
    groups = _groups(file, votes, across_prompts)
    alone = len(groups) == 1 and votes != "arguments"
    if figure is not None and not alone:
        raise ValueError(f"--figure draws one problem; {file} holds {len(groups)}, a fit each")
    chosen = [find_loss(name) for name in losses] or None

    def solved(comparisons: Comparisons) -> tuple[ComparisonFits, _Extras]:
        fit = fit_comparisons(comparisons, chosen, beta)
        return fit, _Extras.of(comparisons, chosen, bootstrap, held_out, smoothing, seed)

    if as_json:
        found = {name: _document(*solved(comparisons), alone) for name, comparisons in groups.items()}
        report = _report(next(iter(groups.values())))
        print_json(
            next(iter(found.values())) if alone else found if votes == "arguments" else {"prompts": found, **report}
        )
    else:
        _show(groups, solved, alone)
    if figure is not None:
        _draw(solved(next(iter(groups.values())))[0], figure)


def _groups(file: Path | None, votes: str, across_prompts: bool) -> dict[str, Comparisons]:
    """What is to be fitted, by name."""
    from gpo_analysis.datasets import load_journals
    from gpo_analysis.preferences import read_argument_votes, read_comparisons, read_comparisons_by_prompt

    if file is None:
        return {"": load_journals()}
    if votes == "arguments":
        return read_argument_votes(file, by_side=False)
    if across_prompts:
        return {"": read_comparisons(file, across_prompts=True)}
    return read_comparisons_by_prompt(file)


def _report(comparisons: Comparisons) -> dict[str, Any]:
    report = comparisons.report
    return {"ties": "none" if report is None else report.ties, "report": None if report is None else report.to_dict()}


def _document(fit: ComparisonFits, more: _Extras, alone: bool) -> dict[str, Any]:
    return more.added_to(fit.to_dict()) | (_report(fit.comparisons) if alone else {})


def _show(
    groups: dict[str, Comparisons], solved: Callable[[Comparisons], tuple[ComparisonFits, _Extras]], alone: bool
) -> None:
    say_report(next(iter(groups.values())).report)
    for name in list(groups)[:_SHOWN]:
        if not alone:
            say(f"\n=== {shown(name, 100)}")
        fit, more = solved(groups[name])
        _print(fit)
        more.show()
    if len(groups) > _SHOWN:
        say(f"\n… {len(groups) - _SHOWN} more (all with --json)")


@dataclass(frozen=True)
class _Extras:
    """What --bootstrap and --held-out add to a fit."""

    intervals: list[ScoreIntervals]
    choice: LossChoice | None

    @classmethod
    def of(
        cls,
        comparisons: Comparisons,
        losses: list[MarginLoss] | None,
        bootstrap: int,
        held_out: int,
        smoothing: float,
        seed: int,
    ) -> _Extras:
        from gpo_analysis.estimation import bootstrap_scores, choose_loss
        from gpo_analysis.losses import PAPER_LOSSES, get_loss

        functions = losses or [get_loss(name) for name in PAPER_LOSSES]
        intervals = (
            [bootstrap_scores(comparisons, f, resamples=bootstrap, seed=seed) for f in functions] if bootstrap else []
        )
        choice = (
            choose_loss(comparisons, functions, folds=held_out, smoothing=smoothing, seed=seed) if held_out else None
        )
        return cls(intervals, choice)

    def added_to(self, told: dict[str, Any]) -> dict[str, Any]:
        """Further keys: fits[loss]["bootstrap"] and "held_out"."""
        for found in self.intervals:
            told["fits"][found.loss]["bootstrap"] = found.to_dict()
        return told if self.choice is None else {**told, "held_out": self.choice.to_dict()}

    def show(self) -> None:
        """Print them as tables."""
        for found in self.intervals:
            if found.without_fit == found.resamples:
                say(f"\n{found.loss}: no resample has a finite, unique fit")
                continue
            level, without = 100 * found.confidence, f"{found.without_fit} of {found.resamples} resamples without a fit"
            say(f"\n{found.loss}: {level:.10g}% intervals, {without}")
            columns = ("scores", "low", "high", "standard_error", "first_share")
            rows = [
                {"item": item, **{name: float(getattr(found, name)[i]) for name in columns}}
                for i, item in enumerate(found.items[:30])
            ]
            print_table(rows, index="item")
        if self.choice is not None:
            say(f"\n{self.choice}")


def _print(fit: ComparisonFits) -> None:
    say(str(fit))
    solved = {name: solution for name, solution in fit.solutions.items() if solution.converged}
    if solved:
        say(f"\npolicies at β = {fit.beta:g}, uniform reference")
        rows = [
            {"item": item, **{name: float(solution.policy[i]) for name, solution in solved.items()}}
            for i, item in enumerate(fit.items[:30])
        ]
        print_table(rows, index="item")
    differences = [vars(d) for d in fit.differences if d.kendall_tau == d.kendall_tau]
    if differences:
        say("\nhow the losses differ")
        print_table(differences)


def _draw(fit: ComparisonFits, path: Path) -> None:
    import numpy as np

    from gpo_analysis.plotting import figure_style, loss_label, loss_style, new_figure

    solved = {name: solution for name, solution in fit.solutions.items() if solution.converged}
    if not solved:
        raise ValueError("nothing to draw: no loss has a unique finite optimum on these comparisons")
    order = np.argsort(next(iter(solved.values())).scores)[-30:]
    with figure_style():
        figure, (left, right) = new_figure(1, 2, height=max(2.9, 0.25 * len(order) + 1.2), sharey=True)
        for index, (name, solution) in enumerate(solved.items()):
            rows = np.arange(len(order)) + 0.35 - 0.7 * (index + 0.5) / len(solved)
            left.plot(solution.scores[order], rows, label=loss_label(name), **loss_style(name).points())
            right.plot(solution.policy[order], rows, **loss_style(name).points())
        left.set_yticks(range(len(order)), [shown(fit.items[i], 40).replace("$", r"\$") for i in order])
        left.set_xlabel("score: log-ratio at β = 1, mean zero  [nats]")
        right.set_xlabel(f"probability at β = {fit.beta:g}")
        right.axvline(1.0 / len(fit.items), color="0.6", linewidth=0.8)
        figure.legend(loc="outside lower center", ncols=3)
        save_figure(figure, path)
