"""Fields of an experiment's configuration are described, and changed with their types checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from matplotlib.figure import Figure

import experiments
from experiments.__main__ import main
from experiments.framework.discovery import find_experiments
from experiments.framework.settings import BadSetting, read_assignments, settings_of, with_settings
from figures.framework.drawing import caption_of, draw_figure, get_figures
from gpo_analysis.runs import latest_record


@dataclass(frozen=True)
class Config:
    count: int = 3
    rate: float = 0.1
    on: bool = False
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1, 2)
    ends: tuple[float, float] = (0.0, 1.0)
    losses: tuple[str, ...] = ("logistic",)
    most: int | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}; accepted are 1, 2, …")


def test_values_take_their_fields_types() -> None:
    words = ["count=5", "rate=1e-3", "on=true", "kind=b", "sizes=[4, 5]", "ends=[1, 2]", "losses=[ipo]", "most=null"]
    assert with_settings(Config(), read_assignments(words)) == Config(
        5, 0.001, True, "b", (4, 5), (1.0, 2.0), ("ipo",), None
    )


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("cuont=5", "did you mean 'count'"),
        ("zzz=5", "it has count, rate"),
        ("count=1.5", "accepted is int"),
        ("count=true", "accepted is int"),
        ("count=0", "accepted are 1, 2"),
        ("rate=nan", "accepted is float"),
        ("rate=[1]", "accepted is float"),
        ("on=1", "accepted is bool"),
        ("kind=c", "accepted are 'a', 'b'"),
        ("sizes=3", "written \\[first, second\\]"),
        ("sizes=[]", "one or more of int"),
        ("sizes=[1, x]", "accepted is int"),
        ("ends=[1]", "has 1 values"),
        ("losses=[logistc]", "did you mean 'logistic'"),
        ("most=x", "accepted is int"),
        ("count", "accepted is NAME=VALUE"),
        ("=5", "accepted is NAME=VALUE"),
        ("sizes=[1", "cannot be read"),
    ],
)
def test_a_wrong_name_or_value_is_told(word: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        with_settings(Config(), read_assignments([word]))


def test_a_field_given_twice_is_told() -> None:
    with pytest.raises(BadSetting, match="twice"):
        read_assignments(["count=1", "count=2"])


def test_every_field_of_every_experiment_has_a_meaning_and_is_typed() -> None:
    for experiment in find_experiments():
        for setting in settings_of(experiment):
            assert setting.meaning, f"{experiment.name}: {setting.name} is not documented"
            for preset, value in setting.values.items():
                config = experiment.config(preset)
                again = with_settings(config, {setting.name: json.loads(json.dumps(value))})
                assert again == config, f"{experiment.name}: {setting.name}"


def test_describe_and_set_at_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "taylor", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    orders = next(field for field in described["fields"] if field["name"] == "orders")
    assert orders["type"] == "tuple[int, ...]"
    assert orders["default"]["quick"] == [0, 1, 2, 4, 8, 16, 32]
    assert orders["meaning"] == "Orders at which the series is cut."
    assert main(["run", "taylor", "--set", "oders=[2]", "--out", str(tmp_path)]) == 2
    assert "did you mean 'orders'" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_changed_record_is_its_own_and_its_figure_says_so(tmp_path: Path) -> None:
    changed = {"samples": 2, "points": 6, "comparisons": [60]}
    outcome = experiments.run("beta-sweep", out=tmp_path, **changed)
    assert outcome.record.meta["changed"] == changed
    assert outcome.record.config["samples"] == 2
    assert len(outcome.checks) == len(outcome.record.meta["checks"])
    assert "beta-sweep" in repr(outcome)
    panels = len(outcome.plot().axes)
    assert panels > 1
    left, right = Figure(layout="constrained").subfigures(1, 2)
    assert outcome.plot(figure=left) is left
    assert (len(left.axes), len(right.axes)) == (panels, 0)
    assert list(outcome.plot(size=(9.0, 4.0)).get_size_inches()) == [9.0, 4.0]
    for given, said in {"ax": "takes no ax; accepted is figure=", "figure": "figure is a int"}.items():
        with pytest.raises(ValueError, match=said):
            outcome.plot(**{given: 1})
    with pytest.raises(ValueError, match="size goes with a new figure only"):
        outcome.plot(figure=left, size=(9.0, 4.0))
    (figure,) = get_figures([outcome.figure])
    draw_figure(figure, tmp_path, tmp_path / "figures")
    caption = (tmp_path / "figures" / f"{figure.name}.txt").read_text(encoding="utf-8")
    assert caption.startswith(
        "Settings changed (beta-sweep: preset quick with comparisons = [60], points = 6, samples = 2)"
    )
    assert "Settings changed" not in caption_of(figure.load(), {"beta-sweep": latest_record(tmp_path, "beta-sweep")})
    with pytest.raises(ValueError, match="did you mean 'samples'"):
        experiments.run("beta-sweep", out=tmp_path, smaples=2)


def test_a_change_that_leaves_checks_without_their_rows_keeps_the_table(tmp_path: Path) -> None:
    outcome = experiments.run(
        "beta-or-f", out=tmp_path, seeds=2, points=3, resamples=10, problems=["weak"], labels=[1],
        losses=["logistic", "log(cosh(1-z))"],
    )  # fmt: skip
    assert set(outcome.table.dropna(subset="loss")["loss"]) == {"logistic", "log(cosh(1-z))"}
    assert outcome.checks["verdict"].tolist() == ["not run"]
    assert "problems" in outcome.record.meta["checks"][0]["note"]
