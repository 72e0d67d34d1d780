"""GPOConfig, soft labels, links, prepared sets, the log of pairs, and TRL's own script with all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

import gpo_analysis as gpo  # noqa: E402
from tests.integrations.stand_ins import OF_LIBRARIES  # noqa: E402
from tests.integrations.tiny_trl import PAIRS, gpo_trainer, llama, logp, make_trainer, pair_set, tokenizer  # noqa: E402

pytestmark = OF_LIBRARIES


def config() -> Any:
    gpo_trainer()
    from gpo_analysis.integrations.trl import GPOConfig

    return GPOConfig


def ratios(trainer: Any) -> np.ndarray:
    """(n, 2) log π/πref of the training pairs, from the models themselves."""
    rows = []
    for row in trainer.train_dataset:
        sides = [
            logp(trainer.model, row["prompt_ids"], row[side]) - logp(trainer.ref_model, row["prompt_ids"], row[side])
            for side in ("chosen_ids", "rejected_ids")
        ]
        rows.append([float(value) for value in sides])
    return np.array(rows)


def batch_loss(trainer: Any) -> float:
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(trainer.train_dataset))])
    return float(trainer.compute_loss(trainer.model, batch).detach())


def test_soft_labels_weigh_both_directions(tmp_path: Path) -> None:
    p = [1.0, 0.75, 0.5, 0.0, 0.9]
    trainer = make_trainer(gpo_trainer(), tmp_path, train_dataset=pair_set().add_column("p", p), loss="exponential")
    s = ratios(trainer)
    z = 0.3 * (s[:, 0] - s[:, 1])
    expected = np.mean(np.array(p) * np.exp(-z) + (1 - np.array(p)) * np.exp(z))
    assert batch_loss(trainer) == pytest.approx(expected, rel=1e-5)
    trainer.train()
    assert trainer.state.global_step == 3


@pytest.mark.parametrize("value", [1.2, -0.1, float("nan")])
def test_a_soft_label_that_is_no_probability_is_refused(tmp_path: Path, value: float) -> None:
    rows = pair_set().add_column("p", [1.0, 1.0, value, 1.0, 1.0])
    with pytest.raises(ValueError, match="p of row 2 of the train set is"):
        make_trainer(gpo_trainer(), tmp_path, train_dataset=rows)


@pytest.mark.parametrize("link", ["reverse_kl", "forward_kl", "jensen_shannon", "alpha", "chi_po"])
def test_a_link_takes_the_place_of_the_logarithm(tmp_path: Path, link: str) -> None:
    trainer = make_trainer(gpo_trainer(), tmp_path, config=config(), settings={"link": link, "loss": "squared"})
    derivative = gpo.get_link(link).of_log(ratios(trainer))
    expected = np.mean((0.3 * (derivative[:, 0] - derivative[:, 1]) - 1) ** 2)
    assert batch_loss(trainer) == pytest.approx(expected, rel=1e-4)


def test_the_loss_may_stand_in_the_config(tmp_path: Path) -> None:
    settings = {"loss": "log(cosh(1-z))", "reduction": "mean"}
    trainer = make_trainer(gpo_trainer(), tmp_path, config=config(), settings=settings)
    s = ratios(trainer) / np.array([[len(r["chosen_ids"]), len(r["rejected_ids"])] for r in trainer.train_dataset])
    assert batch_loss(trainer) == pytest.approx(np.log(np.cosh(1 - 0.3 * (s[:, 0] - s[:, 1]))).mean(), rel=1e-5)
    with pytest.raises(ValueError, match=r"loss is 'hinge' and 'log\(cosh\(1-z\)\)' in args"):
        make_trainer(gpo_trainer(), tmp_path, config=config(), settings=settings, loss="hinge")
    for bad, words in (
        ({"loss": "dppo"}, "dppo"),
        ({"link": "kl"}, "link 'kl'; accepted are reverse_kl"),
        ({"reduction": "max"}, "reduction 'max'"),
        ({"loss_type": ["ipo"]}, "name the loss by loss="),
        ({"pair_log_pairs": 0}, "pair_log_pairs 0"),
    ):
        with pytest.raises(ValueError, match=words):
            config()(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], **bad)


def test_a_prepared_set_is_taken_as_it_is(tmp_path: Path) -> None:
    from datasets import Dataset

    rows = [{"prompt_ids": [2, 3], "chosen_ids": [4, 1], "rejected_ids": [5, 5, 1], "p": 0.8}] * 3
    trainer = make_trainer(gpo_trainer(), tmp_path, train_dataset=Dataset.from_list(rows))
    assert list(trainer.train_dataset) == rows
    trainer.train()
    with pytest.raises(ValueError, match="row 1 of the train set has a rejected response without a token"):
        make_trainer(
            gpo_trainer(), tmp_path, train_dataset=Dataset.from_list([rows[0], {**rows[0], "rejected_ids": []}])
        )


def test_the_log_is_what_the_models_say_and_diagnose_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / "log.jsonl"
    settings = {"pair_log": str(path), "pair_log_steps": 2, "per_device_eval_batch_size": 2, "loss": "squared"}
    trainer = make_trainer(gpo_trainer(), tmp_path, config=config(), settings=settings)
    reference = ratios(trainer)
    trainer.train()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [0] * 5 + [2] * 5 + [3] * 5
    names = {"step", "policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected", "chosen_length"}
    assert set(rows[0]) == {*names, "rejected_length", "loss"}

    def of(step: int) -> np.ndarray:
        kept = [row for row in rows if row["step"] == step]
        return np.array([[r[f"policy_{s}"] - r[f"reference_{s}"] for s in ("chosen", "rejected")] for r in kept])

    np.testing.assert_allclose(of(0), reference, atol=1e-5)
    np.testing.assert_allclose(of(3), ratios(trainer), atol=1e-5)
    z = -0.3 * np.diff(np.concatenate([of(step) for step in (0, 2, 3)]))[:, 0]
    np.testing.assert_allclose([row["loss"] for row in rows], (1 - z) ** 2, rtol=1e-12)
    assert np.abs(of(3) - of(0)).max() > 0.1
    assert [row["rejected_length"] for row in rows[:5]] == [len(r["rejected_ids"]) for r in trainer.train_dataset]
    found = gpo.advice.diagnose(path, "squared", 0.3)
    assert (found.pairs, found.step, len(found.steps)) == (5, 3.0, 3)
    assert found.mu_squared_loss.value == pytest.approx(0.5 * np.mean(np.diff(of(3)) ** 2), rel=1e-5)
    assert found.report is not None
    assert not found.report.not_used


def test_the_log_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    def run(folder: Path, **named: Any) -> list[str]:
        settings = {
            "pair_log": str(folder / "log.jsonl"), "pair_log_steps": 1, "save_strategy": "steps", "save_steps": 1,
            "pair_log_pairs": 3, **named.pop("settings", {}),
        }  # fmt: skip
        trainer = make_trainer(gpo_trainer(), folder, config=config(), settings=settings)
        trainer.train(**named)
        return (folder / "log.jsonl").read_text().splitlines()

    whole = run(tmp_path / "whole")
    assert len(whole) == 4 * 3
    folder = tmp_path / "broken"
    assert run(folder) == whole
    kept = "\n".join([*whole[:10], whole[10][:20]])  # killed in the middle of the record of step 3
    (folder / "log.jsonl").write_text(kept)
    assert run(folder, resume_from_checkpoint=str(folder / "checkpoint-2")) == whole


def test_trl_s_own_script_takes_the_loss(tmp_path: Path) -> None:
    gpo_trainer()
    from gpo_analysis.integrations import trl_script

    llama(0).save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "data").mkdir()
    rows = [{"prompt": p, "chosen": " " + c, "rejected": " " + r, "p": 0.9} for p, c, r in PAIRS]
    (tmp_path / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trl_script.main(
        [
            *("--model_name_or_path", str(tmp_path / "model"), "--dataset_name", str(tmp_path / "data")),
            *("--output_dir", str(tmp_path / "out"), "--loss", "-log(sigmoid(z))", "--link", "chi_po", "--beta", "0.2"),
            *("--max_steps", "2", "--use_cpu", "--bf16", "False", "--report_to", "none", "--dtype", "float32"),
            *("--pair_log", str(tmp_path / "log.jsonl"), "--gradient_checkpointing", "False"),
        ]
    )
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 10
    with pytest.raises((ValueError, SystemExit)):
        trl_script.main(["--output_dir", str(tmp_path / "out"), "--loss", "dppo", "--use_cpu", "--bf16", "False"])


def test_a_launch_that_would_shard_and_does_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from gpo_analysis.integrations.pair_shares import refuse_unsharded

    def trainer(processes: int, enabled: bool) -> SimpleNamespace:
        accelerator = SimpleNamespace(num_processes=processes, device="cpu")
        return SimpleNamespace(accelerator=accelerator, is_fsdp_enabled=enabled)

    refuse_unsharded(trainer(2, enabled=False))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    for processes, enabled in ((1, False), (2, True)):
        refuse_unsharded(trainer(processes, enabled=enabled))
    with pytest.raises(ValueError, match="FSDP was asked for, and accelerate does not shard on cpu"):
        refuse_unsharded(trainer(2, enabled=False))


@pytest.mark.parametrize(
    ("length", "remainder", "left"),
    [(18, 2, 2), (18, 0, 2), (16, 0, 4), (17, 1, 1), (19, 1, 3), (None, 3, 3), (None, -1, 4)],
)
def test_pairs_that_fill_up_the_last_batch_are_none(length: int | None, remainder: int, left: int) -> None:
    """Two processes of two pairs each; (18, 0) is what accelerate says after it has skipped batches."""
    from types import SimpleNamespace

    from gpo_analysis.integrations.pair_shares import is_real

    loader = SimpleNamespace() if length is None else SimpleNamespace(total_dataset_length=length)
    rows = torch.zeros(4, 7)  # chosen and rejected
    for last in (True, False):
        state = SimpleNamespace(
            in_dataloader=True, end_of_dataloader=last, remainder=remainder, active_dataloader=loader
        )
        ranks = [SimpleNamespace(num_processes=2, process_index=i, gradient_state=state) for i in range(2)]
        real = torch.cat([is_real(rows, rank) for rank in ranks])
        assert real.tolist() == [i < (left if last else 4) for i in range(4)]
