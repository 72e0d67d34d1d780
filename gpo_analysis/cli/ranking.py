"""What ``gpo solve`` says of a ranking: a table with ranks, intervals, rank sets and counts; files; a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpo_analysis.cli.keeping import out_option, save_figure, save_table, table_path
from gpo_analysis.cli.numbers import NUMBER
from gpo_analysis.cli.output import print_table, say
from gpo_analysis.reading import shown

if TYPE_CHECKING:
    import pandas as pd

    from gpo_analysis.losses import MarginLoss
    from gpo_analysis.preferences import Comparisons
    from gpo_analysis.preferences.options import ReadOptions
    from gpo_analysis.ranking import Ranking

MOST_BY_DEFAULT = 300  #: Items beyond which a ranking is made only when it is asked for.
ELO, ELO_MEAN = 400 / math.log(10), 1500.0  #: Points a nat of a logistic score; the mean of the scale.
_LINES = 40  # of a table that is printed

_OPTIONS = (
    click.option("--ties", type=click.Choice(["half", "davidson", "rao-kupper"]), default="half", show_default=True,
                 help="A tie is half a win each (any f), or by a model with a parameter of its own (logistic)."),
    click.option("--home", is_flag=True, help="Fit an advantage of who was shown first (model_a, home)."),
    click.option("--position", metavar="COLUMN", help="Column that says who was shown first, of winner and loser."),
    click.option("--covariates", multiple=True, metavar="NAME",
                 help="A column of first less second, or NAME_a and NAME_b (again for more)."),
    click.option("--cluster", metavar="COLUMN", help="Comparisons of one judge, battle, … depend on each other."),
    click.option("--ridge", type=NUMBER, default=0.0, show_default=True, help="λ of ½λ|g|²: draws scores together."),
    click.option("--prior", type=NUMBER, default=0.0, show_default=True,
                 help="Votes an item wins and loses by half: any f is finite, said in the table."),
    click.option("--scale", type=click.Choice(["nats", "elo"]), default="nats", show_default=True,
                 help="Of tables, files and figure; elo is 1500 + 400/ln 10 · score, of the logistic loss alone."),
    out_option,
    click.option("--matrix", type=click.Path(dir_okay=False, path_type=Path), callback=table_path("--matrix"),
                 help="Write P(row beats column) + ½ P(tie), of a model of ties too (.csv, .json, .parquet, .md)."),
)  # fmt: skip


def ranking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a ranking."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class Wish:
    """What was asked of a ranking."""

    ties: str
    home: bool
    position: str
    covariates: tuple[str, ...]
    cluster: str
    ridge: float
    prior: float
    scale: str
    out: Path | None
    matrix: Path | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Wish:
        """From a command's options."""
        values = {name: given[name] for name in cls.__dataclass_fields__}
        return cls(**{**values, "position": values["position"] or "", "cluster": values["cluster"] or ""})

    @property
    def is_asked(self) -> bool:
        """Whether any of it differs from what is done anyway."""
        given = (self.ties != "half", self.home, self.covariates, self.cluster, self.ridge, self.prior, self.out)
        return any(map(bool, given)) or self.scale != "nats" or self.matrix is not None

    def reading(self, options: ReadOptions) -> ReadOptions:
        """The reader's options, with what a ranking needs of the columns."""
        found = options.copy()
        if self.covariates:
            found["covariates"] = self.covariates
        if self.cluster:
            found["cluster"] = self.cluster
        if self.position:
            found["position"] = self.position
        return found

    def rank(self, comparisons: Comparisons, loss: MarginLoss) -> Ranking:
        """The ranking by one loss.

        Raises
        ------
        ValueError
            For Elo points of another loss than logistic, and what `gpo_analysis.ranking.rank` refuses.
        """
        from gpo_analysis.ranking import ComparisonProblem, rank

        if self.home and not comparisons.contests.ordered:
            raise ValueError(
                "--home takes comparisons that say who was shown first: model_a and model_b, home and away, or "
                "--position; here the winner stands first, or of each pair the earlier in the alphabet"
            )
        if self.scale == "elo" and loss.name != "logistic":
            raise ValueError(
                f"--scale elo is of logistic scores, whose difference is a log-odds; got {loss.name} (each --loss has "
                "a table of its own: accepted with --scale elo is --loss logistic alone)"
            )
        problem = ComparisonProblem.from_comparisons(comparisons, position=self.home)
        return rank(problem, loss, ties=self.ties, ridge=self.ridge, prior=self.prior)

    def scaled(self, ranking: Ranking) -> pd.DataFrame:
        """The ranking's table, highest first, on the scale that was asked for."""
        table = ranking.to_frame()
        if self.scale == "elo":
            for name in ("score", "low", "high"):
                table[name] = ELO_MEAN + ELO * table[name]
            table["standard_error"] *= ELO
        return table


