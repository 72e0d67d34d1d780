"""The bounded part of ``python -m fuzz.readers``, and that it finds a fault when one is put in."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import readers


@pytest.mark.parametrize("name", readers.READERS)
def test_every_mutated_file_is_read_or_refused(name: str) -> None:
    counts, faults = readers.fuzz(name, 120, seed=1)
    assert faults == []
    assert counts["read"] + counts["refused"] == 120
    if name == "run's log of pairs":  # of which a damaged line is none, and the others are read
        assert counts["read"] == 120
    else:
        assert min(counts["read"], counts["refused"]) > 5, "both must really happen"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KeyError("x"), "traceback"),
        (ValueError("no file named"), "nameless"),
        (ValueError("{path}:\nmore"), "nameless"),
    ],
)
def test_planted_faults_are_found(tmp_path: Path, error: Exception, kind: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("winner,loser\n")

    def read(path: Path) -> object:
        raise type(error)(str(error.args[0]).format(path=path))

    assert readers.outcome(readers.Reader((), read, ()), path, with_verb=False)[0] == kind
