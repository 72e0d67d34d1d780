"""A text is a loss in one way, wherever it is typed."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.losses.lookup import get_loss, get_margin_loss


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("savage", "savage"), ("DPO", "logistic"), ("log(1+exp(-z))", "logistic"), ("(1-z)**2", "squared"),
        ("max(0, 1-z)", "hinge"),
    ],
)  # fmt: skip
def test_names_and_expressions(text: str, same: str) -> None:
    z = np.linspace(-4, 4, 9)
    np.testing.assert_allclose(get_margin_loss(text)(z), gpo.get_loss(same)(z), rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("logistc", "did you mean 'logistic'.*; or an expression in z"),
        ("two words", "unknown loss.*; or an expression in z"),
        ("log(1+exp(-y))", "neither a name .* nor an expression"),
        ("", "neither a name"),
    ],
)
def test_what_is_neither_says_what_is_accepted(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        get_margin_loss(text)


def test_the_library_takes_an_expression_where_it_takes_a_name() -> None:
    text, same = "exp(-z)", "exponential"
    problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]))
    assert gpo.analyze(text).curvature_ratio == gpo.analyze(same).curvature_ratio
    assert problem.solve(text, 0.5).kl == pytest.approx(problem.solve(same, 0.5).kl, rel=1e-12)
    grids = [gpo.solve_grid([problem], name, [0.3]) for name in (text, same)]
    assert grids[0]["kl"][0] == pytest.approx(grids[1]["kl"][0], rel=1e-12)
    assert gpo.equivalent_beta(0.1, "dpo", text) == pytest.approx(0.05)
    trained = gpo.train(problem, text, 0.5, learning_rate=1.0, steps=3).table["kl"]
    np.testing.assert_allclose(trained, gpo.train(problem, same, 0.5, learning_rate=1.0, steps=3).table["kl"])


def test_the_names_without_formulas_are_those_of_the_losses() -> None:
    from gpo_analysis import loss_names
    from gpo_analysis.losses import get_two_ratio_loss
    from gpo_analysis.losses.catalogue import _catalogue

    assert {name: loss.aliases for name, loss in _catalogue().items()} == loss_names.OF_MARGINS
    assert list(_catalogue()) == list(loss_names.OF_MARGINS)
    assert {name: get_two_ratio_loss(name).aliases for name in loss_names.OF_TWO_RATIOS} == loss_names.OF_TWO_RATIOS
    for name in (*loss_names.proper_names(loss_names.OF_MARGINS), *loss_names.EXO):
        assert loss_names.why_unknown(name) is None
        loss_names.check_loss_name(name)


@pytest.mark.parametrize("text", ["hinje", "simpo", "aot", "DPO loss", "dpo2"])
def test_a_word_that_is_no_loss_is_refused_with_the_words_of_get_loss(text: str) -> None:
    from gpo_analysis.loss_names import check_loss_name

    with pytest.raises(ValueError, match="expression in z") as early:
        check_loss_name(text)
    with pytest.raises(ValueError, match="expression in z") as late:
        get_loss(text)
    assert str(early.value) == str(late.value)


@pytest.mark.parametrize("name", ["trl:sigmoid", "openrlhf:dpo", " trl:no-such "])
def test_a_library_s_name_is_sent_where_it_is_taken(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown loss .*: that is how a library's loss is written.* convert_beta"):
        get_loss(name)
