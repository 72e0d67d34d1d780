"""What is computed of one loss alone is computed of its name and of its text too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gpo_analysis as gpo
from gpo_analysis import analysis

ASKED = [
    analysis.calibration,
    analysis.closed_bayes_risk,
    analysis.closed_conjugate,
    analysis.closed_link,
    analysis.taylor_radius,
]


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__)
def test_a_name_a_text_and_the_loss_have_one_answer(ask: Callable[[Any], Any]) -> None:
    assert ask("dpo") is ask(gpo.get_loss("logistic"))
    assert repr(ask("exp(-z)")) == repr(ask(gpo.parse_loss("exp(-z)")))


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__)
@pytest.mark.parametrize("wrong", ["logistics", 3, None, "nca_pair"])
def test_what_is_no_loss_of_one_margin_is_refused(ask: Callable[[Any], Any], wrong: object) -> None:
    with pytest.raises(ValueError, match=str(wrong)):
        ask(wrong)
