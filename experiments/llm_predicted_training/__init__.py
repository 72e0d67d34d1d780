"""What a run will do, said before it is made: networks beside their tangents and beside laws from one limit run.

Each run of ``python -m llm predicted`` (design: `llm.predicted`; methods: `llm.predicted.tables`) was trained on hard
labels in mini-batches, by Adam or SGD. Predicted, with nothing fitted, are mean margin, ½E_μ[ρ²], KL and the chosen's
log-probability at every recorded step: by the tangent at πref, trained likewise, and from the run in the limit β → 0
alone. E = log(predicted/measured) of means over prompts (of the chosen's log-probability: the difference). Seeds redraw
πref, prompts, samples, pairs, labels and order; intervals are two-way: seeds are drawn again, and prompts within them.
Runaways are counted and enter no rms. Predictions and what refutes them: docs/predictions/llm-predicted-training.md.
Settings ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments._errors import OVER, RUN, RUNAWAY, Errors, decided, restated_wider, with_status
from experiments._llm import PiecesStudy, provenance_of
from experiments.framework import Check, explained
from experiments.llm_predicted_training.claims import claims, claims_of_fresh_seeds, summarise
from gpo_analysis.tables import find
from gpo_analysis.training import noise_balance
from llm.predicted.config import COIN

CLAIM = "What a run will do is said before it is made: by its tangent, and for every f and β from one run at β → 0."
FIGURE = "llm-predicted-training"

MANY = 8  # seeds
BY_SEED = range(29, 37)  # claims whose interval is Student's over seeds


@dataclass(frozen=True)
class Config:
    """Which study is read.

    Parameters
    ----------
    study : str
        Folder that ``python -m llm predicted`` wrote, under that of GPO_LLM (default out/llm).
    resamples, seed : int
        Of the two-way bootstrap.
    fresh : bool
        Whether the study's seeds were drawn after all claims were stated, those included that were read off the first
        run (docs/predictions/fresh-seeds.md).
    """

    study: str = "predicted-cpu"
    resamples: int = 400
    seed: int = 0
    fresh: bool = False


PRESETS = {"quick": Config(), "paper": Config(study="predicted-fresh", resamples=2000, fresh=True)}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell: the study is read whole; its axis is the checksum of what is read."""
    return PiecesStudy("predicted", config.study, "steps").cells()


def run(config: Config, *, sha256: str) -> pd.DataFrame:
    """Rows of kind ``step``, a row a run, step, split and method, ``summary`` (E by f, β, step), and ``claim``."""
    steps, prompts, made = PiecesStudy("predicted", config.study, "steps").read(sha256)
    steps = with_status(steps)
    keys = [*RUN, "seed", "step", "split", "method"]
    prompts = prompts.merge(steps[[*keys, "status", "kl"]].rename(columns={"kl": "run_kl"}), on=keys)
    found = Errors(prompts, config)
    kept = _kept(steps)
    numbers = [name for name in kept.columns if kept[name].dtype == np.float64 and name not in ("strength", "epsilon")]
    digits = 5 if steps["seed"].nunique() <= MANY else 4
    kept = kept.assign(**{name: kept[name].map(lambda value: float(f"{value:.{digits}g}")) for name in numbers})
    return pd.concat(
        [
            kept.assign(kind="step", **made),
            pd.DataFrame(summarise(found)).assign(kind="summary"),
            pd.DataFrame(claims(found, steps) + (claims_of_fresh_seeds(found) if config.fresh else [])).assign(
                kind="claim"
            ),
        ],
        ignore_index=True,
    )


def _kept(steps: pd.DataFrame) -> pd.DataFrame:
    """Rows that a record keeps: of many seeds what is drawn and what claims name, for a record has a megabyte."""
    last = steps["step"] == steps["step"].max()
    if steps["seed"].nunique() <= MANY:
        return steps[steps["method"].isin(("tangent", "scalar", "thermometer")) | last]
    courses = find(steps, optimizer="adamw", rate=1.0, epsilon=0.0, split="seen", method=["tangent", "scalar"])
    courses = courses[courses["batch"] == steps["batch"].mode().iloc[0]]
    ends = last & ((steps["split"] == "seen") | (steps["method"] == "tangent"))
    return steps[steps.index.isin(courses.index) | ends]


