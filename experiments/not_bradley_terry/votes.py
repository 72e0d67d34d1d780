"""Part ``votes``: the arguments of experiment arguments, with a held-out likelihood for every f."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_expit

from experiments._debates import comparisons, read_side
from experiments._losses import CURVED, rows_of, stated, those
from experiments.framework import Check
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find, get
from gpo_analysis.tabular import PreferenceProblem


class Reading(Protocol):
    """What is said of the reading of a side."""

    @property
    def held_out(self) -> float:
        """Share of each side's pairs that is not fitted."""

    @property
    def seed(self) -> int:
        """Of the choice of these pairs."""

    @property
    def losses(self) -> tuple[str, ...]:
        """What is fitted; of losses that are not the paper's the held-out likelihood by one fitted scale is given."""


def run(config: Reading, file: str, sha256: str, prompt: str) -> pd.DataFrame:
    """Held-out log-likelihood a vote, by each loss's own link and by one scale fitted on the training votes."""
    side = read_side(file, sha256, prompt, held_out=config.held_out, seed=config.seed)
    problem = PreferenceProblem.from_comparisons(comparisons(side.fitted, side.items))
    found = []
    for name in config.losses:
        solution = problem.solve(name, 1.0)
        scores = solution.log_ratio if solution.converged else solution.representative
        known = scores is not None and bool(np.isfinite(scores).all())
        own = known and name in PAPER_LOSSES and name != "hinge"
        scale = scale_of(np.asarray(scores), side.fitted) if known else np.nan
        found.append(
            {
                "prompt": prompt, "loss": name, "unique": solution.converged, "known": known,
                "tested": float(side.tested.sum()), "scale": scale,
                "own": likelihood(own_link(name, np.asarray(scores)), side.tested) if own else np.nan,
                "scaled": likelihood(log_expit(scale * _gaps(np.asarray(scores))), side.tested) if known else np.nan,
            }
        )  # fmt: skip
    return pd.DataFrame(found)


def _gaps(scores: FloatArray) -> FloatArray:
    return np.asarray(scores[:, None] - scores[None, :])


def own_link(name: str, scores: FloatArray) -> FloatArray:
    """log p(i ≻ j) that a loss's own margins mean: z*(η) solved for η; kept within [0.01, 0.99] where it can be 0."""
    z = _gaps(scores)
    if name in ("squared", "truncated_quadratic"):
        return np.asarray(np.log(np.clip((1 + z) / 2, 0.01, 0.99)))
    return np.asarray(log_expit(2 * z if name == "exponential" else z))


def likelihood(log_p: FloatArray, votes: FloatArray) -> float:
    """Mean log-likelihood of a vote, nats; votes (n, n), entry (i, j) for i over j."""
    total = votes.sum()
    return float((votes * log_p).sum() / total) if total else float("nan")


def scale_of(scores: FloatArray, votes: FloatArray) -> float:
    """The a ≥ 0 of highest likelihood of σ(a (s_i − s_j))."""
    spread = float(np.ptp(scores))
    if spread == 0:
        return 0.0
    found = minimize_scalar(
        lambda a: -likelihood(log_expit(a * _gaps(scores)), votes), bounds=(0.0, 100.0 / spread), method="bounded"
    )
    return float(found.x)


def check(table: pd.DataFrame) -> list[Check]:
    claim = "real votes: held-out log-likelihood a vote, scaled, spread over losses with κ > 0"
    if "votes" not in set(table["part"]):
        return [Check.not_run(claim, 0.0, str(get(table, "why", part="no votes")))]
    table = rows_of(table)
    scaled = votes_scored(table).groupby("loss")["scaled"].mean()
    there = those(set(table["loss"].dropna()), CURVED)
    curved = scaled.reindex(there)
    coin = "real votes: every loss with κ > 0 is better than a coin, log-likelihood over log ½"
    return [
        stated(there, claim, lambda claim: Check.at_most(claim, 0.02, float(curved.max() - curved.min()),
                       note=f"best {curved.idxmax()}; the bound is ours"), some=CURVED, least=2),
        stated(there, coin, lambda claim: Check.at_least(claim, 0.0, float(curved.min() + np.log(2.0))), some=CURVED),
    ]  # fmt: skip


def votes_scored(table: pd.DataFrame) -> pd.DataFrame:
    """Sides of debates on which every loss has scores and some votes are held out."""
    rows = find(table, part="votes")
    return rows[rows.groupby("prompt")["scaled"].transform(lambda value: value.notna().all())]


def summary(table: pd.DataFrame) -> str:
    if "votes" not in set(table["part"]):
        return "Real votes were not run: no data."
    rows = votes_scored(table)
    scaled = ", ".join(f"{n} {mean_interval(find(rows, loss=n)['scaled'])}" for n in PAPER_LOSSES)
    own = ", ".join(f"{n} {mean_interval(find(rows, loss=n)['own'])}" for n in PAPER_LOSSES if n != "hinge")
    return (
        f"On real votes ({rows['prompt'].nunique()} sides of debates) the held-out log-likelihood a vote is, with one "
        f"fitted scale, {scaled}, and by each loss's own link {own} (hinge has none); a coin has −0.693."
    )
