"""``python -m llm tuned``: study B, are the losses equal when β is tuned?

Examples
--------
python -m llm tuned --preset small --out out/llm/tuned-small
python -m llm tuned --preset small --seeds 0 1 2 --out out/llm/tuned-small    (another process: --seeds 3 4)
python -m llm tuned --preset gpu --out OUT/tuned-gpu              (within thirteen minutes)
python -m llm tuned --preset small --budget-seconds 0 --out FOLDER            (tables of what is there)
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from gpo_analysis.cli.streams import guarded
from llm.commands import study_command
from llm.tuned.config import PRESETS, preset


def main(arguments: list[str] | None = None) -> int:
    """Run the study; an error is told in one line."""

    def study() -> Callable[..., object]:
        from llm.tuned.study import run_study

        return run_study

    return study_command("tuned", __doc__, [*PRESETS], preset, study, arguments)


if __name__ == "__main__":
    sys.exit(guarded("llm tuned", main))
