"""Zeros of many functions at once, each inside its bracket, by scipy's Chandrupatla's method on arrays.

scipy.optimize is loaded when it is used: most analyses do not need it, and loading it takes as long as they do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray


def bracketed_zeros(
    function: Callable[[FloatArray, IntArray], FloatArray], low: FloatArray, high: FloatArray
) -> FloatArray:
    """Where functions change their sign, to the last digits.

    Parameters
    ----------
    function : function of (z, rows)
        Values, shape (m,), of the functions numbered ``rows`` (m,) at ``z`` (m,).
    low, high : array, shape (k,)
        Ends of the brackets.

    Returns
    -------
    array, shape (k,)
        NaN where the signs at the ends do not differ, or a value in the bracket is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> squares = np.array([2.0, 9.0])
    >>> bracketed_zeros(lambda z, rows: z**2 - squares[rows], np.zeros(2), np.full(2, 10.0)).round(6)
    array([1.414214, 3.      ])
    """
    if not len(low):
        return np.empty(0)
    from scipy.optimize import elementwise

    with np.errstate(all="ignore"):  # infinite slopes in its interpolation, which it then does without
        found = elementwise.find_root(function, (low, high), args=(np.arange(len(low)),))
    return np.asarray(found.x, dtype=np.float64)
