"""One loss or several: what every verb takes, and what it says of anything else."""

from __future__ import annotations

import pytest

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


def test_what_is_no_problem_is_named() -> None:
    with pytest.raises(ValueError, match="problems is Comparisons"):
        gpo.fit(load_journals(), "dpo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="problems is int"):
        gpo.solve_grid(5, "dpo", 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="betas is None"):
        gpo.solve_grid(gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]), "dpo", None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="comparisons is a int"):
        gpo.recommend_beta(5, kl=1.0)  # type: ignore[arg-type]
