"""What a run's folder says it was trained with: taken where nothing is given, held against what is, and audited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.estimation import beta_from_log, read_training_log
from gpo_analysis.estimation.audit import audit_log

MINE, BETA = "log(cosh(1-z))", 0.25


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder: forty pairs whose loss is that of MINE, and run.json that says so."""
    rng = np.random.default_rng(4)
    changes = rng.normal([2.0, -2.0], 3.0, (40, 2))
    rows = [
        {"policy_chosen": -20.0 + c, "policy_rejected": -20.0 + r, "reference_chosen": -20.0,
         "reference_rejected": -20.0, "loss": float(np.log(np.cosh(1 - BETA * (c - r))))}
        for c, r in changes.tolist()
    ]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    says(tmp_path)
    return tmp_path


def says(folder: Path, **changed: Any) -> None:
    objective = {"loss": MINE, "beta": BETA, "reduction": "sum", "link": "reverse_kl", **changed}
    (folder / "run.json").write_text(json.dumps({"run": objective}))


def test_the_record_counts_where_nothing_is_given(run: Path) -> None:
    log = read_training_log(run)
    for given in ((run,), (run / "log.jsonl",), (log,), (run, MINE), (run, None, BETA), (run, MINE, BETA)):
        found = gpo.diagnose(*given, resamples=5)
        assert (found.loss, found.beta) == (MINE, BETA)
        assert found.findings[0] == f"as {log.report.file.replace('log.jsonl', 'run.json')} says: {MINE} at β = 0.25"
    (run / "run.json").unlink()
    assert gpo.diagnose(run, resamples=5).loss == "logistic"


@pytest.mark.parametrize("given", [{"loss": "dpo"}, {"beta": 0.3}, {"reduction": "mean"}, {"loss": "trl:ipo"}])
def test_what_is_given_alone_must_be_the_record_s(run: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"run\.json says --loss .* --beta 0\.25; accepted are none of these, or both"):
        gpo.diagnose(run, **given)


def test_a_loss_and_a_beta_count_instead_of_the_record_and_that_is_said(run: Path) -> None:
    found = gpo.diagnose(run, "dpo", 0.3, resamples=5)
    assert (found.loss, found.beta) == ("logistic", 0.3)
    assert found.findings[0].startswith("read as logistic at β = 0.3, as given, not as ")
    says(run, loss="no such loss")
    assert gpo.diagnose(run, "dpo", 0.3, resamples=5).loss == "logistic"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "the log bears it out"),
        ({"beta": 0.1}, "the log contradicts its β"),
        ({"loss": "dpo"}, "tried, too, and it does not explain the log"),
        ({"loss": "no such loss"}, "no margin loss, and not tried"),
    ],
)
def test_an_audit_tries_what_the_record_says(run: Path, changed: dict[str, Any], words: str) -> None:
    says(run, **changed)
    found = audit_log(run)
    assert found.loss == (MINE if changed.get("loss", MINE) == MINE else None)
    assert found.claim.endswith(f": {words}")
    assert str(found).splitlines()[1] == found.claim == found.to_dict()["claim"]
    if not changed:
        assert found.beta == pytest.approx(BETA, rel=1e-3)


def test_a_record_of_another_loss_is_contradicted(run: Path) -> None:
    says(run, loss="dpo")
    assert audit_log(run, losses=MINE).claim.endswith("the log contradicts its loss")


def shortened(folder: Path, **more: float) -> None:
    """The run a tenth of the way, where it is not at rest: margins say how far another β would go."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for row in rows:
        for side in ("chosen", "rejected"):
            row[f"policy_{side}"] = -20.0 + 0.1 * (row[f"policy_{side}"] + 20.0)
        row |= {"step": 4, **more}
        row["loss"] = float(np.log(np.cosh(1 - BETA * (row["policy_chosen"] - row["policy_rejected"]))))
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_beta_for_the_next_run_is_of_the_run_s_own_loss(run: Path) -> None:
    shortened(run)
    found = beta_from_log(run, margin=0.1, resamples=20)
    assert (found.loss, found.run_beta) == (MINE, BETA)
    assert found.notes[0].endswith(f"run.json says: {MINE} at β = {BETA}")
    asked = beta_from_log(read_training_log(run), MINE, BETA, margin=0.1, resamples=20)
    assert found.to_dict() == asked.to_dict()
    with pytest.raises(ValueError, match=r"run\.json says --loss .* --beta 0\.25; accepted are none of these, or both"):
        beta_from_log(run, "dpo", margin=0.1)
    other = beta_from_log(run, "dpo", 0.3, margin=0.1, resamples=20)
    assert other.notes[0].startswith("read as logistic at β = 0.3, as given, not as ")


def test_a_run_over_token_means_has_a_margin_a_token(run: Path) -> None:
    """ρ of sums over lengths of 5 is five times ρ of means: the same run at a fifth of the margin."""
    shortened(run, chosen_length=5, rejected_length=5)
    plain = beta_from_log(run, margin=0.1, resamples=20)
    says(run, reduction="mean", beta=5 * BETA)
    found = beta_from_log(run, margin=0.02, resamples=20)
    assert found.beta.value == pytest.approx(5 * plain.beta.value, rel=1e-4)
    for target in ("kl", "drop", "kl_per_token"):
        with pytest.raises(ValueError, match=f"{target} of a run over token means .* accepted is margin"):
            beta_from_log(run, **{target: 0.1})
