"""What people bring as comparisons (after public reports), with values worked out apart from the reader."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize

import gpo_analysis as gpo
from gpo_analysis.preferences import Comparisons, read_argument_votes, read_comparisons_by_prompt


def scores_of(games: Comparisons) -> dict[str, float]:
    fit = gpo.fit_comparisons(games, ["logistic"]).solutions["logistic"]
    assert fit.converged
    return dict(zip(games.items, fit.scores.tolist(), strict=True))


def likeliest(pairs) -> dict[str, float]:
    """Bradley–Terry by scipy from (winner, loser, count), centred."""
    names = sorted({name for pair in pairs for name in pair[:2]})

    def loss(h):
        return sum(c * np.logaddexp(0, h[names.index(x)] - h[names.index(w)]) for w, x, c in pairs)

    h = minimize(loss, np.zeros(len(names)), tol=1e-13).x
    return dict(zip(names, h - h.mean(), strict=True))


def read(tmp_path, name, text, **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Comparisons.read(path, **options)


@pytest.mark.parametrize("column", ["weight", "Weights", "n", "counts", "votes"])
def test_weights_are_used(tmp_path, column):
    rows = [("x", "y", 5), ("y", "x", 1), ("y", "z", 4), ("z", "y", 2), ("x", "z", 7), ("z", "x", 1)]
    games = read(tmp_path, "w.csv", f"winner,loser,{column}\n" + "".join(f"{w},{x},{c}\n" for w, x, c in rows))
    found = scores_of(games)
    assert [round(found[name], 3) for name in "xyz"] == [1.187, -0.290, -0.898]
    assert found == pytest.approx(likeliest(rows), abs=1e-6)
    told = " ".join(games.report.lines())
    assert (column.lower() in told) is (column != "votes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("winner,loser,count\nx,y,5\ny,x,\n", "line 3: count is empty"),
        ("winner,loser,count\nx,y,5\ny,x, \n", "line 3: count is empty"),
        ("winner,loser\nnan,b\nb,nan\n", "line 2: winner is 'nan', which marks a missing value"),
        ("winner,loser\na,b\nNone,b\n", "line 3: winner is 'None'"),
        ("winner,loser,count\na,b,1e308\nb,a,1e308\n", r"add up to inf; accepted are counts of at most 1e\+300"),
        ("winner,loser,frequency\na,b,3\n", "line 1: column frequency looks as if it counted"),
        ("winner,loser,n_votes\na,b,3\n", "column n_votes looks as if it counted"),
        ("winner,loser,ties\na,b,3\n", "column ties looks as if it told of ties"),
        ("winner,loser,outcome\na,b,1\n", "column outcome looks as if it told of ties"),
        ("winner,loser,prob\na,b,0.7\n", "column prob looks as if it said how likely"),
        ("winner,loser,question\na,b,Why?\n", "column question looks as if it said which items"),
        ("winner,loser,tie\na,b,2\n", "line 2: tie is '2'; accepted are 1"),
        ("winner,loser,count\na,b,1_0\n", "line 2: count is '1_0'"),
        ("winner;loser;count\na;b;1,5\n", "line 2: count is '1,5' .a decimal comma"),
        ("winner,loser\na,a\u200b\n", "line 2: winner and loser are both 'a'"),
        ("winner,loser,winner\na,b,c\n", "line 1: column winner occurs twice"),
        ("prompt,winner,loser\n,a,b\n", "line 2: prompt is ''"),
        (
            "model_a,model_b,winner\na,b,c\n",
            "line 2: winner is 'c'; accepted are model_a .also a, 1., model_b",
        ),
    ],
)
def test_refused_with_the_line_and_what_is_accepted(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, "bad.csv", text)
    assert "bad.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"winner":"ok \\ud83d","loser":"b"}\n', r"bad\.jsonl, line 1: .* lone surrogate '\\ud83d'"),
        (b'{"winner":"a","loser":"b","count":2}\n{"winner":"a","loser":"b"}\n', "line 2: count is None"),
        (b'{"winner":"a","loser":"b","count":2}\n{"winner":"a","loser":"b","count":null}\n', "line 2: count is None"),
        (b'{"winner":"a","loser":"b","Winner":"c"}\n', "line 1: key 'winner' occurs twice"),
        (b'{"winner":"a","loser":"b"}\n{"winner":null,"loser":"b"}\n', "line 2: winner is None"),
        (b'{"winner":"a","loser":"b"}\n{"winner":NaN,"loser":"b"}\n', "line 2: winner is 'nan'"),
        (b'{"winner":"a","loser":"b","prompt":"p"}\n{"winner":"a","loser":"b"}\n', "line 2: missing 'prompt'"),
        (b'{"chosen":[{"role":"user"}],"rejected":"b"}\n', r"line 1: chosen is \[\{'role'"),
    ],
)
def test_json_is_refused_likewise(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, "bad.jsonl", text)


def test_one_name_in_two_unicode_forms(tmp_path):
    text = "winner,loser,count\nJosé,Kim,3\nKim,Jose\u0301,1\nJose\u0301,Lee,2\nLee,José,1\nKim,Lee,1\nLee,Kim,1\n"
    games = read(tmp_path, "n.csv", text)
    assert games.items == ("José", "Kim", "Lee")
    assert [(j.line, j.first_line) for j in games.report.joined] == [(3, 2)]
    pairs = [("José", "Kim", 3), ("Kim", "José", 1), ("José", "Lee", 2), ("Lee", "José", 1), ("Kim", "Lee", 1)]
    assert scores_of(games) == pytest.approx(likeliest([*pairs, ("Lee", "Kim", 1)]), abs=1e-6)


def test_whole_numbers_and_floats_are_one_item(tmp_path):
    text = '{"winner":1,"loser":2}\n{"winner":2.0,"loser":1.0}\n{"winner":1,"loser":2}\n'
    games = read(tmp_path, "i.jsonl", text)
    assert games.items == ("1", "2")
    assert scores_of(games)["1"] == pytest.approx(np.log(2) / 2)
    assert len(games.report.joined) == 2


def test_keys_and_headers_without_regard_to_case(tmp_path):
    games = read(tmp_path, "u.jsonl", '{"Winner":"a","Loser":"b"}\n{"Winner":"b","Loser":"a"}\n')
    assert (games.items, games.total) == (("a", "b"), 2.0)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_read_and_told(tmp_path, separator):
    games = read(tmp_path, "s.csv", "winner,loser,count\na,b,3\nb,a,1\n".replace(",", separator))
    assert games.total == 4
    assert "commas" not in games.report.format


BATTLES = [
    ("alpha", "beta", "model_a"), ("alpha", "gamma", "model_b"), ("beta", "gamma", "tie"), ("beta", "alpha", "model_a"),
    ("gamma", "alpha", "tie (bothbad)"), ("gamma", "beta", "model_a"), ("alpha", "beta", "model_a"),
    ("gamma", "alpha", "model_b"), ("beta", "gamma", "model_a"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["b.csv", "b.json", "b.jsonl", "left.csv"])
def test_battles_with_ties_at_half_a_win_each(tmp_path, name):
    sides = ("left", "right") if name == "left.csv" else ("model_a", "model_b")
    rows = [
        {sides[0]: a, sides[1]: b, "winner": dict(zip(("model_a", "model_b"), sides, strict=True)).get(w, w), "turn": 1}
        for a, b, w in BATTLES
    ]
    if name.endswith(".csv"):
        text = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])
    else:
        text = json.dumps(rows, indent=1) if name == "b.json" else "\n".join(map(json.dumps, rows))
    games = read(tmp_path, name, text)
    pairs = []
    for a, b, winner in BATTLES:
        share = {"model_a": 1.0, "model_b": 0.0}.get(winner, 0.5)
        pairs += [(a, b, share), (b, a, 1 - share)]
    assert games.total == len(BATTLES)
    assert scores_of(games) == pytest.approx(likeliest(pairs), abs=1e-6)
    assert games.report.ties == "half a win each"
    assert games.report.not_used == ("turn",)
    assert "2 ties" in " ".join(games.report.lines())


def test_a_table_of_battles(tmp_path):
    text = "model_a,model_b,model_a_wins,model_b_wins,ties,ties_both_bad\na,b,5,3,2,1\nb,c,4,4,0,0\n"
    games = read(tmp_path, "t.csv", text)
    expected = {("a", "b"): 6.5, ("b", "a"): 4.5, ("b", "c"): 4.0, ("c", "b"): 4.0}
    found = {
        (games.items[w], games.items[x]): c for w, x, c in zip(games.winner, games.loser, games.count, strict=True)
    }
    assert found == expected


def test_a_column_of_ties(tmp_path):
    rows = "a,b,3,0\nb,a,1,0\na,b,2,1\nb,c,2,no\nc,b,1,\n"
    games = read(tmp_path, "t.csv", "winner,loser,count,tie\n" + rows)
    assert scores_of(games) == pytest.approx(
        likeliest([("a", "b", 4), ("b", "a", 2), ("b", "c", 2), ("c", "b", 1)]), abs=1e-6
    )


CANNED = "prompt,winner,loser,count\np1,Yes.,No.,9\np1,No.,Yes.,1\np2,No.,Yes.,9\np2,Yes.,No.,1\n"


def test_items_are_compared_within_a_prompt(tmp_path):
    games = read(tmp_path, "c.csv", CANNED)
    assert games.items == ("p1: Yes.", "p1: No.", "p2: No.", "p2: Yes.")
    whole = read(tmp_path, "c.csv", CANNED, across_prompts=True)
    assert whole.items == ("Yes.", "No.")
    parts = read_comparisons_by_prompt(tmp_path / "c.csv")
    assert {name: part.items for name, part in parts.items()} == {"p1": ("Yes.", "No."), "p2": ("No.", "Yes.")}
    found = gpo.recommend_beta(games, kl=0.1, losses=["dpo"], resamples=20)
    assert found.prompts == 2
    # each prompt: π = σ(±log 9/β), so KL = log 2 − H(σ(log 9/β)); solved apart from the library
    beta = found["logistic"].beta.value
    p = 9 ** (1 / beta) / (1 + 9 ** (1 / beta))
    assert np.log(2) + p * np.log(p) + (1 - p) * np.log(1 - p) == pytest.approx(0.1, abs=1e-9)
    assert beta == pytest.approx(2.329, abs=5e-4)


def test_prompts_that_fall_apart_are_said(tmp_path):
    games = read(tmp_path, "c.csv", "prompt,winner,loser\np,a,b\np,b,a\np,a,b\np,c,d\np,d,c\np,c,d\n")
    found = gpo.recommend_beta(games, kl=0.01, losses=["dpo"], resamples=5)
    assert found.prompts == 2
    assert "prompts (1) fall into 2 sets" in str(found)
    assert found.to_dict()["notes"] == list(found.notes)


def test_numbers_of_tokens_are_no_counts(tmp_path):
    games = read(tmp_path, "c.csv", "winner,loser,n_tokens,num_turns\na,b,300,2\nb,a,200,3\n")
    assert games.total == 2
    assert games.report.not_used == ("n_tokens", "num_turns")


def test_models_are_compared_across_questions(tmp_path):
    games = read(tmp_path, "c.csv", "question,model_a,model_b,winner\nq,a,b,model_a\nr,a,b,model_b\n")
    assert games.items == ("a", "b")
    assert games.report.not_used == ("question",)


def test_names_of_items_under_prompts_never_meet(tmp_path):
    text = "prompt,winner,loser\na: b,c,x\na,b: c,x\n" + "p" * 50 + "1,u,v\n" + "p" * 50 + "1" + "q,u,v\n"
    games = read(tmp_path, "c.csv", text)
    assert len(set(games.items)) == 8


def test_prompt_chosen_rejected(tmp_path):
    rows = [
        {
            "prompt": "\n\nHuman: Is water wet?\n\nAssistant:",
            "chosen": " Most say so.",
            "rejected": " I cannot answer.",
        },
        {"prompt": "\n\nHuman: Name a colour.\n\nAssistant:", "chosen": " Blue.", "rejected": " I cannot answer."},
        {"prompt": "\n\nHuman: Name a colour.\n\nAssistant:", "chosen": " Red.", "rejected": " Red. "},
    ]
    games = read(tmp_path, "h.jsonl", "\n".join(map(json.dumps, rows)))
    assert (games.n, games.total) == (4, 2.0)
    assert [(left.lines, left.why) for left in games.report.left_out] == [((3,), "both texts are the same")]
    assert (games.report.rows, games.report.used) == (3, 2)


def test_columns_that_say_nothing_are_named(tmp_path):
    games = read(tmp_path, "o.csv", "id,winner,loser,judge,weight\n1,a,b,me,\n2,b,a,you,\n".replace(",weight", ",n2"))
    assert games.report.not_used == ("id", "judge", "n2")
    assert "columns not used: id, judge, n2" in str(games.report)
    assert read(tmp_path, "o.csv", "winner,loser,ties\na,b,\n").total == 1  # an empty column says nothing


def test_argument_votes_say_what_is_left_out(tmp_path):
    row = {"debate": "tea", "prompt": "Side: Yes", "chosen_id": "a", "rejected_id": "b", "votes_chosen": 3}
    path = tmp_path / "v.jsonl"
    path.write_text(json.dumps({**row, "votes_rejected": 1, "votes_equal": 1}))
    assert "1 votes for" in " ".join(read_argument_votes(path)["tea (Yes)"].report.lines())


def test_exact_bradley_terry_labels_are_not_called_structure() -> None:
    rng = np.random.default_rng(0)
    strength = rng.normal(0, 1, 30)
    i, j = np.triu_indices(30, 1)
    wins = rng.binomial(10, 1 / (1 + np.exp(strength[j] - strength[i])))
    table = np.zeros((30, 30))
    table[i, j], table[j, i] = wins, 10 - wins
    found = gpo.diagnostics(Comparisons.from_counts(table))
    assert not found.weakly_transitive
    lines = [line for line in str(found).splitlines() if line.startswith(("weak", "strong", "cyclic"))]
    assert len(lines) == 4
    assert all("noise included" in line for line in lines)
    assert "not told from structure" in str(found)
    assert "not told from structure" in found.to_dict()["noise"]
    exact = gpo.diagnostics(gpo.bradley_terry(strength))
    assert exact.weakly_transitive
    assert "noise" not in str(exact)
