"""The whole: a frozen copy of the tree, contexts, a plan, results appended one by one, and the report of them."""

from __future__ import annotations

import compileall
import difflib
import fcntl
import json
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from mutation import contexts as traced
from mutation.areas import ROOT, areas, pool
from mutation.faults import Mutant, mutated_source
from mutation.machines import run_record, said
from mutation.selection import Contexts

if TYPE_CHECKING:
    from mutation.trials import Bench

NOTICED = ("killed", "timeout")
#: Faults of every package are tried in this many at a time, so that all packages have an interval early.
ROUND = 20


class Campaign:
    """What lies in one folder.

    Parameters
    ----------
    folder : Path
        Made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.results = folder / "results.jsonl"
        self.runs = folder / "runs.jsonl"

    def snapshot(self, fresh: bool = False) -> None:
        """Copy what git tracks, as it is now; nothing where there is a copy already."""
        if fresh and self.folder.exists():
            if not (self.folder / "commit").exists() and any(self.folder.iterdir()):
                raise ValueError(f"{self.folder} is no folder of this program's; nothing in it was removed")
            shutil.rmtree(self.folder)
        if self.tree.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix="tree-", dir=self.folder))
        for name in _git("ls-files", "-z").split("\0"):
            if name and (ROOT / name).is_file():
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, part / name)
        write_text(self.folder / "commit", _git("rev-parse", "HEAD") + ("+" if _git("status", "--porcelain") else ""))
        part.rename(self.tree)

    def _require_tree(self) -> None:
        if not self.tree.exists():
            raise FileNotFoundError(f"{self.tree} is not there; python -m mutation trace makes it")

    def take_tests(self) -> None:
        """Bring the copy's tests up to date; its sources stay what they were."""
        self._require_tree()
        for name in _git("ls-files", "-z", "-co", "--exclude-standard", "tests").split("\0"):
            if name and (ROOT / name).is_file():
                target = self.tree / name
                if not target.exists() or target.read_bytes() != (ROOT / name).read_bytes():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, target)

    def carry(self, other: Campaign) -> int:
        """Take over what is known of tests that have not changed since an older copy of the tree; of how many files."""
        other._require_tree()
        (self.folder / "contexts").mkdir(exist_ok=True)
        taken_over = 0
        for unit in pool(self.tree):
            record = traced.known(unit, self.tree, other.folder)
            if record is not None and traced.record_of(unit, self.folder) is None:
                text = json.dumps(traced.carried(record, other.tree, self.tree))
                write_text(traced.kept(unit, self.folder), text)
                taken_over += 1
        return taken_over

    def trace(self, most: float = math.inf, workers: int = 1, starts: tuple[str, ...] = ()) -> None:
        """Run every test file of which there is no record, some at a time; where starts are named only such files."""
        from mutation.server import preload

        preload()
        (self.folder / "contexts").mkdir(exist_ok=True)
        units = [unit for unit in pool(self.tree) if unit.startswith(starts or "")]
        todo = [unit for unit in units if traced.known(unit, self.tree, self.folder) is None]
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        _apart(max(1, min(workers, len(todo))), lambda number: self._trace_all(todo, most, number))

    def _trace_all(self, todo: list[str], most: float, number: int) -> int:
        from mutation.server import forked

        log = self.folder / "contexts" / f"log{number}"
        bar = tqdm(todo, desc="trace", file=sys.stderr, disable=number > 0)
        for unit in bar:
            with taken(traced.kept(unit, self.folder).with_suffix(".lock")) as mine:
                if not mine or traced.known(unit, self.tree, self.folder) is not None:
                    continue
                bar.set_postfix_str(unit)
                ended = forked(lambda unit=unit: self._trace(unit, most), log, 900.0, 300.0)
            record = traced.known(unit, self.tree, self.folder)
            if record is not None and not record["whole"]:
                bar.write(f"{unit}: not all of its tests, for they take longer than {most:g} s")
            if record is None:
                bar.write(f"{unit}: {ended.how} {ended.code}, see {log}")
        return 0

    def _trace(self, unit: str, most: float) -> int:
        os.chdir(self.tree)
        sys.path.insert(0, str(self.tree))
        record = traced.trace_file(unit, self.tree, most, traced.record_of(unit, self.folder))
        write_text(traced.kept(unit, self.folder), json.dumps(record))
        return 0

    def plan(self, size: int, seed: int) -> None:
        """Draw the faults of every package and write them down."""
        from mutation.mutants import drawn, mutants_of

        self._require_tree()
        made: dict[str, Any] = {"seed": seed, "size": size, "areas": {}}
        for area in tqdm(areas(self.tree), desc="plan", file=sys.stderr):
            every = [mutant for file in area.sources for mutant in mutants_of(file, self.tree)]
            chosen = drawn(every, seed)[:size]
            made["areas"][area.name] = {"possible": len(every), "drawn": [asdict(mutant) for mutant in chosen]}
        write_text(self.folder / "plan.json", json.dumps(made, indent=1, ensure_ascii=False))

    def plan_record(self) -> dict[str, Any]:
        """The plan as it was written down."""
        file = self.folder / "plan.json"
        if not file.exists():
            raise FileNotFoundError(f"{file} is not there; python -m mutation plan writes it, after trace")
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return record

    def provenance(self) -> str:
        """What was tried on what, in a line."""
        made, commit = self.plan_record(), self.commit()
        counted = Counter(run for one in self.verdicts().values() for run in one.get("run", "").split("+"))
        runs = [said(one, counted[one["run"]]) for one in records(self.runs) if counted[one["run"]]]
        head = (
            f"Code of commit {commit[:10]}{'+' if commit.endswith('+') else ''}, seed {made['seed']}, "
            f"at most {made['size']} a package; mutmut {version('mutmut')}. Runs:"
        )
        return "\n".join([head, "", *runs])

    def commit(self) -> str:
        """The commit of the copied tree, with a + where it had changes."""
        return (self.folder / "commit").read_text(encoding="utf-8").strip()

    def join(self, other: Campaign) -> int:
        """Take in verdicts of another folder, of the same faults in the same code; how many."""
        if other.commit() != self.commit() or other.plan_record() != self.plan_record():
            raise ValueError(
                f"{other.folder} holds no results of these faults in the code of commit {self.commit()[:10]}"
            )
        have = self.verdicts()
        new = [one for name, one in other.verdicts().items() if have.get(name, {}).get("verdict") not in NOTICED]
        known = {one["run"] for one in records(self.runs)}
        append(self.runs, [one for one in records(other.runs) if one["run"] not in known])
        append(self.results, [one for one in new if one != have.get(one["mutant"])])
        return len(new)

    def planned(self) -> dict[str, list[Mutant]]:
        """The drawn faults by package."""
        made = self.plan_record()
        return {name: [mutant_of(one) for one in area["drawn"]] for name, area in made["areas"].items()}

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """What became of every fault that was tried, the last word counting."""
        return {one["mutant"]: one for one in records(self.results)}

    def todo(self, first: int | None, only: tuple[str, ...], again: bool, names: tuple[str, ...] = ()) -> list[Mutant]:
        """Faults to try: the first of every package, then the next of every package; or those named, in their order."""
        have = self.verdicts()
        plan = {name: drawn for name, drawn in self.planned().items() if not only or name in only}
        unknown = set(only) - set(plan)
        if unknown:
            raise ValueError(f"no package {sorted(unknown)[0]!r} is planned; there are {', '.join(self.planned())}")
        most = max((len(drawn) for drawn in plan.values()), default=0)
        most = most if first is None else min(first, most)

        def wanted(mutant: Mutant) -> bool:
            one = have.get(mutant.name)
            return one is None or (again and one["verdict"] in ("survived", "no test"))

        order = [
            mutant
            for start in range(0, most, ROUND)
            for chosen in plan.values()
            for mutant in chosen[start : min(start + ROUND, most)]
            if wanted(mutant)
        ]
        if not names:
            return order
        of = {mutant.name: mutant for drawn in self.planned().values() for mutant in drawn}
        for name in names:
            if name not in of:
                raise ValueError(f"no fault {name!r:.160} is planned")
        there = {mutant.name for mutant in order}
        return [of[name] for name in dict.fromkeys(names) if name in there]

    def run(
        self, workers: int, first: int | None, only: tuple[str, ...], again: bool, seconds: float, start: float,
        tests: tuple[str, ...] = (), limit: float = math.inf, names: tuple[str, ...] = (),
    ) -> int:  # fmt: skip
        """Try what has not been tried, each verdict written down at once; 1 where tests fail without any fault.

        Where starts of test files are named, only those are tried, and a survivor's earlier tests stay counted. After
        `limit` seconds no further fault is begun.
        """
        from mutation.server import preload
        from mutation.trials import Bench, Controls

        end = time.monotonic() + limit
        todo = self.todo(first, only, again, names)
        workers = max(1, min(workers, len(todo)))
        known = Contexts(self.tree, self.folder, tests)
        if known.missing:
            print(f"{len(known.missing)} test files are not traced; faults only they notice survive", file=sys.stderr)
        for room in ("gpo_analysis", "llm"):
            compileall.compile_dir(self.tree / room, quiet=2, workers=workers)
        record = run_record(self.tree, self.commit(), workers=workers, seconds=seconds, again=again, only=list(tests))
        append(self.runs, [record])
        preload()
        controls = Path(tempfile.mkdtemp(prefix="controls-"))
        turn = multiprocessing.get_context("fork").Value("l", 0)

        def work(number: int) -> int:
            bench = Bench(self.tree, known, seconds, start, Controls(controls))
            try:
                return self._try(bench, _taken_in_turn(todo, turn, end, number == 0), record["run"])
            finally:
                bench.close()

        try:
            return _apart(workers, work)
        finally:
            shutil.rmtree(controls, ignore_errors=True)

    def _try(self, bench: Bench, todo: Iterator[Mutant], run: str) -> int:
        code = 0
        have = self.verdicts() if bench.contexts.some else {}
        for mutant in todo:
            verdict, failing = bench.attempt(mutant)
            for test in failing:
                print(f"without any fault fails {test}", file=sys.stderr)
                code = 1
            append(self.results, [added(have.get(mutant.name), {**asdict(verdict), "run": run})])
        return code

    def diff(self, mutant: Mutant) -> Iterator[str]:
        """What a fault changes, as lines of a diff."""
        before = (self.tree / mutant.file).read_text(encoding="utf-8").splitlines()
        after = mutated_source(mutant, self.tree).splitlines()
        return (
            line
            for line in difflib.unified_diff(before, after, mutant.file, mutant.file, lineterm="", n=0)
            if not line.startswith(("---", "+++"))
        )


