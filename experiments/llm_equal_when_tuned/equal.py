"""Are the tuned losses equal? Each pair to within a margin, and what that margin is beside what tuning gains."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from experiments.framework import Check
from gpo_analysis.statistics import Interval
from gpo_analysis.tables import find

OVER = "seeds and prompts"
INSIDE = "27 November 2026: undecided where seeds whose best β lies beside a runaway or at the grid's end decide"
NAMES = {"tilt": "by the tilt", "own": "by their own samples", "log KL": "log KL of the tilt"}
EVEN = 0.5
"""Decided rate of πref against an independent sample of itself."""


def check_equal(table: pd.DataFrame, measure: str, equal: float) -> Check:
    """Differences of decided rates of each pair within ±`equal`, with the size of that beside the gain over πref.

    Parameters
    ----------
    table : DataFrame
        A record's.
    measure : str
        ``tilt`` or ``own``.
    equal : float
        The margin.
    """
    claim = f"tuned, the six losses are equal {NAMES[measure]}: difference of decided rates of each pair"
    rows = find(table, kind="pair", measure=measure)
    parts = {
        f"{row['loss']} − {row['other']}, {row['trained']:.0f} prompts": _inside(
            Check.within(claim, 0.0, Interval(*(float(row[name]) for name in ("value", "low", "high"))), equal, OVER),
            row,
            equal,
        )
        for _, row in rows.iterrows()
    }

    def equals(name: str) -> int:
        return int(((rows[f"{name}_low"] >= -equal) & (rows[f"{name}_high"] <= equal)).sum())

    apart = ((rows["all_low"] > 0) | (rows["all_high"] < 0)).sum()
    note = (
        f"{margin_beside_gain(table, measure, equal)}; {excluding_none(rows)}; equal also on seeds whose choices no "
        f"edge decided: {equals('inside')} (of {rows['inside'].min():.0f} to {rows['inside'].max():.0f} seeds), by "
        f"intervals simultaneous over the 15 pairs: {equals('all')}, by Student's over seeds: {equals('student')}; "
        f"different from 0 simultaneously: {apart}"
    )
    return Check.each(claim, parts, note=note).as_restated(INSIDE)


def margin_beside_gain(table: pd.DataFrame, measure: str, equal: float) -> str:
    """What tuning gains over πref, and what share of that the margin is, by number of prompts, in words.

    Where the share nears 1 a loss that had learnt next to nothing would pass as equal.

    Examples
    --------
    >>> rows = [("tuned", "own", 64, 0.53), ("tuned", "own", 64, 0.56), ("tuned", "own", 512, 0.8)]
    >>> print(margin_beside_gain(pd.DataFrame(rows, columns=["kind", "measure", "trained", "value"]), "own", 0.03))
    ±0.03 is 50 % to 100 % of what tuning gains over πref with 64 prompts (0.030 to 0.060), 10 % with 512 (0.300)
    """
    parts = []
    for trained, rows in find(table, kind="tuned", measure=measure).groupby("trained"):
        gain = rows["value"] - EVEN
        ends = [gain.min(), gain.max()] if len(gain) > 1 else [gain.min()]
        share = " to ".join(f"{100 * equal / g:.0f} %" if g > 0 else "more than all" for g in reversed(ends))
        gained = " to ".join(f"{g:.3f}" for g in ends)
        words = " of what tuning gains over πref" if not parts else ""
        parts.append(f"{share}{words} with {trained:.0f}{' prompts' if not parts else ''} ({gained})")
    return f"±{equal:g} is {', '.join(parts)}"


def excluding_none(rows: pd.DataFrame) -> str:
    """How many intervals of differences lie beside 0, and the loss that is lower in most of them, in words.

    Examples
    --------
    >>> rows = [("a", "b", 0.01, 0.03), ("a", "c", -0.1, 0.1), ("b", "c", -0.04, -0.01)]
    >>> excluding_none(pd.DataFrame(rows, columns=["loss", "other", "low", "high"]))
    '2 of 3 intervals exclude 0 (b lower in 2 of them)'
    """
    above, below = rows["low"] > 0, rows["high"] < 0
    lower = pd.concat([rows.loc[above, "other"], rows.loc[below, "loss"]])
    words = f"{len(lower)} of {len(rows)} intervals exclude 0"
    if lower.empty:
        return words
    counts = lower.value_counts()
    return f"{words} ({counts.index[0]} lower in {counts.iloc[0]} of them)"


def _inside(check: Check, row: Mapping[str, Any] | pd.Series[Any], equal: float) -> Check:
    """Undecided where a pair is equal, and not on the seeds alone whose choices no edge decided."""
    if check.holds is not True or -equal <= row["inside_low"] <= row["inside_high"] <= equal:
        return check
    inside = f"[{row['inside_low']:.3g}, {row['inside_high']:.3g}]"
    why = f"on the {row['inside']:.0f} seeds whose choices no edge decided {inside}"
    return dataclasses.replace(check, holds=None, undecided=True, note=f"{why}; {check.note}")
