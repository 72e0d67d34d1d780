"""A command of this project run in this process as ``python -m`` would: for forked children.

What the parent has imported a child need not: `preloaded` imports what a program's verbs load on their way.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import warnings
from collections.abc import Iterator

_Path = str | os.PathLike[str]


def become(program: str, words: list[str]) -> int:
    """Run a command line in this process and return its exit code; what nobody meets is printed as Python does.

    Parameters
    ----------
    program : str
        ``gpo``, or a module for ``python -m``.
    words : list of str
        What comes behind it.
    """
    sys.argv = [program, *words]
    try:
        if program == "gpo":
            from gpo_analysis.cli import main

            main()
        else:
            run_as_main(program, alter_sys=True)
    except SystemExit as leave:
        if isinstance(leave.code, str):
            print(leave.code, file=sys.stderr)
            return 1
        return leave.code if isinstance(leave.code, int) else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        return 1
    return 0


def run_as_main(module: str, *, alter_sys: bool = False) -> None:
    """Run a module as ``python -m`` does, though it may have been imported before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
        runpy.run_module(module, run_name="__main__", alter_sys=alter_sys)


def redirected(out: _Path, errors: _Path) -> None:
    """Send standard output and error of this process to files, and give it no input."""
    for descriptor, stream in ((1, out), (2, errors)):
        opened = os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout, sys.stderr = (open(descriptor, "w", encoding="utf-8", closefd=False) for descriptor in (1, 2))  # noqa: SIM115


def leave(code: int) -> None:
    """End this process at once, with what was printed."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code & 0xFF)


@contextlib.contextmanager
def restored(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], errors: str | os.PathLike[str]
) -> Iterator[None]:
    """Work in ``folder`` with output and errors going to files, and come back."""
    before, kept = os.getcwd(), [os.dup(descriptor) for descriptor in (0, 1, 2)]  # noqa: PTH109
    streams = sys.stdout, sys.stderr
    sys.stdout.flush()
    sys.stderr.flush()
    redirected(out, errors)
    os.chdir(folder)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir(before)
        sys.stdout, sys.stderr = streams
        for descriptor, old in enumerate(kept):
            os.dup2(old, descriptor)
            os.close(old)


def preloaded(program: str) -> None:
    """Import what the verbs of a program import when they run.

    Parameters
    ----------
    program : str
    """
    import matplotlib.pyplot  # noqa: F401
    import scipy.stats  # noqa: F401
    import sympy  # noqa: F401

    import gpo_analysis.estimation
    import gpo_analysis.gaussian
    import gpo_analysis.plotting
    import gpo_analysis.ranking
    import gpo_analysis.tabular  # noqa: F401

    if program in ("experiments", "figures"):
        from experiments.framework.discovery import find_experiments
        from figures.framework.drawing import find_figures

        for one in (*find_experiments(), *(find_figures() if program == "figures" else ())):
            one.load()
    if program.startswith("llm"):
        import transformers  # noqa: F401

        import llm.optimum.study
        import llm.own.run
        import llm.predicted.study
        import llm.real.study
        import llm.study.pipeline
        import llm.tuned.study  # noqa: F401
