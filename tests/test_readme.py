"""What the README says runs and exists."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from experiments.framework.discovery import find_experiments

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_runs_and_prints(block: str) -> None:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(block, "README.md", "exec"), {})
    assert len(shown.getvalue().splitlines()) >= block.count("print(")


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))))
def test_make_targets_exist(target: str) -> None:
    assert target in TARGETS


def test_the_table_names_what_exists() -> None:
    tables = re.findall(r"^\|.*\n\|[-| ]+\n((?:\|.*\n)+)", README, re.MULTILINE)  # heading, rule, rows
    rows = [line.strip("| ").split(" | ") for table in tables for line in table.splitlines()]
    experiments = {experiment.name for experiment in find_experiments()}
    assert len(rows) >= 9
    for claim, modules, names, tests in rows:
        for path in re.findall(r"`([^`]+)`", modules + tests):
            assert (ROOT / path).exists(), f"{claim}: {path}"
        named = {name for name in re.findall(r"`([a-z0-9-]+)`", names) if not name.startswith("--")}
        assert named <= experiments, f"{claim}: {sorted(named - experiments)}"
        assert named, claim


def test_no_finding_is_told_twice() -> None:
    findings = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    items = [line for line in (README + findings).splitlines() if line.startswith("- **")]
    assert len(items) > 30
    assert not [line for line in items if items.count(line) > 1]


def test_linked_files_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(links) >= 3
    for link in links:
        assert (ROOT / link).exists(), link


def tree() -> list[Path]:
    """Every path that the tree names; indented ones lie in the folder above them."""
    found = re.search(r"## The tree\n+```\n(.*?)```", README, re.DOTALL)
    assert found is not None
    paths, top = [], ROOT
    for line in found.group(1).splitlines():
        names = re.split(r"\s{2,}", line.strip(), maxsplit=1)[0].split()
        inside = line.startswith("  ")
        top = top if inside else ROOT / names[0]
        paths += [top / name if inside else ROOT / name for name in names]
    return paths


def test_the_tree_names_what_exists() -> None:
    assert len(tree()) > 30
    for path in tree():
        assert path.exists(), path


def test_the_tree_leaves_no_room_out() -> None:
    named = set(tree())
    for folder in (ROOT / "gpo_analysis", ROOT / "llm"):
        rooms = {init.parent for init in folder.glob("*/__init__.py")}
        files = {path for path in (ROOT / "gpo_analysis").glob("*.py") if path.name != "__init__.py"}
        assert rooms | files <= named, sorted((rooms | files) - named)
