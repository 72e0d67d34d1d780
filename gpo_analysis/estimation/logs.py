"""Anyone's training log: log-probabilities of chosen and rejected responses under policy and reference."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.estimation.log_sources import LABEL, LOSS, NEEDED, OPTIONAL, Source, rows_with_numbers
from gpo_analysis.estimation.log_tables import EVENTS, log_table, scalars_of, tells_means
from gpo_analysis.reading import LeftOut, ReadReport, Table, in_words, number_in, shown
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Curve, Panel
from gpo_analysis.showing.style import cycle_style

OF_AUDIT = (LOSS, LABEL)  #: What an audit reads beside them (`loss_log`).
DIVERGED = "as after a divergence"  #: Why rows lack a number, in words.
MOST = 1e100  #: Of a log-ratio in size, so that its square stays within a float.
LEAST = -MOST  #: Of a log-probability.
ACCEPTED = (
    f"{', '.join(NEEDED)} (sums of token log-probabilities in nats; names with _logps, and ref_ for reference_, are "
    f"understood) and optionally {', '.join(OPTIONAL)}"
)
_ROUNDED = 1e-4  # nats above 0 that single precision makes of a certain token
_STEPS = re.compile(
    r"(.*_)?(steps?|iters?|iterations?|epochs?|updates?|(train|training|trainer|optimizer|log|checkpoint|global)steps?|"
    r"checkpoints?|ckpts?)(_(id|number|no|nr|idx|index))?"
)
_WEIGHTS = re.compile(
    r"(sample_?|num_?|n_)?(weights?|weighting|counts?|n|repeats?|multiplicity|freq|frequency|cnt|importance|votes)"
)
_ALIASES = {
    "policy_chosen_logp": "policy_chosen", "policy_chosen_logps": "policy_chosen", "chosen_logp": "policy_chosen",
    "chosen_logps": "policy_chosen", "policy_rejected_logp": "policy_rejected",
    "policy_rejected_logps": "policy_rejected", "rejected_logp": "policy_rejected",
    "rejected_logps": "policy_rejected", "reference_chosen_logp": "reference_chosen",
    "reference_chosen_logps": "reference_chosen", "ref_chosen_logps": "reference_chosen",
    "ref_chosen_logp": "reference_chosen", "ref_chosen": "reference_chosen",
    "reference_rejected_logp": "reference_rejected", "reference_rejected_logps": "reference_rejected",
    "ref_rejected_logps": "reference_rejected", "ref_rejected_logp": "reference_rejected",
    "ref_rejected": "reference_rejected", "chosen_tokens": "chosen_length", "rejected_tokens": "rejected_length",
    "length_chosen": "chosen_length", "length_rejected": "rejected_length", "global_step": "step",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TrainingLog(Shown):
    """One row a pair (and step): sums of token log-probabilities, in nats.

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : array, shape (k,)
        Log-probabilities of whole responses, hence at most 0, and below it for a reference; at least −1e100.
    chosen_length, rejected_length : array, shape (k,), optional
        Tokens; both or none; at least 1.
    step : array, shape (k,), optional
        The training step at which the row was computed.

    Attributes
    ----------
    report : ReadReport or None
        How the file was read, where the log comes from one.

    Raises
    ------
    ValueError
        Naming the first bad entry and what is accepted.

    Examples
    --------
    >>> log = TrainingLog([-10.0], [-12.0], [-11.0], [-11.0])
    >>> log.rho
    array([2.])
    """

    policy_chosen: FloatArray
    policy_rejected: FloatArray
    reference_chosen: FloatArray
    reference_rejected: FloatArray
    chosen_length: FloatArray | None = None
    rejected_length: FloatArray | None = None
    step: FloatArray | None = None
    report: ReadReport | None = None

    def __init__(
        self,
        policy_chosen: ArrayLike,
        policy_rejected: ArrayLike,
        reference_chosen: ArrayLike,
        reference_rejected: ArrayLike,
        chosen_length: ArrayLike | None = None,
        rejected_length: ArrayLike | None = None,
        step: ArrayLike | None = None,
    ) -> None:
        columns = (policy_chosen, policy_rejected, reference_chosen, reference_rejected)
        size = np.asarray(policy_chosen, dtype=np.float64).shape
        for name, values in zip(NEEDED, columns, strict=True):
            object.__setattr__(self, name, _column(name, values, size))
        if (chosen_length is None) != (rejected_length is None):
            raise ValueError("chosen_length and rejected_length go together: give both or none")
        for name, extra, least in (
            ("chosen_length", chosen_length, 1.0),
            ("rejected_length", rejected_length, 1.0),
            ("step", step, 0.0),
        ):
            object.__setattr__(self, name, None if extra is None else _column(name, extra, size, least))

    @classmethod
    def from_columns(cls, columns: Mapping[str, ArrayLike]) -> TrainingLog:
        """From a DataFrame or a dictionary of columns; names of common trainers are understood, others ignored."""
        plain = {str(key).strip().lower(): columns[key] for key in columns}
        if len(plain) < len(columns):
            raise ValueError(f"columns occur twice but for case or white space: {', '.join(map(str, columns)):.200}")
        named = _named(plain, "columns")
        return cls(**{name: plain[named[name][0]] for name in (*NEEDED, *OPTIONAL) if name in named})

    @property
    def rho(self) -> FloatArray:
        """ρ = (log π − log πref)(chosen) − the same of the rejected response, shape (k,), in nats."""
        return self.chosen_ratio - self.rejected_ratio

    @property
    def chosen_ratio(self) -> FloatArray:
        """Log π/πref of the chosen responses, shape (k,)."""
        return self.policy_chosen - self.reference_chosen

    @property
    def rejected_ratio(self) -> FloatArray:
        """Log π/πref of the rejected responses, shape (k,)."""
        return self.policy_rejected - self.reference_rejected

    def __len__(self) -> int:
        return len(self.policy_chosen)

    def at(self, rows: BoolArray) -> TrainingLog:
        """Only these rows."""
        kept = {name: getattr(self, name) for name in (*NEEDED, *OPTIONAL)}
        return TrainingLog(**{name: values[rows] for name, values in kept.items() if values is not None})

    def _facts(self) -> list[tuple[str, Any]]:
        steps = [] if self.step is None else [("steps", len(np.unique(self.step)))]
        return [
            ("pairs", len(self)),
            *steps,
            ("mean ρ, nats", self.rho.mean()),
            ("share with ρ > 0", (self.rho > 0).mean()),
        ]

    def _notes(self) -> list[str]:
        return [] if self.report is None else self.report.lines()

    def _panel(self) -> Panel:
        rho = np.sort(self.rho)
        share = np.arange(1.0, len(rho) + 1) / len(rho)
        title = "margins of the pairs" + ("" if self.step is None else ", all steps together")
        line = Curve(rho, share, "", cycle_style(0), points=len(rho) == 1)
        return Panel(title, "ρ  [nats]", "share of pairs at or below", [line], ylim=(-0.02, 1.02))


class BatchMeans(ValueError):
    """The file is a trainer's record of batch means, `table`, where a row a pair is needed."""

    def __init__(self, table: Table) -> None:
        self.table = table
        what = "a trainer's state (log_history)" if "log_history" in table.format else "a record of batch means"
        super().__init__(
            f"{table.path} is {what}: means over batches, from which neither ½E[ρ²] nor the share of pairs beyond a "
            f"margin follows (gpo diagnose says what does). Needed is a row a pair: {ACCEPTED}. Sum the token "
            "log-probabilities of each response under the policy and under the reference; TRL with "
            "precompute_ref_log_probs=True keeps the reference's as columns ref_chosen_logps and ref_rejected_logps of "
            "its data set"
        )


