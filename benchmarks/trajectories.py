"""Many training runs side by side, beside a torch loop for each.

A run descends the logistic loss of a Bradley–Terry problem of eight responses from π = πref, by whole gradients. The
torch loop is what one writes by hand: float64 logits, the loss of all pairs, ``backward``, a step of ``optim.SGD``. It
does a few of the runs, and its time is divided by that share. The error is the largest difference of final logits
from a descent in extended precision, which is run for one trajectory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.framework import Benchmark, Side, Size, Task, Work, sizes
from gpo_analysis.arrays import FloatArray

RESPONSES, RATE, BETA = 8, 0.5, 1.0
#: Runs of the torch loop.
MOST_RUNS = 2


def rewards(size: Size) -> FloatArray:
    """Shape (runs, responses)."""
    return np.random.default_rng(0).normal(size=(size.numbers[0], RESPONSES))


def ours(record_every: int | None) -> Callable[[Size], Work]:
    """All runs as one array computation; recorded at every so many steps, None: at both ends."""

    def prepare(size: Size) -> Work:
        import gpo_analysis as gpo

        steps = size.numbers[1]
        problems = [gpo.PreferenceProblem(gpo.bradley_terry(r)) for r in rewards(size)]
        every = record_every or steps

        def do() -> Any:
            return gpo.train_many(problems, "logistic", BETA, learning_rate=RATE, steps=steps, record_every=every)

        return Work(do, lambda found: {"error": _error(found[0].final_logits, rewards(size)[0], steps)})

    return prepare


def torch_loops(size: Size) -> Work:
    """A loop a run."""
    import torch

    torch.set_num_threads(1)
    runs, steps = size.numbers
    count = min(MOST_RUNS, runs)
    prefers = [torch.sigmoid(torch.from_numpy(r[:, None] - r)) for r in rewards(size)[:count]]
    apart = 1 - torch.eye(RESPONSES, dtype=torch.float64)

    def descend(prefer: torch.Tensor) -> FloatArray:
        weight = 2 * prefer * apart / RESPONSES**2
        logits = torch.zeros(RESPONSES, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([logits], lr=RATE)
        for _ in range(steps):
            optimizer.zero_grad()
            log_ratio = torch.log_softmax(logits, 0)
            loss = -(weight * torch.nn.functional.logsigmoid(BETA * (log_ratio[:, None] - log_ratio))).sum()
            loss.backward()
            optimizer.step()
        return np.asarray(logits.detach().numpy())

    def judge(found: list[FloatArray]) -> dict[str, float]:
        return {"error": _error(found[0], rewards(size)[0], steps)}

    return Work(lambda: [descend(p) for p in prefers], judge, count / runs)


def _error(logits: FloatArray, r: FloatArray, steps: int) -> float:
    """From a descent in extended precision; logits are compared up to a constant."""
    exact = r.astype(np.longdouble)
    weight = 2 / (1 + np.exp(exact[None, :] - exact[:, None])) * (1 - np.eye(RESPONSES)) / RESPONSES**2
    theta = np.zeros(RESPONSES, dtype=np.longdouble)
    for _ in range(steps):
        pull = -BETA * weight / (1 + np.exp(BETA * (theta[:, None] - theta)))
        theta = theta - RATE * (pull.sum(axis=1) - pull.sum(axis=0))
    return float(np.abs((logits - logits.mean()) - (theta - theta.mean())).max())


TRAJECTORIES = Benchmark(
    "trajectories",
    "training runs of a softmax policy by gradient descent",
    (
        Task(
            "ends",
            "recorded at both ends alone",
            sizes("10x1000", "100x1000", "1000x1000", "4000x1000"),
            (
                Side("ours", ours(None)),
                Side("a torch loop each", torch_loops, "torch"),
                Side("ours, recorded every 10 steps", ours(10)),
                Side("ours, recorded every step", ours(1), most=1000),
            ),
            "200 times torch at 1000x1000",
            "error",
            1e-10,
        ),
    ),
    ("runs", "steps"),
    Size((2, 20)),
    lambda size: size.numbers[0],
)
