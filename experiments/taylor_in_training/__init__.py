"""Where the expansion in the margin holds while a policy trains, and a rule that says so beforehand.

The expansion of order N puts T_N′(βρ) for f′(βρ) in the gradient (Tang et al., arXiv 2402.05749, §3: order 1 is the
preference, order 2 adds the μ-weighted square loss). Softmax policies, gradient descent from πref; settings ours.
Worked out beforehand:

- squared is its own order 2 everywhere, hinge its order 1 and truncated quadratic its order 2 while every |βρ| < 1;
- the relative error of order N starts as |βρ|^p, p the first power of f′ beyond N − 1 with a coefficient (logistic has
  no z³ in f, so p = 3 at order 2), and then grows without end: at the optimum the true gradient is zero and that of
  the expansion is not, radius or no radius;
- margins at the population optimum do not depend on β, so neither does the share beyond the radius of convergence.
  After a fixed number of steps it does, and only through β² × learning rate × steps;
- a rule for whether |βρ| ever reaches the radius r: no, if every pair's lesser of |z*(η)| and β²|f′(0)|t|d_i − d_j|
  is below r (`predicted_margins`). Its parts alone, and the rule with the solved optimum for z*(η), stand beside it. It
  raised false alarms, as a constant speed does not fade; part ``rule`` integrates the pair's own equation instead,
  predicted in docs/predictions/testbed.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import sympy

import gpo_analysis as gpo
from experiments._losses import accepted, of_the_preset, one_claim, only_those_of_the_paper, rows_of, stated, those
from experiments.framework import Check, explained
from experiments.framework.sweeps import grid
from experiments.taylor_in_training import rule
from experiments.taylor_in_training.rule import KINDS
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.training import expansion_table, share_beyond

CLAIM = "Training leaves the reach of the expansion when η and the clock β²|f′(0)|t say so; near rest no order is near."
FIGURE = "taylor-in-training"

ORDERS = (1, 2, 3)
EXACT = {"squared": (2, np.inf), "hinge": (1, 1.0), "truncated_quadratic": (2, 1.0)}
"""Order from which the expansion is exact, and up to which |βρ|."""


@dataclass(frozen=True)
class Config:
    """Problems and training.

    Parameters
    ----------
    responses, spread : int and float
        n, and the standard deviation of the rewards of Bradley–Terry problems.
    beta : float
        Of the paths.
    betas : tuple of float
        Of the shares beyond the radius.
    steps : int
        Steps of gradient descent on the paths.
    seeds : int
        Problems of the paths and of the shares.
    problems : int
        Random problems of the rule, for each f, size and kind of preferences.
    sizes : tuple of int
        Responses of the rule's problems.
    seed : int
        Of all of them: the paths' problems are numbered from 1000 × seed.
    losses : tuple of str
        Losses trained: names, or expressions in z; shares and rule are of those whose series has a finite radius. The
        claims are about the paper's.
    """

    responses: int = 8
    spread: float = 1.5
    beta: float = 0.5
    betas: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    steps: int = 1000
    seeds: int = 4
    problems: int = 24
    sizes: tuple[int, ...] = (6,)
    seed: int = 0
    losses: tuple[str, ...] = gpo.PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those refused that have no strength, known minimum or radius."""
        object.__setattr__(self, "losses", accepted(self.losses, strength=True, known=True))
        rule.bounded(self.losses)

    @property
    def numbers(self) -> range:
        """Numbers of the paths' problems."""
        return range(1000 * self.seed, 1000 * self.seed + self.seeds)


PRESETS = {"quick": Config(), "paper": Config(seeds=12, steps=3000, problems=80, sizes=(4, 8, 12), seed=1)}


def cells(config: Config) -> list[dict[str, Any]]:
    """A cell a loss for paths and shares, a loss, size and kind for the rule."""
    found, near = grid(part="path", loss=config.losses), rule.bounded(config.losses)
    if not near:
        return found
    return [
        *found,
        *grid(part="share", loss=near),
        *grid(part="rule", loss=near, responses=config.sizes, kind=KINDS),
    ]


def problem_of(config: Config, seed: int) -> PreferenceProblem:
    """Bradley–Terry preferences, with μ and πref of their own."""
    rng = np.random.default_rng([seed, 42])
    mu, reference = rng.dirichlet(np.full(config.responses, 5.0), size=2)
    return PreferenceProblem(gpo.bradley_terry(config.spread * rng.normal(size=config.responses)), mu, reference)


