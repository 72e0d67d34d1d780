"""Training logs that people bring: what is refused, with the line, and what is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gpo_analysis as gpo

HEAD = "policy_chosen,policy_rejected,reference_chosen,reference_rejected"
NEEDED = HEAD.split(",")


def log(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def rows_of(steps: tuple[int, ...], pairs: int = 20) -> list[dict[str, float]]:
    rng = np.random.default_rng(0)
    rows = []
    for step in steps:
        for _ in range(pairs):
            reference = -rng.uniform(150, 250, 2)
            policy = reference + rng.normal(0, 1, 2) * step / 20
            rows.append({**dict(zip(NEEDED, (*policy, *reference), strict=True)), "step": step})
    return rows


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (f"{HEAD},reference_chosen\n-1,-2,-1,-2,-1\n", "line 1: column reference_chosen occurs twice"),
        ("chosen_logps,rejected_logps,ref_chosen_logps,ref_rejected_logps,ref_chosen_logps\n-1,-1,-1,-1,-1\n", "twice"),
        (
            f"{HEAD},ref_chosen_logps\n-1,-2,-1,-2,-9\n",
            "'reference_chosen' and 'ref_chosen_logps' mean the same column",
        ),
        (
            f"{HEAD}\n-1,-2,-1,-2\n-1,-2,0.0,0.0\n",
            "line 3: reference_chosen is 0; a response of probability 1 is imposs",
        ),
        (f"{HEAD}\n0,-2,-1,-2\n", "line 2: policy_chosen is 0; a response of probability 1 is impossible"),
        (f"{HEAD},step\n-1,-2,-1,-2,\n-1,-2,-1,-2,3\n", "line 2: step is empty"),
        (f"{HEAD},iteration\n-1,-2,-1,-2,1\n-1,-2,-1,-2,3\n", "column iteration looks like the training step"),
        (f"{HEAD},weight\n-1,-2,-1,-2,1\n-1,-2,-1,-2,3\n", "column weight looks as if it weighted the pairs"),
        (f"{HEAD},global_step,step\n-1,-2,-1,-2,1,1\n", "'global_step' and 'step' mean the same column"),
    ],
)
def test_refused_with_the_line(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        gpo.diagnose(log(tmp_path, "log.csv", text))
    assert "log.csv" in str(caught.value)


def test_optional_columns_are_decided_over_all_rows(tmp_path: Path) -> None:
    rows = rows_of((0, 100, 200))
    whole = gpo.diagnose(log(tmp_path, "log.jsonl", "\n".join(map(json.dumps, rows))), resamples=10)
    rho = [row["policy_chosen"] - row["reference_chosen"] for row in rows[40:]]
    rho = np.subtract(rho, [row["policy_rejected"] - row["reference_rejected"] for row in rows[40:]])
    assert (whole.pairs, whole.step) == (20, 200)
    assert whole.mu_squared_loss.value == pytest.approx(np.mean(rho**2) / 2)
    del rows[0]["step"]
    path = log(tmp_path, "log.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match=r"log\.jsonl, line 1: no step, which 59 of 60 rows have"):
        gpo.diagnose(path)
    rows[0]["step"], rows[5]["chosen_length"], rows[5]["rejected_length"] = 0, 4, 5
    path = log(tmp_path, "log.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match="line 1: no chosen_length, which 1 of 60 rows have"):
        gpo.diagnose(path)


MEANS = {"logps/chosen": -301.0, "rewards/chosen": 0.05, "rewards/margins": 0.15, "step": 10}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("trainer_state.json", json.dumps({"epoch": 0.5, "log_history": [MEANS]}, indent=2)),
        ("trainer_state.json", json.dumps({"epoch": 0.5, "log_history": [MEANS]})),
        (
            "wandb.csv",
            '"Step","dpo-run - train/rewards/chosen","dpo-run - train/rewards/chosen__MIN"\r\n"10","0.1","0"\r\n',
        ),
        ("history.jsonl", json.dumps(MEANS) + "\n"),
    ],
)
def test_batch_means_are_told_what_is_needed(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ValueError, match="means over batches") as caught:
        gpo.read_training_log(log(tmp_path, name, text))
    for word in (name, *NEEDED, "a row a pair", "precompute_ref_log_probs=True"):
        assert word in str(caught.value)


def test_a_log_of_pairs_may_hold_rewards_too(tmp_path: Path) -> None:
    found = gpo.read_training_log(log(tmp_path, "log.csv", f"{HEAD},rewards/chosen\n-1,-2,-3,-4,0.1\n"))
    assert found.rho.tolist() == [0.0]
    assert found.report is not None
    assert found.report.not_used == ("rewards/chosen",)


def test_columns_from_memory_are_checked_alike() -> None:
    columns = {key: [-1.0] for key in NEEDED}
    with pytest.raises(ValueError, match="mean the same column"):
        gpo.TrainingLog.from_columns({**columns, "chosen_logps": [-2.0]})
    with pytest.raises(ValueError, match="occur twice"):
        gpo.TrainingLog.from_columns({**columns, "STEP": [1], "step": [2]})
    with pytest.raises(ValueError, match=r"reference_rejected\[0\] is 0.0; a response of probability 1"):
        gpo.TrainingLog.from_columns({**columns, "reference_rejected": [0.0]})


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(tmp_path: Path, separator: str) -> None:
    text = f"{HEAD}\n-1.5,-2,-3,-4\n".replace(",", separator)
    assert gpo.read_training_log(log(tmp_path, "log.csv", text)).rho.tolist() == [-0.5]
