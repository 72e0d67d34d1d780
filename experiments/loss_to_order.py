"""Losses made to order: have they what was wished, and do they behave as that says?

Worked out beforehand (`gpo_analysis.analysis.design`). z* = c logit η forces κ = 1/(2c) and an infinite margin at
η = 1; κ < 0 and a margin of 0 or less contradict calibration; nothing else is excluded. So of a grid of wishes exactly
those are refused, and each of the others is met, by numbers that do not come from `analyze`.

One designed loss is then tried as the losses of the other experiments are. *clipped* is log(1 + e^{−2κz}) + 2κσ(0)
max(0, z − m) with κ = 3/4, m = 2: logistic's shape and, beyond the margin, a wall. Its link is ½ logit η/κ cut off at
±m. Hence, at equal βκ and while logistic's fitted |βρ| < 2κm = 3 on every pair (under Bradley–Terry: |logit η| < 3; a
cycle changes nothing): *the same optimum*, KL, win rate and deviation as logistic, to rounding; *the same local rate*
once time is measured in β²f″(0); *the same precision*, so efficiency 1 under Bradley–Terry; *the Taylor radius*
min(π/(2κ), m), that is 2, not π/(2κ) = 2.094. Where a preference is deterministic it stops at ρ = m/β, where logistic
has no optimum. Its gradient is bounded by twice that at 0, as logistic's; squared's grows with the margin. Further
losses: *heavy* (√(1+κ²z²) − κz, no logit, infinite margin), *huber* (pseudo-Huber, finite margin, bounded gradient).
Problems are ours.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

import gpo_analysis as gpo
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.analysis import IncompatibleWishesError, taylor_radius
from gpo_analysis.estimation import asymptotics, relative_efficiency
from gpo_analysis.preferences import Comparisons
from gpo_analysis.statistics import Interval, mean_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem, win_rate
from gpo_analysis.training import local_rates

CLAIM = (
    "A loss can be had to order: κ, margin at certainty, growth of the gradient and link, unless a logit link meets a "
    "finite margin or another κ; and it behaves in training and in statistics as the wishes say."
)
FIGURE = "loss-to-order"

WISHES: dict[str, dict[str, Any]] = {
    "clipped": {"kappa": "3/4", "margin": 2, "bounded_gradient": True},
    "heavy": {"kappa": "3/4", "margin": "infinite", "bounded_gradient": True, "logit_link": False},
    "huber": {"kappa": "3/4", "margin": "finite", "bounded_gradient": True},
}
DESIGNED = {
    "clipped": "log(1 + exp(-3*z/2)) + 3*max(0, z - 2)/4",
    "heavy": "sqrt(1 + 9*z**2/16) - 3*z/4",
    "huber": "sqrt(1 + (1 - 3*z/2)**2)",
}
"""The designed losses as expressions, for `gpo.parse_loss`; a check holds them to what `design_loss` returns."""

KINDS = ("bradley-terry", "cycle")
BASELINES = ("logistic", "squared", "hinge")


@dataclass(frozen=True)
class Config:
    """Wishes asked for, and problems for the designed losses.

    Parameters
    ----------
    kappas, margins : tuple of str
        Asked for in all combinations, with every link.
    growths, shapes : tuple of bool
        Whether the gradient is bounded and f convex, in all combinations.
    spreads : tuple of float
        Largest logit between two responses of the Bradley–Terry problems.
    responses : int
        Equally spaced rewards; μ and πref random, one draw a seed.
    beta_kappas : tuple of float
        Strengths compared.
    seeds : int
        Problems drawn, each with its own μ and πref.
    """

    kappas: tuple[str, ...] = ("3/4",)
    margins: tuple[str, ...] = ("infinite", "2")
    growths: tuple[bool, ...] = (True,)
    shapes: tuple[bool, ...] = (True,)
    spreads: tuple[float, ...] = (1.0, 2.0, 2.9, 4.0, 6.0)
    responses: int = 6
    beta_kappas: tuple[float, ...] = (0.1, 0.5, 2.0)
    seeds: int = 5


PRESETS = {
    "quick": Config(),
    "paper": Config(
        kappas=("0", "1/2", "3"),
        margins=("infinite", "2"),
        growths=(True, False),
        shapes=(True, False),
        seeds=20,
    ),
}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a κ and margin, and one a designed loss or baseline."""
    asked = grid(
        part="wishes", kappa=config.kappas, margin=config.margins, bounded=config.growths, convex=config.shapes
    )
    return asked + grid(part="tried", loss=(*DESIGNED, *BASELINES))


