"""What a study leaves for others to read: sweep.parquet, samples.parquet, run.json."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpo_analysis.provenance import device, git_state, versions
from gpo_analysis.records import plain, write_whole
from llm.evaluation.signatures import signature
from llm.sweep.grid import planned_stacks, read_evaluations, trace_file

if TYPE_CHECKING:
    import pandas as pd

    from llm.study.stages import Study

__all__ = ["COLUMNS", "sweep_table", "write_tables"]

COLUMNS = (
    "loss", "beta", "seed", "step", "win_rate", "win_rate_low", "win_rate_high", "ties", "kl", "kl_stderr",
    "mu_squared_loss", "mean_rho", "chosen_logp", "rejected_logp", "beyond_taylor", "status",
)  # fmt: skip
"""Columns every sweep.parquet has, first; more follow."""


def sweep_table(study: Study) -> pd.DataFrame:
    """A row a cell and checkpoint, with its `signature`; what a stopped cell has no number for is missing."""
    import pandas as pd

    rows = []
    for found in read_evaluations(study):
        row = {name: float("nan") if value is None else value for name, value in found["row"].items()}
        if row:
            row["signature"] = signature(row)
        rows.append({**found["cell"], "step": found["step"], "status": found["status"], **row})
    if not rows:
        raise ValueError("no cell has been evaluated; run the stage 'sweep' first")
    table = pd.DataFrame(rows)
    for name in COLUMNS:
        if name not in table:
            table[name] = float("nan")
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]


def write_tables(study: Study) -> str:
    """Write the study's tables and run.json; say where."""
    import pandas as pd

    table = sweep_table(study)
    _parquet(table, study.folder / "sweep.parquet")
    found = read_evaluations(study)
    samples = [
        {
            "name": one["name"], "step": one["step"], "prompt_index": i, "reward": reward,
            "text": one["texts"][i] if i < len(one["texts"]) else None,
        }
        for one in found
        for i, reward in enumerate(one["rewards"])
    ]  # fmt: skip
    _parquet(pd.DataFrame(samples), study.folder / "samples.parquet")
    traces = [pd.read_parquet(file) for file in _trace_files(study)]
    if traces:
        thinned = pd.concat(traces, ignore_index=True)
        _parquet(thinned[_kept_steps(thinned["step"])].reset_index(drop=True), study.folder / "trace.parquet")
    some = [{"prompt": e.prompt, "human": e.target} for e in study.splits.evaluation[:64]]
    write_whole(study.folder / "prompts.json", json.dumps(some, ensure_ascii=False).encode(), study.folder)
    document = run_document(study)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(study.folder / "run.json", text.encode(), study.folder)
    return f"{len(table)} rows in sweep.parquet, {table['status'].ne('ok').sum()} without numbers; run.json"


def _trace_files(study: Study) -> list[Path]:
    return [file for stack in planned_stacks(study) if (file := trace_file(study, stack)).is_file()]


def _kept_steps(step: pd.Series[int]) -> pd.Series[bool]:
    """The first ten steps and then every fifth: enough to draw a curve."""
    return (step <= 10) | (step % 5 == 0)


def run_document(study: Study) -> dict[str, Any]:
    """Configuration, seeds, versions, device, git commit, wall time by stage, reports of the stages."""
    _ = study.held_out  # reads the reports of stages that this process only read
    reports = dict(study.reports)
    losses = reports.get("sft", {}).get("losses")
    if losses:
        reports["sft"] = {**reports["sft"], "losses": losses[:: max(1, len(losses) // 50)]}
    seconds = study.seconds
    return {
        "config": plain(study.config),
        "data": "generated" if study.data is None else study.data.name,
        "seeds": {"study": study.config.seed, "grid": list(study.config.grid.seeds)},
        "versions": versions(),
        "device": {**device(), "torch": study.config.device, "accelerator": _accelerator(study.config.device)},
        "git": git_state(Path(__file__).parent),
        "seconds": seconds,
        "reports": plain(reports),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _accelerator(name: str) -> str | None:
    if name == "cpu":
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _parquet(table: pd.DataFrame, path: Path) -> None:
    import io

    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", index=False)
    write_whole(path, buffer.getvalue(), path.parent)
