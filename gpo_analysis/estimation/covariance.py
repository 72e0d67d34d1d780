r"""What a loss estimates from a finite sample, and how precisely: the sandwich covariance.

From N labelled pairs, drawn independently with the problem's pair weights, the fit ``ĝ = βĥ`` minimises
``(1/N) Σ f(g_winner − g_loser)``. It is an M-estimator (Huber 1967; White 1982): it tends to the population optimum g
of *its own* loss, whatever the preferences, and ``√N (ĝ − g)`` to a normal distribution with the covariance::

    A⁺ B A⁺,   A = E[f″(z) e eᵀ],   B = E[f′(z)² e eᵀ],   z = g_winner − g_loser,   e = e_winner − e_loser

with A⁺ the pseudo-inverse on vectors that sum to zero. Under Bradley–Terry preferences logistic has A = B, the Fisher
information, and no consistent estimator does better asymptotically. Losses whose link z*(η) is a multiple of the logit
estimate a multiple of the same scores; :func:`asymptotics` puts all losses on one scale by the factor 2κ, which makes
``2κ z*(η)`` equal to logit η to first order at η = ½ and exactly for those losses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, intervals
from gpo_analysis.solvers.minimum import described
from gpo_analysis.tabular.grid import fit
from gpo_analysis.tabular.problem import PreferenceProblem

if TYPE_CHECKING:
    pass

NO_CURVATURE = 1e-10
"""Eigenvalues of A below this share of the largest count as zero."""


@dataclass(frozen=True, eq=False)
class Asymptotics(Shown):
    """The limit of a fit and its covariance.

    Attributes
    ----------
    loss : str
    g : array, shape (n,)
        What is estimated: the population optimum of ``g = βh``, centred.
    covariance : array, shape (n, n)
        Of ``√N (ĝ − g)``: divide by the number of pairs. Rows sum to zero.
    bread, meat : array, shape (n, n)
        A and B.
    scale : float
        2κ, or nan where κ is zero or the slope at 0 not negative.
    """

    loss: str
    g: FloatArray
    covariance: FloatArray
    bread: FloatArray
    meat: FloatArray
    scale: float

    @property
    def scores(self) -> FloatArray:
        """``2κ g``, shape (n,): on the scale of logits."""
        return self.scale * self.g

    @property
    def score_covariance(self) -> FloatArray:
        """Covariance of ``√N`` times the error of the scores, shape (n, n)."""
        return self.scale**2 * self.covariance

    def standard_errors(self, size: float) -> FloatArray:
        """Standard errors of ĝ from `size` pairs, shape (n,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance) / check_positive(size, "size")))

    def signal_to_noise(self) -> FloatArray:
        """``|g_i − g_j|`` over the standard deviation of its ``√N`` error, for pairs i < j; free of the scale."""
        first, second = np.triu_indices(len(self.g), 1)
        variance = np.diag(self.covariance)[first] + np.diag(self.covariance)[second]
        variance = variance - 2 * self.covariance[first, second]
        return np.asarray(np.abs(self.g[first] - self.g[second]) / np.sqrt(variance))

    def _columns(self) -> Mapping[str, Any]:
        error = np.sqrt(np.diag(self.covariance))
        return {"g": self.g, "error_of_g": error, "scores": self.scores, "error": self.scale * error}

    def _panel(self) -> Panel:
        half = 1.96 * self.standard_errors(1000.0)
        names = [f"y{k + 1}" for k in range(len(self.g))]
        title = f"{self.loss}: 95 % of fits to 1000 pairs lie within"
        return intervals(title, "g = β log π/πref  [nats]", names, self.g, self.g - half, self.g + half)


def asymptotics(problem: PreferenceProblem, loss: MarginLoss | str) -> Asymptotics:
    """The limit and the asymptotic covariance of a loss fitted to pairs drawn from a problem.

    Parameters
    ----------
    problem : PreferenceProblem
        Without contexts. Pairs are drawn as by :meth:`PreferenceProblem.sample`.
    loss : MarginLoss or str

    Returns
    -------
    Asymptotics

    Raises
    ------
    ValueError
        Where the population optimum is not finite and unique, or the mean of f″ leaves a direction without curvature
        (hinge: its fit is not asymptotically normal at the rate 1/√N about a smooth minimum).

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0]))
    >>> found = asymptotics(problem, "logistic")  # one pair: the variance of a logit is 1 / (η (1 − η))
    >>> eta = 1 / (1 + np.exp(-1.0))
    >>> bool(np.isclose(found.covariance[0, 0], 0.25 / (eta * (1 - eta))))
    True
    """
    _check_problem(problem)
    f = get_margin_loss(loss)
    if problem.is_batch:
        raise ValueError("asymptotics needs a problem without contexts")
    limit = problem.fit(f)
    if not limit.converged:
        raise ValueError(f"{f.name} has no asymptotic covariance here: {described(limit.status, limit.reason)}")
    pairs, z = problem.directed_pairs(), limit.margins
    weight = pairs.weight / pairs.weight.sum()
    bread = _laplacian(weight * f.derivative(z, 2), pairs.winner, pairs.loser, problem.n)
    meat = _laplacian(weight * f.derivative(z, 1) ** 2, pairs.winner, pairs.loser, problem.n)
    inverse = _pseudo_inverse(bread, f.name)
    return Asymptotics(f.name, limit.reward, inverse @ meat @ inverse, bread, meat, _scale(f))


