"""Tables that are results: DataFrames in every way, with a chart of their own."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import gpo_analysis as gpo
from gpo_analysis.plotting import plot_result
from gpo_analysis.showing.tables import SolutionGrid

PROBLEM = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]))
SURE = gpo.PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
BETAS = [5.0, 0.1, 1.0]


def grid(**more: Any) -> SolutionGrid:
    return gpo.solve_grid(PROBLEM, ["dpo", "ipo"], BETAS, **more)


def note_of(ax: plt.Axes) -> str:
    return " ".join(text.get_text() for text in ax.texts)


def test_a_line_a_loss_over_beta_in_order() -> None:
    table = grid()
    ax = table.plot()
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "β")
    assert [line.get_label() for line in ax.lines] == ["logistic (DPO)", "squared (IPO)"]
    for line, loss in zip(ax.lines, ("dpo", "ipo"), strict=True):
        assert list(line.get_xdata()) == sorted(BETAS)
        assert list(line.get_ydata()) == pytest.approx([PROBLEM.solve(loss, beta).kl for beta in sorted(BETAS)])
    figure, own = plt.subplots()
    assert table.plot(own, y="population_loss") is own
    assert own.get_ylabel() == "E f(βρ)"
    assert own.get_yscale() == "linear"
    assert figure.axes == [own]


def test_of_several_problems_the_median_and_the_range() -> None:
    steep = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 3.0, 1.0]))
    table = gpo.solve_grid([PROBLEM, steep, PROBLEM, SURE], ["dpo", "ipo"], BETAS)
    ax = table.plot()
    kl = np.array([[p.solve("dpo", beta).kl for beta in sorted(BETAS)] for p in (PROBLEM, steep, PROBLEM)])
    assert list(ax.lines[0].get_ydata()) == pytest.approx(list(np.median(kl, axis=0)))
    assert list(ax.lines[0].get_xdata()) == sorted(BETAS)
    assert all(part.get_segments()[0][0, 0] != BETAS[1] for part in ax.collections)
    ends = np.array([segment[:, 1] for segment in ax.collections[0].get_segments()])
    assert ends == pytest.approx(np.stack([kl.min(axis=0), kl.max(axis=0)], axis=1))
    assert note_of(ax) == "median and range (side by side) of 4 problems; 3 of 24 cells have no value"


def test_cells_without_an_optimum_are_counted_and_explained() -> None:
    table = gpo.solve_grid(SURE, ["dpo", "ipo"], BETAS)
    assert "3 without a value" in note_of(table.plot())
    text = table.summary()
    assert "with an optimum  3 of 6 cells" in text
    assert "- logistic: no finite optimum in 3 cells (" in text


def test_rows_stay_a_grid_and_other_columns_do_not() -> None:
    table = grid()
    kept = (
        table[table["loss"] == "logistic"], table.head(2), table.query("beta > 0.5"), table.assign(twice=2.0),
        table.sort_values("beta"), table.copy(), copy.deepcopy(table), pickle.loads(pickle.dumps(table)),
        pd.concat([table, grid(link="chi")]), table.reset_index(), table.iloc[1:3], table.drop(columns="kl"),
    )  # fmt: skip
    assert {type(one) for one in kept} == {SolutionGrid}
    assert all(one.plot().get_xlabel() == "β" for one in kept)
    plain = (
        table[["kl"]], table.drop(columns="loss"), table.pivot(index="beta", columns="loss", values="kl"),
        table.groupby("loss").mean(numeric_only=True), table.describe(), table.to_frame(),
        table.select_dtypes("number"), table.T,
    )  # fmt: skip
    assert {type(one) for one in plain} == {pd.DataFrame}
    assert type(table["kl"]) is pd.Series
    indexed = table.set_index("beta")
    assert indexed.summary() == str(indexed)
    assert list(indexed.plot(y="kl").lines[0].get_xdata()) == list(indexed.index), "without β it is pandas' own plot"
    assert len(table.head(0).plot().lines) == 0


def test_it_is_the_same_table(tmp_path: Path) -> None:
    table = grid()
    plain = pd.DataFrame({name: table[name].to_numpy() for name in table.columns}).astype(dict(table.dtypes))
    pd.testing.assert_frame_equal(table, plain)
    assert plain.equals(table)
    assert table.equals(plain)
    assert str(table) == str(plain)
    assert table.to_csv() == plain.to_csv()
    assert table._repr_html_() == plain._repr_html_()
    pytest.importorskip("pyarrow")
    table.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), plain)


def test_pandas_own_plot_is_there_where_it_is_asked_for() -> None:
    table = grid()
    ax = table.plot(x="beta", y="kl", logx=True)
    assert list(ax.lines[0].get_xdata()) == list(table["beta"])
    assert len(table.plot.scatter("beta", "kl").collections) == 1
    assert len(table.plot("beta", "kl").lines) == 1
    assert table.plot(kind="hist", column="kl").patches
    for options, said in {
        "figsize": r"takes ax= and y= and by=, not 'figsize'; with x= or kind= it is pandas' own", "logy": "not 'logy'",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=said):
            table.plot(**{options: True})
    with pytest.raises(ValueError, match="no column 'win_rate'"):
        table.plot(y="win_rate")
    with pytest.raises(ValueError, match=r"'status' holds no numbers; those that do: population_loss, kl, "):
        table.plot(y="status")


def test_links_are_told_apart() -> None:
    ax = pd.concat([grid(), grid(link="chi")]).plot()
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == [
        f"{loss}, {link}" for link in ("reverse_kl", "chi_po") for loss in ("logistic (DPO)", "squared (IPO)")
    ]


def test_curves_by_another_column() -> None:
    both = pd.concat(grid(link="chi").assign(kind=kind, kl=kl) for kind, kl in (("a", 1.0), ("b", 2.0)))
    ax = both[both["loss"] == "squared"].plot(by="kind")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["kind = a", "kind = b"]
    assert [set(line.get_ydata()) for line in ax.lines] == [{1.0}, {2.0}]
    assert "median and range (side by side) of 2 rows" in note_of(both.plot(by="kind"))
    with pytest.raises(ValueError, match="no column 'mood'"):
        both.plot(by="mood")
    for name in ("y", "by"):
        with pytest.raises(ValueError, match=rf"{name} is \['kl'\]; accepted is the name of a column"):
            both.plot(**{name: ["kl"]})


def test_a_grid_whose_betas_are_text_shows_itself() -> None:
    table = grid().astype({"beta": str})
    assert "β                0.1 to 5, 3 values" in table.summary()
    assert list(table.plot().lines[0].get_xdata()) == sorted(BETAS)


def test_plot_result_takes_any_table_over_beta() -> None:
    table = grid()
    first = plot_result(table, y="mu_squared_loss")
    again = plot_result(table.to_frame(), y="mu_squared_loss")
    assert first.get_ylabel() == again.get_ylabel() == "½E_μ[ρ²]  [nats²]"
    assert list(first.lines[1].get_ydata()) == list(again.lines[1].get_ydata())
