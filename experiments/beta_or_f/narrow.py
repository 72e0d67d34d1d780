"""About the best β: what β and f explain there, at a fixed width, with intervals.

β's share goes to 0 as a range shrinks about the maximum, where the win rate is flat in β, and f's does not: "in some
range f explains as much" says nothing. At a width that is named beforehand it can be otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

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


def check_near(explained: pd.DataFrame, seeds: int, scales: tuple[str, ...]) -> list[Check]:
    """Within half a decade of the best β f explains more than β, at equal β and at equal βκ, in every setting."""
    checks = []
    for scale in scales:
        words = {"beta": "equal β", "strength": "equal βκ"}[scale]
        claim = f"win rate, {words}, half a decade about the best: f's share of the variance exceeds β's (difference)"
        rows = find(explained, scale=scale, outcome="win_rate", effect=EFFECT)
        near = near_best(explained, scale)
        if rows.empty:
            checks.append(Check.not_run(claim, "above 0", "this record has no intervals at one width"))
            continue
        parts = {
            f"{row['problem']}, {labels_words(int(row['labels']))}": Check.above(
                "difference",
                0.0,
                Interval(float(row["share"]), float(row["low"]), float(row["high"])),
                f"{seeds} seeds",
            )
            for _, row in rows.iterrows()
        }
        check = Check.each(claim, parts, note=in_words(near)).as_restated(RESTATED)
        checks.append(check.because(lambda: _mechanism(explained)))
    return checks


def _mechanism(explained: pd.DataFrame) -> str:
    """What the scale βκ does to the shares about the best."""
    beta, strength = (100 * near_best(explained, scale).mean() for scale in ("beta", "strength"))
    return (
        f"on the scale βκ, where the logit family is nearly one policy, f's share about the best goes from "
        f"{beta['f']:.2g} to {strength['f']:.2g} % of the variance and β's from {beta['beta']:.2g} to "
        f"{strength['beta']:.2g} % (means over settings): the losses then share their best point"
    )


def in_words(near: pd.DataFrame) -> str:
    """How much there is to explain, and in how many settings f's share is the larger."""
    ahead = int((near["f"] >= near["beta"]).sum())
    means = 100 * near.mean()
    return (
        f"of all variance f has {means['f']:.2g} % there, β {means['beta']:.2g} %, seeds nearly all the rest (means "
        f"over settings); f's is the larger in {ahead} of {len(near)}"
    )
