"""Rules of composition one by one, against second differences; the words of a proof."""

from __future__ import annotations

import itertools

import mpmath
import pytest
import sympy

from gpo_analysis.calculus.convexity import Convexity, convexity_of, curvature_by_rules
from gpo_analysis.calculus.convexity import _above_a_chord as above_a_chord
from gpo_analysis.calculus.convexity import _combined as combined
from gpo_analysis.calculus.convexity import _counterexample as counterexample
from gpo_analysis.calculus.convexity import _is_log_concave as is_log_concave
from gpo_analysis.calculus.convexity import _is_sum_of_exponentials as is_sum_of_exponentials
from gpo_analysis.calculus.convexity import _is_sum_of_squares as is_sum_of_squares
from gpo_analysis.calculus.pieces import Piece

Z = sympy.Symbol("z", real=True)
Max, Min, Abs, exp, log, oo, Q = sympy.Max, sympy.Min, sympy.Abs, sympy.exp, sympy.log, sympy.oo, sympy.Rational
sqrt, cosh, erf, erfc = sympy.sqrt, sympy.cosh, sympy.erf, sympy.erfc
SOFTPLUS = log(1 + exp(Z))
RULES = {
    sympy.Integer(3): "constant",
    Z: "affine",
    2 - 3 * Z: "affine",
    Z + exp(Z): "convex",
    Z - exp(Z): "concave",
    exp(Z) + SOFTPLUS + 3: "convex",
    exp(Z) - SOFTPLUS: None,
    3 * exp(Z): "convex",
    -3 * exp(Z): "concave",
    -2 * log(1 + Z): "convex",
    Z * exp(Z): None,
    Max(Z, exp(Z), 2): "convex",
    Max(Z, -exp(Z)): None,
    Min(Z, -exp(Z), 2): "concave",
    Min(Z, exp(Z)): None,
    exp(2 * Z - 1): "convex",
    exp(Z**2): "convex",
    exp(-(Z**2)): None,
    cosh(1 - Z): "convex",
    cosh(exp(Z)): None,
    Abs(2 * Z - 1): "convex",
    Abs(SOFTPLUS): "convex",
    Abs(Z**2 - 1): None,
    Abs(-exp(Z) - 1): "convex",
    log(2 + Z): "concave",
    log(3 - exp(Z)): "concave",
    log(cosh(2 * Z - 1)): "convex",
    log(cosh(exp(Z))): None,
    log(erfc(Z)): "concave",
    log(3 * erfc(1 - 2 * Z)): "concave",
    log(1 + exp(-Z)): "convex",
    log(exp(Z) + exp(-2 * Z) + exp(Z**2)): "convex",
    log(1 + 2 * exp(Z) + exp(-(Z**2))): None,
    log(2 + Z**2): None,
    (Z - 1) ** 2: "convex",
    (1 - 2 * Z) ** 4: "convex",
    Z**3: None,
    (Z - 1) ** -2: None,
    SOFTPLUS**2: "convex",
    SOFTPLUS ** Q(3, 2): "convex",
    SOFTPLUS ** Q(1, 2): None,
    (exp(Z) - 1) ** 3: None,
    Max(0, 1 - Z) ** 3: "convex",
    sqrt(1 + Z**2): "convex",
    sqrt(Z**2 - 2 * Z + 1 + 3): "convex",
    sqrt(Z**2 - 1): None,
    sqrt(2 + Z): "concave",
    (2 + Z) ** Q(1, 3): "concave",
    (2 + Z) ** Q(3, 2): None,
    (3 - exp(Z)) ** Q(1, 2): "concave",
    (Min(Z, 0) - 1) ** -1: None,
    (2 + Min(Z, 0)) ** Q(3, 2): None,
    2**Z: None if sympy.Pow(2, Z).base != sympy.E else "convex",
}


