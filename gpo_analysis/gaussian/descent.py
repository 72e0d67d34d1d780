"""Gradient descent on one regularizer with the other one tracked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.arrays import FloatArray
from gpo_analysis.gaussian.families import Family
from gpo_analysis.gaussian.landscape import WORDS, c_columns
from gpo_analysis.gaussian.mixture import GaussianMixture
from gpo_analysis.gaussian.regularizers import RegularizerName, Regularizers, require_regularizer
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, lines

if TYPE_CHECKING:
    import pandas as pd


_ARMIJO = 1e-4
_MAX_HALVINGS = 40
_FAR = 1e6


@dataclass(frozen=True, eq=False)
class DescentPath(Shown):
    """The path of one gradient descent.

    Attributes
    ----------
    objective : {"kl", "mu_squared_loss"}
        What was descended.
    c : ndarray, shape (n,) for one parameter, (n, p) for several
        Start, then the point after each step.
    kl, mu_squared_loss : ndarray, shape (n,)
        Both along the path.
    gradient_norm : ndarray, shape (n,)
        Euclidean norm of the descended objective's gradient.
    status : str
        ``"converged"`` (gradient below its tolerance), ``"stalled"`` (no step lowers the objective any more),
        ``"out of steps"`` or ``"diverged"``.
    """

    objective: RegularizerName
    c: FloatArray
    kl: FloatArray
    mu_squared_loss: FloatArray
    gradient_norm: FloatArray
    status: str

    @property
    def table(self) -> pd.DataFrame:
        """A row a step: ``step``, ``c`` (``c_0``, … for several parameters), both values, gradient norm."""
        import pandas as pd

        return pd.DataFrame(
            {
                "step": np.arange(len(self.c)),
                **c_columns(self.c),
                "kl": self.kl,
                "mu_squared_loss": self.mu_squared_loss,
                "gradient_norm": self.gradient_norm,
            }
        )

    @property
    def raised_other(self) -> bool:
        """Whether the objective that was only tracked is higher at the end than at the start."""
        tracked = self.mu_squared_loss if self.objective == "kl" else self.kl
        return bool(tracked[-1] > tracked[0])

    def __repr__(self) -> str:
        def shown(c: FloatArray) -> str:
            return ", ".join(f"{x:.6g}" for x in np.atleast_1d(np.round(c, 9) + 0.0))

        return (
            f"DescentPath on {self.objective}, {len(self.c) - 1} steps, {self.status}: c {shown(self.c[0])} → "
            f"{shown(self.c[-1])}, kl {self.kl[0]:.6g} → {self.kl[-1]:.6g}, "
            f"mu_squared_loss {self.mu_squared_loss[0]:.6g} → {self.mu_squared_loss[-1]:.6g}"
        )

    def _facts(self) -> list[tuple[str, Any]]:
        return [
            ("descended", WORDS[self.objective]), ("steps", len(self.c) - 1), ("status", self.status),
            ("the other is higher at the end", self.raised_other),
        ]  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row a step: :attr:`table`."""
        return self.table

    def _panel(self) -> Panel:
        parts = {WORDS["kl"]: self.kl, WORDS["mu_squared_loss"]: self.mu_squared_loss}
        title = f"descending {WORDS[self.objective]}: {self.status}"
        return lines(title, "step", "nats, nats²", np.arange(len(self.c)), parts)


