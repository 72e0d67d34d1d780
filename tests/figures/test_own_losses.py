"""Figures of a run with other losses: no caption and no axis names one that the record does not have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from experiments.framework.results import RESULTS
from figures._panels import strength_label
from figures.framework.drawing import caption_of, find_figures, losses_of, with_losses
from gpo_analysis.records import Record
from gpo_analysis.runs import latest_record

KEPT = ("logistic", "squared")
OTHERS = r"\b[Hh]inge|\bSLiC\b|\bSavage|\b[Ee]xponential\b|\b[Tt]runcated quadratic"
MODULES: dict[str, Any] = {figure.name: figure.load() for figure in find_figures()}
COMMITTED = [
    name
    for name, module in MODULES.items()
    if all((RESULTS / experiment).is_dir() for experiment in module.EXPERIMENTS)
]


def committed(name: str) -> dict[str, Record]:
    return {experiment: latest_record(RESULTS, experiment) for experiment in MODULES[name].EXPERIMENTS}


def of_two_losses(records: Mapping[str, Record]) -> dict[str, Record]:
    """The same records as a run with two losses would have made them."""
    found = {}
    for name, record in records.items():
        table, config = record.table, dict(record.config)
        for column in {"loss", "first"} & set(table.columns):
            held = table[column].isin(KEPT) | table[column].isna() | (table[column] == "")
            table = table[held].reset_index(drop=True)
        if "losses" in config:
            config["losses"] = list(KEPT)
        found[name] = Record(name, config, table, record.meta)
    return found


@pytest.mark.parametrize("name", COMMITTED)
def test_a_caption_names_no_loss_that_is_not_there(name: str) -> None:
    records = committed(name)
    whole = caption_of(MODULES[name], records)
    assert "[[" not in whole
    assert "]]" not in whole
    if not losses_of(records) > set(KEPT):
        return
    two = caption_of(MODULES[name], of_two_losses(records))
    assert not re.search(OTHERS, two), re.search(OTHERS, two)
    assert "  " not in two
    assert not re.search(r" [,.;)]|\( |\(\)", two), two


@pytest.mark.parametrize("name", [name for name, module in MODULES.items() if hasattr(module, "CAPTION")])
def test_a_constant_caption_names_no_loss_either(name: str) -> None:
    text = " ".join(with_losses(MODULES[name].CAPTION, {"exp(-z)"}).split())
    if "loss" in text and name not in ("gradient-identity", "ipo-toys", "mixture-of-gaussians"):
        assert not re.search(OTHERS, text)
        assert not re.search(r" [,.;)]|\( |\(\)", text), text
    assert "[[" not in text


def test_a_figure_without_committed_record_neither() -> None:
    table = pd.DataFrame({"loss": KEPT, "kappa": [0.5, 1.0]})
    config = {"shown": 2.0, "comparisons": [100], "finite_responses": 5, "samples": 3}
    caption = caption_of(MODULES["variants"], {"variants": Record("variants", config, table)})
    assert not re.search(OTHERS, caption)
    assert "2 losses" in caption


def test_an_axis_names_hinge_where_it_is_drawn() -> None:
    assert strength_label(KEPT) == "βκ"
    assert strength_label(["hinge", "squared"]) == "βκ  (hinge: β)"
    records = committed("beta-or-f")
    for given, said in ((records, "βκ  (hinge: β)"), (of_two_losses(records), "βκ")):
        figure = MODULES["beta-or-f"].draw(given)
        assert {ax.get_xlabel() for ax in figure.axes if ax.get_xlabel().startswith("βκ")} == {said}
        plt.close(figure)


def test_words_stay_where_nobody_knows_the_losses(tmp_path: Path) -> None:
    assert with_losses("a[[hinge,savage| b]]", set()) == "a b"
    assert with_losses("a[[hinge,savage| b]]", {"hinge"}) == "a"