def _check_problem(problem: Any) -> None:
    if not isinstance(problem, PreferenceProblem):
        raise ValueError(
            f"problem is a {type(problem).__name__}; accepted are PreferenceProblems (of comparisons: "
            "PreferenceProblem.from_comparisons)"
        )


def _laplacian(weight: FloatArray, first: IntArray, second: IntArray, n: int) -> FloatArray:
    """``Σ_k weight_k e_k e_kᵀ``, shape (n, n)."""
    matrix = np.zeros((n, n))
    np.add.at(matrix, (first, second), -weight)
    np.add.at(matrix, (second, first), -weight)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


def _pseudo_inverse(matrix: FloatArray, name: str) -> FloatArray:
    values, vectors = np.linalg.eigh(matrix)
    large = np.abs(values) > NO_CURVATURE * np.abs(values).max(initial=0.0)
    if large.sum() < len(values) - 1 or np.any(values[large] < 0):
        raise ValueError(
            f"{name} has no asymptotic covariance here: its mean second derivative at the optimum leaves "
            f"{int((~large).sum()) - 1} directions without curvature; accepted are losses with f″ > 0 where margins lie"
        )
    inverse = np.where(large, 1 / np.where(large, values, 1.0), 0.0)
    return np.asarray((vectors * inverse) @ vectors.T)


def kappa_of(loss: MarginLoss) -> float:
    """κ as a float; NaN where it is not defined."""
    try:
        return float(loss.curvature_ratio)
    except ValueError:
        return np.nan


def _scale(loss: MarginLoss) -> float:
    kappa = kappa_of(loss)
    return 2 * kappa if kappa > 0 else np.nan


def relative_efficiency(first: Asymptotics, second: Asymptotics) -> FloatArray:
    """Share of `first`'s pairs with which `second` tells responses i < j apart as surely, shape (n (n−1)/2,).

    The squared ratio of the signals to noise, which no rescaling of f or of its scores changes: where both losses
    estimate multiples of the same scores it is the ratio of the variances.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]))
    >>> logistic, exponential = asymptotics(problem, "logistic"), asymptotics(problem, "exponential")
    >>> bool(np.all(relative_efficiency(exponential, logistic) < 1))  # logistic is efficient
    True
    """
    for given in (first, second):
        if not isinstance(given, Asymptotics):
            raise ValueError(f"got a {type(given).__name__}; accepted are what asymptotics(problem, loss) returns")
    return np.asarray((first.signal_to_noise() / second.signal_to_noise()) ** 2)


@dataclass(frozen=True, eq=False)
class SampledFits(Shown):
    """Fits of one loss to many samples.

    Attributes
    ----------
    g : array, shape (r, n)
        One row a sample with a finite and unique optimum.
    statuses : dict of str to int
        How many samples ended how; what is not "optimum" or "stationary point" has no row.
    """

    g: FloatArray
    statuses: dict[str, int]

    @property
    def without_fit(self) -> int:
        """Samples without a finite, unique optimum: separable ones, and those of which some responses are apart."""
        return sum(count for status, count in self.statuses.items() if status not in ("optimum", "stationary point"))

    def _facts(self) -> list[tuple[str, Any]]:
        return [("samples", sum(self.statuses.values())), *((f"  {name}", n) for name, n in self.statuses.items())]

    def _columns(self) -> Mapping[str, Any]:
        if not len(self.g):
            return {name: np.full(self.g.shape[1], np.nan) for name in ("mean", "low", "high")}
        low, high = np.quantile(self.g, [0.025, 0.975], axis=0)
        return {"mean": self.g.mean(axis=0), "low": low, "high": high}

    def _panel(self) -> Panel:
        c = self._columns()
        names = [f"y{k + 1}" for k in range(len(c["mean"]))]
        title = f"{len(self.g)} fits: mean, and 95 % of them"
        return intervals(title, "g = β log π/πref  [nats]", names, c["mean"], c["low"], c["high"])


def sampled_fits(
    problem: PreferenceProblem, loss: MarginLoss | str, size: int, replications: int, *, seed: int
) -> SampledFits:
    """Fit a loss to many samples of labelled pairs.

    Parameters
    ----------
    problem : PreferenceProblem
        Without contexts.
    loss : MarginLoss or str
    size : int
        Labelled pairs a sample.
    replications : int
        Samples; the same ones for every loss.
    seed : int

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0]))
    >>> fits = sampled_fits(problem, "squared", 100, 50, seed=0)
    >>> fits.g.shape, fits.without_fit
    ((50, 2), 0)
    """
    _check_problem(problem)
    f = get_margin_loss(loss)
    if int(replications) != replications or replications < 1:
        raise ValueError(f"replications must be a whole number of at least 1, got {replications!r}")
    seeds = np.random.SeedSequence(seed).generate_state(int(replications), dtype=np.uint64)
    samples = [PreferenceProblem.from_comparisons(problem.sample(size, seed=int(s))) for s in seeds]
    fits = fit(samples, f)
    statuses = Counter(found.status.value for found in fits)
    rows = [found.reward for found in fits if found.converged]
    return SampledFits(np.array(rows).reshape(len(rows), problem.n), dict(statuses))
