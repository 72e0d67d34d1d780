"""Alignment by optimal transport: losses that sort a batch, and what they are for large batches.

AOT (Melnyk et al. 2024, arXiv 2406.05882) sorts two columns of a batch and compares the k-th smallest with the k-th
smallest. Which pairs meet depends on the whole batch, so that its loss is no mean of losses of pairs. For large batches
sorting becomes the quantile coupling: ∫₀¹ f(β [Q_A(u) − Q_B(u)]) du, Q the quantile functions of the two columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses.catalogue import margin_loss_named
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.showing import Panel, Shown


@dataclass(frozen=True)
class BatchLoss(Shown):
    """A loss of a batch of pairs: mean f(β [A₍ₖ₎ − B₍ₖ₎]) over sorted columns A and B.

    Attributes
    ----------
    name : str
        "aot": A the policy's log π(y_w) − log π(y_l), B the reference's. "aot_unpaired": A the chosen's
        h = log π/πref, B the rejected's.
    loss : MarginLoss
        f; the logistic loss in TRL, with its label smoothing (1−ε) f(z) + ε f(−z).
    reference : str

    Examples
    --------
    >>> aot = get_batch_loss("aot_unpaired")
    >>> chosen, rejected = np.array([2.0, -1.0]), np.array([0.0, 1.0])
    >>> aot.columns(chosen, rejected, np.zeros(2), np.zeros(2))
    (array([ 2., -1.]), array([0., 1.]))
    >>> aot(chosen, rejected, np.zeros(2), np.zeros(2), beta=1.0).round(4)  # −1 meets 0, and 2 meets 1
    array([1.3133, 0.3133])
    """

    name: str
    loss: MarginLoss
    reference: str = "Melnyk et al. 2024 (AOT), arXiv 2406.05882"

    def _facts(self) -> list[tuple[str, Any]]:
        of = (
            "log π(y_w) − log π(y_l) over πref's"
            if self.name == "aot"
            else "the chosen's log π/πref over the rejected's"
        )
        return [("name", self.name), ("sorted", of), ("f", str(self.loss)), ("source", self.reference)]

    def _columns(self) -> dict[str, Any]:
        return self.loss._columns()

    def _panel(self) -> Panel:
        return self.loss._panel()

    def columns(self, chosen: Any, rejected: Any, reference_chosen: Any, reference_rejected: Any) -> tuple[Any, Any]:
        """A and B, not yet sorted, of log-probabilities of shape (k,) under policy and reference."""
        if self.name == "aot":
            return chosen - rejected, reference_chosen - reference_rejected
        return chosen - reference_chosen, rejected - reference_rejected

    def __call__(self, chosen: Any, rejected: Any, reference_chosen: Any, reference_rejected: Any, beta: float) -> Any:
        """f(β [A₍ₖ₎ − B₍ₖ₎]) for k = 1 … size of the batch, unreduced.

        Parameters
        ----------
        chosen, rejected, reference_chosen, reference_rejected : array or tensor, shape (k,)
            log π and log πref of the pairs' responses.
        beta : float

        Returns
        -------
        array or tensor, shape (k,)
        """
        a, b = self.columns(chosen, rejected, reference_chosen, reference_rejected)
        if isinstance(a, np.ndarray | np.generic | float | list | tuple):
            return self.loss(beta * (np.sort(np.atleast_1d(a)) - np.sort(np.atleast_1d(b))))
        return self.loss(beta * (a.sort(0).values - b.sort(0).values))

    def limit(self, a: ArrayLike, b: ArrayLike, weight: ArrayLike, beta: float) -> float:
        """∫₀¹ f(β [Q_A(u) − Q_B(u)]) du: the loss of ever larger batches of pairs drawn with these weights.

        Parameters
        ----------
        a, b : array, shape (k,)
            The two columns, by pair.
        weight : array, shape (k,)
            Probabilities of the pairs; at least 0, summing to 1.
        beta : float

        Raises
        ------
        ValueError
            For arrays of other shapes, or weights that are no probabilities.
        """
        gaps, share = quantile_coupling(a, b, weight)
        return float(share @ self.loss(beta * gaps))


def quantile_coupling(a: ArrayLike, b: ArrayLike, weight: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Q_A(u) − Q_B(u) on the intervals of u on which both are constant, and the lengths of these.

    Parameters
    ----------
    a, b : array, shape (k,)
        Values of two columns that share their weights.
    weight : array, shape (k,)
        At least 0, summing to 1.

    Returns
    -------
    tuple of two arrays, shape (i,)

    Examples
    --------
    >>> quantile_coupling([0.0, 1.0], [3.0, 2.0], [0.25, 0.75])
    (array([-2., -1., -2.]), array([0.25, 0.5 , 0.25]))
    """
    x, y, w = (np.asarray(part, dtype=np.float64) for part in (a, b, weight))
    if x.ndim != 1 or x.shape != y.shape or x.shape != w.shape or not x.size:
        raise ValueError(f"a, b and weight must have one shape (k,), got {x.shape}, {y.shape} and {w.shape}")
    if not (w >= 0).all() or abs(float(w.sum()) - 1.0) > 1e-9:
        raise ValueError(f"weight must be at least 0 and sum to 1, got a sum of {float(w.sum()):g}")
    orders = [np.argsort(values, kind="stable") for values in (x, y)]
    ends = [np.cumsum(w[order]) for order in orders]
    for end in ends:
        end[-1] = 1.0
    cuts = np.unique(np.concatenate([[0.0], *ends]))
    cuts = cuts[cuts <= 1.0]
    middle = 0.5 * (cuts[1:] + cuts[:-1])
    values = [
        column[order][np.minimum(np.searchsorted(end, middle, side="right"), len(w) - 1)]
        for column, order, end in zip((x, y), orders, ends, strict=True)
    ]
    return np.asarray(values[0] - values[1]), np.diff(cuts)


def get_batch_loss(name: str, loss: MarginLoss | None = None) -> BatchLoss:
    """The loss of a batch of that name.

    Parameters
    ----------
    name : str
        "aot" or "aot_unpaired".
    loss : MarginLoss, optional
        f; by default the logistic loss, ``loss.smoothed(ε)`` with label smoothing.

    Raises
    ------
    ValueError
        For another name.
    """
    key = name.strip().lower().replace("-", "_") if isinstance(name, str) else name
    if key not in ("aot", "aot_unpaired"):
        raise ValueError(f"unknown loss of a batch {name!r}; accepted are 'aot' and 'aot_unpaired'")
    f = margin_loss_named("logistic") if loss is None else loss
    assert f is not None
    return BatchLoss(key, f)
