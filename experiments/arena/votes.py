"""One arena under every f: ranks, rank sets, cycles against noise, ties; and how the votes are read or made."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments._debates import side_rows
from experiments.arena.rules import kendall
from experiments.framework import NotRun
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import PAPER_LOSSES, get_loss
from gpo_analysis.ranking import BootstrapScores, ComparisonProblem, Ranking, bootstrap, noise_tests, rank

FILE = Path("arena_votes", "votes.csv.gz")
PRIOR = 1.0
"""Votes an item, half won and half lost, where some fit is not finite without."""


def arena_axes() -> list[dict[str, str]]:
    """The axes of the Arena votes; none where the data are not there."""
    path = Path(os.environ.get("GPO_DATA", "")) / FILE
    if not os.environ.get("GPO_DATA") or not path.is_file():
        return []
    return [{"data": "arena", "file": FILE.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}]


def read_arena(sha256: str) -> ComparisonProblem:
    """Votes between models, ties of either kind as ties.

    Raises
    ------
    NotRun
        Where no data are given.
    ValueError
        Where the file is not the one with this checksum.
    """
    if not os.environ.get("GPO_DATA"):
        raise NotRun("no data given; name the folder that holds arena_votes/ by --data or GPO_DATA")
    path = Path(os.environ["GPO_DATA"]) / FILE
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{path.name} has changed since the run was planned; run it again")
    table = pd.read_csv(path)
    items = sorted({*table["model_a"], *table["model_b"]})
    index = {name: k for k, name in enumerate(items)}
    first, second = (table[name].map(index).to_numpy() for name in ("model_a", "model_b"))
    ties = table["ties"] + table["ties_both_bad"]
    return ComparisonProblem(first, second, table["model_a_wins"], table["model_b_wins"], ties, items=items)


def read_debate(file: str, sha256: str, prompt: str) -> ComparisonProblem:
    """Votes on one side of a debate, "equally convincing" as a tie."""
    rows = side_rows(file, sha256, prompt)
    items = sorted({row[side] for row in rows for side in ("chosen_id", "rejected_id")})
    index = {item: k for k, item in enumerate(items)}
    first, second = ([index[row[side]] for row in rows] for side in ("chosen_id", "rejected_id"))
    counts = [[row[f"votes_{kind}"] for row in rows] for kind in ("chosen", "rejected", "equal")]
    return ComparisonProblem(first, second, *counts, items=items)


def generated(items: int, votes: int, seed: int) -> ComparisonProblem:
    """Davidson's votes (ν = 0.7) on two thirds of the pairs, whose log-odds are off Bradley–Terry by 0.3."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=items)
    i, j = np.triu_indices(items, 1)
    asked = rng.random(len(i)) < 2 / 3
    i, j = i[asked], j[asked]
    z = g[i] - g[j] + 0.3 * rng.normal(size=len(i))
    weight = np.stack([np.exp(z / 2), np.exp(-z / 2), np.full(len(z), 0.7)])
    drawn = np.array([rng.multinomial(votes, p) for p in (weight / weight.sum(axis=0)).T]).T
    return ComparisonProblem(i, j, *drawn, items=[f"m{k:02d}" for k in range(items)])


def under_every_loss(
    problem: ComparisonProblem,
    *,
    resamples: int,
    simulations: int,
    seed: int,
    scores: bool,
    losses: tuple[str, ...] = PAPER_LOSSES,
) -> pd.DataFrame:
    """Rows of parts ``fit`` (a loss or a way with ties), ``noise`` (a test) and, if asked for, ``score`` (an item)."""
    fits = {name: rank(problem, name) for name in losses}
    prior = 0.0
    if not all(_usable(fit) for fit in fits.values()):
        prior, fits = PRIOR, {name: rank(problem, name, prior=PRIOR) for name in losses}
    shared = {"items": problem.n, "pairs": len(problem.rows.first), "votes": problem.total, "prior": prior}
    again = dict(zip(fits, _resampled(fits, resamples, seed), strict=True))
    frames = [pd.DataFrame([shared | one for one in _fit_rows(problem, fits, again)]).assign(part="fit")]
    frames.append(
        pd.DataFrame([shared | one for one in _tie_rows(problem, fits["logistic"], prior)]).assign(part="fit")
    )
    tests = noise_tests(problem, simulations=simulations, seed=seed)
    noise = [{"test": name, "observed": one.observed, "expected": one.expected, "low": one.low, "high": one.high,
              "p": one.p} for name, one in vars(tests).items() if hasattr(one, "expected")]  # fmt: skip
    frames.append(pd.DataFrame([shared | one for one in noise]).assign(part="noise"))
    if scores:
        frames += [_score_rows(fit).assign(part="score") for fit in fits.values() if fit.converged]
    return pd.concat(frames, ignore_index=True)


def _usable(fit: Ranking) -> bool:
    return fit.converged or (not fit.model.is_smooth and fit.fit.status == "not unique")


