"""Every experiment at a reduced size, with made-up studies and votes where it reads some; each computed once."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import gpo_analysis as gpo
from experiments._debates import FILES, FOLDER
from experiments.framework.cells import Cell, join, result_of
from experiments.framework.discovery import find_experiments, get_experiments
from fuzz.small_real import make_real
from gpo_analysis.records import plain

NAMES = tuple(experiment.name for experiment in find_experiments())

SMALL: dict[str, dict[str, Any]] = {
    "arena": {"matrices": 24, "items": 10, "votes": 100, "resamples": 20, "simulations": 29},
    "arguments": {"strengths": (0.5, 1.0)},
    "beta-or-f": {"responses": 5, "seeds": 4, "points": 7, "resamples": 40, "labels": (1, 30, 0)},
    "beta-sweep": {"points": 12, "samples": 4},
    "gradient-identity": {"problems": 100, "points": 41, "sampled_pairs": 50_000},
    "ipo-toys": {"taus": (0.5, 1.0), "steps": 3000, "record_every": 1000},
    "journals": {},
    "kl-and-mu-square": {"losses": ("squared",), "records": 150, "starts": 100},
    "lengths": {"depth": 5, "betas": (0.01, 1.0, 30.0), "draws": 6, "small_depth": 3},
    "links-and-divergences": {"strengths": (0.05, 4.0, 64.0), "seeds": 2, "responses": 6, "unseen": 2},
    "llm-domains": {"studies": ("one", "two", "three"), "prompts": 4},
    "llm-equal-when-tuned": {"study": "tuned-cpu", "resamples": 60},
    "llm-frontier": {"study": "one", "prompts": 4},
    "llm-kl-and-mu-square": {"study": "one", "prompts": 4},
    "llm-optimum": {"study": "optimum-cpu", "resamples": 200},
    "llm-predicted-training": {"study": "predicted-cpu", "resamples": 20},
    "llm-real-model": {"resamples": 20},
    "llm-side-by-side": {"study": "one"},
    "llm-taylor": {"study": "one"},
    "loss-to-order": {"margins": ("2",), "seeds": 2, "spreads": (2.0, 6.0)},
    "losses": {"points": 31},
    "mixture-of-gaussians": {
        "points": 201, "widths": (0.25, 0.5, 2.0), "means": (0.0, 1.5), "map_starts": 24, "map_points": 201,
        "samples": 5_000, "steps": 300,
    },
    "not-bradley-terry": {
        "cycles": (0.0, 1.0), "annotators": (1, 5), "noises": (0.0, 0.4), "responses": 5, "problems": 6, "steps": 500,
        "sides": 3,
    },
    "online-and-offline": {"responses": 40, "values_of_t": (0.0, 0.5, 1.0, 2.0), "starts": 6, "steps": 8},
    "over-optimisation": {
        "responses": 60, "pairs": (100, 20_000), "strengths": tuple(2.0**k for k in range(-6, 4)), "steps": 60,
        "records": 5, "seeds": 6, "wide": 80, "labels": (300, 1_000), "repeats": 1, "wide_worlds": 5,
    },
    "own-data": {"losses": ("logistic", "squared", "exponential", "hinge"), "choice_sizes": (300, 30_000),
                 "repetitions": 8, "resamples": 30},
    "policy-deviation": {"responses": 10, "seen": 5, "betas": (1.0,), "steps": 200, "seeds": 2, "labels": 60,
                         "dimension": 3},
    "speed-and-dynamics": {
        "responses": 5, "betas": (0.5,), "fractions": (0.5,), "adam_rates": (0.1,), "adam_steps": 100,
        "edge_steps": 600, "halvings": 4, "seeds": 2, "seed": 1,
    },
    "statistical-efficiency": {
        "sizes": (40, 400), "noisy_sizes": (40, 2000), "replications": 60, "rewards": (0.0, 1.0, 2.0), "paired": 60,
    },
    "taylor": {"points": 16, "orders": (0, 1, 2, 8, 16, 32)},
    "taylor-in-training": {"responses": 5, "betas": (0.1, 1.0), "steps": 200, "seeds": 2, "problems": 6, "sizes": (4,)},
    "two-log-ratios": {"problems": 10, "betas": (0.25, 0.5, 2.0)},
    "variants": {"scales": (0.02, 0.6, 2.0), "samples": 3, "comparisons": (200, 100000), "exponents": (-1, 2)},
}  # fmt: skip


@functools.cache
def computed(name: str) -> tuple[ModuleType, Any, pd.DataFrame]:
    """Module, configuration and table of an experiment, by the way that the runner goes."""
    (experiment,) = get_experiments([name])
    module = experiment.load()
    config = module.Config(**SMALL[name])
    with made_up_data():
        tables = [table_of(experiment.module_name, config, axes) for axes in plain(module.cells(config))]
    kept = io.BytesIO()
    join(tables).to_parquet(kept, index=False)  # as the record does: texts come back as another type
    return module, config, pd.read_parquet(kept)


def table_of(module_name: str, config: Any, axes: dict[str, Any]) -> Any:
    """One cell's rows, through the bytes that are kept of it."""
    cell = Cell(module_name, config, axes, Path(), Path(), "")
    return pq.read_table(io.BytesIO(result_of(cell))).replace_schema_metadata(None)


