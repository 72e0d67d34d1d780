"""Six losses at equal β, then at equal βκ: do the KL curves fall together, and where do they part?

With κ = f″(0)/|f′(0)|, every link has z*(η) = (2η − 1)/κ near η = ½, so that the policies of all f agree at equal βκ,
to leading order in the margin. Beyond it the link decides. κ z* is ½ logit η for logistic, Savage and
exponential, so these three coincide exactly where logit η is a difference of scores (Bradley-Terry); it is 2η − 1 for
squared and truncated quadratic, which coincide exactly where the squared loss fits every pair with |βρ| ≤ 1. On few
labels a pair's η is 0 or 1 and the families part at every β. Hinge has κ = 0 and no second-order term: it is drawn over
β itself, and does not come back to πref as preferences become indifferent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from experiments._losses import CURVED, accepted, each_of, of_the_preset, stated, those
from experiments._seeds import geometric_interval
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import kl_divergence
from gpo_analysis.losses import PAPER_LOSSES, get_loss
from gpo_analysis.preferences import bradley_terry, mixture_of_annotators
from gpo_analysis.statistics import bootstrap_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem, Solution

CLAIM = "At equal βκ the KL of the variants agrees near indifference; it parts by tail family, and most on few labels."
FIGURE = "variants"

LOGIT_FAMILY = ("logistic", "exponential", "savage")


@dataclass(frozen=True)
class Config:
    """The problems and the grid.

    Parameters
    ----------
    responses : int
        Number of responses of the population problems; rewards are evenly spaced in [−scale, scale].
    scales : tuple of float
        Half ranges of the rewards of the Bradley-Terry problems; small is near indifference.
    shown : float
        The scale whose curves are drawn.
    finite_responses : int
        Number of responses of the problems with samples.
    spread : float
        Standard deviation of their rewards, which are normal.
    comparisons : tuple of int
        Sizes of the labelled samples.
    samples : int
        Number of problems, each with one sample of each size.
    exponents : tuple of two int
        β is 2 to the powers of these, in steps of ½ from the first to the last.
    seed : int
        Seed of rewards and samples.
    losses : tuple of str
        Losses solved: names, or expressions in z. The claims are about the paper's.
    """

    responses: int = 8
    scales: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.5, 2.0)
    shown: float = 2.0
    finite_responses: int = 30
    spread: float = 0.5
    comparisons: tuple[int, ...] = (200, 500, 1000, 3000, 10000, 100000)
    samples: int = 8
    exponents: tuple[int, int] = (-5, 4)
    seed: int = 0
    losses: tuple[str, ...] = PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those that have no strength or no known minimum refused."""
        object.__setattr__(self, "losses", accepted(self.losses, strength=True, known=True))


