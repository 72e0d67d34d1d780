"""GPOTrainer's KL against a sampler written here, whatever the generation config holds; means over pairs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from tests.integrations.stand_ins import OF_LIBRARIES  # noqa: E402
from tests.integrations.tiny_trl import PAIRS, gpo_trainer, llama, logp, make_trainer, pair_set  # noqa: E402

pytestmark = OF_LIBRARIES
LEAKING: list[dict[str, Any]] = [
    {"min_p": 0.3},
    {"typical_p": 0.4},
    {"top_k": 1},
    {"top_p": 0.2},
    {"temperature": 0.1},
    {"repetition_penalty": 5.0},
    {"no_repeat_ngram_size": 1},
    {"suppress_tokens": [2, 3]},
    {"begin_suppress_tokens": [1, 4]},
    {"bad_words_ids": [[5]]},
    {"sequence_bias": [[[4], 8.0]]},
    {"min_new_tokens": 3},
    {"min_length": 50},
    {"max_length": 5},
    {"forced_eos_token_id": 5},
    {"epsilon_cutoff": 0.3},
    {"eta_cutoff": 0.3},
    {"exponential_decay_length_penalty": (0, 9.0)},
    {"guidance_scale": 4.0},
    {"num_beams": 3},
    {"do_sample": False},
]


def next_logps(model: Any, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return log_softmax(model(input_ids=torch.tensor([ids])).logits[0, -1].double().numpy())


def sampled_kl(policy: Any, reference: Any, prompt: list[int], ends: set[int], most: int, count: int) -> np.ndarray:
    """KL along each of ``count`` responses that are drawn token by token from the policy's softmax."""
    rng, known = np.random.default_rng(0), {}
    found = np.zeros(count)
    for draw in range(count):
        answer: tuple[int, ...] = ()
        while len(answer) < most and not (answer and answer[-1] in ends):
            if answer not in known:
                known[answer] = tuple(next_logps(model, prompt + list(answer)) for model in (policy, reference))
            p, q = known[answer]
            found[draw] += float((np.exp(p) * (p - q)).sum())
            answer = (*answer, int(rng.choice(len(p), p=np.exp(p))))
    return found


def enumerated_kl(policy: Any, reference: Any, prompt: list[int], ends: set[int]) -> float:
    """KL of the distributions of responses of at most two tokens."""
    answers = [(t,) for t in ends] + [(t, u) for t, u in itertools.product(range(6), range(6)) if t not in ends]
    p, q = (np.array([float(logp(model, prompt, list(a))) for a in answers]) for model in (policy, reference))
    assert np.exp(p).sum() == pytest.approx(1, abs=1e-5)
    return float((np.exp(p) * (p - q)).sum())


def measuring(folder: Path, count: int = 1200, most: int = 2, **named: Any) -> Any:
    return make_trainer(
        gpo_trainer(), folder, eval_dataset=pair_set([PAIRS[0]] * count), kl_prompts=count, kl_max_new_tokens=most,
        settings={"per_device_eval_batch_size": 300}, **named,
    )  # fmt: skip


@pytest.mark.parametrize("ends", [[1], [1, 4], [1, 3, 4]])
def test_every_end_token_of_the_generation_config_ends_a_response(tmp_path: Path, ends: list[int]) -> None:
    model = llama(0)
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    trainer = measuring(tmp_path, model=model)
    prompt = trainer.eval_dataset[0]["prompt_ids"]
    policy, reference = trainer.model.eval(), trainer.ref_model.eval()
    kl, stderr, finished = trainer.measure_kl(trainer.eval_dataset)
    exact = enumerated_kl(policy, reference, prompt, set(ends))
    assert abs(kl - exact) < 4 * stderr
    drawn = sampled_kl(policy, reference, prompt, set(ends), 2, 1200)
    assert abs(kl - drawn.mean()) < 4 * np.hypot(stderr, drawn.std() / np.sqrt(1200))
    # the end tokens matter: with the tokenizer's alone another number would come out
    if len(ends) > 1:
        assert abs(enumerated_kl(policy, reference, prompt, {1}) - kl) > 4 * stderr
    p = np.exp(next_logps(policy, prompt))
    later = {t: np.exp(next_logps(policy, [*prompt, t]))[ends].sum() for t in range(6) if t not in ends}
    chance = p[ends].sum() + sum(p[t] * value for t, value in later.items())
    assert finished == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / 1200))


