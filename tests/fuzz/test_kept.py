"""Counts kept as records: what is written is what is shown, and a later run takes an older one's place."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fuzz.kept import Keeper, Tried, cells, main, programs
from gpo_analysis.records import find_records


def kept(out: Path, seed: int, commit: str = "0" * 40) -> None:
    keeper = Keeper(out, "fuzz.faults", "Commands.")
    keeper.git["commit"] = commit
    counted = Counter({"trials": 3, "litter": 1, "killed": 2, "traceback": 0})
    rows = [
        Tried.of("keep", how, counted if how == "killed" else Counter(trials=4), ("litter", "traceback"))
        for how in ("killed", "full disk")
    ]
    keeper.keep("llm train", rows, {"seed": seed})


def test_what_is_kept_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, 0)
    kept(tmp_path, 1)
    kept(tmp_path, 1, "1" * 40)  # the same trials of other code
    assert len(find_records(tmp_path)) == 1
    (record,) = programs(tmp_path)["fuzz.faults"]
    assert (record.name, record.config["seed"], record.meta["git"]["commit"]) == ("faults-llm-train", 1, "1" * 40)
    head, rows = cells([record])
    assert head == ["", "killed", "full disk", "all", "faults", "ended"]
    assert rows == [["keep", "3", "4", "7", "litter 1", "killed 2"]]
    assert main(["--records", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "keep  3       4          7    litter 1  killed 2" in said
    assert record.meta["command"] in said


def test_nothing_is_kept_unless_asked(tmp_path: Path) -> None:
    Keeper(None, "fuzz.faults", "Commands.").keep("", [], {})
    assert not list(tmp_path.iterdir())
