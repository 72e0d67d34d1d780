"""A claim with its prediction, what came out, and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gpo_analysis.statistics import Interval

KINDS = ("equal", "at_most", "at_least", "between", "text")


class NotRun(Exception):
    """An experiment cannot run here; the message says why, and the report repeats it."""


@dataclass(frozen=True)
class Check:
    """One claim: predicted beside computed, and whether it holds.

    The class methods decide ``holds``; the constructor takes it as given.

    Parameters
    ----------
    claim : str
        One sentence that can be right or wrong.
    predicted, computed : float | str
        Numbers, or words where the claim is not about a number.
    tolerance : float | str or None
        Absolute difference allowed, words such as ``"relative 1e-6"``, or None for a comparison without one.
    holds : bool or None
        The verdict; None where it was not tested, with the reason in ``note``.
    note : str
        What a reader of the report should know, such as where a setting is ours.
    kind : str
        ``equal``, ``at_most``, ``at_least``, ``between`` or ``text``.
    low, high : float or None
        The interval of ``between``.

    Examples
    --------
    >>> Check.equal("the squared loss has κ = 1", 1.0, 1.0 + 1e-12, 1e-9).holds
    True
    >>> Check.at_most("the KL falls with β", 0.1, 0.3).holds
    False
    """

    claim: str
    predicted: float | str
    computed: float | str
    tolerance: float | str | None
    holds: bool | None
    note: str = ""
    kind: str = "equal"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        """Check the verdict and the kind."""
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}; accepted are {', '.join(KINDS)}")
        if self.holds is None and not self.note:
            raise ValueError(f"claim {self.claim!r} has no verdict and no note saying why")

    @classmethod
    def equal(
        cls, claim: str, predicted: float, computed: float, tolerance: float, *, relative: bool = False, note: str = ""
    ) -> Check:
        """Compare two numbers; ``tolerance`` is absolute, or relative to ``predicted``."""
        if predicted == computed:  # infinities of one sign included
            holds = True
        else:
            holds = abs(computed - predicted) <= tolerance * (abs(predicted) if relative else 1.0)
        shown = f"relative {tolerance:.3g}" if relative else float(tolerance)
        return cls(claim, float(predicted), float(computed), shown, bool(holds), note, "equal")

    @classmethod
    def at_most(cls, claim: str, bound: float, computed: float, tolerance: float = 0.0, *, note: str = "") -> Check:
        """The computed number is at most ``bound`` (plus an absolute tolerance for rounding)."""
        holds = computed <= bound + tolerance
        return cls(claim, float(bound), float(computed), float(tolerance), bool(holds), note, "at_most")

    @classmethod
    def at_least(cls, claim: str, bound: float, computed: float, tolerance: float = 0.0, *, note: str = "") -> Check:
        """The computed number is at least ``bound`` (minus an absolute tolerance for rounding)."""
        holds = computed >= bound - tolerance
        return cls(claim, float(bound), float(computed), float(tolerance), bool(holds), note, "at_least")

    @classmethod
    def between(cls, claim: str, low: float, high: float, computed: float, *, note: str = "") -> Check:
        """The computed number lies in [low, high]."""
        holds = low <= computed <= high
        shown = f"[{low:.6g}, {high:.6g}]"
        return cls(claim, shown, float(computed), None, bool(holds), note, "between", float(low), float(high))

    @classmethod
    def above(cls, claim: str, bound: float, found: Interval, over: str) -> Check:
        """A mean lies above ``bound``, its whole 95 % interval over what is drawn (``over``) with it."""
        return cls._beyond(claim, f"above {bound:g}", found, found.low > bound, over)

    @classmethod
    def below(cls, claim: str, bound: float, found: Interval, over: str) -> Check:
        """A mean lies below ``bound``, its whole 95 % interval over what is drawn (``over``) with it."""
        return cls._beyond(claim, f"below {bound:g}", found, found.high < bound, over)

    @classmethod
    def _beyond(cls, claim: str, predicted: str, found: Interval, holds: bool, over: str) -> Check:
        note = f"95 % interval over {over} [{found.low:.3g}, {found.high:.3g}]"
        return cls(claim, predicted, found.value, None, bool(holds), note, "text")

    @classmethod
    def text(cls, claim: str, predicted: str, computed: str, *, note: str = "") -> Check:
        """Words that are to be the same."""
        return cls(claim, predicted, computed, None, predicted == computed, note, "text")

    @classmethod
    def not_run(cls, claim: str, predicted: float | str, why: str) -> Check:
        """A claim that this run could not test, and why."""
        return cls(claim, predicted, "not run", None, None, why, "text" if isinstance(predicted, str) else "equal")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; infinite and NaN numbers become words."""
        return {name: _finite(getattr(self, name)) for name in self.__dataclass_fields__}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
