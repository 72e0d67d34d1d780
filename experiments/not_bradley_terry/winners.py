"""Whose winner is another: which losses put another response on top than logistic, and where that is not known."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from experiments._losses import CURVED
from gpo_analysis.statistics import Interval, mean_interval
from gpo_analysis.tables import find

KEYS = ["structure", "level", "number"]


def apart(table: pd.DataFrame, losses: Sequence[str] = CURVED) -> pd.DataFrame:
    """Whether each loss has another winner than logistic: 1, 0, or NaN where one of the two has no fit.

    Parameters
    ----------
    table : DataFrame
        A record's.
    losses : sequence of str
        Losses compared; without logistic with the first of them.

    Returns
    -------
    DataFrame, a row a problem, a column a loss

    Examples
    --------
    >>> rows = [("logistic", 2, True), ("squared", 2, True), ("savage", -1, False), ("exponential", 1, True)]
    >>> table = pd.DataFrame(rows, columns=["loss", "winner", "known"]).assign(
    ...     part="structures", structure="cycle", level=1.0, number=0)
    >>> apart(table, ["logistic", "squared", "savage", "exponential"]).iloc[0].to_dict()
    {'exponential': 1.0, 'logistic': 0.0, 'savage': nan, 'squared': 0.0}
    """
    rows = find(table, part="structures", loss=list(losses))
    winner = rows.assign(winner=rows["winner"].where(rows["known"].astype(bool))).astype({"winner": float})
    wide = winner.pivot(index=KEYS, columns="loss", values="winner")
    if wide.empty:
        return wide
    base = wide["logistic" if "logistic" in wide else next(name for name in losses if name in wide)]
    known = wide.notna().mul(base.notna(), axis=0)
    return wide.ne(base, axis=0).astype(float).where(known)


def changed(table: pd.DataFrame, losses: Sequence[str] = CURVED) -> pd.DataFrame:
    """Of each problem: whether a loss with κ > 0 has another winner than logistic, and what is known of the problem.

    A loss without a fit has no winner. A problem on which no other loss differs and one has no fit is ``undecided``
    and not ``changed``: shares of ``changed`` are least shares.

    Parameters
    ----------
    table : DataFrame
        A record's.
    losses : sequence of str
    """
    own = apart(table, losses)
    rows = find(table, part="structures", loss="logistic")
    columns = ["strongly_transitive", "condorcet", "borda", "nash_winner", "cyclic_share"]
    differs, open_ = own.eq(1.0).any(axis=1), own.isna().any(axis=1)
    return rows.set_index(KEYS)[columns].assign(changed=differs, undecided=open_ & ~differs).reset_index()


def others(problems: pd.DataFrame) -> Interval:
    """Share of levels on which f changes the winner where preferences are not strongly transitive, over problems.

    Parameters
    ----------
    problems : DataFrame
        Of `changed`.
    """
    rest = problems[~problems["strongly_transitive"].astype(bool)]
    return mean_interval(rest.groupby("number")["changed"].mean())


def differing(table: pd.DataFrame, losses: Sequence[str] = CURVED) -> str:
    """On how many problems each loss that ever differs does, in words, and which never do.

    Parameters
    ----------
    table : DataFrame
        A record's.
    losses : sequence of str
    """
    own = apart(table, losses)
    counts = own.eq(1.0).sum()
    ever = ", ".join(f"{name} on {count}" for name, count in counts.items() if count) or "none"
    never = ", ".join(str(name) for name, count in counts.items() if not count and name != "logistic") or "none"
    without = ", ".join(f"{name} on {count}" for name, count in own.isna().sum().items() if count) or "none"
    return f"differ from logistic: {ever}; never: {never}; without a fit: {without}"
