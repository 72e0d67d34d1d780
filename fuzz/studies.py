"""Kills, full disks and damaged files for a study of language models: what goes wrong, counted by kind.

    python -m fuzz.studies --trials 60 --seed 0

A trial lets a small study die at one of its file operations, or fills its disk from one of them on, or damages one file
of a finished study (flipped, cut short, zeroed, lengthened, a digit changed, exchanged for another of its kind). The
study is then run again. Nothing of this may be found, and the exit code is 1 where something is:

- *accepted*: the tables are not those of the undisturbed study;
- *dead end*: running it again raises an error;
- *litter*: a temporary file, a checkpoint or the lock is left;
- *traceback*: something other than an OSError comes out of a full disk.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import pandas as pd  # noqa: E402
import torch  # noqa: E402

from fuzz.damage import damaged  # noqa: E402
from fuzz.dying import events_of, killed_at, without_space  # noqa: E402
from gpo_analysis.cli.arguments import Parser, whole  # noqa: E402
from llm.data.splits import Counts  # noqa: E402
from llm.study.pipeline import run_study  # noqa: E402
from llm.study.presets import preset  # noqa: E402
from llm.sweep.plan import GridConfig  # noqa: E402
from llm.training.config import TrainConfig  # noqa: E402

FAULTS = ("accepted", "dead end", "litter", "traceback")
TABLES = ("sweep.parquet", "samples.parquet", "trace.parquet")
KEPT = ("*/stage.json", "*/model/*", "base/*", "*/pairs.jsonl", "reference/*", "sweep/*.json", "sweep/stacks/*/*",
        "evaluations/*")  # fmt: skip
"""What is read back, by patterns; the tables are written anew by every run."""

_TINY = preset("tiny")
CONFIG = dataclasses.replace(
    _TINY,
    counts=Counts(fine_tuning=40, pairs=16, held_out=4, evaluation=4),
    sft=dataclasses.replace(_TINY.sft, steps=4, warmup=1, checkpoint_every=2),
    pairs=dataclasses.replace(_TINY.pairs, chunk=8),
    evaluation=dataclasses.replace(_TINY.evaluation, second_samples=4, gradient_pairs=4),
    grid=GridConfig(losses=("logistic", "squared"), strengths=(0.3,)),
    training=TrainConfig(2, batch_size=4, evaluate_at=(1, 2), checkpoint_every=1),
    stack=1,
)


def run(folder: Path) -> None:
    """Run the study, in one process and in silence."""
    with contextlib.redirect_stderr(io.StringIO()):
        run_study(CONFIG, folder, say=lambda line: None)


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the study's tables."""
    return {name: pd.read_parquet(folder / name) for name in TABLES}


def after(folder: Path, expected: dict[str, pd.DataFrame], what: str) -> Counter[str]:
    """Run the study again and count what is wrong then."""
    found: Counter[str] = Counter()
    try:
        run(folder)
    except Exception as error:
        print(f"{what}: {type(error).__name__}: {error}", file=sys.stderr)
        return Counter({"dead end": 1})
    for name, table in tables(folder).items():
        try:
            pd.testing.assert_frame_equal(table, expected[name], rtol=1e-6)
        except AssertionError as error:
            print(f"{what}: {name}: {error}", file=sys.stderr)
            found["accepted"] = 1
    left = [path for path in folder.rglob(".tmp/*") if path.name != "lock"]
    left += [
        *folder.glob(".lock"),
        *folder.rglob("step-*"),
        *folder.rglob(".writing-*"),
        *folder.rglob("checkpoint"),
        *folder.rglob("parts"),
    ]
    if left:
        print(f"{what}: left {', '.join(str(path.relative_to(folder)) for path in left)}", file=sys.stderr)
        found["litter"] = len(left)
    return found


def trial(kind: str, whole: Path, folder: Path, events: int, chance: random.Random) -> Counter[str]:
    """One trial of a kind, in a folder of its own."""
    expected = tables(whole)
    if kind == "damaged":
        shutil.copytree(whole, folder)
        kept = sorted({path for pattern in KEPT for path in folder.glob(pattern) if path.is_file()})
        path = chance.choice(kept)
        alike = [one for one in kept if one.suffix == path.suffix and one != path and one.stat().st_size]
        how = damaged(path, chance.choice(alike or kept), chance)
        return after(folder, expected, f"{path.relative_to(folder)}, {how}")
    at = chance.randrange(1, events + 1)
    end = (killed_at if kind == "killed" else without_space)(lambda: run(folder), folder, at)
    found = Counter({"traceback": 1}) if end == "traceback" else Counter[str]()
    return found + after(folder, expected, f"{kind} at operation {at} of {events}")


def main(arguments: list[str] | None = None) -> int:
    """Run trials of every kind in turn and print the counts."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=whole(1), default=60, help="in all (default: 60)")
    parser.add_argument("--seed", type=whole(0), default=0, help="of what is drawn (default: 0)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started, kinds = time.perf_counter(), ("killed", "full disk", "damaged")
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        run(root / "whole")
        events = events_of(lambda: run(root / "counted"), root / "counted")
        for number in range(given.trials):
            kind = kinds[number % len(kinds)]
            folder = root / str(number)
            counts[kind] += trial(kind, root / "whole", folder, events, random.Random(f"{given.seed}/{number}"))
            counts[kind]["trials"] += 1
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{'':12}{'trials':>8}" + "".join(f"{fault:>12}" for fault in FAULTS))
    for kind in kinds:
        print(f"{kind:12}{counts[kind]['trials']:8}" + "".join(f"{counts[kind][fault]:12}" for fault in FAULTS))
    print(f"{given.trials} trials, {time.perf_counter() - started:.0f} s")
    return int(any(counts[kind][fault] for kind in kinds for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
