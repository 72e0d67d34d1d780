"""``python -m llm optimum``: study A, the optimum is reached.

Examples
--------
python -m llm optimum --preset cpu --out out/llm/optimum-cpu
python -m llm optimum --preset small --seeds 0 1 2 --out out/llm/optimum    (another process: --seeds 3 4)
python -m llm optimum --preset gpu --out OUT/optimum-gpu            (within thirteen minutes)
python -m llm optimum --preset gpu --budget-seconds 0 --out FOLDER          (tables of what is there)
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from gpo_analysis.cli.streams import guarded
from llm.commands import study_command
from llm.optimum.config import PRESETS, preset


def main(arguments: list[str] | None = None) -> int:
    """Run the study; an error is told in one line."""

    def study() -> Callable[..., object]:
        from llm.optimum.study import run_study

        return run_study

    return study_command("optimum", __doc__, [*PRESETS], preset, study, arguments)


if __name__ == "__main__":
    sys.exit(guarded("llm optimum", main))
