"""Sums against means over tokens in a world whose responses have lengths, every optimum exact.

Responses are the leaves of a prefix tree (:class:`gpo_analysis.tabular.PrefixTree`), μ = πref. Margins of sums (DPO),
of token means (TRL's ipo and sigmoid_norm) and of token means without reference (SimPO) fit the same implicit reward
and spread it differently: π_i = πref_i e^{c_i(g_i/β + t)}, c = 1 or T. Predictions of November 2026, written before the
first run, in docs/predictions/lengths.md; settings ours.

- *first letter*: the reward is that of the first letter, so that it is independent of length under πref;
- *drawn*: a reward for each response, N(0, 1), at one KL a sequence and at one βκ;
- *small*: a small tree, with LD-DPO and ORPO, found by descent at the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from experiments._losses import accepted, of_the_preset, stated
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.analysis import analyze
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.preferences import bradley_terry
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem, PrefixTree, descend_sequences, orpo, tilted_by_length

CLAIM = "Means over tokens lengthen responses that are no better for it; sums do not; SimPO forgets πref's end token."
FIGURE = "lengths"

LOSSES = ("logistic", "exponential", "squared")
REDUCTIONS = ("sum", "mean", "mean_without_reference")


@dataclass(frozen=True)
class Config:
    """The trees, and how far policies go.

    Parameters
    ----------
    letters, depth : int
        Of the large tree.
    stop : float
        πref of the end token at each node but the first.
    rewards : tuple of float
        Of the first letters, one each.
    betas : tuple of float
        β of the first letters' rewards, and of SimPO beside them.
    draws : int
        Random rewards.
    kl : float
        KL a sequence, in nats, of the drawn rewards on the large tree.
    strength : float
        βκ where losses are compared.
    small_depth : int
        Of the small tree of two letters.
    small_kl : float
        KL a sequence there.
    weights : tuple of float
        λ of ORPO.
    losses : tuple of str
        Losses compared: names, or expressions in z, with κ > 0. The claims are about those of the preset, but that sums
        keep the length is of any f. Where there is no closed form the fit is solved for: on a tree of depth 7 that
        takes minutes a draw.
    """

    letters: int = 3
    depth: int = 7
    stop: float = 0.4
    rewards: tuple[float, ...] = (0.0, 0.4, 1.5)
    betas: tuple[float, ...] = (0.01, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 4.0, 10.0, 30.0)
    draws: int = 20
    kl: float = 1.0
    strength: float = 0.5
    small_depth: int = 4
    small_kl: float = 0.3
    weights: tuple[float, ...] = (0.0, 0.1, 1.0)
    losses: tuple[str, ...] = LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those without a strength or a known minimum refused."""
        object.__setattr__(self, "losses", accepted(self.losses, strength=True, known=True, curvature=True))


PRESETS = {"quick": Config(), "paper": Config(draws=100)}


def cells(config: Config) -> list[dict[str, Any]]:
    """A cell a part and loss; the small tree has the logistic loss alone."""
    return [*grid(part=("first letter", "drawn"), loss=config.losses), {"part": "small", "loss": "logistic"}]


def large(config: Config) -> PrefixTree:
    """The large tree, letters alike under πref."""
    return PrefixTree(config.letters, config.depth, config.stop)


def implicit_reward(loss: str, reward: FloatArray, mu: FloatArray) -> FloatArray:
    """g on Bradley–Terry preferences: r, r/2, Σ_j μ_j (2P_ij − 1) for the squared loss; of other losses, solved for."""
    if loss == "squared":
        return np.asarray((2 * bradley_terry(reward) - 1) @ mu)
    if loss in LOSSES:
        return reward if loss == "logistic" else reward / 2
    values, place = np.unique(reward, return_inverse=True)  # equal rewards have equal g
    share = np.bincount(place, mu)
    found = PreferenceProblem(bradley_terry(values), share, share).solve(loss, 1.0)
    return np.asarray(found.log_ratio)[place]


def policy(tree: PrefixTree, g: FloatArray, beta: float, reduction: str) -> FloatArray:
    """π of one reduction."""
    lengths = np.ones(tree.n) if reduction == "sum" else tree.lengths
    base = None if reduction == "mean_without_reference" else tree.log_reference
    return tilted_by_length(g, lengths, beta, base)


