"""How far preferences are from a total order, and from scores: transitivity, winners, cycles, the Hodge split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.hodge import HodgeSplit, hodge_split
from gpo_analysis.preferences.item_names import checked_items
from gpo_analysis.preferences.labels import common_items
from gpo_analysis.preferences.shares import PairShares, pair_shares
from gpo_analysis.reading import shown
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, intervals

#: P this near to 1/2 is a tie.
TIE = 1e-12
NOISE = "shares of finitely many labels violate transitivity and go in cycles by chance; not told from structure here"
#: Rows of a sparse product made at a time.
CHUNK = 256


@dataclass(frozen=True, eq=False)
class Diagnostics(Shown):
    """What the preferences are like. It shows itself as a table in a terminal and in Jupyter.

    A pair is *decided* where P differs from ½, a tie otherwise. Transitivity is decided on the triples all of whose
    three pairs are compared, cycles on those all of whose pairs are decided.

    Attributes
    ----------
    n : int
        Responses.
    pairs, ties : int
        Compared pairs, and how many of them are ties.
    weakly_transitive : bool
        P_ij ≥ ½ and P_jk ≥ ½ imply P_ik ≥ ½ (weak stochastic transitivity).
    strongly_transitive : bool
        P_ij ≥ ½ and P_jk ≥ ½ imply P_ik ≥ max(P_ij, P_jk).
    weak_violations, strong_violations : int
        Ordered triples (i, j, k) that violate them.
    condorcet_winner : int or None
        The response that beats every other, P > ½; it has to be compared with every other.
    borda : array, shape (n,)
        Weighted mean of P_ij over the responses j that i was compared with; NaN where it never was.
    decided_triples, cyclic_triples : int
        Triples with all three pairs decided, and how many of them are cycles.
    cyclic_share : float
        Their ratio; NaN where no triple is decided.
    hodge : HodgeSplit
        Of the flow 2P − 1 with the pairs' weights, unless asked for log-odds.
    items : tuple of str
        The responses' names.
    sampled : bool
        Whether the preferences are shares of finitely many labels. Then noise alone makes violations, cycles and a
        cyclic part, however transitive the labellers are; it is not told from structure here.
    """

    n: int
    pairs: int
    ties: int
    weakly_transitive: bool
    strongly_transitive: bool
    weak_violations: int
    strong_violations: int
    condorcet_winner: int | None
    borda: FloatArray
    decided_triples: int
    cyclic_triples: int
    cyclic_share: float
    hodge: HodgeSplit
    items: tuple[str, ...]
    sampled: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null for what is undefined. The winner by name, Borda scores in the items' order."""
        names = ["n", "pairs", "ties", "weakly_transitive", "strongly_transitive", "weak_violations"]
        names += ["strong_violations", "decided_triples", "cyclic_triples"]
        winner = None if self.condorcet_winner is None else self.items[self.condorcet_winner]
        return {name: getattr(self, name) for name in names} | {
            "cyclic_share": _or_none(self.cyclic_share),
            "condorcet_winner": winner,
            "borda": [_or_none(float(x)) for x in self.borda],
            "hodge_flow": self.hodge.flow,
            "hodge_scores": [float(x) for x in self.hodge.scores],
            "hodge_gradient_share": _or_none(self.hodge.gradient_share),
            "hodge_cyclic_share": _or_none(self.hodge.cyclic_share),
            "sampled": self.sampled,
            "noise": NOISE if self.sampled else None,
        }

    def _rows_of_text(self) -> list[tuple[str, str]]:
        noise = ", noise included" if self.sampled else ""

        def transitive(holds: bool, violations: int) -> str:
            triples = "triple" if violations == 1 else "triples"
            return "yes" if holds else f"no ({violations} ordered {triples}{noise})"

        def part(share: float, noise: str = "") -> str:
            return "there is no flow" if np.isnan(share) else f"{100 * share:.2f} %{noise}"

        cyclic = f"{self.cyclic_triples} of {self.decided_triples}"
        if self.decided_triples:
            cyclic += f" ({100 * self.cyclic_share:.2f} %{noise})"
        winner = "none" if self.condorcet_winner is None else shown(self.items[self.condorcet_winner], 40)
        best = np.argsort(-np.nan_to_num(self.borda, nan=-np.inf), kind="stable")[:5]
        rows = [
            ("responses", str(self.n)),
            ("compared pairs", f"{self.pairs} ({self.ties} of them even)"),
            ("weak stochastic transitivity", transitive(self.weakly_transitive, self.weak_violations)),
            ("strong stochastic transitivity", transitive(self.strongly_transitive, self.strong_violations)),
            ("Condorcet winner", winner),
            ("highest Borda scores", ", ".join(f"{shown(self.items[i], 40)} {self.borda[i]:.3f}" for i in best)),
            ("cyclic triples", cyclic),
            (f"gradient part ({self.hodge.flow} flow)", part(self.hodge.gradient_share)),
            (f"cyclic part ({self.hodge.flow} flow)", part(self.hodge.cyclic_share, noise)),
        ]
        return [*rows, ("noise", NOISE)] if self.sampled else rows

    def summary(self) -> str:
        """A line a finding."""
        return "\n".join(f"{name:<32} {value}" for name, value in self._rows_of_text())

    __str__ = __repr__ = summary

    def _facts(self) -> list[tuple[str, Any]]:
        return list(self._rows_of_text())

    def _columns(self) -> Mapping[str, Any]:
        return {"item": list(self.items), "borda": self.borda, "hodge_score": self.hodge.scores}

    def _panel(self) -> Panel:
        order = np.argsort(-np.nan_to_num(self.borda, nan=-np.inf), kind="stable")
        names = [self.items[i] for i in order]
        title = "Borda scores; dotted: as often won as lost"
        return intervals(title, "mean share of wins", names, self.borda[order], level=0.5)


