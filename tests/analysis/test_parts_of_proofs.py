"""Parts of analyses by themselves: thresholds, slopes at ends of pieces, one-sided minimisers, notes on smoothing."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.analysis import closed_forms
from gpo_analysis.analysis.beta_dictionary import _smoothing_notes, get_convention
from gpo_analysis.analysis.calibration import _odd_part_falls
from gpo_analysis.analysis.conjugate import _end_slopes
from gpo_analysis.analysis.minimise import _one_sided
from gpo_analysis.analysis.objective import Objective
from gpo_analysis.analysis.precise_minimum import _stationary
from gpo_analysis.calculus.arithmetic import NUMBERS
from gpo_analysis.calculus.pieces import Piece
from gpo_analysis.losses.exo import EXO_EPSILON

Z = gpo.get_loss("dpo").symbol
oo = sympy.oo


@pytest.mark.parametrize(
    ("slopes", "threshold"),
    [
        ((-1, -1), sympy.Rational(1, 2)),
        ((-3, -1), sympy.Rational(1, 4)),
        ((-1, -3), sympy.Rational(3, 4)),
        ((-3, 1), sympy.Rational(-1, 2)),
        ((1, 1), oo),  # the risk's slope 2η − 1 is above 0 for every η > ½
        ((1, -1), oo),  # 1 for every η
        ((3, -2), oo),
        ((2, -2), oo),
        ((-1, 1), None),  # −1 for every η: the minimiser always lies further out
        ((-1, 2), None),
        ((0, 0), None),
    ],
)
def test_from_where_on_minimisers_lie_further_out(slopes: tuple[int, int], threshold: sympy.Expr | None) -> None:
    """The risk's slope η a − (1 − η) b falls below 0 beyond η = b/(a + b) where a + b < 0."""
    piece = Piece(sympy.S.Zero, oo, Z)
    ahead, mirrored = map(sympy.Integer, slopes)
    part = closed_forms._Stretch(sympy.S.Zero, oo, piece, piece, ahead, mirrored)
    for side in (1, -1):
        assert closed_forms._threshold(part, Z, sympy.S.One, side) == threshold


def test_slopes_at_the_ends_of_a_piece_are_its_own() -> None:
    """From within: beyond its end the expression need not be real."""
    loss = gpo.get_loss("dpo")
    left = Piece(-oo, sympy.S.Zero, -sympy.sqrt(-Z))
    assert _end_slopes(loss, left)[1] == oo
    right = Piece(sympy.S.Zero, oo, -sympy.sqrt(Z))
    assert _end_slopes(loss, right)[0] == -oo
    whole = Piece(-oo, oo, loss.expression)
    assert _end_slopes(loss, whole) == (-1, 0)


