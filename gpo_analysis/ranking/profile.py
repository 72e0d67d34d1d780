"""Profile intervals: what a likelihood itself says of one number where the normal approximation does not hold.

``{t : 2 (min_{cᵀθ = t} F − inf F) ≤ χ²₁}`` (Venzon and Moolgavkar 1988). Near separation the sandwich says little, and
past it nothing; the profile is then long or open to one side, which is what the votes say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.stats import chi2

from gpo_analysis.arrays import FloatArray
from gpo_analysis.ranking.joint import System, minimise_joint

#: A ridge so small that it does not show in F, for a start where the infimum is not attained.
FAINT = 1e-8
#: Log-odds beyond which an end counts as infinite.
ENDLESS = 60.0


@dataclass(frozen=True, eq=False)
class Profile:
    """A system and its infimum."""

    system: System
    theta: FloatArray
    infimum: float

    @classmethod
    def of(cls, system: System) -> Profile:
        """Of a likelihood, separable votes or not."""
        faint = replace(system, ridge=max(system.ridge, FAINT))
        fit = minimise_joint(faint)
        return cls(faint, fit.theta, faint.value(fit.theta, faint.terms(fit.theta))[0])

    def interval(self, contrast: FloatArray, confidence: float) -> tuple[float, float]:
        """Both ends for ``contrast·θ``; infinite where the likelihood does not close that side.

        Parameters
        ----------
        contrast : array, shape (p,)
        confidence : float
        """
        level = float(chi2.ppf(confidence, 1))
        return self._end(contrast, -1.0, level), self._end(contrast, 1.0, level)

    def _end(self, contrast: FloatArray, side: float, level: float) -> float:
        """Where the signed root of the deviance reaches that of the level: the secant method, in a bracket."""
        goal = float(np.sqrt(level))
        centre = float(contrast @ self.theta)
        theta, root = self.theta, 0.0
        inside, outside = centre, np.nan
        low_root = 0.0
        step = goal * self._spread(contrast)
        t = centre + side * min(step, ENDLESS / 2)
        for _ in range(60):
            theta, root = self._at(contrast, t, theta)
            if abs(root - goal) < 1e-6:
                return t
            if root < goal:
                inside, low_root = t, root
                if abs(t) > ENDLESS:
                    return side * np.inf
            else:
                outside = t
            if np.isnan(outside):
                t = t + side * max(abs(t - centre), 1e-3)
            else:
                guess = inside + (t - inside) * (goal - low_root) / (root - low_root) if t == outside else np.nan
                middle = 0.5 * (inside + outside)
                t = guess if side * (guess - inside) > 0 and side * (outside - guess) > 0 else middle
            if not np.isnan(outside) and abs(outside - inside) < 1e-7 * (1 + abs(outside)):
                return t
        return t

    def _spread(self, contrast: FloatArray) -> float:
        variance = float(contrast @ self._solve(self.theta, contrast))
        return float(np.sqrt(max(variance, 1e-12)))

    def _solve(self, theta: FloatArray, right: FloatArray) -> FloatArray:
        matrix = self.system.hessian(theta, self.system.terms(theta))
        scale: FloatArray = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
        scaled = matrix * scale[:, None] * scale
        sides = right if right.ndim == 2 else right[:, None]
        try:
            factor = cho_factor(scaled + 1e-13 * np.eye(len(scale)), check_finite=False)
            found = cho_solve(factor, scale[:, None] * sides, check_finite=False)
        except LinAlgError:
            found = np.asarray(np.linalg.lstsq(scaled, scale[:, None] * sides, rcond=1e-14)[0], dtype=np.float64)
        return np.asarray((scale[:, None] * found).reshape(right.shape))

    def _at(self, contrast: FloatArray, t: float, start: FloatArray) -> tuple[FloatArray, float]:
        """The constrained minimiser and the root of its deviance."""
        system = self.system
        theta = start + (t - contrast @ start) * contrast / (contrast @ contrast)
        if not system.model.admits(float(theta[-1])):
            theta = start
        value, size = system.value(theta, system.terms(theta))
        for _ in range(80):
            gradient = system.gradient(theta, system.terms(theta))
            both = self._solve(theta, np.column_stack([gradient, contrast]))
            multiplier = (t - contrast @ theta + contrast @ both[:, 0]) / (contrast @ both[:, 1])
            step = -both[:, 0] + multiplier * both[:, 1]
            length = 1.0
            while length > 1e-10:
                trial = theta + length * step
                if system.model.admits(float(trial[-1])):
                    new = system.value(trial, system.terms(trial))[0]
                    if new <= value + 1e-12 * size or length < 1e-9:
                        break
                length *= 0.5
            gain = value - new
            theta, value = trial, new
            if abs(gain) <= 1e-11 * size and length == 1.0:
                break
        return theta, float(np.sqrt(max(2 * (value - self.infimum), 0.0)))
