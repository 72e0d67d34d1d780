"""Whether a log tells the loss that fits it from losses that nobody tried.

Near margin 0 every smooth loss is the beginning of its Taylor series. A log of small margins shows a few coefficients
of it, and a family with as many free numbers (β, ε, a scale, a weight) goes through any of them: that it fits says
nothing. So the fit is compared with polynomials of ρ, of any coefficients that a loss may have, by their evidence: the
height of the fit times how much of what was possible before is left over, in both. Polynomials of the two log-ratios
take their place where the loss has both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.audit_fits import Fitted, within_floats
from gpo_analysis.estimation.loss_log import LossLog

DEGREE = 8
"""Of polynomials of one margin; half of it of two log-ratios."""
_WIDE = 2.0  # of what coefficients may be, beside C sʲ/j!


@dataclass(frozen=True)
class Smooth:
    """What polynomials make of a log, beside a fit.

    Attributes
    ----------
    log_odds : float
        Logarithm of their evidence over that of the fit; −inf where none can be fitted.
    coefficients : int
        How many coefficients the log shows, by the polynomial of most evidence.
    """

    log_odds: float
    coefficients: int


def smooth_rival(log: LossLog, fit: Fitted, inflation: float) -> Smooth:
    """Polynomials against one fit.

    Parameters
    ----------
    log : LossLog
        Of pairs.
    fit : Fitted
        With its `weight` and `directions`.
    inflation : float
        How many times the noise's variance is what rounding explains.

    Examples
    --------
    >>> from gpo_analysis.estimation.audit_fits import pair_fits
    >>> from gpo_analysis.estimation.loss_log import loss_log
    >>> rho = np.linspace(-3.0, 3.0, 60)
    >>> log = loss_log({"margin": rho, "loss": np.log1p(np.exp(-rho))})
    >>> fit = min(pair_fits(log, free=False), key=lambda f: f.chi + 2 * f.log_noise)
    >>> fit.loss, smooth_rival(log, fit, 1.0).log_odds < -20
    ('logistic', True)
    """
    if fit.weight is None or fit.directions is None:
        return Smooth(-math.inf, 0)
    weight = fit.weight / math.sqrt(inflation)
    target = log.loss * weight
    own = -0.5 * fit.chi / inflation - _narrowed(fit.directions * weight[:, None] / math.sqrt(2 * math.pi))
    best, shown = -math.inf, 0
    found = []
    for design, widths in _designs(log, fit):
        columns = design * weight[:, None] * widths
        if not within_floats(columns):
            break
        vectors, sizes, _ = np.linalg.svd(columns, full_matrices=False)
        along = vectors.T @ target
        left = float(target @ target - along @ along) + float((along**2 / (1 + sizes**2)).sum())
        evidence = -0.5 * left - float(0.5 * np.log1p(sizes**2).sum())
        found.append(evidence)
        if evidence > best:
            best, shown = evidence, int((sizes > 1).sum())
    if not found:
        return Smooth(-math.inf, 0)
    return Smooth(best + math.log(float(np.exp(np.array(found) - best).sum()) / len(found)) - own, shown)


def _narrowed(directions: FloatArray) -> float:
    """How much narrower the unknown has become, as a logarithm: ½ Σ log(1 + s²)."""
    if not within_floats(directions):
        return math.inf
    return float(0.5 * np.log1p(np.linalg.svd(directions, compute_uv=False) ** 2).sum())


def _designs(log: LossLog, fit: Fitted) -> list[tuple[FloatArray, FloatArray]]:
    """Columns of means of groups, degree by degree, and what each coefficient may be."""
    counts = np.bincount(log.group).astype(np.float64)
    both = log.apart is not None and fit.of_two
    arguments = [log.pairs.rho(fit.reduction)]
    if log.apart is not None and both:
        arguments = [log.apart.chosen, log.apart.rejected]
        if fit.reduction == "means":
            assert log.pairs.chosen_length is not None
            assert log.pairs.rejected_length is not None
            arguments = [arguments[0] / log.pairs.chosen_length, arguments[1] / log.pairs.rejected_length]
    size = float(np.quantile(np.abs(np.concatenate(arguments)), 0.9)) or 1.0
    arguments = [x / size for x in arguments]
    p = log.label

    def column(parts: tuple[int, ...]) -> FloatArray:
        values = np.prod([arguments[i] for i in parts], axis=0) if parts else np.ones(len(log.group))
        if p is not None:
            turned = [arguments[1 - i] for i in parts] if both else [-arguments[0] for _ in parts]
            values = p * values + (1 - p) * (np.prod(turned, axis=0) if parts else 1.0)
        return np.asarray(np.bincount(log.group, values) / counts)

    height = max(float(np.median(np.abs(log.loss))), 1e-300)
    columns, degrees = [column(())], [0]
    slope = 0.0
    found = []
    for degree in range(1, DEGREE // (2 if both else 1) + 1):
        more = list(combinations_with_replacement(range(len(arguments)), degree))
        columns += [column(parts) for parts in more]
        degrees += [degree] * len(more)
        design = np.stack(columns, -1)
        if not within_floats(design) or design.shape[1] >= len(log.loss):
            break
        if degree <= 2:
            first = np.linalg.lstsq(design, log.loss, rcond=None)[0][-len(more) :]
            slope = max(slope, (float(np.abs(first).max()) / height) ** (1 / degree))
        found.append((design, np.array([_WIDE * height * slope**d / math.factorial(d) for d in degrees])))
    return found
