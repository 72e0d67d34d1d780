"""Names of the stages and of the presets: what the command's help and its errors need, before anything is loaded."""

from __future__ import annotations

STAGES = ("data", "base", "sft", "reward", "pairs", "baseline", "sweep", "evaluate", "tables")
"""In the order they run; each takes what those before it made."""

PRESETS = {
    "tiny": "some twenty seconds: three losses, a model of 7,728 parameters; to see that all works",
    "cpu": "minutes: the six losses, one seed, data that it generates",
    "files": "minutes: three losses on your own text, with --data",
    "small": "one to two hours: the six losses, three seeds, a larger model and grid",
    "gpu": "within fifteen minutes of one H100 or H200, which it keeps by itself: 3 to 5 million parameters",
}
"""Those of ``llm/study/presets.py``, each with what it is and how long it takes, on two cores where no GPU is named."""


def told_presets() -> str:
    """The presets, a line each, and which to begin with."""
    lines = [f"  {name:<6} {what}" for name, what in PRESETS.items()]
    return "\n".join([
        "presets (on two cores; `python -m llm plan --preset NAME` measures what it takes here):", *lines,
        "begin with: python -m llm run --preset tiny, then --preset cpu",
    ])  # fmt: skip
