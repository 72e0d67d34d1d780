"""Text of strangers on a screen: what would move the cursor, hide or turn the line is written out."""

from __future__ import annotations

import re

# delete and C1 controls, soft hyphen, zero-width and direction marks, line and paragraph separators, surrogates, tags
BEYOND_ASCII = (
    "\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f"
)
_UNSEEN = re.compile(f"[\x00-\x1f{BEYOND_ASCII}]")


def visible(text: str) -> str:
    r"""The text with control characters, direction marks and lone surrogates as escapes; on one line.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> print(visible("two\nlines, \x1b[31mred"))
    two\nlines, \x1b[31mred
    """
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def on_one_line(text: str) -> str:
    r"""The text without what cannot be seen, and with one space for every run of blanks and line breaks.

    Examples
    --------
    >>> on_one_line("(1 -\n    z)\u200b**2 ")
    '(1 - z)**2'
    """
    return _UNSEEN.sub("", " ".join(text.split()))


def shown(text: str, width: int = 60) -> str:
    """`visible` text, cut in the middle to at most so many columns of a table.

    Examples
    --------
    >>> shown("a" * 40 + "b" * 40, 21)
    'aaaaaaaaaa…bbbbbbbbbb'
    """
    seen = visible(text if len(text) <= 4 * width else text[: 2 * width] + text[-2 * width :])
    if len(seen) <= width:
        return seen
    return f"{seen[: width // 2]}…{seen[len(seen) - (width - 1 - width // 2) :]}"
