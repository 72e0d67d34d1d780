"""Files that a verb writes beside what it prints: its table by ``--out``, its figure by ``--figure``."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpo_analysis.cli.output import plain
from gpo_analysis.reading import shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from gpo_analysis.showing import Shown

TABLES = (".csv", ".json", ".parquet", ".md")
FIGURES = (".png", ".pdf", ".svg")


def table_path(name: str) -> Callable[[click.Context, click.Parameter, Path | None], Path | None]:
    """A callback that refuses files of another ending before anything is computed.

    Parameters
    ----------
    name : str
        Of the option.
    """
    return lambda _context, _parameter, path: _checked(path, name, TABLES)


def _checked(path: Path | None, name: str, endings: Sequence[str]) -> Path | None:
    among = f"{', '.join(endings[:-1])} or {endings[-1]}"
    if path is not None and path.suffix.lower() not in endings:
        raise ValueError(f"{name} is {str(path)!r}; accepted are files ending in {among}")
    return path


_FILE = click.Path(dir_okay=False, path_type=Path)
out_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--out", type=_FILE, callback=table_path("--out"), help="Also write the table: .csv, .json, .parquet or .md."
)
figure_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--figure",
    type=_FILE,
    callback=lambda _context, _parameter, path: _checked(path, "--figure", FIGURES),
    help="Also draw it to this file (.png, .pdf or .svg).",
)


def keep(found: Shown, out: Path | None = None, figure: Path | None = None) -> None:
    """Write a result's table and its chart, where they are asked for.

    Parameters
    ----------
    found : Shown
    out, figure : path, optional
    """
    if out is not None:
        save_table(found.to_frame(), out)
    if figure is not None:
        from gpo_analysis.showing.draw import figure_of

        save_figure(figure_of(found._panel()), figure)


def keep_rows(rows: Sequence[dict[str, Any]], out: Path | None) -> None:
    """Write rows as a table, where that is asked for; lists in cells are joined.

    Parameters
    ----------
    rows : sequence of dict
    out : path, optional
    """
    if out is None:
        return
    import pandas as pd

    cells = [{k: ", ".join(map(str, v)) if isinstance(v, list | tuple) else v for k, v in row.items()} for row in rows]
    save_table(pd.DataFrame(cells), out)


def save_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all, by its ending.

    Parameters
    ----------
    table : DataFrame
    path : path
        Ending in one of `TABLES`.
    """
    ending = path.suffix.lower()
    if ending == ".parquet":
        stream = io.BytesIO()
        try:
            table.to_parquet(stream, index=False)
        except ImportError:
            raise ValueError(
                f"cannot write {path}: pyarrow is not installed; it comes with: pip install 'gpo-analysis[experiments]'"
            ) from None
        data = stream.getvalue()
    elif ending == ".json":
        rows = [plain(row) for row in table.to_dict("records")]
        data = (json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    else:
        data = (table.to_csv(index=False) if ending == ".csv" else markdown(table)).encode()
    _write(path, data, "wrote")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all, and say where.

    Parameters
    ----------
    figure : Figure
    path : path
        Ending in one of `FIGURES`.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format=path.suffix.lower().removeprefix("."))
    _write(path, stream.getvalue(), "drew")


def _write(path: Path, data: bytes, did: str) -> None:
    from gpo_analysis.files import write_beside

    if not path.parent.is_dir():  # a slip of the pen, not a wish for new folders
        raise FileNotFoundError(2, "no such folder", str(path.parent))
    write_beside(path, data)
    print(f"{did} {path}", file=sys.stderr)


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; numbers to four significant digits, bars within cells escaped.

    Examples
    --------
    >>> import pandas as pd
    >>> print(markdown(pd.DataFrame({"item": ["a|b"], "score": [1.23456]})), end="")
    | item | score |
    | --- | --- |
    | a\\|b | 1.235 |
    """

    def cell(value: Any) -> str:
        text = ("–" if math.isnan(value) else f"{value:.4g}") if isinstance(value, float) else shown(str(value), 200)
        return text.replace("|", "\\|")

    head = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    rows = [[cell(value) for value in row] for row in table.itertuples(index=False)]
    lines = [head[0], head[1], *rows]
    return "".join(f"| {' | '.join(cells if cells is head[1] else map(str, cells))} |\n" for cells in lines)
