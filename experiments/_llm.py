"""What the experiments on language models share: reading a study, and what the theory predicts for it.

A study is a folder that ``python -m llm run --preset NAME --out FOLDER/NAME`` wrote; FOLDER is named by GPO_LLM, or is
``out/llm``.

The prediction is the population optimum: each prompt is a problem of its own, whose responses are the samples of πref
that the study drew, merged by reward (under Bradley–Terry responses of equal reward have equal log-ratio), with
preferences of the labels' temperature and μ = πref. It knows nothing of optimisation, capacity or generalisation.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from experiments.framework import Check, NotRun
from gpo_analysis.arrays import FloatArray
from gpo_analysis.files import file_digest, unseal_json
from gpo_analysis.statistics import Interval, mean_interval
from gpo_analysis.tables import find

FILES = ("sweep.parquet", "samples.parquet", "baseline/stage.json", "run.json")
ROOT = Path(__file__).parents[1]
SHARED = 3.0
"""By how much an interval of a win rate over seeds of the same πref and pairs is widened before it decides.

Where seeds redraw everything, a policy's win rate is spread 2.7 times as much (βκ ≥ 0.25: standard deviations over
seeds of study B, own samples, 512 prompts, over those of ``small``, root mean squares); its log KL is not (0.33).
"""
SPREAD = 1.959964  # half the width of a 95 % interval, in standard errors


@dataclass(frozen=True)
class StudyConfig:
    """Which study is read.

    Parameters
    ----------
    study : str
        Name of a preset of `python -m llm`.
    """

    study: str = "cpu"


def study_cells(config: StudyConfig) -> list[dict[str, Any]]:
    """One cell: the study is read whole; its axis is the checksum of what is read."""
    return [{"sha256": Study.find(config.study).sha256}]


def find_folder(study: str, files: tuple[str, ...], command: str) -> Path:
    """The folder of a study that has these files; NotRun says by which command of ``python -m llm`` to make it."""
    folder = Path(os.environ.get("GPO_LLM", ROOT / "out" / "llm")) / study
    if not all((folder / file).is_file() for file in files):
        raise NotRun(
            f"no finished study {study!r}; run `python -m llm {command} --out FOLDER/{study}` and name FOLDER by "
            "GPO_LLM (default out/llm)"
        )
    return folder


def run_as_written(folder: Path) -> dict[str, Any]:
    """run.json; a ValueError where it or a table is not what the study wrote. Older studies have no digests."""
    path = folder / "run.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged: {error}; the study's command with --out {folder} writes it anew"
        ) from None
    if "tables" not in document and "sha256" not in document:
        return document
    document = unseal_json(path.read_bytes(), path, ("tables",))
    for name, digest in document["tables"].items():
        if file_digest(folder / name) != digest:
            raise ValueError(
                f"{folder / name} is not what the study wrote; the study's command with --out {folder} writes it anew"
            )
    return document


def checksum(folder: Path, files: tuple[str, ...]) -> str:
    """First 16 digits of the checksum of these files together."""
    digest = hashlib.sha256()
    for name in files:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class PiecesStudy:
    """A study in pieces as an experiment reads it: two tables, of policies (or steps) and of their prompts.

    Parameters
    ----------
    command : str
        Of ``python -m llm``, and what the study's name begins with.
    name : str
        The study's folder, under that of GPO_LLM.
    table : str
        The first table's name; the second is ``prompts``.
    """

    command: str
    name: str
    table: str = "policies"

    @property
    def _tables(self) -> tuple[str, str]:
        return f"{self.table}.parquet", "prompts.parquet"

    def _folder(self) -> Path:
        preset = self.name.removeprefix(f"{self.command}-")
        return find_folder(self.name, (*self._tables, "run.json"), f"{self.command} --preset {preset}")

    def cells(self) -> list[dict[str, Any]]:
        """One cell: the study is read whole; its axis is the checksum of what is read."""
        return [{"sha256": checksum(self._folder(), self._tables)}]

    def read(self, sha256: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
        """Both tables, and the columns that say what made them; a ValueError where they are not those of the cell."""
        folder = self._folder()
        if checksum(folder, self._tables) != sha256:
            raise ValueError(f"the study {self.name!r} has changed since the run was planned; run it again")
        first, prompts = (pd.read_parquet(folder / name) for name in self._tables)
        return first, prompts, study_provenance(run_as_written(folder))


def study_provenance(document: dict[str, Any]) -> dict[str, Any]:
    """Columns that say where the policies of a study in pieces were trained, from its run.json."""
    pieces = document["pieces"]
    device = pieces[-1]["device"]
    return {
        "study_commit": ", ".join(sorted({str(piece["git"]["commit"]) for piece in pieces})),
        "study_device": device["accelerator"] or device.get("processor") or device["torch"],
        "study_threads": pieces[-1]["threads"],
        "study_finished": pieces[-1]["finished"],
        "study_pieces": f"{len(pieces)} of {document['planned']}",
    }


def provenance_of(table: pd.DataFrame, kind: str = "policy") -> dict[str, Any]:
    """Of the study that a record reads, for its meta data, from the columns of its rows of this kind."""
    row = table[table["kind"] == kind].iloc[0]
    return {
        "git": {"commit": str(row["study_commit"])},
        "device": {"processor": str(row["study_device"])},
        "threads": int(row["study_threads"]),
        "finished": str(row["study_finished"]),
    }


@dataclass(frozen=True)
class Study:
    """A finished study.

    Parameters
    ----------
    name : str
    folder : Path
    """

    name: str
    folder: Path

    @classmethod
    def find(cls, name: str, sha256: str | None = None) -> Study:
        """The study of this name; NotRun says how to make it, ValueError that it is not the one of this checksum."""
        folder = find_folder(name, FILES, f"run --preset {name}")
        study = cls(name, folder)
        if sha256 is not None and study.sha256 != sha256:
            raise ValueError(f"the study {name!r} has changed since the run was planned; run it again")
        return study

    @cached_property
    def sha256(self) -> str:
        """First 16 digits of the checksum of what the study holds."""
        return checksum(self.folder, FILES[:3])

    @cached_property
    def sweep(self) -> pd.DataFrame:
        """A row a cell and checkpoint that has numbers."""
        return find(pd.read_parquet(self.folder / "sweep.parquet"), status="ok").reset_index(drop=True)

    @property
    def last(self) -> pd.DataFrame:
        """Rows of the fresh arm after the last step."""
        return last_rows(self.sweep)

    @property
    def samples(self) -> pd.DataFrame:
        """Rewards of every policy's responses after its last step."""
        return pd.read_parquet(self.folder / "samples.parquet")

    @property
    def trace(self) -> pd.DataFrame:
        """Every policy's training, a row a recorded step."""
        return pd.read_parquet(self.folder / "trace.parquet")

    @cached_property
    def baseline(self) -> dict[str, Any]:
        """``best_of_n`` rows and ``reference_rewards`` (prompts × samples)."""
        return dict(json.loads((self.folder / FILES[2]).read_text(encoding="utf-8"))["report"])

    @cached_property
    def run(self) -> dict[str, Any]:
        """run.json."""
        return dict(json.loads((self.folder / "run.json").read_text(encoding="utf-8")))

    def best_of_n(self) -> pd.DataFrame:
        """Best-of-n as rows of kind ``best_of_n``."""
        rows = pd.DataFrame(self.baseline["best_of_n"])
        if "kl" not in rows:  # studies of before it was computed from the levels of reward
            rows = rows.rename(columns={"kl_bound": "kl"})
        return rows.assign(kind="best_of_n", loss="best_of_n", study=self.name)

    def optimum(self, prompts: int, rows: pd.DataFrame) -> pd.DataFrame:
        """Mean over prompts of the population optimum: a row a loss and strength of `rows`, of kind ``predicted``.

        Columns: loss, strength, beta, kl, win_rate (against πref, ties half), mu_squared_loss, mean_reward.
        """
        problems, strengths = self._problems(prompts), sorted(set(rows["strength"]))
        found = []
        for name in dict.fromkeys(rows["loss"]):
            loss = gpo.get_loss(name)
            solved = [(levels, mass, _log_ratio(loss, levels, mass)) for levels, mass in problems]
            for strength in strengths:
                beta = loss.beta_of(strength)
                values = np.mean([_measures(levels, mass, h / beta) for levels, mass, h in solved], axis=0)
                named = zip(("kl", "win_rate", "mu_squared_loss", "mean_reward"), values.tolist(), strict=True)
                found.append(dict(named) | {"loss": name, "strength": strength, "beta": beta})
        return pd.DataFrame(found).assign(kind="predicted", study=self.name)

    def _problems(self, prompts: int) -> list[tuple[FloatArray, FloatArray]]:
        """Levels of reward of each prompt's samples, in units of the labels' temperature, and the share of each."""
        rewards = np.array(self.baseline["reference_rewards"])[:prompts]
        temperature = self.run["config"]["pairs"]["labels"]["temperature"]
        found = []
        for row in rewards:
            levels, counts = np.unique(np.round(row / temperature, 9), return_counts=True)
            found.append((levels, counts / counts.sum()))
        return found


