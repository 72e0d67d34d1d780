"""What f does to an arena: who ranks where, what of the cycles is noise, and which voting rule each f is.

On balanced data the fit satisfies Σ_j [P_ij f′(z_ij) − P_ji f′(−z_ij)] = 0. Where f(z) − f(−z) is linear (logistic,
squared; truncated quadratic within margins of 1) the scores are ordered as the row sums of P: Borda. To third order a
pair's preference counts with the weight 1 + f‴z²/(2f′), which in logits u is 1 + u²/8 for exponential, 1 for logistic
and 1 − u²/4 for Savage: exponential counts upsets across wide gaps more, Savage less and twice as strongly. On votes,
the changes of their scores against logistic's are then about −2 : 1, and come from what is not Bradley–Terry alone.

Random preferences of few items are set beside Borda, Copeland and Kemeny. The Chatbot Arena votes and every side of the
debates of ukp_arguments are read from the folder that ``--data`` or GPO_DATA names (pairs that the publisher labelled
equal are not among them); without it a generated arena stands in. Predictions: docs/predictions/arena.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments._debates import side_axes
from experiments._losses import accepted_beside, each_of, of_the_preset, stated, those
from experiments.arena.rules import against_rules
from experiments.arena.votes import arena_axes, generated, read_arena, read_debate, under_every_loss
from experiments.framework import Check, NotRun
from experiments.framework.checks import explained
from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.statistics import Interval, bootstrap_interval, mean_interval, share_interval
from gpo_analysis.tables import find, get

CLAIM = "f changes an arena's ranks little where votes are nearly Bradley–Terry, and as its third derivative says."
FIGURE = "arena"
SPREADS = {"uniform": 1.0, "shrunk": 0.25}
BLOCKS = 4
NO_DATA = "no data given; name the folder that holds arena_votes/ and ukp_arguments/ by --data or GPO_DATA"


@dataclass(frozen=True)
class Config:
    """How much is drawn.

    Parameters
    ----------
    responses : int
        Items of the random preferences, at most 7.
    matrices : int
        Random preferences of each kind.
    items, votes : int
        Of the generated arena: models, and votes on a pair.
    resamples : int
        Weighted bootstraps behind the intervals.
    simulations : int
        Of the tests against noise.
    seed : int
        Of all of it.
    losses : tuple of str
        Losses that rank: names, or expressions in z, logistic among them. The claims are about the paper's.
    """

    responses: int = 5
    matrices: int = 400
    items: int = 24
    votes: int = 200
    resamples: int = 200
    simulations: int = 199
    seed: int = 0
    losses: tuple[str, ...] = PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those refused that have no strength or known minimum; logistic is needed."""
        why = "ranks are set against its ranks"
        found = accepted_beside("logistic", self.losses, why, strength=True, known=True)
        object.__setattr__(self, "losses", found)


PRESETS = {"quick": Config(matrices=100, resamples=50, simulations=99), "paper": Config()}


def cells(config: Config) -> list[dict[str, Any]]:
    """Random preferences in blocks, the generated arena, and the data sets that are there."""
    none = {"file": "", "sha256": "", "prompt": "", "block": 0}
    found = [none | {"data": kind, "block": block} for kind in SPREADS for block in range(BLOCKS)]
    found.append(none | {"data": "generated"})
    found += [none | axes for axes in arena_axes()]
    with contextlib.suppress(NotRun):
        found += [none | {"data": "debate"} | axes for axes in side_axes()]
    return found


