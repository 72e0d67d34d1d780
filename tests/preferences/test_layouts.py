"""Tables in every layout: what is held against whom, with ties, positions, covariates, clusters, prompts; refusals."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from gpo_analysis.preferences import Comparisons, read_argument_votes, read_comparisons
from gpo_analysis.preferences.options import Asked


def read(tmp_path, name, text, **options):
    path = tmp_path / name
    path.write_text(text)
    return Comparisons.read(path, **options)


def wins(games: Comparisons) -> dict[tuple[str, str], float]:
    table = games.matrix().toarray()
    return {(games.items[i], games.items[j]): float(table[i, j]) for i, j in np.argwhere(table > 0)}


HALF = {("x", "y"): 1.5, ("y", "x"): 0.5, ("z", "x"): 1.0}  # x beat y, they tied once, z beat x
SAME = {
    "marks": "model_a,model_b,winner_model_a,winner_model_b,winner_tie\nx,y,1,0,0\ny,x,0,0,1\nx,z,0,1,0\n",
    "sides": "Left,Right,Winner\nx,y,left\ny,x,Draw\nx,z,RIGHT\n",
    "letters": "model_a,model_b,winner\nx,y,A\ny,x,tie (both bad)\nx,z,model b\n",
    "names": "item_a,item_b,winner\nx,y,x\ny,x,tie\nx,z,z\u200b\n",
    "home": "home,away,winner\nx,y,home\ny,x,bothbad\nx,z,away\n",
    "counts": "player1,player2,win1,win2,draws\nx,y,1,0,1\nx,z,0,1,0\n",
    "losses": "a,b,wins,losses,ties,both_bad\nx,y,1,0,0,1\nz,x,1,0,0,0\n",
    "tie": "winner,loser,tie\nx,y,0\ny,x,1\nz,x,no\n",
    "weighted": "model_a,model_b,winner,weight\nx,y,model_a,0.5\nx,y,model_a,0.5\ny,x,tie,1\nx,z,b,1\n",
}


@pytest.mark.parametrize("layout", SAME)
def test_one_set_of_battles_in_many_layouts(tmp_path, layout):
    text = SAME[layout]
    games = read(tmp_path, "t.csv", text)
    assert wins(games) == HALF
    assert (games.ties, games.total, games.report.ties) == (1.0, 3.0, "half a win each")
    quoted = "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines())
    header, *rows = (line.split(",") for line in text.splitlines())
    records = [dict(zip(header, row, strict=True)) for row in rows]
    for name, other in (("q.csv", quoted), ("t.tsv", text.replace(",", "\t")), ("t.json", json.dumps(records))):
        again = read(tmp_path, name, other)
        assert (wins(again), again.items) == (HALF, games.items)
    assert wins(Comparisons.from_frame(pd.DataFrame(records))) == HALF


def test_both_kinds_of_ties_and_rows_of_counts_are_kept_apart(tmp_path):
    text = "model_a,model_b,model_a_wins,model_b_wins,ties,ties_both_bad\nb,a,5,3,2,1\nb,c,0,0,0,0\na,b,1,0,0,0\n"
    games = read(tmp_path, "t.csv", text)
    pairs = games.pair_counts()
    assert [games.items[i] for i in pairs.first] == ["b"]
    found = [float(getattr(pairs, name)[0]) for name in ("won", "lost", "tied", "both_bad")]
    assert found == [5, 4, 2, 1]
    assert games.items == ("b", "a", "c")
    assert "3 ties (1 of them bad on both sides)" in str(games.report)


def test_positions_unless_the_first_is_always_the_earlier_by_name(tmp_path):
    header = "model_a,model_b,winner\n"
    assert read(tmp_path, "t.csv", header + "x,y,a\ny,x,a\n").contests.ordered
    assert not read(tmp_path, "t.csv", header + "x,y,a\ny,z,a\n").contests.ordered
    assert read(tmp_path, "t.csv", "home,away,winner\nx,y,home\n").contests.ordered
    shown = read(tmp_path, "t.csv", "winner,loser,first\nx,y,y\nz,x,winner\nx,y,loser\n", position="first")
    contests = shown.contests
    assert contests.ordered
    assert [shown.items[i] for i in contests.first] == ["y", "z", "y"]
    assert contests.outcome.tolist() == [1, 0, 1]
    assert wins(shown) == {("x", "y"): 2.0, ("z", "x"): 1.0}


def test_covariates_are_of_the_first_less_the_second(tmp_path):
    text = "model_a,model_b,winner,Tokens A,model_b tokens,len_a,len_b\nx,y,a,3,1,10,4\ny,x,tie,2,2.5,1,1\n"
    text = text.replace("Tokens A", "model_a tokens")
    contests = read(tmp_path, "t.csv", text, covariates=["tokens", "len"]).contests
    assert contests.covariates.tolist() == [[2.0, 6.0], [-0.5, 0.0]]
    assert contests.covariate_names == ("tokens", "len")
    text = "winner,loser,longer,first\nx,y,1.5,y\ny,x,-2,y\n"
    assert read(tmp_path, "t.csv", text, covariates=["longer"]).contests.covariates.tolist() == [[1.5], [-2.0]]
    turned = read(tmp_path, "t.csv", text, covariates=["longer"], position="first").contests
    assert turned.covariates.tolist() == [[-1.5], [-2.0]]


@pytest.mark.parametrize(("cluster", "ids"), [("Judge", [0, 1, 0]), ("row", [0, 1, 2]), ("prompt", [0, 0, 1])])
def test_clusters(tmp_path, cluster, ids):
    text = "model_a,model_b,winner,judge,prompt\nx,y,a,j,p\ny,x,b,k,p\nx,z,tie,j\u200b,q\n"
    games = read(tmp_path, "t.csv", text, cluster=cluster)
    assert games.contests.cluster.tolist() == ids
    assert (games.n, games.contests.cluster_name) == (3, cluster.lower())


def test_prompts_by_layout_and_by_wish(tmp_path):
    text = "model_a,model_b,winner,prompt\nx,y,a,p\ny,x,a,q\n"
    across = read(tmp_path, "t.csv", text)
    assert (across.n, across.prompts) == (2, ())
    assert "model_a and model_b are compared across prompts" in str(across.report)
    within = read(tmp_path, "t.csv", text, across_prompts=False)
    assert (within.items, within.prompts) == (("p: x", "p: y", "q: y", "q: x"), ("p", "q"))
    assert within.prompt_of_item.tolist() == [0, 0, 1, 1]
    parts = within.by_prompt()
    assert {name: (part.items, wins(part)) for name, part in parts.items()} == {
        "p": (("x", "y"), {("x", "y"): 1.0}),
        "q": (("y", "x"), {("y", "x"): 1.0}),
    }


def user(text):
    return {"role": "user", "content": text}


def says(text):
    return {"role": "assistant", "content": text}


CONVERSATIONS = {
    "apart": {"prompt": [user("hi")], "chosen": [says("A")], "rejected": [says("B")]},
    "one message": {"prompt": user("hi"), "chosen": says("A"), "rejected": says("B")},
    "whole": {"prompt": [user("hi")], "chosen": [user("hi"), says("A")], "rejected": [user("hi"), says("B")]},
    "implicit": {"chosen": [user("hi"), says("A")], "rejected": [user("hi"), says("B")]},
    "as text": {"prompt": "user: hi", "chosen": json.dumps([says("A")]), "rejected": [says("B")]},
    "plain": {"prompt": "user: hi", "chosen": "A", "rejected": "B"},
}


@pytest.mark.parametrize("form", CONVERSATIONS)
def test_messages(tmp_path, form):
    games = read(tmp_path, "m.jsonl", json.dumps(CONVERSATIONS[form]))
    assert (games.items, games.texts, games.prompts) == (("user: hi: A", "user: hi: B"), ("A", "B"), ("user: hi",))
    frame = pd.DataFrame([CONVERSATIONS[form]])
    assert Comparisons.from_frame(frame).items == games.items


def test_dialogues_share_their_prompt(tmp_path):
    rows = [
        {"chosen": "\n\nHuman: one\n\nAssistant: Yes", "rejected": "\n\nHuman: one\n\nAssistant: No"},
        {"chosen": "\n\nHuman: two\n\nAssistant: Yes", "rejected": "\n\nHuman: two\n\nAssistant: Yes"},
        {"chosen": "Human: a\n\nAssistant: Yes", "rejected": "Human: b\n\nAssistant: No"},
        {"chosen": "\n\nHuman: one\n\nAssistant: No", "rejected": "\n\nHuman: one\n\nAssistant: Perhaps"},
    ]
    games = read(tmp_path, "h.jsonl", "\n".join(map(json.dumps, rows)))
    assert (games.texts, games.prompts) == (("Yes", "No", "Perhaps"), ("Human: one\n\nAssistant:",))
    told = {left.why: left.lines for left in games.report.left_out}
    assert told == {"the two texts share no beginning that could be a prompt": (3,), "both texts are the same": (2,)}
    assert (games.report.rows, games.report.used) == (4, 2)


def test_a_shared_beginning_on_request(tmp_path):
    text = json.dumps({"chosen": "The sky is blue.", "rejected": "The sky is blunt."})
    plain = read(tmp_path, "s.jsonl", text)
    assert plain.items == ("The sky is blue.", "The sky is blunt.")
    assert "no prompts: a text is one item" in str(plain.report)
    found = read(tmp_path, "s.jsonl", text, implicit_prompts=True)
    assert (found.prompts, found.texts) == (("The sky is",), ("blue.", "blunt."))


def test_answers_are_texts_and_empty_ones_are_counted(tmp_path):
    rows = [("p", "N/A", "Tie"), ("p", "N/A", ""), ("p", "None", "N/A")]
    text = "\n".join(json.dumps(dict(zip(("prompt", "chosen", "rejected"), row, strict=True))) for row in rows)
    games = read(tmp_path, "a.jsonl", text)
    assert games.texts == ("N/A", "Tie", "None")
    assert [(left.lines, left.why) for left in games.report.left_out] == [((2,), "a response is empty")]
    with pytest.raises(ValueError, match="line 2: chosen is 'N/A', which marks a missing value"):
        read(tmp_path, "a.csv", "prompt,chosen,rejected\np,N/A,x\n")


def test_votes_on_arguments_directly_and_by_their_reader(tmp_path):
    rows = [
        {"debate": "tea", "prompt": "Side: Yes", "chosen": "long", "rejected": "short", "chosen_id": a,
         "rejected_id": b, "votes_chosen": won, "votes_rejected": lost, "votes_equal": 0}
        for a, b, won, lost in (("1", "2", 4, 1), ("2", "3", 5, 0), ("2", "1", 3, 2))
    ]  # fmt: skip
    path = tmp_path / "v.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    direct, reader = Comparisons.read(path), read_argument_votes(path)["tea (Yes)"]
    ours = {(a.removeprefix("Side: Yes: "), b.removeprefix("Side: Yes: ")): n for (a, b), n in wins(direct).items()}
    assert ours == wins(reader) == {("1", "2"): 6.0, ("2", "1"): 4.0, ("2", "3"): 5.0}
    rows[0]["votes_equal"] = 2
    path.write_text("\n".join(map(json.dumps, rows)))
    assert Comparisons.read(path).ties == 2


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("home,away,winner_home,winner_away\nx,y,1,1\n", {}, "line 2: 2 of winner_home, winner_away are 1"),
        ("home,away,winner_home,winner_away\nx,y,1,\n", {}, "line 2: winner_away is empty; accepted are 1"),
        ("a,b,wins,losses,ties\nx,y,1,0,1\nx,z,1,0,\n", {}, "line 3: ties is empty; fill it in"),
        ("a,b,wins,losses,count\nx,y,1,0,1\n", {}, "column count looks as if it counted"),
        ("model_a,model_b,winner\na,b,b\nb,a,a\n", {}, "line 3: winner is 'a', which names one of the two"),
        ("model_a,model_b,winner\nx,y,\n", {}, "line 2: winner is ''; accepted are model_a"),
        ("model_a,model_b,winner,tie\nx,y,a,1\n", {}, "line 2: tie is 1, but winner names one of the two"),
        ("winner,loser,len\nx,y,1\nx,z,\n", {"covariates": ["len"]}, "line 3: len is empty"),
        ("winner,loser,len\nx,y,nan\n", {"covariates": ["len"]}, "line 2: len is 'nan'"),
        ("winner,loser\nx,y\n", {"covariates": ["len"]}, "no covariate 'len': .* such as len_winner and len_loser"),
        ("winner,loser,judge\nx,y,j\nx,z, \n", {"cluster": "judge"}, "line 3: judge is empty"),
        ("winner,loser,judge\nx,y,NaN\n", {"cluster": "judge"}, "line 2: judge is 'NaN', which marks a missing"),
        ("winner,loser\nx,y\n", {"cluster": "judge"}, "no column 'judge' to cluster by"),
        ("winner,loser,first\nx,y,q\n", {"position": "first"}, "line 2: first is 'q'; accepted are winner and loser"),
        ("winner,loser\nx,y\n", {"columns": {"winner": "won"}}, "no column 'won', which was named as winner"),
        ("won,loser\nx,y\n", {}, "line 1: missing column winner .* or a name for each: --columns winner="),
        ("winner,loser,n_votes\nx,y,2\n", {}, "column n_votes looks as if it counted.* or ignore it by name"),
    ],
)  # fmt: skip
def test_what_is_refused_names_the_line(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, "bad.csv", text, **options)
    assert "bad.csv" in str(caught.value)


def test_named_and_ignored_columns(tmp_path):
    text = "white,black,result,n_games\nx,y,white\u200a,3\ny,x,tie,2\n"
    options = {"columns": {"model_a": "white", "model_b": "Black", "winner": "result"}, "ignore": ["n_games"]}
    assert wins(read(tmp_path, "t.csv", text, **options)) == {("x", "y"): 1.5, ("y", "x"): 0.5}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"winner": ["x", None], "loser": ["y", "x"]}, "row 1: winner is None; accepted are non-empty names"),
        ({"winner": ["x", "y"], "loser": ["y", "x"], "count": [1, np.nan]}, "row 1: count is None"),
        ({"winner": ["x", "y"], "loser": ["y", "y"]}, "row 1: winner and loser are both 'y'"),
        ({"winner": [], "loser": []}, "the frame holds no comparisons"),
    ],
)
def test_frames_are_refused_by_row(frame, message):
    with pytest.raises(ValueError, match=message):
        Comparisons.from_frame(pd.DataFrame(frame))


def test_a_frame_goes_round():
    games = Comparisons.from_pairs([("a", "b", 3), ("b", "c", 0.5), ("c", "a", 1)])
    again = Comparisons.from_frame(games.to_frame())
    assert wins(again) == wins(games)
    numbered = Comparisons.from_frame(pd.DataFrame({"winner": [1, 2], "loser": [2.0, 1.0]}))
    assert numbered.items == ("1", "2")
    assert numbered.report.joined == ()


def test_rows_without_weight_are_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("winner,loser,count\nx,y,1\ny,x,0\n")
    assert "1 row with a count of 0 (first: line 3)" in str(read_comparisons(path).report)


def test_of_a_files_columns_those_are_kept_that_are_read_or_look_as_if_they_mattered() -> None:
    columns = ["winner", "loser", "text", "date", "n_votes"]
    assert Asked({}).kept(columns) == {"winner", "loser", "n_votes"}
    assert Asked({"cluster": "date"}).kept(columns) == {"winner", "loser", "n_votes", "date"}
    assert Asked({}).kept(["text", "date"]) is None
