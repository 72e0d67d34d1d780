"""The mixture-of-Gaussians counterexample, and a family of them.

Tang et al. 2024 (arXiv 2402.05749) show that the μ-weighted square loss of a shifted mixture of Gaussians has several
minima, some far from zero shift, so that descending it need not lower the KL divergence. The constants of their figure
are not known; the setting here is our own.

Why it happens: ``½ E_μ[ρ²] = Var_μ(log π_c - log πref)`` only asks that ``π_c`` be proportional to πref *where μ has
mass*. A shift by the distance between two modes lays another mode of π_c under μ, where it looks like the right one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.arrays import FloatArray
from gpo_analysis.gaussian.landscape import Landscape, landscape
from gpo_analysis.gaussian.minima import flow_ends, minima_on_grid
from gpo_analysis.gaussian.mixture import GaussianMixture, densities
from gpo_analysis.gaussian.regularizers import Regularizers
from gpo_analysis.progress import Progress, followed
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Cells, Panel

if TYPE_CHECKING:
    import pandas as pd

_COMPONENT = ("weight", "mean", "scale")


@dataclass(frozen=True)
class Counterexample(Shown):
    """πref with several modes, the location family ``π_c(y) = πref(y - c)``, and μ on one mode.

    Attributes
    ----------
    reference : GaussianMixture
        πref, which is also π_0.
    behavior : GaussianMixture
        μ.
    """

    reference: GaussianMixture
    behavior: GaussianMixture

    @property
    def policy(self) -> GaussianMixture:
        """π_0: the mixture that is moved about."""
        return self.reference

    @property
    def objectives(self) -> Regularizers:
        """Both regularizers as functions of the shift."""
        return Regularizers.of(self.reference, self.reference, self.behavior)

    def landscape(self, grid: ArrayLike | None = None, points: int = 2001) -> Landscape:
        """Both regularizers over the shift, with all their local minima."""
        return landscape(self.reference, self.reference, self.behavior, grid=grid, points=points)

    def on_reference(self) -> Counterexample:
        """The same with ``μ = πref``, where one minimum is left."""
        return Counterexample(self.reference, self.reference)

    def to_dict(self, points: int = 2001) -> dict[str, Any]:
        """Setting and minima as JSON values, with μ as it is and with ``μ = πref``."""
        return {
            "reference": _as_dict(self.reference),
            "behavior": _as_dict(self.behavior),
            "landscape": self.landscape(points=points).to_dict(),
            "landscape_on_reference": self.on_reference().landscape(points=points).to_dict(),
        }

    def __repr__(self) -> str:
        return (
            "Counterexample: π_c(y) = πref(y - c)\n"
            f"  πref = {self.reference.formula()}\n"
            f"  μ    = {self.behavior.formula()}"
        )

    def _repr_html_(self) -> str:
        return (
            r"<p>$\pi_c(y) = \pi_{\mathrm{ref}}(y - c)$,</p>"
            rf"<p>$\pi_{{\mathrm{{ref}}}} = {self.reference.latex()}$,</p><p>$\mu = {self.behavior.latex()}$</p>"
        )

    def _facts(self) -> list[tuple[str, Any]]:
        return [("π_c(y)", "πref(y − c)"), ("πref", self.reference.formula()), ("μ", self.behavior.formula())]

    def _columns(self) -> Mapping[str, Any]:
        """A row a component."""
        both = {"πref": self.reference, "μ": self.behavior}
        of = [name for name, mixture in both.items() for _ in mixture.weights]
        columns = {name: np.concatenate([getattr(m, f"{name}s") for m in both.values()]) for name in _COMPONENT}
        return {"of": of, **columns}

    def _panel(self) -> Panel:
        return densities({"πref": self.reference, "μ": self.behavior}, "the reference's modes, and where μ has mass")


def counterexample(
    *,
    width: float = 0.5,
    mean: float = 0.0,
    modes: Sequence[float] = (-3.0, 0.0, 3.0),
    scale: float = 0.5,
) -> Counterexample:
    """The counterexample: πref an equal mixture of ``N(m, scale²)`` over the modes, ``μ = N(mean, width²)``.

    Parameters
    ----------
    width, mean : float
        Standard deviation and mean of μ.
    modes : sequence of float
        Means of πref's components.
    scale : float
        Their standard deviation.

    Returns
    -------
    Counterexample

    Examples
    --------
    >>> example = counterexample()
    >>> example
    Counterexample: π_c(y) = πref(y - c)
      πref = 0.3333 N(-3, 0.5²) + 0.3333 N(0, 0.5²) + 0.3333 N(3, 0.5²)
      μ    = 1 N(0, 0.5²)
    >>> found = example.landscape(points=401)
    >>> [(round(m.c, 3) + 0.0, round(m.kl, 3)) for m in found.mu_squared_loss_minima]
    [(-2.994, 5.976), (0.0, 0.0), (2.994, 5.976)]
    >>> len(example.on_reference().landscape(points=401).mu_squared_loss_minima)
    1
    """
    k = len(modes)
    reference = GaussianMixture(np.full(k, 1.0 / max(k, 1)), np.asarray(modes), np.full(k, scale))
    return Counterexample(reference, GaussianMixture([1.0], [mean], [width]))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class FamilyMap(Shown):
    """What descending the μ-weighted square loss does to the KL divergence, over μ's width and mean.

    Attributes
    ----------
    reference : GaussianMixture
        πref, which is also the mixture moved about.
    widths, means : ndarray, shapes (W,) and (P,)
    starts : ndarray, shape (S,)
    minima : ndarray of int, shape (W, P)
        Number of local minima of the μ-weighted square loss within the grid.
    share_raised : ndarray, shape (W, P)
        Share of starts from which descent ends with a KL higher than it began with.
    share_astray : ndarray, shape (W, P)
        Share of starts from which descent ends with a KL above 0.01 nats, though c = 0 has none.
    mean_kl_reached, max_kl_reached : ndarray, shape (W, P)
        KL at the minimum reached, over starts.
    resolution : float
        Grid step: two stationary points nearer than this may be missed.
    """

    reference: GaussianMixture
    widths: FloatArray
    means: FloatArray
    starts: FloatArray
    minima: NDArray[np.int64]
    share_raised: FloatArray
    share_astray: FloatArray
    mean_kl_reached: FloatArray
    max_kl_reached: FloatArray
    resolution: float

    @property
    def table(self) -> pd.DataFrame:
        """A row a (width, mean)."""
        import pandas as pd

        width, mean = np.meshgrid(self.widths, self.means, indexing="ij")
        arrays = {
            name: getattr(self, name).ravel()
            for name in ("minima", "share_raised", "share_astray", "mean_kl_reached", "max_kl_reached")
        }
        return pd.DataFrame({"width": width.ravel(), "mean": mean.ravel(), **arrays})

    def __repr__(self) -> str:
        raised = float((self.share_raised > 0.0).mean())
        return (
            f"FamilyMap of {len(self.widths)} widths by {len(self.means)} means, {len(self.starts)} starts each: "
            f"descent raises the KL from some start in {raised:.0%} of them"
        )

    def _facts(self) -> list[tuple[str, Any]]:
        return [
            ("widths and means of μ", f"{len(self.widths)} by {len(self.means)}"), ("starts of each", len(self.starts)),
            ("settings in which descent raises the KL from some start", int((self.share_raised > 0.0).sum())),
            ("largest KL reached", f"{self.max_kl_reached.max():.6g} nats"), ("grid step", self.resolution),
        ]  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row a (width, mean): :attr:`table`."""
        return self.table

    def _panel(self) -> Panel:
        cells = Cells(self.share_raised, self.means, self.widths, "share of starts")
        title = "descending ½E_μ[ρ²]: share of starts from which KL ends higher"
        return Panel(title, "mean of μ", "width of μ", cells=cells)


