"""β under DPO: how far the policy moves, what it gains, and where it collapses or stays at the reference.

On a Bradley-Terry problem the population optimum of DPO is πref exp(r/β)/Z, so that KL(π‖πref) is known at both ends:
½ Var_πref(r)/β² for large β and −log πref(best response) for small β. Labelled samples of the same problem are solved
beside it. A policy is called

- *collapsed* where one response holds at least 95 % of the probability, or the optimum runs off to infinity;
- *underfit* where it gains less than 10 % of the win rate that could be gained against πref;
- *balanced* otherwise.

The win rate is E[p(y ≻ y′)] over y from π and y′ from πref, a response against itself counting one half; what could be
gained is that of the best single response over one half.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from experiments._losses import accepted_beside
from experiments._seeds import share_of
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences import bradley_terry
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem

CLAIM = "β takes DPO from a collapsed policy to the reference; in between KL follows πref exp(r/β)/Z."
FIGURE = "beta-sweep"

REWARDS = (1.6, 1.1, 0.7, 0.3, 0.0, -0.4, -0.9, -1.5)
REFERENCE = (0.08, 0.10, 0.15, 0.20, 0.17, 0.14, 0.10, 0.06)
COLLAPSED, UNDERFIT = 0.95, 0.10
SMALL = "a response that wins or loses all its comparisons leaves DPO without a finite optimum, whatever β"
OTHER = "population, another loss"
BEST_OF = (1, 2, 3, 4, 6, 8, 12, 16, 32)


@dataclass(frozen=True)
class Config:
    """The sweep.

    Parameters
    ----------
    low, high, points : float, float and int
        β grid, evenly spaced in log β.
    comparisons : tuple of int
        Sizes of the labelled samples.
    samples : int
        Number of samples of each size.
    seed : int
        Seed of the first sample; the others follow it.
    losses : tuple of str
        Losses whose population optimum is swept beside DPO's: names, or expressions in z, logistic among them. The
        claims, the samples and the verdicts are about logistic, DPO's loss.
    """

    low: float = 0.02
    high: float = 50.0
    points: int = 28
    comparisons: tuple[int, ...] = (60, 1000)
    samples: int = 8
    seed: int = 0
    losses: tuple[str, ...] = ("logistic",)

    def __post_init__(self) -> None:
        """Losses by their names, those without a known minimum refused; logistic is needed."""
        found = accepted_beside("logistic", self.losses, "the sweep is DPO's and others stand beside it", known=True)
        object.__setattr__(self, "losses", found)


PRESETS = {"quick": Config(), "paper": Config(points=69, comparisons=(60, 250, 1000, 10000), samples=40)}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell for the population, one for best-of-n sampling, one for each sample."""
    seeds = range(config.seed, config.seed + config.samples)
    return [
        {"source": "population"},
        {"source": "best of n"},
        *({"source": OTHER, "loss": name} for name in config.losses if name != "logistic"),
        *grid(source="sample", comparisons=config.comparisons, seed=seeds),
    ]


def run(config: Config, *, source: str, comparisons: int = 0, seed: int = 0, loss: str = "logistic") -> pd.DataFrame:
    """Solve DPO at every β, on the population (0 comparisons) or on one sample; or take the best of n draws.

    Another loss is solved on the population, and then all rows name their loss.
    """
    if source == "best of n":
        return pd.DataFrame([_best_of(draws) for draws in BEST_OF])
    reference = np.array(REFERENCE)
    preference = bradley_terry(np.array(REWARDS))
    problem = PreferenceProblem(preference, reference, reference)
    solved = problem
    if comparisons:
        sample = problem.sample(comparisons, seed=seed)
        solved = PreferenceProblem.from_comparisons(sample, reference=reference)
    rows = []
    for beta in np.geomspace(config.low, config.high, config.points):
        solution = solved.solve(loss, float(beta))
        scaled = float(beta) * np.asarray(solution.log_ratio)
        rows.append(
            {
                "source": source,
                "comparisons": comparisons,
                "seed": seed,
                "beta": float(beta),
                "kl": solution.kl,
                "kl_small_beta": float(-np.log(REFERENCE[int(np.argmax(REWARDS))])),
                "kl_large_beta": 0.5 * _variance() / beta**2,
                "mu_squared_loss": solution.mu_squared_loss,
                **outcome(np.asarray(solution.policy), reference, preference),
                "scaled_scores": (scaled - scaled.mean()).tolist(),
                "error": _distance_from_tilt(np.asarray(solution.policy), float(beta)),
                "status": solution.status.value,
            }
        )
    table = pd.DataFrame(rows)
    return table if config.losses == ("logistic",) else table.assign(loss=loss)