@pytest.mark.parametrize("setting", LEAKING, ids=lambda setting: next(iter(setting)))
def test_no_setting_of_the_generation_config_changes_the_kl(tmp_path: Path, setting: dict[str, Any]) -> None:
    trainer = measuring(tmp_path, count=300, most=4)
    plain = trainer.measure_kl(trainer.eval_dataset)
    for name, value in setting.items():
        setattr(trainer.model.generation_config, name, value)
    assert trainer.measure_kl(trainer.eval_dataset) == plain
    prompt = trainer.eval_dataset[0]["prompt_ids"]
    drawn = sampled_kl(trainer.model.eval(), trainer.ref_model.eval(), prompt, {1}, 4, 300)
    assert abs(plain[0] - drawn.mean()) < 4 * np.hypot(plain[1], drawn.std() / np.sqrt(300))


def test_prompts_of_all_lengths_are_measured_alike(tmp_path: Path) -> None:
    """Padding, the cache and rows that end early change nothing: one prompt a batch gives the same mean."""
    rows = pair_set([("a b c d a", "c", "d"), ("b", "a", "c"), ("d c", "b", "a")] * 200)
    trainer = make_trainer(
        gpo_trainer(), tmp_path, eval_dataset=rows, kl_prompts=600, kl_max_new_tokens=5,
        settings={"per_device_eval_batch_size": 600},
    )  # fmt: skip
    kl, stderr, _ = trainer.measure_kl(trainer.eval_dataset)
    policy, reference = trainer.model.eval(), trainer.ref_model.eval()
    each = [sampled_kl(policy, reference, trainer.eval_dataset[i]["prompt_ids"], {1}, 5, 400) for i in range(3)]
    own = np.mean([values.mean() for values in each])
    assert abs(kl - own) < 4 * np.hypot(stderr, np.sqrt(sum(v.var() / 400 for v in each)) / 3)


def test_a_measurement_changes_nothing_of_the_training(tmp_path: Path) -> None:
    ends = {}
    every = {"eval_strategy": "steps", "eval_steps": 1}
    for name, prompts, more in (("without", 0, {}), ("with", 5, {}), ("no dropout", 0, {"disable_dropout": True})):
        model = llama(0)
        for layer in model.model.layers:
            layer.self_attn.attention_dropout = 0.3
        trainer = make_trainer(
            gpo_trainer(), tmp_path / name, model=model, eval_dataset=pair_set(), kl_max_new_tokens=4,
            kl_prompts=prompts, settings={"disable_dropout": False, **every, **more},
        )  # fmt: skip
        if name == "no dropout":
            for layer in model.model.layers:
                layer.self_attn.attention_dropout = 0.0
        trainer.train()
        ends[name] = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    assert torch.equal(ends["without"], ends["with"])
    assert not torch.equal(ends["without"], ends["no dropout"])


def test_means_are_over_pairs_and_not_over_batches(tmp_path: Path) -> None:
    found = []
    for size in (5, 3):  # 5 pairs: one batch, or batches of 3 and 2
        trainer = make_trainer(
            gpo_trainer(),
            tmp_path,
            eval_dataset=pair_set(),
            kl_prompts=0,
            settings={"per_device_eval_batch_size": size},
        )
        found.append(trainer.evaluate())
    rho = np.array([row[0] - row[2] - (row[1] - row[3]) for row in trainer.pair_logps(list(trainer.eval_dataset))])
    for metrics in found:
        assert metrics["eval_mean_rho"] == pytest.approx(rho.mean(), rel=1e-5)
        assert metrics["eval_mu_squared_loss"] == pytest.approx(0.5 * (rho**2).mean(), rel=1e-5)
        assert metrics["eval_margins/saturated"] == pytest.approx((np.abs(0.3 * rho) > 1).mean())
        assert metrics["eval_rewards/margins"] == pytest.approx(0.3 * rho.mean(), rel=1e-5)
    assert abs(rho[:3].mean() / 2 + rho[3:].mean() / 2 - rho.mean()) > 1e-3, "batch means would show"


