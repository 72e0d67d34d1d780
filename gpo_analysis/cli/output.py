"""What the verbs share: JSON that other programs can read, tables."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import numpy as np

from gpo_analysis.cli.streams import is_unicode
from gpo_analysis.reading import ReadReport, shown
from gpo_analysis.reading.visible import BEYOND_ASCII
from gpo_analysis.showing.shown import without_noise

json_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of a table (null where there is no finite number)."
)


_OBEYED = re.compile(f"[{BEYOND_ASCII}]")


def plain(value: Any) -> Any:
    """Numbers, lists and dictionaries that JSON has; NaN and ±inf become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def say(text: str) -> None:
    """Print lines."""
    print(text)


def print_json(value: Any) -> None:
    """Print as strict JSON; characters that a terminal would obey, or the encoding lacks, as escapes."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=not is_unicode(sys.stdout), allow_nan=False)
    say(_OBEYED.sub(lambda match: "".join(f"\\u{unit:04x}" for unit in _units(match[0])), text))


def _units(character: str) -> list[int]:
    """UTF-16 code units, as JSON's escapes have them."""
    data = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def say_report(report: ReadReport | None) -> None:
    """Print how a file was read, where there is something to say."""
    if report is not None and report.lines():
        say(f"{report}\n")


def print_table(rows: Sequence[Mapping[str, Any]], *, index: str | None = None) -> None:
    """Print rows as an aligned table, numbers to four significant digits."""
    import pandas as pd

    frame = pd.DataFrame(
        [{key: shown(item) if isinstance(item, str) else item for key, item in row.items()} for row in rows]
    )
    frame = without_noise(frame)
    if index is not None:
        frame = frame.set_index(index)
    say(frame.to_string(float_format=lambda x: f"{x:.4g}", na_rep="–", index=index is not None, index_names=False))