def document(ranking: Ranking, wish: Wish) -> dict[str, Any]:
    """Plain values for JSON."""
    coefficients = ranking.coefficients_frame()
    return {
        "loss": ranking.loss, "ties": ranking.ties, "ridge": ranking.ridge, "prior": ranking.prior,
        "scale": wish.scale, "confidence": ranking.confidence, "status": str(ranking.fit.status),
        "reason": ranking.fit.reason, "no_intervals": ranking.why, "log_likelihood": ranking.log_likelihood,
        "cluster": wish.cluster or None,
        "coefficients": coefficients.reset_index(names="name").to_dict("records"),
        "table": wish.scaled(ranking).to_dict("records"),
    }  # fmt: skip


def no_spread(why: str) -> dict[str, Any]:
    """What JSON says of a fit without intervals."""
    return {"standard_errors": None, "intervals": None, "ranks": None, "rank_sets": None, "no_intervals": why}


def spread_of(ranking: Ranking) -> dict[str, Any]:
    """Standard errors, intervals, ranks and rank sets in the order of the items, in nats; null where there is none.

    Intervals whose one side no vote bounds are null on that side; `no_intervals` says why any is missing or open.
    """
    import numpy as np

    from gpo_analysis.tabular.solution import as_json

    found = ranking.intervals
    told = no_spread(found.reason or ranking.why)
    if ranking.covariance is not None:
        told["standard_errors"] = as_json(ranking.standard_errors[: ranking.problem.n])
    if not np.isnan(found.low).all():
        told["intervals"] = [as_json([low, high]) for low, high in zip(found.low, found.high, strict=True)]
    if ranking.converged and ranking.problem.parts.max() == 0:
        scores = ranking.scores.round(9)  # equal scores share a rank
        told["ranks"] = [1 + int((scores > score).sum()) for score in scores]
    if ranking.ranks is not None:
        told["rank_sets"] = np.stack([ranking.ranks.best, ranking.ranks.worst], axis=1).tolist()
    return told


def show(ranking: Ranking, wish: Wish) -> None:
    """Print the table, its highest rows."""
    table = wish.scaled(ranking)
    unit = "Elo points" if wish.scale == "elo" else "nats"
    by = f"clusters of {wish.cluster}" if wish.cluster else "votes"
    words = {"half": "ties half a win each", "davidson": "Davidson's ties", "rao-kupper": "Rao and Kupper's ties"}
    drawn = "".join(f", {name} {value:g}" for name, value in (("ridge", wish.ridge), ("prior", wish.prior)) if value)
    say(
        f"\nranking by {ranking.loss}, {words[ranking.ties]}{drawn}; scores in {unit}, {100 * ranking.confidence:g} % "
        f"intervals by {by}; rank sets hold together"
    )
    if ranking.why:
        say(f"no standard errors: {ranking.why}")
    if ranking.intervals.reason and ranking.intervals.reason != ranking.why:
        say(ranking.intervals.reason)
    if ranking.ranks is not None:
        say("ranks: the places that it may have; best: share of draws of the scores round the fit in which it is first")
    rows = [
        {
            "rank": int(row["rank"]), "item": row["item"], "score": row["score"], "low": row["low"],
            "high": row["high"],
            "ranks": "–" if ranking.ranks is None else f"{row['rank_best']}–{row['rank_worst']}",
            "best": row["best_probability"],
            **{name: _count(row[name]) for name in ("wins", "losses", "ties")},
        }
        for row in table.head(_LINES).to_dict("records")
    ]  # fmt: skip
    print_table(rows, index="rank")
    if len(table) > _LINES:
        say(f"… {len(table) - _LINES} more (all with --out or --json)")
    coefficients = ranking.coefficients_frame()
    if len(coefficients):
        say("\ncoefficients, nats")
        rows = [{"name": str(name), **dict(row)} for name, row in coefficients.iterrows()]
        print_table(rows, index="name")


