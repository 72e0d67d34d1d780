"""Settings in YAML and TOML: whatever stands in a file, its values or one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpo_analysis.reading import in_short, setting_of, settings_in, yaml_of

pytest.importorskip("yaml")  # of an extra

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
NOT_YAML = (
    "9" * 5000, "2001-02-30", "[" * 3000, "!!int x", "!!bool x", "!!timestamp 9", "0x_", "1:" * 400 + "1.5", "a: [",
    "*a", "\x00", "{lr: 1, lr: 2}",
)  # fmt: skip


@pytest.mark.parametrize("text", NOT_YAML, ids=lambda text: ascii(text[:12]))
def test_what_yaml_cannot_mean_is_a_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        yaml_of(text)
    assert len(str(raised.value).splitlines()) == 1
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"run\.yaml: malformed YAML"):
        settings_in(file, "options")


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 3000, "a = 2001-02-30", "a = 1\na = 2"])
def test_what_toml_cannot_mean_is_a_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"run\.toml: malformed TOML") as raised:
        settings_in(file, "options")
    assert len(str(raised.value).splitlines()) == 1


def test_files_are_named_and_read(tmp_path: Path) -> None:
    for data, words in (
        (b"\xff\xfea", "is not UTF-8 .byte 0.; accepted are options as UTF-8"),
        (b"- a\n", "holds list; accepted are options, each with its value"),
        (b"[]", "holds list"),
        (b"0", "holds int"),
    ):
        (tmp_path / "a.yml").write_bytes(data)
        with pytest.raises(ValueError, match=rf"a\.yml {words}"):
            settings_in(tmp_path / "a.yml", "options")
    (tmp_path / "a.ini").touch()
    with pytest.raises(ValueError, match=r"a\.ini: accepted are files that end in"):
        settings_in(tmp_path / "a.ini", "options")
    with pytest.raises(FileNotFoundError, match=r"b\.yaml is no file; accepted is a YAML or TOML file of options"):
        settings_in(tmp_path / "b.yaml", "options")
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert settings_in(tmp_path / "a.yaml", "options") == {}
    (tmp_path / "a.yaml").write_bytes("\ufeff1: x\nlr: 1e-5\n".encode())
    assert settings_in(tmp_path / "a.yaml", "options") == {"1": "x", "lr": "1e-5"}


def test_a_value_is_of_its_type_to_the_last_digit() -> None:
    assert setting_of(int, "9007199254740993", "seed") == setting_of(int, 2**53 + 1, "seed") == 2**53 + 1
    assert setting_of(int, 1e3, "steps") == setting_of(int, "1e3", "steps") == 1000
    assert isinstance(setting_of(int, 1e3, "steps"), int)
    assert setting_of(float, "1e-5", "lr") == 1e-5
    wrong = ((int, 2.5), (int, True), (int, 10**400), (float, 10**400), (float, "nan"), (float, None), (str, 1),
             (bool, 1), (int, [1]), (float, 1 << 20_000))  # fmt: skip
    for kind, value in wrong:
        with pytest.raises(ValueError, match=r"^run\.yaml: it is .*; accepted is") as raised:
            setting_of(kind, value, "run.yaml: it")
        assert len(str(raised.value)) < 140


def test_lists_of_a_billion_are_said_in_short() -> None:
    """Nine aliases within nine, eight times over: to write them out would never end."""
    assert len(in_short(yaml_of(BOMB))) <= 60
    with pytest.raises(ValueError, match="lr is"):
        setting_of(float, yaml_of(BOMB)["i"], "lr")
