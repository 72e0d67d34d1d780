"""The Taylor series of f at 0: how well each order does, and the radius beyond which none does.

The paper's regularizer is the second-order term of E f(βρ) (Tang et al. 2024, arXiv 2402.05749, section 3). Truncated
after order N, the series errs by the remainder f(z) − T_N(z), computed here in 60-digit arithmetic so that nothing but
the truncation shows. Within the radius of analyticity r the error falls with N, at first like |z|^(N+1); beyond it
more orders make it worse (logistic and Savage, r = π), or change nothing, where a kink hides what lies behind (hinge
and truncated quadratic, r = 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import pandas as pd
import sympy as sp

from experiments._losses import accepted, of_the_preset, those
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.analysis import taylor, taylor_radius, taylor_remainder_bound
from gpo_analysis.losses import PAPER_LOSSES, MarginLoss, get_loss
from gpo_analysis.tables import find

CLAIM = "Each order of the series helps up to the radius π, 1 or ∞ of the loss, and none helps beyond it."
FIGURE = "taylor"

RADII = {
    "logistic": np.pi, "squared": np.inf, "hinge": 1.0, "exponential": np.inf, "truncated_quadratic": 1.0,
    "savage": np.pi,
}  # fmt: skip
DIGITS = 60
BOUNDED_ORDER, BOUNDED_POINTS = 2, 10


@dataclass(frozen=True)
class Config:
    """Orders and margins.

    Parameters
    ----------
    orders : tuple of int
        Orders at which the series is cut.
    low, high, points : float, float and int
        |z| grid, evenly spaced in its logarithm; the error is the larger one of z and −z.
    losses : tuple of str
        Losses whose series are cut: names, or expressions in z. The bound is checked of all of them, radius and rates
        are known beforehand of the paper's.
    """

    orders: tuple[int, ...] = (0, 1, 2, 4, 8, 16, 32)
    low: float = 0.05
    high: float = 20.0
    points: int = 60
    losses: tuple[str, ...] = PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those without a series at 0 refused."""
        object.__setattr__(self, "losses", accepted(self.losses, slope=False))
        for name in self.losses:
            try:
                taylor(get_loss(name), 2)
            except ValueError as error:
                raise ValueError(f"losses: {error}; accepted are losses with a series at 0") from None


