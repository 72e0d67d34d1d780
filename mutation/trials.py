"""One fault tried: written into a throw-away copy of the tree, the tests that may notice it run in a forked process."""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from mutation.guard import guarded, write_startup
from mutation.mutants import Mutant, mutated_sources
from mutation.selection import Chosen, Contexts, parts
from mutation.server import QUIET, forked

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


class Bench:
    """A throw-away copy of the tree in which faults are tried, one after another; the next ones may be named ahead."""

    def __init__(
        self, source: Path, contexts: Contexts, seconds: float, start: float = START, ahead: Sequence[Mutant] = ()
    ) -> None:
        self.ahead = ahead
        self.texts: dict[str, str] = {}
        self.contexts = contexts
        self.seconds = seconds
        self.start = start
        self.source = source
        self.folder = Path(tempfile.mkdtemp(prefix="mutants-"))
        self.tree = self.folder / "tree"
        for room in ("gpo_analysis", "llm"):
            compileall.compile_dir(source / room, quiet=2, workers=1)
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
            PYTHONPATH=os.pathsep.join([str(self.tree), str(self.folder / "guard")]),
            TMPDIR=str(self.folder / "tmp"),
            MUTATION_FOLDER=str(self.folder),
        )
        guarded(self.folder)
        options = ["-x", "-q", "--tb=line", *QUIET, f"--basetemp={self.folder}/tmp/pytest"]
        return int(pytest.main([*files, *options], plugins=[Chooser(tests)]))

    def control(self, mutant: Mutant) -> list[str]:
        """Run a fault's first tests without the fault; whatever fails, which nothing should."""
        chosen, _ = parts(self.contexts.tests_of(mutant), self.seconds)
        outcome, by, _ = self.run(chosen[0]) if chosen else ("passed", "", 0.0)
        return [] if outcome == "passed" else [by]

    def text_of(self, mutant: Mutant) -> str:
        """The file with the fault in it, made with those of the file's other faults ahead."""
        if mutant.name not in self.texts:
            here = [one for one in self.ahead if one.file == mutant.file and one.name not in self.texts]
            self.texts |= mutated_sources([mutant, *here], self.source)
        return self.texts.pop(mutant.name)

    def attempt(self, mutant: Mutant) -> Verdict:
        """Put a fault in, run its tests part by part, take it out again."""
        chosen, left = parts(self.contexts.tests_of(mutant), self.seconds)
        if not chosen:
            return Verdict(mutant.name, "no test", "", 0, 0, 0.0)
        path = self.tree / mutant.file
        original = path.read_text(encoding="utf-8")
        used, tried = 0.0, 0
        try:
            path.write_text(self.text_of(mutant), encoding="utf-8")
            Path(cache_from_source(str(path))).unlink(missing_ok=True)
            for part in chosen:
                outcome, by, seconds = self.run(part)
                used, tried = used + seconds, tried + len(part)
                if outcome != "passed":
                    verdict = "killed" if outcome == "failed" else "timeout"
                    return Verdict(mutant.name, verdict, by, tried, left, round(used, 2))
            return Verdict(mutant.name, "survived", "", tried, left, round(used, 2))
        finally:
            path.write_text(original, encoding="utf-8")
            Path(cache_from_source(str(path))).unlink(missing_ok=True)
            py_compile.compile(str(path), doraise=True)
