"""How far two squares are apart, when noise alone sets them apart, and in which direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import llm_kl_and_mu_square as experiment
from gpo_analysis.runs import latest_record

RESULTS = Path(__file__).parents[2] / "results"


def rows(ratios: np.ndarray, error: float, seeds: int = 3) -> pd.DataFrame:
    """Checkpoints with these log ratios of offline over on-policy, and a relative error of each square."""
    return pd.DataFrame(
        {
            "seed": np.arange(len(ratios)) % seeds, "step": 300, "kl": 2.0, "kl_stderr": 0.1, "offline": np.exp(ratios),
            "mu_squared_loss_on_policy": 1.0, "mu_squared_loss_on_policy_stderr": error,
        }
    )  # fmt: skip


def test_what_noise_alone_gives_is_the_median_of_its_size() -> None:
    errors = np.array([0.1, 0.3, 0.3, 0.6, 1.2])
    drawn = np.abs(np.random.default_rng(0).normal(size=(200_000, 5)) * errors)
    assert experiment.noise_alone(errors) == pytest.approx(np.median(drawn), rel=0.01)
    assert experiment.noise_alone(np.array([0.0, np.nan])) == 0.0
    assert experiment.noise_alone(np.array([2.0, np.inf])) == pytest.approx(2 * 0.67449, rel=1e-4)


def test_equal_squares_do_not_part_however_noisy() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=30_000) * 0.4 * np.sqrt(2.0)  # of two squares
    assert np.median(np.abs(noise)) > 0.25, "the first form of the claim would have held"
    assert experiment.parting(rows(noise, 0.4)) == pytest.approx(0.0, abs=0.01)


def test_what_is_left_is_on_the_low_side_of_the_truth() -> None:
    rng = np.random.default_rng(2)
    for true in (-1.0, -0.3, 0.3, 1.0):
        found = experiment.parting(rows(true + rng.normal(size=30_000) * 0.4, 0.4 / np.sqrt(2.0)))
        assert 0.0 < found < abs(true) + 0.01
    assert experiment.parting(rows(np.array([-1.0, 1.0, -1.0]), 0.0)) == pytest.approx(1.0)


def test_the_sign_is_said_beside_the_size() -> None:
    told = experiment.signs(rows(np.array([-1.0, -0.5, 0.8, -1.2, -0.7, 0.9]), 0.0))
    assert "the median log ratio is -0.60, by seed -1.10, -0.60, 0.85" in told
    assert "the smaller at 4 of 6" in told


def test_seeds_of_the_same_pairs_decide_nothing_alone() -> None:
    """Of the committed study: a size well above the bound over its three seeds."""
    kept = latest_record(RESULTS, "llm-kl-and-mu-square")
    table = kept.table.assign(
        offline=lambda t: t["offline"].where(t["kl"] < 1, 4 * t["mu_squared_loss_on_policy"] * (1 + 0.3 * t["seed"])),
        mu_squared_loss_on_policy_stderr=0.0,
    )
    (parted,) = [c for c in experiment.check(experiment.Config(**kept.config), table) if "they part" in c.claim]
    assert parted.low is not None
    assert parted.low > 0.25
    assert parted.verdict == "undecided"
    assert "3 times as wide" in parted.note
