"""The bounded part of ``python -m fuzz.studies``, and that it finds a fault when one is put in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import llm.storage.checkpoints
from fuzz.studies import after, main, run, tables


def test_nothing_goes_wrong_in_a_few_trials(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--trials", "6", "--seed", "7"]) == 0
    said = capsys.readouterr().out
    assert "6 trials" in said
    assert [line.split()[-4:] for line in said.splitlines()[1:4]] == [["0"] * 4] * 3


def test_a_fault_that_is_put_in_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checksum of tensors a policy with other numbers is evaluated as if it were the one trained."""
    monkeypatch.setattr(llm.storage.checkpoints, "_checksum", lambda tensors, meta: "none")
    run(tmp_path / "whole")
    expected = tables(tmp_path / "whole")
    folder = Path(shutil.copytree(tmp_path / "whole", tmp_path / "study"))
    assert not after(folder, expected, "nothing was done to it")
    policy = sorted(folder.glob("sweep/stacks/*/policy-*"))[0]
    data = bytearray(policy.read_bytes())
    data[-400:] = bytes(400)
    policy.write_bytes(bytes(data))
    shutil.rmtree(folder / "evaluations")
    assert after(folder, expected, "zeroed")["accepted"] == 1
    (folder / ".writing-00000001").mkdir()
    assert after(folder, expected, "left")["litter"] == 1
