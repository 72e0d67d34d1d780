"""The link of losses that are level far out, have cusps, or kinks whose mirror image falls on a minimum."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo

ETA = np.array([0.0, 0.003, 0.02, 0.15, 0.4, 0.49, 0.5, 0.51, 0.6, 0.85, 0.98, 0.997, 1.0])


@pytest.mark.parametrize(
    "text", ["max(0,1-z)-max(0,-z)", "min(1,max(0,1-z))", "min(1.5,max(0,1-z))", "min(1.9,max(0,1-z))"]
)
def test_clipped_hinge_below_twice_its_unit(text: str) -> None:
    """Right and wrong are worth 1 apart from either: the nearest minimiser is ±1, by the label alone."""
    found = gpo.optimal_margin(gpo.parse_loss(text), ETA)
    assert found.tolist() == [-1.0] * 6 + [1.0] * 7


@pytest.mark.parametrize("power", ["0.25", "0.34", "0.5", "0.7", "0.9"])
@pytest.mark.parametrize("place", ["1", "1.38", "0.35", "1/3"])
def test_powers_below_one_reach_their_level(power: str, place: str) -> None:
    """max(0, a − z)^p is 0 from a on, where its slope is infinite: labels that are certain want ±a."""
    loss = gpo.parse_loss(f"max(0,{place}-z)^{power}")
    at = 1 / 3 if place == "1/3" else float(place)
    assert gpo.optimal_margin(loss, [0.0, 1.0]).tolist() == [-at, at]
    assert np.allclose(abs(gpo.optimal_margin(loss, [0.2, 0.8])), at)  # all or nothing, as a concave loss decides


@pytest.mark.parametrize("unit", [0.5, 1.0, 2.0])
def test_truncated_square_whose_mirrored_kink_is_a_minimum(unit: float) -> None:
    """min((z − u)², 4u²): f(−z) is cut at u, where f is least; the best is (2η − 1)u, or ±u where it costs more."""
    loss = gpo.parse_loss(f"min((z-{unit})^2,{4 * unit**2})")
    eta = np.array([0.985, 0.99, 0.995, 0.999, 0.9999])
    assert gpo.optimal_margin(loss, eta) == pytest.approx(unit * (2 * eta - 1), rel=1e-12)
    assert gpo.optimal_margin(loss, 1 - eta) == pytest.approx(-unit * (2 * eta - 1), rel=1e-12)


FAMILIES = (
    "min((z-{a})^2,{c})", "min(abs(z-{a}),{c})", "min(log(1+exp(-z)),{c})", "max(0,{a}-z)^{p}", "abs(z-{a})^{p}",
    "max(0,1-z)^2/(1+{a}*max(0,1-z)^2)", "min(max(0,1-z),{c})", "min(max(0,1-z)^2,{c})",
    "max(abs(z-1)-0.3,0)^{p}", "log(1+abs(z-1)^{p})", "min(abs(z-1),abs(z-2.5)+0.1)",
)  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_no_point_of_a_fine_grid_is_lower_nor_as_low_and_nearer(family: str) -> None:
    rng = np.random.default_rng(7)
    grid = np.unique(np.concatenate([np.linspace(-12, 12, 48_001), [0.0]]))
    for _ in range(3):
        numbers = {
            "a": round(rng.uniform(0.3, 3), 2),
            "c": round(rng.uniform(1.05, 4), 2),
            "p": round(rng.uniform(0.3, 2.5), 2),
        }
        loss = gpo.parse_loss(family.format(**numbers))
        ahead, mirror = np.asarray(loss(grid)), np.asarray(loss(-grid))
        for eta, z in zip(ETA, gpo.optimal_margin(loss, ETA), strict=True):
            risk = ahead if eta == 1 else mirror if eta == 0 else eta * ahead + (1 - eta) * mirror
            least = risk.min()
            nearest = np.abs(grid[risk <= least + 1e-14 * max(1.0, abs(least))]).min()
            far = z if np.isfinite(z) else np.sign(z) * 1e8
            own = (eta * float(loss(far)) if eta else 0.0) + ((1 - eta) * float(loss(-far)) if eta < 1 else 0.0)
            assert own <= least + 1e-10 * max(1.0, abs(least)), (loss.name, eta, z)
            if own >= least - 1e-13:
                assert abs(z) <= nearest + 5e-3, (loss.name, eta, z, nearest)


def test_a_constant_leaves_the_margin_open() -> None:
    lines = gpo.analyze(gpo.parse_loss("1")).summary().splitlines()
    assert [line.split()[4:] for line in lines if line.startswith("at η = 1")] == [["every", "z"]]
    assert "half line: every z ≥ 1" in gpo.analyze("slic").summary()


@pytest.mark.parametrize(
    "form",
    ["max(log(1+exp(-z)),{c})", "max(min(log(1+exp(-z)),2.03),{c})", "max(exp(-2*z)+exp(-z),{c})", "min(exp(-z),{c})"],
)
def test_constants_of_seventeen_digits_take_no_longer(form: str) -> None:
    """e^c with c = p/q is to computer algebra a power p of e^{1/q}: it is left as it is where q is long."""
    long, short = (gpo.parse_loss(form.format(c=c)) for c in ("1.9200000000000002", "1.92"))
    eta = [0.25, 0.5, 0.9]
    np.testing.assert_allclose(gpo.optimal_margin(long, eta), gpo.optimal_margin(short, eta), atol=1e-9)
    assert gpo.analyze(long).is_convex is gpo.analyze(short).is_convex
