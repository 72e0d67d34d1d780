"""Run experiments: all their cells in one pool, a record for each as soon as its last cell is done."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from experiments.framework.cells import Cell, cell_file, forget, join, one_line, outdated, read_cell
from experiments.framework.checks import Check, NotRun
from experiments.framework.discovery import Experiment, find_experiments
from experiments.framework.engines import LOCAL, computed, connected
from experiments.framework.settings import with_settings
from gpo_analysis.files import DamagedFile, remove_stale
from gpo_analysis.locks import run_lock
from gpo_analysis.provenance import arithmetic, code_hash, device, git_state, versions
from gpo_analysis.records import (
    AGAIN,
    NoRecord,
    Record,
    RecordError,
    plain,
    read_record,
    record_key,
    write_record,
)
from gpo_analysis.runs import RunStatus, write_catalogue, write_status

if TYPE_CHECKING:
    import pandas as pd


class Interrupted(Exception):
    """Ctrl-C: what is done is kept."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__(f"stopped with {done} of {total} cells done and kept; the same command goes on from there")


@dataclass
class Plan:
    """An experiment on its way: configuration, cells, and what has become of it."""

    experiment: Experiment
    preset: str
    out: Path
    status: str = "running"  # then: complete, failed, not run, interrupted
    why: str = ""
    trace: str = ""
    config: Any = None
    changed: dict[str, Any] = field(default_factory=dict)  # fields that are not the preset's
    code: str = ""  # hash of the code
    inputs: str = ""  # hash of the code and of the cells' axes, which may name data by its checksum
    cells: list[Cell] = field(default_factory=list)
    missing: list[Cell] = field(default_factory=list)
    record: Record | None = None  # on disk, or there is none
    not_noted: str = ""  # why the report will not know what became of it

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.experiment.name

    def fail(self, reason: str, trace: str) -> None:
        """Note the first failure."""
        if self.status != "failed":
            self.status, self.why, self.trace = "failed", reason, trace


def run_experiments(
    experiments: tuple[Experiment, ...],
    *,
    preset: str = "quick",
    out: Path,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
    what: str = "python -m experiments",
    changed: Mapping[str, Any] | None = None,
) -> list[Plan]:
    """Run experiments and write their records; what is there already is not computed again.

    Parameters
    ----------
    experiments : tuple of Experiment
        What to run.
    preset : str
        ``quick`` or ``paper``.
    out : path
        Folder of the records.
    jobs : int
        Number of processes; 1 computes in this one.
    scheduler : str or None
        Address of a Dask scheduler whose workers compute instead, or ``local`` for a Dask cluster of `jobs` workers.
    progress : bool
        Show a bar over cells, with the time left, on standard error.
    what : str
        How this run is called where another one finds the folder taken.
    changed : mapping of str to object, optional
        Values of the configuration's fields that are not the preset's.

    Returns
    -------
    list of Plan
        One for each experiment, with its status.

    Raises
    ------
    Interrupted
        On Ctrl-C; finished cells stay.
    SchedulerError
        Where the scheduler cannot be reached; nothing was begun.
    FolderBusy
        Where another run is at work in the folder; it is named.
    BadSetting
        For a field that an experiment has not, or a value that it cannot have; nothing was begun.
    OSError
        Where the folder cannot be written.
    """
    for experiment in experiments if changed else ():
        with_settings(experiment.config(preset), changed or {}, experiment.name)
    if scheduler is not None and scheduler != LOCAL:
        with connected(scheduler):
            pass  # at once, and not after the planning
    with run_lock(out, what):
        remove_stale(out)
        write_catalogue([item.describe() for item in find_experiments()], out)
        plans = [_plan(experiment, preset, out, changed or {}) for experiment in experiments]
        codes = {item.name: "" for item in find_experiments()} | {plan.name: plan.code for plan in plans}
        forget(outdated(out, codes))
        _compute(plans, jobs, scheduler, progress)
    return plans


def _compute(plans: list[Plan], jobs: int, scheduler: str | None, progress: bool) -> None:
    """Compute the cells that are missing; each experiment is finished with its last one."""
    for plan in plans:
        if plan.status == "running" and not plan.missing:
            _finish(plan)
    cells = [(plan, cell) for plan in plans if plan.status == "running" for cell in plan.missing]
    total = sum(len(plan.cells) for plan in plans)
    bar = tqdm(
        total=total,
        initial=total - len(cells),
        desc="cells",
        unit="cell",
        disable=not (progress and cells),
        file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 5.0,
        smoothing=0.05,
    )
    left = {plan.name: len(plan.missing) for plan in plans}
    done = total - len(cells)
    try:
        with bar:
            work = [cell for _, cell in cells]
            for index, failure in computed(work, lambda index: cells[index][0].status == "failed", jobs, scheduler):
                plan, cell = cells[index]
                left[plan.name] -= 1
                if failure is None:
                    done += 1
                else:
                    plan.fail(f"{failure.reason} (cell {json.dumps(plain(cell.axes))})", failure.traceback)
                if left[plan.name] == 0 and plan.status == "running":
                    bar.set_postfix_str(f"{plan.name} done", refresh=False)
                    _finish(plan)
                bar.update()
    except KeyboardInterrupt:
        for plan in plans:
            if plan.status == "running":
                plan.status, plan.why = "interrupted", "stopped before its last cell; run it again to go on"
        raise Interrupted(done, total) from None
    except Exception as error:  # the pool itself broke: a worker was killed, or could not be started
        for plan in plans:
            if plan.status == "running":
                plan.fail(one_line(error), traceback.format_exc())
    finally:
        for plan in plans:
            _write_status(plan)


