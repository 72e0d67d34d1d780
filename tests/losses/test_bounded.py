"""Work that may take for ever is given up; what fails falls back."""

from __future__ import annotations

import threading
import time

import sympy

from gpo_analysis.losses.bounded import bounded


def test_result_default_and_failure() -> None:
    assert bounded(lambda: 41 + 1, 5.0, 0) == 42
    assert bounded(lambda: [][1], 5.0, "nothing") == "nothing"


def test_endless_loops_are_given_up_and_end() -> None:
    ticks = []

    def endless() -> int:
        while True:
            ticks.append(1)
            time.sleep(0.001)

    before = threading.active_count()
    assert bounded(endless, 0.05, -1) == -1
    seen = len(ticks)
    time.sleep(0.05)
    assert len(ticks) <= seen + 1
    assert threading.active_count() <= before


def test_computer_algebra_is_interrupted() -> None:
    x, y = sympy.symbols("x y")
    heavy = sympy.prod([x**k + y**k + k for k in range(1, 40)])
    assert bounded(lambda: sympy.factor(sympy.expand(heavy)), 0.1, None) is None
    assert sympy.factor(x**2 - 1) == (x - 1) * (x + 1)
