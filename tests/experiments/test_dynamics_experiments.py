"""Speed, expansion in training and deviation: small configurations, and tables that were tampered with."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

SMALL: dict[str, dict[str, Any]] = {
    "speed_and_dynamics": {
        "responses": 5, "betas": (0.5,), "fractions": (0.5,), "adam_rates": (0.1,), "adam_steps": 100,
        "edge_steps": 600, "halvings": 4, "seeds": 1,
    },
    "taylor_in_training": {
        "responses": 5, "betas": (0.1, 1.0), "steps": 200, "seeds": 2, "problems": 6, "sizes": (4,),
    },
    "policy_deviation": {"responses": 10, "seen": 5, "betas": (1.0,), "steps": 100, "seeds": 2, "labels": 60},
}  # fmt: skip


@functools.cache
def computed(name: str) -> tuple[Any, Any, pd.DataFrame]:
    module = importlib.import_module(f"experiments.{name}")
    config = module.Config(**SMALL[name])
    return module, config, pd.concat([module.run(cell) for cell in module.cells(config)], ignore_index=True)


@pytest.mark.parametrize(
    ("name", "claim", "column", "rows"),
    [
        ("speed_and_dynamics", "logistic: local rate", "measured", "part == 'descent' and loss == 'logistic'"),
        ("speed_and_dynamics", "savage: largest stable", "stable_over_predicted", "loss == 'savage'"),
        ("speed_and_dynamics", "start: KL", "kl_over_predicted", "part == 'early'"),
        ("speed_and_dynamics", "start: κ", "kappa_measured", "part == 'early'"),
        ("speed_and_dynamics", "Adam: first step", "early_step", "part == 'adam'"),
        ("taylor_in_training", "power of |βρ| in the relative error of order 2", "relative_error_2", "largest < 0.05"),
        ("taylor_in_training", "logistic: share beyond", "optimum", "part == 'share' and beta > 0.5"),
        ("policy_deviation", "squared: largest |log", "largest_on", "loss == 'squared'"),
        ("policy_deviation", "chosen: first slope", "early_slope", "part == 'chosen'"),
        ("policy_deviation", "features: first slope", "leak_slope", "part == 'features'"),
    ],
)
def test_claims_hold_and_can_fail(name: str, claim: str, column: str, rows: str) -> None:
    module, config, table = computed(name)
    meant = [check for check in module.check(config, table) if claim in check.claim]
    assert meant
    assert [check for check in meant if check.holds is not True] == []
    chosen = table.eval(rows).fillna(False).astype(bool)
    assert chosen.any()
    other = 0.7 * table[column] + 0.01
    tampered = table.assign(**{column: np.where(chosen, other, table[column])})
    assert any(c.holds is False for c in module.check(config, tampered) if claim in c.claim)


@pytest.mark.parametrize("name", SMALL)
def test_summary_fills_in_numbers_and_says_what_to_remember(name: str) -> None:
    module, config, table = computed(name)
    told = module.summary(config, table)
    assert "To remember:" in told.rsplit(". ", 1)[-1]
    shrunk = table.assign(**{c: 0.5 * table[c] for c in table.select_dtypes("float").columns})
    assert module.summary(config, shrunk) != told


def test_intervals() -> None:
    from experiments._seeds import geometric_interval, mean_interval, share_interval

    assert mean_interval([1.0, 2.0, 3.0])[2] == pytest.approx(2 + 4.302653 / np.sqrt(3), rel=1e-6)
    assert np.isnan(mean_interval([1.0])[1])
    assert geometric_interval([1.0, 100.0])[0] == pytest.approx(10.0)
    low, high = share_interval(5, 10)[1:]  # Wilson by hand: centre 1/2, half-width z√(1/40 + z²/400)/(1 + z²/10)
    z = 1.959964
    half = z * np.sqrt(0.25 / 10 + z**2 / 400) / (1 + z**2 / 10)
    assert (low, high) == (pytest.approx(0.5 - half, rel=1e-6), pytest.approx(0.5 + half, rel=1e-6))
