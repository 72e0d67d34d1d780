"""How far policies go from the reference, where nobody compared anything, and why the chosen become less likely.

Bradley–Terry preferences; μ reaches part of the responses only; settings ours. Worked out beforehand:

- *tabular*: on μ's support the optimum's log-ratio is `link_log_ratio`, u_i = Σ_j μ_j z*(η_ij)/β normalised, exact for
  squared and for every logit link, so that the largest |ρ| goes as 1/β. Off it free logits do not move: every response
  there has the log-ratio −log Σ πref e^u, and as Σu = 0 along training, mass off the support never grows if πref is
  uniform (Jensen);
- *features* (π ∝ πref exp(Φw)): what nobody compared moves with φ·w. The slope at zero alone, w ∝ Φᵀ(wins − losses),
  says which responses gain and whether mass leaks off the support at the start, for every f and β alike;
- *chosen*: log π of the chosen starts at β|f′(0)| ⟨Φᵀ(W − πref), Φᵀ(W − L)⟩, with W and L the winners' and losers'
  distributions (`chosen_slope`): it cannot fall at first where μ = πref (equal draws apart), and may where
  πref's mass is elsewhere: likelihood displacement (Razin et al., arXiv 2410.08847), whatever f is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

import gpo_analysis as gpo
from experiments._seeds import mean_interval, share_interval, told
from experiments.framework import Check
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.training import chosen_slope, compared, deviation, early_phase, link_log_ratio

CLAIM = (
    "The link sets how far a policy goes where pairs were compared; the features, not f, where mass leaks elsewhere."
)
FIGURE = "policy-deviation"

LOSSES = ("logistic", "squared", "hinge", "exponential", "truncated_quadratic", "savage")
EXACT = ("logistic", "squared", "exponential", "savage")
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    """Problems and training.

    Parameters
    ----------
    responses, seen
        n, and how many of them μ reaches.
    spread
        Standard deviation of the rewards.
    dimension
        Number of features, standard normal.
    betas
        β of every loss.
    labels
        Comparisons drawn for the training of feature policies.
    steps
        Steps of gradient descent with features and for the chosen responses.
    seeds
        Problems.
    """

    responses: int = 24
    seen: int = 12
    spread: float = 1.0
    dimension: int = 6
    betas: tuple[float, ...] = (0.1, 1.0)
    labels: int = 300
    steps: int = 300
    seeds: int = 5


PRESETS = {"quick": Config(), "paper": Config(betas=(0.1, 0.3, 1.0), steps=1000, seeds=12)}


def cells(config: Config) -> list[dict[str, Any]]:
    """A cell a loss and part."""
    shared = {"responses": config.responses, "seen": config.seen, "spread": config.spread, "seeds": config.seeds}
    shared |= {"betas": list(config.betas), "steps": config.steps}
    more = {"dimension": config.dimension, "labels": config.labels}
    return [
        {**shared, **(more if part != "tabular" else {}), "part": part, "loss": loss}
        for part in ("tabular", "features", "chosen")
        for loss in LOSSES
    ]


def problem_of(cell: dict[str, Any], seed: int, *, uniform: bool = False, matched: bool = False) -> PreferenceProblem:
    """μ on the first ``seen`` responses (``matched``: equal to πref, on all); πref Dirichlet(2), or uniform."""
    rng = np.random.default_rng([seed, 45])
    n, seen = cell["responses"], cell["seen"]
    rewards, mu = cell["spread"] * rng.normal(size=n), np.zeros(n)
    mu[:seen] = rng.dirichlet(np.full(seen, 3.0))
    reference = rng.dirichlet(np.full(n, 2.0))
    reference = np.full(n, 1.0 / n) if uniform else reference
    return PreferenceProblem(gpo.bradley_terry(rewards), reference if matched else mu, reference)


def run(cell: dict[str, Any]) -> pd.DataFrame:
    """Rows of one part."""
    part = {"tabular": _tabular, "features": _features, "chosen": _chosen}[cell["part"]]
    return pd.DataFrame(part(cell)).assign(part=cell["part"], loss=cell["loss"])


def _tabular(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """The optimum on μ's support, and training of free logits off it."""
    rows = []
    for seed in range(cell["seeds"]):
        for uniform in (False, True):
            problem = problem_of(cell, seed, uniform=uniform)
            on = compared(problem)
            for beta in cell["betas"]:
                h = _limit(problem, cell["loss"], beta)
                guess = link_log_ratio(problem, cell["loss"], beta)
                trained = _paths({**cell, "betas": [beta]}, problem, None)[0].final_policy
                moved = np.log(trained) - np.log(problem.reference)
                expected, after = deviation(problem, guess), deviation(problem, moved)
                found = replace(deviation(problem, h), largest_off=after.largest_off, mean_off=after.mean_off,
                                mass_off=after.mass_off)  # fmt: skip
                rows.append(
                    {"seed": seed, "beta": beta, "uniform": uniform}
                    | {name: getattr(found, name) for name in found.__dataclass_fields__}
                    | {f"predicted_{k}": getattr(expected, k) for k in ("largest_on", "mean_on", "largest_off")}
                    | {"spread_off": float(np.ptp(moved[~on])), "largest_rho": float(np.ptp(h[on])),
                       "predicted_rho": float(np.ptp(guess[on]))}
                )  # fmt: skip
    return rows


