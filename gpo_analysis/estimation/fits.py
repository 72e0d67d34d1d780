"""Fit every loss to real comparisons and see how the fits differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau

from gpo_analysis.divergences import kl_divergence
from gpo_analysis.losses import PAPER_LOSSES, Loss, MarginLoss, distinct_losses, warn_of_rising
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.diagnostics import Diagnostics, diagnostics
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.reading import shown
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import MOST_ROWS, Curve, Panel
from gpo_analysis.showing.shown import more_rows
from gpo_analysis.showing.style import loss_label, loss_style
from gpo_analysis.solvers.minimum import described
from gpo_analysis.tabular.implicit_reward import fitted
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.tabular.solution import Solution, as_json
from gpo_analysis.tabular.two_ratio import solved

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FitDifference(Shown):
    """How two losses' fits differ; NaN where one of them has no optimum.

    Attributes
    ----------
    first, second : str
        The losses.
    kendall_tau : float
        Rank correlation of their scores: 1 says that they order the items alike.
    largest_score_difference : float
        ``max_i |a_i − b_i|`` of the centred scores.
    score_ratio : float
        ``(a·b)/(a·a)``: the factor that brings the first's scores nearest to the second's. Losses differ in natural
        scale, by κ to leading order; ½ from logistic to exponential.
    total_variation : float
        ``½ Σ |π_a − π_b|`` at the fits' β.
    kl : float
        KL(π_a‖π_b) in nats.
    """

    first: str
    second: str
    kendall_tau: float
    largest_score_difference: float
    score_ratio: float
    total_variation: float
    kl: float

    _no_plot = "it is a row of the fits, which draw all"


@dataclass(frozen=True, eq=False)
class ComparisonFits(Shown):
    """The fits of several losses to one set of comparisons. It shows itself as a table.

    Attributes
    ----------
    comparisons : Comparisons
    beta : float
    solutions : dict of str to Solution
        By the losses' names.
    diagnostics : Diagnostics
        Of the comparisons, whatever the loss.
    differences : tuple of FitDifference
        One for each two losses, in the order of `solutions`.
    """

    comparisons: Comparisons
    beta: float
    solutions: dict[str, Solution]
    diagnostics: Diagnostics
    differences: tuple[FitDifference, ...]

    @property
    def items(self) -> tuple[str, ...]:
        """The items' names, in the order of scores and policies."""
        return self.comparisons.items

    def scores(self) -> pd.DataFrame:
        """A row an item, a column a loss: log-ratios at β = 1, centred to mean zero; NaN without an optimum.

        Of a loss of two log-ratios, whose fit depends on β: β times the log-ratios at the fits' β.
        """
        import pandas as pd

        return pd.DataFrame({name: s.scores for name, s in self.solutions.items()}, index=list(self.items))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, null for what is NaN or infinite.

        ``{"items": […], "fits": {loss: {"scores", "policy", "status", "reason", …}}, "diagnostics": {…},
        "differences": […], "beta": …}``; scores are log-ratios at β = 1, centred to mean zero over the items, null as a
        whole where there is no unique optimum. `representative_scores` are then the least-norm minimiser's, if any.
        """
        fits = {name: _fit(solution) for name, solution in self.solutions.items()}
        return {
            "items": list(self.items),
            "beta": self.beta,
            "fits": fits,
            "diagnostics": self.diagnostics.to_dict(),
            "differences": [as_json(vars(difference)) for difference in self.differences],
        }

    def _first(self) -> tuple[list[str], list[list[str]]]:
        """Column names, and a row an item, the thirty highest by Borda score."""
        best = np.argsort(-np.nan_to_num(self.diagnostics.borda, nan=-np.inf), kind="stable")[:30]
        columns = [name for name, s in self.solutions.items() if s.converged]
        rows = [
            [
                shown(self.items[i], 40),
                f"{self.diagnostics.borda[i]:z.4f}",
                *(f"{self.solutions[c].scores[i]:z.4f}" for c in columns),
            ]
            for i in best
        ]
        return ["item", "Borda", *columns], rows

    def summary(self) -> str:
        """As text."""
        names, rows = self._first()
        width = [max(len(row[c]) for row in [names, *rows]) for c in range(len(names))]
        lines = [repr(self.comparisons), "", str(self.diagnostics), "", "scores (log-ratios at β = 1, mean zero)"]
        for row in [names, *rows]:
            cells = zip(row, width, strict=True)
            lines.append("  ".join(x.ljust(w) if c == 0 else x.rjust(w) for c, (x, w) in enumerate(cells)))
        if len(rows) < len(self.items):
            lines.append(more_rows(len(self.items) - len(rows)))
        ratios = [name for name, s in self.solutions.items() if s.limit is not None]
        if ratios:
            lines.append(f"(of {', '.join(ratios)}, whose fit depends on β: β log π/πref at β = {self.beta:g})")
        lines += ["", *(f"{name:<20} {described(s.status, s.reason)}" for name, s in self.solutions.items())]
        return "\n".join(lines)

    __str__ = summary

    def _facts(self) -> list[tuple[str, Any]]:
        fits = [(name, described(s.status, s.reason)) for name, s in self.solutions.items()]
        return [
            ("comparisons", repr(self.comparisons)),
            ("β of the policies", self.beta),
            *self.diagnostics._facts(),
            *fits,
        ]

    def _columns(self) -> Mapping[str, Any]:
        """A row an item, the highest Borda score first: item, borda, a column of scores a loss."""
        best = np.argsort(-np.nan_to_num(self.diagnostics.borda, nan=-np.inf), kind="stable")
        scores = {name: s.scores[best] for name, s in self.solutions.items()}
        return {"item": [self.items[i] for i in best], "borda": self.diagnostics.borda[best], **scores}

    def _panel(self) -> Panel:
        c = self._columns()
        n = min(len(self.items), MOST_ROWS)
        shift = np.linspace(-0.25, 0.25, len(self.solutions)) if len(self.solutions) > 1 else np.zeros(1)
        curves = [
            Curve(c[name][:n], np.arange(n) + by, loss_label(name), loss_style(name), points=True)
            for name, by in zip(self.solutions, shift, strict=True)
        ]
        note = f"the first {n} of {len(self.items)}" if n < len(self.items) else ""
        return Panel("scores by each loss", "log π/πref at β = 1  [nats]", "", curves, rows=c["item"][:n], note=note)


def fit_comparisons(
    comparisons: Comparisons,
    losses: Loss | str | Iterable[Loss | str] | None = None,
    beta: float = 1.0,
    *,
    reference: ArrayLike | None = None,
) -> ComparisonFits:
    """Fit losses to observed comparisons: the empirical optimum of each, what the data are like, how the fits differ.

    Parameters
    ----------
    comparisons : Comparisons
    losses : MarginLoss, TwoRatioLoss or str, or several, optional
        The paper's six by default.
    beta : float
        Of the policies; scores of margin losses are at β = 1 in any case, those of losses of two log-ratios, whose fit
        depends on β, are β times the log-ratios of the policies.
    reference : array, shape (n,), optional
        πref in the order of ``comparisons.items``; uniform by default.

    Raises
    ------
    ValueError
        For a bad β or reference, an unknown loss, the same name twice or no loss at all.

    Examples
    --------
    >>> from gpo_analysis.datasets import load_journals
    >>> fits = fit_comparisons(load_journals(), ["logistic"])
    >>> scores = fits.solutions["logistic"].scores
    >>> (scores - scores[0]).round(3)
    array([ 0.   , -2.949, -0.48 ,  0.269])
    """
    scale = check_positive(beta, "beta")
    functions = distinct_losses(PAPER_LOSSES if losses is None else losses)
    warn_of_rising(functions)
    problem = PreferenceProblem.from_comparisons(comparisons, reference)
    margin = [f for f in functions if isinstance(f, MarginLoss)]
    fits = iter(fitted([problem], margin) if margin else [])
    solutions = {
        f.name: next(fits).solution(scale) if isinstance(f, MarginLoss) else solved(problem, f, scale)
        for f in functions
    }
    pairs = combinations(solutions.values(), 2)
    return ComparisonFits(
        comparisons, scale, solutions, diagnostics(comparisons), tuple(_difference(a, b) for a, b in pairs)
    )


def _difference(a: Solution, b: Solution) -> FitDifference:
    nan = float("nan")
    if not (a.converged and b.converged):
        return FitDifference(a.loss, b.loss, nan, nan, nan, nan, nan)
    x, y = a.scores, b.scores
    size = float(x @ x)
    return FitDifference(
        first=a.loss,
        second=b.loss,
        # Rounded, so that scores equal but for the last digit count as tied.
        kendall_tau=float(kendalltau(x.round(9), y.round(9)).statistic),
        largest_score_difference=float(np.abs(x - y).max()),
        score_ratio=float(x @ y) / size if size > 0 else nan,
        total_variation=float(0.5 * np.abs(a.policy - b.policy).sum()),
        kl=float(kl_divergence(a.policy, b.policy)),
    )


def _fit(solution: Solution) -> dict[str, Any]:
    representative = solution.representative
    scores = None if representative is None else solution.beta * (representative - representative.mean())
    return {
        "scores": as_json(solution.scores) if solution.converged else None,
        "policy": as_json(solution.policy) if solution.converged else None,
        "status": solution.status.value,
        "reason": solution.reason,
        "converged": solution.converged,
        "population_loss": as_json(solution.population_loss),
        "kl": as_json(solution.kl),
        "mu_squared_loss": as_json(solution.mu_squared_loss),
        "max_margin": as_json(solution.max_margin),
        "representative_scores": None if scores is None else as_json(scores),
    }
