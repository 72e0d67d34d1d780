"""Every command that writes, each at its smallest: what it is given, what it writes, how two results are compared.

A `Stage` is laid out in a folder of its own (`Stage.prepare`), run as its command line (`Stage.words`), and looked at
by `Stage.observe`: what must be the same after a disturbance and another run. Tables of what was trained are compared
to a relative 1e-6, everything else to the byte, but for what the clock says.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.framework.discovery import get_experiments
from experiments.framework.runner import run_experiments
from fuzz.small import SMALL
from gpo_analysis.records import Record, find_records, read_record, write_record
from gpo_analysis.runs import write_catalogue

CLOCK = ("seconds", "wall_seconds", "finished", "versions", "git", "machine", "device", "created", "arithmetic")
"""Keys of documents that follow the clock, or the machine."""


@dataclass(frozen=True)
class Stage:
    """A command that writes.

    Attributes
    ----------
    words : tuple of str
        The command line, the program first, run in the stage's folder.
    prepare : callable
        Lays out what it reads.
    out : str
        The folder, or the file names, that it writes: patterns.
    observe : callable
        From a folder to what is compared.
    inputs : str
        Pattern of input files that are sealed, or may be exchanged; empty where there is none.
    resumes : bool
        Whether what it wrote is read back by the next run, so that damage to it matters.
    smaller : callable
        Makes the preset that the command names smaller than its own, in this process and those forked from it.
    """

    words: tuple[str, ...]
    prepare: Callable[[Path], None]
    out: tuple[str, ...]
    observe: Callable[[Path], dict[str, Any]]
    inputs: str = ""
    resumes: bool = True
    smaller: Callable[[], None] = lambda: None


# -- what is compared --------------------------------------------------------------------------------------------------


def same(a: dict[str, Any], b: dict[str, Any]) -> str:
    """Where two observations differ, as text; empty where they do not."""
    if set(a) != set(b):
        return f"other files: {', '.join(sorted(set(a) ^ set(b)))}"
    for name, value in a.items():
        if isinstance(value, pd.DataFrame):
            try:
                pd.testing.assert_frame_equal(value, b[name], rtol=1e-6)
            except AssertionError as error:
                return f"{name}: {' '.join(str(error).split())[:200]}"
        elif value != b[name]:
            return name
    return ""


def of_files(*patterns: str) -> Callable[[Path], dict[str, Any]]:
    """Everything that patterns find: tables as tables, documents without their times, the rest as digests."""

    def observe(folder: Path) -> dict[str, Any]:
        paths = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
        return {path.relative_to(folder).as_posix(): content(path) for path in paths}

    return observe


def content(path: Path) -> Any:
    """What a file says, such that two runs say the same."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        return timeless(pd.read_parquet(io.BytesIO(data)))
    if path.suffix == ".csv":
        return timeless(pd.read_csv(io.BytesIO(data)))
    if path.suffix == ".json":
        return _timeless(json.loads(data))
    if path.suffix == ".jsonl":
        return [_timeless(json.loads(line)) for line in data.splitlines()]
    return hashlib.sha256(data).hexdigest()


def timeless(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=[name for name in table if "seconds" in str(name)])


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in (*CLOCK, "sha256", "picture_sha256")}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def of_records(folder: Path) -> dict[str, Any]:
    """Records by name and configuration."""
    records = [read_record(path) for path in find_records(folder / "out")]
    return {f"{record.name} {json.dumps(record.config)}": record.table for record in records}


# -- what is laid out --------------------------------------------------------------------------------------------------


def nothing(folder: Path) -> None:
    """Lay out nothing."""


@cache
def _once(name: str, make: Callable[[Path], None]) -> tempfile.TemporaryDirectory[str]:
    """A folder that is laid out once and goes with the process."""
    kept = tempfile.TemporaryDirectory(prefix=f"stage-{name}-")
    make(Path(kept.name))
    return kept


