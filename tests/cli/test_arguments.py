"""The parser of the programs beside gpo: values that begin with a minus sign, errors of one line."""

from __future__ import annotations

import pytest

from gpo_analysis.cli.arguments import Parser


@pytest.fixture
def parser() -> Parser:
    made = Parser(prog="python -m x")
    made.add_argument("--loss", nargs="+")
    made.add_argument("--beta", type=float)
    made.add_argument("--flag", action="store_true")
    return made


@pytest.mark.parametrize("words", [["-log(sigmoid(z))"], ["-h(z)", "dpo"], ["-z", "-tanh(z)"], [r"-\log\sigma(z)"]])
def test_a_formula_with_a_minus_sign_first_is_a_value(parser: Parser, words: list[str]) -> None:
    given = parser.parse_args(["--flag", "--loss", *words, "--beta", "-1e-3"])
    assert given.loss == words
    assert given.beta == -1e-3
    assert given.flag


def test_long_options_may_be_shortened_and_hold_their_value(parser: Parser) -> None:
    given = parser.parse_args(["--loss=-z", "--bet", "2", "--fl"])
    assert (given.loss, given.beta, given.flag) == (["-z"], 2.0, True)


@pytest.mark.parametrize("words", [["-bet", "1"], ["--los"], ["--nope"], ["--beta", "--flag"]])
def test_what_is_no_option_is_refused_in_one_line(
    parser: Parser, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parser.parse_args(words)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("x: ")
