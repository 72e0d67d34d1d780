"""Diagnostics against loops over all triples, and the Hodge split against numpy's least squares."""

from __future__ import annotations

import json
import sys
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.preferences import Comparisons, hodge, hodge_split, pair_shares


def random_preference(n, seed, steps=4):
    """Entries are multiples of 1/steps, so that ties and certain pairs occur."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.integers(0, steps + 1, size=(n, n)) / steps, 1)
    return upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n)


def by_loops(p, compared):
    """Everything from the definitions: violations, decided and cyclic triples."""
    n = len(p)
    seen = [t for t in combinations(range(n), 3) if all(compared[a, b] for a, b in combinations(t, 2))]
    weak = strong = decided = cyclic = 0
    for triple in seen:
        for i, j, k in permutations(triple):
            if p[i, j] >= 0.5 and p[j, k] >= 0.5:
                weak += p[i, k] < 0.5
                strong += p[i, k] < max(p[i, j], p[j, k])
        if all(p[a, b] != 0.5 for a, b in combinations(triple, 2)):
            decided += 1
            wins = [sum(p[a, b] > 0.5 for b in triple if b != a) for a in triple]
            cyclic += wins == [1, 1, 1]
    return weak, strong, decided, cyclic


@given(st.integers(0, 10**6), st.integers(2, 8), st.floats(0.3, 1.0))
def test_triples_agree_with_loops(seed, n, density):
    p = random_preference(n, seed)
    rng = np.random.default_rng(seed)
    compared = np.triu(rng.random((n, n)) < density, 1)
    compared[0, 1] = True
    compared = compared | compared.T
    found = gpo.diagnostics(p, compared.astype(float))
    weak, strong, decided, cyclic = by_loops(p, compared)
    assert (found.weak_violations, found.strong_violations) == (weak, strong)
    assert (found.decided_triples, found.cyclic_triples) == (decided, cyclic)
    assert found.weakly_transitive == (weak == 0)
    assert found.strongly_transitive == (strong == 0)
    assert found.pairs == compared.sum() / 2
    assert found.ties == np.sum(np.triu(compared) & (p == 0.5))
    if decided:
        assert found.cyclic_share == cyclic / decided
    else:
        assert np.isnan(found.cyclic_share)


def test_bradley_terry_is_strongly_transitive_and_free_of_log_odds_cycles():
    rewards = np.random.default_rng(0).normal(size=6)
    found = gpo.diagnostics(gpo.bradley_terry(rewards), flow="log_odds")
    assert found.strongly_transitive
    assert found.weakly_transitive
    assert found.condorcet_winner == int(np.argmax(rewards))
    assert np.argmax(found.borda) == np.argmax(rewards)
    assert found.hodge.cyclic_share == pytest.approx(0, abs=1e-14)
    np.testing.assert_allclose(found.hodge.scores, rewards - rewards.mean(), atol=1e-10)
    assert gpo.diagnostics(gpo.bradley_terry(rewards)).hodge.cyclic_share > 1e-6, "2P − 1 is not a gradient under BT"


def test_weakly_but_not_strongly_transitive():
    p = np.array([[0.5, 0.9, 0.6], [0.1, 0.5, 0.9], [0.4, 0.1, 0.5]])
    found = gpo.diagnostics(p)
    assert found.weakly_transitive
    assert not found.strongly_transitive
    assert found.strong_violations == 1


def test_borda_weighs_opponents():
    p = gpo.deterministic([2.0, 1.0, 0.0])
    np.testing.assert_allclose(gpo.diagnostics(p).borda, [1, 0.5, 0])
    np.testing.assert_allclose(gpo.diagnostics(p, [0.6, 0.1, 0.3]).borda, [1, 0.3 / 0.9, 0])
    assert np.isnan(gpo.diagnostics(p, [0.5, 0.5, 0.0]).borda[2])


def test_condorcet_winner_has_to_meet_everybody():
    games = Comparisons.from_pairs([("a", "b"), ("a", "c"), ("b", "c")])
    assert gpo.diagnostics(games).condorcet_winner == 0
    games = Comparisons.from_pairs([("a", "b"), ("b", "c")])
    assert gpo.diagnostics(games).condorcet_winner is None
    assert gpo.diagnostics(gpo.cyclic(3, 0.2)).condorcet_winner is None


def test_comparisons_agree_with_their_matrix():
    rng = np.random.default_rng(4)
    wins = rng.integers(0, 4, size=(7, 7)).astype(float)
    np.fill_diagonal(wins, 0)
    total = wins + wins.T
    p = np.where(total > 0, wins / np.where(total > 0, total, 1), 0.5)
    a, b = gpo.diagnostics(Comparisons.from_counts(wins)), gpo.diagnostics(p, total)
    for name in ("pairs", "ties", "weak_violations", "strong_violations", "cyclic_triples", "decided_triples"):
        assert getattr(a, name) == getattr(b, name)
    np.testing.assert_allclose(a.borda, b.borda)
    np.testing.assert_allclose(a.hodge.scores, b.hodge.scores, atol=1e-12)


def test_chunks_do_not_change_counts(monkeypatch):
    p = random_preference(9, 1)
    whole = gpo.diagnostics(p)
    monkeypatch.setattr(sys.modules["gpo_analysis.preferences.diagnostics"], "CHUNK", 2)
    parts = gpo.diagnostics(p)
    assert (whole.decided_triples, whole.cyclic_triples) == (parts.decided_triples, parts.cyclic_triples)


@given(st.integers(0, 10**6), st.integers(3, 7), st.booleans())
def test_hodge_agrees_with_least_squares(seed, n, sparse):
    rng = np.random.default_rng(seed)
    p, w = random_preference(n, seed, steps=50), rng.random((n, n)) + 0.1
    w = np.triu(w, 1) * (rng.random((n, n)) < (0.6 if sparse else 1.0))
    w[0, 1] += 0.5
    split = hodge_split(pair_shares(p, w + w.T))
    i, j = np.nonzero(w)
    y, root = 2 * p[i, j] - 1, np.sqrt(w[i, j])
    incidence = np.zeros((len(i), n))
    incidence[np.arange(len(i)), i], incidence[np.arange(len(i)), j] = 1, -1
    s = np.linalg.lstsq(root[:, None] * incidence, root * y, rcond=None)[0]
    np.testing.assert_allclose(split.gradient, incidence @ s, atol=1e-9)
    np.testing.assert_allclose(split.gradient + split.cyclic, y, atol=1e-12)
    assert np.sum(w[i, j] * split.gradient * split.cyclic) == pytest.approx(0, abs=1e-9)
    if np.any(y):
        total = np.sum(w[i, j] * y**2)
        assert split.gradient_share == pytest.approx(np.sum(w[i, j] * split.gradient**2) / total, abs=1e-9)
        assert split.gradient_share + split.cyclic_share == pytest.approx(1)
        assert split.curl_share + split.harmonic_share == pytest.approx(split.cyclic_share, abs=1e-12)
        assert split.curl_share >= -1e-9
        assert split.harmonic_share >= -1e-9
        if not sparse:
            assert split.harmonic_share == pytest.approx(0, abs=1e-9), "a complete graph has no harmonic part"


def test_a_square_without_diagonals_is_all_harmonic():
    games = Comparisons.from_pairs(
        [
            ("a", "b", 3),
            ("b", "a", 1),
            ("b", "c", 3),
            ("c", "b", 1),
            ("c", "d", 3),
            ("d", "c", 1),
            ("d", "a", 3),
            ("a", "d", 1),
        ]
    )
    split = gpo.diagnostics(games).hodge
    assert split.gradient_share == pytest.approx(0, abs=1e-12)
    assert split.harmonic_share == pytest.approx(1)
    assert split.curl_share == pytest.approx(0, abs=1e-12)


def test_a_triangle_is_all_curl_and_too_many_are_not_split(monkeypatch):
    assert gpo.diagnostics(gpo.cyclic(3, 0.5)).hodge.curl_share == pytest.approx(1)
    monkeypatch.setattr(hodge, "TRIANGLES", 0)
    split = gpo.diagnostics(gpo.cyclic(3, 0.5)).hodge
    assert np.isnan(split.curl_share)
    assert split.cyclic_share == pytest.approx(1)


def test_no_flow_has_no_shares():
    split = gpo.diagnostics(np.full((3, 3), 0.5)).hodge
    assert np.isnan(split.gradient_share)
    np.testing.assert_array_equal(split.scores, 0)


def test_components_are_centred_each():
    games = Comparisons.from_pairs([("a", "b"), ("c", "d", 3), ("d", "c", 1)])
    np.testing.assert_allclose(gpo.diagnostics(games).hodge.scores, [0.5, -0.5, 0.25, -0.25], atol=1e-12)


def test_it_shows_itself_and_goes_to_json():
    found = gpo.diagnostics(gpo.bradley_terry([0.0, 1.0, 2.0]), items=["x", "<y>", "z"])
    assert "Condorcet winner                 z" in str(found)
    assert repr(found) == str(found)
    assert "&lt;y&gt;" in found._repr_html_()
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["condorcet_winner"] == "z"
    assert plain["cyclic_share"] == 0
    two = gpo.diagnostics(gpo.deterministic([0.0, 1.0])).to_dict()
    assert two["cyclic_share"] is None
    assert "none" in str(gpo.diagnostics(gpo.cyclic(3, 1.0)))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.full((2, 3, 3), 0.5),), {}, r"preference must have shape \(n, n\)"),
        ((gpo.cyclic(3), [1.0, 2.0]), {}, "weights must be finite"),
        ((gpo.cyclic(3), [1.0, -2.0, 1.0]), {}, "weights must be finite"),
        ((gpo.cyclic(3), np.triu(np.ones((3, 3)))), {}, "symmetric"),
        ((gpo.cyclic(3), np.full((3, 3), np.nan)), {}, "finite"),
        ((gpo.cyclic(3), [1.0, 0.0, 0.0]), {}, "no pair of different responses"),
        ((gpo.cyclic(3),), {"flow": "other"}, r"flow must be 'mean' \(2P − 1\) or 'log_odds', got 'other'"),
        ((gpo.cyclic(3),), {"flow": "log_odds"}, r"log-odds are infinite for the pair \(0, 1\) with P = 1"),
        ((gpo.cyclic(3),), {"items": ["a"]}, "items must be 3 distinct names, got 1"),
        ((Comparisons([0], [1]), [1.0, 1.0]), {}, "bring their own weights"),
    ],
)
def test_bad_input_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        gpo.diagnostics(*arguments, **options)


def test_ties_alone_are_told_without_nan() -> None:
    text = str(gpo.diagnostics(np.full((3, 3), 0.5)))
    assert "3 (3 of them even)" in text
    assert "0 of 0" in text
    assert text.count("there is no flow") == 2
    assert "nan" not in text
