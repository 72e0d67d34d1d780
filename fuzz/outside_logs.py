"""Logs of losses that the catalogue does not hold, over margins from small to large: how often another is named.

Drawn are log cosh, pseudo-Huber, Cauchy and Welsch losses about a target, powers and mixtures of the logistic,
a tempered exponential and a smoothed hinge, each stretched and with a random shape; margins of a scale from 0.02 to 3;
losses with all their digits, in single precision, rounded to four decimals or to bfloat16; now and then a mean over a
batch whose pairs are logged. Whatever is named is *wrong*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from fuzz.drawn_margins import bfloat16
from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.audit import audit_log
from gpo_analysis.estimation.loss_log import loss_log

Shape = Callable[[FloatArray, float], FloatArray]

OUTSIDE: dict[str, tuple[Shape, float, float]] = {
    "log cosh": (lambda z, t: np.log(np.cosh(t - z)), 0.4, 2.5),
    "pseudo-Huber": (lambda z, t: np.sqrt(1 + (t - z) ** 2) - 1, 0.4, 2.5),
    "Cauchy": (lambda z, t: np.log1p((t - z) ** 2), 0.4, 2.0),
    "Welsch": (lambda z, t: 1 - np.exp(-((t - z) ** 2) / 2), 0.4, 1.5),
    "power of logistic": (lambda z, t: np.logaddexp(0, -z) ** t, 1.3, 3.0),
    "power of sigmoid": (lambda z, t: (1 + np.exp(z)) ** -t, 0.4, 1.6),
    "logistic and exponential": (lambda z, t: t * np.logaddexp(0, -z) + (1 - t) * np.exp(-z), 0.2, 0.8),
    "tempered exponential": (lambda z, t: np.maximum(1 - z / t, 1e-9) ** t, 3.3, 9.7),
    "smoothed hinge": (lambda z, t: np.logaddexp(0, (1 - z) / t) * t, 0.15, 0.7),
    "sum with arctan": (lambda z, t: 2 - t * np.arctan(z) + np.log1p(np.exp(-z)), 0.2, 1.5),
}
"""Functions of z and of a shape, and what the shape is drawn from."""


def draw_outside(rng: np.random.Generator) -> tuple[str, dict[str, FloatArray]]:
    """One log, and what it is of."""
    name = str(rng.choice(list(OUTSIDE)))
    shape, low, high = OUTSIDE[name]
    t = float(rng.uniform(low, high))
    beta = float(np.exp(rng.uniform(np.log(0.02), np.log(2.0))))
    size = int(np.exp(rng.uniform(np.log(20), np.log(400))))
    wide = float(np.exp(rng.uniform(np.log(0.02), np.log(3.0))))
    z = np.clip(rng.normal(rng.uniform(0, 0.7) * wide, wide, size), -6, 6)
    kind = str(rng.choice(["all digits", "single precision", "four decimals", "bfloat16"]))
    if kind == "bfloat16":
        rho = bfloat16(z / beta)
        loss = bfloat16(shape(bfloat16(beta * rho), t))
    else:
        rho = z / beta
        loss = np.asarray(shape(beta * rho, t))
        if kind == "single precision":
            rho, loss = (x.astype(np.float32).astype(np.float64) for x in (rho, loss))
        if kind == "four decimals":
            loss = np.round(loss, 4)
    columns = {"margin": rho, "loss": loss}
    if rng.random() < 0.2 and size >= 80:
        rho, loss = rho[: size // 4 * 4], loss[: size // 4 * 4]
        step = np.repeat(np.arange(len(rho) // 4), 4)
        columns = {"margin": rho, "loss": np.repeat(loss.reshape(-1, 4).mean(1), 4), "step": step.astype(np.float64)}
    return f"{name}, shape {t:.3g}, β = {beta:.3g}, {size} margins of scale {wide:.3g}, {kind}", columns


def campaign(count: int, seed: int, verbose: bool = False) -> Counter[str]:
    """Audit so many logs; count "open" and "wrong"."""
    counts: Counter[str] = Counter()
    for i in range(count):
        what, columns = draw_outside(np.random.default_rng([seed, i]))
        found = audit_log(loss_log(columns))
        verdict = "open" if found.loss is None else "wrong"
        counts[verdict] += 1
        if verbose and verdict == "wrong":
            print(f"{i:4} wrong: {what}: {found}", flush=True)
    return counts


def run(count: int, seed: int) -> int:
    """Run it; the exit code is 1 where more than 1 % are wrong."""
    counts = campaign(count, seed, verbose=True)
    print(f"{counts['open']} open, {counts['wrong']} wrong of {count}")
    return int(counts["wrong"] > 0.01 * count)
