"""Intervals of committed studies made again for their few seeds: wider, and about the same numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments import _few_seeds
from experiments.framework.checks import verdict_of
from gpo_analysis.runs import latest_record


@pytest.mark.parametrize("name", ["llm-real-model"])
def test_what_is_kept_is_the_record_s_and_no_interval_is_narrower(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_few_seeds, "RESAMPLES", 30)
    record = latest_record(_few_seeds.RESULTS, name)
    found = _few_seeds.STUDIES[name](record)
    assert [one.kept.claim for one in found] == [check["claim"] for check in record.meta["checks"]]
    assert [one.kept.verdict for one in found] == [verdict_of(check) for check in record.meta["checks"]]
    wider = 0
    for one in found:
        kept, again = ((check.low, check.high) for check in (one.kept, one.again))
        if None not in kept and np.isfinite(kept).all():
            assert again[0] <= kept[0] <= kept[1] <= again[1]
            wider += again != kept
    assert wider > 10


def test_rows_take_the_farther_ends_unless_their_interval_is_beside_the_value() -> None:
    table = pd.DataFrame({"value": [1.0, 1.0], "low": [0.8, 1.1], "high": [1.3, 1.2]})
    _few_seeds._widen(table, [0, 1], _few_seeds.Interval(1.0, 0.9, 2.0))
    assert table[["low", "high"]].to_numpy().tolist() == [[0.8, 2.0], [1.1, 1.2]]
