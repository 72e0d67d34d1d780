"""What users are shown is what was approved: words alike, numbers near; see `tests/approved/texts.py`."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.approved.cases import CASES
from tests.approved.texts import differences, path_of

NEEDS = {"page": "panel"}
#: They write parts of what is shown in ways of their own; the texts are those of the versions in constraints.txt.
WRITERS = ("numpy", "pandas", "sympy", "matplotlib", "click")
PINS = Path(__file__).parents[2].joinpath("constraints.txt").read_text(encoding="utf-8")
PINNED = dict(re.findall(r"^([\w-]+)==(\d+\.\d+)", PINS, re.MULTILINE))
OTHER = [name for name in WRITERS if not f"{version(name)}.".startswith(PINNED[name] + ".")]


@pytest.mark.skipif(bool(OTHER), reason=f"the texts were approved with other versions of {', '.join(OTHER)}")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("case", CASES)
def test_it_is_what_was_approved(case: str) -> None:
    needed = NEEDS.get(case)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    found = differences(CASES[case](), path_of(case).read_text(encoding="utf-8"))
    assert not found, "\n".join([*found, f"if that is meant: python -m tests.approved '{case}'"])


def test_differences_are_found_and_roundings_forgiven() -> None:
    assert differences("κ = 0.12345, 3 of 4", "κ = 0.12346, 3 of 4") == []
    assert differences("κ = 0.12345", "κ = 0.12348") != []
    assert differences("x 1.00000001e-3 y", "x 1.0e-3 y") == []
    assert differences("3 of 4", "3 of 5") != []
    assert differences("a β", "a b") != []
    assert differences("one\ntwo", "one") == ["2 lines instead of 1"]
    assert differences("kl,-0.5", "kl,0.5") != []
