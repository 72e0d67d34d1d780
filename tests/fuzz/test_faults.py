"""The bounded part of ``python -m fuzz.faults``, and that it finds a fault when one is put in."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("record interrupted", "figure interrupted", "record damaged", "figure damaged", "note damaged")


def counts(*arguments: str, plant: str = "") -> tuple[int, dict[str, dict[str, int]]]:
    """Run the script in a process of its own, which may fork; return its exit code and what it counted."""
    script = f"import sys\n{textwrap.dedent(plant)}\nfrom fuzz.faults import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def test_no_fault_of_files_shows() -> None:
    code, found = counts("--trials", "12", "--seed", "1", *(word for kind in QUICK for word in ("--kind", kind)))
    assert code == 0, found
    assert set(found) == set(QUICK)
    for kind, total in found.items():
        assert total["trials"] == 12
        if "interrupted" in kind:
            assert sum(n for end, n in total.items() if end.startswith(("kill", "full disk"))) == 12
            assert total["kill: killed"] > 0
            assert total["full disk: refused"] > 0


def test_no_fault_of_an_experiment_shows() -> None:
    code, found = counts("--trials", "4", "--seed", "2", "--kind", "experiment interrupted, cells damaged")
    assert code == 0, found


@pytest.mark.parametrize(
    ("kind", "fault", "plant"),
    [
        (
            "figure interrupted",
            "stale",
            """
            import json
            from figures.framework import pictures, report
            def trusting(name, records, out, *, committed=False):
                note = json.loads((out / f"{name}.json").read_text())
                png = (out / f"{name}.png").read_bytes()
                return pictures.Drawn(name, note["caption"], note["sources"], False, png)
            report.read_picture = trusting
            """,
        ),
        (
            "record damaged",
            "accepted",
            """
            import json
            from gpo_analysis import records
            checked = records._document
            def trusting(text, where):
                try:
                    return {"format": 2, "name": "demo", "key": where.parent.name, **json.loads(text)}, None
                except ValueError:
                    return checked(text, where)
            records._document = trusting
            """,
        ),
        (
            "record interrupted",
            "half",
            """
            import os
            from gpo_analysis import records
            def in_place(folder, target, aside):
                target.mkdir(exist_ok=True)
                for name in ("record.json", "table.parquet"):
                    os.rename(folder / name, target / name)
            records._move_into_place = in_place
            """,
        ),
        (
            "record interrupted",
            "litter",
            """
            from gpo_analysis import files
            files.remove_stale = lambda out: 0
            """,
        ),
    ],
)
def test_a_fault_that_is_put_in_is_counted(kind: str, fault: str, plant: str) -> None:
    code, found = counts("--trials", "80", "--kind", kind, plant=plant)
    assert code == 1
    assert found[kind].get(fault, 0) > 0, found
