"""The formulas of designed losses, wish by wish, and each line of their proof."""

from __future__ import annotations

import re

import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.analysis import IncompatibleWishesError, design
from gpo_analysis.analysis.design import prove_design

Z = gpo.get_loss("dpo").symbol
exp, log, sqrt, Max, Q, nan, oo = sympy.exp, sympy.log, sympy.sqrt, sympy.Max, sympy.Rational, sympy.nan, sympy.oo
K = Q(3, 4)
CHORD = Max(log(1 + exp(1)) - (1 + Z) / 2, log(1 + exp(-Z)))
STEEP_CHORD = Max(sympy.cosh(1) - Z * sympy.sinh(1), exp(-Z))
SIGMOID = 1 / (1 + exp(Z))
SAVAGE = 1 / (1 + exp(2 * K * Z)) ** 2
THIRD = Q(2, 3) / (1 + exp(3 * K * Z)) ** 2
# strength, bounded slope, no logit, convex
BASES = {
    (0, True, False, True): CHORD,
    (0, False, False, True): STEEP_CHORD,
    (0, True, False, False): SIGMOID,
    (0, False, False, False): STEEP_CHORD + SIGMOID,
    (0, True, True, True): CHORD,
    (K, True, True, True): sqrt(1 + (K * Z) ** 2) - K * Z,
    (K, False, True, True): (sqrt(4 + (K * Z) ** 2) - K * Z) ** 2,
    (K, True, True, False): log(1 + exp(-K * Z)) + THIRD,
    (K, False, True, False): exp(-K * Z / 2) + THIRD,
    (K, True, False, True): log(1 + exp(-2 * K * Z)),
    (K, True, False, False): SAVAGE,
    (K, False, False, True): exp(-K * Z),
    (K, False, False, False): exp(-K * Z) + 20 * SAVAGE,
}
# strength, minimum, bounded slope, convex
FINITE = {
    (0, nan, True, True): Max(0, 1 - Z),
    (0, 3, True, True): Max(0, 3 - Z),
    (0, 3, False, True): Max(0, 3 - Z) + Max(0, -3 - Z) ** 2,
    (0, nan, False, True): Max(0, 1 - Z) + Max(0, -1 - Z) ** 2,
    (K, nan, False, True): (1 - K * Z) ** 2,
    (K, Q(4, 3), False, True): (1 - K * Z) ** 2,
    (K, nan, True, True): sqrt(1 + (Q(3, 2) * Z - 1) ** 2),
    (K, 1, True, True): sqrt(1 + Q(1, 3) * (Z - 1) ** 2),
    (K, 2, True, True): log(1 + exp(-2 * K * Z)) + K * Max(0, Z - 2),
    (K, 2, False, True): exp(-K * Z) + K * Max(0, Z - 2),
    (K, nan, True, False): SAVAGE + K / 2 * Max(0, Z - Q(4, 3)),
    (K, 1, False, False): exp(-K * Z) + 20 * SAVAGE + 11 * K * Max(0, Z - 1),
    (0, nan, True, False): SIGMOID + Max(0, Z - 1),
    (0, 2, True, False): SIGMOID + Max(0, Z - 2),
}


def test_losses_that_fall_for_ever() -> None:
    for (k, bounded, not_logit, convex), formula in BASES.items():
        assert design._base(sympy.sympify(k), bounded, not_logit, convex) == formula, (k, bounded, not_logit, convex)


def test_losses_with_a_minimum() -> None:
    for (k, m, bounded, convex), formula in FINITE.items():
        found = design._finite(sympy.sympify(k), sympy.sympify(m), bounded, convex)
        for z in (Q(-7, 2), Q(-1, 3), Q(1, 2), Q(5, 4), Q(9, 4), Q(13, 4)):
            assert abs(sympy.N((found - formula).subs(Z, z), 30)) < 1e-25, (k, m, bounded, convex)


def test_the_strength_where_none_is_wished() -> None:
    for kappa, m, link, wanted in (
        (None, oo, True, Q(1, 2)), (None, oo, None, 1), (None, Q(4), None, Q(1, 4)), (None, nan, None, 1),
        ("1/3", Q(4), True, Q(1, 3)), (None, Q(-4), None, 1), (None, None, None, 1), (None, oo, "scaled", 1),
        (None, sympy.S.Zero, False, 1),
    ):  # fmt: skip
        assert design._kappa(kappa, m, link) == wanted, (kappa, m, link)


