"""IPO's loss fits 2η − 1

Theorem. η (z−1)² + (1−η)(z+1)² = (z − (2η−1))² + 4η(1−η), least at z = 2η − 1, also where η is 0 or 1.

Source: Azar et al. 2023, arXiv 2310.12036; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "IPO's loss fits 2η − 1"
SOURCE = "Azar et al. 2023, arXiv 2310.12036"


def compute() -> tuple[object, object]:
    """Minimisers found by the library, and 2η − 1."""
    eta = np.array([0.0, 0.1, 0.5, 0.8, 1.0])
    return gpo.optimal_margin("ipo", eta), 2 * eta - 1
