"""The policies of a sweep, read from their files and evaluated, several side by side; what is there is not done again.

An evaluation's key is that of the policy's training, of what it is compared with and of nothing else: another setting
of the evaluation trains nothing anew, and another number of cells evaluates none anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm.budget import Stop, TimeIsUp
from llm.devices import on_first, own_share, spread, this_rank, wait_for_all
from llm.evaluation.evaluate import EvaluationSet, evaluate
from llm.storage.reports import read_document, stage_key, write_document
from llm.sweep.export import PolicyFile, load_policy

TEXTS = 64  #: responses of a policy that are kept


def evaluation_file(folder: Path, policy: PolicyFile, key: str) -> Path:
    """Return where the evaluation of a policy lies.

    Parameters
    ----------
    folder : Path
        Of all evaluations.
    policy : PolicyFile
        The policy.
    key : str
        Of what policies are compared with, and how.
    """
    whole = stage_key({"training": policy.key, "cell": asdict(policy.cell), "step": policy.step}, against=key)
    return folder / f"{policy.cell.key}-{policy.step:06d}-{whole}.json"


def read_evaluation(folder: Path, policy: PolicyFile, key: str) -> dict[str, Any] | None:
    """Return the evaluation of a policy; None where there is none, or it is not what was written."""
    return read_document(evaluation_file(folder, policy, key))


def evaluate_policies(
    policies: Sequence[PolicyFile],
    base_model: Any,
    against: Callable[[], EvaluationSet],
    key: str,
    *,
    folder: Path,
    device: str,
    last_step: int,
    processes: int = 1,
    progress: bool = False,
    stop: Stop | None = None,
) -> list[dict[str, Any]]:
    """Evaluate the policies that have not been.

    Parameters
    ----------
    policies : sequence of PolicyFile
        Of a finished sweep (`llm.sweep.run.SweepResult.policies`).
    base_model : model
        Where the sweep started.
    against : callable
        Makes what policies are compared with; called where something is missing.
    key : str
        Of what ``against`` makes.
    folder : Path
        Where evaluations lie, a file each.
    device : {"cpu", "cuda"}
        Where policies are evaluated.
    last_step : int
        Responses and their rewards are kept of policies after this step.
    processes : int
        Processes side by side, on a CPU.
    progress : bool
        Whether to show a bar.
    stop : callable, optional
        Asked before each evaluation whether to stop there, by a `TimeIsUp`; for one process.

    Returns
    -------
    list of dict
        In the order of ``policies``, with ``cell``, ``step``, ``row`` (`llm.evaluation.evaluate`; None for a number
        that is not finite), ``rewards``, ``texts``, ``seconds``.
    """
    where = this_rank(device)
    before = on_first(where, lambda: [read_evaluation(folder, policy, key) is not None for policy in policies])
    missing = [policy for policy, done in zip(policies, before, strict=True) if not done]
    mine = own_share(missing, where)
    if mine:
        job = _Job(base_model, against(), key, folder, last_step, stop)
        spread(_evaluate, mine, job, processes=processes, progress=progress, unit="policy")
    wait_for_all(where)
    found = [read_evaluation(folder, policy, key) for policy in policies]
    broken = [str(policy.path) for policy, one in zip(policies, found, strict=True) if one is None]
    if broken:
        raise OSError(f"the evaluation of {broken[0]} cannot be read back")
    return [one for one in found if one is not None]


@dataclass(frozen=True, eq=False)
class _Job:
    """What all evaluations share."""

    base_model: Any
    against: EvaluationSet
    key: str
    folder: Path
    last_step: int
    stop: Stop | None


def _evaluate(job: _Job, policy: PolicyFile) -> None:
    if job.stop is not None and job.stop():
        raise TimeIsUp(f"stopped before the evaluation of {policy.cell.name}")
    start = time.perf_counter()
    model = load_policy(job.base_model, policy)
    findings = evaluate(model, job.against, policy.cell.margin_loss, policy.cell.beta)
    last = policy.step == job.last_step
    content = {
        "cell": asdict(policy.cell),
        "step": policy.step,
        "row": {name: _number(value) for name, value in findings.row.items()},
        "rewards": np.round(findings.rewards, 6).tolist() if last else [],
        "texts": findings.texts[:TEXTS] if last else [],
        "seconds": time.perf_counter() - start,
    }
    write_document(evaluation_file(job.folder, policy, job.key), content)


def _number(value: Any) -> Any:
    """JSON has no NaN: such a number is left out as None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
