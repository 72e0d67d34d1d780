"""Which test executes which line, and what it costs: each test file once, in a process of its own, under coverage.

What a fixture of wider scope than one test executes counts for every test that asks for the fixture; what a test's
subprocesses execute counts for the test, as long as they are Python and keep the environment. The file of results is
written when a test file is through, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import math
import os
import resource
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import coverage.exceptions
import pytest

from mutation.server import QUIET, import_path

#: Subprocesses of a test are measured, too: this is found by the interpreter when it starts.
STARTUP = "import coverage\ncoverage.process_startup()\n"
SETTINGS = """[run]
source =
    {root}/gpo_analysis
    {root}/llm
data_file = {folder}/sub
parallel = true
context = ${{PYTEST_CURRENT_TEST-}}
"""


def seconds_used() -> float:
    """Processor time of this process and of those that it waited for."""
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


class Recorder:
    """A plugin of pytest: contexts of coverage, processor time and outcome of every test."""

    def __init__(self, measured: coverage.Coverage, most: float = math.inf) -> None:
        self.measured = measured
        self.most = most
        self.seconds: dict[str, float] = {}
        self.outcome: dict[str, str] = {}
        self.fixtures: dict[str, list[str]] = {}
        self.now = ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Where time is limited: one case of every test function before any second one."""
        if math.isfinite(self.most):
            cases: Counter[str] = Counter()
            turn = {}
            for item in items:
                turn[item.nodeid] = cases[_function(item.nodeid)]
                cases[_function(item.nodeid)] += 1
            items.sort(key=lambda item: turn[item.nodeid])

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if sum(self.seconds.values()) > self.most:
            item.session.shouldstop = "the rest of this file is too dear"
        self.now = item.nodeid
        self.fixtures[item.nodeid] = list(getattr(item, "fixturenames", ()))
        self.measured.switch_context(self.now)
        start = seconds_used()
        if math.isfinite(self.most):  # a skip, because hypothesis looks for a smaller example of whatever else it meets
            signal.signal(signal.SIGVTALRM, _too_dear)
            signal.setitimer(signal.ITIMER_VIRTUAL, 2 * self.most)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            self.seconds[item.nodeid] = seconds_used() - start
            self.measured.switch_context("between")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[None]:
        if fixturedef.scope == "function":
            return (yield)
        before, self.now = self.now, f"fixture {fixturedef.argname}"
        self.measured.switch_context(self.now)
        try:
            return (yield)
        finally:
            self.now = before
            self.measured.switch_context(before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcome.setdefault(report.nodeid, report.outcome)
            if report.outcome == "failed":
                self.outcome[report.nodeid] = "failed"


def _too_dear(*_: object) -> None:
    pytest.skip("too dear")


def lines_of(data: coverage.CoverageData, root: Path) -> dict[str, dict[str, list[int]]]:
    """Executed lines, by context and file."""
    found: dict[str, dict[str, list[int]]] = {}
    for file in data.measured_files():
        name = os.path.relpath(file, root)
        for line, contexts in data.contexts_by_lineno(file).items():
            for context in contexts:
                found.setdefault(context, {}).setdefault(name, []).append(line)
    return found


def trace_file(test: str, root: Path, most: float = math.inf, old: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run one test file in this process; what its tests executed, cost and came to.

    After `most` seconds no further test of the file is begun, and one that takes twice as long is skipped; those are
    then no part of the pool. Where a record of an
    older state of the file is given, test functions whose own text is what it was are not run again.
    """
    functions = functions_of(root / test)
    before = (old or {}).get("functions", {})
    changed = [name for name, text in functions.items() if before.get(name) != text]
    wanted = [f"{test}::{name}" for name in changed] if old and before else [test]
    folder = Path(tempfile.mkdtemp(prefix="trace-"))
    (folder / "sitecustomize.py").write_text(STARTUP)
    (folder / "settings").write_text(SETTINGS.format(root=root, folder=folder))
    os.environ["COVERAGE_PROCESS_START"] = str(folder / "settings")
    os.environ["PYTHONPATH"] = import_path(root, folder)
    measured = coverage.Coverage(
        data_file=str(folder / "main"), config_file=False, source=[str(root / "gpo_analysis"), str(root / "llm")]
    )
    recorder = Recorder(measured, most)
    measured.start()
    measured.switch_context("between")
    try:
        code = pytest.main([*(wanted or ["--co", test]), "-q", *QUIET, f"--basetemp={folder}/tmp"], plugins=[recorder])
    finally:
        measured.stop()
        measured.save()
    lines = lines_of(measured.get_data(), root)
    for path in folder.glob("sub*"):
        data = coverage.CoverageData(str(path))
        try:
            data.read()
        except coverage.exceptions.DataError:  # a process that was killed while it wrote
            continue
        for context, files in lines_of(data, root).items():
            test_id = context.rpartition(" (")[0]
            for name, numbers in files.items():
                have = lines.setdefault(test_id, {}).setdefault(name, [])
                have.extend(sorted(set(numbers) - set(have)))
    shutil.rmtree(folder, ignore_errors=True)
    found = {
        "hash": digest(root / test),
        "functions": functions,
        "code": int(code),
        "whole": sum(recorder.seconds.values()) <= most,
        "seconds": recorder.seconds,
        "outcome": recorder.outcome,
        "fixtures": recorder.fixtures,
        "lines": lines,
    }
    return found if wanted == [test] else _joined(old or {}, found, set(functions) - set(changed))


def _joined(old: dict[str, Any], new: dict[str, Any], same: set[str]) -> dict[str, Any]:
    """A record of which what belongs to unchanged tests is that of an older one."""
    joined = dict(new)
    for part in ("seconds", "outcome", "fixtures", "lines"):
        kept = {key: value for key, value in old[part].items() if key.startswith("fixture ") or _function(key) in same}
        joined[part] = {**kept, **new[part]}
    return {**joined, "whole": old["whole"] and new["whole"]}


def carried(record: dict[str, Any], before: Path, now: Path) -> dict[str, Any]:
    """A record made in an older tree, its lines those of the present one.

    What stands between lines that have not changed is executed by the tests that executed what stood there, or the line
    above. It only says which tests are tried: whether one passes without a fault is asked where it fails with one.
    """
    places: dict[str, dict[int, list[int]]] = {}
    lines: dict[str, dict[str, list[int]]] = {}
    for context, files in record["lines"].items():
        for file, numbers in files.items():
            if file not in places:
                places[file] = _moved(before / file, now / file)
            found = {new for old in numbers for new in places[file].get(old, ())}
            if found:
                lines.setdefault(context, {})[file] = sorted(found)
    return {**record, "lines": lines}


def _moved(before: Path, now: Path) -> dict[int, list[int]]:
    """Where each line of a file stands now, counted from 1; nowhere, where the file is gone."""
    if not now.is_file():
        return {}
    old, new = (path.read_text(encoding="utf-8").splitlines() for path in (before, now))
    found: dict[int, list[int]] = {}
    for kind, first, last, start, stop in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found |= {first + k + 1: [start + k + 1] for k in range(last - first)}
        elif kind == "insert" and first:
            found[first] = [*found.get(first, []), *range(start + 1, stop + 1)]
        else:
            found |= {number: list(range(start + 1, stop + 1)) for number in range(first + 1, last + 1)}
    return found


def _function(test: str) -> str:
    return test.partition("::")[2].partition("[")[0]


def functions_of(path: Path) -> dict[str, str]:
    """Digests of the test functions of a file (none of a folder)."""
    if path.is_dir():
        return {}
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            found[node.name] = hashlib.sha256(ast.dump(node).encode()).hexdigest()[:16]
    return found


def digest(path: Path) -> str:
    """A short name of the content of a file and of the helpers beside it, or of the Python files of a folder."""
    helpers = [file for file in sorted(path.parent.glob("*.py")) if not file.name.startswith("test_")]
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path, *(helpers if "tests" in path.parts else [])]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def kept(test: str, folder: Path) -> Path:
    """Where the record of a test file lies."""
    return folder / "contexts" / (test.replace("/", "~") + ".json")


def record_of(test: str, folder: Path) -> dict[str, Any] | None:
    """The record of a test file, of whatever content."""
    try:
        found: dict[str, Any] = json.loads(kept(test, folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def known(test: str, root: Path, folder: Path) -> dict[str, Any] | None:
    """The record of a test file, if it is of its present content."""
    record = record_of(test, folder)
    return record if record is not None and record["hash"] == digest(root / test) else None
