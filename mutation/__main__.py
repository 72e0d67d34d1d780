"""Mutation score of the library and of three parts of the language models, by package, with intervals.

    python -m mutation trace                    which test executes which line (once; an hour of one core)
    python -m mutation plan                     draws the faults: 100 a package, all where there are fewer
    python -m mutation run                      tries them, the first 20 of every package first; goes on where it was
    python -m mutation join FOLDER              takes in verdicts that were reached on another machine
    python -m mutation report                   scores, survivors as diffs; writes the table and the list

All of them work on a copy of the tree that ``trace`` makes in the folder (``out/mutation``), so that line numbers stay
what they were while the tree is worked on. ``tests`` takes new tests into that copy; ``run --again`` tries survivors
against them (``--tests tests/solvers``: against these alone; ``--faults FILE``: those named in it, in its order). The
folder holds all that a run needs: on another machine
(``cd FOLDER/tree && python -m mutation --out .. run``) and back. A full run is ``trace``, ``plan``, ``run``, each
resumable: ``python -m mutation all``.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from mutation import campaign, report


class Parser(argparse.ArgumentParser):
    """As argparse's; an error is one line. The library's own may not be imported before the fork that tries a fault."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and end."""
        sys.exit(_said(f"{message} ({self.prog} --help)", 2))


def _said(message: str, code: int) -> int:
    """Say an error in a line, at the end: the library is imported for it."""
    from gpo_analysis.cli.arguments import one_line

    print(one_line(f"mutation: {message}"), file=sys.stderr)
    return code


def whole(least: int) -> Callable[[str], int]:
    """A type of options: whole numbers from ``least`` on."""

    def read(text: str) -> int:
        if not (re.fullmatch("[0-9]{1,9}", text) and int(text) >= least):
            raise argparse.ArgumentTypeError(f"{text!r:.60} is no whole number from {least} to 999999999")
        return int(text)

    return read


def number(text: str) -> float:
    """A number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no finite number of at least 0")
    return seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    given = _given(arguments)
    try:
        return _run(given, campaign.Campaign(given.out.resolve()))
    except (OSError, ValueError, RuntimeError) as error:
        return _said(str(error), 1)


def _given(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("python -m mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/mutation"), metavar="FOLDER", help="where it is kept")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("trace", help="which test executes which line")
    one.add_argument("--fresh", action="store_true", help="copy the tree anew; drops plan, contexts and results")
    one.add_argument(
        "--since", type=Path, metavar="FOLDER", help="take over what an older folder knows of the same tests"
    )
    _tracing(one)
    one = commands.add_parser("tests", help="take tests that were changed or added into the copy, and trace them")
    _tracing(one)
    one = commands.add_parser("plan", help="draw the faults")
    _drawing(one)
    one = commands.add_parser("run", help="try the faults")
    _running(one)
    one = commands.add_parser("join", help="take in verdicts of the same faults from another machine's folder")
    one.add_argument("folder", type=Path, metavar="FOLDER")
    one = commands.add_parser("report", help="scores and survivors")
    one.add_argument("--to", type=Path, default=None, metavar="FOLDER", help="also write the table and list there")
    one = commands.add_parser("all", help="trace, plan, run and report")
    _tracing(one)
    _drawing(one)
    _running(one)
    return parser.parse_args(arguments)


def _run(given: argparse.Namespace, work: campaign.Campaign) -> int:
    if given.command in ("trace", "all"):
        work.snapshot(fresh=getattr(given, "fresh", False))
        if getattr(given, "since", None) is not None:
            print(f"{work.carry(campaign.Campaign(given.since.resolve())):,} test files as they were", file=sys.stderr)
        work.trace(given.most, given.workers, tuple(given.files or ()))
    if given.command == "tests":
        work.take_tests()
        work.trace(given.most, given.workers, tuple(given.files or ()))
    if given.command == "join":
        print(f"{work.join(campaign.Campaign(given.folder.resolve())):,} verdicts joined")
    if given.command in ("plan", "all"):
        work.plan(given.size, given.seed)
    if given.command in ("run", "all"):
        code = work.run(
            given.workers, given.first, tuple(given.area or ()),
            again=given.again, seconds=given.seconds, start=given.start, tests=tuple(given.tests or ()),
            limit=given.limit, names=tuple(given.faults.read_text(encoding="utf-8").split()) if given.faults else (),
        )  # fmt: skip
    else:
        code = 0
    if given.command in ("report", "all"):
        print(report.written(work, getattr(given, "to", None)))
    return code


def _tracing(one: argparse.ArgumentParser) -> None:
    one.add_argument("--most", type=number, default=math.inf, metavar="S", help="begin no test of a file after so long")
    one.add_argument("--files", action="append", metavar="START", help="only test files that begin so; repeatable")
    _working(one)


def _working(one: argparse.ArgumentParser) -> None:
    if "--workers" not in one._option_string_actions:
        one.add_argument("--workers", type=whole(1), default=1, metavar="N", help="processes (default: 1)")


def _drawing(one: argparse.ArgumentParser) -> None:
    one.add_argument("--size", type=whole(1), default=100, metavar="N", help="faults a package (default: 100)")
    one.add_argument("--seed", type=whole(0), default=0, help="of the order in which they are drawn (default: 0)")


def _running(one: argparse.ArgumentParser) -> None:
    _working(one)
    one.add_argument("--first", type=whole(1), metavar="N", help="only the first so many of every package")
    one.add_argument("--area", action="append", metavar="NAME", help="only this package; may be repeated")
    one.add_argument("--faults", type=Path, metavar="FILE", help="only faults named in a file, in its order")
    one.add_argument("--seconds", type=number, default=60.0, metavar="S", help="of tests a fault, in all (default: 60)")
    one.add_argument("--start", type=number, default=6.0, metavar="S", help="beyond four times what its tests take")
    one.add_argument("--limit", type=number, default=math.inf, metavar="S", help="begin no fault after so long")
    one.add_argument("--again", action="store_true", help="survivors once more: new tests, or more seconds")
    one.add_argument("--tests", action="append", metavar="START", help="by test files that begin so alone; repeatable")


if __name__ == "__main__":
    sys.exit(main())
