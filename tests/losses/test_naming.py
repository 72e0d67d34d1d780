"""A text is a loss in one way, wherever it is typed."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.losses.naming import find_loss


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("savage", "savage"), ("DPO", "logistic"), ("log(1+exp(-z))", "logistic"), ("(1-z)**2", "squared"),
        ("max(0, 1-z)", "hinge"),
    ],
)  # fmt: skip
def test_names_and_expressions(text: str, same: str) -> None:
    z = np.linspace(-4, 4, 9)
    np.testing.assert_allclose(find_loss(text)(z), gpo.get_loss(same)(z), rtol=1e-12)


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
        find_loss(text)
