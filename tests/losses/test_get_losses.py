"""One loss or several: what every verb takes, and what it says of anything else."""

from __future__ import annotations

from typing import Any

import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.datasets import load_journals
from gpo_analysis.losses import get_losses


def test_one_name_is_one_loss() -> None:
    assert [loss.name for loss in get_losses("dpo")] == ["logistic"]
    assert list(gpo.fit_comparisons(load_journals(), "dpo").solutions) == ["logistic"]
    assert [row.loss for row in gpo.recommend_beta(load_journals(), kl=0.3, losses="ipo", resamples=5).rows] == [
        "squared"
    ]


@pytest.mark.parametrize(("losses", "said"), [(5, "losses is 5"), ([], "at least one"), ([3], "unknown loss 3")])
def test_what_is_no_loss_is_named(losses: object, said: str) -> None:
    problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    for verb in (
        lambda: get_losses(losses),  # type: ignore[arg-type]
        lambda: gpo.fit(problem, losses),  # type: ignore[arg-type]
        lambda: gpo.solve_grid(problem, losses, 1.0),  # type: ignore[arg-type]
        lambda: gpo.fit_comparisons(load_journals(), losses),  # type: ignore[arg-type]
        lambda: gpo.recommend_beta(load_journals(), kl=0.3, losses=losses),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=said):
            verb()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda z: (1 - z) ** 2, r'a function: .*, as text, .*"lambda z: \(1 - z\)\*\*2"'),
        ((1 - sympy.Symbol("z")) ** 2, r"\(1 - z\)\*\*2, an expression of sympy: .*str\(expression\)"),
    ],
)
def test_what_may_be_meant_as_a_loss_is_answered_with_its_text(given: Any, said: str) -> None:
    problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    for verb in (
        lambda: gpo.analyze(given),
        lambda: gpo.parse_loss(given),
        lambda: gpo.get_loss(given),
        lambda: problem.solve(given, 1.0),
        lambda: gpo.solve_grid(problem, given, 1.0),
        lambda: gpo.solve_grid(problem, [given], 1.0),
        lambda: gpo.rank(load_journals(), given),
    ):
        with pytest.raises(ValueError, match=said):
            verb()
    advised = gpo.parse_loss("lambda z: (1 - z)**2")
    assert advised.expression == gpo.parse_loss(str((1 - sympy.Symbol("z")) ** 2)).expression
    assert advised(0.5) == 0.25


def test_what_is_no_problem_is_named() -> None:
    with pytest.raises(ValueError, match="problems is Comparisons"):
        gpo.fit(load_journals(), "dpo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="problems is int"):
        gpo.solve_grid(5, "dpo", 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="betas is None"):
        gpo.solve_grid(gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]), "dpo", None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="comparisons is a int"):
        gpo.recommend_beta(5, kl=1.0)  # type: ignore[arg-type]
