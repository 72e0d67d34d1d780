"""Newton's method for one problem in any coordinates: ``F(v) = Σ_k w_k f(rows_k · v + shift_k)``.

Pairs are the special case of rows e_i − e_j (:mod:`.pairs`), features the rows φ_i − φ_j; :mod:`.cuts` solves graded
pairs in the coordinates of a tree. Nothing here depends on the scale of the weights or of v: gradients are measured
against the rounding of their own terms, coordinate by coordinate, and the Hessian is scaled to a unit diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.solvers.functions import Blurred, Differentiable
from gpo_analysis.solvers.minimum import Minimum, ended

#: The largest estimated error of v, relative to 1 + max|v|, with which a minimum counts as found.
ACCURACY = 1e-6
#: A gradient counts as zero within this many units of the rounding of its terms.
ROUNDING = 8.0
#: Eigenvalues of the Hessian, scaled to a unit diagonal, below which f counts as straight.
STRAIGHT = 1e-12
#: Newton steps after which a convex problem is smoothed instead.
PATIENCE = 200
#: No step moves a margin by more than this times 1 + the largest: where f is nearly straight, curvature says nothing of
#: how far to go, and halving a step of 1e57 would not come back to where f is curved.
LONGEST = 100.0
#: A descent that comes below this value is on its way to −∞; further on derivatives overflow.
BOTTOMLESS = -1e50


@dataclass(frozen=True, eq=False)
class WeightedRows:
    """The terms of a sum, and what can be computed of it.

    Attributes
    ----------
    rows : array, shape (k, d)
    weight : array, shape (k,)
        Above 0.
    shift : array, shape (k,), or 0.0
    """

    rows: FloatArray
    weight: FloatArray
    shift: FloatArray | float = 0.0

    def margins(self, v: FloatArray) -> FloatArray:
        """``rows · v + shift``, shape (k,)."""
        return np.asarray(self.rows @ v + self.shift)

    def value(self, loss: Differentiable, v: FloatArray) -> float:
        """F(v)."""
        return _total(self.weight * loss(self.margins(v)))


def _total(terms: FloatArray) -> float:
    with np.errstate(invalid="ignore"):  # ∞ − ∞, far out under a loss unbounded below
        return float(terms.sum())


@dataclass(frozen=True, eq=False)
class _Point:
    """F and its derivatives at v; `noise` (d,) is the rounding of the gradient, `size` Σ|w f|."""

    v: FloatArray
    margins: FloatArray
    value: float
    gradient: FloatArray
    curvature: FloatArray
    noise: FloatArray
    size: float

    def residual(self) -> float:
        """The gradient in units of its rounding, the largest of any coordinate."""
        return float((np.abs(self.gradient) / np.maximum(self.noise, 1e-320)).max(initial=0.0))


@dataclass(frozen=True, eq=False)
class _Frame:
    """The Hessian scaled to a unit diagonal: its eigenvectors ``axes`` (d, d) and eigenvalues ``sizes`` (d,)."""

    scale: FloatArray
    axes: FloatArray
    sizes: FloatArray

    @property
    def straight(self) -> BoolArray:
        return np.asarray(np.abs(self.sizes) <= STRAIGHT)

    def solve(self, right: FloatArray) -> FloatArray:
        """Newton's step: |λ| for λ, and nothing along what is straight."""
        inverse = np.where(self.straight, 0.0, 1 / np.where(self.straight, 1.0, np.abs(self.sizes)))
        return np.asarray(self.scale * (self.axes @ (inverse * (self.axes.T @ (self.scale * right)))))

    def slope(self, gradient: FloatArray, noise: FloatArray) -> FloatArray:
        """The part of −gradient along straight directions that is more than rounding, shape (d,)."""
        along = self.axes.T @ (self.scale * gradient)
        kept = self.straight & (np.abs(along) > ROUNDING * (np.abs(self.axes).T @ (self.scale * noise)))
        return np.asarray(-self.scale * (self.axes @ np.where(kept, along, 0.0)))


