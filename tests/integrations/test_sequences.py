"""The exact KL along a response against scipy and against what padding must not change."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

torch = pytest.importorskip("torch")


def test_next_token_kl_agrees_with_scipy() -> None:
    from gpo_analysis.integrations.sequences import next_token_kl

    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(2, 3, 4, 50)) * 3
    expected = rel_entr(softmax(p, -1), softmax(q, -1)).sum(-1)
    np.testing.assert_allclose(next_token_kl(torch.tensor(p), torch.tensor(q)).numpy(), expected, rtol=1e-12)
    single = next_token_kl(torch.tensor(p, dtype=torch.bfloat16), torch.tensor(q, dtype=torch.bfloat16))
    assert single.dtype == torch.float32


def test_excluded_tokens() -> None:
    from gpo_analysis.integrations.sequences import next_token_kl

    never = torch.tensor([0.0, 0.0, -torch.inf])
    assert float(next_token_kl(never, never)) == 0.0
    assert float(next_token_kl(never, torch.zeros(3))) == pytest.approx(np.log(1.5))
    assert float(next_token_kl(torch.zeros(3), never)) == np.inf
    with pytest.raises(ValueError, match="one vocabulary"):
        next_token_kl(torch.zeros(3), torch.zeros(4))


class _Table(torch.nn.Module):
    """A bigram model: the logits depend on the last token."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.table = torch.randn(7, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def forward(self, input_ids: Any, **_: Any) -> Any:
        return SimpleNamespace(logits=self.table[input_ids])


def test_sequence_kl_sums_over_the_response_and_nothing_else() -> None:
    from gpo_analysis.integrations.sequences import compare_along, sequence_kl

    policy, reference = _Table(0), _Table(1)
    ids = torch.tensor([[0, 0, 3, 4, 5, 1], [2, 3, 4, 1, 0, 0]])
    mask = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]])
    p, q = (softmax(model.table.numpy(), -1) for model in (policy, reference))
    each = rel_entr(p, q).sum(-1)
    expected = [each[3] + each[4] + each[5], each[3] + each[4]]
    for chunk in (1, 2, 100):
        found = sequence_kl(policy, reference, ids, torch.ones_like(ids), mask, chunk=chunk)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    along = compare_along(policy, reference, ids, torch.ones_like(ids), mask)
    logp = np.log(p)
    np.testing.assert_allclose(
        along.policy_logps.numpy(), [logp[3, 4] + logp[4, 5] + logp[5, 1], logp[3, 4] + logp[4, 1]], rtol=1e-12
    )
    nothing = sequence_kl(policy, reference, ids, torch.ones_like(ids), torch.zeros_like(mask))
    assert nothing.tolist() == [0.0, 0.0]
