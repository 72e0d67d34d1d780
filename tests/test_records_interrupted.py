"""Records under full disks, other writers and death at any moment: the whole record or none."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from gpo_analysis.files import remove_stale, write_whole
from gpo_analysis.records import find_records, read_record, write_record

pytest.importorskip("pyarrow", reason="tables of records are Parquet; a wheel alone has no pyarrow")

from tests.test_records import make

ROOT = Path(__file__).resolve().parents[1]


def test_nothing_stays_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_whole(tmp_path / "kept.txt", b"old", tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"demo/.* was not written: No space left on device") as caught:
        write_record(make(), tmp_path)
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match=r"kept\.txt was not written"):
        write_whole(tmp_path / "kept.txt", b"new", tmp_path)
    assert (tmp_path / "kept.txt").read_bytes() == b"old"
    assert find_records(tmp_path) == ()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["kept.txt", "lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit there")
def test_a_file_the_system_cuts_short_leaves_no_record(tmp_path: Path) -> None:
    script = """
        import resource, signal, sys, pandas as pd
        from gpo_analysis.records import Record, write_record
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        record = Record("demo", {}, pd.DataFrame({"x": range(100000)}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write_record(record, sys.argv[1])
        except OSError as error:
            print(error)
    """
    done = run_script(script, tmp_path)
    assert "was not written: File too large" in done
    assert find_records(tmp_path) == ()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="was not written"):
        write_record(make(), tmp_path / "file")


@pytest.mark.parametrize("locks", [True, False])
def test_writers_at_the_same_time_leave_one_whole_record(
    tmp_path: Path, locks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not locks:  # a file system without them

        def refuse(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, "no locks")

        monkeypatch.setattr(fcntl, "flock", refuse)
    failures: list[BaseException] = []

    def write(run: int) -> None:
        try:
            for _ in range(5):
                write_record(make(run=run), tmp_path)
                remove_stale(tmp_path)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(run,)) for run in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    (folder,) = find_records(tmp_path)
    assert read_record(folder).meta["run"] in range(6)
    assert [path.name for path in (tmp_path / ".tmp").iterdir()] == ["lock"]


def test_a_record_moved_aside_by_another_writer_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the other writer takes the record away after this one found its place taken and before it looks again
    target = write_record(make(run=1), tmp_path)
    rename, taken = Path.rename, []

    def contended(self: Path, place: Path) -> Path:
        try:
            return rename(self, place)
        except OSError:
            if not taken:
                taken.append(place)
                shutil.rmtree(target)
            raise

    monkeypatch.setattr(Path, "rename", contended)
    assert write_record(make(run=2), tmp_path) == target
    assert taken == [target]
    assert read_record(target).meta["run"] == 2


def test_dying_at_any_file_system_event_leaves_the_whole_record_or_none(tmp_path: Path) -> None:
    """A child stops, without any clean-up, at the n-th event that Python reports; n goes through all of them."""
    script = """
        import os, sys, pandas as pd
        from gpo_analysis.files import remove_stale
        from gpo_analysis.records import Record, find_records, read_record, write_record

        out = sys.argv[1]
        record = Record("demo", {"x": 1}, pd.DataFrame({"x": range(50)}))
        write_record(Record("warm", {}, record.table), out)  # everything imported
        events = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.scandir", "shutil.rmtree")
        outcomes = []
        for last in range(1, 200):
            child = os.fork()
            if child == 0:
                seen = [0]
                def hook(event, arguments):
                    if event in events or event.startswith("fcntl"):
                        seen[0] += 1
                        if seen[0] == last:
                            os._exit(9)
                sys.addaudithook(hook)
                write_record(record, out)
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            whole = [read_record(folder).table.x.tolist() for folder in find_records(out, "demo")]
            assert whole in ([], [list(range(50))]), whole
            listed = os.listdir(os.path.join(out, "demo")) if os.path.isdir(os.path.join(out, "demo")) else []
            assert listed == ([record.key] if whole else []), listed
            outcomes.append((code, len(whole)))
            remove_stale(out)
            assert os.listdir(os.path.join(out, ".tmp")) == ["lock"]
            if whole:
                os.rename(os.path.join(out, "demo"), os.path.join(out, f"done{last}"))
            if code == 0:
                break
        print(len(outcomes), outcomes[0], outcomes[-1], sum(whole for _, whole in outcomes))
    """
    done = run_script(script, tmp_path).split(" ", 1)
    assert int(done[0]) > 8  # so many moments were tried
    assert done[1].startswith("(9, 0) (0, 1)")


def run_script(script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
