"""What the verbs share: JSON that other programs can read, tables, figure files."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

json_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of a table (null where there is no finite number)."
)
figure_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw it to this file (.png, .pdf or .svg).",
    callback=lambda _context, _parameter, value: _drawable(value),
)


def _drawable(path: Path | None) -> Path | None:
    if path is not None and path.suffix not in {".png", ".pdf", ".svg"}:
        raise ValueError(f"cannot draw to {str(path)!r}: accepted are files ending in .png, .pdf or .svg")
    return path


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


def print_json(value: Any) -> None:
    """Print as strict JSON."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def print_table(rows: Sequence[Mapping[str, Any]], *, index: str | None = None) -> None:
    """Print rows as an aligned table, numbers to four significant digits."""
    import pandas as pd

    frame = pd.DataFrame(list(rows))
    if index is not None:
        frame = frame.set_index(index)
    click.echo(
        frame.to_string(float_format=lambda x: f"{x:.4g}", na_rep="–", index=index is not None, index_names=False)
    )


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all, and say where."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        figure.savefig(temporary)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    click.echo(f"drew {path}", err=True)
