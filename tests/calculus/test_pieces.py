"""Smooth pieces and kinks: exact ends, the same values as the whole, refusals."""

from __future__ import annotations

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.calculus.pieces import Piece, pieces_of
from gpo_analysis.losses.shape import kinks, pieces
from tests.cases import cases

Z = sympy.Symbol("z", real=True)
Max, Min, Abs, exp, log = sympy.Max, sympy.Min, sympy.Abs, sympy.exp, sympy.log

CASES = [
    (Max(0, 1 - Z), [1]),
    (Max(0, 1 - Z) ** 3, [1]),
    (Abs(1 - Z), [1]),
    (Abs(Z) ** 2, []),
    (Abs(Z) ** 3, [0]),
    (Max(Z, Z), []),
    (log(1 + exp(-Z)) + Max(0, -Z) / 2, [0]),
    (Max(0, exp(-Z) - Z), [sympy.LambertW(1)]),
    (Max(0, Abs(Z - 1) - 2, Z / 2), [-1, 0, 6]),
    (Min(1, Max(0, 1 - Z)), [0, 1]),
    (Abs(log(1 + exp(-Z)) - 1), [-log(sympy.E - 1)]),
    (Max(3, exp(exp(Z))), [log(log(3))]),
    (Max(0.3 * Z, 0), [0]),
    (Max(0, sympy.sqrt(2) - Z) + Max(0, -sympy.pi - Z), [-sympy.pi, sympy.sqrt(2)]),
    (sympy.sqrt(sympy.cosh(Z) - 1), [0]),
    (Max(Z, Z**2) ** sympy.Rational(3, 2), [0, 1]),
    (sympy.sign(Z - 2) * (Z - 2) ** 2, [2]),
    (sympy.Heaviside(-Z) * Z**2, [0]),
    (sympy.Piecewise((Z**2, Z < 1), (2 * Z - 1, True)), [1]),
    (sympy.sqrt(1 + Z**2), []),
    (sympy.Integer(7), []),
    (Abs(Z) * Abs(Z - 1) * Abs(Z + 1), [-1, 0, 1]),
]


@pytest.mark.parametrize(("expression", "wanted"), CASES, ids=str)
def test_kinks_and_values(expression: sympy.Expr, wanted: list[sympy.Expr]) -> None:
    parts = pieces_of(expression, Z)
    assert parts[0].lower == -sympy.oo
    assert parts[-1].upper == sympy.oo
    found = [part.lower for part in parts[1:]]
    assert found == [part.upper for part in parts[:-1]]
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert abs(sympy.N(a - b, 40)) < sympy.Float("1e-38")
    for part in parts:
        assert not part.expression.has(Max, Min, Abs, sympy.sign, sympy.Heaviside, sympy.Piecewise, sympy.Float)
        low = -9 if part.lower == -sympy.oo else part.lower
        high = 9 if part.upper == sympy.oo else part.upper
        for share in ("0.01", "0.37", "0.82", "0.999"):
            point = sympy.N(low + (high - low) * sympy.Rational(share), 50)
            whole, piece = expression.subs(Z, point), part.expression.subs(Z, point)
            assert abs(sympy.N(whole - piece, 30)) < 1e-12 * (1 + abs(sympy.N(whole, 30)))


def test_of_losses() -> None:
    assert kinks(gpo.get_loss("hinge")) == (1,)
    assert kinks(gpo.get_loss("truncated_quadratic")) == (1,)
    assert kinks(gpo.get_loss("hinge").smoothed(0.1)) == (-1, 1)
    assert kinks(gpo.get_loss("logistic")) == ()
    assert pieces(gpo.get_loss("logistic")) == (Piece(-sympy.oo, sympy.oo, log(1 + exp(-Z))),)
    assert pieces(gpo.get_loss("hinge")) is pieces(gpo.get_loss("slic"))


@given(
    places=st.lists(st.fractions(-5, 5, max_denominator=8), min_size=1, max_size=4, unique=True),
    weights=st.lists(st.integers(1, 5), min_size=4, max_size=4),
)
@cases(30)
def test_sums_of_hinges_have_their_kinks(places: list, weights: list[int]) -> None:
    exact = [sympy.Rational(x.numerator, x.denominator) for x in sorted(places)]
    expression = sum(w * Max(0, x - Z) for x, w in zip(exact, weights, strict=False))
    assert [part.lower for part in pieces_of(expression, Z)[1:]] == exact


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (log(Z), "log"),
        (1 / Z, "not finite at z = 0"),
        (sympy.sqrt(Z), "not real everywhere"),
        (log(Abs(Z)), "not finite at z = 0"),
        (1 / (1 - exp(Z)) ** 2, "not finite at z = 0"),
        (Abs(sympy.sin(Z)), "cannot find where"),
        (sympy.I * Z, "no real value"),
        (log(-1 - Z**2), "not a finite real"),
    ],
    ids=str,
)
def test_what_is_no_function_on_the_line_is_refused(expression: sympy.Expr, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pieces_of(expression, Z)


def test_too_many_pieces_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 64"):
        pieces_of(sum(Max(0, Z - k) for k in range(70)), Z)


def test_points_inside_pieces() -> None:
    oo = sympy.oo
    for low, high in ((-oo, oo), (-oo, sympy.Integer(3)), (sympy.pi, oo), (sympy.Rational(1, 3), sympy.Rational(1, 2))):
        point = Piece(low, high, Z).inner_point()
        assert low < point < high
        assert point.is_Rational


def test_a_branch_is_not_chosen_where_two_only_touch() -> None:
    """0 and z² tie at 0, the very point at which a branch of the whole line would be tried."""
    for expression, expected in ((Max(0, Z**2), Z**2), (Min(0, -(Z**2)), -(Z**2))):
        (piece,) = pieces_of(expression, Z)
        assert sympy.simplify(piece.expression - expected) == 0
    touching = gpo.parse_loss("max(0,(-z)**2)+(z-2)**2")
    assert gpo.optimal_margin(touching, 0.97) == pytest.approx(2 * 0.97 - 1, rel=1e-12)  # f' = 4z − 4


def test_two_crossings_with_a_line_have_a_closed_form_each() -> None:
    """e^z = z + 2 on both branches of LambertW."""
    for expression in (Max(exp(Z), Z + 2), Max(exp(2 * Z) / 3, 5 * Z + 4)):
        parts = pieces_of(expression, Z)
        places = [part.lower for part in parts[1:]]
        assert len(places) == 2
        assert all(place.has(sympy.LambertW) for place in places)
        a, b = expression.args
        for place in places:
            assert abs(sympy.N((a - b).subs(Z, place), 30)) < 1e-25
        assert float(places[0]) < float(places[1])
