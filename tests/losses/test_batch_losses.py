"""AOT's losses of a batch: against a plain loop, scipy's optimal transport, and large batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

import gpo_analysis as gpo
from gpo_analysis.losses import get_batch_loss
from gpo_analysis.losses.batch_losses import quantile_coupling


@pytest.mark.parametrize("name", ["aot", "aot_unpaired"])
def test_sorted_columns_meet(name: str) -> None:
    rng = np.random.default_rng(0)
    w, l, rw, rl = rng.normal(size=(4, 17))  # noqa: E741
    loss = get_batch_loss(name, gpo.get_loss("dpo").smoothed(0.2))
    a, b = (w - l, rw - rl) if name == "aot" else (w - rw, l - rl)
    gaps = [0.7 * (x - y) for x, y in zip(sorted(a), sorted(b), strict=True)]
    expected = [0.8 * np.log1p(np.exp(-z)) + 0.2 * np.log1p(np.exp(z)) for z in gaps]
    np.testing.assert_allclose(loss(w, l, rw, rl, 0.7), expected, rtol=1e-12)
    x = [torch.tensor(column, requires_grad=True) for column in (w, l)]
    tensors = loss(*x, torch.tensor(rw), torch.tensor(rl), 0.7)
    np.testing.assert_allclose(tensors.detach().numpy(), expected, rtol=1e-12)
    slope = torch.autograd.grad(tensors.mean(), x)[0].numpy()
    step = 1e-6
    numeric = [
        (loss(w + step * e, l, rw, rl, 0.7).mean() - loss(w - step * e, l, rw, rl, 0.7).mean()) / (2 * step)
        for e in np.eye(17)
    ]
    np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-9)


def test_the_coupling_is_the_optimal_transport() -> None:
    rng = np.random.default_rng(1)
    a, b, weight = rng.normal(size=9), rng.normal(size=9), rng.dirichlet(np.ones(9))
    gaps, share = quantile_coupling(a, b, weight)
    assert share.sum() == pytest.approx(1.0)
    assert share @ np.abs(gaps) == pytest.approx(wasserstein_distance(a, b, weight, weight), rel=1e-12)
    assert share @ gaps == pytest.approx(weight @ (a - b), rel=1e-12)


def test_large_batches_come_to_the_limit() -> None:
    rng = np.random.default_rng(2)
    a, b, weight = np.array([0.5, -1.0, 2.0]), np.array([0.3, 1.2, -0.4]), np.array([0.2, 0.5, 0.3])
    loss = get_batch_loss("aot_unpaired")
    limit = loss.limit(a, b, weight, 0.8)
    zeros = np.zeros(200_000)
    drawn = rng.choice(3, size=len(zeros), p=weight)
    assert loss(a[drawn], b[drawn], zeros, zeros, 0.8).mean() == pytest.approx(limit, abs=4e-3)
    # no mean over pairs: one pair alone has another value
    pairs = float(weight @ np.log1p(np.exp(-0.8 * (a - b))))
    assert abs(pairs - limit) > 0.05


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="accepted are 'aot'"):
        get_batch_loss("aotx")
    with pytest.raises(ValueError, match="one shape"):
        quantile_coupling([0.0], [0.0, 1.0], [1.0])
    with pytest.raises(ValueError, match="sum to 1"):
        quantile_coupling([0.0], [0.0], [0.5])