@pytest.mark.parametrize("expression", RULES, ids=str)
def test_every_rule(expression: sympy.Expr) -> None:
    kind = RULES[expression]
    assert curvature_by_rules(expression, Z) == kind
    if kind is None:
        return
    with mpmath.workdps(40):
        f = sympy.lambdify(Z, expression, "mpmath")
        points = [mpmath.mpf(k) / 8 for k in range(-7, 7)]
        second = [f(x - mpmath.mpf("0.01")) + f(x + mpmath.mpf("0.01")) - 2 * f(x) for x in points]
    if kind in ("constant", "affine"):
        assert max(map(abs, second)) < 1e-35
    else:
        assert min(mpmath.re(x) * (1 if kind == "convex" else -1) for x in second) > -1e-35


def test_the_inverse_of_a_positive_concave_function_is_convex() -> None:
    x = sympy.Symbol("x", real=True)
    positive = Min(1 + exp(Z) * 0, 2, evaluate=False)
    assert curvature_by_rules(1 / (1 + Min(1, 2 + Abs(x), evaluate=False)), x) is None
    assert curvature_by_rules(positive, Z) == "constant"
    root = sympy.Symbol("w", positive=True)
    assert curvature_by_rules(1 / root, root) is None  # affine: no rule says it here
    assert curvature_by_rules(1 / sqrt(1 + root), root) is None
    assert curvature_by_rules((1 + sqrt(root)) ** -2, root) == "convex"
    assert curvature_by_rules(1 / log(2 + root), root) == ("convex" if log(2 + root).is_positive else None)


def test_what_a_sum_is() -> None:
    """Convex and affine is convex, convex and concave is nothing, nothing with anything is nothing."""
    kinds = ("constant", "affine", "convex", "concave", None)
    for chosen in itertools.product(kinds, repeat=3):
        known = set(chosen)
        wanted = None if None in known or known >= {"convex", "concave"} else max(known, key=kinds.index)
        assert combined(list(chosen)) == wanted


def test_sums_of_exponentials() -> None:
    for yes in (exp(Z), 1 + exp(-Z), 2 * exp(Z**2) + 3 + exp(1 - Z), sympy.Integer(2)):
        assert is_sum_of_exponentials(yes, Z), yes
    for no in (
        exp(Z) - 1,
        1 - exp(Z),
        1 + exp(-(Z**2)),
        1 + exp(Z) + Z,
        1 + exp(sympy.tanh(Z)),
        1 + cosh(Z),
        0 * Z - 1,
    ):
        assert not is_sum_of_exponentials(no, Z), no


def test_sums_of_squares() -> None:
    """a z² + b z + c with a > 0 and 4ac ≥ b²."""
    for a, b, c in itertools.product((-1, 0, 1, 2), (-2, 0, 1), (-1, 0, Q(1, 8), Q(1, 4), 1, 3)):
        assert is_sum_of_squares(a * Z**2 + b * Z + c, Z) == (a > 0 and 4 * a * c >= b * b), (a, b, c)
    assert not is_sum_of_squares(exp(Z), Z)
    assert not is_sum_of_squares(Z**4 + 1, Z)


def test_tails_of_the_gaussian() -> None:
    for yes in (erfc(Z), 3 * erfc(2 * Z - 1), 2 - erfc(Z), 1 - erf(Z), 1 + erf(Z), 2 + 2 * erf(1 - Z)):
        assert is_log_concave(yes, Z), yes
    for no in (
        -erfc(Z),
        1 + erfc(Z),
        2 + erf(Z),
        erf(Z),
        -1 + erf(Z),
        1 - erfc(Z),
        2 + erfc(Z),
        erfc(Z**2),
        1 + exp(Z),
    ):
        assert not is_log_concave(no, Z), no