def diagnostics(
    preference: ArrayLike | Comparisons,
    weights: ArrayLike | None = None,
    *,
    flow: str = "mean",
    items: Sequence[str] | None = None,
) -> Diagnostics:
    """Diagnose a preference matrix or observed comparisons.

    Parameters
    ----------
    preference : array, shape (n, n), or Comparisons
        Comparisons stay sparse.
    weights : array, shape (n,) or (n, n), optional
        Of a matrix: μ, or symmetric pair weights, 0 for "not compared". Ones by default.
    flow : {"mean", "log_odds"}
        What the Hodge split is of: see :func:`gpo_analysis.preferences.hodge_split`.
    items : sequence of str, optional
        Names; those of the comparisons, the labels of a DataFrame, or ``"0", "1", …``, by default.

    Raises
    ------
    ValueError
        For bad preferences, weights, flow or names.

    Examples
    --------
    >>> from gpo_analysis.preferences import cyclic
    >>> found = diagnostics(cyclic(3, 0.5))
    >>> found.weakly_transitive, found.condorcet_winner, found.cyclic_share, round(found.hodge.cyclic_share, 12)
    (False, None, 1.0, 1.0)
    """
    if isinstance(preference, Comparisons):
        items = preference.items if items is None else items
    else:
        items = common_items(items, preference, weights)
    seen = pair_shares(preference, weights, items=items)
    names = checked_items(items, seen.n)
    weak, strong = _violations(seen)
    decided, cyclic = _cycles(seen)
    return Diagnostics(
        n=seen.n,
        pairs=len(seen.first),
        ties=int(np.sum(np.abs(seen.share - 0.5) <= TIE)),
        weakly_transitive=weak == 0,
        strongly_transitive=strong == 0,
        weak_violations=weak,
        strong_violations=strong,
        condorcet_winner=_condorcet(seen),
        borda=_borda(seen),
        decided_triples=decided,
        cyclic_triples=cyclic,
        cyclic_share=cyclic / decided if decided else float("nan"),
        hodge=hodge_split(seen, flow),
        items=names,
        sampled=isinstance(preference, Comparisons),
    )


