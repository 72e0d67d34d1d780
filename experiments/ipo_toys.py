"""A published toy: three actions, where DPO forgets its reference and IPO does not.

Azar et al., "A General Theoretical Paradigm to Understand Learning from Human Preferences" (arXiv 2310.12036, §5.4):
softmax policy θ ∈ R³, Adam with learning rate 0.01, 18,000 steps, mini-batches of 9 with replacement, 10 seeds, mean
and 95 % interval, uniform πref. D1 = {(a,b), (b,c), (a,c)} is a total order, D2 = {(a,b), (b,c), (c,a)} a cycle. Of the
third set the exact pairs are not published; D3 = {(a,b), (b,a), (a,c)} is ours: c only loses. A fourth set is one
pair, two actions, the first always preferred.

IPO's objective, (ρ − 1/(2τ))², is the squared loss at β = 2τ scaled by 1/(4τ²); the scale is kept, though Adam hardly
sees it. DPO is the logistic loss at β = τ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sympy
from scipy import stats

import gpo_analysis as gpo
from experiments._losses import accepted
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.losses import MarginLoss
from gpo_analysis.preferences import Comparisons
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.training.dynamics import train_many

CLAIM = (
    "On three actions DPO turns deterministic whatever τ and ignores πref; IPO stays at a finite distance that τ sets."
)
FIGURE = "ipo-toys"

ACTIONS = ("a", "b", "c")
DATASETS: dict[str, tuple[tuple[str, str], ...]] = {
    "D1": (("a", "b"), ("b", "c"), ("a", "c")),
    "D2": (("a", "b"), ("b", "c"), ("c", "a")),
    "D3": (("a", "b"), ("b", "a"), ("a", "c")),
    "pair": (("a", "b"),),
}


@dataclass(frozen=True)
class Config:
    """Settings of the toy; all but the values of τ are published.

    Parameters
    ----------
    taus : tuple of float
        Strengths of the regularization; the published values are not known, these are ours.
    learning_rate, steps, batch_size : float, int and int
        Of Adam, with mini-batches drawn with replacement.
    seeds : int
        Number of seeds, 0, 1, …
    record_every : int
        Spacing of the records, in steps.
    losses : tuple of str
        Methods: dpo, ipo, and names or expressions in z, trained at β = τ beside them. The claims are about the two.
    """

    taus: tuple[float, ...] = (0.1, 0.5, 1.0, 5.0)
    learning_rate: float = 0.01
    steps: int = 18_000
    batch_size: int = 9
    seeds: int = 10
    record_every: int = 300
    losses: tuple[str, ...] = ("dpo", "ipo")

    def __post_init__(self) -> None:
        """Methods by their names; those of the paper are needed."""
        found = accepted(self.losses, known=True)
        if not {"logistic", "squared"} <= set(found):
            raise ValueError(f"losses: {', '.join(found)}; accepted are lists with dpo and ipo, which the toys compare")
        short = {"logistic": "dpo", "squared": "ipo"}
        object.__setattr__(self, "losses", tuple(short.get(name, name) for name in found))


PRESETS = {"quick": Config(), "paper": Config(taus=(0.1, 0.25, 0.5, 1.0, 2.0, 5.0), record_every=60)}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a data set and method; its runs over τ and seeds are stacked."""
    return grid(dataset=list(DATASETS), method=config.losses)


def problem_of(dataset: str) -> PreferenceProblem:
    """The data set as a problem with uniform πref."""
    names = ACTIONS[:2] if dataset == "pair" else ACTIONS
    return PreferenceProblem.from_comparisons(Comparisons.from_pairs(DATASETS[dataset], items=names))


def objective_of(method: str, tau: float) -> tuple[MarginLoss, float]:
    """The loss and β of a method at τ."""
    if method != "ipo":
        return gpo.get_loss(method), tau
    scale = 4 * sympy.Rational(repr(tau)) ** 2
    return MarginLoss(f"ipo at tau {tau:g}", gpo.get_loss("ipo").expression / scale), 2 * tau


def run(config: Config, *, dataset: str, method: str) -> pd.DataFrame:
    """Train over all τ and seeds; a row a run and recorded step, with the exact optimum beside it (NaN: none)."""
    problem = problem_of(dataset)
    runs_of = [(tau, seed) for tau in config.taus for seed in range(config.seeds)]
    objectives = {tau: objective_of(method, tau) for tau in config.taus}
    runs = train_many(
        problem,
        [objectives[tau][0] for tau, _ in runs_of],
        [objectives[tau][1] for tau, _ in runs_of],
        [seed for _, seed in runs_of],
        optimizer="adam",
        learning_rate=config.learning_rate,
        steps=config.steps,
        batch_size=config.batch_size,
        record_every=config.record_every,
        keep=("policies",),
    )
    base = gpo.get_loss(method)
    optima = {tau: problem.solve(base, objectives[tau][1]) for tau in config.taus}
    tables = []
    for (tau, seed), trajectory in zip(runs_of, runs, strict=True):
        table = trajectory.table[["step", "loss", "kl", "mu_squared_loss", "max_margin"]].copy()
        assert trajectory.policies is not None
        for k, action in enumerate(ACTIONS[: problem.n]):
            table[f"p_{action}"] = trajectory.policies[:, k]
            table[f"optimum_{action}"] = optima[tau].policy[k]
        head = {"dataset": dataset, "method": method, "tau": tau, "seed": seed}
        tables.append(
            pd.concat([pd.DataFrame({name: [value] * len(table) for name, value in head.items()}), table], axis=1)
        )
        tables[-1]["status"] = trajectory.status
        tables[-1]["solver"] = optima[tau].status.value
    return pd.concat(tables, ignore_index=True)