PRESETS = {"quick": Config(), "paper": Config(points=240)}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a loss and order."""
    return grid(loss=config.losses, order=config.orders)


def run(config: Config, *, loss: str, order: int) -> pd.DataFrame:
    """Return the error of one order over |z|."""
    f = get_loss(loss)
    size = np.geomspace(config.low, config.high, config.points)
    error = remainder(f, order, size)
    return pd.DataFrame(
        {
            "loss": loss,
            "order": order,
            "size": size,
            "error": error,
            "value": np.maximum(np.abs(f(size)), np.abs(f(-size))),
            "bound": bounds(f, order, size),
            "radius": float(taylor_radius(f)),
        }
    )


def remainder(loss: MarginLoss, order: int, size: np.ndarray) -> np.ndarray:
    """Return max(|f − T_N|(z), |f − T_N|(−z)) for each z of ``size``, in 60-digit arithmetic.

    Parameters
    ----------
    loss : MarginLoss
        The loss.
    order : int
        N.
    size : np.ndarray
        (m,) positive margins.
    """
    series = sp.Poly(taylor(loss, order), loss.symbol)
    function = sp.lambdify(loss.symbol, loss.expression, "mpmath")
    with mpmath.workdps(DIGITS):
        coefficients = [
            mpmath.mpf(c.p) / c.q if c.is_Rational else mpmath.mpf(sp.N(c, DIGITS)) for c in series.all_coeffs()
        ]
        errors = []
        for z in map(mpmath.mpf, size.tolist()):
            pair = [abs(function(x) - mpmath.polyval(coefficients, x)) for x in (z, -z)]
            errors.append(float(max(pair)))
    return np.array(errors)


def bounds(loss: MarginLoss, order: int, size: np.ndarray) -> np.ndarray:
    """Return the bound on the error of order 2, that of the paper's regularizer, at some of ``size``; NaN elsewhere."""
    found = np.full(len(size), np.nan)
    if order == BOUNDED_ORDER:
        for index in range(0, len(size), max(1, len(size) // BOUNDED_POINTS)):
            found[index] = taylor_remainder_bound(loss, order, float(size[index]))
    return found


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The radius, the order of the error near 0, more orders within the radius and beyond it."""
    found: dict[str, dict[str, Check]] = {}

    def note(claim: str, name: str, check: Check) -> None:
        found.setdefault(claim, {})[name] = check

    for name in (*those(config.losses, PAPER_LOSSES), *(name for name in config.losses if name not in PAPER_LOSSES)):
        rows = find(table, loss=name)
        if name in RADII:
            note("radius of the series at 0", name, Check.equal("r", RADII[name], float(rows["radius"].iloc[0]), 1e-12))
        bounded = rows[rows["bound"].notna()]
        excess = float((bounded["error"] - bounded["bound"]).max())
        note("error of order 2 less its bound (largest)", name, Check.at_most("excess", 0.0, excess, 1e-12))
        if name not in RADII:
            continue
        errors = rows.pivot_table(index="size", columns="order", values="error")
        for claim, check in (_of_kinks(name, errors) if RADII[name] == 1.0 else _of_series(name, errors)).items():
            note(claim, name, check)
    return [Check.each(claim, parts).as_theorem() for claim, parts in found.items()]


def _of_kinks(name: str, errors: pd.DataFrame) -> dict[str, Check]:
    """A loss of two polynomials: exact up to the kink, and of no use behind it."""
    kept = [order for order in errors.columns if order >= (1 if name == "hinge" else 2)]
    inside, outside = errors.loc[errors.index <= 0.6, kept], errors.loc[errors.index >= 1.2, kept]
    spread = float(outside.max(axis=1).sub(outside.min(axis=1)).max())
    return {
        "the series is exact within the kink (largest error)": Check.equal("error", 0.0, inside.max().max(), 1e-30),
        "beyond the kink no order changes the error": Check.equal("spread over orders", 0.0, spread, 1e-30),
        "beyond the kink the error stays (least)": Check.at_least("error", 0.01, float(outside.min().min())),
    }


def _of_series(name: str, errors: pd.DataFrame) -> dict[str, Check]:
    """An analytic loss: each order helps within the radius and none beyond it."""
    if name == "squared":
        worst = float(errors[[order for order in errors.columns if order >= 2]].max().max())
        return {"order 2 of the squared loss is exact (largest error)": Check.equal("error", 0.0, worst, 1e-30)}
    radius, last, before = RADII[name], errors.columns[-1], errors.columns[-3]
    inside, outside = errors[errors.index <= 0.6 * min(radius, 10.0)], errors[errors.index >= 1.2 * radius]
    falls = float((inside[last] / inside[before]).max())
    found = {
        f"order {last} over order {before} up to 0.6 r, or to |z| = 6 (largest ratio)": Check.at_most(
            "ratio", 0.01, falls
        ),
        "power of |z| in the error of order 2 near 0": Check.equal("power", _power(name), _slope(errors[2]), 0.1),
    }
    if len(outside):
        grows = float((outside[last] / outside[before]).min())
        claim = f"beyond 1.2 r, order {last} over order {before} (least ratio)"
        found[claim] = Check.at_least("ratio", 1.0, grows)
    return found


def _power(name: str) -> float:
    """Return the power of the first term after order 2: logistic has no z³."""
    return 4.0 if name == "logistic" else 3.0


def _slope(errors: pd.Series) -> float:
    """Return the slope of log error over log |z| between the two smallest |z|."""
    (z0, e0), (z1, e1) = list(errors.items())[:2]
    return float(np.log(e1 / e0) / np.log(z1 / z0))


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """How far order 2, the paper's regularizer, can be trusted, and what more orders do."""
    second = find(table, order=2)
    good = second["error"] <= 0.1 * second["value"].clip(lower=1e-300)
    reach = {name: _reach(rows["size"], good[rows.index]) for name, rows in second.groupby("loss", sort=False)}
    last = max(config.orders)
    beyond = []
    for name in ("logistic", "savage"):
        rows = table[(table["loss"] == name) & (table["size"] >= 1.2 * RADII[name])]
        wide = rows.pivot_table(index="size", columns="order", values="error")
        if len(wide):
            beyond.append(f"{name} by at least {float((wide[last] / wide[2]).min()):.3g}")
    shown = ", ".join(f"{name} {size:.3g}" for name, size in reach.items())
    return (
        "The radius of each series is that of theory: π for logistic and Savage, 1 for hinge and truncated "
        "quadratic, infinite for squared and exponential. Up to which |z| does order 2 err by less than a tenth of "
        f"the larger of f(z) and f(−z) (grid up to {config.high:g})? {shown}. Inside the radius each order helps; "
        f"beyond 1.2 radii order {last} is worse than order 2 ({'; '.join(beyond) or 'not on this grid'}, in ratio of "
        "errors), and for the two losses with a kink no order helps at all. To remember: the quadratic reading of a "
        "loss is exact for squared, and for every other one holds only while |βρ| is about one."
    )


def _reach(size: pd.Series, good: pd.Series) -> float:
    """Return the largest |z| up to which all is good."""
    bad = size[~good]
    return float(size[size < bad.min()].max()) if len(bad) else float(size.max())
