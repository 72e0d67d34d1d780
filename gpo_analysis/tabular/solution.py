"""What solving a problem gives: a policy and its numbers, or the reason in words why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.reading import shown
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, policies
from gpo_analysis.showing.shown import LINES, first_lines, more_rows
from gpo_analysis.solvers.minimum import Status, described

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Solution(Shown):
    """The population optimum of one loss at one β. It shows itself as a table in a terminal and in Jupyter.

    Where there is no finite optimum, or more than one, `converged` is False, `status` and `reason` say why, and the
    policy and its numbers are NaN, so that nobody takes them for an answer.

    Attributes
    ----------
    loss : str
    beta : float
    link : str
        Of the margin ``β [g(π_i/πref_i) − g(π_j/πref_j)]``; "reverse_kl", g = log, unless asked otherwise.
    policy : array, shape (n,) or (m, n)
    log_ratio : array, shape (n,) or (m, n)
        ``h = log π/πref`` of the normalised policy.
    population_loss : float
        ``E f(βρ)``; the infimum where it is not attained, −∞ where there is none.
    kl : float
        KL(π‖πref) in nats, averaged over contexts with their weights.
    mu_squared_loss : float
        ``½ E_μ[ρ²]`` of the log-ratio, averaged likewise; over the observed pairs where the problem has comparisons.
    converged : bool
        Whether the policy is the answer: a unique minimum, or for f not known to be convex a stationary point that no
        other end of a descent was as low as.
    status : Status
        "optimum", "no finite optimum", "not unique", "unbounded below", "stationary point", "not converged" or
        "undecided" (something of the loss or the problem could not be worked out); with contexts the worst of theirs.
    reason : str
        What is to be said of it beside the status; empty where there is nothing.
    representative : array, shape (n,) or (m, n), or None
        Where the minimum is attained by many: the log-ratio of the one whose β·h, centred, has the least norm (of those
        that were found, where f is not known to be convex).
    margins : array, shape (k,)
        βρ, the argument of f, of each pair of ``problem.directed_pairs()``.
    iterations : int
        Newton steps, the most of any context.
    error : float
        Estimated largest error of β·h.
    kl_per_context, mu_squared_loss_per_context, loss_per_context : array, shape (m,)
    status_per_context : tuple of Status
    reason_per_context : tuple of str
    items : tuple of str
        The responses' names.
    reference : array, shape (n,) or (m, n)
    gap : float
        Of a loss of two log-ratios with convex F: a bound on what another policy could gain, the largest of any
        context; NaN elsewhere.
    pull : float
        Of such a loss: −Σ ∂L/∂(βh), averaged over contexts. Above 0 the loss pushes every log-ratio up against Σπ = 1,
        below 0 down; 0 for margin losses.
    limit : array, shape (n,) or (m, n), or None
        Of such a loss: the policy at which the infimum is reached or approached, with zeros for responses that it
        leaves without mass.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> found = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]).solve("dpo", beta=1.0)
    >>> found.policy, round(found.kl, 4), str(found.status)
    (array([0.8, 0.2]), 0.1927, 'optimum')
    """

    loss: str
    beta: float
    link: str
    policy: FloatArray
    log_ratio: FloatArray
    population_loss: float
    kl: float
    mu_squared_loss: float
    converged: bool
    status: Status
    reason: str
    representative: FloatArray | None
    margins: FloatArray
    iterations: int
    error: float
    kl_per_context: FloatArray
    mu_squared_loss_per_context: FloatArray
    loss_per_context: FloatArray
    status_per_context: tuple[Status, ...]
    reason_per_context: tuple[str, ...]
    items: tuple[str, ...]
    reference: FloatArray
    gap: float = np.nan
    pull: float = 0.0
    limit: FloatArray | None = None

    @property
    def max_margin(self) -> float:
        """Largest |βρ| over the pairs; NaN where there is no optimum, 0 where nothing is compared."""
        return float(np.max(np.abs(self.margins), initial=0.0))

    @property
    def scores(self) -> FloatArray:
        """Log-ratios at β = 1, centred to mean zero over the responses: β times the log-ratio for the log link."""
        scaled = self.beta * self.log_ratio
        return np.asarray(scaled - scaled.mean(axis=-1, keepdims=True))

    def to_frame(self) -> pd.DataFrame:
        """A row a response (and context): item, reference, policy, log_ratio."""
        import pandas as pd

        rows: dict[str, Any] = {
            "item": np.tile(np.array(self.items, dtype=object), self.policy.size // len(self.items))
        }
        if self.policy.ndim == 2:
            rows = {"context": np.repeat(np.arange(len(self.policy)), len(self.items)), **rows}
        rows |= {name: np.ravel(getattr(self, name)) for name in ("reference", "policy", "log_ratio")}
        return pd.DataFrame(rows)

    def _head(self) -> list[tuple[str, str]]:
        link = [] if self.link == "reverse_kl" else [("link", self.link)]
        return [
            ("loss", self.loss),
            ("β", f"{self.beta:g}"),
            *link,
            ("status", described(self.status, self.reason)),
            ("E f(βρ)" if self.limit is None else "E F", f"{self.population_loss:.8g}"),
            *([("gap", f"{self.gap:.2g}")] if np.isfinite(self.gap) else []),
            ("KL(π‖πref)", f"{self.kl:.6g} nats"),
            ("½ E[ρ²]", f"{self.mu_squared_loss:.6g}"),
        ]

    def _rows(self, most: int = 20) -> tuple[list[str], list[list[str]]]:
        """Column names and the first rows of the table of responses."""
        names = ["response", "πref", "π", "log π/πref"]
        batch = self.policy.ndim == 2
        rows: list[list[str]] = []
        for index in np.ndindex(*self.policy.shape):
            if len(rows) == most:
                break
            cell = [
                shown(self.items[index[-1]], 40),
                *(f"{a[index]:z.6f}" for a in (self.reference, self.policy, self.log_ratio)),
            ]
            rows.append([str(index[0]), *cell] if batch else cell)
        return (["context", *names] if batch else names), rows

    def summary(self) -> str:
        """Loss, β, status and numbers, and the first twenty responses."""
        return self._said(20)

    def __repr__(self) -> str:
        return first_lines(self._said(min(20, LINES - 2 - len(self._head()))))

    def _said(self, most: int) -> str:
        names, rows = self._rows(most)
        width = [max(len(row[c]) for row in [names, *rows]) for c in range(len(names))]
        left = len(names) - 3
        lines = [f"{key:<12} {value}" for key, value in self._head()]
        for row in [names, *rows]:
            lines.append(
                "  ".join(
                    x.ljust(w) if c < left else x.rjust(w) for c, (x, w) in enumerate(zip(row, width, strict=True))
                )
            )
        more = more_rows(self.policy.size - len(rows))
        return "\n".join([*lines, more] if more else lines)

    __str__ = summary

    def _facts(self) -> list[tuple[str, Any]]:
        return list(self._head())

    def _panel(self) -> Panel:
        title = f"{self.loss} at β = {self.beta:g}: {self.status}"
        return policies(self.items, self.reference, {self.loss: self.policy}, title, by_loss=True)


def as_json(value: Any) -> Any:
    """Arrays as lists, NaN and infinities as null."""
    if isinstance(value, np.ndarray | list | tuple):
        return [as_json(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    return value.item() if isinstance(value, np.generic) else value