class _BadEntry(ValueError):
    """One value of a column is not accepted."""

    def __init__(self, name: str, index: int, value: float, why: str) -> None:
        self.name, self.index, self.value, self.why = name, index, value, why
        super().__init__(f"{name}[{index}] is {value}; {why}")


def _column(name: str, values: ArrayLike, size: tuple[int, ...], low: float = -np.inf) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0 or array.shape != size:
        raise ValueError(f"{name} must have one non-empty shape (k,), that of policy_chosen, got {array.shape}")
    why = f"accepted are numbers from {low:g} on"
    bad = ~np.isfinite(array) | (array < low)
    if name in NEEDED:
        why = f"accepted are log-probabilities of whole responses, finite, at most 0 and at least {LEAST:g}"
        bad |= (array > 0) | (array < LEAST)
    if name in NEEDED and not bad.any():
        zero = array == 0
        if name.startswith("reference") or 2 * zero.sum() > len(array):
            bad = zero
            why = (
                "a response of probability 1 is impossible for a language model, so it was not computed; accepted are "
                "sums of token log-probabilities below 0"
            )
    if bad.any():
        k = int(np.argmax(bad))
        raise _BadEntry(name, k, float(array[k]), why)
    array.flags.writeable = False
    return array


def read_training_log(path: Source, *, columns: Mapping[str, str] | None = None) -> TrainingLog:
    """Read a CSV or JSON file, plain or gzip-compressed, a row a pair, or a table in memory.

    Parameters
    ----------
    path : str or Path, DataFrame, mapping of columns, or list of rows
        Columns (keys) as :meth:`TrainingLog.from_columns` takes them; formats as
        :func:`gpo_analysis.preferences.read_comparisons` does. Rows in which a log-probability is missing, infinite or
        NaN are left out.
    columns : mapping of str to str, optional
        From these names to the log's own: ``{"policy_chosen": "pi_w"}``.

    Returns
    -------
    TrainingLog
        Its `report` says what was not used.

    Raises
    ------
    ValueError
        Naming file, line and what is accepted; for a trainer's record of batch means, how to get a log of pairs.
    OSError
        Where the file cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "log.csv")
    ...     head = "step,policy_chosen,policy_rejected,reference_chosen,reference_rejected"
    ...     _ = file.write_text(f"{head}\\n100,-12.5,-14.0,-13.0,-13.5\\n")
    ...     log = read_training_log(file)
    >>> log.policy_chosen, log.step
    (array([-12.5]), array([100.]))
    """
    table = log_table(path, has_pairs, ACCEPTED, columns)
    return training_log_of(table)


