"""What is refused before computer algebra is loaded: in the parser's own words, and nothing that the parser reads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gpo_analysis.formula_words import FUNCTION_NAMES, HINTS, MODIFIERS, SPECIAL, check_loss_text
from gpo_analysis.losses import get_loss
from gpo_analysis.losses.words import FUNCTIONS

MISTYPED = (
    "log(csh(1-z))", "lgo(1+exp(-z))", "sin(z)", "max(0, 1-z)**2 + sgn(z)", "huber(1-z)", "exp(-softmax(a-b))",
    "  2*Sigmid(z)^2 ", "where(z, 1-z, 0)", "log(1+exp(-z)) + " + "z + " * 20 + "csh(z)", "asinh(z)", "soft_plus(-z)",
)  # fmt: skip
#: Taken by the parser, or refused with another text that it proposes.
LEFT_TO_THE_PARSER = (
    "log(cosh(1-z))", "LogSigmoid(z)", "ReLU(1-z)", "pow(1-z, 2)", "clamp(1-z, min=0)", "smoothed(dpo, 0.1)",
    "exo_pair(0.1)", "kto(0, 2, 1)", "nn.ReLU()(1-z)", "log(1+exp(-x))", "z(1-z)", "csh (1-z)", "c(1-z)", "a*csh(q)",
    "f(z) = csh(z)", "lambda x: csh(x)", "logistic(z)", "log(1+exp(-z)", "csh(z) + tnh(z)", "1-z if z else 0",
    "DPO", "-log(sigmoid(a)) - log(sigmoid(-b))", "|csh(z)|", "2csh(z)", "", "csh(z) with c=1", "csh(z=1)",
)  # fmt: skip


def test_the_names_are_those_that_the_parser_builds() -> None:
    assert tuple(FUNCTIONS) == FUNCTION_NAMES
    assert not (set(HINTS) | set(SPECIAL) | set(MODIFIERS)) & set(FUNCTIONS)


@pytest.mark.parametrize("text", MISTYPED)
def test_a_mistyped_function_is_refused_in_the_parser_s_words(text: str) -> None:
    with pytest.raises(ValueError, match="unknown function") as early:
        check_loss_text(text)
    with pytest.raises(ValueError, match="unknown function") as parsed:
        get_loss(text)
    assert str(early.value) == str(parsed.value)


def _refused(text: str) -> str:
    """Why, or "" where it is not."""
    try:
        check_loss_text(text)
    except ValueError as why:
        return str(why)
    return ""


@pytest.mark.parametrize("text", LEFT_TO_THE_PARSER)
def test_what_may_mean_something_else_is_left_to_the_parser(text: str) -> None:
    assert _refused(text) == ""


def test_it_takes_no_computer_algebra() -> None:
    code = "import sys\nfrom gpo_analysis.cli import main\ntry: main(['analyze', 'log(csh(1-z))'])\n"
    code += "except SystemExit as end: print(end.code, 'sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["2", "False"]
    assert "unknown function 'csh'" in done.stderr
