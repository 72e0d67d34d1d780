"""Against arena-rank, leaderbot, evalica and statsmodels on the same votes (see peers.py), and choix here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_loss
from gpo_analysis.ranking import ComparisonProblem, Ranking, rank
from gpo_analysis.ranking.joint import System
from gpo_analysis.ranking.outcomes import outcome_model

PEERS: dict[str, Any] = json.loads(Path(__file__).with_name("peers.json").read_text(encoding="utf-8"))
VOTES = {name: np.array(values) for name, values in PEERS["votes"].items()}


def problem(*, features: bool = False, decided: bool = False, position: bool = False, cluster: bool = False) -> Any:
    kept = VOTES["outcome"] < 2 if decided else np.ones(len(VOTES["outcome"]), dtype=bool)
    first, second, outcome = (VOTES[name][kept] for name in ("first", "second", "outcome"))
    return ComparisonProblem(
        first,
        second,
        *[(outcome == k).astype(float) for k in range(3)],
        features=np.column_stack([VOTES["x1"], VOTES["x2"]])[kept] if features else None,
        position=np.ones(len(first)) if position else None,
        cluster=VOTES["judge"][kept] if cluster else None,
    )


def centred(values: Any) -> FloatArray:
    x = np.array(values, dtype=float)
    return x - x.mean()


def test_scores_with_half_ties_are_those_of_arena_rank_and_evalica() -> None:
    found = rank(problem()).scores
    np.testing.assert_allclose(found, centred(PEERS["arena_rank"]["scores"]), atol=1e-8)
    np.testing.assert_allclose(found, centred(PEERS["evalica"]), atol=1e-8)


def test_sandwich_standard_errors_are_those_of_arena_rank() -> None:
    np.testing.assert_allclose(rank(problem()).standard_errors, PEERS["arena_rank"]["standard_errors"], rtol=1e-6)


def test_covariates_are_those_of_arena_rank() -> None:
    found, peer = rank(problem(features=True)), PEERS["arena_rank"]
    np.testing.assert_allclose(found.scores, centred(peer["style_scores"]), atol=1e-8)
    np.testing.assert_allclose(found.coefficients, peer["style_coefficients"], atol=1e-8)
    np.testing.assert_allclose(found.standard_errors, peer["style_standard_errors"], rtol=1e-6)


@pytest.mark.parametrize("ties", ["davidson", "rao-kupper"])
def test_models_of_ties_are_those_of_leaderbot(ties: str) -> None:
    peer, found = PEERS["leaderbot"][ties], rank(problem(), ties=ties)
    assert found.log_likelihood == pytest.approx(peer["log_likelihood"], rel=1e-8)
    assert found.log_likelihood >= peer["log_likelihood"] - 1e-9  # ours is the maximum
    np.testing.assert_allclose(found.scores, centred(peer["optimum"][:8]), atol=1e-4)  # theirs is where BFGS stopped
    there = np.array(peer["point"])
    system = System(found.problem.rows, 8, found.problem.parts, outcome_model(get_loss("logistic"), ties))
    at_point = -float((system.rows.counts * system.terms(there).value).sum())
    assert at_point == pytest.approx(peer["at_point"], rel=1e-12)


def as_regression(found: Ranking) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Parameters in statsmodels' coordinates (m0 at 0, then covariates and position), their errors by V and by H⁻¹."""
    n = found.problem.n
    move = np.eye(len(found.fit.theta))[1:]
    move[: n - 1, 0] = -1.0
    assert found.covariance is not None
    assert found.information is not None
    errors = [np.sqrt(np.diag(move @ v @ move.T)) for v in (found.covariance, found.information)]
    return move @ np.concatenate([found.scores, found.coefficients]), errors[0], errors[1]


def test_a_joint_fit_with_position_is_the_logistic_regression_of_statsmodels() -> None:
    peer = PEERS["statsmodels"]
    found = rank(problem(features=True, decided=True, position=True))
    parameters, robust, plain = as_regression(found)
    np.testing.assert_allclose(parameters, peer["parameters"], atol=1e-8)
    np.testing.assert_allclose(robust, peer["hc0"], rtol=1e-6)
    np.testing.assert_allclose(plain, peer["nonrobust"], rtol=1e-6)
    assert found.log_likelihood == pytest.approx(peer["log_likelihood"], rel=1e-10)


def test_clustered_errors_are_those_of_statsmodels_times_the_factor_of_few_clusters() -> None:
    found = rank(problem(features=True, decided=True, position=True, cluster=True))
    clusters = len(np.unique(VOTES["judge"][VOTES["outcome"] < 2]))
    _, robust, _ = as_regression(found)
    wanted = np.array(PEERS["statsmodels"]["cluster"]) * np.sqrt(clusters / (clusters - 1))
    np.testing.assert_allclose(robust, wanted, rtol=1e-6)


def test_scores_are_those_of_choix() -> None:
    choix = pytest.importorskip("choix", reason="choix is not installed")
    kept = problem(decided=True)
    won, lost = kept.counts[0] > 0, kept.counts[1] > 0
    data = [
        *zip(kept.first[won], kept.second[won], strict=True),
        *zip(kept.second[lost], kept.first[lost], strict=True),
    ]
    theirs = choix.opt_pairwise(8, [(int(a), int(b)) for a, b in data], alpha=0.0, method="Newton-CG", tol=1e-13)
    np.testing.assert_allclose(rank(kept).scores, centred(theirs), atol=1e-8)


def test_a_ridge_is_that_of_choix() -> None:
    choix = pytest.importorskip("choix", reason="choix is not installed")
    data = [(0, 1), (0, 2), (1, 2)]  # separable
    theirs = choix.opt_pairwise(3, data, alpha=0.05, method="Newton-CG", tol=1e-13)
    found = rank(ComparisonProblem([0, 0, 1], [1, 2, 2]), ridge=0.1)  # choix writes α|x|², without a half
    np.testing.assert_allclose(found.scores, centred(theirs), atol=1e-8)
