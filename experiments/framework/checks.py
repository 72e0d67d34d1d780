"""A claim with its prediction, what came out, and the verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gpo_analysis.statistics import Interval

KINDS = ("equal", "at_most", "at_least", "between", "text")
NATURES = ("theorem", "measurement")
VERDICTS = ("holds", "contradicted", "undecided", "not run")
UNKNOWN = "mechanism not known"
"""What a contradicted claim says where nobody knows why."""


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
        Whether it does; None where that is undecided or was not tested, with the reason in ``note``.
    note : str
        What a reader of the report should know, such as where a setting is ours.
    kind : str
        ``equal``, ``at_most``, ``at_least``, ``between`` or ``text``.
    low, high : float or None
        The interval of ``between``, or the 95 % interval of what was computed.
    nature : str
        ``theorem``, which only a bug can make fail, or ``measurement``, which can fail by nature.
    undecided : bool
        Whether it was tested and its interval allows both answers; ``holds`` is None then.
    restated : str
        Where the claim was stated anew after a first run: when, and why. Else empty.
    parts : tuple of (str, Check)
        What a claim over losses, seeds or settings says of each: the rows of its table.
    mechanism : str
        Of a contradicted claim: why it came out otherwise, with a number that says so; `UNKNOWN` where that is not
        known.

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
    nature: str = "measurement"
    undecided: bool = False
    restated: str = ""
    parts: tuple[tuple[str, Check], ...] = ()
    mechanism: str = ""

    def __post_init__(self) -> None:
        """Check the verdict, the kind and the nature."""
        for name, accepted in (("kind", KINDS), ("nature", NATURES)):
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name} {getattr(self, name)!r}; accepted are {', '.join(accepted)}")
        if self.holds is None and not self.note:
            raise ValueError(f"claim {self.claim!r} has no verdict and no note saying why")
        if self.undecided and self.holds is not None:
            raise ValueError(f"claim {self.claim!r} has holds={self.holds} and is called undecided; accepted is one")

    @property
    def verdict(self) -> str:
        """``holds``, ``contradicted``, ``undecided`` or ``not run``."""
        if self.holds is None:
            return "undecided" if self.undecided else "not run"
        return "holds" if self.holds else "contradicted"

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
    def within(cls, claim: str, predicted: float, found: Interval, tolerance: float, over: str) -> Check:
        """A value is ``predicted`` to within an absolute tolerance: an equivalence test by its whole 95 % interval.

        Where it holds and the interval does not have the predicted value itself, the note says so.

        Examples
        --------
        >>> Check.within("c", 1.0, Interval(1.05, 0.97, 1.12), 0.1, "seeds").verdict
        'undecided'
        >>> Check.within("c", 1.0, Interval(1.05, 1.02, 1.08), 0.1, "seeds").note
        '95 % interval over seeds [1.02, 1.08], without 1 itself: by the tolerance alone'
        """
        low, high = found.low - predicted, found.high - predicted
        holds = max(abs(low), abs(high)) <= tolerance
        beyond = low > tolerance or high < -tolerance
        check = cls._decided(claim, float(predicted), found, holds, beyond, over, float(tolerance), "equal")
        if not check.by_tolerance:
            return check
        return dataclasses.replace(check, note=f"{check.note}, without {predicted:.3g} itself: by the tolerance alone")

    @classmethod
    def above(cls, claim: str, bound: float, found: Interval, over: str) -> Check:
        """A value lies above ``bound``: its whole 95 % interval over what is drawn (``over``) there, below, or neither.

        Examples
        --------
        >>> [Check.above("c", 0.0, Interval(0.5, low, 0.9), "seeds").verdict for low in (0.1, -0.1)]
        ['holds', 'undecided']
        """
        return cls._decided(claim, f"above {bound:g}", found, found.low > bound, found.high < bound, over)

    @classmethod
    def below(cls, claim: str, bound: float, found: Interval, over: str) -> Check:
        """A value lies below ``bound``: its whole 95 % interval over what is drawn there, above, or neither."""
        return cls._decided(claim, f"below {bound:g}", found, found.high < bound, found.low > bound, over)

    @classmethod
    def _decided(
        cls, claim: str, predicted: float | str, found: Interval, holds: bool, beyond: bool, over: str,
        tolerance: float | None = None, kind: str = "text",
    ) -> Check:  # fmt: skip
        known = math.isfinite(found.low) and math.isfinite(found.high)
        note = f"95 % interval over {over} [{found.low:.3g}, {found.high:.3g}]" if known else f"no interval over {over}"
        decided = True if holds else False if beyond else None
        slack = 1e-9 * (1 + abs(found.value))  # rounding, where nothing varies
        if known and not found.low - slack <= found.value <= found.high + slack:  # resampling has moved the statistic
            decided, note = None, f"{note}, which does not hold the value itself: biased, and decides nothing"
        ends = (float(found.low), float(found.high)) if known else (None, None)
        return cls(
            claim, predicted, float(found.value), tolerance, decided, note, kind, *ends, undecided=decided is None
        )

    @classmethod
    def each(cls, claim: str, parts: Mapping[str, Check], *, note: str = "") -> Check:
        """One claim of several losses, seeds or settings, with what is said of each as its table.

        It holds where all of them do, is contradicted where one is, and undecided where one is; those that were not run
        decide nothing. The numbers shown are those of the part that decides, the farthest from what was predicted.

        Examples
        --------
        >>> slopes = {"logistic": Check.equal("f′(0)", -0.5, -0.5, 0.0), "hinge": Check.equal("f′(0)", -1.0, -2.0, 0.0)}
        >>> found = Check.each("slopes of Table 1", slopes)
        >>> found.verdict, found.computed, found.note
        ('contradicted', -2.0, 'at hinge; 1 of 2 hold')
        """
        if not parts:
            raise ValueError(f"claim {claim!r} has no parts")
        order = ("contradicted", "undecided", "holds", "not run")
        verdict = min((part.verdict for part in parts.values()), key=order.index)
        name = max((name for name, part in parts.items() if part.verdict == verdict), key=lambda n: parts[n]._off)
        shown = parts[name]
        held = sum(part.holds is True for part in parts.values())
        beside = sum(part.by_tolerance for part in parts.values())
        words = [
            f"at {name}",
            f"{held} of {len(parts)} hold" + (f", {beside} by the tolerance alone" if beside else ""),
        ]
        words += [note] if note else []
        words += [shown.note] if shown.note else []
        return dataclasses.replace(shown, claim=claim, note="; ".join(words), parts=tuple(parts.items()))

    @property
    def by_tolerance(self) -> bool:
        """Whether it holds though the interval lies beside what was predicted: within the tolerance, and not there."""
        if self.holds is not True or self.kind != "equal" or self.low is None or self.high is None:
            return False
        if isinstance(self.predicted, str):
            return False
        slack = 1e-9 * (1 + abs(self.predicted))  # rounding, where nothing varies
        return self.low > self.predicted + slack or self.high < self.predicted - slack

    @property
    def _off(self) -> float:
        """How far on the wrong side of what was predicted a number is, to compare parts of one claim by."""
        if isinstance(self.computed, str) or not math.isfinite(self.computed):
            return math.inf
        if isinstance(self.predicted, str):  # above or below a bound
            return -self.computed if self.predicted.startswith("above") else self.computed
        gap = self.computed - self.predicted
        return gap if self.kind == "at_most" else -gap if self.kind == "at_least" else abs(gap)

    def with_parts(self, parts: Mapping[str, Check]) -> Check:
        """The same claim, decided as it is, with a table of what it is made of."""
        return dataclasses.replace(self, parts=tuple(parts.items()))

    def as_theorem(self) -> Check:
        """The same check as one that only a bug can make fail.

        Examples
        --------
        >>> Check.equal("κ of the squared loss", 1.0, 1.0, 1e-12).as_theorem().nature
        'theorem'
        """
        return dataclasses.replace(self, nature="theorem")

    def as_restated(self, why: str) -> Check:
        """The same check, marked as stated anew after a first run: when, and why."""
        return dataclasses.replace(self, restated=why)

    def because(self, mechanism: str | Callable[[], str]) -> Check:
        """The same check, with why where it is contradicted; words that must be computed are then asked for.

        Examples
        --------
        >>> Check.at_most("the KL falls with β", 0.1, 0.3).because("it does not: the learning rate rose").mechanism
        'it does not: the learning rate rose'
        >>> Check.at_most("the KL falls with β", 0.1, 0.05).because("it does not: the learning rate rose").mechanism
        ''
        """
        if self.verdict != "contradicted":
            return self
        return dataclasses.replace(self, mechanism=mechanism if isinstance(mechanism, str) else mechanism())

    @classmethod
    def text(cls, claim: str, predicted: str, computed: str, *, note: str = "") -> Check:
        """Words that are to be the same."""
        return cls(claim, predicted, computed, None, predicted == computed, note, "text")

    @classmethod
    def not_run(cls, claim: str, predicted: float | str, why: str) -> Check:
        """A claim that this run could not test, and why."""
        return cls(claim, predicted, "not run", None, None, why, "text" if isinstance(predicted, str) else "equal")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; infinite and NaN numbers become words, parts a list of rows."""
        names = (*self.__dataclass_fields__, "verdict")
        row = {name: _finite(getattr(self, name)) for name in names if name != "parts"}
        shown = ("predicted", "computed", "tolerance", "kind", "low", "high", "verdict", "note")
        row["parts"] = [
            {"of": name, **{key: _finite(getattr(part, key)) for key in shown}} for name, part in self.parts
        ]
        return row


def explained(checks: Iterable[Check], mechanisms: Mapping[str, str | Callable[[], str]]) -> list[Check]:
    """The same checks, those that are contradicted with the mechanism whose key their claim has in it.

    Examples
    --------
    >>> check = Check.at_most("the KL falls", 0.1, 0.3)
    >>> [one.mechanism for one in explained([check], {"KL": "the rate rose", "win rate": "ties"})]
    ['the rate rose']
    """
    found = []
    for check in checks:
        words = next((words for words in mechanisms if words in check.claim), None)
        found.append(check if words is None else check.because(mechanisms[words]))
    return found


def verdict_of(row: Mapping[str, Any]) -> str:
    """The verdict of a check as a record keeps it; records of before 26 November 2026 have ``holds`` alone.

    Examples
    --------
    >>> verdict_of({"holds": False}), verdict_of({"holds": None, "verdict": "undecided"})
    ('contradicted', 'undecided')
    """
    return str(row.get("verdict") or {True: "holds", False: "contradicted", None: "not run"}[row["holds"]])


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
