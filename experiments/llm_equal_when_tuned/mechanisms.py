"""Why contradicted claims of study B came out otherwise, with numbers of its own table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.llm_equal_when_tuned.analysis import OCTAVE, clock_shift
from gpo_analysis.tables import find

REACH = 2.0
"""aβκm₀ up to which the clock's laws were tested (`gpo_analysis.training.clock`)."""
SURE = 0.025
"""Share of resamples with the best at an edge, up to which a best strength is used here."""


def equal_kl_shift(policies: pd.DataFrame, loss: str, strength: float) -> float:
    """log₂ of the strength at which a loss has the mean KL that logistic has at ``strength``, over that strength.

    Parameters
    ----------
    policies : table
        Of one number of prompts, runaways left out: loss, strength, kl.
    loss : str
    strength : float

    Examples
    --------
    >>> rows = [(f, s, k / s) for f, k in (("logistic", 1.0), ("squared", 0.5)) for s in (0.1, 1.0, 10.0)]
    >>> round(equal_kl_shift(pd.DataFrame(rows, columns=["loss", "strength", "kl"]), "squared", 1.0), 9)
    -1.0
    """
    logs = np.log(policies.groupby(["loss", "strength"])["kl"].mean())
    base, other = logs["logistic"], logs[loss].sort_values()
    wanted = np.interp(np.log(strength), np.log(base.index), base.to_numpy())
    found = np.interp(wanted, other.to_numpy(), np.log(other.index.to_numpy()))
    return float((found - np.log(strength)) / OCTAVE)


def of_the_clock(table: pd.DataFrame, measure: str) -> str:
    """The best is where the KL is logistic's, and the clock does not say where that is beyond its reach."""
    rows, by_clock, by_kl, reach = find(table, kind="best", measure=measure), [], [], []
    limits = find(table, kind="number", name="limit margin").set_index("trained")["value"]
    for trained, part in rows[rows["trained"].isin(limits.index)].groupby("trained"):
        own = part.set_index("loss")
        base, policies = float(own.loc["logistic", "value"]), find(table, kind="policy", trained=trained, status="ok")
        sure = own[(own["edge_share"] <= SURE) & (own.index != "logistic")]
        for loss, row in sure.iterrows():
            clock = clock_shift(str(loss), base * limits[trained])
            if np.isfinite(clock):
                by_clock.append(abs(row["shift"] - clock))
                by_kl.append(abs(row["shift"] - equal_kl_shift(policies, str(loss), base)))
                reach.append(base * limits[trained])
    if not by_clock:
        return "mechanism not known: every best strength of this run may be an edge of its grid"
    return (
        f"the clock is asked beyond its reach: logistic's best βκ is at βκm₀ = {max(reach):.0f}, and its laws hold up "
        f"to about {REACH:g}. That the best is where a loss has gone as far as logistic has stands: at the strength "
        f"where its runs have logistic's KL the best is met to {np.mean(by_kl):.2f} octaves, by the clock to "
        f"{np.mean(by_clock):.2f} (means over the {len(by_kl)} losses and conditions whose best is not at an edge)"
    )


def of_the_narrow_grid(table: pd.DataFrame) -> str:
    """The narrowest grid lies on one side of the best where smaller β ran away."""
    rows = find(table, kind="omega", effect="gap", measure=["tilt", "own"], runaways=False)
    narrow = rows.sort_values("points").groupby(["measure", "trained"], sort=False).head(1)
    worst = narrow.loc[narrow["value"].idxmax()]
    column = "decided" if worst["measure"] == "tilt" else "own_decided"
    policies = find(table, kind="policy", trained=worst["trained"])
    grid = np.sort(policies["strength"].unique())
    ends = grid[np.searchsorted(grid, worst["from_strength"]) :][: int(worst["points"])]
    means = policies.groupby(["loss", "strength"])[column].mean().unstack()
    low, high = (float(means[end].mean()) for end in (ends[0], ends[-1]))
    best = find(table, kind="best", measure=worst["measure"], trained=worst["trained"], loss="logistic").iloc[0]
    return (
        f"smaller β ran away, so that the narrowest grid, βκ {ends[0]:g} to {ends[-1]:g}, does not hold the best "
        f"(logistic's {best['value']:.2g}) but lies beyond it, on the slope: from one end to the other the rate falls "
        f"by {low - high:.3f}, while at one end the losses differ by {float(np.ptp(means[ends[0]])):.3f}"
    )
