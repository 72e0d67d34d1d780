"""KL against ½E_μ[ρ²] along the training of language models, offline and on-policy: where do they part?

For two independent responses ½E[ρ²] = Var(log πθ/πref) (Tang et al., arXiv 2402.05749, have the identity of gradients
at μ = πθ; with the ½ and two i.i.d. responses it is ∇½E[ρ²] = 2∇KL), so that near πref both the offline (μ = πref) and
the on-policy square are 2KL. The offline pairs have two different responses, which divides their square by the share of
such pairs. Predicted away from πref: the population optimum's ½E_μ[ρ²]/(2KL) (`experiments._llm`). Settings ours.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments._llm import Study, StudyConfig, per_seed, seeds_of, study_cells
from experiments.framework import Check
from gpo_analysis.tables import find

CLAIM = "½E_μ[ρ²] is 2KL near πref and is not away from it: offline and on-policy squares part as KL grows."
FIGURE = "llm-kl-and-mu-square"


@dataclass(frozen=True)
class Config(StudyConfig):
    """Which study is read, and what is near.

    Parameters
    ----------
    study : str
        Name of a preset of `python -m llm`.
    near : float
        Largest KL, in nats, at which ½E_μ[ρ²] = 2KL is expected.
    prompts : int
        Prompts of the population optimum.
    """

    near: float = 0.05
    prompts: int = 64


cells = study_cells
PRESETS = {"quick": Config(), "paper": Config(study="small", prompts=256)}


def run(config: Config, *, sha256: str) -> pd.DataFrame:
    """Every checkpoint, and the population optimum."""
    study = Study.find(config.study, sha256)
    table = study.sweep
    report = study.run["reports"]["pairs"]
    distinct = report["pairs"] / (report["pairs"] + report["identical"])
    columns = ["loss", "strength", "beta", "seed", "arm", "step", "kl", "kl_stderr", "mu_squared_loss"]
    columns += ["mu_squared_loss_on_policy", "mu_squared_loss_on_policy_stderr", "win_rate", "signature"]
    predicted = study.optimum(config.prompts, table)
    measured = table[columns].assign(kind="measured", offline=table["mu_squared_loss"] * distinct)
    return pd.concat([measured, predicted.assign(offline=predicted["mu_squared_loss"])], ignore_index=True)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The ratio to 2KL near πref, whether it is kept away from it, and whether one orders policies as the other."""
    rows = find(table, kind="measured")
    near, far, over = rows[rows["kl"] <= config.near], rows[rows["kl"] >= 20 * config.near], seeds_of(rows)
    ratios = {
        name: Check.within("ratio", 1.0, per_seed(near, lambda part, c=column: _middle(part, c)), 0.2, over)  # type: ignore[misc]
        for name, column in (("offline", "offline"), ("on-policy", "mu_squared_loss_on_policy"))
    }
    claim = f"½E[ρ²] over 2KL while KL ≤ {config.near:g} (median): 1 to leading order"
    checks = [Check.each(claim, ratios, note=f"{len(near)} checkpoints")] if len(near) >= 3 else [
        Check.not_run(claim, 1.0, f"{len(near)} checkpoints are that near")
    ]  # fmt: skip
    claim = f"offline over on-policy ½E[ρ²] where KL ≥ {20 * config.near:g}: they part (|log ratio|, median)"
    if len(far) < 3:
        checks.append(Check.not_run(claim, 0.25, f"{len(far)} checkpoints are that far"))
    else:
        checks.append(Check.above(claim, 0.25, per_seed(far, _apart), over))
    claim = "some policies order differently by KL and by the offline square (share of pairs, beyond KL's noise)"
    checks.append(Check.above(claim, 0.0, per_seed(rows, discordant), over))
    return checks


def _middle(rows: pd.DataFrame, column: str) -> float:
    return float(np.median(rows[column] / (2 * rows["kl"])))


def _apart(rows: pd.DataFrame) -> float:
    return float(np.median(np.abs(np.log(rows["offline"] / rows["mu_squared_loss_on_policy"]))))


def discordant(rows: pd.DataFrame) -> float:
    """Share of pairs of checkpoints in which KL is the larger and the offline square the smaller by 10 % or more."""
    kl, noise, square = (rows[name].to_numpy() for name in ("kl", "kl_stderr", "offline"))
    above = kl[:, None] - kl[None, :] > 2 * np.hypot(noise[:, None], noise[None, :])
    below = square[:, None] < 0.9 * square[None, :]
    return float((above & below).sum() / max(1, above.sum()))


def summary(config: Config, table: pd.DataFrame) -> str:
    """Ratios near and far, and the order of policies."""
    rows = find(table, kind="measured")
    parts = []
    edges = [0.0, config.near, 10 * config.near, 40 * config.near, np.inf]
    for low, high in itertools.pairwise(edges):
        part = rows[(rows["kl"] > low) & (rows["kl"] <= high)]
        if len(part):
            offline, own = (
                float(np.median(part[name] / (2 * part["kl"]))) for name in ("offline", "mu_squared_loss_on_policy")
            )
            parts.append(f"KL in ({low:g}, {high:g}]: offline {offline:.2f}, on-policy {own:.2f} ({len(part)})")
    last = rows.loc[rows["kl"].idxmax()]
    far = rows[rows["kl"] >= 20 * config.near]
    apart = (
        float(np.exp(np.abs(np.log(far["offline"] / far["mu_squared_loss_on_policy"])).median())) if len(far) else 1.0
    )
    double = rows["offline"] / (2 * rows["kl"])
    return (
        f"Study {config.study}: {len(rows)} checkpoints. Median of ½E[ρ²] over 2KL, 1 to leading order: "
        f"{'; '.join(parts)}. The policy farthest from πref ({last['loss']}, strength {last['strength']:g}, win rate "
        f"{last['win_rate']:.3f}) has KL {last['kl']:.2f}, ½E_μ[ρ²] {last['mu_squared_loss']:.2f} on held-out "
        f"pairs and "
        f"{last['mu_squared_loss_on_policy']:.2f} on its own samples. Where KL ≥ {20 * config.near:g} the two "
        f"squares differ "
        f"by a factor of {apart:.2f} (median of {len(far)}); in {discordant(rows):.1%} of the pairs of checkpoints "
        f"that "
        "differ in KL beyond noise the offline square orders them the other way. Over the whole training the offline "
        f"square is {double.min():.2f} to {double.max():.2f} times 2KL."
    )
