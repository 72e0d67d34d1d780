"""Landscapes: both regularizers over ``c`` and their local minima."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.gaussian.families import Family, LocationFamily
from gpo_analysis.gaussian.minima import LocalMinimum, flow_ends, minima_from_starts, minima_on_grid
from gpo_analysis.gaussian.mixture import GaussianMixture
from gpo_analysis.gaussian.regularizers import RegularizerName, Regularizers, Values, require_regularizer
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Curve, Panel
from gpo_analysis.showing.style import LossStyle, cycle_style

if TYPE_CHECKING:
    import pandas as pd

WORDS = {"kl": "KL(π_c‖πref)", "mu_squared_loss": "½E_μ[ρ²]"}  #: What charts call the regularizers.
_REGULARIZERS: tuple[RegularizerName, ...] = ("kl", "mu_squared_loss")


@dataclass(frozen=True, eq=False)
class Landscape(Shown):
    """KL divergence and μ-weighted square loss over ``c``, with their local minima.

    Attributes
    ----------
    objectives : Regularizers
        What was evaluated: family, πref, μ and how integrals are taken.
    c : ndarray, shape (n,) for one parameter, (n, p) for several
        Where the values below were taken.
    kl, mu_squared_loss : ndarray, shape (n,)
        ``KL(π_c ‖ πref)`` in nats and ``½ E_μ[ρ²]``.
    kl_gradient, mu_squared_loss_gradient : ndarray, shape (n,) or (n, p)
    kl_error, mu_squared_loss_error : ndarray, shape (n,)
        Stated error of the values (standard error for Monte Carlo).
    kl_minima, mu_squared_loss_minima : tuple of LocalMinimum
        One parameter: *every* local minimum within the grid that lies at least ``resolution`` from any other stationary
        point, in order of ``c``. Several parameters: those reached from the starts, lowest first.
    resolution : float or None
        Widest gap of the grid; None for several parameters, where nothing is guaranteed.

    Examples
    --------
    >>> g = GaussianMixture([1/3, 1/3, 1/3], [-3.0, 0.0, 3.0], [0.5, 0.5, 0.5])
    >>> found = landscape(g, g, behavior=GaussianMixture([1.0], [0.0], [0.5]), grid=np.linspace(-5, 5, 201))
    >>> [round(abs(m.c), 2) for m in found.mu_squared_loss_minima], [round(abs(m.c), 2) for m in found.kl_minima]
    ([2.99, 0.0, 2.99], [0.0])
    >>> round(found.mu_squared_loss_minima[0].kl, 2)
    5.98
    """

    objectives: Regularizers = field(repr=False)
    c: FloatArray
    kl: FloatArray
    mu_squared_loss: FloatArray
    kl_gradient: FloatArray
    mu_squared_loss_gradient: FloatArray
    kl_error: FloatArray
    mu_squared_loss_error: FloatArray
    kl_minima: tuple[LocalMinimum, ...]
    mu_squared_loss_minima: tuple[LocalMinimum, ...]
    resolution: float | None

    def minima(self, objective: RegularizerName) -> tuple[LocalMinimum, ...]:
        """Local minima of one objective."""
        require_regularizer(objective)
        return self.kl_minima if objective == "kl" else self.mu_squared_loss_minima

    def leaves(self, objective: RegularizerName) -> tuple[bool, bool]:
        """Whether the objective still falls towards the left, and the right, end of a one-parameter grid.

        Where it does, minima outside the grid are to be expected.
        """
        require_regularizer(objective)
        if self.resolution is None:
            raise ValueError("leaves() is for families of one parameter")
        slope = self.kl_gradient if objective == "kl" else self.mu_squared_loss_gradient
        return bool(slope[0] > 0.0), bool(slope[-1] < 0.0)

    def reached_from(self, objective: RegularizerName, starts: ArrayLike) -> FloatArray:
        """Where gradient flow on an objective ends, in one parameter.

        Flow runs down the slope to the first minimum on that side; no steps are taken, so no step size enters.

        Parameters
        ----------
        objective : {"kl", "mu_squared_loss"}
        starts : array_like, shape (S,)
            Within the grid.

        Returns
        -------
        ndarray, shape (S,)
            NaN where the flow leaves the grid, the start itself where the slope is zero within its error.

        Raises
        ------
        ValueError
            For several parameters, or for starts outside the grid.
        """
        if self.resolution is None:
            raise ValueError("reached_from() is for families of one parameter; use descend()")
        begin = np.atleast_1d(np.asarray(starts, dtype=np.float64))
        if begin.ndim != 1 or not np.all((begin >= self.c[0]) & (begin <= self.c[-1])):
            raise ValueError(f"starts must lie within the grid, from {self.c[0]:g} to {self.c[-1]:g}")
        minima = self.minima(objective)
        ends = flow_ends(self.objectives, objective, minima, begin)
        centres = np.array([*(m.c for m in minima), np.nan], dtype=np.float64)  # -1, leaving the grid, picks the NaN
        return np.where(ends == -2, begin, centres[np.maximum(ends, -1)])

    @property
    def table(self) -> pd.DataFrame:
        """A row a point: ``c`` (``c_0``, ``c_1``, … for several parameters), both values and their errors."""
        import pandas as pd

        return pd.DataFrame(
            {
                **c_columns(self.c),
                "kl": self.kl,
                "mu_squared_loss": self.mu_squared_loss,
                "kl_error": self.kl_error,
                "mu_squared_loss_error": self.mu_squared_loss_error,
            }
        )

    @property
    def minima_table(self) -> pd.DataFrame:
        """A row a local minimum: objective, ``c``, both values there, curvature and uncertainty of ``c``."""
        import pandas as pd

        found = [*self.kl_minima, *self.mu_squared_loss_minima]
        p = 1 if self.c.ndim == 1 else self.c.shape[1]
        at = np.array([m.c for m in found], dtype=np.float64).reshape(-1, p)
        return pd.DataFrame(
            {
                "objective": [m.objective for m in found],
                **c_columns(at[:, 0] if p == 1 else at),
                **{
                    name: np.array([getattr(m, name) for m in found], dtype=np.float64)
                    for name in ("kl", "mu_squared_loss", "curvature", "uncertainty")
                },
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Minima and grid as JSON values: ``{"grid": …, "kl": [minimum, …], "mu_squared_loss": [minimum, …]}``."""
        line = self.resolution is not None
        grid = {"low": float(self.c[0]), "high": float(self.c[-1]), "resolution": self.resolution} if line else None
        return {
            "grid": grid and {**grid, "points": len(self.c)},
            "kl": [asdict(m) for m in self.kl_minima],
            "mu_squared_loss": [asdict(m) for m in self.mu_squared_loss_minima],
        }

    def __repr__(self) -> str:
        head = f"Landscape of {len(self.c)} points"
        if self.resolution is not None:
            head += f", c from {self.c[0]:g} to {self.c[-1]:g} in steps of {self.resolution:.3g}"
        lines = [head]
        for name, minima in (("kl", self.kl_minima), ("mu_squared_loss", self.mu_squared_loss_minima)):
            lines.append(f"  {name}: {len(minima)} local minim{'um' if len(minima) == 1 else 'a'}")
            lines += [f"    {m!r}" for m in minima]
        return "\n".join(lines)

    def _facts(self) -> list[tuple[str, Any]]:
        found = [(f"local minima of {WORDS[name]}", len(self.minima(name))) for name in _REGULARIZERS]
        if self.resolution is None:
            return [("points", len(self.c)), *found]
        return [("points", len(self.c)), ("c", f"{self.c[0]:g} to {self.c[-1]:g}"), *found]

    def to_frame(self) -> pd.DataFrame:
        """A row a local minimum, as :attr:`minima_table`; :attr:`table` has the points."""
        return self.minima_table

    def _panel(self) -> Panel:
        if self.c.ndim > 1:
            both = Curve(self.kl, self.mu_squared_loss, "a point of the grid", cycle_style(0), points=True)
            return Panel("the regularizers over several parameters", WORDS["kl"] + "  [nats]", WORDS["mu_squared_loss"],
                         [both])  # fmt: skip
        curves = []
        for k, name in enumerate(_REGULARIZERS):
            style, minima = cycle_style(k), self.minima(name)
            curves.append(Curve(self.c, getattr(self, name), WORDS[name], style))
            at = np.array([m.c for m in minima], dtype=np.float64)
            values = np.array([m.value for m in minima], dtype=np.float64)
            marker = LossStyle(style.color, "-", "ox"[k])  # both are seen where they are in one place
            curves.append(Curve(at, values, f"its local minima: {len(minima)}", marker, points=True))
        return Panel("both regularizers as the policy is moved by c", "c", "nats, nats²  (linear below 0.1)", curves,
                     symlog=True)  # fmt: skip


