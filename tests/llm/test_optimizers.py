"""Optimisers over stacked runs against torch's and transformers', run by run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.optimization import Adafactor as TheirAdafactor

from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from llm.training.optimizers import SGD, Adafactor, AdamW, StackedOptimizer, clip_gradients, gradient_norms
from llm.training.trace import TRACE
from tests.llm.tiny_stacks import PAIRS, train


def optimizer_pairs() -> list[tuple[Any, Any]]:
    def adafactor(scaled: bool) -> Any:
        return lambda p: TheirAdafactor(
            p, lr=1e-2, scale_parameter=scaled, relative_step=False, warmup_init=False, weight_decay=0.1
        )

    return [
        (lambda p: SGD(p, weight_decay=0.1), lambda p: torch.optim.SGD(p, lr=1e-2)),
        (lambda p: AdamW(p, epsilon=1e-8, weight_decay=0.1), lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1)),
        (lambda p: Adafactor(p, weight_decay=0.1), adafactor(False)),
        (lambda p: Adafactor(p, weight_decay=0.1, scale_by_parameter=True), adafactor(True)),
    ]


@pytest.mark.parametrize("number", range(4), ids=["sgd", "adamw", "adafactor", "adafactor-scaled"])
def test_optimisers_equal_torch_s_and_transformers_run_by_run(number: int) -> None:
    """Gradients of the runs differ by factors of 1,000, so a statistic over runs would show."""
    make, theirs = optimizer_pairs()[number]
    generator = torch.Generator().manual_seed(number)
    shapes = {"matrix": (3, 5, 4), "vector": (3, 7)}
    mine = {k: torch.randn(s, generator=generator, dtype=torch.float64) for k, s in shapes.items()}
    runs = [{k: torch.nn.Parameter(v[r].clone()) for k, v in mine.items()} for r in range(3)]
    optimizer: StackedOptimizer = make(mine)
    others = [theirs(list(run.values())) for run in runs]
    for _ in range(12):
        gradients = {
            k: torch.randn(s, generator=generator, dtype=torch.float64)
            * torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64).view(3, *[1] * (len(s) - 1))
            for k, s in shapes.items()
        }
        for r, run in enumerate(runs):
            for name, parameter in run.items():
                parameter.grad = gradients[name][r].clone()
                if number == 0:  # torch's SGD has no decoupled decay
                    parameter.data.mul_(1 - 1e-2 * 0.1)
            others[r].step()
        optimizer.step(gradients, torch.full((3,), 1e-2, dtype=torch.float64), torch.ones(3, dtype=torch.bool))
    for r, run in enumerate(runs):
        for name, parameter in run.items():
            # transformers' Adafactor decays after its update is computed, as ours does
            torch.testing.assert_close(mine[name][r], parameter.detach(), rtol=1e-6, atol=1e-7)


def test_clipping_is_per_run_and_equals_torch_s() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = {k: torch.randn(s, generator=generator) for k, s in (("a", (3, 4, 2)), ("b", (3, 5)))}
    for value in gradients.values():
        value[1] *= 1e-3
        value[2] = 0.0
    before = {k: v.clone() for k, v in gradients.items()}
    norms = gradient_norms(gradients)
    clip_gradients(gradients, norms, 0.5)
    for run in range(3):
        parameters = [torch.nn.Parameter(v[run].clone()) for v in before.values()]
        for parameter in parameters:
            parameter.grad = parameter.detach().clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        assert float(norms[run]) == pytest.approx(float(norm), rel=1e-6)
        for parameter, value in zip(parameters, gradients.values(), strict=True):
            torch.testing.assert_close(value[run], parameter.grad, rtol=1e-5, atol=1e-9)
    assert torch.equal(gradients["a"][1], before["a"][1])  # small ones are left as they are


def test_adam_takes_the_scale_of_beta_out(tmp_path: Path) -> None:
    """f(βρ) with a tiny β has gradients proportional to it: with ε = 1e-12 the run is that of the linear loss."""
    config = TrainConfig(4, batch_size=len(PAIRS), max_grad_norm=None)
    small = [SweepCell("logistic", beta, 0, 1e-3) for beta in (1e-7, 1e-6)]
    found = train(small, config, tmp_path / "tiny")
    rho = found.trace[-1, :, TRACE.index("mean_rho")]
    assert rho[0] == pytest.approx(rho[1], rel=2e-2)
    ordinary = train(small, replace(config, adam_epsilon=1e-6), tmp_path / "ordinary")
    other = ordinary.trace[-1, :, TRACE.index("mean_rho")]
    assert 0 < other[0] < 0.5 * other[1]
