"""What is known before solving: status, reason, the pairs that part, and f at the end to which they go."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.losses.shape import LossShape, shape_of
from gpo_analysis.solvers import existence as module
from gpo_analysis.solvers.existence import existence, has_minimum_of_complete_pairs, listed
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.solvers.pairs import WeightedPairs

RAMP = "min(1, max(0, 1-z))"
NAMES = ("a", "b", "c", "d")


def pairs_of(*rows: tuple[int, int, float], n: int = 3) -> WeightedPairs:
    winner, loser, weight = (np.array(column) for column in zip(*rows, strict=True))
    return WeightedPairs(n, winner, loser, weight.astype(float), 0.0, NAMES[:n], None)


def shape(text: str) -> LossShape:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return shape_of(get_margin_loss(text) if text.isidentifier() else gpo.parse_loss(text))


CHAIN = pairs_of((0, 1, 0.5), (1, 0, 0.25), (1, 2, 0.25))
BOTH = pairs_of((0, 1, 0.5), (1, 0, 0.125), (1, 2, 0.125), (2, 1, 0.25))
PART = "the preferences are separable: the responses fall into 2 groups between which all wins go one way "
FOR_EVER = "the loss falls for ever as those margins grow, and never reaches its infimum"
EXAMPLE = f"{PART}(e.g. 'b' over 'c'); "


@pytest.mark.parametrize(
    ("text", "status", "why", "limit", "attained"),
    [
        ("logistic", Status.NO_FINITE_OPTIMUM, FOR_EVER, 0.0, False),
        ("exp(-z) - 2", Status.NO_FINITE_OPTIMUM, FOR_EVER, -2.0, False),
        ("exp(z) + 3", Status.NO_FINITE_OPTIMUM, FOR_EVER, 3.0, False),
        ("savage", None, "the loss falls to its infimum as they grow", 0.0, False),
        (RAMP, None, "any margin that is large enough will do", 0.0, True),
        (f"{RAMP} + 2", None, "any margin that is large enough will do", 2.0, True),
    ],
)  # fmt: skip
def test_one_sided_pairs_part(text: str, status: Status | None, why: str, limit: float, attained: bool) -> None:
    found = existence(CHAIN, shape(text))
    assert found.status is status
    assert found.reason == EXAMPLE + why
    assert found.separated is not None
    np.testing.assert_array_equal(found.separated, [False, False, True])
    assert found.limit == limit
    assert found.attained is attained
    whole = existence(BOTH, shape(text))
    assert whole.status is (Status.OPTIMUM if status is not None else None)
    assert whole.separated is None


@pytest.mark.parametrize(("text", "limit"), [("hinge", 0.0), ("max(0, 1-z) + 2", 2.0), ("max(0, 1+z) - 1", -1.0)])
def test_a_flat_end_is_an_optimum_that_is_reached(text: str, limit: float) -> None:
    found = existence(CHAIN, shape(text))
    assert (found.status, found.reason, found.limit, found.attained) == (Status.OPTIMUM, "", limit, True)
    assert found.separated is not None
    np.testing.assert_array_equal(found.separated, [False, False, True])


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("kliep", "as those margins grow"),
        ("lsif", "as those margins grow"),
        ("log(1+exp(-z)) - z/8", "as those margins grow"),
        ("log(1+exp(z)) + z/8", "as the losers rise"),
        ("-log(1+z**2)", None),
        ("-z**2", None),
        ("exp(-z) - log(1 + max(0, z))", "as those margins grow"),
    ],
)
def test_one_sided_pairs_under_a_loss_without_bound(text: str, how: str | None) -> None:
    found = existence(CHAIN, shape(text))
    assert found.status is Status.UNBOUNDED_BELOW
    expected = (
        "the loss falls without bound on both sides" if how is None else f"{EXAMPLE}the loss falls without bound "
    )
    assert found.reason == expected + (how or "")
    assert found.separated is None
    if how is None:  # compared or not is all that counts
        assert existence(BOTH, shape(text)).status is Status.UNBOUNDED_BELOW
        none = WeightedPairs(2, np.zeros(0, int), np.zeros(0, int), np.zeros(0), 0.0, ("a", "b"), None)
        assert existence(none, shape(text)).status is None


@pytest.mark.parametrize("text", ["squared", "log(1+exp(-z)) + z/10", "abs(z-1)"])
def test_what_rises_on_both_sides_has_an_optimum_whoever_won(text: str) -> None:
    found = existence(CHAIN, shape(text))
    assert (found.status, found.reason, found.separated) == (Status.OPTIMUM, "", None)


def test_complete_pairs_have_a_minimum_by_f_alone() -> None:
    def given(convex: bool, left: float, right: float) -> LossShape:
        return LossShape(convex, left, right, np.inf, np.inf, None, None, (), ())

    assert has_minimum_of_complete_pairs(given(True, -1.0, 0.0))
    assert has_minimum_of_complete_pairs(given(True, 0.0, 1.0))
    assert has_minimum_of_complete_pairs(given(True, -1.0, 2.0))
    assert not has_minimum_of_complete_pairs(given(False, -1.0, 0.0))
    assert not has_minimum_of_complete_pairs(given(True, 0.0, 0.0))
    assert not has_minimum_of_complete_pairs(given(True, -1.0, -0.5))
    assert not has_minimum_of_complete_pairs(given(True, 0.5, 1.0))


def robust(share: float) -> LossShape:
    """f'(+∞) = −share, f'(−∞) = −1 − share."""
    return shape(f"log(1+exp(-z)) - z*{share}")


@pytest.mark.parametrize("scale", [1.0, 1e-9])
@pytest.mark.parametrize(("wins", "kind"), [(3.0, "optimum"), (4.0, "no finite optimum"), (5.0, "unbounded below")])
def test_falling_slopes_against_the_balance_of_a_lone_pair(wins: float, kind: str, scale: float) -> None:
    """Slopes −¼ and −5/4: raising the winner gains w₊/4 and loses 5w₋/4 a unit, level where wins are five to one."""
    for a, b in ((0, 1), (1, 0)):
        pairs = pairs_of((a, b, scale * wins * 1.25), (b, a, scale), n=2)
        found = existence(pairs, robust(0.25))
        assert str(found.status) == kind
        up = NAMES[a]
        given = "given f'(+∞) = -0.25 and f'(−∞) = -1.25"
        if kind == "unbounded below":
            assert found.reason == (
                f"raising {up!r} above the others lowers the loss for ever: their wins outweigh their losses, {given}"
            )
        elif kind == "no finite optimum":
            assert found.reason == (
                f"raising {up!r} above the others changes the loss ever less: wins and losses are balanced exactly, "
                + given
            )
        else:
            assert found.reason == ""


@pytest.mark.parametrize("small", [1e-12, 1e-20])
def test_weights_beyond_a_program_s_tolerance_decide_as_others_do(small: float) -> None:
    """A pair weighs 1e-12 of the others: its own balance alone says whether raising c pays for ever."""
    heavy = [(0, 1, 0.5), (1, 0, 0.25)]
    for wins, status in ((4.0, Status.OPTIMUM), (5.0, Status.NO_FINITE_OPTIMUM), (6.0, Status.UNBOUNDED_BELOW)):
        for a, b in ((2, 1), (1, 2)):
            found = existence(pairs_of(*heavy, (a, b, wins * small), (b, a, small)), robust(0.25))
            assert found.status is status
            group = "'c'" if a == 2 else "'a', 'b'"
            assert (f"raising {group} above the others" in found.reason) == (status is not Status.OPTIMUM)
            assert ("balanced exactly" in found.reason) == (status is Status.NO_FINITE_OPTIMUM)
            assert ("their wins outweigh" in found.reason) == (status is Status.UNBOUNDED_BELOW)
    # within a billionth of either slope, here 6e-9 of the wins, it counts as balanced
    unbounded, none, one = Status.UNBOUNDED_BELOW, Status.NO_FINITE_OPTIMUM, Status.OPTIMUM
    for off, status in ((7e-9, unbounded), (5e-9, none), (0.0, none), (-5e-9, none), (-7e-9, one)):
        rows = (*heavy, (2, 1, 5 * small * (1 + off)), (1, 2, small))
        assert existence(pairs_of(*rows), robust(0.25)).status is status


def test_straight_lines_far_out() -> None:
    level, tilted = pairs_of((0, 1, 0.5), (1, 0, 0.5), n=2), pairs_of((0, 1, 0.6), (1, 0, 0.4), n=2)
    line = shape("1 - z")
    assert existence(level, line).status is Status.OPTIMUM
    found = existence(tilted, line)
    assert found.status is Status.UNBOUNDED_BELOW
    assert found.reason == "far out f is a straight line and the wins are not balanced"
    bent = shape("-sqrt(1+z**2) - z/2")
    found = existence(level, bent)
    assert found.status is Status.UNBOUNDED_BELOW
    one = shape("-log(1+exp(-z))")  # falls by 1 on the left, by nothing on the right
    found = existence(pairs_of((0, 1, 0.5), (1, 0, 0.5), n=2), one)
    assert found.status is Status.UNBOUNDED_BELOW
    assert found.reason == "far out f falls by more on one side than it rises on the other"


def test_slopes_that_say_it_alone_ask_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_by_slopes", None)
    for text in ("log(1+exp(-z)) + z/10", "abs(z-1)", "squared", "exp(-z) + z/100"):
        assert existence(BOTH, shape(text)).status is Status.OPTIMUM
    for text in ("exp(-z) - z**2", "savage"):  # not convex, with slopes that are no numbers
        assert existence(BOTH, shape(text)).status is None
    assert existence(BOTH, shape("exp(-z) - z/4")).status is Status.OPTIMUM  # rises without limit on the left


def test_lines_of_slope_one_and_nothing_compared() -> None:
    tilted = pairs_of((0, 1, 0.6), (1, 0, 0.4), n=2)
    assert existence(tilted, shape("z")).status is Status.UNBOUNDED_BELOW
    assert existence(tilted, shape("2 + 0*z")).status is Status.OPTIMUM
    none = WeightedPairs(2, np.zeros(0, int), np.zeros(0, int), np.zeros(0), 0.0, ("a", "b"), None)
    assert existence(none, robust(0.25)).status is Status.OPTIMUM


@pytest.mark.parametrize("seed", range(12))
def test_the_program_s_number_is_that_of_the_tightest_cut(seed: int) -> None:
    """Hoffman's theorem: the largest ε is the least, over sets sent up, of what it costs a unit of weight across."""
    rng = np.random.default_rng(seed)
    n = 2 + seed % 4
    winner, loser = np.nonzero(~np.eye(n, dtype=bool))
    weight = rng.exponential(size=len(winner))
    pairs = WeightedPairs(n, winner, loser, weight, 0.0, NAMES[:n] + ("e",) * (n == 5), None)
    left, right = rng.uniform(0.3, 1.0), rng.uniform(-0.25, 0.05)
    sets = np.array([[bool(bits >> k & 1) for k in range(n)] for bits in range(1, 2**n - 1)])
    up, down = sets[:, winner] & ~sets[:, loser], ~sets[:, winner] & sets[:, loser]
    cost, across = up @ weight * right + down @ weight * left, (up | down) @ weight
    least = min(float(np.min(cost / across)), (right + left) / 2)
    found, side = module._by_program(pairs, right, left)
    assert found == pytest.approx(least, abs=1e-9)
    assert np.sign(module._by_pivots(pairs, right, left)[0]) == np.sign(least)
    if least < (right + left) / 2:
        tightest = sets[np.argmin(cost / across)]
        assert (side == tightest).all() or (side == ~tightest).all()
    bent = LossShape(True, -left, right, np.inf, -np.inf, None, None, (), ())
    verdict = module._by_slopes(pairs, right, left) if right < 0 else existence(pairs, bent)
    assert verdict.status is (Status.OPTIMUM if least > 0 else Status.UNBOUNDED_BELOW)
    if least < 0:
        raised = [pairs.names[i] for i in np.flatnonzero(sets[np.argmin(cost / across)])]
        assert verdict.reason.startswith(f"raising {listed(raised)} above the others lowers")


@pytest.mark.parametrize("count", [1, 6, 7, 9])
def test_at_most_six_names_are_listed(count: int) -> None:
    names = [f"r{k}" for k in range(count)]
    shown = ", ".join(f"'r{k}'" for k in range(min(count, 6)))
    assert listed(names) == shown + ("" if count <= 6 else f" and {count - 6} more")
    assert listed(names, 1) == "'r0'" + ("" if count == 1 else f" and {count - 1} more")
