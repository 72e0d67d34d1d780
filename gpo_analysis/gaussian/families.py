"""Families of policies: from a parameter ``c`` to a mixture of Gaussians, many values of ``c`` at once.

The paper's family is the location family ``π_c(y) = π(y - c)`` (Tang et al. 2024, arXiv 2402.05749). Any other function
from ``c`` to a :class:`GaussianMixture` can be used in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.gaussian.mixture import GaussianMixture
from gpo_analysis.showing import Panel, Shown

# Sixth-order central differences of a mixture's parameters, not of an integral: the step's error is below rounding for
# parameters that vary on the scale of max(1, |c|).
_STENCIL = ((1, 0.75), (2, -0.15), (3, 1.0 / 60.0))
_STEP = 2e-3


@dataclass(frozen=True)
class MixtureStack:
    """``B`` mixtures in arrays of one shape; where they differ in length, padded with components of weight zero.

    Shapes: weights (B, k), means (B, k, d), scales (B, k). Where all are shifts of one mixture, ``base`` is that one:
    seen from one of its own components, such a stack looks the same at every shift.
    """

    weights: FloatArray
    means: FloatArray
    scales: FloatArray
    base: MixtureStack | None = None

    @staticmethod
    def of(mixtures: Sequence[GaussianMixture]) -> MixtureStack:
        """Stack mixtures of the same dimension."""
        k = max(m.n_components for m in mixtures)
        d = mixtures[0].dimension
        weights, scales = np.zeros((len(mixtures), k)), np.ones((len(mixtures), k))
        means = np.zeros((len(mixtures), k, d))
        for b, m in enumerate(mixtures):
            n = m.n_components
            weights[b, :n], scales[b, :n] = m.weights, m.scales
            means[b, :n] = m.means.reshape(n, d)
            means[b, n:] = means[b, 0]  # padding: weight zero, placed where it adds no box
            scales[b, n:] = scales[b, 0]
        return MixtureStack(weights, means, scales)

    @property
    def size(self) -> int:
        """Number of mixtures ``B``."""
        return int(self.weights.shape[0])

    def rows(self, rows: slice) -> MixtureStack:
        """Some of the mixtures; a stack of one stays as it is and stands for all."""
        if self.size == 1:
            return self
        return MixtureStack(self.weights[rows], self.means[rows], self.scales[rows], self.base)


@dataclass(frozen=True)
class Tangent:
    """Derivatives of a stack's parameters in the ``p`` coordinates of ``c``; None where they are all zero.

    Shapes: weights (B, k, p), means (B, k, d, p), scales (B, k, p).
    """

    weights: FloatArray | None
    means: FloatArray
    scales: FloatArray | None

    def rows(self, rows: slice) -> Tangent:
        """Derivatives for some of the mixtures; those of a stack of one stand for all."""
        if self.means.shape[0] == 1:
            return self
        weights = None if self.weights is None else self.weights[rows]
        scales = None if self.scales is None else self.scales[rows]
        return Tangent(weights, self.means[rows], scales)


@runtime_checkable
class Family(Protocol):
    """What landscapes and descents need of a family of policies."""

    @property
    def n_parameters(self) -> int:
        """Number of coordinates of ``c``."""
        ...

    def __call__(self, c: ArrayLike) -> GaussianMixture:
        """The policy at one ``c``."""
        ...

    def stack(self, c: FloatArray) -> MixtureStack:
        """The policies at ``c`` of shape (B, p)."""
        ...

    def tangent(self, c: FloatArray) -> Tangent:
        """Derivatives of their parameters."""
        ...


@dataclass(frozen=True)
class LocationFamily(Shown):
    """``π_c(y) = π(y - c)``: one mixture moved about.

    ``c`` is a number for a mixture over numbers and has shape ``(d,)`` for one over vectors.

    Examples
    --------
    >>> family = LocationFamily(GaussianMixture([1.0], [2.0], [0.5]))
    >>> family(-1.5).means.tolist()
    [0.5]
    """

    base: GaussianMixture

    def _facts(self) -> list[tuple[str, Any]]:
        return [("parameters", self.n_parameters), ("at c = 0", self.base.formula())]

    def _columns(self) -> Mapping[str, Any]:
        return self.base._columns()

    def _panel(self) -> Panel:
        return replace(self.base._panel(), title="the mixture that is moved by c, at c = 0")

    @property
    def n_parameters(self) -> int:
        """Coordinates of the shift."""
        return self.base.dimension

    def __call__(self, c: ArrayLike) -> GaussianMixture:
        """The policy shifted by ``c``."""
        shift = np.asarray(c, dtype=np.float64)
        return self.base.shifted(shift.reshape(self.base.event_shape) if shift.size == self.base.dimension else shift)

    def stack(self, c: FloatArray) -> MixtureStack:
        """The policies at ``c`` of shape (B, d)."""
        one = MixtureStack.of([self.base])
        shape = (len(c), self.base.n_components)
        weights, scales = np.broadcast_to(one.weights, shape), np.broadcast_to(one.scales, shape)
        return MixtureStack(weights, one.means + c[:, None, :], scales, one)

    def tangent(self, c: FloatArray) -> Tangent:
        """Every mean moves with the shift."""
        k, d = self.base.n_components, self.base.dimension
        return Tangent(None, np.broadcast_to(np.eye(d), (1, k, d, d)), None)


@dataclass(frozen=True)
class ParametricFamily(Shown):
    """Any smooth function from ``c`` to a mixture.

    Parameters
    ----------
    function : callable
        Takes a number where ``n_parameters`` is 1, else an array of shape ``(n_parameters,)``; returns mixtures with
        the same number of components. Its parameters must be smooth on the scale of ``max(1, |c|)``, for derivatives
        in ``c`` come from differences of them, of sixth order and step ``0.002 max(1, |c|)``.
    n_parameters : int

    Examples
    --------
    >>> family = ParametricFamily(lambda c: GaussianMixture([1.0], [0.0], [float(np.exp(c))]))
    >>> family(0.0).scales.tolist()
    [1.0]
    >>> bool(abs(family.tangent(np.array([[0.0]])).scales[0, 0, 0] - 1.0) < 1e-11)
    True
    """

    function: Callable[..., GaussianMixture]
    n_parameters: int = 1
    _no_plot = "it is a function of c; the landscape of its values draws what follows from it"

    def __post_init__(self) -> None:
        if self.n_parameters < 1:
            raise ValueError(f"n_parameters must be 1 or more, got {self.n_parameters!r}")

    def __call__(self, c: ArrayLike) -> GaussianMixture:
        """The policy at one ``c``."""
        value = np.asarray(c, dtype=np.float64).reshape(-1)
        if value.size != self.n_parameters:
            raise ValueError(f"c must have {self.n_parameters} coordinates, got {value.size}")
        mixture = self.function(float(value[0]) if self.n_parameters == 1 else value)
        if not isinstance(mixture, GaussianMixture):
            raise ValueError(f"the family's function must return a GaussianMixture, got {type(mixture).__name__}")
        return mixture

    def stack(self, c: FloatArray) -> MixtureStack:
        """The policies at ``c`` of shape (B, p)."""
        mixtures = [self(row) for row in c]
        if len({(m.n_components, m.event_shape) for m in mixtures}) > 1:
            raise ValueError("the family's function must return mixtures of one length and dimension at every c")
        return MixtureStack.of(mixtures)

    def tangent(self, c: FloatArray) -> Tangent:
        """Central differences of the parameters."""
        columns: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        for j in range(self.n_parameters):
            step = _STEP * np.maximum(1.0, np.abs(c[:, j]))
            sums = [np.zeros(()), np.zeros(()), np.zeros(())]
            for multiple, coefficient in _STENCIL:
                for sign in (1.0, -1.0):
                    moved = c.copy()
                    moved[:, j] += sign * multiple * step
                    part = self.stack(moved)
                    for i, array in enumerate((part.weights, part.means, part.scales)):
                        sums[i] = sums[i] + sign * coefficient * array
            columns.append((sums[0] / step[:, None], sums[1] / step[:, None, None], sums[2] / step[:, None]))
        weights, means, scales = (np.stack(arrays, axis=-1) for arrays in zip(*columns, strict=True))
        return Tangent(weights if np.any(weights) else None, means, scales if np.any(scales) else None)


def as_family(policy: GaussianMixture | Family | Callable[..., GaussianMixture], n_parameters: int = 1) -> Family:
    """A mixture becomes its location family; a function of ``c`` a :class:`ParametricFamily`; a family stays.

    Raises
    ------
    ValueError
        If ``policy`` is none of the three.
    """
    if isinstance(policy, GaussianMixture):
        return LocationFamily(policy)
    if isinstance(policy, Family):
        return policy
    if callable(policy):
        return ParametricFamily(policy, n_parameters)
    raise ValueError(f"policy must be a GaussianMixture, a Family or a function of c, got {type(policy).__name__}")
