"""A bounded part of the campaign that counts coverage; the whole of it is ``python -m fuzz.coverage``."""

from __future__ import annotations

import numpy as np
import pytest

from fuzz.coverage import SETTINGS, Setting, campaign, judged_limit, limit, verdict

CHEAP = {setting.name: setting for setting in SETTINGS}


def test_limits_are_what_they_are_said_to_be() -> None:
    np.testing.assert_allclose(limit("logistic"), np.linspace(-1.2, 1.2, 8), atol=1e-9)
    # averaging over normal tastes of variance 2 draws logits together, by about 1/√(1 + 2π/8)
    ratio = np.array(judged_limit()) / np.linspace(-1.2, 1.2, 8)
    np.testing.assert_allclose(ratio, 1 / np.sqrt(1 + np.pi / 4), rtol=0.04)


@pytest.mark.parametrize("name", ["20 votes a pair, squared", "judges, by judge", "equal items, 20 votes a pair"])
def test_promised_coverage_within_what_sixty_sets_can_tell(name: str) -> None:
    table = campaign(60, 1, name).set_index("measure")
    assert set(table["setting"]) == {name}
    # 480 scores, in sets whose scores hang together: five standard errors of the mean over sets
    for measure in ("interval", "bootstrap"):
        row = table.loc[measure]
        slack = 5 * (row["high"] - row["low"]) / (2 * 2.0)
        assert row["value"] - slack < 0.97
        assert row["value"] + slack > 0.93
    assert table.loc["rank sets", "high"] > 0.93
    assert 1.0 <= table.loc["ranks in a set", "value"] <= 8.0


def test_clustered_intervals_are_wider_where_judges_differ() -> None:
    wide, narrow = (campaign(25, 2, f"judges, by {by}").set_index("measure") for by in ("judge", "vote"))
    assert wide.loc["ranks in a set", "value"] > narrow.loc["ranks in a set", "value"]
    assert wide.loc["interval", "value"] > narrow.loc["interval", "value"]


def test_verdicts() -> None:
    promised, free = CHEAP["20 votes a pair"], CHEAP["thirty votes"]
    assert isinstance(promised, Setting)
    assert verdict(promised, "interval", 0.92) == "missed"
    assert verdict(promised, "interval", 0.95) == "ok"
    assert verdict(promised, "rank sets", 0.9) == "missed"
    assert verdict(promised, "noise: cyclic triples", 0.08) == "missed"
    assert verdict(promised, "noise: cyclic triples", 0.02) == "few"
    assert verdict(free, "interval", 0.5) == ""
