"""Kills, full disks and damaged files, for records, figures, cells and notes: what goes wrong, counted by kind.

    python -m fuzz.faults --trials 100 --seed 0
    python -m fuzz.faults --stage "llm train" --trials 100 --seed 0       any command that writes (fuzz.disturbed)
    mount -t tmpfs -o size=4m tmpfs /mnt && python -m fuzz.faults --disk /mnt

Disks are full by making the system's calls fail, or in truth with ``--disk``, a small file system that is filled up.

A trial interrupts or damages, looks at what is on disk, does the work again and looks once more. Nothing of this may
be found, and the exit code is 1 where something is:

- *stale*: the report shows a picture of another record than the table beside it;
- *accepted*: something damaged, or another's, is used as if it were what was written;
- *half*: a record is there that cannot be read, though no file was damaged;
- *dead end*: doing the work again does not repair it;
- *litter*: a temporary file is left after the work was done again;
- *orphan*: a worker goes on after its parent was killed;
- *traceback*: something other than an OSError comes out of a full disk.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import pandas as pd  # noqa: E402

from experiments.framework.discovery import get_experiments  # noqa: E402
from experiments.framework.runner import run_experiments  # noqa: E402
from figures.framework.pictures import write_picture  # noqa: E402
from figures.framework.report import write_report  # noqa: E402
from fuzz.damage import damaged  # noqa: E402
from fuzz.disturbed import DISTURBANCES, run_stage  # noqa: E402
from fuzz.disturbed import FAULTS as OF_STAGES  # noqa: E402
from fuzz.dying import events_of, killed_at, on_full_disk, without_space  # noqa: E402
from fuzz.kept import Keeper, Tried, add_keep  # noqa: E402
from fuzz.stages import STAGES  # noqa: E402
from gpo_analysis.cli.arguments import Parser, number, whole  # noqa: E402
from gpo_analysis.records import Record, RecordError, read_record, write_record  # noqa: E402
from gpo_analysis.runs import RunStatus, latest_record, read_status, write_catalogue, write_status  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = "losses"
FAULTS = ("stale", "accepted", "half", "dead end", "litter", "orphan", "traceback")
GRACE_SECONDS = 600.0
"""How long the workers of a killed run may take to notice."""
Trial = Callable[["Bench", Path, random.Random], Counter[str]]
Work = Callable[[Path], object]


@dataclass(frozen=True)
class Bench:
    """What every trial starts from: two records of one experiment, with a picture of each."""

    old: Record
    new: Record

    @staticmethod
    def made() -> Bench:
        def record(value: int) -> Record:
            checks = [{"claim": "c", "predicted": 1.0, "computed": value, "tolerance": 0.0, "holds": value == 1}]
            meta = {
                "claim": "A claim.",
                "figure": "fig",
                "checks": checks,
                "wall_seconds": 1.5,
                "code_hash": str(value),
            }
            table = pd.DataFrame({"x": [value] * 400, "y": range(400)})
            with tempfile.TemporaryDirectory() as folder:
                return read_record(write_record(Record("demo", {"n": 400}, table, meta), folder))

        return Bench(record(1), record(2))

    def picture(self, record: Record) -> bytes:
        """Return bytes that say which record they show, of a picture's size."""
        return b"\x89PNG\r\n\x1a\n" + random.Random(record.key).randbytes(40_000)

    def laid(self, out: Path) -> None:
        """Lay out both records, the last run being the new one, and figures of the old one."""
        for record in (self.old, self.new):
            write_record(record, out / "records")
        write_catalogue([{"name": "demo", "claim": "A claim.", "figure": "fig"}], out / "records")
        write_status(RunStatus("demo", "quick", "complete", key=self.new.key), out / "records")
        self.drawn(out, self.old)

    def drawn(self, out: Path, record: Record) -> None:
        """Draw the figure of a record."""
        images = {"png": self.picture(record), "pdf": b"%PDF" + self.picture(record)}
        write_picture("fig", images, f"Figure of {record.key}", {"demo": record}, out / "figures", committed=False)

    def shown(self, out: Path) -> list[bytes]:
        """Write the report and return the pictures in it."""
        write_report(out / "records", out / "figures", out)
        page = (out / "report.html").read_text(encoding="utf-8")
        return [(out / place).read_bytes() for place in re.findall(r'<img src="([^"]*)"', page)]

    @cached_property
    def experiment_table(self) -> pd.DataFrame:
        """Return the table of an undisturbed run of the experiment."""
        with tempfile.TemporaryDirectory() as folder:
            _run(Path(folder))
            return latest_record(folder, EXPERIMENT).table


