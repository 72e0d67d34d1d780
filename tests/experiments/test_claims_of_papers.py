"""The index of claims: every file holds, keeps the form, and a file that is added is found."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import experiments.claims
from experiments.__main__ import main
from experiments.framework import claims
from experiments.framework.discovery import find_experiments

FOLDER = Path(experiments.claims.__file__).parent
NAMES = claims.claim_names()


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_holds(name: str) -> None:
    result = claims.run_claim(name)
    assert result.verdict == "holds", result
    assert np.size(result.computed) >= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_keeps_the_form(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert "Theorem." in text
    assert "\nSource: " in text
    if "REMEMBERED" in text:
        assert "derived here" in text.lower()


def test_there_are_enough_and_they_are_no_experiments() -> None:
    assert len(NAMES) >= 25
    found = {experiment.name for experiment in find_experiments()}
    assert "claims" not in found
    assert not found & {name.replace("_", "-") for name in NAMES}


def test_a_file_that_is_added_is_found_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, computed, kind in (
        ("added_one", 1.0, "exact"),
        ("added_two", 1.5, "exact"),
        ("added_three", 0.5, "at most"),
    ):
        (tmp_path / f"{name}.py").write_text(
            f'CLAIM, SOURCE, KIND = "c", "s", "{kind}"\n\n\ndef compute():\n    return {computed}, 1.0\n'
        )
    (tmp_path / "added_four.py").write_text('CLAIM = SOURCE = "s"\n')
    monkeypatch.setattr(experiments.claims, "__path__", [str(tmp_path)])
    assert claims.claim_names() == ("added_four", "added_one", "added_three", "added_two")
    assert claims.run_claim("added_one").verdict == "holds"
    assert claims.run_claim("added_two").verdict == "contradicted"
    assert claims.run_claim("added_three").verdict == "holds"
    with pytest.raises(ValueError, match=r"added_four.py lacks compute"):
        claims.run_claim("added_four")


@pytest.mark.parametrize(
    ("computed", "stated", "kind", "verdict"),
    [
        (2.0, 1.0, "at most", "contradicted"),
        (2.0, 1.0, "at least", "holds"),
        (0.0, 1.0, "at least", "contradicted"),
        (np.inf, np.inf, "exact", "holds"),
        (1.0, np.inf, "exact", "contradicted"),
        ([1.0, 2.0], [1.0, 2.0 + 1e-12], "exact", "holds"),
    ],
)
def test_judgement(computed: object, stated: object, kind: str, verdict: str) -> None:
    module = ModuleType("m")
    module.CLAIM = module.SOURCE = "x"  # type: ignore[attr-defined]
    module.compute = lambda: (computed, stated)  # type: ignore[attr-defined]
    assert claims._judged("m", module, kind).verdict == verdict


@pytest.mark.parametrize("bad", [(np.nan, 1.0), ([1.0], 1.0), ([], [])])
def test_what_is_no_comparison_is_refused(bad: tuple[object, object]) -> None:
    module = ModuleType("m")
    module.CLAIM = module.SOURCE = "x"  # type: ignore[attr-defined]
    module.compute = lambda: bad  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="not numbers of one shape"):
        claims._judged("m", module, "exact")


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims"]) == 0
    shown = capsys.readouterr().out
    assert f"{len(NAMES)} of {len(NAMES)} claims hold" in shown
    assert "17/4" not in shown
    assert main(["claims", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"name", "claim", "source", "computed", "stated", "verdict"} <= set(rows[0])
    assert [row["name"] for row in rows] == list(NAMES)
