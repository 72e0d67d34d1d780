"""Conjugates and whole analyses that stand in textbooks, or take a line by hand."""

from __future__ import annotations

from typing import Any

import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.analysis.conjugate import SLOPE as S
from gpo_analysis.analysis.conjugate import closed_conjugate

log, oo, Q = sympy.log, sympy.oo, sympy.Rational
#: f*(s) = sup_z (s z − f(z)) with slopes at which it is looked at.
CONJUGATES = {
    "max(0, 1-z)": (S, (-0.9, -0.3)),
    "abs(1-z)": (S, (-0.9, 0.3)),
    "(1-z)**2": (S + S**2 / 4, (-3.0, 0.0, 2.5)),
    "max(0, 1-z)**2": (S + S**2 / 4, (-3.0, -0.5)),
    "exp(-z)": (S - S * log(-S), (-3.0, -0.2)),
    "log(1+exp(-z))": (-S * log(-S) + (1 + S) * log(1 + S), (-0.8, -0.1)),
    "max(0, 1-z, -2*z)": (sympy.Piecewise((-S - 2, S < -1), (S, True)), (-1.9, -1.2, -0.8, -0.1)),
    "z**2/2 + abs(z)": (sympy.Max(0, abs(S) - 1) ** 2 / 2, (-2.5, -0.4, 0.9, 3.0)),
}


@pytest.mark.parametrize("text", CONJUGATES)
def test_conjugates_of_textbooks_are_found_in_closed_form(text: str) -> None:
    meant, slopes = CONJUGATES[text]
    found = closed_conjugate(gpo.get_loss(text)).expression
    assert found is not None
    for s in slopes:
        assert float(found.subs(S, s)) == pytest.approx(float(meant.subs(S, s)), abs=1e-12), s


def _exact(value: Any) -> dict[str, Any] | None:
    value = sympy.sympify(value)
    return {"exact": str(value), "float": None if value.is_infinite else float(value)}


def _tail(kind: str, limit: Any, slope: Any, attained: bool, flat_from: Any, growth: Any) -> dict[str, Any]:
    ends = {"flat_from": flat_from, "growth": growth}
    return {
        "kind": kind, "limit": _exact(limit), "slope": _exact(slope), "attained": attained,
        **{name: None if value is None else _exact(value) for name, value in ends.items()},
    }  # fmt: skip


def test_a_whole_analysis_of_hinge() -> None:
    found = gpo.analyze("hinge").to_dict()
    words = {name: found.pop(name) for name in ("convexity_proof", "calibration_proof", "undecided", "unproved")}
    assert words["convexity_proof"]
    assert words["calibration_proof"]
    assert not words["undecided"]
    assert not words["unproved"]
    assert found == {
        "name": "hinge", "expression": "Max(0, 1 - z)", "value": _exact(1), "slope": _exact(-1),
        "curvature": _exact(0), "curvature_ratio": _exact(0), "is_convex": True, "nonconvex_region": None,
        "is_calibrated": True, "taylor_radius": _exact(1), "kinks": [_exact(1)],
        "left_tail": _tail("linear", oo, -1, True, None, 1), "right_tail": _tail("flat", 0, 0, True, 1, None),
        "link": found["link"], "at_certainty": {"kind": "half line", "margin": _exact(1)},
        "bayes_risk": found["bayes_risk"], "conjugate": {"expression": "s", "domain": "Interval(-1, 0)"},
    }  # fmt: skip
    eta = sympy.Symbol("eta", real=True)
    link, risk = (sympy.sympify(found[name], locals={"eta": eta}) for name in ("link", "bayes_risk"))
    for share in (Q(1, 10), Q(2, 5), Q(3, 5), Q(9, 10)):  # sign(η − ½), and 2 min(η, 1 − η)
        assert link.subs(eta, share) == (1 if share > Q(1, 2) else -1)
        assert risk.subs(eta, share) == 2 * min(share, 1 - share)