def measured(tree: PrefixTree, found: FloatArray) -> dict[str, float]:
    """Length, what is cut off, KL a sequence and a token."""
    length, kl = tree.expected_length(found), tree.kl(found)
    return {"length": length, "cut_off": tree.cut_off(found), "kl": kl, "kl_per_token": kl / length}


def run(config: Config, *, part: str, loss: str) -> pd.DataFrame:
    """Rows of one part."""
    parts = {"first letter": first_letter, "drawn": drawn, "small": small}
    return pd.DataFrame(parts[part](config, loss)).assign(part=part, loss=loss)


def first_letter(config: Config, loss: str) -> list[dict[str, Any]]:
    """A row a β and reduction, with the second order in 1/β and the limit of β → 0."""
    tree = large(config)
    share = tree.reference
    reward = np.array([config.rewards[ord(word[0]) - 97] for word in tree.responses])
    g = implicit_reward(loss, reward, share)
    before = measured(tree, share)
    moments = [share @ tree.lengths.astype(float) ** k for k in (1, 2, 3)]
    variance = share @ g**2 - (share @ g) ** 2
    curvature = 0.5 * variance * (moments[2] - moments[1] ** 2 / moments[0])
    best = reward == reward.max()
    q, lengths = float(share[best].sum()), tree.lengths.astype(float)
    root = brentq(lambda x: share @ np.exp(lengths * x) - 1 / q, 0.0, 10.0, xtol=1e-15)
    rows = []
    for beta in config.betas:
        for reduction in REDUCTIONS:
            means = reduction == "mean"
            rows.append(
                {
                    "beta": beta,
                    "reduction": reduction,
                    **measured(tree, policy(tree, g, beta, reduction)),
                    "reference_length": before["length"],
                    "reference_cut_off": before["cut_off"],
                    "second_order": before["length"] + (curvature / beta**2 if means else 0.0),
                    "limit": q * float(share @ (lengths * np.exp(lengths * root))) if means else before["length"],
                }
            )
    return rows


def at_kl(tree: PrefixTree, g: FloatArray, kl: float, reduction: str) -> float:
    """β of that KL a sequence."""
    away = lambda x: tree.kl(policy(tree, g, float(np.exp(x)), reduction)) - kl  # noqa: E731
    return float(np.exp(brentq(away, np.log(1e-2 * np.ptp(g)), np.log(1e3 * np.ptp(g)), xtol=1e-10)))


def drawn(config: Config, loss: str) -> list[dict[str, Any]]:
    """A row a draw, reduction and way to choose β."""
    tree = large(config)
    before = measured(tree, tree.reference)
    strength = config.strength / float(analyze(get_margin_loss(loss)).curvature_ratio)
    rows = []
    for draw in range(config.draws):
        g = implicit_reward(loss, np.random.default_rng(draw).normal(size=tree.n), tree.reference)
        betas = {
            ("kl", "sum"): at_kl(tree, g, config.kl, "sum"),
            ("kl", "mean"): at_kl(tree, g, config.kl, "mean"),
            ("strength", "sum"): strength,
            ("strength", "mean"): strength,
        }
        betas["kl", "mean_without_reference"] = betas["kl", "mean"]
        for (at, reduction), beta in betas.items():
            found = measured(tree, policy(tree, g, beta, reduction))
            rows.append(
                {
                    "draw": draw,
                    "at": at,
                    "reduction": reduction,
                    "beta": beta,
                    **found,
                    "reference_length": before["length"],
                    "reference_cut_off": before["cut_off"],
                }
            )
    return rows