def has_pairs(columns: Iterable[str]) -> bool:
    """Whether these are the columns of a log of pairs."""
    return {_ALIASES.get(name, name) for name in columns} >= set(NEEDED)


def training_log_of(table: Table, accepted: str = ACCEPTED) -> TrainingLog:
    """The log that a table holds; see :func:`read_training_log`.

    Parameters
    ----------
    table : Table
    accepted : str
        The columns, for messages.
    """
    meant = {_ALIASES.get(name, name) for name in table.columns}
    if not meant >= set(NEEDED):
        scalars = scalars_of(table)
        if table.format == EVENTS or tells_means(scalars.columns):
            raise BatchMeans(scalars)
    if not table.rows:
        raise ValueError(f"{table.path} holds no rows; accepted are {ACCEPTED}, one pair a line")
    line = next(iter(table.columns.values()))
    named = _named(table.columns, table.where(line), accepted)
    refuse_what_counts(table, named)
    table, left = with_numbers(table, [named[name][0] for name in NEEDED], "log-probability")
    columns = {name: values_of(table, name, named) for name in (*NEEDED, *OPTIONAL) if name in named}
    notes = _without_rounding(table, columns)
    try:
        log = TrainingLog(**columns)
    except _BadEntry as error:
        row = table.rows[error.index]
        raise ValueError(f"{table.where(row.line)}: {error.name} is {error.value:g}; {error.why}") from None
    except ValueError as error:
        raise ValueError(f"{table.path}: {error}") from None
    used = {*OF_AUDIT, *(column for names in named.values() for column in names)}
    object.__setattr__(log, "report", report_of(table, left, used, notes))
    return log


