"""The benchmarks' frame: sizes, turns, ratios, records; and that sides of one task find the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.__main__ import BENCHMARKS, as_record, listed, main, table
from benchmarks.framework import Row, Side, Size, Task, Work, exponent, work_here
from benchmarks.graph import choix_battles, gradient_norm, our_battles, our_table, ours, random_graph, scikit_learn

SMALL = Size(20, 400)


@pytest.mark.parametrize(
    ("text", "size"), [("100x1000", (100, 1000)), ("2kx0.2M", (2000, 200_000)), ("1.5kx3k", (1500, 3000))]
)
def test_sizes_are_read(text: str, size: tuple[int, int]) -> None:
    assert Size.read(text) == Size(*size)
    assert Size.read(str(Size.read(text))) == Size(*size)


@pytest.mark.parametrize("text", ["100", "100x", "x5", "100x1000x2", "-3x10", "10x15", "1x10", "1e3x1e6"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="accepted"):
        Size.read(text)


def test_the_graph_is_connected_and_has_its_size() -> None:
    winner, loser = random_graph(SMALL)
    assert len(winner) == 400
    assert (winner != loser).all()
    assert set(winner) == set(loser) == set(range(20))  # the ring: everyone has won and lost


@pytest.mark.parametrize("side", [ours("logistic"), choix_battles, our_battles, our_table])
def test_sides_of_one_task_find_the_same_scores(side) -> None:
    work = side(SMALL)
    assert work.judge(work.do())["gradient"] < 1e-9


def test_scikit_learn_has_a_gradient_of_its_tolerance() -> None:
    pytest.importorskip("sklearn")
    work = scikit_learn("newton-cg", 1e-10)(SMALL)
    assert work.judge(work.do())["gradient"] < 1e-8


def test_the_gradient_norm_is_a_difference_quotient() -> None:
    winner, loser = random_graph(SMALL)
    scores = np.random.default_rng(0).normal(size=20)

    def mean_loss(g: np.ndarray) -> float:
        return float(np.log1p(np.exp(g[loser] - g[winner])).mean())

    step = 1e-6 * np.eye(20)
    slopes = [(mean_loss(scores + e) - mean_loss(scores - e)) / 2e-6 for e in step]
    assert gradient_norm(scores, winner, loser) == pytest.approx(np.abs(slopes).max(), rel=1e-6)


def test_a_measurement_times_the_work_and_not_the_judge() -> None:
    calls = []

    def prepare(size: Size) -> Work:
        calls.append(str(size))
        return Work(lambda: sum(range(20_000)), lambda total: {"total": float(total)})

    found = work_here(Side("sum", prepare), Size(5, 100), SMALL)
    assert calls == ["20x400", "5x100"]
    assert found["total"] == 199_990_000
    assert 1 < found["times"] <= 200
    assert found["memory"] >= 0


def rows() -> tuple[Task, list[Row]]:
    sizes = (Size(10, 1000), Size(10, 10_000))
    sides = tuple(Side(name, ours("logistic")) for name in ("ours", "peer", "broken"))
    task = Task("fit", "fits", sizes, sides, "twice as fast")
    found = [
        Row("fit", "ours", size, tuple({"wall": t, "cpu": t, "memory": 2**20} for t in (scale, 2 * scale, 3 * scale)))
        for size, scale in zip(sizes, (1.0, 10.0), strict=True)
    ]
    found += [
        Row("fit", "peer", size, tuple({"wall": t, "cpu": t, "memory": 0, "gap": 1e-9} for t in (4.0, 4.0, 30.0)))
        for size in sizes
    ]
    return task, [*found, Row("fit", "broken", sizes[0], ({"failed": "MemoryError"},))]


def test_ratios_are_taken_round_by_round() -> None:
    task, found = rows()
    assert found[2].ratios(found[0], "cpu") == (4.0, 2.0, 10.0)
    assert exponent(found[:2], "cpu") == pytest.approx(1.0)
    assert np.isnan(exponent(found[:1], "cpu"))
    text = "\n".join(table(task, found, "cpu"))
    assert "2.00 – 10.00" in text
    assert "broken" in text
    assert "failed: MemoryError" in text
    assert "to the power 1.00" in text
    record = json.loads(json.dumps(as_record(task, found, "cpu")))
    assert record["rows"][2]["ratio"] == {"median": 4.0, "low": 2.0, "high": 10.0}
    assert record["rows"][4]["ratio"] is None


def test_every_benchmark_is_listed() -> None:
    text = "\n".join(listed())
    for benchmark in BENCHMARKS.values():
        for task in benchmark.tasks:
            assert f"{task.name}: {task.about}" in text


def test_a_run_prints_and_writes_its_record(tmp_path, capsys) -> None:
    out = tmp_path / "record.json"
    command = ["run", "graph", "--task", "squared", "--sizes", "20x400", "--rounds", "1", "--out", str(out)]
    assert main(command) == 0
    assert "squared" in capsys.readouterr().out
    record = json.loads(out.read_text())
    assert record["versions"]["numpy"]
    (row,) = record["tasks"][0]["rows"]
    assert row["side"] == "ours"
    assert row["rounds"][0]["cpu"] > 0


@pytest.mark.parametrize("wrong", [["--task", "nothing"], ["--sizes", "7"], ["--rounds", "0"]])
def test_wrong_options_are_refused(wrong, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["run", "graph", *wrong])
    assert "error" in capsys.readouterr().err