def small(config: Config, _: str) -> list[dict[str, Any]]:
    """A row a draw and method; β at one KL a sequence where there is a β."""
    tree = PrefixTree(2, config.small_depth, config.stop)
    before = measured(tree, tree.reference)
    rows = []
    for draw in range(config.draws):
        reward = np.random.default_rng(1000 + draw).normal(size=tree.n)
        problem = tree.problem(bradley_terry(reward))
        found = {
            name: policy(tree, reward, at_kl(tree, reward, config.small_kl, name), name) for name in ("sum", "mean")
        }
        found["ld_dpo"] = ld_at_kl(tree, problem, config.small_kl)
        for weight in config.weights:
            ended = descend_sequences(tree, problem, orpo(weight), 1.0, reduction="mean_without_reference")
            found[f"orpo {weight:g}"] = ended.policy if ended.converged else np.full(tree.n, np.nan)
        won = tree.reference * (2 * bradley_terry(reward) @ tree.reference)
        for name, one in found.items():
            rows.append(
                {
                    "draw": draw,
                    "reduction": name,
                    **measured(tree, one),
                    "reference_length": before["length"],
                    "reference_cut_off": before["cut_off"],
                    "chosen_length": float(won @ tree.lengths),
                    "harmonic": float(1 / np.sum(won / tree.lengths)),
                }
            )
    return rows


