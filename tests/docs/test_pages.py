"""The documentation's pages: their commands exist, every page is reached, generated tables say what the code does.

Their Python is executed when they are built (``make docs``), where a warning is an error.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from types import ModuleType

import click
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from gpo_analysis.cli.main import gpo

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if not {"_build", "_generated"} & set(page.parts))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands() -> list[tuple[str, str]]:
    """Every line of a console block that is typed, with its page."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:console|sh)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            lines = [line.removeprefix("$ ").split("  #")[0].strip() for line in block.splitlines()]
            found += [(page.relative_to(DOCS).as_posix(), line) for line in lines if line]
    return found


def _extension(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS / "_ext")  # as Sphinx does: they import each other
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("page", "line"), [pair for pair in commands() if pair[1].startswith("gpo ")])
def test_gpo_commands_have_their_verbs_and_options(page: str, line: str) -> None:
    words = shlex.split(line)
    verb = gpo.get_command(click.Context(gpo), words[1])
    assert verb is not None, f"{page}: {line}"
    known = {name for parameter in verb.params for name in parameter.opts + parameter.secondary_opts}
    assert {word for word in words if word.startswith("--")} <= known, f"{page}: {line}"


def test_modules_that_pages_run_have_the_options() -> None:
    asked: dict[tuple[str, ...], set[str]] = {}
    for page, line in commands():
        found = re.match(r"python -m ([a-z._]+)(?: ([a-z]+))?", line)
        if not found:
            continue
        module, verb = found.groups()
        assert importlib.util.find_spec(module) is not None, f"{page}: {line}"
        asked.setdefault((module, verb or ""), set()).update(re.findall(r"(?<= )--[a-z-]+", line))
    assert len(asked) >= 5
    for (module, verb), options in asked.items():
        words = [sys.executable, "-m", module, *([verb] if verb else []), "--help"]
        shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert shown.returncode == 0, f"{' '.join(words)}: {shown.stderr}"
        missing = {option for option in options if option not in shown.stdout}
        assert not missing, f"python -m {module} {verb} has no {sorted(missing)}"


def test_other_commands_are_known() -> None:
    for page, line in commands():
        word = line.split()[0]
        assert word in {"gpo", "python", "make", "pip", "dask"}, f"{page}: {line}"
        if word == "make":
            assert line.split()[1] in TARGETS, f"{page}: {line}"


def test_every_page_has_a_heading_and_no_stored_output() -> None:
    assert len(PAGES) > 30
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert re.search(r"^# ", text, re.M), page
        assert "```{code-cell}" not in text or text.startswith("---\njupytext:"), f"{page} would not open in Jupyter"


def test_docstrings_are_escaped_where_they_are_text() -> None:
    lines = ["the ratio |f| of ``a|b`` and z*(η)", ">>> a | b", "", "so::", "", "    |as it is|", "then |z|"]
    _extension("docstrings")._escape(None, "", "", None, None, lines)
    assert lines == [
        "the ratio \\|f\\| of ``a|b`` and z\\*(η)", ">>> a | b", "", "so::", "", "    |as it is|", "then \\|z\\|"
    ]  # fmt: skip


def test_every_package_that_exports_names_is_in_the_reference() -> None:
    exporting = {
        init.parent.name
        for init in (ROOT / "gpo_analysis").glob("*/__init__.py")
        if "__all__" in init.read_text(encoding="utf-8")
    }
    inside = {
        "advice",
        "calculus",
        "cli",
        "integrations",
        "reading",
        "solvers",
    }  # former name, machinery, documented apart
    assert exporting - inside <= set(_extension("generated").PACKAGES)


def test_text_from_the_readme_keeps_links_that_lead_somewhere() -> None:
    generated = _extension("generated")
    text = "[a](docs/predictions/testbed.md) ![b](docs/images/x.png) [c](results/README.md) [d](https://x.org)"
    assert generated._moved(text) == ("[a](../predictions/testbed.md) ![b](../images/x.png) `c` [d](https://x.org)")
    with pytest.raises(ValueError, match="the page takes its text from there"):
        generated._between("a b", "x", "y")


def test_the_page_of_speed_is_made_from_the_records(tmp_path: Path) -> None:
    from benchmarks.__main__ import BENCHMARKS
    from benchmarks.kept import latest, rows_of

    _extension("generated")._speed(tmp_path)
    page = (tmp_path / "speed.md").read_text(encoding="utf-8")
    for benchmark in BENCHMARKS.values():
        record = latest(benchmark.name)
        assert (record is None) == (f"run {benchmark.name} --out results/benchmarks` makes one" in page)
        if record is None:
            continue
        assert record.meta["git"]["dirty"] is False
        assert str(record.meta["git"]["commit"])[:10] in page
        for row in rows_of(record):
            assert f"| {benchmark.name}/{row.task} | {row.size} | {row.side} |" in page


def test_the_page_of_faults_is_made_from_the_records(tmp_path: Path) -> None:
    from fuzz.kept import programs

    _extension("generated")._faults(tmp_path)
    page = (tmp_path / "faults.md").read_text(encoding="utf-8")
    found = [record for records in programs().values() for record in records]
    assert found
    for record in found:
        assert record.meta["git"]["dirty"] is False
        assert record.meta["command"] in page
        for row in record.table.to_dict("records"):
            assert f"| {row['what']} |" in page


def test_every_declared_dependency_has_its_row_and_its_licence() -> None:
    """Against pip's own reading of requirements, and the licence that an installed distribution names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    required = {Requirement(line).name: Requirement(line).specifier for line in wanted}
    rows = {row[0]: row for row in _extension("dependencies").rows(ROOT / "pyproject.toml")}
    assert set(rows) == set(required) - {"gpo-analysis"}
    for name, (_, versions, here, licence, _) in rows.items():
        assert required[name] == SpecifierSet(versions)
        assert here == "not installed" or (here in required[name] and licence)