def test_minimisers_where_only_one_label_occurs() -> None:
    """f's own, mirrored for the other label; not where s ≠ 0 moves it or both labels occur."""
    p, q = np.array([1.0, 0.0, 1.0, 0.0, 0.7]), np.array([0.0, 1.0, 0.0, 1.0, 0.3])
    s = np.array([0.0, 0.0, 1.0, 1.0, 0.0])
    for name, least in (("squared", 1.0), ("hinge", 1.0), ("(z-3)**2", 3.0)):
        found = _one_sided(Objective(gpo.get_loss(name) if "z" not in name else gpo.parse_loss(name), p, q, s))
        np.testing.assert_array_equal(found, [least, -least, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(_one_sided(Objective(gpo.get_loss("dpo"), p, q, s))[:2], [math.inf, -math.inf])


def test_sizes_of_both_terms_and_the_line() -> None:
    p, q, s, z = np.array([0.7]), np.array([0.3]), np.array([2.0]), np.array([1.5])
    objective = Objective(gpo.get_loss("exponential"), p, q, s)
    assert objective.size(z)[0] == pytest.approx(0.7 * math.exp(-1.5) + 0.3 * math.exp(1.5) + 3.0, rel=1e-14)
    assert objective.value(z)[0] == pytest.approx(0.7 * math.exp(-1.5) + 0.3 * math.exp(1.5) - 3.0, rel=1e-14)


def test_what_an_epsilon_left_unsaid_is_taken_as() -> None:
    plain, robust, exo = (get_convention(name) for name in ("gpo:dpo", "trl:robust", "trl:exo_pair"))
    (note,) = _smoothing_notes(robust, plain, None)
    assert "is left unsaid and taken as 0: with ε its β counts (1 − 2ε) times; give label_smoothing=ε" in note
    (note,) = _smoothing_notes(exo, plain, None)
    assert f"is left unsaid and taken as {EXO_EPSILON:g}; give label_smoothing=ε" in note
    assert _smoothing_notes(robust, plain, 0.1) == []
    assert _smoothing_notes(plain, plain, None) == []
    assert [note.split(" ", 1)[1] for note in _smoothing_notes(plain, robust, None)] == [
        "is taken at ε = 0: with ε its β has to be divided by 1 − 2ε"
    ]
    assert [note.split(" ", 1)[1] for note in _smoothing_notes(plain, exo, None)] == [
        f"is taken at ε = {EXO_EPSILON:g}: its κ is 1/logit(1−ε)"
    ]


@pytest.mark.parametrize("beyond", ["max(0,z-1)**1.5", "sqrt(max(0,z-1))", "max(0,z-1)**0.1"])
def test_a_kink_at_the_radius_itself_is_not_beyond_it(beyond: str) -> None:
    """The other piece begins where the interval ends, with a derivative that is infinite there."""
    bound = gpo.taylor_remainder_bound(f"exp(-z)+{beyond}", 2, 1.0)
    assert math.e / 6 <= bound <= 1.02 * math.e / 6


@pytest.mark.parametrize("power", [14, 17, 20])
def test_small_minimisers_beside_a_kink_have_all_their_digits(power: int) -> None:
    """At 0 the third derivative jumps, and rounding in f′ is large beside z."""
    loss = gpo.parse_loss("log(1+exp(-z))+max(0,z)**3/10")
    eta = 0.5 + 2.0**-power
    found = float(gpo.optimal_margin(loss, eta))
    with mpmath.workdps(40):
        p = mpmath.mpf(eta)

        def slope(z: mpmath.mpf) -> mpmath.mpf:  # of η f(z) + (1 − η) f(−z), z > 0
            return p * (-1 / (1 + mpmath.exp(z)) + mpmath.mpf(3) / 10 * z**2) + (1 - p) / (1 + mpmath.exp(-z))

        exact = mpmath.findroot(slope, 2.0 ** (2 - power))
    assert found == pytest.approx(float(exact), rel=2e-15, abs=0)


def test_a_known_place_where_the_slope_is_0_is_stationary() -> None:
    """On a flat stretch no change of sign is beside it."""
    one, none = NUMBERS.mpf(1), NUMBERS.mpf(0)
    assert _stationary(gpo.get_loss("hinge"), (one, none, none), (1.0,), 2.0) == [(0, 2)]
    assert _stationary(gpo.get_loss("hinge"), (one, none, none), (1.0,), 0.5) == []
    near = _stationary(gpo.get_loss("squared"), (one, none, none), (1.0,), 1 + 1e-8)
    assert abs(min(near)[1] - 1) < 1e-30


@pytest.mark.parametrize(
    ("text", "falls"),
    [
        ("z**2+(clamp(z,-1,1)-clamp(z,-1,1)**3-max(z-1,0)+max(-z-1,0))/2", False),  # above 0 up to 1, below beyond
        ("z**2-(clamp(z,-1,1)+max(z-1,0)-max(-z-1,0))/2", True),
        ("z**2+(clamp(z,-1,1)+max(z-1,0)-max(-z-1,0))/2", False),
    ],
)
def test_the_odd_part_falls_on_every_piece_or_not_at_all(text: str, falls: bool) -> None:
    """f(z) < f(−z) for every z > 0."""
    loss = gpo.parse_loss(text)
    z = np.linspace(0.05, 5, 100)
    assert bool(np.all(loss(z) < loss(-z))) is falls
    assert _odd_part_falls(loss) is falls


def test_a_library_that_smooths_as_another_says_so() -> None:
    note = get_convention("llama-factory:sigmoid").note
    assert note is not None
    assert "smoothing is that of TRL" in note
