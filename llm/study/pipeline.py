"""Run a study: `run_study`, what ``python -m llm run`` calls."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpo_analysis.files import TEMPORARY, remove_stale, write_whole
from gpo_analysis.locks import run_lock
from llm.budget import Budget, Clock, TimeIsUp
from llm.data.splits import Splits
from llm.devices import Rank, on_first, this_rank
from llm.study import stages
from llm.study.budgeted import train_within
from llm.study.config import StudyConfig
from llm.study.names import STAGES
from llm.study.presets import preset
from llm.study.stages import Gold, Made, Outcome, PairSets, Policy, Setting
from llm.study.tables import write_tables
from llm.sweep.plan import grid_cells
from llm.sweep.run import SweepResult
from llm.training.cells import SweepCell

SHARED = ("sweep", "evaluate")  # launched processes share the work of these


@dataclass(frozen=True, eq=False)
class Study:
    """What a run made, up to the stage that was asked for; None for what comes later.

    Attributes
    ----------
    config, folder : StudyConfig, path
        What was run, and where it lies.
    records, base, reference, gold, pairs, baseline, sweep, evaluations : output of a stage, or None
        What the stages made (`llm.study.stages`).
    """

    config: StudyConfig
    folder: Path
    records: Splits | None = None
    base: Policy | None = None
    reference: Policy | None = None
    gold: Gold | None = None
    pairs: PairSets | None = None
    baseline: dict[str, Any] | None = None
    sweep: SweepResult | None = None
    evaluations: list[dict[str, Any]] | None = None


def configure(config: StudyConfig | str, *, workers: int | None = None, **overrides: object) -> StudyConfig:
    """Return a configuration, or that of a preset's name, with some fields replaced.

    Parameters
    ----------
    config : StudyConfig or str
        A configuration, or a preset's name.
    workers : int, optional
        Processes side by side; None for the configuration's.
    **overrides : object
        Fields of `StudyConfig` to replace (device, seed, …); None replaces nothing.

    Raises
    ------
    ValueError
        For an unknown preset or a value that is out of range.
    """
    chosen = preset(config) if isinstance(config, str) else config
    kept = {name: value for name, value in {**overrides, "workers": workers}.items() if value is not None}
    return dataclasses.replace(chosen, **kept) if kept else chosen  # type: ignore[arg-type]


def run_study(
    config: StudyConfig | str,
    out: str | os.PathLike[str],
    *,
    until: str = STAGES[-1],
    data: str | os.PathLike[str] | None = None,
    progress: bool = False,
    say: Callable[[str], None] = print,
    clock: Clock = time.perf_counter,
    **overrides: object,
) -> Study:
    """Run a study up to a stage and return what it made; what an earlier run left in the folder is not done again.

    Where a launcher (accelerate, torchrun) started several processes, the first runs the stages, the others read what
    it left, and all share the sweep and the evaluations.

    Parameters
    ----------
    config : StudyConfig or str
        A configuration, or a preset's name.
    out : path
        The study's folder.
    until : str
        One of `STAGES`.
    data : path, optional
        Folder of JSON lines; None for the generated world.
    progress : bool
        Whether bars are shown.
    say : callable
        Called with a line a stage.
    clock : callable
        Seconds, for the study's budget.
    **overrides : object
        As of `configure`.

    Raises
    ------
    ValueError
        For an unknown preset or stage.
    gpo_analysis.locks.FolderBusy
        Where another process is at work in the folder.
    FileNotFoundError
        Where ``data`` is no folder.
    """
    chosen = configure(config, **overrides)  # type: ignore[arg-type]
    if until not in STAGES:
        raise ValueError(f"stage {until!r}; accepted are {', '.join(STAGES)}")
    source = None if data is None else Path(data)
    if source is not None and not source.is_dir():
        raise FileNotFoundError(f"data {source} does not exist; give a folder with train.jsonl or train.jsonl.gz")
    where = this_rank(chosen.device)
    if chosen.budget_seconds is not None and where.world > 1:
        raise ValueError(f"budget_seconds is {chosen.budget_seconds} with {where.world} processes; accepted is one")
    # of several GPUs each process has its own
    here = chosen.seeded()
    here = here if where.world == 1 else dataclasses.replace(here, device=str(where.device))
    setting = Setting(here, Path(out), source, progress)
    setting.folder.mkdir(parents=True, exist_ok=True)
    run = _Run(setting, where, say, {})
    made: dict[str, Any] = {}
    # of launched processes one holds the folder for all
    with run_lock(setting.folder, f"llm {until}") if where.rank == 0 else contextlib.nullcontext():
        if where.rank == 0:
            _tidy(setting.folder)
        try:
            for stage, outputs in _in_order(setting, run, Budget(here.budget_seconds, clock)):
                made |= outputs
                if stage == until:
                    break
        except TimeIsUp as error:
            say(f"{error}; the same command goes on from here")
    return Study(chosen, setting.folder, **made)


def _tidy(folder: Path) -> None:
    """Remove what a killed run left half-written, also where nothing is left to be written."""
    for temporary in folder.rglob(TEMPORARY):
        remove_stale(temporary.parent)


def _in_order(setting: Setting, run: _Run, budget: Budget) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run a stage after another, yielding each one's name and what it made; a TimeIsUp where the budget is spent."""
    limited = budget.seconds is not None
    records = run("data", lambda: stages.make_records(setting))
    yield "data", {"records": records}
    base = run("base", lambda: stages.make_base(setting, records))
    records, left_out = stages.fit_records(setting, records, base)
    run.reports["left_out_by_tokens"] = left_out
    yield "base", {"base": base, "records": records}
    stop = budget.is_up if limited else None
    reference = run("sft", lambda: stages.make_reference(setting, records, base, stop=stop))
    yield "sft", {"reference": reference}
    budget.check()
    gold = run("reward", lambda: stages.make_reward(setting, records, reference))
    yield "reward", {"gold": gold}
    budget.check()
    pairs = run("pairs", lambda: stages.label_pairs(setting, records, reference, gold))
    yield "pairs", {"pairs": pairs}
    budget.check()
    key = stages.comparison_key(setting, records, reference, gold, pairs.held_out)
    against = functools.cache(lambda: stages.comparison_set(setting, records, reference, gold, pairs.held_out))
    baseline = run("baseline", lambda: stages.measure_baseline(setting, records, reference, gold, against, key))
    yield "baseline", {"baseline": baseline}
    budget.check()
    data = stages.sweep_data(setting, reference, pairs.train)
    dropped: list[SweepCell] = []
    if limited:
        within = train_within(setting, run, budget, reference, data, against, key)
        run.reports["budget"], dropped, evaluations = within.report, within.dropped, within.evaluations
        if within.sweep is None:
            raise TimeIsUp(f"{budget.spent:.0f} s are spent and no condition is whole")
        sweep = within.sweep
        yield "sweep", {"sweep": sweep}
    else:
        cells = grid_cells(setting.config.grid)
        sweep = run("sweep", lambda: stages.train_policies(setting, reference, data, cells, setting.config.stack))
        yield "sweep", {"sweep": sweep}
        evaluations = run("evaluate", lambda: stages.evaluate_sweep(setting, reference, sweep, against, key))
    yield "evaluate", {"evaluations": evaluations}

    def tables() -> Outcome[None]:
        line = write_tables(
            setting.folder, setting.config, setting.data, records, sweep, evaluations, run.reports, run.seconds,
            dropped,
        )  # fmt: skip
        left = run.reports.get("budget", {}).get("dropped", [])
        return Outcome(None, line + (f"; dropped for time: {'; '.join(left)}" if left else ""))

    run("tables", tables)
    yield "tables", {}


