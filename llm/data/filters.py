"""Which records are used: rules for empty, identical, over-long, duplicate and malformed ones, and their counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FAULTS = ("malformed", "empty", "identical", "over_long", "duplicate")
_SHOWN = 5


@dataclass(frozen=True)
class FilterConfig:
    """What a record must be, and what happens to one that is not.

    Parameters
    ----------
    max_prompt_words, max_response_words : int, optional
        Longest prompt and response in words (runs of non-space characters); None for any length.
    refuse : tuple of str
        Faults that end the reading with an error that names the line; records with the others are skipped and
        counted. Some of `FAULTS`: "empty" has no text but white space or null where one is
        needed, "identical" two responses that are the same up to outer white space.
    limit : int, optional
        Most records to keep; None for all.
    """

    max_prompt_words: int | None = None
    max_response_words: int | None = None
    refuse: tuple[str, ...] = ("malformed",)
    limit: int | None = None

    def __post_init__(self) -> None:
        for fault in self.refuse:
            if fault not in FAULTS:
                raise ValueError(f"refuse has {fault!r}; accepted are {', '.join(FAULTS)}")
        for name in ("max_prompt_words", "max_response_words", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; accepted is 1 or more, or None")


@dataclass
class ReadReport:
    """How many records were read, kept and left out.

    Parameters
    ----------
    source : str
        The file or the data set.
    read, kept : int
        Records seen, and those kept.
    faults : dict
        Fault → how many records had it.
    lines : dict
        Fault → numbers of the first few of them.
    """

    source: str
    read: int = 0
    kept: int = 0
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    lines: dict[str, list[int]] = field(default_factory=lambda: {fault: [] for fault in FAULTS})

    def __str__(self) -> str:
        parts = [f"{self.source}: {self.kept} of {self.read} records kept"]
        for fault, count in self.faults.items():
            if count:
                where = ", ".join(map(str, self.lines[fault])) + (", …" if count > len(self.lines[fault]) else "")
                parts.append(f"{count} {fault.replace('_', '-')} (line {where})")
        return "; ".join(parts)


class RecordFilter:
    """Says of records, one after another, whether they are kept, and counts them.

    Examples
    --------
    >>> kept = RecordFilter("here", FilterConfig(max_response_words=2))
    >>> kept.accepts(1, "a prompt", ["yes"]), kept.accepts(2, "a prompt", ["yes"]), kept.accepts(3, "b", ["x y z"])
    (True, False, False)
    >>> print(kept.report)
    here: 1 of 3 records kept; 1 over-long (line 3); 1 duplicate (line 2)
    """

    def __init__(self, source: str, config: FilterConfig) -> None:
        self.config, self.report = config, ReadReport(source)
        self._seen: set[tuple[str, ...]] = set()

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self.config.limit is not None and self.report.kept >= self.config.limit

    def malformed(self, line: int, why: str) -> None:
        """Count a record that is none, or refuse it."""
        self.report.read += 1
        self._fault("malformed", line, why)

    def accepts(self, line: int, prompt: Any, responses: Sequence[Any]) -> bool:
        """Return whether a record is kept; a ValueError names the line of one that is refused.

        Parameters
        ----------
        line : int
            Its number.
        prompt, responses : object, sequence of values
            What must be texts: for a text alone, the responses are empty.
        """
        self.report.read += 1
        texts = tuple("" if value is None else value for value in (prompt, *responses))
        wrong = [value for value in texts if not isinstance(value, str)]
        if wrong:
            self._fault("malformed", line, f"{wrong[0]!r:.40} is not a text")
        elif not all(text.strip() for text in texts):
            self._fault("empty", line, "a text is empty or null")
        elif len(responses) > 1 and len({text.strip() for text in texts[1:]}) == 1:
            self._fault("identical", line, "chosen and rejected are the same")
        elif self._long(texts[0], self.config.max_prompt_words):
            self._fault("over_long", line, f"the prompt has more than {self.config.max_prompt_words} words")
        elif any(self._long(text, self.config.max_response_words) for text in texts[1:]):
            self._fault("over_long", line, f"a response has more than {self.config.max_response_words} words")
        elif texts in self._seen:
            self._fault("duplicate", line, "the record came before")
        else:
            self._seen.add(texts)
            self.report.kept += 1
            return True
        return False

    @staticmethod
    def _long(text: str, most: int | None) -> bool:
        return most is not None and len(text.split()) > most

    def _fault(self, fault: str, line: int, why: str) -> None:
        if fault in self.config.refuse:
            raise ValueError(f"{self.report.source}, line {line}: {fault.replace('_', '-')}: {why}")
        self.report.faults[fault] += 1
        if len(self.report.lines[fault]) < _SHOWN:
            self.report.lines[fault].append(line)