def run(config: Config, *, data: str, block: int, file: str, sha256: str, prompt: str) -> pd.DataFrame:
    """One block of random preferences, or one arena under every f."""
    if data in SPREADS:
        size = -(-config.matrices // BLOCKS)
        seed = 1000 * config.seed + 10 * block + list(SPREADS).index(data)
        return against_rules(config.responses, size, SPREADS[data], seed, config.losses).assign(
            part="random", data=data, block=block
        )
    if data == "generated":
        problem = generated(config.items, config.votes, config.seed)
    elif data == "arena":
        problem = read_arena(sha256)
    else:
        problem = read_debate(file, sha256, prompt)
    table = under_every_loss(
        problem,
        resamples=config.resamples,
        simulations=config.simulations,
        seed=config.seed,
        scores=data != "debate",
        losses=config.losses,
    )
    return table.assign(data=data, prompt=prompt)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The predictions, by number."""
    table, here = table[~table["loss"].isin([n for n in config.losses if n not in PAPER_LOSSES])], config.losses
    return explained([*_random(table, here), *_arena(table, here), *_debates(table, here)], _mechanisms(table))


def _mechanisms(table: pd.DataFrame) -> dict[str, Callable[[], str]]:
    """Why hinge's claims are contradicted: its scores stand on few levels."""
    which = "arena" if "arena" in set(table["data"]) else "generated"
    uniform = find(table, part="random", data="uniform", loss="hinge")
    few = "an item's hinge score is a vertex of a linear program, so that many items tie and a tie takes from τ"

    def random() -> str:
        return f"{few}: its mean τ with Borda, which ties nobody, is itself {uniform['tau_borda'].mean():.3f}"

    def votes() -> str:
        return f"{few}{_levels(table, which)}"

    return {"hinge less Borda": random, "8. Kendall's τ": votes, "15. median τ": votes}


def _random(table: pd.DataFrame, here: tuple[str, ...]) -> list[Check]:
    random = find(table, part="random")
    off = {name: (find(random, loss=name)["tau_borda"] < 1 - 1e-9) for name in those(here, PAPER_LOSSES)}
    contrary = {
        name: Check.equal("matrices", 0.0, float(off[name].sum()), 0.0) for name in those(here, ("logistic", "squared"))
    }
    within = find(random, loss="truncated_quadratic")
    within = within[within["margin"] <= 1]
    checks = [
        Check.each("1. random preferences that logistic and squared order otherwise than Borda", contrary).as_theorem(),
        stated(
            here, "2. those with margins within 1 that truncated quadratic orders otherwise than Borda",
            lambda claim: Check.equal(
                claim, 0.0, float((within["tau_borda"] < 1 - 1e-9).sum()), 0.0, note=f"of {len(within)}"
            ),
            of=("truncated_quadratic", "squared"),
        ).as_theorem(),
    ]  # fmt: skip
    fewer = {}
    for name in those(here, ("exponential", "savage")):
        share = {kind: float((find(random, loss=name, data=kind)["tau_borda"] < 1 - 1e-9).mean()) for kind in SPREADS}
        n = len(find(random, loss=name, data="uniform"))
        u, s = share["uniform"], share["shrunk"]
        half = 1.96 * np.sqrt((s * (1 - s) + 0.25 * u * (1 - u)) / n)
        fewer[name] = Check.below("share", 0.0, Interval(s - u / 2, s - u / 2 - half, s - u / 2 + half), "matrices")
    claim = "3. share not ordered as Borda, log-odds shrunk to a quarter, less half of that unshrunk"
    checks.append(each_of(claim, fewer))
    uniform = find(random, data="uniform")
    tau = {(name, rule): find(uniform, loss=name)[f"tau_{rule}"].to_numpy()
           for name in those(here, PAPER_LOSSES) for rule in ("borda", "copeland", "kemeny")}  # fmt: skip
    borda = find(uniform, loss="logistic")["borda_kemeny"].to_numpy()  # of no loss: Borda's own
    over = "matrices"
    checks += [
        stated(here, "4. mean τ with Kemeny: Savage less Borda", lambda claim: Check.above(
            claim, 0.0, mean_interval(tau["savage", "kemeny"] - borda), over), of=("savage",)),
        stated(here, "4. mean τ with Kemeny: exponential less Borda", lambda claim: Check.below(
            claim, 0.0, mean_interval(tau["exponential", "kemeny"] - borda), over), of=("exponential",)),
        stated(here, "5. mean τ with Copeland: Savage less exponential", lambda claim: Check.above(
            claim, 0.0, mean_interval(tau["savage", "copeland"] - tau["exponential", "copeland"]), over),
            of=("savage", "exponential")),
        stated(here, "6. mean τ with Kemeny: hinge less Borda", lambda claim: Check.above(
            claim, 0.0, mean_interval(tau["hinge", "kemeny"] - borda), over), of=("hinge",)),
    ]  # fmt: skip
    return checks


def _interval(rows: pd.DataFrame, name: str, **where: Any) -> Interval:
    return Interval(*(float(get(rows, f"{name}{end}", **where)) for end in ("", "_low", "_high")))


def _arena(table: pd.DataFrame, here: tuple[str, ...]) -> list[Check]:
    rows = find(table, data="arena", part="fit") if "arena" in set(table["data"]) else None
    bounds = {"exponential": 0.99, "savage": 0.99, "squared": 0.97, "truncated_quadratic": 0.97, "hinge": 0.85}
    over = "bootstraps"
    claims = {
        "7. slope of Savage's changes of scores on exponential's": -2.0,
        "7. their correlation": "below -0.9",
        "8. Kendall's τ with logistic": "above 0.85",
        "9. items whose rank set does not meet logistic's": 6.0,
        "10. cyclic part over what noise makes": "above 0",
        "11. p of the cyclic triples against noise": 0.05,
        "12. τ with half ties of other ways with ties": "above 0.97",
    }
    made = find(table, data="generated", part="fit")
    check_of_generated = [
        stated(here, "generated arena: slope of Savage's changes on exponential's", lambda claim: Check.within(
            claim, -2.0, _interval(made, "slope", loss="savage"), 0.5, over), of=("savage", "exponential"))
    ]  # fmt: skip
    if rows is None:
        return check_of_generated + [
            Check.not_run(f"Arena: {claim}", value, NO_DATA) for claim, value in claims.items()
        ]
    names = [f"Arena: {claim}" for claim in claims]
    noise = find(table, data="arena", part="noise")
    cyclic, triples = find(noise, test="cyclic_share").iloc[0], find(noise, test="cyclic_triples").iloc[0]
    excess = [float(cyclic["observed"] - cyclic[name]) for name in ("expected", "high", "low")]
    apart = {name: Check.at_most("items", 6.0 if name == "squared" else 0.0, float(get(rows, "apart", loss=name)))
             for name in those(here, ("exponential", "savage", "squared"))}  # fmt: skip
    ties = {name: Check.at_least("τ", bound, float(get(rows, "tau", loss=name)))
            for name, bound in {"davidson": 0.98, "rao-kupper": 0.98, "ties dropped": 0.97}.items()}  # fmt: skip
    return [
        *check_of_generated,
        stated(here, names[0], lambda claim: Check.within(
            claim, -2.0, _interval(rows, "slope", loss="savage"), 0.5, over), of=("savage", "exponential")),
        stated(here, names[1], lambda claim: Check.below(
            claim, -0.9, _interval(rows, "correlation", loss="savage"), over), of=("savage", "exponential")),
        each_of(names[2], {n: Check.above("τ", bounds[n], _interval(rows, "tau", loss=n), over)
                           for n in those(here, bounds)}),
        each_of(names[3], apart),
        Check.above(names[4], 0.0, Interval(*excess), "votes simulated from the Bradley–Terry fit"),
        Check.at_least(names[5], 0.05, float(triples["p"])),
        Check.each(names[6], ties),
    ]  # fmt: skip


def _debates(table: pd.DataFrame, here: tuple[str, ...]) -> list[Check]:
    over = "sides of debates"
    medians = {"exponential": 0.95, "savage": 0.95, "squared": 0.95, "hinge": 0.8}
    claims = {
        "13. share whose misfit is more than noise": "above 0.5",
        "14. share whose cyclic part is more than noise": "above 0.3",
        "14. share whose cyclic triples are more than noise": "below 0.3",
        "15. median τ with logistic": "above 0.95",
        "16. items whose rank set does not meet logistic's": 0.0,
    }
    names = [f"debates: {claim}" for claim in claims]
    if "debate" not in set(table["data"]):
        return [Check.not_run(name, value, NO_DATA) for name, value in zip(names, claims.values(), strict=True)]
    rows, noise = (find(table, data="debate", part=part) for part in ("fit", "noise"))

    def share(test: str) -> Interval:
        p = find(noise, test=test)["p"]
        return share_interval(int((p <= 0.05).sum()), len(p))

    taus = {
        name: Check.above("τ", medians[name], bootstrap_interval(find(rows, loss=name)["tau"], np.median, seed=0), over)
        for name in those(here, medians)
    }
    apart = {name: Check.at_most("items", 0.0, float(find(rows, loss=name)["apart"].sum()))
             for name in those(here, PAPER_LOSSES) if name not in ("hinge", "logistic")}  # fmt: skip
    return [
        Check.above(names[0], 0.5, share("misfit"), over),
        Check.above(names[1], 0.3, share("cyclic_share"), over),
        Check.below(names[2], 0.3, share("cyclic_triples"), over),
        each_of(names[3], taus),
        each_of(names[4], apart),
    ]


def _levels(table: pd.DataFrame, which: str) -> str:
    """On how many levels hinge sets the items, and how it orders those that it does not tie; empty without scores."""
    scores = find(table, data=which, part="score").pivot_table(index="item", columns="loss", values="score")
    if "hinge" not in scores:
        return ""
    i, j = np.triu_indices(len(scores), 1)
    hinge, base = (np.round(scores[name].to_numpy(), 9) for name in ("hinge", "logistic"))
    apart = hinge[i] != hinge[j]
    alike = np.sign(hinge[i] - hinge[j])[apart] == np.sign(base[i] - base[j])[apart]
    return (
        f" (hinge has {len(np.unique(hinge))} levels for {len(scores)} items, and orders {alike.mean():.1%} of the "
        "pairs that it does not tie as logistic does)"
    )


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """Which rule each f is near, what it changes in an arena, and how much of the cycles is noise."""
    uniform = find(table, part="random", data="uniform")
    tau = uniform.groupby("loss", sort=False)[["tau_borda", "tau_copeland", "tau_kemeny"]].mean()
    rules = "; ".join(f"{name} " + ", ".join(f"{value:.3f}" for value in tau.loc[name]) for name in PAPER_LOSSES)
    which = "arena" if "arena" in set(table["data"]) else "generated"
    rows = find(table, data=which, part="fit")
    taus = ", ".join(f"{name} {get(rows, 'tau', loss=name):.4f}" for name in PAPER_LOSSES if name != "logistic")
    slope = _interval(rows, "slope", loss="savage")
    noise = find(table, data=which, part="noise")
    cyclic, triples = find(noise, test="cyclic_share").iloc[0], find(noise, test="cyclic_triples").iloc[0]
    told = "Chatbot Arena votes" if which == "arena" else "generated arena, no data being given,"
    said = (
        f"On {len(uniform) // len(PAPER_LOSSES)} random preferences of {config.responses} items the mean τ with Borda, "
        f"Copeland and Kemeny is: {rules}. On the {told} τ with logistic is {taus}{_levels(table, which)}; Savage's "
        "changes of the scores are "
        f"{slope:.2f} times exponential's. {cyclic['observed']:.1%} of the flow is cyclic, where exactly Bradley–Terry "
        f"voters would show {cyclic['expected']:.1%} [{cyclic['low']:.1%}, {cyclic['high']:.1%}] "
        f"(p = {cyclic['p']:.3f}); {triples['observed']:.0f} triples are cycles, by noise alone "
        f"{triples['expected']:.0f} [{triples['low']:.0f}, {triples['high']:.0f}]. "
    )
    if "debate" in set(table["data"]):
        tests = find(table, data="debate", part="noise")
        shares = {
            name: float((find(tests, test=name)["p"] <= 0.05).mean()) for name in ("cyclic_share", "cyclic_triples")
        }
        said += (
            f"On {tests['prompt'].nunique()} sides of debates the cyclic part is more than noise in "
            f"{shares['cyclic_share']:.0%}, cyclic triples in {shares['cyclic_triples']:.0%}. "
        )
    return said + (
        "To remember: logistic and squared rank by wins as Borda does, the others leave Borda where votes leave "
        "Bradley–Terry, in the direction and size of f‴; and a share of cycles means nothing before noise is taken off."
    )