# -- what is left on disk ----------------------------------------------------------------------------------------------


def litter(folder: Path) -> int:
    """Count what no run needs any more: temporaries, cells, locks of runs."""
    left = [path for path in folder.rglob(".tmp/*") if path.name != "lock"]
    left += [path for path in folder.rglob("*") if path.suffix == ".cell" or path.name == ".lock"]
    return len(left)


def _halves(folder: Path) -> int:
    """Count folders in the places of records that hold no record that can be read."""
    return sum(_unread(path) for path in folder.glob("[!.]*/*"))


def _unread(path: Path) -> bool:
    try:
        read_record(path)
    except RecordError:
        return True
    return False


# -- trials ------------------------------------------------------------------------------------------------------------


def record_interrupted(bench: Bench, out: Path, chance: random.Random) -> Counter[str]:
    """Write a record beside an older one; die or run out of space in it; write it again."""
    found = _interrupted(lambda to: write_record(bench.old, to), lambda to: write_record(bench.new, to), out, chance)
    found["half"] += _halves(out)
    if not found["half"]:
        there = bench.new if (out / "demo" / bench.new.key).exists() else bench.old
        found["accepted"] += not latest_record(out, "demo").table.equals(there.table)
    write_record(bench.new, out)
    found["dead end"] += _unread(out / "demo" / bench.new.key) or _unread(out / "demo" / bench.old.key)
    found["litter"] += litter(out)
    return found


def figure_interrupted(bench: Bench, out: Path, chance: random.Random) -> Counter[str]:
    """Draw a figure again from a newer record; die or run out of space in it; draw it again."""
    found = _interrupted(bench.laid, lambda to: bench.drawn(to, bench.new), out, chance)
    found["stale"] += bench.shown(out) not in ([], [bench.picture(bench.new)])
    bench.drawn(out, bench.new)
    found["dead end"] += bench.shown(out) != [bench.picture(bench.new)]
    found["litter"] += litter(out)
    return found


def experiment_interrupted(bench: Bench, out: Path, chance: random.Random) -> Counter[str]:
    """Run an experiment; die or run out of space in it; damage a cell that it left, if it did; run it again."""
    found = _interrupted(lambda to: None, _run, out, chance)
    found["half"] += _halves(out)
    cells = sorted(out.rglob("*.cell"))
    if cells:
        found["cells damaged"] += 1
        damaged(chance.choice(cells), chance.choice(cells), chance) if len(cells) > 1 else cells[0].write_bytes(b"")
    _again(bench, out, found)
    return found


def record_damaged(bench: Bench, out: Path, chance: random.Random) -> Counter[str]:
    """Damage a file of a record, or copy another's folder into its place; read it; write it again."""
    for record in (bench.old, bench.new):
        write_record(record, out)
    folder, other = out / "demo" / bench.new.key, out / "demo" / bench.old.key
    name = chance.choice(("record.json", "table.parquet", "both"))
    if name == "both":
        for file in ("record.json", "table.parquet"):
            (folder / file).write_bytes((other / file).read_bytes())
    else:
        damaged(folder / name, other / name, chance)
    found = Counter({"accepted": int(not _unread(folder))})
    write_record(bench.new, out)
    found["dead end"] += _unread(folder)
    found["litter"] += litter(out)
    return found


def figure_damaged(bench: Bench, out: Path, chance: random.Random) -> Counter[str]:
    """Damage a picture or its sidecar; write the report; draw it again."""
    bench.laid(out)
    bench.drawn(out, bench.new)
    (out / "other").mkdir()
    bench.drawn(out / "other", bench.old)
    path = out / "figures" / chance.choice(("fig.png", "fig.json"))
    damaged(path, out / "other" / "figures" / path.name, chance)
    found = Counter({"accepted": len(bench.shown(out))})
    bench.drawn(out, bench.new)
    found["dead end"] += bench.shown(out) != [bench.picture(bench.new)]
    return found


