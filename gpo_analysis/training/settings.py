"""Settings of training runs: checked, and laid out a run at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import Loss, MarginLoss, TwoRatioLoss, get_loss, warn_of_rising
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.training.recorder import KEEPABLE
from gpo_analysis.training.trajectory import Trajectory

Data = PreferenceProblem | Comparisons

OPTIMIZERS = ("gd", "flow", "adam")


def aligned(
    problems: Data | Sequence[Data],
    losses: Loss | str | Sequence[Loss | str],
    betas: float | Sequence[float],
    seeds: int | Sequence[int],
) -> tuple[list[PreferenceProblem], list[Loss], list[float], list[int]]:
    """One problem, loss, β and seed for each run."""
    given: dict[str, list[Any]] = {
        "problems": [problems] if isinstance(problems, PreferenceProblem | Comparisons) else list(problems),
        "losses": [losses] if isinstance(losses, MarginLoss | TwoRatioLoss | str) else list(losses),
        "betas": np.ravel(betas).tolist(),
        "seeds": np.ravel(seeds).tolist(),
    }
    count = max(len(values) for values in given.values())
    for name, values in given.items():
        if len(values) not in (1, count) or count == 0:
            raise ValueError(f"{name} must be one or as many as there are runs, {count}, got {len(values)}")
    named = {name: _margin_first(get_loss(name)) for name in {f for f in given["losses"] if isinstance(f, str)}}
    made = {id(data): _problem(data) for data in given["problems"]}
    rows = {name: values * (count // len(values)) for name, values in given.items()}
    betas_found = [check_positive(beta, "beta") for beta in rows["betas"]]
    for seed in rows["seeds"]:
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be an integer ≥ 0, got {seed!r}")
    fs = [named[f] if isinstance(f, str) else _margin_first(get_loss(f)) for f in rows["losses"]]
    warn_of_rising(dict.fromkeys(fs))
    return [made[id(data)] for data in rows["problems"]], fs, betas_found, rows["seeds"]


def _margin_first(loss: Loss) -> Loss:
    """The f of a loss of two log-ratios that is an f(a − b)."""
    return (loss.margin_loss or loss) if isinstance(loss, TwoRatioLoss) else loss


def _problem(data: Data) -> PreferenceProblem:
    if isinstance(data, Comparisons):
        return PreferenceProblem.from_comparisons(data)
    if isinstance(data, PreferenceProblem):
        return data
    raise ValueError(f"problem must be a PreferenceProblem or Comparisons, got {type(data).__name__}")


def check_settings(
    optimizer: str,
    learning_rate: float,
    steps: int,
    batch_size: int | None,
    record_every: int,
    refresh_every: int,
    keep: Collection[str],
) -> dict[str, Any]:
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {OPTIMIZERS}, got {optimizer!r}")
    rate = check_positive(learning_rate, "learning_rate")
    for name, value, least in (
        ("steps", steps, 0),
        ("batch_size", 1 if batch_size is None else batch_size, 1),
        ("record_every", record_every, 1),
        ("refresh_every", refresh_every, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be an integer ≥ {least}, got {value!r}")
    if refresh_every and batch_size is not None:
        raise ValueError("refresh_every needs whole batches: give no batch_size")
    if optimizer == "flow" and batch_size is not None:
        raise ValueError("the flow follows the whole objective: give no batch_size")
    if optimizer == "flow" and refresh_every > 1:
        raise ValueError(f"the flow takes refresh_every 0 or 1, got {refresh_every}")
    if isinstance(keep, str) or not set(keep) <= set(KEEPABLE):
        raise ValueError(f"keep must be a collection of any of {KEEPABLE}, got {keep!r}")
    return {
        "optimizer": optimizer,
        "learning_rate": rate,
        "batch_size": None if batch_size is None else int(batch_size),
        "record_every": int(record_every),
        "refresh_every": int(refresh_every),
        "keep": tuple(name for name in KEEPABLE if name in keep),
    }


def starting_points(
    problems: list[PreferenceProblem], features: FloatArray | None, initial: ArrayLike | None
) -> list[FloatArray]:
    """Parameters to start from, for each run."""
    if initial is None:
        if features is not None:
            return [np.zeros(features.shape[-1]) for _ in problems]
        return [np.log(problem.reference) for problem in problems]
    start = np.array(initial, dtype=np.float64)
    wanted = problems[0].shape if features is None else features.shape[-1:]
    if start.shape == wanted:
        start = np.broadcast_to(start, (len(problems), *wanted))
    if start.shape != (len(problems), *wanted) or not np.isfinite(start).all():
        raise ValueError(f"initial must be finite, of shape {wanted} or (runs, *{wanted}), got {initial!r:.200}")
    return list(start)


def check_resume(
    resume: Sequence[Trajectory] | None, runs: list[dict[str, Any]], steps: int
) -> Sequence[Trajectory | None]:
    if resume is None:
        return [None] * len(runs)
    if len(resume) != len(runs):
        raise ValueError(f"resume must hold a trajectory for each of the {len(runs)} runs, got {len(resume)}")
    for old, run in zip(resume, runs, strict=True):
        for name, value in run.items():
            if not _same(old.settings[name], value):
                raise ValueError(f"resume was made with another {name}; all settings but steps must be the same")
        if old.state.step > steps:
            raise ValueError(f"resume stands at step {old.state.step}, beyond the {steps} steps asked for")
    going = {old.state.step for old in resume if not old.status.stopped_early}
    if len(going) > 1 and runs[0]["optimizer"] != "flow":
        raise ValueError(f"resume must hold runs that stand at one step, got {sorted(going)}")
    return resume


def _same(old: Any, new: Any) -> bool:
    if isinstance(new, PreferenceProblem):
        return old is new or (
            old.shape == new.shape
            and np.array_equal(old.reference, new.reference)
            and np.array_equal(old.shares(), new.shares())
            and all(
                np.array_equal(getattr(old.directed_pairs(), part), getattr(new.directed_pairs(), part))
                for part in ("context", "winner", "loser", "weight")
            )
        )
    if isinstance(new, np.ndarray):
        return np.array_equal(old, new)
    return bool(old == new)