def landscape(
    policy: GaussianMixture | Family | Callable[..., GaussianMixture],
    reference: GaussianMixture,
    behavior: GaussianMixture,
    *,
    grid: ArrayLike | None = None,
    points: int = 2001,
    starts: int = 24,
    n_parameters: int = 1,
    method: Literal["auto", "quadrature", "monte_carlo"] = "auto",
    tolerance: float | None = None,
    samples: int = 20_000,
    seed: int = 0,
) -> Landscape:
    """KL(π_c ‖ πref) and the μ-weighted square loss over ``c``, with their local minima.

    Parameters
    ----------
    policy : GaussianMixture, Family, or callable
        A mixture is moved about, ``π_c(y) = π(y - c)``; a function of ``c`` is taken as it is.
    reference, behavior : GaussianMixture
        πref and μ.
    grid : array_like, optional
        Increasing values of ``c``, shape (n,), for one parameter; points (n, p) for several, which also span the box
        that starts are drawn from. By default, for a location family, from below the smallest to above the largest
        shift that lays a mean of π over one of πref.
    points : int
        Size of the default grid, for one parameter.
    starts : int
        For several parameters: how many descents look for minima. Shifts that lay a mean of π over one of πref come
        first, then uniform draws from the box.
    n_parameters : int
        Coordinates of ``c`` where ``policy`` is a function.
    method, tolerance, samples : as of :class:`Regularizers`
    seed : int
        For the starts and for Monte Carlo.

    Returns
    -------
    Landscape

    Raises
    ------
    ValueError
        If the grid is missing where there is no default, not increasing, or of the wrong shape.

    Examples
    --------
    >>> normal = GaussianMixture([1.0], [0.0], [1.0])
    >>> found = landscape(normal, normal, normal, points=201)
    >>> len(found.kl_minima), len(found.mu_squared_loss_minima)
    (1, 1)
    """
    both = Regularizers.of(
        policy,
        reference,
        behavior,
        n_parameters=n_parameters,
        method=method,
        tolerance=tolerance,
        samples=samples,
        seed=seed,
    )
    if both.family.n_parameters > 1:
        return _of_several(both, grid, starts, seed)
    c = _line(both, grid, points)
    kl, loss = both("kl", c), both("mu_squared_loss", c)
    return _assemble(
        both,
        c,
        kl,
        loss,
        minima_on_grid(both, "kl", c, kl),
        minima_on_grid(both, "mu_squared_loss", c, loss),
        float(np.diff(c).max()),
    )


