"""Preferences that are not Bradley–Terry: what each f converges to, and where the choice of f changes the winner.

Structures, each of a strength that is varied: a cycle added to Bradley–Terry logits; a second group of annotators with
rewards of its own; label noise. Exact population optima with uniform μ. Worked out beforehand:

- The first-order condition of squared is ``h_i − mean = (P(i ≻ μ) − ½)/τ`` with β = 2τ: its policy is
  πref exp(P(· ≻ μ)/τ)/Z whatever the preferences, the best response to μ in the game regularized by τ KL, and its
  population loss is 1 less the energy of the gradient part of 2P − 1 (Hodge): the cyclic part no policy can represent.
- Logistic fits the row sums, ``Σ_j μ_j P_ij = Σ_j μ_j σ(g_i − g_j)``, and the right side grows with g_i: its order,
  like squared's, is that of the Borda scores, on any structure. The other losses need not agree.
- Where one response's row exceeds another's everywhere every convex f ranks it higher: label noise on Bradley–Terry
  preferences changes no winner.
- With μ = π squared's condition is that of the regularized Nash policy: online IPO rests there exactly; Nash-MD, whose
  opponent is mixed with πref, rests off it by an amount proportional to the step.
- On real votes logistic, proper for votes that are nearly scores, has the best held-out likelihood.

IPO: Azar et al. arXiv 2310.12036; Nash-MD: Munos et al. arXiv 2312.00886; IPO-MD: Calandriello et al. arXiv 2403.08635;
HodgeRank: Jiang et al. 2011. Problems are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

import gpo_analysis as gpo
from experiments.framework import Check, NotRun
from gpo_analysis.statistics import Interval, mean_interval, share_interval
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.tabular.cells import cells_of
from gpo_analysis.tabular.optimum import optimise
from gpo_analysis.tabular.self_play import self_play

CLAIM = (
    "Beyond Bradley–Terry logistic and squared still choose the Borda winner, other losses need not; no offline loss "
    "represents a cycle or finds the Nash policy, self-play with squared does."
)
FIGURE = "not-bradley-terry"

STRUCTURES = ("cycle", "second group", "noise")
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    """Structures, strengths and repetitions.

    Parameters
    ----------
    losses
        The paper's six.
    responses
        Number of responses; μ and πref are uniform.
    cycle, minority, noise
        Strengths: logits of the cycle, share of the second group, share of flipped labels.
    seeds
        Problems a structure and strength; rewards are normal.
    kl
        KL, in nats, at which policies are compared with the regularized Nash policy of the same KL.
    tau, steps
        Strength of self-play's penalty, and its step sizes.
    folds
        Of the held-out likelihood on real votes.
    seed
        Of everything.
    """

    losses: tuple[str, ...] = ("logistic", "squared", "hinge", "exponential", "truncated_quadratic", "savage")
    responses: int = 6
    cycle: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0)
    minority: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.45)
    noise: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4)
    seeds: int = 30
    kl: float = 0.3
    tau: float = 0.2
    steps: tuple[float, ...] = (0.2, 0.1, 0.05)
    folds: int = 5
    seed: int = 0


PRESETS = {"quick": Config(), "paper": Config(seeds=200, steps=(0.4, 0.2, 0.1, 0.05, 0.025))}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a structure and strength, one of self-play a strength of the cycle, and one a side of a debate."""
    shared = {"responses": config.responses, "seeds": config.seeds, "seed": config.seed}
    levels = {"cycle": config.cycle, "second group": config.minority, "noise": config.noise}
    found = [
        {**shared, "part": "optima", "structure": name, "level": level, "losses": list(config.losses), "kl": config.kl}
        for name in STRUCTURES
        for level in levels[name]
    ]
    found += [
        {**shared, "part": "self-play", "level": level, "tau": config.tau, "steps": list(config.steps)}
        for level in config.cycle
    ]
    return found + _vote_cells(config)


def _vote_cells(config: Config) -> list[dict[str, Any]]:
    from experiments import arguments

    try:
        sides = arguments.cells(arguments.PRESETS["quick"])
    except NotRun:
        return []
    return [
        {
            "part": "votes", "file": side["file"], "sha256": side["sha256"], "prompt": side["prompt"],
            "losses": list(config.losses), "folds": config.folds, "seed": config.seed,
        }
        for side in sides
    ]  # fmt: skip


