"""Part ``best``: the best β from the gold reward alone, and how far n labels move it.

The logistic fit of noisy labels through a saturating link is attenuated: with u = a·(φ − φ′) and r the gold reward's
difference it is λa, ``E[(σ(r) − σ(λu)) u] = 0``, for any f ``E[(σ(r) f′(λu) − σ(−r) f′(−λu)) u] = 0``. The tilt by λa/β
then peaks at β* = bλ. A world of finitely many responses has its own projection v of the gold reward, the population
fit, and its own first peak. From n labels the fit is v + ε with E ε = bias/n and covariance Σ/n (Σ the sandwich), and
B = log β* moves by ∇B·ε + ½ εᵀ∇²B ε, in the mean by c/n:

    c = ∇B·bias + ½ tr(∇²B Σ),  for a Gaussian πref ∇B·bias + tr Σ/‖v‖² − (3/2) vᵀΣv/‖v‖⁴.

The first-order score ε₁ = −H⁻¹∇L_n(v) has mean zero whatever n is: what is measured is log β*(n)/β*(∞) − ∇B·ε₁, of
which the same number of worlds tells c at every n.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, roots_genlaguerre, roots_hermitenorm

import gpo_analysis as gpo
from experiments._losses import CURVED, curved, stated, those
from experiments.framework import Check
from experiments.over_optimisation.setting import Config, first_peak, world_of
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem

FITTED = ("logistic", "squared")
"""Losses whose best β is followed over the number of labels."""
LARGEST = 200.0
"""|c| beyond which a world is left out and counted: its peak is about to vanish, and no expansion tells where to."""
SHAKE = 1e-3
"""Step of the finite differences in v, over ‖v‖."""


def attenuated(name: str, slope: float, curvature: float, features: int) -> float:
    """Best βκ for a Gaussian πref and labels without end: κbλ, integrated exactly.

    Examples
    --------
    >>> round(attenuated("logistic", 1.0, 1.2, 4), 3), round(attenuated("squared", 1.0, 1e-6, 4) / 5e-7, 2)
    (0.312, 0.73)
    """
    loss = gpo.get_loss(name)
    x, along = roots_hermitenorm(80)
    across, share = roots_genlaguerre(40, (features - 1) / 2 - 1)
    along, share = along / along.sum(), share / share.sum()
    step = np.sqrt(2.0) * x[:, None]  # of φ − φ′ along a; 4 × across is the square of what lies across
    u = slope * step
    unseen = curvature * np.sqrt((step**2 + 4.0 * across) / 2.0)  # deviation of the bent part given φ − φ′
    eta = expit(u[..., None] - unseen[..., None] * x) @ along
    weight = along[:, None] * share

    def moment(scale: float) -> float:
        pull = eta * loss.derivative(scale * u, 1) - (1.0 - eta) * loss.derivative(-scale * u, 1)
        return float(np.sum(weight * u * pull))

    return float(loss.curvature_ratio) * curvature * float(brentq(moment, 1e-3, 5.0))


def projected(features: FloatArray, gold: FloatArray, name: str) -> FloatArray:
    """v (d,): the fit to preferences of the gold reward themselves, without a label."""
    return fit(*_population(features, gold), name)


def fit(x: FloatArray, weight: FloatArray, name: str) -> FloatArray:
    """Minimiser v (d,) of Σ weight f(x·v), by Newton's method with halved steps; of few features and many rows.

    Parameters
    ----------
    x : array, shape (k, d)
        Winner's less loser's features.
    weight : array, shape (k,)
    name : str
        Loss; for Savage, not convex, the stationary point that is reached from 0.

    Returns
    -------
    array, shape (d,)
        NaN where none is reached.
    """
    loss, v = gpo.get_loss(name), np.zeros(x.shape[1])
    value = float(weight @ loss(x @ v))
    for _ in range(100):
        z = x @ v
        gradient, hessian = (
            x.T @ (weight * loss.derivative(z, 1)),
            (x * (weight * loss.derivative(z, 2))[:, None]).T @ x,
        )
        step = -np.linalg.solve(hessian, gradient)
        if gradient @ step > 0:  # upward where f bends down
            step = -gradient
        for _ in range(60):
            if float(weight @ loss(x @ (v + step))) <= value + 1e-12 * abs(value):
                break
            step = 0.5 * step
        v = v + step
        value = float(weight @ loss(x @ v))
        if np.abs(step).max() < 1e-11:
            return v
    return np.full(len(v), np.nan)


def _population(features: FloatArray, gold: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Differences (k, d) of all ordered pairs and their weights under πref; equal draws teach nothing."""
    first, second = np.triu_indices(len(gold), 1)
    difference, eta = features[first] - features[second], expit(gold[first] - gold[second])
    weight = np.concatenate([eta, 1.0 - eta]) / len(eta) * (1.0 - 1.0 / len(gold))
    return np.concatenate([difference, -difference]), weight


