"""What was done with a file that was read: nothing is left out, joined or not used in silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpo_analysis.reading.visible import shown

_FEW = 5  # lines of one kind that a text names


@dataclass(frozen=True)
class LeftOut:
    """Rows that were not used, and why."""

    lines: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Joined:
    """Another spelling of a name, at the line where it first stands."""

    line: int
    name: str
    taken_as: str
    first_line: int
    why: str


@dataclass(frozen=True)
class ReadReport:
    """How a file was read.

    Attributes
    ----------
    file : str
    format : str
        Such as "CSV (semicolons)" or "JSON lines".
    rows : int
        Rows in the file.
    used : int
        Rows that were used.
    left_out : tuple of LeftOut
    joined : tuple of Joined
        Spellings that were taken as another's.
    not_used : tuple of str
        Columns that say nothing here.
    notes : tuple of str
        Anything else, in words.
    ties : str
        How ties were taken: "none" where there were none, or "half a win each".
    prompts : int
        How many prompts the file tells apart; 0 where it has no such column.
    unit : str
        What is numbered: "line", or "row" (from 0) of a frame or a Parquet file.
    """

    file: str
    format: str
    rows: int
    used: int
    left_out: tuple[LeftOut, ...] = ()
    joined: tuple[Joined, ...] = ()
    not_used: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ties: str = "none"
    prompts: int = 0
    unit: str = "line"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            **{name: getattr(self, name) for name in ("file", "format", "rows", "used")},
            "left_out": [{"lines": list(item.lines), "why": item.why} for item in self.left_out],
            "joined": [dict(vars(item)) for item in self.joined],
            "not_used": list(self.not_used),
            "notes": list(self.notes),
            "ties": self.ties,
            "prompts": self.prompts,
            "unit": self.unit,
        }

    def lines(self) -> list[str]:
        """In words, a line each: what one should know of how the file was read; often none."""
        told = [
            f"{len(item.lines)} row{'s' * (len(item.lines) != 1)} left out: {item.why} ({_at(item.lines, self.unit)})"
            for item in self.left_out
        ]
        told += [
            f"{self.unit} {item.line}: {shown(item.name)!a} taken as {shown(item.taken_as)!a} of {self.unit} "
            f"{item.first_line} ({item.why})"
            for item in self.joined[:_FEW]
        ]
        if len(self.joined) > _FEW:
            told.append(f"{len(self.joined) - _FEW} more spellings taken as another's")
        if self.not_used:
            few = ", ".join(shown(name) for name in self.not_used[:20])
            more = f" and {len(self.not_used) - 20} more" if len(self.not_used) > 20 else ""
            told.append(f"{'column' if len(self.not_used) == 1 else 'columns'} not used: {few}{more}")
        return [*told, *self.notes]

    def __str__(self) -> str:
        head = f"{shown(self.file, 120)}: {self.format}, {self.used} of {self.rows} rows used"
        return "\n".join([head, *(f"- {line}" for line in self.lines())])

    __repr__ = __str__  # a few lines, where a prompt shows it


def _at(lines: tuple[int, ...], unit: str) -> str:
    few = ", ".join(map(str, lines[:_FEW]))
    return f"{unit}{'' if len(lines) == 1 else 's'} {few}{', …' if len(lines) > _FEW else ''}"