def counterexample_family(
    widths: ArrayLike,
    means: ArrayLike,
    *,
    starts: ArrayLike | None = None,
    reference: GaussianMixture | None = None,
    points: int = 1001,
    progress: bool | Progress = False,
) -> FamilyMap:
    """Where does descending the μ-weighted square loss raise the KL? ``μ = N(mean, width²)`` over a map of both.

    Descent is gradient flow: from each start down the slope to the first minimum. That is exact for steps small enough
    and needs no step size. The KL landscape does not depend on μ and is computed once.

    Parameters
    ----------
    widths, means : array_like, shapes (W,) and (P,)
    starts : array_like, shape (S,), optional
        First shifts; by default 120 from end to end of the modes' span, −6 to 6 in the default setting: an even
        number, so that none starts at rest on the axis of a symmetric landscape.
    reference : GaussianMixture, optional
        Over numbers; by default that of :func:`counterexample`.
    points : int
        Grid points of each landscape.
    progress : bool or function
        A bar where standard error is a terminal, or a function of the share done and what is next.

    Returns
    -------
    FamilyMap

    Raises
    ------
    ValueError
        If an axis is empty or not finite, a width is not above zero, or the reference is over vectors.

    Examples
    --------
    >>> found = counterexample_family([0.5, 3.0], [0.0], points=401)
    >>> found.minima[:, 0].tolist(), found.share_raised[:, 0].round(2).tolist()
    ([3, 1], [0.25, 0.0])
    """
    ref = counterexample().reference if reference is None else reference
    if ref.event_shape != ():
        raise ValueError(f"reference must be over numbers, got points of shape {ref.event_shape}")
    width_axis, mean_axis = (_axis(name, values) for name, values in (("widths", widths), ("means", means)))
    if np.any(width_axis <= 0.0):
        raise ValueError(f"widths must be above zero, got {width_axis[width_axis <= 0.0][0]!s}")
    span = float(np.ptp(ref.means)) or 4.0 * float(ref.scales.max())
    begin = np.linspace(-span, span, 120) if starts is None else _axis("starts", starts)
    reach = max(span, float(np.abs(begin).max())) + 2.0 * float(ref.scales.max())
    kl_at_start = Regularizers.of(ref, ref, ref)("kl", begin).value
    shape = (len(width_axis), len(mean_axis))
    minima = np.zeros(shape, dtype=np.int64)
    raised, astray, mean_kl, max_kl = (np.zeros(shape) for _ in range(4))
    for i, width in followed(enumerate(width_axis), progress, "widths", named=False):
        for j, mean in enumerate(mean_axis):
            behavior = GaussianMixture([1.0], [mean], [width])  # type: ignore[arg-type]
            minima[i, j], kl = _kl_reached(Regularizers.of(ref, ref, behavior), reach, points, begin, kl_at_start)
            raised[i, j] = float(np.mean(kl > kl_at_start * (1.0 + 1e-9) + 1e-9))
            astray[i, j] = float(np.mean(kl > 0.01))
            mean_kl[i, j], max_kl[i, j] = float(np.mean(kl)), float(np.max(kl))
    return FamilyMap(
        ref, width_axis, mean_axis, begin, minima, raised, astray, mean_kl, max_kl, 2.0 * reach / (points - 1)
    )


