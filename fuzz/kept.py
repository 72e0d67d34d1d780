"""What was tried and what was found, kept as records, and shown: a row for every kind of thing that was tried.

    python -m fuzz.faults --stage all --trials 20 --keep results/fuzz
    python -m fuzz.kept                                       the tables of what is committed there

A record holds the counts of one run with its command, commit, versions, processor and the processor time that it took.
A later run of the same name takes its place.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpo_analysis.cli.arguments import Parser
from gpo_analysis.provenance import device, git_state, versions
from gpo_analysis.records import Record, find_records, read_record
from gpo_analysis.runs import replace_record

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "fuzz"
USED = ("python", "numpy", "scipy", "sympy", "torch")


@dataclass(frozen=True)
class Tried:
    """How often something was tried, and what came of it.

    Attributes
    ----------
    what, how : str
        A command, a reader, a program; what was done to it (a column of the table that is shown).
    trials : int
    faults : mapping of str to int
        Faults by kind: nothing of them may be found.
    ends : mapping of str to int
        How the trials ended otherwise.
    """

    what: str
    how: str
    trials: int
    faults: Mapping[str, int]
    ends: Mapping[str, int]

    @classmethod
    def of(cls, what: str, how: str, counted: Counter[str], faults: Sequence[str], trials: str = "trials") -> Tried:
        """Of what was counted: the key of the trials, those of faults, and the rest.

        Parameters
        ----------
        what, how : str
        counted : Counter
        faults : sequence of str
            Keys that are faults.
        trials : str
            The key of the trials.
        """
        ends = {name: int(n) for name, n in sorted(counted.items()) if n and name not in (*faults, trials)}
        return cls(what, how, int(counted[trials]), {name: int(counted[name]) for name in faults}, ends)


class Keeper:
    """Keeps what a program has counted; command and commit are those of the moment when it began.

    Parameters
    ----------
    out : path or None
        The folder of records; None where nothing is kept.
    program : str
        As after ``python -m``.
    about : str
        What is tried, in a line.
    """

    def __init__(self, out: Path | None, program: str, about: str) -> None:
        self.out, self.program, self.about = out, program, about
        words = [word for k, word in enumerate(sys.argv[1:]) if "--keep" not in sys.argv[k : k + 2]]
        self.command = shlex.join(["python", "-m", program, *words])
        self.git = {} if out is None else git_state(ROOT)
        self.seconds = _processor_time()

    def keep(self, part: str, rows: Sequence[Tried], config: Mapping[str, Any]) -> None:
        """Write a record of ``rows``; the processor time is that since the last one.

        Parameters
        ----------
        part : str
            Of what the program tries, where one run writes several records; else empty.
        rows : sequence of Tried
        config : mapping
            Seeds and counts.
        """
        if self.out is None:
            return
        import pandas as pd

        before, self.seconds = self.seconds, _processor_time()
        table = pd.DataFrame(
            [
                {"what": row.what, "how": row.how, "trials": row.trials, "faults": sum(row.faults.values()),
                 "of_faults": json.dumps(dict(row.faults)), "ends": json.dumps(dict(row.ends))}
                for row in rows
            ]
        )  # fmt: skip
        meta = {
            "program": self.program, "about": self.about, "command": self.command,
            "versions": versions(), "device": device(), "git": self.git, "code_hash": str(self.git["commit"]),
            "load": os.getloadavg()[0],
            "cpu_seconds": round(self.seconds - before, 1), "finished": time.strftime("%Y-%m-%d", time.gmtime()),
        }  # fmt: skip
        name = "-".join([self.program.removeprefix("fuzz.").replace("_", "-"), *part.split()])
        replace_record(Record(name, dict(config), table, meta), self.out)


def _processor_time() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def add_keep(parser: argparse.ArgumentParser) -> None:
    """Give a program the option ``--keep``."""
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the counts as a record there (results/fuzz)")


# -- shown -------------------------------------------------------------------------------------------------------------


def programs(out: Path = RESULTS) -> dict[str, list[Record]]:
    """Records by the program that made them."""
    found: dict[str, list[Record]] = {}
    for path in find_records(out):
        record = read_record(path)
        found.setdefault(str(record.meta["program"]), []).append(record)
    return found


def cells(records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of one table: what was tried, how often in which way, the faults, and how it ended."""
    rows = [row for record in records for row in record.table.to_dict("records")]
    hows = list(dict.fromkeys(str(row["how"]) for row in rows))
    body = []
    for what in dict.fromkeys(str(row["what"]) for row in rows):
        own = {str(row["how"]): row for row in rows if row["what"] == what}
        faults, ends = Counter[str](), Counter[str]()
        for row in own.values():
            faults.update({name: n for name, n in json.loads(row["of_faults"]).items() if n})
            ends.update(json.loads(row["ends"]))
        tried = [str(own[how]["trials"]) if how in own else "" for how in hows]
        total = [str(sum(int(row["trials"]) for row in own.values()))] if len(hows) > 1 else []
        body.append([what, *tried, *total, _counts(faults) or "0", _counts(ends)])
    return ["", *hows, *(["all"] if len(hows) > 1 else []), "faults", "ended"], body


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counted.items())


def origins(records: Sequence[Record]) -> list[str]:
    """A line for each command: commit, processor, versions, processor time."""
    by_command: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        commit = str(record.meta["git"]["commit"])[:10] + (", files changed" if record.meta["git"]["dirty"] else "")
        by_command.setdefault((str(record.meta["command"]), commit), []).append(record)
    lines = []
    for (command, commit), several in by_command.items():
        meta = several[-1].meta
        minutes = sum(float(record.meta["cpu_seconds"]) for record in several) / 60
        used = ", ".join(f"{name} {meta['versions'][name]}" for name in USED if name in meta["versions"])
        lines.append(
            f"`{command}`, commit {commit}, {meta['finished']}, {minutes:.1f} minutes of processor time, "
            f"{meta['device']['processor']}, {used}."
        )
    return lines


def page(table: Callable[[list[str], list[list[object]]], str], out: Path = RESULTS) -> str:
    """The documentation's page of them, in Markdown.

    Parameters
    ----------
    table : callable
        From heads and rows to a table of the page.
    out : path
        The folder of records.
    """
    parts = [
        "# Faults put in",
        "What was tried on purpose, how often, and what was found: from the records in `results/fuzz`, which the "
        "programs of `fuzz/` write with `--keep` (`python -m fuzz.kept` prints them). Nothing may be lost, nothing "
        "wrong accepted, and an error is one line; a *fault* is anything else. What a fault is of each program, and "
        "how to run it for longer, stands at the head of its file and in `python -m fuzz.NAME --help`; what was "
        "found before and mended is kept as tests.",
    ]
    for program, records in programs(out).items():
        head, rows = cells(records)
        parts += [
            f"## {program.removeprefix('fuzz.').replace('_', ' ')}",
            str(records[0].meta["about"]),
            table(head, [list(row) for row in rows]),
            "\n".join(f"- {line}" for line in origins(records)),
        ]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables."""
    parser = Parser(prog="python -m fuzz.kept", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--records", type=Path, default=RESULTS, metavar="DIR", help="(default: results/fuzz)")
    options = parser.parse_args(arguments)
    for program, records in programs(options.records).items():
        head, rows = cells(records)
        widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
        print(f"{program}: {records[0].meta['about']}")
        for row in [head, *rows]:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
        print("\n".join(origins(records)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
