"""The runner killed, stopped and called twice, and its files damaged: what it keeps, and what it computes again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from experiments.framework.cells import read_cell
from gpo_analysis.files import DamagedFile
from gpo_analysis.records import find_records, read_record
from tests.experiments.project import GOOD, HELD, LATE, add, command, run, table_of


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_that_is_killed_is_told(project: Path) -> None:
    """As the system does to a process that takes too much memory."""
    killed = GOOD.replace("time.sleep(", "import os; os.kill(os.getpid(), 9 if index == 4 else 0); time.sleep(")
    add(project, "slow", killed)
    done = run(project, "run", "slow", "--out", "out", "--jobs", 2, "--quiet")
    assert done.returncode == 1
    assert "TerminatedWorkerError" in done.stdout
    assert "Traceback" not in done.stderr
    assert find_records(project / "out") == ()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_random_moments_and_run_again_it_gives_the_same_table(project: Path, jobs: int) -> None:
    add(project, "slow", HELD.replace("seconds: float = 0.0", "seconds: float = 0.04"))
    (project / "go").touch()
    assert run(project, "run", "slow", "--out", "whole", "--quiet").returncode == 0
    (project / "go").unlink()
    chance = random.Random(jobs)
    out = project / "out"
    line, settings = command(project, "run", "slow", "--out", "out", "--jobs", jobs, "--quiet")
    kills = 0
    for _ in range(6):
        with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **settings) as running:  # type: ignore[call-overload]
            while running.poll() is None and not list(out.glob(".cells/slow/*.cell")):
                time.sleep(0.002)  # from here on there is something to lose
            time.sleep(chance.uniform(0.0, 0.15))
            kills += running.poll() is None
            running.send_signal(signal.SIGKILL)
        for folder in (out / "slow").iterdir() if (out / "slow").exists() else ():
            read_record(folder)  # whole, or not there
    assert kills == 6
    (project / "go").touch()
    assert run(project, "run", "slow", "--out", "out", "--jobs", jobs, "--quiet").returncode == 0
    pd.testing.assert_frame_equal(table_of(out), table_of(project / "whole"))
    assert not list(out.glob(".cells/slow/*"))
    assert [path.name for path in (out / ".tmp").iterdir()] == ["lock"]


def test_a_killed_run_keeps_its_finished_cells(project: Path) -> None:
    """The second run is to compute what is missing only: the cells that were done do not run again."""
    counting = HELD.replace("time.sleep(config", "open(f'ran-{index}', 'a').write('x'); time.sleep(config")
    add(project, "slow", counting.replace("seconds: float = 0.0", "seconds: float = 0.05"))
    line, settings = command(project, "run", "slow", "--out", "out", "--quiet")
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, **settings) as running:  # type: ignore[call-overload]
        while running.poll() is None and len(list(project.glob("out/.cells/slow/*.cell"))) < 3:
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
    kept = len(list(project.glob("out/.cells/slow/*.cell")))
    assert kept >= 3
    (project / "go").touch()
    assert run(project, "run", "slow", "--out", "out", "--quiet").returncode == 0
    runs = [len(path.read_text()) for path in project.glob("ran-*")]
    assert len(runs) == 8
    assert sum(runs) <= 8 + 1  # the one under way when it was killed


def test_a_damaged_cell_is_named_and_computed_again(project: Path) -> None:
    add(project, "slow", LATE)
    assert run(project, "run", "slow", "--out", "out").returncode == 1
    first, second, *others = sorted(project.glob("out/.cells/slow/*.cell"))
    assert len(others) == 6
    whole = first.read_bytes(), second.read_bytes()
    first.write_bytes(whole[0][:-40] + bytes([whole[0][-40] ^ 1]) + whole[0][-39:])
    second.write_bytes(whole[0])  # whole, and another's
    done = run(project, "run", "slow", "--out", "out")
    assert f"{first.name} is damaged" in done.stderr
    assert f"{second.name} holds cell slow/{first.stem}, not" in done.stderr
    assert "6/8" in done.stderr
    assert (read_cell(first), read_cell(second)) != (None, None)


def test_a_damaged_record_is_named_and_computed_again(project: Path) -> None:
    assert run(project, "run", "slow", "--out", "out").returncode == 0
    (folder,) = find_records(project / "out", "slow")
    sound = read_record(folder)
    file = folder / "record.json"
    file.write_bytes(file.read_bytes().replace(b'"holds": true', b'"holds": false', 1))
    done = run(project, "run", "slow", "--out", "out")
    assert done.returncode == 0
    assert "record.json is damaged (its digest is not that of its content); it is computed again" in done.stderr
    assert "8/8" in done.stderr
    assert read_record(folder).meta["checks"] == sound.meta["checks"]
    assert "damaged" not in run(project, "run", "slow", "--out", "out").stderr


def test_no_flipped_bit_in_a_cell_is_accepted(project: Path) -> None:
    add(project, "slow", LATE)
    run(project, "run", "slow", "--out", "out")
    file = min(project.glob("out/.cells/slow/*.cell"))
    whole = file.read_bytes()
    chance = random.Random(0)
    places = {chance.randrange(8 * len(whole)) for _ in range(400)}
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        with pytest.raises(DamagedFile, match=r"damaged|holds"):
            read_cell(file)
    assert len(places) > 300


def test_cells_that_no_run_can_use_are_swept_away(project: Path) -> None:
    add(project, "slow", LATE)
    add(project, "gone", LATE)
    assert run(project, "all", "--out", "out").returncode == 1
    assert len(list(project.glob("out/.cells/*/*.cell"))) == 16
    (project / "experiments" / "gone.py").unlink()
    add(project, "slow", GOOD)
    assert run(project, "run", "slow", "--out", "out").returncode == 0
    assert not (project / "out" / ".cells").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(project: Path, jobs: int) -> None:
    add(project, "slow", HELD.replace("seconds: float = 0.0", "seconds: float = 0.2"))
    line, settings = command(project, "run", "slow", "--out", "out", "--jobs", jobs)
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
        **settings,  # type: ignore[call-overload]
    ) as running:
        while running.poll() is None and not list(project.glob("out/.cells/slow/*.cell")):
            time.sleep(0.005)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to every process of the command
        _, errors = running.communicate()
    assert running.returncode == 130
    assert "of 8 cells done and kept; the same command goes on" in errors
    assert "Traceback" not in errors
    assert json.loads((project / "out" / ".status" / "slow.json").read_text())["status"] == "interrupted"
    assert list(project.glob("out/.cells/slow/*.cell"))
    assert find_records(project / "out") == ()
    (project / "go").touch()
    assert run(project, "run", "slow", "--out", "out", "--quiet").returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("more", [[], ["--scheduler", "local"]], ids=["joblib", "dask"])
def test_workers_start_deaf_to_ctrl_c(project: Path, more: list[str]) -> None:
    """Whenever it comes, also while they import; the runner alone stops them.

    What a worker holds back is what held from its first moment: it is inherited, and nothing in it changes it.
    """
    held = "np.full(3, float(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    add(
        project,
        "slow",
        GOOD.replace('"x": rng.normal(size=3)', f'"x": {held}').replace("import time", "import signal, time"),
    )
    done = run(project, "run", "slow", "--out", "out", "--jobs", 2, "--quiet", *more)
    assert done.returncode == 0, done.stderr
    assert (table_of(project / "out")["x"] == 1.0).all()


def test_one_run_a_folder_and_the_other_is_named(project: Path) -> None:
    add(
        project,
        "slow",
        GOOD.replace(
            "time.sleep(config.seconds)", "\n    while not __import__('os').path.exists('go'): time.sleep(0.01)"
        ),
    )
    line, settings = command(project, "run", "slow", "--out", "out", "--quiet")
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, **settings) as first:  # type: ignore[call-overload]
        while not (project / "out" / ".status").exists():
            assert first.poll() is None
            time.sleep(0.01)
        second, listed = run(project, "run", "slow", "--out", "out"), run(project, "list")
        (project / "go").touch()
        told, _ = first.communicate()
    assert second.returncode == 1
    assert f"experiments: process {first.pid} on" in second.stderr
    assert "(python -m experiments run slow) is at work in out" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert listed.returncode == 0
    assert (first.returncode, "1 of 1 claims hold" in told) == (0, True)
    assert len(table_of(project / "out")) == 24
    assert run(project, "run", "slow", "--out", "out").returncode == 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("more", [("--jobs", "2"), ("--jobs", "2", "--scheduler", "local")], ids=["joblib", "dask"])
def test_workers_die_with_the_run(project: Path, more: tuple[str, ...]) -> None:
    if "--scheduler" in more:
        pytest.importorskip("distributed")
    telling = "open(f'pid-{__import__(\"os\").getpid()}', 'w').close(); time.sleep(600"
    add(project, "slow", GOOD.replace("time.sleep(config.seconds", telling))
    line, settings = command(project, "run", "slow", "--out", "out", "--quiet", *more)
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **settings) as running:  # type: ignore[call-overload]
        while len(workers := [int(path.name[4:]) for path in project.glob("pid-*")]) < 2:
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    for _ in range(2400):  # half a second is what they need, two minutes what a busy machine may take
        if not any(is_alive(pid) for pid in workers):
            break
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in workers)
    assert len(workers) == 2
    assert not list(project.glob("out/.cells/slow/*.cell"))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
