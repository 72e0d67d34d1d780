"""The gpo command: what it prints, its exit codes, errors of one line; some of it in a process of its own."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.cli.inside import as_json, gpo

RUN = "from gpo_analysis.cli import main; main()"


@pytest.mark.parametrize(
    "arguments",
    [
        ("beta", "0.1", "--from", "trl:ipo", "--to", "gpo:ipo"), ("beta", "0.1", "--from", "gpo:dpo", "--to", "gpo:ipo",
        "--json"), ("analyze", "logistc"), ("solve", "missing.csv"), ("analyze", "--help"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_process_of_its_own_says_the_same(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=False)
    inside = gpo(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (inside.returncode, inside.stdout, inside.stderr)


def test_losses_and_analyze() -> None:
    listed = as_json("losses")
    assert [row["name"] for row in listed][:3] == ["logistic", "hinge", "squared"]
    assert all(row["reference"] for row in listed)
    savage = as_json("analyze", "savage")
    assert savage["curvature"] == {"exact": "1/8", "float": 0.125}
    assert savage["is_convex"] is False
    assert "κ" in gpo("analyze", "log(cosh(1-z))").stdout
    assert as_json("analyze", "-z")["slope"]["float"] == -1.0
    assert as_json("analyze", "c*exp(-k*z)", "--param", "c=2", "--param", "k=1/2")["slope"]["float"] == -1.0


def test_beta() -> None:
    assert as_json("beta", "0.1", "--from", "gpo:dpo", "--to", "gpo:ipo")["value"] == pytest.approx(0.05)
    assert "0.2" in gpo("beta", "0.1", "--from", "trl:ipo", "--to", "gpo:ipo").stdout
    assert "trl:ipo" in gpo("beta", "--list").stdout


def test_solve_fits_what_scipy_fits(tmp_path: Path) -> None:
    wins = {("a", "b"): 7, ("b", "a"): 3, ("b", "c"): 6, ("c", "b"): 5, ("a", "c"): 8, ("c", "a"): 2}
    path = tmp_path / "comparisons.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("winner", "loser", "count"), *((*pair, n) for pair, n in wins.items())])
    found = as_json("solve", str(path))
    order = {item: i for i, item in enumerate(found["items"])}

    def likelihood(h: np.ndarray) -> float:
        return sum(n * np.logaddexp(0.0, h[order[lose]] - h[order[win]]) for (win, lose), n in wins.items())

    best = minimize(likelihood, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(found["fits"]["logistic"]["scores"], best - best.mean(), atol=1e-5)
    policy = np.exp(best) / np.exp(best).sum()
    np.testing.assert_allclose(found["fits"]["logistic"]["policy"], policy, atol=1e-5)
    assert found["fits"]["logistic"]["converged"] is True
    lines = tmp_path / "comparisons.jsonl"
    lines.write_text("".join(json.dumps({"winner": w, "loser": x, "count": n}) + "\n" for (w, x), n in wins.items()))
    assert as_json("solve", str(lines))["fits"] == found["fits"]


def test_separable_comparisons_are_said_not_numbered(tmp_path: Path) -> None:
    path = tmp_path / "one-sided.csv"
    path.write_text("winner,loser\na,b\nb,c\na,c\n")
    fit = as_json("solve", str(path))["fits"]["logistic"]
    assert fit["converged"] is False
    assert fit["scores"] is None
    assert fit["status"] == "no finite optimum"


@pytest.mark.parametrize(
    "arguments", [("solve", "--example", "journals"), ("gaussians",), ("gaussians", "--family")], ids=" ".join
)
def test_figures_are_drawn(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = gpo(*arguments, "--figure", "drawn.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["drawn.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("analyze", "logistc"), 2, "did you mean 'logistic'"),
        (("analyze", "c*exp(-z)"), 2, "--param c="),
        (("analyze", "c*exp(-z)", "--param", "c"), 2, "accepted is NAME=VALUE"),
        (("analyze", "c*exp(-z)", "--param", "c=x"), 2, "accepted is a number"),
        (("analyze", "dpo", "--param", "c=2"), 2, "has no parameter c"),
        (("analyze", "z.real"), 2, "accepted: the symbol z"),
        (("analyze",), 2, "Missing argument"),
        (("beta", "x"), 2, "'x' is not a valid float; accepted are finite numbers"),
        (("beta", "-1", "--from", "gpo:dpo", "--to", "gpo:ipo"), 2, "positive finite number, got -1.0"),
        (("beta", "0.1", "--form", "gpo:dpo"), 2, "--form"),
        (("beta", "0.1"), 2, "--from and --to"),
        (("solve",), 2, "one of the two"),
        (("solve", "missing.csv"), 1, "missing.csv"),
        (("solve", "--example", "journals", "--figure", "x.bmp"), 2, ".png, .pdf or .svg"),
        (("solve", "--example", "journals", "--beta", "0"), 2, "beta"),
        (("gaussians", "--modes", "a,b"), 2, "numbers with commas"),
        (("gaussians", "--scale", "-1"), 2, "-1"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_errors_are_one_line(arguments: tuple[str, ...], code: int, words: str) -> None:
    done = gpo(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.startswith("gpo: ")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("verb", ["losses", "analyze", "beta", "solve", "gaussians"])
def test_help_has_examples(verb: str) -> None:
    done = gpo(verb, "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout


@pytest.mark.parametrize("formula", ["-h(z)", "-hinge*z", r"-\mathbb{E}[\log\sigma(\beta z)]"])
def test_a_formula_that_begins_with_a_minus_sign_is_no_option(formula: str) -> None:
    """``-h`` within it is not the help that ``-h`` alone asks for."""
    done = gpo("analyze", formula)
    assert done.returncode == 2
    assert "Usage:" not in done.stdout
    assert formula.replace("\\", "\\\\") in done.stderr
    assert gpo("analyze", "-h").stdout.startswith("Usage:")
    assert as_json("analyze", "-c*exp(-z)", "--param", "c=-2")["slope"]["float"] == -2.0
