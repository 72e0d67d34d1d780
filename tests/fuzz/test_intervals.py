"""A bounded part of the count of what intervals over few things hold; the whole is ``python -m fuzz.intervals``."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fuzz.intervals import SETTINGS, campaign, misses
from gpo_analysis.statistics import bootstrap_interval


def test_four_values_hold_a_normal_mean_where_percentiles_do_not() -> None:
    table = campaign(600, 3, (4,), "normal mean").set_index("method")
    assert table.loc["ours", "share"] >= 0.93
    assert table.loc["percentiles", "high"] < 0.9
    assert float(table.loc["Student", "low"]) < 0.95 < float(table.loc["Student", "high"])  # exact by theory
    assert not len(misses(table.reset_index()))
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)


def test_a_missing_correction_would_be_seen() -> None:
    table = campaign(300, 1, (4,), "normal mean")
    plain = table[table["method"] == "percentiles"]
    assert len(misses(table[table["method"] != "ours"])) == 0
    assert len(misses(pd.concat([plain, plain.assign(method="ours")]))) == 1


def test_percentiles_and_bca_are_scipys() -> None:
    x = np.random.default_rng(0).exponential(size=9)
    plain, bca = (
        stats.bootstrap((x,), np.mean, n_resamples=6000, method=kind, rng=np.random.default_rng(1)).confidence_interval
        for kind in ("percentile", "BCa")
    )
    from fuzz.intervals import _bca

    setting = next(one for one in SETTINGS if one.name == "exponential mean")
    again = x[np.random.default_rng(2).integers(9, size=(6000, 9))].mean(1)
    low, high = _bca(setting, x[None, :, None], np.array([x.mean()]), again[:, None])
    width = plain.high - plain.low
    assert low[0] == pytest.approx(bca.low, abs=0.04 * width)
    assert high[0] == pytest.approx(bca.high, abs=0.04 * width)
    ours = bootstrap_interval(x, np.mean, resamples=6000, seed=0)
    assert ours.low <= plain.low
    assert ours.high >= plain.high
