"""What a ranking refuses, with what to do in its place."""

from __future__ import annotations

import numpy as np
import pytest

from gpo_analysis.losses import get_loss
from gpo_analysis.preferences import Comparisons
from gpo_analysis.ranking import rank


def test_a_ridge_on_a_kinked_loss_is_refused_with_what_takes_one() -> None:
    games = Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1), ("b", "c", 2), ("c", "b", 1)])
    with pytest.raises(ValueError, match=r"hinge has kinks: it takes no ridge.* leave it out.* truncated_quadratic"):
        rank(games, "slic", ridge=0.01)
    assert rank(games, "truncated_quadratic", ridge=0.01).converged
    z = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(get_loss("truncated_quadratic")(z), get_loss("hinge")(z) ** 2)