PROOFS = {
    SOFTPLUS: (True, "convex by the rules of composition (affine maps, sums, maxima, exp, log-sum-exp, …)"),
    Max(0, 1 - Z): (True, "convex by the rules of composition (affine maps, sums, maxima, exp, log-sum-exp, …)"),
    Z**4 + Z**3 + Z**2: (True, "f″ ≥ 0: factored, with its real roots isolated exactly"),
    Z**4 - Z**2: (False, "f″ < 0 somewhere: factored, with its real roots isolated exactly"),
    exp(-(Z**2)): (False, "f″ < 0 somewhere: factored, with its real roots isolated exactly"),
    Max(0, 1 - Z) ** 3 - Abs(Z) ** 3: (
        False,
        "f″ ≥ 0 on (-∞, 0): it is constant there; f″ < 0 somewhere on (0, 1): factored, with its real roots isolated "
        "exactly; f″ < 0 somewhere on (1, ∞): factored, with its real roots isolated exactly",
    ),
    Min(1, Max(0, 1 - Z)): (
        False,
        "f″ ≥ 0 on (-∞, 0): it is constant there; f″ ≥ 0 on (0, 1): it is constant there; "
        "f″ ≥ 0 on (1, ∞): it is constant there; at the kink z = 0 the slope falls from 0 to -1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("expression", PROOFS, ids=str)
def test_the_words_of_a_proof(expression: sympy.Expr) -> None:
    found = convexity_of(expression, Z)
    assert (found.is_convex, found.proof) == PROOFS[expression]


def test_a_jump_of_the_value_and_kinks_that_rise_are_said() -> None:
    jump = convexity_of(sympy.Piecewise((Z**2 + 1, Z < 0), (Z**2, True)), Z)
    assert jump.proof.endswith("; at the kink z = 0 f jumps")
    rising = convexity_of(sympy.Piecewise((Z**2, Z < 0), (Z**4 + Z, True)), Z)
    assert rising == Convexity(True, None, rising.proof)
    assert rising.proof.endswith("; the slope rises at every kink")
    smooth = convexity_of(sympy.Piecewise((Z**2, Z < 0), (2 * Z**2, True)), Z)  # the slope is continuous
    assert smooth.is_convex is True


def test_points_and_chords_that_refute() -> None:
    """A chord in 60 digits inside an interval, or about a point; an enclosure of f″ at a point of a piece."""
    for part in (sympy.Interval.open(-oo, oo), sympy.Interval.open(-oo, 1), sympy.Interval.open(0, oo),
                 sympy.Interval.open(-1, 2), sympy.FiniteSet(0)):  # fmt: skip
        place = above_a_chord(-(Z**2), Z, [part])
        assert place is not None
        assert part.contains(sympy.Rational(place)) in (sympy.true, True)
        assert above_a_chord(Z**2, Z, [part]) is None
        assert above_a_chord(Z, Z, [part]) is None
    assert above_a_chord(-Abs(Z - 3), Z, [sympy.Interval.open(-1, 2), sympy.FiniteSet(3)]) == "3.0"
    narrow = -(Z**4) + Q(1, 100) * Z**2  # above its chords beyond 1/√600, only there
    far = above_a_chord(narrow, Z, [sympy.Interval.open(Q(1, 24), oo)])
    assert far is not None
    assert float(far) > 1 / 24
    found = counterexample(Piece(-oo, oo, Z**4 - Z**2), Z)
    assert found is not None
    assert abs(float(found)) < 6**-0.5
    assert counterexample(Piece(sympy.Integer(1), oo, Z**4 - Z**2), Z) is None
    assert counterexample(Piece(-oo, oo, sympy.gamma(Z)), Z) is None
    beyond = counterexample(Piece(Q(1, 2), sympy.Integer(2), -(Z**3)), Z)
    assert beyond is not None
    assert 0.5 < float(beyond) < 2


def test_the_inverse_of_what_is_concave_and_positive() -> None:
    """1/(2 + concave) where it is known to be positive: at chords it lies below them."""
    w = sympy.Symbol("w", positive=True)
    for base, power in ((1 + sqrt(w), -2), (1 + sqrt(w), Q(-1, 3)), (log(2 + w), -1)):
        assert base.is_positive or isinstance(base, log)
        kind = curvature_by_rules(base**power, w)
        assert kind == ("convex" if base.is_positive else None)
        f = sympy.lambdify(w, base**power, "mpmath")
        assert f(1.0) + f(3.0) - 2 * f(2.0) > 0
