"""Local minima of an objective over ``c``: all of them on a line, those reached from many starts elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.gaussian.regularizers import RegularizerName, Regularizers, Values
from gpo_analysis.showing import Shown

_C_TOLERANCE = 1e-10
_HESSIAN_STEP = 1e-4
_SEARCH_TOLERANCE = 1e-5


@dataclass(frozen=True)
class LocalMinimum(Shown):
    """A local minimum of one objective, with the other objective's value at the same c.

    Attributes
    ----------
    objective : {"kl", "mu_squared_loss"}
        Whose minimum it is.
    c : float or tuple of float
    kl, mu_squared_loss : float
        Both values at ``c``.
    curvature : float
        Second derivative there; for several parameters the Hessian's smallest eigenvalue.
    uncertainty : float
        How far the true minimum may lie from ``c``: the bracket's width, and the gradient's error over the
        curvature. On a plateau, where the gradient is zero within its error, half the plateau's length.
    """

    objective: RegularizerName
    c: float | tuple[float, ...]
    kl: float
    mu_squared_loss: float
    curvature: float
    uncertainty: float

    @property
    def value(self) -> float:
        """The objective's own value."""
        return self.kl if self.objective == "kl" else self.mu_squared_loss

    def summary(self) -> str:
        """Where it is, and both values."""
        # nine decimals, and no "-0" or "1e-18" for a zero
        at = [f"{round(x, 9) + 0.0:.8g}" for x in ((self.c,) if isinstance(self.c, float) else self.c)]
        point = at[0] if isinstance(self.c, float) else f"({', '.join(at)})"
        return f"c = {point}: kl = {self.kl:.6g}, mu_squared_loss = {self.mu_squared_loss:.6g}"

    _no_plot = "it is a point; its landscape draws it"


def minima_on_grid(
    both: Regularizers, objective: RegularizerName, c: FloatArray, on_grid: Values
) -> tuple[LocalMinimum, ...]:
    """Every local minimum inside a grid of one parameter, as far as the grid can tell.

    A minimum shows as a change of the derivative's sign from − to +. One that is at least a grid step away from every
    other stationary point cannot be missed: the derivative has one sign on either side of it within its cell. Each
    change of sign is then refined to 1e-10 (relative to ``max(1, |c|)``).

    Parameters
    ----------
    both : Regularizers
    objective : {"kl", "mu_squared_loss"}
    c : ndarray, shape (n,)
        Increasing.
    on_grid : Values
        The objective there.
    """
    left, right = _sign_changes(on_grid.gradient[:, 0], on_grid.gradient_error[:, 0])
    if left.size == 0:
        return ()
    # a run of two or more points of no slope is a plateau; one such point is just the minimum itself, on the grid
    flat = np.where(right - left > 2, 0.5 * (c[right - 1] - c[left + 1]), 0.0)
    low, high, best = _refine(both, objective, c[left].copy(), c[right].copy())
    at = np.where(flat > 0.0, 0.5 * (c[right - 1] + c[left + 1]), best)
    step = _HESSIAN_STEP * np.maximum(1.0, np.abs(at))
    slopes = both(objective, np.concatenate([at - step, at + step])).gradient[:, 0]
    curvature = (slopes[len(at) :] - slopes[: len(at)]) / (2.0 * step)
    slope_error = both(objective, at).gradient_error[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        blur = np.where(slope_error > 0.0, slope_error / np.abs(curvature), 0.0)
    uncertainty = np.where(flat > 0.0, flat, (high - low) + np.minimum(blur, 0.5 * (c[right] - c[left])))
    return _minima(both, objective, at[:, None], curvature, uncertainty)


def flow_ends(
    both: Regularizers, objective: RegularizerName, minima: tuple[LocalMinimum, ...], starts: FloatArray
) -> IntArray:
    """Which of all minima of one parameter, in order of ``c``, gradient flow from each start (S,) ends in.

    Flow runs down the slope, and the first c where the slope vanishes is the next minimum on that side. −1 where there
    is none on that side, −2 where the slope at the start is zero within its error, so that nothing moves. A start
    within a minimum's uncertainty is at that minimum, whatever sign rounding gives its slope.
    """
    v = both(objective, starts)
    slope = np.where(np.abs(v.gradient[:, 0]) > v.gradient_error[:, 0], v.gradient[:, 0], 0.0)
    at = np.array([m.c for m in minima], dtype=np.float64)
    right = np.searchsorted(at, starts, side="left")
    left = np.searchsorted(at, starts, side="right") - 1
    right = np.where(right == at.size, -1, right)
    ends = np.where(slope < 0.0, right, np.where(slope > 0.0, left, -2))
    for i, minimum in enumerate(minima):
        ends[np.abs(starts - at[i]) <= max(minimum.uncertainty, 1e-9)] = i
    return ends.astype(np.int64)


def minima_from_starts(both: Regularizers, objective: RegularizerName, starts: FloatArray) -> tuple[LocalMinimum, ...]:
    """Distinct local minima reached from starts of shape (S, p), lowest first.

    Each start is followed down by L-BFGS with a loose tolerance; ends that coincide are merged, polished by Newton's
    method at full tolerance, merged again, and kept where the Hessian is positive definite (a saddle is dropped).
    """
    rough: list[FloatArray] = []
    for start in starts:

        def value_and_gradient(c: FloatArray) -> tuple[float, FloatArray]:
            v = both(objective, c[None], tolerance=_SEARCH_TOLERANCE)
            return float(v.value[0]), v.gradient[0]

        end = optimize.minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-5}).x
        if not any(np.max(np.abs(end - known)) < 1e-3 for known in rough):
            rough.append(end)
    kept: list[tuple[FloatArray, float, float]] = []
    for c in rough:
        polished, smallest, blur = _newton(both, objective, c)
        new = not any(np.max(np.abs(polished - known)) < 1e-6 + blur + b for known, _, b in kept)
        if smallest > 0.0 and new:
            kept.append((polished, smallest, blur))
    if not kept:
        return ()
    at, curvature, uncertainty = (np.array(column) for column in zip(*kept, strict=True))
    found = _minima(both, objective, at, curvature, uncertainty)
    return tuple(sorted(found, key=lambda m: m.value))


