"""Mixtures of isotropic Gaussians: densities, scores and samples in log space.

Array conventions of this package
---------------------------------
A mixture has ``k`` components. Its event is a number where ``means`` has shape ``(k,)`` and a vector of ``d`` numbers
where ``means`` has shape ``(k, d)``. A point array ``y`` has shape ``(...,)`` in the first case and ``(..., d)`` in the
second; what is computed at each point has the leading shape ``(...)``. Logarithms are natural, densities float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import kl_divergence, mu_squared_loss
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import MOST_CURVES, Panel, lines
from gpo_analysis.showing.shown import more_rows

Method = Literal["auto", "closed_form", "quadrature", "monte_carlo"]

_LOG_2PI = math.log(2.0 * math.pi)
_WEIGHT_TOLERANCE = 1e-8
_TABLE_ROWS = 12
_FORMULA_TERMS = 4


@dataclass(frozen=True, eq=False, repr=False)
class GaussianMixture(Shown):
    """The density ``p(y) = Σ_k w_k N(y; m_k, s_k² I)``.

    Parameters
    ----------
    weights : array_like, shape (k,)
        Not negative, summing to one (to 1e-8; the rounding is then divided out). A weight of zero is allowed.
    means : array_like, shape (k,) or (k, d)
        Shape ``(k,)`` makes a mixture over numbers, shape ``(k, d)`` one over vectors, ``d = 1`` included.
    scales : array_like, shape (k,)
        Standard deviations, above zero; the same in every direction of a component.

    Raises
    ------
    ValueError
        If a shape, a weight, a mean or a scale is not as above. The message names the value.

    Examples
    --------
    >>> g = GaussianMixture([0.25, 0.75], [-1.0, 2.0], [0.5, 1.0])
    >>> g
    GaussianMixture of 2 components in 1 dimension: 0.25 N(-1, 0.5²) + 0.75 N(2, 1²)
    >>> g.log_prob([0.0, 1e4]).round(6).tolist()
    [-2.695795, -49980003.206621]
    >>> g.shifted(1.0).means.tolist()
    [0.0, 3.0]
    """

    weights: FloatArray
    means: FloatArray
    scales: FloatArray

    def __post_init__(self) -> None:
        weights = _real_array("weights", self.weights)
        means = _real_array("means", self.means)
        scales = _real_array("scales", self.scales)
        if weights.ndim != 1 or weights.size == 0:
            raise ValueError(f"weights must have shape (k,) with k >= 1, got shape {weights.shape}")
        k = weights.size
        if means.ndim not in (1, 2) or means.shape[0] != k or means.size == 0:
            raise ValueError(f"means must have shape ({k},) or ({k}, d) to match the weights, got shape {means.shape}")
        if scales.shape != (k,):
            raise ValueError(f"scales must have shape ({k},), one standard deviation a component, got {scales.shape}")
        if np.any(weights < 0.0):
            raise ValueError(f"weights must not be negative, got {weights[weights < 0.0][0]!s}")
        total = float(weights.sum())
        if abs(total - 1.0) > _WEIGHT_TOLERANCE:
            raise ValueError(f"weights must sum to one, got a sum of {total!r}")
        if np.any(scales <= 0.0):
            raise ValueError(f"scales must be above zero, got {scales[scales <= 0.0][0]!s}")
        for name, value in (("weights", weights / total), ("means", means), ("scales", scales)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def n_components(self) -> int:
        """Number of components ``k``."""
        return int(self.weights.size)

    @property
    def dimension(self) -> int:
        """Number of coordinates of a point: 1 for means of shape ``(k,)``, else ``d``."""
        return 1 if self.means.ndim == 1 else int(self.means.shape[1])

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one point: ``()`` or ``(d,)``."""
        return () if self.means.ndim == 1 else (int(self.means.shape[1]),)

    @property
    def mean(self) -> FloatArray:
        """Mean of the mixture, shape ``()`` or ``(d,)``."""
        return np.asarray(self.weights @ self.means, dtype=np.float64)

    @property
    def covariance(self) -> FloatArray:
        """Variance, shape ``()``, or covariance matrix, shape ``(d, d)``."""
        centred = self.means - self.mean
        within = float(self.weights @ self.scales**2)
        if self.means.ndim == 1:
            return np.asarray(within + self.weights @ centred**2)
        between = np.einsum("k,ki,kj->ij", self.weights, centred, centred)
        return np.asarray(within * np.eye(self.dimension) + between)

    # -- densities -----------------------------------------------------------------------------------------------

    def log_prob(self, y: ArrayLike) -> FloatArray:
        """Log density ``log p(y)``, summed over components by logsumexp.

        Parameters
        ----------
        y : array_like, shape (...) or (..., d)
            Points. An infinite point has log density ``-inf``, NaN stays NaN.

        Returns
        -------
        ndarray, shape (...)
            Finite wherever a float holds ``|y - m_k|² / s_k²``.
        """
        return _log_sum_exp(self._log_joint(self._points(y)))

    def responsibilities(self, y: ArrayLike) -> FloatArray:
        """Posterior weight of each component at each point, ``w_k N_k(y) / p(y)``.

        Parameters
        ----------
        y : array_like, shape (...) or (..., d)

        Returns
        -------
        ndarray, shape (..., k)
            Rows sum to one.
        """
        joint = self._log_joint(self._points(y))
        return np.asarray(np.exp(joint - _log_sum_exp(joint)[..., None]))

    def score(self, y: ArrayLike) -> FloatArray:
        """Gradient of the log density in ``y``: ``Σ_k r_k(y) (m_k - y) / s_k²``.

        Parameters
        ----------
        y : array_like, shape (...) or (..., d)

        Returns
        -------
        ndarray, shape of ``y``
        """
        points = self._points(y)
        joint = self._log_joint(points)
        posterior = np.exp(joint - _log_sum_exp(joint)[..., None])
        pull = (self._means_2d() - points[..., None, :]) / self.scales[:, None] ** 2
        score = np.einsum("...k,...kd->...d", posterior, pull)
        return np.asarray(score[..., 0] if self.means.ndim == 1 else score)

    # -- new mixtures and samples --------------------------------------------------------------------------------

    def shifted(self, c: ArrayLike) -> GaussianMixture:
        """The mixture of ``y + c`` for ``y`` from this one: ``π_c(y) = π(y - c)``.

        Parameters
        ----------
        c : float or array_like, shape (d,)
            Shift; a single number moves every coordinate by it.

        Raises
        ------
        ValueError
            If ``c`` is not finite or fits neither shape.
        """
        shift = _real_array("c", c)
        if shift.shape not in ((), self.event_shape):
            raise ValueError(f"c must be one number or have shape {self.event_shape}, got shape {shift.shape}")
        return GaussianMixture(self.weights, self.means + shift, self.scales)

    def sample(self, n: int, seed: int | np.random.Generator = 0) -> FloatArray:
        """Independent draws.

        Parameters
        ----------
        n : int
            Number of draws, not negative.
        seed : int or numpy.random.Generator
            The same seed gives the same draws.

        Returns
        -------
        ndarray, shape (n,) or (n, d)
        """
        if n < 0 or n != int(n):
            raise ValueError(f"n must be a whole number, 0 or more, got {n!r}")
        rng = np.random.default_rng(seed)
        which = rng.choice(self.n_components, size=int(n), p=self.weights)
        noise = rng.standard_normal((int(n), *self.event_shape))
        spread = self.scales[which] if self.means.ndim == 1 else self.scales[which, None]
        return np.asarray(self.means[which] + spread * noise)

    # -- distances (the integrals are registered by gpo_analysis.gaussian.divergences) ----------------------------

    def kl_divergence_to(self, other: GaussianMixture, **options: Any) -> float:
        """``KL(self ‖ other) = E_self[log self - log other]`` in nats.

        Parameters
        ----------
        other : GaussianMixture
        **options : object
            ``method``, ``tolerance``, ``samples`` and ``seed`` of :func:`gpo_analysis.gaussian.kl_estimate`, whose
            value this is; that also gives the error.

        Examples
        --------
        >>> g = GaussianMixture([1.0], [0.0], [0.5])
        >>> g.shifted(1.0).kl_divergence_to(g)      # c² / (2 s²)
        2.0
        """
        return kl_divergence(self, other, **options)

    def mu_squared_loss_to(self, reference: GaussianMixture, behavior: GaussianMixture, **options: Any) -> float:
        """μ-weighted square loss ``½ E_μ[ρ²] = Var_μ(log self - log reference)`` of this policy.

        Parameters
        ----------
        reference, behavior : GaussianMixture
        **options : object
            ``method``, ``tolerance``, ``samples`` and ``seed`` of
            :func:`gpo_analysis.gaussian.mu_squared_loss_estimate`, whose value this is; that also gives the error.

        Examples
        --------
        >>> g = GaussianMixture([1.0], [0.0], [0.5])
        >>> g.shifted(1.0).mu_squared_loss_to(g, behavior=g)      # c² Var_μ(y) / s⁴
        4.0
        """
        return mu_squared_loss(self, reference, behavior, **options)

    # -- equality and display ------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GaussianMixture):
            return NotImplemented
        return all(np.array_equal(a, b) for a, b in zip(self._arrays(), other._arrays(), strict=True))

    def __hash__(self) -> int:
        # + 0.0 turns -0.0 into 0.0: equal arrays must hash alike
        return hash(tuple((a.shape, (a + 0.0).tobytes()) for a in self._arrays()))

    def formula(self) -> str:
        """The mixture as one line of text, the first four terms of a long one."""
        terms = [self._term(i) for i in range(self.n_components)]
        return " + ".join(terms if len(terms) <= _FORMULA_TERMS else [*terms[:_FORMULA_TERMS], "…"])

    def latex(self) -> str:
        r"""The mixture as a LaTeX formula, without dollar signs.

        Examples
        --------
        >>> GaussianMixture([1.0], [0.0], [0.5]).latex()
        '1\\,\\mathcal{N}(0,\\,0.5^2)'
        """
        terms = [
            rf"{w:.4g}\,\mathcal{{N}}({self._mean_text(i)},\,{s:.4g}^2{'' if self.means.ndim == 1 else ' I'})"
            for i, (w, s) in enumerate(zip(self.weights, self.scales, strict=True))
        ]
        return " + ".join(terms if len(terms) <= _FORMULA_TERMS else [*terms[:_FORMULA_TERMS], r"\dots"])

    def __repr__(self) -> str:
        k, d = self.n_components, self.dimension
        head = f"GaussianMixture of {k} component{'s'[: k > 1]} in {d} dimension{'s'[: d > 1]}: "
        if k <= _FORMULA_TERMS:
            return head + self.formula()
        rows = [f"{'weight':>10}  {'scale':>10}  mean"]
        rows += [f"{self.weights[i]:10.4g}  {self.scales[i]:10.4g}  {self._mean_text(i)}" for i in self._shown_rows()]
        return "\n".join([head.rstrip(), *rows, *filter(None, [more_rows(k - _TABLE_ROWS)])])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{self.weights[i]:.4g}</td><td>{escape(self._mean_text(i))}</td><td>{self.scales[i]:.4g}</td></tr>"
            for i in self._shown_rows()
        )
        left = more_rows(self.n_components - _TABLE_ROWS)
        more = f"<tr><td colspan=3>{left}</td></tr>" if left else ""
        return (
            f"<p>$p(y) = {self.latex()}$</p><table><thead><tr><th>weight</th><th>mean</th>"
            f"<th>standard deviation</th></tr></thead><tbody>{rows}{more}</tbody></table>"
        )

    # -- inside --------------------------------------------------------------------------------------------------

    def _arrays(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        return self.weights, self.means, self.scales

    def _means_2d(self) -> FloatArray:
        return self.means.reshape(self.n_components, self.dimension)

    def _points(self, y: ArrayLike) -> FloatArray:
        """Points with a coordinate axis, shape (..., d)."""
        points = np.asarray(y, dtype=np.float64)
        if self.means.ndim == 1:
            return points[..., None]
        if points.ndim == 0 or points.shape[-1] != self.dimension:
            raise ValueError(f"y must have shape (..., {self.dimension}), got shape {points.shape}")
        return points

    def _log_joint(self, points: FloatArray) -> FloatArray:
        """``log w_k + log N_k(y)``, shape (..., k)."""
        d = self.dimension
        with np.errstate(over="ignore", divide="ignore"):  # a point beyond 1e154 s, a weight of zero: both -inf
            squares = (((points[..., None, :] - self._means_2d()) / self.scales[:, None]) ** 2).sum(axis=-1)
            constant = np.log(self.weights) - d * (np.log(self.scales) + 0.5 * _LOG_2PI)
        return np.asarray(constant - 0.5 * squares)

    def _shown_rows(self) -> range:
        return range(min(self.n_components, _TABLE_ROWS))

    def _mean_text(self, i: int) -> str:
        mean = np.atleast_1d(self.means[i])
        text = ", ".join(f"{m:.4g}" for m in mean[:6]) + (", …" if mean.size > 6 else "")
        return text if self.means.ndim == 1 else f"({text})"

    def _term(self, i: int) -> str:
        identity = "" if self.means.ndim == 1 else " I"
        return f"{self.weights[i]:.4g} N({self._mean_text(i)}, {self.scales[i]:.4g}²{identity})"

    def _facts(self) -> list[tuple[str, Any]]:
        return [("components", self.n_components), ("dimension", self.dimension), ("density", self.formula())]

    def _columns(self) -> Mapping[str, Any]:
        means = self._means_2d()
        at = {"mean": means[:, 0]} if self.means.ndim == 1 else {f"mean_{j}": m for j, m in enumerate(means.T)}
        return {"weight": self.weights, **at, "scale": self.scales}

    def _panel(self) -> Panel:
        if self.means.ndim == 1:
            return densities({"density": self}, "mixture of Gaussians")
        each = self._means_2d().T[:MOST_CURVES]
        along = {f"coordinate {j}": GaussianMixture(self.weights, m, self.scales) for j, m in enumerate(each)}
        return densities(along, "marginal densities of a mixture of Gaussians")


def densities(mixtures: Mapping[str, GaussianMixture], title: str) -> Panel:
    """The chart of densities over numbers, by their labels.

    Parameters
    ----------
    mixtures : mapping of str to GaussianMixture
    title : str
    """
    every = list(mixtures.values())
    low = min(float((m.means - 4 * m.scales).min()) for m in every)
    high = max(float((m.means + 4 * m.scales).max()) for m in every)
    y = np.unique(np.concatenate([np.linspace(low, high, 401), *(m.means for m in every)]))
    return lines(title, "y", "density", y, {name: np.exp(m.log_prob(y)) for name, m in mixtures.items()})


def _real_array(name: str, value: ArrayLike) -> FloatArray:
    """A float64 copy, refused where an entry is not a finite number."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of real numbers, got {value!r}") from error
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)].flat[0]!s}")
    return array


def _log_sum_exp(terms: FloatArray, axis: int = -1) -> FloatArray:
    """``log Σ exp`` over an axis; where all terms are ``-inf``, ``-inf``."""
    top = terms.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)  # -inf - -inf would be NaN
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(terms - top).sum(axis=axis)) + top.squeeze(axis))
