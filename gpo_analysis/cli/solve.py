"""``gpo solve``: fit every loss to observed comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpo_analysis.cli.completing import loss_names
from gpo_analysis.cli.keeping import figure_option
from gpo_analysis.cli.numbers import NUMBER, WHOLE, check_beta
from gpo_analysis.cli.output import json_option, print_json, print_table, say, say_report
from gpo_analysis.cli.ranking import (
    MOST_BY_DEFAULT,
    Wish,
    document,
    draw,
    no_spread,
    ranking_options,
    show,
    spread_of,
    write,
)
from gpo_analysis.cli.reading import check_at_once, options_of, reading_options
from gpo_analysis.progress import followed
from gpo_analysis.reading import shown

if TYPE_CHECKING:
    from gpo_analysis.estimation import ComparisonFits, LossChoice, ScoreIntervals
    from gpo_analysis.losses import Loss, MarginLoss
    from gpo_analysis.preferences import Comparisons
    from gpo_analysis.preferences.options import ReadOptions
    from gpo_analysis.ranking import NoiseTests, Ranking

SOLVE_HELP = """\b
Examples:
  gpo solve comparisons.csv
  gpo solve comparisons.jsonl.gz --loss dpo --loss ipo --json
  gpo solve --example journals --figure journals.png
  gpo solve battles.csv --ties davidson --home --cluster judge --scale elo --out table.csv
  gpo solve battles.parquet --covariates tokens --loss dpo --figure ranking.pdf
  gpo solve pairs.csv --columns winner=preferred --columns prompt=question
  zcat votes.tsv.gz | gpo solve - --loss dpo --matrix chances.csv
  gpo solve votes.jsonl.gz --votes arguments --json
  gpo solve comparisons.csv --bootstrap 500 --held-out 5
  gpo solve comparisons.csv --loss nca_pair --loss "-log(sigmoid(a)) - log(sigmoid(-b))" --beta 0.1

\b
FILE is CSV, TSV, JSON lines, a JSON array or Parquet, plain or .gz, or - for standard
input, with columns (without regard to case)
  winner,loser and optionally count (or votes, weight, n), tie and prompt;
  prompt,chosen,rejected: texts, lists of messages, or dialogues that share a prompt;
  model_a,model_b,winner, the winner a side, a name, tie or tie (bothbad);
  model_a,model_b,model_a_wins,model_b_wins,ties: a row a pair, with counts;
  prompt,chosen_id,rejected_id,votes_chosen,votes_rejected,votes_equal: votes on a pair.
