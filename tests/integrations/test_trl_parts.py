"""GPOTrainer's parts with a stand-in for the trainer: which sets are checked, and how many prompts are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from gpo_analysis.integrations.pair_shares import SHARE  # noqa: E402
from gpo_analysis.integrations.preference_sets import LABEL  # noqa: E402
from gpo_analysis.losses import get_batch_loss  # noqa: E402
from tests.integrations.stand_ins import OF_LIBRARIES, holder  # noqa: E402
from tests.integrations.tiny_trl import gpo_trainer, llama, make_trainer  # noqa: E402

pytestmark = OF_LIBRARIES


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


def batch_of(trainer: Any, *rows: int) -> dict[str, Any]:
    return dict(trainer.data_collator([trainer.train_dataset[i] for i in rows]))


def test_pairs_without_a_share_of_the_step_do_not_count(tmp_path: Path) -> None:
    trainer = make_trainer(gpo_trainer(), tmp_path, loss="squared")
    each = [float(trainer.compute_loss(trainer.model, batch_of(trainer, k))) for k in range(5)]
    shares = torch.tensor([0.5, 0.0, 0.25, 0.0, 0.125])
    loss = float(trainer.compute_loss(trainer.model, batch_of(trainer, *range(5)) | {SHARE: shares}))
    assert loss == pytest.approx(0.5 * each[0] + 0.25 * each[2] + 0.125 * each[4], rel=1e-5)


def test_a_sorted_batch_takes_no_soft_label(tmp_path: Path) -> None:
    trainer = make_trainer(gpo_trainer(), tmp_path, loss=get_batch_loss("aot"))
    batch = batch_of(trainer, 0, 1, 2)
    plain = float(trainer.compute_loss(trainer.model, dict(batch)))
    assert float(trainer.compute_loss(trainer.model, batch | {LABEL: torch.ones(3)})) == pytest.approx(plain)
    for labels in ([0.8, 0.8, 0.8], [1.0, 0.8, 1.0], [0.0, 0.0, 0.0]):
        with pytest.raises(ValueError, match="soft labels p with aot, which sorts the batch; accepted is p = 1"):
            trainer.compute_loss(trainer.model, batch | {LABEL: torch.tensor(labels)})


def test_a_model_given_by_its_place_is_loaded(tmp_path: Path) -> None:
    llama(0).save_pretrained(tmp_path / "model")
    trainer = make_trainer(gpo_trainer(), tmp_path, model=str(tmp_path / "model"))
    there = make_trainer(gpo_trainer(), tmp_path)
    loss, expected = (float(one.compute_loss(one.model, batch_of(one, 0, 1))) for one in (trainer, there))
    assert loss == pytest.approx(expected, rel=1e-5)


def test_learned_positions_are_a_limit_known_before_or_after_loading(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=6, n_positions=64, n_embd=16, n_layer=1, n_head=2, pad_token_id=0, eos_token_id=1, bos_token_id=1
    )
    learned = GPT2LMHeadModel(config)
    learned.save_pretrained(tmp_path / "model")
    for model, limit in ((learned, 64), (str(tmp_path / "model"), 64), (llama(0), None)):
        assert make_trainer(gpo_trainer(), tmp_path, model=model)._limit == limit


def test_a_verdict_is_words_and_has_no_chart() -> None:
    from gpo_analysis.integrations.guard import Verdict

    with pytest.raises(ValueError, match=r"^Verdict has no plot: it is a verdict in words$"):
        Verdict("trl", "sigmoid", "1", True, "").plot()
