"""The benchmarks' frame: sizes, turns, ratios, records; and that sides of one task find the same."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy import stats

from benchmarks import kept, landscapes, sweep, trajectories
from benchmarks.__main__ import BENCHMARKS, listed, main
from benchmarks.commands import process
from benchmarks.framework import Row, Side, Size, Task, Work, work_here
from benchmarks.graph import choix_battles, gradient_norm, our_battles, our_table, ours, random_graph, scikit_learn
from benchmarks.kept import as_record, cells, joined, latest, rows_of
from benchmarks.summary import Ratio, growth, slope_of, summed_up, worst
from gpo_analysis.provenance import git_state
from gpo_analysis.runs import replace_record

SMALL = Size((20, 400))


@pytest.mark.parametrize(
    ("text", "size"), [("100x1000", (100, 1000)), ("2kx0.2M", (2000, 200_000)), ("1.5kx3k", (1500, 3000))]
)
def test_sizes_are_read(text: str, size: tuple[int, int]) -> None:
    assert Size.read(text) == Size(size)
    assert Size.read(str(Size.read(text))) == Size(size)


@pytest.mark.parametrize("text", ["", "100x", "x5", "0x10", "-3x10", "1e3x1e6", "0.4x3"])
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

    found = work_here(Side("sum", prepare), Size((5, 100)), SMALL)
    assert calls == ["20x400", "5x100"]
    assert found["total"] == 199_990_000
    assert 1 < found["times"] <= 200
    assert found["memory"] >= 0


def rounds(times: list[float], **more: float) -> tuple[dict[str, float], ...]:
    return tuple({"wall": t, "cpu": t, "memory": 2**20, "share": 1.0, "times": 1, **more} for t in times)


def rows(**accuracy: float) -> tuple[Task, list[Row]]:
    """Two sizes of ours (1 to 3 s, then ten times that), a peer and one that fails."""
    two = (Size((10, 1000)), Size((10, 10_000)))
    sides = tuple(Side(name, ours("logistic")) for name in ("ours", "peer", "broken"))
    task = Task("fit", "fits", two, sides, "twice as fast", "gap" if accuracy else "", 1e-8)
    found = [
        Row("fit", "ours", size, rounds([scale, 2 * scale, 3 * scale], gap=accuracy.get("ours", 0.0)))
        for size, scale in zip(two, (1.0, 10.0), strict=True)
    ]
    found += [Row("fit", "peer", size, rounds([4.0, 4.0, 30.0], gap=accuracy.get("peer", 0.0))) for size in two]
    return task, [*found, Row("fit", "broken", two[0], ({"failed": "MemoryError"},))]


def test_ratios_are_taken_round_by_round() -> None:
    task, found = rows()
    lines = summed_up(task, found, "cpu")
    assert lines[0].ratio is None
    assert lines[2].ratio == Ratio(4.0, 2.0, 10.0, 0.75)
    assert lines[4].remark == "failed: MemoryError"
    assert growth(BENCHMARKS["graph"], found[:2], "cpu").power == pytest.approx(1.0)
    assert growth(BENCHMARKS["graph"], found[:1], "cpu") is None


@pytest.mark.parametrize(
    ("accuracy", "has_ratio", "remark"),
    [
        ({"ours": 1e-9, "peer": 1e-3}, True, "less accurate than ours"),
        ({"ours": 1e-9, "peer": 1e-12}, True, ""),
        ({"ours": 1e-3, "peer": 1e-2}, True, "less accurate than ours"),
        ({"ours": 1e-3, "peer": 1e-9}, False, "no ratio: ours is less accurate"),
        ({"ours": math.nan, "peer": 1e-9}, False, "no ratio: ours is less accurate"),
        ({"ours": math.inf, "peer": 1e-9}, False, "no ratio: ours is less accurate"),
    ],
)
def test_a_ratio_counts_at_equal_accuracy_alone(accuracy: dict[str, float], has_ratio: bool, remark: str) -> None:
    task, found = rows(**accuracy)
    line = summed_up(task, found, "cpu")[2]
    assert (line.ratio is not None) == has_ratio
    assert line.remark.startswith(remark)


def test_what_was_not_judged_counts_as_wrong() -> None:
    task, found = rows(ours=0.0, peer=0.0)
    bare = Row("fit", "ours", found[0].size, tuple({k: v for k, v in r.items() if k != "gap"} for r in found[0].rounds))
    assert worst(task, bare) == math.inf
    assert worst(task, Row("fit", "ours", found[0].size, ({"gap": math.nan}, {"gap": 0.0}))) == math.inf


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 9, 15, 40])
def test_the_interval_of_a_ratio_is_that_of_the_test_of_signs(count: int) -> None:
    values = np.random.default_rng(count).lognormal(size=count)
    found = Ratio.of(values.tolist())
    assert found.median == np.median(values)
    inside = stats.binom(count, 0.5)
    k = sorted(values).index(found.low) + 1
    assert sorted(values).index(found.high) == count - k
    assert found.covers == pytest.approx(max(1 - 2 * inside.cdf(k - 1), 0))
    if count >= 6:
        theirs = stats.quantile_test(values, q=0.0, p=0.5).confidence_interval(0.95)
        assert (found.low, found.high) == (theirs.low, theirs.high)
        assert found.covers >= 0.95


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for count, covers in ((4, 0.875), (6, 0.96875), (11, 0.98828125 - 0.0224609375)):
        found = [Ratio.of(row) for row in rng.exponential(size=(4000, count)).tolist()]
        share = np.mean([one.low <= math.log(2) <= one.high for one in found])
        assert found[0].covers == pytest.approx(covers, abs=0.03)
        assert share == pytest.approx(found[0].covers, abs=0.015)


def test_growth_is_the_slope_of_a_regression_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    points = [(x, 1.3 * x + 0.2 * e) for x, e in zip(rng.normal(size=12), rng.normal(size=12), strict=True)]
    found = slope_of(points)
    theirs = stats.linregress(*zip(*points, strict=True))
    assert found.power == pytest.approx(theirs.slope, rel=1e-12)
    assert found.within == pytest.approx(stats.t.ppf(0.975, 10) * theirs.stderr, rel=1e-10)
    exact = slope_of([(math.log(n), math.log(7 * n**1.5)) for n in (10, 100, 1000)])
    assert exact.power == pytest.approx(1.5)
    assert exact.within == pytest.approx(0.0, abs=1e-6)


def test_of_four_sizes_the_lower_two_do_not_count() -> None:
    sizes = [Size((10, 10**k)) for k in range(2, 6)]
    found = [Row("fit", "ours", size, rounds([1.0 + size.numbers[1] / 1e3] * 2)) for size in sizes]
    assert growth(BENCHMARKS["graph"], found, "cpu").power == pytest.approx(math.log10(101 / 11))


def test_every_benchmark_is_listed() -> None:
    text = "\n".join(listed())
    for benchmark in BENCHMARKS.values():
        assert len({task.name for task in benchmark.tasks}) == len(benchmark.tasks)
        for task in benchmark.tasks:
            assert f"{task.name}: {task.about}" in text
            assert all(len(size.numbers) == len(benchmark.axes) for size in task.sizes)
            assert len({side.name for side in task.sides}) == len(task.sides)


def test_a_run_prints_and_writes_its_record(tmp_path, capsys, monkeypatch) -> None:
    command = ["run", "graph/squared", "--sizes", "20x400", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *command])
    assert main(command) == 0
    assert "graph/squared" in capsys.readouterr().out
    record = latest("graph", tmp_path)
    assert record.meta["versions"]["numpy"]
    assert record.meta["git"]["commit"]
    assert str(tmp_path) not in json.dumps(record.meta)
    assert record.config == {
        "tasks": ["squared"],
        "clock": "cpu",
        "rounds": {"squared": 1},
        "sizes": {"squared": ["20x400"]},
    }
    (row,) = rows_of(record)
    assert row.side == "ours"
    assert row.rounds[0]["cpu"] > 0
    assert main(["show", "graph", "--records", str(tmp_path)]) == 0
    assert "20x400" in capsys.readouterr().out
    assert main(["show", "sweep", "--records", str(tmp_path)]) == 1


def test_a_record_gives_back_its_rows_and_an_older_one_gives_way(tmp_path) -> None:
    rows = [
        Row("logistic", "ours", Size((20, 400)), rounds([1.0, 2.0], gradient=1e-12)),
        Row("logistic", "choix ilsr", Size((20, 400)), rounds([3.0, 8.0])),
        Row("hinge", "ours", Size((20, 400)), ({"failed": "MemoryError"},)),
    ]
    record = as_record(BENCHMARKS["graph"], rows, clock="cpu", rounds=2)
    replace_record(record, tmp_path)
    replace_record(as_record(BENCHMARKS["graph"], rows[:1], clock="cpu", rounds=2), tmp_path)
    replace_record(record, tmp_path)
    assert len(list((tmp_path / "graph").iterdir())) == 1
    back = rows_of(latest("graph", tmp_path))
    assert [(row.task, row.side, row.size) for row in back] == [(row.task, row.side, row.size) for row in rows]
    assert [one["cpu"] for one in back[1].rounds] == [3.0, 8.0]
    assert back[2].failed == "MemoryError"
    assert not back[0].failed
    text = "\n".join("|".join(row) for row in cells(BENCHMARKS["graph"], latest("graph", tmp_path)))
    assert "3.5 [3, 4] (50 %); less accurate than ours" in text  # choix was not judged
    assert "failed: MemoryError" in text


def test_the_same_measured_again_takes_the_place_of_what_was(tmp_path) -> None:
    for seconds in (1.0, 2.0):
        row = Row("hinge", "ours", Size((20, 400)), rounds([seconds]))
        folder = replace_record(as_record(BENCHMARKS["graph"], [row], clock="cpu", rounds=1), tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"graph", ".tmp"}  # where every record is written first
        assert folder == next((tmp_path / "graph").iterdir())
        assert rows_of(latest("graph", tmp_path))[0].rounds[0]["cpu"] == seconds


def test_records_themselves_are_no_change_of_the_code(tmp_path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "code.py").write_text("1")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "record.json").write_text("{}")
    assert git_state(tmp_path)["dirty"] is True
    assert git_state(tmp_path, "results")["dirty"] is False
    (tmp_path / "code.py").write_text("2")
    assert git_state(tmp_path, "results")["dirty"] is True


def test_a_record_takes_over_other_tasks_of_the_same_code(tmp_path, monkeypatch) -> None:
    graph, states = BENCHMARKS["graph"], iter(["a", "a", "b"])
    monkeypatch.setattr(kept, "git_state", lambda root, besides: {"commit": next(states), "dirty": False})
    size = Size((20, 400))
    first = as_record(graph, [Row("hinge", "ours", size, rounds([1.0]))], clock="cpu", rounds=1)
    replace_record(first, tmp_path)
    both = joined(
        graph, as_record(graph, [Row("logistic", "ours", size, rounds([2.0] * 2))], clock="cpu", rounds=2), tmp_path
    )
    assert both.config["rounds"] == {"hinge": 1, "logistic": 2}
    assert [(row.task, len(row.rounds)) for row in rows_of(both)] == [("logistic", 2), ("hinge", 1)]
    replace_record(both, tmp_path)
    other = as_record(graph, [Row("squared", "ours", size, rounds([3.0]))], clock="cpu", rounds=1)
    assert joined(graph, other, tmp_path) is other


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("sweeps", "sweep"), ("logistik", "/logistic"), ("graph/hinj", "graph/hinge"), ("trajectory", "trajectories")],
)
def test_an_unknown_name_is_told_the_nearest(name: str, nearest: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["run", name])
    error = capsys.readouterr().err
    assert "did you mean" in error
    assert nearest in error


def test_processes_are_timed_with_what_they_start() -> None:
    burn = "sum(i * i for i in range(3_000_000))"
    work = process("-c", burn)(Size((1,)))
    found = work_here(Side("burn", lambda size: work), Size((1,)), Size((1,)))
    assert found["cpu"] > 0.05
    assert found["error"] == 0.0
    failed = process("-c", "import sys; sys.exit(3)")(Size((1,)))
    assert failed.judge(failed.do())["error"] == 1.0


def test_a_part_of_the_work_counts_for_its_share() -> None:
    def prepare(size: Size) -> Work:
        return Work(lambda: time.sleep(0.3), lambda _: {}, share=0.1)

    assert work_here(Side("tenth", prepare), Size((1,)), Size((1,)))["wall"] >= 2.99


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # of cvxpy: 1e-12 is beyond some problems
def test_sides_of_a_sweep_find_the_same_optima() -> None:
    pytest.importorskip("cvxpy")
    size = Size((5, 3, 2))
    circles = (sweep.ours(("logistic",), cyclic=True), sweep.by_scipy(cyclic=True))
    for side in (sweep.ours(("logistic",)), sweep.by_scipy(), sweep.by_cvxpy, *circles):
        work = side(size)
        assert work.judge(work.do())["error"] < 1e-7, side
    work = sweep.ours(sweep.LOSSES)(size)
    assert work.judge(work.do()) == {"unsolved": 0.0, "error": pytest.approx(0.0, abs=1e-8)}


def test_sides_of_trajectories_find_the_same_logits() -> None:
    pytest.importorskip("torch")
    size = Size((3, 40))
    for side in (trajectories.ours(None), trajectories.ours(1), trajectories.torch_loops):
        work = side(size)
        assert work.judge(work.do())["error"] < 1e-13


def test_sides_of_landscapes_find_the_same_values() -> None:
    size = Size((21,))
    for side in (landscapes.ours(False), landscapes.ours(True), landscapes.by_quad):
        work = side(size)
        assert work.judge(work.do())["error"] < 1e-9


@pytest.mark.parametrize("wrong", [["--sizes", "7"], ["--sizes", "axb"], ["--rounds", "0"], ["--clock", "sun"]])
def test_wrong_options_are_refused(wrong, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["run", "graph", *wrong])
    assert "accepted" in (error := capsys.readouterr().err) or "choose from" in error


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("model", "3x9", "ours", "1"), "no benchmark or task 'model/3x9'"),
        (("graph", "logistic", "theirs", "100x900"), "no side 'theirs' of logistic; accepted are ours"),
        (("graph", "logistic", "ours", "7"), "accepted is"),
    ],
)
def test_a_measurement_of_what_there_is_not_is_refused(
    words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["measure", *words])
    assert why in capsys.readouterr().err
