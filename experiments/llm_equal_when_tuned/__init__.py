"""Are the losses equal when β is tuned? Does the best β move as κ says? How much of the outcome is β, f, seeds?

Study B (``python -m llm tuned``; design and power: `llm.tuned`) trained policies of six losses on hard labels of few
and of many prompts and judged them on prompts that none of them saw, by the tilt of πref's samples and by the policies'
own. The best β of a loss is chosen on half of those prompts and judged on the other half. Intervals are two-way, seeds
drawn again and prompts within them; those of ω² are Student's over the jackknife's pseudo-values. Runaways are counted
and enter nothing. Predictions and what refutes them: docs/predictions/llm-equal-when-tuned.md. Settings ours.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments._errors import restated_wider
from experiments._llm import PiecesStudy, provenance_of
from experiments.framework import Check, explained
from experiments.llm_equal_when_tuned.analysis import (
    PREFIXES,
    Judged,
    best_rows,
    clock_shift,
    decided,
    judge,
    octaves,
    omega_rows,
    rate_of_what_ran,
    tuned_rows,
)
from experiments.llm_equal_when_tuned.equal import NAMES, OVER, check_equal
from experiments.llm_equal_when_tuned.mechanisms import of_the_clock, of_the_narrow_grid
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_loss
from gpo_analysis.statistics import Interval, mean_interval, share_interval, two_way_interval
from gpo_analysis.tables import find

CLAIM = "With β tuned the six losses reach the same win rate; the best β moves as κ says; β decides more than f."
FIGURE = "llm-equal-when-tuned"

AFTERWARDS = (
    "26 November 2026: predicted of the tilt; read of own samples too once the run had begun to show the tilt blind"
)
WHOLE = "26 November 2026: of three decades 0.9 to 1.3 are without a runaway; over all, runaways as what they reached"
RAN = "27 November 2026: a seed's mean over what did not run away; with 20 seeds some policy did at each small strength"
BY_SEED = "27 November 2026: over seeds, whose policies share πref; Wilson's interval over policies before"


@dataclass(frozen=True)
class Config:
    """Which study is read, and what was said of it beforehand.

    Parameters
    ----------
    study : str
        Folder that ``python -m llm tuned`` wrote, under that of GPO_LLM (default out/llm).
    equal : float
        Differences of decided rates within ± this count as none.
    octave : float
        Tolerance of log₂ of best strengths.
    blind : float
        Largest strength at which the tilt is said to be blind.
    steady : float
        Least strength at which no more than one policy in twenty is said to run away.
    resamples, seed : int
        Of the two-way bootstrap.
    fresh : bool
        Whether the study's seeds were drawn after all claims were stated, those included that were read off the first
        run (docs/predictions/fresh-seeds.md).
    """

    study: str = "tuned-cpu"
    equal: float = 0.03
    octave: float = 0.5
    blind: float = 0.022
    steady: float = 0.05
    resamples: int = 400
    seed: int = 0
    fresh: bool = False


PRESETS = {"quick": Config(), "paper": Config(study="tuned-fresh", resamples=4000, fresh=True)}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell: the study is read whole; its axis is the checksum of what is read."""
    return PiecesStudy("tuned", config.study).cells()


def run(config: Config, *, sha256: str) -> pd.DataFrame:
    """Rows of kind ``policy``, ``tuned``, ``pair``, ``best``, ``omega``, and ``number`` (what else the claims need).

    Rows ``omega`` with ``runaways`` decompose the whole grid, runaways taken for what they reached. Seeds that lack a
    policy of a condition are left out of it.
    """
    policies, prompts, made = PiecesStudy("tuned", config.study).read(sha256)
    keys = ["loss", "strength", "seed", "trained"]
    prompts = prompts.merge(policies[[*keys, "status"]], on=keys)
    tables = [policies.assign(kind="policy", **made)]
    read: dict[tuple[str, int], Judged] = {}
    for trained, rows in prompts.groupby("trained"):
        count = rows.groupby("seed")["loss"].size()
        rows = rows[rows["seed"].isin(count.index[count == count.max()])]
        for measure in PREFIXES:
            judged = judge(rows, measure, config.resamples, config.seed)
            read[measure, int(trained)] = judged
            found = pd.DataFrame(tuned_rows(judged) + best_rows(judged))
            tables.append(found.assign(measure=measure, trained=trained, seeds=len(judged.seeds)))
            every = judge(rows.assign(status="ok"), measure, 1, config.seed).rates
            for values, whole in ((judged.rates, False), (every, True)):
                omega = pd.DataFrame(omega_rows(values, judged.strengths, judged.rates))
                tables.append(omega.assign(measure=measure, trained=trained, seeds=len(judged.seeds), runaways=whole))
        tilt = read["tilt", int(trained)]
        kl = rows[rows["status"] == "ok"].pivot_table(index="seed", columns=["loss", "strength"], values="kl")
        wide = kl.reindex(columns=pd.MultiIndex.from_product([tilt.losses, tilt.strengths]))
        logs = np.log(wide.to_numpy().reshape(tilt.rates.shape))
        omega = omega_rows(logs, tilt.strengths, tilt.rates)
        found = pd.DataFrame(omega).assign(measure="log KL", trained=trained, seeds=len(tilt.seeds), runaways=False)
        tables.append(found)
    tables.append(pd.DataFrame(_numbers(config, policies, read)).assign(kind="number"))
    return pd.concat(tables, ignore_index=True)


