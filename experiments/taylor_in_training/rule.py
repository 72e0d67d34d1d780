"""Part ``rule``: whether |βρ| ever reaches the radius of convergence, said beforehand.

A pair with η, alone, moves by ż = 2β²w[−η f′(z) + (1 − η) f′(−z)], w its weight. In a graph of pairs the first speed is
the whole graph's, v = β²|f′(0)|(d_i − d_j), and what fades it is the pair's own pull: ż = v G(z)/G(0), with G(z) =
−η f′(z) + (1 − η) f′(−z), at rest at z*(η). The time to the radius r is ∫₀ʳ dz G(0)/(v G(z)), a quadrature. With the
solved optimum's margin in place of z*(η), η is the share whose z* it is. An earlier rule let pairs move at v until they
rest: it can only be too fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from zlib import crc32

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from experiments.framework import Check
from gpo_analysis.analysis import taylor_radius
from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import MarginLoss
from gpo_analysis.statistics import Interval, mean_interval, share_interval
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.training import early_phase, predicted_margins

BOUNDED = {"logistic": 0, "hinge": 2, "truncated_quadratic": 4, "savage": 5}
"""Losses whose series has a finite radius, each with the stream from which the rule's problems are drawn."""
KINDS = ("Bradley-Terry", "any preference", "counted labels")
RULES = {
    "both": "link and slope", "optimum": "optimum and slope", "link": "link alone", "slope": "slope alone",
    "own": "the pair's own labels", "fading": "link and own equation", "fading_optimum": "optimum and own equation",
}  # fmt: skip
REACHED = 0.999
"""A margin within a thousandth of the radius counts as having reached it: hinge's come to rest at its kink."""
STEPS = 1000
"""Steps of learning rate 1 that are trained."""
NODES = 40
"""Of the quadrature over z."""


def bounded(losses: Iterable[str]) -> list[str]:
    """Of these losses those whose series has a finite radius.

    Examples
    --------
    >>> bounded(["squared", "logistic", "log(cosh(1-z))"])
    ['logistic', 'log(cosh(1-z))']
    """
    found = []
    for name in losses:
        if name in gpo.PAPER_LOSSES:
            found += [name] * (name in BOUNDED)
            continue
        try:
            radius = float(taylor_radius(gpo.get_loss(name)))
        except ValueError as error:
            raise ValueError(f"losses: {error}; accepted are losses with a known radius of their series") from None
        found += [name] * bool(np.isfinite(radius))
    return found


def random_problem(responses: int, kind: str, rng: np.random.Generator) -> PreferenceProblem:
    """A problem of one of KINDS: rewards of any spread; p(i ≻ j) uniform; or 2 to 60 labels a pair of that."""
    mu = rng.dirichlet(np.full(responses, 3.0))
    if kind == "any preference":
        upper = np.triu(rng.uniform(size=(responses, responses)), 1)
        return PreferenceProblem(upper + np.tril(1.0 - upper.T, -1) + 0.5 * np.eye(responses), mu)
    rewards = np.exp(rng.uniform(np.log(0.3), np.log(3.0))) * rng.normal(size=responses)
    problem = PreferenceProblem(gpo.bradley_terry(rewards), mu)
    if kind == "Bradley-Terry":
        return problem
    labels = round(np.exp(rng.uniform(np.log(2), np.log(60))) * responses * (responses - 1) / 2)
    return PreferenceProblem.from_comparisons(problem.sample(labels, seed=int(rng.integers(2**31))))


def run(seed: int, count: int, loss: str, responses: int, kind: str) -> pd.DataFrame:
    """Whether training reaches the radius, and what the rules said: `count` random problems, β at random."""
    stream = BOUNDED[loss] if loss in BOUNDED else crc32(loss.encode())
    rng = np.random.default_rng([seed, stream, responses, KINDS.index(kind), 43])
    problems = [random_problem(responses, kind, rng) for _ in range(count)]
    betas = np.exp(rng.uniform(np.log(0.03), np.log(0.7), count))
    paths = gpo.train_many(problems, loss, list(betas), learning_rate=1.0, steps=STEPS, record_every=10)
    radius = float(taylor_radius(gpo.get_loss(loss)))
    rows = []
    for problem, beta, path in zip(problems, betas, paths, strict=True):
        reached = float(path.columns["max_margin"].max())
        rows.append(
            {"responses": responses, "kind": kind, "beta": beta, "largest": reached / radius}
            | expected(problem, gpo.get_loss(loss), float(beta), radius)
        )  # fmt: skip
    return pd.DataFrame(rows)


