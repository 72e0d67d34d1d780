"""Votes on pairs of arguments from online debates, a side of a debate at a time.

The data (Habernal and Gurevych 2016, "Which argument is more convincing?", ACL) are not shipped: the folder that holds
``ukp_arguments/*.jsonl.gz`` is given by ``--data`` or the environment variable GPO_DATA, one JSON object a line with
prompt, chosen_id, rejected_id, votes_chosen, votes_rejected and votes_equal. The two sides of a debate are never
compared with each other. An undecided vote counts one half for both.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.framework import NotRun
from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences import Comparisons

FILES = ("train", "validation", "test")
FOLDER = "ukp_arguments"


@dataclass(frozen=True)
class Side:
    """The votes on one side of a debate, some of its pairs held out.

    Parameters
    ----------
    items : list of str
        Names of the arguments, n of them.
    pairs : int
        Number of pairs with votes.
    whole, fitted, tested : array, shape (n, n)
        Votes for i over j: all, those that are fitted, and those held out.
    """

    items: list[str]
    pairs: int
    whole: FloatArray
    fitted: FloatArray
    tested: FloatArray


def side_axes() -> list[dict[str, Any]]:
    """The axes ``file``, ``sha256`` and ``prompt`` of every side of a debate; NotRun says how to give the data."""
    folder = _folder()
    found = []
    for name in FILES:
        digest = hashlib.sha256((folder / f"{name}.jsonl.gz").read_bytes()).hexdigest()
        prompts = sorted({row["prompt"] for row in _read(folder / f"{name}.jsonl.gz", digest)})
        found += [{"file": name, "sha256": digest, "prompt": prompt} for prompt in prompts]
    return found


def read_side(file: str, sha256: str, prompt: str, *, held_out: float, seed: int) -> Side:
    """One side of a debate, with a share of its pairs held out at random.

    Raises
    ------
    ValueError
        Where the file is not the one with this checksum.
    """
    rows = side_rows(file, sha256, prompt)
    stream = int.from_bytes(hashlib.sha256(f"{seed} {prompt}".encode()).digest()[:8])
    held = np.random.default_rng(stream).random(len(rows)) < held_out
    items = sorted({row[side] for row in rows for side in ("chosen_id", "rejected_id")})
    index = {item: k for k, item in enumerate(items)}
    fitted, tested = (
        votes([row for row, out in zip(rows, held, strict=True) if out == which], index) for which in (False, True)
    )
    return Side(items, len(rows), votes(rows, index), fitted, tested)


def side_rows(file: str, sha256: str, prompt: str) -> list[dict[str, Any]]:
    """The records of one side of a debate, as the file has them."""
    return [row for row in _read(_folder() / f"{file}.jsonl.gz", sha256) if row["prompt"] == prompt]


def votes(rows: list[dict[str, Any]], index: dict[str, int]) -> FloatArray:
    """Votes (n, n): entry (i, j) is how many preferred i to j, undecided ones counted half."""
    table = np.zeros((len(index), len(index)))
    for row in rows:
        winner, loser = index[row["chosen_id"]], index[row["rejected_id"]]
        table[winner, loser] += row["votes_chosen"] + 0.5 * row["votes_equal"]
        table[loser, winner] += row["votes_rejected"] + 0.5 * row["votes_equal"]
    return table


def comparisons(table: FloatArray, items: list[str]) -> Comparisons:
    """Votes (n, n) as comparisons of these items."""
    winner, loser = np.nonzero(table)
    return Comparisons(winner, loser, table[winner, loser], items=items)


def _folder() -> Path:
    """Return the folder of the data, or say how to give it."""
    given = os.environ.get("GPO_DATA")
    if not given:
        raise NotRun(f"no data given; name the folder that holds {FOLDER}/ by --data or GPO_DATA")
    folder = Path(given) / FOLDER
    missing = [f"{name}.jsonl.gz" for name in FILES if not (folder / f"{name}.jsonl.gz").is_file()]
    if missing:
        raise NotRun(f"{', '.join(missing)} not found in {FOLDER}/ of the data folder")
    return folder


@functools.lru_cache(maxsize=len(FILES))
def _read(path: Path, sha256: str) -> tuple[dict[str, Any], ...]:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path.name} has changed since the run was planned; run it again")
    with gzip.open(io.BytesIO(data), "rt", encoding="utf-8") as stream:
        return tuple(json.loads(line) for line in stream if line.strip())
