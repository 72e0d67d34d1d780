"""One fault tried: written into a throw-away copy of the tree, the tests that may notice it run in a forked process."""

from __future__ import annotations

import hashlib
import os
import py_compile
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from mutation.faults import Mutant, mutated_source
from mutation.guard import guarded, write_startup
from mutation.selection import Chosen, Contexts, parts
from mutation.server import QUIET, forked, import_path

#: Times the usual processor time of its tests that a fault may take, and seconds beside.
SLACK, START = 4.0, 6.0


@dataclass(frozen=True)
class Verdict:
    """What became of a fault.

    Parameters
    ----------
    mutant : str
    verdict : {"killed", "timeout", "survived", "no test"}
        A timeout is a fault that took several times the usual processor time, all memory, or waited for ever.
    by : str
        The test that failed, or which limit was passed.
    tests, left : int
        Tests tried without success or at all, and tests that were too dear to be tried.
    seconds : float
        Processor time.
    """

    mutant: str
    verdict: str
    by: str
    tests: int
    left: int
    seconds: float


class Chooser:
    """A plugin of pytest: the chosen tests in their order, no others."""

    def __init__(self, tests: list[str]) -> None:
        self.place = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drop what was not chosen."""
        items[:] = sorted(
            (item for item in items if item.nodeid in self.place), key=lambda item: self.place[item.nodeid]
        )


class Controls:
    """Which tests pass here without any fault, for a failure of others says nothing: shared by processes, as files.

    Parameters
    ----------
    folder : Path
        Made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _file(self, test: str) -> Path:
        return self.folder / hashlib.sha256(test.encode()).hexdigest()[:24]

    def note(self, test: str, passes: bool) -> None:
        """Write down what a test came to."""
        self._file(test).write_text("passes" if passes else "fails", encoding="utf-8")

    def of(self, test: str) -> bool | None:
        """Whether a test passes; None where it was not tried."""
        try:
            return self._file(test).read_text(encoding="utf-8") != "fails"
        except FileNotFoundError:
            return None


class Bench:
    """A throw-away copy of the tree in which faults are tried, one after another."""

    def __init__(
        self, source: Path, contexts: Contexts, seconds: float, start: float = START, controls: Controls | None = None
    ) -> None:
        self.contexts = contexts
        self.seconds = seconds
        self.start = start
        self.source = source
        self.folder = Path(tempfile.mkdtemp(prefix="mutants-"))
        self.controls = controls or Controls(self.folder / "controls")
        self.tree = self.folder / "tree"
        shutil.copytree(source, self.tree, ignore=shutil.ignore_patterns("out", ".git"))
        write_startup(self.folder / "guard")

    def close(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, tests: list[Chosen]) -> tuple[str, str, float]:
        """Run some tests as the tree is: "passed", "failed" or "timeout", by what, and processor time."""
        units = list(dict.fromkeys(test.unit for test in tests))
        files = list(dict.fromkeys(test.test.partition("::")[0] for test in tests))
        log = self.folder / "log"
        usual = sum(test.seconds for test in tests)
        ended = forked(
            lambda: self._tests(files, [t.test for t in tests]), log, SLACK * usual + self.start + len(units)
        )
        text = log.read_text(encoding="utf-8", errors="replace")
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        if ended.how in ("processor time", "stalled", "memory"):
            return "timeout", ended.how, ended.seconds
        if ended.how == "exit" and ended.code == 0:
            return "passed", "", ended.seconds
        if ended.how == "exit" and ended.code == pytest.ExitCode.NO_TESTS_COLLECTED:
            return "failed", "no test was collected", ended.seconds
        found = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - |$)", text, re.MULTILINE)
        return "failed", found.group(1) if found else f"{ended.how} {ended.code}", ended.seconds

    def _tests(self, files: list[str], tests: list[str]) -> int:
        os.chdir(self.tree)
        (self.folder / "tmp").mkdir(exist_ok=True)
        sys.path.insert(0, str(self.tree))
        tempfile.tempdir = str(self.folder / "tmp")
        os.environ.update(
            PYTHONPATH=import_path(self.tree, self.folder / "guard"),
            TMPDIR=str(self.folder / "tmp"),
            MUTATION_FOLDER=str(self.folder),
        )
        guarded(self.folder)
        options = ["-x", "-q", "--tb=line", *QUIET, f"--basetemp={self.folder}/tmp/pytest"]
        return int(pytest.main([*files, *options], plugins=[Chooser(tests)]))

    def failing(self, suspects: list[Chosen]) -> list[str]:
        """Which of some tests fail, or never end, in the tree as it is now, without a fault."""
        found: list[str] = []
        while any(self.controls.of(test.test) is None for test in suspects):
            outcome, by, _ = self.run(suspects)
            bad = (
                []
                if outcome == "passed"
                else [test for test in suspects if by and test.test.startswith(by)] or suspects
            )
            if bad and "::" not in by:  # a file that cannot be collected
                bad = [test for test in self.contexts.tests if by and test.test.startswith(f"{by}::")] or bad
            for test in suspects if outcome == "passed" else bad:
                self.controls.note(test.test, outcome == "passed")
            found += [f"{test.test} ({by})" for test in bad[:1]]
            suspects = [test for test in suspects if test not in bad] if bad else []
        return found

    def _suspects(self, part: list[Chosen], outcome: str, by: str) -> list[Chosen]:
        """The tests that have to pass without the fault if a failure of the part is to count: those that it names."""
        if outcome == "failed":
            named = [test for test in part if test.test == by] or [test for test in part if test.test.startswith(by)]
            if named:
                return named[:1]
        return part

    def attempt(self, mutant: Mutant) -> tuple[Verdict, list[str]]:
        """Put a fault in, run its tests part by part, take it out again; tests that fail without it are named.

        Of a test that fails it is asked once whether it passes without any fault; one that does not is left out.
        """
        path = self.tree / mutant.file
        original, faulty = path.read_text(encoding="utf-8"), mutated_source(mutant, self.source)
        tests = [test for test in self.contexts.tests_of(mutant) if self.controls.of(test.test) is not False]
        chosen, left = parts(tests, self.seconds)
        if not chosen:
            return Verdict(mutant.name, "no test", "", 0, 0, 0.0), []
        used, tried, bad = 0.0, 0, []
        try:
            while chosen:
                part = [test for test in chosen[0] if self.controls.of(test.test) is not False]
                self._write(path, faulty)
                outcome, by, seconds = self.run(part) if part else ("passed", "", 0.0)
                used += seconds
                if outcome != "passed":
                    self._write(path, original)
                    bad += self.failing(self._suspects(part, outcome, by))
                    if any(self.controls.of(test.test) is False for test in part):
                        continue  # once more without those
                    verdict = "killed" if outcome == "failed" else "timeout"
                    return Verdict(mutant.name, verdict, by, tried + len(part), left, round(used, 2)), bad
                tried += len(part)
                del chosen[0]
            return Verdict(mutant.name, "survived" if tried else "no test", "", tried, left, round(used, 2)), bad
        finally:
            self._write(path, original)
            py_compile.compile(str(path), doraise=True)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        Path(cache_from_source(str(path))).unlink(missing_ok=True)