PRESETS = {
    "quick": Config(),
    "paper": Config(samples=40, comparisons=(200, 500, 1000, 3000, 10000, 30000, 100000, 1000000)),
}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a problem, all losses and β in it."""
    return [
        *grid(kind="bradley-terry", scale=config.scales),
        {"kind": "annotators", "scale": config.shown},
        # 0 comparisons: the population, as many labels as one likes
        *grid(
            kind="sample", seed=range(config.seed, config.seed + config.samples), comparisons=(0, *config.comparisons)
        ),
    ]


def problem_of(
    config: Config, kind: str, scale: float = np.nan, comparisons: int = 0, seed: int = 0
) -> PreferenceProblem:
    """Return the problem of a cell; πref and μ are uniform."""
    if kind == "sample":
        uniform = np.full(config.finite_responses, 1.0 / config.finite_responses)
        rewards = np.random.default_rng(seed).normal(0.0, config.spread, size=config.finite_responses)
        whole = PreferenceProblem(bradley_terry(rewards), uniform, uniform)
        if not comparisons:
            return whole
        return PreferenceProblem.from_comparisons(whole.sample(comparisons, seed=seed), reference=uniform)
    n = config.responses
    uniform, rewards = np.full(n, 1.0 / n), np.linspace(-scale, scale, n)
    preference = bradley_terry(rewards)
    if kind == "annotators":  # two groups that agree on half of the responses: not Bradley-Terry
        other = np.where(np.arange(n) % 2 == 0, rewards, -rewards)
        preference = mixture_of_annotators([preference, bradley_terry(2.0 * other)], [0.6, 0.4])
    return PreferenceProblem(preference, uniform, uniform)


def run(config: Config, *, kind: str, scale: float = np.nan, comparisons: int = 0, seed: int = 0) -> pd.DataFrame:
    """Solve every loss once and read every β off it: the optimal centred log-ratio is proportional to 1/β."""
    problem = problem_of(config, kind, scale, comparisons, seed)
    first, last = config.exponents
    powers = [2.0 ** (k / 2) for k in range(2 * first, 2 * last + 1)]
    rows = []
    for name in config.losses:
        loss = get_loss(name)
        kappa = float(loss.curvature_ratio)
        solution = problem.solve(loss, 1.0)
        answer, scores = _scores(solution)
        usual = name in PAPER_LOSSES or kappa == 0  # their κ are ½ and 1: βκ is on one grid with β
        for power in powers:
            beta = power if usual else power / kappa
            rows.append(
                {
                    "kind": kind,
                    "scale": scale,
                    "comparisons": comparisons,
                    "seed": seed,
                    "loss": name,
                    "beta": beta,
                    "kappa": kappa,
                    "strength": beta * kappa if usual and kappa > 0 else power,
                    "kl": _kl(scores, beta, problem.reference),
                    "largest_margin": _largest(solution),
                    "answer": answer,
                    "status": solution.status.value,
                }
            )
    return pd.DataFrame(rows)


def _scores(solution: Solution) -> tuple[str, FloatArray | None]:
    """Return the log-ratio at β = 1 and what it is: the optimum, the minimiser of least norm, or nothing."""
    if solution.converged:
        return "optimum", np.asarray(solution.log_ratio)
    if solution.representative is None:
        return "none", None
    return "least norm", np.asarray(solution.representative)


def _kl(scores: FloatArray | None, beta: float, reference: FloatArray) -> float:
    """Return KL(π‖πref) in nats of π ∝ πref exp(scores/β)."""
    if scores is None:
        return float("nan")
    log_policy = np.log(reference) + scores / beta
    return float(kl_divergence(np.exp(log_policy - logsumexp(log_policy)), reference))


def _largest(solution: Solution) -> float:
    """Return the largest |βρ| of the fit."""
    margins = np.abs(np.asarray(solution.margins))
    return float(margins.max()) if margins.size and np.isfinite(margins).all() else float("nan")


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Where equal βκ is exact, where the curves part, and what few labels do."""
    bradley = find(table, kind="bradley-terry")
    strong, weak = (find(bradley, scale=scale) for scale in (config.shown, min(config.scales)))
    annotators = find(table, kind="annotators")
    margin = {s: _margin(rows, "squared") for s, rows in bradley.groupby("scale")}
    inside = [scale for scale, largest in margin.items() if largest <= 1.0]
    outside = max(margin, key=lambda scale: np.nan_to_num(margin[scale]))
    here = config.losses
    family, five = those(here, LOGIT_FAMILY), those(here, CURVED)
    two = ("squared", "truncated_quadratic")
    upto = f" (reward scales up to {max(inside):g})" if inside else ""
    beyond = f"{margin[outside]:.2f} (reward scale {outside:g})" if "squared" in here else "more"
    weakest = min(config.scales)
    checks = [
        stated(
            here,
            f"Bradley-Terry, equal βκ: KL of {', '.join(family)} (largest relative spread, every scale)",
            lambda claim: Check.equal(
                claim, 0.0, max(_spread(rows, family) for _, rows in bradley.groupby("scale")), 1e-6
            ),
            some=LOGIT_FAMILY,
            least=2,
        ),
        stated(
            here,
            f"squared fits with |βρ| ≤ 1{upto}: truncated quadratic has the same KL",
            lambda claim: Check.equal(
                claim, 0.0, max(_spread(find(bradley, scale=scale), two) for scale in inside), 1e-6
            ),
            of=two,
        ),
        stated(
            here,
            f"squared fits with |βρ| up to {beyond}: the two part",
            lambda claim: Check.at_least(claim, 0.01, _spread(find(bradley, scale=outside), two)),
            of=two,
        ),
        stated(
            here,
            f"near indifference (reward scale {weakest:g}) all five with κ > 0 agree at equal βκ",
            lambda claim: Check.at_most(claim, 0.01, _spread(weak, five)),
            some=CURVED,
            least=2,
        ),
        stated(
            here,
            f"far from it (reward scale {config.shown:g}) they do not",
            lambda claim: Check.at_least(claim, 0.5, _spread(strong, five)),
            of=CURVED,
        ),
        stated(
            here,
            "near indifference, at equal β: KL(logistic)/KL(squared) is (κ_squared/κ_logistic)²",
            lambda claim: Check.equal(claim, 4.0, _ratio(weak, "logistic", "squared", by="beta"), 0.02, relative=True),
            of=("logistic", "squared"),
        ),
        stated(
            here,
            f"hinge (κ = 0, over β) does not come back to πref: KL over squared's, reward scale {weakest:g}",
            lambda claim: Check.at_least(claim, 100.0, _ratio(weak, "hinge", "squared", by="beta")),
            of=("hinge", "squared"),
        ),
        stated(
            here,
            "two groups of annotators (not Bradley-Terry): logistic and exponential part at equal βκ",
            lambda claim: Check.at_least(claim, 0.01, _spread(annotators, ("logistic", "exponential"))),
            of=("logistic", "exponential"),
        ),
    ]
    few, many = min(config.comparisons), max(config.comparisons)
    others = those(here, ("squared", "exponential")) if "logistic" in here else ()
    parts = {f"logistic and {other}": _parting(config, table, other) for other in others}
    claim = f"{few:,} comparisons part losses over five times as far as {many:,} (log of KL ratio over its limit)"
    return [*(check.as_theorem() for check in checks), each_of(claim, parts)]


