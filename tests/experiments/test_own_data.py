"""The experiment at a small size: what its checks notice, and its words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

import gpo_analysis as gpo
from experiments import own_data as experiment
from fuzz.small import computed


def test_intervals_cover_most_of_the_time() -> None:
    _, _, table = computed("own-data")
    for part in ("beta", "diagnosis"):
        rows = table[(table["part"] == part) & (table["what"] != "hinge")]
        assert experiment.covered(rows).value >= 0.7


def test_intervals_elsewhere_cover_nothing() -> None:
    _, config, table = computed("own-data")
    wrong = table.assign(low=table["low"] * 3, high=table["high"] * 3)
    failed = {check.claim: check for check in experiment.check(config, wrong) if check.verdict == "contradicted"}
    assert any("intervals of β" in claim for claim in failed)
    (planted,) = (check for claim, check in failed.items() if "planted" in claim)
    assert dict(planted.parts)["length_slope"].verdict == "contradicted"


def test_truth_by_a_solve_at_that_beta() -> None:
    true, _ = experiment._truth("squared", 5, 2.0, 0.2)
    policy = experiment.problem_of("bradley-terry", 5, 2.0).solve("squared", true).policy
    assert entropy(policy, np.full(5, 0.2)) == pytest.approx(0.2, abs=1e-6)
    assert experiment.problem_of("linear", 3, 2.0).preference[2, 0] == pytest.approx(0.95)
    assert gpo.get_loss("squared").name == experiment.MATCHING["linear"]


def test_the_worst_loss_decides_and_hinge_is_said_beside() -> None:
    """One loss whose intervals never cover is not hidden by two whose intervals always do."""
    _, config, table = computed("own-data")
    wide = table.assign(low=0.5 * table["true"], high=2.0 * table["true"])
    away = (wide["part"] == "beta") & wide["what"].isin(["squared", "hinge"])
    wide.loc[away, ["low", "high"]] = np.nan
    rows = wide[wide["part"] == "beta"]
    (claim,) = (check for check in experiment.check(config, wide) if "intervals of β" in check.claim)
    verdicts = {name.split(",")[0]: part.verdict for name, part in claim.parts}
    assert (claim.verdict, verdicts["squared"]) == ("contradicted", "contradicted")
    assert experiment.covered(rows[rows["what"] == "logistic"]).value == 1.0
    assert f"all together {2 / 3:.3g}" in claim.note
    assert "left out: hinge, of whose intervals 0 [" in claim.note
