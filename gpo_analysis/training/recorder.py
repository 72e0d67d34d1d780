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
) -> dict[str, FloatArray]:
    """A record of each run: the metrics, each (R,), and what is kept beside them, each (R, m·n)."""
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite loss is a record, not a warning
        found = objective.metrics(logits)
        gradient = objective.gradient(logits)
        found["gradient_norm"] = np.sqrt(np.sum(pulled_back(gradient, features) ** 2, axis=1))
    arrays = {
        "policies": lambda: np.exp(objective.log_policy(logits)),
        "logits": logits.copy,
        "gradients": gradient.copy,
    }
    return found | {name: arrays[name]() for name in keep}


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
        self.rows: list[list[dict[str, Any]]] = [_taken_over(old, self.keep, every) for old in earlier]
        self.loss = np.full(len(earlier), np.nan)

    def wants(self, step: int, last: int) -> bool:
        """Whether a step is recorded."""
        return step % self.every == 0 or step == last

    def add(self, step: int, time: float, record: dict[str, FloatArray], alive: BoolArray) -> None:
        """Append a record to every run that is alive."""
        for r in np.flatnonzero(alive):
            self.rows[r].append({"step": step, "time": time} | {name: value[r] for name, value in record.items()})
            self.loss[r] = record["loss"][r]

    def trajectory(
        self, r: int, outcome: tuple[TrainStatus, str], logits: FloatArray, state: TrainState, run: dict[str, Any]
    ) -> Trajectory:
        """Run r as a whole."""
        problem: PreferenceProblem = run["problem"]
        rows = self.rows[r]
        columns: dict[str, NDArray[Any]] = {"step": np.array([row["step"] for row in rows], dtype=np.int64)}
        for name in ("time", *METRICS):
            columns[name] = np.array([row[name] for row in rows], dtype=np.float64)
        kept = {
            name: np.array([row[name] for row in rows]).reshape(-1, *problem.shape) if name in self.keep else None
            for name in KEEPABLE
        }
        return Trajectory(
            columns=columns,
            status=outcome[0],
            reason=outcome[1],
            final_logits=logits.reshape(problem.shape).copy(),
            state=state,
            settings=run,
            **kept,
        )


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