def expected(problem: PreferenceProblem, loss: MarginLoss, beta: float, radius: float) -> dict[str, float]:
    """What each rule expects: the largest margin over the radius, or the time trained over that to the radius."""
    pairs, start, best = problem.directed_pairs(), early_phase(problem, loss, beta), problem.solve(loss, beta)
    travelled = beta * start.speed * STEPS * np.abs(pairs.margins(start.direction.reshape(1, -1)))
    first, second, eta, weight = shares(problem)
    speed = beta * start.speed * (start.direction[first] - start.direction[second])
    solved = best.log_ratio if best.converged else best.representative
    if solved is None:
        resting, margin = np.full(len(pairs), np.inf), None
    else:
        resting = beta * np.abs(pairs.margins(solved.reshape(1, -1)))
        margin = beta * (solved[first] - solved[second])
    own = 2 * beta**2 * weight * _pull(loss, eta, np.zeros_like(eta))
    return {
        "link": float(predicted_margins(problem, loss, beta).max()) / radius,
        "slope": float(travelled.max()) / radius,
        "both": float(predicted_margins(problem, loss, beta, STEPS).max()) / radius,
        "optimum": float(np.minimum(resting, travelled).max()) / radius,
        "own": STEPS / float(time_to(loss, radius, own, eta).min()),
        "fading": STEPS / float(time_to(loss, radius, speed, eta).min()),
        "fading_optimum": STEPS / float(time_to(loss, radius, speed, share_at(loss, margin, eta)).min()),
    }


def shares(problem: PreferenceProblem) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Of every compared pair i < j: i, j, η = p(i ≻ j), and its weight."""
    pairs, n = problem.directed_pairs(), problem.n
    low, high = np.minimum(pairs.winner, pairs.loser), np.maximum(pairs.winner, pairs.loser)
    keys, group = np.unique(low * n + high, return_inverse=True)
    weight = np.bincount(group, pairs.weight)
    return keys // n, keys % n, np.bincount(group, pairs.weight * (pairs.winner == low)) / weight, weight


def _pull(loss: MarginLoss, eta: FloatArray, z: FloatArray) -> FloatArray:
    """G(z) = −η f′(z) + (1 − η) f′(−z)."""
    return np.asarray((1.0 - eta) * loss.derivative(-z, 1) - eta * loss.derivative(z, 1))


def share_at(loss: MarginLoss, margin: FloatArray | None, eta: FloatArray) -> FloatArray:
    """η at which pairs alone would rest at these margins: f′(−z)/(f′(z) + f′(−z)); ``eta`` where there are none."""
    if margin is None:
        return eta
    there, back = loss.derivative(margin, 1), loss.derivative(-margin, 1)
    both = there + back
    return np.where(both != 0, back / np.where(both != 0, both, 1.0), 0.5)


def time_to(loss: MarginLoss, radius: float, speed: FloatArray, eta: FloatArray) -> FloatArray:
    """Time until |z| = radius under ż = speed · G(z)/G(0), infinite where it comes to rest before; shape (k,).

    Where f has no curvature up to the radius (hinge) nothing fades: radius/|speed|. Where speed and the pair's own pull
    point apart, it is not its own labels that carry the pair: infinite.

    Examples
    --------
    >>> one = np.ones(1)  # squared, a sure pair: z = 1 − e^{−t} at speed 1, so that ½ takes log 2 = 0.69
    >>> float(time_to(gpo.get_loss("squared"), 0.5, one, one).round(2)[0])
    0.69
    """
    end = REACHED * radius
    if float(loss.derivative(0.0, 2)) == 0.0:
        with np.errstate(divide="ignore"):
            return np.asarray(end / np.abs(speed))
    x, share = np.polynomial.legendre.leggauss(NODES)
    z = np.multiply.outer(0.5 * end * (x + 1.0), np.ones_like(eta))
    toward = np.maximum(eta, 1.0 - eta)  # the side that wins is at z > 0
    pull, first = _pull(loss, toward, z), _pull(loss, toward, np.zeros_like(eta))
    moving = (pull > 1e-14).all(axis=0) & (speed * (eta - 0.5) > 0)
    inside = np.where(moving, pull, 1.0)
    along = 0.5 * end * np.tensordot(share, np.where(moving, first, 0.0) / inside, 1)
    return np.where(moving, along / np.where(moving, np.abs(speed), 1.0), np.inf)


def verdicts(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Whether each run reached the radius, and whether the rule said so."""
    return pd.DataFrame({"reached": rows["largest"] >= REACHED, "said": rows[rule] >= REACHED})