@contextmanager
def made_up_data() -> Iterator[Path]:
    """The environment in which experiments that read something find it."""
    folder = Path(_folder().name)
    with mock.patch.dict(os.environ, {"GPO_LLM": str(folder / "llm"), "GPO_DATA": str(folder)}):
        yield folder


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    kept = tempfile.TemporaryDirectory()  # goes with the process
    folder = Path(kept.name)
    make_study(folder / "llm" / "one")
    make_study(folder / "llm" / "two", best=0.9, seed=1)
    off = {"logistic": 0.0, "squared": 0.3, "exponential": 0.01, "savage": 0.02}
    make_optimum(folder / "llm" / "optimum-cpu", off)
    make_tuned(folder / "llm" / "tuned-cpu")
    make_predicted(
        folder / "llm" / "predicted-cpu", {"tangent": 0.02, "scalar": -0.03, "direction": -0.2, "kappa": 0.6}
    )
    for domain in ("titles", "hh"):
        off = {"tangent": 0.01, "parameters": -0.8, "scalar": 0.1}
        make_real(folder / "llm" / f"real-{domain}-small", off, people=domain == "hh")
    make_votes(folder)
    return kept


def make_votes(folder: Path) -> Path:
    """Two sides of a debate in each file: eight arguments of known quality, five votes a pair."""
    rng = np.random.default_rng(0)
    (folder / FOLDER).mkdir(parents=True)
    for name in FILES:
        with gzip.open(folder / FOLDER / f"{name}.jsonl.gz", "wt", encoding="utf-8") as stream:
            for side in ("yes", "no"):
                for i in range(8):
                    for j in range(i):
                        won = int(rng.binomial(5, 1.0 / (1.0 + np.exp(-0.5 * (i - j)))))
                        row = {"prompt": f"{name} {side}", "chosen_id": f"a{i}", "rejected_id": f"a{j}"}
                        row |= {"votes_chosen": won, "votes_rejected": 5 - won, "votes_equal": 1}
                        stream.write(json.dumps(row) + "\n")
    return folder / FOLDER


LOSSES = ("logistic", "squared", "hinge", "exponential")
STRENGTHS = (0.1, 0.3, 1.0)


