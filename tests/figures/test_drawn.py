"""Every figure, drawn from the records of the experiments at a reduced size, and from the committed ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from figures.framework.drawing import caption_of, find_figures
from fuzz.small import computed
from gpo_analysis.plotting import figure_style
from gpo_analysis.records import Record, find_records, read_record

RESULTS = Path(__file__).resolve().parents[2] / "results"
FIGURES = {figure.name: figure for figure in find_figures()}
KEPT = sorted(name for name, f in FIGURES.items() if all(find_records(RESULTS, e) for e in f.load().EXPERIMENTS))


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    from matplotlib import pyplot

    yield
    pyplot.close("all")


def panels_drawn(name: str, records: dict[str, Record]) -> int:
    """How many panels a figure shows, each with data, words and a caption without nan."""
    module = FIGURES[name].load()
    with figure_style():
        drawn = module.draw(records)
        drawn.canvas.draw()
    shown = [ax for ax in drawn.axes if ax.axison and ax.get_visible()]
    for ax in shown:
        assert ax.has_data()
        assert any((ax.get_xlabel(), ax.get_ylabel(), ax.get_title("left"), ax.texts))
    caption = caption_of(module, records)
    assert caption.endswith(".")
    assert "nan" not in caption.replace("[nan, nan]", "")
    return len(shown)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_at_a_small_size(name: str) -> None:
    records = {}
    for experiment in FIGURES[name].load().EXPERIMENTS:
        module, config, table = computed(experiment)
        meta = {"summary": module.summary(config, table)}
        records[experiment] = Record(experiment, dataclasses.asdict(config), table, meta)
    assert panels_drawn(name, records) >= 1


@pytest.mark.parametrize("name", KEPT)
def test_committed_results_are_drawn(name: str) -> None:
    assert len(KEPT) >= 18
    records = {
        experiment: read_record(find_records(RESULTS, experiment)[-1])
        for experiment in FIGURES[name].load().EXPERIMENTS
    }
    assert panels_drawn(name, records) >= 1
