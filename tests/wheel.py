"""Run the library's tests on what is installed: a wheel alone, without the source tree and without extras.

``python tests/wheel.py [PYTEST OPTION…]`` copies the tests out of the tree, so that ``gpo_analysis`` can only be the
installed one, sets aside the test modules that import something that is not installed, saying so, and runs the others
and the examples of the docstrings. ``make test-wheel`` builds the wheel and does this in an environment of its own.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
#: Of the tree, not of the library.
OUTSIDE = ("experiments", "figures", "llm", "fuzz", "benchmarks", "docs", "notebooks", "mutation")
#: Tests of the tree as a whole, or that read files of it beside the library's.
OF_THE_TREE = (
    *("test_architecture.py", "test_readme.py", "test_benchmarks.py", "test_benchmark_runs.py"),
    *("test_approved.py", "test_written.py"),
)


def imported(path: Path) -> Iterator[str]:
    """The top-level names that a module imports when it is loaded, and those of the helpers in tests/ that it uses."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            top = name.partition(".")[0]
            if top != "tests":
                yield top
                continue
            helper = HERE.parent.joinpath(*name.split(".")).with_suffix(".py")
            if helper.exists():
                yield from imported(helper)


def missing(path: Path) -> list[str]:
    """What a test module needs at once and this environment lacks."""
    return [name for name in sorted(set(imported(path))) if name in OUTSIDE or importlib.util.find_spec(name) is None]


def modules() -> Iterator[Path]:
    """The test modules of the library."""
    for path in sorted(HERE.rglob("test_*.py")):
        parts = path.relative_to(HERE).parts
        if parts[0] not in OUTSIDE and path.name not in OF_THE_TREE:
            yield path


def main(options: list[str]) -> int:
    library = importlib.util.find_spec("gpo_analysis")
    if library is None or library.origin is None:
        print("gpo_analysis is not installed here; make test-wheel installs it", file=sys.stderr)
        return 2
    package = Path(library.origin).parent
    if package.parent == HERE.parent:
        print(f"{package} is the source tree; run this where a wheel is installed", file=sys.stderr)
        return 2
    chosen = []
    for path in modules():
        lacking = missing(path)
        if lacking:
            print(f"set aside: {path.relative_to(HERE.parent)} ({', '.join(lacking)} not installed)")
        else:
            chosen.append(path.relative_to(HERE.parent))
    print(f"{len(chosen)} modules of tests on gpo-analysis {importlib.metadata.version('gpo-analysis')} in {package}")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(HERE, Path(folder, "tests"), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(HERE.parent / "pyproject.toml", folder)  # pytest's settings
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *map(str, chosen)]
        return subprocess.run(command, cwd=folder, env={**os.environ, "MPLBACKEND": "Agg"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
