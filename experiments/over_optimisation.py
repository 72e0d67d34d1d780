"""Over-optimisation: gold reward and gold win rate against KL, with the gold reward known exactly.

Gao et al. 2023 (arXiv 2210.10760) saw the gold reward rise and then fall as a policy moves from its reference along a
proxy reward. Here responses have features φ, standard normal, πref is uniform, the policy ``πref exp(φ·w)/Z``, and the
gold reward bends: ``r = a·φ − ½b‖φ‖²``, good in one direction, worse the more extreme a response is. Preferences are
Bradley–Terry draws from it; the policy's implicit reward is linear and cannot bend. Settings ours. In v = βw the loss
does not contain β: descent in v with step s is descent in w with step s/β², so that one run a loss gives the
checkpoints of every β.

Predicted before running, for a Gaussian πref, where the tilt by φ·w is a shift by w with KL = ‖w‖²/2:

- with d = √KL and c = a·w/‖w‖ the mean gold reward is ``√2 c d − b d²``, Gao et al.'s form d(α − γd) for best-of-n:
  it rises to c²/(2b) at KL = c²/(2b²) and falls beyond, for every f and however many the pairs;
- noise turns w from a, so that c, the peak and its KL are lower with fewer pairs;
- the best β is b‖v̂‖²/(a·v̂), with v̂ the fit: b for logistic with many pairs, thus βκ = b/2; noise lengthens v̂, so
  that the best β falls with n;
- it lies at one value of βκ for all f with κ > 0, to leading order in the margin;
- no policy is above its frontier.

Two earlier settings, gold linear in φ plus noise that the features do not tell, did not show the fall: with 64
responses and 6 worlds logistic's was 0.077 (interval from −0.11 to 0.26), with 96 and 24 worlds 0.00. A tilt by a
noisy linear proxy moves the gold reward in proportion, whatever its noise: what bends the curve is an error that grows
with distance. A third, b = 0.6 with six features and 16 worlds, had the fall and too few worlds for it (0.24, from
−0.26 to 0.74): the arg max of 150 responses varies; b = 1.2 and four features follow from a calculation of power.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

import gpo_analysis as gpo
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem, best_of_n, reward_frontier, win_rate, win_rate_frontier
from gpo_analysis.training import train
from gpo_analysis.training.trajectory import Trajectory

CLAIM = "Gold reward rises and falls with KL for every f; the best β moves with n, and across f as κ predicts or not."
FIGURE = "over-optimisation"

EARLY = 20
"""Steps that can be checkpoints one by one; later ones once in as many."""
DRAWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Config:
    """The world, the samples, and the grid.

    Parameters
    ----------
    responses, features : int
        n responses, d features; Φ is standard normal, πref uniform.
    slope, curvature : float
        ‖a‖ and b of the gold reward.
    pairs : tuple of int
        Numbers of labelled pairs, drawn from πref.
    strengths : tuple of float
        Values of βκ (of β for hinge).
    steps, records, step_size : int, int and float
        Gradient steps, about how many of them are checkpoints (spaced evenly in log step), and the size of a step in
        v, in units of 1/f″(0) (1 for hinge).
    shown : float
        The strength nearest to it keeps its checkpoints with the fewest pairs; of the others the table has the end of
        training only.
    seeds : int
        Worlds, with a sample each.
    seed : int
        Of all of them.
    """

    responses: int = 150
    features: int = 4
    slope: float = 1.0
    curvature: float = 1.2
    pairs: tuple[int, ...] = (100, 1_000, 100_000)
    strengths: tuple[float, ...] = tuple(float(x) for x in np.geomspace(0.01, 10.0, 25).round(6))
    steps: int = 200
    records: int = 10
    step_size: float = 0.1
    shown: float = 0.05
    seeds: int = 20
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "paper": Config(
        pairs=(100, 300, 1_000, 10_000, 100_000), seeds=60, steps=400, records=12,
    ),
}  # fmt: skip


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a number of pairs and world."""
    return grid(pairs=config.pairs, world=range(config.seeds))