def copied(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Lay out a copy of what is made once."""

    def prepare(folder: Path) -> None:
        shutil.copytree(Path(_once(name, make).name), folder, dirs_exist_ok=True)

    return prepare


def make_records(folder: Path) -> None:
    """A record of ``losses``, clean, of its quick preset, and another of the same experiment beside it."""
    for changed in ({"points": 11}, SMALL["losses"]):
        out = folder / "records"
        (plan,) = run_experiments(get_experiments(["losses"]), out=out, progress=False, changed=changed)
        assert plan.record is not None, plan.why
        record = plan.record
        shutil.rmtree(out / "losses" / record.key)
        meta = {**record.meta, "git": {"commit": "0" * 40, "dirty": False}, "finished": "2026-01-01T00:00:00+00:00"}
        write_record(Record(record.name, record.config, record.table, meta), out)
    write_catalogue([get_experiments(["losses"])[0].describe()], folder / "records")


def make_drawn(folder: Path) -> None:
    """The same with its figure."""
    from figures.framework.drawing import draw_figure, get_figures

    make_records(folder)
    draw_figure(get_figures(["losses"])[0], folder / "records", folder / "out" / "figures")


def make_votes(folder: Path) -> None:
    """Votes of four items."""
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{1 + rng.integers(9)}" for a in "abcd" for b in "abcd" if a != b]
    (folder / "votes.csv").write_text("\n".join(["winner,loser,count", *rows]) + "\n")


def make_tuning(folder: Path) -> None:
    """A tiny model and pairs for it."""
    from llm.policy.models import LlamaSize, save_model, small_llama
    from llm.policy.tokenizers import train_tokenizer

    tokenizer = train_tokenizer(["why how when yes no maybe never always"])
    save_model(
        small_llama(LlamaSize(hidden=16, layers=1, heads=2, positions=64), tokenizer, seed=0),
        tokenizer,
        folder / "model",
    )
    words = ["yes", "no", "maybe", "never", "always"]
    rows = [
        {"prompt": ("why", "how", "when")[i % 3], "chosen": words[i % 5], "rejected": words[(i + 1 + i // 5) % 5]}
        for i in range(16)
    ]
    (folder / "pairs.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows if row["chosen"] != row["rejected"])
    )


def make_study(folder: Path) -> None:
    """A finished study of language models."""
    from fuzz.studies import run

    run(folder / "study")


def smaller(
    presets: Callable[[], dict[str, Any]], preset: str, reference: Mapping[str, Any] | None = None, **sizes: Any
) -> Callable[[], None]:
    """Sizes of a preset for which a run takes a fraction of a second."""

    def change() -> None:
        of, more = presets(), dict(sizes)
        if reference is not None:
            more["reference"] = dataclasses.replace(of[preset].reference, **reference)
        of[preset] = dataclasses.replace(of[preset], **more)

    return change


def _of_optimum() -> dict[str, Any]:
    from llm.optimum.config import PRESETS

    return PRESETS


def _of_predicted() -> dict[str, Any]:
    from llm.predicted.config import PRESETS

    return PRESETS


def _of_tuned() -> dict[str, Any]:
    from llm.tuned.config import PRESETS

    return PRESETS


def _of_real() -> dict[str, Any]:
    from llm.real.config import PRESETS

    return PRESETS


def plain_figure() -> None:
    """One curve in place of the figure of ``losses``: what is looked at is how it is written."""
    import figures.losses
    from gpo_analysis.plotting import new_figure

    def draw(records: Mapping[str, Record]) -> Any:
        figure, ax = new_figure()
        ax.plot(records["losses"].table["value"])
        return figure

    figures.losses.draw = draw


def _tables(*names: str) -> Callable[[Path], dict[str, Any]]:
    return of_files(*(f"out/{name}.parquet" for name in names))


_TRAIN = (
    "llm", "train", "--model", "model", "--pairs", "pairs.jsonl", "--loss", "logistic", "squared", "--beta", "0.3",
    "--steps", "2", "--batch", "4", "--lr", "0.01", "--save-steps", "1", "--kl-prompts", "2",
    "--kl-max-new-tokens", "3", "--report-to", "none", "--device", "cpu", "--no-progress", "--out", "out",
)  # fmt: skip
_TRAINED = (
    "out/table.csv",
    "out/result.json",
    "out/*/result.json",
    "out/*/log.jsonl",
    "out/*/policy/model.safetensors",
)
_LOSSES = [word for name, value in SMALL["losses"].items() for word in ("--set", f"{name}={value}")]

_REFERENCE = {"pool": 16, "steps": 3, "warmup": 1}

STAGES: dict[str, Stage] = {
    "experiments": Stage(
        ("experiments", "run", "losses", *_LOSSES, "--quiet", "--out", "out"), nothing, ("out",), of_records
    ),
    "keep": Stage(
        ("experiments", "keep", "losses", "--records", "records", "--out", "out"), copied("records", make_records),
        ("out",), of_records, "records/losses/*/*",
    ),
    "figures": Stage(
        ("figures", "draw", "losses", "--records", "records", "--out", "out"), copied("records", make_records),
        ("out",), of_files("out/*.png", "out/*.json"), "records/losses/*/*", resumes=False, smaller=plain_figure,
    ),
    "report": Stage(
        ("figures", "report", "--records", "records", "--out", "out"), copied("drawn", make_drawn),
        ("out/report*",), of_files("out/report.json", "out/report.html", "out/report.md", "out/report_pictures/*"),
        "records/losses/*/*", resumes=False, smaller=plain_figure,
    ),
    "llm study": Stage(("fuzz.stage_of_study",), nothing, ("out",), _tables("sweep", "samples", "trace")),
    "llm train": Stage(_TRAIN, copied("tuning", make_tuning), ("out",), of_files(*_TRAINED), "pairs.jsonl"),
    "llm export": Stage(
        ("llm", "export", "study", "logistic-0.3-s0-fresh", "--out", "out"), copied("study", make_study), ("out",),
        of_files("out/*.safetensors", "out/*.json"), "study/sweep/stacks/*/*", resumes=False,
    ),
    "llm optimum": Stage(
        ("llm", "optimum", "--preset", "tiny", "--seeds", "0", "--commit", "x", "--out", "out"), nothing, ("out",),
        _tables("policies", "prompts"),
        smaller=smaller(_of_optimum, "tiny", _REFERENCE, prompts=2, samples=4, held_samples=4, steps=10,
                        losses=("logistic", "squared"), strengths=(0.4,), stack=1),
    ),
    "llm predicted": Stage(
        ("llm", "predicted", "--preset", "tiny", "--seeds", "0", "--commit", "x", "--out", "out"), nothing, ("out",),
        _tables("steps", "prompts"),
        smaller=smaller(_of_predicted, "tiny", _REFERENCE, trained_prompts=2, unseen_prompts=1, pairs=8,
                        steps=3, record=(1, 3), losses=("logistic",), varied=(), coin_losses=(), samples=4),
    ),
    "llm tuned": Stage(
        ("llm", "tuned", "--preset", "tiny", "--seeds", "0", "--commit", "x", "--out", "out"), nothing, ("out",),
        _tables("policies", "prompts"),
        smaller=smaller(_of_tuned, "tiny", _REFERENCE, trained=(2, 4), unseen=2, steps=4,
                        losses=("logistic", "squared"), strengths=(0.03,), stack=1),
    ),
    "llm real": Stage(
        ("llm", "real", "--preset", "titles-tiny", "--commit", "x", "--out", "out"), nothing, ("out",),
        _tables("steps", "prompts", "best"),
        smaller=smaller(_of_real, "titles-tiny", trained_prompts=2, unseen_prompts=1, steps=2, record=(1, 2),
                        losses=("logistic",), fixed_strengths=(), max_new_tokens=4, stack=4),
    ),
    "gpo solve": Stage(
        ("gpo", "solve", "votes.csv", "--loss", "dpo", "--out", "a.parquet", "--matrix", "m.csv", "--figure", "f.png"),
        make_votes, ("a.parquet", "m.csv", "f.png"), of_files("a.parquet", "m.csv", "f.png"), resumes=False,
    ),
    "gpo gaussians": Stage(
        ("gpo", "gaussians", "--modes", "0,2", "--scale", "1", "--figure", "f.png"), nothing, ("f.png",),
        of_files("f.png"), resumes=False,
    ),
}  # fmt: skip
"""Name -> stage."""
