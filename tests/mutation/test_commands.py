"""What ``python -m mutation`` says where something is wrong: one line, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutation.__main__ import main


@pytest.mark.parametrize("verb", ["run", "report", "plan", "tests"])
def test_what_is_not_there_yet_is_named(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "none"), verb]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mutation: {tmp_path / 'none'}/")
    assert "is not there; python -m mutation" in line


def test_a_folder_of_others_is_not_emptied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").touch()
    assert main(["--out", str(tmp_path), "trace", "--fresh"]) == 1
    assert "nothing in it was removed" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("words", [("run", "--workers", "0"), ("trace", "--most", "nan"), ("plan", "--size", "\x1b")])
def test_numbers_that_are_none_are_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    (line,) = capsys.readouterr().err.splitlines()
    assert words[1] in line
    assert line.isprintable()
