"""Citations among four statistics journals: what every loss makes of one real table.

Each citation is a comparison that the cited journal wins (Stigler 1994, Statistical Science 9, 94-108). The logistic
loss is the Bradley-Terry likelihood, so that its scores must be the published abilities; the fit is computed a second
time by the minorisation-maximisation iteration of Hunter (2004), which shares nothing with the solver.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments._losses import accepted, each_of, of_the_preset, stated, those
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.arrays import FloatArray
from gpo_analysis.datasets import PUBLISHED_JOURNAL_ABILITIES, load_journals
from gpo_analysis.losses import PAPER_LOSSES, get_loss
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem

CLAIM = "DPO's scores are the published Bradley-Terry abilities of four journals; the other losses keep their order."
FIGURE = "journals"


@dataclass(frozen=True)
class Config:
    """How closely the abilities are computed the second time.

    Parameters
    ----------
    iterations : int
        Steps of Hunter's iteration.
    losses : tuple of str
        Losses compared: names, or expressions in z. The claims are about the paper's.
    """

    iterations: int = 2000
    losses: tuple[str, ...] = PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those that have no strength or no known minimum refused."""
        object.__setattr__(self, "losses", accepted(self.losses, strength=True, known=True))


PRESETS = {"quick": Config(), "paper": Config()}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a loss, one for the published numbers."""
    return grid(loss=(*config.losses, "published"))


def run(config: Config, *, loss: str) -> pd.DataFrame:
    """Fit one loss at β = 1; scores are log-ratios to a uniform πref, Biometrika at 0."""
    journals = load_journals()
    items = list(journals.items)
    if loss == "published":
        published = [PUBLISHED_JOURNAL_ABILITIES[item] for item in items]
        again = bradley_terry_abilities(journals.matrix().toarray(), config.iterations)
        table = pd.DataFrame({"journal": items, "score": published, "again": again - again[0]})
        return table.assign(loss="published", kappa=np.nan, policy=np.nan, status="published")
    f = get_loss(loss)
    solution = PreferenceProblem.from_comparisons(journals).solve(f, 1.0)
    scores = np.asarray(solution.log_ratio if solution.converged else solution.representative)
    weights = np.exp(scores - scores.max())
    return pd.DataFrame(
        {
            "journal": items,
            "score": scores - scores[items.index("Biometrika")],
            "again": np.nan,
            "loss": loss,
            "kappa": float(f.curvature_ratio),
            "policy": weights / weights.sum(),
            "status": solution.status.value,
        }
    )


def bradley_terry_abilities(wins: FloatArray, iterations: int) -> FloatArray:
    """Return log abilities, (n,), by the iteration of Hunter 2004 (Annals of Statistics 32, 384-406, equation 3).

    Parameters
    ----------
    wins : FloatArray
        (n, n) how often i won against j.
    iterations : int
        Number of steps.
    """
    games = wins + wins.T
    ability = np.ones(len(wins))
    for _ in range(iterations):
        ability = wins.sum(axis=1) / (games / (ability[:, None] + ability[None, :])).sum(axis=1)
        ability /= ability.sum()
    return np.asarray(np.log(ability))


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Published abilities, the second computation, the order, and the spread at equal βκ."""
    here = those(config.losses, PAPER_LOSSES)
    scores = table.pivot_table(index="journal", columns="loss", values="score", sort=False)
    again = find(table, loss="published").set_index("journal")["again"]

    def abilities(claim: str) -> Check:
        found = {
            str(journal): Check.equal("ability", published, float(scores.loc[journal, "logistic"]), 5.1e-4)
            for journal, published in scores["published"].items()
            if journal != "Biometrika"  # 0 by convention
        }
        return Check.each(claim, found)

    def twice(claim: str) -> Check:
        return Check.equal(claim, 0.0, float((scores["logistic"] - again).abs().max()), 1e-8)

    claims = {
        "logistic: the published abilities, to the last digit printed": abilities,
        "logistic against Hunter's iteration (largest difference)": twice,
    }
    checks = [stated(here, claim, made, of=("logistic",)) for claim, made in claims.items()]
    published = scores["published"].sort_values().index
    orders = {}
    for name in (loss for loss in here if loss != "logistic"):
        found = scores.loc[published, name]
        contrary = sum(
            found.iloc[i] > found.iloc[j] + 1e-9 for i in range(len(found)) for j in range(i + 1, len(found))
        )
        orders[name] = Check.equal("pairs", 0.0, float(contrary), 0.0, note=f"found {_order(scores[name])}")
    claim = "the other losses: pairs of journals ordered contrary to the published abilities"
    checks.append(each_of(claim, orders, note="equal scores are not contrary"))
    scaled = scores.mul(table.groupby("loss")["kappa"].first() / 0.5, axis="columns")
    for names, relation in ((("exponential", "savage"), Check.at_most), (("squared",), Check.at_least)):
        near = "nearly Bradley-Terry: " if relation == Check.at_most else "margins are large: "
        claim = f"{near}{' and '.join(names)} against logistic at equal βκ (largest difference of scores)"
        if missing := [name for name in (*names, "logistic") if name not in here]:
            checks.append(stated(here, claim, of=missing))
            continue
        gap = float(scaled[list(names)].sub(scores["logistic"], axis="index").abs().max().max())
        bound = 0.05 if relation == Check.at_most else 0.5
        checks.append(relation(claim, bound, gap, note="the bound is ours"))
    # one published table, fitted exactly: nothing is drawn, and only a bug can change what comes out
    return [check.as_theorem() for check in checks]


def _order(scores: pd.Series) -> str:
    """Return the journals from low to high score, with = between equal scores."""
    ranked = scores.sort_values(kind="stable").round(9)
    signs = [" = " if first == second else " < " for first, second in itertools.pairwise(ranked)]
    return "".join(sign + str(name) for sign, name in zip(["", *signs], ranked.index, strict=True))


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """How well the published abilities come back, and what the other losses do with large margins."""
    scores = table.pivot_table(index="journal", columns="loss", values="score", sort=False)
    off = float((scores["logistic"] - scores["published"]).abs().max())
    kappa = table.groupby("loss")["kappa"].first()
    scaled = scores.mul(kappa / kappa["logistic"], axis="columns")
    gaps = scaled.sub(scores["logistic"], axis="index").abs().max()
    shown = ", ".join(f"{name} {gaps[name]:.3g}" for name in PAPER_LOSSES if name != "logistic" and kappa[name] > 0)
    policy = table[table["loss"] != "published"].groupby("loss", sort=False)["policy"].max()
    return (
        f"The logistic loss gives the published abilities to {off:.1g}, their last printed digit, and those of a "
        f"second algorithm to {float((scores['logistic'] - scores_again(table)).abs().max()):.1g}. At equal βκ the "
        f"other scores differ from the logistic ones by at most: {shown}; the data are nearly Bradley-Terry, and the "
        "losses with a logit link stay close to each other. The hinge loss orders the journals as "
        f"{_order(scores['hinge'])}. The largest probability at β = 1 runs from {policy.min():.3f} "
        f"({policy.idxmin()}) to {policy.max():.3f} ({policy.idxmax()}). One table of four items, without seeds: no "
        "interval is claimed. To remember: all losses keep the order, ties apart, and only the logit-link ones "
        "measure the same distances."
    )


def scores_again(table: pd.DataFrame) -> pd.Series:
    """Return the abilities of the second algorithm, by journal."""
    return find(table, loss="published").set_index("journal")["again"]
