"""Which columns of a table say who was compared with whom, and how each comparison ended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gpo_analysis.reading import in_words

COUNTS = ("count", "counts", "votes", "weight", "weights", "n")
TIES = ("tie", "is_tie", "tied", "draw")
#: Who stood first and who second.
SIDES = (
    ("model_a", "model_b"), ("left", "right"), ("item_a", "item_b"), ("response_a", "response_b"),
    ("player_a", "player_b"), ("player1", "player2"), ("home", "away"), ("a", "b"),
)  # fmt: skip
#: What is compared under one prompt unless told otherwise, and texts rather than names.
TEXTS = (("chosen", "rejected"), ("response_a", "response_b"))
_WON = (("winner", "loser"), ("chosen", "rejected"))
_VOTED = (
    ("chosen_id", "rejected_id", "votes_chosen", "votes_rejected"),
    ("chosen", "rejected", "votes_chosen", "votes_rejected"),
    ("a_id", "b_id", "votes_a", "votes_b"),
)
_TABLE_TIES = ("ties", "tie", "draws", "n_ties")
_TABLE_BAD = ("ties_both_bad", "ties_bothbad", "both_bad", "bothbad")

#: Words for how a contest ended that name no side: to the codes of `contests.OUTCOMES`.
TIE_WORDS = {
    **dict.fromkeys(("tie", "tied", "draw", "drawn"), 2),
    **dict.fromkeys(("tie_bothbad", "bothbad", "both_bad", "tie_both_bad", "ties_both_bad", "tie_bad"), 3),
}
YES, NO = {"1", "true", "yes", "y", "t", "1.0"}, {"0", "false", "no", "n", "f", "0.0"}

_LOOKS_LIKE = (
    (re.compile(r"(^|_)(n|num|number|nb|cnt|counts?|weights?|weighting|weighted|wt|w|freq|frequency|votes?|times|many|qty|"
                r"quantity|amount|total|games?|matches|occurrences?|tally|importance|multiplicity|repeats?|wins?|losses)(_|$)|"
                r"(?<!ac)(?<!dis)(count|weight|vote)s?$|^(num|vote|weight)|^#$"),
     "as if it counted; call it count to have it used"),
    (re.compile(r"(^|_)(is)?(ties?|tied|draws?|drawn|equal|outcome|result)(_|$)"),
     "as if it told of ties; give a column tie with 1 where neither won"),
    (re.compile(r"(^|_)(prob|probability|p|soft_label|preference)(_|$)"),
     "as if it said how likely a win is; give two rows a pair with counts p and 1 − p"),
    (re.compile(r"^(prompt_id|prompts|question|instruction|context|query|input)$"),
     "as if it said which items are compared with each other; call it prompt to have it used"),
)  # fmt: skip
_OF_TEXTS = re.compile(r"token|turn|word|char|length|sentence")  # numbers of these count no labels


@dataclass(frozen=True)
class Layout:
    """Which columns are read, and how.

    Attributes
    ----------
    kind : {"won", "sided", "marked", "counted"}
        A winner and a loser; two sides and a winner; two sides and a column of 0 and 1 for each end; counts of ends.
    first, second : str
        Columns of who was compared.
    ends : tuple of str
        Columns that say how it ended: the winner; or those of first, second, tie and tie (bothbad), ``""`` for none.
    counts, ties : tuple of str
        Columns of COUNTS and TIES that are there.
    prompt : str
        ``"prompt"`` where there is one, else ``""``.
    is_text : bool
        Whether the sides are texts, of which two alike are left out, rather than names.
    within_prompts : bool
        Whether items are compared within a prompt unless told otherwise.
    """

    kind: Literal["won", "sided", "marked", "counted"]
    first: str
    second: str
    ends: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    ties: tuple[str, ...] = ()
    prompt: str = ""
    is_text: bool = False
    within_prompts: bool = False

    @property
    def used(self) -> tuple[str, ...]:
        """Every column that is read."""
        return tuple(name for name in (self.first, self.second, *self.ends, *self.counts, *self.ties) if name)

    @property
    def told(self) -> str:
        """The columns by which the layout is known."""
        return ", ".join(name for name in (self.first, self.second, *self.ends) if name)


def layout_of(columns: Sequence[str]) -> Layout | None:
    """The layout of a table with these columns (in lower case), or None where there is none.

    Examples
    --------
    >>> layout_of(["winner", "loser", "count"]).told
    'winner, loser'
    >>> layout_of(["model_a", "model_b", "winner", "judge"]).kind
    'sided'
    """
    have = set(columns)
    counts = tuple(name for name in COUNTS if name in have)
    ties = tuple(name for name in TIES if name in have)
    prompt = "prompt" if "prompt" in have else ""
    for names in _VOTED:
        if set(names) <= have:
            ends = (names[2], names[3], "votes_equal" if "votes_equal" in have else "", "")
            return Layout("counted", names[0], names[1], ends, prompt=prompt, within_prompts=True)
    for first, second in _WON:
        if {first, second} <= have:
            is_text = (first, second) in TEXTS
            return Layout("won", first, second, (), counts, ties, prompt, is_text, within_prompts=True)
    for first, second in SIDES:
        if {first, second} <= have:
            found = _two_sides(first, second, have, counts, ties, prompt)
            if found is not None:
                return found
    return None


def _two_sides(
    first: str, second: str, have: set[str], counts: tuple[str, ...], ties: tuple[str, ...], prompt: str
) -> Layout | None:
    is_text = (first, second) in TEXTS
    if "winner" in have:
        return Layout("sided", first, second, ("winner",), counts, ties, prompt, is_text, is_text)
    marks = (f"winner_{first}", f"winner_{second}")
    if set(marks) <= have:
        others = ("winner_tie", next((name for name in ("winner_tie_bothbad", "winner_bothbad") if name in have), ""))
        ends = (*marks, *(name if name in have else "" for name in others))
        return Layout("marked", first, second, ends, counts, (), prompt, is_text, is_text)
    one, two = short(first), short(second)
    for wins in (
        (f"{first}_wins", f"{second}_wins"), (f"{one}_wins", f"{two}_wins"), (f"wins_{one}", f"wins_{two}"),
        (f"win{one}", f"win{two}"), ("wins", "losses"), ("win", "loss"),
    ):  # fmt: skip
        if set(wins) <= have:
            tied = next((name for name in _TABLE_TIES if name in have), "")
            bad = next((name for name in _TABLE_BAD if name in have), "")
            return Layout("counted", first, second, (*wins, tied, bad), (), (), prompt, is_text, is_text)
    return None


def short(side: str) -> str:
    """What tells a side's column from the other's: ``a`` of model_a, ``1`` of player1, ``home`` of home.

    Examples
    --------
    >>> [short(name) for name in ("model_a", "player1", "home")]
    ['a', '1', 'home']
    """
    return side.rpartition("_")[2] if "_" in side else side[-1] if side[-1].isdigit() else side


def side_name(side: str) -> str:
    """The last word of a side's column.

    Examples
    --------
    >>> side_name("model_a"), side_name("winner")
    ('a', 'winner')
    """
    return side.rpartition("_")[2]


def words_of_sides(layout: Layout, own: Mapping[str, str]) -> dict[str, int]:
    """Words for who won, in lower case with _ between their parts: 0 for the first side, 1 for the second.

    Parameters
    ----------
    layout : Layout
    own : mapping of str to str
        From names of columns to those that the file has for them.
    """
    words = {layout.first: 0, layout.second: 1, short(layout.first): 0, short(layout.second): 1}
    for code, side in enumerate((layout.first, layout.second)):
        words[re.sub(r"[\W_]+", "_", own.get(side, side).strip().casefold()).strip("_")] = code
    if short(layout.first) == "a":
        words |= {"1": 0, "2": 1}
    return words


def looks_like(name: str, layout: Layout) -> str | None:
    """What a column that is not used looks like, in words; None where it looks like nothing that counts."""
    if _OF_TEXTS.search(name):
        return None
    by_prompt = layout.within_prompts and not layout.prompt
    known = _LOOKS_LIKE if by_prompt else _LOOKS_LIKE[:-1]
    return next((words for pattern, words in known if pattern.search(in_words(name))), None)