def note_damaged(bench: Bench, out: Path, chance: random.Random) -> Counter[str]:
    """Damage the note on the last run; read it; note it again."""
    status = RunStatus("demo", "quick", "failed", "KeyError: 12", key=bench.new.key)
    write_status(status, out)
    write_status(RunStatus("other", "paper", "complete", key=bench.old.key), out)
    damaged(out / ".status" / "demo.json", out / ".status" / "other.json", chance)
    read = read_status(out, "demo")
    found = Counter({"accepted": int(read is None or read.status != "unknown")})
    write_status(status, out)
    found["dead end"] += read_status(out, "demo") != status
    found["litter"] += litter(out)
    return found


def workers_orphaned(bench: Bench, out: Path, chance: random.Random) -> Counter[str]:
    """Kill the process of an experiment that computes in two others; look for those; run it again."""
    found: Counter[str] = Counter()
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "experiments", "run", EXPERIMENT, "--jobs", "2", "--quiet", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GPO_FAULT": mark}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        wanted, patience = 1 + chance.randrange(3), time.monotonic() + 120.0
        while process.poll() is None and time.monotonic() < patience and len(_marked(mark)) < wanted:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 1.5))
        process.send_signal(signal.SIGKILL)
    patience = time.monotonic() + GRACE_SECONDS
    while _marked(mark) and time.monotonic() < patience:
        time.sleep(0.1)
    for orphan in _marked(mark):
        found["orphan"] += 1
        os.kill(orphan, signal.SIGKILL)
    _again(bench, out, found)
    return found


TRIALS: dict[str, tuple[Trial, int]] = {
    "record interrupted": (record_interrupted, 1),
    "figure interrupted": (figure_interrupted, 1),
    "experiment interrupted, cells damaged": (experiment_interrupted, 1),
    "record damaged": (record_damaged, 1),
    "figure damaged": (figure_damaged, 1),
    "note damaged": (note_damaged, 1),
    "workers of a killed run": (workers_orphaned, 20),
}
"""Name -> what a trial does, and of how many trials one is made: starting Python thrice takes long."""


def _interrupted(prepare: Work, work: Work, out: Path, chance: random.Random) -> Counter[str]:
    """Prepare a folder and do ``work`` in it, with a kill or a full disk at one of its file operations."""
    name = work.__qualname__
    if name not in _OPERATIONS:
        with tempfile.TemporaryDirectory() as elsewhere:
            prepare(Path(elsewhere))
            _OPERATIONS[name] = events_of(lambda: work(Path(elsewhere)), Path(elsewhere))
    prepare(out)
    at = 1 + chance.randrange(_OPERATIONS[name])
    killing = chance.random() < 0.5
    if killing:
        end = killed_at(lambda: work(out), out, at)
    elif DISK:
        end = on_full_disk(lambda: work(out), DISK[0], int(10 ** chance.uniform(1.0, 5.3)))
    else:
        end = without_space(lambda: work(out), out, at)
    return Counter({f"{'kill' if killing else 'full disk'}: {end}": 1, "traceback": int(end == "traceback")})


DISK: list[Path] = []
"""A small file system to be filled, where one was given."""
_OPERATIONS: dict[str, int] = {}
"""Number of file operations of a kind of work."""


def _run(out: Path) -> None:
    plans = run_experiments(get_experiments([EXPERIMENT]), out=out, progress=False)
    if plans[0].status == "failed":
        raise OSError(plans[0].why)  # which the command line says, with exit code 1


def _again(bench: Bench, out: Path, found: Counter[str]) -> None:
    """Run the experiment again and compare with an undisturbed run."""
    try:
        _run(out)
        found["accepted"] += not latest_record(out, EXPERIMENT).table.equals(bench.experiment_table)
    except (OSError, RecordError) as error:
        print(f"dead end: {error}", file=sys.stderr)
        found["dead end"] += 1
    found["litter"] += litter(out)


