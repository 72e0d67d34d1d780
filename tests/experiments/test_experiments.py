"""The experiments: every claim holds on a small configuration, and not on a table that was tampered with."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.framework.discovery import find_experiments
from figures.framework.drawing import find_figures

choix = pytest.importorskip("choix")


def table_of(name: str, config: Any) -> tuple[Any, pd.DataFrame]:
    module = importlib.import_module(f"experiments.{name}")
    return module, pd.concat([module.run(cell) for cell in module.cells(config)], ignore_index=True)


def small(name: str) -> Any:
    module = importlib.import_module(f"experiments.{name}")
    settings: dict[str, dict[str, Any]] = {
        "losses": {"points": 31},
        "taylor": {"points": 16, "orders": (0, 1, 2, 8, 16, 32)},
        "beta_sweep": {"points": 12, "samples": 4},
        "variants": {"scales": (0.02, 0.6, 2.0), "samples": 3, "comparisons": (200, 100000), "exponents": (-1, 2)},
        "journals": {},
    }
    return module.Config(**settings[name])


def scaled(column: str, factor: float, **where: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a function that multiplies a column in the rows of ``where``."""

    def tamper(table: pd.DataFrame) -> pd.DataFrame:
        rows = np.ones(len(table), dtype=bool)
        for key, value in where.items():
            rows &= (table[key] == value).to_numpy()
        assert rows.any()
        return table.assign(**{column: np.where(rows, table[column] * factor, table[column])})

    return tamper


@pytest.mark.parametrize(
    ("name", "tampers"),
    [
        ("losses", [scaled("slope", -1.0, loss="savage"), scaled("scaled", 0.5, loss="hinge")]),
        (
            "taylor",
            [
                scaled("radius", 2.0, loss="logistic"),
                scaled("error", 1e30, loss="exponential", order=32),
                scaled("error", 0.0, loss="hinge"),
            ],
        ),
        (
            "beta_sweep",
            [scaled("kl", 1.2, source="population"), scaled("kl", 2.0, source="best of n"), scaled("error", 1e8)],
        ),
        (
            "variants",
            [
                scaled("kl", 1.001, loss="exponential"),
                scaled("kl", 1.001, loss="truncated_quadratic"),
                scaled("kl", 1e-3, loss="hinge"),
                scaled("kl", 1.2, loss="squared"),
            ],
        ),
        ("journals", [scaled("score", 1.001, loss="logistic"), scaled("score", -1.0, loss="squared")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_claims_hold_and_can_fail(name: str, tampers: list[Callable[[pd.DataFrame], pd.DataFrame]]) -> None:
    config = small(name)
    module, table = table_of(name, config)
    checks = module.check(config, table)
    assert checks
    assert [check for check in checks if check.holds is not True] == []
    for tamper in tampers:
        assert any(check.holds is False for check in module.check(config, tamper(table)))


@pytest.mark.parametrize(
    ("name", "tamper", "words"),
    [
        ("losses", scaled("curvature", 2.0, loss="logistic"), ("κ = f″(0)/|f′(0)|, is logistic 0.5", "logistic 1")),
        ("taylor", scaled("error", 0.0, loss="logistic", order=2), ("logistic 2.", "logistic 20")),
        (
            "beta_sweep",
            scaled("kl", np.nan, comparisons=60),
            ("% [5%, 70%] of the samples of 60", "100% [51%, 100%] of the samples of 60"),
        ),
        ("variants", scaled("kl", 2.0, kind="sample", loss="logistic"), ("the population 1.", "the population 2.")),
        ("journals", scaled("score", 2.0, loss="logistic"), ("abilities to 0.0004", "abilities to 3")),
    ],
)
def test_the_paragraph_says_what_the_table_holds(
    name: str, tamper: Callable[[pd.DataFrame], pd.DataFrame], words: tuple[str, str]
) -> None:
    config = small(name)
    module, table = table_of(name, config)
    for found, (present, absent) in (
        (module.summary(config, table), words),
        (module.summary(config, tamper(table)), words[::-1]),
    ):
        assert present in found
        assert absent not in found
        assert "nan" not in found.replace("Gaussian", "")
        assert "To remember: " in found


def test_cells_are_reproducible_and_seeds_matter() -> None:
    module = importlib.import_module("experiments.variants")
    cells = [cell for cell in module.cells(small("variants")) if cell.get("comparisons") == 200]
    first, again, other = (module.run(cell) for cell in (cells[0], cells[0], cells[1]))
    pd.testing.assert_frame_equal(first, again)
    assert not np.allclose(first["kl"], other["kl"], equal_nan=True)


def test_the_second_computation_of_abilities_is_that_of_choix() -> None:
    from experiments.journals import bradley_terry_abilities

    wins = np.random.default_rng(0).integers(1, 20, size=(5, 5)).astype(float)
    np.fill_diagonal(wins, 0.0)
    data = [(i, j) for i in range(5) for j in range(5) for _ in range(int(wins[i, j]))]
    expected = choix.opt_pairwise(5, data)
    found = bradley_terry_abilities(wins, 500)
    np.testing.assert_allclose(found - found.mean(), expected - np.mean(expected), atol=1e-6)


def test_best_of_n_is_what_sampling_gives() -> None:
    from experiments.beta_sweep import REFERENCE, REWARDS, _best_of

    rng = np.random.default_rng(0)
    draws = rng.choice(len(REFERENCE), size=(200_000, 3), p=REFERENCE)
    kept = np.take_along_axis(draws, np.array(REWARDS)[draws].argmax(axis=1)[:, None], axis=1)[:, 0]
    share = np.bincount(kept, minlength=len(REFERENCE)) / len(kept)
    kl = float(share @ np.log(share / np.array(REFERENCE)))
    assert _best_of(3)["kl"] == pytest.approx(kl, abs=0.01)
    assert _best_of(3)["top"] == pytest.approx(share.max(), abs=0.005)


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        ([0.96, 0.02, 0.02], "collapsed"),
        ([0.94, 0.03, 0.03], "balanced"),
        ([1 / 3, 1 / 3, 1 / 3], "underfit"),
        ([0.02, 0.02, 0.96], "collapsed"),
        ([np.nan, np.nan, np.nan], "collapsed"),
    ],
)
def test_verdicts_on_policies(policy: list[float], verdict: str) -> None:
    from experiments.beta_sweep import outcome

    preference = np.array([[0.5, 0.7, 0.9], [0.3, 0.5, 0.8], [0.1, 0.2, 0.5]])
    found = outcome(np.array(policy), np.full(3, 1 / 3), preference)
    assert found["verdict"] == verdict


@pytest.mark.parametrize("experiment", find_experiments(), ids=lambda experiment: experiment.name)
def test_every_experiment_has_its_parts_and_a_figure_that_shows_it(experiment: Any) -> None:
    module = experiment.load()
    assert module.CLAIM.endswith(".")
    figures = {figure.name: figure.load().EXPERIMENTS for figure in find_figures()}
    assert experiment.name in figures[module.FIGURE]
    for preset in ("quick", "paper"):
        config = experiment.config(preset)
        assert isinstance(config, module.Config)
        for field in type(config).__dataclass_fields__:
            assert field in (module.Config.__doc__ or ""), f"{field} is not documented"
