"""A study within its budget: one condition f × β after another, each trained and evaluated with all its seeds.

What a condition takes is worked out beforehand from the speed of this device, measured on some steps of a stack and on
one evaluation, and after each condition from what it took. Conditions come in an order whose every beginning spans the
strengths (`llm.sweep.plan.conditions`); one that does not fit is left out as a whole, and sweep.parquet and run.json
say so. Seeds are never left out. Where time ends within a condition its stack writes a checkpoint: the same command
goes on from there, and makes what was left out as far as the new run's budget goes.

Of the stages before the sweep only fine-tuning stops within itself; the others end, and the study after them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gpo_analysis.losses import get_loss
from llm.budget import Budget, TimeIsUp
from llm.evaluation.evaluate import EvaluationSet, evaluate
from llm.evaluation.policies import read_evaluation
from llm.study.stages import Policy, Setting, SweepData, evaluate_sweep, sweep_inputs, train_policies
from llm.sweep.plan import conditions, plan_stacks
from llm.sweep.run import SweepResult, read_stack
from llm.training.cells import SweepCell
from llm.training.trainer import time_steps

_TIMED = 3  # steps

Run = Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True)
class Speed:
    """What was measured on this device before the sweep.

    Attributes
    ----------
    step, evaluation : float
        Seconds of a step of a stack, and of the evaluation of a policy.
    reference : dict
        KL, mean margin and win rate of πref evaluated as if it were a policy: 0, 0 and about a half, whatever dtype.
    """

    step: float
    evaluation: float
    reference: dict[str, float]


@dataclass(frozen=True, eq=False)
class Within:
    """What fitted.

    Attributes
    ----------
    sweep : SweepResult or None
        Of the conditions that are whole; None where none is.
    evaluations : list of dict
        Of its policies.
    dropped : list of SweepCell
        Cells of the others.
    report : dict
        The budget, what was measured, which conditions were made and which left out.
    """

    sweep: SweepResult | None
    evaluations: list[dict[str, Any]]
    dropped: list[SweepCell]
    report: dict[str, Any]


def measure_speed(
    setting: Setting, reference: Policy, data: SweepData, stack: Sequence[SweepCell], against: EvaluationSet
) -> Speed:
    """Time some steps of a stack, and one evaluation: that of πref."""
    inputs = sweep_inputs(setting, reference, data)
    pairs, logprobs = inputs.of_arm(stack[0].arm)
    with tempfile.TemporaryDirectory() as folder:
        times, _ = time_steps(
            inputs.base_model, stack, pairs, logprobs, inputs.config, folder=folder, device=setting.config.device,
            steps=_TIMED,
        )  # fmt: skip
    start = time.perf_counter()
    row = evaluate(reference.model, against, get_loss("logistic"), 1.0).row
    seen = {name: float(row[name]) for name in ("kl", "mean_rho", "win_rate")}
    return Speed(float(np.median(times)), time.perf_counter() - start, seen)


def train_within(
    setting: Setting,
    run: Run,
    budget: Budget,
    reference: Policy,
    data: SweepData,
    against: Callable[[], EvaluationSet],
    key: str,
) -> Within:
    """Train and evaluate the conditions that fit.

    Parameters
    ----------
    setting : Setting
    run : callable
        Calls a stage by its name (`llm.study.pipeline`).
    budget : Budget
        Of this run; it has begun before the first stage.
    reference, data, against, key : as of the stages
    """
    work = _Work(setting, run, budget, reference, data, against, key)
    groups = conditions(setting.config.grid)
    missing = [work.missing(cells) for cells in groups]
    measured = None
    if any(map(any, missing)):
        largest = max((stack for cells in groups for stack in work.stacks(cells)), key=len)
        measured = measure_speed(setting, reference, data, largest, against())
    made, dropped, expected, took = [], [], 0.0, 0.0
    for at, (cells, (stacks, policies)) in enumerate(zip(groups, missing, strict=True)):
        cost = 0.0
        if measured is not None:
            cost = stacks * setting.config.training.steps * measured.step + policies * measured.evaluation
        likely = cost * (took / expected if expected else 1.0)
        # the first one is begun however long it takes: what it leaves is where the next run goes on
        if cost and not budget.allows(likely) and (took or made):
            dropped.append(cells)
            continue
        start = budget.spent
        try:
            made.append((cells, *work.make(cells)))
        except TimeIsUp:
            dropped += [cells, *groups[at + 1 :]]
            break
        if cost:
            expected, took = expected + cost, took + budget.spent - start
    report = {
        "seconds": budget.seconds, "spent": budget.spent, "measured": None if measured is None else asdict(measured),
        "conditions": [_name(cells) for cells, *_ in made], "dropped": [_name(cells) for cells in dropped],
    }  # fmt: skip
    sweep = None
    for _, one, _ in made:
        sweep = one if sweep is None else sweep.joined(one)
    return Within(
        sweep, [row for *_, rows in made for row in rows], [cell for cells in dropped for cell in cells], report
    )


@dataclass(frozen=True, eq=False)
class _Work:
    """What every condition needs."""

    setting: Setting
    run: Run
    budget: Budget
    reference: Policy
    data: SweepData
    against: Callable[[], EvaluationSet]
    key: str

    def stacks(self, cells: Sequence[SweepCell]) -> list[list[SweepCell]]:
        return plan_stacks(cells, self.setting.config.stack or len(cells))

    def missing(self, cells: Sequence[SweepCell]) -> tuple[int, int]:
        """Stacks that are to be trained, and policies that are to be evaluated."""
        inputs = sweep_inputs(self.setting, self.reference, self.data)
        stacks = policies = 0
        for stack in self.stacks(cells):
            report = read_stack(self.setting.folder / "sweep", inputs, stack)
            if report is None:
                stacks, policies = stacks + 1, policies + len(stack) * len(inputs.config.evaluated_steps)
                continue
            folder = self.setting.folder / "evaluations"
            policies += sum(read_evaluation(folder, policy, self.key) is None for policy in report.policies())
        return stacks, policies

    def make(self, cells: Sequence[SweepCell]) -> tuple[SweepResult, list[dict[str, Any]]]:
        stop = self.budget.is_up
        size = self.setting.config.stack or len(cells)
        sweep = self.run(
            "sweep", lambda: train_policies(self.setting, self.reference, self.data, cells, size, stop=stop)
        )
        rows = self.run(
            "evaluate", lambda: evaluate_sweep(self.setting, self.reference, sweep, self.against, self.key, stop=stop)
        )
        return sweep, rows


def _name(cells: Sequence[SweepCell]) -> str:
    """Of a condition.

    Examples
    --------
    >>> _name([SweepCell("squared", 0.1, 0, 1e-3)])
    'strength 0.1, fresh'
    """
    return f"strength {cells[0].strength:g}, {cells[0].arm}"
