"""Links and divergences: the grid f × link g × β, with the margin β [g(t_i) − g(t_j)], t = π/πref.

f-DPO (arXiv 2309.16240) and χPO (arXiv 2407.13399) put another function where DPO's margin has the logarithm; the
margin loss f is free as before. Two parts; settings ours, problems Bradley–Terry with random rewards and πref:

- *optimum*: μ has full support; population optima for every f, g and β;
- *off support*: μ leaves responses out; gradient flow on softmax logits from πref.

Predicted before running:

- u with β g(t_i) = u_i + c does not depend on g, so neither do the fitted margins nor the population loss;
- near πref g(t) ≈ g(1) + g′(1) log t, so that βg′(1) sets the strength: KL at β with link g tends to the logarithm's
  at βg′(1) as β grows (g′(1): logarithm, forward KL and α 1, Jensen–Shannon ½, χPO 2). With κ: equal βκg′(1);
- far from πref they part by their tails. With κ equal, χPO's largest ratio grows like (u_max − u)/β, not like its
  exponential; forward KL's smallest ratio falls like β/(u_max − u);
- off the support the loss says nothing, and the flow decides: logits there stand still for the logarithm, fall for χPO,
  rise for forward KL, Jensen–Shannon and α, for every f (:mod:`gpo_analysis.tabular.links`). Hinge slides along its
  kinks, which no flow survives; in this part it is replaced by τ log(1 + exp((1 − z)/τ)), τ = 0.05.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from experiments._losses import accepted, of_the_preset, only_those_of_the_paper, rows_of
from experiments._seeds import share_of
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import GeneratorDerivative, get_link
from gpo_analysis.losses import PAPER_LOSSES, MarginLoss
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem, link_flow, off_support_mass

CLAIM = (
    "A link changes how far the policy goes, not what is fitted: near πref as βg′(1), far off and unseen by its tail."
)
FIGURE = "links-and-divergences"

LINKS = ("reverse_kl", "forward_kl", "jensen_shannon", "alpha", "chi_po")
SIGNS = {"reverse_kl": 0, "forward_kl": 1, "jensen_shannon": 1, "alpha": 1, "chi_po": -1}
"""Predicted sign of the motion of logits off the support."""
SMOOTH_HINGE = gpo.parse_loss("log(1 + exp(20*(1 - z)))/20", name="smooth hinge")


@dataclass(frozen=True)
class Config:
    """Problems and grid.

    Parameters
    ----------
    responses, unseen : int
        n, and how many of them μ leaves out in the second part.
    strengths : tuple of float
        Values of βκ (of β for hinge).
    flow_strength, duration : float
        βκ of the flow, and its time in units of 1/(β² f″(0)) (1/β² for hinge).
    seeds : int
        Problems.
    seed : int
        Of all of them.
    losses : tuple of str
        Losses compared: names, or expressions in z. The claims are about the paper's.
    """

    responses: int = 8
    unseen: int = 3
    strengths: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 1.0, 4.0, 64.0)
    flow_strength: float = 0.5
    duration: float = 300.0
    seeds: int = 6
    seed: int = 0
    losses: tuple[str, ...] = PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those refused that no flow follows, or that have no strength or known minimum."""
        object.__setattr__(self, "losses", accepted(self.losses, strength=True, flow=True, known=True))


PRESETS = {
    "quick": Config(),
    "paper": Config(strengths=(0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0, 4.0, 16.0, 64.0), seeds=30, duration=1000.0),
}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a problem and loss."""
    return grid(number=range(config.seeds), loss=config.losses)


def problems_of(config: Config, number: int) -> tuple[PreferenceProblem, PreferenceProblem, FloatArray]:
    """With full μ, with μ that leaves some out, and the latter's problem on its support alone as (n,) booleans."""
    rng = np.random.default_rng([config.seed, number])
    n = config.responses
    rewards, reference = rng.normal(size=n), rng.dirichlet(np.full(n, 3.0))
    seen = np.arange(n) < n - config.unseen
    narrow = np.where(seen, reference, 0.0)
    preference = gpo.bradley_terry(rewards)
    return (
        PreferenceProblem(preference, reference, reference),
        PreferenceProblem(preference, narrow / narrow.sum(), reference),
        np.asarray(seen),
    )