def _sign_changes(slope: FloatArray, error: FloatArray) -> tuple[IntArray, IntArray]:
    """Indices of neighbouring points of clear slope, − on the left and + on the right."""
    sign = np.where(np.abs(slope) > error, np.sign(slope), 0.0)
    clear = np.flatnonzero(sign)
    change = np.flatnonzero((sign[clear[:-1]] < 0.0) & (sign[clear[1:]] > 0.0))
    return clear[change], clear[change + 1]


def _refine(
    both: Regularizers, objective: RegularizerName, low: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shrink all brackets of a rising derivative's zero at once.

    Each round tries the midpoint, the secant's point and a point close by on each side of it: the first halves the
    bracket whatever happens, the last two close it as soon as the secant is good. Returned with the brackets is the end
    of the smaller slope.
    """
    slope = both(objective, np.concatenate([low, high])).gradient[:, 0]
    at_low, at_high = np.split(slope, 2)
    for _ in range(60):
        width = high - low
        tolerance = _C_TOLERANCE * np.maximum(1.0, np.abs(low))
        if np.all(width <= tolerance):
            break
        rise = at_high - at_low
        middle = 0.5 * (low + high)
        secant = np.where(rise > 0.0, low - at_low * width / np.where(rise > 0.0, rise, 1.0), middle)
        tries = np.stack([middle, secant, secant - 0.4 * tolerance, secant + 0.4 * tolerance])
        tries = np.clip(tries, low, high)
        slopes = both(objective, tries.ravel()).gradient[:, 0].reshape(tries.shape)
        for x, s in zip(tries, slopes, strict=True):
            below = (s < 0.0) & (x > low)
            above = (s >= 0.0) & (x < high)
            low, at_low = np.where(below, x, low), np.where(below, s, at_low)
            high, at_high = np.where(above, x, high), np.where(above, s, at_high)
    return low, high, np.where(np.abs(at_low) < np.abs(at_high), low, high)


def _newton(both: Regularizers, objective: RegularizerName, c: FloatArray) -> tuple[FloatArray, float, float]:
    """Polish a rough minimum: its c, the Hessian's smallest eigenvalue, and how well c is known."""
    p = c.size
    smallest, blur = np.nan, np.inf
    for _ in range(12):
        step = _HESSIAN_STEP * max(1.0, float(np.abs(c).max()))
        around = np.concatenate([c[None], c + step * np.eye(p), c - step * np.eye(p)])
        v = both(objective, around)
        hessian = (v.gradient[1 : p + 1] - v.gradient[p + 1 :]) / (2.0 * step)
        values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
        smallest = float(values[0])
        if smallest <= 0.0:
            break
        move = -(vectors @ ((vectors.T @ v.gradient[0]) / values))
        blur = float(np.abs(v.gradient_error[0]).max() / smallest)
        # a Newton step longer than this has left the basin that the search found
        move *= min(1.0, 0.1 / max(float(np.abs(move).max()), 1e-300))
        c = c + move
        if float(np.abs(move).max()) < 1e-9:
            break
    return c, smallest, blur


def _minima(
    both: Regularizers, objective: RegularizerName, at: FloatArray, curvature: FloatArray, uncertainty: FloatArray
) -> tuple[LocalMinimum, ...]:
    kl, loss = both("kl", at).value, both("mu_squared_loss", at).value
    one = at.shape[1] == 1
    return tuple(
        LocalMinimum(
            objective=objective,
            c=float(at[i, 0]) if one else tuple(float(x) for x in at[i]),
            kl=float(kl[i]),
            mu_squared_loss=float(loss[i]),
            curvature=float(curvature[i]),
            uncertainty=float(uncertainty[i]),
        )
        for i in range(len(at))
    )
