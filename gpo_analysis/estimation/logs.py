"""Anyone's training log: log-probabilities of chosen and rejected responses under policy and reference."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.preferences.reading import json_rows, text_of

__all__ = ["TrainingLog", "read_training_log"]


NEEDED = ("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected")
OPTIONAL = ("chosen_length", "rejected_length", "step")
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
class TrainingLog:
    """One row a pair (and step): sums of token log-probabilities, in nats.

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : array, shape (k,)
        Finite; log-probabilities of whole responses, hence at most 0.
    chosen_length, rejected_length : array, shape (k,), optional
        Tokens; both or none; at least 1.
    step : array, shape (k,), optional
        The training step at which the row was computed.

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
            object.__setattr__(self, name, _column(name, values, size, high=0.0))
        if (chosen_length is None) != (rejected_length is None):
            raise ValueError("chosen_length and rejected_length go together: give both or none")
        for name, extra, least in (
            ("chosen_length", chosen_length, 1.0),
            ("rejected_length", rejected_length, 1.0),
            ("step", step, 0.0),
        ):
            object.__setattr__(self, name, None if extra is None else _column(name, extra, size, low=least))

    @classmethod
    def from_columns(cls, columns: Mapping[str, ArrayLike]) -> TrainingLog:
        """From a DataFrame or a dictionary of columns; names of common trainers are understood, others ignored."""
        named = {_ALIASES.get(str(key).strip().lower(), str(key).strip().lower()): columns[key] for key in columns}
        missing = [name for name in NEEDED if name not in named]
        if missing:
            raise ValueError(
                f"missing column {' and '.join(missing)}; accepted are {', '.join(NEEDED)} (or with _logps, ref_ for "
                f"reference_) and optionally {', '.join(OPTIONAL)}; got {', '.join(map(str, columns)):.200}"
            )
        return cls(**{name: named[name] for name in (*NEEDED, *OPTIONAL) if name in named})

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


def _column(name: str, values: ArrayLike, size: tuple[int, ...], *, low: float = -np.inf, high: float = np.inf) -> Any:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0 or array.shape != size:
        raise ValueError(f"{name} must have one non-empty shape (k,), that of policy_chosen, got {array.shape}")
    bad = ~np.isfinite(array) | (array < low) | (array > high)
    if bad.any():
        k = int(np.argmax(bad))
        kind = "log-probabilities of whole responses, finite and at most 0" if high == 0 else f"numbers from {low:g} on"
        raise ValueError(f"{name}[{k}] is {array[k]}; accepted are {kind}")
    array.flags.writeable = False
    return array


def read_training_log(path: str | Path) -> TrainingLog:
    """Read a CSV or JSON-lines file, plain or gzip-compressed.

    Parameters
    ----------
    path : str or Path
        Columns (keys) as :meth:`TrainingLog.from_columns` takes them. Names ending in .jsonl, .ndjson or .json (or with
        .gz) are JSON lines, .csv is CSV; any other name is JSON lines if its first character is ``{``.

    Raises
    ------
    ValueError
        Naming file, line and what is accepted.
    OSError
        Where the file cannot be opened.
    """
    text = text_of(path)
    suffixes = [s.lower() for s in Path(path).suffixes if s.lower() != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    is_json = kind in (".jsonl", ".ndjson", ".json") or (kind != ".csv" and text.lstrip()[:1] == "{")
    rows = list(json_rows(path, text)) if is_json else _csv(path, text)
    if not rows:
        raise ValueError(f"{path} holds no rows; accepted are {', '.join(NEEDED)}, one pair a line")
    renamed = [
        (line, {_ALIASES.get(key.strip().lower(), key.strip().lower()): key for key in row}) for line, row in rows
    ]
    columns: dict[str, list[float]] = {}
    first = renamed[0][1]
    for name in (*NEEDED, *OPTIONAL):
        if name not in first:
            if name in NEEDED:
                raise ValueError(
                    f"{path}, line {rows[0][0]}: missing {name}; accepted are {', '.join(NEEDED)} (or with _logps) and "
                    f"optionally {', '.join(OPTIONAL)}; got {', '.join(map(str, rows[0][1])):.200}"
                )
            continue
        columns[name] = [
            _number(row.get(keys.get(name, "")), name, f"{path}, line {line}")
            for (line, row), (_, keys) in zip(rows, renamed, strict=True)
        ]
    try:
        return TrainingLog(**{name: np.array(values) for name, values in columns.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _csv(path: str | Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            if None in row or any(value is None for value in row.values()):
                raise ValueError(f"{path}, line {reader.line_num}: not as many fields as the header has")
            rows.append((reader.line_num, dict(row)))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: malformed CSV ({error})") from None
    return rows


def _number(value: Any, name: str, where: str) -> float:
    try:
        number = math.nan if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: {name} is {value!r:.60}; accepted are finite numbers")
    return number
