"""The tests that may notice a fault: those that execute its statement, cheapest and most different first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutation.areas import pool
from mutation.contexts import known
from mutation.faults import Mutant

#: Processor seconds of the tests that are tried first, together; what they do not notice goes to three times as many.
FIRST, MORE = 2.0, 3.0
#: Where no more tests of a file than this execute a statement, it may stand behind a cache that the first of them
#: filled; then all tests of those files may notice a fault in it.
FEW = 2
#: Test files whose cases have nothing in common but how they are compared.
CASES_APART = ("tests/approved/",)
#: A test file is collected as a whole; seconds that one more of them costs.
COLLECTING = 0.3


@dataclass(frozen=True)
class Chosen:
    """One test and what it costs."""

    test: str
    unit: str
    seconds: float


class Contexts:
    """What is known of all test files, or of those that begin so: which lines each test executes, and its time."""

    def __init__(self, root: Path, folder: Path, starts: tuple[str, ...] = ()) -> None:
        self.some = bool(starts)
        self.lines: dict[str, dict[int, int]] = {}  # file → line → its tests, as bits
        self.tests: list[Chosen] = []
        self.missing: list[str] = []
        for unit in pool(root):
            if starts and not unit.startswith(starts):
                continue
            record = known(unit, root, folder)
            if record is None:
                self.missing.append(unit)
            else:
                self._add(unit, record)

    def _add(self, unit: str, record: dict[str, Any]) -> None:
        users: dict[str, int] = {}
        for test, outcome in record["outcome"].items():
            if outcome == "passed":
                bit = 1 << len(self.tests)
                self.tests.append(Chosen(test, unit, record["seconds"][test]))
                users[test] = users.get(test, 0) | bit
                for fixture in record["fixtures"][test]:
                    users[f"fixture {fixture}"] = users.get(f"fixture {fixture}", 0) | bit
        for context, files in record["lines"].items():
            bits = users.get(context, 0)
            for file, numbers in files.items() if bits else ():
                at = self.lines.setdefault(file, {})
                for number in numbers:
                    at[number] = at.get(number, 0) | bits

    def tests_of(self, mutant: Mutant) -> list[Chosen]:
        """The tests that execute a fault's statement; where it takes effect on import, those that use the module."""
        at = self.lines.get(mutant.file, {})
        numbers: Iterable[int] = range(mutant.lines[0], mutant.lines[1] + 1) if mutant.inside else at
        bits = 0
        for number in numbers:
            bits |= at.get(number, 0)
        own, module = Path(mutant.file).parent.name, Path(mutant.file).stem
        if not mutant.inside:  # those first that execute much of the module for what they cost
            uses = {test.test: sum(bits >> place & 1 for bits in at.values()) for place, test in enumerate(self.tests)}
            # a test that compares a table of the module with something executes no line of it
            chosen = [test for test in self.tests if uses[test.test] or test.unit.endswith(f"/test_{module}.py")]
            return self._ordered(chosen, own, module, uses)
        first = [test for place, test in enumerate(self.tests) if bits >> place & 1]
        units = {test.unit for test in first}
        if len(first) > FEW * len(units):
            return self._ordered(first, own, module)
        names = {test.test for test in first}
        others = [test for test in self.tests if test.unit in units and test.test not in names]
        return self._ordered(first, own, module) + self._ordered(others, own, module)

    def _ordered(self, tests: list[Chosen], own: str, module: str, uses: dict[str, int] | None = None) -> list[Chosen]:
        """The cheapest first, later the more cases of its function went before; own file, then own folder first."""

        def weight(test: Chosen) -> float:
            away = 1.0 if test.unit.endswith(f"/test_{module}.py") else 2.0 if f"/{own}/" in test.test else 6.0
            return test.seconds * away / max(1, (uses or {}).get(test.test, 1))

        seen: Counter[str] = Counter()
        dear: dict[str, float] = {}
        for test in sorted(tests, key=lambda test: (weight(test), test.test)):
            function = (
                test.test if test.unit.startswith(CASES_APART) else re.sub(r"\[.*", "", test.test, flags=re.DOTALL)
            )
            dear[test.test] = weight(test) * (1.0 + seen[function] / (20 if f"/{own}/" in test.test else 4))
            seen[function] += 1
        return sorted(tests, key=lambda test: (dear[test.test], test.test))


def parts(tests: list[Chosen], seconds: float) -> tuple[list[list[Chosen]], int]:
    """Tests in the parts in which they are tried, and how many are too dear to be tried at all."""
    made: list[list[Chosen]] = []
    rest, room = list(tests), min(FIRST, seconds)
    while rest and seconds > 0:
        part: list[Chosen] = []
        left: list[Chosen] = []
        units: set[str] = set()
        used = 0.0
        for test in rest:
            more = test.seconds + (0.0 if test.unit in units else COLLECTING)
            if used + more <= min(room, seconds) or not (part or left or made):
                part.append(test)
                units.add(test.unit)
                used += more
            else:
                left.append(test)
        if part:
            made.append(part)
        elif room >= seconds:
            break
        rest, seconds, room = left, seconds - used, room * MORE
    return made, len(rest)
