"""How much of the cycles is noise: what exactly Bradley–Terry voters would show with as many votes.

Shares of few votes violate transitivity and go in cycles however transitive the voters are. The null is Bradley–Terry
with as many decided votes a pair as were cast (ties kept where they were): the statistics are computed on votes
simulated from it and on the data, and compared. Fitted scores spread wider than true ones, by their own noise, and
wider scores make fewer cycles; the null's are therefore drawn together so that fits to its votes spread as the fit to
the data does, and what a statistic owes to the spread of its own set is taken off. Where every pair was asked once,
cycles are a function of the scores alone (Kendall and Babington Smith 1940) and nothing can be tested: p is 1.

Pearson's X² of the fit has the limit χ² with (pairs − items + parts) degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import chi2

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.diagnostics import TIE
from gpo_analysis.ranking.covariance import project
from gpo_analysis.ranking.fitting import fitted_theta
from gpo_analysis.ranking.joint import System
from gpo_analysis.ranking.outcomes import Halved
from gpo_analysis.ranking.problem import ComparisonProblem
from gpo_analysis.showing.charts import Curve, Panel
from gpo_analysis.showing.shown import Shown, of_rows
from gpo_analysis.showing.style import cycle_style

#: Votes that a prior gives each item for the null alone, so that separable votes have one.
PRIOR = 0.5
#: Items for which tables (simulations, n, n) are made; of more only Pearson's X² is tested.
MOST_ITEMS = 400
#: Triples times simulations up to which strong transitivity is looked at.
MOST_TRIPLES = 4e8
#: Expected votes a pair and side from which χ² is near enough.
ENOUGH = 5.0


@dataclass(frozen=True)
class NoiseTest(Shown):
    """One statistic beside what noise makes of it.

    Attributes
    ----------
    name : str
    observed : float
    expected : float
        Mean over the simulations.
    low, high : float
        Their central 95 %.
    p : float
        Share of simulations at least as large as the data, both counted with the data themselves.
    """

    name: str
    observed: float
    expected: float
    low: float
    high: float
    p: float

    _no_plot = "it is a row of the tests, which draw all"


@dataclass(frozen=True)
class NoiseTests(Shown):
    """Statistics of cycles against noise.

    Attributes
    ----------
    cyclic_share : NoiseTest
        Share of the flow 2P − 1 that no scores make (Hodge); what noise makes is measured against the flow of the data.
    cyclic_triples, weak_violations, strong_violations : NoiseTest or None
        None where there are too many items.
    misfit : NoiseTest
        Pearson's X² of the Bradley–Terry fit.
    degrees_of_freedom : int
    chi_square_p : float
        Of X² by its limit; NaN where fewer than 5 votes a pair and side are expected on average.
    simulations : int
    """

    cyclic_share: NoiseTest
    cyclic_triples: NoiseTest | None
    weak_violations: NoiseTest | None
    strong_violations: NoiseTest | None
    misfit: NoiseTest
    degrees_of_freedom: int
    chi_square_p: float
    simulations: int

    @property
    def tests(self) -> tuple[NoiseTest, ...]:
        """Those that were made."""
        every = (self.cyclic_share, self.cyclic_triples, self.weak_violations, self.strong_violations, self.misfit)
        return tuple(one for one in every if one is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, null for what was not tested."""
        names = ("cyclic_share", "cyclic_triples", "weak_violations", "strong_violations", "misfit")
        found: dict[str, Any] = {
            name: None if (one := getattr(self, name)) is None else {k: v for k, v in vars(one).items() if k != "name"}
            for name in names
        }
        p = self.chi_square_p
        return found | {
            "degrees_of_freedom": self.degrees_of_freedom,
            "chi_square_p": None if np.isnan(p) else p,
            "simulations": self.simulations,
        }

    def summary(self) -> str:
        """As text."""
        head = f"against {self.simulations} sets of exactly Bradley–Terry votes, as many a pair:"
        return "\n".join([head, *(_line(one) for one in self.tests)])

    __str__ = summary

    def _columns(self) -> Mapping[str, Any]:
        return of_rows(self.tests)

    def _panel(self) -> Panel:
        c = {name: np.asarray(column) for name, column in self._columns().items() if name != "name"}
        rows, base = np.arange(len(self.tests), dtype=np.float64), np.where(c["expected"] > 0, c["expected"], np.nan)
        noise = Curve(np.ones(len(rows)), rows, "noise alone, 95 %", cycle_style(7), True, False, False,
                      c["low"] / base, c["high"] / base)  # fmt: skip
        votes = Curve(c["observed"] / base, rows, "the votes", cycle_style(1), points=True)
        names, every = [one.name for one in self.tests], np.concatenate([votes.x, c["high"] / base])
        top = float(np.clip(np.nanmax(every, initial=2.0), 2.0, 10.0))
        title = "cycles beside what noise makes of votes without any"
        return Panel(title, "over what noise alone makes", "", [noise, votes], rows=names, xlim=(0.0, 1.05 * top))


