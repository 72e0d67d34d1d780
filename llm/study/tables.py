"""What a study leaves for others to read: sweep.parquet, samples.parquet, trace.parquet, prompts.json, run.json."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpo_analysis.files import write_whole
from gpo_analysis.provenance import device, git_state, versions
from gpo_analysis.records import plain
from llm.data.splits import Splits
from llm.evaluation.signatures import signature
from llm.study.config import SEED_STEP, StudyConfig
from llm.sweep.run import SweepResult
from llm.training.cells import SweepCell
from llm.training.trace import stopped_before

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "loss", "beta", "seed", "step", "win_rate", "win_rate_low", "win_rate_high", "ties", "kl", "kl_stderr",
    "mu_squared_loss", "mean_rho", "chosen_logp", "rejected_logp", "beyond_taylor", "status",
)  # fmt: skip
"""Columns every sweep.parquet has, first; more follow."""


DROPPED = "dropped for time"
"""Status of the rows of a condition that no longer fitted into the study's budget."""


def sweep_table(
    sweep: SweepResult,
    evaluations: Sequence[dict[str, Any]],
    steps: Sequence[int],
    dropped: Sequence[SweepCell] = (),
) -> pd.DataFrame:
    """A row a cell and evaluated step, with its `signature`; what a stopped cell has no number for is missing.

    Parameters
    ----------
    sweep : SweepResult
        Cells and how each ended.
    evaluations : sequence of dict
        Of the exported policies (`llm.evaluation.policies`).
    steps : sequence of int
        Evaluated steps.
    dropped : sequence of SweepCell
        What the budget left out: a row each, without numbers.

    Raises
    ------
    ValueError
        Where a policy that was not stopped has no evaluation.
    """
    import pandas as pd

    found = {(SweepCell(**one["cell"]).key, one["step"]): one["row"] for one in evaluations}
    rows = []
    for cell, status in zip(sweep.cells, sweep.statuses, strict=True):
        head = _head(cell)
        for step in steps:
            if stopped_before(status, step):
                rows.append({**head, "step": step, "status": status})
                continue
            if (cell.key, step) not in found:
                raise ValueError(f"{cell.name} has no evaluation after step {step}; run the stage 'evaluate' first")
            numbers = found[cell.key, step]
            row = {name: float("nan") if value is None else value for name, value in numbers.items()}
            rows.append({**head, "step": step, "status": "ok", **row, "signature": signature(row)})
    rows += [{**_head(cell), "step": step, "status": DROPPED} for cell in dropped for step in steps]
    table = pd.DataFrame(rows)
    for name in COLUMNS:
        if name not in table:
            table[name] = float("nan")
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]


def _head(cell: SweepCell) -> dict[str, Any]:
    return {"loss": cell.loss, "beta": cell.beta, "strength": cell.strength, "seed": cell.seed, "arm": cell.arm}


def samples_table(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row a prompt and policy of the last step: the response's reward, and of some prompts its text."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "name": SweepCell(**one["cell"]).name, "step": one["step"], "prompt_index": i, "reward": reward,
                "text": one["texts"][i] if i < len(one["texts"]) else None,
            }
            for one in evaluations
            for i, reward in enumerate(one["rewards"])
        ]
    )  # fmt: skip


def write_tables(
    folder: Path,
    config: StudyConfig,
    data: Path | None,
    records: Splits,
    sweep: SweepResult,
    evaluations: Sequence[dict[str, Any]],
    reports: dict[str, Any],
    seconds: dict[str, float],
    dropped: Sequence[SweepCell] = (),
) -> str:
    """Write a study's tables and run.json; return a line that says what is in them."""
    table = sweep_table(sweep, evaluations, config.training.evaluated_steps, dropped)
    _parquet(table, folder / "sweep.parquet")
    _parquet(samples_table(evaluations), folder / "samples.parquet")
    trace = sweep.table()
    first_steps = (trace["step"] <= 10) | (trace["step"] % 5 == 0)  # enough to draw a curve
    _parquet(trace[first_steps].reset_index(drop=True), folder / "trace.parquet")
    some = [{"prompt": e.prompt, "human": e.target} for e in records.evaluation[:64]]
    write_whole(folder / "prompts.json", json.dumps(some, ensure_ascii=False).encode(), folder)
    document = run_document(config, data, reports, seconds)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(folder / "run.json", text.encode(), folder)
    return f"{len(table)} rows in sweep.parquet, {table['status'].ne('ok').sum()} without numbers; run.json"


def run_document(
    config: StudyConfig, data: Path | None, reports: dict[str, Any], seconds: dict[str, float]
) -> dict[str, Any]:
    """Configuration, seeds, versions, device, git commit, wall time by stage, reports of the stages."""
    kept = dict(reports)
    losses = kept.get("sft", {}).get("losses")
    if losses:
        kept["sft"] = {**kept["sft"], "losses": losses[:: max(1, len(losses) // 50)]}
    return {
        "config": plain(config),
        "data": "generated" if data is None else data.name,
        "seeds": {"study": config.seed // SEED_STEP, "grid": list(config.grid.seeds), "all": plain(config.seeds)},
        "versions": versions(),
        "device": {**device(), "torch": config.device, "accelerator": _accelerator(config.device)},
        "git": git_state(Path(__file__).parent),
        "seconds": seconds,
        "reports": plain(kept),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _accelerator(name: str) -> str | None:
    if name == "cpu":
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _parquet(table: pd.DataFrame, path: Path) -> None:
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", index=False)
    write_whole(path, buffer.getvalue(), path.parent)
