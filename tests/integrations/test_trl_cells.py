"""Cells of the table that need no TRL: optima against closed forms and scipy's solver, flows against the optimum."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, xlogy

pytest.importorskip("torch", reason="the cells belong to a table that executes TRL")
pytest.importorskip("trl", reason="the cells belong to a table that executes TRL: pip install 'gpo-analysis[trl]'")

from gpo_analysis import get_loss
from gpo_analysis.analysis import BetaConvention, get_convention
from gpo_analysis.divergences import get_link
from gpo_analysis.integrations import trl_optima
from gpo_analysis.integrations.trl_optima import (
    dynamics_cell,
    link_dynamics_cell,
    link_optimum_cell,
    optimum_cell,
    scipy_optimum,
    table_problem,
)
from gpo_analysis.losses import get_two_ratio_loss

BETA = 0.5
STRENGTHS = np.array([0.0, 0.5, 0.9, 1.3])
#: Win probabilities of ordered pairs, and how often each pair is drawn.
P = expit(STRENGTHS[:, None] - STRENGTHS)
MU = np.array([0.4, 0.3, 0.2, 0.1])
REFERENCE = np.array([0.35, 0.3, 0.2, 0.15])
#: −E log P(winner): the least of E f(βρ) for the logistic loss.
ENTROPY = float(-(MU[:, None] * MU * (xlogy(P, P) + xlogy(1 - P, 1 - P))).sum())


def tilted(reward: np.ndarray) -> np.ndarray:
    policy = REFERENCE * np.exp(reward)
    return np.asarray(policy / policy.sum())


def row(name: str, **changes: Any) -> BetaConvention:
    return dataclasses.replace(get_convention(f"trl:{name}"), **changes)


def test_the_problem_is_bradley_terry_s_with_a_sampler_and_a_reference_that_are_not_uniform() -> None:
    problem = table_problem()
    np.testing.assert_allclose(problem.reference, REFERENCE)
    pairs = problem.directed_pairs()
    expected = 2 * MU[pairs.winner] * MU[pairs.loser] * P[pairs.winner, pairs.loser]
    np.testing.assert_allclose(pairs.weight / pairs.weight[0], expected / expected[0])


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_scipy_finds_the_optimum_that_bradley_terry_has_in_closed_form(beta: float) -> None:
    policy, least = scipy_optimum(table_problem(), get_loss("logistic"), beta)
    np.testing.assert_allclose(policy, tilted(STRENGTHS / beta), atol=1e-8)
    assert least == pytest.approx(ENTROPY, abs=1e-12)


def test_scipy_s_least_loss_of_two_log_ratios_is_that_of_its_policy() -> None:
    loss, problem = get_two_ratio_loss("nca_pair"), table_problem()
    policy, least = scipy_optimum(problem, loss, BETA)
    h = BETA * np.log(policy / REFERENCE)
    weight = 2 * MU[:, None] * MU * P
    values = np.array([[loss(a, b) for b in h] for a in h])
    assert least == pytest.approx(float((weight * values).sum()), rel=1e-12)
    assert policy.sum() == pytest.approx(1, abs=1e-12)
    assert least <= float(loss(0.0, 0.0))


@pytest.mark.parametrize(
    ("name", "spread", "starts"),
    [("squared", 1.0, 3), ("savage", 4.0, 16), ("nca_pair", 1.0, 3), ("apo_zero", 4.0, 16)],
)
def test_what_is_not_convex_is_looked_for_from_more_places_and_farther(
    monkeypatch: pytest.MonkeyPatch, name: str, spread: float, starts: int
) -> None:
    told: dict[str, Any] = {}

    def constrained(reference: np.ndarray, both: Any, **named: Any) -> tuple[np.ndarray, float]:
        told.update(named)
        return reference, 0.0

    monkeypatch.setattr(trl_optima, "_constrained", constrained)
    loss = get_two_ratio_loss(name) if "_" in name else get_loss(name)
    scipy_optimum(table_problem(), loss, BETA)
    assert told == {"spread": spread, "starts": starts}


def test_every_search_begins_at_a_policy_and_goes_on_until_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver is replaced by one that walks towards a point, and not to a policy, three times."""
    target, calls = np.array([0.3, -0.2, 0.1, 0.4]), []

    def solver(both: Any, h: np.ndarray, *, constraints: Any, bounds: Any, **_: Any) -> Any:
        (constraint,) = constraints
        assert constraint["type"] == "eq"
        assert constraint["fun"](h) == pytest.approx(0, abs=1e-12), "Σ πref e^h = 1"
        other = h + 0.1
        assert constraint["fun"](other) == pytest.approx(float((REFERENCE * np.exp(other)).sum()) - 1, abs=1e-12)
        np.testing.assert_allclose(constraint["jac"](other), REFERENCE * np.exp(other))
        assert [high for _, high in bounds] == pytest.approx(list(-np.log(REFERENCE))), "no probability is above 1"
        assert {low for low, _ in bounds} == {-60.0}
        calls.append(h)
        return SimpleNamespace(x=target if len(calls) % 3 else h)

    monkeypatch.setattr(trl_optima, "minimize", solver)
    wanted = tilted(target)

    def both(h: np.ndarray) -> tuple[float, np.ndarray]:
        return float(np.sum((REFERENCE * np.exp(h) - wanted) ** 2)), h

    policy, least = trl_optima._constrained(REFERENCE, both, spread=0.5, starts=2)
    np.testing.assert_allclose(policy, wanted, atol=1e-12)
    assert least == pytest.approx(0, abs=1e-20)
    begun = [h for k, h in enumerate(calls) if k == 0 or np.abs(h - calls[k - 1]).max() > 1e-9]
    assert np.allclose(calls[0], 0), "the first begins at πref"
    assert len(begun) >= 3
    assert len(calls) <= 4 * 3