def loss_of(name: str) -> gpo.MarginLoss:
    """A designed loss or one of the catalogue."""
    return gpo.parse_loss(DESIGNED[name], name=name) if name in DESIGNED else gpo.get_loss(name)


def run(config: Config, *, part: str, **axes: Any) -> pd.DataFrame:
    """A row a combination of wishes; or a row a problem of a loss."""
    rows = _wishes(**axes) if part == "wishes" else _tried(config, **axes)
    return pd.DataFrame([{"part": part, **row} for row in rows])


def _wishes(kappa: str, margin: str, bounded: bool, convex: bool) -> list[dict[str, Any]]:
    rows = []
    for link in (True, "scaled", False):
        wishes = {
            "kappa": kappa, "margin": margin, "bounded_gradient": bounded, "logit_link": link,
            "convex": convex,
        }  # fmt: skip
        row = {**wishes, "logit_link": str(link), "allowed": _allowed(kappa, margin, link)}
        try:
            loss = gpo.design_loss(**wishes)
        except IncompatibleWishesError as error:
            rows.append({**row, "designed": False, "expression": str(error), "met": True})
        else:
            rows.append({**row, "designed": True, "expression": str(loss.expression), **_measured(loss, row)})
    return rows


def _allowed(kappa: str, margin: str, link: bool | str) -> bool:
    """The two exclusions of the docstring that this grid meets."""
    if link is False:
        return True
    return margin == "infinite" and (kappa == "1/2" if link is True else kappa != "0")


def _measured(loss: gpo.MarginLoss, row: dict[str, Any]) -> dict[str, Any]:
    """By values of f alone: κ, where f is least, how its slope grows, where it bends down, its link."""
    step = 1e-3
    f = loss(np.array([-step, 0.0, step]))
    kappa = float((f[0] - 2 * f[1] + f[2]) / step**2 / (abs(f[2] - f[0]) / (2 * step)))
    z = np.linspace(-40.0, 40.0, 8001)
    values = loss(z)
    least = float(z[np.argmin(values)])  # 40 where f falls for ever
    near, far = (abs(float(loss(-x - 1.0) - loss(-x))) for x in (30.0, 60.0))
    bends = bool(np.any(values[2:] - 2 * values[1:-1] + values[:-2] < -1e-10 * (1 + np.abs(values[1:-1]))))
    margin = least > 30 if row["margin"] == "infinite" else least < 30
    if row["margin"] not in ("infinite", "finite"):
        margin = abs(least - number(row["margin"])) <= 0.011
    met = abs(kappa - number(row["kappa"])) <= 1e-3 and margin and bends != row["convex"]
    met = met and (far <= 1.01 * near + 1e-9) == row["bounded_gradient"]
    link = _link(loss, z, values)
    if row["logit_link"] != "False":
        met = met and link < 0.02
    return {"kappa_found": kappa, "least_at": least, "bends": bends, "link_error": link, "met": bool(met)}


def _link(loss: gpo.MarginLoss, z: np.ndarray, values: np.ndarray) -> float:
    """Largest |2κz*/logit η − 1| over three η, z* read off the risk on the grid of z; κ from the derivatives."""
    eta = np.array([[0.7], [0.8], [0.9]])
    best = z[np.argmin(eta * values + (1 - eta) * values[::-1], axis=1)]
    return float(np.max(np.abs(2 * float(loss.curvature_ratio) * best / np.log(eta / (1 - eta)).ravel() - 1)))


def number(text: str) -> float:
    """A number written as a fraction."""
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)


