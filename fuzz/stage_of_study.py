"""``python -m fuzz.stage_of_study``: the study of `fuzz.studies` in the folder ``out``, as a command of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from fuzz.studies import run
from llm.commands import ended

if __name__ == "__main__":
    sys.exit(ended(lambda: run(Path("out").absolute()), traceback=False))
