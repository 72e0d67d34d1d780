"""Sweeps: cells in stacks, over launched processes and side by side, as each ends alone."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llm.sweep.export import load_cell
from llm.sweep.measure import measure_stack_size
from llm.sweep.plan import plan_stacks
from llm.sweep.run import train_sweep
from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from tests.llm.tiny_stacks import LOSSES, MODEL, PAIRS, REFERENCE, ROOT, apart, assert_spread, cells_at, train


def test_sweeps_train_each_cell_as_alone_and_go_on(tmp_path: Path) -> None:
    cells = [*cells_at(0.05), *cells_at(0.05, LOSSES[:2], seed=1)]
    config = TrainConfig(4, batch_size=6, optimizer="sgd")
    seen: list[tuple[str, int]] = []
    found = train_sweep(
        MODEL, cells, PAIRS, REFERENCE, config, folder=tmp_path, stack_size=3,
        on_checkpoint=lambda cell, step, model: seen.append((cell.key, step)),
    )  # fmt: skip
    assert sorted(seen) == sorted((cell.key, 4) for cell in cells)
    assert found.statuses == ("finished",) * len(cells)
    assert (len(found.stacks), found.trained) == (3, 3)
    assert [(file.cell, file.step) for file in found.policies()] == [(cell, 4) for cell in cells]
    assert len(found.table()) == 4 * len(cells)
    for cell in (cells[1], cells[-1]):
        alone = train([cell], config, tmp_path / "alone" / cell.key)
        assert apart(load_cell(MODEL, tmp_path, cell), alone.stack.cell(0)) < 2e-6
    seen.clear()
    again = train_sweep(
        MODEL, cells, PAIRS, REFERENCE, config, folder=tmp_path, on_checkpoint=lambda *a: seen.append(a)
    )  # type: ignore[arg-type]
    assert (again.stack_size, again.trained, seen) == (3, 0, [])
    with pytest.raises(ValueError, match="no stack with the cell"):
        load_cell(MODEL, tmp_path, SweepCell("savage", 9.0, 0, 0.05))


def test_stack_sizes_are_measured_and_leave_no_trace(tmp_path: Path) -> None:
    before = copy.deepcopy(MODEL)
    timings = measure_stack_size(
        MODEL, cells_at(1e-3), PAIRS, REFERENCE, TrainConfig(100, batch_size=4), sizes=(1, 2), steps=2
    )
    assert [timing.size for timing in timings][:1] == [1]
    assert {timing.size for timing in timings} <= {1, 2, 5}
    assert all(timing.seconds > 0 for timing in timings)
    assert apart(before, MODEL) == 0.0
    found = train_sweep(MODEL, cells_at(1e-3), PAIRS, REFERENCE, TrainConfig(1, batch_size=2), folder=tmp_path)
    assert 1 <= found.stack_size <= 5
    assert '"seconds"' in (tmp_path / "plan.json").read_text()


def test_stacks_are_of_one_seed() -> None:
    cells = [*cells_at(1e-3), *cells_at(1e-3, seed=1)]
    stacks = plan_stacks(cells, 4)
    assert all(len({cell.seed for cell in stack}) == 1 for stack in stacks)
    assert sorted(len(stack) for stack in stacks) == [2, 2, 3, 3]
    assert [cell for stack in stacks for cell in stack] == cells
    with pytest.raises(ValueError, match="size is 0"):
        plan_stacks(cells, 0)


LAUNCHED = """
import sys
from pathlib import Path
from tests.llm.tiny_stacks import spread_over_ranks

if __name__ == "__main__":
    spread_over_ranks(Path(sys.argv[1]))
"""


def test_cells_are_spread_over_launched_processes(tmp_path: Path) -> None:
    """Some 13 s of processor time: torchrun and two processes load torch. accelerate's: test_launched.py."""
    script = tmp_path / "launched.py"
    script.write_text(LAUNCHED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launcher, str(script), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_spread(tmp_path / "out", tmp_path / "one")


def note(folder: Path, cell: SweepCell, step: int, model: Any) -> None:
    (folder / f"saw-{cells_at(0.05).index(cell)}").write_text(str(step))


def test_processes_side_by_side_train_what_one_trains(tmp_path: Path) -> None:
    config = TrainConfig(3, batch_size=6, optimizer="sgd")
    train_sweep(
        MODEL, cells_at(0.05)[:4], PAIRS, REFERENCE, config, folder=tmp_path / "out", stack_size=2, processes=2,
        on_checkpoint=partial(note, tmp_path / "out"),
    )  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").glob("saw-*")) == [f"saw-{i}" for i in range(4)]
    alone = train([cells_at(0.05)[1]], config, tmp_path / "alone")
    assert apart(load_cell(MODEL, tmp_path / "out", cells_at(0.05)[1]), alone.stack.cell(0)) < 2e-6
