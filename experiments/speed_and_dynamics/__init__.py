"""How fast each f trains: the clock at the start, the Hessian at the end, and where descent stops being stable.

Softmax policies over n responses, Bradley–Terry preferences; settings ours. The parameters are logits θ. As
∂h/∂θ = I − 1πᵀ for h = log π/πref, margins are differences of θ − log πref, and the Hessian of the population loss is
the Laplacian of the comparison graph with weights 2μ_iμ_j β² [η f″(z) + (1 − η) f″(−z)]. Worked out beforehand:

- start: in the time s = β²|f′(0)|t every f moves alike, KL = ½s²Var_ref(d)/β², and what shows of f first is κ;
- end: gradient flow loses λ_min nats of distance a unit of time, descent −log max|1 − lr λ| a step, and the largest
  stable step is 2/λ_max. Before the slowest mode is alone, the others raise the slope of −log distance by
  Σ_k (λ_k − λ_1) c_k² e^(−2(λ_k−λ_1)t)/c_1²: the next term, which a fit in a fixed window sees. Under
  Bradley–Terry a pair weighs η(1−η) for logistic, 2√(η(1−η)) for exponential,
  2η²(1−η)² for Savage, 2 for squared: the surer the labels, the slower Savage, and squared never;
- hinge has no curvature: its flow arrives in a finite time and descent rattles at a distance proportional to the step;
- Adam starts at one learning rate a step and coordinate whatever f and β are; near the optimum it is descent under
  the curvature P⁻¹H, P = √v̂; as √v̂ forgets no faster than 0.9995 a step, P⁻¹H grows until 38/lr (Cohen et al.,
  arXiv 2207.14484), where Adam stays unstable on and off: it never diverges and never settles.

Each part is a module: it computes its rows (`run`) and holds them against the prediction (`check`).
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from experiments._losses import (
    CURVED,
    curved,
    of_the_preset,
    one_claim,
    only_those_of_the_paper,
    rows_of,
    stated,
    those,
)
from experiments._seeds import geometric_interval
from experiments.framework import Check, explained
from experiments.framework.sweeps import grid
from experiments.speed_and_dynamics import adam, descent, early, hinge, progress
from experiments.speed_and_dynamics.setting import Config, ratios_of
from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find

CLAIM = (
    "f sets how fast training ends, through η f″(z) + (1−η) f″(−z) on the comparison graph; the start is f′(0) alone."
)
FIGURE = "speed-and-dynamics"

PARTS = {"descent": descent, "adam": adam, "early": early, "hinge": hinge, "progress": progress}

PRESETS = {
    "quick": Config(),
    "paper": Config(
        betas=(0.1, 0.3, 1.0),
        adam_rates=(0.01, 0.03, 0.1),
        adam_steps=2000,
        edge_steps=16_000,
        halvings=9,
        seeds=12,
        seed=1,
    ),
}


def cells(config: Config) -> list[dict[str, Any]]:
    """A cell a seed and loss for descent, a seed and learning rate for Adam, a seed for the early phase and hinge."""
    seeds = range(1000 * config.seed, 1000 * config.seed + config.seeds)
    bent = CURVED if config.losses == PAPER_LOSSES else curved(config.losses)
    return [
        *(grid(part="descent", seed=seeds, loss=bent) if bent else []),
        *grid(part="adam", seed=seeds, rate=config.adam_rates),
        *grid(part=("early", "hinge") if "hinge" in config.losses else ("early",), seed=seeds),
        {"part": "progress", "seed": seeds[0]},
    ]


def run(config: Config, *, part: str, seed: int, **axes: Any) -> pd.DataFrame:
    """Rows of one part."""
    return pd.DataFrame(PARTS[part].run(config, seed, **axes)).assign(part=part, seed=seed)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Rates, stable steps, the early phase, hinge and Adam against what was worked out."""
    if none := only_those_of_the_paper(config.losses, CLAIM):
        return none
    table = rows_of(table)
    needs = {"early": PAPER_LOSSES, "descent": CURVED, "hinge": ("hinge",), "adam": CURVED}
    found = []
    for part, needed in needs.items():
        if those(config.losses, needed):
            found += PARTS[part].check(config, find(table, part=part))
        else:
            found.append(stated(config.losses, f"the claims of part {part}", some=needed))
    checks = one_claim(found)
    return explained(
        checks,
        {
            "started at πref": lambda: descent.of_the_start(find(table, part="descent")),
            "after a finite time": lambda: hinge.late_arrivals(config, find(table, part="hinge")),
        },
    )


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """What was found, with intervals over problems."""
    descent = find(table, part="descent")
    trained, kinked = find(table, part="adam"), find(table, part="hinge")
    speeds = {
        loss: geometric_interval(rows.groupby("seed")["relative_speed"].first())
        for loss, rows in descent.groupby("loss")
    }
    worst = find(descent, start="reference").groupby("loss")["stable_over_predicted"].mean()
    ratios, modes = ratios_of(descent), ratios_of(descent, "measured", "expected")
    alone = ratios_of(descent, "slowest")
    edge, diverged = trained["edge"].dropna(), int(trained["status"].str.startswith("diverged").sum())
    power = hinge.floor_slopes(find(kinked, optimizer="gd"))
    return (
        f"Over {config.seeds} random problems of {config.responses} responses the local rate of descent and flow is "
        f"{mean_interval(ratios):.4g} times the Hessian's slowest, {mean_interval(modes):.5g} times that of all its "
        f"modes from the window's start, and along the slowest mode alone {mean_interval(alone):.5g} times it. "
        "Once the clocks are made equal at the start (divided by β²|f′(0)|) the ends are not: the rate of the flow is "
        + ", ".join(f"{speeds[loss]} for {loss}" for loss in CURVED)
        + ". The largest stable step is 2/λ_max near the optimum; started from πref it is "
        + ", ".join(f"{worst[loss]:.2f} ({loss})" for loss in CURVED)
        + " times that. Hinge has no local rate: its flow arrives after "
        f"{hinge.arrivals(find(kinked, optimizer='flow'))} units of 1/β² and descent stays "
        f"at a distance that grows as the step to the power {mean_interval(power.groupby('seed').mean())}. "
        f"Adam diverged in {diverged} of {len(trained)} runs; at the end of {config.edge_steps} steps lr·λ_max(P⁻¹H) "
        f"is {edge.median():.2g} times 38 "
        f"(median; quartiles {edge.quantile(0.25):.2g} to {edge.quantile(0.75):.2g}). "
        "To remember: β and f′(0) are a clock; what f decides is how slowly the surest pairs come to rest."
    )
