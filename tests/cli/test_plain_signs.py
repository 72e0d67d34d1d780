"""What a terminal of ASCII is sent for the signs of this library: names of letters, signs as people type them."""

from __future__ import annotations

import unicodedata

import pytest

from gpo_analysis.cli import streams

GREEK = "αβδεζηκλμπρστφγθω"
TYPED = {
    "Σ": "Sum", "Δ": "Delta", "ℝ": "R", "∈": "in", "∞": "inf", "≥": ">=", "≤": "<=", "≠": "!=", "≈": "~", "≻": ">",
    "→": "->", "←": "<-", "↦": "->", "⇒": "=>", "−": "-", "–": "-", "—": "-", "…": "...", "′": "'", "″": "''",
    "‖": "||", "─": "-", "·": "*", "×": "x", "½": "1/2", "¼": "1/4", "²": "^2", "³": "^3", "ᵖ": "^p", "±": "+-",
    "√": "sqrt", "∪": "U", "“": '"', "”": '"', "‘": "'", "’": "'", "„": '"', "°": " deg", "∘": "o", "∂": "d",
    "∫": "int", "≡": "=", "µ": "mu",
}  # fmt: skip


@pytest.mark.parametrize("letter", GREEK)
def test_letters_are_named(letter: str) -> None:
    name = unicodedata.name(letter).removeprefix("GREEK SMALL LETTER ").lower().replace("lamda", "lambda")
    assert f"2{letter}".encode("ascii", "gpo-plain") == f"2{name}".encode()


@pytest.mark.parametrize("sign", TYPED)
def test_signs_are_typed(sign: str) -> None:
    assert f"a{sign}b".encode("ascii", "gpo-plain") == f"a{TYPED[sign]}b".encode()


def test_other_characters_are_escaped_and_decoding_is_not_meant() -> None:
    assert "é漢".encode("ascii", "gpo-plain") == b"\\xe9\\u6f22"
    with pytest.raises(UnicodeDecodeError):
        b"\xe9".decode("ascii", "gpo-plain")


def test_ascii_under_its_own_name_says_so() -> None:
    found = streams._own_ascii("gpo_ascii")
    assert found is not None
    assert found.name == "gpo-ascii"
    assert found.encode("a", "strict") == (b"a", 1)
    assert streams._own_ascii("latin-1") is None