def preference_of(structure: str, level: float, responses: int, rng: np.random.Generator) -> FloatArray:
    """A preference matrix, shape (n, n).

    cycle: logits r_i − r_j, plus `level` for each response against the next one in a random circle; second group: a
    share `level` of annotators has rewards of its own, 3 times as large as the first group's; noise: `level` of labels
    flipped.
    """
    rewards = rng.normal(size=responses)
    other, order = rng.normal(size=responses), rng.permutation(responses)
    if structure == "second group":
        groups = [gpo.bradley_terry(rewards), gpo.bradley_terry(3 * other)]
        return np.asarray(gpo.mixture_of_annotators(groups, [1 - level, level]) if level > 0 else groups[0])
    if structure == "noise":
        return np.asarray(gpo.label_noise(gpo.bradley_terry(rewards), level))
    turn = np.zeros((responses, responses))
    turn[order, np.roll(order, -1)] = level
    return np.asarray(1 / (1 + np.exp(-(np.subtract.outer(rewards, rewards) + turn - turn.T))))


def _preferences(cell: dict[str, Any], structure: str) -> list[FloatArray]:
    return [
        preference_of(structure, cell["level"], cell["responses"], np.random.default_rng([cell["seed"], k]))
        for k in range(cell["seeds"])
    ]


def run(cell: dict[str, Any]) -> pd.DataFrame:
    """Rows of one part."""
    parts = {"optima": _optima, "self-play": _self_play, "votes": _votes}
    return parts[cell["part"]](cell).assign(part=cell["part"])


def _optima(cell: dict[str, Any]) -> pd.DataFrame:
    """A row a problem and loss: winner, Borda and Condorcet winners, loss at the optimum, exploitability at a KL."""
    preferences = _preferences(cell, cell["structure"])
    problems = [PreferenceProblem(P) for P in preferences]
    flat = [part for problem in problems for part in cells_of(problem)]
    facts = [_facts(P, cell["kl"]) for P in preferences]
    rows = []
    for name in cell["losses"]:
        for k, optimum in enumerate(optimise(flat, gpo.get_loss(name))):
            g = optimum.g if optimum.g is not None else optimum.representative
            row = {"structure": cell["structure"], "level": cell["level"], "seed": k, "loss": name, **facts[k]}
            row |= {"status": optimum.status.split(":")[0], "value": float(optimum.value), "winner": -1}
            row |= {
                "first": 2 ** len(preferences[k]) - 1,
                "exploitability": np.nan,
                "distance": np.nan,
                "closed_form": np.nan,
            }
            if g is not None:
                policy = _at_kl(g, cell["kl"])
                tied = np.flatnonzero(g > g.max() - 1e-7)
                row |= {
                    "winner": int(tied[0]) if len(tied) == 1 else -1,
                    "first": int(np.sum(2**tied)),
                    "exploitability": _exploitability(policy, preferences[k]),
                    "distance": 0.5 * float(np.abs(policy - _nash_at_kl(preferences[k], cell["kl"])).sum()),
                }
                if name == "squared":
                    best = problems[k].solve("squared", 0.6).policy  # β = 2τ
                    wanted = np.exp(preferences[k].mean(axis=1) / 0.3)
                    row["closed_form"] = float(np.abs(best - wanted / wanted.sum()).max())
            rows.append(row)
    return pd.DataFrame(rows)


def _facts(preference: FloatArray, kl: float) -> dict[str, Any]:
    """Winners, Hodge's cyclic share, the energy of 2P − 1 over pairs from uniform μ, and the Nash policy at this KL."""
    found = gpo.diagnostics(preference)
    nash = _nash_at_kl(preference, kl)
    return {
        "borda": int(np.argmax(found.borda)),
        "condorcet": -1 if found.condorcet_winner is None else int(found.condorcet_winner),
        "cyclic_share": float(found.hodge.cyclic_share),
        "gradient_energy": float(found.hodge.gradient_share * np.mean((2 * preference - 1) ** 2)),
        "nash_exploitability": _exploitability(nash, preference),
    }


def _exploitability(policy: FloatArray, preference: FloatArray) -> float:
    """``max_y P(y ≻ π) − ½``: what the best single response wins against the policy beyond a half."""
    return float((preference @ policy).max() - 0.5)


