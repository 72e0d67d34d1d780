"""Conservative DPO stops at logit(1 − ε) where DPO runs away

Theorem. With certain labels (η = 1) the smoothed loss is a soft label 1 − ε for log(1+e^−z), least at logit(1−ε).

Source: Mitchell 2023, A note on DPO with noisy preferences; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "Conservative DPO stops at logit(1 − ε) where DPO runs away"
SOURCE = "Mitchell 2023, A note on DPO with noisy preferences"
TOLERANCE = 1e-07


def compute() -> tuple[object, object]:
    """z*(1) of smoothed logistic losses, and logit(1−ε)."""
    epsilon = np.array([0.01, 0.1, 0.3])
    found = [float(gpo.optimal_margin(gpo.get_loss("dpo").smoothed(e), 1.0)) for e in epsilon]
    return np.array(found), np.log((1 - epsilon) / epsilon)