def last_rows(table: pd.DataFrame, arm: str = "fresh") -> pd.DataFrame:
    """Rows of an arm after the last step."""
    rows = find(table, arm=arm)
    return find(rows, step=rows["step"].max()).reset_index(drop=True)


def _log_ratio(loss: gpo.MarginLoss, levels: FloatArray, mass: FloatArray) -> FloatArray:
    """β log π/πref at the optimum, up to a constant; for any β it is the same (the margin is what is fitted)."""
    if len(levels) == 1:
        return np.zeros(1)
    problem = gpo.PreferenceProblem(gpo.bradley_terry(levels), mass, mass)
    return np.asarray(np.log(problem.solve(loss, 1.0).policy) - np.log(mass))


def _measures(levels: FloatArray, mass: FloatArray, log_ratio: FloatArray) -> tuple[float, float, float, float]:
    logits = np.log(mass) + log_ratio
    policy = np.exp(logits - logits.max())
    policy /= policy.sum()
    beats = (levels[:, None] > levels[None, :]) + 0.5 * (levels[:, None] == levels[None, :])
    shift = log_ratio - mass @ log_ratio
    return (
        gpo.kl_divergence(policy, mass), float(policy @ beats @ mass), float(mass @ shift**2), float(policy @ levels),
    )  # fmt: skip


