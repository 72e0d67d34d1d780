"""Votes on arguments, as derived from UKPConvArg1 (Habernal and Gurevych, ACL 2016): a set of comparisons a debate.

JSON lines with ``debate, prompt, chosen_id, rejected_id, votes_chosen, votes_rejected``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.reading import Label, count_in, json_rows, name_in, text_of


def read_argument_votes(path: str | Path, *, by_side: bool = True) -> dict[str, Comparisons]:
    """Read votes on pairs of arguments: one problem a debate and side, the votes for both arguments kept as counts.

    Three votes for one argument and two for the other are two directed comparisons with counts 3 and 2, a soft label.
    Votes for "equally convincing" are left out.

    Parameters
    ----------
    path : str or Path
        A JSON-lines file, plain or .gz; or a folder, of which every ``*.jsonl`` and ``*.jsonl.gz`` is read. Records
        with ``a_id, b_id, votes_a, votes_b`` (ties by gold label) are taken too.
    by_side : bool
        One problem a debate and side (from the line "Side: …" of the prompt), or one a debate. Only arguments of one
        side are ever compared, so a whole debate falls into at least as many components as it has sides.

    Returns
    -------
    dict of str to Comparisons
        Sorted by name: "debate (side)", or the debate's.

    Raises
    ------
    ValueError
        Naming file, line and what is accepted.
    OSError
        Where the file cannot be opened.
    """
    place = Path(path)
    files = sorted([*place.glob("*.jsonl"), *place.glob("*.jsonl.gz")]) if place.is_dir() else [place]
    if not files:
        raise ValueError(f"{place} holds no .jsonl or .jsonl.gz file")
    groups: dict[str, list[Label]] = {}
    for file in files:
        for line, row in json_rows(file, text_of(file)):
            where = f"{file}, line {line}"
            name = name_in(row, "debate", where)
            if by_side:
                name = f"{name} ({_side(row, where)})"
            keys = ("chosen_id", "rejected_id", "votes_chosen", "votes_rejected")
            if "a_id" in row:
                keys = ("a_id", "b_id", "votes_a", "votes_b")
            first, second = name_in(row, keys[0], where), name_in(row, keys[1], where)
            if first == second:
                raise ValueError(f"{where}: {keys[0]} and {keys[1]} are both {first!r}; they must differ")
            votes = [count_in(row.get(key), key, where) for key in keys[2:]]
            groups.setdefault(name, []).extend([(first, second, votes[0]), (second, first, votes[1])])
    if not groups:
        raise ValueError(f"{place} holds no comparisons: the file is empty")
    voted = {name: pairs for name, pairs in sorted(groups.items()) if any(votes > 0 for *_, votes in pairs)}
    return {name: Comparisons.from_pairs(pairs).aggregated() for name, pairs in voted.items()}


def _side(row: dict[str, Any], where: str) -> str:
    sides = [line.partition(":")[2].strip() for line in str(row.get("prompt", "")).splitlines() if line[:5] == "Side:"]
    if not sides:
        raise ValueError(f"{where}: prompt has no line 'Side: …'; got {row.get('prompt')!r:.80}")
    return sides[0]
