"""``python -m llm predicted``: study C, what a run will do, said before it is made.

Examples
--------
python -m llm predicted --preset cpu --out out/llm/predicted-cpu
python -m llm predicted --preset small --seeds 0 1 2 --out out/llm/predicted-small  (another process: --seeds 3 4)
python -m llm predicted --preset gpu --out OUT/predicted-gpu                     (within thirteen minutes)
python -m llm predicted --preset gpu --budget-seconds 0 --out FOLDER                 (tables of what is there)
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from gpo_analysis.cli.streams import guarded
from llm.commands import study_command
from llm.predicted.config import PRESETS, preset


def main(arguments: list[str] | None = None) -> int:
    """Run the study; an error is told in one line."""

    def study() -> Callable[..., object]:
        from llm.predicted.study import run_study

        return run_study

    return study_command("predicted", __doc__, [*PRESETS], preset, study, arguments)


if __name__ == "__main__":
    sys.exit(guarded("llm predicted", main))