def make_study(folder: Path, *, best: float = 0.3, seed: int = 0, gain: dict[str, float] | None = None) -> None:
    """A study whose win rate peaks at one strength, alike for all losses unless ``gain`` says otherwise."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows, samples, traces = [], [], []
    for cell_seed in (0, 1):
        for name in LOSSES:
            loss = gpo.get_loss(name)
            kappa = float(loss.curvature_ratio)
            for strength in STRENGTHS:
                beta = loss.beta_of(strength)
                for step in (10, 40):
                    kl = 0.02 * step / strength * np.exp(0.02 * rng.normal())
                    rate = 0.65 - 0.05 * np.log(strength / best) ** 2 + (gain or {}).get(name, 0.0)
                    z = 0.3 * strength * np.sqrt(kl) / (kappa or 1.0)
                    row = {
                        "loss": name, "beta": beta, "seed": cell_seed, "step": step, "strength": strength,
                        "arm": "fresh", "status": "ok", "win_rate": rate, "win_rate_low": rate - 0.02,
                        "win_rate_high": rate + 0.02, "ties": 0.1, "kl": kl, "kl_stderr": 0.01 * kl,
                        "mu_squared_loss": 2 * kl * (1 + kl), "mu_squared_loss_on_policy": 2 * kl,
                        "mu_squared_loss_on_policy_stderr": 0.01, "mean_rho": 0.1, "human_win_rate": 0.2,
                        "human_win_rate_low": 0.1, "human_win_rate_high": 0.3, "length": 9.0,
                        "length_controlled_win_rate": rate, "reward_mean": 2.0, "signature": "none",
                        "margin_q50": z, "margin_q90": 2 * z, "margin_q99": 3 * z, "beyond_taylor": 0.0,
                        "gradient_norm": 1.0, "held_out_loss": 0.6, "loss_at_zero": 0.7,
                    }  # fmt: skip
                    exact = name in ("squared", "hinge")
                    for order in (1, 2, 4):
                        error = 0.0 if exact and order > 1 else z**order
                        row |= {f"relative_error_{order}": error, f"weight_error_{order}": 1.1 * error}
                        row[f"cosine_{order}"] = 1 - error**2 / 2
                    rows.append(row)
                for i, noise in enumerate(rng.normal(size=400)):
                    samples.append(
                        {
                            "name": f"{name}-{strength:g}-s{cell_seed}-fresh", "step": 40, "prompt_index": i,
                            "reward": noise + 10 * (gain or {}).get(name, 0.0), "text": None,
                        }
                    )  # fmt: skip
                for step in range(1, 41):
                    traces.append(
                        {
                            "loss": name, "strength": strength, "beta": beta, "seed": cell_seed, "arm": "fresh",
                            "step": step, "loss_value": 0.6, "mean_rho": 1 - np.exp(-step / 10), "mu_squared_loss": 0.1,
                        }
                    )  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "sweep.parquet")
    pd.DataFrame(samples).to_parquet(folder / "samples.parquet")
    pd.DataFrame(traces).to_parquet(folder / "trace.parquet")
    (folder / "baseline").mkdir()
    best_of = [
        {
            "n": n, "kl_bound": np.log(n) - (n - 1) / n, "mean_reward": 1.0, "win_rate": 1 - 1 / (n + 1),
            "win_rate_low": 1 - 1 / (n + 1) - 0.02, "win_rate_high": 1 - 1 / (n + 1) + 0.02, "ties": 0.1,
        }
        for n in (1, 2, 4, 8)
    ]  # fmt: skip
    report = {"best_of_n": best_of, "reference_rewards": rng.integers(0, 5, (6, 16)).astype(float).tolist()}
    (folder / "baseline" / "stage.json").write_text(json.dumps({"key": "k", "report": report}))
    run = {
        "config": {"pairs": {"labels": {"temperature": 1.0}}},
        "reports": {"pairs": {"pairs": 95, "identical": 5}},
    }
    (folder / "run.json").write_text(json.dumps(run))


OPTIMUM_STRENGTHS, OPTIMUM_SEEDS, OPTIMUM_PROMPTS = (0.1, 0.4, 1.6), 4, 12


def make_optimum(folder: Path, off: dict[str, float], *, spread: float = 0.01, runaway: bool = False) -> None:
    """Write a study whose KL is the optimum's times e^off, prompt by prompt noisy."""
    rng = np.random.default_rng(0)
    rows = []
    for loss, log_ratio in off.items():
        for strength in OPTIMUM_STRENGTHS:
            for seed in range(OPTIMUM_SEEDS):
                least = 0.1 / strength * rng.uniform(0.5, 1.5, OPTIMUM_PROMPTS)
                kl = least * np.exp(log_ratio + spread * rng.normal(size=OPTIMUM_PROMPTS))
                rows.append(
                    pd.DataFrame(
                        {
                            "prompt": range(OPTIMUM_PROMPTS), "loss": loss, "strength": strength, "seed": seed,
                            "kl": kl,
                            "kl_optimum": least, "win_rate": 0.6, "win_rate_optimum": 0.6 + 0.1 * abs(log_ratio),
                            "held_kl": kl, "held_kl_optimum": least, "mass": 0.4, "mass_reference": 0.3,
                        }
                    )
                )  # fmt: skip
    prompts = pd.concat(rows, ignore_index=True)
    policies = prompts.drop(columns="prompt").groupby(["loss", "strength", "seed"], sort=False).mean().reset_index()
    policies["status"] = "at rest"
    if runaway:
        policies.loc[(policies["loss"] == "savage") & (policies["seed"] == 0), ["status", "kl"]] = ["runaway", 1e3]
    folder.mkdir(parents=True)
    policies.to_parquet(folder / "policies.parquet")
    prompts.to_parquet(folder / "prompts.parquet")
    (folder / "run.json").write_text(
        '{"planned": 1, "pieces": [{"git": {"commit": "abc"}, "device": {"accelerator": "a GPU", "torch": "cuda"}, '
        '"threads": 1, "finished": "today"}]}'
    )


