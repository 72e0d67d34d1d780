"""Terms far out: what leads, with its constants, however many digits they have."""

from __future__ import annotations

import pytest
import sympy

from gpo_analysis.calculus import budget, expansions
from gpo_analysis.calculus.budget import simplified
from gpo_analysis.calculus.expansions import _ordered, expansion_at_infinity

Z = sympy.Symbol("z", real=True)
exp, Q = sympy.exp, sympy.Rational


@pytest.mark.parametrize("constant", [7, 12345, 10**30 + 1, Q(355, 113), sympy.pi, -sympy.sqrt(2)])
def test_what_leads_and_its_constant(constant: sympy.Expr) -> None:
    found = expansion_at_infinity(constant * exp(2 * Z) + 6 * Z - 77, Z, 1)
    assert found is not None
    first = found.terms[0]
    assert first.coefficient() == constant
    alone = expansion_at_infinity(constant + exp(-Z) * 77, Z, 1)
    assert alone is not None
    assert alone.terms[0].coefficient() == constant


def test_large_constants_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is above the bound is returned untouched, for sympy sets no bound to its own work."""
    constant = sympy.sqrt(2) / (1 + sympy.sqrt(2)) + 1 / (1 + sympy.sqrt(2))
    assert simplified(constant) == 1
    monkeypatch.setattr(budget, "SIMPLIFY_NODES", budget.nodes(constant))
    assert simplified(constant) == 1
    monkeypatch.setattr(budget, "SIMPLIFY_NODES", budget.nodes(constant) - 1)
    assert simplified(constant) is constant


def test_a_first_coefficient_that_is_not_reached_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the work is used up the term begins no earlier than what was looked at, and is not called zero."""
    x = sympy.Symbol("x", positive=True)
    exact = _ordered(x**20 * exp(x), x, 0)
    assert (exact.order, exact.is_zero) == (20, False)
    monkeypatch.setattr(expansions, "_WORK", 0)
    short = _ordered(x**20 * exp(x), x, 0)
    assert 0 < short.order <= 20
    assert not short.is_zero
    assert short.coefficient() is None
    assert _ordered(exp(x) - exp(x / 2) ** 2 + 0 * x, x, 0).is_zero