def run(config: Config, *, number: int, loss: str) -> pd.DataFrame:
    """A row a link and strength, and a row a link for the flow."""
    full, narrow, seen = problems_of(config, number)
    f, rows = gpo.get_loss(loss), []
    for name in LINKS:
        link = get_link(name)
        for strength in config.strengths:
            beta = f.beta_of(strength)
            one = full.solve(f, beta, link=link)
            log = full.solve(f, beta * float(link.derivative(1.0)))
            usual = full.solve(f, beta)
            rows.append(
                {
                    "part": "optimum", "link": name, "strength": strength, "converged": one.converged, "kl": one.kl,
                    "kl_of_log": log.kl, "mu_squared_loss": one.mu_squared_loss,
                    "largest": float(one.log_ratio.max()), "smallest": float(one.log_ratio.min()),
                    "loss_apart": abs(_realised(one.policy, full, f, beta, link) - usual.population_loss),
                    "span": float(np.ptp(usual.log_ratio)), "win_rate": _win_rate(one.policy, full),
                }
            )  # fmt: skip
        rows.append(_flow(config, name, f, narrow, seen))
    return pd.DataFrame(rows).assign(loss=loss, number=number)


def _realised(
    policy: FloatArray, problem: PreferenceProblem, loss: MarginLoss, beta: float, link: GeneratorDerivative
) -> float:
    """``E f(β [g(t_i) − g(t_j)])`` of a policy, from its ratios alone; draws of one response twice give f(0)."""
    g, mu = link(policy / problem.reference), problem.behavior
    weight = 2 * mu[:, None] * mu[None, :] * problem.preference
    return float((weight * loss(beta * (g[:, None] - g[None, :]))).sum())


def _win_rate(policy: FloatArray, problem: PreferenceProblem) -> float:
    return float(policy @ problem.preference @ problem.reference)


