"""Every command that writes × everything that can happen to it: `python -m fuzz.faults --stage NAME`.

A trial lays out a stage (`fuzz.stages`), disturbs it, looks, and does it again as anyone would. Disturbances:

- *killed*, *full disk*, *no permission*: at, or from, one of its file operations, drawn at random;
- *damaged*: a file that a whole run wrote is flipped, cut, zeroed, lengthened or exchanged for another of its kind;
- *input*: an input that is sealed is damaged, which must be refused in a line or do no harm; the pairs of a training
  are exchanged after a kill, and the run must be that of the new pairs or be refused;
- *two writers*, *four writers*: the same command at the same time, some of which may be refused as the folder is busy;
- *clock*: the clock runs back while it runs, and the files of a killed run are of any year;
- *worker lost*: a Dask worker, or joblib's, is killed (experiments alone).

Counted are the faults of `fuzz.faults` and *lines*: a refusal of no line, or with a line that is no program's own.
"""

from __future__ import annotations

import errno
import gc
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from fuzz.commands import become, leave, redirected, restored
from fuzz.damage import damaged
from fuzz.dying import events_of, killed_at, without_space
from fuzz.stages import STAGES, Stage, same

FAULTS = ("accepted", "half", "dead end", "litter", "traceback", "lines")
DISTURBANCES = (
    "killed", "full disk", "no permission", "damaged", "input", "two writers", "four writers", "clock", "worker lost",
)  # fmt: skip
_QUIET = ("Warning", "warning:", "drew ", "wrote ", "it is computed again", "it is trained again", "is written again")
"""Lines on standard error that are no errors."""


