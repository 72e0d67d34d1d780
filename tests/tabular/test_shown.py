"""What results of the tabular part show of themselves: lines, columns and charts, word by word and number by number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy.special import rel_entr

import gpo_analysis as gpo
from gpo_analysis.losses import get_two_ratio_loss
from gpo_analysis.showing import Panel
from gpo_analysis.tabular import PreferenceProblem, PrefixTree, kto, problem_view, self_consistent_kto, solve_sequences
from gpo_analysis.tabular.frontier import reward_frontier
from gpo_analysis.tabular.kto import SelfConsistentKTO
from gpo_analysis.tabular.links import LinkFlow, link_flow, off_support_mass
from gpo_analysis.tabular.nash import nash_policy
from gpo_analysis.tabular.restricted import restricted_optimum

TWO = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]], [0.25, 0.75], [0.25, 0.75], items=("good", "bad"))
GAMES = gpo.Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1), ("c", "a", 2)])


def heights(panel: Panel) -> dict[str, list[float]]:
    return {curve.label: np.asarray(curve.y, dtype=float).tolist() for curve in panel.curves}


def heights_of(bars: Mapping[str, ArrayLike]) -> dict[str, list[float]]:
    return {name: np.asarray(values, dtype=float).tolist() for name, values in bars.items()}


def test_a_problem_in_lines() -> None:
    assert problem_view.facts(TWO) == [
        ("responses", 2), ("certain pairs", "0 of 1"), ("μ", "πref"), ("πref", "from 0.25 to 0.75"),
    ]  # fmt: skip
    certain = np.array([[0.5, 1.0, 0.3], [0.0, 0.5, 0.0], [0.7, 1.0, 0.5]])
    other = PreferenceProblem(np.stack([certain, certain.T]), behavior=[[0.2, 0.3, 0.5]] * 2)
    assert problem_view.facts(other) == [
        ("responses", 3), ("contexts", 2), ("certain pairs", "4 of 6"), ("μ", "from 0.2 to 0.5"), ("πref", "uniform"),
    ]  # fmt: skip
    assert problem_view.facts(PreferenceProblem.from_comparisons(GAMES)) == [
        ("responses", 3), ("observed", "6 comparisons"), ("μ", "the observed pairs"), ("πref", "uniform"),
    ]  # fmt: skip


def test_a_problem_in_columns() -> None:
    found = problem_view.columns(TWO)
    assert list(found) == ["item", "behavior", "reference", "wins"]
    assert found["item"].tolist() == ["good", "bad"]
    np.testing.assert_allclose(found["behavior"], [0.25, 0.75])
    np.testing.assert_allclose(found["wins"], [0.25 * 0.5 + 0.75 * 0.8, 0.25 * 0.2 + 0.75 * 0.5])
    several = PreferenceProblem(np.stack([TWO.preference, TWO.preference.T]), items=("x", "y"))  # type: ignore[list-item, union-attr]
    found = problem_view.columns(several)
    assert found["context"].tolist() == [0, 0, 1, 1]
    assert found["item"].tolist() == ["x", "y", "x", "y"]
    np.testing.assert_allclose(found["wins"], [0.65, 0.35, 0.35, 0.65])
    seen = problem_view.columns(PreferenceProblem.from_comparisons(GAMES))
    np.testing.assert_allclose(seen["wins"], [3 / 6, 1 / 4, 1.0])
    assert list(seen) == ["item", "behavior", "reference", "wins"]


def test_a_problem_as_a_matrix_with_bars() -> None:
    drawn = problem_view.panel(TWO)
    assert (drawn.title, drawn.x, drawn.y, drawn.note) == ("who is preferred to whom", "loser", "winner", "")
    cells = drawn.cells
    assert cells is not None
    assert (cells.rows, cells.columns) == (["good", "bad"], ["good", "bad"])
    np.testing.assert_array_equal(cells.values, TWO.preference)
    assert (cells.value, cells.limits, cells.from_top) == ("p(winner ≻ loser)", (0.0, 1.0), True)
    assert heights_of(cells.beside) == {"μ": [0.25, 0.75], "πref": [0.25, 0.75]}
    seen = problem_view.panel(PreferenceProblem.from_comparisons(GAMES)).cells
    assert seen is not None
    nan = np.nan
    np.testing.assert_allclose(seen.values, [[nan, 0.75, 0.0], [0.25, nan, nan], [1.0, nan, nan]])
    n = problem_view.MOST_RESPONSES + 2
    mu = np.arange(1.0, n + 1) / np.arange(1.0, n + 1).sum()
    many = problem_view.panel(PreferenceProblem(np.full((2, n, n), 0.5), behavior=np.stack([mu, mu])))
    assert many.note == f"the first of 2 contexts; the {n - 2} of {n} responses that μ draws most"
    assert many.cells is not None
    assert np.shape(many.cells.values) == (n - 2, n - 2)
    np.testing.assert_allclose(np.array(heights_of(many.cells.beside)["μ"]), mu[2:])


def test_a_solution_in_lines() -> None:
    found = TWO.solve("dpo", 0.5)
    head = dict(found._head())
    assert list(head) == ["loss", "β", "status", "E f(βρ)", "KL(π‖πref)", "½ E[ρ²]"]
    assert (head["β"], head["status"], head["E f(βρ)"]) == ("0.5", "optimum", f"{found.population_loss:.8g}")
    assert head["KL(π‖πref)"] == f"{found.kl:.6g} nats"
    assert dict(TWO.solve("dpo", 0.5, link="chi")._head())["link"] == "chi_po"
    two = dict(TWO.solve("sft", 0.5)._head())
    assert "E F" in two
    assert "gap" in two
    assert found._facts() == found._head()
    drawn = found._panel()
    assert drawn.title == f"{found.loss} at β = 0.5: optimum"
    rows = found.summary().splitlines()
    assert rows[6].split() == ["response", "πref", "π", "log", "π/πref"]
    assert rows[7].split() == ["good", "0.250000", f"{found.policy[0]:.6f}", f"{found.log_ratio[0]:.6f}"]
    assert len({len(row) for row in rows[6:]}) == 1  # columns in line
    many = PreferenceProblem(np.full((23, 23), 0.5)).solve("dpo", 1.0)
    assert many.summary().splitlines()[-1] == "… 3 more rows: to_frame() has all"
    assert len(many._rows()[1]) == 20
    short = PreferenceProblem(np.full((20, 20), 0.5)).solve("dpo", 1.0)
    assert "more" not in short.summary()
    for found, hidden in ((short, 4), (PreferenceProblem(np.full((81, 81), 0.5)).solve("dpo", 1.0), 65)):
        lines = repr(found).splitlines()
        assert len(lines) == 24
        assert lines[-1] == f"… {hidden} more rows: to_frame() has all"
        assert len(found.to_frame()) == hidden + 16
    batch = PreferenceProblem(np.full((2, 2, 2), 0.5)).solve("dpo", 1.0)
    names, cells = batch._rows()
    assert names[0] == "context"
    assert [row[0] for row in cells] == ["0", "0", "1", "1"]


def test_a_flow_in_lines_columns_and_curves() -> None:
    flow = link_flow(TWO, "dpo", 1.0, duration=5.0, records=4)
    assert flow._facts() == [("status", "finished"), ("gradient norm at the end", flow.gradient_norm)]
    stopped = replace(flow, status="stopped", reason="why")
    assert stopped._facts() == [
        ("status", "stopped"), ("gradient norm at the end", flow.gradient_norm), ("reason", "why"),
    ]  # fmt: skip
    columns = flow._columns()
    assert list(columns) == ["time", "policy_1", "policy_2"]
    np.testing.assert_array_equal(columns["policy_2"], flow.policies[:, 1])
    np.testing.assert_allclose(flow.time, [0.0, 0.005, np.sqrt(0.005 * 5), 5.0])
    np.testing.assert_allclose(flow.policies[0], TWO.reference)
    drawn = flow._panel()
    assert (drawn.title, drawn.x, drawn.y, drawn.log, drawn.ylim) == (
        "gradient flow on the logits", "time of the flow", "probability", "x", (-0.03, 1.03),
    )  # fmt: skip
    assert list(heights(drawn)) == ["y1", "y2"]
    assert heights(drawn)["y2"] == flow.policies[1:, 1].tolist()
    wide = LinkFlow(flow.time, np.tile(flow.policies, 20), flow.logits, 0.0, "finished", "")
    assert 1 < len(wide._panel().curves) < 40
    for u, reference, word in (("x", [0.5, 0.5], "u"), ([1.0, 1.0], "x", "reference")):
        with pytest.raises(ValueError, match=rf"^{word} "):
            off_support_mass(u, reference, 1.0)  # type: ignore[arg-type]


def test_a_frontier_in_lines_and_a_curve() -> None:
    reward, reference = np.array([0.0, 1.0, 5.0]), np.array([0.5, 0.3, 0.2])
    found = reward_frontier(reward, reference)
    assert found._facts() == [
        ("policies", len(found.kl)), ("largest KL", f"{found.kl.max():.6g} nats"), ("best value", found.value.max()),
    ]  # fmt: skip
    drawn = found._panel()
    assert (drawn.title, drawn.x, drawn.y) == ("the most that KL buys", "KL(π‖πref)  [nats]", "best value")
    assert heights(drawn) == {"best for its KL": found.value.tolist()}
    moved = reward_frontier(reward + 100.0, reference)  # the grid of strengths knows the spread, not the level
    np.testing.assert_allclose(moved.kl, found.kl, rtol=1e-9, atol=1e-12)
    scaled = reward_frontier(7 * reward, reference)
    np.testing.assert_allclose(scaled.kl, found.kl, rtol=1e-9, atol=1e-12)


def test_policies_as_bars() -> None:
    game = nash_policy([[0.5, 1.0], [0.0, 0.5]], [0.5, 0.5], 0.5)
    assert game._panel().title == "regularized game: equilibrium"
    assert heights(game._panel())["equilibrium"] == game.policy.tolist()
    held = restricted_optimum([0.0, 1.0, 2.0], [0.5, 0.25, 0.25], [[0.0], [1.0], [2.0]], 0.5)
    assert held._panel().title == "best policy of the class: optimum"
    shown = heights(held._panel())
    assert shown["in the class"] == held.policy.tolist()
    assert any(np.allclose(values, [0.5, 0.25, 0.25]) for values in shown.values())
    assert list(held._columns()) == ["policy", "log_ratio"]
    np.testing.assert_array_equal(held._columns()["log_ratio"], held.log_ratio)
    tree = PrefixTree(2, 2, 0.4)
    words = solve_sequences(tree, tree.problem(gpo.bradley_terry(np.arange(tree.n) / 3)), "dpo", 1.0)
    assert words._panel().title == "policy over sequences: optimum"
    assert heights(words._panel())["sum"] == words.policy.tolist()
    assert any(np.allclose(values, tree.reference) for values in heights(words._panel()).values())
    simpo = replace(words, reduction="mean_without_reference")
    assert "mean without reference" in heights(simpo._panel())


def test_kto_at_rest_in_lines_columns_and_bars() -> None:
    solution = TWO.solve("kto", 0.5)
    found = SelfConsistentKTO(0.25, np.array([1.0, 0.0]), (0.25, 0.5), (), solution)
    assert found._facts() == [
        ("reference point, nats", 0.25), ("all roots", "0.25, 0.5"), ("jumps", "none"),
        ("status", str(solution.status)),
    ]  # fmt: skip
    assert dict(replace(found, roots=(), jumps=(1 / 3,))._facts())["jumps"] == "0.333333"
    columns = found._columns()
    assert columns["item"].tolist() == ["good", "bad"]
    assert columns["policy"].tolist() == [1.0, 0.0]
    drawn = found._panel()
    assert drawn.title == "KTO at its own reference point: 0.25 nats"
    assert heights(drawn)["KTO"] == [1.0, 0.0]
    assert any(np.allclose(values, [0.25, 0.75]) for values in heights(drawn).values())


@pytest.mark.parametrize(("up", "down"), [(2.0, 1.0), (1.0, 3.0)])
def test_kto_s_weights_of_both_kinds_count(up: float, down: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no policy is at rest the solution is that at r = 0; what is looked at on the way is β KL(π_r) − r."""
    excesses: dict[float, float] = {}

    def none(excess: Callable[[float], float], most: float) -> tuple[list[float], list[float]]:
        assert most == pytest.approx(0.6 * np.log(4))
        excesses[0.2] = excess(0.2)
        return [], [0.1]

    monkeypatch.setattr(kto, "crossings", none)
    found = self_consistent_kto(TWO, 0.6, desirable=up, undesirable=down)
    still = TWO.solve(get_two_ratio_loss("kto", desirable=up, undesirable=down), 0.6)
    assert found.solution.population_loss == still.population_loss
    assert (found.roots, found.jumps) == ((), (0.1,))
    assert np.isnan(found.reference_point)
    assert np.isnan(found.policy).all()
    assert found.policy.shape == (2,)
    at = TWO.solve(get_two_ratio_loss("kto", reference_point=0.2, desirable=up, undesirable=down), 0.6).limit
    assert at is not None
    assert excesses[0.2] == pytest.approx(0.6 * float(rel_entr(at, TWO.reference).sum()) - 0.2, abs=1e-12)