def run(config: Config, *, part: str, loss: str, **axes: Any) -> pd.DataFrame:
    """Rows of one part."""
    parts = {"path": _path, "share": _share, "rule": _rule}
    return parts[part](config, loss, **axes).assign(part=part, loss=loss)


def _path(config: Config, loss: str) -> pd.DataFrame:
    """Expansions along gradient descent, at steps evenly spaced in their logarithm."""
    beta, found = config.beta, []
    slope = abs(float(gpo.get_loss(loss).derivative(0.0, 1)))
    problems = [problem_of(config, seed) for seed in config.numbers]
    # a short fine stretch for small margins, then the whole course
    for clock, steps in ((0.02, 40), (0.5, config.steps)):
        rate, shown = clock / (beta**2 * slope), np.unique(np.append(0, np.geomspace(1, steps, 60).astype(int)))
        paths = gpo.train_many(problems, loss, beta, learning_rate=rate, steps=steps, keep=("logits",))
        for seed, problem, path in zip(config.numbers, problems, paths, strict=True):
            log_ratio = np.asarray(path.logits)[shown] - np.log(problem.reference)
            table = pd.DataFrame(expansion_table(problem, loss, beta, log_ratio, ORDERS))
            found.append(table.assign(seed=seed, clock=clock * shown, fine=clock < 0.1))
    return pd.concat(found, ignore_index=True)