def world_of(config: Config, world: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Features (n, d), gold reward (n,) of mean zero under πref, and πref (n,)."""
    rng = np.random.default_rng([config.seed, world])
    features = rng.normal(size=(config.responses, config.features))
    direction = rng.normal(size=config.features)
    gold = config.slope * features @ direction / np.linalg.norm(direction)
    gold = gold - 0.5 * config.curvature * (features**2).sum(axis=1)
    return features, gold - gold.mean(), np.full(len(gold), 1.0 / len(gold))


def run(config: Config, *, pairs: int, world: int) -> pd.DataFrame:
    """A row a loss and β at the end of training, a row a checkpoint for the strength to be shown.

    Rows of other kinds: best-of-n; the frontiers, of world 0; and ``largest excess``, of all checkpoints of all β: of
    gold reward and win rate over their frontiers, and of the KL of best-of-n over its bound.
    """
    features, gold, reference = world_of(config, world)
    preference = gpo.bradley_terry(gold)
    problem = PreferenceProblem(preference, reference, reference)
    seed = int(np.random.default_rng([config.seed, world, pairs]).integers(2**31))
    sample = PreferenceProblem.from_comparisons(problem.sample(pairs, seed=seed), reference)
    found, labels = [], []
    for name in PAPER_LOSSES:
        loss = gpo.get_loss(name)
        at, policies = _path(config, sample, loss, features)
        h = np.log(policies) - np.log(reference)
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
    rows = pd.concat([table[kept], excess], ignore_index=True).assign(pairs=pairs, world=world)
    return rows.astype(dict.fromkeys(("kl", "gold", "win_rate"), np.float32))


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
    """Of each loss, number of pairs and world at the end of training: the best β and what is lost beyond it.

    Columns ``best`` (strength of the highest gold reward in this world, by a parabola through the three values around
    it), ``peak``, ``peak_kl`` (there, on the grid), ``last`` (gold reward at the smallest strength) and ``fall``: the
    gold reward at the strength that is best on the mean over the *other* worlds, minus ``last``. Chosen elsewhere, so
    that it is not positive by construction.
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
                    "best": [np.exp(_summit(np.log(gold.columns.to_numpy()), row)) for row in values],
                    "peak": values[worlds, top], "peak_kl": kl[worlds, top], "last": values[:, 0],
                    "fall": values[worlds, others.argmax(axis=1)] - values[:, 0],
                }
            )
        )  # fmt: skip
    return pd.concat(found, ignore_index=True)


def _summit(x: FloatArray, y: FloatArray) -> float:
    """Place of the maximum of y over an evenly spaced x, by a parabola through the highest point and its neighbours."""
    k = int(np.argmax(y))
    if k in (0, len(y) - 1):
        return float(x[k])
    left, right = y[k] - y[k - 1], y[k] - y[k + 1]
    return float(x[k] + 0.5 * (x[1] - x[0]) * (left - right) / (left + right)) if left + right > 0 else float(x[k])


def gao_fit(table: pd.DataFrame, pairs: int, loss: str = "logistic") -> tuple[float, float, float]:
    """α, γ and R² of ``gold = d(α − γd)``, d = √KL, over all β of all worlds at the end of training."""
    rows = find(table, kind="policy", loss=loss, pairs=pairs)
    rows = find(rows, step=rows["step"].max())
    gold, d = rows.groupby("strength")["gold"].mean().to_numpy(), np.sqrt(rows.groupby("strength")["kl"].mean())
    basis = np.column_stack([d, -(d**2)])
    (alpha, gamma), *_ = np.linalg.lstsq(basis, gold, rcond=None)
    left = gold - basis @ [alpha, gamma]
    return float(alpha), float(gamma), float(1 - left @ left / ((gold - gold.mean()) @ (gold - gold.mean())))


def best_ratio(found: pd.DataFrame) -> pd.DataFrame:
    """log₂ of the best βκ over logistic's, a column a loss, a row a number of pairs and world."""
    wide = np.log2(found.pivot(index=["pairs", "world"], columns="loss", values="best"))
    return wide.drop(columns=["logistic", "hinge"]).sub(wide["logistic"], axis=0)