def run(config: Config, world: int) -> pd.DataFrame:
    """A row a loss of the projection in narrow and wide worlds; a row a loss, size and sample of fits to labels."""
    rows: list[dict[str, Any]] = []
    for responses in (config.responses, config.wide):
        features, gold, _ = world_of(config, world, responses)
        for name in CURVED if config.losses == PAPER_LOSSES else curved(config.losses):
            v = projected(features, gold, name)
            about = {"loss": name, "responses": responses, "kind": "projected"}
            rows.append({**about, "size": -1, "repeat": -1, "best": _kappa(name) * first_peak(features @ v, gold)})
            if name in FITTED and responses == config.wide:
                rows += [{**about, **row} for row in _fits(config, world, features, gold, name, v)]
    return pd.DataFrame(rows)


@lru_cache
def _kappa(name: str) -> float:
    return float(gpo.get_loss(name).curvature_ratio)


def _fits(
    config: Config, world: int, features: FloatArray, gold: FloatArray, name: str, v: FloatArray
) -> list[dict[str, Any]]:
    """c of this world, and the best β of fits to samples of every size."""
    hessian, sandwich, bias = moments(features, gold, name, v)
    gradient, second = _derivatives(features, gold, v)
    here = np.log(first_peak(features @ v, gold))
    theory = {
        "shift": float(gradient @ bias + 0.5 * np.trace(second @ sandwich)),
        "trace": float(np.trace(sandwich) / (v @ v)),
    }
    reference = np.full(len(gold), 1.0 / len(gold))
    problem, loss, rows = PreferenceProblem(gpo.bradley_terry(gold), reference), gpo.get_loss(name), []
    for size in config.labels:
        for repeat in range(config.repeats):
            seed = int(np.random.default_rng([config.seed, world, size, repeat, 7]).integers(2**31))
            sample = PreferenceProblem.from_comparisons(problem.sample(size, seed=seed), reference)
            pairs = sample.directed_pairs()
            x = features[pairs.winner] - features[pairs.loser]
            score = -np.linalg.solve(hessian, x.T @ (pairs.weight * loss.derivative(x @ v, 1)))
            best = first_peak(features @ fit(x, pairs.weight, name), gold)
            with np.errstate(divide="ignore"):
                moved = float(np.log(best) - here)
            rows.append(
                {**theory, "kind": "fitted", "size": size, "repeat": repeat, "best": _kappa(name) * best,
                 "moved": moved, "beyond_score": moved - float(gradient @ score)}
            )  # fmt: skip
    return rows


