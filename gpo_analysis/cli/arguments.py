"""A parser of command lines whose errors are one line, as those of ``gpo`` are, and the numbers that options take."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from gpo_analysis.reading.visible import visible

LONGEST = 600
"""Characters of an error; what stands in its middle is left out."""


class Parser(argparse.ArgumentParser):
    """As argparse's; an error is one line on standard error, the exit code 2.

    What begins with one minus sign and is no option is a value: ``--loss "-log(sigmoid(z))"``.
    """

    def _parse_optional(self, arg_string: str) -> Any:
        if arg_string[:1] == "-" and arg_string[:2] != "--" and arg_string not in self._option_string_actions:
            return None
        return super()._parse_optional(arg_string)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and end.

        Parameters
        ----------
        message : str
        """
        line = one_line(message)
        print(f"{self.prog.removeprefix('python -m ')}: {line} ({self.prog} --help)", file=sys.stderr)
        sys.exit(2)


def one_line(message: str) -> str:
    """Text of any kind on one line, without characters that a terminal obeys, and not endless.

    Examples
    --------
    >>> one_line("no\\nsuch\\x1b[31m  file")
    'no such\\\\x1b[31m file'
    """
    line = visible(" ".join(message.split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 3 :]}"


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type of options: whole numbers from ``least`` on.

    Parameters
    ----------
    least : int
    most : int, optional

    Examples
    --------
    >>> whole(1)("3")
    3
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            upto = f" to {most}" if most is not None else " and more"
            raise argparse.ArgumentTypeError(f"{text!r:.60} is no whole number that is accepted ({least}{upto})")
        return value

    return read


def number(least: float, *, above: bool = False) -> Callable[[str], float]:
    """A type of options: finite numbers from ``least`` on, or above it.

    Parameters
    ----------
    least : float
    above : bool
        Whether ``least`` itself is not accepted.

    Examples
    --------
    >>> number(0.0)("1e-3")
    0.001
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < least or (above and value == least):
            upto = f"above {least:g}" if above else f"{least:g} and more"
            raise argparse.ArgumentTypeError(f"{text!r:.60} is no finite number that is accepted ({upto})")
        return value

    return read
