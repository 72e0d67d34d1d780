"""Grids: the same numbers as one solve a cell, and only one solve a problem and loss."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.tabular import PreferenceProblem, implicit_reward, solve_grid

COLUMNS = [
    "problem",
    "loss",
    "beta",
    "link",
    "population_loss",
    "kl",
    "mu_squared_loss",
    "max_margin",
    "converged",
    "status",
    "reason",
    "iterations",
    "error",
]


def problems():
    rng = np.random.default_rng(0)
    many = [
        PreferenceProblem(gpo.bradley_terry(rng.normal(size=n)), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n)))
        for n in (3, 5, 3)
    ]
    batch = PreferenceProblem(gpo.bradley_terry(rng.normal(size=(2, 4))), context_weights=[0.3, 0.7])
    return [*many, batch, PreferenceProblem(gpo.deterministic([0.0, 1.0]))]


@pytest.mark.parametrize("link", ["reverse_kl", "chi_po"])
def test_rows_agree_with_single_solves(link):
    given, losses, betas = problems(), ["logistic", "hinge", gpo.get_loss("savage")], [0.1, 1.0, 30.0]
    table = solve_grid(given, losses, betas, link=link)
    assert table.columns.tolist() == COLUMNS
    assert len(table) == 5 * 3 * 3
    row = iter(table.itertuples(index=False))
    for k, problem in enumerate(given):
        for loss in losses:
            for beta in betas:
                cell, one = next(row), problem.solve(loss, beta, link=link)
                assert (cell.problem, cell.loss, cell.beta, cell.link) == (k, one.loss, beta, link)
                assert (cell.converged, cell.status, cell.reason) == (one.converged, one.status, one.reason)
                for name in ("population_loss", "kl", "mu_squared_loss", "max_margin"):
                    assert getattr(cell, name) == pytest.approx(getattr(one, name), rel=1e-9, abs=1e-12, nan_ok=True)


def test_one_solve_serves_all_betas_and_problems(monkeypatch):
    calls = []
    original = implicit_reward.optimise

    def counted(pairs, loss):
        calls.append((len(pairs), loss.name))
        return original(pairs, loss)

    monkeypatch.setattr(implicit_reward, "optimise", counted)
    solve_grid(problems(), ["logistic", "squared"], np.geomspace(0.01, 10, 7))
    assert calls == [(6, "logistic"), (6, "squared")]


def test_names_and_single_values():
    named = {"easy": problems()[0], "hard": problems()[1]}
    table = solve_grid(named, "ipo", 1.0)
    assert table["problem"].tolist() == ["easy", "hard"]
    assert table["loss"].tolist() == ["squared", "squared"]
    assert len(solve_grid(problems()[0], gpo.get_loss("dpo"), np.float64(2.0))) == 1


def test_a_context_that_never_occurs_does_not_count():
    stack = np.stack([gpo.bradley_terry([0.0, 1.0]), gpo.deterministic([0.0, 1.0])])
    table = solve_grid(PreferenceProblem(stack, context_weights=[1.0, 0.0]), "logistic", [1.0, 2.0])
    assert np.isfinite(table["kl"]).all()
    assert not table["converged"].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], "dpo", 1.0), "at least one problem"),
        ((problems(), [], 1.0), "losses must be at least one"),
        ((problems(), "dpo", []), "one beta"),
        ((problems(), "dpo", [1.0, 0.0]), "beta must be a finite number above 0"),
        ((["x"], "dpo", 1.0), "problem 0 is str; accepted are PreferenceProblems"),
        ((problems(), "nothing", 1.0), "nothing"),
    ],
)
def test_bad_grids_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        solve_grid(*arguments)


@pytest.mark.parametrize("betas", [[1e-300, 0.1, 1.0], [1.0, 0.1, 1e-300], [1e200, 0.1, 1e-160]])
def test_a_beta_at_the_edge_of_floats_leaves_the_others_their_numbers(betas):
    """Var_μ(log-odds)/β² where a float holds it, inf or 0 where none does: two responses, odds of 4, uniform μ."""
    table = gpo.solve_grid(gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]), "dpo", betas)
    with np.errstate(over="ignore", under="ignore"):
        wanted = (np.log(4) / 2) ** 2 / np.array(betas) / np.array(betas)
    np.testing.assert_allclose(table["mu_squared_loss"], wanted, rtol=1e-9)