def provenance(table: pd.DataFrame) -> dict[str, Any]:
    """Of the study that a record reads, for its meta data: what made the runs, not what read them."""
    return provenance_of(table, "step")


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The predictions in their order."""
    why = f"the study {config.study} has no such runs, or all ran away"
    claimed = table[table["kind"] == "claim"].to_dict("records")
    checks = [decided(row, "seeds" if row["number"] in BY_SEED else OVER, why) for row in claimed]
    steps = table[table["kind"] == "step"]
    mechanisms: dict[str, str | Callable[[], str]] = {
        "17.": lambda: _of_the_thermometer(steps), "19.": lambda: _of_the_runaways(steps),
    }  # fmt: skip
    return explained(checks if config.fresh else restated_wider(checks), mechanisms)


def _of_the_thermometer(steps: pd.DataFrame) -> str:
    """Whether the tangent, which has no curvature, falls short of the thermometer as the network does."""
    last = find(steps, epsilon=COIN, split="seen", loss=["logistic", "squared"], step=steps["step"].max())
    keys = [*RUN, "seed"]
    floor, tangent = (
        find(last, method=name).set_index(keys)[["kl", "kl_predicted"]] for name in ("thermometer", "tangent")
    )
    both = floor.join(tangent["kl_predicted"].rename("tangent"), how="inner").reset_index()
    linear = np.log(both["kl_predicted"] / both["tangent"]).groupby(both["batch"]).mean()
    network = float(np.log(both["tangent"] / both["kl"]).mean())
    by_batch = ", ".join(f"{value:.2f} at B = {batch:g}" for batch, value in linear.items())
    return (
        f"a run is one draw of the noise: with labels tossed anew KL at rest is spread by some 30 %, so that an rms of "
        f"single runs below 0.25 is out of reach; means over seeds: claims 23, 24 (docs/predictions/fresh-seeds.md). "
        f"Not the network's curvature: formula over tangent {by_batch}, tangent over network {network:.2f} (log)"
    )


def _of_the_runaways(steps: pd.DataFrame) -> str:
    """How far the runs by SGD stayed from running away, and from the noise at which they would."""
    last = find(steps, optimizer="sgd", split="seen", method="tangent", step=steps["step"].max())
    limit = last[last["strength"] == 0].groupby("seed")["mu_squared_loss"].first()
    own = last[(last["loss"] == "exponential") & (last["strength"] > 0)]
    most = float((own[["mu_squared_loss", "mu_squared_loss_predicted"]].max(axis=1) / own["seed"].map(limit)).max())
    edge = max(noise_balance("exponential", v, optimizer="gd") for v in np.geomspace(0.05, 10.0, 100))
    return (
        f"the grid does not go that far: the exponential loss has no rest by SGD where θ = β lr Σc²/(2B) exceeds "
        f"{edge:.3f} (docs/predictions/fresh-seeds.md). The largest ½E[ρ²] was "
        f"{most:.2f} of the limit run's, {RUNAWAY:g} being a runaway"
    )


def summary(config: Config, table: pd.DataFrame) -> str:
    """What was trained, and how well it was said."""
    steps = table[table["kind"] == "step"]
    runs = steps[[*RUN, "seed", "status"]].drop_duplicates()
    counts = ", ".join(f"{count} {status}" for status, count in runs["status"].value_counts().items())
    numbers = table[table["kind"] == "claim"].set_index("number")
    words = [
        f"{name} {numbers['value'][number]:.3f} [{numbers['low'][number]:.3f}, {numbers['high'][number]:.3f}]"
        for name, number in (("the tangent's mean margin", 1), ("its KL", 2), ("the limit run's mean margin", 6))
    ]
    return (
        f"Study {config.study}: {len(runs)} runs of {runs['seed'].nunique()} seeds ({counts}), on "
        f"{steps['study_device'].iloc[0]} at commit {steps['study_commit'].iloc[0][:12]}. Rms log(predicted/measured), "
        f"nothing fitted: {'; '.join(words)}."
    )