@dataclass(frozen=True, eq=False)
class _Newton:
    """One problem and loss."""

    problem: WeightedRows
    loss: Differentiable
    convex: bool
    absolute: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "absolute", np.abs(self.problem.rows))

    def at(self, v: FloatArray) -> _Point:
        rows, weight = self.problem.rows, self.problem.weight
        z = self.problem.margins(v)
        terms, flow = weight * self.loss(z), weight * self.loss.derivative(z)
        curvature = weight * self.loss.derivative(z, order=2)
        # the rounding of each term, and that of z carried through f″
        uncertain = np.abs(flow) + np.abs(curvature) * (self.absolute @ np.abs(v) + np.abs(self.problem.shift))
        noise = np.finfo(float).eps * (self.absolute.T @ uncertain)
        return _Point(v, z, _total(terms), rows.T @ flow, curvature, noise, float(np.abs(terms).sum()))

    def frame(self, point: _Point) -> _Frame:
        hessian = (self.problem.rows.T * point.curvature) @ self.problem.rows
        diagonal = np.abs(np.diag(hessian))
        scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        sizes, axes = np.linalg.eigh(hessian * scale[:, None] * scale)
        return _Frame(scale, axes, sizes)

    def search(self, point: _Point, step: FloatArray) -> float:
        """A length with a value no larger and a slope four times flatter: doubling, then halving the bracket.

        Where rounding hides the fall of F its slope alone decides. 0 where there is none.
        """
        along, slope = self.problem.rows @ step, float(point.gradient @ step)
        low, high, length = 0.0, np.inf, 1.0
        for _ in range(120):
            z = point.margins + length * along
            value = _total(self.problem.weight * self.loss(z))
            tilt = _total(self.problem.weight * self.loss.derivative(z) * along)
            risen = value > point.value + 1e-4 * length * slope and not value <= point.value + 1e-14 * point.size
            if not np.isfinite(tilt) or not np.isfinite(value) or risen or tilt > 0.25 * abs(slope):
                high = length
            elif tilt < -0.25 * abs(slope) and length < 1e30:
                low = length
                if value < BOTTOMLESS:
                    break
            else:
                return length
            length = 2 * length if high == np.inf else 0.5 * (low + high)
            if high - low <= 1e-12 * low:  # never while there is no upper end
                break
        return low

    def run(self, start: FloatArray, max_iterations: int) -> Minimum:
        point, iterations, idle = self.at(start), 0, 0
        best = point
        while iterations < max_iterations and point.residual() > ROUNDING and idle < 20 and point.value > BOTTOMLESS:
            iterations += 1
            frame = self.frame(point)
            step = frame.slope(point.gradient, point.noise)
            # along straight pieces there is nothing but a slope: one margin's unit to begin with
            step = step / np.abs(self.problem.rows @ step).max() if step.any() else frame.solve(-point.gradient)
            reach = np.abs(self.problem.rows @ step).max(initial=0.0)
            step = step * min(1.0, LONGEST * (1 + np.abs(point.margins).max(initial=0.0)) / max(reach, 1e-300))
            length = self.search(point, step) if point.gradient @ step < 0 else 0.0
            if length == 0.0:
                break
            point = self.at(point.v + length * step)
            fell = point.value < best.value - 1e-12 * best.size
            idle = 0 if fell or point.residual() < 0.5 * best.residual() else idle + 1
            if fell or point.residual() < best.residual():
                best = point
        return self.concluded(best if self.convex and point.value > BOTTOMLESS else point, iterations)

    def concluded(self, point: _Point, iterations: int) -> Minimum:
        """The last point, with the error that its gradient and rounding leave in v."""
        v, error = point.v, np.inf
        if np.isfinite(point.value) and point.value > BOTTOMLESS:
            frame = self.frame(point)
            if not frame.slope(point.gradient, point.noise).any():
                signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(3, len(v)))
                sides = [point.gradient, *(4 * point.noise * signs)]
                error = max(float(np.abs(frame.solve(side)).max(initial=0.0)) for side in sides)
        good = error <= ACCURACY * (1 + float(np.abs(v).max(initial=0.0)))
        return ended(v, point.value, error, good, iterations)


def newton(
    problem: WeightedRows,
    loss: Differentiable,
    start: FloatArray | None = None,
    *,
    convex: bool = True,
    max_iterations: int = 500,
) -> Minimum:
    """A stationary point of F; for a convex f its minimum, up to what is straight.

    Parameters
    ----------
    problem : WeightedRows
    loss : MarginLoss, or what has its calls
        Once differentiable.
    start : array, shape (d,), optional
        Zeros by default.
    convex : bool
        If not, negative curvature is turned round, and the value never rises.
    max_iterations : int

    Returns
    -------
    Minimum
        Of v. A convex f that is nearly polygonal, so that curvature at one point says nothing of the next, is first
        blurred, and sharpened again from minimum to minimum.
    """
    v = np.zeros(problem.rows.shape[1]) if start is None else start
    found = _Newton(problem, loss, convex).run(v, min(PATIENCE, max_iterations) if convex else max_iterations)
    if found.converged or not convex or found.value <= BOTTOMLESS:
        return found
    v, iterations = found.reward, found.iterations
    for width in 4.0 ** -np.arange(-1.0, 14.0):
        blurred = _Newton(problem, Blurred(loss, float(width)), True).run(v, 60)
        v, iterations = blurred.reward, iterations + blurred.iterations
    again = _Newton(problem, loss, convex).run(v, max_iterations)
    iterations += again.iterations
    return replace(again if again.converged or again.value < found.value else found, iterations=iterations)
