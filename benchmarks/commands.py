"""Whole processes: what a person waits for who types ``gpo``. A floor beside each: Python that imports sympy.

Times are those of the processes, start and imports included; the processor's, which do not count who else is at work.
The error of an analysis is 0 where it printed κ and 1 where it did not.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from benchmarks.framework import Benchmark, Side, Size, Task, Work, sizes
from gpo_analysis.loss_names import EXO, OF_MARGINS, OF_TWO_RATIOS

TYPED = ("log(cosh(1-z))", "softplus(1-z)**1.5", "max(0, 1-z)**3", "exp(-z) + z**2/10", "sqrt(1+(1-z)**2) - 1")
NAMES = (*OF_MARGINS, EXO[0], *OF_TWO_RATIOS)


def process(*arguments: str, code: int = 0, shows: str = "") -> Callable[[Size], Work]:
    """A Python process with arguments, which ends with a code and prints a text."""

    def prepare(size: Size) -> Work:
        def do() -> subprocess.CompletedProcess[str]:
            return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)

        def judge(done: subprocess.CompletedProcess[str]) -> dict[str, float]:
            return {"error": float(done.returncode != code or shows not in done.stdout + done.stderr)}

        return Work(do, judge)

    return prepare


def gpo(*arguments: str, code: int = 0, shows: str = "") -> Callable[[Size], Work]:
    """The command."""
    return process("-m", "gpo_analysis.cli", *arguments, code=code, shows=shows)


SYMPY = Side("python that imports sympy", process("-c", "import sympy"), "sympy")
NUMPY = Side("python that imports numpy", process("-c", "import numpy"), "numpy")
ONE = sizes("1")

COMMANDS = Benchmark(
    "commands",
    "processes from start to end",
    (
        Task("help", "gpo --help", ONE, (Side("ours", gpo("--help", shows="analyze")), NUMPY), "0.3 s", "error"),
        Task(
            "unknown-loss",
            "gpo analyze hinje, told the nearest name",
            ONE,
            (Side("ours", gpo("analyze", "hinje", code=2, shows="'hinge'")), NUMPY),
            "0.3 s",
            "error",
        ),
        Task(
            "no-file",
            "gpo solve nothing.csv",
            ONE,
            (Side("ours", gpo("solve", "nothing.csv", code=1, shows="nothing.csv")), NUMPY),
            "0.3 s",
            "error",
        ),
        Task(
            "import",
            "import gpo_analysis",
            ONE,
            (Side("ours", process("-c", "import gpo_analysis as gpo; print(gpo.__version__)")), NUMPY),
            "0.01 s over numpy's",
            "error",
        ),
        *(
            Task(
                name, f"gpo analyze {name}", ONE, (Side("ours", gpo("analyze", name, shows="κ")), SYMPY), "1 s", "error"
            )
            for name in NAMES
        ),
        *(
            Task(
                text.replace(" ", ""),
                f'gpo analyze "{text}"',
                ONE,
                (Side("ours", gpo("analyze", text, shows="κ")), SYMPY),
                "2 s",
                "error",
            )
            for text in TYPED
        ),
    ),
    ("processes",),
    Size((1,)),
)