class Trials:
    """Trials of one stage.

    Parameters
    ----------
    name : str
    root : path
        Where trials have their folders.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.name, self.stage, self.root = name, STAGES[name], root
        self.stage.smaller()
        whole = self.laid("whole")
        with restored(whole, root / "whole.out", root / "whole.errors"):  # here, so that no child need import it
            code = become(self.stage.words[0], list(self.stage.words[1:]))
        self.expected = self.stage.observe(whole)
        if code or not self.expected:
            raise RuntimeError(f"{name} does not run undisturbed: code {code}, {self.errors(whole)}")
        gc.collect()
        gc.freeze()  # a child neither looks through nor copies what was loaded here
        counted = self.laid("counted")
        self.operations = events_of(lambda: self.work(counted), counted)

    def laid(self, place: str) -> Path:
        """A fresh folder with what the stage reads."""
        folder = self.root / place
        folder.mkdir(parents=True)
        self.stage.prepare(folder)
        return folder

    def work(self, folder: Path, before: Callable[[], None] | None = None) -> None:
        """Run the command in ``folder``, in this process, which is a child; leaves it."""
        redirected(folder.parent / f"{folder.name}.out", folder.parent / f"{folder.name}.errors")
        os.chdir(folder)
        if "datasets" in sys.modules:  # its random names of cache files would be those of every other child
            sys.modules["datasets.fingerprint"].fingerprint_rng.seed()
        if before is not None:
            before()
        code = become(self.stage.words[0], list(self.stage.words[1:]))
        if code:
            leave(code)

    def run(self, folder: Path, before: Callable[[], None] | None = None) -> tuple[int, list[str]]:
        """Run the command in a child; its exit code and its lines of errors."""
        child = self.begun(folder, before)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), self.errors(folder)

    def begun(self, folder: Path, before: Callable[[], None] | None = None) -> int:
        """Start the command in a child."""
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            try:
                self.work(folder, before)
            finally:
                leave(0)
        return child

    def errors(self, folder: Path) -> list[str]:
        """What it said was wrong."""
        file = folder.parent / f"{folder.name}.errors"
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
        return [line for line in lines if line.strip() and not any(word in line for word in _QUIET)]

    # -- one trial -------------------------------------------------------------------------------------------------

    def trial(self, how: str, place: str, chance: random.Random) -> Counter[str]:
        """Disturb, look, do it again, look."""
        folder = self.laid(place)
        found: Counter[str] = Counter()
        expected, may_refuse = self.expected, False
        if how in ("killed", "full disk", "no permission", "clock"):
            found += self._interrupted(how, folder, chance)
        elif how == "damaged":
            shutil.copytree(self.root / "whole", folder, dirs_exist_ok=True)
            how = self._damaged(folder, self._written(folder), chance)
        elif how == "input":
            if chance.random() < 0.5:
                killed_at(lambda: self.work(folder), folder, chance.randrange(1, self.operations + 1))
            files = sorted(path for path in folder.glob(self.stage.inputs) if path.is_file())
            if self.name == "llm train":
                files[0].write_text(_other(files[0]))
                expected, may_refuse = self.of_other_pairs, True
            else:
                how, may_refuse = self._damaged(folder, files, chance), True
        elif how == "worker lost":
            self._worker_lost(folder, chance, found)
        else:
            self._together(folder, 2 if how == "two writers" else 4, found)
        if how in DISTURBANCES:  # and not the name of a file that was damaged
            found["half"] += bool(self.halves(folder))
        before = self._time_back(chance) if how == "clock" else None
        self._again(folder, expected, may_refuse, f"{self.name}, {how}", found, before)
        return +found

    def _interrupted(self, how: str, folder: Path, chance: random.Random) -> Counter[str]:
        at = chance.randrange(1, self.operations + 1)
        if how in ("killed", "clock"):
            before = self._time_back(chance) if how == "clock" else None
            end = killed_at(lambda: self.work(folder, before), folder, at)
            if how == "clock":
                for path in folder.rglob("*"):
                    os.utime(path, (when := chance.uniform(0, 4e9), when))
        else:
            number = errno.ENOSPC if how == "full disk" else errno.EACCES
            end = without_space(lambda: self.work(folder), folder, at, number)
        found = Counter({f"{how}: {end}": 1})
        if end == "refused":
            errors = self.errors(folder)
            found["traceback"] += any("Traceback" in line for line in errors)
            found["lines"] += _untold(errors)
            if _untold(errors):
                print(f"{self.name}, {how} at {at} of {self.operations}: {errors[-4:]}", file=sys.stderr)
        found["traceback"] += end == "traceback"
        return found

    def _written(self, folder: Path) -> list[Path]:
        paths = [path for pattern in self.stage.out for path in folder.glob(pattern)]
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
        return sorted(file for file in files if file.is_file() and file.name not in ("lock", ".lock"))

    def _damaged(self, folder: Path, files: list[Path], chance: random.Random) -> str:
        files = [file for file in files if file.stat().st_size]
        path = chance.choice(files)
        alike = [file for file in files if file.suffix == path.suffix and file != path]
        return f"{path.relative_to(folder)} {damaged(path, chance.choice(alike or files), chance)}"

    @cached_property
    def of_other_pairs(self) -> dict[str, Any]:
        """What a run of the exchanged pairs alone makes."""
        folder = self.laid("other")
        (pairs,) = folder.glob(self.stage.inputs)
        pairs.write_text(_other(pairs))
        code, errors = self.run(folder)
        if code:
            raise RuntimeError(f"{self.name} does not run with other pairs: code {code}, {errors}")
        return self.stage.observe(folder)

    def _together(self, folder: Path, number: int, found: Counter[str]) -> None:
        children = [self.begun(folder) for _ in range(number)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        found["dead end"] += 0 not in codes
        found["traceback"] += any("Traceback" in line for line in self.errors(folder))
        found["writers done"] += codes.count(0)
        found["writers refused"] += number - codes.count(0)

    def _worker_lost(self, folder: Path, chance: random.Random, found: Counter[str]) -> None:
        """Kill a process below the command's, at some moment of it."""
        cluster = ("--scheduler", "local") if chance.random() < 0.5 else ()
        words = list(self.stage.words[1:])

        def body() -> None:
            redirected(folder.parent / f"{folder.name}.out", folder.parent / f"{folder.name}.errors")
            os.chdir(folder)
            leave(become(self.stage.words[0], [*words, "--jobs", "2", *cluster]))

        child = os.fork()
        if child == 0:
            body()
        done, patience = 0, time.monotonic() + 60.0
        wait = time.monotonic() + chance.uniform(0.5, 6.0)
        while not done and time.monotonic() < patience:
            workers = _below(child)
            if workers and time.monotonic() > wait:
                os.kill(chance.choice(workers), signal.SIGKILL)
                found["workers killed"] += 1
                break
            time.sleep(0.05)
            done = os.waitpid(child, os.WNOHANG)[0]
        if not done:
            os.waitpid(child, 0)
        found["traceback"] += any("Traceback" in line for line in self.errors(folder))

    def _time_back(self, chance: random.Random) -> Callable[[], None]:
        """A clock that goes back by up to a day whenever it is asked."""
        seed = chance.random()

        def install() -> None:
            own, now = random.Random(seed), time.time()
            state = [now]

            def back() -> float:
                state[0] -= own.uniform(0.0, 86_400.0)
                return state[0]

            time.time = back
            time.time_ns = lambda: int(back() * 1e9)

        return install

    def _again(
        self, folder: Path, expected: dict[str, Any], may_refuse: bool, what: str, found: Counter[str],
        before: Callable[[], None] | None,
    ) -> None:  # fmt: skip
        code, errors = self.run(folder, before)
        if code:
            found["traceback"] += any("Traceback" in line for line in errors)
            found["lines"] += _untold(errors)
            found["refused"] += may_refuse
            found["dead end"] += not may_refuse
            if not may_refuse or _untold(errors):
                print(f"{what}: code {code}: {errors[-4:]}", file=sys.stderr)
            return
        wrong = same(expected, self.stage.observe(folder))
        report = folder / "out" / "report.md"
        if wrong and may_refuse and report.exists() and "damaged" in report.read_text(encoding="utf-8"):
            found["said in the report"] += 1
            wrong = ""
        if wrong:
            print(f"{what}: {wrong}", file=sys.stderr)
        found["accepted"] += bool(wrong)
        left = [path for path in folder.rglob(".tmp/*") if path.name != "lock"]
        left += [path for path in folder.rglob("*") if path.name == ".lock" or path.suffix in (".cell", ".part")]
        left += [path for path in folder.rglob(".*-*") if path.suffix in (".png", ".csv", ".parquet")]
        if left:
            print(f"{what}: left {', '.join(str(path.relative_to(folder)) for path in left[:4])}", file=sys.stderr)
        found["litter"] += bool(left)

    def halves(self, folder: Path) -> list[str]:
        """Files for people, or for other programs, that are there and cannot be read as what they are."""
        found = []
        for path in self._written(folder):
            if ".tmp" in path.parts or any(part.startswith("checkpoint") for part in path.parts):
                continue
            try:
                _READ.get(path.suffix, Path.stat)(path)
            except Exception as error:
                found.append(path.name)
                print(f"{self.name}: {path.name} is half: {error}", file=sys.stderr)
        return found