TUNED_LOSSES, TUNED_PROMPTS = ("logistic", "hinge", "squared", "exponential"), 24


def make_tuned(
    folder: Path,
    *,
    gain: dict[str, float] | None = None,
    shift: dict[str, float] | None = None,
    noise: float = 0.004,
    seeds: int = 4,
    away: tuple[tuple[str, float], ...] = (),
) -> None:
    """A study whose decided rate is a parabola in log βκ about 0.1 (few) or 0.03 (many); own, about 3 times that.

    ``gain`` raises a loss's rate, ``shift`` moves its best by so many octaves, ``away`` ran away with every seed.
    """
    rng = np.random.default_rng(1)
    rows, policies = [], []
    for seed, trained in ((seed, trained) for seed in range(seeds) for trained in (8, 64)):
        level = 0.02 * rng.normal()
        for name in TUNED_LOSSES:
            for strength in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0):
                x = np.log2(strength / (0.1 if trained == 8 else 0.03)) - (shift or {}).get(name, 0.0)
                top = 0.6 + level + (gain or {}).get(name, 0.0)
                rates = [top - 0.01 * x**2, top - 0.02 * (x - np.log2(3.0)) ** 2]
                wins, own = (np.clip(0.8 * (r + noise * rng.normal(size=TUNED_PROMPTS)), 0.04, 0.76) for r in rates)
                loss = gpo.get_loss(name)
                head = {
                    "loss": name, "strength": strength, "beta": loss.beta_of(strength), "seed": seed,
                    "trained": trained,
                }  # fmt: skip
                part = {
                    "wins": wins,
                    "defeats": 0.8 - wins,
                    "own_wins": own,
                    "own_defeats": 0.8 - own,
                    "kl": 0.1 / strength,
                }
                rows.append(pd.DataFrame({"prompt": range(TUNED_PROMPTS), **part}).assign(**head))
                means = {key: float(np.mean(value)) for key, value in part.items()}
                policies.append(
                    {
                        **head, **means, "decided": means["wins"] / 0.8, "own_decided": means["own_wins"] / 0.8,
                        "trained_loss": 1 - 20 * loss.beta_of(strength), "ended": 1.0,
                        "status": "runaway" if (name, strength) in away else "ok",
                    }
                )  # fmt: skip
    folder.mkdir(parents=True)
    pd.DataFrame(policies).to_parquet(folder / "policies.parquet")
    pd.concat(rows, ignore_index=True).to_parquet(folder / "prompts.parquet")
    (folder / "run.json").write_text(
        '{"planned": 1, "pieces": [{"git": {"commit": "abc"}, "device": {"accelerator": null, "processor": "a CPU", '
        '"torch": "cpu"}, "threads": 1, "finished": "today"}]}'
    )


