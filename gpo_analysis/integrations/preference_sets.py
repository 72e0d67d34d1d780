"""Prepared data sets of preference pairs: what a row must hold before anything is trained on it.

A prepared row has ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``; a soft label ``p``, the probability that the
chosen response is the better, and reference log-probabilities may stand beside them.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

IDS = ("prompt_ids", "chosen_ids", "rejected_ids")
REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")
LABEL = "p"


class WithLabels:
    """A collator that hands on the soft labels of its rows beside what the one it wraps makes of them."""

    def __init__(self, inner: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self.inner = inner

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate a batch; without labels it is as it was."""
        batch = self.inner(rows)
        if LABEL in rows[0]:
            batch[LABEL] = torch.tensor([float(row[LABEL]) for row in rows])
        return batch


def columns_of(dataset: Any) -> list[str]:
    """Names of a set's columns; of a stream without a schema those of its first row."""
    names = getattr(dataset, "column_names", None)
    return list(names) if names is not None else list(next(iter(dataset), {}))


def is_sized(dataset: Any) -> bool:
    """Whether a set knows its length and its rows by number; a stream does not."""
    return hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")


def some_rows(dataset: Any, most: int) -> list[dict[str, Any]]:
    """At most so many rows: spread over a set, the first ones of a stream."""
    if not is_sized(dataset):
        return list(itertools.islice(iter(dataset), most))
    if not len(dataset):
        return []
    picked = np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().astype(int))
    return [dataset[int(i)] for i in picked]


def without_stale_references(dataset: Any, name: str, asked: bool) -> Any:
    """The set without reference log-probabilities that nobody asked to use: they may be of any model.

    Parameters
    ----------
    dataset : Dataset
    name : str
        What it is called, for the warning.
    asked : bool
        Whether precomputed references were asked for; then those in the set are kept.
    """
    stale = [column for column in REFERENCE if column in columns_of(dataset)]
    if not stale or asked:
        return dataset
    warnings.warn(
        f"the {name} set has {' and '.join(stale)}; they are not used, since precompute_ref_log_probs is False",
        stacklevel=2,
    )
    return dataset.remove_columns(stale)


def check_rows(dataset: Any, name: str, *, limit: int | None, max_length: int | None) -> None:
    """Refuse a set that training could not go through, or would go through with something else than its pairs.

    Parameters
    ----------
    dataset : Dataset
        Prepared. A stream is not looked through; nor are images, whose rows have no ids yet.
    name : str
        What it is called, for messages.
    limit : int, optional
        Tokens beyond which the model has no positions.
    max_length : int, optional
        Where rows are cut.

    Raises
    ------
    ValueError
        Naming the first bad row: a prompt or a response without a token, a row beyond the positions, a p outside
        [0, 1].
    """
    if not is_sized(dataset) or not set(IDS) <= set(columns_of(dataset)):
        return
    for row, (prompt, chosen, rejected) in enumerate(_lengths(dataset)):
        if not prompt:
            raise ValueError(
                f"row {row} of the {name} set has a prompt without a token, so that the first token of its responses "
                "has no probability; accepted are prompts with one token or more, such as a beginning-of-text token"
            )
        if not chosen or not rejected:
            raise ValueError(
                f"row {row} of the {name} set has a {'rejected' if chosen else 'chosen'} response without a token; "
                "accepted are pairs of responses with one token or more, the end token included"
            )
        length = prompt + max(chosen, rejected)
        if max_length is not None:
            length = min(length, max_length)
        if limit is not None and length > limit:
            raise ValueError(
                f"row {row} of the {name} set has {length} tokens, and the model has positions for {limit}; accepted "
                f"are shorter ones, or max_length={limit}"
            )
    if LABEL in columns_of(dataset):
        for row, value in enumerate(dataset[LABEL]):
            if not isinstance(value, int | float) or not 0 <= value <= 1 or math.isnan(value):
                raise ValueError(
                    f"p of row {row} of the {name} set is {value!r}; accepted is the probability, from 0 to 1, that "
                    "the chosen response is the better"
                )


def check_references(dataset: Any, name: str) -> None:
    """Refuse reference log-probabilities that no model gives."""
    for column in REFERENCE:
        values = np.asarray(dataset[column], dtype=np.float64)
        bad = np.flatnonzero(~(np.isfinite(values) & (values <= 0)))
        if bad.size:
            raise ValueError(
                f"{column} of row {bad[0]} of the {name} set is {values[bad[0]]}; accepted are log-probabilities of "
                "whole responses, finite and at most 0"
            )


def _lengths(dataset: Any) -> Iterator[Sequence[int]]:
    for batch in dataset.select_columns(list(IDS)).iter(1000):
        yield from zip(*([len(row) for row in batch[column]] for column in IDS), strict=True)
