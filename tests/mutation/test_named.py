"""Faults that a file names are tried in its order, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mutation.campaign import Campaign


def _campaign(folder: Path) -> Campaign:
    drawn = {
        area: [
            {"name": f"{area}{k}", "file": "a.py", "operator": "number", "lines": [1, 1], "inside": True,
             "change": [0, "1", "2"]}
            for k in range(4)
        ]
        for area in ("one", "two")
    }  # fmt: skip
    plan = {"seed": 0, "size": 4, "areas": {area: {"possible": 4, "drawn": made} for area, made in drawn.items()}}
    (folder / "plan.json").write_text(json.dumps(plan))
    verdicts = [{"mutant": "one0", "verdict": "killed"}, {"mutant": "two1", "verdict": "survived"}]
    (folder / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in verdicts))
    return Campaign(folder)


def test_named_faults_in_their_order(tmp_path: Path) -> None:
    work = _campaign(tmp_path)
    named = ("two1", "one3", "one0", "two0", "one3")
    assert [m.name for m in work.todo(None, (), True, named)] == ["two1", "one3", "two0"]
    assert [m.name for m in work.todo(None, (), False, named)] == ["one3", "two0"], "survivors only once more"
    assert [m.name for m in work.todo(None, ("two",), True, named)] == ["two1", "two0"]


def test_an_unknown_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no fault 'one9' is planned"):
        _campaign(tmp_path).todo(None, (), True, ("one9",))
