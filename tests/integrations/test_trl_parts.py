"""GPOTrainer's parts with a stand-in for the trainer: which sets are checked, and how many prompts are measured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from tests.integrations.tiny_trl import gpo_trainer  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def holder(**named: Any) -> Any:
    return SimpleNamespace(**named)


def test_the_sets_that_there_are_by_name() -> None:
    sets = gpo_trainer()._sets
    assert sets(holder(train_dataset="t", eval_dataset=None)) == [("train", "t")]
    assert sets(holder(train_dataset="t", eval_dataset="e")) == [("train", "t"), ("eval", "e")]
    several = holder(train_dataset="t", eval_dataset={"a": "x", "b": None, "c": "y"})
    assert sets(several) == [("train", "t"), ("a", "x"), ("c", "y")]


@pytest.mark.parametrize("asked", [1, 7, 100])
def test_as_many_prompts_are_measured_as_were_asked_for(asked: int) -> None:
    model = torch.nn.Linear(2, 2)
    model.get_output_embeddings = lambda: None
    model.config = holder()

    def prompts(count: int | None, reference: Any = model) -> int:
        one = holder(
            settings=holder(kl_prompts=count), ref_model=reference, model=model, _is_vision_dataset=False,
            eval_dataset=None, args=holder(), _limit=None,
        )  # fmt: skip
        return int(gpo_trainer()._kl_prompts(one))

    assert prompts(asked) == asked
    assert prompts(None) > 0
    assert prompts(0) == prompts(None, None) == prompts(0, None) == 0
    with pytest.raises(ValueError, match=f"kl_prompts={asked} needs the reference model"):
        prompts(asked, None)
