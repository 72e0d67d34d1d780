"""Zeros of many functions at once, each inside its bracket: Chandrupatla's method on arrays.

Inverse quadratic interpolation where the last three points say that it will do, the middle of the bracket elsewhere
(T. Chandrupatla 1997, Advances in Engineering Software 28, 145–149). scipy's ``optimize.elementwise.find_root`` has the
same method; loading it takes longer than most analyses.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray

#: Steps after which a bracket is taken as it is; halving alone narrows any bracket of floats to nothing in 2,100.
MOST_STEPS = 2200


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
    rows = np.arange(len(low))
    found = np.full(len(low), np.nan)
    x = np.stack([low, high, high]).astype(np.float64)  # the newest point, the other end of its bracket, the one before
    f = np.stack([function(x[0], rows), *[function(x[1], rows)] * 2])
    share = np.full(len(low), 0.5)
    sound = (np.sign(f[0]) * np.sign(f[1]) <= 0) & ~np.isnan(f).any(axis=0)
    rows, x, f, share = rows[sound], x[:, sound], f[:, sound], share[sound]
    for _ in range(MOST_STEPS):
        nearest = np.where(np.abs(f[0]) < np.abs(f[1]), x[0], x[1])
        least = np.minimum(np.abs(f[0]), np.abs(f[1]))
        width = np.abs(x[1] - x[0])
        closest = 2 * np.finfo(float).eps * np.abs(nearest) + 5e-324
        done = (least == 0) | (width <= 2 * closest)
        found[rows[done]] = nearest[done]
        rows, x, f, share = rows[~done], x[:, ~done], f[:, ~done], share[~done]
        if not len(rows):
            return found
        edge = np.minimum(closest[~done] / width[~done], 0.5)
        place = x[0] + np.clip(share, edge, 1 - edge) * (x[1] - x[0])
        value = function(place, rows)
        same = np.sign(value) == np.sign(f[0])
        x = np.stack([place, np.where(same, x[1], x[0]), np.where(same, x[0], x[1])])
        f = np.stack([value, np.where(same, f[1], f[0]), np.where(same, f[0], f[1])])
        sound = ~np.isnan(value)
        rows, x, f = rows[sound], x[:, sound], f[:, sound]
        share = _next_share(x, f)
    found[rows] = nearest[~done]
    return found


def _next_share(x: FloatArray, f: FloatArray) -> FloatArray:
    """Which part of the bracket to go, from its newest end: by interpolation where it can be trusted, else half."""
    with np.errstate(all="ignore"):
        xi = (x[0] - x[1]) / (x[2] - x[1])
        phi = (f[0] - f[1]) / (f[2] - f[1])
        trusted = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
        first = f[0] / (f[1] - f[0]) * f[2] / (f[1] - f[2])
        share = first + (x[2] - x[0]) / (x[1] - x[0]) * f[0] / (f[2] - f[0]) * f[1] / (f[2] - f[1])
        return np.where(trusted & np.isfinite(share), share, 0.5)
