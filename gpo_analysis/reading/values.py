"""Single values of a table, taken strictly: what Python would let pass (1_000, True, "infinity") is refused."""

from __future__ import annotations

import contextlib
import math
import re
import reprlib
from typing import Any

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
#: Half a character: a lone surrogate.
HALF = re.compile("[\ud800-\udfff]")
_NESTED = reprlib.Repr()  # of few parts: YAML's aliases make lists of a billion
MOST_DIGITS = 400  #: Characters of a number that may be meant: float's own take at most some 340.


def is_blank(value: Any) -> bool:
    """Whether a cell is empty: nothing, white space, or the mark of a frame's missing value (NA, NaT)."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def is_finite(value: Any) -> bool:
    """Whether a number is finite and within what a float holds.

    Examples
    --------
    >>> is_finite(3), is_finite(float("inf")), is_finite(10**400)
    (True, False, False)
    """
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def number_in(value: Any, what: str, where: str, *, least: float = -math.inf) -> float:
    """A finite number, of JSON or written out in digits.

    Parameters
    ----------
    value : object
        What stands in the file.
    what, where : str
        The column, and "file, line n", for the message.
    least : float
        The smallest number that is accepted.

    Raises
    ------
    ValueError
        Naming the place, the value and what is accepted.

    Examples
    --------
    >>> number_in("2.5e1", "count", "games.csv, line 2", least=0)
    25.0
    >>> number_in("1_000", "count", "games.csv, line 3", least=0)
    Traceback (most recent call last):
    ...
    ValueError: games.csv, line 3: count is '1_000'; accepted are finite numbers of at least 0
    """
    number, text = math.nan, value.strip() if isinstance(value, str) else ""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            number = number_of(text)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if math.isfinite(number) and number >= least:
        return number
    if isinstance(value, str) and not text:
        raise ValueError(f"{where}: {what} is empty; fill it in or take the row out ({_accepted(least)})")
    hint = _hint(text) if math.isnan(number) else ""
    raise ValueError(f"{where}: {what} is {in_short(value)}{hint}; {_accepted(least)}")


def number_of(text: str) -> float:
    """The finite number that a text is, as strictly as `number_in` takes it.

    Raises
    ------
    ValueError
        Naming the text.

    Examples
    --------
    >>> number_of(" 1e-3 ")
    0.001
    """
    written = text.strip()
    number = float_of(written) if len(written) <= MOST_DIGITS and _NUMBER.fullmatch(written) else math.nan
    if math.isnan(number):
        raise ValueError(f"{in_short(text)} is not a valid float{_hint(written)}")
    return number


def float_of(text: str) -> float:
    """The number that is written; NaN where it is beyond what a float holds, 0 written as such alone is 0.

    Examples
    --------
    >>> float_of("1e-400"), float_of("1e400"), float_of("0e400")
    (nan, nan, 0.0)
    """
    number = float(text)
    lost = math.isinf(number) or (number == 0 and re.search("[1-9]", text.lower().partition("e")[0]) is not None)
    return math.nan if lost else number


def _hint(text: str) -> str:
    """Why a text that looks like a number is none, where that can be told."""
    if _COMMA.fullmatch(text):
        return " (a decimal comma? a point is read)"
    if len(text) > MOST_DIGITS:
        return f" ({len(text):,} characters; a number has at most {MOST_DIGITS})"
    return " (beyond what a float holds, 5e-324 to 1.8e308)" if _NUMBER.fullmatch(text) else ""


def text_in(value: Any, what: str, where: str) -> str:
    """Text without outer white space; a number counts as its digits.

    Raises
    ------
    ValueError
        Where it is empty, no text or number, or holds half a character (a lone surrogate).

    Examples
    --------
    >>> text_in(" tea ", "winner", "games.csv, line 2"), text_in(7, "winner", "games.jsonl, line 1")
    ('tea', '7')
    """
    usable = isinstance(value, str | int | float) and not isinstance(value, bool)
    try:
        text = str(value).strip() if usable else ""
    except ValueError:  # an integer of more digits than Python writes
        text = ""
    if not text:
        raise ValueError(f"{where}: {what} is {in_short(value)}; accepted are non-empty names")
    half = HALF.search(text)
    if half is not None:
        raise ValueError(
            f"{where}: {what} is {in_short(value)}, which holds the lone surrogate {half[0]!a}: half of a character, "
            "cut apart where the file was written; accepted is whole text"
        )
    return text


def _accepted(least: float) -> str:
    return "accepted are finite numbers" + (f" of at least {least:g}" if math.isfinite(least) else "")


def in_short(value: Any) -> str:
    """A value as Python writes it, in at most 60 characters: also an integer of any length, or lists within lists.

    Examples
    --------
    >>> in_short("a"), in_short(1 << 20_000)
    ("'a'", 'an integer of thousands of digits')
    """
    try:
        whole = _NESTED.repr(value) if isinstance(value, list | dict | set | tuple) else repr(value)
    except ValueError:
        return "an integer of thousands of digits"
    return whole if len(whole) <= 60 else f"{whole[:59]}…"