def _kl_reached(
    both: Regularizers, reach: float, points: int, starts: FloatArray, kl_at_start: FloatArray
) -> tuple[int, FloatArray]:
    """Number of minima of the square loss, and the KL where gradient flow on it ends, from each start."""
    for _ in range(6):
        grid = np.linspace(-reach, reach, points)
        minima = minima_on_grid(both, "mu_squared_loss", grid, both("mu_squared_loss", grid))
        ends = flow_ends(both, "mu_squared_loss", minima, starts)
        if np.all(ends != -1):
            kl_at_minima = np.array([m.kl for m in minima])
            return len(minima), np.where(ends == -2, kl_at_start, kl_at_minima[np.maximum(ends, 0)])
        # a flow leaves the grid: the loss grows like c² far out, so a wider grid of the same step holds its end
        reach, points = 2.0 * reach, 2 * points - 1
    raise ValueError(f"no minimum of the μ-weighted square loss within ±{reach:g}; is μ far from every mode?")


def _axis(name: str, values: ArrayLike) -> FloatArray:
    axis = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if axis.ndim != 1 or axis.size == 0 or not np.all(np.isfinite(axis)):
        raise ValueError(f"{name} must be one or more finite numbers, got {values!r}")
    return axis


def _as_dict(mixture: GaussianMixture) -> dict[str, list[float]]:
    return {name: getattr(mixture, name).tolist() for name in ("weights", "means", "scales")}
