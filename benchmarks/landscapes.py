"""Landscapes of Gaussian mixtures: both regularizers over shifts, beside scipy's quad.

πref is a mixture of three Gaussians, μ one Gaussian, the policy πref moved by c. Ours computes values, gradients and
all local minima; quad the two values at a part of the shifts, over the line cut at the modes, with the same tolerance.
The error is the largest relative one of any value at these shifts, against a trapezoidal rule of 20,001 points, which
for functions analytic and vanishing at both ends is right to rounding (Trefethen and Weideman 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.framework import Benchmark, Side, Size, Task, Work, sizes
from gpo_analysis.arrays import FloatArray

MODES, SCALE, WIDTH = (-3.0, 0.0, 3.0), 0.5, 0.5
#: Shifts at which quad integrates.
MOST_SHIFTS = 20
TOLERANCE = 1e-10


def shifts(size: Size) -> FloatArray:
    """From −5 to 5."""
    return np.linspace(-5.0, 5.0, size.numbers[0])


def log_reference(y: FloatArray) -> FloatArray:
    """log πref."""
    parts = [-0.5 * ((y - m) / SCALE) ** 2 for m in MODES]
    return np.asarray(np.logaddexp.reduce(parts, axis=0) - np.log(3 * SCALE * np.sqrt(2 * np.pi)))


def log_behavior(y: FloatArray) -> FloatArray:
    """log μ."""
    return np.asarray(-0.5 * (y / WIDTH) ** 2 - np.log(WIDTH * np.sqrt(2 * np.pi)))


def exact(c: float) -> tuple[float, float]:
    """KL and ½E_μ[ρ²], which is the variance of log π/πref under μ, by the trapezoidal rule."""
    y = np.linspace(-20.0, 20.0, 20_001)
    step, ratio = y[1] - y[0], log_reference(y - c) - log_reference(y)
    own, mu = np.exp(log_reference(y - c)) * step, np.exp(log_behavior(y)) * step
    mean = float((mu * ratio).sum())
    return float((own * ratio).sum()), float((mu * (ratio - mean) ** 2).sum())


def _error(c: FloatArray, kl: FloatArray, squared: FloatArray) -> dict[str, float]:
    """At a few of the shifts."""
    some = np.linspace(0, len(c) - 1, min(7, len(c))).round().astype(int)
    worst = 0.0
    for k in some:
        for value, truth in zip((kl[k], squared[k]), exact(float(c[k])), strict=True):
            worst = max(worst, abs(float(value) - truth) / max(abs(truth), 1e-3))
    return {"error": worst}


def ours(minima: bool) -> Callable[[Size], Work]:
    """The whole landscape, or its two values and gradients alone."""

    def prepare(size: Size) -> Work:
        from gpo_analysis.gaussian import GaussianMixture, Regularizers, landscape

        reference = GaussianMixture([1 / 3] * 3, list(MODES), [SCALE] * 3)
        behavior = GaussianMixture([1.0], [0.0], [WIDTH])
        c = shifts(size)

        def whole() -> Any:
            found = landscape(reference, reference, behavior=behavior, grid=c)
            return found.kl, found.mu_squared_loss

        def values() -> Any:
            both = Regularizers.of(reference, reference, behavior)
            return both("kl", c).value, both("mu_squared_loss", c).value

        return Work(whole if minima else values, lambda found: _error(c, *found))

    return prepare


def by_quad(size: Size) -> Work:
    """Three integrals a shift."""
    from scipy.integrate import quad

    every = shifts(size)
    c = every[np.linspace(0, len(every) - 1, min(MOST_SHIFTS, len(every))).round().astype(int)]

    def log_mixture(y: float) -> float:
        parts = [-0.5 * ((y - m) / SCALE) ** 2 for m in MODES]
        top = max(parts)
        return top + float(np.log(sum(np.exp(part - top) for part in parts)))

    def integral(f: Callable[[float], float], places: list[float]) -> float:
        low, high = min(places) - 12 * SCALE, max(places) + 12 * SCALE
        return float(quad(f, low, high, points=places, epsabs=1e-13, epsrel=TOLERANCE, limit=400)[0])

    height, mu_height = 1 / (3 * SCALE * np.sqrt(2 * np.pi)), 1 / (WIDTH * np.sqrt(2 * np.pi))

    def at(shift: float) -> tuple[float, float]:
        def ratio(y: float) -> float:
            return log_mixture(y - shift) - log_mixture(y)

        def mu(y: float) -> float:
            return mu_height * float(np.exp(-0.5 * (y / WIDTH) ** 2))

        moved = [m + shift for m in MODES]
        kl = integral(lambda y: height * float(np.exp(log_mixture(y - shift))) * ratio(y), moved)
        mean = integral(lambda y: mu(y) * ratio(y), [0.0])
        return kl, integral(lambda y: mu(y) * (ratio(y) - mean) ** 2, [0.0])

    def judge(found: FloatArray) -> dict[str, float]:
        return _error(c, found[:, 0], found[:, 1])

    return Work(lambda: np.array([at(float(shift)) for shift in c]), judge, len(c) / len(every))


LANDSCAPES = Benchmark(
    "landscapes",
    "KL and μ-weighted square loss of shifted Gaussian mixtures",
    (
        Task(
            "values",
            "both values, ours with their gradients",
            sizes("101", "1001", "4001"),
            (Side("ours", ours(False)), Side("scipy quad", by_quad, "scipy")),
            "100 times quad",
            "error",
            1e-9,
        ),
        Task(
            "minima",
            "the landscape with all local minima, beside the two values by quad",
            sizes("101", "1001"),
            (Side("ours", ours(True)), Side("scipy quad, values alone", by_quad, "scipy")),
            "",
            "error",
            1e-9,
        ),
    ),
    ("shifts",),
    Size((21,)),
)
