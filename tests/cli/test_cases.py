"""Files as people bring them, by verb: the value or the refusal that each has to give, worked out apart.

Each case is written anew here. Where the environment variable ``GPO_CASES`` names a folder with files of these names,
they are run as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from tests.cli.inside import Gpo


@pytest.fixture
def gpo(capsys: pytest.CaptureFixture[str]) -> Gpo:
    return Gpo(capsys)


def likeliest(pairs: list[tuple[str, str, float]]) -> dict[str, float]:
    """Bradley–Terry by scipy from (winner, loser, count), centred."""
    names = sorted({name for pair in pairs for name in pair[:2]})

    def loss(h: np.ndarray) -> float:
        return sum(c * np.logaddexp(0, h[names.index(x)] - h[names.index(w)]) for w, x, c in pairs)

    h = minimize(loss, np.zeros(len(names)), tol=1e-13).x
    return dict(zip(names, h - h.mean(), strict=True))


@dataclass(frozen=True)
class Case:
    """A file, and what `gpo solve` has to make of it: scores, or words of the one line that refuses it."""

    name: str
    text: str
    pairs: list[tuple[str, str, float]] | None = None
    scores: dict[str, float] | None = None
    told: tuple[str, ...] = ()
    refused: str = ""


XYZ = [("x", "y", 5), ("y", "x", 1), ("y", "z", 4), ("z", "y", 2), ("x", "z", 7), ("z", "x", 1)]
NAMES = [
    ("José", "Kim", 3),
    ("Kim", "José", 1),
    ("José", "Lee", 2),
    ("Lee", "José", 1),
    ("Kim", "Lee", 1),
    ("Lee", "Kim", 1),
]
NFC = "winner,loser,count\nJosé,Kim,3\nKim,Jose\u0301,1\nJose\u0301,Lee,2\nLee,José,1\nKim,Lee,1\nLee,Kim,1\n"
A, B, C = "alpha-7b", "beta-13b", "gamma-70b"
BATTLES = [
    (A, B, "model_a"), (A, C, "model_b"), (B, C, "tie"), (B, A, "model_a"), (C, A, "tie (bothbad)"), (C, B, "model_a"),
    (A, B, "model_a"), (C, A, "model_b"), (C, B, "model_b"),
]  # fmt: skip
HALVES = [
    pair
    for a, b, winner in BATTLES
    for share in [{"model_a": 1.0, "model_b": 0.0}.get(winner, 0.5)]
    for pair in ((a, b, share), (b, a, 1 - share))
]
ARENA = [
    {
        "question_id": f"q{k:02}",
        "model_a": a,
        "model_b": b,
        "winner": w,
        "judge": f"r{k % 5}",
        "turn": "1",
        "anony": "yes",
    }
    for k, (a, b, w) in enumerate(BATTLES, start=1)
]
AS_CSV = "\n".join([",".join(ARENA[0]), *(",".join(row.values()) for row in ARENA)])
TIES = ("2 ties", "columns not used: question_id, judge, turn, anony")

CASES = [
    Case(
        "weights_column.csv", "winner,loser,weight\n" + "".join(f"{w},{x},{n}\n" for w, x, n in XYZ), XYZ,
        {"x": 1.187, "y": -0.290, "z": -0.898}, ("counts are those of the column weight",),
    ),
    Case("missing_counts.csv", "winner,loser,count\nx,y,5\ny,x,\ny,z,4\n", refused="line 3: count is empty"),
    Case("nan_names.csv", "winner,loser\nnan,b\nb,nan\nc,b\nb,c\n", refused="line 2: winner is 'nan', which marks"),
    Case("nfc_nfd.csv", NFC, NAMES, told=("taken as 'Jos\\xe9' of line 2 (the same in another Unicode form)",)),
    Case(
        "int_float_ids.jsonl", '{"winner":1,"loser":2}\n{"winner":2.0,"loser":1.0}\n{"winner":1,"loser":2}\n',
        [("1", "2", 2), ("2", "1", 1)], {"1": np.log(2) / 2, "2": -np.log(2) / 2}, ("the same number",),
    ),
    Case("upper_keys.jsonl", '{"Winner":"a","Loser":"b"}\n{"Winner":"b","Loser":"a"}', [("a", "b", 1), ("b", "a", 1)]),
    Case("semicolon.csv", "winner;loser;count\na;b;3\nb;a;1\n", [("a", "b", 3), ("b", "a", 1)], {"a": np.log(3) / 2}),
    Case("overflow_counts.csv", "winner,loser,count\na,b,1e308\nb,a,1e308\n", refused="counts of at most 1e+300"),
    Case("lone_surrogate.jsonl", '{"winner":"ok \\ud83d","loser":"b"}\n', refused="line 1: winner is 'ok \\ud83d'"),
    Case("arena_battles.csv", AS_CSV, HALVES, told=TIES),
    Case("arena_battles.json", json.dumps(ARENA), HALVES, told=TIES),
]  # fmt: skip
FOLDER = os.environ.get("GPO_CASES")


def places(name: str, text: str, tmp_path: Path) -> list[Path]:
    """The case written anew, and the file of the folder, where there is one."""
    own = tmp_path / name
    own.write_text(text, encoding="utf-8")
    return [own, *([Path(FOLDER, name)] if FOLDER and Path(FOLDER, name).exists() else [])]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_solve(case: Case, gpo: Gpo, tmp_path: Path) -> None:
    for path in places(case.name, case.text, tmp_path):
        if case.refused:
            code, _, err = gpo("solve", path, "--loss", "dpo", "--noise", "0")
            assert (code, len(err.strip().splitlines())) == (2, 1)
            assert case.refused in err
            assert case.name in err or "add up" in err
            continue
        found = gpo.document("solve", path, "--loss", "dpo", "--noise", "0")
        scores = dict(zip(found["items"], found["fits"]["logistic"]["scores"], strict=True))
        assert scores == pytest.approx(likeliest(case.pairs or []), abs=1e-6)
        for name, score in (case.scores or {}).items():
            assert scores[name] == pytest.approx(score, abs=6e-4)
        _, out, _ = gpo("solve", path, "--loss", "dpo", "--noise", "0")
        assert all(words in out for words in case.told)


def test_answers_by_prompt(gpo: Gpo, tmp_path: Path) -> None:
    rows = [
        {
            "prompt": "\n\nHuman: Is water wet?\n\nAssistant:",
            "chosen": " So they say.",
            "rejected": " I cannot answer.",
        },
        {"prompt": "\n\nHuman: Name a colour.\n\nAssistant:", "chosen": " Blue.", "rejected": " I cannot answer."},
    ]
    for path in places("hh_prompt_chosen_rejected.jsonl", "\n".join(map(json.dumps, rows)), tmp_path):
        found = gpo.document("solve", path, "--loss", "ipo")
        assert len(found["prompts"]) == 2
        assert all(len(part["items"]) == 2 for part in found["prompts"].values())
        advice = gpo.document("recommend-beta", path, "--margin", "1", "--loss", "ipo", "--resamples", "3")
        assert (advice["prompts"], advice["largest_kl"]) == (2, pytest.approx(np.log(2)))


def test_the_same_answers_under_two_prompts(gpo: Gpo, tmp_path: Path) -> None:
    text = "prompt,winner,loser,count\np1,Yes.,No.,9\np1,No.,Yes.,1\np2,No.,Yes.,9\np2,Yes.,No.,1\n"
    # each prompt: π = σ(±log 9/β), and KL = log 2 − H(π)
    entropy = lambda p: -p * np.log(p) - (1 - p) * np.log(1 - p)  # noqa: E731
    beta = brentq(lambda b: np.log(2) - entropy(1 / (1 + 9 ** (-1 / b))) - 0.1, 0.5, 50)
    for path in places("canned_answers_prompt_column.csv", text, tmp_path):
        found = gpo.document("recommend-beta", path, "--kl", "0.1", "--loss", "dpo", "--resamples", "5")
        assert found["prompts"] == 2
        assert found["recommendations"][0]["beta"] == pytest.approx(beta, rel=1e-9) == pytest.approx(2.329, abs=5e-4)


def test_strength_is_of_the_smoothed_loss(gpo: Gpo, tmp_path: Path) -> None:
    text = "winner,loser,count\na,b,9\nb,a,4\nc,d,6\nd,c,5\nc,e,2\ne,c,3\nd,e,4\ne,d,1\n"
    for path in places("smooth_small.csv", text, tmp_path):
        arguments = ("recommend-beta", path, "--kl", "0.2", "--smoothing", "0.1", "--resamples", "3")
        found = gpo.document(*arguments, "--loss", "dpo", "--loss", "ipo")
        strengths = [row["beta_kappa"] for row in found["recommendations"]]
        assert strengths == pytest.approx([0.2086, 0.2033], abs=5e-5)


def test_one_label_a_pair(gpo: Gpo, tmp_path: Path) -> None:
    text = "winner,loser\n" + "".join(f"q{k} good,q{k} bad\n" for k in (1, 2, 3))
    for path in places("one_label_a_pair.csv", text, tmp_path):
        found = gpo.document("recommend-beta", path, "--kl", "0.1", "--resamples", "30")
        rows = {row["loss"]: row for row in found["recommendations"]}
        assert "no finite optimum" in rows["logistic"]["status"]
        assert rows["squared"]["status"] == "found"
        assert all(row["low"] is None or row["low"] < row["high"] for row in rows.values())
        _, out, _ = gpo("recommend-beta", path, "--kl", "0.1", "--resamples", "3", "--loss", "ipo")
        assert "−log min πref = 0.6931" in out
        assert "most prompts have one label" in out


LOG = "policy_chosen,policy_rejected,reference_chosen,reference_rejected\n"
LOGS = [
    ("log_duplicate_ref_columns.csv", "chosen_logps,rejected_logps,ref_chosen_logps,ref_rejected_logps,"
     "ref_chosen_logps\n-9,-8,-9,-8,-9\n", "occurs twice"),
    ("log_zero_reference.csv", LOG + "".join(f"{-9 - k},{-12 - k},0.0,0.0\n" for k in range(9)), "reference_chosen"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "words"), LOGS, ids=lambda value: value if str(value)[-5:-4] == "." else "")
def test_logs_that_say_nothing_are_refused(name: str, text: str, words: str, gpo: Gpo, tmp_path: Path) -> None:
    for path in places(name, text, tmp_path):
        code, _, err = gpo("diagnose", path, "--beta", "0.1")
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert name in err
        assert words in err


MEANS = [
    ("trainer_state.json", json.dumps({"log_history": [{"rewards/margins": 0.75, "rewards/chosen": 0.25, "step": 50}]}),
     {"mean_rho": 7.5, "chosen_change": 2.5}),
    ("wandb_export.csv", '"Step","dpo - train/rewards/chosen","dpo - train/logps/chosen"\n"50","0.25","-305"',
     {"mean_rho": None, "chosen_change": 2.5}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected"), MEANS, ids=["trainer_state", "wandb"])
def test_batch_means_say_what_they_can(
    name: str, text: str, expected: dict[str, float | None], gpo: Gpo, tmp_path: Path
) -> None:
    for path in places(name, text, tmp_path):
        found = gpo.document("diagnose", path, "--beta", "0.1")
        assert {key: found[key] for key in expected} == pytest.approx(expected)
        assert found["step"] == 50
        _, out, _ = gpo("diagnose", path, "--beta", "0.1")
        assert "a row a pair" in out
        assert "not told by means over batches" in out


def test_a_first_row_without_a_step(gpo: Gpo, tmp_path: Path) -> None:
    keys = ("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected")
    rows: list[dict[str, Any]] = [dict(zip(keys, (-9.0, -8.0, -9.0, -8.0), strict=True))]
    rows += [dict(zip((*keys, "step"), (-9.0, -28.0 + k, -9.0, -8.0, 200), strict=True)) for k in range(20)]
    own = [0.5 * np.mean([(20 - k) ** 2 for k in range(20)])]
    for path, expected in zip(
        places("log_first_row_without_step.jsonl", "\n".join(map(json.dumps, rows)), tmp_path),
        [*own, 198.0],
        strict=False,
    ):
        code, out, err = gpo("diagnose", path, "--beta", "0.1", "--json", "--resamples", "5")
        if code == 2:  # refused, with the line
            assert "line 1" in err
        else:
            found = json.loads(out)
            assert (found["pairs"], found["step"]) == (20, 200)
            assert found["mu_squared_loss"]["value"] == pytest.approx(expected, rel=5e-3)


SIBLINGS: list[tuple[str, str, Callable[[str], bool]]] = [
    ("a count of nothing but a space", "winner,loser,votes\nx,y, \n", lambda err: "line 2: votes is empty" in err),
    ("None in a column of ties", "model_a,model_b,winner\nx,y,None\n", lambda err: "line 2: winner is 'None'" in err),
    ("a zero-width twin", "winner,loser\nx,x\u200b\n", lambda err: "line 2: winner and loser are both 'x'" in err),
    ("a weight under another name", "winner,loser,sample_weight\nx,y,2\n", lambda err: "sample_weight looks" in err),
    ("ties under another name", "winner,loser,n_ties\nx,y,2\n", lambda err: "column n_ties looks" in err),
    ("a decimal comma", "winner;loser;count\nx;y;1,5\n", lambda err: "a decimal comma? a point is read" in err),
]  # fmt: skip


@pytest.mark.parametrize(("text", "is_told"), [row[1:] for row in SIBLINGS], ids=[row[0] for row in SIBLINGS])
def test_siblings_are_refused_in_one_line(text: str, is_told: Callable[[str], bool], gpo: Gpo, tmp_path: Path) -> None:
    path = tmp_path / "sibling.csv"
    path.write_text(text, encoding="utf-8")
    for verb in (("solve", path, "--loss", "dpo"), ("recommend-beta", path, "--kl", "0.1")):
        code, _, err = gpo(*verb)
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert is_told(err)
