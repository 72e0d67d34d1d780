"""Problems at random, their loss by its definition in torch, and what makes two trajectories the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gpo_analysis.tabular import PreferenceProblem


def problem_of(n: int = 5, seed: int = 0, contexts: int | None = None) -> PreferenceProblem:
    rng = np.random.default_rng(seed)
    shape = (n,) if contexts is None else (contexts, n)
    upper = np.triu(rng.uniform(0.05, 0.95, (*shape, n)), 1)
    preference = upper + np.tril(1 - np.swapaxes(upper, -1, -2), -1)
    preference[..., np.arange(n), np.arange(n)] = 0.5
    weights = None if contexts is None else rng.dirichlet(np.full(contexts, 3.0))
    return PreferenceProblem(
        preference,
        rng.dirichlet(np.full(n, 3.0), size=contexts),
        rng.dirichlet(np.full(n, 3.0), size=contexts),
        weights,
    )


def torch_loss(problem: PreferenceProblem, loss: Any, beta: float, theta: torch.Tensor) -> torch.Tensor:
    """The population loss from its definition, by a sum over all ordered pairs."""
    mu, reference = torch.tensor(problem.behavior), torch.tensor(problem.reference)
    preference = torch.tensor(problem.preference)
    h = torch.log_softmax(theta, -1) - reference.log()
    z = beta * (h[..., :, None] - h[..., None, :])
    value = 2 * (mu[..., :, None] * mu[..., None, :] * preference * loss(z)).sum((-1, -2))
    return (torch.tensor(problem.shares()) * value).sum()


def assert_same(one: Any, other: Any) -> None:
    """The same bits in everything a trajectory holds."""
    for name, column in one.columns.items():
        np.testing.assert_array_equal(column, other.columns[name], err_msg=name)
    for name in ("policies", "logits", "gradients", "final_logits"):
        left, right = getattr(one, name), getattr(other, name)
        assert (left is None) == (right is None)
        if left is not None:
            np.testing.assert_array_equal(left, right, err_msg=name)
    np.testing.assert_array_equal(one.state.parameters, other.state.parameters)
    np.testing.assert_array_equal(one.state.moments, other.state.moments)
    assert one.state.step == other.state.step
    assert one.status == other.status
