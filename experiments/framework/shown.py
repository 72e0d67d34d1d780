"""A record's claims as a table for a terminal: each prediction beside its measurement, with interval and verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.framework.checks import VERDICTS, verdict_of
from gpo_analysis.records import Record

Row = Mapping[str, Any]
LEAST = 30
"""Characters that a claim has at least, however narrow the terminal."""


def shown(record: Record, width: int = 100, *, parts: bool = False) -> str:
    """A record's claims: verdict, predicted, computed with its 95 % interval, and the claim with its note.

    Parameters
    ----------
    record : Record
    width : int
        Characters a line.
    parts : bool
        With a line for each loss, seed or setting of a claim.

    Examples
    --------
    >>> import pandas as pd
    >>> check = {"claim": "the slope is 2", "predicted": 2.0, "computed": 2.06, "tolerance": 0.1, "holds": None,
    ...          "kind": "equal", "low": 2.0, "high": 2.12, "verdict": "undecided", "note": "three seeds"}
    >>> print(shown(Record("demo", {}, pd.DataFrame({"x": [1.0]}), {"claim": "It rises.", "checks": [check]}), 80))
    demo: It rises.
    <BLANKLINE>
    verdict    predicted  computed [95 %]  claim
    undecided  2 ± 0.1    2.06 [2, 2.12]   the slope is 2
                                             three seeds
    <BLANKLINE>
    1 claim: 1 undecided
    """
    meta, head = record.meta, ("verdict", "predicted", "computed [95 %]")
    rows: list[tuple[tuple[str, str, str], str, str]] = []
    for check in meta["checks"]:
        mark = f" (restated: {check['restated']})" if check.get("restated") else ""
        rows.append((_numbers(check), str(check["claim"]) + mark, str(check.get("note") or "")))
        if check.get("mechanism"):
            rows.append((("", "", ""), "", f"why: {check['mechanism']}"))
        if parts:
            rows += [(_numbers(part), f"· {part['of']}", "") for part in check.get("parts") or []]
    widths = [max(len(row[0][k]) for row in [(head,), *rows]) for k in range(3)]
    room = max(LEAST, width - sum(widths) - 6)
    lines = textwrap.wrap(f"{record.name}: {meta.get('claim', '')}", width)
    lines += [*_origin(meta, width), "", _line(head, widths, "claim")]
    for numbers, claim, note in rows:
        told = textwrap.wrap(claim, room) + textwrap.wrap(note, room, initial_indent="  ", subsequent_indent="  ")
        for place, text in enumerate(told or [""]):
            lines.append(_line(numbers if place == 0 else ("", "", ""), widths, text))
    return "\n".join([*lines, "", counted(meta["checks"])])


def counted(checks: Sequence[Row]) -> str:
    """How many claims there are of each verdict.

    Examples
    --------
    >>> counted([{"holds": True}, {"holds": True}, {"holds": False}])
    '3 claims: 2 hold, 1 contradicted'
    """
    named = [verdict_of(check) for check in checks]
    found = [(verdict, named.count(verdict)) for verdict in VERDICTS]
    words = [f"{count} {'hold' if verdict == 'holds' and count != 1 else verdict}" for verdict, count in found if count]
    return f"{len(checks)} claim{'' if len(checks) == 1 else 's'}: {', '.join(words) or 'none'}"


def by_verdict(checks: Sequence[Row], width: int = 100) -> str:
    """The claims under each verdict, a line each, indented.

    Examples
    --------
    >>> checks = [{"claim": name, "holds": name != "b"} for name in "abc"]
    >>> print(by_verdict(checks))
      holds:
        a
        c
      contradicted:
        b
    """
    lines = []
    for verdict in VERDICTS:
        meant = [str(check["claim"]) for check in checks if verdict_of(check) == verdict]
        lines += [f"  {verdict}:"] if meant else []
        for claim in meant:
            lines += textwrap.wrap(claim, width, initial_indent="    ", subsequent_indent="      ")
    return "\n".join(lines)


def verdicts(checks: Sequence[Row]) -> str:
    """Claims by verdict, and theorem checks and measurements apart; older records do not tell these apart.

    Examples
    --------
    >>> verdicts([{"holds": True, "nature": "theorem"}, {"holds": False, "nature": "measurement"}])
    '1 of 2 claims hold, 1 contradicted (theorem checks: 1 of 1, measurements: 0 of 1)'
    >>> verdicts([{"holds": None, "verdict": "not run", "nature": "theorem"}])
    '0 of 1 claims hold, 1 not run'
    """
    named = [verdict_of(check) for check in checks]
    words = f"{named.count('holds')} of {len(checks)} claims hold"
    for verdict in VERDICTS[1:]:
        words += f", {named.count(verdict)} {verdict}" if verdict in named else ""
    apart = []
    for nature, label in (("theorem", "theorem checks"), ("measurement", "measurements")):
        part = [verdict_of(check) for check in checks if check.get("nature") == nature]
        part = [verdict for verdict in part if verdict != "not run"]
        apart += [f"{label}: {part.count('holds')} of {len(part)}"] if part else []
    return words + (f" ({', '.join(apart)})" if apart else "")


def not_held(checks: Sequence[Row], most: int = 6) -> list[str]:
    """A line for each claim that does not hold, with its numbers and why.

    Examples
    --------
    >>> claim = {"claim": "slope", "predicted": 2.0, "computed": 2.06, "tolerance": 0.1, "kind": "equal"}
    >>> not_held([{**claim, "verdict": "undecided", "holds": None, "note": "95 % interval [2, 2.12]"}])
    ['undecided: slope: computed 2.06, predicted 2 ± 0.1 (95 % interval [2, 2.12])']
    """
    lines = []
    for check in checks:
        if verdict_of(check) == "holds":
            continue
        words = f"{verdict_of(check)}: {check['claim']}"
        if isinstance(check.get("computed"), float | int) and isinstance(check.get("predicted"), float | int):
            within = f" ± {check['tolerance']:.3g}" if check.get("kind") == "equal" and check.get("tolerance") else ""
            kind = {"at_least": "at least ", "at_most": "at most "}.get(str(check.get("kind")), "")
            words += f": computed {check['computed']:.3g}, predicted {kind}{check['predicted']:.3g}{within}"
        lines.append(words + (f" ({check['note']})" if check.get("note") else ""))
    return lines[:most] + ([f"… {len(lines) - most} more (python -m figures report)"] if len(lines) > most else [])


def _numbers(check: Row) -> tuple[str, str, str]:
    relation = {"at_least": "≥ ", "at_most": "≤ "}.get(str(check.get("kind")), "")
    tolerance, low = check.get("tolerance"), check.get("low")
    allowed = "" if tolerance is None or tolerance == 0.0 else f" ± {_number(tolerance)}"
    ends = "" if low is None or check.get("kind") == "between" else f" [{_number(low)}, {_number(check['high'])}]"
    verdict = str(check["verdict"]) if check.get("verdict") else verdict_of(check)
    return verdict, f"{relation}{_number(check['predicted'])}{allowed}", f"{_number(check['computed'])}{ends}"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float | int) and not isinstance(value, bool) else str(value)


def _line(cells: Sequence[str], widths: Sequence[int], last: str) -> str:
    return "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), last]).rstrip()


def _origin(meta: Mapping[str, Any], width: int) -> list[str]:
    """Preset, commit and time of the run, and of the decision where that was another."""
    git = meta.get("git") or {}
    if not git.get("commit"):
        return []
    words = f"preset {meta.get('preset')}, run at commit {str(git['commit'])[:10]}, {str(meta.get('finished'))[:10]}"
    checked = meta.get("checked")
    if checked:
        words += f"; claims decided at commit {str(checked['git']['commit'])[:10]}, {str(checked['finished'])[:10]}"
    return textwrap.wrap(words, width)