PREDICTED_SEEDS, PREDICTED_PROMPTS = 4, 6


def make_predicted(folder: Path, off: dict[str, float], *, spread: float = 0.0, runaway: bool = False) -> None:
    """Write a study C in which each method is off by e^off, prompt by prompt noisy."""
    rng = np.random.default_rng(0)
    grid = [
        (f, s, o, 1.0, 16, 0.0)
        for o in ("adamw", "sgd")
        for f in ("logistic", "squared", "savage")
        for s in (0.2, 0.8, 3.2)
    ]
    grid += [("logistic", 0.0, o, 1.0, 16, 0.0) for o in ("adamw", "sgd")]
    grid += [("logistic", s, "adamw", 2.0, 16, e) for s in (0.0, 0.2) for e in (0.0, 0.2)]
    grid += [("logistic", 0.0, "adamw", 1.0, 16, 0.2), ("logistic", 0.0, "adamw", 1.0, 16, 0.5)]
    grid += [("savage", s, "adamw", 1.0, 16, 0.5) for s in (1.6, 6.4)]
    grid += [("logistic", 1.6, "adamw", r, b, 0.5) for r, b in ((1.0, 16), (2.0, 16), (1.0, 64))]
    grid += [("logistic", 0.2, "adamw", 1.0, 16, 0.2)]
    rows = []
    for loss, strength, optimizer, rate, batch, epsilon in grid:
        for seed in range(PREDICTED_SEEDS):
            for step in (10, 40):
                for split in ("seen", "held"):
                    size = rng.uniform(0.5, 1.5, PREDICTED_PROMPTS) * rate * step / 40 / (1 + strength)
                    named = {
                        "mean_rho": size * (1 - epsilon),
                        "kl": 0.5 * size,
                        "mu_squared_loss": size,
                        "chosen_logp": -0.2 * size,
                    }
                    methods = {"tangent": off["tangent"], "thermometer": 0.1} if epsilon == 0.5 else off
                    for method, value in methods.items() if strength else [("tangent", off["tangent"])]:
                        noise = np.exp(value + spread * rng.normal(size=PREDICTED_PROMPTS))
                        rows.append(pd.DataFrame({
                            "prompt": range(PREDICTED_PROMPTS), "loss": loss, "strength": strength, "seed": seed,
                            "beta": strength, "optimizer": optimizer, "rate": rate, "batch": batch,
                            "epsilon": epsilon, "step": step, "split": split, "method": method, "stopped": 0,
                            "tangent_stopped": 0, "rho_squared": 4 * size**2, **named,
                            **{f"{name}_predicted": one * noise for name, one in named.items()},
                        }))  # fmt: skip
    prompts = pd.concat(rows, ignore_index=True)
    if runaway:
        away = (prompts["loss"] == "savage") & (prompts["seed"] == 0) & (prompts["optimizer"] == "sgd")
        prompts.loc[away, ["mu_squared_loss", "mean_rho"]] = 1e3
    numbers = [
        name
        for name in prompts
        if prompts[name].dtype == np.float64 and name not in ("strength", "beta", "rate", "epsilon")
    ]
    keys = [name for name in prompts if name not in (*numbers, "prompt")]
    folder.mkdir(parents=True)
    prompts.groupby(keys, sort=False)[numbers].mean().reset_index().to_parquet(folder / "steps.parquet")
    prompts.to_parquet(folder / "prompts.parquet")
    (folder / "run.json").write_text(
        '{"planned": 1, "pieces": [{"git": {"commit": "abc"}, "device": {"accelerator": null, "processor": "a chip", '
        '"torch": "cpu"}, "threads": 1, "finished": "today"}]}'
    )