def descend(
    policy: GaussianMixture | Family | Callable[..., GaussianMixture],
    reference: GaussianMixture,
    behavior: GaussianMixture,
    *,
    start: ArrayLike,
    objective: RegularizerName = "mu_squared_loss",
    learning_rate: float = 0.02,
    backtrack: bool = True,
    steps: int = 500,
    gradient_tolerance: float = 1e-8,
    n_parameters: int = 1,
    method: Literal["auto", "quadrature", "monte_carlo"] = "auto",
    tolerance: float | None = None,
    samples: int = 20_000,
    seed: int = 0,
) -> DescentPath:
    """Descend one objective in ``c`` and watch the other.

    Parameters
    ----------
    policy, reference, behavior : as of :func:`landscape`
    start : float or array_like, shape (p,)
        First ``c``.
    objective : {"kl", "mu_squared_loss"}
        What to descend.
    learning_rate : float
        Step over gradient.
    backtrack : bool
        Halve a step until it lowers the objective enough (Armijo); no step is ever longer than the learning rate
        makes it. Without it the steps are plain gradient descent, which may diverge.
    steps : int
        At most.
    gradient_tolerance : float
        Stop where the gradient's norm is at most this.
    n_parameters, method, tolerance, samples, seed : as of :func:`landscape`

    Returns
    -------
    DescentPath

    Raises
    ------
    ValueError
        If the objective is unknown, the start has another shape, or a number is out of range.

    Examples
    --------
    >>> g = GaussianMixture([1/3, 1/3, 1/3], [-3.0, 0.0, 3.0], [0.5, 0.5, 0.5])
    >>> path = descend(g, g, behavior=GaussianMixture([1.0], [0.0], [0.5]), start=2.0)
    >>> round(float(path.c[-1]), 4), path.raised_other, path.status
    (2.9936, True, 'converged')
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
    begin = both.points(start)
    if len(begin) != 1:
        raise ValueError(f"start must be one point, got {len(begin)}; descend_from() takes several")
    return descend_from(
        both,
        begin,
        objective=objective,
        learning_rate=learning_rate,
        backtrack=backtrack,
        steps=steps,
        gradient_tolerance=gradient_tolerance,
    )[0]


def descend_from(
    both: Regularizers,
    starts: ArrayLike,
    *,
    objective: RegularizerName = "mu_squared_loss",
    learning_rate: float = 0.02,
    backtrack: bool = True,
    steps: int = 500,
    gradient_tolerance: float = 1e-8,
) -> tuple[DescentPath, ...]:
    """Descend from several starts at once: one call of quadrature a step for all of them.

    Parameters
    ----------
    both : Regularizers
    starts : array_like, shape (S,) for one parameter, (S, p) for several
    objective, learning_rate, backtrack, steps, gradient_tolerance : as of :func:`descend`

    Returns
    -------
    tuple of DescentPath
        One a start.
    """
    require_regularizer(objective)
    if not (0.0 < learning_rate < np.inf):
        raise ValueError(f"learning_rate must be above zero and finite, got {learning_rate!r}")
    if steps < 0 or steps != int(steps):
        raise ValueError(f"steps must be a whole number, 0 or more, got {steps!r}")
    if not gradient_tolerance >= 0.0:
        raise ValueError(f"gradient_tolerance must be 0 or more, got {gradient_tolerance!r}")
    c = both.points(starts).copy()
    paths = [[row.copy()] for row in c]
    status = np.array(["out of steps"] * len(c), dtype=object)
    far = _FAR * np.maximum(1.0, np.abs(c).max())
    first = both(objective, c)
    value, gradient = first.value, first.gradient
    live = np.arange(len(c))
    for _ in range(int(steps)):
        flat = np.sqrt((gradient[live] ** 2).sum(axis=1)) <= gradient_tolerance
        status[live[flat]] = "converged"
        live = live[~flat]
        if live.size == 0:
            break
        moved = _step(both, objective, c, value, gradient, live, learning_rate, backtrack)
        status[np.setdiff1d(live, moved)] = "stalled"
        live = moved
        for i in live:
            paths[i].append(c[i].copy())
        escaped = np.abs(c[live]).max(axis=1) > far
        status[live[escaped]] = "diverged"
        live = live[~escaped]
    else:
        norm = np.sqrt((gradient[live] ** 2).sum(axis=1))
        status[live[norm <= gradient_tolerance]] = "converged"
    return _descents(both, objective, paths, status)


def _step(
    both: Regularizers,
    objective: RegularizerName,
    c: FloatArray,
    value: FloatArray,
    gradient: FloatArray,
    live: NDArray[np.int64],
    learning_rate: float,
    backtrack: bool,
) -> NDArray[np.int64]:
    """Move the live rows of ``c``, ``value`` and ``gradient`` in place; return which of them moved."""
    rate = np.full(live.size, learning_rate)
    waiting = np.arange(live.size)
    moved: list[int] = []
    for _ in range(_MAX_HALVINGS if backtrack else 1):
        rows = live[waiting]
        tried = c[rows] - rate[waiting, None] * gradient[rows]
        new = both(objective, tried)
        fall = _ARMIJO * rate[waiting] * (gradient[rows] ** 2).sum(axis=1)
        # near a minimum the fall drowns in the rounding of the values; the gradient then still shows the way
        blur = 1e-14 * np.maximum(np.abs(value[rows]), 1e-3)
        good = (new.value <= value[rows] - fall + blur) | (not backtrack)
        at = rows[good]
        c[at], value[at], gradient[at] = tried[good], new.value[good], new.gradient[good]
        moved += at.tolist()
        waiting = waiting[~good]
        if waiting.size == 0:
            break
        rate[waiting] *= 0.5
    return np.array(sorted(moved), dtype=np.int64)


def _descents(
    both: Regularizers, objective: RegularizerName, paths: list[list[FloatArray]], status: NDArray[np.object_]
) -> tuple[DescentPath, ...]:
    """Both objectives along all paths, in one batch."""
    lengths = [len(path) for path in paths]
    points = np.concatenate([np.stack(path) for path in paths])
    kl, loss = both("kl", points), both("mu_squared_loss", points)
    norm = np.sqrt(((kl if objective == "kl" else loss).gradient ** 2).sum(axis=1))
    c = points[:, 0] if points.shape[1] == 1 else points
    cuts = np.cumsum(lengths)[:-1]
    pieces = zip(*(np.split(a, cuts) for a in (c, kl.value, loss.value, norm)), strict=True)
    return tuple(
        DescentPath(objective, at, kl_of, loss_of, norm_of, str(state))
        for (at, kl_of, loss_of, norm_of), state in zip(pieces, status, strict=True)
    )
