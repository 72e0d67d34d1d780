"""``analyze`` against the table of the GPO paper's losses, and on everything a user may type."""

from __future__ import annotations

import json
import math

import mpmath
import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.analysis import LossAnalysis, calibration, certainty, closed_bayes_risk, closed_link
from gpo_analysis.analysis.report import as_html, as_text
from gpo_analysis.calculus.tails import KINDS
from tests.analysis.losses import TYPED, loss_of, precise

Q, oo, pi, log = sympy.Rational, sympy.oo, sympy.pi, sympy.log
ETA = sympy.Symbol("eta", real=True)

# name: f(0), f′(0), f″(0), κ, convex, radius, what happens at η = 1
PAPER = {
    "logistic": (log(2), -Q(1, 2), Q(1, 4), Q(1, 2), True, pi, "infinity"),
    "hinge": (1, -1, 0, 0, True, 1, "half line"),
    "squared": (1, -2, 2, 1, True, oo, "finite margin"),
    "exponential": (1, -1, 1, 1, True, oo, "infinity"),
    "truncated_quadratic": (1, -2, 2, 1, True, 1, "half line"),
    "savage": (Q(1, 4), -Q(1, 4), Q(1, 8), Q(1, 2), False, pi, "infinity"),
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_six(name: str) -> None:
    a = gpo.analyze(name)
    found = (a.value, a.slope, a.curvature, a.curvature_ratio, a.is_convex, a.taylor_radius, a.at_certainty.kind)
    assert found == PAPER[name]
    assert a.slope < 0
    assert a.is_calibrated
    assert a.name == name
    assert a.loss == gpo.get_loss(name)


@pytest.mark.parametrize("name", gpo.list_losses())
def test_values_at_zero_in_fifty_digits(name: str) -> None:
    a = gpo.analyze(name)
    with mpmath.workdps(60):
        f = precise(a.loss)
        step = mpmath.mpf(10) ** -18
        values = [mpmath.mpf(f(k * step)) for k in (-2, -1, 0, 1, 2)]
        slope = (values[0] - 8 * values[1] + 8 * values[3] - values[4]) / (12 * step)
        curvature = (-values[0] + 16 * values[1] - 30 * values[2] + 16 * values[3] - values[4]) / (12 * step**2)
        for exact, numeric in ((a.value, values[2]), (a.slope, slope), (a.curvature, curvature)):
            assert abs(mpmath.mpf(str(sympy.N(exact, 40))) - numeric) < mpmath.mpf(10) ** -18
    assert float(a.curvature_ratio) == pytest.approx(float(curvature) / abs(float(slope)), rel=1e-12)


def test_lrml() -> None:
    a = gpo.analyze("lrml")
    assert sympy.simplify(a.slope - (Q(17, 4) - log(32))) == 0
    assert a.slope > 0
    assert a.curvature == -Q(35, 8)
    assert a.taylor_radius == pi / 20
    assert a.is_convex is False
    assert a.is_calibrated
    assert a.curvature_ratio < 0


@pytest.mark.parametrize("name", gpo.list_losses())
def test_the_catalogues_claims(name: str) -> None:
    a = gpo.analyze(name)
    claims = a.loss.claims
    assert claims is not None
    assert a.is_convex is claims.convex
    assert tuple(str(kink) for kink in a.kinks) == claims.kinks
    bounded_below = "unbounded_below" not in (a.left_tail.kind, a.right_tail.kind)
    assert bounded_below is claims.bounded_below


@pytest.mark.parametrize("text", [*gpo.list_losses(), *TYPED])
def test_everything_typed_is_analysed_shown_and_written(text: str) -> None:
    a = gpo.analyze(loss_of(text))
    assert isinstance(a, LossAnalysis)
    table, page = as_text(a), as_html(a)
    assert str(a) == repr(a) == table
    assert a._repr_html_() == page
    assert a.name in table
    assert "<table>" in page
    source = text in gpo.list_losses()  # with the parameters that a name stands for
    assert page.count("<tr>") == page.count("</tr>") == 17 + source
    assert table.endswith(a.loss.reference) == source
    written = json.loads(a.to_json())
    assert written == a.to_dict()
    assert set(written) == {f for f in LossAnalysis.__dataclass_fields__ if f != "loss"}
    for name in ("value", "slope", "curvature", "curvature_ratio", "taylor_radius"):
        value = getattr(a, name)
        assert written[name]["exact"] == str(value)
        if value is not sympy.nan and value.is_finite:
            assert written[name]["float"] == pytest.approx(float(value), rel=1e-14)
        else:
            assert written[name]["float"] is None
    assert a.left_tail.kind in KINDS
    assert a.right_tail.kind in KINDS
    assert gpo.analyze(loss_of(text)) is a


def test_closed_forms_of_the_paper() -> None:
    logit = log(ETA / (1 - ETA))
    entropy = -ETA * log(ETA) - (1 - ETA) * log(1 - ETA)
    s = sympy.Symbol("s", real=True)
    known = {
        "logistic": (logit, entropy, -s * log(-s) + (1 + s) * log(1 + s), sympy.Interval(-1, 0)),
        "hinge": (sympy.sign(2 * ETA - 1), None, s, sympy.Interval(-1, 0)),
        "squared": (2 * ETA - 1, 4 * ETA * (1 - ETA), s + s**2 / 4, sympy.Interval(-oo, oo)),
        "exponential": (logit / 2, None, s - s * log(-s), sympy.Interval(-oo, 0)),
        "truncated_quadratic": (2 * ETA - 1, 4 * ETA * (1 - ETA), s + s**2 / 4, sympy.Interval(-oo, 0)),
        "savage": (logit, ETA * (1 - ETA), sympy.S.Zero, sympy.FiniteSet(0)),
    }
    for name, (link, risk, conjugate, domain) in known.items():
        a = gpo.analyze(name)
        assert sympy.simplify(a.link - link) == 0
        if risk is not None:
            assert a.bayes_risk is not None
            assert sympy.simplify(a.bayes_risk - risk) == 0
        assert a.conjugate.expression is not None
        assert sympy.simplify(a.conjugate.expression - conjugate) == 0
        assert a.conjugate.domain == domain


@pytest.mark.parametrize("text", [*gpo.list_losses(), *TYPED])
def test_closed_links_and_risks_agree_with_numbers_they_were_not_tried_on(text: str) -> None:
    loss = loss_of(text)
    link, risk = closed_link(loss), closed_bayes_risk(loss)
    points = np.array([0.04567, 0.2222, 0.456, 0.5321, 0.71234, 0.8888, 0.9456])
    margins, risks = gpo.optimal_margin(loss, points), gpo.analyze(loss).bayes_risk_at(points)
    for form, truth in ((link, margins), (risk, risks)):
        if form is None:
            continue
        for point, wanted in zip(points, truth, strict=True):
            value = form.subs(ETA, sympy.Float(point, 30))
            number = math.inf if value == oo else -math.inf if value == -oo else complex(value).real
            assert number == pytest.approx(wanted, rel=1e-8, abs=1e-10)


def test_certainty() -> None:
    wanted = {
        "ipo": ("finite margin", 1),
        "slic": ("half line", 1),
        "truncated_quadratic": ("half line", 1),
        "dpo": ("infinity", oo),
        "kliep": ("unbounded below", oo),
        "robust_logistic": ("unbounded below", oo),
        "smoothed_logistic": ("finite margin", log(9)),
    }
    for name, (kind, margin) in wanted.items():
        found = certainty(name)
        assert found.kind == kind
        assert found.margin == margin or abs(float(found.margin) - float(margin)) < 1e-13
    assert certainty(loss_of("z")).margin == -oo
    assert certainty(loss_of("z")).kind == "unbounded below"
    assert certainty(loss_of("max(0,exp(-z)-z)")).margin == sympy.LambertW(1)
    assert certainty(loss_of("(1-z)**64")).margin == 1
    assert certainty(loss_of("min(1,max(0,1-z))")).kind == "half line"
    dip = certainty(loss_of("-z*exp(-z**2)"))
    assert (dip.kind, dip.margin) == ("finite margin", sympy.sqrt(2) / 2)
    awkward = certainty(gpo.parse_loss("exp(-z)+z**2/7+atan(z)/9"))
    assert awkward.margin.is_Float


def test_methods_are_the_functions() -> None:
    a = gpo.analyze("dpo")
    assert float(a.optimal_margin(0.7)) == float(gpo.optimal_margin("dpo", 0.7))
    assert a.taylor(3) == gpo.taylor("dpo", 3)
    assert a.taylor_remainder_bound(2, 0.5) == gpo.taylor_remainder_bound("dpo", 2, 0.5)
    assert float(a.conjugate(-0.5)) == pytest.approx(-math.log(2))


def test_kinks_at_zero_are_not_defined_and_said() -> None:
    a = gpo.analyze(loss_of("log(1+exp(-z))+max(0,-z)/2"))
    assert a.slope is sympy.nan
    assert a.curvature is sympy.nan
    assert a.curvature_ratio is sympy.nan
    assert a.taylor_radius == 0
    assert "not defined" in str(a)
    smooth = gpo.analyze(loss_of("abs(z)**3"))
    assert (smooth.slope, smooth.curvature) == (0, 0)
    assert smooth.curvature_ratio is sympy.nan


def test_text_and_html() -> None:
    text = str(gpo.analyze("savage"))
    assert "f″ < 0 on (-∞, -log(2))" in text
    assert "1/4 ≈ 0.25" in text
    page = gpo.analyze("savage")._repr_html_()
    assert r"\log{\left(\frac{\eta}{1 - \eta} \right)}" in page
    assert "f'' < 0" in page
    hinge = str(gpo.analyze("hinge"))
    assert "flat at 0, from z = 1 on" in hinge
    assert "half line: every z ≥ 1" in hinge
    assert "finite margin z = 1" in str(gpo.analyze("ipo"))
    assert "numerical" in gpo.analyze("lrml")._repr_html_()
    assert "∪" in str(gpo.analyze(gpo.parse_loss("log(1+abs(z))")))
    assert (
        "not decided" in str(gpo.analyze(gpo.parse_loss("sqrt(cosh(z)-1)")))
        or gpo.analyze(gpo.parse_loss("sqrt(cosh(z)-1)")).is_convex
    )


def test_calibration_by_theorem_and_by_risk() -> None:
    assert "Bartlett" in calibration(gpo.get_loss("dpo")).proof
    wanted = {
        "savage": True,
        "lrml": True,
        "sba": True,
        "1-tanh(z)": True,
        "min(1,max(0,1-z))": True,
        "-z": True,
        "z": False,
        "exp(-z)+z": False,
        "1+0*z": False,
        "abs(abs(z-1)-1)": False,
        "exp(-z**2)": False,
        "log(1+exp(-z))+max(0,-z)/2": False,
        "max(0,-z)": False,
        "sqrt(abs(z))": False,
        "1/(1+exp(-z))": False,
    }
    for text, holds in wanted.items():
        assert calibration(loss_of(text)).is_calibrated is holds, text
    assert "f(z) = f(−z)" in calibration(loss_of("exp(-z**2)")).proof
    assert "not convex; at η" in calibration(loss_of("abs(abs(z-1)-1)")).proof


def test_calibration_by_brute_force() -> None:
    # the definition, on a grid of its own: for η > ½ some margin of the right sign beats every other one
    grid = np.sinh(np.linspace(-5, 5, 4001))
    for text in ("savage", "lrml", "1-tanh(z)", "exp(-z**2)", "squared", "1/(1+exp(-z))", "hinge"):
        loss = loss_of(text)
        holds = True
        for eta in (0.55, 0.7, 0.9):
            risks = eta * loss(grid) + (1 - eta) * loss(-grid)
            holds &= bool(risks[grid > 0].min() < risks[grid <= 0].min() - 1e-12)
        assert calibration(loss).is_calibrated is holds


def test_unknown_names_and_no_functions_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean"):
        gpo.analyze("logistc")
    z = gpo.get_loss("dpo").symbol
    with pytest.raises(ValueError, match="not finite at z = 0"):
        gpo.analyze(gpo.losses.MarginLoss("pole", 1 / z))
