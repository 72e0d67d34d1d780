"""The losses of two log-ratios once more, in 50 digits and in numpy, from their papers and not from the code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from scipy.special import expit

mp = mpmath.mpf


def _soft(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x))


def _sigma(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


DIGITS: dict[str, Callable[[Any, Any], Any]] = {
    "nca_pair": lambda a, b: _soft(-a) + (_soft(a) + _soft(b)) / 2,
    "bco_pair": lambda a, b: _soft(-a) + _soft(b),
    "sppo_hard": lambda a, b: (a - mp("0.5")) ** 2 + (b + mp("0.5")) ** 2,
    "apo_zero": lambda a, b: _sigma(-a) + _sigma(b),
    "apo_down": lambda a, b: _sigma(a) + _sigma(b - a),
    "sft": lambda a, b: -a,
    "kto": lambda a, b: _sigma(-a) + _sigma(b),
    "cal_dpo": lambda a, b: _soft(b - a) + ((a - 5) ** 2 + (b + 5) ** 2) / 2,
    "dpop": lambda a, b: _soft(-(a - b - 50 * max(mp(0), -a))),
    "rpo": lambda a, b: _soft(b - a) - a,
}


def bump(x: Any) -> Any:
    return expit(x) * expit(-x)


#: F_a and F_b in numpy.
SLOPES: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "nca_pair": lambda a, b: (-expit(-a) + 0.5 * expit(a), 0.5 * expit(b)),
    "bco_pair": lambda a, b: (-expit(-a), expit(b)),
    "sppo_hard": lambda a, b: (2 * a - 1, 2 * b + 1),
    "apo_zero": lambda a, b: (-bump(a), bump(b)),
    "apo_down": lambda a, b: (bump(a) - bump(b - a), bump(b - a)),
    "sft": lambda a, b: (-np.ones_like(a), np.zeros_like(b)),
    "kto": lambda a, b: (-bump(a), bump(b)),
    "cal_dpo": lambda a, b: (-expit(b - a) + a - 5, expit(b - a) + b + 5),
    "dpop": lambda a, b: (
        -(1 + 50 * (a < 0)) * expit(b - a + 50 * np.maximum(0, -a)),
        expit(b - a + 50 * np.maximum(0, -a)),
    ),
    "rpo": lambda a, b: (-expit(b - a) - 1, expit(b - a)),
}
SMOOTH_CONVEX = ("nca_pair", "bco_pair", "sppo_hard", "sft", "cal_dpo", "rpo")
