"""Means over pairs and shares of them, against means of all pairs at once."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gpo_analysis.integrations.pair_means import PairMeans, pair_metrics  # noqa: E402
from gpo_analysis.integrations.pair_shares import is_real, of_both_sides, with_shares  # noqa: E402

SIZES = (5, 1, 3)


def test_means_are_those_of_all_pairs_whatever_the_batches() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(3, size)) * 2 for size in SIZES]
    metric = [rng.normal(size=size) for size in SIZES]
    means = PairMeans()
    for rho, margin, loss in batches:
        means.add(*(torch.tensor(part) for part in (rho, margin, loss)))
    rho, margin, loss = np.concatenate(batches, axis=1)
    found = means.means({"theirs": [part.mean() for part in metric], "once": [3.0]})
    assert means.count == 9
    assert means.loss == pytest.approx(loss.sum())
    assert found == pytest.approx(
        {
            "theirs": np.concatenate(metric).mean(), "once": 3.0, "mu_squared_loss": np.mean(rho**2) / 2,
            "mean_rho": rho.mean(), "margins/saturated": np.mean(np.abs(margin) > 1),
        }
    )  # fmt: skip
    assert 0 < found["margins/saturated"] < 1
    means.clear()
    assert means.count == 0
    assert means.means({"theirs": [1.0, 2.0, 6.0]}) == {"theirs": 3.0}


def test_metrics_have_trls_names_and_the_means_of_columns() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(6, 4))
    rows[0, :2] = 0.5  # a tie counts against the chosen one, as TRL counts it
    chosen, rejected, of_chosen, of_rejected = rows.T
    assert pair_metrics(torch.tensor(rows), 0.3) == pytest.approx(
        {
            "rewards/chosen": 0.3 * chosen.mean(), "rewards/rejected": 0.3 * rejected.mean(),
            "rewards/accuracies": np.mean(chosen > rejected), "rewards/margins": 0.3 * np.mean(chosen - rejected),
            "logps/chosen": of_chosen.mean(), "logps/rejected": of_rejected.mean(),
        }
    )  # fmt: skip


def _accelerator(total: float | None = None, **state: Any) -> Any:
    state = {"in_dataloader": False, "end_of_dataloader": False, "remainder": -1, "active_dataloader": None} | state
    return SimpleNamespace(
        num_processes=1, process_index=0, device="cpu", gradient_state=SimpleNamespace(**state),
        gather=lambda own: own if total is None else torch.tensor([total]),
    )  # fmt: skip


@pytest.mark.parametrize("length", [7, None])
def test_one_process_has_no_pairs_that_fill_up(length: int | None) -> None:
    """Three pairs are left of seven in batches of four; only several processes are given pairs twice."""
    loader = SimpleNamespace() if length is None else SimpleNamespace(total_dataset_length=length)
    last = {"in_dataloader": True, "end_of_dataloader": True, "remainder": 1, "active_dataloader": loader}
    assert is_real(torch.zeros(6, 2), _accelerator(**last)).tolist() == [True] * 3


@pytest.mark.parametrize("processes", [1, 2])
def test_shares_make_the_mean_over_parts_and_processes_that_over_pairs(processes: int) -> None:
    rng = np.random.default_rng(2)
    losses = [[rng.normal(size=size) for size in SIZES] for _ in range(processes)]
    total = float(processes * sum(SIZES))
    averaged = 0.0
    for index, own in enumerate(losses):
        accelerator = _accelerator(total)
        accelerator.num_processes, accelerator.process_index = processes, index
        batches = [{"input_ids": torch.zeros(2 * size, 4)} for size in SIZES]
        parts = with_shares(batches, accelerator)
        for batch, loss in zip(parts, own, strict=True):
            assert batch["pair_share"].dtype == torch.float32
            averaged += float((batch["pair_share"].numpy() * loss).sum()) / (len(SIZES) * processes)
    assert averaged == pytest.approx(np.mean(np.concatenate([np.concatenate(own) for own in losses])), rel=1e-6)


def test_batches_without_tokens_are_left_alone_and_both_sides_are_alike() -> None:
    other = [{"pixel_values": 1}]
    assert with_shares(other, _accelerator()) is other
    assert "pair_share" not in other[0]
    assert with_shares([], _accelerator()) == []
    assert of_both_sides(torch.tensor([True, False])).tolist() == [True, False, True, False]


def test_every_field_of_the_configuration_has_help() -> None:
    pytest.importorskip("trl")
    from gpo_analysis.integrations.trl_config import GPOConfig

    own = set(GPOConfig.__annotations__)
    assert len(own) == 8
    for field in fields(GPOConfig):
        if field.name in own:
            assert len(str(field.metadata["help"]).split()) >= 5, field.name


def test_random_pairs_reach_as_far_over_sums_as_over_means() -> None:
    pytest.importorskip("trl")
    from gpo_analysis.integrations.guard_pairs import random_pairs

    pairs = random_pairs(0.3, count=4000, seed=1)
    for ratios, lengths in ((pairs.chosen, pairs.chosen_length), (pairs.rejected, pairs.rejected_length)):
        assert lengths is not None
        assert set(np.unique(lengths)) == set(range(1, 20))
        sums, means = 0.3 * ratios[::2], 0.3 * ratios[1::2] / lengths[1::2]
        for part in (sums, means):
            assert part.std() == pytest.approx(1.5, rel=0.1)
            assert abs(part.mean()) < 0.2
