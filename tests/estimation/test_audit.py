"""What a log says of the loss that made it, against logs whose loss is known."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fuzz.audit_logs import EARLY, bfloat16, campaign, draw, judge
from gpo_analysis.cli.main import gpo as command
from gpo_analysis.estimation import audit_log
from gpo_analysis.estimation.loss_log import loss_log, read_loss_log, rounding

RNG = np.random.default_rng(5)
MARGIN = RNG.normal(0.6, 1.4, 200)


def _written(path: Path, rows: list[dict[str, float]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logistic", np.logaddexp(0, -MARGIN)),
        ("hinge", np.maximum(0, 1 - MARGIN)),
        ("squared", (MARGIN - 1) ** 2),
        ("exponential", np.exp(-MARGIN)),
        ("truncated_quadratic", np.maximum(0, 1 - MARGIN) ** 2),
        ("savage", 1 / (1 + np.exp(MARGIN)) ** 2),
    ],
)
def test_losses_in_bfloat16_are_named(name: str, value: np.ndarray) -> None:
    found = audit_log(loss_log({"margin": bfloat16(MARGIN), "loss": bfloat16(value)}))
    assert (found.loss, found.undecided, found.smoothing) == (name, None, None)
    assert found.beta == pytest.approx(1.0, rel=0.03)
    assert found.confidence > 0.99


def test_squared_and_truncated_quadratic_are_a_set_below_1() -> None:
    margin = np.linspace(-2, 0.95, 80)
    found = audit_log(loss_log({"margin": margin, "loss": (margin - 1) ** 2})).to_dict()
    assert set(found["losses"]) == {"squared", "truncated_quadratic"}
    assert "does not separate" in found["undecided"]


def test_margins_near_0_do_not_name_a_loss_that_they_share() -> None:
    margin = np.full(40, 0.01) + np.linspace(0, 1e-3, 40)
    found = audit_log(loss_log({"margin": margin, "loss": np.round(np.logaddexp(0, -margin), 3)}))
    assert found.undecided is not None


def _log_ratios(reduction: str, value: object, steps: int | None = None) -> list[dict[str, float]]:
    """Rows of four log-probabilities and lengths, whose loss is `value` of ρ over sums or means."""
    rng = np.random.default_rng(11)
    lengths = rng.integers(5, 30, (2, 240)).astype(float)
    ratios = rng.normal(0, 0.8, (2, 240)) * np.sqrt(lengths)
    rho = ratios[0] - ratios[1] if reduction == "sums" else ratios[0] / lengths[0] - ratios[1] / lengths[1]
    loss = value(rho)  # type: ignore[operator]
    if steps is not None:
        loss = np.repeat(loss.reshape(steps, -1).mean(1), 240 // steps)
    base = -2.0 * lengths - 30
    columns = {
        "policy_chosen": base[0] + ratios[0], "policy_rejected": base[1] + ratios[1], "reference_chosen": base[0],
        "reference_rejected": base[1], "chosen_length": lengths[0], "rejected_length": lengths[1],
        "loss": np.round(loss, 4), "step": np.arange(240) // (240 // steps) if steps else np.arange(240),
    }  # fmt: skip
    return [{key: float(column[i]) for key, column in columns.items()} for i in range(240)]


@pytest.mark.parametrize("reduction", ["sums", "means"])
def test_libraries_ipo_and_its_reduction(tmp_path: Path, reduction: str) -> None:
    beta = 0.1 if reduction == "sums" else 0.9
    rows = _log_ratios(reduction, lambda rho: (rho - 1 / (2 * beta)) ** 2)
    found = audit_log(_written(tmp_path / "log.jsonl", rows)).to_dict()
    assert (found["loss"], found["reduction"], found["label_smoothing"]) == ("squared", reduction, 0.0)
    assert found["beta"] == pytest.approx(2 * beta, rel=1e-3)
    assert found["scale"] == pytest.approx(1 / (4 * beta**2), rel=1e-3)


@pytest.mark.parametrize(("epsilon", "kind"), [(0.1, "smoothed"), (0.2, "robust")])
def test_label_smoothing_through_means_of_steps(tmp_path: Path, epsilon: float, kind: str) -> None:
    def value(rho: np.ndarray) -> np.ndarray:
        right, wrong = np.logaddexp(0, -0.4 * rho), np.logaddexp(0, 0.4 * rho)
        mixed = (1 - epsilon) * right + (epsilon if kind == "smoothed" else -epsilon) * wrong
        return mixed if kind == "smoothed" else mixed / (1 - 2 * epsilon)

    log = read_loss_log(_written(tmp_path / "log.jsonl", _log_ratios("sums", value, steps=60)))
    assert len(log.loss) == 60
    found = audit_log(log)
    assert (found.loss, found.smoothing, found.reduction) == ("logistic", kind, "sums")
    assert found.beta == pytest.approx(0.4, rel=0.01)
    assert found.label_smoothing == pytest.approx(epsilon, abs=0.005)


def test_a_trainer_s_state_shows_that_hinge_was_trained_as_sigmoid(tmp_path: Path) -> None:
    # as ms-swift's pull request 10167 has it: loss_type hinge configured, sigmoid trained, means over batches logged
    rng = np.random.default_rng(2)
    history: list[dict[str, float]] = []
    for step in range(60):
        z = rng.normal(0.03 * step, 0.05 + 0.02 * step, 64)
        history.append({
            "step": step, "loss": round(float(np.logaddexp(0, -z).mean()), 4), "rewards/margins": float(z.mean()),
            "rewards/accuracies": float((z > 0).mean()),
        })  # fmt: skip
    history += [{"step": 60, "eval_loss": 0.3}, {"step": 60, "train_runtime": 12.0, "train_loss": 0.4}]
    file = tmp_path / "trainer_state.json"
    file.write_text(json.dumps({"log_history": history, "epoch": 1.0}, indent=1))
    found = json.loads(CliRunner().invoke(command, ["audit-log", str(file), "--json"]).stdout)
    assert found["loss"] == "logistic", found
    assert found["beta_of"] == "logged margins"
    assert found["reduction"] is None


def test_what_no_loss_made_is_said(tmp_path: Path) -> None:
    values = np.sin(3 * MARGIN) + 2
    file = tmp_path / "log.csv.gz"
    lines = ["margin,loss", *(f"{float(m)!r},{float(v)!r}" for m, v in zip(MARGIN, values, strict=True))]
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    done = CliRunner().invoke(command, ["audit-log", str(file)])
    assert done.stdout.startswith("undecided: no known loss explains")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("margin,other\n1,2\n", "loss"),
        ("loss,other\n1,2\n", "margin"),
        ("loss,margin\n1,2\n", "needs at least 8"),
        ("loss,policy_chosen,policy_rejected,ref_chosen_logps\n" + "1,-2,-3,-2\n" * 9, "no margins or log-prob"),
        ("loss,margin\n" + "1,x\n" * 9, "accepted are finite numbers"),
        ('{"log_history": {"loss": 1},\n"a": 2}', "log_history"),
    ],
)
def test_files_that_cannot_be_audited(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / ("log.json" if text.startswith("{") else "log.csv")
    file.write_text(text)
    with pytest.raises(ValueError, match=why) as caught:
        read_loss_log(file)
    assert str(file) in str(caught.value)


def test_rounding_is_seen() -> None:
    x = np.array([0.1234, 3.5001, -2.25])
    assert rounding(x)[0] == pytest.approx(1e-4 / np.sqrt(12))
    sizes, coarse = rounding(bfloat16(x))
    assert coarse
    assert np.all(np.abs(bfloat16(x) - x) <= sizes * np.sqrt(12) / 2 + 1e-12)
    assert not rounding(np.array([1 / 3, 2 / 3]))[1]


def test_a_part_of_the_campaign() -> None:
    counts = campaign(12, seed=7)
    assert counts["named"] >= 11
    assert counts["wrong"] == 0


def test_logs_that_do_not_separate_two_losses_have_both() -> None:
    for kind in EARLY:
        drawn = draw(np.random.default_rng([5, 1]), kind)
        assert judge(drawn, audit_log(loss_log(drawn.columns))) == "set"
    assert campaign(4, seed=3, kinds=EARLY)["set"] == 4
