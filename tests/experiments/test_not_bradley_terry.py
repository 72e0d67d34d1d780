"""The experiment at a small size, and the parts that its conclusions rest on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_expit

from experiments import not_bradley_terry as experiment
from experiments.not_bradley_terry import votes
from fuzz.small import computed
from gpo_analysis.preferences import diagnostics
from gpo_analysis.runs import latest_record


def test_without_data_the_votes_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPO_DATA", raising=False)
    _, config, table = computed("not-bradley-terry")
    *_, told = experiment.cells(config)
    rows = [table[table["part"] != "votes"], experiment.run(config, **told)]
    without = pd.concat(rows, ignore_index=True)
    (claim,) = [check for check in experiment.check(config, without) if check.claim.startswith("real votes")]
    assert claim.holds is None
    assert "GPO_DATA" in claim.note
    assert "Real votes were not run" in experiment.summary(config, without)


def test_hinge_is_no_ground_for_a_changed_winner() -> None:
    _, _, table = computed("not-bradley-terry")
    wrong = table.copy()
    wrong.loc[wrong["loss"] == "hinge", "winner"] += 1
    pd.testing.assert_frame_equal(experiment.changed(wrong), experiment.changed(table))


WINNERS = [  # a problem, a row a loss: winner, and whether there is a fit
    (0, "logistic", 2, True), (0, "squared", 2, True), (0, "savage", -1, False),
    (1, "logistic", 2, True), (1, "squared", 1, True), (1, "savage", -1, False),
    (2, "logistic", 2, True), (2, "squared", 2, True), (2, "savage", 0, True),
    (3, "logistic", 1, True), (3, "squared", 1, True), (3, "savage", 1, True),
]  # fmt: skip


def test_a_loss_without_a_fit_has_no_winner() -> None:
    table = pd.DataFrame(WINNERS, columns=["number", "loss", "winner", "known"]).assign(
        part="structures", structure="cycle", level=1.0, strongly_transitive=False, condorcet=-1, borda=0,
        nash_winner=0, cyclic_share=0.5,
    )  # fmt: skip
    found = experiment.changed(table)
    assert found["changed"].tolist() == [False, True, True, False]
    assert found["undecided"].tolist() == [True, False, False, False]
    assert experiment.others(found).value == 0.5
    words = "differ from logistic: savage on 1, squared on 1; never: none; without a fit: savage on 2"
    assert experiment.differing(table) == words


def test_of_the_committed_result_only_two_losses_ever_change_the_winner() -> None:
    """Counted by hand from the table: squared and truncated quadratic have the Borda winner, as logistic has."""
    table = latest_record(Path(__file__).parents[2] / "results", "not-bradley-terry").table
    rows = table[(table["part"] == "structures") & (table["loss"] != "hinge")]
    loose, moved = 0, {}
    unfitted, problems = 0, 0
    for _, part in rows.groupby(["structure", "level", "number"]):
        of = {row.loss: (row.winner, row.known) for row in part.itertuples()}
        other = {name for name, (winner, known) in of.items() if known and winner != of["logistic"][0]}
        for name in other:
            moved[name] = moved.get(name, 0) + 1
        if not part["strongly_transitive"].iloc[0]:
            loose, problems = loose + bool(other), problems + 1
            unfitted += not other and not all(known for _, known in of.values())
    assert set(moved) == {"exponential", "savage"}
    assert (loose, unfitted, problems) == (197, 60, 1687)
    found = experiment.changed(table)
    rest = found[~found["strongly_transitive"].astype(bool)]
    assert (rest["changed"].sum(), rest["undecided"].sum(), len(rest)) == (197, 60, 1687)


def test_structures_are_what_they_say() -> None:
    def matrix(structure: str, level: float) -> np.ndarray:
        return experiment.preference_of(experiment.Config(), structure, level, 3)[0]

    for structure, level in (("cycle", 0.5), ("annotators", 4.0), ("noise", 0.2)):
        found = matrix(structure, level)
        np.testing.assert_allclose(found + found.T, 1.0, atol=1e-12)
    plain = matrix("cycle", 0.0)
    assert diagnostics(plain, flow="log_odds").hodge.cyclic_share == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(matrix("annotators", 1.0), plain, atol=1e-15)
    np.testing.assert_allclose(matrix("noise", 0.2) - 0.5, 0.6 * (plain - 0.5), atol=1e-12)
    assert diagnostics(matrix("cycle", 1.0)).hodge.cyclic_share == pytest.approx(1.0, abs=1e-9)


def test_links_mean_the_probabilities_of_their_losses() -> None:
    eta = np.array([[0.5, 0.8], [0.2, 0.5]])
    for name, margin in (
        ("logistic", np.log(4.0)), ("savage", np.log(4.0)), ("squared", 0.6), ("exponential", np.log(4.0) / 2),
    ):  # fmt: skip
        np.testing.assert_allclose(np.exp(votes.own_link(name, np.array([margin, 0.0]))), eta, atol=1e-12)
    assert np.exp(votes.own_link("squared", np.array([5.0, 0.0]))).max() == pytest.approx(0.99)


def test_the_fitted_scale_is_the_logistic_slope() -> None:
    scores, labels = np.array([1.0, 0.0]), np.array([[0.0, 30.0], [10.0, 0.0]])  # 3 : 1, so a = log 3
    assert votes.scale_of(scores, labels) == pytest.approx(np.log(3.0), abs=1e-3)
    assert votes.scale_of(np.zeros(2), labels) == 0.0
    expected = 0.75 * np.log(expit(1.0)) + 0.25 * np.log(expit(-1.0))
    gaps = scores[:, None] - scores[None, :]
    assert votes.likelihood(log_expit(gaps), labels) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(votes.likelihood(log_expit(gaps), np.zeros((2, 2))))
