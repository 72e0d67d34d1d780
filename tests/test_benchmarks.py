"""The benchmark's two sides compute the same thing."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # of TRL and transformers about their own options
]


def test_trl_a_trainer_of_ours_and_a_stack_have_the_same_losses() -> None:
    """AdamW at a rate that moves the losses, so that another step, batch or reference would show."""
    from benchmarks import llm_sweep

    size = llm_sweep.Size(16, 1, 2, 30, 4, 6, 5)
    theirs = llm_sweep.run_trl(size, 1, 5, "cpu")
    gpo = llm_sweep.run_gpo(size, 1, 5, "cpu")
    ours = llm_sweep.run_stack(size, 2, 5, "cpu")
    assert ours["mean_loss"] == pytest.approx(theirs["mean_loss"], rel=1e-5)
    assert gpo["mean_loss"] == pytest.approx(theirs["mean_loss"], rel=1e-5)
    assert abs(ours["mean_loss"] - 0.693147) > 1e-5  # it has moved
    assert ours["seconds"] > 0
    assert ours["peak"] > 0
    parts = llm_sweep.run_phases(size, 2, 3, "cpu")
    assert min(parts.values()) > 0
