"""Data sets of the hub, by name, through `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm.data.filters import FilterConfig, ReadReport
from llm.data.readers import TITLE_TEMPLATE, Record, examples_of, pairs_of
from llm.data.types import Example, Pair


def hub_examples(
    name: str,
    *,
    split: str = "train",
    subset: str | None = None,
    revision: str | None = None,
    columns: Mapping[str, str] | None = None,
    template: str = TITLE_TEMPLATE,
    config: FilterConfig | None = None,
) -> tuple[list[Example], ReadReport]:
    """Read a data set with the columns source and summary.

    Parameters
    ----------
    name, subset, split, revision : str, str, optional
        What `datasets.load_dataset` takes: the name on the hub or a local folder, its configuration, the part of it,
        and the commit to pin.
    columns : mapping, optional
        Our key → the data set's column where they differ, such as {"source": "article", "summary": "highlights"}.
    template : str
        The prompt, ``{source}`` standing for the source.
    config : FilterConfig, optional
        Which records are kept; "line" in the report is the row, counted from 1.

    Raises
    ------
    ValueError
        For columns the data set does not have, or a record that is refused.
    """
    rows = _rows(name, split, subset, revision, columns or {}, ("source", "summary"))
    return examples_of(rows, f"{name} [{split}]", config, template=template)


def hub_pairs(
    name: str,
    *,
    split: str = "train",
    subset: str | None = None,
    revision: str | None = None,
    columns: Mapping[str, str] | None = None,
    config: FilterConfig | None = None,
    soft: bool = False,
) -> tuple[list[Pair], ReadReport]:
    """Read a data set with the columns prompt, chosen and rejected; parameters as of `hub_examples`."""
    rows = _rows(name, split, subset, revision, columns or {}, ("prompt", "chosen", "rejected"))
    return pairs_of(rows, f"{name} [{split}]", config, soft=soft)


def _rows(
    name: str,
    split: str,
    subset: str | None,
    revision: str | None,
    columns: Mapping[str, str],
    needed: tuple[str, ...],
) -> Iterator[Record]:
    from datasets import load_dataset

    data = load_dataset(name, subset, split=split, revision=revision)
    sources = {key: columns.get(key, key) for key in needed}
    missing = [column for column in sources.values() if column not in data.column_names]
    if missing:
        raise ValueError(
            f"{name} has no column {', '.join(missing)}; it has {', '.join(data.column_names)}: name them by columns"
        )
    return _numbered(data, sources)


def _numbered(data: Any, sources: Mapping[str, str]) -> Iterator[Record]:
    renamed = set(sources.values())
    for number, row in enumerate(data, 1):
        yield (
            number,
            {key: value for key, value in row.items() if key not in renamed}
            | {key: row[column] for key, column in sources.items()},
        )
