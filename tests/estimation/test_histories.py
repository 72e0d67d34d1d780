"""Trainers' records of batch means: what they say, what is impossible in them; token means; libraries' names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import gpo_analysis as gpo
from gpo_analysis.estimation import MeanDiagnosis, audit_log, read_history

RNG = np.random.default_rng(3)
BETA = 0.1
RHO = RNG.normal(np.linspace(1, 8, 6)[:, None], 4, (6, 64))  # six steps, 64 pairs
CHOSEN = 0.3 * RHO - 1
Z = BETA * RHO
ENTRIES = [
    {
        "loss": float(np.log1p(np.exp(-z)).mean()), "rewards/margins": float(z.mean()),
        "rewards/chosen": float(BETA * c.mean()), "rewards/rejected": float(BETA * c.mean() - z.mean()),
        "rewards/accuracies": float((z > 0).mean()), "logps/chosen": -300.0, "step": 10 * (k + 1),
    }
    for k, (z, c) in enumerate(zip(Z, CHOSEN, strict=True))
]  # fmt: skip
END = {"train_loss": 0.5, "train_runtime": 9.0, "step": 60}
EVAL = {"eval_loss": 9.0, "eval_rewards/margins": -9.0, "step": 60}


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def csv(names: list[str], keys: list[str], extra: str = "") -> str:
    rows = [",".join(str(entry.get(key, "")) for key in keys) for entry in ENTRIES]
    return "\n".join([",".join(names), *rows]) + "\n" + extra


def test_every_form_says_the_same(tmp_path: Path) -> None:
    keys = ["step", "loss", "rewards/margins", "rewards/chosen", "rewards/rejected", "rewards/accuracies"]
    history = [*ENTRIES, EVAL, END]
    wandb = ["Step", *(f"my - run - train/{key}" for key in keys[1:])]
    texts = {
        "trainer_state.json": json.dumps({"epoch": 1.0, "log_history": history}, indent=2),
        "state.json": json.dumps({"log_history": history}),
        "log_history.json": json.dumps(history),
        "log.jsonl": "\n".join(map(json.dumps, history)),
        "plain.csv": csv(keys, keys, "70,,NaN,,,\n"),
        "wandb.csv": csv(wandb, keys),
        "tune.csv": csv(["global_step", *keys[1:]], keys),
        "long.csv": "run,tag,step,value\n"
        + "".join(f"r,train/{key},{e['step']},{e[key]}\n" for key in keys[1:] for e in ENTRIES),
    }
    for name, text in texts.items():
        found = gpo.diagnose(written(tmp_path, name, text), "dpo", BETA)
        assert isinstance(found, MeanDiagnosis), name
        assert (found.step, found.rows) == (60, 6), name
        assert found.mean_rho == pytest.approx(RHO[-1].mean()), name
        assert found.mean_z == pytest.approx(Z[-1].mean())
        assert found.chosen_change == pytest.approx(CHOSEN[-1].mean())
        assert [row["mean_rho"] for row in found.steps] == pytest.approx(RHO.mean(1))
        assert found.accuracy == pytest.approx((RHO[-1] > 0).mean())
    told = gpo.diagnose(tmp_path / "trainer_state.json", "dpo", BETA)
    assert told.report is not None
    assert (told.report.rows, told.report.used) == (8, 6)
    for word in ("means over batches", "quantiles", "policy_chosen", "precompute_ref_log_probs=True"):
        assert word in str(told)
    assert json.loads(json.dumps(told.to_dict()))["kind"] == "batch means"
    assert len(told.to_frame()) == 6


def test_the_bound_on_the_square_is_one(tmp_path: Path) -> None:
    found = gpo.diagnose(written(tmp_path, "a.json", json.dumps(ENTRIES)), "dpo", BETA)
    for row, rho in zip(found.steps, RHO, strict=True):
        assert 0.5 * rho.mean() ** 2 <= row["least_mu_squared_loss"] <= 0.5 * np.mean(rho**2)
    two = np.array([0.0, 0.0, 4.0, 4.0])  # the bound is reached
    entry = {"rewards/margins": BETA * two.mean(), "rewards/accuracies": 0.5}
    found = gpo.diagnose(written(tmp_path, "b.json", json.dumps([entry])), "dpo", BETA)
    assert found.least_mu_squared_loss == pytest.approx(np.mean(two**2) / 2)


def test_tensorboard(tmp_path: Path) -> None:
    rows = "".join(f"1.0,{e['step']},{e['rewards/margins']}\n" for e in ENTRIES)
    one = written(tmp_path, "run-.-tag-train_rewards_margins.csv", "Wall time,Step,Value\n" + rows)
    assert gpo.diagnose(one, "dpo", BETA).mean_rho == pytest.approx(RHO[-1].mean())
    nameless = written(tmp_path, "scalars.csv", "Wall time,Step,Value\n" + rows)
    with pytest.raises(ValueError, match="one scalar of TensorBoard"):
        read_history(nameless)
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(tmp_path / "events") as writer:
        for entry in ENTRIES:
            writer.add_scalar("train/rewards/margins", entry["rewards/margins"], entry["step"])
    found = gpo.diagnose(tmp_path / "events", "dpo", BETA)
    assert found.mean_rho == pytest.approx(RHO[-1].mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rewards/accuracies": 1.2}, ["line 3", "between 0 and 1"]),
        ({"rewards/margins": 2.0}, ["line 3", "contradict each other"]),
        ({"logps/chosen": 0.0}, ["line 3", "below 0"]),
        ({"rewards/chosen": -40.0, "rewards/rejected": -41.0, "rewards/margins": 1.0}, ["line 3", "above 0.133"]),
        ({"train/rewards/margins": 0.9}, ["line 3", "mean the same"]),
        ({"other - rewards/margins": 0.9}, ["several runs"]),
        ({"step": None}, ["line 3", "no step"]),
    ],
)
def test_what_cannot_be_is_refused_with_the_line(tmp_path: Path, change: dict[str, float], words: list[str]) -> None:
    rows = [dict(entry) for entry in ENTRIES]
    rows[2] |= change
    with pytest.raises(ValueError, match=r"log\.jsonl") as caught:
        gpo.diagnose(written(tmp_path, "log.jsonl", "\n".join(map(json.dumps, rows))), "dpo", BETA)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_rounding_is_no_contradiction(tmp_path: Path) -> None:
    rows = [{key: float(f"{value:.3g}") for key, value in entry.items()} for entry in ENTRIES]
    found = gpo.diagnose(written(tmp_path, "a.json", json.dumps(rows)), "dpo", BETA)
    assert not any("Jensen" in line for line in found.findings)
    assert found.mean_rho == pytest.approx(RHO[-1].mean(), rel=5e-3)
    head = "policy_chosen,policy_rejected,reference_chosen,reference_rejected\n"
    log = gpo.read_training_log(written(tmp_path, "r.csv", head + "1e-7,-2,-1,-2\n-3,-2,-1,-2\n"))
    assert log.policy_chosen.tolist() == [0.0, -3.0]
    assert log.report is not None
    assert "line 2" in log.report.notes[0]


def test_a_loss_that_cannot_be_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", json.dumps(ENTRIES))
    assert not any("Jensen" in line for line in gpo.diagnose(path, "dpo", BETA).findings)
    assert any("Jensen" in line for line in gpo.diagnose(path, "exponential", BETA).findings)


LENGTHS = RNG.integers(20, 200, (2, 300)).astype(float)
REFERENCE = -LENGTHS * RNG.uniform(0.8, 1.5, (2, 300))
CHANGE = np.stack([RNG.normal(0, 3, 300), RNG.normal(-4, 3, 300)])


def test_the_library_s_ipo_is_of_token_means() -> None:
    log = gpo.TrainingLog(*(REFERENCE + CHANGE - 9), *REFERENCE, *LENGTHS)
    found = gpo.diagnose(log, "trl:ipo", 0.25, resamples=20)
    rho = (CHANGE[0] - 9) / LENGTHS[0] - (CHANGE[1] - 9) / LENGTHS[1]
    assert (found.loss, found.beta) == ("squared", 0.5)
    assert found.rho_quantiles[0.5] == pytest.approx(np.median(rho))
    assert found.findings[0].startswith("trl:ipo at its β = 0.25 is squared at GPO's β = 0.5")
    same = gpo.diagnose(log, "ipo", 0.5, reduction="mean", resamples=20)
    assert same.rho_quantiles == found.rho_quantiles
    with pytest.raises(ValueError, match="needs chosen_length and rejected_length"):
        gpo.diagnose(gpo.TrainingLog(*(REFERENCE + CHANGE - 9), *REFERENCE), "trl:ipo", 0.25, resamples=20)
    with pytest.raises(ValueError, match="trl:ipo takes token means"):
        gpo.diagnose(log, "trl:ipo", 0.25, reduction="sum")


def test_token_means_are_recognised() -> None:
    sums = REFERENCE + CHANGE - 9
    means = gpo.TrainingLog(*(sums / LENGTHS), *(REFERENCE / LENGTHS), *LENGTHS)
    found = gpo.diagnose(means, "dpo", BETA, resamples=20)
    assert found.rho_quantiles[0.5] == pytest.approx(np.median(CHANGE[0] - CHANGE[1]))
    assert any("token means" in line for line in found.findings)
    nothing_to_convert = gpo.diagnose(means, "trl:ipo", BETA, resamples=20)
    assert nothing_to_convert.rho_quantiles[0.5] == pytest.approx(np.median(means.rho))
    lengthless = gpo.TrainingLog(*(sums / LENGTHS), *(REFERENCE / LENGTHS))
    assert any("no lengths to tell" in line for line in gpo.diagnose(lengthless, "dpo", BETA, resamples=20).findings)


def test_batch_means_of_token_means(tmp_path: Path) -> None:
    entries = [{"rewards/margins": 0.02, "logps/chosen": -1.2, "logps/rejected": -1.4, "step": 5}]
    found = gpo.diagnose(written(tmp_path, "a.json", json.dumps(entries)), "trl:ipo", 0.1)
    assert found.mean_rho == pytest.approx(0.2)
    assert found.mean_z == pytest.approx(0.04)  # GPO's β = 0.2
    entries[0] |= {"logps/chosen": -120.0, "logps/rejected": -140.0}
    found = gpo.diagnose(written(tmp_path, "b.json", json.dumps(entries)), "trl:ipo", 0.1)
    assert np.isnan(found.mean_z)
    assert any("does not follow without lengths" in line for line in found.findings)


def test_one_row_a_step_is_a_mean() -> None:
    steps = np.arange(5.0)
    flat = np.full(5, -90.0)
    found = gpo.diagnose(gpo.TrainingLog(flat + steps, flat - steps, flat, flat, step=steps), "dpo", BETA)
    assert isinstance(found, MeanDiagnosis)
    assert (found.mean_rho, found.chosen_change) == (8.0, 4.0)
    assert any("one row a step" in line for line in found.findings)


def test_advice_has_the_numbers() -> None:
    log = gpo.TrainingLog(*(REFERENCE + CHANGE - 9), *REFERENCE)
    found = gpo.diagnose(log, "dpo", 0.01, resamples=50)
    own, best = (next(r for r in found.others if r["loss"] == "logistic" and r["beta"] == b) for b in (0.01, 0.03))
    assert best["trusted"]
    after = found.chosen_change.value * best["mean_rho"] / own["mean_rho"]
    assert f"at {after:.3g} nats" in " ".join(found.advice)


def test_sums_rounded_to_bfloat16_are_recognised() -> None:
    policy, reference = REFERENCE + CHANGE - 700, REFERENCE - 700  # below −512, where bfloat16 has steps of 4
    coarse = [torch.tensor(values).bfloat16().double().numpy() for values in (*policy, *reference)]
    exact = gpo.diagnose(gpo.TrainingLog(*policy, *reference), "dpo", BETA, resamples=20)
    rounded = gpo.diagnose(gpo.TrainingLog(*coarse), "dpo", BETA, resamples=20)
    assert not any("bfloat16" in line for line in exact.findings)
    (said,) = [line for line in rounded.findings if "bfloat16" in line]
    assert f"±{np.sqrt(4 * 4**2 / 12):.2g} nats" in said  # four numbers, each uniform within a step
    assert any("float32" in line for line in rounded.advice)


def test_the_audit_reads_the_same_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    entries = []
    for step in range(40):
        z = rng.normal(0.05 * step, 0.5, 64)
        entries.append({"rewards/margins": z.mean(), "loss": np.log1p(np.exp(-z)).mean(), "step": step})
    state = written(tmp_path, "trainer_state.json", json.dumps({"log_history": entries, "epoch": 1}, indent=1))
    lines = [f"{e['step']},{e['loss']},{e['rewards/margins']}" for e in entries]
    wandb = written(tmp_path, "w.csv", "\n".join(["Step,r - train/loss,r - train/rewards/margins", *lines]))
    assert audit_log(state).to_dict() == audit_log(wandb).to_dict()