def _marked(mark: str) -> list[int]:
    """Return the processes that were started with this mark in their environment (where the system lists them)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"GPO_FAULT={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def run_trials(trials: int, seed: int, kinds: tuple[str, ...] = tuple(TRIALS)) -> dict[str, Counter[str]]:
    """Run ``trials`` of every kind (fewer of those that start Python); return what was counted, by kind."""
    bench, counted = Bench.made(), {}
    for kind in kinds:
        trial, share = TRIALS[kind]
        chance, total = random.Random(f"{seed} {kind}"), Counter[str]()
        for _ in range(-(-trials // share)):
            with tempfile.TemporaryDirectory(prefix="fault-", dir=DISK[0] if DISK else None) as folder:
                total["trials"] += 1
                try:
                    total += trial(bench, Path(folder), chance)
                except Exception:  # whatever stops the work from being done again
                    traceback.print_exc()
                    total["dead end"] += 1
        counted[kind] = total
    return counted


def main(arguments: list[str] | None = None) -> int:
    """Run the trials and print a table; return 1 where a fault was found."""
    parser = Parser(prog="python -m fuzz.faults", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--trials", type=whole(1), default=100, help="of each kind (default: 100)")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--kind", choices=tuple(TRIALS), action="append", help="only this one; may be repeated")
    parser.add_argument(
        "--stage", choices=(*STAGES, "all"), action="append", help="commands in place of the kinds above"
    )
    parser.add_argument("--disturbance", choices=DISTURBANCES, action="append", help="of a stage: only this one")
    parser.add_argument(
        "--seconds", type=number(0.0), default=math.inf, help="of a stage: no trial is begun after these"
    )
    parser.add_argument("--disk", type=Path, metavar="DIR", help="a small file system, filled up for full disks")
    parser.add_argument("--json", action="store_true", help="the counts as JSON")
    add_keep(parser)
    options = parser.parse_args(arguments)
    if options.disk is not None and not options.disk.is_dir():
        parser.error(f"--disk {options.disk} is no folder")
    keeper = Keeper(options.keep, "fuzz.faults", "Commands that write, and what happened to them.")
    if options.stage:
        return _stages(options, keeper)
    DISK[:] = [options.disk] if options.disk is not None else []
    counted = run_trials(options.trials, options.seed, tuple(options.kind or TRIALS))
    rows = [Tried.of(kind, "in the library", total, FAULTS) for kind, total in counted.items()]
    keeper.keep("library", rows, {"trials": options.trials, "seed": options.seed})
    failed = any(total[fault] for total in counted.values() for fault in FAULTS)
    if options.json:
        print(json.dumps(counted, indent=1))
        return int(failed)
    print(f"{'':<40}{'trials':>8}" + "".join(f"{fault:>11}" for fault in FAULTS))
    for kind, total in counted.items():
        print(f"{kind:<40}{total['trials']:>8}" + "".join(f"{total[fault]:>11}" for fault in FAULTS))
        ends = ", ".join(f"{name} {n}" for name, n in sorted(total.items()) if name not in (*FAULTS, "trials"))
        print(f"    {ends}" if ends else "", end="\n" if ends else "")
    return int(failed)


def _stages(options: argparse.Namespace, keeper: Keeper) -> int:
    """Trials of commands that write, a table a command."""
    names = list(STAGES) if "all" in options.stage else list(dict.fromkeys(options.stage))
    found, hows = {}, tuple(options.disturbance or DISTURBANCES)
    for name in names:
        found[name] = run_stage(name, options.trials, options.seed, hows, options.seconds)
        rows = [Tried.of(name, how, total, OF_STAGES) for how, total in found[name].items()]
        keeper.keep(name, rows, {"stage": name, "trials": options.trials, "seed": options.seed})
        if options.json:
            continue
        print(f"{name:<16}{'trials':>8}" + "".join(f"{fault:>11}" for fault in OF_STAGES))
        for how, total in found[name].items():
            ends = ", ".join(f"{end} {n}" for end, n in sorted(total.items()) if end not in (*OF_STAGES, "trials"))
            row = f"  {how:<14}{total['trials']:>8}" + "".join(f"{total[fault]:>11}" for fault in OF_STAGES)
            print(f"{row}   {ends}".rstrip(), flush=True)
    if options.json:
        print(json.dumps(found, indent=1))
    return int(any(total[fault] for stage in found.values() for total in stage.values() for fault in OF_STAGES))


if __name__ == "__main__":
    sys.exit(main())