def with_numbers(table: Table, keys: list[str], what: str) -> tuple[Table, tuple[LeftOut, ...]]:
    """The table without rows that lack a number, and which these are.

    Parameters
    ----------
    table : Table
    keys : list of str
        Columns that are needed.
    what : str
        What they hold, in words.

    Raises
    ------
    ValueError
        Where no row is left.
    """
    whole, _ = rows_with_numbers(table.rows, keys)
    kept = {row.line for row in whole}
    out = tuple(row.line for row in table.rows if row.line not in kept)
    if not whole:
        raise ValueError(
            f"{table.where(out[0])}: no row has a finite {what} in each of {', '.join(keys)}; accepted are finite "
            "numbers"
        )
    left = (LeftOut(out, f"a {what} is missing, infinite or NaN, {DIVERGED}"),) if out else ()
    return Table(table.path, table.format, tuple(whole), table.columns, table.blank, table.unit), left


def report_of(table: Table, left: tuple[LeftOut, ...], used: Collection[str], notes: tuple[str, ...]) -> ReadReport:
    """How a log was read.

    Parameters
    ----------
    table : Table
        Of what was used.
    left : tuple of LeftOut
    used : collection of str
        Columns.
    notes : tuple of str
    """
    blank = (LeftOut(table.blank, "nothing but separators"),) if table.blank else ()
    out = sum(len(item.lines) for item in left) + len(table.blank)
    rows, unused = len(table.rows), tuple(name for name in table.columns if name not in used)
    return ReadReport(table.path, table.format, rows + out, rows, (*left, *blank), (), unused, notes, unit=table.unit)


def _named(columns: Iterable[str], where: str, accepted: str = ACCEPTED) -> dict[str, list[str]]:
    """The columns that are meant by each of our names."""
    found: dict[str, list[str]] = {}
    for column in columns:
        name = _ALIASES.get(column, column)
        if name in (*NEEDED, *OPTIONAL):
            found.setdefault(name, []).append(column)
    twice = next((names for names in found.values() if len(names) > 1), None)
    if twice is not None:
        raise ValueError(f"{where}: {' and '.join(map(repr, twice))} mean the same column; accepted is one of them")
    missing = [name for name in NEEDED if name not in found]
    if missing:
        got = ", ".join(map(str, columns))
        raise ValueError(f"{where}: missing {' and '.join(missing)}; accepted are {accepted}; got {got!r:.200}")
    return found


def values_of(table: Table, name: str, named: dict[str, list[str]]) -> FloatArray:
    """One column's numbers.

    Raises
    ------
    ValueError
        Naming the line, where one is none; where a column that is optional is not in every row.
    """
    column = named[name][0]
    without = [row.line for row in table.rows if row.values.get(column) is None]
    if without and name in OPTIONAL:
        raise ValueError(
            f"{table.where(without[0])}: no {name}, which {len(table.rows) - len(without)} of {len(table.rows)} rows "
            "have; accepted is a column that every row has, or none"
        )
    return np.array([number_in(row.values.get(column), name, table.where(row.line)) for row in table.rows])


def _without_rounding(table: Table, columns: dict[str, FloatArray]) -> tuple[str, ...]:
    """Take what single precision put above 0 as 0, and say where."""
    said = []
    for name in NEEDED:
        above = (columns[name] > 0) & (columns[name] <= _ROUNDED)
        if above.any():
            line = table.rows[int(np.argmax(above))].line
            said.append(f"{name}: {above.sum()} within {_ROUNDED:g} above 0 taken as 0, the rounding (line {line})")
            columns[name] = np.where(above, 0.0, columns[name])
    return tuple(said)


def refuse_what_counts(table: Table, named: dict[str, list[str]]) -> None:
    """Columns that would change the answer and are not known by their name."""
    for column, line in table.columns.items():
        distinct, name = {str(row.values.get(column)).strip() for row in table.rows}, in_words(column)
        if "step" not in named and _STEPS.fullmatch(name) and len(distinct) > 1:
            raise ValueError(
                f"{table.where(line)}: column {shown(column)} looks like the training step; call it step to have it "
                "used, or take it out"
            )
        if _WEIGHTS.fullmatch(name) and not distinct <= {"1", "1.0", "", "None"}:
            raise ValueError(
                f"{table.where(line)}: column {shown(column)} looks as if it weighted the pairs, which count alike "
                "here; give a row as often as it counts, or take it out"
            )
