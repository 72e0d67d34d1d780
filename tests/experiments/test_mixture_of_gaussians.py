"""The mixture-of-Gaussians experiment: minima that are not there, or too many, are found out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from experiments import mixture_of_gaussians as experiment
from fuzz.small import computed


def test_cells_are_three_landscapes_two_descents_samples_and_the_map() -> None:
    for config in experiment.PRESETS.values():
        assert len(experiment.cells(config)) == 6 + len(config.widths)


def _without(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    rows = np.ones(len(table), dtype=bool)
    for column, value in where.items():
        rows &= (table[column] == value).to_numpy()
    assert rows.any()
    return table[~rows]


def _add_minimum(setting: str, objective: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    row = {"part": "minimum", "setting": setting, "objective": objective, "c": 1.0, "kl": 1.0, "uncertainty": 1e-10}
    return lambda table: pd.concat([table, pd.DataFrame([row])], ignore_index=True)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda table: _without(table, part="minimum", setting="mode", objective="mu_squared_loss"),
        _add_minimum("mode", "kl"),
        _add_minimum("reference", "mu_squared_loss"),
        _add_minimum("single", "mu_squared_loss"),
    ],
)
def test_wrong_minima_are_found_out(tamper: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    module, config, table = computed("mixture-of-gaussians")
    assert len(module.check(config, table)) == 18
    assert [c.claim for c in module.check(config, tamper(table)) if not c.holds] != []


def test_the_caption_says_that_the_setting_is_ours() -> None:
    import dataclasses

    from figures import mixture_of_gaussians as figure
    from gpo_analysis.records import Record

    _, config, table = computed("mixture-of-gaussians")
    record = Record("mixture-of-gaussians", dataclasses.asdict(config), table, {})
    caption = " ".join(figure.caption({"mixture-of-gaussians": record}).split())
    assert "constants of the paper's figure are not known; this setting is ours" in caption
    assert "m in {−3, 0, 3}" in caption
