"""Many figures, drawn by several processes.

Not in ``figures.__main__``: what a package's ``__main__`` defines cannot be found again by a spawned process.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from figures.framework.drawing import FigureModule, draw_figure
from gpo_analysis.records import RecordError
from gpo_analysis.runs import read_status

Drawing = tuple[FigureModule, Path, Path, bool]
"""A figure, where its records are, where it goes, and whether these are committed results."""


def draw_all(drawings: Sequence[Drawing], jobs: int = 1) -> int:
    """Draw figures, side by side where more than one process is asked; lines stand in the order of the figures.

    Parameters
    ----------
    drawings : sequence of Drawing
    jobs : int
        How many processes.

    Returns
    -------
    int
        The exit code: 1 where one could not be drawn.
    """
    if jobs == 1:
        return max(map(_said, map(_drawn, drawings)), default=0)
    with ProcessPoolExecutor(min(jobs, len(drawings)), mp_context=get_context("spawn"), initializer=_deaf) as pool:
        return max(map(_said, pool.map(_drawn, drawings)), default=0)


def _deaf() -> None:
    """Ctrl-C is for the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _said(drawn: tuple[int, str]) -> int:
    code, line = drawn
    print(line, file=sys.stderr if code else sys.stdout, flush=True)
    return code


def _drawn(drawing: Drawing) -> tuple[int, str]:
    """Exit code and what there is to say."""
    figure, records, out, committed = drawing
    try:
        paths = draw_figure(figure, records, out, committed=committed)
    except RecordError as error:
        if _cannot_run(figure, records):  # said by the runner and in the report; no fault of this command
            return 0, f"{figure.name:<24} skipped: {error}"
        return 1, f"figures: {figure.name}: {error}"
    except OSError:
        raise
    except Exception as error:  # one broken figure must not hide the others
        return 1, f"figures: {figure.name}: {type(error).__name__}: {error}"
    return 0, f"{figure.name:<24} {', '.join(map(str, paths))}"


def _cannot_run(figure: FigureModule, records: Path) -> bool:
    """Whether an experiment of the figure could not run here (no data, no GPU)."""
    states = [read_status(records, name) for name in figure.load().EXPERIMENTS]
    return any(state is not None and state.status == "not run" for state in states)
