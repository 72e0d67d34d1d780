"""What a preference problem shows of itself: who is drawn, who wins how often, and the matrix of preferences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.pairs import DirectedPairs
from gpo_analysis.showing.charts import Cells, Panel

MOST_RESPONSES = 30  #: Of a matrix of preferences in a chart.


class Problem(Protocol):
    """What of a problem is shown."""

    @property
    def preference(self) -> FloatArray | None:
        """(n, n) or (m, n, n)."""

    @property
    def behavior(self) -> FloatArray:
        """(n,) or (m, n)."""

    @property
    def reference(self) -> FloatArray:
        """(n,) or (m, n)."""

    @property
    def items(self) -> Sequence[str]:
        """n names."""

    @property
    def comparisons(self) -> Comparisons | None:
        """Instead of a matrix."""

    def directed_pairs(self) -> DirectedPairs:
        """The pairs with a weight above zero."""


def facts(problem: Problem) -> list[tuple[str, Any]]:
    """What is said of a problem in a line each.

    Parameters
    ----------
    problem : Problem
    """
    m, n = np.atleast_2d(problem.reference).shape
    found: list[tuple[str, Any]] = [("responses", n)]
    found += [("contexts", m)] if problem.reference.ndim == 2 else []
    if problem.comparisons is not None:
        found.append(("observed", f"{problem.comparisons.total:g} comparisons"))
        found.append(("μ", "the observed pairs"))
    else:
        assert problem.preference is not None
        certain = int(((problem.preference == 1.0) | (problem.preference == 0.0)).sum() // 2)
        found.append(("certain pairs", f"{certain} of {m * n * (n - 1) // 2}"))
        same = np.array_equal(problem.behavior, problem.reference)
        found.append(("μ", "πref" if same else _spread(problem.behavior)))
    return [*found, ("πref", _spread(problem.reference))]


def columns(problem: Problem) -> dict[str, Any]:
    """A row a response (and context): μ, πref, and how often it wins against a draw from μ (of what was observed).

    Parameters
    ----------
    problem : Problem
    """
    m, n = np.atleast_2d(problem.reference).shape
    mu = np.broadcast_to(problem.behavior, problem.reference.shape)
    if problem.comparisons is not None:
        seen = problem.comparisons
        won, lost = (np.bincount(who, seen.count, n) for who in (seen.winner, seen.loser))
        wins = np.divide(won, won + lost, out=np.full(n, np.nan), where=won + lost > 0)
    else:
        assert problem.preference is not None
        wins = (problem.preference @ mu[..., None])[..., 0]
    names: dict[str, Any] = {"context": np.repeat(np.arange(m), n)} if problem.reference.ndim == 2 else {}
    names["item"] = np.tile(np.array(problem.items, dtype=object), m)
    numbers = {"behavior": mu, "reference": problem.reference, "wins": wins}
    return names | {name: np.ravel(values) for name, values in numbers.items()}


def panel(problem: Problem) -> Panel:
    """The matrix of preferences with μ and πref as bars beside it: of many responses those that μ draws most.

    Parameters
    ----------
    problem : Problem
    """
    mu, reference = np.atleast_2d(problem.behavior)[0], np.atleast_2d(problem.reference)[0]
    m, n = np.atleast_2d(problem.reference).shape
    kept = np.sort(np.argsort(-np.nan_to_num(mu), kind="stable")[:MOST_RESPONSES])
    names = [problem.items[k] for k in kept]
    said = [f"the first of {m} contexts"] if m > 1 else []
    said += [f"the {len(kept)} of {n} responses that μ draws most"] if len(kept) < n else []
    cells = Cells(
        _shares(problem, kept), names, names, "p(winner ≻ loser)", (0.0, 1.0), True,
        {"μ": mu[kept], "πref": reference[kept]},
    )  # fmt: skip
    return Panel("who is preferred to whom", "loser", "winner", cells=cells, note="; ".join(said))


def _shares(problem: Problem, kept: Any) -> FloatArray:
    """Preferences among some responses, of comparisons the shares of wins; NaN for what was never compared."""
    if problem.comparisons is None:
        assert problem.preference is not None
        matrix = problem.preference if problem.preference.ndim == 2 else problem.preference[0]
        return np.asarray(matrix[np.ix_(kept, kept)])
    pairs, place = problem.directed_pairs(), np.full(len(problem.items), -1)
    place[kept] = np.arange(len(kept))
    i, j = place[pairs.winner], place[pairs.loser]
    both = (i >= 0) & (j >= 0)
    won = np.zeros((len(kept), len(kept)))
    np.add.at(won, (i[both], j[both]), pairs.weight[both])
    total = won + won.T
    return np.divide(won, total, out=np.full_like(won, np.nan), where=total > 0)


def _spread(policy: FloatArray) -> str:
    low, high = float(np.min(policy)), float(np.max(policy))
    return "uniform" if np.isclose(low, high, rtol=1e-12, atol=0.0) else f"from {low:.3g} to {high:.3g}"
