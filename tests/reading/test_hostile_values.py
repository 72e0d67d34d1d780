"""Numbers, bytes and columns that a hostile file brings: what is accepted is said with the line, nothing is misread."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.cli import main
from gpo_analysis.estimation import read_training_log
from gpo_analysis.preferences import Comparisons

NINES = "9" * 5000


def written(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "a.csv",
            f"winner,loser,count\na,b,{NINES}\n",
            r"line 2: count is '9{58}… \(5,000 characters; a number has at",
        ),
        (
            "a.jsonl",
            f'{{"winner":"a","loser":"b","count":{NINES}}}\n',
            r"line 1: malformed JSON \(9{12}… has 5,000 digi",
        ),
        ("a.jsonl", f'{{"winner":{NINES},"loser":"b"}}\n', r"has 5,000 digits; a number has at most 400"),
        ("a.csv", "winner,loser,count\na,b,1e309\n", r"line 2: count is '1e309' \(beyond what a float holds"),
        ("a.csv", "winner,loser,count\na,b,1e-400\n", r"line 2: count is '1e-400' \(beyond what a float holds"),
        ("a.jsonl", '{"winner":"a","loser":"b","count":1e-400}\n', "line 1: .*1e-400 is beyond what a float holds"),
        ("a.jsonl", '{"winner":1e400,"loser":"b"}\n', "line 1: winner is 'inf'"),
        ("a.csv", "winner,loser,count\na\0,b,1\n", "line 2: holds zero bytes, damage"),
        ("a.csv", "winner,loser,count\n" + "a,b,1\n" * 200 + "\0" * 50, "line 202: holds zero bytes, damage"),
        ("a.csv", "winner,loser\na,b\n".encode("utf-16-le"), "line 1: holds zero bytes, as UTF-16 without its mark"),
        ("a.csv", "winner,loser\na,b\n".encode("utf-16-be"), "line 1: holds zero bytes, as UTF-16 without its mark"),
        (
            "a.csv.gz",
            gzip.compress(gzip.compress(b"winner,loser\na,b\n", mtime=0), mtime=0),
            "a gzip file within a gzip file",
        ),
    ],
)
def test_values_and_bytes_are_refused_in_words(tmp_path, name, data, message):
    path = written(tmp_path, name, data)
    with pytest.raises(ValueError, match=message) as caught:
        Comparisons.read(path)
    assert str(path) in str(caught.value)
    assert "sys.set_int_max_str_digits" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["solve", "/proc/self/mem"])  # opens, and fails where it is read
    assert "gpo: /proc/self/mem: " in capsys.readouterr().err


def test_json_is_read_under_a_name_of_csv(tmp_path):
    path = written(tmp_path, "a.csv", '{"winner":"a","loser":"b"}\n{"winner":"b","loser":"a"}\n')
    assert Comparisons.read(path).report.format == "JSON lines"


def test_control_characters_part_no_names(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"winner":"a\\u0000","loser":"b"}\n{"winner":"b","loser":"\\u0007a"}\n')
    games = Comparisons.read(path)
    assert games.n == 2
    assert [joined.line for joined in games.report.joined] == [2]


COUNTING = [
    "cnt", "qty", "games", "occurrences", "how many", "sample weight", "Sample-Weight", "count2", "count 2", "numVotes",
    "vote_count", "sampleWeights", "wt", "w", "importance", "total", "#", "nb", "weighting",
]  # fmt: skip


@pytest.mark.parametrize("column", COUNTING)
def test_columns_that_look_as_if_they_counted(tmp_path, column):
    path = written(tmp_path, "a.csv", f"winner,loser,{column}\na,b,3\nb,a,1\n")
    with pytest.raises(ValueError, match=r"line 1: column .* looks as if it counted"):
        Comparisons.read(path)


@pytest.mark.parametrize("column", ["is tie", "isTie", "Is-Tie", "ties", "draws", "ties_2"])
def test_columns_that_look_as_if_they_told_of_ties(tmp_path, column):
    path = written(tmp_path, "a.csv", f"winner,loser,{column}\na,b,0\nb,a,1\n")
    with pytest.raises(ValueError, match="looks as if it told of ties"):
        Comparisons.read(path)


@pytest.mark.parametrize("column", ["account", "discount", "token_count", "word count", "judge", "score", "match_id"])
def test_columns_that_do_not_are_named_as_not_used(tmp_path, column):
    path = written(tmp_path, "a.csv", f"winner,loser,{column}\na,b,3\nb,a,1\n")
    assert Comparisons.read(path).report.not_used == (column,)


HEAD = "policy_chosen,policy_rejected,reference_chosen,reference_rejected"


@pytest.mark.parametrize(
    ("column", "looks"),
    [
        ("train/global_step", "training step"), ("_step", "training step"), ("epochs", "training step"),
        ("global step", "training step"), ("ckpt", "training step"), ("num_steps", "training step"),
        ("step_id", "training step"), ("importance", "weighted the pairs"), ("cnt", "weighted the pairs"),
        ("Sample Weight", "weighted the pairs"),
    ],
)  # fmt: skip
def test_steps_and_weights_of_a_log_under_other_names(tmp_path, column, looks):
    path = written(tmp_path, "l.csv", f"{HEAD},{column}\n-10,-12,-11,-11,1\n-9,-13,-10,-12,2\n")
    with pytest.raises(ValueError, match=f"line 1: column .* looks .*{looks}"):
        read_training_log(path)


@pytest.mark.parametrize("value", ["-1e300", "-1.7e308"])
def test_log_probabilities_whose_square_overflows(tmp_path, value):
    path = written(tmp_path, "l.csv", f"{HEAD}\n-10,-12,-11,-11\n-10,-12,{value},-11\n")
    with pytest.raises(ValueError, match=r"line 3: reference_chosen is .* at least -1e\+100"):
        read_training_log(path)


@pytest.mark.parametrize("unit", [1.0, 1e299, 1e-300])
def test_no_number_depends_on_the_unit_of_the_counts(unit):
    pairs = [("a", "b", 1.0), ("b", "a", 2.0), ("b", "c", 1.0), ("c", "a", 1.0), ("a", "c", 0.25)]
    games = Comparisons.from_pairs([(w, x, c * unit) for w, x, c in pairs])
    found = gpo.diagnostics(games)
    # the flow 2P - 1 of (a, b), (a, c), (b, c), and its weighted least-squares gradient
    flow, weight = np.array([-1 / 3, -0.6, 1.0]), np.array([3.0, 1.25, 1.0])
    design = np.array([[1.0, -1, 0], [1, 0, -1], [0, 1, -1]])
    root = np.sqrt(weight)
    scores = np.linalg.lstsq(design * root[:, None], flow * root, rcond=None)[0]
    rest = flow - design @ scores
    assert found.hodge.cyclic_share == pytest.approx(weight @ rest**2 / (weight @ flow**2), abs=1e-9)
    assert found.borda == pytest.approx([1.25 / 4.25, 3 / 4, 1 / 2.25])


GAMES = "winner,loser,count\na,b,3\nb,a,1\nb,c,2\nc,b,1\nc,a,1\na,c,2\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recommend-beta", "FILE", "--kl", "1_0"), "'1_0' is not a valid float"),
        (("recommend-beta", "FILE", "--kl", "1e400"), "'1e400' is not a valid float (beyond what a float holds"),
        (("recommend-beta", "FILE", "--kl", "1e-400"), "'1e-400' is not a valid float (beyond what a float holds"),
        (("recommend-beta", "FILE", "--kl", "nan"), "'nan' is not a valid float"),
        (("recommend-beta", "FILE", "--kl", "1", "--resamples", "1_0"), "'1_0' is not a valid integer"),
        (("recommend-beta", "FILE", "--kl", "1", "--seed", "9" * 5000), "is not a valid integer; accepted are digits"),
        (("recommend-beta", "FILE", "--kl", "1", "--smoothing", "1e-320"), "must be 0, or lie from 1e-12 to below 0.5"),
        (("solve", "FILE", "--held-out", "2", "--smoothing", "1e-20"), "must be 0, or lie from 1e-12 to below 0.5"),
        (("solve", "FILE", "--figure", "/none/x.png"), "gpo: /none: no such folder"),
        (("diagnose", "FILE", "--beta", "1e308"), "--beta must lie between 1e-100 and 1e+100"),
        (("diagnose", "FILE", "--beta", "1", "--try-beta", "1e308"), "--try-beta must lie between"),
        (("gaussians", "--modes", ",".join(["1"] * 300)), "--modes takes at most 12 numbers, got 300"),
        (("gaussians", "--modes", "1e308,-1e308"), "--modes takes numbers of at most 1e100 in size"),
        (("gaussians", "--modes", "1_0"), "--modes takes numbers with commas between them, got '1_0'"),
    ],
)
def test_options_are_taken_as_strictly_as_files(tmp_path, capsys, arguments, message):
    path = str(written(tmp_path, "g.csv", GAMES))
    with pytest.raises(SystemExit) as ended:
        main([path if word == "FILE" else word for word in arguments])
    said = capsys.readouterr().err
    assert message in said
    assert ended.value.code in (1, 2)
    assert len(said.splitlines()) == 1


def test_confidence_and_targets_are_told_as_they_are():
    games = Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1)])
    found = gpo.recommend_beta(games, margin=1e-320, losses=["dpo"], resamples=2, confidence=0.999)
    assert "99.9% intervals" in str(found)
    assert found["logistic"].status.startswith("out of reach: β would be 1.099/9.99989e-321, which no float holds")
    even = Comparisons.from_pairs([("a", "b"), ("b", "a")])
    assert gpo.recommend_beta(even, kl=0.1, losses=["dpo"], resamples=2)["logistic"].status == (
        "the fit puts every margin at 0"
    )
