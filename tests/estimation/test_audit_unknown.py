"""Logs of losses that no catalogue holds: an audit neither breaks down nor names another."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation import audit_log
from gpo_analysis.estimation.audit_fits import least_squares, within_floats
from gpo_analysis.estimation.loss_log import loss_log


def log_cosh(z: FloatArray) -> FloatArray:
    return np.asarray(np.log(np.cosh(1 - z)))


@pytest.mark.parametrize("largest", [709.2, 709.7, 650.0, 300.0, 240.0])
def test_a_column_near_the_largest_float_is_no_end_of_an_audit(
    largest: float, capfd: pytest.CaptureFixture[str]
) -> None:
    """exp(−βρ) at the largest β that is tried is finite, and infinite once it is weighted or squared."""
    rho = np.random.default_rng(4).uniform(-0.06, 0.06, 48)
    rho[0] = -1.0  # beyond the quantile, whatever it is
    rho[0] = -largest / 10**2.5 * float(np.quantile(np.abs(rho), 0.9))
    assert np.isfinite(np.exp(largest))
    audit_log(loss_log({"margin": rho, "loss": log_cosh(0.5 * rho)}))
    assert capfd.readouterr().err == "", "LAPACK speaks on standard error"


@pytest.mark.parametrize("size", [1e-90, 1.0, 1e90])
def test_columns_of_any_size_are_fitted(size: float) -> None:
    """What grows like exp(−z) has 1e90 beside a column near 1; the exact solution is known."""
    x = np.linspace(-1, 1, 30)
    design = np.column_stack([size * np.exp(x), x])
    coefficients = np.array([2 / size, -0.5])
    assert least_squares(design, design @ coefficients) == pytest.approx(coefficients, rel=1e-9)
    assert within_floats(design)
    assert not within_floats(design, np.array([math.inf]))
    assert not within_floats(np.array([1.0, math.nan]))
