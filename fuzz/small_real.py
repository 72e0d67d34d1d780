"""A made-up study of a real model, in which each method is off by a known factor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

SEEDS, PROMPTS = 3, 4
LOSSES = ("logistic", "squared", "savage")


def make_real(folder: Path, off: dict[str, float], *, people: bool = False, spread: float = 0.0) -> None:
    """Write tables in which methods are off by e^off; of people's pairs the square is e³ times 2KL of own samples."""
    rng = np.random.default_rng(0)
    grid = [(f, s, 1.0, False) for s in (0.1, 0.8) for f in LOSSES] + [("logistic", 0.8, 4.0, True)]
    grid += [("logistic", 0.0, 1.0, False), ("logistic", 0.0, 4.0, True)]
    rows = []
    for loss, strength, rate, fixed in grid:
        for seed in range(SEEDS):
            for step in (6, 36):
                for split in ("seen", "held", "unseen"):
                    size = 1.5 * rng.uniform(0.9, 1.1, PROMPTS) * step / 36 / (1 + strength)
                    kl = size * (0.01 if people and split == "held" else 0.5)
                    square = size * (np.exp(3.0) * 0.02 if people else 1.0)
                    named = {
                        "mean_rho": size, "kl": kl, "mu_squared_loss": square, "chosen_logp": 0.3 * size,
                        "win_rate": 0.5 + 0.1 * kl,
                    }  # fmt: skip
                    methods = {"tangent": off["tangent"], "parameters": off["tangent" if fixed else "parameters"]}
                    for method, value in {**methods, **({"scalar": off["scalar"]} if strength else {})}.items():
                        noise = np.exp(value + spread * rng.normal(size=PROMPTS))
                        said = {f"{name}_predicted": one * noise for name, one in named.items()}
                        rows.append(pd.DataFrame({
                            "prompt": range(PROMPTS), "loss": loss, "strength": strength, "optimizer": "adamw",
                            "rate": rate, "batch": 4, "epsilon": 0.0, "fixed_a": fixed, "beta": strength, "seed": seed,
                            "step": step, "split": split, "method": method, "stopped": 0, "tangent_stopped": 0,
                            "rho_squared": 2 * square, **named, **said,
                        }))  # fmt: skip
    prompts = pd.concat(rows, ignore_index=True)
    plain = ("strength", "rate", "epsilon", "beta")
    numbers = [name for name in prompts if prompts[name].dtype == np.float64 and name not in plain]
    keys = [name for name in prompts if name not in (*numbers, "prompt")]
    folder.mkdir(parents=True)
    prompts.groupby(keys, sort=False)[numbers].mean().reset_index().to_parquet(folder / "steps.parquet")
    prompts.to_parquet(folder / "prompts.parquet")
    best = [
        {"seed": seed, "prompt": prompt, "n": 2, "kl": 0.2, "win_rate": 0.7, "reward": 1.0}
        for seed in range(0 if people else SEEDS)
        for prompt in range(PROMPTS)
    ]
    pd.DataFrame(best, columns=["seed", "prompt", "n", "kl", "win_rate", "reward"]).to_parquet(folder / "best.parquet")
    (folder / "run.json").write_text(
        '{"planned": 1, "pieces": [{"git": {"commit": "abc"}, "device": {"accelerator": null, "processor": "a chip", '
        '"torch": "cpu"}, "threads": 1, "finished": "today"}]}'
    )
