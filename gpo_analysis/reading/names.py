"""Which spellings are one name: Unicode forms, white space, invisible characters, 1 and 1.0."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

from gpo_analysis.reading.report import Joined
from gpo_analysis.reading.values import text_in
from gpo_analysis.reading.visible import shown

# what programs write where a value is missing, and words for a tie: names of nobody
_NO_NAMES = frozenset(
    [
        "nan",
        "-nan",
        "none",
        "null",
        "nil",
        "na",
        "n/a",
        "#n/a",
        "#na",
        "<na>",
        "<nan>",
        "<none>",
        "<null>",
        "nat",
        "undefined",
        "#null!",
        "1.#ind",
        "-1.#ind",
        "1.#qnan",
        "-1.#qnan",
        "#ref!",
        "#value!",
        "#name?",
    ]
) | {"#n/a n/a"}
_TIES = frozenset({"tie", "draw", "bothbad", "both bad", "both_bad", "tie (bothbad)"})
# controls that are no white space, format characters (Unicode's Cf: zero width, direction, soft hyphen, tags) and
# variation selectors
_INVISIBLE = re.compile(
    "[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]+"
)
_WHOLE = re.compile(r"([+-]?\d+)\.0+", re.ASCII)


class Names:
    """The names of a file, each under the spelling that came first.

    Parameters
    ----------
    items : bool
        Whether a word for a tie is refused: nobody is called so.
    missing : bool
        Whether marks of a missing value (NaN, None, null) are refused where they are text. Answers may read so.
    unit : str
        What places are numbered by.

    Examples
    --------
    >>> names = Names()
    >>> names.take("José", "winner", "votes.csv", 2) == names.take("Jose\\u0301", "loser", "votes.csv", 3)
    True
    >>> [(found.line, found.why) for found in names.joined]
    [(3, 'the same in another Unicode form')]
    """

    def __init__(self, *, items: bool = True, missing: bool = True, unit: str = "line") -> None:
        self._items, self._missing, self._unit = items, missing, unit
        self.joined: list[Joined] = []
        self.order: tuple[str, ...] = ()
        self._told: set[tuple[str, str]] = set()
        self._taken: dict[tuple[type, Any], str] = {}
        self._first: dict[str, tuple[str, int]] = {}

    def take(self, value: Any, what: str, path: str, line: int) -> str:
        """The name that this value is a spelling of.

        Raises
        ------
        ValueError
            Naming the place, where it is empty, no text or number, the mark of a missing value (NaN, None, null), or
            a word for a tie.
        """
        cached = self._taken.get((type(value), value)) if isinstance(value, str | int) else None
        if cached is not None:
            return cached
        where = f"{path}, {self._unit} {line}"
        text = text_in(value, what, where)
        folded = text.casefold()
        if (self._missing and folded in _NO_NAMES) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(
                f"{where}: {what} is {text!r}, which marks a missing value; take the row out, or rename the item if it "
                "is called so"
            )
        if self._items and folded in _TIES:
            raise ValueError(
                f"{where}: {what} is {text!r}; a tie is given by columns model_a, model_b and winner, or by 1 in a "
                "column tie; rename the item if it is called so"
            )
        key = str(int(value)) if isinstance(value, float) and value.is_integer() else _key(text)
        if not key:
            raise ValueError(f"{where}: {what} is {text!r}: invisible characters alone; accepted are non-empty names")
        name, first = self._first.setdefault(key, (text, line))
        if text != name and (text, name) not in self._told:
            self._told.add((text, name))
            self.joined.append(Joined(line, text, name, first, _difference(text, name)))
        if isinstance(value, str | int):
            self._taken[type(value), value] = name
        return name

    def find(self, value: Any) -> str | None:
        """The name that this value is a spelling of, or None where no such name was taken; never an error."""
        text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
        if not text:
            return None
        key = str(int(value)) if isinstance(value, float) and value.is_integer() else _key(text)
        return self._first.get(key, (None, 0))[0]

    def alike(self) -> list[str]:
        """Names that were kept apart though they look alike, in words."""
        groups: dict[str, list[str]] = {}
        for key, (name, _) in self._first.items():
            plain = key if key.isascii() else unicodedata.normalize("NFKC", key)
            groups.setdefault(plain.casefold(), []).append(name)
        found = [names for names in groups.values() if len(names) > 1]
        told = [f"kept apart: {' and '.join(ascii(shown(n)) for n in names[:4])}" for names in found[:5]]
        return told + ([f"{len(found) - 5} more groups of names that look alike, kept apart"] if len(found) > 5 else [])


def _key(text: str) -> str:
    """What two spellings of one name have in common."""
    if text.isascii() and text.isprintable():
        key = " ".join(text.split())
    else:
        key = unicodedata.normalize("NFC", " ".join(_INVISIBLE.sub("", text).split()))
    whole = _WHOLE.fullmatch(key)
    return whole[1] if whole else key


def _difference(text: str, name: str) -> str:
    a, b = unicodedata.normalize("NFC", text), unicodedata.normalize("NFC", name)
    if a == b:
        return "the same in another Unicode form"
    a, b = " ".join(a.split()), " ".join(b.split())
    if a == b:
        return "the same but for white space"
    if set(a + b) <= set("0123456789.+-e"):
        return "the same number"
    return "the same but for invisible characters"
