"""One zero of a function of one number in many digits, inside a bracket that shrinks (Dekker's safeguard of Newton)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_MOST = 600


def bracketed_root(
    value_and_slope: Callable[[Any], Sequence[Any]],
    low: Any,
    high: Any,
    *,
    rising: bool,
    absolute: Any,
    relative: Any,
) -> Any:
    """Where a function changes its sign, by Newton's steps inside a shrinking bracket.

    Every third step halves the bracket, as does one that leads out of it: Newton crawls where the slope is a steep
    exponential, and where the function jumps over zero, at a kink of its integral, there is nothing else.

    Parameters
    ----------
    value_and_slope : function of a number of many digits
        The function and its derivative; a derivative of NaN makes a step a halving.
    low, high : number
        Ends of the bracket, on either side of the zero.
    rising : bool
        Whether the function is negative at ``low``.
    absolute, relative : number
        It ends where the bracket or a step is no longer than ``absolute + relative·|x|``.

    Returns
    -------
    number
        Inside the bracket or at an end of it; where the function is 0 on a stretch, the lower end of that.

    Examples
    --------
    >>> import mpmath
    >>> found = bracketed_root(
    ...     lambda x: (x * x - 2, 2 * x), mpmath.mpf(0), mpmath.mpf(9), rising=True, absolute=0, relative=1e-12
    ... )
    >>> float(found)
    1.4142135623730951
    """
    x = (low + high) / 2
    for iteration in range(_MOST):
        value, slope = value_and_slope(x)
        near = absolute + relative * abs(x)
        if (value == 0 and slope != 0) or high - low <= near:
            return x
        if value == 0 or (value > 0) == rising:
            high = x
        else:
            low = x
        newton = x - value / slope if slope != 0 else low - 1
        if abs(newton - x) <= near:
            return min(max(newton, low), high)
        x = newton if low < newton < high and iteration % 3 != 2 else (low + high) / 2
    return x
