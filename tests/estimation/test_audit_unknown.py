"""Logs of losses that no catalogue holds: an audit neither breaks down nor names another."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from fuzz.outside_logs import OUTSIDE, campaign
from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation import audit_log
from gpo_analysis.estimation.audit_fits import least_squares, pair_fits, within_floats
from gpo_analysis.estimation.audit_smooth import smooth_rival
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
    found = audit_log(loss_log({"margin": rho, "loss": log_cosh(0.5 * rho)}))
    assert found.undecided is not None
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


@pytest.mark.parametrize("loss", [log_cosh, lambda z: np.sqrt(1 + (1 - z) ** 2) - 1])
@pytest.mark.parametrize("count", [20, 60])
def test_small_margins_do_not_name_what_fits_any_loss(loss: object, count: int) -> None:
    rho = np.random.default_rng(0).normal(0, 0.05, count)
    found = audit_log(loss_log({"margin": rho, "loss": loss(0.5 * rho)}))  # type: ignore[operator]
    assert found.undecided is not None
    assert "any loss that was not tried" in found.undecided
    assert "3 free numbers" in found.undecided
    assert found.confidence < 0.99


def test_two_log_ratios_near_0_do_not_name_what_fits_any_loss() -> None:
    """A loss of both log-ratios that no catalogue holds, where only its first coefficients show."""
    rng = np.random.default_rng(3)
    chosen, rejected = rng.normal(0, 0.04, (2, 60))
    loss = np.log(np.cosh(1 - chosen)) + 0.3 * np.exp(rejected) + 0.1 * chosen * rejected
    found = audit_log(loss_log({"chosen_logratio": chosen, "rejected_logratio": rejected, "loss": loss}))
    assert found.undecided is not None


@pytest.mark.parametrize("scale", [0.05, 0.3])
def test_small_margins_still_name_a_loss_that_has_only_beta_free(scale: float) -> None:
    """f(0), f′(0) and β in one: the values at 0 alone tell logistic from what else is known, and from chance."""
    rho = np.random.default_rng(0).normal(0, scale, 40)
    found = audit_log(loss_log({"margin": rho, "loss": np.log1p(np.exp(-0.5 * rho))}))
    assert found.loss == "logistic", found.undecided
    assert found.beta == pytest.approx(0.5, rel=1e-3)


def test_the_evidence_of_polynomials_is_the_integral_over_their_coefficients() -> None:
    """Brute force: the likelihood averaged over coefficients drawn from what they may be, against the closed form."""
    rng = np.random.default_rng(1)
    rho = rng.normal(0, 0.3, 12)
    noise = 0.2
    log = loss_log({"margin": rho, "loss": np.round(np.logaddexp(0, -rho) + rng.normal(0, noise, 12), 6)})
    fit = next(f for f in pair_fits(log, free=False) if f.loss == "logistic" and f.smoothing is None)
    fit = dataclasses.replace(
        fit, weight=np.full(12, 1 / noise), directions=np.zeros((12, 1)), chi=0.0, residuals=np.zeros(12)
    )
    found = smooth_rival(log, fit, 1.0).log_odds
    size, height = float(np.quantile(np.abs(rho), 0.9)), float(np.median(np.abs(log.loss)))
    x = rho / size
    line, parabola = (np.polynomial.polynomial.polyfit(x, log.loss, degree)[-1] for degree in (1, 2))
    firsts = abs(line) / height, max(abs(line) / height, math.sqrt(abs(parabola) / height))
    evidences = []
    for degree in range(1, 9):
        slope = firsts[min(degree, 2) - 1]
        widths = np.array([2 * height * slope**j / math.factorial(j) for j in range(degree + 1)])
        values = rng.normal(0, widths, (200_000, degree + 1)) @ np.vander(x, degree + 1, increasing=True).T
        squares = (((values - log.loss) / noise) ** 2).sum(axis=1)
        evidences.append(float(np.exp(-squares / 2).mean()))
    assert found == pytest.approx(math.log(np.mean(evidences)), abs=0.1)


def test_losses_outside_the_catalogue_are_left_open() -> None:
    assert len(OUTSIDE) == 10
    assert campaign(6, seed=2)["wrong"] == 0
