"""Sweeps: the product of named axes, in a fixed order, of JSON values."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

from experiments.framework.sweeps import axes_of, grid


def test_a_grid_is_the_nested_loop() -> None:
    expected = [
        {"loss": loss, "beta": beta, "seed": seed, "n": 8}
        for loss in ("logistic", "hinge")
        for beta in (0.1, 1.0, 10.0)
        for seed in range(2)
    ]
    found = grid(loss=("logistic", "hinge"), beta=np.array([0.1, 1.0, 10.0]), seed=range(2), n=8)
    assert json.dumps(found) == json.dumps(expected)
    assert axes_of(found) == {"loss": 2, "beta": 3, "seed": 2}


def test_lists_and_dictionaries_can_be_values() -> None:
    assert grid(betas=[[0.1, 1.0]], problem=({"n": 3}, {"n": 4})) == [
        {"betas": [0.1, 1.0], "problem": {"n": 3}},
        {"betas": [0.1, 1.0], "problem": {"n": 4}},
    ]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"seed": ()}, "'seed' has no values"),
        ({"beta": (1.0, 1.0)}, "value twice"),
        ({"beta": (1.0, float("nan"))}, "'beta': .*accepted are values that JSON has"),
        ({"loss": [object()]}, "'loss': a object"),
    ],
)
def test_bad_axes_are_refused(axes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        grid(**axes)


def test_experiments_declare_their_sweeps() -> None:
    module = importlib.import_module("experiments.taylor")
    config = module.PRESETS["quick"]
    cells = module.cells(config)
    assert axes_of(cells) == {"loss": 6, "order": len(config.orders)}
    assert len(cells) == 6 * len(config.orders)
