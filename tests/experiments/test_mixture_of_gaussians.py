"""The mixture-of-Gaussians experiment: every claim holds on a small configuration, and fails on a tampered table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from experiments import mixture_of_gaussians as experiment
from figures import mixture_of_gaussians as figure
from gpo_analysis.plotting import figure_style
from gpo_analysis.records import Record

CONFIG = experiment.Config(
    points=201, widths=(0.25, 0.5, 2.0), places=(0.0, 1.5), map_starts=24, map_points=201, samples=5_000, steps=300
)
TABLE = pd.concat([experiment.run(cell) for cell in experiment.cells(CONFIG)], ignore_index=True)


def test_every_claim_holds() -> None:
    checks = experiment.check(CONFIG, TABLE)
    assert len(checks) == 18
    assert [c.claim for c in checks if not c.holds] == []
    assert len({c.claim for c in checks}) == len(checks)


def test_cells_are_plain_and_distinct() -> None:
    for config in (CONFIG, *experiment.PRESETS.values()):
        told = [json.dumps(cell, sort_keys=True) for cell in experiment.cells(config)]
        assert len(set(told)) == len(told) == 6 + len(config.widths)


def _without(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    rows = np.ones(len(table), dtype=bool)
    for column, value in where.items():
        rows &= (table[column] == value).to_numpy()
    assert rows.any()
    return table[~rows]


def _add_minimum(setting: str, objective: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    row = {"part": "minimum", "setting": setting, "objective": objective, "c": 1.0, "kl": 1.0, "uncertainty": 1e-10}
    return lambda table: pd.concat([table, pd.DataFrame([row])], ignore_index=True)


def _scaled(column: str, factor: float, **where: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def tamper(table: pd.DataFrame) -> pd.DataFrame:
        rows = np.ones(len(table), dtype=bool)
        for name, value in where.items():
            rows &= (table[name] == value).to_numpy()
        assert rows.any()
        return table.assign(**{column: np.where(rows, table[column] * factor, table[column])})

    return tamper


@pytest.mark.parametrize(
    "tamper",
    [
        lambda table: _without(table, part="minimum", setting="mode", objective="mu_squared_loss"),
        _add_minimum("mode", "kl"),
        _add_minimum("reference", "mu_squared_loss"),
        _add_minimum("single", "mu_squared_loss"),
        _scaled("kl", 0.5, part="minimum", setting="mode"),
        _scaled("mu_squared_loss", 2.0, part="minimum", setting="mode"),
        _scaled("uncertainty", 1e3, part="minimum"),
        _scaled("mu_squared_loss", 1 + 1e-6, part="curve", setting="single"),
        _scaled("kl", 0.0, part="descent", objective="mu_squared_loss"),
        _scaled("sampled", 1.5, part="sampled", objective="mu_squared_loss"),
        _scaled("share_raised", 0.0, part="map", width=0.5),
        _scaled("minima", 2.0, part="map", width=2.0),
    ],
)
def test_a_tampered_table_is_found_out(tamper: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    assert [c.claim for c in experiment.check(CONFIG, tamper(TABLE)) if not c.holds] != []


def test_the_figure_is_drawn_from_the_table_and_says_the_setting_is_ours() -> None:
    record = Record("mixture-of-gaussians", dataclasses.asdict(CONFIG), TABLE, {})
    records = {"mixture-of-gaussians": record}
    with figure_style():
        drawn = figure.draw(records)
        drawn.canvas.draw()
    assert len(drawn.axes) == 8
    assert all(ax.get_xlabel() for ax in drawn.axes[:6])
    caption = " ".join(figure.caption(records).split())
    assert "constants of the paper's figure are not known; this setting is ours" in caption
    assert "m in {−3, 0, 3}" in caption
