"""The Hodge split of a preference flow: a gradient, which scores can represent, and a cyclic rest, which none can.

For flows ``Y_ij = −Y_ji`` on the compared pairs, with weights ``w_ij``, the scores s that minimise ``Σ w_ij (Y_ij −
(s_i − s_j))²`` give the gradient part ``s_i − s_j``; what is left is orthogonal to every gradient (HodgeRank, Jiang,
Lim, Yao and Ye 2011, arXiv 0811.1067). The rest splits once more: into *curl*, made of triangles, and a *harmonic* part
that goes round longer gaps of an incomplete graph; on a complete graph there is no harmonic part.

The squared loss fits exactly this gradient part: with ``η (d − 1)² + (1 − η) (d + 1)² = (d − (2η − 1))² + 4η(1 − η)``
its population optimum is ``β (h_i − h_j) = s_i − s_j`` for the flow ``Y = 2P − 1`` and weights μ_i μ_j.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import lsqr

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.preferences.laplacian import solve_laplacian
from gpo_analysis.preferences.shares import PairShares
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Curve, Panel
from gpo_analysis.showing.style import cycle_style

#: Up to this many triangles of compared pairs the rest is split into curl and harmonic part.
TRIANGLES = 200_000


@dataclass(frozen=True, eq=False)
class HodgeSplit(Shown):
    """Scores, and the shares of the flow's weighted squared norm ``Σ_{i<j} w_ij Y_ij²``.

    Attributes
    ----------
    flow : str
        "mean", ``Y = 2P − 1``, or "log_odds", ``Y = log(P / (1 − P))``.
    scores : array, shape (n,)
        s, with mean zero over each component of the comparison graph.
    gradient_share, cyclic_share : float
        They add up to 1; NaN for a flow that is 0 everywhere.
    curl_share, harmonic_share : float
        The cyclic share's two parts; NaN where there are too many triangles to tell them apart.
    first, second : array of int, shape (e,)
        The compared pairs, first < second.
    gradient, cyclic : array, shape (e,)
        The two parts of the flow from first to second.
    """

    flow: str
    scores: FloatArray
    gradient_share: float
    cyclic_share: float
    curl_share: float
    harmonic_share: float
    first: IntArray
    second: IntArray
    gradient: FloatArray
    cyclic: FloatArray

    def _columns(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in ("first", "second", "gradient", "cyclic")}

    def _panel(self) -> Panel:
        pairs = Curve(self.gradient.round(12), self.cyclic.round(12), "a pair", cycle_style(0), points=True)
        flow = "2P − 1" if self.flow == "mean" else "log P/(1 − P)"
        title = f"{100 * self.cyclic_share:.3g} % of the flow {flow} go in cycles"
        return Panel(title, f"what scores explain of {flow}", "what goes in cycles", [pairs], level=0.0)


def hodge_split(pairs: PairShares, flow: str = "mean") -> HodgeSplit:
    """Split a flow into its gradient and its cyclic part.

    Parameters
    ----------
    pairs : PairShares
        The compared pairs with their shares of wins and weights.
    flow : {"mean", "log_odds"}
        "mean", ``Y = 2P − 1``, is finite for every P and is what the squared loss fits; "log_odds" is cycle-free if and
        only if the preferences are Bradley–Terry, and infinite where P is 0 or 1.

    Raises
    ------
    ValueError
        For an unknown flow, and for "log_odds" where some P is 0 or 1, naming the pair.
    """
    if flow not in ("mean", "log_odds"):
        raise ValueError(f"flow must be 'mean' (2P − 1) or 'log_odds', got {flow!r}")
    i, j, p, w = pairs.first, pairs.second, pairs.share, pairs.weight
    if flow == "mean":
        y = 2 * p - 1
    else:
        sure = (p <= 0) | (p >= 1)
        if sure.any():
            k = int(np.argmax(sure))
            raise ValueError(
                f"log-odds are infinite for the pair ({i[k]}, {j[k]}) with P = {p[k]:g}; accepted are shares strictly "
                "between 0 and 1, or flow='mean'"
            )
        y = np.log(p) - np.log1p(-p)
    scores = _least_squares(pairs.n, i, j, y, w)
    gradient = scores[i] - scores[j]
    rest = y - gradient
    total = float(w @ y**2)
    if total == 0:
        nan = float("nan")
        return HodgeSplit(flow, scores, nan, nan, nan, nan, i, j, gradient, rest)
    cyclic_share = float(w @ rest**2) / total
    curl = _curl(pairs, rest)
    curl_share = float("nan") if curl is None else float(w @ curl**2) / total
    return HodgeSplit(
        flow, scores, 1 - cyclic_share, cyclic_share, curl_share, cyclic_share - curl_share, i, j, gradient, rest
    )


def _least_squares(n: int, i: IntArray, j: IntArray, y: FloatArray, w: FloatArray) -> FloatArray:
    """``argmin_s Σ w (y − (s_i − s_j))²`` with mean zero in each component: the normal equations are a Laplacian."""
    half = sparse.coo_array((w, (i, j)), shape=(n, n)).tocsr()
    both = sparse.csr_array(half + half.T)
    labels = connected_components(both, directed=False)[1].astype(np.int64)
    net = np.asarray(np.bincount(i, w * y, n) - np.bincount(j, w * y, n), dtype=np.float64)
    return solve_laplacian(both, net, labels)[0]


def _curl(pairs: PairShares, rest: FloatArray) -> FloatArray | None:
    """The part of the rest that triangles of compared pairs make: its projection on their boundaries."""
    n, e = pairs.n, len(pairs.first)
    edge = sparse.csr_array(sparse.coo_array((np.arange(1, e + 1), (pairs.first, pairs.second)), shape=(n, n)))
    up = sparse.csr_array((np.ones(edge.nnz), edge.indices, edge.indptr), shape=(n, n))
    paths = np.diff(up.indptr)[up.indices].sum()  # at least as many as triangles, and cheap to count
    if paths > 50 * TRIANGLES or float((up @ up).multiply(up).sum()) > TRIANGLES:
        return None
    faces = _triangles(n, edge)
    if not len(faces):
        return np.zeros(e)
    t = np.arange(len(faces))
    signs = np.concatenate([np.ones(len(t)), np.ones(len(t)), -np.ones(len(t))])
    boundary = sparse.coo_array((signs, (faces.T.ravel(), np.tile(t, 3))), shape=(e, len(t))).tocsr()
    # Orthogonal in the weights: a curl flow is W⁻¹ boundary φ; scaled by √w that is a plain least-squares problem.
    root = np.sqrt(pairs.weight)
    scaled = sparse.csr_array(sparse.diags_array(1 / root) @ boundary)
    found = lsqr(scaled, root * rest, atol=1e-14, btol=1e-14, iter_lim=20 * e + 100)[0]
    return np.asarray((scaled @ found) / root)


def _triangles(n: int, edge: sparse.csr_array) -> IntArray:
    """Edge numbers (i, j), (j, k), (i, k) of every i < j < k whose three pairs are compared, shape (t, 3)."""
    rows = []
    place = np.zeros(n, dtype=np.int64)
    for i in range(n):
        js, ij = edge.indices[edge.indptr[i] : edge.indptr[i + 1]], edge.data[edge.indptr[i] : edge.indptr[i + 1]]
        place[:] = 0
        place[js] = ij
        for j, e in zip(js, ij, strict=True):
            ks, jk = edge.indices[edge.indptr[j] : edge.indptr[j + 1]], edge.data[edge.indptr[j] : edge.indptr[j + 1]]
            both = place[ks] > 0
            rows.append(np.column_stack([np.full(int(both.sum()), e), jk[both], place[ks][both]]))
    return np.concatenate(rows).astype(np.int64) - 1 if rows else np.zeros((0, 3), dtype=np.int64)