def at_kl(rows: pd.DataFrame, kl: float, column: str = "win_rate") -> float:
    """A column of one loss's rows at a KL, linear in log KL between its β; NaN outside its range.

    Examples
    --------
    >>> at_kl(pd.DataFrame({"kl": [0.1, 10.0], "win_rate": [0.5, 0.7]}), 1.0)
    0.6
    """
    known = rows[rows["kl"] > 0].groupby("strength" if "strength" in rows else "kl")[["kl", column]].mean()
    known = known.reset_index(drop=True).sort_values("kl")
    if not len(known) or not known["kl"].iloc[0] <= kl <= known["kl"].iloc[-1]:
        return float("nan")
    return round(float(np.interp(np.log(kl), np.log(known["kl"]), known[column])), 12)


def standard_error(rows: pd.DataFrame, column: str = "win_rate") -> pd.Series[float]:
    """Standard error over prompts, from the 95 % interval's width."""
    return (rows[f"{column}_high"] - rows[f"{column}_low"]) / (2 * SPREAD)


def per_seed(rows: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> Interval:
    """Mean of a statistic of each seed's rows, with Student's interval over seeds; one seed gives none."""
    return mean_interval([statistic(part) for _, part in rows.groupby("seed")])


def seeds_of(rows: pd.DataFrame) -> str:
    """How many seeds an interval is over, in words: of ``llm run`` they redraw the order of the same pairs alone."""
    count = int(rows["seed"].nunique())
    return f"{count} seed{'' if count == 1 else 's'} of the same πref and pairs"


def beyond_these_pairs(decide: Callable[[Interval], Check], found: Interval) -> Check:
    """A claim about win rates, undecided where only an interval over seeds that share their pairs decides it.

    Parameters
    ----------
    decide : callable
        From an interval to a check.
    found : Interval
        Over seeds, or prompts, of one set of pairs; the verdict has to be the same with one `SHARED` times as wide.

    Examples
    --------
    >>> def decide(found: Interval) -> Check: return Check.below("c", 0.0, found, "3 seeds")
    >>> [beyond_these_pairs(decide, Interval(-1.0, -1.0 - half, -1.0 + half)).verdict for half in (0.1, 0.5)]
    ['holds', 'undecided']
    """
    check = decide(found)
    wide = Interval(
        found.value, found.value - SHARED * (found.value - found.low), found.value + SHARED * (found.high - found.value)
    )
    if check.holds is None or decide(wide).verdict == check.verdict:
        return check
    note = f"{check.note}, {check.verdict} for these pairs alone: undecided with an interval {SHARED:g} times as wide"
    return dataclasses.replace(check, holds=None, undecided=True, note=note)


def without_runaways(rows: pd.DataFrame) -> pd.DataFrame:
    """Policies that did not run away; they are counted apart and enter no mean."""
    return rows[~rows["signature"].fillna("").str.contains("runaway")]


def best_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """For each loss the rows at the strength of greatest mean win rate over seeds."""
    means = rows.groupby(["loss", "strength"], sort=False)["win_rate"].mean().reset_index()
    best = means.loc[means.groupby("loss", sort=False)["win_rate"].idxmax(), ["loss", "strength"]]
    return rows.merge(best, on=["loss", "strength"])
