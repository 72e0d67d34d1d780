"""How a command of this package ends: 0, or one line that says why not."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from traceback import print_exc
from typing import Any

from gpo_analysis.cli.arguments import Parser, number, one_line, whole

EXTRA = "gpo-analysis[llm]"
TIME = number(0.0, above=True)
"""What a budget is, in seconds."""


def ended(work: Callable[[], object], traceback: bool, name: str = "llm") -> int:
    """Do the work and return the command's exit status; an error is one line on standard error, as ``gpo`` says it.

    Parameters
    ----------
    work : callable
        Takes no argument.
    traceback : bool
        Whether to show where an error came from.
    name : str
        Of the command, before the line.

    Returns
    -------
    int
        0, 1 after an error, 130 where it was stopped from the keyboard.

    Examples
    --------
    >>> ended(lambda: 12, traceback=False)
    0
    """
    try:
        work()
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has gone: no error of the study
        raise
    except Exception as error:
        if traceback:
            print_exc()
            return 1
        print(one_line(f"{name}: {said_of(error)}"), file=sys.stderr)
        return 1
    return 0


def said_of(error: Exception) -> str:
    """What an error's line says: what is wrong, and of what nobody foresaw which kind it is and how to see where.

    Examples
    --------
    >>> said_of(ValueError("beta is -1; accepted is a finite number above 0"))
    'beta is -1; accepted is a finite number above 0'
    >>> said_of(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero (--traceback shows where)'
    """
    if isinstance(error, ModuleNotFoundError):
        return missing(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    ours = type(error).__module__.partition(".")[0] in ("gpo_analysis", "llm")
    if isinstance(error, ValueError | OSError) or ours:
        return str(error)
    return f"{type(error).__name__}: {error} (--traceback shows where)"


def missing(error: ModuleNotFoundError) -> str:
    """What is said of a package that an extra brings; where somebody has said more of it than Python does, that."""
    if not str(error).startswith(("No module named", "import of")):
        return str(error)
    return f"{error.name} is not installed; it comes with: pip install '{EXTRA}'"


def absent(packages: Mapping[str, str]) -> dict[str, str]:
    """Those of some packages that are not installed; none is loaded.

    Parameters
    ----------
    packages : mapping of str to str
        Modules, each with what needs it.

    Examples
    --------
    >>> absent({"json": "everything", "no_such_module": "--never"})
    {'no_such_module': '--never'}
    """
    return {module: what for module, what in packages.items() if not _is_there(module)}


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a package above it is missing, or it was barred
        return False


def study_command(
    name: str,
    description: str | None,
    presets: Sequence[str],
    preset: Callable[[str], Any],
    study: Callable[[], Callable[..., object]],
    arguments: Sequence[str] | None,
    *,
    default: str = "cpu",
    paths: Mapping[str, str] | None = None,
) -> int:
    """Run ``python -m llm NAME``, a study in pieces on sampled prompts, and return the command's exit status.

    Parameters
    ----------
    name, description : str
        Of the command.
    presets : sequence of str
        Names that ``preset`` takes.
    preset : callable
        From a name to a configuration.
    study : callable
        Imports and returns what runs it; called after the words have been read.
    arguments : sequence of str, optional
        Words of the command; None for those of the process.
    default : str
        The preset that is taken where none is named.
    paths : mapping of str to str, optional
        Further options, each with what it says of itself; the study is given them by their names.
    """
    parser = Parser(
        prog=f"python -m llm {name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=presets, default=default, help=f"sizes and grid (default: {default})")
    for option, what in (paths or {}).items():
        parser.add_argument(f"--{option}", metavar="PATH", help=what)
    parser.add_argument("--out", metavar="DIR", help=f"the study's folder (default: out/llm/{name}-PRESET)")
    parser.add_argument("--seeds", type=whole(0), nargs="+", action="extend", help="only these seeds of the preset")
    parser.add_argument(
        "--budget-seconds", type=number(0.0), metavar="N",
        help="time of this run (default: the preset's); 0: tables of what is there",
    )  # fmt: skip
    parser.add_argument("--device", choices=("cpu", "cuda"), help="where to compute (default: the preset's)")
    parser.add_argument("--commit", metavar="HASH", help="the commit that runs, where git does not know")
    parser.add_argument("--progress", action="store_true", help="show bars")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|torch")

    def work() -> None:
        config = preset(given.preset)
        if given.device is not None:
            config = dataclasses.replace(config, device=given.device)
        study()(
            config, given.out or f"out/llm/{name}-{given.preset}", seeds=given.seeds,
            budget_seconds=given.budget_seconds, commit=given.commit, progress=given.progress,
            say=lambda line: print(line, flush=True), **{option: getattr(given, option) for option in paths or {}},
        )  # fmt: skip

    return ended(work, given.traceback, f"llm {name}")