def _tilted(scores: FloatArray, inverse: float) -> FloatArray:
    weights = np.exp(inverse * (scores - scores.max()))
    return np.asarray(weights / weights.sum())


def _kl(policy: FloatArray) -> float:
    positive = policy[policy > 0]
    return float(positive @ np.log(positive * len(policy)))


def _at_kl(g: FloatArray, kl: float) -> FloatArray:
    """The policy of a fit ``g = βh`` at the β at which it has this KL (πref uniform); πref where g is level."""
    if np.ptp(g) < 1e-9:
        return np.full(len(g), 1 / len(g))
    high = 1.0
    while _kl(_tilted(g, high)) < kl:
        high *= 2
        if high > 1e9:  # several responses share the first place, and their mixture is all that β → 0 gives
            return _tilted(g, high)
    return _tilted(g, float(brentq(lambda x: _kl(_tilted(g, x)) - kl, 0.0, high, xtol=1e-12)))


_NASH: dict[bytes, FloatArray] = {}


def _nash_at_kl(preference: FloatArray, kl: float) -> FloatArray:
    """The regularized Nash policy at the τ at which it has this KL, or at the smallest τ tried."""
    key = preference.tobytes() + np.float64(kl).tobytes()
    if key not in _NASH:
        reference = np.full(len(preference), 1 / len(preference))

        def excess(log_tau: float) -> float:
            return _kl(np.asarray(gpo.nash_policy(preference, reference, float(np.exp(log_tau))))) - kl

        low, high = np.log(1e-3), np.log(10.0)
        place = low if excess(low) < 0 else float(brentq(excess, low, high, xtol=1e-6))
        _NASH[key] = np.asarray(gpo.nash_policy(preference, reference, float(np.exp(place))))
    return _NASH[key]


