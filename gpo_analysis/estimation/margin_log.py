"""A log of margins: ρ of each pair, or its two log-ratios, without the log-probabilities that they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.estimation.log_sources import MARGIN, OPTIONAL, RATIOS, Source
from gpo_analysis.estimation.log_tables import log_table
from gpo_analysis.estimation.logs import (
    ACCEPTED,
    MOST,
    OF_AUDIT,
    TrainingLog,
    has_pairs,
    refuse_what_counts,
    report_of,
    training_log_of,
    values_of,
    with_numbers,
)
from gpo_analysis.reading import ReadReport, Table, is_blank, number_in
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Curve, Panel
from gpo_analysis.showing.style import cycle_style

_NEEDS = "policy_chosen, policy_rejected, reference_chosen, reference_rejected"
OR_MARGINS = f"{ACCEPTED}; or {MARGIN} of each pair, in nats, or {' and '.join(RATIOS)} (log π/πref)"


@dataclass(frozen=True, eq=False)
class MarginLog(Shown):
    """One row a pair (and step): ρ, in nats.

    Attributes
    ----------
    rho : array, shape (k,)
        ρ of each pair.
    chosen_ratio, rejected_ratio : array, shape (k,), or None
        log π/πref, where they were logged.
    chosen_length, rejected_length, step : array, shape (k,), or None
    report : ReadReport or None
        How the file was read.

    Examples
    --------
    >>> read_pairs({"rho": [0.5, -1.0], "step": [10, 10]}).rho
    array([ 0.5, -1. ])
    """

    rho: FloatArray
    chosen_ratio: FloatArray | None = None
    rejected_ratio: FloatArray | None = None
    chosen_length: FloatArray | None = None
    rejected_length: FloatArray | None = None
    step: FloatArray | None = None
    report: ReadReport | None = None

    def __len__(self) -> int:
        return len(self.rho)

    def at(self, rows: BoolArray) -> MarginLog:
        """Only these rows."""

        def part(values: FloatArray | None) -> FloatArray | None:
            return None if values is None else values[rows]

        return MarginLog(
            self.rho[rows], part(self.chosen_ratio), part(self.rejected_ratio), part(self.chosen_length),
            part(self.rejected_length), part(self.step),
        )  # fmt: skip

    @property
    def lacking(self) -> str:
        """What cannot be told, in words; "" where nothing is."""
        if self.chosen_ratio is not None:
            return ""
        return f"the log holds ρ alone: what chosen and rejected did apart needs {_NEEDS}, or {' and '.join(RATIOS)}"

    def _facts(self) -> list[tuple[str, Any]]:
        steps = [] if self.step is None else [("steps", len(np.unique(self.step)))]
        share = ("share with ρ > 0", (self.rho > 0).mean())
        return [("pairs", len(self)), *steps, ("mean ρ, nats", self.rho.mean()), share]

    def _notes(self) -> list[str]:
        return [] if self.report is None else self.report.lines()

    def _panel(self) -> Panel:
        rho = np.sort(self.rho)
        share = np.arange(1.0, len(rho) + 1) / len(rho)
        line = Curve(rho, share, "", cycle_style(0), points=len(rho) == 1)
        return Panel("margins of the pairs", "ρ  [nats]", "share of pairs at or below", [line], ylim=(-0.02, 1.02))


def has_margins(columns: Iterable[str]) -> bool:
    """Whether these are the columns of a log of margins."""
    have = set(columns)
    return MARGIN in have or set(RATIOS) <= have


def read_pairs(source: Source, *, columns: Mapping[str, str] | None = None) -> TrainingLog | MarginLog:
    """Read a log of pairs, of log-probabilities where they are there, else of margins.

    Parameters
    ----------
    source : str or Path, DataFrame, mapping of columns, or list of rows
        As :func:`gpo_analysis.estimation.read_training_log` takes them; or a column ``rho``, or ``chosen_logratio`` and
        ``rejected_logratio``.
    columns : mapping of str to str, optional
        From these names to the log's own.

    Raises
    ------
    ValueError
        As there.
    """
    table = log_table(source, lambda own: has_pairs(own) or has_margins(own), OR_MARGINS, columns)
    return (
        margins_of(table)
        if has_margins(table.columns) and not has_pairs(table.columns)
        else training_log_of(table, OR_MARGINS)
    )


def margins_of(table: Table) -> MarginLog:
    """The margins that a table holds."""
    both = set(RATIOS) <= set(table.columns)
    if both and MARGIN in table.columns:  # columns that were never filled say nothing
        both = not all(is_blank(row.values.get(name)) for row in table.rows for name in RATIOS)
    needed = list(RATIOS) if both else [MARGIN]
    named = {name: [name] for name in (*needed, *OPTIONAL) if name in table.columns}
    if not table.rows:
        raise ValueError(f"{table.path} holds no rows; accepted are {OR_MARGINS}, one pair a line")
    refuse_what_counts(table, named)
    table, left = with_numbers(table, needed, "log-ratio" if both else "margin")
    found = {name: values_of(table, name, named) for name in named}
    if ("chosen_length" in found) != ("rejected_length" in found):
        raise ValueError(f"{table.path}: chosen_length and rejected_length go together: give both or none")
    chosen, rejected = (found.get(name) for name in RATIOS)
    rho = found[MARGIN] if chosen is None or rejected is None else chosen - rejected
    if both and MARGIN in table.columns:
        _refuse_another(table, rho)
    far = np.abs(rho) > MOST
    if far.any():
        k = int(np.argmax(far))
        where = table.where(table.rows[k].line)
        raise ValueError(f"{where}: a margin of {rho[k]:g} nats; accepted are margins of at most {MOST:g}, in size")
    report = report_of(table, left, {*named, *OF_AUDIT, MARGIN}, ())
    lengths = found.get("chosen_length"), found.get("rejected_length")
    return MarginLog(rho, chosen, rejected, *lengths, found.get("step"), report)


def _refuse_another(table: Table, rho: FloatArray) -> None:
    """A margin logged beside its two log-ratios is their difference, but for rounding."""
    cells = [(row.values.get(MARGIN), table.where(row.line)) for row in table.rows]
    logged = np.array([np.nan if is_blank(cell) else number_in(cell, MARGIN, where) for cell, where in cells])
    with np.errstate(invalid="ignore"):
        other = np.abs(logged - rho) > 0.01 * (1 + np.abs(rho))
    if other.any():
        k = int(np.argmax(other))
        raise ValueError(
            f"{table.where(table.rows[k].line)}: {MARGIN} is {logged[k]:g} and {' less '.join(RATIOS)} {rho[k]:g}; "
            f"accepted are both alike, or {MARGIN} left out"
        )