def test_a_step_s_mean_is_over_its_pairs_whatever_its_parts(tmp_path: Path) -> None:
    from trl import DPOTrainer  # type: ignore[attr-defined]

    ends = {}
    for kind in (gpo_trainer(), DPOTrainer):
        for size, parts in ((5, 1), (3, 2)):  # 5 pairs: at once, or parts of 3 and 2
            settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": parts, "optim": "sgd"}
            trainer = make_trainer(kind, tmp_path, settings=settings)
            trainer.train()
            ends[kind, size] = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
            if kind is not DPOTrainer:
                assert trainer.state.global_step == 3
    torch.testing.assert_close(ends[gpo_trainer(), 3], ends[gpo_trainer(), 5], rtol=0, atol=2e-6)
    torch.testing.assert_close(ends[DPOTrainer, 5], ends[gpo_trainer(), 5], rtol=0, atol=2e-6)
    assert float((ends[DPOTrainer, 3] - ends[gpo_trainer(), 5]).abs().max()) > 1e-4, "means of parts would show"


def test_a_response_is_the_same_in_any_batch(tmp_path: Path) -> None:
    rows = pair_set([("a b c d a", "c", "d"), ("b", "a", "c"), ("d c", "b", "a")] * 4)
    found = []
    for size in (12, 5, 1):
        trainer = make_trainer(
            gpo_trainer(), tmp_path, eval_dataset=rows, kl_prompts=12, kl_max_new_tokens=5,
            settings={"per_device_eval_batch_size": size},
        )  # fmt: skip
        found.append(trainer.measure_kl(trainer.eval_dataset))
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


def test_logits_that_are_no_numbers_have_no_kl(tmp_path: Path) -> None:
    trainer = measuring(tmp_path, count=6)
    with torch.no_grad():
        trainer.model.lm_head.weight[3] = torch.nan
    with pytest.raises(ValueError, match="6 of 6 responses have logits that are no numbers"):
        trainer.measure_kl(trainer.eval_dataset)
    with pytest.warns(UserWarning, match="the KL divergence was not measured"):
        assert "eval_kl" not in trainer.evaluate()


def test_each_evaluation_set_has_its_own_values(tmp_path: Path) -> None:
    sets = {"one": pair_set(PAIRS[:2]), "two": pair_set(PAIRS[2:])}
    trainer = make_trainer(gpo_trainer(), tmp_path, eval_dataset=sets, kl_max_new_tokens=3)
    metrics = trainer.evaluate()
    for name, rows in trainer.eval_dataset.items():
        alone = trainer.evaluate(rows)
        for what in ("kl", "kl_stderr", "kl_finished", "mean_rho", "mu_squared_loss", "rewards/margins"):
            assert metrics[f"eval_{name}_{what}"] == pytest.approx(alone[f"eval_{what}"], rel=1e-6), what
    assert metrics["eval_one_mean_rho"] != metrics["eval_two_mean_rho"]
    assert "eval_kl" not in metrics


def test_stale_references_are_used_only_where_they_are_asked_for(tmp_path: Path) -> None:
    fresh = make_trainer(gpo_trainer(), tmp_path)
    stale = pair_set().add_column("ref_chosen_logps", [-1.0] * 5).add_column("ref_rejected_logps", [-9.0] * 5)

    def loss(trainer: Any) -> float:
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(5)])
        return float(trainer.compute_loss(trainer.model, batch).detach())

    with pytest.warns(UserWarning, match="train set has ref_chosen_logps and ref_rejected_logps; they are not"):
        trainer = make_trainer(gpo_trainer(), tmp_path, train_dataset=stale)
    assert loss(trainer) == loss(fresh)
    asked = make_trainer(gpo_trainer(), tmp_path, train_dataset=stale, settings={"precompute_ref_log_probs": True})
    policy = np.array([row[:2] for row in fresh.pair_logps(list(fresh.train_dataset))])
    rho = policy[:, 0] - policy[:, 1] - 8.0
    assert loss(asked) == pytest.approx(np.log1p(np.exp(-0.3 * rho)).mean(), rel=1e-5)
    bad = stale.remove_columns("ref_chosen_logps").add_column("ref_chosen_logps", [-1.0, -1.0, 3.0, -1.0, -1.0])
    with pytest.raises(ValueError, match=r"ref_chosen_logps of row 2 of the train set is 3\.0"):
        make_trainer(gpo_trainer(), tmp_path, train_dataset=bad, settings={"precompute_ref_log_probs": True})