def _other(pairs: Path) -> str:
    """The pairs backwards and without the last one."""
    return "\n".join(pairs.read_text().splitlines()[::-1][:-1]) + "\n"


def _untold(errors: list[str]) -> bool:
    """Whether a refusal is of no line, or of others than a program's own, each of which begins with its name."""
    begin = ("experiments: ", "figures: ", "gpo: ", "llm: ", "llm ")
    return not 1 <= len(errors) <= 3 or not all(line.startswith(begin) for line in errors)


def _whole_png(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def _table(path: Path) -> None:
    import pandas as pd

    pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def _document(path: Path) -> None:
    import json

    json.loads(path.read_bytes())


def _tensors(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        file.keys()


_READ: dict[str, Callable[[Path], Any]] = {
    ".png": _whole_png, ".parquet": _table, ".csv": _table, ".json": _document, ".safetensors": _tensors,
}  # fmt: skip


def _below(parent: int) -> list[int]:
    """Processes below one, that compute (where the system lists them)."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if words[0] != "Z" and b"resource_tracker" not in command:
            parents[int(folder.name)] = int(words[1])
    found, fresh = [], [parent]
    while fresh:
        fresh = [pid for pid, above in parents.items() if above in fresh]
        found += fresh
    return found


def run_stage(
    name: str, trials: int, seed: int, disturbances: tuple[str, ...] = DISTURBANCES, seconds: float = float("inf")
) -> dict[str, Counter[str]]:
    """Trials of a stage by disturbance; as many of each as the processor time allows, in turn.

    Parameters
    ----------
    name : str
    trials, seed : int
        Of each disturbance.
    disturbances : tuple of str
    seconds : float
        After so many no trial is begun.
    """
    stage = STAGES[name]
    chosen = [how for how in disturbances if _applies(name, stage, how)]
    counted: dict[str, Counter[str]] = {how: Counter() for how in chosen}
    with tempfile.TemporaryDirectory(prefix="stage-") as root:
        trying = Trials(name, Path(root))
        end = time.monotonic() + seconds
        for number in range(trials):
            for how in chosen:
                if time.monotonic() > end:
                    return counted
                place = f"{how.replace(' ', '-')}-{number}"
                counted[how] += trying.trial(how, place, random.Random(f"{seed}/{name}/{how}/{number}"))
                counted[how]["trials"] += 1
                shutil.rmtree(Path(root) / place, ignore_errors=True)
    return counted


def _applies(name: str, stage: Stage, how: str) -> bool:
    if how == "worker lost":
        return name == "experiments"
    if how == "input":
        return bool(stage.inputs)
    return stage.resumes or how != "damaged" or name in ("figures", "report")
