"""What a finished stage leaves behind: a report with the key of the configuration and inputs it was made from.

The report is written last, so that its presence says that the rest of the folder is whole. A stage that finds its
own key does nothing; another key means another configuration or other inputs, and the stage runs anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from gpo_analysis.records import canonical_json, plain, record_key, write_whole

FILE = "stage.json"


def stage_key(config: Any, **inputs: Any) -> str:
    """Return the key of a configuration (a dataclass or plain values) and of checksums of what goes in.

    Examples
    --------
    >>> stage_key({"steps": 10}, data="ab") == stage_key({"steps": 11}, data="ab")
    False
    """
    return record_key({"config": plain(config), "inputs": plain(inputs)})


def finished_report(folder: str | os.PathLike[str], key: str) -> dict[str, Any] | None:
    """Return the report a stage left in the folder, or None where there is none of this key."""
    path = Path(folder) / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return dict(found["report"]) if isinstance(found, dict) and found.get("key") == key else None


def mark_done(folder: str | os.PathLike[str], key: str, report: dict[str, Any]) -> None:
    """Write the report; from now on the stage is finished."""
    write_whole(Path(folder) / FILE, canonical_json({"key": key, "report": report}).encode(), folder)