def _count(value: float) -> str:
    """A whole number as such."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.4g}"


def write(rankings: Sequence[tuple[str, Ranking]], wish: Wish) -> None:
    """Write what --out and --matrix name; rankings are given with their prompts (``""`` for none)."""
    import pandas as pd

    several = len({ranking.loss for _, ranking in rankings}) > 1
    if wish.out is not None:
        parts = []
        for prompt, ranking in rankings:
            table = wish.scaled(ranking)
            if several:
                table.insert(0, "loss", ranking.loss)
            if prompt:
                table.insert(0, "prompt", prompt)
            parts.append(table)
        save_table(pd.concat(parts, ignore_index=True), wish.out)
    if wish.matrix is not None:
        if len(rankings) > 1:
            raise ValueError(f"--matrix is of one ranking; there are {len(rankings)} (one --loss, no prompts)")
        save_table(matrix(rankings[0][1]), wish.matrix)
        say("  in it: the probability that the row's item beats the column's, plus half that of a tie")


def matrix(ranking: Ranking) -> pd.DataFrame:
    """P(the row's item beats the column's) + ½ P(tie), so that P + Pᵀ = 1; the highest first; ½ on the diagonal.

    Raises
    ------
    ValueError
        Where there is no finite fit, or items that no comparisons connect.
    """
    import numpy as np
    import pandas as pd

    order = ranking.to_frame()["item"].tolist()
    n = len(order)
    first, second = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    names = np.array(order, dtype=object)
    chance = ranking.predict_proba(names[first], names[second]).reshape(n, n)
    np.fill_diagonal(chance, 0.5)
    table = pd.DataFrame(chance, columns=order)
    table.insert(0, "item", order)
    return table


def draw(rankings: Sequence[Ranking], wish: Wish, path: Path) -> None:
    """Draw scores with their intervals, a row an item, no lines between items: a column a ranking, at most 130 rows."""
    from gpo_analysis.plotting import figure_style, loss_label, new_figure, plot_scores

    solved = [ranking for ranking in rankings if ranking.converged]
    if not solved:
        raise ValueError("nothing to draw: no loss has a unique finite optimum on these comparisons")
    order = wish.scaled(solved[0])["item"].tolist()[:130]
    height = max(2.4, (0.24 if len(order) <= 40 else 0.13) * len(order) + 1.1)
    with figure_style():
        figure, axes = new_figure(1, len(solved), height=height, sharey=True, squeeze=False)
        for ax, ranking in zip(axes[0], solved, strict=True):
            table = wish.scaled(ranking).set_index("item").loc[order]
            names = [shown(name, 40) for name in order]
            plot_scores(names, table["score"], table["low"], table["high"], ax, style=ranking.loss)
            ax.set_title(loss_label(ranking.loss))
            unit = "Elo points" if wish.scale == "elo" else "score  [nats]"
            ax.set_xlabel(f"{unit}, {100 * ranking.confidence:g} % intervals")
            ax.grid(axis="x", linewidth=0.4, color="0.88")
            ax.set_axisbelow(True)
            if len(order) > 40:
                ax.tick_params(axis="x", top=True, labeltop=True)
        save_figure(figure, path)
