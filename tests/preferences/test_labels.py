"""Labels of tables: whose number it is decides, not where it stands; by hand and against a table in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import gpo_analysis as gpo
from gpo_analysis.divergences import kl_divergence, mu_squared_loss
from gpo_analysis.plotting import plot_policy, plot_preference
from gpo_analysis.preferences import Comparisons, diagnostics, from_counts
from gpo_analysis.tabular import PreferenceProblem, nash_policy, regularized_optimum, win_rate
from gpo_analysis.training import self_play

NAMES = ("tea", "mate", "cocoa")
P = np.array([[0.5, 0.8, 0.3], [0.2, 0.5, 0.9], [0.7, 0.1, 0.5]])
MU, REF = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
COUNTS = np.array([[9.0, 8.0, 3.0], [2.0, 9.0, 9.0], [7.0, 1.0, 9.0]])
OTHER = ("cocoa", "tea", "mate")


def frame(matrix: np.ndarray, rows: tuple[str, ...] = NAMES, columns: tuple[str, ...] = NAMES) -> pd.DataFrame:
    """The same labelled entries with rows and columns in these orders."""
    return pd.DataFrame(matrix, index=list(NAMES), columns=list(NAMES)).loc[list(rows), list(columns)]


def series(values: np.ndarray, order: tuple[str, ...] = NAMES) -> pd.Series:
    return pd.Series(values, index=list(NAMES)).loc[list(order)]


def test_a_problem_takes_names_and_order_from_labels() -> None:
    plain = PreferenceProblem(P, MU, REF, items=NAMES)
    for rows in (NAMES, OTHER):
        found = PreferenceProblem(frame(P, rows), series(MU, OTHER), series(REF))
        assert found.items == NAMES
        assert np.array_equal(found.preference, P)
        assert np.array_equal(found.behavior, MU)
        assert np.array_equal(found.reference, REF)
    turned = PreferenceProblem(frame(P, columns=OTHER), series(MU), series(REF, OTHER))
    assert turned.items == OTHER
    by_name = [dict(zip(one.items, one.solve("squared", 1.0).policy, strict=True)) for one in (plain, turned)]
    assert by_name[0] == pytest.approx(by_name[1], abs=1e-12)
    asked = PreferenceProblem(frame(P), items=OTHER)
    assert asked.items == OTHER
    assert asked.preference is not None
    assert asked.preference[0, 1] == P[2, 0]
    policy = np.array([0.6, 0.3, 0.1])
    assert turned.population_loss(series(policy), "dpo", 1.0) == pytest.approx(plain.population_loss(policy, "dpo", 1))
    assert np.allclose(turned.log_ratio(series(policy)), plain.log_ratio(policy)[[2, 0, 1]])
    assert turned.loss_at(series(MU), "dpo", 1.0) == pytest.approx(plain.loss_at(MU, "dpo", 1.0))


def test_contexts_and_lists_of_tables() -> None:
    two = PreferenceProblem([frame(P), frame(P.T, OTHER, OTHER)], pd.DataFrame([MU, MU], columns=list(NAMES)))
    assert two.items == NAMES
    assert two.shape == (2, 3)
    assert two.preference is not None
    assert np.array_equal(two.preference, np.stack([P, P.T]))
    assert np.allclose(gpo.mixture_of_annotators([frame(P), frame(P.T, OTHER)]), 0.5)


def test_comparisons_and_diagnostics_take_names_from_labels() -> None:
    games = Comparisons.from_counts(frame(COUNTS, OTHER))
    assert games.items == NAMES
    assert np.array_equal(games.matrix().toarray(), COUNTS - np.diag(np.diag(COUNTS)))
    assert np.allclose(from_counts(frame(COUNTS, OTHER)), P)
    found, plain = diagnostics(frame(P, OTHER), series(MU, OTHER)), diagnostics(P, MU)
    assert found.items == NAMES
    assert np.allclose(found.borda, plain.borda)
    assert diagnostics(games).items == NAMES
    empirical = PreferenceProblem.from_comparisons(games, series(REF, OTHER))
    assert np.array_equal(empirical.reference, REF)


def test_functions_of_two_tables_put_them_in_one_order() -> None:
    turned = series(REF, OTHER)
    assert kl_divergence(series(MU), turned) == pytest.approx(float(np.sum(MU * np.log(MU / REF))))
    assert mu_squared_loss(series(MU), turned, series(REF)) == pytest.approx(mu_squared_loss(MU, REF, REF))
    assert win_rate(series(MU), turned, frame(P, OTHER, OTHER)) == pytest.approx(float(MU @ P @ REF))
    assert np.allclose(nash_policy(frame(P), turned, 0.5).policy, nash_policy(P, REF, 0.5).policy)
    assert np.allclose(regularized_optimum(series(MU), turned, 0.5), regularized_optimum(MU, REF, 0.5))
    runs = [self_play(p, r, 0.5, rate=0.1, steps=3).policies for p, r in ((frame(P), turned), (P, REF))]
    assert np.array_equal(*runs)


def test_pictures_have_the_labels() -> None:
    ax = plot_preference(frame(P, OTHER))
    assert [text.get_text() for text in ax.get_xticklabels()] == list(NAMES)
    assert ax.texts[1].get_text() == "0.80"
    ax = plot_policy({"dpo": series(MU, OTHER), "ipo": series(REF)})
    assert [text.get_text() for text in ax.get_xticklabels()] == list(OTHER)
    assert [bar.get_height() for bar in ax.patches[3:]] == [0.6, 0.2, 0.2]
    renamed = plot_preference(frame(P), labels=["a", "b", "c"])
    assert [text.get_text() for text in renamed.get_xticklabels()] == ["a", "b", "c"]


def test_numbers_of_pandas_are_no_names() -> None:
    assert PreferenceProblem(pd.DataFrame(P)).items == ("0", "1", "2")
    assert PreferenceProblem(pd.DataFrame(P), items=NAMES).items == NAMES
    unnamed = PreferenceProblem(P)
    assert unnamed.population_loss(series(MU), "dpo", 1.0) == unnamed.population_loss(MU, "dpo", 1.0)
    given = PreferenceProblem(pd.DataFrame(P, index=[1, 2, 3], columns=["1", "2", "3"]))
    assert given.items == ("1", "2", "3")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: PreferenceProblem(pd.DataFrame(P, columns=list(NAMES))), "rows named 0, 1, 2 and columns named tea"),
        (
            lambda: Comparisons.from_counts(pd.DataFrame(COUNTS, list(NAMES), ["tea", "mate", "x"])),
            "counts has rows named tea, mate, cocoa and columns named tea, mate, x",
        ),
        (lambda: diagnostics(pd.DataFrame(P, ["a", "a", "b"], ["a", "a", "b"])), "a twice among its names"),
        (lambda: PreferenceProblem(frame(P), items=["a", "b", "c"]), "the items are a, b, c"),
        (lambda: PreferenceProblem(frame(P), pd.Series(MU, ["tea", "mate", "x"])), "behavior has the names tea, mate"),
        (lambda: kl_divergence(series(MU), pd.Series(MU, ["a", "b", "c"])), r"q has the names.*q\.to_numpy\(\)"),
        (lambda: PreferenceProblem(frame(COUNTS)), "is 9.0; accepted are probabilities.*from_counts"),
        (lambda: PreferenceProblem([[0, 0.7], [0.3, 0]]), "is 0; accepted is 0.5 on the diagonal"),
        (lambda: PreferenceProblem(pd.DataFrame(P[:2], columns=list(NAMES))), r"must be square.*\(2, 3\)"),
    ],
)  # fmt: skip
def test_what_is_refused(call: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        call()


def test_labels_that_are_numbers_are_places() -> None:
    """A count of values is ordered by how often each came: its index says which response it is of."""
    preference = np.array([[0.5, 0.8, 0.9], [0.2, 0.5, 0.7], [0.1, 0.3, 0.5]])
    drawn = pd.Series([1, 1, 1, 1, 1, 2, 2, 2, 0, 0]).value_counts(normalize=True)
    assert list(drawn.index) == [1, 2, 0]
    for table in (preference, pd.DataFrame(preference)):
        found = gpo.PreferenceProblem(table, drawn)
        assert found.items == ("0", "1", "2")
        np.testing.assert_allclose(found.behavior, [0.2, 0.5, 0.3])
        np.testing.assert_array_equal(found.preference, preference)
    turned = pd.DataFrame(preference)[[2, 0, 1]].loc[[2, 0, 1]]
    np.testing.assert_array_equal(gpo.PreferenceProblem(turned, drawn).preference, preference)


def test_rows_and_columns_of_two_orders_are_never_taken_by_position() -> None:
    counts = pd.DataFrame([[0, 3, 5], [1, 0, 2], [4, 0, 0]], index=list("abc"), columns=list("abc"))[["b", "c", "a"]]
    with pytest.raises(ValueError, match="rows in the order a, b, c and columns in the order b, c, a"):
        gpo.Comparisons.from_counts(counts, items=["0", "1", "2"])
    found = gpo.Comparisons.from_counts(counts)
    named = {
        (found.items[i], found.items[j]): c for i, j, c in zip(found.winner, found.loser, found.count, strict=True)
    }
    assert named == {("a", "b"): 3, ("a", "c"): 5, ("b", "a"): 1, ("b", "c"): 2, ("c", "a"): 4}
