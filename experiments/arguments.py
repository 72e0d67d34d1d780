"""Which argument convinces more: six losses on real votes, one problem a side of a debate.

The data are pairs of arguments from online debates with the votes of about five annotators (Habernal and Gurevych 2016,
"Which argument is more convincing?", ACL), read from a folder that the user names (`experiments._debates`). The two
sides of a debate are never compared with each other, so each is a problem of its own. An undecided vote counts one half
for both. A fifth of the pairs is held out of each problem; a fit is right on such a pair when the argument of higher
score has more votes, and half right when scores are equal.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from scipy.stats import kendalltau

from experiments._debates import comparisons, read_side, side_axes
from experiments._losses import (
    CURVED,
    accepted,
    each_of,
    of_the_preset,
    only_those_of_the_paper,
    rows_of,
    stated,
    those,
)
from experiments.framework import Check
from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import kl_divergence
from gpo_analysis.losses import PAPER_LOSSES, get_loss
from gpo_analysis.preferences import diagnostics
from gpo_analysis.statistics import Interval, bootstrap_interval, mean_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem

CLAIM = "On real votes, with cycles, losses with κ > 0 rank arguments alike; KL at equal βκ parts by tail family."
FIGURE = "arguments"


@dataclass(frozen=True)
class Config:
    """What is held out, and where KL is read off.

    Parameters
    ----------
    held_out : float
        Share of the pairs of each problem that is not fitted.
    strengths : tuple of float
        Values of βκ (of β for hinge).
    seed : int
        Seed of the split.
    losses : tuple of str
        Losses compared: names, or expressions in z. The claims are about the paper's.
    """

    held_out: float = 0.2
    strengths: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
    seed: int = 0
    losses: tuple[str, ...] = PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those that have no strength or no known minimum refused."""
        object.__setattr__(self, "losses", accepted(self.losses, strength=True, known=True))


PRESETS = {"quick": Config(), "paper": Config()}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a side of a debate; the data's checksum is part of it."""
    return side_axes()


def run(config: Config, *, file: str, sha256: str, prompt: str) -> pd.DataFrame:
    """Fit every loss on one side of one debate."""
    side = read_side(file, sha256, prompt, held_out=config.held_out, seed=config.seed)
    problem = PreferenceProblem.from_comparisons(comparisons(side.fitted, side.items))
    triples, cycles = cyclic_triples(side.whole)
    shared = {
        "prompt": prompt,
        "items": len(side.items),
        "pairs": side.pairs,
        "tested": int((np.triu(side.tested - side.tested.T) != 0).sum()),
        "triples": triples,
        "cycles": cycles,
        "cyclic_share": float(diagnostics(comparisons(side.whole, side.items)).cyclic_share),
    }
    found = []
    for name in config.losses:
        loss = get_loss(name)
        solution = problem.solve(loss, 1.0)
        scores = solution.log_ratio if solution.converged else solution.representative
        for strength in config.strengths:
            found.append(
                {
                    **shared,
                    "loss": name,
                    "strength": strength,
                    "kl": np.nan if scores is None else _kl(np.asarray(scores) / loss.beta_of(strength)),
                    "right": np.nan if scores is None else right_on(np.asarray(scores), side.tested),
                    "scores": None if scores is None else np.asarray(scores).tolist(),
                    "status": solution.status.value,
                }
            )
    return pd.DataFrame(found)


def cyclic_triples(table: FloatArray) -> tuple[int, int]:
    """Return how many triples have all three pairs decided by a majority of votes, and how many of them are cycles."""
    decided = np.sign(table - table.T)
    triples = cycles = 0
    for i, j, k in itertools.combinations(range(len(table)), 3):
        around = decided[i, j], decided[j, k], decided[k, i]
        triples += 0.0 not in around
        cycles += abs(sum(around)) == 3.0
    return triples, cycles


def right_on(scores: FloatArray, table: FloatArray) -> float:
    """Return on how many pairs the score agrees with the majority of votes; equal scores count half."""
    winner, loser = np.nonzero(np.clip(table - table.T, 0.0, None))
    gap = scores[winner] - scores[loser]
    return float((gap > 1e-9).sum() + 0.5 * (np.abs(gap) <= 1e-9).sum())


