"""Settings that hold for every test: no display, one thread a process, hypothesis without a clock (tests/cases.py)."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

import tests.cases  # noqa: F401


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a file stay in one worker, which keeps what they have in common; some files stay together, too.

    First come the largest of these groups and files that start programs, whose few tests are long: no worker is left
    with one of them while the others have nothing to do. pytest-xdist's own marks for this (``--dist loadgroup``) do
    nothing with pytest 9.
    """
    from xdist.scheduler import LoadScopeScheduling

    few = len(config.getoption("tx") or ()) <= 2

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return _group(file, _text(config.rootpath / file), few)

        def schedule(self) -> None:
            begun = self.collection is not None
            super().schedule()
            if not begun:
                units = sorted(
                    self.workqueue.items(), key=lambda unit: "subprocess" not in _text(config.rootpath / unit[0])
                )
                self.workqueue = OrderedDict(units)  # the others stay in their order, by number of tests

    return Scheduling(config, log)


def _group(file: str, text: str, few: bool) -> str:
    """What the tests of a file share with those of others.

    Parameters
    ----------
    file, text : str
        Path below the root, and what stands in it.
    few : bool
        Whether there are no more than two workers, so that a third of all tests is not too much for one.
    """
    if few and file.startswith(("tests/llm/", "tests/integrations/")):
        return "tests that load transformers and TRL"
    if "computed(" in text and "from fuzz.small import" in text:
        return "tests that look at the tables of small experiments"
    return file


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.suffix == ".py" and file.is_file() else ""