def _resampled(fits: dict[str, Ranking], resamples: int, seed: int) -> list[BootstrapScores | None]:
    able = [fit for fit in fits.values() if fit.converged]
    found = iter(bootstrap(able, resamples=resamples, seed=seed))
    return [next(found) if fit.converged else None for fit in fits.values()]


def _fit_rows(
    problem: ComparisonProblem, fits: dict[str, Ranking], again: dict[str, BootstrapScores | None]
) -> list[dict[str, Any]]:
    base, base_draws = fits["logistic"], again["logistic"]
    copeland = _copeland(problem)
    rows = []
    for name, fit in fits.items():
        g, draws = _scores(fit), again[name]
        row = {"loss": name, "status": fit.fit.status.value, "tau": kendall(g, base.scores, problem.parts),
               "tau_copeland": kendall(g, copeland, problem.parts)}  # fmt: skip
        if base_draws is not None and draws is not None and len(draws.draws) == len(base_draws.draws):
            pairs = zip(draws.draws, base_draws.draws, strict=True)
            row |= _ends("tau", [kendall(a, b, problem.parts) for a, b in pairs])
        if fit.ranks is not None and base.ranks is not None:
            beyond = (fit.ranks.worst < base.ranks.best) | (fit.ranks.best > base.ranks.worst)
            row |= {"apart": float(beyond.sum()), "width": float(fit.ranks.width.mean())}
        rows.append(row)
    if "savage" in fits:
        rows[list(fits).index("savage")] |= _response(problem, fits, again)
    return rows


def _scores(fit: Ranking) -> FloatArray:
    """Scores, of the minimiser of least norm where it is not unique."""
    return fit.scores if fit.converged else fit.fit.theta[: fit.problem.n]


def _ends(name: str, values: list[float]) -> dict[str, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _response(
    problem: ComparisonProblem, fits: dict[str, Ranking], again: dict[str, BootstrapScores | None]
) -> dict[str, float]:
    """Changes of Savage's scores (2κg less logistic's) on exponential's: slope and correlation, with intervals."""
    names = ("logistic", "exponential", "savage")
    if not set(names) <= set(fits):
        return {}
    draws = [again[name] for name in names]
    if not all(fits[name].converged for name in names) or any(one is None for one in draws):
        return {}
    scale = [2 * float(get_loss(name).curvature_ratio) for name in names]

    def measured(scores: list[FloatArray]) -> tuple[float, float]:
        base, *others = (a * x for a, x in zip(scale, scores, strict=True))
        x, y = (other - base for other in others)
        return float(x @ y / (x @ x)), float(np.corrcoef(x, y)[0, 1])

    slope, correlation = measured([fits[name].scores for name in names])
    sets = zip(*(one.draws for one in draws if one is not None), strict=True)
    slopes, correlations = zip(*(measured(list(one)) for one in sets), strict=True)
    return {"slope": slope, "correlation": correlation} | _ends("slope", list(slopes)) | _ends(
        "correlation", list(correlations)
    )  # fmt: skip


def _copeland(problem: ComparisonProblem) -> FloatArray:
    """Share of majorities won less lost among the pairs asked."""
    rows, n = problem.rows, problem.n
    sign = np.sign(rows.counts[0] - rows.counts[1])
    total = np.bincount(rows.first, minlength=n) + np.bincount(rows.second, minlength=n)
    return np.asarray((np.bincount(rows.first, sign, n) - np.bincount(rows.second, sign, n)) / np.maximum(total, 1))


def _tie_rows(problem: ComparisonProblem, base: Ranking, prior: float) -> list[dict[str, Any]]:
    """Other ways with ties against half a win each, all logistic."""
    if not problem.counts[2].any():
        return []
    dropped = ComparisonProblem(problem.first, problem.second, *problem.counts[:2], items=problem.items)
    fits = {
        "davidson": rank(problem, ties="davidson", prior=prior),
        "rao-kupper": rank(problem, ties="rao-kupper", prior=prior),
        "ties dropped": rank(dropped, prior=prior),
    }
    return [
        {"loss": name, "status": fit.fit.status.value, "log_likelihood": fit.log_likelihood,
         "tau": kendall(fit.scores, base.scores, problem.parts) if fit.converged else np.nan}
        for name, fit in fits.items()
    ]  # fmt: skip


def _score_rows(fit: Ranking) -> pd.DataFrame:
    """Scores times 2κ, on the scale of logits (of hinge as they are), with standard errors and rank sets."""
    kappa = float(get_loss(fit.loss).curvature_ratio)
    scale = 2 * kappa if kappa > 0 else 1.0
    table = fit.to_frame()
    return pd.DataFrame(
        {"loss": fit.loss, "item": table["item"], "score": scale * table["score"],
         "standard_error": scale * table["standard_error"], "rank": table["rank"], "rank_best": table["rank_best"],
         "rank_worst": table["rank_worst"]}
    )  # fmt: skip
