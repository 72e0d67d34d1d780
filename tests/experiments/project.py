"""A small project with an experiment made for the purpose, and the runner called on it in a process of its own.

Commands that are waited for are forked from a server that has loaded what is none of ours (`run`); those that are
killed, interrupted or watched are started by Python, as anyone would (`command`).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from functools import cache
from pathlib import Path

import pandas as pd

from gpo_analysis.records import find_records, read_record

ROOT = Path(__file__).resolve().parents[2]

GOOD = '''
"""A seeded random table, a cell at a time."""
from dataclasses import dataclass
import time
import numpy as np
import pandas as pd
from experiments.framework import Check, NotRun

CLAIM = "Cells can be done in any order."
FIGURE = "slow"

@dataclass(frozen=True)
class Config:
    cells: int = 8
    seconds: float = 0.0
    seed: int = 5

PRESETS = {"quick": Config(), "paper": Config(cells=10)}

def cells(config):
    return [{"index": i} for i in range(config.cells)]

def run(config, *, index):
    time.sleep(config.seconds)
    rng = np.random.default_rng([config.seed, index])
    note = None if index == 0 else f"cell {index}"
    return pd.DataFrame({"index": index, "x": rng.normal(size=3), "note": note})

def check(config, table):
    return [Check.equal("three rows a cell", 3 * config.cells, len(table), 0)]
'''

HELD = GOOD.replace(
    "    rng = ",
    """
    import os
    while index == config.cells - 1 and not os.path.exists('go'):
        time.sleep(0.01)
    rng = """,
)
"""It cannot end before there is a file ``go``: what stops it in the middle may take as long as it likes."""
LATE = GOOD.replace("return [Check", "raise KeyError('late')\n    return [Check")  # leaves its cells


def make(folder: Path) -> Path:
    """A copy of the framework with one experiment, ``slow``."""
    shutil.copytree(ROOT / "experiments" / "framework", folder / "experiments" / "framework")
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(ROOT / "experiments" / name, folder / "experiments" / name)
    add(folder, "slow", GOOD)
    return folder


def add(project: Path, name: str, source: str) -> None:
    (project / "experiments" / f"{name}.py").write_text(textwrap.dedent(source))


def append(project: Path, name: str, text: str) -> None:
    with (project / "experiments" / name).open("a") as stream:
        stream.write(text)


def command(project: Path, *arguments: object) -> tuple[list[str], dict[str, object]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return [sys.executable, "-m", "experiments", *map(str, arguments)], {"cwd": project, "env": environment}


SERVER = """
import json, os, runpy, sys
import joblib, numpy, pandas, pyarrow.parquet, sympy, tqdm
for line in sys.stdin:
    folder, out, errors, arguments, environment = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = folder
        for target, path in enumerate((os.devnull, out, errors)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), target)
        sys.argv[1:] = arguments
        runpy.run_module("experiments", run_name="__main__", alter_sys=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Forks ``python -m experiments`` for every line that it reads, and answers with the exit code."""


@cache
def server() -> subprocess.Popen[str]:
    line, settings = command(ROOT)
    line[1:] = ["-c", SERVER]
    running = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **settings)  # type: ignore[call-overload]
    atexit.register(ended, running)
    return running  # type: ignore[no-any-return]


def ended(running: subprocess.Popen[str]) -> None:
    with contextlib.suppress(BrokenPipeError):
        running.communicate()


def run(project: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    line, settings = command(project, *arguments)
    if not hasattr(os, "fork"):
        return subprocess.run(line, capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload,no-any-return]
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, name) for name in ("out", "errors")]
        words = list(map(str, arguments))
        asked = [str(project), *map(str, said), words, settings["env"]]
        running = server()
        assert running.stdin is not None
        assert running.stdout is not None
        print(json.dumps(asked), file=running.stdin, flush=True)
        code = int(running.stdout.readline())
        return subprocess.CompletedProcess(line, code, *(path.read_text(encoding="utf-8") for path in said))


def table_of(out: Path, name: str = "slow") -> pd.DataFrame:
    (folder,) = find_records(out, name)
    return read_record(folder).table