def _limit(problem: PreferenceProblem, loss: str, beta: float) -> FloatArray:
    """Where descent from πref of free logits ends: Σu stays 0 over the compared responses, and u = 0 off them."""
    on = compared(problem)
    part = PreferenceProblem(problem.preference[np.ix_(on, on)], problem.behavior[on])
    best = part.solve(loss, beta)
    inside = best.log_ratio if best.converged else best.representative
    u = np.zeros(problem.n)
    u[on] = inside - np.mean(inside)
    return u


def _features_of(cell: dict[str, Any], seed: int) -> FloatArray:
    """Standard normal features over √d: nearby directions for compared and uncompared responses alike."""
    rng = np.random.default_rng([seed, 46])
    return np.asarray(rng.normal(size=(cell["responses"], cell["dimension"])) / np.sqrt(cell["dimension"]))


def _features(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """Feature policies fitted to a sample: where mass leaks, against the slope's first direction."""
    rows = []
    for seed in range(cell["seeds"]):
        problem, phi = problem_of(cell, seed), _features_of(cell, seed)
        data = PreferenceProblem.from_comparisons(problem.sample(cell["labels"], seed=seed), problem.reference)
        off = ~compared(problem)
        first = phi @ (phi.T @ early_phase(data, "logistic", 1.0).direction)
        drift = float(np.sum((problem.reference * (first - problem.reference @ first))[off]))
        for beta, path in zip(cell["betas"], _paths(cell, data, phi), strict=True):
            logs = np.log(np.asarray(path.policies)) - np.log(problem.reference)
            mass, h = np.exp(np.log(problem.reference) + logs)[:, off].sum(axis=1), logs[-1]
            found = deviation(problem, h)
            rows.append(
                {"seed": seed, "beta": beta, "predicted_leak": drift, "early_leak": float(mass[1] - mass[0]),
                 "leak_slope": _leak_slope(cell["loss"], data, phi, beta, off),
                 "final_leak": float(mass[-1] - mass[0]), "rank": float(stats.spearmanr(first[off], h[off])[0]),
                 "gain": float(h[off].max()), "status": path.status}
                | {name: getattr(found, name) for name in found.__dataclass_fields__}
            )  # fmt: skip
    return rows


def _leak_slope(loss: str, data: PreferenceProblem, phi: FloatArray, beta: float, off: NDArray[np.bool_]) -> float:
    """First change of the mass off the support, for each unit of β|f′(0)| × time, by a step of 10⁻⁶."""
    time = 1e-6 / (beta * abs(float(gpo.get_loss(loss).derivative(0.0, 1))))
    step = gpo.train(data, loss, beta, learning_rate=time, steps=1, features=phi)
    return float((step.final_policy - data.reference)[off].sum() / 1e-6)


def _paths(cell: dict[str, Any], data: PreferenceProblem, phi: FloatArray | None) -> list[gpo.Trajectory]:
    """Descent from πref at the clock of s = 0.4 a step, every β."""
    slope = abs(float(gpo.get_loss(cell["loss"]).derivative(0.0, 1)))
    return [
        gpo.train(
            data, cell["loss"], beta, learning_rate=0.4 / (beta**2 * slope), steps=cell["steps"], features=phi,
            record_every=cell["steps"] // 50, keep=("policies",),
        )
        for beta in cell["betas"]
    ]  # fmt: skip


def _chosen(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """Log-probability of the chosen responses: its first derivative and its end, for four settings."""
    rows = []
    for seed in range(cell["seeds"]):
        phi = _features_of(cell, seed)
        for matched in (True, False):
            problem = problem_of(cell, seed, matched=matched)
            data = PreferenceProblem.from_comparisons(problem.sample(cell["labels"], seed=seed), problem.reference)
            for policy, features in (("tabular", None), ("features", phi)):
                for target, source in (("population", problem), ("sample", data)):
                    slope = chosen_slope(source, features)
                    for beta in cell["betas"]:
                        exact = policy == "tabular" and target == "population"
                        rest = _resting_change(problem, cell["loss"], beta) if exact else float("nan")
                        rows.append(
                            {"seed": seed, "beta": beta, "predicted_change": rest, "matched": matched,
                             "policy": policy, "target": target,
                             "predicted_slope": slope} | _rise(cell, source, features, beta)
                        )  # fmt: skip
    return rows


def _resting_change(problem: PreferenceProblem, loss: str, beta: float) -> float:
    """Σ W_i log π_i/πref_i at the log-ratios that the link predicts: where the chosen's log-probability ends."""
    pairs, h = problem.directed_pairs(), link_log_ratio(problem, loss, beta)
    return float(pairs.weight @ h[pairs.winner] / pairs.weight.sum())


def _rise(
    cell: dict[str, Any], source: PreferenceProblem, features: FloatArray | None, beta: float
) -> dict[str, float]:
    slope = abs(float(gpo.get_loss(cell["loss"]).derivative(0.0, 1)))

    def chosen(clock: float, steps: int) -> tuple[float, float]:
        rate = clock / (beta**2 * slope)
        path = gpo.train(
            source, cell["loss"], beta, learning_rate=rate, steps=steps, features=features, record_every=steps
        )
        log = path.columns["chosen_logp"]
        return float(log[-1] - log[0]), rate * steps

    early, time = chosen(1e-5, 1)
    return {"early_slope": early / (time * beta * slope), "change": chosen(0.4, cell["steps"])[0]}


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Size on the support, nothing off it without features, leaks with them, and the chosen."""
    tabular, features, chosen = (table[table["part"] == part] for part in ("tabular", "features", "chosen"))
    return _tabular_checks(tabular) + _feature_checks(features) + _chosen_checks(chosen)


def _tabular_checks(tabular: pd.DataFrame) -> list[Check]:
    checks = []
    for loss, rows in tabular.groupby("loss", sort=False):
        error = (rows["predicted_largest_on"] / rows["largest_on"] - 1.0).abs()
        ratio = (rows["largest_rho"] / rows["predicted_rho"]).groupby(rows["seed"]).mean()
        note = (
            f"mean error {told(mean_interval(error.groupby(rows['seed']).mean()))}; "
            f"largest |ρ| over the link's {told(mean_interval(ratio))}"
        )
        if loss in EXACT:
            checks.append(
                Check.equal(
                    f"{loss}: largest |log π/πref| on the support over the link's (largest error)",
                    0.0,
                    float(error.max()),
                    1e-6,
                    note=note,
                )
            )
        else:
            checks.append(
                Check.at_most(
                    f"{loss}: largest |log π/πref| on the support, relative error of the link's (mean)",
                    0.25,
                    float(error.mean()),
                    note=note,
                )
            )
        scaled = rows["largest_rho"] * rows["beta"]
        spread = scaled.groupby([rows["seed"], rows["uniform"]]).agg(lambda x: np.ptp(x) / x.mean()).max()
        checks.append(
            Check.equal(f"{loss}: β × largest |ρ|, relative spread over β (largest)", 0.0, float(spread), 1e-6)
        )
    checks.append(
        Check.equal(
            "free logits: log π/πref off the support, spread (largest)", 0.0, float(tabular["spread_off"].max()), 1e-12
        )
    )
    level = tabular[tabular["uniform"].astype(bool)]
    gain = level["mass_off"] - level["reference_mass_off"]
    other = tabular[~tabular["uniform"].astype(bool)]
    more = other["mass_off"] - other["reference_mass_off"]
    grown, most = int((more > 0).sum()), float(more.max())
    checks.append(
        Check.at_most(
            "free logits, uniform πref: mass gained off the support (largest)",
            0.0,
            float(gain.max()),
            1e-12,
            note=f"πref not uniform: it grows in {told(share_interval(grown, len(other)))}, most {most:.3g}",
        )
    )
    return checks


def _feature_checks(rows: pd.DataFrame) -> list[Check]:
    early, final = sign_agreement(rows, "early_leak"), sign_agreement(rows, "final_leak")
    ranks = rows.groupby("seed")["rank"].mean()
    spread = rows.groupby("seed")["rank"].agg(np.ptp)
    slope = (rows["leak_slope"] - rows["predicted_leak"]).abs() / rows["predicted_leak"].abs().median()
    return [
        Check.equal(
            "features: first slope of the mass off the support, error over the median slope (largest)",
            0.0,
            float(slope.max()),
            0.01,
        ),
        Check.at_least(
            "features: sign of the leak early on, as the slope says (share of runs)",
            0.9,
            early[0],
            note=f"{told(early)} of {len(rows)}, after a fiftieth of the steps; at the end {told(final)}",
        ),
        Check.at_least(
            "features: rank correlation of log π/πref off the support with the slope's direction (mean)",
            0.7,
            float(ranks.mean()),
            note=f"over problems {told(mean_interval(ranks))}; spread over f and β {told(mean_interval(spread))}",
        ),
        Check.at_least(
            "features: largest |log π/πref| off the support over that on it (mean)",
            0.5,
            float((rows["largest_off"] / rows["largest_on"]).mean()),
            note=told(mean_interval((rows["largest_off"] / rows["largest_on"]).groupby(rows["seed"]).mean())),
        ),
    ]


def sign_agreement(rows: pd.DataFrame, column: str) -> tuple[float, float, float]:
    """Share of runs where the leak has the sign that the slope predicts."""
    return share_interval(int((np.sign(rows[column]) == np.sign(rows["predicted_leak"])).sum()), len(rows))


def _chosen_checks(rows: pd.DataFrame) -> list[Check]:
    matched = rows["matched"].astype(bool)
    error = (rows["early_slope"] - rows["predicted_slope"]).abs() / rows["predicted_slope"].abs().groupby(
        rows["policy"]
    ).transform("median")
    population = rows[matched & (rows["target"] == "population")]
    away = rows[~matched]
    same = int((np.sign(away["change"]) == np.sign(away["predicted_slope"])).sum())
    checks = [
        Check.equal(
            "chosen: first slope over β|f′(0)| against its prediction (largest error over the median slope)",
            0.0,
            float(error.max()),
            0.01,
            note=f"{len(rows)} runs",
        ),
        Check.at_least(
            "chosen: pairs drawn from πref, the first slope (least)",
            0.0,
            float(population["early_slope"].min()),
            note=f"{len(population)} runs",
        ),
        Check.at_least(
            "chosen, μ elsewhere: change at the end has the sign of the first slope (share of runs)",
            0.7,
            same / len(away),
            note=told(share_interval(same, len(away))),
        ),
    ]
    told_rest = away.dropna(subset=["predicted_change"])
    hits = int((np.sign(told_rest["change"]) == np.sign(told_rest["predicted_change"])).sum())
    shares = {
        (policy, target): told(fallen(group))
        for (policy, target), group in away.groupby(["policy", "target"], sort=False)
    }
    note = "; ".join(f"{policy}, {target} {share}" for (policy, target), share in shares.items())
    free, linear = (fallen(away[away["policy"] == policy])[0] for policy in ("tabular", "features"))
    checks += [
        Check.at_least(
            "chosen, μ elsewhere, free logits: the end has the sign of Σ W log π/πref at z*(η)/β (share of runs)",
            0.9,
            hits / len(told_rest),
            note=f"{told(share_interval(hits, len(told_rest)))}; added once the first slope had failed as a predictor",
        ),
        Check.at_least(
            "chosen, μ elsewhere: share ending lower, features less free logits",
            0.0,
            linear - free,
            note=f"{note}; seen in a first run",
        ),
    ]
    return checks


def fallen(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Share of runs that end with less probable chosen responses."""
    return share_interval(int((rows["change"] < 0).sum()), len(rows))


def summary(config: Config, table: pd.DataFrame) -> str:
    """What was found, with intervals over problems."""
    tabular, features, chosen = (table[table["part"] == part] for part in ("tabular", "features", "chosen"))
    beta = min(config.betas)
    sizes = {
        loss: mean_interval(rows[rows["beta"] == beta].groupby("seed")["largest_on"].mean())
        for loss, rows in tabular.groupby("loss", sort=False)
    }
    off = mean_interval((features["largest_off"] / features["largest_on"]).groupby(features["seed"]).mean())
    ranks = mean_interval(features.groupby("seed")["rank"].mean())
    away = chosen[~chosen["matched"].astype(bool)]
    falls = {loss: fallen(rows) for loss, rows in away.groupby("loss", sort=False)}
    early = sign_agreement(features, "early_leak")
    rising = share_interval(int((away["early_slope"] > 0).sum()), len(away))
    return (
        f"At β = {beta:g} the largest |log π/πref| on μ's support is "
        + ", ".join(f"{told(sizes[loss])} ({loss})" for loss in LOSSES)
        + " nats; z*(η)/β gives it exactly for logistic, squared, exponential and Savage. Free logits leave what "
        "nobody compared alone but for the normaliser; linear features do not: off the support the largest log-ratio "
        f"is {told(off)} of that on it; its order follows the slope f′(0) in part (rank correlation "
        f"{told(ranks)}), and so does the sign of the early leak ({told(early)} of the runs; at the end "
        f"{told(sign_agreement(features, 'final_leak'))}). With μ away from πref the chosen end less likely "
        "in "
        + ", ".join(f"{told(falls[loss])} ({loss})" for loss in LOSSES)
        + f" of the runs, although {told(rising)} of them start "
        "by rising: the first slope does not say how it ends; for free logits z*(η)/β does. To "
        "remember: f and β say how far, the features and where πref has its mass say where to."
    )
