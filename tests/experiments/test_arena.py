"""Voting rules and arenas under every f, on cases worked out by hand and on data made up for the purpose."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from experiments import arena
from experiments.arena.rules import kendall, random_preferences, scores_of_rules
from experiments.arena.votes import arena_axes, generated, read_arena, read_debate, under_every_loss
from experiments.framework import NotRun
from fuzz.small import computed, made_up_data
from gpo_analysis.ranking import ComparisonProblem, rank


def test_rules_on_a_preference_where_they_differ() -> None:
    # a beats all barely, b beats c and d by far: Condorcet and Copeland a, Borda b; Kemeny a b c d
    p = np.array([[0.5, 0.51, 0.51, 0.51], [0.49, 0.5, 0.9, 0.9], [0.49, 0.1, 0.5, 0.6], [0.49, 0.1, 0.4, 0.5]])
    rules = scores_of_rules(p)
    assert int(rules["borda"].argmax()) == 1
    assert int(rules["copeland"].argmax()) == 0
    np.testing.assert_array_equal(np.argsort(-rules["kemeny"]), [0, 1, 2, 3])


def test_kendall_counts_ties_half_and_keeps_to_parts() -> None:
    a, b = np.array([3.0, 2.0, 1.0]), np.array([3.0, 1.0, 1.0])
    assert kendall(a, a) == 1.0
    assert kendall(a, -a) == -1.0
    assert kendall(a, b) == pytest.approx(2 / 3)
    assert kendall(a, -b, np.array([0, 1, 1])) == 0.0


def test_random_preferences_vary_and_are_shrunk() -> None:
    wide, narrow = (random_preferences(4, 30, spread, 1) for spread in (1.0, 0.25))
    assert np.ptp([p[0, 1] for p in wide]) > 0.5
    logit = np.log(wide[3] / (1 - wide[3]))
    np.testing.assert_allclose(np.log(narrow[3] / (1 - narrow[3])), logit / 4, atol=1e-12)


@pytest.mark.parametrize(("loss", "weight"), [("exponential", 0.125), ("savage", -0.25)])
def test_changes_of_scores_are_those_of_the_third_derivative(loss: str, weight: float) -> None:
    # first order in the residuals of the logistic fit: L δ = Σ_j e_ij weight u_ij², L the Laplacian of ¼
    rng = np.random.default_rng(0)
    n, small = 7, 0.12
    g = small * rng.normal(size=n)
    i, j = np.triu_indices(n, 1)
    p = 1 / (1 + np.exp(-(g[i] - g[j] + small * rng.normal(size=len(i)))))
    problem = ComparisonProblem(i, j, p, 1 - p)
    base = rank(problem).scores
    scale = {"exponential": 2.0, "savage": 1.0}[loss]
    change = scale * rank(problem, loss).scores - base
    u = base[i] - base[j]
    push = weight * (p - 1 / (1 + np.exp(-u))) * u**2
    net = np.bincount(i, push, n) - np.bincount(j, push, n)
    np.testing.assert_allclose(change, net / (n / 4), atol=0.05 * np.abs(net).max())
    assert np.abs(change).max() > 1e-6


def test_without_data_the_generated_arena_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPO_DATA", raising=False)
    cells = arena.cells(arena.Config())
    assert {cell["data"] for cell in cells} == {"uniform", "shrunk", "generated"}
    with pytest.raises(NotRun, match="--data or GPO_DATA"):
        read_arena("")
    one, other = generated(8, 40, 3), generated(8, 40, 4)
    assert (one.counts.sum(axis=0) == 40).all()
    assert one.counts.shape != other.counts.shape or (one.counts != other.counts).any()


def test_arena_votes_are_read_with_both_kinds_of_ties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "arena_votes").mkdir()
    with gzip.open(tmp_path / "arena_votes" / "votes.csv.gz", "wt") as stream:
        stream.write(
            "model_a,model_b,model_a_wins,model_b_wins,ties,ties_both_bad\nb,a,5,3,2,1\na,c,4,2,0,1\nb,c,6,1,0,0\n"
        )
    monkeypatch.setenv("GPO_DATA", str(tmp_path))
    [axes] = arena_axes()
    problem = read_arena(axes["sha256"])
    assert problem.items == ("a", "b", "c")
    np.testing.assert_array_equal(problem.counts, [[5, 4, 6], [3, 2, 1], [3, 1, 0]])
    with pytest.raises(ValueError, match="has changed"):
        read_arena("0")
    table = under_every_loss(problem, resamples=20, simulations=19, seed=0, scores=True)
    assert set(table["part"]) == {"fit", "noise", "score"}
    assert (table.loc[table["loss"] == "logistic", "tau"].dropna() == 1.0).all()


def test_debates_keep_undecided_votes_as_ties() -> None:
    with made_up_data():
        cells = [cell for cell in arena.cells(arena.Config()) if cell["data"] == "debate"]
        problem = read_debate(cells[0]["file"], cells[0]["sha256"], cells[0]["prompt"])
    assert len(cells) == 6
    assert (problem.counts[2] == 1).all()
    assert (problem.counts[:2].sum(axis=0) == 5).all()


def test_what_is_said_at_a_small_size() -> None:
    module, config, table = computed("arena")
    checks = {check.claim: check for check in module.check(config, table)}
    assert all(check.holds for claim, check in checks.items() if claim[:2] in ("1.", "2."))
    assert all(check.verdict == "not run" for claim, check in checks.items() if claim.startswith("Arena"))
    assert sum(claim.startswith("debates") for claim in checks) == 5
    assert "6 sides of debates" in module.summary(config, table)
