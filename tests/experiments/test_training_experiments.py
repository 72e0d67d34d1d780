"""The training experiments: every claim holds on a small configuration, and not on a table that was tampered with."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

SMALL: dict[str, dict[str, Any]] = {
    "ipo_toys": {"taus": (0.5, 1.0), "steps": 3000, "record_every": 1000},
    "gradient_identity": {"problems": 100, "points": 41, "sampled_pairs": 50_000},
    "kl_and_mu_square": {"losses": ("squared",), "records": 150, "starts": 100},
}


@functools.cache
def computed(name: str) -> tuple[Any, Any, pd.DataFrame]:
    module = importlib.import_module(f"experiments.{name}")
    config = module.Config(**SMALL[name])
    return module, config, pd.concat([module.run(cell) for cell in module.cells(config)], ignore_index=True)


@pytest.mark.parametrize(
    ("name", "column", "rows"),
    [
        ("ipo_toys", "p_c", "method == 'ipo' and dataset == 'D3'"),
        ("ipo_toys", "p_a", "method == 'dpo' and dataset == 'D1'"),
        ("gradient_identity", "cosine", "t == 0"),
        ("gradient_identity", "slope", "target == 'uniform'"),
        ("gradient_identity", "constant", "target == 'sampled'"),
        ("kl_and_mu_square", "early_ratio", "behavior == 'elsewhere'"),
        ("kl_and_mu_square", "work", "behavior == 'policy'"),
    ],
)
def test_claims_hold_and_can_fail(name: str, column: str, rows: str) -> None:
    module, config, table = computed(name)
    assert [check for check in module.check(config, table) if check.holds is not True] == []
    chosen = table.eval(rows)
    assert chosen.any()
    tampered = table.assign(**{column: np.where(chosen, 0.8 * table[column], table[column])})
    assert any(check.holds is False for check in module.check(config, tampered))


@pytest.mark.parametrize("name", SMALL)
def test_cells_are_plain_and_reproducible(name: str) -> None:
    module = importlib.import_module(f"experiments.{name}")
    changes = {"ipo_toys": {"steps": 20, "record_every": 10, "seeds": 2}, "gradient_identity": {"problems": 2},
               "kl_and_mu_square": {"starts": 3, "records": 3, "regularizing_duration": 1.0}}[name]  # fmt: skip
    config = dataclasses.replace(module.PRESETS["quick"], **changes)
    cell = module.cells(config)[-1]
    pd.testing.assert_frame_equal(module.run(dict(cell)), module.run(dict(cell)))


def test_exact_ipo_policies_of_the_toy() -> None:
    """Least squares by hand: on D1 the margins are 2s/3, 2s/3 and 4s/3 with s = 1/(2τ), on D3 0 and s."""
    from experiments.ipo_toys import objective_of, problem_of

    for tau in (0.1, 0.5, 1.0, 5.0):
        s = 1 / (2 * tau)
        loss, beta = objective_of("ipo", tau)
        rho = np.linspace(-3, 3, 7)
        np.testing.assert_allclose(loss(beta * rho), (rho - s) ** 2, rtol=1e-12)
        first = problem_of("D1").solve("ipo", beta)
        np.testing.assert_allclose(first.log_ratio - first.log_ratio[1], [2 * s / 3, 0, -2 * s / 3], atol=1e-9)
        third = problem_of("D3").solve("ipo", beta)
        assert third.policy[2] == pytest.approx(np.exp(-s) / (2 + np.exp(-s)), rel=1e-9)


def test_losing_action_is_the_interval_of_student() -> None:
    from experiments.ipo_toys import interval

    mean, half = interval(pd.Series([1.0, 2.0, 3.0]))
    assert mean == 2.0
    assert half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)  # t with 2 degrees of freedom, standard deviation 1
    assert np.isnan(interval(pd.Series([1.0]))[1])