def moments(
    features: FloatArray, gold: FloatArray, name: str, v: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean second derivative (d, d), n × covariance (d, d) and n × bias (d,) of the fit to n labelled pairs."""
    loss, (x, weight) = gpo.get_loss(name), _population(features, gold)
    one, two, three = (loss.derivative(x @ v, order) for order in (1, 2, 3))
    hessian = (x * (weight * two)[:, None]).T @ x
    inverse = np.linalg.inv(hessian)
    sandwich = inverse @ ((x * (weight * one**2)[:, None]).T @ x) @ inverse
    pull = one * two * np.sum((x @ inverse) * x, axis=1) - 0.5 * three * np.sum((x @ sandwich) * x, axis=1)
    return hessian, sandwich, inverse @ (x.T @ (weight * pull))


def _derivatives(features: FloatArray, gold: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gradient (d,) and second derivatives (d, d) of B = log β* in v, by central differences."""
    steps = SHAKE * np.linalg.norm(v) * np.eye(len(v))

    def value(shift: FloatArray) -> float:
        with np.errstate(divide="ignore"):
            return float(np.log(first_peak(features @ (v + shift), gold)))

    size = float(steps[0, 0])
    gradient = np.array([value(e) - value(-e) for e in steps]) / (2.0 * size)
    second = [[value(e + g) - value(e - g) - value(g - e) + value(-e - g) for g in steps] for e in steps]
    return gradient, np.array(second) / (4.0 * size**2)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The level of the best βκ, its order over f, and the 1/n law."""
    limits = {name: attenuated(name, config.slope, config.curvature, config.features) for name in CURVED}
    checks, here = [], config.losses
    for name in those(here, CURVED):
        level = mean_interval(_projected(table, name, config.wide))
        claim = f"{name}: best βκ of the projected gold reward, {config.wide} responses, against κbλ integrated"
        checks.append(Check.within(claim, limits[name], level, 0.05, "worlds"))
    narrow, wide = (_projected(table, "logistic", size) for size in (config.responses, config.wide))
    claim = f"logistic: projected best βκ with {config.wide} responses less that with {config.responses}"

    def above(claim: str) -> Check:
        return Check.above(claim, 0.0, mean_interval((wide - narrow).dropna()), "worlds")

    checks.append(stated(here, claim, above, of=("logistic",)))
    for name in those(here, CURVED[1:]) if "logistic" in here else ():
        ratio = mean_interval(np.log2(_projected(table, name, config.wide) / wide))
        claim = f"{name}: projected best βκ over logistic's, log₂, {config.wide} responses"
        checks.append(Check.within(claim, float(np.log2(limits[name] / limits["logistic"])), ratio, 0.05, "worlds"))
    for name in those(here, FITTED):
        rows = fitted(table, name)
        theory = rows.groupby("world")[["shift", "trace"]].first()
        for size in config.labels:
            moved = size * find(rows, size=size).groupby("world")["beyond_score"].mean()
            expected = float(theory["shift"].mean())
            claim = f"{name}: n log β*(n)/β*(∞) beyond the score, n = {size:,}, against c"
            checks.append(Check.within(claim, expected, mean_interval(moved), 0.25 * abs(expected), "worlds"))
        moved = rows.assign(scaled=rows["size"] * rows["beyond_score"]).groupby("world")["scaled"].mean()
        claim = f"{name}: the same over all n less tr Σ/‖v‖², the formula without the direction's own noise"
        checks.append(Check.below(claim, 0.0, mean_interval(moved - theory["trace"]), "worlds"))
    return checks


def fitted(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of fits to samples of a loss, of the worlds where every sample has a peak and |c| is not too large."""
    rows = find(table, kind="fitted", loss=name)
    sound = np.isfinite(rows["beyond_score"]) & (rows["shift"].abs() < LARGEST)
    return rows[sound.groupby(rows["world"]).transform("all")]


def _projected(table: pd.DataFrame, name: str, responses: int) -> pd.Series:
    """Best βκ of each world with a peak."""
    rows = find(table, kind="projected", loss=name, responses=responses).set_index("world")["best"].astype(float)
    return rows[np.isfinite(rows) & (rows > 0)]


def summary(config: Config, table: pd.DataFrame) -> str:
    """Levels and the 1/n law in words."""
    integrated = attenuated("logistic", config.slope, config.curvature, config.features)
    level = {size: mean_interval(_projected(table, "logistic", size)) for size in (config.responses, config.wide)}
    words = []
    for name in FITTED:
        rows = fitted(table, name)
        theory = rows.groupby("world")[["shift", "trace"]].first().mean()
        found = "; ".join(
            f"{mean_interval(size * find(rows, size=size).groupby('world')['beyond_score'].mean())} from {size:,}"
            for size in config.labels
        )
        words.append(f"{name} {found} pairs (c = {theory['shift']:.3g} predicted, tr Σ/‖v‖² = {theory['trace']:.3g})")
    ratio = mean_interval(
        np.log2(_projected(table, "squared", config.wide) / _projected(table, "logistic", config.wide))
    )
    return (
        f"The gold reward projected on the features through each link, without a label, puts logistic's best βκ at "
        f"{level[config.responses]} with {config.responses} responses and {level[config.wide]} with {config.wide}, on "
        f"its way to {integrated:.3g} for a Gaussian πref; squared's over it is {ratio} in log₂. It falls as 1/n: "
        f"n log β*(n)/β*(∞) is, for {'; '.join(words)}."
    )
