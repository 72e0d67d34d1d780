"""Work that may take for ever is given up; what fails falls back."""

from __future__ import annotations

import threading
import time

import sympy

from gpo_analysis.calculus.bounded import bounded


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


def test_a_busy_machine_gets_the_time_it_computes_for() -> None:
    """Four rivals for the interpreter: by the clock the call takes five times as long, by its own time no longer."""
    stop = threading.Event()

    def spin() -> int:
        last, count = time.thread_time() + 0.25, 0
        while time.thread_time() < last:
            count += 1
        return count

    def rival() -> None:
        while not stop.is_set():
            sum(range(1000))

    rivals = [threading.Thread(target=rival, daemon=True) for _ in range(4)]
    for thread in rivals:
        thread.start()
    try:
        began = time.monotonic()
        assert bounded(spin, 0.4, 0) > 0
        assert time.monotonic() - began > 0.4
        assert bounded(spin, 0.1, 0) == 0
    finally:
        stop.set()
        for thread in rivals:
            thread.join()
