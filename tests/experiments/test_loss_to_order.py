"""The experiment at a small size: designed losses are the expressions it names; what its checks notice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import sympy

import gpo_analysis as gpo
from experiments import loss_to_order as experiment

SMALL = dataclasses.replace(experiment.PRESETS["quick"], margins=("2",), seeds=2, spreads=(2.0, 6.0))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.concat([experiment.run(cell) for cell in experiment.cells(SMALL)], ignore_index=True)


@pytest.mark.parametrize("name", experiment.DESIGNED)
def test_expressions_are_what_design_loss_returns(name: str) -> None:
    designed = gpo.design_loss(**experiment.WISHES[name])
    z = sympy.Symbol("z", real=True)
    named = experiment.loss_of(name)
    difference = designed.expression.subs(designed.symbol, z) - named.expression.subs(named.symbol, z)
    points = np.linspace(-8, 8, 41)
    assert max(abs(float(difference.subs(z, x))) for x in points) < 1e-12


def test_claims_hold_at_a_small_size(table: pd.DataFrame) -> None:
    checks = experiment.check(SMALL, table)
    assert [check.claim for check in checks if not check.holds] == []
    assert "nan" not in experiment.summary(SMALL, table)


def test_wrong_numbers_are_noticed(table: pd.DataFrame) -> None:
    other = table["loss"] == "clipped"
    wrong = table.assign(
        allowed=~table["allowed"].astype("boolean"), kl=table["kl"].where(~other, 2 * table["kl"]), radius=3.0
    )
    failed = " ".join(check.claim for check in experiment.check(SMALL, wrong) if not check.holds)
    assert "granted otherwise" in failed
    assert "KL, largest relative gap" in failed
    assert "Taylor radius" in failed


def test_measures_refute_a_loss_without_the_wish() -> None:
    row = {"kappa": "1/2", "margin": "infinite", "bounded_gradient": True, "logit_link": "True", "convex": True}
    assert experiment._measured(gpo.get_loss("dpo"), row)["met"]
    for name in ("exponential", "squared", "savage", "truncated_quadratic"):
        assert not experiment._measured(gpo.get_loss(name), row)["met"]
    assert not experiment._measured(gpo.get_loss("dpo"), {**row, "bounded_gradient": False})["met"]


def test_cycle_is_a_cycle() -> None:
    problem = experiment.problem_of("cycle", 4, 0.0, 0)
    p = problem.preference
    assert np.all(p[[0, 1, 2, 3], [1, 2, 3, 0]] > 0.7)
    np.testing.assert_allclose(p + p.T, 1.0)