def _kl(log_ratio: FloatArray) -> float:
    """Return KL(π‖πref) in nats for uniform πref."""
    n = len(log_ratio)
    return float(kl_divergence(np.exp(log_ratio - logsumexp(log_ratio)), np.full(n, 1.0 / n)))


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Cycles, agreement of the losses on held-out votes and on the order, and how far KL parts."""
    if none := only_those_of_the_paper(config.losses, CLAIM):
        return none
    one, here = find(rows_of(table), strength=1.0), those(config.losses, PAPER_LOSSES)
    problems, scored = find(one, loss="logistic" if "logistic" in here else here[0]), _scored(one)
    cycles, over = float(problems["cycles"].sum()), f"{scored['prompt'].nunique()} of {len(problems)} problems"
    counted = float((problems["cyclic_share"] * problems["triples"]).fillna(0.0).sum())
    rates = scored.assign(rate=scored["right"] / scored["tested"]).pivot(index="prompt", columns="loss", values="rate")
    curved = rates.drop(columns="hinge", errors="ignore")
    off = curved.sub(curved.mean(axis=1), axis=0)
    alike = {str(name): Check.within("gap", 0.0, mean_interval(off[name]), 0.03, over) for name in off}
    orders = {
        other: Check.above("τ", 0.8, _median([_kendall(rows, other) for _, rows in scored.groupby("prompt")]), over)
        for other in those(here, ("squared", "exponential", "truncated_quadratic"))
        if "logistic" in here
    }
    wide = scored.pivot_table(index="prompt", columns="loss", values="kl")
    bound = "the bound is ours"
    return [
        Check.at_least("votes have cycles: triples of arguments that form one", 1.0, cycles),
        Check.equal("cyclic triples counted here and by the diagnostics", cycles, counted, 1e-6).as_theorem(),
        stated(here, "held-out accuracy of the losses with κ > 0 less their mean, a problem: within 0.03",
               lambda claim: Check.each(claim, alike, note=bound), some=CURVED, least=2),
        stated(here, "hinge, which gives arguments equal scores, ranks worse than the mean of the five (accuracy)",
               lambda claim: Check.below(claim, 0.0, mean_interval(rates["hinge"] - curved.mean(axis=1)), over),
               of=PAPER_LOSSES).as_restated("found on these votes by a first run, not predicted"),
        each_of("order of the arguments against logistic's: Kendall's τ, median over problems", orders, note=bound),
        stated(here, "about five votes a pair: KL(logistic)/KL(squared) at βκ = 1, median over problems",
               lambda claim: Check.above(claim, 1.5, _median(wide["logistic"] / wide["squared"]), over),
               of=("logistic", "squared")),
    ]  # fmt: skip


def _scored(one: pd.DataFrame) -> pd.DataFrame:
    """Rows of the problems on which every loss has an answer."""
    return one[one.groupby("prompt")["right"].transform(lambda right: right.notna().all())]


def _median(values: ArrayLike) -> Interval:
    """Median over problems, which are drawn again."""
    return bootstrap_interval(values, lambda x: float(np.median(x)), seed=0)


def _kendall(rows: pd.DataFrame, other: str) -> float:
    scores = rows.set_index("loss")["scores"]
    return float(kendalltau(scores["logistic"], scores[other]).statistic)


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """Cycles, held-out accuracy with intervals over problems, order, and KL."""
    one = find(table, strength=1.0)
    problems = find(one, loss="logistic")
    scored = _scored(one)
    share = (scored["right"] / scored["tested"]).groupby(scored["loss"], sort=False)
    accuracy = ", ".join(f"{name} {mean_interval(values)}" for name, values in share)
    agreement = [_kendall(rows, "squared") for _, rows in scored.groupby("prompt")]
    kl = scored.pivot_table(index="prompt", columns="loss", values="kl")
    ratio = kl["logistic"] / kl["squared"]
    triples, cycles = float(problems["triples"].sum()), float(problems["cycles"].sum())
    return (
        f"Of {triples:,.0f} triples of arguments whose three pairs are decided, {cycles / triples:.2%} are cycles, in "
        f"{len(problems)} problems. Held-out accuracy, mean over the {scored['prompt'].nunique()} problems where "
        f"every loss has an answer, with its 95 % interval: {accuracy}. Logistic and squared order the arguments "
        f"alike (Kendall's τ, median {np.median(agreement):.3f}), and the intervals of the losses with κ > 0 overlap; "
        "hinge is behind because it ties arguments, which was found and not predicted. At equal βκ the KL still "
        f"differs: KL(logistic)/KL(squared) has median {ratio.median():.3g} (quartiles {ratio.quantile(0.25):.3g} and "
        f"{ratio.quantile(0.75):.3g}). To remember: on real votes the choice among losses with κ > 0 hardly moves the "
        "ranking, and moves the KL by a factor."
    )
