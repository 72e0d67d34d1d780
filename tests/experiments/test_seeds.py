"""Intervals that experiments add to the library's, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from experiments._seeds import geometric_interval, share_of


def test_geometric_interval_is_students_of_the_logarithms() -> None:
    found = geometric_interval([1.0, 100.0])
    half = 12.706205 * np.log(10.0)  # t with one degree of freedom, times the standard error of log 1 and log 100
    assert found.value == pytest.approx(10.0)
    assert np.log([found.low, found.high]) == pytest.approx([np.log(10.0) - half, np.log(10.0) + half], rel=1e-6)
    assert np.isnan(geometric_interval([3.0]).low)


def test_share_is_wilsons() -> None:
    z = 1.959964  # centre 1/2, half-width z√(1/40 + z²/400)/(1 + z²/10)
    half = z * np.sqrt(0.25 / 10 + z**2 / 400) / (1 + z**2 / 10)
    found = share_of([True, False] * 5)
    assert (found.low, found.high) == (pytest.approx(0.5 - half, rel=1e-6), pytest.approx(0.5 + half, rel=1e-6))
    assert np.isnan(share_of([]).value)