def _line(test: NoiseTest) -> str:
    share = test.name.startswith("cyclic part")
    shown = "{:.2%}" if share else "{:.4g}"
    observed, expected, low, high = (shown.format(x) for x in (test.observed, test.expected, test.low, test.high))
    word = "no more than noise" if test.p > 0.05 else "more than noise"
    noise = f"noise alone makes {expected} [{low}, {high}]"
    if share:  # the flow of the votes as they are: noise may exceed it
        observed = f"{observed} of the votes' flow"
        noise += " of that flow" + (" (above 100 %: more than the votes show in all)" if test.high > 1 else "")
    return f"{test.name:<32} {observed}; {noise}, p = {test.p:.3g}: {word}"


def noise_tests(problem: ComparisonProblem | Comparisons, *, simulations: int = 199, seed: int = 0) -> NoiseTests:
    """Test cycles and violations of transitivity against noise.

    Parameters
    ----------
    problem : ComparisonProblem or Comparisons
        Covariates are left aside; both orders of a pair are one.
    simulations : int
        At least 19.
    seed : int

    Raises
    ------
    ValueError
        Where the votes are weights and no whole numbers (of how many independent votes is then not known), there is no
        decided vote, or for too few simulations.

    Examples
    --------
    >>> from gpo_analysis.datasets import load_journals
    >>> found = noise_tests(load_journals(), simulations=99)
    >>> found.cyclic_triples.observed, found.misfit.p > 0.05
    (0.0, True)
    """
    given = ComparisonProblem.of(problem)
    if isinstance(simulations, bool) or int(simulations) != simulations or simulations < 19:
        raise ValueError(f"simulations must be a whole number of at least 19, got {simulations!r}")
    null = _Null.of(given)
    rng = np.random.default_rng(seed)
    drawn = rng.binomial(null.votes.astype(np.int64), null.probability, size=(int(simulations), len(null.votes)))
    wins = np.concatenate([null.wins[None, :], drawn]).astype(np.float64)
    share = (wins + null.ties / 2) / (null.votes + null.ties)
    cyclic, spread = null.cyclic(share)
    found = {"cyclic part (mean flow)": cyclic}
    if null.n <= MOST_ITEMS:
        found |= _on_tables(null, share)
    misfit = null.misfit(wins)
    degrees = max(0, len(null.votes) - null.n + int(null.parts.max()) + 1)
    enough = float(np.mean(null.votes * np.minimum(null.fitted, 1 - null.fitted))) >= ENOUGH and degrees > 0
    tested = {name: _tested(name, values, spread) for name, values in found.items()}
    return NoiseTests(
        cyclic_share=tested["cyclic part (mean flow)"],
        cyclic_triples=tested.get("cyclic triples"),
        weak_violations=tested.get("weak violations"),
        strong_violations=tested.get("strong violations"),
        misfit=_tested("misfit of Bradley–Terry (X²)", misfit, spread),
        degrees_of_freedom=degrees,
        chi_square_p=float(chi2.sf(misfit[0], degrees)) if enough else float("nan"),
        simulations=int(simulations),
    )