def added(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """A verdict by some tests beside an earlier one: who survives both has met the tests of both."""
    if old is None or new["verdict"] not in ("survived", "no test"):
        return new
    tests, seconds = old["tests"] + new["tests"], round(old["seconds"] + new["seconds"], 2)
    verdict = old["verdict"] if new["verdict"] == "no test" else "survived"
    runs = "+".join(one["run"] for one in (old, new) if "run" in one)
    return {**old, "verdict": verdict, "tests": tests, "seconds": seconds, **({"run": runs} if runs else {})}


def _taken_in_turn(todo: list[Mutant], turn: Any, end: float, shows: bool) -> Iterator[Mutant]:
    """Each fault once among processes that share the number of the next one; none after the end."""
    with tqdm(total=len(todo), desc="faults", file=sys.stderr, disable=not shows) as bar:
        while time.monotonic() < end:
            with turn.get_lock():
                place, turn.value = turn.value, turn.value + 1
            bar.update(min(place, len(todo)) - bar.n)
            if place >= len(todo):
                return
            yield todo[place]


def _apart(workers: int, work: Callable[[int], int]) -> int:
    """Do the work in forked processes, which are numbered; the greatest of their exit statuses."""
    children = []
    for number in range(workers):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = work(number)
            except KeyboardInterrupt:
                pass
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


@contextmanager
def taken(path: Path) -> Iterator[bool]:
    """Whether this process has the lock of the path, which no other then gets; let go at the end, also by a death."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def mutant_of(one: dict[str, Any]) -> Mutant:
    """A fault from its record."""
    first, last = one["lines"]
    place, old, new = one["change"]
    return Mutant(one["name"], one["file"], one["operator"], (first, last), one["inside"], (place, old, new))


def records(path: Path) -> list[dict[str, Any]]:
    """The records of a file of lines; none where there is no file."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:  # the end of a line that was cut off
            continue
    return found


def append(path: Path, new: list[dict[str, Any]]) -> None:
    """Add records to a file of lines."""
    with path.open("a", encoding="utf-8") as out:
        out.write("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in new))


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. (The library's own writer is under test and must not be imported here.)"""
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