def outcome(policy: FloatArray, reference: FloatArray, preference: FloatArray) -> dict[str, float | str]:
    """Return win rate, share of what could be gained, largest probability, and the verdict in a word.

    Parameters
    ----------
    policy, reference : FloatArray
        (n,) distributions; a policy of NaN has run off to infinity.
    preference : FloatArray
        (n, n) true preferences.
    """
    if not np.isfinite(policy).all():
        return {"win_rate": np.nan, "gain": np.nan, "top": np.nan, "verdict": "collapsed"}
    against_reference = preference @ reference
    win_rate, best = float(policy @ against_reference), float(against_reference.max())
    gain, top = (win_rate - 0.5) / (best - 0.5), float(policy.max())
    verdict = "collapsed" if top >= COLLAPSED else "underfit" if gain < UNDERFIT else "balanced"
    return {"win_rate": win_rate, "gain": gain, "top": top, "verdict": verdict}


def tilt(beta: float) -> FloatArray:
    """Return πref exp(r/β)/Z, (n,)."""
    log_weights = np.log(REFERENCE) + np.array(REWARDS) / beta
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum())


def _best_of(draws: int) -> dict[str, Any]:
    """Return the policy that keeps the draw from πref of highest reward, of ``draws``: the baseline of any KL plot."""
    reference, preference = np.array(REFERENCE), bradley_terry(np.array(REWARDS))
    below = np.append(np.cumsum(reference[::-1])[::-1], 0.0)  # P(reward ≤ r_i); REWARDS fall
    policy = below[:-1] ** draws - below[1:] ** draws
    kl = float(policy @ np.log(policy / reference))
    return {"source": "best of n", "draws": draws, "kl": kl, **outcome(policy, reference, preference)}


def _distance_from_tilt(policy: FloatArray, beta: float) -> float:
    return float(np.abs(policy - tilt(beta)).max())


def _variance() -> float:
    """Return Var_πref(r)."""
    rewards, reference = np.array(REWARDS), np.array(REFERENCE)
    return float(reference @ (rewards - reference @ rewards) ** 2)


