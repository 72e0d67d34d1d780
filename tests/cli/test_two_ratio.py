"""Verbs of the command and losses of two log-ratios: they take them, or say why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import minimize
from scipy.special import log_softmax

from gpo_analysis.cli.main import gpo as command
from gpo_analysis.estimation import fit_comparisons
from gpo_analysis.preferences import Comparisons

BCO = "-log(sigmoid(a)) - log(sigmoid(-b))"
GAMES = [("a", "b", 7), ("b", "a", 3), ("b", "c", 6), ("c", "b", 4), ("a", "c", 9), ("c", "a", 2)]


@pytest.fixture
def table(tmp_path: Path) -> str:
    rows = [",".join(map(str, game)) for game in GAMES]
    path = tmp_path / "games.csv"
    path.write_text("\n".join(["winner,loser,count", *rows]) + "\n", encoding="utf-8")
    return str(path)


def _said(*arguments: str) -> str:
    done = CliRunner().invoke(command, list(arguments))
    return done.output + str(done.exception or "")


def test_solve_fits_them_beside_margin_losses(table: str) -> None:
    asked = ["solve", table, "--loss", "nca_pair", "--loss", "dpo", "--loss", BCO, "--beta", "0.3", "--noise", "0"]
    found = json.loads(_said(*asked, "--json"))
    assert list(found["fits"]) == ["nca_pair", "logistic", BCO]
    wins = np.array([[0, 7, 9], [3, 0, 6], [2, 4, 0]])

    def nca(theta: np.ndarray) -> float:
        u = 0.3 * (log_softmax(theta) + np.log(3))
        chosen, rejected = np.logaddexp(0, -u) + 0.5 * np.logaddexp(0, u), 0.5 * np.logaddexp(0, u)
        return float(np.sum(wins * (chosen[:, None] + rejected[None, :])) / wins.sum())

    best = minimize(nca, np.zeros(3), method="BFGS", options={"gtol": 1e-10})
    np.testing.assert_allclose(found["fits"]["nca_pair"]["policy"], np.exp(log_softmax(best.x)), atol=1e-6)
    assert found["fits"]["nca_pair"]["population_loss"] == pytest.approx(best.fun, abs=1e-10)
    typed, named = (fit_comparisons(Comparisons.from_pairs(GAMES), f, 0.3).solutions for f in (BCO, "bco_pair"))
    np.testing.assert_allclose(typed[BCO].policy, named["bco_pair"].policy, rtol=1e-12)
    np.testing.assert_allclose(found["fits"][BCO]["policy"], named["bco_pair"].policy, rtol=1e-12)
    shown = _said(*asked)
    assert "of nca_pair, " in shown
    assert "whose fit depends on β: β log π/πref at β = 0.3" in shown
    assert "ranking by logistic" in shown
    assert "ranking by nca_pair" not in shown


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--bootstrap", "9"], "--bootstrap"),
        (["--held-out", "2"], "--held-out"),
        (["--figure", "x.png"], "--figure"),
        (["--scale", "elo"], "a ranking's options"),
        (["--home"], "a ranking's options"),
    ],
)
def test_solve_says_what_does_not_go_together(table: str, options: list[str], what: str) -> None:
    assert f"{what} and nca_pair do not go together" in _said("solve", table, "--loss", "nca_pair", *options)
    assert "do not go together" not in _said("solve", table, "--loss", "nca_pair", "--noise", "0")


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze", "nca_pair"],
        ["analyze", BCO],
        ["beta", "0.1", "--from", "trl:nca_pair", "--to", "gpo:dpo"],
        ["beta", "0.1", "--from", "dpo", "--to", BCO],
    ],
)
def test_these_take_them(arguments: list[str]) -> None:
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.exception


@pytest.mark.parametrize("loss", ["nca_pair", BCO])
@pytest.mark.parametrize(
    "verb", ["recommend-beta", "diagnose", "diagnose --try-loss", "explore", "recommend-beta --log"]
)
def test_these_say_why_not(table: str, tmp_path: Path, verb: str, loss: str) -> None:
    log = tmp_path / "log.csv"
    names = "policy_chosen,policy_rejected,reference_chosen,reference_rejected"
    log.write_text(f"{names}\n-9,-8,-9.5,-7\n-7,-6,-7,-6.5\n", encoding="utf-8")
    arguments = {
        "recommend-beta": ["recommend-beta", table, "--kl", "0.5", "--loss", loss],
        "recommend-beta --log": ["recommend-beta", "--log", str(log), "--beta", "0.1", "--margin", "1", "--loss", loss],
        "diagnose": ["diagnose", str(log), "--beta", "0.1", "--loss", loss],
        "diagnose --try-loss": ["diagnose", str(log), "--beta", "0.1", "--try-loss", loss],
        "explore": ["explore", "--no-browser", "--loss", loss],
    }[verb]
    assert "of two log-ratios, no function of their difference: this takes margin losses" in _said(*arguments)
