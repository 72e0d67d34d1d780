"""Element types of the arrays that the package computes with (docstrings have shapes), and memory for temporaries."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Numbers of an array worked on at a time. One of 128 kB or more may be fresh pages each time that it is made.
AT_ONCE = 15_000


class Scratch:
    """Memory for temporaries, taken again at each turn of a loop.

    An array of 128 kB or more may be fresh pages from the system each time that it is made, which cost more than what
    is computed in it. Each name has one piece of memory; what was last taken under it is overwritten.

    Examples
    --------
    >>> scratch = Scratch()
    >>> first = scratch("sum", (2, 3))
    >>> np.shares_memory(first, scratch("sum", (2, 2))), np.shares_memory(first, scratch("other", (2, 3)))
    (True, False)
    """

    def __init__(self) -> None:
        self._held: dict[str, FloatArray] = {}

    def __call__(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """An array of that shape, its values whatever they were."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size)
        return held[:size].reshape(shape)
