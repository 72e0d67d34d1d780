"""β from a run's log: the law inverted, closed forms near πref, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from gpo_analysis.estimation import TrainingLog, beta_from_log
from gpo_analysis.estimation.others import other_runs
from gpo_analysis.losses import get_loss


def log_of(scale: float = 1.0, **more: np.ndarray) -> TrainingLog:
    rng = np.random.default_rng(0)
    chosen, rejected = scale * rng.normal(-1, 0.5, 100), scale * rng.normal(-3, 1, 100)
    more = {"step": np.full(100, 20.0), **more}
    return TrainingLog(chosen - 80, rejected - 84, np.full(100, -80.0), np.full(100, -84.0), **more)


LENGTHS = {"chosen_length": np.full(100, 20.0), "rejected_length": np.full(100, 30.0)}


@pytest.mark.parametrize(("target", "value"), [("margin", 1.7), ("drop", 0.8), ("kl", 1.0), ("kl_per_token", 0.03)])
def test_the_law_of_diagnose_is_inverted(target: str, value: float) -> None:
    log, f = log_of(**LENGTHS), get_loss("dpo")
    found = beta_from_log(log, f, 0.1, **{target: value}, resamples=200)
    (row,) = other_runs(f, 0.1, log.rho, 20.0, [(f, found.beta.value)])
    ratio = row["mean_rho"] / log.rho.mean()
    measured = {
        "margin": log.rho.mean() * ratio,
        "drop": -log.chosen_ratio.mean() * ratio,
        "kl": np.mean(log.rho**2) / 4 * ratio**2,
        "kl_per_token": np.mean(log.rho**2) / 4 / 25 * ratio**2,
    }[target]
    assert found.status == "found"
    assert measured == pytest.approx(value, rel=1e-4)
    assert found.beta.low < found.beta.value < found.beta.high
    assert found.reach == pytest.approx(row["reach"], rel=1e-4)
    assert found.trusted is row["trusted"]


def test_a_run_that_has_no_pull_back_cannot_go_further() -> None:
    found = beta_from_log(log_of(), "dpo", 1e-6, margin=3.0, resamples=20)
    assert found.limit == pytest.approx(log_of().rho.mean(), rel=1e-3)  # β → 0 already
    assert "out of reach" in found.status
    assert "out of reach" in str(found)
    assert np.isnan(found.to_dict()["beta"]["value"])


def test_what_the_log_does_not_say_is_refused() -> None:
    log = log_of()
    up = TrainingLog(np.full(3, -9.0), np.full(3, -12.0), np.full(3, -10.0), np.full(3, -10.0))
    down = TrainingLog(np.full(3, -12.0), np.full(3, -9.0), np.full(3, -10.0), np.full(3, -10.0))
    for data, arguments, message in (
        (log, {}, "give one of margin, drop, kl, kl_per_token, got none"),
        (log, {"kl": 1.0, "drop": 1.0}, "got drop, kl"),
        (log, {"kl": -1.0}, "kl must be"),
        (log, {"kl_per_token": 0.1}, "needs chosen_length and rejected_length"),
        (up, {"drop": 1.0}, "have not dropped: their mean log π/πref is 1 nats"),
        (down, {"margin": 1.0}, "mean margin of the log is -3 nats"),
    ):
        with pytest.raises(ValueError, match=message):
            beta_from_log(data, "dpo", 0.1, **arguments)
