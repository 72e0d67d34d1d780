"""Fit a problem and say how sure it is: scores, intervals, rank sets, predictions; as a table and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import MarginLoss, distinct_losses, get_margin_loss, warn_of_rising
from gpo_analysis.ranking.covariance import NoCovarianceError, sandwich
from gpo_analysis.ranking.fitting import fitted_theta
from gpo_analysis.ranking.intervals import NO_SPREAD, ScoreIntervals, caveats, near_the_edge, spread
from gpo_analysis.ranking.joint import JointFit, System
from gpo_analysis.ranking.outcomes import OutcomeModel, outcome_model
from gpo_analysis.ranking.problem import ComparisonProblem
from gpo_analysis.ranking.ranks import RankSets, rank_sets
from gpo_analysis.reading import shown
from gpo_analysis.showing import Shown
from gpo_analysis.showing.shown import more_rows
from gpo_analysis.solvers.minimum import Status, described

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from gpo_analysis.preferences.comparisons import Comparisons
    from gpo_analysis.showing.tables import ScoreDifferences


@dataclass(frozen=True, eq=False)
class Ranking(Shown):
    """The fit of one loss, or model of ties, to a problem.

    Attributes
    ----------
    problem : ComparisonProblem
    model : OutcomeModel
    ties : str
        "half", "davidson" or "rao-kupper".
    ridge, prior : float
    confidence : float
    fit : JointFit
    covariance : array, shape (p, p), or None
        Sandwich, of scores, coefficients and the tie parameter.
    information : array, shape (p, p), or None
        The inverse Hessian: the covariance if the model were right and votes independent.
    why : str
        Why there is no covariance.

    Examples
    --------
    >>> found = rank(ComparisonProblem([0, 0, 1], [1, 2, 2], wins=[60, 70, 50], losses=[40, 10, 30]))
    >>> found.to_frame()[["item", "rank_best", "rank_worst"]].to_numpy().tolist()
    [['0', 1, 1], ['1', 2, 2], ['2', 3, 3]]
    """

    problem: ComparisonProblem
    model: OutcomeModel
    ties: str
    ridge: float
    prior: float
    confidence: float
    fit: JointFit
    covariance: FloatArray | None
    information: FloatArray | None
    why: str

    @property
    def items(self) -> tuple[str, ...]:
        return self.problem.items

    @property
    def loss(self) -> str:
        """Its name; the model's where ties have one."""
        return self.model.name

    @property
    def converged(self) -> bool:
        """Whether there is one finite answer."""
        return self.fit.status.is_answer

    @cached_property
    def scores(self) -> FloatArray:
        """g, shape (n,), with mean zero over each connected part; NaN where there is no answer."""
        theta = self.fit.theta if self.converged else np.full_like(self.fit.theta, np.nan)
        g = theta[: self.problem.n]
        means = np.bincount(self.problem.parts, g) / np.bincount(self.problem.parts)
        return np.asarray(g - means[self.problem.parts])

    @property
    def coefficients(self) -> FloatArray:
        """γ, shape (d,)."""
        n, d = self.problem.n, len(self.problem.feature_names)
        return self.fit.theta[n : n + d] if self.converged else np.full(d, np.nan)

    @property
    def tie_parameter(self) -> float:
        """τ: log ν of Davidson, the threshold log θ of Rao–Kupper; NaN at half a win each."""
        return float(self.fit.theta[-1]) if self.model.has_parameter and self.converged else np.nan

    @cached_property
    def standard_errors(self) -> FloatArray:
        """Of scores, coefficients and τ, shape (p,); NaN where there is no covariance, or the votes show no spread."""
        if self.covariance is None:
            return np.full(len(self.fit.theta), np.nan)
        return spread(np.diag(self.covariance))

    @cached_property
    def system(self) -> System:
        return System(self.problem.rows, self.problem.n, self.problem.parts, self.model, self.ridge, self.prior)

    @cached_property
    def log_likelihood(self) -> float:
        """Of all votes, nats; NaN where the loss is no likelihood or there is no answer."""
        if not (self.model.is_likelihood and self.converged):
            return np.nan
        return -float((self.problem.rows.counts * self.system.terms(self.fit.theta).value).sum())

    @cached_property
    def intervals(self) -> ScoreIntervals:
        """Of each score by itself: sandwich, near the edge the profile of the likelihood, or none with the reason."""
        half = float(t.ppf(0.5 + self.confidence / 2, self.problem.freedom)) * self.standard_errors[: self.problem.n]
        none = np.isnan(half)
        reason = self.why or (NO_SPREAD if none.any() else "")
        found = ScoreIntervals(
            self.scores - half, self.scores + half,
            tuple("none" if missing else "sandwich" for missing in none), reason,
            np.ones(self.problem.n, dtype=bool),
        )  # fmt: skip
        penalised, clustered = self.system.is_penalised, self.problem.cluster is not None
        if self.model.is_likelihood and not (penalised or clustered or self.fit.status is Status.NOT_UNIQUE):
            found = near_the_edge(found, self.system, self.fit, self.confidence)
        told = caveats(self.problem, found.method, self.converged, self.covariance is not None)
        return replace(found, reason="; ".join(filter(None, (found.reason, *told))))

    @cached_property
    def ranks(self) -> RankSets | None:
        """Rank sets that hold together, and the probability of being best; None where there is no covariance."""
        if self.covariance is None:
            return None
        v, given = self.covariance[: self.problem.n, : self.problem.n], self.problem
        return rank_sets(self.scores, v, given.parts, confidence=self.confidence, freedom=given.freedom)

    def differences(self, first: ArrayLike, second: ArrayLike, *, simultaneous: bool = True) -> ScoreDifferences:
        """Differences of scores with their intervals, a row a pair: a DataFrame that shows itself.

        Parameters
        ----------
        first, second : str or int, or several
        simultaneous : bool
            Whether the intervals of all differences hold together, or each by itself.

        Raises
        ------
        ValueError
            For an unknown item, or where there is no covariance (saying why).
        """
        from gpo_analysis.showing.tables import ScoreDifferences

        if self.covariance is None or self.ranks is None:
            raise ValueError(f"no intervals of differences: {self.why}")
        i, j = self._indices(first), self._indices(second)
        v = self.covariance
        error = np.where(i == j, 0.0, spread(np.diag(v)[i] + np.diag(v)[j] - 2 * v[i, j], float(np.diag(v).max())))
        c = self.ranks.critical if simultaneous else float(t.ppf(0.5 + self.confidence / 2, self.problem.freedom))
        d = np.where(self.problem.parts[i] == self.problem.parts[j], self.scores[i] - self.scores[j], np.nan)
        names = np.array(self.items, dtype=object)
        return ScoreDifferences(
            {"first": names[i], "second": names[j], "difference": d, "standard_error": error,
             "low": d - c * error, "high": d + c * error,
             "p": 2 * t.sf(np.abs(d) / np.where(error > 0, error, 1), self.problem.freedom)}
        )  # fmt: skip

    def predict_proba(
        self, first: ArrayLike, second: ArrayLike, features: ArrayLike | None = None, *, outcomes: bool = False
    ) -> FloatArray:
        """Probability that the first wins, a tie as half, shape (k,); or of win, loss and tie, shape (k, 3).

        Parameters
        ----------
        first, second : str or int, or several
            Items.
        features : array, shape (k, d), optional
            Covariates, in the order of ``problem.feature_names``; zeros by default: neutral ground.
        outcomes : bool

        Raises
        ------
        ValueError
            For an unknown item, items that no comparisons connect, or where there is no finite fit.
        """
        if not self.converged:
            raise ValueError(f"no predictions: {described(self.fit.status, self.fit.reason)}")
        i, j = self._indices(first), self._indices(second)
        if (self.problem.parts[i] != self.problem.parts[j]).any():
            k = int(np.argmax(self.problem.parts[i] != self.problem.parts[j]))
            raise ValueError(f"no comparisons connect {self.items[i[k]]!r} with {self.items[j[k]]!r}")
        z = self.scores[i] - self.scores[j]
        if features is not None:
            z = z + np.asarray(features, dtype=np.float64).reshape(len(i), -1) @ self.coefficients
        tau = 0.0 if np.isnan(self.tie_parameter) else self.tie_parameter
        win, loss, tie = self.model.probabilities(z, tau)
        return np.stack([win, loss, tie], axis=1) if outcomes else np.asarray(win + tie / 2)

    def _indices(self, given: ArrayLike) -> IntArray:
        table = {name: k for k, name in enumerate(self.items)}
        found = []
        for one in np.atleast_1d(np.asarray(given, dtype=object)):
            k = table.get(one) if isinstance(one, str) else one
            if not isinstance(k, int | np.integer) or not 0 <= k < self.problem.n:
                raise ValueError(f"unknown item {one!r}; accepted are the items' names or 0 to {self.problem.n - 1}")
            found.append(int(k))
        return np.array(found, dtype=np.int64)

    def to_frame(self) -> pd.DataFrame:
        """A row an item, the highest score first.

        Columns ``rank, item, score, standard_error, low, high, interval, rank_best, rank_worst, best_probability, wins,
        losses, ties``; `best_probability` is the share of draws of the scores round the fit in which it comes first.
        """
        import pandas as pd

        n, ranks, found = self.problem.n, self.ranks, self.intervals
        rows = self.problem.rows
        win, loss, tie = rows.counts
        order = np.argsort(-np.nan_to_num(self.scores, nan=-np.inf), kind="stable")
        missing = np.full(n, np.nan)
        one_part = self.problem.parts.max() == 0
        table = pd.DataFrame(
            {
                "item": np.array(self.items, dtype=object),
                "score": self.scores,
                "standard_error": self.standard_errors[:n],
                "low": found.low,
                "high": found.high,
                "interval": list(found.method),
                "rank_best": np.ones(n, dtype=int) if ranks is None else ranks.best,
                "rank_worst": np.full(n, n) if ranks is None else ranks.worst,
                "best_probability": missing if ranks is None or not one_part else ranks.best_probability,
                "wins": np.bincount(rows.first, win, n) + np.bincount(rows.second, loss, n),
                "losses": np.bincount(rows.first, loss, n) + np.bincount(rows.second, win, n),
                "ties": np.bincount(rows.first, tie, n) + np.bincount(rows.second, tie, n),
            }
        ).iloc[order]
        table.insert(0, "rank", np.arange(1, n + 1))
        return table.reset_index(drop=True)

    def coefficients_frame(self) -> pd.DataFrame:
        """A row a covariate, and one for the tie parameter: value, standard error, z, p, low, high."""
        import pandas as pd

        n = self.problem.n
        names = [*self.problem.feature_names, *(["tie parameter"] if self.model.has_parameter else [])]
        value = self.fit.theta[n:] if self.converged else np.full(len(names), np.nan)
        error = self.standard_errors[n:]
        half = t.ppf(0.5 + self.confidence / 2, self.problem.freedom) * error
        with np.errstate(invalid="ignore", divide="ignore"):
            z = value / error
        columns = {"value": value, "standard_error": error, "z": z, "p": 2 * t.sf(np.abs(z), self.problem.freedom)}
        return pd.DataFrame({**columns, "low": value - half, "high": value + half}, index=names)

    def summary(self, most: int = 30) -> str:
        """Model, covariates and the highest items, as text."""
        lines = [f"{self.loss}, ties {_TIES[self.ties]}; {self.problem!r}"]
        if self.ridge or self.prior:
            lines.append(f"scores are drawn together: ridge {self.ridge:g}, prior {self.prior:g} votes an item")
        lines.append(described(self.fit.status, self.fit.reason))
        if np.isfinite(self.log_likelihood):
            lines.append(f"log-likelihood {self.log_likelihood:.4f}")
        if self.intervals.reason:
            lines.append(self.intervals.reason)
        coefficients = self.coefficients_frame()
        if len(coefficients):
            coefficients = coefficients.rename(index=lambda name: shown(name, 40))
            lines += ["", coefficients.to_string(float_format="{:z.4f}".format)]
        table = self.to_frame().head(most).assign(item=lambda t: [shown(name, 40) for name in t["item"]])
        by = "cluster" if self.problem.cluster is not None else "vote"
        lines += ["", f"{100 * self.confidence:g} % intervals by {by}; rank sets hold together"]
        lines.append(table.to_string(index=False, float_format="{:z.4f}".format))
        more = more_rows(self.problem.n - most)
        return "\n".join([*lines, more] if more else lines)

    def _facts(self) -> list[tuple[str, Any]]:
        told = described(self.fit.status, self.fit.reason)
        return [("loss", self.loss), ("ties", _TIES[self.ties]), ("status", told)]

    def __repr__(self) -> str:
        return f"Ranking({self.loss}, {self.problem.n} items, {self.fit.status})"

    def plot(self, ax: Axes | None = None, *, most: int = 130) -> Axes:
        """Scores with their intervals, a row an item, the highest at the top: see `plot_scores`."""
        from gpo_analysis.plotting import plot_scores

        t = self.to_frame().head(most)
        ax = plot_scores([shown(name, 40) for name in t["item"]], t["score"], t["low"], t["high"], ax, style=self.loss)
        ax.set_xlabel(f"score  [nats], {100 * self.confidence:g} % intervals")
        return ax


