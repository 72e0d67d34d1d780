"""gpo solve as a ranking: the table, its files, scales, options; standard input and other layouts at a terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gpo_analysis.preferences import Comparisons
from gpo_analysis.ranking import ComparisonProblem, rank
from tests.cli.inside import Gpo

PLAIN = ("--noise", "0", "--loss", "dpo")


@pytest.fixture
def gpo(capsys: pytest.CaptureFixture[str]) -> Gpo:
    return Gpo(capsys)


def battles(n: int = 240, items: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    score = np.linspace(1, -1, items)
    a = rng.integers(0, items, n)
    b = (a + rng.integers(1, items, n)) % items
    won = rng.random(n) < 1 / (1 + np.exp(score[b] - score[a] - 0.3))
    winner = np.where(rng.random(n) < 0.2, "tie", np.where(won, "model_a", "model_b"))
    names = np.array([f"m{k}" for k in range(items)])
    return pd.DataFrame(
        {"model_a": names[a], "model_b": names[b], "winner": winner, "judge": rng.integers(0, 30, n),
         "tokens_a": rng.integers(5, 50, n), "tokens_b": rng.integers(5, 50, n)}
    )  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "battles.csv"
    battles().to_csv(path, index=False)
    return path


def test_the_table_is_sorted_with_intervals_and_counts(gpo: Gpo, file: Path) -> None:
    (ranking,) = gpo.document("solve", file, *PLAIN)["rankings"]
    table = pd.DataFrame(ranking["table"])
    expected = rank(ComparisonProblem.from_comparisons(Comparisons.read(file))).to_frame()
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert (np.diff(table["score"]) <= 0).all()
    assert table["item"].tolist() == expected["item"].tolist()
    np.testing.assert_allclose(table[["score", "low", "high"]], expected[["score", "low", "high"]], rtol=1e-9)
    assert table[["wins", "losses"]].sum().tolist() == [(battles()["winner"] != "tie").sum()] * 2
    code, out, _ = gpo("solve", file, *PLAIN)
    assert code == 0
    assert "rank sets hold together" in out


def test_json_has_the_spread_of_every_fit(gpo: Gpo, tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("winner,loser,count\na,b,60\nb,a,20\n")
    found = gpo.document("solve", path, "--noise", "0")["fits"]
    assert len(found) == 6
    logistic = found["logistic"]
    error = np.sqrt(1 / 60 + 1 / 20) / 2  # of half the log-odds
    np.testing.assert_allclose(logistic["standard_errors"], [error, error], rtol=1e-9)
    half = 1.959963984540054 * error
    for (low, high), score in zip(logistic["intervals"], (np.log(3) / 2, -np.log(3) / 2), strict=True):
        np.testing.assert_allclose([low, high], [score - half, score + half], rtol=1e-9)
    assert (logistic["ranks"], logistic["rank_sets"]) == ([1, 2], [[1, 1], [2, 2]])
    assert found["hinge"]["intervals"] is None
    assert "kinks" in found["hinge"]["no_intervals"]
    path.write_text("winner,loser,count\na,b,60\nb,a,20\nc,d,5\nd,c,30\n")
    apart = gpo.document("solve", path, "--noise", "0", "--loss", "dpo")["fits"]["logistic"]
    assert apart["ranks"] is None
    assert "connect" in apart["no_intervals"]


def test_options_reach_the_model(gpo: Gpo, file: Path) -> None:
    asked = ("--ties", "davidson", "--home", "--cluster", "judge", "--covariates", "tokens", "--ridge", "0.5")
    (ranking,) = gpo.document("solve", file, *PLAIN, *asked)["rankings"]
    games = Comparisons.read(file, covariates=["tokens"], cluster="judge")
    problem = ComparisonProblem.from_comparisons(games, position=True)
    expected = rank(problem, "logistic", ties="davidson", ridge=0.5)
    frame = expected.coefficients_frame()
    assert [row["name"] for row in ranking["coefficients"]] == ["tokens", "position", "tie parameter"]
    for name in ("value", "standard_error"):
        np.testing.assert_allclose([row[name] for row in ranking["coefficients"]], frame[name], rtol=1e-9)
    assert (ranking["ties"], ranking["cluster"], ranking["ridge"]) == ("davidson", "judge", 0.5)


def test_elo_is_a_linear_scale_of_logistic_scores(gpo: Gpo, file: Path) -> None:
    nats = pd.DataFrame(gpo.document("solve", file, *PLAIN)["rankings"][0]["table"])
    elo = pd.DataFrame(gpo.document("solve", file, *PLAIN, "--scale", "elo")["rankings"][0]["table"])
    assert elo["score"].mean() == pytest.approx(1500)
    # 400 points are odds of ten to one
    np.testing.assert_allclose((elo["score"] - 1500) / 400, nats["score"] / np.log(10), rtol=1e-12)
    np.testing.assert_allclose((elo["high"] - elo["low"]) / 400, (nats["high"] - nats["low"]) / np.log(10), rtol=1e-12)
    code, _, err = gpo("solve", file, "--noise", "0", "--loss", "ipo", "--scale", "elo")
    assert (code, "is of logistic scores" in err) == (2, True)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".md"])
def test_tables_and_matrices_are_written(gpo: Gpo, file: Path, tmp_path: Path, ending: str) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")  # of an extra: a wheel alone has none
    out, chances = tmp_path / f"table{ending}", tmp_path / f"matrix{ending}"
    code, _, err = gpo("solve", file, *PLAIN, "--out", out, "--matrix", chances)
    assert (code, f"wrote {out}" in err) == (0, True)
    if ending == ".md":
        lines = out.read_text().splitlines()
        assert lines[0].startswith("| rank | item | score |")
        assert (len(lines), {line.count("|") for line in lines}) == (8, {14})
        return
    read = pd.read_csv if ending == ".csv" else pd.read_parquet
    table, matrix = read(out), read(chances).set_index("item")
    assert table["item"].tolist() == matrix.columns.tolist() == matrix.index.tolist()
    p = matrix.to_numpy()
    np.testing.assert_allclose(p + p.T, 1.0, rtol=1e-12)
    score = table["score"].to_numpy()
    np.testing.assert_allclose(p, 1 / (1 + np.exp(score[None, :] - score[:, None])), rtol=1e-9)


def test_a_matrix_counts_a_tie_as_half_in_a_model_of_ties(gpo: Gpo, file: Path, tmp_path: Path) -> None:
    code, out, _ = gpo("solve", file, "--loss", "dpo", "--ties", "davidson", "--matrix", tmp_path / "m.csv")
    assert (code, "plus half that of a tie" in out) == (0, True)
    assert "best: share of draws of the scores round the fit" in out
    matrix = pd.read_csv(tmp_path / "m.csv").set_index("item")
    found = rank(Comparisons.read(file), "dpo", ties="davidson")
    names = list(matrix.index)
    won, _, tied = found.predict_proba([names[0]] * 5, names[1:], outcomes=True).T
    assert tied.min() > 0.01
    np.testing.assert_allclose(matrix.to_numpy()[0, 1:], won + tied / 2, rtol=1e-6)


def test_prompts_and_losses_are_columns_of_one_table(gpo: Gpo, tmp_path: Path) -> None:
    path, out = tmp_path / "p.csv", tmp_path / "t.csv"
    path.write_text("prompt,winner,loser,count\np,a,b,3\np,b,a,1\nq,a,c,2\nq,c,a,1\n")
    code, _, _ = gpo("solve", path, "--loss", "dpo", "--loss", "ipo", "--out", out)
    table = pd.read_csv(out)
    assert code == 0
    assert table.groupby(["prompt", "loss"]).size().to_dict() == {
        (p, f): 2 for p in "pq" for f in ("logistic", "squared")
    }
    one = table[(table.prompt == "p") & (table.loss == "logistic")]
    assert one["score"].tolist() == pytest.approx([np.log(3) / 2, -np.log(3) / 2])
    assert gpo("solve", path, "--matrix", tmp_path / "m.csv")[0] == 2


@pytest.mark.parametrize("items", [3, 60])
def test_a_figure_with_intervals(gpo: Gpo, tmp_path: Path, items: int) -> None:
    path, figure = tmp_path / "b.csv", tmp_path / "f.svg"
    battles(40 * items, items).to_csv(path, index=False)
    code, _, err = gpo("solve", path, *PLAIN, "--figure", figure)
    assert (code, f"drew {figure}" in err) == (0, True)
    assert figure.stat().st_size > 5000


def test_standard_input(gpo: Gpo, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe:
        buffer = io.BytesIO(b"preferred\tother\na\tb\na\tb\nb\ta\n")

    monkeypatch.setattr(sys, "stdin", Pipe())
    named = ("--columns", "winner=preferred", "--columns", "loser=other", "--separator", "tab")
    found = gpo.document("solve", "-", *PLAIN, *named)
    assert found["fits"]["logistic"]["scores"] == pytest.approx([np.log(2) / 2, -np.log(2) / 2])
    assert found["report"]["file"] == "standard input"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "t.xlsx"), "accepted are files ending in .csv, .json, .parquet or .md"),
        (("--home", "--columns", "winner"), "accepted is NAME=OWN"),
        (("--separator", "ab"), "accepted is one character"),
        (("--cluster", "nobody"), "no column 'nobody' to cluster by"),
        (("--covariates", "size"), "no covariate 'size'"),
        (("--columns", "winner=outcome"), "no column 'outcome'"),
    ],
)
def test_bad_options_are_one_line(gpo: Gpo, file: Path, arguments: tuple[str, ...], words: str) -> None:
    code, _, err = gpo("solve", file, *PLAIN, *arguments)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert words in err


def test_a_log_in_place_of_labels(gpo: Gpo, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    keys = "policy_chosen,policy_rejected,reference_chosen,reference_rejected,chosen_length,rejected_length,step\n"
    log.write_text(keys + "".join(f"{-42 - k / 9},{-48 - k / 3},-40,-40,10,10,20\n" for k in range(9)))
    run = ("--log", log, "--beta", "0.1", "--loss", "dpo", "--resamples", "10")
    found = gpo.document("recommend-beta", *run, "--drop", "2")
    assert found["run"]["value"] == pytest.approx(-2 - 4 / 9)
    assert found["beta"]["value"] > 0.1
    for arguments, words in (
        (("--log", log, "--drop", "2"), "--beta is missing: recommend-beta --log needs"),
        ((log, *run, "--drop", "2"), "one of the two"),
        ((log, "--drop", "2"), "are of a run's --log"),
        ((*run,), "give one of margin, drop, kl, kl_per_token"),
    ):
        code, _, err = gpo("recommend-beta", *arguments)
        assert (code, words in err) == (2, True), err


def test_home_takes_positions(gpo: Gpo, tmp_path: Path) -> None:
    path = tmp_path / "sorted.csv"
    path.write_text("model_a,model_b,winner\nx,y,a\nx,y,b\ny,z,a\ny,z,b\n")
    code, _, err = gpo("solve", path, *PLAIN, "--home")
    assert (code, "of each pair the earlier in the alphabet" in err) == (2, True)
