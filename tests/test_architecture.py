"""The direction of the imports, and what importing the package may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gpo_analysis"

# who may import whom, within the package; what is not named here is free of this rule
ARROWS = {
    "losses": set(),
    "divergences": {"preferences"},  # for what a distribution must be
    "preferences": set(),
    "statistics": {"losses", "preferences", "tabular"},
    "records": {"provenance"},
    "analysis": {"losses", "divergences", "preferences"},
    "tabular": {"losses", "divergences", "preferences"},
    "gaussian": {"losses", "divergences", "preferences"},
    "advice": {"losses", "analysis", "preferences", "statistics", "tabular"},
}


def imports(path: Path) -> set[str]:
    """Every absolute name of a module that a file imports when it runs, relative imports resolved."""
    found = set()
    package = path.relative_to(ROOT).parent.parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if id(node) in _type_only(tree):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


@lru_cache
def _type_only(tree: ast.Module) -> frozenset[int]:
    """Nodes under ``if TYPE_CHECKING:``, which never run."""
    return frozenset(
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    )


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", sources("gpo_analysis"), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_within_the_library(path: Path) -> None:
    found = imports(path)
    outer = {name.partition(".")[0] for name in found}
    assert not outer & {"llm", "experiments", "figures", "tests"}
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if "torch" in outer:
        assert part == "integrations" or path.name == "torch_backend.py"
    if part in ARROWS:
        inner = {name.split(".")[1] for name in found if name.startswith("gpo_analysis.")} - {"__version__"}
        assert inner - {part} <= ARROWS[part], f"{path} imports {inner - {part}}"


@pytest.mark.parametrize("path", sources("figures"), ids=lambda path: str(path.relative_to(ROOT)))
def test_figures_read_records_and_nothing_else(path: Path) -> None:
    allowed = ("gpo_analysis.records", "gpo_analysis.runs", "gpo_analysis.plotting")
    for name in imports(path):
        assert name.partition(".")[0] not in {"experiments", "llm", "tests"}
        if name.startswith("gpo_analysis.") or name == "gpo_analysis":
            assert name.startswith(allowed), f"{path} imports {name}"


@pytest.mark.parametrize("path", sources("experiments"), ids=lambda path: str(path.relative_to(ROOT)))
def test_experiments_do_not_draw(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imports(path)} & {"figures", "matplotlib", "tests"}


HEAVY = ("torch", "matplotlib", "pandas", "sympy", "scipy")


def loaded_after(code: str) -> set[str]:
    shown = f"{code}\nimport sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import gpo_analysis") == set()
    assert loaded_after("import gpo_analysis as gpo; dir(gpo); gpo.__version__") == set()


def test_nothing_but_torch_use_loads_torch() -> None:
    code = "import gpo_analysis as gpo; gpo.get_loss('dpo')(0.0); gpo.bradley_terry([0.0, 1.0]); gpo.analyze('dpo')"
    assert "torch" not in loaded_after(code)
    assert "matplotlib" not in loaded_after(code)


def test_every_public_name_is_there_and_documented() -> None:
    import gpo_analysis as gpo

    assert len(gpo.__all__) > 20
    for name in gpo.__all__:
        assert getattr(gpo, name).__doc__, name
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        gpo.nothing_of_the_kind  # noqa: B018
