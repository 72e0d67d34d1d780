"""What a run was made with: versions, processor, tests; every verdict names its run, for those of two machines join."""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Packages on whose versions it may depend what a test notices.
PACKAGES = (
    "numpy", "scipy", "sympy", "mpmath", "pandas", "matplotlib", "torch", "transformers", "trl", "peft", "datasets",
    "cvxpy", "choix", "hypothesis", "pytest", "coverage",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of Python and of those packages that are there."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def tests_digest(tree: Path) -> str:
    """A short name of all tests and what they share."""
    whole = hashlib.sha256()
    for path in sorted((tree / "tests").rglob("*.py")):
        whole.update(str(path.relative_to(tree)).encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def run_record(tree: Path, commit: str, **settings: Any) -> dict[str, Any]:
    """What is written down of a run before it begins."""
    return {
        "run": uuid.uuid4().hex[:8],
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "tests": tests_digest(tree),
        "machine": f"{platform.system()} {platform.machine()}",
        "processors": len(os.sched_getaffinity(0)),
        "versions": versions(),
        **settings,
    }


def said(record: dict[str, Any], verdicts: int) -> str:
    """A run in a line."""
    of = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return (
        f"- run {record['run']}, {record['begun']}, code {record['commit'][:10]}, tests {record['tests']}: "
        f"{verdicts:,} verdicts by {record['workers']} processes on {record['processors']} processors "
        f"({record['machine']}), {record['seconds']:g} s of tests a fault; {of}."
    )
