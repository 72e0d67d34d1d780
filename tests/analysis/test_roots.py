"""Zeros in brackets, against another method, closed forms and functions that mislead interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from gpo_analysis.analysis.roots import bracketed_zeros

FUNCTIONS = {
    "cubic": lambda z, c: z**3 - c,
    "steep": lambda z, c: np.expm1(40 * (z - c)),
    "flat": lambda z, c: (z - c) ** 9,
    "kink": lambda z, c: np.where(z < c, -1e-8, 3.0) * np.abs(z - c),
    "jump": lambda z, c: np.where(z < c, -1.0, 2.0),
    "far": lambda z, c: np.log1p(np.maximum(z, 0)) - 50 * c,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_zeros_are_those_of_brentq(name: str) -> None:
    shifts = np.random.default_rng(0).uniform(0.1, 1.5, 40)
    high = np.full(40, 1e40 if name == "far" else 3.0)
    found = bracketed_zeros(lambda z, rows: FUNCTIONS[name](z, shifts[rows]), np.zeros(40), high)
    exact = [
        brentq(lambda z, c=c: float(FUNCTIONS[name](np.float64(z), c)), 0.0, h, xtol=1e-300, rtol=1e-15, maxiter=5000)
        for c, h in zip(shifts, high, strict=True)
    ]
    np.testing.assert_allclose(found, exact, rtol={"flat": 1e-2, "far": 4e-14}.get(name, 1e-14))
    if name == "flat":  # where the function underflows any place is a zero
        assert (np.abs(FUNCTIONS[name](found, shifts)) <= 1e-18).all()


def test_where_there_is_no_change_of_sign_there_is_no_number() -> None:
    found = bracketed_zeros(
        lambda z, rows: np.where(rows == 0, z + 1, np.where(rows == 1, np.nan, z - 1)), np.zeros(3), np.full(3, 2.0)
    )
    assert np.isnan(found[:2]).all()
    assert found[2] == 1.0


def test_infinite_values_only_halve_the_bracket() -> None:
    found = bracketed_zeros(lambda z, _: np.where(z < 1 / 3, -np.inf, np.inf), np.zeros(1), np.ones(1))
    assert found[0] == pytest.approx(1 / 3, rel=1e-15)