NUMBER = r"-?\d(?:\.\d)?e[+-]\d\d"


@pytest.mark.parametrize(
    ("name", "epsilon", "tail"),
    [
        ("sigmoid", 0.0, ""),
        ("ipo", 0.0, r" \(all responses of one token\)"),
        ("robust", 0.1, ""),
        ("sppo_hard", 0.0, rf", gap at most {NUMBER}"),
    ],
)
def test_an_optimum_s_cell_says_how_far_scipy_is(name: str, epsilon: float, tail: str) -> None:
    cell = optimum_cell(row(name), epsilon)
    said = rf"optimum: scipy's policy is ({NUMBER}) away, its loss ({NUMBER}) above{tail}"
    found = re.fullmatch(said, cell.text)
    assert found is not None, cell.text
    assert float(found.group(1)) <= 1e-8
    assert abs(float(found.group(2))) <= 1e-14
    assert cell.holds is True


def test_a_policy_elsewhere_fails_its_cell_and_the_cell_says_by_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    right = tilted(STRENGTHS / BETA)
    for off, holds in ((5e-9, True), (2e-8, False), (0.125, False)):
        wrong = right + off * np.array([1.0, -0.5, -0.5, 0.0])
        monkeypatch.setattr(trl_optima, "scipy_optimum", lambda *_, wrong=wrong: (wrong, ENTROPY + 0.25))
        cell = optimum_cell(row("sigmoid"), 0.0)
        assert cell.holds is holds
        away = float(re.search(r"policy is (\S+) away", cell.text).group(1))  # type: ignore[union-attr]
        assert away == pytest.approx(off, rel=0.1)
        assert "its loss 2e-01 above" in cell.text or "its loss 3e-01 above" in cell.text


def test_where_there_is_no_optimum_scipy_may_be_above_and_not_below(monkeypatch: pytest.MonkeyPatch) -> None:
    given = SimpleNamespace(
        converged=False, population_loss=0.5, status="no finite optimum", reason="it runs off", policy=REFERENCE
    )
    monkeypatch.setattr(trl_optima, "_solved", lambda *_: given)
    for least, holds in ((0.75, True), (0.5 - 5e-9, True), (0.5 - 5e-8, False), (0.25, False)):
        monkeypatch.setattr(trl_optima, "scipy_optimum", lambda *_, least=least: (REFERENCE, least))
        cell = optimum_cell(row("sigmoid"), 0.0)
        assert cell.text == f"no finite optimum: it runs off; scipy's least is {least - 0.5:.1e} above"
        assert cell.holds is holds
        assert optimum_cell(row("ipo"), 0.0).text.endswith("above (all responses of one token)")