def interval(values: pd.Series) -> tuple[float, float]:
    """Mean over seeds and the half-width of its 95 % interval (Student's t)."""
    half = (
        stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    )
    return float(values.mean()), float(half)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Where the last step stands against the exact optimum, and where there is none, against certainty."""
    last, over = find(table, step=config.steps), f"{config.seeds} seeds"
    found: dict[str, dict[str, Check]] = {}

    def note(claim: str, tau: float, check: Check) -> None:
        found.setdefault(claim, {})[f"τ = {tau:g}"] = check

    for tau in config.taus:
        here = find(last, tau=tau)
        ipo, dpo = (find(here, method=method).set_index("dataset") for method in ("ipo", "dpo"))
        for dataset in ("D1", "D2", "D3"):
            rows = ipo.loc[dataset]
            gaps = [mean_interval(rows[f"p_{action}"] - rows[f"optimum_{action}"]) for action in ACTIONS]
            off = max(gaps, key=lambda gap: abs(gap.value))
            claim = f"IPO, {dataset}: last policy against the exact optimum, probability farthest off"
            note(claim, tau, Check.within("gap", 0.0, off, 0.02, over))
        loses = float(np.exp(-0.5 / tau))
        claim = "IPO, D3: p(c) of an action that only loses is e^(−1/2τ) / (2 + e^(−1/2τ))"
        note(claim, tau, Check.within("p(c)", loses / (2 + loses), mean_interval(ipo.loc["D3", "p_c"]), 0.02, over))
        exact = float(1 / (1 + np.exp(-0.5 / tau)))
        claim = "IPO, two actions: π(y1) = σ(0.5/τ)"
        note(claim, tau, Check.within("π(y1)", exact, mean_interval(ipo.loc["pair", "p_a"]), 1e-3, over))
        claim = "DPO, D1: p(a) after the last step, on its way to 1"
        note(claim, tau, Check.above("p(a)", 0.99, mean_interval(dpo.loc["D1", "p_a"]), over))
        claim = "DPO, D1: the exact solver on its limit"
        note(claim, tau, Check.text("status", "no finite optimum", dpo.loc["D1", "solver"].iloc[0]).as_theorem())
        claim = "DPO, D3: p(c) after the last step, on its way to 0 whatever πref"
        note(claim, tau, Check.below("p(c)", 0.01, mean_interval(dpo.loc["D3", "p_c"]), over))
        gaps = [mean_interval(dpo.loc["D2", f"p_{action}"] - 1 / 3) for action in ACTIONS]
        off = max(gaps, key=lambda gap: abs(gap.value))
        note("DPO, D2: a cycle leaves πref, probability farthest off", tau, Check.within("gap", 0.0, off, 0.02, over))
    late = "margins grow like log(steps)/τ, so that a large τ is late; D3 is ours"
    return [Check.each(claim, parts, note=late if "on its way" in claim else "") for claim, parts in found.items()]


def summary(config: Config, table: pd.DataFrame) -> str:
    """Where each method ends on the total order and on the action that only loses."""
    last = find(table, step=config.steps)

    def at(method: str, dataset: str, tau: float, action: str) -> str:
        rows = find(last, method=method, dataset=dataset, tau=tau)
        mean, half = interval(rows[f"p_{action}"])
        return f"{mean:.4f} ± {half:.1g}"

    low, high = min(config.taus), max(config.taus)
    late = find(last, method="dpo", dataset="D1").groupby("tau")["p_a"].mean()
    short = ", ".join(f"{tau:g}" for tau in late.index[late < 0.99])
    speed = f"p(a) is still below 0.99 at τ = {short}" if short else "p(a) is above 0.99 at every τ here"
    return (
        f"After {config.steps:,} steps on the total order (means and 95 % half-widths over {config.seeds} seeds) DPO "
        f"gives the best action {at('dpo', 'D1', low, 'a')} at τ = {low:g} and {at('dpo', 'D1', high, 'a')} at τ = "
        f"{high:g}, IPO {at('ipo', 'D1', low, 'a')} and {at('ipo', 'D1', high, 'a')}. The action that only loses "
        f"keeps {at('dpo', 'D3', high, 'c')} under DPO and {at('ipo', 'D3', high, 'c')} under IPO at τ = {high:g}. "
        "DPO has no finite optimum for any τ, though it is slow to show where τ is large "
        f"({speed}); "
        "on a cycle both stay at πref. The third data set is ours, as the published pairs are not known. To "
        "remember: with a preference that is always the same way, τ sets where IPO ends and only how soon DPO gets "
        "to certainty."
    )
