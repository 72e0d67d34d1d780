"""Voting rules on random preferences of few items, beside what each f makes of them."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import PAPER_LOSSES

RULES = ("borda", "copeland", "kemeny")


def kendall(first: FloatArray, second: FloatArray, parts: IntArray | None = None) -> float:
    """Kendall's τ_a: the mean over pairs of the product of both signs, so that a tie of either counts half.

    Parameters
    ----------
    first, second : FloatArray
        (n,) scores; equal to 1e-9 of their largest are tied.
    parts : IntArray, optional
        (n,) labels: only pairs of one label count.
    """
    i, j = np.triu_indices(len(first), 1)
    if parts is not None:
        i, j = i[parts[i] == parts[j]], j[parts[i] == parts[j]]
    a, b = (np.where(np.abs(d) <= 1e-9 * max(1.0, float(np.abs(x).max())), 0.0, np.sign(d))
            for x, d in ((first, first[i] - first[j]), (second, second[i] - second[j])))  # fmt: skip
    return float(np.mean(a * b))


def random_preferences(n: int, matrices: int, spread: float, seed: int) -> list[FloatArray]:
    """P_ij uniform on (0, 1) for i < j, log-odds times ``spread``."""
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(n, 1)
    found = []
    for _ in range(matrices):
        u = rng.random(len(i))
        p = np.full((n, n), 0.5)
        p[i, j] = 1 / (1 + (1 / u - 1) ** spread)
        p[j, i] = 1 - p[i, j]
        found.append(p)
    return found


def scores_of_rules(preference: FloatArray) -> dict[str, FloatArray]:
    """Scores (n,) by Borda (mean share), Copeland (majorities won less lost) and Kemeny (fewest votes contradicted)."""
    n = len(preference)
    orders = np.array(list(itertools.permutations(range(n))))
    i, j = np.triu_indices(n, 1)
    contradicted = preference[orders[:, j], orders[:, i]].sum(axis=1)
    best = orders[int(np.argmin(contradicted))]
    place = np.empty(n)
    place[best] = np.arange(n)
    return {
        "borda": preference.mean(axis=1),
        "copeland": np.sign(preference - 0.5).sum(axis=1),
        "kemeny": -place,
    }


def against_rules(
    n: int, matrices: int, spread: float, seed: int, losses: tuple[str, ...] = PAPER_LOSSES
) -> pd.DataFrame:
    """A row a matrix and f: τ with each rule, whether the order is Borda's, and squared's largest margin."""
    preferences = random_preferences(n, matrices, spread, seed)
    fits = iter(gpo.fit([gpo.PreferenceProblem(p) for p in preferences], losses))
    rows = []
    for index, preference in enumerate(preferences):
        rules = scores_of_rules(preference)
        fitted = {name: next(fits) for name in losses}
        margin = float(np.ptp(fitted["squared"].reward)) if "squared" in fitted else np.nan
        for name, fit in fitted.items():
            g = fit.minimiser
            taus = {f"tau_{rule}": np.nan if g is None else kendall(g, scores) for rule, scores in rules.items()}
            own = {f"borda_{rule}": kendall(rules["borda"], rules[rule]) for rule in ("copeland", "kemeny")}
            rows.append(
                {"index": index, "loss": name, **taus, **own, "margin": margin, "status": fit.status.value}
            )  # fmt: skip
    return pd.DataFrame(rows)
