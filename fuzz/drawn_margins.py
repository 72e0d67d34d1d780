"""What synthetic logs are drawn from: margins beyond 1, label smoothing, the rounding of bfloat16."""

from __future__ import annotations

import numpy as np

from gpo_analysis.analysis.conventions import exo_loss
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss, get_loss


def bfloat16(x: FloatArray) -> FloatArray:
    """Rounded to the nearest bfloat16, ties to even."""
    bits = np.asarray(x, dtype=np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)


def smoothed_loss(rng: np.random.Generator, name: str) -> tuple[str | None, float, MarginLoss]:
    """Kind of smoothing, ε, and the loss with it."""
    if name == "exo":
        epsilon = float(rng.choice([1e-3, 0.05, 0.1]))
        return "exo", epsilon, exo_loss(epsilon)
    f = get_loss(name)
    smoothing = rng.choice(["none", "none", "none", "smoothed", "robust"])
    epsilon = float(rng.choice([0.05, 0.1, 0.2]))
    if smoothing == "none":
        return None, 0.0, f
    return str(smoothing), epsilon, f.smoothed(epsilon) if smoothing == "smoothed" else f.robust(epsilon)


def drawn_margins(rng: np.random.Generator, size: int, most: float) -> FloatArray:
    """Margins z of any of three shapes, the largest and the smallest well beyond 1 in size."""
    shape = rng.choice(["normal", "student", "skewed"])
    raw = {
        "normal": lambda: rng.normal(0, 1, size), "student": lambda: rng.standard_t(4, size),
        "skewed": lambda: rng.gamma(2.0, 1.0, size) - 1.5,
    }[shape]()  # fmt: skip
    z = rng.uniform(0.8, 2.0) * raw + rng.uniform(-0.3, 1.0)
    z = np.clip(z, -most, most)
    z[rng.choice(size, 6, replace=False)] = rng.uniform(1.5, 3.0, 6) * np.array([1, 1, 1, -1, -1, -1])
    return np.asarray(z)