def _share(config: Config, loss: str) -> pd.DataFrame:
    """Share beyond the radius at the optimum and after as many steps, over β; and with β² × learning rate held."""
    betas, seeds = config.betas, config.numbers
    rate = 0.3 / abs(float(gpo.get_loss(loss).derivative(0.0, 1)))
    problems = [problem_of(config, seed) for seed in seeds]
    rows: list[dict[str, Any]] = []
    for beta in betas:
        paths = gpo.train_many(problems, loss, beta, learning_rate=rate, steps=3000, record_every=30, keep=("logits",))
        held = gpo.train_many(
            problems, loss, beta, learning_rate=rate / beta**2 / 10, steps=300, record_every=300, keep=("logits",)
        )
        for k, (seed, problem) in enumerate(zip(seeds, problems, strict=True)):
            best = problem.solve(loss, beta)
            row: dict[str, Any] = {"seed": seed, "beta": beta, "optimum": np.nan}
            if best.converged:
                # margins at hinge's optimum are whole numbers: rounding must not decide which side of 1 they are on
                row["optimum"] = float(share_beyond(problem, loss, beta * (1.0 - 1e-7), best.log_ratio))
            moved = np.asarray(paths[k].logits) - np.log(problem.reference)
            beyond = share_beyond(problem, loss, beta, moved)
            row |= {f"trained_{steps}": float(beyond[steps // 30]) for steps in (30, 300, 3000)}
            row["clocked"] = float(share_beyond(problem, loss, beta, held[k].final_logits - np.log(problem.reference)))
            rows.append(row)
    return pd.DataFrame(rows)


def _rule(config: Config, loss: str, responses: int, kind: str) -> pd.DataFrame:
    return rule.run(config.seed, config.problems, loss, responses, kind)


def power_of(loss: str, order: int) -> int:
    """First power beyond order − 1 in the series of f′ at 0."""
    f = gpo.get_loss(loss)
    series = sympy.Poly(gpo.taylor(f, order + 3), f.symbol).diff(f.symbol)
    return min(power for (power,), _ in series.terms() if power >= order)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Exactness, powers, the end of training, the shares and the rule."""
    if none := only_those_of_the_paper(config.losses, CLAIM):
        return none
    path, shares, ruled = _parts(rows_of(table))
    exact = ("exact", "it is not", "power of", "at the optimum", "β²·lr held")
    found = [
        replace(item, nature="theorem" if any(words in item.claim for words in exact) else "measurement")
        for item in _path_checks(path) + _share_checks(shares)
    ]
    if ruled.empty:
        said = "shares beyond the radius, and the rule that foresees them"
        found.append(stated(config.losses, said, some=tuple(rule.BOUNDED)))
    return explained(
        one_claim(found + rule.check(ruled), config.losses),
        {"error rate of link and slope": lambda: rule.of_link_and_slope(ruled)},
    )


def _parts(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    path, shares, ruled = (find(table, part=part) for part in ("path", "share", "rule"))
    return path.assign(fine=path["fine"].astype(bool)), shares, ruled


def _path_checks(path: pd.DataFrame) -> list[Check]:
    checks = []
    here = set(path["loss"])
    for loss in those(here, EXACT):
        order, reach = EXACT[loss]
        rows = find(path, loss=loss)
        inside, outside = rows[rows["largest"] < reach], rows[rows["largest"] > 1.05 * reach]
        columns = [f"scaled_error_{k}" for k in ORDERS if k >= order]
        claim = f"{loss}: order {order} is exact{' everywhere' if np.isinf(reach) else ' while every |βρ| < 1'}"
        checks.append(
            Check.at_most(
                f"{claim} (largest error over the first gradient)",
                1e-12,
                float(inside[columns].max().max()),
                note=f"{len(inside)} policies",
            )
        )
        if np.isfinite(reach) and len(outside):
            checks.append(
                Check.at_least(
                    f"{loss}: beyond |βρ| = 1.05 it is not (least error)",
                    1e-6,
                    float(outside[columns].min().min()),
                    note=f"{len(outside)} policies",
                )
            )
    for loss in those(here, ("logistic", "exponential", "savage")):
        rows = path[(path["loss"] == loss) & path["fine"] & (path["largest"] > 0.01) & (path["largest"] < 0.2)]
        for order in ORDERS:
            slopes = [_power(group, order) for _, group in rows.groupby("seed")]
            checks.append(
                Check.equal(
                    f"{loss}: power of |βρ| in the relative error of order {order}",
                    power_of(loss, order),
                    float(np.mean(slopes)),
                    0.15,
                    note=str(mean_interval(slopes)),
                )
            )
        last = path[(path["loss"] == loss) & ~path["fine"]].groupby("seed").last()
        note = (
            f"over the first gradient it is {mean_interval(last['scaled_error_2'])}; "
            f"largest |βρ| {mean_interval(last['largest'])}"
        )
        checks.append(
            Check.at_least(
                f"{loss}: relative error of order 2 at the end (least over problems)",
                1.0,
                float(last["relative_error_2"].min()),
                note=note,
            )
        )
    return checks


def _power(rows: pd.DataFrame, order: int) -> float:
    return float(np.polyfit(np.log(rows["largest"]), np.log(rows[f"relative_error_{order}"]), 1)[0])


def _share_checks(shares: pd.DataFrame) -> list[Check]:
    checks = []
    for loss, rows in shares.groupby("loss", sort=False):
        by_seed = rows.groupby("seed")
        optimum, rest = by_seed["optimum"].agg(np.ptp), by_seed["optimum"].mean()
        held = by_seed["clocked"].agg(np.ptp)
        trained = by_seed["trained_3000"].agg(np.ptp)
        note = f"share at the optimum {mean_interval(rest)}"
        checks += [
            Check.equal(
                f"{loss}: share beyond the radius at the optimum, spread over β (largest)",
                0.0,
                float(optimum.max()),
                1e-9,
                note=note,
            ),
            Check.equal(
                f"{loss}: the same after as many steps with β²·lr held (largest)", 0.0, float(held.max()), 1e-9
            ),
            replace(
                Check.above(
                    f"{loss}: after 3,000 steps of one rate, spread over β less half the optimum's share",
                    0.0,
                    mean_interval(trained - 0.5 * rest),
                    "problems",
                ),
                restated="24 November 2026: from 300 to 3,000 steps after a first run",
            ),
        ]
    return checks


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """What was found, with intervals."""
    path, shares, ruled = _parts(table)
    whole = path[~path["fine"]]
    near = whole[whole["largest"].between(0.8, 1.2)]
    errors, cosines = {}, {}
    for loss in ("logistic", "exponential", "savage"):
        errors[loss] = mean_interval(find(near, loss=loss).groupby("seed")["relative_error_2"].mean())
        cosines[loss] = mean_interval(find(whole, loss=loss).groupby("seed")["cosine_2"].last())
    optimum = find(shares, loss="logistic").groupby("seed")["optimum"].first()
    low, high = (
        find(shares, loss="logistic", beta=beta)["trained_3000"] for beta in (min(config.betas), max(config.betas))
    )
    return (
        "When the largest |βρ| is about 1 the order-2 gradient is off by "
        + ", ".join(f"{errors[f]} ({f})" for f in errors)
        + " of the true one. At the end of training, where the true gradient fades, its cosine with the truth is "
        + ", ".join(f"{cosines[f]} ({f})" for f in cosines)
        + ": the expansion describes the way, not the rest. For logistic "
        f"{mean_interval(optimum)} of the pairs lie beyond π at the optimum, whatever β; after 3,000 steps of "
        f"one learning rate {mean_interval(low)} do at β = {min(config.betas):g}, {mean_interval(high)} at "
        f"β = {max(config.betas):g}. {rule.summary(ruled)} "
        "To remember: β does not decide how far margins go, only how soon they get there."
    )
