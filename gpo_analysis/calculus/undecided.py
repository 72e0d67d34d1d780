"""The exception for a question that stays open."""

from __future__ import annotations


class Undecided(ValueError):
    """A question about a function that stays open: no bad input, but nothing that could be proved or computed.

    Every function of a loss raises it where it has no answer; results that hold several answers have None or ``nan`` in
    its place and the reason beside it.

    Parameters
    ----------
    reason : str
        Why, in words; also an attribute. The message is "not decided: " and the reason.

    Examples
    --------
    >>> str(Undecided("the limit for z → ∞ is not known"))
    'not decided: the limit for z → ∞ is not known'
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"not decided: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[Undecided], tuple[str]]:
        return Undecided, (self.reason,)