def _tried(config: Config, loss: str) -> list[dict[str, Any]]:
    f = loss_of(loss)
    kappa = float(f.curvature_ratio) or None
    certain = gpo.fit_comparisons(Comparisons.from_pairs([("a", "b")]), [f]).solutions[f.name]
    whole = {
        "loss": loss, "kappa_found": kappa, "radius": float(taylor_radius(f)),
        "certain_rho": float(np.ptp(certain.scores)) if certain.converged else float(gpo.optimal_margin(f, 1.0)),
        "steepest": float(abs(f.derivative(-100.0) / f.derivative(0.0))),
    }  # fmt: skip
    rows = []
    settings = itertools.product(KINDS, config.spreads, config.beta_kappas, range(config.seeds))
    for kind, spread, strength, seed in settings:
        problem = problem_of(kind, config.responses, spread, seed)
        beta = f.beta_of(strength)
        solution = problem.solve(f, beta)
        row = {
            **whole,
            "kind": kind,
            "spread": spread,
            "beta_kappa": strength,
            "seed": seed,
            "status": solution.status.value,
        }
        if solution.converged:
            h, preference = np.log(solution.policy / problem.reference), np.asarray(problem.preference)
            row |= {"kl": solution.kl, "deviation": float(np.ptp(h)), "mu_squared_loss": solution.mu_squared_loss,
                    "z": beta * float(np.ptp(h)),
                    "win_rate": float(win_rate(solution.policy, problem.reference, preference))}  # fmt: skip
        if solution.converged and kappa and kind == KINDS[0] and strength == config.beta_kappas[0]:
            row |= _local(problem, f, beta)
        rows.append(row)
    return rows


def problem_of(kind: str, responses: int, spread: float, seed: int) -> PreferenceProblem:
    """Bradley–Terry preferences with random μ and πref; or with a cycle, one logit from each response to the next."""
    rng = np.random.default_rng([seed, responses])
    behavior, reference = rng.dirichlet(np.full(responses, 5.0), size=2)
    rewards = rng.permutation(np.linspace(0.0, spread, responses))
    logits = rewards[:, None] - rewards
    if kind == "cycle":
        ahead = (np.arange(responses) - np.arange(responses)[:, None]) % responses == 1
        logits = logits + ahead - ahead.T.astype(float)
    return PreferenceProblem(expit(logits), behavior, reference)


def _local(problem: PreferenceProblem, loss: gpo.MarginLoss, beta: float) -> dict[str, float]:
    """Slowest local rate in the time β²f″(0) t, and efficiency relative to logistic."""
    rates = local_rates(problem, loss, beta)
    curvature = float(loss.derivative(0.0, 2))
    efficiency = relative_efficiency(asymptotics(problem, loss), asymptotics(problem, "logistic"))
    return {
        "rate": float(rates.slowest / (beta**2 * curvature)),
        "efficiency": float(np.nanmean(efficiency)),
    }


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Which wishes are refused, which are met, and how the designed losses behave."""
    asked, tried = find(table, part="wishes"), find(table, part="tried")
    wrong = int((asked["allowed"] != asked["designed"]).sum())
    made = asked[asked["designed"].astype(bool)]
    checks = [
        Check.equal(
            f"wishes refused or granted otherwise than worked out, of {len(asked)}", 0, wrong, 0,
            note=f"{len(made)} granted",
        ),
        Check.equal(
            "losses that have not what was wished, by values of f alone", 0,
            int((~made["met"].astype(bool)).sum()), 0, note=f"of {len(made)}",
        ),
    ]  # fmt: skip
    checks += _same_as_logistic(tried)
    one = {str(row["loss"]): row for row in tried.drop_duplicates("loss").to_dict("records")}
    checks += [
        Check.equal("clipped: Taylor radius, the margin's wall", 2.0, float(one["clipped"]["radius"]), 1e-12),
        Check.equal("clipped: βρ at η = 1", 2.0, float(one["clipped"]["certain_rho"]), 1e-6),
        Check.equal("huber: βρ at η = 1, 1/(2κ)", 2 / 3, float(one["huber"]["certain_rho"]), 1e-6),
        Check.equal("heavy: βρ at η = 1", float("inf"), float(one["heavy"]["certain_rho"]), 0.0),
        Check.at_most("clipped: |f′(−100)/f′(0)|", 2.0, float(one["clipped"]["steepest"]), 1e-9),
        Check.at_least("squared: |f′(−100)/f′(0)|", 100.0, float(one["squared"]["steepest"])),
    ]
    return [check.as_theorem() for check in checks]  # values of f, and exact optima beside exact optima


def _same_as_logistic(tried: pd.DataFrame) -> list[Check]:
    """clipped against logistic, problem by problem, where logistic's margins are below the wall at 3 and above."""
    checks = []
    pair = _paired(tried, "clipped")
    below, above = pair[pair["z_logistic"] < 3.0], pair[pair["z_logistic"] > 3.0]
    names = {"kl": "KL", "deviation": "largest |ρ|", "win_rate": "win rate", "rate": "slowest local rate over β²f″(0)"}
    gaps = {}
    for name, words in names.items():
        gap = float((below[f"{name}_own"] / below[f"{name}_logistic"] - 1).abs().max())
        gaps[words] = Check.equal("gap", 0.0, gap, 1e-5, note=f"{below[f'{name}_own'].notna().sum()} problems")
    checks.append(Check.each("clipped is logistic at equal βκ while logistic's |βρ| < 3, largest relative gap", gaps))
    gap = float((below["efficiency_own"] - 1).abs().max())
    claim = "clipped: efficiency under Bradley–Terry below the wall, largest gap to 1"
    checks.append(Check.equal(claim, 0.0, gap, 1e-5))
    ratio = float((above["deviation_own"] / above["deviation_logistic"]).max())
    checks.append(
        Check.at_most("clipped: largest |ρ| over logistic's beyond the wall, largest ratio", 1.0, ratio, -1e-6)
    )
    return checks


