"""Gradient descent and Adam for many runs in step, as one array computation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.progress import Progress, reporting
from gpo_analysis.training.recorder import Recorder, ended, logits_of, measure, pulled_back
from gpo_analysis.training.trajectory import TrainState, TrainStatus, Trajectory
from gpo_analysis.training.two_ratio import stacked

ADAM_DECAY = (0.9, 0.999)
ADAM_EPSILON = 1e-8
DRAWS_AT_ONCE = 1 << 19


class Descent:
    """R runs of one optimiser, learning rate and batch size; a row each.

    Parameters
    ----------
    runs : list of dict
        Settings of each run, checked; they differ in problem, loss, beta and seed alone.
    steps : int
        Steps in all.
    earlier : sequence of R (Trajectory or None)
        Parts to continue.
    """

    def __init__(self, runs: list[dict[str, Any]], steps: int, earlier: Sequence[Trajectory | None]) -> None:
        self.runs, self.steps = runs, steps
        shared = runs[0]
        self.rate, self.every, self.refresh = shared["learning_rate"], shared["record_every"], shared["refresh_every"]
        self.batch, self.keep, self.adam = shared["batch_size"], shared["keep"], shared["optimizer"] == "adam"
        self.objective = stacked(
            [run["problem"] for run in runs],
            [run["loss"] for run in runs],
            [run["beta"] for run in runs],
            renewable=self.refresh > 0,
        )
        self.features = None if shared["features"] is None else shared["features"].reshape(self.objective.size, -1)
        states = [old.state if old else None for old in earlier]
        self.alive = np.array([old is None or old.status is not TrainStatus.DIVERGED for old in earlier])
        self.step = max((s.step for s in states if s), default=0)
        self.parameters = np.stack(
            [s.parameters if s else run["initial"].ravel() for s, run in zip(states, runs, strict=True)]
        )
        empty = np.zeros_like(self.parameters)
        self.first = np.stack([s.moments[0] if s else row for s, row in zip(states, empty, strict=True)])
        self.second = np.stack([s.moments[1] if s else row for s, row in zip(states, empty, strict=True)])
        self.drawn_from: FloatArray | None = None
        if self.refresh:
            here = self.logits()
            self.drawn_from = np.stack(
                [here[r] if s is None or s.behavior_logits is None else s.behavior_logits for r, s in enumerate(states)]
            )
            self.objective = self.objective.renewed(self.drawn_from)
        self.last_step = np.array([s.step if s else 0 for s in states])
        self.recorder = Recorder(self.keep, earlier, self.every)
        self.measured: FloatArray | None = None  # the whole gradient where the policies are, if a record has needed it
        self.start_loss = np.array([s.start_loss if s else np.nan for s in states])

    def logits(self) -> FloatArray:
        return logits_of(self.parameters, self.features, self.objective)

    def advance(self, progress: bool | Progress = False) -> list[Trajectory]:
        """Take the steps that are left."""
        with reporting(progress, "steps") as show:
            self._advance(show)
        return [self.trajectory(r) for r in range(len(self.runs))]

    def _advance(self, show: Progress | None) -> None:
        self.arrive()
        batches = self.batches()
        while self.step < self.steps and self.alive.any():
            if show is not None and self.step % max(1, self.steps // 100) == 0:
                show(self.step / self.steps, f"{self.step} of {self.steps}")
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # said by the status, not by a warning
                if self.batch is None:
                    gradient = self.objective.gradient(self.logits()) if self.measured is None else self.measured
                else:
                    gradient = self.objective.batch_gradient(self.logits(), *next(batches))
                self.update(pulled_back(gradient, self.features))
            self.step += 1
            self.last_step[self.alive] = self.step
            self.arrive()

    def arrive(self) -> None:
        """Renew μ and record, where the step asks for it."""
        if self.refresh and self.step % self.refresh == 0:
            self.drawn_from = self.logits()
            self.objective = self.objective.renewed(self.drawn_from)
        self.measured = None
        if self.recorder.wants(self.step, self.steps):
            record, self.measured = measure(self.objective, self.logits(), self.features, self.keep)
            self.recorder.add(self.step, self.step * self.rate, record, self.alive)
            if self.step == 0:
                self.start_loss = record["loss"]

    def update(self, gradient: FloatArray) -> None:
        """One step; a run whose step is not finite stays where it was, and is marked."""
        if self.adam:
            decay1, decay2 = ADAM_DECAY
            first = self.first + (1.0 - decay1) * (gradient - self.first)
            second = decay2 * self.second + (1.0 - decay2) * gradient * gradient
            number = self.step + 1
            root = np.sqrt(second) / np.sqrt(1.0 - decay2**number) + ADAM_EPSILON
            new = self.parameters - (self.rate / (1.0 - decay1**number)) * (first / root)
        else:
            first, second = self.first, self.second
            new = self.parameters - self.rate * gradient
        # second, too: an infinite second moment would stop Adam without a word
        finite = np.isfinite(new + second)
        if finite.all() and self.alive.all():
            self.parameters, self.first, self.second = new, first, second
            return
        self.alive &= finite.all(axis=1)
        rows = self.alive[:, None]
        self.parameters = np.where(rows, new, self.parameters)
        self.first, self.second = np.where(rows, first, self.first), np.where(rows, second, self.second)

    def batches(self) -> Iterator[tuple[IntArray, IntArray]]:
        """Winner and loser of the pairs of each coming step, shape (R, batch) each.

        A pair is the inverse of its row's cumulative weights at a uniform number; the numbers of step k stand at place
        k · batch in the seed's stream, so that a run resumed at k draws what it would have drawn.
        """
        if self.batch is None:
            return
        objective = self.objective
        rows = len(objective.weight)
        zero = np.zeros((rows, 1), dtype=np.int64)  # last: equal draws
        winner, loser = (
            np.hstack([np.broadcast_to(ends, objective.weight.shape), zero])
            for ends in (objective.winner, objective.loser)
        )
        cumulative = np.cumsum(np.hstack([objective.weight, objective.diagonal_mass[:, None]]), axis=1)
        cumulative /= cumulative[:, -1:]
        row_of = np.arange(len(self.runs)) if rows > 1 else np.zeros(len(self.runs), dtype=np.int64)
        chunk = max(1, DRAWS_AT_ONCE // (self.batch * len(self.runs)))
        generators = [np.random.PCG64(run["seed"]).advance(self.step * self.batch) for run in self.runs]
        streams = [np.random.Generator(generator) for generator in generators]
        while True:
            uniform = np.stack([stream.random((chunk, self.batch)) for stream in streams], axis=1)
            drawn = np.empty(uniform.shape, dtype=np.int64)
            for r, row in enumerate(row_of):
                drawn[:, r] = np.searchsorted(cumulative[row], uniform[:, r], side="right")
            yield from zip(winner[row_of[:, None], drawn], loser[row_of[:, None], drawn], strict=True)

    def trajectory(self, r: int) -> Trajectory:
        run = self.runs[r]
        state = TrainState(
            int(self.last_step[r]),
            self.parameters[r].copy(),
            (self.first[r].copy(), self.second[r].copy()),
            None if self.drawn_from is None else self.drawn_from[r].copy(),
            float(self.start_loss[r]),
        )
        outcome = ended(state, float(self.recorder.loss[r]), run["optimizer"], self.refresh > 0)
        if not self.alive[r]:
            reason = f"step {state.step + 1} is not finite; kept is the policy of step {state.step}"
            outcome = TrainStatus.DIVERGED, reason
        return self.recorder.trajectory(r, outcome, self.logits()[r], state, run)
