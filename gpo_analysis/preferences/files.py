"""Comparisons from files: what is accepted, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.options import ReadOptions


def read_comparisons(path: str | Path, **options: Unpack[ReadOptions]) -> Comparisons:
    """Read who beat whom: CSV, TSV, JSON lines, a JSON array or Parquet, plain or gzip-compressed.

    Parameters
    ----------
    path : str or Path
        ``-`` is standard input. Names ending in .jsonl, .ndjson or .json (or these with .gz) are JSON (one object a
        line, or one array of objects), .csv and .tsv are CSV; any other is told by its beginning. Columns, without
        regard to case: ``winner, loser`` and optionally ``count`` (or votes, weight, n), ``tie`` and ``prompt``; or
        ``prompt, chosen, rejected``; or ``model_a, model_b, winner`` with ties; or a row a pair with counts,
        ``model_a, model_b, model_a_wins, model_b_wins, ties``; or votes on a pair, ``votes_chosen, votes_rejected``.
    across_prompts : bool, optional
        Where a file has prompts, winner and loser, chosen and rejected are items of their own under each, "prompt:
        name", since responses to different prompts are never compared; models are one item under all. False and True
        decide otherwise.
    columns : mapping of str to str, optional
        Names that are understood, to the file's own: ``{"winner": "preferred", "prompt": "question"}``.
    ignore : sequence of str
        Columns that look as if they counted and do not.
    separator : str, optional
        One character; by default commas, semicolons, tabs or bars, whichever the header fits with.
    covariates : sequence of str
        Each the name of a column of the first less the second, or what two columns share: ``tokens`` for ``tokens_a``
        and ``tokens_b`` (or tokens_winner and tokens_loser, …), whose difference is taken.
    cluster : str
        A column whose values say which comparisons depend on each other: a judge, a battle, ``prompt``; or ``row``.
    position : str
        A column that says which of the two was shown first (winner or loser, or its name). ``model_a`` stands first
        by itself, unless the first of every pair is the earlier in the alphabet: then the order was no position.
    implicit_prompts : bool, optional
        Whether the common beginning of chosen and rejected is the prompt. By default where there is no prompt, and
        both are dialogues (messages, or texts with "Assistant:").

    Returns
    -------
    Comparisons
        Items in the order in which they appear; `report` says what was left out, joined or not used, `contests` has
        ties, positions, covariates, prompts and clusters.

    Raises
    ------
    ValueError
        Naming file, line and what is accepted: for a missing column, one that occurs twice or looks as if it counted
        and is not known, a count that is empty, negative or not a finite number, a name that is empty or marks a
        missing value, a winner equal to the loser, malformed CSV or JSON, a file without comparisons.
    OSError
        Where the file cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "games.csv")
    ...     _ = file.write_text("winner,loser,count\\nrock,scissors,3\\nscissors,paper,2\\n")
    ...     read_comparisons(file)
    Comparisons(3 items, 2 compared pairs, total count 5)
    """
    return Comparisons.read(path, **options)


def read_comparisons_by_prompt(path: str | Path, **options: Unpack[ReadOptions]) -> dict[str, Comparisons]:
    """Read a file as `read_comparisons` does, into one set of comparisons a prompt, items by their own names.

    Returns
    -------
    dict of str to Comparisons
        In the order of the file; one entry, of name ``""``, where items are not compared within prompts.
    """
    return Comparisons.read(path, **options).by_prompt()