def provenance(table: pd.DataFrame) -> dict[str, Any]:
    """Of the study that a record reads, for its meta data: what made the policies, not what read them."""
    return provenance_of(table)


def _numbers(config: Config, policies: pd.DataFrame, read: dict[tuple[str, int], Judged]) -> list[dict[str, Any]]:
    """Values with intervals that are no table of their own."""
    sizes = sorted({trained for _, trained in read})
    rows = []

    def add(name: str, value: Interval, trained: int, edge: float = 0.0, measure: str = "tilt") -> None:
        rows.append(
            {
                "name": name, "measure": measure, "trained": trained, "value": value.value, "low": value.low,
                "high": value.high, "edge_share": edge,
            }
        )  # fmt: skip

    if len(sizes) > 1:
        for measure in PREFIXES:
            found, edge = octaves(read[measure, sizes[0]], read[measure, sizes[-1]], "logistic")
            add("few over many", found, sizes[0], edge, measure)
    for trained in sizes:
        tilt, own = read["tilt", trained], read["own", trained]
        found, edge = octaves(own, tilt, "logistic")
        add("own over tilt", found, trained, edge)
        curved = [k for k, loss in enumerate(tilt.losses) if float(get_loss(loss).curvature_ratio) > 0]
        (value, whole), (drawn, _) = (_spread(part, curved) for part in (tilt.means, tilt.drawn))
        add("spread", two_way_interval(float(value), *drawn, int(whole)), trained)
        low = np.flatnonzero(tilt.strengths <= config.blind)
        if len(low) and trained == sizes[0]:
            a, drawn_a = (rate_of_what_ran(one, curved, low) for one in (own.means, own.drawn))
            b, drawn_b = (rate_of_what_ran(one, curved, low) for one in (tilt.means, tilt.drawn))
            add("own", two_way_interval(float(a), *drawn_a, len(own.seeds)), trained)
            add("own less tilt", two_way_interval(float(a - b), *(drawn_a - drawn_b), len(own.seeds)), trained)
        limit = policies[(policies["loss"] == "hinge") & (policies["trained"] == trained)]
        limit = limit[limit["strength"] == limit["strength"].min()]
        if len(limit):
            margin = ((1 - limit["trained_loss"]) / limit["beta"]).to_numpy()
            add("limit margin", Interval(float(np.median(margin)), float(margin.min()), float(margin.max())), trained)
    return rows


def _spread(counts: FloatArray, losses: list[int]) -> tuple[FloatArray, FloatArray]:
    """Range over losses of the rate at the smallest strength, and of how many seeds: those in which none ran away."""
    rates = decided(counts.sum(-4))[..., losses, 0]  # (…, S, losses)
    whole = np.where(np.isfinite(rates).all(-1, keepdims=True), rates, np.nan)
    count = np.isfinite(whole).sum(-2)
    means = np.where(count > 0, np.nansum(whole, axis=-2) / np.maximum(count, 1), np.nan)
    return np.asarray(np.ptp(means, axis=-1)), np.asarray(count[..., 0])


def _number(table: pd.DataFrame, name: str, trained: int, measure: str = "tilt") -> Any:
    rows = find(table, kind="number", name=name, trained=trained, measure=measure)
    return rows.iloc[0] if len(rows) else None


