"""The benchmark's two sides compute the same thing."""

from __future__ import annotations

import pytest

from benchmarks.framework import Size

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


def test_both_sides_of_a_sweep_have_the_losses_of_a_loop_in_float64(monkeypatch) -> None:
    pytest.importorskip("trl")
    from benchmarks import llm, llm_sweep

    monkeypatch.setitem(llm_sweep.SIZES, "tiny", llm_sweep.Size(16, 1, 2, 30, 4, 6, 5))
    monkeypatch.setattr(llm, "STEPS", 4)
    monkeypatch.setattr(llm_sweep, "RATE", 1e-2)  # so that the losses of later steps are other ones
    first = None
    for side in (llm.ours, llm.by_trl):
        work = side(Size((2,)))
        twice = [work.do(), work.do()]
        assert twice[0] == pytest.approx(twice[1], rel=1e-6)  # each from the base model
        assert work.judge(twice[1])["error"] < 1e-5
        first = twice[0] if first is None else first
    assert first < 0.69