def _self_play(cell: dict[str, Any]) -> pd.DataFrame:
    """A row a problem, method and step: distance of the last iterate from the regularized Nash policy."""
    rows = []
    reference = np.full(cell["responses"], 1 / cell["responses"])
    for k, preference in enumerate(_preferences(cell, "cycle")[: max(8, cell["seeds"] // 5)]):
        nash = np.asarray(gpo.nash_policy(preference, reference, cell["tau"]))
        offline = PreferenceProblem(preference).solve("squared", 2 * cell["tau"]).policy
        for step in cell["steps"]:
            for opponent in ("policy", "mixture"):
                path = self_play(
                    preference, reference, cell["tau"], step=step, steps=int(np.ceil(40 / step)), opponent=opponent
                )
                rows.append(
                    {
                        "level": cell["level"], "seed": k, "step": step, "opponent": opponent,
                        "distance": 0.5 * float(np.abs(path[-1] - nash).sum()),
                        "offline_distance": 0.5 * float(np.abs(offline - nash).sum()),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def _votes(cell: dict[str, Any]) -> pd.DataFrame:
    """A row a loss: held-out likelihood and accuracy on the votes of one side of a debate, undecided votes left out."""
    from experiments import arguments
    from gpo_analysis.advice import choose_loss

    folder = arguments._folder()
    rows = [row for row in arguments._read(folder / f"{cell['file']}.jsonl.gz") if row["prompt"] == cell["prompt"]]
    counts = [
        (row[a], row[b], row[votes])
        for row in rows
        for a, b, votes in (
            ("chosen_id", "rejected_id", "votes_chosen"),
            ("rejected_id", "chosen_id", "votes_rejected"),
        )
        if row[votes]
    ]
    items = sorted({name for pair in counts for name in pair[:2]})
    place = {name: k for k, name in enumerate(items)}
    winner, loser, count = zip(*((place[a], place[b], n) for a, b, n in counts), strict=True)
    comparisons = gpo.Comparisons(winner, loser, count, items)
    share = float(gpo.diagnostics(comparisons).cyclic_share)
    found = choose_loss(
        comparisons, cell["losses"], folds=cell["folds"], resamples=100, seed=cell["seed"], smoothing=0.05
    )
    return pd.DataFrame(
        [
            {
                "prompt": cell["prompt"], "loss": row.loss, "labels": found.labels, "cyclic_share": share,
                "log_likelihood": row.log_likelihood.value, "accuracy": row.accuracy.value, "lost": row.lost,
            }
            for row in found.rows
        ]
    )  # fmt: skip


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Closed forms of squared and logistic, winners, self-play, votes."""
    optima = table[table["part"] == "optima"]
    return _closed_forms(optima) + _winners(config, optima) + _nash(config, table) + _held_out(table)


def _closed_forms(optima: pd.DataFrame) -> list[Check]:
    squared = optima[optima["loss"] == "squared"]
    gap = (squared["value"] - (1 - squared["gradient_energy"])).abs().max()
    return [
        Check.equal(
            "squared's policy is πref exp(P(· ≻ μ)/τ)/Z on every structure (largest difference)", 0.0,
            float(squared["closed_form"].max()), 1e-8,
        ),
        Check.equal(
            "squared's population loss is 1 less the energy of the gradient part (largest difference)", 0.0, float(gap),
            1e-8, note=f"cyclic share of the flow up to {squared['cyclic_share'].max():.2f}",
        ),
    ]  # fmt: skip


def differing(optima: pd.DataFrame) -> pd.Series[bool]:
    """Whether no response is first, alone or tied, for every loss; by structure, level and seed.

    ``first`` holds the responses in first place as bits; a loss without a finite optimum takes no part.
    """
    grouped = optima.astype({"first": np.int64}).groupby(["structure", "level", "seed"])["first"]
    return grouped.agg(lambda masks: int(np.bitwise_and.reduce(masks.to_numpy()))) == 0


def _winners(config: Config, optima: pd.DataFrame) -> list[Check]:
    checks = []
    for loss in ("logistic", "squared"):
        rows = optima[optima["loss"] == loss]
        checks.append(
            Check.equal(
                f"{loss} chooses the Borda winner on every structure (share)",
                1.0,
                float((rows["winner"] == rows["borda"]).mean()),
                0.0,
            )
        )
    apart = differing(optima)
    fair = apart.xs("noise", level="structure")
    checks.append(
        Check.equal("Bradley–Terry, label noise up to 40 %: no f changes the winner (share of problems in which two "
                    "losses differ)", 0.0, float(fair.mean()), 0.0, note=f"{len(fair)} problems")
    )  # fmt: skip
    for structure in ("cycle", "second group"):
        shares = apart.xs(structure, level="structure").groupby("level").agg(["sum", "count"])
        ends = [
            share_interval(int(shares.loc[level, "sum"]), int(shares.loc[level, "count"])) for level in shares.index
        ]
        checks.append(
            Check.at_least(
                f"{structure}: the share of problems in which two losses have different winners grows with its "
                "strength (last less first)", 0.02, ends[-1].value - ends[0].value,
                note="; ".join(f"{level:g}: {end}" for level, end in zip(shares.index, ends, strict=True)),
            )
        )  # fmt: skip
    return checks


def _nash(config: Config, table: pd.DataFrame) -> list[Check]:
    play = table[table["part"] == "self-play"]
    online, mixed = (play[play["opponent"] == name] for name in ("policy", "mixture"))
    checks = [
        Check.equal(
            "online IPO rests at the regularized Nash policy (largest total variation, every step size and cycle)", 0.0,
            float(online["distance"].max()), 1e-6,
        )
    ]  # fmt: skip
    wide = mixed[mixed["level"] > 0].pivot_table(index=["level", "seed"], columns="step", values="distance")
    small, large = sorted(wide.columns)[:2]
    ratio = mean_interval((wide[large] / wide[small]).to_numpy())
    checks.append(
        Check.equal(
            f"Nash-MD rests off it in proportion to the step (ratio of distances at steps {large:g} and {small:g})",
            float(large / small), ratio.value, 0.2, note=f"{ratio} over problems",
        )
    )  # fmt: skip
    strongest = play[(play["level"] == play["level"].max()) & (play["step"] == play["step"].min())]
    offline = mean_interval(strongest[strongest["opponent"] == "policy"]["offline_distance"].to_numpy())
    checks.append(
        Check.at_least(
            f"offline IPO is not there with a strong cycle (mean total variation at τ = {config.tau:g})", 0.01,
            offline.value,
            note=f"{offline}",
        )
    )  # fmt: skip
    optima = table[(table["part"] == "optima") & (table["structure"] == "cycle")]
    strong = optima[optima["level"] == optima["level"].max()]
    for loss in ("logistic", "squared"):
        rows = strong[strong["loss"] == loss]
        excess = mean_interval((rows["exploitability"] - rows["nash_exploitability"]).to_numpy())
        checks.append(
            Check.at_least(
                f"strongest cycle, KL {config.kl:g}: {loss} is more exploitable than the Nash policy of the same KL "
                "(mean difference of win rate)", 0.0, excess.value, note=f"{excess}",
            )
        )  # fmt: skip
    return checks


def _held_out(table: pd.DataFrame) -> list[Check]:
    claim = "real votes (UKPConvArg1): the f of the best held-out likelihood, mean over sides of debates"
    rows = table[table["part"] == "votes"]
    if rows.empty:
        why = "no data given; name the folder that holds ukp_arguments/ by --data or GPO_DATA"
        return [Check(claim, "logistic", "–", None, None, note=why, kind="text")]
    means = held_out_means(rows)
    best = max(means, key=lambda name: means[name].value)
    return [Check.text(claim, "logistic", best, note="; ".join(f"{name} {value:.4f}" for name, value in means.items()))]


def held_out_means(rows: pd.DataFrame) -> dict[str, Interval]:
    """Mean log-likelihood a held-out label of each f over the sides on which every f had a fit, with intervals."""
    wide = rows.pivot_table(index="prompt", columns="loss", values="log_likelihood", sort=False).dropna()
    return {str(name): mean_interval(wide[name].to_numpy()) for name in wide.columns}


def summary(config: Config, table: pd.DataFrame) -> str:
    """What was found."""
    optima, votes = (table[table["part"] == name] for name in ("optima", "votes"))
    apart = differing(optima)

    def share(structure: str, level: float) -> Interval:
        rows = apart.xs((structure, level), level=("structure", "level"))
        return share_interval(int(rows.sum()), len(rows))

    strong = optima[(optima["structure"] == "cycle") & (optima["level"] == max(config.cycle))]
    excess = {
        loss: mean_interval((rows["exploitability"] - rows["nash_exploitability"]).to_numpy())
        for loss, rows in strong.groupby("loss", sort=False)
        if loss in ("logistic", "squared", "exponential")
    }
    condorcet = strong[strong["condorcet"] >= 0]
    missed = condorcet[condorcet["loss"] == "logistic"]
    found = share_interval(int((missed["winner"] == missed["condorcet"]).sum()), len(missed)) if len(missed) else None
    chosen = (
        f"; of the {len(missed)} with a Condorcet winner logistic chooses it in {found}" if found is not None else ""
    )
    open_ = optima.groupby("loss", sort=False)["status"].agg(lambda s: float((s == "no finite optimum").mean()))
    lost = ", ".join(f"{name} in {value:.0%}" for name, value in open_.items() if value > 0)
    none = f" No finite optimum: {lost} of the problems." if lost else ""
    if votes.empty:
        real = "Real votes were not at hand."
    else:
        means = held_out_means(votes)
        best = max(means, key=lambda name: means[name].value)
        sides = votes["prompt"].nunique()
        real = (
            f"On the votes of {sides} sides of debates {best} has the best held-out likelihood, "
            + ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            + " nats a label."
        )
    apart_by = ", ".join(f"{loss} by {value:.2g}" for loss, value in excess.items())
    return f"""Squared's policy is the best response to μ and its loss the energy that Hodge's gradient part leaves, to
    rounding; logistic and squared choose the Borda winner of every problem, whatever the structure. Two of the six
    losses have different winners in {share("cycle", max(config.cycle)):.2f} of the problems with the strongest cycle
    and in {share("second group", max(config.minority)):.2f} with the largest second group, in
    {share("noise", max(config.noise)):.2f} with the most label noise on Bradley–Terry preferences{chosen}.{none} At a
    KL of {config.kl:g} nats, with the strongest cycle, the policies lose to the best single response by more than the
    regularized Nash policy of the same KL does: {apart_by}. Online IPO comes to rest at that Nash policy, Nash-MD at a
    distance proportional to its step; offline IPO does not. {real} To remember: off Bradley–Terry, DPO and IPO maximise
    average votes, not majorities, and no choice of f makes an offline fit an equilibrium; the data must come from the
    policy."""
