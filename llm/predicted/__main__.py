"""``python -m llm predicted``: study C, what a run will do, said before it is made.

Examples
--------
python -m llm predicted --preset cpu --out out/llm/predicted-cpu
python -m llm predicted --preset small --seeds 0 1 2 --out out/llm/predicted-small  (another process: --seeds 3 4)
python -m llm predicted --preset gpu --budget-seconds 780 --out OUT/predicted-gpu
python -m llm predicted --preset gpu --budget-seconds 0 --out FOLDER                 (tables of what is there)
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import warnings

from llm.commands import ended
from llm.predicted.config import PRESETS, preset


def main(arguments: list[str] | None = None) -> int:
    """Run the study; an error is told in one line."""
    parser = argparse.ArgumentParser(
        prog="python -m llm predicted", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=[*PRESETS], default="cpu", help="sizes and grid (default: cpu)")
    parser.add_argument("--out", metavar="DIR", help="the study's folder (default: out/llm/predicted-PRESET)")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these seeds of the preset")
    parser.add_argument("--budget-seconds", type=float, metavar="N", help="begin no piece that would end later")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="where to compute (default: the preset's)")
    parser.add_argument("--commit", metavar="HASH", help="the commit that runs, where git does not know")
    parser.add_argument("--progress", action="store_true", help="show bars")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|torch")
    config = preset(given.preset)
    if given.device is not None:
        config = dataclasses.replace(config, device=given.device)

    def work() -> None:
        from llm.predicted.study import run_study

        run_study(
            config,
            given.out or f"out/llm/predicted-{given.preset}",
            seeds=given.seeds,
            budget_seconds=given.budget_seconds,
            commit=given.commit,
            progress=given.progress,
            say=lambda line: print(line, flush=True),
        )

    return ended(work, given.traceback)


if __name__ == "__main__":
    sys.exit(main())
