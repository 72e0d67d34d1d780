"""The table of a notebook: formulas as they are, line breaks, nothing beside them; conventions' words."""

from __future__ import annotations

import dataclasses
import re

import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.analysis import report
from gpo_analysis.analysis.conjugate import _domain
from gpo_analysis.analysis.convention_rows import own_convention
from gpo_analysis.analysis.report import as_html
from gpo_analysis.losses import two_ratio_losses

LOSSES = ("log(1+exp(-z))", "max(0,1-z)**2+exp(-z)", "min(1,max(0,1-z))", "sqrt(abs(z))")


@pytest.mark.parametrize("text", LOSSES)
def test_cells_of_a_notebook(text: str) -> None:
    found = gpo.analyze(gpo.parse_loss(text))
    shown = as_html(found)
    cells = dict(re.findall(r"<tr><t[dh][^>]*>(.*?)</t[dh]><td[^>]*>(.*?)</td></tr>", shown, re.DOTALL))
    assert cells["f(z)"] == f"$\\displaystyle {sympy.latex(found.expression)}$"
    conjugate = found.conjugate
    (key,) = [name for name in cells if name.startswith("conjugate")]
    if conjugate.expression is not None and cells[key].startswith("$"):
        domain = "" if conjugate.domain is None else f",\\quad s \\in {sympy.latex(conjugate.domain)}"
        assert cells[key] == f"$\\displaystyle {sympy.latex(conjugate.expression)}{domain}$"


def test_a_conjugate_whose_domain_is_not_known_stands_alone() -> None:
    found = gpo.analyze("exponential")
    open_ended = dataclasses.replace(found, conjugate=dataclasses.replace(found.conjugate, domain=None))
    assert f">$\\displaystyle {sympy.latex(found.conjugate.expression)}$<" in as_html(open_ended)


def test_lines_of_a_cell_are_broken_and_signs_are_no_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "rows", lambda _: [("what", "a < b\nc & d")])
    assert ">a &lt; b<br>c &amp; d</td>" in as_html(gpo.analyze("dpo"))


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("log(1+exp(-z))", sympy.Interval(-1, 0)),
        ("(1-z)**2", sympy.Interval(-sympy.oo, sympy.oo)),
        ("max(0,1-z)", sympy.Interval(-1, 0)),
        ("exp(-z)", sympy.Interval(-sympy.oo, 0)),
        ("exp(-z)-z", sympy.Interval(-sympy.oo, -1)),
        ("log(1+exp(-z))+sqrt(1+z**2)", sympy.Interval(-2, 1)),
        ("min(1,max(0,1-z))", sympy.FiniteSet(0)),
        ("1-z", sympy.FiniteSet(-1)),
        ("abs(z)-2*abs(z-1)", sympy.EmptySet),
        ("-log(1+z**2)", sympy.EmptySet),  # both slopes are 0, and f falls without a bound
        ("-sqrt(sqrt(1+z**2))", sympy.EmptySet),
        ("sqrt(abs(z))", sympy.FiniteSet(0)),
    ],
)
def test_slopes_of_which_the_conjugate_is_finite(text: str, domain: sympy.Set) -> None:
    """sup_z (s z − f(z)) < ∞."""
    found = _domain(gpo.parse_loss(text))
    assert found == domain or (text.endswith("sqrt(1+z**2)") and found is not None and found.closure == domain)


def test_losses_of_two_log_ratios_are_written_in_the_log_ratios() -> None:
    for name in two_ratio_losses():
        objective = own_convention(gpo.get_loss(name)).objective
        assert set(re.findall(r"[βΒ]\w+", objective)) <= {"βh_w", "βh_l"}, name
        assert "βh_w" in objective
