"""A real model beside what was said of each run before: SmolLM2 with adapters, on titles and on people's pairs.

Each run of ``python -m llm real`` (design and power: `llm.real`) trained adapters on the upper layers of
SmolLM2-135M-Instruct with one of four losses at two βκ, by Adam, or in the limit β → 0. Beside it stand its
linearisation in the adapted weights, the tangent of the adapters' parameters, and the laws from the limit run alone;
nothing is fitted. E = log(predicted/measured) of means over prompts. Seeds redraw prompts, samples, labels, adapters
and order; intervals are two-way: seeds are drawn again, and prompts within them. Predictions and what refutes them:
docs/predictions/llm-real-model.md. Settings ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments._errors import OVER, RUN, decided, restated_wider, stated, with_status
from experiments._llm import PiecesStudy, provenance_of
from experiments.framework import Check, NotRun
from experiments.framework.checks import UNKNOWN, explained
from experiments.llm_real_model.claims import CLAIMS, DOMAINS, Found, values

CLAIM = "What is said of a run before it is made holds for a real model with adapters, if A's motion is counted."
FIGURE = "llm-real-model"


@dataclass(frozen=True)
class Config:
    """Which studies are read.

    Parameters
    ----------
    studies : tuple of str
        Folders that ``python -m llm real`` wrote, under that of GPO_LLM (default out/llm); those that are there are
        read.
    resamples, seed : int
        Of the two-way bootstrap.
    """

    studies: tuple[str, ...] = ("real-titles-small", "real-hh-small")
    resamples: int = 2000
    seed: int = 0


PRESETS = {"quick": Config(), "paper": Config()}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a study that is there; its axis is the checksum of what is read."""
    found, missing = [], []
    for name in config.studies:
        try:
            found += [{"study": name, **cell} for cell in _study(name).cells()]
        except NotRun as error:
            missing.append(str(error))
    if not found:
        raise NotRun("; ".join(missing))
    return found


def _study(name: str) -> PiecesStudy:
    return PiecesStudy("real", name, "steps")


def run(config: Config, *, study: str, sha256: str) -> pd.DataFrame:
    """Rows of kind ``step``, a row a run, step, split and method, ``best``, of best-of-n, and ``claim``."""
    steps, prompts, made = _study(study).read(sha256)
    best = pd.read_parquet(_study(study)._folder() / "best.parquet")
    domain = next(name for name in DOMAINS if name in study)
    steps = with_status(steps, ("",))  # a linearisation that goes astray is its failure, and stays in
    keys = [*RUN, "seed", "step", "split", "method"]
    prompts = prompts.merge(steps[[*keys, "status", "kl"]].rename(columns={"kl": "run_kl"}), on=keys)
    found = Found(prompts, best, config)
    computed = values(found, domain)
    claims = [
        stated(one.number, f"{domain}: {one.text}", one.rule, one.bound, computed.get(one.number), one.tolerance)
        for one in CLAIMS
        if one.domain == domain
    ]
    kept = steps[steps["method"].isin(("tangent", "parameters", "scalar"))]
    numbers = [name for name in kept.columns if kept[name].dtype == np.float64 and name not in ("strength", "epsilon")]
    kept = kept.assign(**{name: kept[name].map(lambda value: float(f"{value:.5g}")) for name in numbers})
    parts = [kept.assign(kind="step", **made), pd.DataFrame(claims).assign(kind="claim")]
    if len(best):
        parts.append(best.groupby("n")[["kl", "win_rate"]].mean().reset_index().assign(kind="best"))
    return pd.concat(parts, ignore_index=True).assign(study=study, domain=domain)


def provenance(table: pd.DataFrame) -> dict[str, Any]:
    """Of the studies that a record reads, for its meta data: what made the runs, not what read them."""
    return provenance_of(table, "step")


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The predictions in their order."""
    rows = {int(row["number"]): row for row in table[table["kind"] == "claim"].to_dict("records")}
    checks = []
    for one in CLAIMS:
        absent = stated(one.number, f"{one.domain}: {one.text}", one.rule, one.bound, None, one.tolerance)
        why = f"no study of {one.domain} has such runs, or all ran away"
        checks.append(decided(rows.get(one.number, absent), OVER, why))
    return explained(
        restated_wider(checks), {f"{domain}: {text}": _why(table, domain, text) for domain in DOMAINS for text in _WHY}
    )


_WHY = ("linear in W: rms error of the chosen", "two parts: rms E(KL)")


def _why(table: pd.DataFrame, domain: str, text: str) -> Callable[[], str] | str:
    """The mechanism of a contradicted claim; of the KL by two parts none is known."""
    if text != _WHY[0]:
        return UNKNOWN

    def few_samples() -> str:
        steps = table[(table["kind"] == "step") & (table["domain"] == domain) & (table["method"] == "tangent")]
        last = steps[(steps["step"] == steps["step"].max()) & (steps["split"] == "seen")]
        off = (last["chosen_logp"] - last["chosen_logp_predicted"]) ** 2
        by = off.groupby(last["strength"]).mean() ** 0.5
        shown = ", ".join(f"{value:.2f} at βκ = {strength:g}" for strength, value in by.items())
        return (
            "the chosen's log π needs log E e^h over all responses, which a prompt's few samples do not tell once h "
            f"is large: the error shrinks with the policy's distance (rms over runs, nats: {shown})"
        )

    return few_samples


def summary(config: Config, table: pd.DataFrame) -> str:
    """What was trained, and how well it was said."""
    steps = table[table["kind"] == "step"]
    claims = table[table["kind"] == "claim"].set_index("number")
    parts = []
    for study, rows in steps.groupby("study", sort=False):
        runs = rows[[*RUN, "seed", "status"]].drop_duplicates()
        counts = ", ".join(f"{count} {status}" for status, count in runs["status"].value_counts().items())
        parts.append(f"{study}: {len(runs)} runs of {runs['seed'].nunique()} seeds ({counts})")
    words = [
        f"{claims['claim'][number]} {claims['value'][number]:.3f} [{claims['low'][number]:.3f}, "
        f"{claims['high'][number]:.3f}]"
        for number in (1, 3, 5, 21, 23, 25)
        if number in claims.index and np.isfinite(claims["value"][number])
    ]
    return f"{'; '.join(parts)}; at commit {steps['study_commit'].iloc[0][:12]}. {'; '.join(words)}."
