"""Settings that hold for every test: no display, one thread a process, hypothesis without a clock (tests/cases.py)."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

import tests.cases  # noqa: F401


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file whose tests share what a fixture of the module makes stays whole in one worker; other tests go anywhere.

    pytest-xdist's own marks for this (``--dist loadgroup``) do nothing with pytest 9.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if _shares(config.rootpath / file) else nodeid

    return Scheduling(config, log)


@cache
def _shares(file: Path) -> bool:
    return file.suffix == ".py" and 'scope="module"' in file.read_text(encoding="utf-8")
