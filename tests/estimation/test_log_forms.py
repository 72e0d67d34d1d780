"""Every verb that reads a log takes every form of one: files, exports, event folders, folders of runs, cut ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.estimation import audit_log, beta_from_log
from gpo_analysis.estimation.loss_log import read_loss_log
from gpo_analysis.estimation.mean_diagnosis import MeanDiagnosis

RNG = np.random.default_rng(5)
BETA = 0.1
STEPS = [10 * (k + 1) for k in range(12)]
Z = RNG.normal(np.linspace(0.1, 0.8, 12)[:, None], 0.5, (12, 64))
ENTRIES = [
    {"step": s, "loss": float(np.log1p(np.exp(-z)).mean()), "rewards/margins": float(z.mean()),
     "rewards/accuracies": float((z > 0).mean())}
    for s, z in zip(STEPS, Z, strict=True)
]  # fmt: skip
STATE = json.dumps({"epoch": 1.0, "log_history": ENTRIES}, indent=1)


def pair_rows(count: int = 24, beta: float = 0.5, reduction: str = "sum", shift: float = 0.0) -> list[dict[str, float]]:
    """Pairs at one step with the losses of log(cosh(1 − z)), by numpy."""
    rng = np.random.default_rng(7)
    rows = []
    for k in range(count):
        lengths = rng.integers(3, 9, 2)
        logs = -rng.uniform(10, 30, 4)
        ratios = (logs[:2] - logs[2:]) / (lengths if reduction == "mean" else 1)
        rows.append(
            dict(zip(("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected"), logs, strict=True))
            | {"chosen_length": int(lengths[0]), "rejected_length": int(lengths[1]), "step": 100 * (k >= 3)}
            | {"loss": float(np.log(np.cosh(1 - beta * (ratios[0] - ratios[1])))) + shift}
        )
    return rows


def lines(rows: list[dict[str, float]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def means_in_every_form(folder: Path) -> list[Path]:
    keys = list(ENTRIES[0])
    csv = [",".join(str(entry[key]) for key in keys) for entry in ENTRIES]
    texts = {
        "trainer_state.json": STATE,
        "history.json": json.dumps(ENTRIES),
        "wandb.csv": "\n".join([",".join(["Step", *(f"my - run - train/{key}" for key in keys[1:])]), *csv]),
        "board.csv": "run,tag,step,value\n"
        + "".join(f"r,train/{key},{e['step']},{e[key]}\n" for key in keys[1:] for e in ENTRIES),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "state.json.gz").write_bytes(gzip.compress(STATE.encode()))
    for run, name in (("own", "trainer_state.json"), ("trl", "checkpoint-90/trainer_state.json")):
        (folder / run / name).parent.mkdir(parents=True)
        (folder / run / name).write_text(STATE)
    (folder / "trl" / "checkpoint-120").mkdir()
    (folder / "trl" / "checkpoint-90" / "trainer_state.json").write_text(json.dumps({"log_history": ENTRIES[:9]}))
    (folder / "trl" / "checkpoint-120" / "trainer_state.json").write_text(STATE)
    return [*(folder / name for name in texts), folder / "state.json.gz", folder / "own", folder / "trl"]


def test_means_are_read_alike_by_diagnose_and_audit(tmp_path: Path) -> None:
    for path in means_in_every_form(tmp_path):
        found = gpo.diagnose(path, "dpo", BETA)
        assert isinstance(found, MeanDiagnosis)
        assert found.mean_rho == pytest.approx(Z[-1].mean() / BETA, rel=1e-9), path
        log = read_loss_log(path)
        assert log.means
        np.testing.assert_allclose(log.loss, [entry["loss"] for entry in ENTRIES], rtol=1e-12, err_msg=str(path))
        np.testing.assert_allclose(log.pairs.chosen, Z.mean(1), rtol=1e-12)
        with pytest.raises(ValueError, match="means over batches, from which neither"):
            beta_from_log(path, "dpo", BETA, drop=1.0)


def test_event_folders_are_read_alike_too(tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(tmp_path / "run" / "tensorboard") as writer:
        for entry in ENTRIES:
            for key, value in entry.items():
                writer.add_scalar(f"train/{key}", value, int(entry["step"]))
    for path in (tmp_path / "run", tmp_path / "run" / "tensorboard", next(tmp_path.rglob("*tfevents*"))):
        log = read_loss_log(path)
        np.testing.assert_allclose(log.loss, [entry["loss"] for entry in ENTRIES], rtol=1e-6)
        assert gpo.diagnose(path, "dpo", BETA).mean_rho == pytest.approx(Z[-1].mean() / BETA, rel=1e-6)
        with pytest.raises(ValueError, match="means over batches, from which neither"):
            beta_from_log(path, "dpo", BETA, drop=1.0)


def test_a_run_s_folder_is_its_log(tmp_path: Path) -> None:
    for run in ("a", "b"):
        (tmp_path / "sweep" / run).mkdir(parents=True)
        (tmp_path / "sweep" / run / "log.jsonl").write_text(lines(pair_rows()))
    for read in (read_loss_log, lambda path: gpo.diagnose(path, "dpo", BETA)):
        with pytest.raises(ValueError, match="holds the runs a, b; accepted is the folder of one"):
            read(tmp_path / "sweep")
        with pytest.raises(ValueError, match=r"without a log: no log\.jsonl, .*accepted are"):
            read(_empty(tmp_path))
    assert gpo.diagnose(tmp_path / "sweep" / "a", "dpo", BETA).pairs == 21
    assert len(read_loss_log(tmp_path / "sweep" / "a").loss) == 24


def _empty(folder: Path) -> Path:
    (folder / "nothing").mkdir(exist_ok=True)
    return folder / "nothing"


@pytest.mark.parametrize(
    ("reduction", "offered"), [("sum", "log(cosh(1-z))"), ("mean", "c*log(cosh(1-z)) with c=1"), ("sum", None)]
)
def test_a_loss_of_one_s_own_is_named_where_it_is_offered(tmp_path: Path, reduction: str, offered: str | None) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(pair_rows(24 if offered else 80, reduction=reduction)))
    found = audit_log(path, losses=offered if offered is not None else ["exp(-z)+z", "log(cosh(2-z))"])
    if offered is None:
        assert found.loss is None
        assert "no known loss explains" in str(found)
        assert "--try-loss" in str(found)
    else:
        assert found.loss == gpo.parse_loss(offered).name
        assert (found.beta, found.reduction) == (pytest.approx(0.5, rel=1e-6), reduction + "s")
        assert found.scale == pytest.approx(1.0)


def test_an_offer_does_not_take_a_known_loss_s_name(tmp_path: Path) -> None:
    rows = [{**row, "loss": float(np.logaddexp(0, -0.5 * _rho(row)))} for row in pair_rows()]
    path = tmp_path / "log.jsonl"
    path.write_text(lines(rows))
    assert audit_log(path, losses=["log(cosh(1-z))", "log(1+exp(-z))"]).loss == "logistic"
    other = audit_log(path, losses="log(1+exp(-2*z))")  # the same function of ρ, at half the β
    assert other.loss == gpo.parse_loss("log(1+exp(-2*z))").name
    assert other.beta == pytest.approx(0.25)
    with pytest.raises(ValueError, match="two log-ratios"):
        audit_log(path, losses="nca_pair")


def test_responses_of_one_length_do_not_hide_the_loss(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines([{**row, "chosen_length": 2, "rejected_length": 2} for row in pair_rows()]))
    found = audit_log(path, losses="log(cosh(1-z))")
    assert (found.loss, found.reduction, found.beta) == ("log(cosh(1-z))", None, pytest.approx(0.5))
    assert "β = 0.5 of the log-ratios, no" in str(found)


def _rho(row: dict[str, float]) -> float:
    ratios = [row[f"policy_{side}"] - row[f"reference_{side}"] for side in ("chosen", "rejected")]
    return ratios[0] - ratios[1]


def test_soft_labels_of_their_own_are_taken_into_account(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = []
    for row in pair_rows():
        p, z = float(rng.uniform(0.5, 1)), 0.3 * _rho(row)
        label = {"soft_label": p} if p < 0.9 else {}
        p = p if label else 1.0
        rows.append({**row, **label, "loss": float(p * np.logaddexp(0, -z) + (1 - p) * np.logaddexp(0, z))})
    path = tmp_path / "log.jsonl"
    path.write_text(lines(rows))
    found = audit_log(path)
    assert (found.loss, found.beta, found.label_smoothing) == ("logistic", pytest.approx(0.3, rel=1e-6), 0.0)
    path.write_text(lines([{"soft_label": None, **row} for row in rows]))  # as a table of these has them
    labels = read_loss_log(path).label
    assert labels is not None
    np.testing.assert_array_equal(labels, [row.get("soft_label", 1.0) for row in rows])
    path.write_text(lines([{**row, "soft_label": 1.5} for row in rows]))
    with pytest.raises(ValueError, match=r"soft_label is 1\.5"):
        audit_log(path)


def test_logs_that_broke_off_or_diverged(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    whole = lines(pair_rows())
    path.write_text(whole + whole[:50])
    with pytest.warns(UserWarning, match="line 25: half a line"):
        assert len(read_loss_log(path).loss) == 24
    with pytest.warns(UserWarning, match="line 25: half a line"):
        assert gpo.diagnose(path, "dpo", BETA).pairs == 21
    path.write_text(whole[:50] + "\n" + whole)
    with pytest.raises(ValueError, match="line 1: malformed JSON"):
        read_loss_log(path)
    diverged = [{**pair_rows()[0], "loss": bad} for bad in (float("nan"), float("inf"), 1e300)]
    path.write_text(whole + lines(diverged))
    with pytest.warns(UserWarning, match="line 25: 3 of 27 rows have an infinite loss"):
        assert len(read_loss_log(path).loss) == 24
    path.write_text(lines([{k: v for k, v in row.items() if k != "loss"} for row in pair_rows()]))
    with pytest.raises(ValueError, match=r"no loss of the pairs \(the trainer's state"):
        read_loss_log(path)
    path.write_text("")
    for read in (read_loss_log, lambda place: gpo.diagnose(place, "dpo", BETA)):
        with pytest.raises(ValueError, match=r"log\.jsonl"):
            read(path)
