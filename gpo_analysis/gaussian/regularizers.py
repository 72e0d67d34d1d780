"""KL divergence and μ-weighted square loss as functions of ``c``, with gradients, many values of ``c`` at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.gaussian.divergences import default_tolerance
from gpo_analysis.gaussian.families import Family, MixtureStack, as_family
from gpo_analysis.gaussian.log_ratio import Moments
from gpo_analysis.gaussian.mixture import GaussianMixture
from gpo_analysis.gaussian.monte_carlo import moments_by_monte_carlo
from gpo_analysis.gaussian.quadrature import moments_by_quadrature

RegularizerName = Literal["kl", "mu_squared_loss"]


@dataclass(frozen=True)
class Values:
    """An objective at ``B`` values of ``c``.

    Attributes
    ----------
    value, error : ndarray, shape (B,)
    gradient, gradient_error : ndarray, shape (B, p)
        Derivatives in ``c``. Errors are stated errors (quadrature) or standard errors (Monte Carlo).
    """

    value: FloatArray
    error: FloatArray
    gradient: FloatArray
    gradient_error: FloatArray


@dataclass(frozen=True)
class Regularizers:
    """The two regularizers of a family of policies, ready to be evaluated.

    Parameters
    ----------
    family : Family
        Policies ``π_c``; :meth:`of` makes one from a mixture or a function.
    reference, behavior : GaussianMixture
        πref and μ.
    method : {"auto", "quadrature", "monte_carlo"}
        ``"auto"`` is quadrature in one and two dimensions, else Monte Carlo.
    tolerance : float, optional
        For quadrature, relative to the integral of the absolute integrand. 1e-10 in one dimension, 1e-8 in two.
    samples, seed : int
        For Monte Carlo; the same draws serve every ``c``.

    Raises
    ------
    ValueError
        If event shapes differ, the method is unknown, or quadrature is asked for in three dimensions or more.

    Examples
    --------
    >>> g = GaussianMixture([1.0], [0.0], [0.5])
    >>> both = Regularizers.of(g, g, behavior=GaussianMixture([1.0], [0.0], [1.0]))
    >>> both("kl", [1.0, 2.0]).value.round(9).tolist()
    [2.0, 8.0]
    >>> both("mu_squared_loss", [1.0, 2.0]).gradient[:, 0].round(9).tolist()
    [32.0, 64.0]
    """

    family: Family
    reference: GaussianMixture
    behavior: GaussianMixture
    method: Literal["auto", "quadrature", "monte_carlo"] = "auto"
    tolerance: float | None = None
    samples: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("auto", "quadrature", "monte_carlo"):
            raise ValueError(f"method must be auto, quadrature or monte_carlo, got {self.method!r}")
        d = self.reference.dimension
        if self.behavior.event_shape != self.reference.event_shape:
            shapes = f"{self.behavior.event_shape} and {self.reference.event_shape}"
            raise ValueError(f"behavior and reference must have points of one shape, got {shapes}")
        if self.method == "quadrature" and d > 2:
            raise ValueError(f"quadrature is for one or two dimensions, got {d}; use monte_carlo")
        if self.tolerance is not None and not 0.0 < self.tolerance < 1.0:
            raise ValueError(f"tolerance must be between 0 and 1, got {self.tolerance!r}")

    @staticmethod
    def of(
        policy: GaussianMixture | Family | Callable[..., GaussianMixture],
        reference: GaussianMixture,
        behavior: GaussianMixture,
        *,
        n_parameters: int = 1,
        method: Literal["auto", "quadrature", "monte_carlo"] = "auto",
        tolerance: float | None = None,
        samples: int = 20_000,
        seed: int = 0,
    ) -> Regularizers:
        """From a mixture (moved by ``c``), a family, or a function of ``c`` with ``n_parameters`` coordinates."""
        family = as_family(policy, n_parameters)
        return Regularizers(family, reference, behavior, method, tolerance, samples, seed)

    @property
    def uses_quadrature(self) -> bool:
        """Whether values come from quadrature (else Monte Carlo)."""
        return self.method == "quadrature" or (self.method == "auto" and self.reference.dimension <= 2)

    def points(self, c: ArrayLike) -> FloatArray:
        """``c`` as an array of shape (B, p): for one parameter from shape () or (B,), else from (p,) or (B, p).

        Raises
        ------
        ValueError
            If the shape is another or an entry is not finite.
        """
        p = self.family.n_parameters
        points = np.asarray(c, dtype=np.float64)
        if p == 1 and (points.ndim < 2):
            points = points.reshape(-1, 1)
        elif points.ndim == 1:
            points = points[None, :]
        if points.ndim != 2 or points.shape[1] != p:
            raise ValueError(f"c must have {p} coordinate{'s'[: p > 1]} a point, got an array of shape {np.shape(c)}")
        if not np.all(np.isfinite(points)):
            raise ValueError(f"c must be finite, got {points[~np.isfinite(points)][0]!s}")
        return points

    def __call__(self, objective: RegularizerName, c: ArrayLike, *, tolerance: float | None = None) -> Values:
        """An objective with its gradient.

        Parameters
        ----------
        objective : {"kl", "mu_squared_loss"}
        c : array_like, shape () or (B,) for one parameter, (p,) or (B, p) for several
        tolerance : float, optional
            In place of the object's own.
        """
        require_regularizer(objective)
        points = self.points(c)
        policy = self.family.stack(points)
        if policy.means.shape[2:] != (self.reference.dimension,):
            d, expected = policy.means.shape[2], self.reference.dimension
            raise ValueError(f"the policy has {d} dimensions, the reference {expected}")
        reference = MixtureStack.of([self.reference])
        # KL: mean and covariance under π_c itself; the square loss: variance and twice the covariance under μ
        measure = policy if objective == "kl" else MixtureStack.of([self.behavior])
        m = self._moments(measure, policy, reference, points, objective == "mu_squared_loss", tolerance)
        if objective == "kl":
            # no KL is negative, rounding alone makes it so; a Monte Carlo estimate may be
            value = np.maximum(m.mean, 0.0) if self.uses_quadrature else m.mean
            return Values(value, m.mean_error, m.covariance, m.covariance_error)
        return Values(m.variance, m.variance_error, 2.0 * m.covariance, 2.0 * m.covariance_error)

    def _moments(
        self,
        measure: MixtureStack,
        policy: MixtureStack,
        reference: MixtureStack,
        points: FloatArray,
        second: bool,
        tolerance: float | None,
    ) -> Moments:
        tangent = self.family.tangent(points)
        if not self.uses_quadrature:
            return moments_by_monte_carlo(
                measure, policy, reference, tangent, second=second, samples=self.samples, seed=self.seed
            )
        bound = tolerance or self.tolerance or default_tolerance(self.reference.dimension)
        # the absolute part is squared: where a gradient is small, its sign still counts
        return moments_by_quadrature(
            measure, policy, reference, tangent, second=second, tolerance=bound, absolute=bound**2
        )


def require_regularizer(objective: str) -> None:
    """Raise ValueError unless it is the name of an objective."""
    if objective not in get_args(RegularizerName):
        raise ValueError(f"objective must be kl or mu_squared_loss, got {objective!r}")