def test_the_hinge_is_a_linear_program(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = optimum_cell(row("hinge"), 0.0)
    assert re.fullmatch(r"optimum: scipy's linear program has the policy \S+ away, the loss \S+", cell.text)
    assert cell.holds is True
    solved = table_problem().solve("hinge", BETA)
    # by brute force: the loss is linear between kinks, at margins of whole numbers
    grid = np.array(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij")).reshape(3, -1)
    g = np.vstack([np.zeros(grid.shape[1]), grid])
    every = sum(2 * MU[i] * MU[j] * P[i, j] * np.maximum(0, 1 - (g[i] - g[j])) for i in range(4) for j in range(4))
    assert solved.population_loss == pytest.approx(float(np.min(every)), abs=1e-12)
    for change in ({"policy": solved.policy[::-1]}, {"population_loss": solved.population_loss + 1e-3}):
        found = SimpleNamespace(
            **{"status": solved.status, "policy": solved.policy, "population_loss": solved.population_loss} | change
        )
        assert trl_optima._against_linear_program(found, BETA).holds is False  # type: ignore[arg-type]


def test_batches_have_no_optimum_and_no_flow() -> None:
    sorts = optimum_cell(row("aot"), 0.1)
    assert (sorts.holds, sorts.text) == (
        None, "none: a batch is sorted, so that no loss of pairs stands under the expectation"
    )  # fmt: skip
    flows = dynamics_cell(row("aot_unpaired"), 0.1)
    assert flows.holds is None
    assert flows.text.startswith("none in a world of pairs: ranks jump")


def test_a_gradient_flow_ends_at_the_optimum() -> None:
    for name in ("sigmoid", "ipo"):
        cell = dynamics_cell(row(name), 0.0)
        above = re.fullmatch(rf"gradient flow ends ({NUMBER}) above the optimum", cell.text)
        assert above is not None, cell.text
        assert abs(float(above.group(1))) < 1e-12
        assert cell.holds is True


@pytest.mark.parametrize(
    ("status", "above", "finished", "holds"),
    [
        ("OPTIMUM", 5e-7, True, True), ("OPTIMUM", 2e-6, True, False), ("OPTIMUM", -2e-6, True, False),
        ("OPTIMUM", 0.0, False, False), ("STATIONARY_POINT", 0.25, True, True),
        ("STATIONARY_POINT", -5e-7, True, True), ("STATIONARY_POINT", -2e-6, True, False),
        ("STATIONARY_POINT", 0.25, False, False),
    ],
)  # fmt: skip
def test_a_flow_may_end_above_a_stationary_point_and_not_above_an_optimum(
    monkeypatch: pytest.MonkeyPatch, status: str, above: float, finished: bool, holds: bool
) -> None:
    from gpo_analysis.solvers.minimum import Status

    told: dict[str, Any] = {}

    def train(problem: Any, loss: Any, beta: float, **named: Any) -> Any:
        told.update(named, beta=beta, loss=loss.name)
        return SimpleNamespace(columns={"loss": [9.0, 0.5 + above], "gradient_norm": [7.0, 2e-5]}, finished=finished)

    monkeypatch.setattr(trl_optima, "train", train)
    monkeypatch.setattr(
        trl_optima, "_solved", lambda *_: SimpleNamespace(status=getattr(Status, status), population_loss=0.5)
    )
    cell = dynamics_cell(row("ipo"), 0.0)
    assert (told["loss"], told["beta"], told["optimizer"]) == ("squared", 2 * BETA, "flow")
    assert cell.holds is holds
    if status == "OPTIMUM":
        assert cell.text == f"gradient flow ends {above:.1e} above the optimum"
    else:
        assert cell.text == f"gradient flow ends with a gradient of 2e-05, {above:.1e} above the value beside"


@pytest.mark.parametrize("name", ["forward_kl", "jensen_shannon"])
def test_links_have_their_optimum_and_their_flow(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    link, told = get_link(name), {}
    real: Any = trl_optima._constrained

    def constrained(reference: np.ndarray, both: Any, *rest: Any, **named: Any) -> tuple[np.ndarray, float]:
        told["both"] = both
        return real(reference, both, *rest, starts=0)

    monkeypatch.setattr(trl_optima, "_constrained", constrained)
    cell = link_optimum_cell(link)
    assert re.fullmatch(rf"optimum: scipy's policy is {NUMBER} away", cell.text), cell.text
    assert cell.holds is True
    h = np.array([0.2, -0.4, 0.1, 0.6])
    value, slope = told["both"](h)
    z = BETA * (link.of_log(h)[:, None] - link.of_log(h))
    off = ~np.eye(4, dtype=bool)
    assert value == pytest.approx(float((2 * MU[:, None] * MU * P * np.logaddexp(0, -z))[off].sum()), rel=1e-12)
    for k in range(4):
        step = np.zeros(4)
        step[k] = 1e-6
        numeric = (told["both"](h + step)[0] - told["both"](h - step)[0]) / 2e-6
        assert slope[k] == pytest.approx(numeric, abs=1e-8)
    monkeypatch.setattr(trl_optima, "_constrained", lambda *_: (REFERENCE, 0.0))
    assert link_optimum_cell(link).holds is False
    flow = link_dynamics_cell(link)
    off_by = re.fullmatch(rf"gradient flow ends ({NUMBER}) from the optimum", flow.text)
    assert off_by is not None
    assert float(off_by.group(1)) < 1e-9
    assert flow.holds is True


@pytest.mark.parametrize(
    ("status", "off", "holds"),
    [("finished", 5e-7, True), ("finished", 2e-6, False), ("failed", 0.0, False)],
)
def test_a_link_s_flow_that_ends_elsewhere_or_early_fails(
    monkeypatch: pytest.MonkeyPatch, status: str, off: float, holds: bool
) -> None:
    link = get_link("forward_kl")
    there = table_problem().solve("dpo", BETA, link=link).policy
    run = SimpleNamespace(policies=[REFERENCE, there + off * np.array([1.0, -0.5, -0.5, 0.0])], status=status)
    monkeypatch.setattr(trl_optima, "link_flow", lambda *_, **__: run)
    cell = link_dynamics_cell(link)
    assert (cell.text, cell.holds) == (f"gradient flow ends {off:.1e} from the optimum", holds)