@dataclass(frozen=True, eq=False)
class _Run:
    """Calls stages: on the first process alone where they write, with their time and what they report kept."""

    setting: Setting
    where: Rank
    say: Callable[[str], None]
    reports: dict[str, Any]

    def __call__(self, stage: str, act: Callable[[], Outcome[Made]]) -> Made:
        """Run a stage; the other processes read what the first one left."""
        start = time.perf_counter()
        outcome: list[Outcome[Made]] = []
        try:
            if stage in SHARED:
                outcome.append(act())
            else:
                on_first(self.where, lambda: outcome.append(act()))
        finally:
            if self.where.rank == 0:
                self._note(stage, time.perf_counter() - start)
        if not outcome and stage != STAGES[-1]:
            outcome.append(act())
        if self.where.rank == 0:
            self.say(f"{stage}: {outcome[0].line} ({self.seconds[stage]:.0f} s in all)")
        if not outcome:
            return None  # type: ignore[return-value]
        self.reports.update(outcome[0].reports)
        return outcome[0].value

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds spent in each stage so far, over all runs."""
        try:
            found: dict[str, float] = json.loads((self.setting.folder / "seconds.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return found

    def _note(self, stage: str, spent: float) -> None:
        seconds = self.seconds
        seconds[stage] = seconds.get(stage, 0.0) + spent
        text = json.dumps(seconds, indent=1)
        write_whole(self.setting.folder / "seconds.json", text.encode(), self.setting.folder)
