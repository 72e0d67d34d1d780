"""Arguments, checked where they come in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def whole_number(value: Any, what: str, most: int) -> int:
    """``value`` as an int, checked to lie in [0, most]."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value <= most:
        raise ValueError(f"{what} must be an integer from 0 to {most}, got {value!r}")
    return int(value)


def positive(value: Any, what: str = "beta") -> float:
    """``value`` as a float, checked to be a positive finite number."""
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{what} must be a positive finite number, got {value!r}")
    return number


def probabilities(eta: ArrayLike) -> NDArray[np.float64]:
    """η as float64, every element checked to be in [0, 1]."""
    try:
        array = np.asarray(eta, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"eta must be probabilities in [0, 1], got {eta!r}") from None
    wrong = ~((array >= 0) & (array <= 1))
    if wrong.any():
        raise ValueError(f"eta must be in [0, 1], got {float(array[wrong].ravel()[0])}")
    return array
