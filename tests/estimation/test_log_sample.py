"""An audit of very many losses fits a part of them, and answers as it would of all."""

from __future__ import annotations

import numpy as np
import pytest

from gpo_analysis.estimation import audit_log
from gpo_analysis.estimation.log_sample import MOST, MOST_ROWS, sample_of
from gpo_analysis.estimation.loss_log import loss_log

RNG = np.random.default_rng(12)


def test_the_answer_is_that_of_the_loss_that_made_it_and_says_how_many_were_fitted() -> None:
    rho = RNG.normal(0.5, 3.0, 30_000)
    z = 0.4 * rho
    loss = 0.9 * np.logaddexp(0, -z) + 0.1 * np.logaddexp(0, z)
    found = audit_log({"margin": rho, "loss": np.round(loss, 5)})
    assert (found.loss, found.smoothing) == ("logistic", "smoothed")
    assert [found.beta, found.label_smoothing] == pytest.approx([0.4, 0.1], rel=1e-3)
    assert found.sampled == (MOST, 30_000)
    assert found.to_dict()["sampled"] == {"fitted": MOST, "of": 30_000}
    assert "fitted to 4,000 of 30,000 losses" in str(found)


@pytest.mark.parametrize("beyond", [0, 3])
def test_a_few_rows_that_tell_two_losses_apart_are_not_lost(beyond: int) -> None:
    """Squared and truncated quadratic are equal below 1: three of 30,000 margins beyond it decide."""
    z = RNG.uniform(-2, 0.9, 30_000)
    z[:beyond] = 1.5
    found = audit_log({"margin": z, "loss": np.round(np.maximum(0, 1 - z) ** 2, 5)})
    if beyond:
        assert found.loss == "truncated_quadratic"
    else:
        assert set(found.losses) == {"squared", "truncated_quadratic"}
        assert found.undecided is not None


def test_a_part_is_of_whole_groups_with_all_that_belongs_to_them() -> None:
    """Each loss of the part stands beside the rows whose mean it was."""
    groups, batch = 6000, 8
    h = RNG.normal(0, 1, (2, groups * batch))
    lengths = RNG.integers(5, 30, (2, groups * batch)).astype(float)
    step = np.repeat(np.arange(groups), batch)
    loss = np.repeat(np.exp(-(h[0] - h[1])).reshape(groups, batch).mean(axis=1), batch)
    order = RNG.permutation(groups * batch)
    columns = {
        "policy_chosen": -60 + h[0], "policy_rejected": -60 + h[1], "reference_chosen": np.full(h[0].size, -60.0),
        "reference_rejected": np.full(h[0].size, -60.0), "chosen_length": lengths[0], "rejected_length": lengths[1],
        "step": step, "loss": loss,
    }  # fmt: skip
    log = loss_log({name: values[order] for name, values in columns.items()})
    few = sample_of(log)
    assert len(few.loss) == MOST_ROWS // batch
    assert np.array_equal(np.bincount(few.group), np.full(len(few.loss), batch))
    again = np.bincount(few.group, np.exp(-few.pairs.rho("sums"))) / batch
    assert again == pytest.approx(few.loss, rel=1e-9)
    assert few.apart is not None
    assert np.array_equal(few.apart.chosen, few.pairs.chosen)
    for one in (few.noise, few.apart.policy, few.pairs.chosen_length):
        assert one is not None
        assert len(one) == len(few.group)
    ends = [np.sort(np.bincount(part.group, part.pairs.rho("sums")))[[0, -1]] for part in (few, log)]
    assert ends[0] == pytest.approx(ends[1])
    assert np.array_equal(sample_of(log).loss, few.loss), "the same ones every time"


def test_a_small_log_is_all_of_it() -> None:
    log = loss_log({"margin": np.linspace(-1, 1, MOST), "loss": np.linspace(2, 1, MOST)})
    assert sample_of(log) is log
    assert (
        audit_log(loss_log({"margin": np.linspace(-3, 3, 90), "loss": np.exp(-np.linspace(-3, 3, 90))})).sampled is None
    )