def _tested(name: str, values: FloatArray, spread: FloatArray) -> NoiseTest:
    """The first value is the data's, the others of simulations; equal to rounding counts as equal.

    How far scores spread is no matter of the null, and cycles are the fewer the wider they do: the part of a statistic
    that is linear in the spread is taken off (a control variate), which stands in for the test given the fitted scores.
    """
    observed, rest = float(values[0]), values[1:]
    if np.isnan(observed):  # no flow, or no triple
        return NoiseTest(name, observed, float("nan"), float("nan"), float("nan"), 1.0)
    rest = np.nan_to_num(rest, nan=0.0)
    away = spread[1:] - spread[0]
    centre = away - away.mean()
    slope = float(centre @ rest / (centre @ centre)) if centre @ centre > 0 else 0.0
    rest = rest - slope * away
    low, high = np.maximum(np.quantile(rest, [0.025, 0.975]), 0.0)
    above = int((rest >= observed - 1e-9 * max(1.0, abs(observed))).sum())
    return NoiseTest(name, observed, float(rest.mean()), float(low), float(high), (1 + above) / (1 + len(rest)))


@dataclass(frozen=True, eq=False)
class _Null:
    """Pairs first < second with decided votes and ties, (e,), and Bradley–Terry probabilities: of the null, fitted."""

    n: int
    parts: IntArray
    first: IntArray
    second: IntArray
    wins: FloatArray
    votes: FloatArray
    ties: FloatArray
    probability: FloatArray
    fitted: FloatArray

    @classmethod
    def of(cls, given: ComparisonProblem) -> _Null:
        rows = given.without_covariates().rows
        if (np.abs(rows.counts - np.round(rows.counts)) > 1e-9).any():
            raise ValueError("tests against noise take whole numbers of votes; these are weights, with fractions")
        counts = np.round(rows.counts)
        votes = counts[0] + counts[1]
        keep = votes > 0
        if not keep.any():
            raise ValueError("tests against noise take decided votes; there are only ties")
        one, two, counts, votes = rows.first[keep], rows.second[keep], counts[:, keep], votes[keep]
        decided = ComparisonProblem(one, two, counts[0], counts[1], items=given.items)
        logistic = get_margin_loss("logistic")
        system = System(decided.rows, decided.n, decided.parts, Halved(logistic), 0.0, PRIOR)
        theta = system.centred(fitted_theta(system, logistic, decided).theta)
        theta = theta - np.bincount(decided.parts, theta)[decided.parts] / np.bincount(decided.parts)[decided.parts]
        z = theta[one] - theta[two]
        spread = _shrunk(system, theta)
        return cls(decided.n, decided.parts, one, two, counts[0], votes, counts[2], expit(spread * z), expit(z))

    def _projected(self, weight: FloatArray, values: FloatArray) -> FloatArray:
        """The gradient part of flows (b, e) in the metric of weights (e,)."""
        matrix = np.zeros((self.n, self.n))
        np.add.at(matrix, (self.first, self.first), weight)
        np.add.at(matrix, (self.second, self.second), weight)
        np.add.at(matrix, (self.first, self.second), -weight)
        np.add.at(matrix, (self.second, self.first), -weight)
        constants = (self.parts[:, None] == np.arange(int(self.parts.max()) + 1)).astype(float)
        size = float(np.diag(matrix).max())
        inverse = np.linalg.inv(matrix + size / self.n * constants @ constants.T + 1e-12 * size * np.eye(self.n))
        net = np.zeros((len(values), self.n))
        for b, row in enumerate(weight * values):
            net[b] = np.bincount(self.first, row, self.n) - np.bincount(self.second, row, self.n)
        scores = net @ inverse
        return np.asarray(scores[:, self.first] - scores[:, self.second])

    def cyclic(self, share: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Size of each flow's cyclic part relative to the first flow's whole, and of its gradient part, shape (b,)."""
        flow, weight = 2 * share - 1, self.votes + self.ties
        rest = flow - self._projected(weight, flow)
        total, cyclic = (weight * flow**2).sum(axis=1), (weight * rest**2).sum(axis=1)
        return np.asarray(cyclic / total[0] if total[0] > 0 else np.full(len(cyclic), np.nan)), total - cyclic

    def misfit(self, wins: FloatArray) -> FloatArray:
        """Pearson's X² of each, fitted by one step from the null: linear, and exact to first order."""
        p = np.clip(self.probability, 1e-12, 1 - 1e-12)
        variance = self.votes * p * (1 - p)
        residual = (wins - self.votes * p) / variance  # in the units of log-odds
        rest = residual - self._projected(variance, residual)
        return np.asarray((variance * rest**2).sum(axis=1))


def _shrunk(system: System, theta: FloatArray) -> float:
    """The factor c with ``|cθ|² = |θ̂|² − E|θ̂ − θ|²``, 0 where noise explains all of the spread."""
    terms = system.terms(theta)
    matrix = system.hessian(theta, terms)
    inverse = project(system, np.asarray(np.linalg.inv(matrix + 1e-12 * np.diag(np.diag(matrix))), dtype=np.float64))
    size = float(theta @ theta)
    return float(np.sqrt(max(0.0, 1 - np.trace(inverse) / size))) if size > 0 else 0.0


def _on_tables(null: _Null, share: FloatArray) -> dict[str, FloatArray]:
    """Cyclic triples and violations, from tables (n, n) of who beats whom, a few simulations at a time."""
    n, strong = null.n, null.n**3 * len(share) <= MOST_TRIPLES
    found: dict[str, list[FloatArray]] = {"cyclic triples": [], "weak violations": []}
    if strong:
        found["strong violations"] = []
    size = max(1, int(2e7 / n**2))
    for start in range(0, len(share), size):
        p = np.full((len(share[start : start + size]), n, n), np.nan)
        p[:, null.first, null.second] = share[start : start + size]
        p[:, null.second, null.first] = 1 - share[start : start + size]
        with np.errstate(invalid="ignore"):
            beats = (p > 0.5 + TIE).astype(np.float32)
            holds = (p >= 0.5 - TIE).astype(np.float32)
            falls = (p < 0.5 - TIE).astype(np.float32)
        found["cyclic triples"].append(_closed(beats, np.swapaxes(beats, 1, 2)) / 3)
        found["weak violations"].append(_closed(holds, falls))
        if strong:
            found["strong violations"].append(np.array([_strong(table) for table in p]))
    return {name: np.concatenate(values).astype(np.float64) for name, values in found.items()}


def _closed(steps: NDArray[np.float32], closing: NDArray[np.float32]) -> FloatArray:
    """``Σ (S²) ∘ C`` of each table, shape (b,)."""
    return np.asarray(np.einsum("bij,bij->b", steps @ steps, closing, dtype=np.float64))


def _strong(p: FloatArray) -> float:
    """Ordered triples with P_ij ≥ ½, P_jk ≥ ½ and P_ik < max(P_ij, P_jk)."""
    total = 0
    with np.errstate(invalid="ignore"):
        for j in range(len(p)):
            ahead, behind = np.flatnonzero(p[:, j] >= 0.5 - TIE), np.flatnonzero(p[j] >= 0.5 - TIE)
            bar = np.maximum(p[ahead, j][:, None], p[j, behind][None, :])
            total += int((p[np.ix_(ahead, behind)] < bar - TIE).sum())
    return float(total)