def error_rate(rows: pd.DataFrame, rule: str) -> Interval:
    """Share of runs where the rule was wrong, with Wilson's interval."""
    found = verdicts(rows, rule)
    return share_interval(int((found["reached"] != found["said"]).sum()), len(found))


def false_alarms(rows: pd.DataFrame, rule: str) -> Interval:
    """Share of runs where the rule said so and it was not."""
    found = verdicts(rows, rule)
    return share_interval(int((found["said"] & ~found["reached"]).sum()), len(found))


def gained(rows: pd.DataFrame, new: str, old: str) -> Interval:
    """Error rate of one rule less another's on the same problems."""
    wrong = [verdicts(rows, rule).pipe(lambda v: v["reached"] != v["said"]).astype(float) for rule in (new, old)]
    return mean_interval(wrong[0] - wrong[1])


def check(rule: pd.DataFrame) -> list[Check]:
    """Error rates of the rules, and what the pair's own equation takes off them."""
    checks = []
    for loss, rows in rule.groupby("loss", sort=False):
        found = verdicts(rows, "both")
        missed = int((found["reached"] & ~found["said"]).sum())
        others = "; ".join(f"{RULES[name]} {error_rate(rows, name)}" for name in RULES if name != "both")
        note = f"of {len(rows)}, {found['reached'].mean():.0%} of which reach the radius, {missed} unforeseen; {others}"
        first = Check.below(f"{loss}: error rate of link and slope", 0.1, error_rate(rows, "both"), "problems")
        checks += [
            replace(first, note=f"{first.note}; {note}"),
            replace(
                Check.below(f"{loss}: error rate of optimum and slope", 0.1, error_rate(rows, "optimum"), "problems"),
                restated="24 November 2026: the bound was set after a first run",
            ),
            Check.below(
                f"{loss}: error rate of optimum and own equation", 0.06, error_rate(rows, "fading_optimum"), "problems"
            ),
            Check.below(
                f"{loss}: its false alarms", 0.015, false_alarms(rows, "fading_optimum"), "problems"
            ),
        ]  # fmt: skip
        if loss != "hinge":
            claim = f"{loss}: error rate of optimum and own equation less that of optimum and slope"
            checks.append(Check.below(claim, 0.0, gained(rows, "fading_optimum", "optimum"), "problems"))
        if loss in ("logistic", "savage"):
            claim = f"{loss}: error rate of link and own equation, nothing solved"
            checks.append(Check.below(claim, 0.1, error_rate(rows, "fading"), "problems"))
            claim = f"{loss}: error rate of link and own equation less that of link and slope"
            checks.append(Check.below(claim, 0.0, gained(rows, "fading", "both"), "problems"))
    return checks


def summary(rows: pd.DataFrame) -> str:
    """The rules' errors in words."""
    kinds = "; ".join(f"{kind}: {error_rate(one, 'fading')}" for kind, one in rows.groupby("kind", sort=False))
    alarms = " and ".join(str(false_alarms(rows, name)) for name in ("optimum", "fading_optimum"))
    return (
        f"Whether the radius is ever reached is said wrongly of {len(rows)} random problems in "
        f"{error_rate(rows, 'both')} by η and a constant speed, in {error_rate(rows, 'fading')} by the pair's "
        f"own equation ({kinds}), in "
        f"{error_rate(rows, 'optimum')} by the solved optimum and a constant speed and in "
        f"{error_rate(rows, 'fading_optimum')} by the optimum and the own equation (false alarms {alarms}); by "
        f"the link alone in {error_rate(rows, 'link')}."
    )


def of_link_and_slope(rule: pd.DataFrame) -> str:
    """What each half of the rule costs: the link in place of the optimum, and a speed that does not fade."""
    parts = []
    for loss, rows in rule.groupby("loss", sort=False):
        rates = {name: error_rate(rows, name).value for name in ("both", "optimum", "fading", "fading_optimum")}
        if rates["both"] >= 0.1:
            parts.append(
                f"{loss} {rates['both']:.3f}: {rates['optimum']:.3f} with the solved optimum, {rates['fading']:.3f} "
                f"with the own equation, {rates['fading_optimum']:.3f} with both"
            )
    return (
        "both halves err: the link z*(η) answers each pair alone, but preferences that are not consistent pull a "
        "pair's margin elsewhere, and a constant speed does not fade as the margin nears its end, which gives false "
        f"alarms (error rates of {'; '.join(parts)})"
    )