def _gain_of_tilt(log_beta: float) -> float:
    found = outcome(tilt(float(np.exp(log_beta))), np.array(REFERENCE), bradley_terry(np.array(REWARDS)))
    return float(found["gain"])


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Closed form, both ends of KL, where the verdicts change, what small samples do."""
    table = table[table["source"] != OTHER]
    population = find(table, source="population").sort_values("beta")
    first, last = population.iloc[0], population.iloc[-1]
    step = (config.high / config.low) ** (1 / (config.points - 1))
    spread = [np.ptp(np.stack(rows["scaled_scores"].tolist()), axis=0).max() for _, rows in _solved(table)]
    collapse = float(np.exp(brentq(lambda x: tilt(np.exp(x)).max() - COLLAPSED, np.log(0.02), np.log(5.0))))
    underfit = float(np.exp(brentq(lambda x: _gain_of_tilt(x) - UNDERFIT, np.log(0.2), np.log(100.0))))
    words = population["verdict"]
    checks = [
        Check.equal("population optimum is πref exp(r/β)/Z (largest difference)", 0.0, population["error"].max(), 1e-8),
        Check.equal("β·h, centred, does not depend on β (largest spread, samples too)", 0.0, max(spread), 1e-6),
        Check.at_most("KL falls as β grows (largest step up)", 0.0, float(np.diff(population["kl"]).max()), 1e-12),
        Check.equal(
            f"β = {last['beta']:.3g}: KL·β² is ½ Var_πref(r), to leading order",
            last["kl_large_beta"] * last["beta"] ** 2,
            last["kl"] * last["beta"] ** 2,
            0.05,
            relative=True,
        ),
        Check.equal(
            f"β = {first['beta']:.3g}: KL is −log πref(best response)",
            first["kl_small_beta"],
            first["kl"],
            1e-6,
        ),
        Check.between(
            "largest β called collapsed, against the root of the closed form (one grid step)",
            collapse / step,
            collapse,
            float(population["beta"][words == "collapsed"].max()),
        ),
        Check.between(
            "smallest β called underfit, against the root of the closed form (one grid step)",
            underfit,
            underfit * step,
            float(population["beta"][words == "underfit"].min()),
        ),
        Check.text("verdicts from small to large β", "collapsed, balanced, underfit", ", ".join(words.unique())),
    ]
    bound = max(row.kl - np.log(row.draws) + (row.draws - 1) / row.draws for row in _best_rows(table))
    checks.append(
        Check.at_most("best of n: KL is at most log n − (n − 1)/n (largest excess)", 0.0, float(bound), 1e-12)
    )
    checks, over = [check.as_theorem() for check in checks], f"{config.samples} samples"
    for size in (min(config.comparisons), max(config.comparisons)):
        rows = find(table, comparisons=size)
        infinite = share_of(rows.groupby("seed")["kl"].apply(lambda kl: bool(kl.isna().all())))
        claim = f"{size} comparisons: share of samples with no finite optimum at any β"
        if size == min(config.comparisons):
            check = Check.above(f"{claim}: some", 0.0, infinite, over)
            checks.append(replace(check, note=f"{check.note}; {SMALL}"))
        else:
            checks.append(Check.below(f"{claim}: under a tenth", 0.1, infinite, over))
    return checks


def _best_rows(table: pd.DataFrame) -> list[Any]:
    return list(find(table, source="best of n").itertuples())


def _solved(table: pd.DataFrame) -> Any:
    return table[table["kl"].notna() & (table["source"] != "best of n")].groupby(["comparisons", "seed"])


def summary(config: Config, table: pd.DataFrame) -> str:
    """Where DPO collapses, where it stays, and what samples change."""
    table = table[table["source"] != OTHER]
    population = find(table, source="population").sort_values("beta")
    balanced = find(population, verdict="balanced")
    shown = []
    for size in config.comparisons:
        rows = find(table, source="sample", comparisons=size)
        infinite = rows.groupby("seed")["kl"].apply(lambda kl: bool(kl.isna().all()))
        shown.append(f"{share_of(infinite):.0%} of the samples of {size:,}")
    middle = balanced.iloc[len(balanced) // 2]
    near = find(table, source="sample", comparisons=max(config.comparisons))
    kl = near[np.isclose(near["beta"], middle["beta"])]["kl"]
    return (
        f"On the population DPO is balanced for β from {balanced['beta'].min():.3g} to {balanced['beta'].max():.3g}, "
        f"with KL from {balanced['kl'].max():.3g} down to {balanced['kl'].min():.3g} nats; below it one response "
        "takes 95 % of the probability, above it less than a tenth of the win rate is gained. Its optimum is πref "
        f"exp(r/β)/Z to {population['error'].max():.1g}. Labels are another matter: no finite optimum, at any β, has "
        f"{', '.join(shown)} comparisons (95 % intervals over samples). At β = {middle['beta']:.3g} the KL is "
        f"{middle['kl']:.3g} nats on the population and {mean_interval(kl)} on samples of "
        f"{max(config.comparisons):,}. To remember: β sets how far the policy goes only where the labels leave a "
        "finite optimum; where a response wins all its comparisons no β keeps DPO near its reference."
    )
