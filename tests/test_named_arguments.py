"""Whatever number an argument cannot be, the message names the argument: of every public function in this table."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis import divergences, preferences, tabular, training

P = gpo.bradley_terry([0.0, 1.0, 2.0])
ONE = gpo.PreferenceProblem(P)
SCORES = [0.0, 1.0, 2.0]
UNIFORM = [1 / 3] * 3

#: A function, arguments that it takes, and which of them are numbers.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any], tuple[str, ...]]] = {
    "noise_variance": (training.noise_variance, {"loss": "dpo", "theta": 1.0}, ("theta",)),
    "noise_balance": (training.noise_balance, {"loss": "dpo", "variance": 1.0}, ("variance",)),
    "fit": (ONE.fit, {"loss": "dpo"}, ()),
    "solve": (ONE.solve, {"loss": "dpo", "beta": 1.0}, ("beta",)),
    "train": (
        gpo.train, {"problem": ONE, "loss": "dpo", "beta": 1.0, "learning_rate": 0.1, "steps": 1},
        ("beta", "learning_rate"),
    ),
    "bradley_terry": (gpo.bradley_terry, {"rewards": SCORES}, ("rewards",)),
    "thurstone": (preferences.thurstone, {"means": SCORES, "scale": 1.0}, ("means", "scale")),
    "from_counts": (preferences.from_counts, {"counts": np.ones((3, 3))}, ("counts",)),
    "pair_shares": (preferences.pair_shares, {"preference": P, "weights": np.ones((3, 3))}, ("weights",)),
    "rescaled_noise": (
        training.rescaled_noise,
        {"kl": 0.1, "loss": "dpo", "beta": 1.0, "other_loss": "ipo", "other_beta": 1.0, "rate": 2.0, "batch": 2.0},
        ("kl", "beta", "other_beta", "rate", "batch"),
    ),
    "reward_frontier": (
        tabular.reward_frontier, {"reward": SCORES, "reference": UNIFORM, "strengths": [0.5, 1.0]},
        ("reward", "reference", "strengths"),
    ),
    "best_of_n": (tabular.best_of_n, {"scores": SCORES, "reference": UNIFORM, "n": 4}, ("scores", "reference")),
    "tilted_by_length": (
        tabular.tilted_by_length, {"reward": SCORES, "lengths": [1.0, 2.0, 3.0], "beta": 1.0},
        ("reward", "lengths", "beta"),
    ),
    "restricted_optimum": (
        tabular.restricted_optimum,
        {"reward": SCORES, "reference": UNIFORM, "features": np.eye(3)[:, :1], "beta": 1.0},
        ("reward", "reference", "features", "beta"),
    ),
    "cyclic": (preferences.cyclic, {"base": 3, "strength": 0.8}, ("strength",)),
    "label_noise": (preferences.label_noise, {"preference": P, "epsilon": 0.1}, ("epsilon",)),
    "alpha_link": (divergences.alpha_link, {"alpha": 1.0}, ("alpha",)),
    "trl_alpha_link": (divergences.trl_alpha_link, {"coefficient": 0.5}, ("coefficient",)),
}  # fmt: skip
CASES = [(name, argument) for name, (_, _, numbers) in CALLS.items() for argument in numbers]


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_of_the_table_are_right(name: str) -> None:
    function, arguments, _ = CALLS[name]
    assert function(**arguments) is not None


@pytest.mark.parametrize(("name", "argument"), CASES, ids=lambda value: str(value))
@pytest.mark.parametrize("bad", ["no number", float("nan"), object()], ids=["text", "nan", "object"])
def test_a_number_that_is_none_is_refused_by_its_arguments_name(name: str, argument: str, bad: object) -> None:
    function, arguments, _ = CALLS[name]
    shape = np.shape(arguments[argument])
    value = bad if not shape else np.full(shape, bad, dtype=object)
    with pytest.raises((ValueError, TypeError)) as refused:
        function(**{**arguments, argument: value})
    assert re.search(rf"\b{argument}\b", str(refused.value)), str(refused.value)
