"""Training runs of one seed side by side, networks or tangents, with one loop.

The gradient is that of E f(βρ)/(β|f′(0)|), −E[w(βs)∇s] with s the chosen's margin over the rejected and

    w(z) = f′(z)/f′(0) = 1 − κz + …,

so that all f and β begin alike, with SGD as with Adam, and β = 0 is the limit β → 0: w = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_loss
from llm.budget import Stop, TimeIsUp
from llm.predicted.config import Cell, PredictedConfig
from llm.predicted.data import Pairs
from llm.predicted.models import Model
from llm.training.optimizers import OPTIMIZERS, gradient_norms


@dataclass(frozen=True, eq=False)
class Course:
    """How R runs went.

    Attributes
    ----------
    seen, held : array, shape (k, R, m, n) and (k, R, m, n′)
        h = log π/πref at the k recorded steps, in nats, float32; 0 for padding.
    stopped : array, shape (R,)
        The step before which a run was stopped, its margins or gradient not being finite; 0 for the others.
    """

    seen: FloatArray
    held: FloatArray
    stopped: FloatArray


def slopes(cells: Sequence[Cell], margins: torch.Tensor) -> torch.Tensor:
    """w(βs) of R runs, (R, B), of the chosen's margins s, (R, B)."""
    found = torch.ones_like(margins)
    for name in dict.fromkeys(cell.loss for cell in cells):
        loss = get_loss(name)
        runs = [run for run, cell in enumerate(cells) if cell.loss == name and cell.beta]
        if runs:
            beta = margins.new_tensor([cells[run].beta for run in runs])[:, None]
            found[runs] = loss.derivative(beta * margins[runs]) / float(loss.derivative(0.0))
    return found


def train(
    model: Model,
    cells: Sequence[Cell],
    pairs: Pairs,
    config: PredictedConfig,
    *,
    title: str = "",
    progress: bool = False,
    stop: Stop | None = None,
) -> Course:
    """Train runs that share optimiser and batches, each as it would be trained alone.

    Raises
    ------
    ValueError
        For cells that do not share them.
    TimeIsUp
        Where ``stop``, asked before each step, says so.
    """
    if len({(cell.optimizer, cell.batch) for cell in cells}) != 1:
        raise ValueError(f"cells {list(cells)} do not share optimizer and batch")
    device = next(iter(model.parameters.values())).device
    optimizer = OPTIMIZERS[cells[0].optimizer](model.parameters)
    rates = torch.tensor([config.rate_of(cell) for cell in cells], dtype=torch.float64, device=device)
    alive = torch.ones(len(cells), dtype=torch.bool, device=device)
    stopped = np.zeros(len(cells))
    epsilons, size = [cell.epsilon for cell in cells], cells[0].batch
    kept: list[list[FloatArray]] = []
    for step in tqdm(range(config.steps), desc=title, disable=not progress):
        if stop is not None and stop():
            raise TimeIsUp(f"stopped after step {step} of {config.steps}")
        rows = pairs.batch(step, size)
        rho = model.margins(rows)
        signs = torch.from_numpy(pairs.signs(rows, epsilons, step)).to(rho)
        weights = -signs * slopes(cells, signs * rho) / size
        gradients = model.gradient(torch.where(torch.isfinite(weights), weights, 0.0))
        sound = torch.isfinite(weights).all(1) & torch.isfinite(gradient_norms(gradients))
        stopped[(alive & ~sound).cpu().numpy()] = step + 1
        alive &= sound
        optimizer.step(gradients, rates, alive)
        if step + 1 in config.record:
            kept.append([h.detach().float().cpu().numpy() for h in model.log_ratios()])
    seen, held = (np.stack([one[part] for one in kept]) for part in range(2))
    return Course(seen, held, stopped)