def test_a_stream_is_evaluated_and_trained_to_the_end(tmp_path: Path) -> None:
    trainer = make_trainer(
        gpo_trainer(), tmp_path, eval_dataset=pair_set().to_iterable_dataset(), kl_max_new_tokens=3,
        settings={"eval_strategy": "steps", "eval_steps": 2, "max_steps": 3},
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 3
    assert np.isfinite([row["eval_kl"] for row in trainer.state.log_history if "eval_kl" in row]).all()
    assert trainer.evaluate()["eval_kl"] > 0


def test_positions_are_kept_to(tmp_path: Path) -> None:
    """GPT-2 has no position beyond its limit: what is longer is refused, or left out of the KL with a warning."""
    from transformers import GPT2Config, GPT2LMHeadModel

    def gpt(seed: int) -> Any:
        torch.manual_seed(seed)
        return GPT2LMHeadModel(
            GPT2Config(vocab_size=6, n_embd=8, n_layer=1, n_head=2, n_positions=8, bos_token_id=1, eos_token_id=1)
        )

    long = ("a b c d a b", "c", "d d")  # with its end token 9 tokens
    with pytest.raises(ValueError, match="row 1 of the train set has 9 tokens, and the model has positions for 8"):
        make_trainer(gpo_trainer(), tmp_path, model=gpt(0), ref_model=gpt(1), train_dataset=pair_set([PAIRS[1], long]))
    full = ("a b c d a b c", "c", "d")
    settings = {"max_length": 8, "eval_strategy": "steps", "eval_steps": 1, "max_steps": 2}
    trainer = make_trainer(
        gpo_trainer(), tmp_path, model=gpt(0), ref_model=gpt(1), eval_dataset=pair_set([full, long, PAIRS[1]]),
        settings=settings, kl_max_new_tokens=50,
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 2
    rows = [{"prompt_ids": [2] * 8}, {"prompt_ids": [2] * 7}, {"prompt_ids": [3]}, {"prompt_ids": []}]
    from datasets import Dataset

    with pytest.warns(UserWarning, match="1 of 4 prompts that fill the model's 8 positions are left out"):
        kl, _, _ = trainer.measure_kl(Dataset.from_list(rows))
    assert np.isfinite(kl)
    with pytest.warns(UserWarning, match="1 of 4 prompts without a token are left out"):
        trainer.measure_kl(Dataset.from_list(rows))


def test_an_empty_prompt_is_refused_before_training(tmp_path: Path) -> None:
    for name in ("train_dataset", "eval_dataset"):
        with pytest.raises(ValueError, match=f"row 1 of the {name[:-8].rstrip('_')} set has a prompt without a token"):
            make_trainer(gpo_trainer(), tmp_path, **{name: pair_set([PAIRS[0], ("", "a", "b")])})


def test_a_vocabulary_that_was_resized_is_refused_or_has_no_kl(tmp_path: Path) -> None:
    def resized() -> Any:
        model = llama(0)
        model.resize_token_embeddings(8)
        return model

    with pytest.raises(ValueError, match="the policy has 8 output embeddings and the reference 6"):
        make_trainer(gpo_trainer(), tmp_path, model=resized(), kl_prompts=2)
    with pytest.warns(UserWarning, match="no KL is measured"):
        trainer = make_trainer(
            gpo_trainer(), tmp_path, model=resized(), eval_dataset=pair_set(),
            settings={"eval_strategy": "steps", "eval_steps": 1, "max_steps": 2},
        )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 2
    assert not any("eval_kl" in row for row in trainer.state.log_history)


def test_a_measurement_that_fails_does_not_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(
        gpo_trainer(), tmp_path, eval_dataset=pair_set(),
        settings={"eval_strategy": "steps", "eval_steps": 1, "max_steps": 2},
    )  # fmt: skip

    def out_of_memory(**_: Any) -> None:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(trainer, "reference_call", lambda policy: out_of_memory)
    with pytest.warns(UserWarning, match="was not measured: OutOfMemoryError: no memory left"):
        trainer.train()
    assert trainer.state.global_step == 2
