"""Names of the stages and of the presets: what the command's help and its errors need, before anything is loaded."""

from __future__ import annotations

STAGES = ("data", "base", "sft", "reward", "pairs", "baseline", "sweep", "evaluate", "tables")
"""In the order they run; each takes what those before it made."""

PRESETS = ("tiny", "cpu", "files", "small", "gpu")
"""Those of ``llm/study/presets.py``."""
