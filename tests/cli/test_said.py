"""Lines of the command that depend on what is installed or typed, worked out by hand."""

from __future__ import annotations

import json

import pytest

from gpo_analysis.cli.conventions import _show
from gpo_analysis.cli.output import print_json
from tests.cli.inside import Gpo


def test_verdicts_of_a_library_are_a_table_with_their_counts(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"name": "dpo", "library": "trl", "version": "9.1", "agrees": True, "by": "formula"},
        {"name": "longer name", "library": "trl", "version": "9.1", "agrees": False, "by": "1 pair of 9"},
        {"name": "aot", "library": "trl", "version": "9.1", "agrees": None, "by": ""},
        {"name": "ipo", "library": "trl", "version": "9.1", "agrees": True, "by": "formula"},
    ]
    _show(rows)
    assert capsys.readouterr().out.splitlines() == [
        "trl 9.1",
        "dpo          agrees       formula",
        "longer name  DIFFERS      1 pair of 9",
        "aot          not covered",
        "ipo          agrees       formula",
        "2 agrees, 1 differs, 1 not covered",
    ]


@pytest.mark.parametrize("character", ["\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\ud83d", "\U000e0041", "\u2028"])
def test_json_holds_what_a_terminal_would_obey_as_escapes(character: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": f"a{character}b"})
    said = capsys.readouterr().out
    assert character not in said
    assert json.loads(said) == {"name": f"a{character}b"}


@pytest.mark.parametrize("formula", ["-h(z)", "-j(z)"])
def test_a_formula_with_a_minus_sign_is_no_option(formula: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = Gpo(capsys)("analyze", formula)
    assert code == 2
    assert "cannot read" in err
    assert Gpo(capsys).document("analyze", "-tanh(z)")["name"] == "-tanh(z)"