def _parting(config: Config, table: pd.DataFrame, other: str) -> Check:
    """How much further few labels part logistic and another loss than many do: medians over problems, drawn again."""
    samples = find(table, kind="sample")
    few, many = min(config.comparisons), max(config.comparisons)
    ratios = pd.DataFrame(
        {
            size: {
                seed: float(np.log(kl["logistic"].iloc[-1] / kl[other].iloc[-1]))
                for seed, rows in find(samples, comparisons=size).groupby("seed")
                for kl in _by_seed(rows, ("logistic", other), "strength")
            }
            for size in (few, many, 0)
        }
    ).dropna()
    if len(ratios) < 2:
        return Check.not_run("ratio", 5.0, f"{len(ratios)} problems have an answer for every number of labels")

    def further(logs: FloatArray) -> float:
        low, high, limit = np.median(logs, axis=0)
        return float(abs(low - limit) / max(abs(high - limit), 1e-12))

    found = bootstrap_interval(ratios.to_numpy(), further, seed=config.seed)
    low, high, limit = np.exp(ratios.median())
    check = Check.above("ratio", 5.0, found, f"{len(ratios)} problems")
    shown = f"KL(logistic)/KL({other}) is {low:.3g}, {high:.3g} and, for the population, {limit:.3g}"
    return replace(check, note=f"{check.note}; {shown}")


def at_equal(rows: pd.DataFrame, names: tuple[str, ...], by: str = "strength") -> pd.DataFrame:
    """Return KL with a column a loss and a row for each strength (or β) that all of them have; medians over samples."""
    wide = rows[rows["loss"].isin(names)].pivot_table(index=by, columns="loss", values="kl", aggfunc="median")
    return wide[list(names)].dropna()


def _spread(rows: pd.DataFrame, names: tuple[str, ...]) -> float:
    """Return the largest relative difference of KL at equal strength."""
    kl = at_equal(rows, names)
    return float((kl.max(axis=1) / kl.min(axis=1) - 1.0).max())


def _ratio(rows: pd.DataFrame, first: str, second: str, *, by: str) -> float:
    """Return KL(first)/KL(second) at the largest strength (or β) that both have; the median over seeds."""
    ratios = [kl[first].iloc[-1] / kl[second].iloc[-1] for kl in _by_seed(rows, (first, second), by)]
    return float(np.median(ratios))


def _by_seed(rows: pd.DataFrame, names: tuple[str, ...], by: str) -> list[pd.DataFrame]:
    """Return `at_equal` for each sample on which all of these losses have an answer."""
    found = [at_equal(group, names, by) for _, group in rows.groupby("seed") if set(names) <= set(_answered(group))]
    return [kl for kl in found if len(kl)]


def _answered(rows: pd.DataFrame) -> list[str]:
    return list(rows.loc[rows["kl"].notna(), "loss"])


def _margin(rows: pd.DataFrame, name: str) -> float:
    """Return the largest |βρ| of a loss's fit; it does not depend on β."""
    return float(rows.loc[rows["loss"] == name, "largest_margin"].max())


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """By how much the KL curves part, and where equal βκ is the wrong scale."""
    bradley = find(table, kind="bradley-terry")
    weak, strong = (find(bradley, scale=scale) for scale in (min(config.scales), config.shown))
    annotators = find(table, kind="annotators")
    samples = find(table, kind="sample")
    shown = []
    for size in (min(config.comparisons), max(config.comparisons), 0):
        rows = find(samples, comparisons=size)
        logs = [
            float(np.log(kl["logistic"].iloc[-1] / kl["squared"].iloc[-1]))
            for kl in _by_seed(rows, ("logistic", "squared"), "strength")
        ]
        shown.append(f"{f'{size:,} comparisons' if size else 'the population'} {geometric_interval(np.exp(logs))}")
    return (
        f"At equal βκ the KL of the five losses with κ > 0 differs by at most {_spread(weak, CURVED):.2%} "
        f"near indifference (rewards within ±{min(config.scales):g}) and by {_spread(strong, CURVED):.0%} far "
        f"from it (±{config.shown:g}); on Bradley-Terry preferences logistic, exponential and Savage agree to "
        f"{max(_spread(rows, LOGIT_FAMILY) for _, rows in bradley.groupby('scale')):.1g} at every distance. "
        "Preferences of two groups of annotators part logistic and exponential by "
        f"{_spread(annotators, ('logistic', 'exponential')):.1%}. With few labels the families part everywhere: "
        "KL(logistic)/KL(squared) at the largest βκ is, as a geometric mean over samples with its 95 % interval, "
        f"{'; '.join(shown)}. Hinge has κ = 0, cannot be put on this scale, and does not return to πref. To remember: "
        "βκ makes losses comparable near indifference and with many labels, and nowhere else."
    )
