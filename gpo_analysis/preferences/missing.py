"""What is said of a table whose columns are not those of comparisons."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gpo_analysis.preferences.layouts import COUNTS, SIDES, TIES, short
from gpo_analysis.preferences.options import COLUMNS
from gpo_analysis.reading import in_words, shown
from gpo_analysis.reading.column import ColumnTable
from gpo_analysis.reading.tables import key_of

_KNOWN = {"winner", "loser", "chosen", "rejected", "prompt", *COUNTS, *TIES, *(name for pair in SIDES for name in pair)}
_WHO_WON = re.compile(
    r"(^|_)(prefer(red|ence|s)?|label|choice|chosen|better|best|outcome|result|verdict|judge?ment|vote|win|won|winning)(_|$)"
)


def missing(table: ColumnTable) -> str:
    """The place, which columns are missing, what there is as it is written, and what to do.

    Parameters
    ----------
    table : ColumnTable
    """
    names = list(table.names)
    sides = next((pair for pair in SIDES if set(pair) <= set(names)), None)
    got = ", ".join(table.written or names)
    known = {in_words(name) for name in names} & _KNOWN - {"a", "b"}
    header = "" if known or not table.format.startswith("CSV") else f"; {_header(len(names))}"
    if sides is not None and "winner" not in names and not header:
        spelled = {key_of(name): name for name in table.written}
        who = _who_won(sides, [spelled.get(name, name) for name in names])
        return f"{table.where()}: missing column winner in the header {got!r:.200}; {who}"
    absent = [name for name in ("winner", "loser") if name not in names]
    hint = f"accepted are {COLUMNS}, or a name for each: --columns winner=… --columns loser=…, in Python columns={{…}}"
    if table.format.startswith("JSON"):
        return f"{table.where(0)}: missing {' and '.join(map(repr, absent))}; the keys are {got!r:.200}; {hint}"
    return f"{table.where()}: missing column {' and '.join(absent)} in the header {got!r:.200}{header}; {hint}"


def _who_won(sides: tuple[str, str], names: Sequence[str]) -> str:
    """How to say who won, where both sides are there."""
    first, second = sides
    letters = f" (or {short(first)}, 1)", f" (or {short(second)}, 2)"
    if short(first) != "a":
        letters = ("", "")
    told = f"{first} and {second} are there, but not who won, {first}{letters[0]}, {second}{letters[1]} or tie"
    likely = [name for name in names if _WHO_WON.search(in_words(key_of(name))) and key_of(name) not in sides]
    if likely:
        own = shown(likely[0], 40)
        return f"{told}; where {own} says it: --columns winner={own}, in Python columns={{'winner': {own!r}}}"
    return f"{told}; counts of wins are {first}_wins, {second}_wins and ties"


def _header(columns: int) -> str:
    usual = {2: "winner,loser", 3: "winner,loser,count, or model_a,model_b,winner"}
    one = usual.get(columns, "prompt,chosen,rejected")
    return f"the first line is taken as the header: where it is data, put one before it, such as {one}"
