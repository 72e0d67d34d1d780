"""Losses of two log-ratios made anew: their claims against second differences, their values at a few places."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import sympy

from gpo_analysis.losses import two_ratio_catalogue as catalogue
from gpo_analysis.losses.two_ratio import TwoRatioLoss


@pytest.fixture(autouse=True)
def made_anew() -> None:
    for function in vars(catalogue).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def made() -> list[TwoRatioLoss]:
    one = catalogue
    return [
        one.nca_pair(), one.bco_pair(), one.bco_pair(0.75), one.sppo_hard(), one.apo_zero(), one.apo_down(), one.sft(),
        one.kto(), one.kto(1.0, 2.0, 0.5), one.cal_dpo(), one.cal_dpo(0.5, 2.0), one.dpop(), one.dpop(2.0), one.rpo(),
        one.rpo(3.0),
    ]  # fmt: skip


def softplus(u: float) -> float:
    return float(np.logaddexp(0, u))


def sigma(u: float) -> float:
    return 1 / (1 + math.exp(-u))


VALUES: dict[str, Callable[[float, float], float]] = {
    "nca_pair": lambda a, b: softplus(-a) + softplus(a) / 2 + softplus(b) / 2,
    "bco_pair": lambda a, b: softplus(-a) + softplus(b),
    "sppo_hard": lambda a, b: (a - 0.5) ** 2 + (b + 0.5) ** 2,
    "apo_zero": lambda a, b: sigma(-a) + sigma(b),
    "apo_down": lambda a, b: sigma(a) + sigma(b - a),
    "sft": lambda a, b: -a,
    "kto": lambda a, b: sigma(-a) + sigma(b),
    "cal_dpo": lambda a, b: softplus(b - a) + ((a - 5) ** 2 + (b + 5) ** 2) / 2,
    "dpop": lambda a, b: softplus(b - a + 50 * max(0, -a)),
    "rpo": lambda a, b: softplus(b - a) - a,
}


def test_values_claims_and_sources() -> None:
    rng = np.random.default_rng(0)
    places = rng.normal(0, 2, (300, 2, 2))
    seen = set()
    for loss in made():
        f = sympy.lambdify(loss.symbols, loss.expression, "numpy")
        claims = loss.claims
        assert claims is not None
        with np.errstate(over="ignore"):
            ends = [[np.float64(f(*place)) for place in pair] for pair in places]
            middles = np.array([f(*((first + last) / 2)) for first, last in places])
        gap = np.array(ends).mean(axis=1) - middles
        assert claims.convex is bool(gap.min() > -1e-9), loss.name
        assert claims.bounded_below is bool(float(f(60.0, -60.0)) > -1), loss.name
        assert list(claims.kinks) == (["a = 0"] if loss.expression.has(sympy.Max) else []), loss.name
        assert "None" not in loss.reference
        assert len(loss.reference) > 20
        if loss.name in VALUES:
            seen.add(loss.name)
            for a, b in ((0.3, -1.2), (-0.7, 0.4), (2.0, 1.0)):
                assert float(f(a, b)) == pytest.approx(VALUES[loss.name](a, b), rel=1e-13), loss.name
    assert seen == set(VALUES)
