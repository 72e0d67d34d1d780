"""Training that is stopped, killed, out of disk or meets NaN: what is kept, and what it takes to go on."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llm.storage.checkpoints import latest_checkpoint, load_tensors
from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from tests.llm.killable import killed_after
from tests.llm.tiny_stacks import LOSSES, MODEL, apart, cells_at, train


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_a_run_that_stops_goes_on_to_the_same_end_to_the_bit(tmp_path: Path, optimizer: str) -> None:
    cells = cells_at(1e-3)
    config = TrainConfig(9, batch_size=5, accumulation=5, optimizer=optimizer, warmup=4, checkpoint_every=2)
    whole = train(cells, config, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(index: int, step: int, model: Any) -> None:
        if step == 6:
            raise Killed

    with pytest.raises(Killed):
        train(cells, config, tmp_path / "again", on_checkpoint=kill)
    newest = latest_checkpoint(tmp_path / "again")
    assert newest is not None
    assert newest.name == "step-00000004"
    again = train(cells, config, tmp_path / "again")
    assert np.array_equal(again.trace, whole.trace)
    assert all(apart(again.stack.cell(i), whole.stack.cell(i)) == 0.0 for i in range(len(cells)))
    seen: list[int] = []
    finished = train(cells, config, tmp_path / "again", on_checkpoint=lambda i, s, m: seen.append(s))
    assert np.array_equal(finished.trace, whole.trace)
    assert seen == []  # what is finished is not trained again
    with pytest.raises(ValueError, match="holds a run with other"):
        train(cells, replace(config, warmup=5), tmp_path / "again")


def long_run(folder: Path) -> None:
    train(cells_at(1e-3), TrainConfig(40, batch_size=4, checkpoint_every=1), folder)


def test_a_process_killed_at_any_moment_leaves_what_it_takes_to_go_on(tmp_path: Path) -> None:
    config = TrainConfig(40, batch_size=4, checkpoint_every=1)
    whole = train(cells_at(1e-3), replace(config, checkpoint_every=0), tmp_path / "whole")
    folder = tmp_path / "killed"
    killed_after(folder, "step-*/index.json", long_run, folder)
    newest = latest_checkpoint(folder)
    assert newest is not None
    again = train(cells_at(1e-3), config, folder)
    np.testing.assert_allclose(again.trace, whole.trace, rtol=1e-6, atol=1e-9)  # threads may differ from the child's
    assert again.statuses == ("finished",) * len(LOSSES)
    assert not list(folder.glob(".writing-*"))


def test_a_cell_that_meets_nan_is_stopped_alone(tmp_path: Path) -> None:
    """exp(−z) overflows at a huge β: that cell stops, its parameters stay finite, the others end as without it."""
    bad = SweepCell("exponential", 1e4, 0, 0.05)
    good = cells_at(0.05, LOSSES[:2])
    config = TrainConfig(8, batch_size=6, optimizer="sgd", max_grad_norm=1.0, checkpoint_every=3)
    seen: list[tuple[int, int]] = []
    found = train([good[0], bad, good[1]], config, tmp_path / "a", on_checkpoint=lambda i, s, m: seen.append((i, s)))
    stopped = found.statuses[1]
    assert stopped.startswith("nan at step ")
    step = int(stopped.split()[-1])
    assert 1 < step < 8
    assert (found.statuses[0], found.statuses[2]) == ("finished", "finished")
    assert not np.isfinite(found.trace[step - 1, 1]).all()
    assert np.isfinite(found.trace[: step - 1, 1]).all()
    assert np.isfinite(found.trace[:, [0, 2]]).all()
    assert all(bool(torch.isfinite(p).all()) for p in found.stack.cell(1).parameters())
    before = train([bad], replace(config, steps=step - 1), tmp_path / "b")
    assert apart(found.stack.cell(1), before.stack.cell(0)) < 2e-6
    alone = train(good, config, tmp_path / "c")
    assert apart(found.stack.cell(2), alone.stack.cell(1)) < 2e-6
    assert (tmp_path / "a" / f"stopped-{bad.key}.safetensors").is_file()
    assert {i for i, s in seen if s >= step} == {0, 2}
    assert set(found.table().loc[lambda t: t["cell"] == bad.key, "status"]) == {stopped}
    again = train([good[0], bad, good[1]], config, tmp_path / "a")
    assert again.statuses == found.statuses


def test_a_stack_of_stopped_cells_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = TrainConfig(50, batch_size=6, optimizer="sgd")
    found = train([SweepCell("exponential", 1e4, 0, 0.05)], config, tmp_path, progress=True)
    assert "stopped" in capsys.readouterr().err  # the bar says so
    assert found.statuses[0].startswith("nan at step")
    assert latest_checkpoint(tmp_path) is not None


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adafactor"])
def test_a_stopped_cell_keeps_no_infinite_parameters(tmp_path: Path, optimizer: str) -> None:
    """Finite losses and gradients, and a step that leaves the range of floats: the step is not taken."""
    wild, good = SweepCell("logistic", 0.3, 0, 1e38), SweepCell("logistic", 0.3, 0, 1e-3)
    config = TrainConfig(6, batch_size=6, optimizer=optimizer, max_grad_norm=None, weight_decay=10.0)
    found = train([wild, good], config, tmp_path / "both")
    assert found.statuses[0].startswith("nan at step ")
    assert found.statuses[1] == "finished"
    for run in (0, 1):
        assert all(bool(torch.isfinite(p).all()) for p in found.stack.cell(run).parameters())
    step = int(found.statuses[0].split()[-1])
    assert step > 1 or apart(found.stack.cell(0), MODEL) == 0.0, "its parameters are those before the step"
    stopped = load_tensors(tmp_path / "both" / f"stopped-{wild.key}.safetensors")[0]
    assert all(bool(torch.isfinite(value).all()) for value in stopped.values())
    alone = train([good], config, tmp_path / "alone")
    assert apart(found.stack.cell(1), alone.stack.cell(0)) < 1e-5


def test_a_full_disk_while_saving_leaves_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, config = cells_at(1e-3), TrainConfig(6, batch_size=4, checkpoint_every=2)
    whole = train(cells, config, tmp_path / "whole")

    def full(index: int, step: int, model: Any) -> None:
        if step == 4:
            monkeypatch.setattr(os, "fsync", refuse)

    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device.*step-00000002 is intact"):
        train(cells, config, tmp_path / "full", on_checkpoint=full)
    monkeypatch.undo()
    assert np.array_equal(train(cells, config, tmp_path / "full").trace, whole.trace)
