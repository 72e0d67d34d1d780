"""A small project with an experiment made for the purpose, and the runner called on it in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
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


def run(project: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    line, settings = command(project, *arguments)
    return subprocess.run(line, capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload,no-any-return]


def table_of(out: Path, name: str = "slow") -> pd.DataFrame:
    (folder,) = find_records(out, name)
    return read_record(folder).table
