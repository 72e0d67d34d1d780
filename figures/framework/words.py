"""How the report writes a check: its verdict, numbers with intervals, what Markdown would read as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

VERDICTS = ("holds", "contradicted", "undecided", "not run")
NATURES = {"theorem": "theorem checks", "measurement": "measurements"}
_OF_OLD = {True: "holds", False: "contradicted", None: "not run"}
_RELATION = {"at_most": "≤ ", "at_least": "≥ "}
_SPECIAL = str.maketrans({character: "\\" + character for character in "\\`*_[]<>|~&"})
_BLOCK = re.compile(r"^(?=[#+=-])|(?<=^\d)(?=[.)])|(?<=^\d\d)(?=[.)])")  # would begin a heading or a list


def verdict_of(row: Mapping[str, Any]) -> str:
    """The verdict of a check as its record keeps it; records of before 26 November 2026 have ``holds`` alone."""
    return str(row.get("verdict") or _OF_OLD[row["holds"]])


def shown_of(check: Mapping[str, Any]) -> dict[str, Any]:
    """What the report keeps of a check, with today's defaults for what an older record has not."""
    row = {part: check[part] for part in ("claim", "predicted", "computed", "tolerance", "holds")}
    row |= {"kind": check.get("kind", "equal"), "note": check.get("note", ""), "verdict": verdict_of(check)}
    row |= {"nature": check.get("nature", "measurement"), "restated": check.get("restated", "")}
    row |= {part: check.get(part) for part in ("low", "high")} | {"parts": check.get("parts", [])}
    row["mechanism"] = check.get("mechanism", "")
    if check["holds"] is None:
        row["why"] = check.get("note", "")
    return row


def counted(rows: Iterable[Mapping[str, Any]]) -> str:
    """How many there are of each verdict, in words: ``5 hold, 1 is contradicted, 2 are undecided``."""
    named = [row["verdict"] for row in rows]
    words = {
        "holds": ("holds", "hold"), "contradicted": ("is contradicted", "are contradicted"),
        "undecided": ("is undecided", "are undecided"), "not run": ("was not run", "were not run"),
    }  # fmt: skip
    found = [(verdict, named.count(verdict)) for verdict in VERDICTS]
    return ", ".join(f"{count} {words[verdict][count != 1]}" for verdict, count in found if count) or "none"


def with_interval(row: Mapping[str, Any], digits: int = 3) -> str:
    """The number that came out, with its 95 % interval where there is one."""
    value = number(row["computed"], digits)
    if row["kind"] == "between" or row["low"] is None:
        return value
    return f"{number(row['computed'])} [{number(row['low'])}, {number(row['high'])}]"


def number(value: Any, digits: int = 3) -> str:
    """A number in a few digits, words as they are, and a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def predicted(row: Mapping[str, Any], digits: int = 6) -> str:
    """What was predicted, with its relation."""
    return _RELATION.get(row["kind"], "") + number(row["predicted"], digits)


def escaped(text: str) -> str:
    """Return ``text`` in one line, with everything Markdown would read as markup escaped."""
    return _BLOCK.sub(r"\\", " ".join(text.split()).translate(_SPECIAL))


def emphasised(verdict: str) -> str:
    """A verdict, in bold unless it holds."""
    return verdict if verdict == "holds" else f"**{verdict}**"


def restated(row: Mapping[str, Any]) -> str:
    """A mark on a claim that was stated anew after a first run."""
    return f" *(restated: {escaped(row['restated'])})*" if row.get("restated") else ""


def link(name: str) -> str:
    """A link to an experiment's part of the report."""
    return f"[{escaped(name)}](<#{quote(name)}>)"


def allowed(row: Mapping[str, Any]) -> str:
    """The tolerance around what was predicted, where there is one."""
    tolerance = row["tolerance"]
    return "" if tolerance is None or tolerance == 0.0 else f" ± {number(tolerance)}"
