"""What a command loads: help and mistakes do without computer algebra, an analysis of f(z) without scipy."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from gpo_analysis.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(code, *[m for m in ("sympy", "scipy", "pandas", "torch") if m in sys.modules])
"""


def after(*arguments: str) -> tuple[int, set[str]]:
    """Exit code, and which large packages were loaded."""
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True)
    code, *loaded = done.stdout.splitlines()[-1].split()
    return int(code), set(loaded)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["solve", "--help"], 0),
        (["analyze", "hinje"], 2),
        (["solve", "--loss", "hinje", "nothing.csv"], 2),
        (["solve", "nothing.csv"], 1),
        (["solve"], 2),
        (["recommend-beta", "nothing.csv", "--kl", "1"], 1),
        (["diagnose", "nothing.csv", "--beta", "1"], 1),
        (["audit-log", "nothing.csv"], 1),
        (["beta"], 2),
        (["beta", "0.1", "--from", "foo", "--to", "gpo:ipo"], 2),
        (["beta", "0.1", "--from", "gpo:ipo", "--to", "trl"], 2),
        (["gaussians", "--modes", "x"], 2),
    ],
)
def test_help_and_mistakes_load_nothing_large(arguments: list[str], code: int) -> None:
    assert after(*arguments) == (code, set())


@pytest.mark.parametrize("loss", ["logistic", "squared", "hinge", "(1-z)**4"])
def test_an_analysis_of_a_margin_loss_loads_no_scipy(loss: str) -> None:
    assert after("analyze", loss) == (0, {"sympy"})
