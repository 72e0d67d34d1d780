"""What a margin of equality is beside the gain of tuning, and of how many seeds a range is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from experiments import llm_equal_when_tuned as experiment
from experiments.llm_equal_when_tuned.equal import excluding_none, margin_beside_gain
from gpo_analysis.runs import latest_record

KEPT = latest_record(Path(__file__).parents[2] / "results", "llm-equal-when-tuned")
CONFIG = experiment.Config(**KEPT.config)


def test_the_margin_is_said_beside_the_gain_over_the_reference() -> None:
    table = KEPT.table
    for measure in ("own", "tilt"):
        tuned = table[(table["kind"] == "tuned") & (table["measure"] == measure) & (table["trained"] == 64)]
        least, most = tuned["value"].min() - 0.5, tuned["value"].max() - 0.5
        words = f"±0.03 is {3 / most:.0f} % to {3 / least:.0f} % of what tuning gains over πref with 64 prompts"
        assert words in margin_beside_gain(table, measure, 0.03)
    nothing = pd.DataFrame([("tuned", "own", 64, 0.49)], columns=["kind", "measure", "trained", "value"])
    assert "±0.03 is more than all of what tuning gains" in margin_beside_gain(nothing, "own", 0.03)


def test_intervals_that_exclude_zero_are_counted() -> None:
    pairs = KEPT.table[KEPT.table["kind"] == "pair"]
    beside = [row for row in pairs.itertuples() if row.low > 0 or row.high < 0]
    worse = [row for row in beside if (row.other if row.low > 0 else row.loss) == "squared"]
    assert (len(beside), len(worse), len(pairs)) == (7, 6, 60)
    assert excluding_none(pairs) == "7 of 60 intervals exclude 0 (squared lower in 6 of them)"
    claims = [check for check in experiment.check(CONFIG, KEPT.table) if check.claim.startswith("tuned, the six")]
    counts = ["5 of 30 intervals exclude 0", "2 of 30 intervals exclude 0"]
    assert [any(words in check.note for check in claims) for words in counts] == [True, True]
    assert excluding_none(pairs.assign(low=-1.0, high=1.0)) == "0 of 60 intervals exclude 0"


def test_a_range_says_of_how_many_seeds_it_is() -> None:
    """Counted from the policies: a seed is left out where one of the five losses with κ > 0 ran away."""
    (claim,) = [check for check in experiment.check(CONFIG, KEPT.table) if "f is straight" in check.claim]
    policies = KEPT.table[KEPT.table["kind"] == "policy"]
    least = policies[(policies["strength"] == policies["strength"].min()) & (policies["loss"] != "hinge")]
    for name, part in claim.parts:
        rows = least[least["trained"] == int(name.split()[0])]
        whole = sum((own["status"] == "ok").all() for _, own in rows.groupby("seed"))
        away = int((rows["status"] != "ok").sum())
        assert f"the {whole} of 20 seeds in which none of the 5 losses ran away there ({away} of 100" in part.note
        every = rows[rows.groupby("seed")["status"].transform(lambda status: (status == "ok").all())]
        means = every.assign(rate=every["decided"]).groupby("loss")["rate"].mean()
        assert np.isclose(np.ptp(means), float(part.computed), atol=0.01), "the range is theirs"


def test_no_threshold_was_moved() -> None:
    """Predicted in docs/predictions/llm-equal-when-tuned.md, claims 1 and 2."""
    assert (experiment.Config().equal, CONFIG.equal) == (0.03, 0.03)
    claims = [check for check in experiment.check(CONFIG, KEPT.table) if check.claim.startswith("tuned, the six")]
    assert [check.tolerance for check in claims] == [0.03, 0.03]
    assert [check.verdict for check in claims] == ["undecided", "holds"]
    wide = dataclasses.replace(CONFIG, equal=0.002)
    assert all(check.verdict != "holds" for check in experiment.check(wide, KEPT.table)[:2])
