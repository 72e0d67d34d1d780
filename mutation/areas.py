"""What is measured: the packages, their files, and the tests that may notice a fault in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: In the order in which they are tried, which follows the paper: first what the mathematics rests on.
LIBRARY = (
    "losses", "analysis", "calculus", "solvers", "tabular", "training", "estimation", "preferences", "gaussian",
    "statistics", "ranking", "reading", "alone", "integrations", "showing", "plotting", "datasets", "advice", "cli",
    "explore",
)  # fmt: skip
LANGUAGE = {
    "llm.objective": ("llm/training/objective.py",),
    "llm.logprobs": ("llm/policy/logprobs.py",),
    "llm.evaluation": ("llm/evaluation",),
}
#: Folders and files of tests that are left out of the pool: they test other things (experiments, figures, pages), need
#: a browser, or try faults themselves.
NOT_IN_POOL = (
    "tests/experiments", "tests/figures", "tests/docs", "tests/fuzz", "tests/mutation", "tests/explore/test_browser.py",
    "tests/test_architecture.py", "tests/test_readme.py", "tests/test_benchmarks.py", "tests/test_benchmark_runs.py",
)  # fmt: skip


@dataclass(frozen=True)
class Area:
    """A package of which the score is taken.

    Parameters
    ----------
    name : str
    sources : tuple of str
        Its files, relative to the root.
    """

    name: str
    sources: tuple[str, ...]


def areas(root: Path = ROOT) -> list[Area]:
    """Every package that is measured, in the order in which it is tried."""
    found = []
    for name in LIBRARY:
        # modules of the library that lie in no package of their own are taken together as one
        modules = (
            (root / "gpo_analysis").glob("*.py") if name == "alone" else (root / "gpo_analysis" / name).rglob("*.py")
        )
        found.append(Area(name, tuple(str(path.relative_to(root)) for path in sorted(modules))))
    for name, places in LANGUAGE.items():
        paths = [path for place in places for path in root.glob(place if place.endswith(".py") else f"{place}/*.py")]
        found.append(Area(name, tuple(str(path.relative_to(root)) for path in sorted(paths))))
    return [area for area in found if area.sources]


def pool(root: Path) -> list[str]:
    """The pool: test files of the library, its own examples (doctests), then those of language models."""
    tests = [str(path.relative_to(root)) for path in sorted((root / "tests").rglob("test_*.py"))]
    tests = [test for test in tests if not test.startswith(NOT_IN_POOL)]
    order = {f"tests/{name}/": rank for rank, name in enumerate(LIBRARY)}
    library = [test for test in tests if not test.startswith("tests/llm/")]
    library.sort(key=lambda test: next((rank for start, rank in order.items() if test.startswith(start)), len(order)))
    sources = sorted((root / "gpo_analysis").rglob("*.py"))
    with_examples = [path for path in sources if ">>>" in path.read_text(encoding="utf-8")]
    examples = sorted({"/".join(str(path.relative_to(root)).split("/")[:2]) for path in with_examples})
    return library + examples + [test for test in tests if test.startswith("tests/llm/")]
