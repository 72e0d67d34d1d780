"""Votes on arguments, as derived from UKPConvArg1 (Habernal and Gurevych, ACL 2016): a set of comparisons a debate.

JSON lines with ``debate, prompt, chosen_id, rejected_id, votes_chosen, votes_rejected``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpo_analysis.preferences.comparisons import Comparisons, Label
from gpo_analysis.reading import Names, ReadReport, Row, Table, is_blank, number_in, read_table, text_in


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
    names: dict[str, Names] = {}
    reports = []
    for file in files:
        table = read_table(file, lambda columns: "debate" in columns, "debate, prompt and the keys of votes")
        equal = 0.0
        for row in table.rows:
            debate, first, second, votes, tied = _votes(row, table.where(row.line), by_side)
            book = names.setdefault(debate, Names(items=False))
            one, two = (book.take(value, "an argument", table.path, row.line) for value in (first, second))
            if one == two:
                raise ValueError(f"{table.where(row.line)}: both arguments are {one!r:.60}; they must differ")
            groups.setdefault(debate, []).extend([(one, two, votes[0]), (two, one, votes[1])])
            equal += tied
        reports.append(_report(table, equal))
    if not groups:
        raise ValueError(f"{place} holds no comparisons: the file is empty")
    voted = {name: pairs for name, pairs in sorted(groups.items()) if any(votes > 0 for *_, votes in pairs)}
    notes = tuple(note for report in reports for note in report.notes)
    whole = ReadReport(
        str(place), reports[0].format, sum(r.rows for r in reports), sum(r.used for r in reports), notes=notes
    )
    return {name: Comparisons.of_labels(pairs, whole).aggregated() for name, pairs in voted.items()}


def _votes(row: Row, where: str, by_side: bool) -> tuple[str, Any, Any, tuple[float, float], float]:
    """Debate, the two arguments, the votes for each and those for neither."""
    values = row.values
    keys = ("chosen_id", "rejected_id", "votes_chosen", "votes_rejected")
    if "a_id" in values:
        keys = ("a_id", "b_id", "votes_a", "votes_b")
    debate = text_in(values.get("debate"), "debate", where)
    if by_side:
        debate = f"{debate} ({_side(values, where)})"
    missing = next((key for key in keys if key not in values), None)
    if missing is not None:
        raise ValueError(f"{where}: missing {missing!r}; the keys are {', '.join(map(repr, values)):.200}")
    if values[keys[0]] == values[keys[1]]:
        raise ValueError(f"{where}: {keys[0]} and {keys[1]} are both {values[keys[0]]!r:.60}; they must differ")
    won, lost = (number_in(values[key], key, where, least=0) for key in keys[2:])
    tied = (
        0.0 if is_blank(values.get("votes_equal")) else number_in(values["votes_equal"], "votes_equal", where, least=0)
    )
    return debate, values[keys[0]], values[keys[1]], (won, lost), tied


def _report(table: Table, equal: float) -> ReadReport:
    notes = (f'{equal:g} votes for "equally convincing" left out',) if equal else ()
    return ReadReport(table.path, table.format, len(table.rows), len(table.rows), notes=notes)


def _side(row: dict[str, Any], where: str) -> str:
    sides = [line.partition(":")[2].strip() for line in str(row.get("prompt", "")).splitlines() if line[:5] == "Side:"]
    if not sides:
        raise ValueError(f"{where}: prompt has no line 'Side: …'; got {row.get('prompt')!r:.80}")
    return sides[0]