In a ranking's table `ranks` are the places an item may have, all sets together, and
`best` is the share of draws of the scores round the fit in which it comes first (of the
noise of the fit, no posterior). A tie is half a win each unless --ties says otherwise. Where items are responses to
prompts there is a fit a prompt; models are one item under all (--across-prompts,
--within-prompts). There is a ranking's table for each --loss f(z), of logistic scores
without one; --scale elo takes no other loss than logistic."""

_SHOWN = 20  # fits that are printed


@click.command(epilog=SOLVE_HELP)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--example", type=click.Choice(["journals"]), help="Use a table that ships with the package.")
@click.option(
    "--loss",
    "losses",
    multiple=True,
    shell_complete=loss_names,
    help="A loss by name or expression, in z or in a and b (again for more; default: six).",
)
@click.option(
    "--beta",
    type=NUMBER,
    default=1.0,
    show_default=True,
    help="β of the policies; scores of margin losses are at β = 1 in any case.",
)
@click.option(
    "--votes",
    type=click.Choice(["comparisons", "arguments"]),
    default="comparisons",
    show_default=True,
    help="'arguments' reads annotators' votes on pairs of arguments (UKPConvArg1 as JSON lines), a fit a debate.",
)
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
@click.option(
    "--noise",
    type=WHOLE,
    metavar="N",
    help="Sets of votes without cycles to hold cycles against (default 199 up to 150 items; 0 for none).",
)
@reading_options
@ranking_options
@json_option
@figure_option
def solve(
    file: Path | None,
    example: str | None,
    losses: tuple[str, ...],
    beta: float,
    votes: str,
    bootstrap: int,
    held_out: int,
    smoothing: float,
    seed: int,
    noise: int | None,
    as_json: bool,
    figure: Path | None,
    **given: Any,
) -> None:
    """Fit losses to real comparisons: scores, policies, transitivity, and how the losses differ."""
    if (file is None) == (example is None):
        raise ValueError("solve takes a FILE or --example journals, one of the two")
    if bootstrap < 0 or seed < 0:
        raise ValueError(f"--bootstrap and --seed must be at least 0, got {bootstrap} and {seed}")
    check_beta(beta, "--beta")
    check_at_once(file, losses)
    wish = Wish.of(given)
    from gpo_analysis.estimation import fit_comparisons
    from gpo_analysis.losses import MarginLoss
    from gpo_analysis.losses.lookup import get_loss, get_margin_loss

    groups = _groups(file, votes, wish.reading(options_of(given)))
    alone = len(groups) == 1 and votes != "arguments"
    if figure is not None and not alone:
        raise ValueError(f"--figure draws one problem; {file} holds {len(groups)}, a fit each")
    chosen = [get_loss(name) for name in losses] or None
    of_margins = None if chosen is None else [f for f in chosen if isinstance(f, MarginLoss)]
    if chosen is not None and of_margins is not None and len(of_margins) < len(chosen):
        _refuse_ranking(chosen, wish, bootstrap, held_out, figure)
    ranked = [get_margin_loss("logistic")] if of_margins is None else of_margins
    asked = _Asked(
        of_margins, bootstrap, held_out, smoothing, seed, noise, wish, alone, as_json, each=len(groups) <= _SHOWN
    )  # fmt: skip
    rankings: list[tuple[str, Ranking]] = []

    def solved(name: str) -> tuple[ComparisonFits, _Extras]:
        comparisons = groups[name]
        found = asked.rankings(comparisons, ranked)
        rankings.extend(("" if alone else name, ranking) for ranking in found)
        return fit_comparisons(comparisons, chosen, beta), _Extras.of(comparisons, asked, found)

    if as_json:
        documents = {name: _document(*solved(name), alone) for name in followed(groups, not alone, "fits")}
        report = _report(next(iter(groups.values())))
        told = {"prompts": documents, **report}
        print_json(next(iter(documents.values())) if alone else documents if votes == "arguments" else told)
    else:
        _show(groups, solved, alone)
    if wish.out is not None or wish.matrix is not None:
        done = {name for name, _ in rankings}
        for name, comparisons in groups.items():
            if name not in done and not alone:
                rankings += [(name, ranking) for ranking in asked.rankings(comparisons, ranked)]
        write(rankings, wish)
    if figure is not None:
        games = next(iter(groups.values()))
        few = (
            ranked if chosen or wish.is_asked else [get_margin_loss(name) for name in ("logistic", "squared", "savage")]
        )
        draw([wish.rank(games, f) for f in few], wish, figure)


def _refuse_ranking(chosen: list[Loss], wish: Wish, bootstrap: int, held_out: int, figure: Path | None) -> None:
    """Say why intervals, resamples and figures are not made of a loss of two log-ratios.

    Raises
    ------
    ValueError
        Where one of them is asked for.
    """
    from gpo_analysis.losses import TwoRatioLoss

    name = next(f.name for f in chosen if isinstance(f, TwoRatioLoss))
    asked = {"--bootstrap": bootstrap, "--held-out": held_out, "--figure": figure is not None}
    given = [option for option, value in asked.items() if value] or (["a ranking's options"] if wish.is_asked else [])
    if given:
        raise ValueError(
            f"{given[0]} and {name} do not go together: {name} is a loss of two log-ratios, whose scores depend on β "
            "and πref, and rankings are made of scores of margin losses; without it gpo solve fits the loss"
        )


def _groups(file: Path | None, votes: str, reading: ReadOptions) -> dict[str, Comparisons]:
    """What is to be fitted, by name."""
    from gpo_analysis.datasets import load_journals
    from gpo_analysis.preferences import read_argument_votes, read_comparisons_by_prompt

    if file is None:
        return {"": load_journals()}
    if votes == "arguments":
        if reading:
            raise ValueError(f"--votes arguments reads one format; it takes no {', '.join(reading)}")
        return read_argument_votes(file, by_side=False)
    return read_comparisons_by_prompt(file, **reading)


def _report(comparisons: Comparisons) -> dict[str, Any]:
    report = comparisons.report
    return {"ties": "none" if report is None else report.ties, "report": None if report is None else report.to_dict()}


def _document(fit: ComparisonFits, more: _Extras, alone: bool) -> dict[str, Any]:
    return more.added_to(fit.to_dict()) | (_report(fit.comparisons) if alone else {})


def _show(groups: dict[str, Comparisons], solved: Callable[[str], tuple[ComparisonFits, _Extras]], alone: bool) -> None:
    say_report(next(iter(groups.values())).report)
    for name in list(groups)[:_SHOWN]:
        if not alone:
            say(f"\n=== {shown(name, 100)}")
        fit, more = solved(name)
        _print(fit)
        more.show()
    if len(groups) > _SHOWN:
        say(f"\n… {len(groups) - _SHOWN} more (all with --json)")


@dataclass(frozen=True)
class _Asked:
    """What is wanted beside the fits."""

    losses: list[MarginLoss] | None
    bootstrap: int
    held_out: int
    smoothing: float
    seed: int
    noise: int | None
    wish: Wish
    alone: bool
    as_json: bool
    each: bool  # whether every fit gets its intervals in JSON

    def spreads(self, comparisons: Comparisons, losses: list[MarginLoss]) -> dict[str, dict[str, Any]]:
        """Errors, intervals and ranks of each fit's scores, ties at half a win each, or why there are none."""
        from gpo_analysis.ranking import ComparisonProblem, rank

        if not self.each or comparisons.n > MOST_BY_DEFAULT:
            why = f"made for at most {MOST_BY_DEFAULT} items and {_SHOWN} prompts; --out and --bootstrap make them"
            return {f.name: no_spread(why) for f in losses}
        problem = ComparisonProblem.from_comparisons(comparisons).without_covariates()
        return {f.name: spread_of(rank(problem, f)) for f in losses}

    def rankings(self, comparisons: Comparisons, losses: list[MarginLoss]) -> list[Ranking]:
        """Rankings with intervals: where they are asked for, or of one problem that is not too large."""
        if not self.wish.is_asked and not (self.alone and comparisons.n <= MOST_BY_DEFAULT):
            return []
        found = [self.wish.rank(comparisons, f) for f in losses]
        return found if self.wish.is_asked else [ranking for ranking in found if ranking.converged]

    def noise_of(self, comparisons: Comparisons) -> NoiseTests | None:
        """Cycles against noise, where votes are whole numbers and there is one problem."""
        simulations = self.noise
        if simulations is None:
            simulations = 199 if self.alone and 3 <= comparisons.n <= 150 else 0
        if not simulations:
            return None
        from gpo_analysis.ranking import noise_tests

        try:
            return noise_tests(comparisons, simulations=simulations, seed=self.seed)
        except ValueError:
            if self.noise is not None:
                raise
            return None


