"""``python -m llm gpu``: the ``gpu`` presets of all four studies on one GPU, within fifteen minutes.

Each study has an equal share of the time that is left, keeps it by itself (`llm.budget`), and leaves what it does not
need to those behind it. What no longer fits is left out condition by condition and said in the study's tables; the same
command goes on from what is there.

Examples
--------
python -m llm gpu --out out/llm
python -m llm gpu --out out/llm --budget-seconds 3600
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpo_analysis.cli.arguments import Parser
from gpo_analysis.cli.streams import guarded
from llm.budget import Clock
from llm.commands import TIME, ended

SECONDS = 840.0
"""Fifteen minutes less one for starting Python and the GPU."""

Say = Callable[[str], None]


def run_all(
    out: Path,
    studies: Mapping[str, Any],
    seconds: float,
    *,
    progress: bool = False,
    say: Say = print,
    clock: Clock = time.perf_counter,
) -> None:
    """Run studies one after another, each in its folder of ``out``.

    Parameters
    ----------
    out : Path
    studies : mapping of str to configuration
        By folder; of ``llm run``, ``llm optimum``, ``llm tuned`` or ``llm predicted``.
    seconds : float
        For all of them together.
    progress : bool
        Whether bars are shown.
    say : callable
        Is told a line at a time what is done.
    clock : callable
        Seconds.
    """
    from llm.optimum.config import OptimumConfig
    from llm.optimum.study import run_study as run_optimum
    from llm.predicted.config import PredictedConfig
    from llm.predicted.study import run_study as run_predicted
    from llm.study.pipeline import run_study
    from llm.tuned.config import TunedConfig
    from llm.tuned.study import run_study as run_tuned

    of_pieces: dict[type, Callable[..., object]] = {
        OptimumConfig: run_optimum, TunedConfig: run_tuned, PredictedConfig: run_predicted,
    }  # fmt: skip
    start = clock()
    for place, (name, config) in enumerate(studies.items()):
        share = (seconds - (clock() - start)) / (len(studies) - place)
        if share <= 0:
            say(f"{name}: no time is left; the same command goes on from here")
            continue
        say(f"{name}: {share:.0f} s")
        chosen = dataclasses.replace(config, budget_seconds=share)
        run = of_pieces.get(type(config), run_study)
        run(chosen, out / name, progress=progress, say=say, clock=clock)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; an error is told in one line."""
    parser = Parser(prog="python -m llm gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="DIR", default="out/llm", help="folder of the studies' folders")
    parser.add_argument("--budget-seconds", type=TIME, metavar="N", default=SECONDS, help="for all of them together")
    parser.add_argument("--preset", choices=("gpu", "tiny"), default="gpu", help="tiny: to try it on a processor")
    parser.add_argument("--progress", action="store_true", help="show bars")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|torch")

    def work() -> None:
        run_all(
            Path(given.out), studies(given.preset), given.budget_seconds, progress=given.progress,
            say=lambda line: print(line, flush=True),
        )  # fmt: skip

    return ended(work, given.traceback, "llm gpu")


def studies(name: str) -> dict[str, Any]:
    """The presets of this name of all studies, by folder."""
    from llm.optimum.config import preset as optimum
    from llm.predicted.config import preset as predicted
    from llm.study.presets import preset
    from llm.tuned.config import preset as tuned

    return {
        f"optimum-{name}": optimum(name), f"predicted-{name}": predicted(name), f"tuned-{name}": tuned(name),
        name: preset(name),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(guarded("llm gpu", main))