def _plan(experiment: Experiment, preset: str, out: Path, changed: Mapping[str, Any]) -> Plan:
    """Work out what an experiment needs; its own errors become its status."""
    plan = Plan(experiment, preset, out, changed=dict(changed))
    try:
        module = experiment.load()
        plan.config = with_settings(experiment.config(preset), changed, experiment.name)
        plan.code = code_hash(experiment.module_name)
        cells = plain(list(module.cells(plan.config)), "cells")
        files = [cell_file(out, experiment.name, plan.config, axes, plan.code) for axes in cells]
        if not cells or len(set(files)) != len(files):
            raise ValueError(f"cells(config) gave {len(cells)} cells, {len(set(files))} of them distinct")
    except NotRun as reason:
        plan.status, plan.why = "not run", str(reason)
        return plan
    except Exception as error:
        plan.fail(one_line(error), traceback.format_exc())
        return plan
    plan.inputs = record_key(cells, plan.code)
    if _found(plan):
        forget([file for file in files if file.exists()])  # of a run that was killed when the record was there
        return plan
    plan.cells = [
        Cell(experiment.module_name, plan.config, axes, out, file, plan.code)
        for axes, file in zip(cells, files, strict=True)
    ]
    plan.missing = [cell for cell in plan.cells if not _kept(cell)]
    return plan


def _kept(cell: Cell) -> bool:
    """Whether a cell's result is there; of a damaged one a line is printed, and it is computed again."""
    try:
        return read_cell(cell.file) is not None
    except DamagedFile as damage:
        print(f"experiments: {damage}; the cell is computed again", file=sys.stderr)
        forget([cell.file])
        return False


def _found(plan: Plan) -> bool:
    """Take the record with this configuration and code, where there is one; of a damaged one a line is printed."""
    try:
        plan.record = read_record(plan.out / plan.name / record_key(plan.config, plan.inputs))
    except NoRecord:
        return False
    except RecordError as damage:
        print(f"experiments: {str(damage).removesuffix(f'; {AGAIN}')}; it is computed again", file=sys.stderr)
        return False
    plan.status = "complete"
    return True


def _finish(plan: Plan) -> None:
    """Join the cells, check the claims, write the record."""
    try:
        kept = [read_cell(cell.file) for cell in plan.cells]
        tables = [item[0] for item in kept if item is not None]
        if len(tables) != len(plan.cells):
            missing = len(plan.cells) - len(tables)
            raise OSError(f"{missing} finished cells cannot be read back from {plan.out / '.cells'}")
        table = join(tables)
        module = plan.experiment.load()
        checks, summary = _checked(plan, module, table)
        meta = {
            "preset": plan.preset,
            **({"changed": plain(plan.changed)} if plan.changed else {}),
            "seed": getattr(plan.config, "seed", None),
            "claim": module.CLAIM,
            "figure": module.FIGURE,
            "checks": checks,
            "summary": summary,
            **({"study": module.provenance(table)} if hasattr(module, "provenance") else {}),
            "code_hash": plan.inputs,
            "versions": versions(),
            "git": git_state(Path(str(module.__file__)).parent),
            "device": device(),
            "arithmetic": arithmetic(),
            "wall_seconds": sum(item[1] for item in kept if item is not None),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        record = Record(plan.name, plan.config, table, meta)
        write_record(record, plan.out)
        plan.record, plan.status = record, "complete"  # not before: one that is not there would hide an older one
        forget([cell.file for cell in plan.cells])
    except Exception as error:
        plan.fail(one_line(error), traceback.format_exc())


def _checked(plan: Plan, module: ModuleType, table: pd.DataFrame) -> tuple[list[dict[str, Any]], str]:
    """The claims, decided, and the summary; where fields were changed so that these find no rows, that is what is said.

    The table of such a run is what was asked for, and is kept.
    """
    try:
        return [check.to_json() for check in module.check(plan.config, table)], _summary(module, plan.config, table)
    except Exception as error:
        if not plan.changed:
            raise
        fields = ", ".join(plan.changed)
        why = f"with {fields} changed its checks find not what they read ({one_line(error)})"
        return [Check.not_run(module.CLAIM, "as in the preset", why).to_json()], ""


def _summary(module: ModuleType, config: Any, table: pd.DataFrame) -> str:
    """Return the experiment's paragraph on what was found, as one line; empty where it has none."""
    if not hasattr(module, "summary"):
        return ""
    text = module.summary(config, table)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"summary returned {text!r}; accepted is a paragraph of text")
    return " ".join(text.split())


def _write_status(plan: Plan) -> None:
    """Note what became of an experiment, for the report: its latest record, or why there is none; or why not."""
    key = plan.record.key if plan.record is not None else None
    try:
        write_status(RunStatus(plan.name, plan.preset, plan.status, plan.why, plan.trace, key), plan.out)
    except (OSError, ValueError) as error:  # must not hide what happened to the others
        plan.not_noted = one_line(error)