def _interval(row: Any, prefix: str = "") -> Interval:
    value = row[prefix.rstrip("_")] if prefix else row["value"]
    return Interval(float(value), float(row[f"{prefix}low"]), float(row[f"{prefix}high"]))


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The predictions of docs/predictions/llm-equal-when-tuned.md, in their order."""
    sizes = sorted({int(one) for one in find(table, kind="policy")["trained"]})
    whole = _decompositions(find(table, runaways=True))[0]
    checks = [
        *(check_equal(table, measure, config.equal) for measure in PREFIXES),
        *_shifts(config, table, "tilt"),
        *(one if config.fresh else one.as_restated(AFTERWARDS) for one in _shifts(config, table, "own")),
        *_moves(table, sizes),
        *_blind(table, sizes[0]),
        _straight(config, table, sizes),
        *_decompositions(find(table, runaways=False)),
        whole if config.fresh else whole.as_restated(WHOLE),
        _steady(config, table),
    ]
    return explained(
        checks if config.fresh else restated_wider(checks),
        {
            "by the tilt, is what the clock says": lambda: of_the_clock(table, "tilt"),
            "by their own samples, is what the clock says": lambda: of_the_clock(table, "own"),
            "at the narrowest width": lambda: of_the_narrow_grid(table),
        },
    )


def _shifts(config: Config, table: pd.DataFrame, measure: str) -> list[Check]:
    """The best strength over logistic's: against equal strength, and against the clock."""
    checks = []
    for name in ("κ alone", "the clock"):
        claim = f"log₂ of the best strength over logistic's, {NAMES[measure]}, is what {name} says"
        parts = {}
        for _, row in find(table, kind="best", measure=measure).iterrows():
            loss, trained = str(row["loss"]), int(row["trained"])
            if loss == "logistic" or (name == "κ alone" and float(get_loss(loss).curvature_ratio) == 0):
                continue
            wanted = 0.0
            if name == "the clock":
                limit = _number(table, "limit margin", trained)
                base = find(table, kind="best", measure=measure, loss="logistic", trained=row["trained"]).iloc[0]
                wanted = float("nan") if limit is None else clock_shift(loss, base["value"] * limit["value"])
            key = f"{loss}, {trained} prompts"
            if not np.isfinite(wanted):
                parts[key] = Check.not_run(claim, 0.0, "the clock gives no number there")
                continue
            parts[key] = _edged(
                Check.within(claim, wanted, _interval(row, "shift_"), config.octave, OVER), row["edge_share"]
            )
        checks.append(Check.each(claim, parts))
    return checks


def _edged(check: Check, share: float) -> Check:
    """Undecided where the best strength lies at an edge of the grid in more than 2.5 % of the resamples."""
    if share <= 0.025 or check.holds is None:
        return check
    return Check(
        check.claim, check.predicted, check.computed, check.tolerance, None,
        f"best at an edge of what ran in {share:.0%} of the resamples; {check.note}", check.kind, check.low, check.high,
        undecided=True,
    )  # fmt: skip


def _moves(table: pd.DataFrame, sizes: list[int]) -> list[Check]:
    checks = []
    claim = "the best βκ of logistic falls with the number of prompts: log₂ of few over many, by the tilt"
    row = _number(table, "few over many", sizes[0])
    checks.append(
        Check.not_run(claim, 0.0, "one number of prompts") if row is None
        else _edged(Check.above(claim, 0.0, _interval(row), OVER), row["edge_share"])
    )  # fmt: skip
    claim = "own samples need more regularization than the tilt shows: log₂ of logistic's best βκ, own over tilt"
    parts = {}
    for trained in sizes:
        row = _number(table, "own over tilt", trained)
        parts[f"{trained} prompts"] = _edged(Check.above(claim, 0.0, _interval(row), OVER), row["edge_share"])
    return [*checks, Check.each(claim, parts)]


def _blind(table: pd.DataFrame, few: int) -> list[Check]:
    claims = {
        "own": ("at the smallest βκ the policies' own decided rate is worse than πref's", 0.5),
        "own less tilt": ("and below the tilt's, which is blind to it: own less tilt", -0.1),
    }
    checks = []
    for name, (claim, bound) in claims.items():
        row = _number(table, name, few)
        missing = row is None or not np.isfinite(row["value"])
        checks.append(
            Check.not_run(claim, bound, "no strength that small, or all ran away") if missing
            else Check.below(claim, bound, _interval(row), OVER).as_restated(RAN)
        )  # fmt: skip
    return checks


def _straight(config: Config, table: pd.DataFrame, sizes: list[int]) -> Check:
    claim = "where f is straight the losses with κ > 0 are one: range of the tilt's decided rates at the smallest βκ"
    parts = {}
    for trained in sizes:
        row = _number(table, "spread", trained)
        key = f"{trained} prompts"
        if row is None or not np.isfinite(row["value"]):
            parts[key] = Check.not_run(claim, 0.0, "a policy ran away there")
        else:
            part = Check.within(claim, 0.0, _interval(row), config.equal, OVER)
            parts[key] = dataclasses.replace(part, note=f"{part.note}; {_whole_seeds(table, trained)}")
    return Check.each(claim, parts)


