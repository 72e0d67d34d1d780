"""Fits of real comparisons, against published abilities and choix."""

from __future__ import annotations

import json

import choix
import numpy as np
import pytest

from gpo_analysis.datasets import PUBLISHED_JOURNAL_ABILITIES, load_journals
from gpo_analysis.estimation import fit_comparisons
from gpo_analysis.preferences import Comparisons

PAPER = ["logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage"]


def test_journals_agree_with_the_published_abilities_and_with_choix():
    games = load_journals()
    scores = fit_comparisons(games, ["logistic"]).solutions["logistic"].scores
    published = [PUBLISHED_JOURNAL_ABILITIES[name] for name in games.items]
    np.testing.assert_allclose(scores - scores[0], published, atol=5e-4)
    wins = games.matrix().toarray()
    data = [(i, j) for i in range(4) for j in range(4) for _ in range(int(wins[i, j]))]
    other = choix.ilsr_pairwise(4, data, alpha=0.0, tol=1e-12)
    np.testing.assert_allclose(scores, other - other.mean(), atol=1e-6)


def test_all_losses_by_default_with_diagnostics_and_differences():
    fits = fit_comparisons(load_journals())
    assert list(fits.solutions) == PAPER
    assert all(s.converged for s in fits.solutions.values())
    assert fits.diagnostics.condorcet_winner == 3
    assert len(fits.differences) == 15
    by_name = {(d.first, d.second): d for d in fits.differences}
    near = by_name["logistic", "exponential"]
    assert near.kendall_tau == pytest.approx(1.0)
    assert near.score_ratio == pytest.approx(0.5, abs=0.01), "κ of logistic over κ of exponential"
    a, b = fits.solutions["logistic"], fits.solutions["exponential"]
    assert near.total_variation == pytest.approx(0.5 * np.abs(a.policy - b.policy).sum())
    assert near.largest_score_difference == pytest.approx(np.abs(a.scores - b.scores).max())
    assert near.kl == pytest.approx(float(a.policy @ np.log(a.policy / b.policy)))
    frame = fits.scores()
    assert frame.index.tolist() == list(load_journals().items)
    assert frame.columns.tolist() == PAPER


def test_scores_do_not_depend_on_beta_and_policies_do():
    one, two = (fit_comparisons(load_journals(), ["squared"], beta).solutions["squared"] for beta in (1.0, 0.1))
    np.testing.assert_allclose(one.scores, two.scores, atol=1e-12)
    assert np.abs(one.policy - two.policy).max() > 0.1


def test_to_dict_is_json_with_null_for_what_there_is_not():
    games = Comparisons.from_pairs([("a", "b", 2), ("b", "a", 1), ("b", "c", 1)])
    fits = fit_comparisons(games)
    plain = json.loads(json.dumps(fits.to_dict(), allow_nan=False))
    assert plain["items"] == ["a", "b", "c"]
    assert set(plain["fits"]) == set(PAPER)
    logistic, hinge, squared = (plain["fits"][name] for name in ("logistic", "hinge", "squared"))
    assert logistic["scores"] is None
    assert logistic["policy"] is None
    assert logistic["converged"] is False
    assert logistic["status"] == "no finite optimum"
    assert logistic["representative_scores"] is None
    assert hinge["status"] == "not unique"
    assert sum(hinge["representative_scores"]) == pytest.approx(0, abs=1e-9)
    assert squared["converged"] is True
    assert sum(squared["scores"]) == pytest.approx(0, abs=1e-12)
    assert sum(squared["policy"]) == pytest.approx(1)
    assert plain["differences"][0]["kendall_tau"] is None
    assert plain["diagnostics"]["condorcet_winner"] is None


def test_it_shows_itself():
    fits = fit_comparisons(load_journals(), ["logistic", "squared"])
    for text in (str(fits), repr(fits), fits._repr_html_()):
        assert "JRSS-B" in text
        assert "cyclic triples" in text
        assert "optimum" in text
    long = Comparisons(np.arange(39), np.arange(1, 40))
    assert "… 10 more" in str(fit_comparisons(long, ["squared"]))


def test_a_reference_moves_the_policy_and_not_the_scores():
    games = load_journals()
    plain = fit_comparisons(games, ["logistic"]).solutions["logistic"]
    tilted = fit_comparisons(games, ["logistic"], reference=[0.7, 0.1, 0.1, 0.1]).solutions["logistic"]
    np.testing.assert_allclose(plain.scores, tilted.scores, atol=1e-9)
    expected = np.array([0.7, 0.1, 0.1, 0.1]) * np.exp(plain.scores)
    np.testing.assert_allclose(tilted.policy, expected / expected.sum(), rtol=1e-9)


@pytest.mark.parametrize(
    ("losses", "beta", "message"),
    [
        ([], 1.0, "at least one"),
        (["dpo", "logistic"], 1.0, "there twice"),
        (["dpo"], -1.0, "beta"),
        (["x"], 1.0, "x"),
    ],
)
def test_bad_arguments_are_refused(losses, beta, message):
    with pytest.raises(ValueError, match=message):
        fit_comparisons(load_journals(), losses, beta)
