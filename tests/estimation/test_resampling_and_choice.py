"""Bootstrap of scores and held-out choice, against closed forms and independent computations."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.estimation import resampled
from gpo_analysis.estimation.choice import link_probability
from gpo_analysis.preferences import Comparisons

GAMES = Comparisons.from_pairs([("a", "b", 60), ("b", "a", 40)])


def test_resamples_keep_the_total_and_vary() -> None:
    drawn = [again.total for again in resampled(GAMES, 20, seed=0)]
    assert drawn == [100.0] * 20
    shares = {again.count[0] for again in resampled(GAMES, 20, seed=0)}
    assert len(shares) > 3


def test_standard_error_of_two_items_is_the_delta_method() -> None:
    found = gpo.bootstrap_scores(GAMES, "dpo", resamples=4000)
    assert found.scores[0] == pytest.approx(np.log(1.5) / 2, abs=1e-9)
    assert found.standard_error[0] == pytest.approx(0.5 / np.sqrt(100 * 0.6 * 0.4), rel=0.06)
    squared = gpo.bootstrap_scores(GAMES, "ipo", resamples=4000)
    assert squared.standard_error[0] == pytest.approx(np.sqrt(0.6 * 0.4 / 100), rel=0.05)
    assert 0.95 < found.first_share[0] <= 1


def test_resamples_without_a_fit_are_counted_and_open_the_interval() -> None:
    found = gpo.bootstrap_scores(Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1)]), "dpo", resamples=1000)
    assert found.without_fit / 1000 == pytest.approx(0.75**4 + 0.25**4, abs=0.05)
    assert np.isinf(found.low).all()
    assert np.isinf(found.high).all()
    assert found.to_dict()["low"] == [None, None]


@pytest.mark.parametrize("name", ["logistic", "squared", "exponential", "savage", "truncated_quadratic"])
def test_probability_inverts_the_link(name: str) -> None:
    eta = np.array([0.1, 0.3, 0.5, 0.8, 0.95])
    np.testing.assert_allclose(link_probability(name, gpo.optimal_margin(name, eta)), eta, atol=1e-9)


def test_held_out_likelihood_of_two_items() -> None:
    found = gpo.choose_loss(GAMES, ["logistic", "squared", "hinge"], folds=4)
    label = np.repeat([1.0, 0.0], [60, 40])
    np.random.default_rng([0, 0]).shuffle(label)
    expected = 0.0  # by hand: each label under the share of the other three folds
    for k in range(4):
        q = np.delete(label, np.arange(k, 100, 4)).mean()
        expected += np.log(np.where(label[k::4] == 1, q, 1 - q)).sum() / 100
    for row in found.rows:
        assert row.log_likelihood.value == pytest.approx(expected, abs=1e-6)
        assert row.accuracy.value == pytest.approx(0.6)
    assert found.rows[2].scaled_log_likelihood == found.rows[2].log_likelihood.value  # hinge has no probabilities
    assert set(found.as_good) == {"logistic", "squared", "hinge"}  # two items: one number, the same for all
    others = [name for name in ("logistic", "squared", "hinge") if name != found.chosen]
    assert f"best: {found.chosen}; not told apart from it: {', '.join(others)}" in str(found)


def test_the_loss_whose_model_is_true_wins_with_enough_labels() -> None:
    problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0, 3.0, 4.5]))
    found = gpo.choose_loss(problem.sample(20000, seed=0), ["squared", "logistic"])
    assert found.chosen == "logistic"
    assert found.as_good == ("logistic",)
    best = found.rows[1].log_likelihood.value
    mass = problem.pair_weights()[0] if problem.pair_weights().ndim == 3 else problem.pair_weights()
    p = gpo.bradley_terry([0.0, 1.0, 2.0, 3.0, 4.5])
    off = ~np.eye(5, dtype=bool)
    assert best == pytest.approx(float((mass[off] * np.log(p[off])).sum() / mass[off].sum()), abs=0.01)


def test_a_linear_truth_is_squareds() -> None:
    scores = np.linspace(0.0, 0.9, 5)
    p = (1 + scores[:, None] - scores) / 2
    found = gpo.choose_loss(gpo.PreferenceProblem(p).sample(20000, seed=0), ["logistic", "squared"])
    assert found.chosen == "squared"
    assert found.as_good == ("squared",)
    assert str(found).endswith("\nbest: squared")


def test_folds_without_a_fit_are_not_judged() -> None:
    found = gpo.choose_loss(Comparisons.from_pairs([("a", "b", 10)]), ["dpo", "ipo"], folds=2)
    assert found.rows[0].without_fit == 2
    assert found.chosen == "squared"
    assert "no finite fit" in str(found)


@pytest.mark.parametrize(
    ("data", "arguments", "word"),
    [
        (GAMES, {"folds": 1}, "folds"), (GAMES, {"folds": 101}, "folds"), (GAMES, {"smoothing": 0.7}, "smoothing"),
        (Comparisons.from_pairs([("a", "b", 1.5)]), {}, "fractions"),
    ],
)  # fmt: skip
def test_bad_input_is_named(data: Comparisons, arguments: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        gpo.choose_loss(data, **arguments)


@pytest.mark.parametrize(("loss", "defeats"), [("squared", 0), ("hinge", 10)])
def test_scores_that_no_resample_moves_have_no_interval_of_no_width(loss: str, defeats: int) -> None:
    found = gpo.bootstrap_scores(Comparisons.from_pairs([("a", "b", 90), ("b", "a", defeats)]), loss, resamples=20)
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()
    assert np.isnan(found.standard_error).all()
    assert "all resamples give the same score to 2 of 2 items" in found.reason
    assert found.to_dict()["low"] == [None, None]
