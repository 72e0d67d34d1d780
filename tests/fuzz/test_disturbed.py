"""A bounded part of ``python -m fuzz.faults --stage``: one command disturbed; and that a fault put in is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fuzz.disturbed import DISTURBANCES, _untold
from fuzz.stages import STAGES, content, same

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json
from fuzz.disturbed import run_stage
found = {"keep": run_stage("keep", 2, 3)}
from gpo_analysis import files
files.remove_stale = lambda out: 0
found["never swept"] = run_stage("keep", 12, 3, ("killed",))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """Counts, by a process of its own, which may fork."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_command_survives_everything(found: dict[str, Any]) -> None:
    faults = ("accepted", "half", "dead end", "litter", "traceback", "lines")
    for how, counts in found["keep"].items():
        assert counts["trials"] == 2, how
        assert not any(counts.get(fault) for fault in faults), (how, counts)
    assert set(found["keep"]) == set(DISTURBANCES) - {"worker lost"}


def test_litter_that_nobody_sweeps_is_found(found: dict[str, Any]) -> None:
    assert found["never swept"]["killed"]["litter"] > 0


def test_every_stage_names_what_it_writes() -> None:
    assert set(DISTURBANCES) >= {"killed", "damaged", "worker lost"}
    for name, stage in STAGES.items():
        assert stage.words[0] in ("gpo", "experiments", "figures", "llm", "fuzz.stage_of_study"), name
        assert stage.out


def test_comparison_and_lines(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1.0], "seconds": [2.0]})
    table.to_parquet(tmp_path / "a.parquet")
    table.assign(seconds=3.0, x=1 + 1e-9).to_parquet(tmp_path / "b.parquet")
    table.assign(x=1.1).to_parquet(tmp_path / "c.parquet")
    a, b, c = ({"t": content(tmp_path / f"{name}.parquet")} for name in "abc")
    assert same(a, b) == ""
    assert same(a, c).startswith("t: ")
    assert same(a, {}) == "other files: t"
    (tmp_path / "d.json").write_text('{"x": [{"seconds": 1}], "sha256": "0"}')
    assert content(tmp_path / "d.json") == {"x": [{}]}
    assert not _untold(["gpo: no"])
    assert _untold([])
    assert _untold(["Killed"])
