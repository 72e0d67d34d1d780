"""The same cells on a Dask cluster: real schedulers and workers, on this machine, some of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from experiments import losses
from experiments.framework import engines
from experiments.framework.cells import Cell, Failure, compute_elsewhere, keep, read_cell
from gpo_analysis.files import DamagedFile
from gpo_analysis.provenance import code_hash
from tests.experiments.project import GOOD, add, command, run, table_of

pytest.importorskip("distributed")


TELLING = """time.sleep(config.seconds)
    import os
    from pathlib import Path
    with open('ran', 'a') as ran:
        ran.write(f'{index} {os.getpid()}\\n')
    def unkept():
        begun = {line.split()[0] for line in Path('ran').read_text().splitlines()}
        return len(begun) - len(list(Path().glob('*/.cells/slow/*.cell')))
    while not Path('go').exists() and (unkept() > 2 or index == 7):
        time.sleep(0.01)
"""
"""Until there is a file ``go`` no more than two cells are under way or not fetched yet, and the last one waits."""


@contextmanager
def dask_processes(folder: Path, workers: int) -> Iterator[str]:
    """A scheduler, at a port that it finds free, and workers as a user starts them; yields the address."""
    file = folder / "scheduler.json"
    _, settings = command(folder)
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **settings}
    dask = [sys.executable, "-m", "dask"]
    lines = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]]
    lines[0] += ["--no-dashboard", "--no-show"]
    lines += [[*dask, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]] * workers
    settings["env"]["PYTHONPATH"] = f"{folder}{os.pathsep}{settings['env']['PYTHONPATH']}"  # type: ignore[index]
    running = [subprocess.Popen(line, start_new_session=True, **silent) for line in lines]  # type: ignore[call-overload]
    try:
        while not file.exists():
            assert running[0].poll() is None
            time.sleep(0.01)
        yield json.loads(file.read_text())["address"]
    finally:
        for process in running:  # with what it has started: asked to end, a worker may wait for its scheduler for ever
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_local_cluster_gives_the_same_table(project: Path) -> None:
    assert run(project, "run", "slow", "--out", "plain").returncode == 0
    done = run(project, "run", "slow", "--out", "out", "--scheduler", "local", "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert "8/8" in done.stderr
    pd.testing.assert_frame_equal(table_of(project / "out"), table_of(project / "plain"))


def test_a_worker_lost_in_the_middle_costs_its_cell_only(project: Path) -> None:
    add(project, "slow", GOOD.replace("time.sleep(config.seconds)", TELLING))
    ran, go = project / "ran", project / "go"
    go.touch()
    assert run(project, "run", "slow", "--out", "plain").returncode == 0
    ran.unlink()
    go.unlink()
    with dask_processes(project, 2) as address:
        line, settings = command(project, "run", "slow", "--out", "out", "--scheduler", address)
        with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, **settings) as running:  # type: ignore[call-overload]
            while running.poll() is None and not list(project.glob("out/.cells/slow/*.cell")):
                time.sleep(0.01)
            victim = int(ran.read_text().split()[-1])
            os.kill(victim, signal.SIGKILL)
            go.touch()
            _, errors = running.communicate()
    assert running.returncode == 0, errors
    pd.testing.assert_frame_equal(table_of(project / "out"), table_of(project / "plain"))
    # again ran what was under way, and what was done and not fetched yet: two at most
    assert 8 <= len(ran.read_text().splitlines()) <= 10


def test_a_cell_that_kills_its_workers_fails_and_the_others_go_on(project: Path) -> None:
    add(project, "deadly", GOOD.replace("time.sleep(", "import os; index == 3 and os._exit(9); time.sleep("))
    done = run(project, "run", "deadly", "slow", "--out", "out", "--scheduler", "local", "--jobs", 2)
    assert done.returncode == 1
    assert "3 workers were lost on it while it ran alone" in done.stdout
    assert '"index": 3' in done.stdout
    assert "1 of 1 claims hold" in done.stdout
    assert len(table_of(project / "out")) == 24


def test_a_cluster_without_workers_fails_in_place_of_waiting_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "NO_WORKER", "100ms")
    module = "experiments.losses"
    cell = Cell(module, losses.Config(), {"loss": "hinge"}, tmp_path, tmp_path / "x.cell", code_hash(module))
    with engines.connected("local") as client:
        client.cluster.scale(0)
        while client.scheduler_info()["workers"]:
            time.sleep(0.05)
        ((index, failure),) = engines._submitted(client, [cell], [0], lambda _: False)
    assert index == 0
    assert isinstance(failure, Failure)
    assert "worker" in failure.reason


def test_failures_on_a_cluster_are_told_as_elsewhere(project: Path) -> None:
    add(project, "broken", GOOD.replace("rng = ", "1 / 0\n    rng = "))
    done = run(project, "run", "broken", "--out", "out", "--scheduler", "local", "--jobs", 2)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "ftp://127.0.0.1:8786"])
def test_a_scheduler_that_is_not_there_is_told_in_one_line(project: Path, address: str) -> None:
    done = run(project, "run", "slow", "--out", "out", "--scheduler", address)
    assert done.returncode == 1
    assert done.stderr.startswith("experiments: no Dask scheduler answers at")
    assert len(done.stderr.splitlines()) == 1
    assert not (project / "out").exists()


def test_other_code_is_refused_and_the_environment_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPO_DATA", "before")
    module = "experiments.losses"
    right = Cell(module, losses.Config(), {"loss": "none such"}, tmp_path, tmp_path / "x.cell", code_hash(module))
    wrong = Cell(module, losses.Config(), {}, tmp_path, tmp_path / "y.cell", "0" * 16)
    refused = compute_elsewhere(wrong, {"GPO_DATA": "there"})
    assert isinstance(refused, Failure)
    assert "has other code of experiments.losses" in refused.reason
    assert os.environ["GPO_DATA"] == "there"
    reached = compute_elsewhere(right, {})
    assert isinstance(reached, Failure)
    assert "other code" not in reached.reason
    keep(right, b"not a table")
    with pytest.raises(DamagedFile, match="holds no cell's table"):
        read_cell(right.file)


def test_a_suspect_runs_alone_before_it_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask calls two cells suspect; one of them is lost alone too, the other was its neighbour."""
    submitted: list[list[int]] = []

    @contextmanager
    def nobody(scheduler: str, jobs: int) -> Iterator[None]:
        yield

    def lost_together(
        client: None, cells: list[int], indices: Iterable[int], given_up: Callable[[int], bool]
    ) -> Iterator[tuple[int, object]]:
        asked = list(indices)
        submitted.append(asked)
        for index in asked:
            deadly = cells[index] == 3
            suspect = deadly or (cells[index] == 4 and len(asked) > 1)
            yield index, engines._WorkersLost("as often as Dask allows") if suspect else None

    monkeypatch.setattr(engines, "connected", nobody)
    monkeypatch.setattr(engines, "_submitted", lost_together)
    found = dict(engines.computed([0, 1, 3, 4, 5], lambda index: False, 2, "local"))  # type: ignore[arg-type, list-item]
    assert submitted == [[0, 1, 2, 3, 4], [2], [3]]
    assert {index for index, failure in found.items() if failure is None} == {0, 1, 3, 4}
    assert found[2] is not None
    assert found[2].reason == "3 workers were lost on it while it ran alone"
    submitted.clear()
    given_up = dict(engines.computed([0, 3, 4], lambda index: index == 1, 2, "local"))  # type: ignore[arg-type, list-item]
    assert given_up == {0: None, 1: None, 2: None}
    assert submitted == [[0, 1, 2], [2]]