def _paired(tried: pd.DataFrame, loss: str) -> pd.DataFrame:
    keys = ["kind", "spread", "beta_kappa", "seed"]
    own, logistic = (find(tried, loss=name).set_index(keys) for name in (loss, "logistic"))
    columns = ["kl", "z", "deviation", "win_rate", "rate", "efficiency"]
    return own[columns].add_suffix("_own").join(logistic[columns].add_suffix("_logistic")).reset_index()


def _mean(values: pd.Series[float]) -> Interval:
    return mean_interval(values.dropna())


def summary(config: Config, table: pd.DataFrame) -> str:
    """What was found."""
    asked, tried = find(table, part="wishes"), find(table, part="tried")
    granted, refused = int(asked["designed"].sum()), int((~asked["designed"].astype(bool)).sum())
    clipped, heavy, huber = (_paired(tried, loss) for loss in DESIGNED)
    below = clipped[clipped["z_logistic"] < 3]
    gap = float((below["kl_own"] / below["kl_logistic"] - 1).abs().max())
    steep = clipped["spread"] == clipped["spread"].max()
    held = _mean((clipped["deviation_own"] / clipped["deviation_logistic"])[steep])
    signal = [_mean(part["efficiency_own"]) for part in (heavy, huber)]
    spent = [_mean((part["kl_own"] / part["kl_logistic"])[steep]) for part in (heavy, huber)]
    return f"""Of {len(asked)} combinations of wishes {granted} were met and {refused} refused, all as worked out:
    only the logit excludes anything, namely every κ but ½ (a multiple c of it every κ but 1/(2c)) and every finite
    margin. The loss made for κ = ¾, margin 2 and a bounded gradient has, at equal βκ, logistic's optimum to a relative
    {gap:.1g} in KL on {len(below)} problems, cycles among them, in which logistic's |βρ| stays below 3, its local rate
    and its efficiency too; where the largest logit is {config.spreads[-1]:g} its largest |ρ| is {held} of logistic's,
    and at η = 1 it stops at 2/β, where logistic never stops. The loss without a logit link tells responses apart under
    Bradley–Terry with {signal[0]} of logistic's squared signal to noise and spends {spent[0]} times its KL at equal βκ
    and the largest logit; the pseudo-Huber, which estimates a flattened projection, has {signal[1]} and {spent[1]}. To
    remember: κ sets the strength near πref, the margin at certainty what happens far out, and one can have both to
    order, but not with the logit link, which comes with κ = ½ and no stop."""
