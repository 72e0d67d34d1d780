"""Every loss whose link is the logit has κ = ½

Theorem. At the minimiser η f′(z*) = (1−η) f′(−z*). Differentiated at η = ½, z* = 0: 2 f′(0) + f″(0) z*′(½) = 0,
so that κ = f″(0)/|f′(0)| = 2/z*′(½); for z* = logit η, z*′(½) = 4. So too for Bregman losses (arXiv 2505.19601).

Source: Derived here, for Tang et al. 2024 and Kim et al. 2025, arXiv 2505.19601
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "Every loss whose link is the logit has κ = ½"
SOURCE = "Derived here, for Tang et al. 2024 and Kim et al. 2025, arXiv 2505.19601"
TOLERANCE = 1e-05


def compute() -> tuple[object, object]:
    """κ of losses with a logit link, by finite differences of their code, and ½."""
    names, step = ("dpo", "savage", "sba", "lsif", "kliep"), 1e-3
    kappas = []
    for f in map(gpo.get_loss, names):
        slope = float(f(step) - f(-step)) / (2 * step)
        kappas.append(float(f(step) - 2 * f(0.0) + f(-step)) / step**2 / abs(slope))
    return np.array(kappas), np.full(len(names), 0.5)