def _flow(config: Config, name: str, f: MarginLoss, problem: PreferenceProblem, seen: FloatArray) -> dict[str, Any]:
    beta, curvature = f.beta_of(config.flow_strength), float(f.derivative(0.0, 2)) or 1.0
    loss = SMOOTH_HINGE if f.name == "hinge" else f
    flow = link_flow(problem, loss, beta, name, duration=config.duration / (beta**2 * curvature), records=12)
    out, policy, reference = ~seen.astype(bool), flow.policies[-1], problem.reference
    moved = flow.logits[-1] - flow.logits[0]
    # Of the logarithm the sum over the support stands still; what is fitted there gives the mass outside.
    fitted = np.where(out, np.nan, beta * (np.log(policy) - np.log(reference)))
    return {
        "part": "off support", "link": name, "strength": config.flow_strength, "status": flow.status,
        "off_mass": float(policy[out].sum()), "off_reference": float(reference[out].sum()),
        "off_predicted": off_support_mass(fitted, reference, beta), "off_logits": float(moved[out].mean()),
        "kl": float(policy @ np.log(policy / reference)), "gradient_norm": flow.gradient_norm,
        "largest": float(np.log(policy / reference).max()),
    }  # fmt: skip


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Same fit, equal strength near πref, tails far off, and the motion of logits off the support."""
    if none := only_those_of_the_paper(config.losses, CLAIM):
        return none
    table = rows_of(table)
    optimum = table[(table["part"] == "optimum") & table["converged"].fillna(False).astype(bool)]
    if optimum.empty:
        why = "none of its losses has a unique optimum"
        return [Check.not_run(CLAIM, "as in the preset", why)]
    flow = find(table, part="off support")
    weak, strong = min(config.strengths), max(config.strengths)
    checks = [
        Check.at_most("loss of each link's policy, from its ratios, against the logarithm's: largest difference", 0.0,
                      float(optimum["loss_apart"].max()), 1e-6,
                      note=f"{len(optimum)} cells have a unique optimum; {sorted(set(optimum['loss']))}"),
    ]  # fmt: skip
    ratios = {}
    for link in LINKS[1:]:
        far = find(optimum, link=link, strength=strong)
        ratio = far["kl"] / far["kl_of_log"]
        farthest = float(ratio.iloc[(ratio - 1).abs().argmax()])
        note = f"at βκ = {weak:g} the median is {_apart(optimum, link, weak):.3g}"
        ratios[link] = Check.equal("ratio", 1.0, farthest, 0.1, note=note)
    claim = f"βκ = {strong:g}: KL over the logarithm's at βg′(1), furthest of all f from 1"
    checks.append(Check.each(claim, ratios))
    near, tails = find(optimum, strength=weak), []
    for link, column, sign in (("chi_po", "largest", 1), ("forward_kl", "smallest", -1)):
        own = find(near, link=link).set_index(["loss", "number"])
        log = find(near, link="reverse_kl").set_index(["loss", "number"])
        excess = (sign * (own[column] - log[column])).dropna()
        beyond = share_of((excess > 1e-9).groupby(level="number").any())
        words = "largest log-ratio is at most" if sign > 0 else "smallest log-ratio is at least"
        claim = f"{link}, βκ = {weak:g}: its {words} the logarithm's, for every f (share of problems otherwise)"
        check = Check.below(claim, 0.2, beyond, f"{excess.index.get_level_values('number').nunique()} problems")
        tails.append(replace(check, note=f"{check.note}; median difference {excess.median():.3g} nats"))
    motion = {}
    for link, sign in SIGNS.items():
        rows = find(flow, link=link)
        if sign == 0:
            checks.append(Check.at_most(f"{link}: logits off the support stand still, largest motion", 0.0,
                                        float(rows["off_logits"].abs().max()), 1e-8))  # fmt: skip
            checks.append(Check.at_most(f"{link}: mass off the support, from its closed form", 0.0,
                                        float((rows["off_mass"] - rows["off_predicted"]).abs().max()), 1e-6,
            ))  # fmt: skip
        else:
            word = "rise" if sign > 0 else "fall"
            motion[f"{link}: {word}"] = Check.at_least("motion", 0.0, float((sign * rows["off_logits"]).min()), -1e-6,
                                                       note=f"mean {rows['off_logits'].mean():.3g}")  # fmt: skip
    claim = "logits off the support rise or fall as the link says, least motion over f and problems"
    checks.append(Check.each(claim, motion))
    return [*(check.as_theorem() for check in checks), *tails]


def _apart(optimum: pd.DataFrame, link: str, strength: float) -> float:
    rows = find(optimum, link=link, strength=strength)
    return float((rows["kl"] / rows["kl_of_log"]).median())


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """KL against the logarithm at equal strength, near and far; mass off the support by link."""
    optimum = table[(table["part"] == "optimum") & table["converged"].fillna(False).astype(bool)]
    flow = find(table, part="off support").assign(gain=lambda t: t["off_mass"] / t["off_reference"])
    near, far = [], []
    for link in LINKS[1:]:
        rows = find(optimum, link=link)
        for found, strength in ((far, max(config.strengths)), (near, min(config.strengths))):
            here = find(rows, strength=strength)
            ratio = (here["kl"] / here["kl_of_log"]).groupby(here["number"]).mean()
            found.append(f"{link} {mean_interval(ratio)}")
    mass = "; ".join(
        f"{link} {mean_interval(find(flow, link=link).groupby('number')['gain'].mean())}" for link in LINKS
    )
    by_loss = find(flow, link="reverse_kl").groupby("loss")["gain"].mean()
    return (
        f"The fitted margins do not depend on the link (loss equal to {optimum['loss_apart'].max():.1g}). KL over the "
        f"logarithm's at βg′(1), mean over f with 95 % intervals over {config.seeds} problems: at βκ = "
        f"{max(config.strengths):g} {', '.join(far)}; at βκ = {min(config.strengths):g} {', '.join(near)}. Mass off "
        f"μ's support after training at βκ = {config.flow_strength:g}, over πref's there: {mass}; over f, with the "
        f"logarithm, from {by_loss.min():.3g} ({by_loss.idxmin()}) to {by_loss.max():.3g} ({by_loss.idxmax()}). "
        f"{len(optimum)} of {int((table['part'] == 'optimum').sum())} cells have a unique optimum (hinge where its "
        "linear program has one solution). To remember: f decides what is fitted, the link how far the policy must "
        "move to say it; βκg′(1) sets the two on one scale near πref, and responses nobody compared gain or lose mass "
        "by the link's tail, not by the data."
    )