def ld_at_kl(tree: PrefixTree, problem: PreferenceProblem, kl: float) -> FloatArray:
    """LD-DPO's policy, α = ½, of that KL a sequence, by descent at the nodes."""

    def solved(x: float) -> FloatArray:
        return descend_sequences(tree, problem, "logistic", float(np.exp(x)), ld_alpha=0.5).policy

    return solved(brentq(lambda x: tree.kl(solved(x)) - kl, np.log(0.1), np.log(100.0), xtol=1e-6))


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The theorems, and what was guessed of drawn rewards."""
    letter, random, tiny = (find(table, part=part) for part in ("first letter", "drawn", "small"))
    sums, means = find(letter, reduction="sum"), find(letter, reduction="mean", loss=LOSSES)
    here, three = config.losses, LOSSES
    weak, strong = find(means, beta=max(config.betas)), find(means, beta=min(config.betas))
    second = (weak["length"] - weak["reference_length"]) / (weak["second_order"] - weak["reference_length"])
    over = f"{config.draws} draws"
    same = find(random, at="kl", loss="logistic").pivot(index="draw", columns="reduction", values="length")
    cut = find(random, at="kl", loss="logistic").pivot(index="draw", columns="reduction", values="cut_off")
    equal = find(random, at="strength", reduction="mean").pivot(index="draw", columns="loss", values="length")
    before, before_cut = float(random["reference_length"].iloc[0]), float(random["reference_cut_off"].iloc[0])
    little = tiny.pivot(index="draw", columns="reduction", values="length")
    start = float(tiny["reference_length"].iloc[0])
    likelihood = find(tiny, reduction="orpo 0") if 0.0 in config.weights else tiny.iloc[:0]
    return [
        Check.at_most(
            "sums, reward without length: largest change of the expected length",
            0.0,
            float((sums["length"] - sums["reference_length"]).abs().max()),
            1e-8,
        ).as_theorem(),
        Check.at_most(
            "sums, reward without length: largest change of what is cut off",
            0.0,
            float((sums["cut_off"] - sums["reference_cut_off"]).abs().max()),
            1e-8,
        ).as_theorem(),
        stated(
            here,
            "means, reward without length: least change of the expected length",
            lambda claim: Check.at_least(claim, 0.0, float((means["length"] - means["reference_length"]).min())),
            some=three,
        ).as_theorem(),
        stated(
            here,
            f"means, β = {max(config.betas):g}: lengthening over ½ Var(g)/β² (E T³ − (E T²)²/E T), farthest from 1",
            lambda claim: Check.equal(claim, 1.0, float(second.iloc[int((second - 1).abs().argmax())]), 0.1),
            some=three,
        ).as_theorem(),
        stated(
            here,
            f"means, β = {min(config.betas):g}: largest distance of the expected length from its limit",
            lambda claim: Check.at_most(claim, 0.0, float((strong["length"] - strong["limit"]).abs().max()), 1e-6),
            some=three,
        ).as_theorem(),
        Check.at_most(
            "likelihood of token means: largest distance of the length from the harmonic mean of the chosen's",
            0.0,
            float((likelihood["length"] - likelihood["harmonic"]).abs().max()),
            1e-8,
        ).as_theorem(),
        stated(
            here,
            "means at equal βκ: largest difference of length, exponential less logistic",
            lambda claim: Check.at_most(
                claim, 0.0, float((equal["exponential"] - equal["logistic"]).abs().max()), 1e-8
            ),
            of=("exponential", "logistic"),
        ).as_theorem(),
        stated(
            here,
            f"drawn rewards, KL {config.kl:g}: length of means less πref's",
            lambda claim: Check.above(claim, 0.0, mean_interval(same["mean"] - before), over),
            of=("logistic",),
        ),
        stated(
            here,
            f"drawn rewards, KL {config.kl:g}: length of sums less πref's",
            lambda claim: Check.within(claim, 0.0, mean_interval(same["sum"] - before), 0.2, over),
            of=("logistic",),
        ),
        stated(
            here,
            f"means at βκ = {config.strength:g}: length of logistic less squared",
            lambda claim: Check.above(claim, 0.0, mean_interval(equal["logistic"] - equal["squared"]), over),
            of=("logistic", "squared"),
        ),
        stated(
            here,
            f"means at βκ = {config.strength:g}: length of squared less πref's",
            lambda claim: Check.above(claim, 0.0, mean_interval(equal["squared"] - before), over),
            of=("squared",),
        ),
        stated(
            here,
            f"drawn rewards, KL {config.kl:g}: cut-off mass of means less πref's",
            lambda claim: Check.above(claim, 0.0, mean_interval(cut["mean"] - before_cut), over),
            of=("logistic",),
        ),
        stated(
            here,
            f"drawn rewards, KL {config.kl:g}: cut-off mass of sums less πref's",
            lambda claim: Check.within(claim, 0.0, mean_interval(cut["sum"] - before_cut), 0.02, over),
            of=("logistic",),
        ),
        Check.above(
            f"small tree, KL {config.small_kl:g}: length of LD-DPO less πref's",
            0.0,
            mean_interval(little["ld_dpo"] - start),
            over,
        ),
        Check.above(
            f"small tree, KL {config.small_kl:g}: length of means less LD-DPO's",
            0.0,
            mean_interval(little["mean"] - little["ld_dpo"]),
            over,
        ),
        stated(
            here,
            "SimPO's cut-off mass over πref's, at the β of means",
            lambda claim: Check.above(claim, 2.0, mean_interval(cut["mean_without_reference"] / before_cut), over),
            of=("logistic",),
        ),
    ]


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """What was found."""
    letter, random, tiny = (find(table, part=part) for part in ("first letter", "drawn", "small"))
    same = find(random, at="kl", loss="logistic")
    length = same.pivot(index="draw", columns="reduction", values="length")
    cut = same.groupby("reduction")["cut_off"].mean()
    before, before_cut = float(same["reference_length"].iloc[0]), float(same["reference_cut_off"].iloc[0])
    equal = find(random, at="strength", reduction="mean").groupby("loss")["length"].mean()
    methods = tiny.groupby("reduction", sort=False)["length"].mean()
    limit = float(find(find(letter, reduction="mean"), loss="logistic")["limit"].iloc[0])
    start = float(letter["reference_length"].iloc[0])
    return (
        f"A reward that is independent of length: sums keep the length at πref's {start:.3f} tokens at every β "
        f"and f; means over tokens lengthen at every β, to {limit:.3f} as β → 0 (proved by Jensen's inequality). "
        f"Drawn rewards at a KL of {config.kl:g} a sequence, logistic: "
        + ", ".join(f"{mean_interval(length[r])} tokens ({r})" for r in REDUCTIONS)
        + f" against πref's {before:.3f}, and "
        + ", ".join(f"{cut[r]:.3f} ({r})" for r in REDUCTIONS)
        + f" of the mass cut off against {before_cut:.3f}. At βκ = {config.strength:g} means end at "
        + ", ".join(f"{equal[f]:.3f} ({f})" for f in LOSSES)
        + f" tokens. Small tree (πref {float(tiny['reference_length'].iloc[0]):.3f} tokens), at a KL of "
        f"{config.small_kl:g} where there is a β: "
        + ", ".join(f"{methods[m]:.3f} ({m})" for m in methods.index)
        + ". Undecided: that sums keep the length of drawn rewards: there "
        "are more long responses than short ones to draw a good one from. To remember: a token mean is a tilt to the "
        "power T, whose convexity favours the long whatever the reward says of them."
    )
