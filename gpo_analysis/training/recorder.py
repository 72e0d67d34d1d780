"""Keeping the records of stacked training runs, and joining them to those of an earlier part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.training.objective import METRICS
from gpo_analysis.training.trajectory import TrainState, TrainStatus, Trajectory
from gpo_analysis.training.two_ratio import AnyObjective

KEEPABLE = ("policies", "logits", "gradients")


def logits_of(parameters: FloatArray, features: FloatArray | None, objective: AnyObjective) -> FloatArray:
    """Flat logits (R, m·n) of parameters (R, p): themselves, or ``log πref + Φw``."""
    if features is None:
        return parameters
    # one matrix-vector product a run: its bits must not depend on how many runs are stacked
    return np.asarray(objective.log_reference + np.matmul(features, parameters[:, :, None])[:, :, 0])


def pulled_back(gradient: FloatArray, features: FloatArray | None) -> FloatArray:
    """Gradient in the parameters, (R, p), of one in the logits, (R, m·n)."""
    if features is None:
        return gradient
    return np.asarray(np.matmul(features.T, gradient[:, :, None])[:, :, 0])


def measure(
    objective: AnyObjective, logits: FloatArray, features: FloatArray | None, keep: Sequence[str]
) -> tuple[dict[str, FloatArray], FloatArray]:
    """A record of each run: the metrics, each (R,), and what is kept beside them, each (R, m·n); the whole gradient."""
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite loss is a record, not a warning
        found = objective.metrics(logits)
        gradient = objective.gradient(logits)
        found["gradient_norm"] = np.sqrt(np.sum(pulled_back(gradient, features) ** 2, axis=1))
    arrays = {
        "policies": lambda: np.exp(objective.log_policy(logits)),
        "logits": logits.copy,
        "gradients": gradient.copy,
    }
    return found | {name: arrays[name]() for name in keep}, gradient


def ended(state: TrainState, last_loss: float, optimizer: str, refreshed: bool) -> tuple[TrainStatus, str]:
    """Status and reason of a run that took all its steps: a loss above its start is said."""
    start, steps = state.start_loss, f"{state.step} steps of {optimizer}"
    # under a μ that moves, the loss is not one function, and may rise with the policy's progress
    if not refreshed and last_loss > start + 1e-9 * max(1.0, abs(start)):
        return TrainStatus.RISING, f"after {steps} the loss is {last_loss:.6g}, at its start {start:.6g}"
    return TrainStatus.FINISHED, steps


class Recorder:
    """Records of R runs, in the order of the steps.

    Parameters
    ----------
    keep : sequence of str
        What to keep beside the metrics, of :data:`KEEPABLE`.
    earlier : sequence of R (Trajectory or None)
        Their records before the step they stand at are taken over; off the grid only at a run's end.
    every : int
        Spacing of the grid.
    """

    def __init__(self, keep: Sequence[str], earlier: Sequence[Trajectory | None], every: int) -> None:
        self.keep, self.every = tuple(keep), every
        self.before = [_taken_over(old, self.keep, every) for old in earlier]
        self.loss = np.full(len(earlier), np.nan)
        self._steps: list[int] = []
        self._times: list[float] = []
        self._records: list[dict[str, FloatArray]] = []
        self._alive: list[BoolArray] = []
        self._columns: dict[str, FloatArray] = {}

    def wants(self, step: int, last: int) -> bool:
        """Whether a step is recorded."""
        return step % self.every == 0 or step == last

    def add(self, step: int, time: float, record: dict[str, FloatArray], alive: BoolArray) -> None:
        """Append a record, each array (R, …), of the runs that are alive."""
        self._steps.append(step)
        self._times.append(time)
        self._records.append(record)
        self._alive.append(alive.copy())
        self._columns = {}
        self.loss = np.where(alive, record["loss"], self.loss)

    def _column(self, name: str) -> FloatArray:
        """What was recorded under a name, shape (R, records, …)."""
        if name not in self._columns:
            self._columns[name] = np.stack([record[name] for record in self._records], axis=1)
        return self._columns[name]

    def trajectory(
        self, r: int, outcome: tuple[TrainStatus, str], logits: FloatArray, state: TrainState, run: dict[str, Any]
    ) -> Trajectory:
        """Run r as a whole."""
        problem: PreferenceProblem = run["problem"]
        before = self.before[r]
        here = np.array([alive[r] for alive in self._alive], dtype=bool)

        def joined(name: str, own: NDArray[Any]) -> NDArray[Any]:
            earlier = np.array([row[name] for row in before], dtype=own.dtype)
            return np.concatenate([earlier.reshape(-1, *own.shape[1:]), own])

        columns: dict[str, NDArray[Any]] = {"step": joined("step", np.array(self._steps, dtype=np.int64)[here])}
        columns["time"] = joined("time", np.array(self._times, dtype=np.float64)[here])
        for name in METRICS:
            own = self._column(name)[r] if self._records else np.empty(0)
            columns[name] = joined(name, own[here])
        kept = {name: self._kept(name, r, here, problem) if name in self.keep else None for name in KEEPABLE}
        return Trajectory(
            columns=columns,
            status=outcome[0],
            reason=outcome[1],
            final_logits=logits.reshape(problem.shape).copy(),
            state=state,
            settings=run,
            **kept,
        )

    def _kept(self, name: str, r: int, here: BoolArray, problem: PreferenceProblem) -> FloatArray:
        """An array that was kept beside the metrics, shape (records, n) or (records, m, n)."""
        rows = [row[name] for row in self.before[r]]
        rows += [record[name][r] for record, alive in zip(self._records, here, strict=True) if alive]
        return np.array(rows).reshape(-1, *problem.shape)


def _taken_over(old: Trajectory | None, keep: tuple[str, ...], every: int) -> list[dict[str, Any]]:
    """An earlier part's records; the one at the step where it goes on is made again."""
    if old is None:
        return []
    ended_there = old.status.stopped_early
    rows = []
    for k, step in enumerate(old.columns["step"].tolist()):
        if step % every == 0 and (step < old.state.step or ended_there):
            row = {name: old.columns[name][k] for name in ("time", *METRICS)}
            rows.append({"step": step} | row | {name: getattr(old, name)[k].ravel() for name in keep})
    return rows