_TIES = {"half": "at half a win each", "davidson": "by Davidson's model", "rao-kupper": "by Rao and Kupper's model"}


def rank(
    problem: ComparisonProblem | Comparisons,
    loss: MarginLoss | str = "logistic",
    *,
    ties: str = "half",
    ridge: float = 0.0,
    prior: float = 0.0,
    confidence: float = 0.95,
) -> Ranking:
    """Fit one loss, or model of ties, with its sandwich covariance.

    Parameters
    ----------
    problem : ComparisonProblem or Comparisons
    loss : MarginLoss or str
        Any; covariates, ridge and models of ties take smooth ones.
    ties : {"half", "davidson", "rao-kupper"}
        At half a win each, for any f; or a model with a parameter of its own, for the logistic loss.
    ridge : float
        λ of ½ λ (|g|² + |γ|²) added to the sum over votes.
    prior : float
        Votes a, of which each item wins half and loses half against an opponent of score 0: for any f, keeps scores of
        separable data finite.
    confidence : float

    Returns
    -------
    Ranking
        With the reason where there is no finite, unique optimum or no covariance.

    Raises
    ------
    ValueError
        For bad parameters, an unknown loss, a model of ties without ties.

    Examples
    --------
    >>> problem = ComparisonProblem([0, 0, 1], [1, 2, 2], wins=[6, 7, 5], losses=[4, 1, 3])
    >>> found = rank(problem)
    >>> found.scores.round(3), found.standard_errors.round(3)
    (array([ 0.691,  0.058, -0.749]), array([0.348, 0.351, 0.379]))
    >>> found.predict_proba("0", "2").round(3)
    array([0.808])
    """
    f, problem = get_margin_loss(loss), ComparisonProblem.of(problem)
    warn_of_rising([f])
    for name, value in (("ridge", ridge), ("prior", prior)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence!r}")
    model = outcome_model(f, ties)
    if model.has_parameter:
        decided, tied = problem.counts[:2].sum(), problem.counts[2].sum()
        if not tied or not decided:
            raise ValueError(f"ties={ties!r} takes both ties and decided votes; got {tied:g} and {decided:g}")
    system = System(problem.rows, problem.n, problem.parts, model, float(ridge), float(prior))
    fit = fitted_theta(system, f, problem)
    covariance = information = None
    why = "" if fit.status.is_answer else described(fit.status, fit.reason)
    if not why:
        try:
            covariance, information = sandwich(system, fit.theta, problem, problem.cluster)
        except NoCovarianceError as error:
            why = str(error)
    return Ranking(
        problem, model, ties, float(ridge), float(prior), float(confidence), fit, covariance, information, why
    )


def rank_all(
    problem: ComparisonProblem,
    losses: Sequence[MarginLoss | str],
    *,
    ridge: float = 0.0,
    prior: float = 0.0,
    confidence: float = 0.95,
) -> dict[str, Ranking]:
    """One `rank` a loss, by name, ties at half a win each.

    Parameters
    ----------
    problem : ComparisonProblem
    losses : sequence of MarginLoss or str
    ridge, prior, confidence : float
        Of :func:`rank`.
    """
    functions = [get_margin_loss(loss) for loss in distinct_losses(losses)]
    found = [rank(problem, f, ridge=ridge, prior=prior, confidence=confidence) for f in functions]
    return {one.loss: one for one in found}
