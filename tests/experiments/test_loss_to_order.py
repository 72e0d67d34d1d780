"""The experiment at a small size: designed losses are the expressions it names; what its checks notice."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from experiments import loss_to_order as experiment


@pytest.mark.parametrize("name", experiment.DESIGNED)
def test_expressions_are_what_design_loss_returns(name: str) -> None:
    designed = gpo.design_loss(**experiment.WISHES[name])
    z = sympy.Symbol("z", real=True)
    named = experiment.loss_of(name)
    difference = designed.expression.subs(designed.symbol, z) - named.expression.subs(named.symbol, z)
    points = np.linspace(-8, 8, 41)
    assert max(abs(float(difference.subs(z, x))) for x in points) < 1e-12


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
