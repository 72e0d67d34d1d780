"""Solutions: how they show themselves, what they withhold."""

from __future__ import annotations

import json

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.tabular.solution import as_json

PROBLEM = PreferenceProblem(gpo.bradley_terry([0.0, 1.0]), [0.3, 0.7], [0.6, 0.4], items=["<a>", "b"])


def test_numbers_agree_with_the_divergences():
    found = PROBLEM.solve("exponential", 0.3)
    assert found.kl == pytest.approx(gpo.kl_divergence(found.policy, PROBLEM.reference), rel=1e-12)
    assert found.mu_squared_loss == pytest.approx(
        gpo.mu_squared_loss(found.policy, PROBLEM.reference, PROBLEM.behavior), rel=1e-12
    )
    np.testing.assert_allclose(found.policy, PROBLEM.reference * np.exp(found.log_ratio), rtol=1e-12)
    np.testing.assert_allclose(found.margins, [-0.5, 0.5], atol=1e-12)
    assert found.loss == "exponential"
    assert found.link == "reverse_kl"


def test_it_shows_itself_in_a_terminal_and_in_jupyter():
    found = PROBLEM.solve("dpo", 0.5)
    text = str(found)
    assert repr(found) == text
    for part in ("logistic", "optimum", "KL(π‖πref)", "<a>", f"{found.policy[1]:.6f}"):
        assert part in text
    page = found._repr_html_()
    assert "&lt;a&gt;" in page
    assert "<a>" not in page
    assert page.count("<table") == page.count("</table>") == 2
    assert "chi_po" in str(PROBLEM.solve("dpo", 0.5, link="chi_po"))


def test_columns_are_named_once_above_the_numbers():
    found = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0])).solve("dpo", 1.0)
    (head,) = (line for line in found.summary().splitlines() if line.startswith("response"))
    assert head.split() == ["response", "πref", "π", "log", "π/πref"]


def test_long_tables_are_cut():
    found = PreferenceProblem(gpo.bradley_terry(np.arange(30.0) / 10)).solve("squared", 1.0)
    assert "… 10 more" in str(found)
    assert "… 10 more" in found._repr_html_()


def test_contexts_have_a_column():
    batch = PreferenceProblem(np.stack([gpo.bradley_terry([0.0, 1.0])] * 2)).solve("squared", 1.0)
    assert "context" in str(batch)
    frame = batch.to_frame()
    assert frame.columns.tolist() == ["context", "item", "reference", "policy", "log_ratio"]
    assert frame["context"].tolist() == [0, 0, 1, 1]
    assert PROBLEM.solve("squared", 1.0).to_frame()["item"].tolist() == ["<a>", "b"]


def test_huge_log_ratios_neither_overflow_nor_lose_the_norm():
    found = PROBLEM.solve("logistic", 1e-6)
    assert np.isfinite(found.log_ratio).all()
    assert found.policy.sum() == pytest.approx(1)
    assert found.kl == pytest.approx(-np.log(0.4), rel=1e-9), "all mass on one response"
    np.testing.assert_allclose(found.scores, [-0.5, 0.5], rtol=1e-9)


def test_representative_is_a_normalised_log_ratio():
    found = PreferenceProblem(gpo.deterministic([0.0, 1.0]), None, [0.6, 0.4]).solve("hinge", 0.5)
    assert np.exp(found.representative) @ [0.6, 0.4] == pytest.approx(1)
    assert found.representative[1] - found.representative[0] == pytest.approx(2.0)
    assert np.isnan(found.policy).all()


def test_as_json_has_no_nan():
    value = as_json(
        {"a": np.array([1.0, np.nan]), "b": (np.inf, np.int64(3)), "c": "x", "d": np.bool_(True), "e": None}
    )
    assert json.loads(json.dumps(value, allow_nan=False)) == {
        "a": [1.0, None],
        "b": [None, 3],
        "c": "x",
        "d": True,
        "e": None,
    }
