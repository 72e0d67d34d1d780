"""Approved texts: what users are shown, kept as files, read by a person once, compared number by number ever since.

A case is a function that returns a text. ``python -m tests.approved`` writes the texts anew; `git diff` then says what
a change shows to users. Words must be the same; a number may differ by a unit of its last digit where it has at least
three digits, or by a millionth, so that another machine's rounding is no difference.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

import gpo_analysis

FOLDER = Path(__file__).with_name("texts")
#: How an answer was reached, not what it is: this may change where the answer does not.
OF_THE_WAY = re.compile(r'\s*"?(iterations|evaluations|uncertainty|gradient_norm)\b')
NUMBER = re.compile(r"(?<![\w.])[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?")


def differences(found: str, wanted: str) -> list[str]:
    """Lines that are not the same, as a person may read them; at most ten."""
    have, want = kept_lines(found), kept_lines(wanted)
    lines = [
        f"line {k + 1}: {one!r} instead of {other!r}"
        for k, (one, other) in enumerate(zip(have, want, strict=False))
        if not _same(one, other)
    ]
    if len(have) != len(want):
        lines.append(f"{len(have)} lines instead of {len(want)}")
    return lines[:10]


def kept_lines(text: str) -> list[str]:
    """Lines of a text without those that say how an answer was reached."""
    return [line.rstrip() for line in text.rstrip().splitlines() if not OF_THE_WAY.match(line)]


def _same(found: str, wanted: str) -> bool:
    if found == wanted:
        return True
    if NUMBER.sub("#", found).split() != NUMBER.sub("#", wanted).split():
        return False
    return all(_near(a, b) for a, b in zip(NUMBER.findall(found), NUMBER.findall(wanted), strict=True))


def _near(found: str, wanted: str) -> bool:
    a, b = (float(text.replace("−", "-").replace(",", "")) for text in (found, wanted))
    mantissa, _, exponent = wanted.lstrip("+-−").partition("e")
    if "." not in wanted + found and not exponent:
        return a == b
    digits = len(mantissa.replace(".", "").lstrip("0"))
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(a - b) <= max(1e-6 * abs(b), 1.01 * unit if digits >= 3 else 0.0, 1e-9)


def dumped(value: Any, depth: int = 6) -> Iterator[str]:
    """A value with all that it holds, a line each, large arrays by their sums."""
    pad = " " * (6 - depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and depth:
        yield f"{pad}{type(value).__name__}"
        for field in dataclasses.fields(value):
            if not field.name.startswith("_") and not _is_default(field, getattr(value, field.name)):
                yield from _named(f"{pad} {field.name}", getattr(value, field.name), depth)
    elif isinstance(value, Mapping) and depth:
        for key, one in value.items():
            yield from _named(f"{pad} {key}", one, depth)
    elif isinstance(value, list | tuple | set | frozenset) and depth and not _flat(value):
        for one in list(value)[:6]:
            yield from dumped(one, depth - 1)
        yield f"{pad} ({len(value)})"
    else:
        yield f"{pad}{_line(value)}"


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field is left as it is by itself, so that a field more changes no text."""
    plain = value is None or isinstance(value, bool | int | float | str | tuple)
    return (
        plain
        and field.default is not dataclasses.MISSING
        and type(value) is type(field.default)
        and value == field.default
    )


def _named(name: str, value: Any, depth: int) -> Iterator[str]:
    lines = list(dumped(value, depth - 1))
    if len(lines) == 1:
        yield f"{name}: {lines[0].strip()}"
    else:
        yield f"{name}:"
        yield from lines


def _flat(value: Any) -> bool:
    return all(isinstance(one, str | bool | int | float | np.generic | Enum) or one is None for one in value)


def _line(value: Any) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name} {value.value}"
    if isinstance(value, bool | np.bool_ | int | str | Path) or value is None:
        return str(value).replace(str(Path(gpo_analysis.__file__).parent), "LIBRARY")
    if isinstance(value, float | np.floating | np.integer):
        return _number(float(value))
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, list | tuple | set | frozenset):
        shown = sorted(value) if isinstance(value, set | frozenset) else value
        return "(" + ", ".join(_line(one) for one in list(shown)[:12]) + f") {len(value)}"
    if callable(value) or "object at 0x" in repr(value):
        return f"<{type(value).__name__}>"
    return str(value).splitlines()[0] if str(value) else ""


def _array(value: np.ndarray) -> str:
    if value.dtype.kind not in "biuf":
        return f"{value.shape} " + " | ".join(map(str, value.ravel()[:8]))
    flat = value.astype(float).ravel()
    finite = np.where(np.isfinite(flat), flat, 0.0)
    sums = "" if flat.size <= 8 else f"; sums {_number(finite.sum())} {_number(finite @ np.cos(np.arange(flat.size)))}"
    return f"{value.shape} " + " ".join(_number(x) for x in flat[:8]) + sums


def _number(value: float) -> str:
    """Nine digits; what is nothing but rounding is 0."""
    return "0.0" if abs(value) < 1e-8 else str(value) if not math.isfinite(value) else f"{value:.9g}"


def table_of(frame: Any) -> str:
    """A data frame, rows in few lines."""
    lines = [",".join(map(str, frame.columns))]
    for row in frame.head(12).itertuples(index=False):
        lines.append(",".join(_line(one) for one in row))
    return "\n".join([*lines, f"{len(frame)} rows"])


def path_of(case: str) -> Path:
    """Where a case's text lies."""
    return FOLDER / (re.sub(r"[^\w.-]+", "_", case) + ".txt")


def approve(case: str, text: str) -> None:
    """Keep a text as what a case is to show from now on."""
    FOLDER.mkdir(exist_ok=True)
    path_of(case).write_text("\n".join(kept_lines(text)) + "\n", encoding="utf-8")


def write(cases: Mapping[str, Callable[[], str]]) -> None:
    """Write the texts of the cases anew; those of cases that are no more are removed."""
    kept = set()
    for case, made in cases.items():
        approve(case, made())
        kept.add(path_of(case))
    for path in set(FOLDER.glob("*.txt")) - kept:
        path.unlink()
