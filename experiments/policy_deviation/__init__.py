"""How far policies go from the reference, where nobody compared anything, and why the chosen become less likely.

Bradley–Terry preferences; μ reaches part of the responses only; settings ours. Worked out beforehand:

- *tabular*: on μ's support the optimum's log-ratio is `link_log_ratio`, u_i = Σ_j μ_j z*(η_ij)/β normalised, exact for
  squared and for every logit link, so that the largest |ρ| goes as 1/β. Off it free logits do not move: every response
  there has the log-ratio −log Σ πref e^u, and as Σu = 0 along training, mass off the support never grows if πref is
  uniform (Jensen);
- *features* (π ∝ πref exp(Φw)): what nobody compared moves with φ·w. Mass off the support ends where πref exp(g/β)
  puts it, g the fitted direction; the slope at zero, w ∝ Φᵀ(wins − losses), says only how it starts;
- *chosen*: log π of the chosen starts at β|f′(0)| ⟨Φᵀ(W − πref), Φᵀ(W − L)⟩, with W and L the winners' and losers'
  distributions (`chosen_slope`), and ends at A/β − Λ(1/β): for A > 0 it falls below β_c ≈ V/(2A) and rises above, for
  A ≤ 0 it falls at every β (likelihood displacement, Razin et al., arXiv 2410.08847), whatever f is.

That the slope at zero says how training ends was predicted first and failed; docs/predictions/testbed.md has what took
its place, committed before the run.

Each part is a module: it computes its rows (`run`) and holds them against the prediction (`check`).
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from experiments._losses import of_the_preset, one_claim, only_those_of_the_paper, rows_of
from experiments.framework import Check, explained
from experiments.framework.sweeps import grid
from experiments.policy_deviation import chosen, features, tabular
from experiments.policy_deviation.setting import Config
from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find

CLAIM = "The link sets how far a policy goes where pairs were compared, the fitted direction where mass leaks."
FIGURE = "policy-deviation"

PARTS = {"tabular": tabular, "features": features, "chosen": chosen}

PRESETS = {"quick": Config(), "paper": Config(betas=(0.1, 1.0), steps=1000, seeds=24, seed=1)}


def cells(config: Config) -> list[dict[str, Any]]:
    """A cell a loss and part."""
    return grid(part=list(PARTS), loss=config.losses)


def run(config: Config, *, part: str, loss: str) -> pd.DataFrame:
    """Rows of one part."""
    return pd.DataFrame(PARTS[part].run(config, loss)).assign(part=part, loss=loss)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Size on the support, nothing off it without features, leaks with them, and the chosen."""
    if none := only_those_of_the_paper(config.losses, CLAIM):
        return none
    scaled = tabular.check_scale(find(table, part="tabular"))  # of any f
    table = rows_of(table)
    checks = [check for name, part in PARTS.items() for check in part.check(find(table, part=name))]
    return explained(
        one_claim([*checks, *scaled], config.losses),
        {
            "relative error of the link's": lambda: tabular.of_the_link(find(table, part="tabular")),
            "sign of the leak early on": lambda: features.of_the_slope(find(table, part="features")),
            "the sign of the first slope": lambda: chosen.of_the_slope(find(table, part="chosen")),
        },
    )


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """What was found, with intervals over problems."""
    free, linear, preferred = (find(table, part=part) for part in PARTS)
    beta = min(config.betas)
    sizes = {
        loss: mean_interval(find(rows, beta=beta).groupby("seed")["largest_on"].mean())
        for loss, rows in free.groupby("loss", sort=False)
    }
    off = mean_interval((linear["largest_off"] / linear["largest_on"]).groupby(linear["seed"]).mean())
    away = preferred[~preferred["matched"].astype(bool) & ~preferred["bracket"].fillna(False).astype(bool)]
    falls = {loss: chosen.fallen(rows) for loss, rows in away.groupby("loss", sort=False)}
    bracket = preferred[preferred["bracket"].fillna(False).astype(bool)]
    leaks = [
        features.sign_agreement(linear, "final_leak", column)
        for column in ("predicted_leak", "linear_leak", "fitted_leak")
    ]
    ends = [chosen.signs(away, column) for column in ("predicted_slope", "linear_change", "predicted_change")]
    return (
        f"At β = {beta:g} the largest |log π/πref| on μ's support is "
        + ", ".join(f"{sizes[loss]} ({loss})" for loss in PAPER_LOSSES)
        + " nats; z*(η)/β gives it exactly for logistic, squared, exponential and Savage. Free logits leave what "
        "nobody compared alone but for the normaliser; linear features do not: off the support the largest log-ratio "
        f"is {off} of that on it. The sign of the leak at the end is that of the slope at zero in {leaks[0]} of the "
        f"runs, of one linear solve in {leaks[1]} (hinge left out), of the fitted direction in {leaks[2]}. With μ away "
        "from πref the chosen end less likely in "
        + ", ".join(f"{falls[loss]} ({loss})" for loss in PAPER_LOSSES)
        + f" of the runs; the sign of that change is the first slope's in {ends[0]}, that of A/β − V/(2β²) from one "
        f"linear solve in {ends[1]} (hinge left out), that of A/β − Λ(1/β) in {ends[2]}, and at 0.8 and 1.25 of β_c in "
        f"{chosen.signs(bracket, 'predicted_change')} (95 % intervals over problems). To remember: whether the chosen "
        "fall is a matter of β against V/(2A), not of f; the first gradient does not tell."
    )
