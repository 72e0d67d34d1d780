"""Part ``curves``: gold reward and gold win rate against KL, by training, with frontiers and best-of-n."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

import gpo_analysis as gpo
from experiments._losses import CURVED, stated, those
from experiments._seeds import median_interval
from experiments.framework import Check
from experiments.over_optimisation.best import projected
from experiments.over_optimisation.setting import Config, first_peak, world_of
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.statistics import Interval, mean_interval, share_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem, best_of_n, reward_frontier, win_rate, win_rate_frontier
from gpo_analysis.training import train
from gpo_analysis.training.trajectory import Trajectory

EARLY = 20
"""Steps that can be checkpoints one by one; later ones once in as many."""
DRAWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def run(config: Config, *, pairs: int, world: int) -> pd.DataFrame:
    """A row a loss and β at the end of training, a row a checkpoint for the strength to be shown.

    Rows of other kinds: ``best``, the first peak of the last checkpoint and of the projection; best-of-n; the
    frontiers, of world 0; and ``largest excess``, of all checkpoints of all β: of gold reward and win rate over their
    frontiers, and of the KL of best-of-n over its bound.
    """
    features, gold, reference = world_of(config, world)
    preference = gpo.bradley_terry(gold)
    problem = PreferenceProblem(preference, reference, reference)
    seed = int(np.random.default_rng([config.seed, world, pairs]).integers(2**31))
    sample = PreferenceProblem.from_comparisons(problem.sample(pairs, seed=seed), reference)
    found, labels, peaks = [], [], []
    for name in config.losses:
        loss = gpo.get_loss(name)
        at, policies = _path(config, sample, loss, features)
        h = np.log(policies) - np.log(reference)
        peaks.append(_peaks(features, gold, name, h[-1], pairs == max(config.pairs)))
        for strength in config.strengths:
            logits = np.log(reference) + h / loss.beta_of(strength)
            found.append(np.exp(logits - logsumexp(logits, axis=1, keepdims=True)))
            labels.append(_labels("policy", len(at), loss=name, step=at, strength=strength))
        if name == "logistic":
            found.append(np.stack([best_of_n(h[-1], reference, k) for k in DRAWS]))
            labels.append(_labels("best of n by proxy", len(DRAWS), loss=name, draws=DRAWS))
    found.append(np.stack([best_of_n(gold, reference, k) for k in DRAWS]))
    labels.append(_labels("best of n by gold", len(DRAWS), draws=DRAWS))
    of_reward, of_wins = reward_frontier(gold, reference), win_rate_frontier(preference, reference)
    for kind, curve in (("frontier of reward", of_reward), ("frontier of win rate", of_wins)):
        found.append(curve.policies[::4])
        labels.append(_labels(kind, len(found[-1])))
    policies = np.concatenate(found)
    policies /= policies.sum(axis=1, keepdims=True)
    kl = gpo.kl_divergence(policies, reference)
    table = pd.concat(labels, ignore_index=True).assign(
        kl=kl, gold=policies @ gold, win_rate=win_rate(policies, reference, preference)
    )
    excess = _excess(table, of_reward.at(kl), of_wins.at(kl))
    end = table["step"] == table["step"].max()
    kept = (table["kind"] != "policy") | end
    if pairs == min(config.pairs):
        kept |= table["strength"] == min(config.strengths, key=lambda s: abs(float(np.log(s / config.shown))))
    if world != 0:
        kept &= ~table["kind"].str.startswith("frontier")
    rows = pd.concat([table[kept], excess, pd.concat(peaks)], ignore_index=True).assign(pairs=pairs, world=world)
    return rows.astype(dict.fromkeys(("kl", "gold", "win_rate"), np.float32))


def _peaks(features: FloatArray, gold: FloatArray, name: str, score: FloatArray, most: bool) -> pd.DataFrame:
    """One row: the first peak of what was trained at β = 1, and of the projection where labels are many."""
    kappa = float(gpo.get_loss(name).curvature_ratio) or 1.0
    row = _labels("best", 1, loss=name).assign(best=kappa * first_peak(score, gold), best_projected=np.nan)
    if most and gpo.get_loss(name).curvature_ratio > 0:
        row["best_projected"] = kappa * first_peak(features @ projected(features, gold, name), gold)
    return row


def _excess(table: pd.DataFrame, reward: FloatArray, wins: FloatArray) -> pd.DataFrame:
    """One row: the most by which a policy is over what it cannot be over; 0 or less but for rounding."""
    best = find(table, kind="best of n by gold")
    bound = np.log(best["draws"]) - (best["draws"] - 1) / best["draws"]
    return _labels("largest excess", 1).assign(
        kl=(best["kl"] - bound).max(),
        gold=(table["gold"] - reward)[table["kind"] != "frontier of win rate"].max(),
        win_rate=(table["win_rate"] - wins)[table["kind"] != "frontier of reward"].max(),
    )


def _labels(
    kind: str, size: int, *, loss: str = "", step: Any = -1, strength: float = np.nan, draws: Any = -1
) -> pd.DataFrame:
    return pd.DataFrame(
        {"kind": kind, "loss": loss, "strength": strength, "step": step, "draws": draws}, index=range(size)
    )


def _path(
    config: Config, sample: PreferenceProblem, loss: gpo.MarginLoss, features: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Checkpoints of gradient descent at β = 1: their steps (k,) and policies (k, n)."""
    curvature = float(loss.derivative(0.0, 2)) or 1.0
    rate, early = config.step_size / curvature, min(EARLY, config.steps)

    def descend(steps: int, every: int, initial: FloatArray | None) -> Trajectory:
        return train(
            sample, loss, 1.0, learning_rate=rate, steps=steps, features=features, record_every=every, initial=initial,
            keep=("policies",),
        )  # fmt: skip

    first = descend(early, 1, None)
    assert first.policies is not None
    steps, policies = first.columns["step"], first.policies
    if config.steps > early:  # descent has no memory: the rest starts where the first steps ended
        second = descend(config.steps - early, EARLY, first.state.parameters)
        assert second.policies is not None
        steps = np.concatenate([steps, early + second.columns["step"][1:]])
        policies = np.concatenate([policies, second.policies[1:]])
    wanted = np.geomspace(1, steps[-1], config.records)
    at = np.unique(np.abs(steps - wanted[:, None]).argmin(axis=1))
    return steps[at], policies[at]


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """Of each loss, number of pairs and world at the end of training: the peak and what is lost beyond it.

    Columns ``peak``, ``peak_kl`` (highest gold reward in this world, on the grid), ``last`` (gold reward at the
    smallest strength) and ``fall``: the gold reward at the strength that is best on the mean over the *other* worlds,
    minus ``last``. Chosen elsewhere, so that it is not positive by construction.
    """
    policies = find(table, kind="policy", step=table["step"].max())
    found = []
    for (loss, pairs), rows in policies.groupby(["loss", "pairs"], sort=False):
        gold = rows.pivot(index="world", columns="strength", values="gold")
        kl = rows.pivot(index="world", columns="strength", values="kl").to_numpy()
        values, worlds = gold.to_numpy(), np.arange(len(gold))
        others = (values.sum(axis=0) - values) if len(gold) > 1 else values
        top = values.argmax(axis=1)
        found.append(
            pd.DataFrame(
                {
                    "loss": loss, "pairs": pairs, "world": gold.index,
                    "peak": values[worlds, top], "peak_kl": kl[worlds, top], "last": values[:, 0],
                    "fall": values[worlds, others.argmax(axis=1)] - values[:, 0],
                }
            )
        )  # fmt: skip
    return pd.concat(found, ignore_index=True)


