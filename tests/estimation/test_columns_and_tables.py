"""Columns by every name that is understood, tables that stand in line, values at the edge of what is accepted."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import logit

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation import audit_fits, audit_two_ratio, fit_comparisons, logs, loss_log
from gpo_analysis.estimation.audit import LossAudit
from gpo_analysis.estimation.audit_fits import _PairFit, pair_fits, read_coefficients
from gpo_analysis.estimation.identify import families
from gpo_analysis.estimation.logs import TrainingLog
from gpo_analysis.estimation.recommend import BetaRecommendation, BetaRecommendations
from gpo_analysis.preferences import Comparisons
from gpo_analysis.statistics import Interval
from tests.estimation.test_words_and_edges import loss_log as made_log


def test_log_probabilities_by_every_name_that_is_understood() -> None:
    """With _logp or _logps, the policy's without a name before it, the reference's with ref_ or reference_."""
    sides = {"policy": ("policy_", ""), "reference": ("reference_", "ref_")}
    values = {"policy_chosen": -1.0, "policy_rejected": -2.0, "reference_chosen": -3.0, "reference_rejected": -5.0}
    for policy, reference, end in itertools.product(*sides.values(), ("_logp", "_logps")):
        columns = {
            f"{before}{side}{end}": np.array([values[f"{whose}_{side}"]] * 3)
            for whose, before in (("policy", policy), ("reference", reference))
            for side in ("chosen", "rejected")
        }
        log = TrainingLog.from_columns(columns)
        assert log.chosen_ratio.tolist() == [2.0] * 3, list(columns)
        assert log.rejected_ratio.tolist() == [3.0] * 3, list(columns)


def test_scores_stand_in_line() -> None:
    """Names to the left, numbers to the right, every row as wide as the first."""
    games = Comparisons.from_pairs([("a", "a long name", 3), ("a long name", "b", 2), ("b", "a", 1), ("a", "b", 2)])
    lines = fit_comparisons(games, ["logistic", "squared"]).summary().splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("item"))
    table = lines[first : first + 4]
    assert len({len(line) for line in table}) == 1
    assert {line[0] for line in table[1:]} == {"a", "b"}
    assert table[0].endswith("squared")
    assert all(line[-1].isdigit() for line in table[1:])


def test_a_recommended_beta_is_drawn_with_the_others() -> None:
    row = BetaRecommendation("logistic", Interval(0.5, 0.4, 0.6), 0.25, 1.0, 2.0, 0.0, "found")
    with pytest.raises(ValueError, match="BetaRecommendation has no plot: it is a row of the recommendations"):
        row.plot()
    names = [field.name for field in dataclasses.fields(BetaRecommendations)]
    given: dict[str, Any] = dict.fromkeys(names, "x") | {"rows": (row,), "notes": (), "policy": ""}
    assert BetaRecommendations(**given)["logistic"] is row


@pytest.mark.parametrize("epsilon", [1e-3, 0.1])
def test_coefficients_of_a_fit_are_scale_and_smoothing(epsilon: float) -> None:
    read: Callable[[str, FloatArray], Any] = read_coefficients
    share = pytest.approx(epsilon, rel=1e-9)
    assert read("exo", 2.0 * np.array([1.0, logit(epsilon), -math.log(epsilon)])) == (2.0, "exo", share)
    assert read("logistic", np.array([3.0])) == (3.0, None, 0.0)
    both = 2 * np.array([1 - epsilon, epsilon])
    assert read("logistic", both) == (pytest.approx(2.0), "smoothed", share)
    robust = 2 * np.array([1 - epsilon, -epsilon]) / (1 - 2 * epsilon)
    assert read("logistic", robust) == (pytest.approx(2.0), "robust", share)


@pytest.mark.parametrize(("label", "said"), [(1.5, "1.5"), (-0.25, "-0.25")])
def test_a_label_that_is_no_share_is_named(label: float, said: str) -> None:
    named = {loss_log._LABEL: np.array([1.0, label, 0.0])}
    with pytest.raises(ValueError, match=f"is {said}; accepted are numbers from 0 to 1"):
        loss_log._labels(named)
    fine = np.array([1.0, 0.0, 0.3])
    assert loss_log._labels({loss_log._LABEL: fine}) is fine
    assert loss_log._labels({loss_log._LABEL: np.ones(3)}) is None
    assert loss_log._labels({}) is None


def test_rounding_of_certain_tokens_is_taken_as_0_up_to_its_bound() -> None:
    most = logs._ROUNDED
    table: Any = SimpleNamespace(rows=[SimpleNamespace(line=line) for line in (2, 3, 4, 5)])
    values = np.array([-1.0, most, 2 * most, most / 2])
    columns = {name: values.copy() for name in logs.NEEDED}
    said = logs._without_rounding(table, columns)
    assert len(said) == len(logs.NEEDED)
    for name, text in zip(logs.NEEDED, said, strict=True):
        assert columns[name].tolist() == [-1.0, 0.0, 2 * most, 0.0]
        assert text == f"{name}: 2 within {most:g} above 0 taken as 0, the rounding (line 3)"


def test_scales_that_a_fit_tries_are_known() -> None:
    assert list(audit_two_ratio.two_ratio_fits(made_log(), free=False)) == []  # a log of margins alone has none
    described = {"one", "ipo", "free"}
    assert {scale for family in audit_two_ratio.FAMILIES for scale in family.scales} == described


def test_beta_of_a_fit_has_more_digits_than_are_shown() -> None:
    log = made_log()
    (family,) = [one for one in families() if one.name == "logistic"]
    fit = _PairFit(log, family, log.pairs.rho("sums"), log.noise)
    found = fit("sums", "one", smoothed=False)
    assert found is not None
    assert found.beta == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("means", [False, True])
def test_an_answer_from_means_says_what_it_does_not_rule_out(means: bool) -> None:
    audit = LossAudit(None, "logistic", 0.1, "sums", None, None, 1.0, 0.99, ("logistic",), "margins", means=means)
    text = audit.summary()
    assert text.startswith("logistic at β = 0.1 of the margins over token sums, no label smoothing; the logged loss is")
    assert ("means over batches do not rule out others" in text) is means
    assert ("means_over_batches" in audit.to_dict()) is means


def test_exo_is_fitted_with_its_smoothing_and_others_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """EXO has no form without an ε: beside β it is always free."""
    two = [one for one in families() if one.name in ("exo", "logistic")]
    monkeypatch.setattr(audit_fits, "families", lambda _: two)
    with np.errstate(all="ignore"):
        found = {(one.loss, one.parameters) for one in pair_fits(made_log(), free=False)}
    assert found == {("exo", 2), ("logistic", 1), ("logistic", 2)}