def test_wishes_for_a_margin() -> None:
    for margin, wanted in ((None, oo), ("infinite", oo), (float("inf"), oo), ("finite", nan), ("1/2", Q(1, 2)),
                           ("0.25", Q(1, 4)), (0.1, Q(1, 10)), (3, 3)):  # fmt: skip
        found = design._margin(margin)
        assert found is nan if wanted is nan else found == wanted
    with pytest.raises(ValueError, match=re.escape("margin must be 'finite', 'infinite' or a number, got 'half'")):
        design._margin("half")
    for bad in (True, "nan", float("nan"), "x", [1]):
        with pytest.raises(ValueError, match=r"kappa and margin take finite numbers such as 0\.5 or '1/2', got"):
            design._exact(bad)  # type: ignore[arg-type]


WISHES = {"kappa": "1/2", "margin": "infinite", "bounded_gradient": True, "logit_link": True, "convex": True}


def test_every_line_of_a_proof() -> None:
    lines = prove_design(gpo.get_loss("dpo"), **WISHES)  # type: ignore[arg-type]
    assert [line.wish for line in lines] == [
        "calibrated", "kappa=1/2", "margin=infinite", "bounded_gradient=True", "logit_link=True", "convex=True",
    ]  # fmt: skip
    assert [line.found for line in lines] == [
        "calibrated: True", "κ = 1/2", "infinity, oo", "lim f′ = -1, 0",
        "f′(−z) = e^(1 z) f′(z): True; z*/logit η = 1, 1, 1 at η = 0.6, 0.9, 0.99", "convex: True",
    ]  # fmt: skip
    assert all(line.holds for line in lines)


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("dpo", [True, True, True, True, True, True]),
        ("ipo", [True, False, False, False, False, True]),
        ("slic", [True, False, False, True, False, True]),
        ("exponential", [True, False, True, False, False, True]),
        ("savage", [True, True, True, True, True, False]),
        ("log(1+exp(z))", [False, True, False, True, False, True]),
    ],
)
def test_wishes_that_a_loss_has(name: str, holds: list[bool]) -> None:
    lines = prove_design(gpo.get_loss(name), **WISHES)  # type: ignore[arg-type]
    assert [line.holds for line in lines] == holds
    assert prove_design(gpo.get_loss("dpo"))[0].wish == "calibrated"
    assert len(prove_design(gpo.get_loss("dpo"))) == 1


@pytest.mark.parametrize(
    ("name", "wish", "holds"),
    [("dpo", False, False), ("dpo", "scaled", True), ("exponential", "scaled", True), ("exponential", True, False),
     ("ipo", False, True), ("ipo", "scaled", False), ("sqrt(1+z**2)-z", False, True), ("sqrt(1+z**2)-z", True, False),
     ("sqrt(1+z**2)-z", "scaled", False)],
)  # fmt: skip
def test_links(name: str, wish: bool | str, holds: bool) -> None:
    (_, line) = prove_design(gpo.get_loss(name), logit_link=wish)  # type: ignore[arg-type]
    assert line.holds is holds


@pytest.mark.parametrize(
    ("wishes", "pairs"),
    [
        ({"kappa": -1}, [("kappa=-1", "calibration")]),
        ({"margin": 0}, [("margin=0", "calibration")]),
        ({"margin": -1}, [("margin=-1", "calibration")]),
        ({"kappa": 1, "logit_link": True}, [("logit_link=True", "kappa=1")]),
        ({"kappa": 0, "logit_link": "scaled"}, [("logit_link='scaled'", "kappa=0")]),
        ({"kappa": 0, "logit_link": True}, [("logit_link=True", "kappa=0")]),
        ({"margin": 2, "logit_link": True, "kappa": "1/2"}, [("logit_link=True", "margin=2")]),
        ({"margin": "finite", "logit_link": "scaled"}, [("logit_link='scaled'", "margin='finite'")]),
    ],
)
def test_wishes_that_exclude_each_other(wishes: dict, pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(IncompatibleWishesError) as refused:
        gpo.design_loss(**wishes)
    assert [pair for pair, _ in refused.value.conflicts] == pairs
    assert all(f"{' and '.join(pair)} cannot be had: " in str(refused.value) for pair in pairs)


def test_a_design_that_analyze_does_not_confirm_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wish that fails is named."""
    monkeypatch.setattr(design, "_base", lambda *wishes: (1 - Z) ** 2)
    with pytest.raises(RuntimeError, match=r"\(1 - z\)\*\*2 should have kappa=1/2, but analyze finds κ = 1$"):
        gpo.design_loss(logit_link=True)
