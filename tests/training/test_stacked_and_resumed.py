"""Runs in a stack and runs that go on have the bits of lone and of uninterrupted ones."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from gpo_analysis.preferences import Comparisons
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.training.dynamics import train, train_many
from tests.training.problems import assert_same, problem_of


@pytest.mark.parametrize("loss", ["logistic", "squared"])
@pytest.mark.parametrize("kind", ["free", "features", "on policy"])
def test_stacked_runs_equal_lone_runs(loss: str, kind: str) -> None:
    problems = [problem_of(seed=s) for s in (0, 1, 0)]
    losses, betas, seeds = [loss, "exponential", loss], [0.1, 1.0, 0.5], [0, 1, 2]
    options: dict[str, Any] = {"learning_rate": 0.05, "steps": 60, "record_every": 7, "keep": ("policies", "gradients")}
    if kind == "features":
        options["features"] = np.random.default_rng(5).normal(size=(5, 3))
    if kind == "on policy":
        options["refresh_every"] = 1
    for optimizer, batch in (("gd", None), ("adam", None), ("adam", 4)):
        if kind == "on policy" and batch:
            continue
        settings = {**options, "optimizer": optimizer, "batch_size": batch}
        together = train_many(problems, losses, betas, seeds, **settings)
        alone = [
            train(problem, f, beta, seed=seed, **settings)
            for problem, f, beta, seed in zip(problems, losses, betas, seeds, strict=True)
        ]
        for one, other in zip(together, alone, strict=True):
            assert_same(one, other)


def test_stacked_runs_over_samples_of_different_length() -> None:
    short = Comparisons([0, 1], [1, 2], items=("a", "b", "c"))
    long = Comparisons([0, 1, 0, 2], [1, 2, 2, 0], [1.0, 2.0, 3.0, 1.0], items=("a", "b", "c"))
    for batch in (None, 3):
        options: Any = {"optimizer": "adam", "learning_rate": 0.1, "steps": 30, "batch_size": batch}
        together = train_many([short, long], "ipo", 1.0, [0, 1], **options)
        assert_same(together[0], train(short, "ipo", 1.0, seed=0, **options))
        assert_same(together[1], train(long, "ipo", 1.0, seed=1, **options))


RESUMED = {
    "gd": {"optimizer": "gd"},
    "adam": {"optimizer": "adam"},
    "mini-batches": {"optimizer": "adam", "batch_size": 3, "seed": 4},
    "features": {"optimizer": "adam", "features": np.random.default_rng(5).normal(size=(5, 2))},
    "on policy": {"optimizer": "adam", "refresh_every": 4},
    "kept": {"optimizer": "gd", "keep": ("policies", "logits", "gradients")},
}


@pytest.mark.parametrize("stop", [0, 1, 13, 20, 49])
@pytest.mark.parametrize("name", RESUMED)
def test_resumed_run_has_the_bits_of_an_uninterrupted_one(name: str, stop: int) -> None:
    options: Any = {"learning_rate": 0.05, "record_every": 5, **RESUMED[name]}
    whole = train(problem_of(), "dpo", 0.5, steps=49, **options)
    part = train(problem_of(), "dpo", 0.5, steps=stop, **options)
    kept = pickle.loads(pickle.dumps(part))  # as after a stop of the program
    assert_same(train(problem_of(), "dpo", 0.5, steps=49, resume=kept, **options), whole)


def test_resume_where_one_of_several_runs_diverged() -> None:
    problem, options = problem_of(), {"learning_rate": 30.0, "record_every": 10}
    whole = train_many(problem, "ipo", [0.01, 10.0], steps=400, **options)
    assert whole[1].status == "diverged"
    assert whole[0].finished
    part = train_many(problem, "ipo", [0.01, 10.0], steps=205, **options)
    assert part[1].status == "diverged"
    for one, other in zip(
        train_many(problem, "ipo", [0.01, 10.0], steps=400, resume=part, **options), whole, strict=True
    ):
        assert_same(one, other)


def test_resume_of_something_else_is_refused() -> None:
    options: Any = {"learning_rate": 0.1, "steps": 5}
    run = train(problem_of(), "dpo", 1.0, **options)
    for change in ({"learning_rate": 0.2}, {"record_every": 2}, {"seed": 3}, {"features": np.eye(5)}):
        with pytest.raises(ValueError, match=f"another {next(iter(change))}"):
            train(problem_of(), "dpo", 1.0, **{**options, **change}, resume=run)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another loss"):
        train(problem_of(), "ipo", 1.0, **options, resume=run)
    with pytest.raises(ValueError, match="another beta"):
        train(problem_of(), "dpo", 1.5, **options, resume=run)
    with pytest.raises(ValueError, match="another problem"):
        train(problem_of(seed=9), "dpo", 1.0, **options, resume=run)
    with pytest.raises(ValueError, match="beyond the 3 steps"):
        train(problem_of(), "dpo", 1.0, learning_rate=0.1, steps=3, resume=run)
    with pytest.raises(ValueError, match="a trajectory for each of the 2 runs"):
        train_many(problem_of(), "dpo", [1.0, 1.0], **options, resume=[run])
    ahead = train(problem_of(), "dpo", 1.0, learning_rate=0.1, steps=4)
    with pytest.raises(ValueError, match="stand at one step"):
        train_many(problem_of(), "dpo", [1.0, 1.0], **options, resume=[run, ahead])


def test_a_start_for_each_run() -> None:
    problem = problem_of(3)
    starts = np.random.default_rng(0).normal(size=(4, 3))
    runs = train_many(problem, "dpo", [1.0] * 4, learning_rate=0.1, steps=3, initial=starts)
    for start, run in zip(starts, runs, strict=True):
        assert_same(run, train(problem, "dpo", 1.0, learning_rate=0.1, steps=3, initial=start))
    with pytest.raises(ValueError, match="initial must be finite, of shape"):
        train_many(problem, "dpo", [1.0] * 5, learning_rate=0.1, steps=3, initial=starts)


def test_bad_stacks() -> None:
    with pytest.raises(ValueError, match="betas must be one or as many as there are runs, 3"):
        train_many(problem_of(), "dpo", [1.0, 2.0], [0, 1, 2], learning_rate=0.1, steps=1)
    with pytest.raises(ValueError, match="same contexts and responses"):
        train_many([problem_of(3), problem_of(4)], "dpo", 1.0, learning_rate=0.1, steps=1)
    with pytest.raises(ValueError, match="betas"):
        train_many(problem_of(), "dpo", [], learning_rate=0.1, steps=1)
    with pytest.raises(ValueError, match="needs a preference matrix"):
        train(Comparisons([0], [1]), "dpo", 1.0, learning_rate=0.1, steps=1, refresh_every=1)
    with pytest.raises(ValueError, match="nothing to learn from"):
        train(PreferenceProblem(np.full((2, 2), 0.5), [1.0, 0.0]), "dpo", 1.0, learning_rate=0.1, steps=1)
