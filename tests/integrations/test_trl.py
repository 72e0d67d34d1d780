"""GPOTrainer against TRL's own losses, in value and gradient, and its KL against enumeration."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from tests.integrations.stand_ins import OF_LIBRARIES  # noqa: E402
from tests.integrations.tiny_trl import PAIRS, gpo_trainer, llama, logp, make_trainer, pair_set  # noqa: E402

pytestmark = OF_LIBRARIES


def _loss_and_gradient(trainer: Any) -> tuple[float, np.ndarray]:
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(PAIRS))])
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
    return float(loss.detach()), gradient.double().numpy()


CONTRACT = [
    # theirs, ours, reduction, β ours / β theirs, loss theirs / loss ours at β theirs
    ("sigmoid", "logistic", "sum", 1.0, lambda beta: 1.0),
    ("hinge", "hinge", "sum", 1.0, lambda beta: 1.0),
    ("ipo", "squared", "mean", 2.0, lambda beta: 1.0 / (4.0 * beta**2)),
    ("sigmoid_norm", "logistic", "mean", 1.0, lambda beta: 1.0),
]


@pytest.mark.parametrize(("theirs", "ours", "reduction", "ratio", "factor"), CONTRACT, ids=lambda v: str(v)[:12])
@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_trl_s_own_losses_are_reproduced(
    tmp_path: Path, theirs: str, ours: str, reduction: str, ratio: float, factor: Any, beta: float
) -> None:
    from trl import DPOTrainer

    expected, expected_gradient = _loss_and_gradient(
        make_trainer(DPOTrainer, tmp_path, settings={"loss_type": [theirs], "beta": beta})
    )
    found, gradient = _loss_and_gradient(
        make_trainer(gpo_trainer(), tmp_path, settings={"beta": ratio * beta}, loss=ours, reduction=reduction)
    )
    assert np.abs(expected_gradient).max() > 1e-4
    assert factor(beta) * found == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(
        factor(beta) * gradient, expected_gradient, rtol=1e-4, atol=1e-6 * np.abs(expected_gradient).max()
    )


def test_the_dictionary_names_the_same_beta_for_trl_s_ipo() -> None:
    import gpo_analysis as gpo

    converted = gpo.convert_beta(0.1, "trl:ipo", "gpo:ipo")
    assert converted.value == pytest.approx(0.2)
    assert converted.loss_scale == pytest.approx(1 / (4 * 0.1**2))


def test_any_loss_is_what_is_trained(tmp_path: Path) -> None:
    import gpo_analysis as gpo

    loss = gpo.parse_loss("log(cosh(1-z))", name="mine")
    trainer = make_trainer(gpo_trainer(), tmp_path, loss=loss)
    found, gradient = _loss_and_gradient(trainer)
    rho, derivatives = [], []
    for row in trainer.train_dataset:
        ratio = [
            logp(trainer.model, row["prompt_ids"], row[side]) - logp(trainer.ref_model, row["prompt_ids"], row[side])
            for side in ("chosen_ids", "rejected_ids")
        ]
        rho.append(float(ratio[0] - ratio[1]))
    z = 0.3 * np.array(rho)
    assert found == pytest.approx(np.log(np.cosh(1 - z)).mean(), rel=1e-5)
    # directional derivative by finite differences, in the head's weights
    head = trainer.model.lm_head.weight
    direction = torch.randn(head.shape, generator=torch.Generator().manual_seed(0))
    for step in (1e-2, -1e-2):
        with torch.no_grad():
            head.add_(step * direction)
        derivatives.append(_loss_and_gradient(trainer)[0])
        with torch.no_grad():
            head.sub_(step * direction)
    _, gradient = _loss_and_gradient(trainer)
    slope = float(head.grad.flatten() @ direction.flatten())
    assert np.isfinite(gradient).all()
    assert (derivatives[0] - derivatives[1]) / 2e-2 == pytest.approx(slope, rel=0.02)


def test_training_keeps_trl_s_metrics_and_adds_ours(tmp_path: Path) -> None:
    trainer = make_trainer(
        gpo_trainer(), tmp_path, loss="squared", eval_dataset=pair_set(), kl_prompts=3, kl_max_new_tokens=4,
        settings={"max_steps": 8},
    )  # fmt: skip
    trainer.train()
    first = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert {"rewards/margins", "rewards/accuracies", "logps/chosen", "entropy"} <= set(first)
    assert first["mean_rho"] == pytest.approx(first["rewards/margins"] / 0.3, rel=1e-4, abs=1e-5)
    metrics = trainer.evaluate()
    assert metrics["eval_mean_rho"] > 1.0, "squared pushes ρ towards 1/β"
    assert metrics["eval_mu_squared_loss"] >= 0.5 * metrics["eval_mean_rho"] ** 2
    assert metrics["eval_kl"] > 0
    assert np.isfinite(metrics["eval_kl_stderr"])
    assert 0 <= metrics["eval_kl_finished"] <= 1
    again = trainer.evaluate(pair_set(PAIRS[:2]))
    assert again["eval_mean_rho"] != metrics["eval_mean_rho"]


def test_at_the_reference_everything_is_zero(tmp_path: Path) -> None:
    trainer = make_trainer(gpo_trainer(), tmp_path, model=llama(1), eval_dataset=pair_set(), kl_max_new_tokens=3)
    metrics = trainer.evaluate()
    assert metrics["eval_mu_squared_loss"] == pytest.approx(0, abs=1e-9)
    assert metrics["eval_kl"] == pytest.approx(0, abs=1e-6)
    assert metrics["eval_loss"] == pytest.approx(np.log(2), rel=1e-6)


def test_precomputed_references_give_the_same_loss(tmp_path: Path) -> None:
    plain = make_trainer(gpo_trainer(), tmp_path, loss="savage")
    cached = make_trainer(gpo_trainer(), tmp_path, loss="savage", settings={"precompute_ref_log_probs": True})
    assert {"ref_chosen_logps", "ref_rejected_logps"} <= set(cached.train_dataset.column_names)
    expected, gradient = _loss_and_gradient(plain)
    found, cached_gradient = _loss_and_gradient(cached)
    assert found == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(cached_gradient, gradient, rtol=1e-4, atol=1e-7)


def test_without_a_reference_in_memory_no_kl_is_measured(tmp_path: Path) -> None:
    settings = {"precompute_ref_log_probs": True}
    trainer = make_trainer(gpo_trainer(), tmp_path, ref_model=None, settings=settings, eval_dataset=pair_set())
    assert trainer.kl_prompts == 0
    assert "eval_kl" not in trainer.evaluate()
    with pytest.raises(ValueError, match=r"kl_prompts=4 needs the reference"):
        make_trainer(gpo_trainer(), tmp_path, ref_model=None, settings=settings, kl_prompts=4)


def test_an_adapter_is_trained_against_the_model_without_it(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    adapter = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = make_trainer(
        gpo_trainer(), tmp_path, ref_model=None, peft_config=adapter, eval_dataset=pair_set(), loss="exponential",
        kl_max_new_tokens=4, settings={"max_steps": 5},
    )  # fmt: skip
    before = trainer.evaluate()
    assert before["eval_kl"] == pytest.approx(0, abs=1e-6)
    assert before["eval_mu_squared_loss"] == pytest.approx(0, abs=1e-8)
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_kl"] > 1e-4
    assert after["eval_loss"] < before["eval_loss"]


def test_kl_agrees_with_enumeration(tmp_path: Path) -> None:
    """Responses of at most two tokens are enumerated: KL of the truncated sequence distributions."""
    trainer = make_trainer(
        gpo_trainer(), tmp_path, eval_dataset=pair_set([PAIRS[0]] * 1500), kl_prompts=1500, kl_max_new_tokens=2,
        settings={"per_device_eval_batch_size": 250},
    )  # fmt: skip
    prompt = trainer.eval_dataset[0]["prompt_ids"]
    answers = [(1,), *((t, u) for t, u in itertools.product(range(6), range(6)) if t != 1)]
    p, q = (
        np.array([float(logp(model, prompt, list(answer))) for answer in answers])
        for model in (trainer.model.eval(), trainer.ref_model.eval())
    )
    assert np.exp(p).sum() == pytest.approx(1, abs=1e-5)
    exact = float((np.exp(p) * (p - q)).sum())
    kl, stderr, finished = trainer.measure_kl(trainer.eval_dataset)
    assert exact > 0.05
    assert abs(kl - exact) < 4 * stderr
    assert stderr < 0.1 * exact
    ended = sum(np.exp(p[i]) for i, answer in enumerate(answers) if 1 in answer)
    assert finished == pytest.approx(ended, abs=4 * np.sqrt(ended * (1 - ended) / 1500))


@pytest.mark.parametrize(
    ("settings", "named", "message"),
    [
        ({"loss_type": ["ipo"]}, {}, "loss_type="),
        ({"label_smoothing": 0.1}, {}, r"smoothed"),
        ({"f_divergence_type": "js_divergence"}, {}, "f_divergence_type"),
        ({"loss_weights": [0.5]}, {}, "mixture"),
        ({}, {"loss": "bco_pair", "link": "forward_kl"}, "cancels in margins alone"),
        ({}, {"loss": "aot", "reduction": "mean"}, "accepted is 'sum'"),
        ({"use_weighting": True}, {"loss": "aot"}, "sorts the batch"),
        ({}, {"loss": 3}, "accepted are a name, an expression, a MarginLoss, a TwoRatioLoss"),
        ({"beta": 0.0}, {}, "beta is 0"),
        ({}, {"loss": "dppo"}, "dppo"),
        ({}, {"reduction": "median"}, "median"),
        ({}, {"kl_prompts": -1}, "kl_prompts -1"),
    ],
)
def test_what_would_train_something_else_is_refused(
    tmp_path: Path, settings: dict[str, Any], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_trainer(gpo_trainer(), tmp_path, settings=settings, **named)


def test_a_completion_of_no_token_is_refused(tmp_path: Path) -> None:
    trainer = make_trainer(gpo_trainer(), tmp_path)
    rows = [trainer.train_dataset[0], {**trainer.train_dataset[1], "rejected_ids": []}]
    with pytest.raises(ValueError, match=r"1 completions of the batch have no token"):
        trainer.compute_loss(trainer.model, trainer.data_collator(rows))


def test_trl_is_imported_only_when_asked() -> None:
    code = (
        "import sys, gpo_analysis, gpo_analysis.integrations as i; gpo_analysis.get_loss('dpo')(0.0); "
        "assert not {'trl', 'torch', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