def c_columns(c: FloatArray) -> dict[str, FloatArray]:
    """Columns of a table for ``c`` of shape (n,) or (n, p)."""
    return {"c": c} if c.ndim == 1 else {f"c_{j}": c[:, j] for j in range(c.shape[1])}


def _line(both: Regularizers, grid: ArrayLike | None, points: int) -> FloatArray:
    if grid is None:
        if points < 3:
            raise ValueError(f"points must be 3 or more, got {points!r}")
        overlays, margin = _overlays(both)
        return np.linspace(overlays.min() - margin, overlays.max() + margin, points)
    c = np.asarray(grid, dtype=np.float64)
    if c.ndim != 1 or c.size < 3 or not np.all(np.isfinite(c)) or not np.all(np.diff(c) > 0.0):
        raise ValueError(f"grid must be three or more increasing finite numbers, got shape {c.shape}")
    return c


def _overlays(both: Regularizers) -> tuple[FloatArray, float]:
    """Shifts (n, p) that lay a mean of π over one of πref, and a margin of two of the widest scale."""
    if not isinstance(both.family, LocationFamily):
        raise ValueError("a grid is needed: only families of shifts have a default one")
    base, reference = both.family.base, both.reference
    p = base.dimension
    gaps = reference.means.reshape(-1, 1, p) - base.means.reshape(1, -1, p)
    return np.unique(gaps.reshape(-1, p), axis=0), 2.0 * float(max(base.scales.max(), reference.scales.max()))


def _of_several(both: Regularizers, grid: ArrayLike | None, starts: int, seed: int) -> Landscape:
    if starts < 1:
        raise ValueError(f"starts must be 1 or more, got {starts!r}")
    p = both.family.n_parameters
    rng = np.random.default_rng(seed)
    if grid is None:
        overlays, margin = _overlays(both)
        low, high = overlays.min(axis=0) - margin, overlays.max(axis=0) + margin
        first = overlays[rng.permutation(len(overlays))[: (starts + 1) // 2]]
    else:
        first = both.points(grid)
        low, high = first.min(axis=0), first.max(axis=0)
        first = first[:0]
    begin = np.concatenate([first, rng.uniform(low, high, (starts - len(first), p))])
    c = begin if grid is None else both.points(grid)
    return _assemble(
        both,
        c,
        both("kl", c),
        both("mu_squared_loss", c),
        minima_from_starts(both, "kl", begin),
        minima_from_starts(both, "mu_squared_loss", begin),
        None,
    )


def _assemble(
    both: Regularizers,
    c: FloatArray,
    kl: Values,
    loss: Values,
    kl_minima: tuple[LocalMinimum, ...],
    loss_minima: tuple[LocalMinimum, ...],
    resolution: float | None,
) -> Landscape:
    one = c.ndim == 1
    return Landscape(
        objectives=both,
        c=c,
        kl=kl.value,
        mu_squared_loss=loss.value,
        kl_gradient=kl.gradient[:, 0] if one else kl.gradient,
        mu_squared_loss_gradient=loss.gradient[:, 0] if one else loss.gradient,
        kl_error=kl.error,
        mu_squared_loss_error=loss.error,
        kl_minima=kl_minima,
        mu_squared_loss_minima=loss_minima,
        resolution=resolution,
    )