def _whole_seeds(table: pd.DataFrame, trained: int) -> str:
    """Of how many seeds the range is: those in which none of these losses ran away at the smallest strength."""
    rows = find(table, kind="policy", trained=trained)
    curved = [loss for loss in rows["loss"].unique() if float(get_loss(loss).curvature_ratio) > 0]
    rows = rows[rows["loss"].isin(curved) & (rows["strength"] == rows["strength"].min())]
    away = rows["status"] != "ok"
    whole = int((~away).groupby(rows["seed"]).all().sum())
    return (
        f"over the {whole} of {rows['seed'].nunique()} seeds in which none of the {len(curved)} losses ran away there "
        f"({away.sum()} of {len(rows)} policies did)"
    )


def _decompositions(table: pd.DataFrame) -> list[Check]:
    """β against f over the whole grid, and within half a decade of the best."""
    there = bool(table["runaways"].astype(bool).any())
    wide = "over the whole grid" if there else "over the grid without strengths at which a policy ran away"
    wide += ", ω² of β exceeds that of f"
    narrow = "at the narrowest width ω² of β exceeds that of f by no more than 0.1"
    rows = find(table, kind="omega", effect="gap", measure=list(PREFIXES))
    if not len(rows):
        why = "no balanced grid of two strengths without a runaway"
        return [Check.not_run(claim, 0.0, why) for claim in (wide, narrow)]
    found: list[dict[str, Check]] = [{}, {}]
    for (measure, trained), part in rows.groupby(["measure", "trained"], sort=False):
        ends = part.sort_values("points").iloc[[-1, 0]]
        for parts, row, claim in zip(found, (ends.iloc[0], ends.iloc[1]), (wide, narrow), strict=True):
            key = f"{NAMES[measure]}, {trained:.0f} prompts, {row['decades']:.2g} decades"
            if not np.isfinite(row["low"]):
                parts[key] = Check.not_run(claim, 0.0, "an interval needs three seeds")
            elif claim == wide:
                parts[key] = Check.above(claim, 0.0, _interval(row), "seeds")
            else:
                parts[key] = Check.below(claim, 0.1, _interval(row), "seeds")
    return [Check.each(claim, parts) for claim, parts in zip((wide, narrow), found, strict=True)]


def _steady(config: Config, table: pd.DataFrame) -> Check:
    policies = find(table, kind="policy")
    part = policies[policies["strength"] >= config.steady]
    claim = f"share of runaways among the policies of β or βκ ≥ {config.steady:g}"
    if not len(part):
        return Check.not_run(claim, 0.05, "no policy of such a strength")
    away = part["status"] != "ok"
    note = f"Wilson's over policies, which share a seed's πref: {share_interval(int(away.sum()), len(part))}"
    check = Check.below(claim, 0.05, mean_interval(away.groupby(part["seed"]).mean().to_numpy()), "seeds")
    return dataclasses.replace(check, note=f"{check.note}; {note}").as_restated(BY_SEED)


def summary(config: Config, table: pd.DataFrame) -> str:
    """What was trained, how equal the losses are, where they are best, and what explains it."""
    policies, pairs = find(table, kind="policy"), find(table, kind="pair")
    away = int((policies["status"] != "ok").sum())
    words = [
        f"Study {config.study}: {len(policies)} policies of {policies['seed'].nunique()} seeds, {away} ran away, "
        f"trained on {policies['study_device'].iloc[0]} at commit {policies['study_commit'].iloc[0][:12]}."
    ]
    for (measure, trained), rows in pairs.groupby(["measure", "trained"], sort=False):
        equal = ((rows["low"] >= -config.equal) & (rows["high"] <= config.equal)).sum()
        beyond = ((rows["low"] > config.equal) | (rows["high"] < -config.equal)).sum()
        tuned = find(table, kind="tuned", measure=measure, trained=trained)
        words.append(
            f"{trained:.0f} prompts, {NAMES[measure]}: tuned decided rates {tuned['value'].min():.3f} to "
            f"{tuned['value'].max():.3f}; of {len(rows)} pairs {equal} equal, {beyond} different, "
            f"{len(rows) - equal - beyond} undecided at ±{config.equal:g}."
        )
        best = find(table, kind="best", measure=measure, trained=trained)
        words.append("Best βκ (hinge: β): " + ", ".join(f"{r.loss} {r.value:.2g}" for r in best.itertuples()) + ".")
    omega = find(table, kind="omega", runaways=True)
    if len(omega):
        widest = omega[omega["points"] == omega.groupby(["measure", "trained"])["points"].transform("max")]
        part = widest.pivot_table(index=["measure", "trained"], columns="effect", values="value", sort=False)
        shown = "; ".join(
            f"{NAMES[m]}, {t:.0f} prompts: β {row['strength']:.2f}, f {row['loss']:.2f}"
            for (m, t), row in part.iterrows()
        )
        words.append(f"ω² over the whole grid, runaways as what they reached: {shown}.")
    return " ".join(words)
