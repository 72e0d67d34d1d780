"""The templates of docs/templates, copied into a project of their own and run; the lines that a stranger writes."""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "docs" / "templates"
PAGE = ROOT / "docs" / "howto" / "add_by_one_file.md"


def ran(folder: Path, *words: str) -> str:
    """What a command prints in a folder whose own packages come first."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "COLUMNS": "200"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for package in ("experiments", "figures"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for template, place in {
        "my_study.py": "experiments", "my_study_figure.py": "figures/my_study.py", "my_claim.py": "experiments/claims",
        "my_loss.py": ".", "my_preferences.py": ".",
    }.items():  # fmt: skip
        shutil.copy(TEMPLATES / template, folder / place)
    return folder


def test_an_experiment_and_its_figure_are_a_file_each(project: Path) -> None:
    described = ran(project, "-m", "experiments", "describe", "my-study")
    assert "β of every loss" in described
    words = ("--set", "seeds=3", "--set", 'losses=[squared, "c*exp(-z) with c=2"]', "--out", "records", "--quiet")
    assert "12 rows" in ran(project, "-m", "experiments", "run", "my-study", *words)
    ran(project, "-m", "figures", "draw", "my-study", "--records", "records", "--out", "pictures")
    assert (project / "pictures" / "my-study.png").stat().st_size > 5000
    caption = (project / "pictures" / "my-study.txt").read_text()
    assert "c*exp(-z) with c=2" in caption
    assert "½E_μ[ρ²]/KL is" in caption


def test_a_claim_is_a_file(project: Path) -> None:
    code = "from experiments.framework.claims import run_claims, table; print(table(run_claims()))"
    assert "the logistic loss fits the logit (template)" in ran(project, "-c", code)


def test_a_loss_and_preferences_are_a_file(project: Path) -> None:
    assert "c*log(1+exp(-z/c)) with c=1/2" in ran(project, "my_loss.py")
    printed = ran(project, "my_preferences.py")
    assert len(re.findall(r"\[0\.\d+", printed)) == 3


def test_a_loss_of_the_catalogue_is_an_entry(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "gpo_analysis", tmp_path / "gpo_analysis", ignore=shutil.ignore_patterns("__pycache__"))
    place = tmp_path / "gpo_analysis" / "loss_names.py"
    head = "WRITTEN: dict[str, Written] = {\n"
    entry = '    "cubic_hinge": Written("max(0, 1-z)**3", "ours", convex=True, aliases=("ch",)),\n'
    text = place.read_text()
    assert text.count(head) == 1
    place.write_text(text.replace(head, head + entry))
    code = "import gpo_analysis as g; f = g.get_loss('ch'); print(f, f.curvature_ratio, f.name in g.list_losses())"
    assert ran(tmp_path, "-c", code).split(" = ")[1] == "Max(0, 1 - z)**3 2 True\n"


def code_lines(code: str) -> int:
    """Lines with code: no blank lines, comments, docstrings."""
    documented = {
        line
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    void = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    held = {line for token in tokens if token.type not in void for line in range(token.start[0], token.end[0] + 1)}
    return len(held - documented)


def cells(page: str) -> list[int]:
    """Lines of each cell of a tutorial that is shown."""
    text = (ROOT / "docs" / "tutorials" / page).read_text()
    found = re.findall(r"```\{code-cell\}[^\n]*\n(.*?)```", text, flags=re.DOTALL)
    return [code_lines(cell) for cell in found if not cell.startswith(":tags: [hide")]


def test_the_lines_that_a_stranger_writes() -> None:
    count = {path.name: code_lines(path.read_text()) for path in TEMPLATES.glob("*.py")}
    counted = {
        "my_loss.py": count["my_loss.py"],
        "my_preferences.py": count["my_preferences.py"],
        "kl_and_mu_square.md": sum(cells("kl_and_mu_square.md")),
        "my_study.py": count["my_study.py"],
        "my_study_figure.py": count["my_study_figure.py"],
        "trl_run.md": sum(cells("trl_run.md")[1:3]),  # train, diagnose; the first cell makes a model up
    }
    said = {}
    for line in PAGE.read_text().splitlines():
        row = re.fullmatch(r"\| (.+) \| (\d+) \|", line)
        for name in counted:
            if row and (f"{name})" in row[1] or f"`{name}`" in row[1]):
                said[name] = int(row[2])
    assert said == counted
