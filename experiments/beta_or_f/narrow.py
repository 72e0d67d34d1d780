"""About the best β: what β and f explain there, at a fixed width, with intervals.

β's share goes to 0 as a range shrinks about the maximum, where the win rate is flat in β, and f's does not: "in some
range f explains as much" says nothing. At a width that is named beforehand it can be otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from experiments.beta_or_f.outcomes import labels_words
from experiments.framework import Check
from gpo_analysis.arrays import FloatArray
from gpo_analysis.statistics import Interval, bootstrap_interval
from gpo_analysis.tables import find

WIDTH = 0.5
"""Decades of β, a factor of √10."""
EFFECT = "f - beta near"
RESTATED = (
    "27 November 2026: at half a decade, with intervals; 'in some range about the best β f explains at least as much' "
    "before, which holds of every curve that is flat at its top"
)


def window(values: FloatArray, points: FloatArray) -> slice:
    """The grid points within `WIDTH` about the best of the mean over losses and seeds, moved inward at an edge.

    Parameters
    ----------
    values : array, shape (f, β, seed)
    points : array, shape (β,)
        Geometric grid.

    Examples
    --------
    >>> points = np.geomspace(0.1, 10.0, 9)  # four a decade
    >>> curve = -np.abs(np.log(points))[None, :, None]
    >>> window(curve, points), window(np.arange(9.0)[None, :, None], points)
    (slice(3, 6, None), slice(6, 9, None))
    """
    step = float(np.log10(points[-1] / points[0])) / (len(points) - 1)
    reach = max(1, round(WIDTH / 2 / step))
    best = int(values.mean(axis=(0, 2)).argmax())
    low = min(max(0, best - reach), max(0, len(points) - 2 * reach - 1))
    return slice(low, low + 2 * reach + 1)


def rows_near(
    values: FloatArray, points: FloatArray, shares: Callable[[FloatArray], dict[str, float]], resamples: int, seed: int
) -> list[tuple[str, float, float, float, float]]:
    """f's share less β's about the best β: effect, width in decades, value and its interval over seeds.

    The best β is found anew in every resample.

    Parameters
    ----------
    values : array, shape (f, β, seed)
    points : array, shape (β,)
    shares : callable
        From an array (f, β, seed) to shares of its variance.
    resamples, seed : int
        Of the bootstrap.
    """

    def gap(by_seed: FloatArray) -> float:
        x = np.moveaxis(by_seed, 0, 2)
        found = shares(x[:, window(x, points)])
        return found["f"] - found["beta"]

    near = points[window(values, points)]
    found = bootstrap_interval(np.moveaxis(values, 2, 0), gap, resamples=resamples, seed=seed, within=(-1.0, 1.0))
    return [(EFFECT, float(np.log10(near[-1] / near[0])), found.value, found.low, found.high)]


def near_best(explained: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Shares of the win rate's variance at that width, a row a setting: ``f``, ``beta`` and ``f:beta``."""
    rows = find(explained, scale=scale, outcome="win_rate")
    widths = np.sort(rows["decades"].unique())
    width = widths[np.abs(widths - WIDTH).argmin()]
    part = rows[np.isclose(rows["decades"], width) & (rows["effect"] != EFFECT)]
    wide = part.pivot_table(index=["problem", "labels"], columns="effect", values="share", aggfunc="first", sort=False)
    return wide[["f", "beta", "f:beta"]].dropna()


def ends_of_the_grid(curves: pd.DataFrame, scale: str) -> list[tuple[str, int]]:
    """Settings whose best point, of the mean over the losses that have policies throughout, is an end of the grid.

    Where the win rate only rises as β falls there is no best β but the smallest that was looked at.
    """
    rows = find(curves, scale=scale)
    rows = rows[rows.groupby(["problem", "labels", "loss"])["lost"].transform("max") == 0]
    means = rows.groupby(["problem", "labels", "grid"], sort=False)["win_rate"].mean().reset_index()
    best = means.loc[means.groupby(["problem", "labels"], sort=False)["win_rate"].idxmax()]
    at_end = best["grid"].isin([rows["grid"].min(), rows["grid"].max()])
    return [(str(row.problem), int(row.labels)) for row in best[at_end].itertuples()]


def check_near(explained: pd.DataFrame, curves: pd.DataFrame, seeds: int, scales: tuple[str, ...]) -> list[Check]:
    """Within half a decade of the best β f explains more than β, at equal β and at equal βκ, in every setting.

    Undecided where the best β is an end of the grid.
    """
    checks = []
    for scale in scales:
        words = {"beta": "equal β", "strength": "equal βκ"}[scale]
        claim = f"win rate, {words}, half a decade about the best: f's share of the variance exceeds β's (difference)"
        rows = find(explained, scale=scale, outcome="win_rate", effect=EFFECT)
        if rows.empty:
            checks.append(Check.not_run(claim, "above 0", "this record has no intervals at one width"))
            continue
        ends, parts = ends_of_the_grid(curves, scale), {}
        for _, row in rows.iterrows():
            setting, found = (row["problem"], int(row["labels"])), (row[name] for name in ("share", "low", "high"))
            part = Check.above("difference", 0.0, Interval(*map(float, found)), f"{seeds} seeds")
            if setting in ends:
                part = replace(part, holds=None, undecided=True, note=f"{part.note}; the best is an end of the grid")
            parts[f"{setting[0]}, {labels_words(setting[1])}"] = part
        beside = [
            sum(int(sign * row[end] > 0) for _, row in rows.iterrows()) for sign, end in ((1, "low"), (-1, "high"))
        ]
        note = (
            f"{in_words(near_best(explained, scale))}, by its interval in {beside[0]}, and β's by its interval in "
            f"{beside[1]}; in {len(ends)} settings the best is an end of the grid, which decides nothing"
        )
        checks.append(Check.each(claim, parts, note=note).as_restated(RESTATED))
    return checks


def in_words(near: pd.DataFrame) -> str:
    """How much there is to explain, and in how many settings f's share is the larger."""
    ahead = int((near["f"] >= near["beta"]).sum())
    means = 100 * near.mean()
    return (
        f"of all variance f has {means['f']:.2g} % there, β {means['beta']:.2g} %, seeds nearly all the rest (means "
        f"over settings); f's is the larger in {ahead} of {len(near)}"
    )