@dataclass(frozen=True)
class _Extras:
    """What is said beside the fits."""

    intervals: list[ScoreIntervals]
    choice: LossChoice | None
    rankings: list[Ranking]
    noise: NoiseTests | None
    wish: Wish
    spreads: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, comparisons: Comparisons, asked: _Asked, rankings: list[Ranking]) -> _Extras:
        from gpo_analysis.estimation import bootstrap_scores, choose_loss
        from gpo_analysis.losses import PAPER_LOSSES, get_loss

        functions = [get_loss(name) for name in PAPER_LOSSES] if asked.losses is None else asked.losses
        intervals = [
            bootstrap_scores(comparisons, f, resamples=asked.bootstrap, seed=asked.seed, progress=asked.alone)
            for f in (functions if asked.bootstrap else ())
        ]
        choice = None
        if asked.held_out:
            choice = choose_loss(
                comparisons,
                functions,
                folds=asked.held_out,
                smoothing=asked.smoothing,
                seed=asked.seed,
                progress=asked.alone,
            )
        spreads = asked.spreads(comparisons, functions) if asked.as_json else {}
        return cls(intervals, choice, rankings, asked.noise_of(comparisons), asked.wish, spreads)

    def added_to(self, told: dict[str, Any]) -> dict[str, Any]:
        """Further keys: fits[loss]["standard_errors"] to ["no_intervals"] and ["bootstrap"]; "rankings" and so on."""
        for name, spread in self.spreads.items():
            told["fits"][name] |= spread
        for found in self.intervals:
            told["fits"][found.loss]["bootstrap"] = found.to_dict()
        if self.rankings:
            told["rankings"] = [document(ranking, self.wish) for ranking in self.rankings]
        if self.noise is not None:
            told["noise"] = self.noise.to_dict()
        return told if self.choice is None else {**told, "held_out": self.choice.to_dict()}

    def show(self) -> None:
        """Print them as tables."""
        if self.noise is not None:
            say(f"\n{self.noise}")
        for ranking in self.rankings:
            show(ranking, self.wish)
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
        order = (-next(iter(solved.values())).policy).argsort(kind="stable")[:30]
        rows = [
            {"item": fit.items[i], **{name: float(solution.policy[i]) for name, solution in solved.items()}}
            for i in order
        ]
        print_table(rows, index="item")
    differences = [vars(d) for d in fit.differences if d.kendall_tau == d.kendall_tau]
    if differences:
        say("\nhow the losses differ")
        print_table(differences)