def slope_with_pairs(found: pd.DataFrame, loss: str) -> FloatArray:
    """d log β*/d log n of each world, by least squares."""
    wide = np.log(find(found, loss=loss).pivot(index="world", columns="pairs", values="best"))
    return np.asarray(np.polyfit(np.log(np.asarray(wide.columns, dtype=float)), wide.to_numpy().T, 1)[0])


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The frontiers hold, rise and fall, the best β over f and n."""
    found, few, many = ends(table), min(config.pairs), max(config.pairs)
    step = float(np.log2(config.strengths[1] / config.strengths[0]))
    most = find(table, kind="largest excess").max(numeric_only=True)
    over = [
        Check.at_most(f"no policy is above the frontier of {told_of}", 0.0, float(most[name]), 2e-3,
                      note="the frontier is interpolated from below")
        for told_of, name in (("mean gold reward", "gold"), ("win rate", "win_rate"))
    ]  # fmt: skip
    over.append(Check.at_most("best-of-n: KL over log n − (n−1)/n", 0.0, float(most["kl"]), 1e-9))
    for name in PAPER_LOSSES:
        for pairs in (few, max(config.pairs)):
            rows = find(found, loss=name, pairs=pairs)
            claim = f"{name}, {pairs:,} pairs: gold reward falls from its peak to the smallest β"
            over.append(Check.above(claim, 0.0, mean_interval(rows["fall"]), "worlds"))
    heights = found.pivot(index=["loss", "world"], columns="pairs", values="peak")
    for name in PAPER_LOSSES:
        gain = mean_interval(heights.loc[name][many] - heights.loc[name][few])
        over.append(
            Check.above(f"{name}: the peak is higher with {many:,} pairs than with {few:,}", 0.0, gain, "worlds")
        )
    alpha, gamma, share = gao_fit(table, many)
    over.append(Check.at_least(
        f"logistic, {many:,} pairs: R² of d(α − γd), d = √KL, over all β", 0.9, share,
        note=f"α = {alpha:.3g}, γ = {gamma:.3g}; Gaussian πref: √2‖a‖ = {np.sqrt(2) * config.slope:.3g} and "
        f"b = {config.curvature:.3g}; the tail of {config.responses} responses ends, a Gaussian's does not",
    ))  # fmt: skip
    best = mean_interval(find(found, loss="logistic", pairs=many)["best"])
    over.append(Check.equal(
        f"logistic, {many:,} pairs: best βκ, predicted b/2", config.curvature / 2, best.value, 0.25,
        relative=True, note=f"{best} over worlds; the tolerance is ours"))  # fmt: skip
    for name in PAPER_LOSSES:
        claim = f"{name}: the best β falls with n, d log β*/d log n"
        over.append(Check.below(claim, 0.0, mean_interval(slope_with_pairs(found, name)), "worlds"))
    ratios = best_ratio(found)
    for name in ratios:
        for pairs in (few, max(config.pairs)):
            ratio = mean_interval(ratios[name].xs(pairs, level="pairs"))
            over.append(Check(
                f"{name}, {pairs:,} pairs: best βκ over logistic's, log₂", 0.0, ratio.value,
                f"zero within the interval, or less than half a step of the grid ({step / 2:.2g})",
                bool(0.0 in ratio or abs(ratio.value) < step / 2),
                f"95 % interval over worlds [{ratio.low:.3g}, {ratio.high:.3g}]; in β itself "
                f"{ratio.value + _log_beta(name):.3g}",
            ))  # fmt: skip
    return over


def _log_beta(name: str) -> float:
    """log₂ of β over logistic's at equal βκ."""
    return float(np.log2(gpo.get_loss(name).beta_of(1.0) / gpo.get_loss("logistic").beta_of(1.0)))


def summary(config: Config, table: pd.DataFrame) -> str:
    """Rise, fall, best β over f and n, and what is left to the frontier."""
    found = ends(table)
    few, many = min(config.pairs), max(config.pairs)

    def mean_of(column: str, loss: str, pairs: int) -> str:
        return str(mean_interval(find(found, loss=loss, pairs=pairs)[column]))

    falls = found.groupby(["pairs", "loss"], sort=False)["fall"].mean()
    ratios = best_ratio(found)
    moved = "; ".join(
        f"{name} {mean_interval(ratios[name].xs(few, level='pairs'))} and "
        f"{mean_interval(ratios[name].xs(many, level='pairs'))}"
        for name in ratios
    )
    peaks = found.pivot(index=["pairs", "world"], columns="loss", values="peak").drop(columns="hinge")
    apart = (peaks.max(axis=1) - peaks.min(axis=1)).groupby("pairs").apply(mean_interval)
    slope = str(mean_interval(slope_with_pairs(found, "logistic")))
    return (
        f"With {few:,} pairs logistic's mean gold reward peaks at {mean_of('peak', 'logistic', few)}, KL "
        f"{mean_of('peak_kl', 'logistic', few)} nats, and falls by {mean_of('fall', 'logistic', few)} towards β = 0; "
        f"with {many:,} pairs the peak is {mean_of('peak', 'logistic', many)} at KL "
        f"{mean_of('peak_kl', 'logistic', many)} and the fall {mean_of('fall', 'logistic', many)} (95 % intervals over "
        f"{config.seeds} worlds). Mean fall over f: {falls[few].min():.3g} to {falls[few].max():.3g} at {few:,} pairs, "
        f"{falls[many].min():.3g} to {falls[many].max():.3g} at {many:,}; d(α − γd) in d = √KL has R² "
        f"{gao_fit(table, many)[2]:.3g}. Logistic's best βκ is {mean_of('best', 'logistic', few)} and "
        f"{mean_of('best', 'logistic', many)} at {few:,} and {many:,} pairs (d log β*/d log n = {slope}; b/2 = "
        f"{config.curvature / 2:.3g} predicted). The best βκ over logistic's, in log₂, with {few:,} and {many:,} pairs"
        f": {moved}; 0 is what κ predicts. The best gold rewards of the losses with κ > 0 lie within "
        f"{apart[few]} of each other at {few:,} pairs and {apart[many]} at {many:,}. The leading order "
        "misses the level of the best β because Bradley–Terry labels of far responses saturate. To remember: what is "
        "over-optimised is the fitted score and not a particular f; more labels do not take away the fall, which comes "
        "from what the policy's reward cannot represent."
    )