def _directed(seen: PairShares, threshold: float) -> sparse.csr_array:
    """P_ij as a sparse (n, n) table of the ordered pairs with ``P_ij > threshold``."""
    tail, head = np.concatenate([seen.first, seen.second]), np.concatenate([seen.second, seen.first])
    share = np.concatenate([seen.share, 1 - seen.share])
    keep = share > threshold
    return sparse.coo_array((share[keep], (tail[keep], head[keep])), shape=(seen.n, seen.n)).tocsr()


def _ones(table: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array((np.ones(table.nnz), table.indices, table.indptr), shape=table.shape)


def _cycles(seen: PairShares) -> tuple[int, int]:
    """Decided triples and cyclic ones, from traces of matrix products.

    With A the wins and D = A + Aᵀ they number ``trace(D³)/6`` and ``trace(A³)/3``. Each triple i < j < k is counted
    once with the upper triangles U of A and V of Aᵀ: ``Σ (D_u D_u) ∘ D_u`` and ``Σ (U U) ∘ V + (V V) ∘ U``.
    """
    wins = _ones(_directed(seen, 0.5 + TIE))
    up, down = sparse.csr_array(sparse.triu(wins, 1)), sparse.csr_array(sparse.triu(wins.T, 1))
    both = sparse.csr_array(up + down)
    return _paths_closed(both, both), _paths_closed(up, down) + _paths_closed(down, up)


def _paths_closed(steps: sparse.csr_array, closing: sparse.csr_array) -> int:
    """``Σ (S²) ∘ C``, a few rows of S² at a time, since S² of a sparse S may be dense."""
    total = 0.0
    for first in range(0, steps.shape[0], CHUNK):
        rows = slice(first, first + CHUNK)
        total += float((steps[rows] @ steps).multiply(closing[rows]).sum())
    return round(total)


def _violations(seen: PairShares) -> tuple[int, int]:
    """Ordered triples i ≽ j ≽ k whose third pair is compared and falls short, weakly and strongly."""
    from_each = _directed(seen, 0.5 - TIE)
    all_pairs = _directed(seen, -1.0)
    weak = strong = 0
    row = np.full(seen.n, np.nan)
    for i in range(seen.n):
        mine = slice(all_pairs.indptr[i], all_pairs.indptr[i + 1])
        row[:] = np.nan
        row[all_pairs.indices[mine]] = all_pairs.data[mine]
        ahead = slice(from_each.indptr[i], from_each.indptr[i + 1])
        js, p_ij = from_each.indices[ahead], from_each.data[ahead]
        if not len(js):
            continue
        next_rows = from_each[js]
        ks = next_rows.indices
        p_ik = row[ks]
        bar = np.maximum(np.repeat(p_ij, np.diff(next_rows.indptr)), next_rows.data)
        with np.errstate(invalid="ignore"):
            weak += int(np.sum(p_ik < 0.5 - TIE))
            strong += int(np.sum(p_ik < bar - TIE))
    return weak, strong


def _condorcet(seen: PairShares) -> int | None:
    beaten = np.diff(_directed(seen, 0.5 + TIE).indptr)
    found = np.flatnonzero(beaten == seen.n - 1)
    return int(found[0]) if len(found) else None


def _borda(seen: PairShares) -> FloatArray:
    n, w = seen.n, seen.weight
    won = np.bincount(seen.first, w * seen.share, n) + np.bincount(seen.second, w * (1 - seen.share), n)
    total = np.bincount(seen.first, w, n) + np.bincount(seen.second, w, n)
    return np.asarray(np.where(total > 0, won / np.where(total > 0, total, 1.0), np.nan))


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