def gao_fit(table: pd.DataFrame, pairs: int, loss: str = "logistic") -> tuple[float, float, float]:
    """α, γ and R² of ``gold = d(α − γd)``, d = √KL, over all β of all worlds at the end of training."""
    rows = find(table, kind="policy", loss=loss, pairs=pairs)
    rows = find(rows, step=rows["step"].max())
    gold, d = rows.groupby("strength")["gold"].mean().to_numpy(), np.sqrt(rows.groupby("strength")["kl"].mean())
    basis = np.column_stack([d, -(d**2)])
    (alpha, gamma), *_ = np.linalg.lstsq(basis, gold, rcond=None)
    left = gold - basis @ [alpha, gamma]
    return float(alpha), float(gamma), float(1 - left @ left / ((gold - gold.mean()) @ (gold - gold.mean())))


def trained_over_projected(table: pd.DataFrame, name: str) -> pd.Series:
    """log of the trained best β over the projected one, with the most labels; of the worlds that have both."""
    rows = find(table, kind="best", loss=name)
    rows = find(rows, pairs=rows["pairs"].max()).set_index("world")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(rows["best"].astype(float)) - np.log(rows["best_projected"].astype(float))
    return ratio[np.isfinite(ratio)]


def tail(table: pd.DataFrame) -> Interval:
    """Worlds of the narrow kind whose logistic fit to the most labels never peaks before the last responses."""
    ratio = trained_over_projected(table, "logistic")
    rows = find(table, kind="best", loss="logistic")
    return share_interval(rows["world"].nunique() - len(ratio), rows["world"].nunique())


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The frontiers hold, rise and fall, and training ends where the projection says."""
    found, few, many = ends(table), min(config.pairs), max(config.pairs)
    most = find(table, kind="largest excess").max(numeric_only=True)
    over = [
        Check.at_most(f"no policy is above the frontier of {told_of}", 0.0, float(most[name]), 2e-3,
                      note="the frontier is interpolated from below")
        for told_of, name in (("mean gold reward", "gold"), ("win rate", "win_rate"))
    ]  # fmt: skip
    over.append(Check.at_most("best-of-n: KL over log n − (n−1)/n", 0.0, float(most["kl"]), 1e-9))
    for name in those(config.losses, PAPER_LOSSES):
        for pairs in (few, max(config.pairs)):
            rows = find(found, loss=name, pairs=pairs)
            claim = f"{name}, {pairs:,} pairs: gold reward falls from its peak to the smallest β"
            over.append(Check.above(claim, 0.0, mean_interval(rows["fall"]), "worlds"))
    heights = found.pivot(index=["loss", "world"], columns="pairs", values="peak")
    for name in those(config.losses, PAPER_LOSSES):
        gain = mean_interval(heights.loc[name][many] - heights.loc[name][few])
        over.append(
            Check.above(f"{name}: the peak is higher with {many:,} pairs than with {few:,}", 0.0, gain, "worlds")
        )
    claim = f"logistic, {many:,} pairs: R² of d(α − γd), d = √KL, over all β"
    over.append(stated(config.losses, claim, lambda claim: _gao_check(config, table, claim), of=("logistic",)))
    for name in those(config.losses, CURVED):
        ratio = trained_over_projected(table, name)
        claim = f"{name}, {many:,} pairs: log of the trained best β over that of the projected gold reward"
        over.append(Check.within(claim, 0.0, median_interval(ratio), 0.02, "worlds (of the median)"))
    return over


def _gao_check(config: Config, table: pd.DataFrame, claim: str) -> Check:
    alpha, gamma, share = gao_fit(table, max(config.pairs))
    return Check.at_least(
        claim, 0.9, share,
        note=f"α = {alpha:.3g}, γ = {gamma:.3g}; Gaussian πref: √2‖a‖ = {np.sqrt(2) * config.slope:.3g} and "
        f"b = {config.curvature:.3g}; the tail of {config.responses} responses ends, a Gaussian's does not",
    )  # fmt: skip


def summary(config: Config, table: pd.DataFrame) -> str:
    """Rise and fall in words."""
    found, few, many = ends(table), min(config.pairs), max(config.pairs)

    def mean_of(column: str, pairs: int) -> str:
        return str(mean_interval(find(found, loss="logistic", pairs=pairs)[column]))

    falls = found.groupby(["pairs", "loss"], sort=False)["fall"].mean()
    peaks = found.pivot(index=["pairs", "world"], columns="loss", values="peak").drop(columns="hinge")
    apart = (peaks.max(axis=1) - peaks.min(axis=1)).groupby("pairs").apply(mean_interval)
    return (
        f"With {few:,} pairs logistic's mean gold reward peaks at {mean_of('peak', few)}, KL "
        f"{mean_of('peak_kl', few)} nats, and falls by {mean_of('fall', few)} towards β = 0; "
        f"with {many:,} pairs the peak is {mean_of('peak', many)} at KL {mean_of('peak_kl', many)} and the fall "
        f"{mean_of('fall', many)} (95 % intervals over {config.seeds} worlds). Mean fall over f: "
        f"{falls[few].min():.3g} to {falls[few].max():.3g} at {few:,} pairs, {falls[many].min():.3g} to "
        f"{falls[many].max():.3g} at {many:,}; d(α − γd) in d = √KL has R² {gao_fit(table, many)[2]:.3g}. The best "
        f"gold rewards of the losses with κ > 0 lie within {apart[few]} of each other at {few:,} pairs and "
        f"{apart[many]} at "
        f"{many:,}. In {tail(table)} of the narrow worlds the reward never turns down before the last responses."
    )
