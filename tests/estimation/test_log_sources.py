"""A log in memory, under its own names, with rows that lack numbers: each reader says the same as of a plain file."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import gpo_analysis as gpo
from gpo_analysis.cli.main import gpo as command
from gpo_analysis.estimation import (
    TrainingLog,
    asymptotics,
    audit_log,
    beta_from_log,
    diagnose,
    read_history,
    read_training_log,
    relative_efficiency,
    sampled_fits,
)
from gpo_analysis.estimation.loss_log import read_loss_log
from gpo_analysis.estimation.margin_log import MarginLog, read_pairs

RNG = np.random.default_rng(8)
COUNT = 120
H = RNG.normal([-0.6, -1.5], 1.0, (COUNT, 2)).T
COLUMNS = {
    "policy_chosen": -40 + H[0], "policy_rejected": -44 + H[1], "reference_chosen": np.full(COUNT, -40.0),
    "reference_rejected": np.full(COUNT, -44.0), "loss": np.logaddexp(0, -0.3 * (H[0] - H[1])),
}  # fmt: skip
RHO = H[0] - H[1]
OWN = {"policy_chosen": "pi_w", "policy_rejected": "pi_l", "reference_chosen": "ref_w", "reference_rejected": "ref_l"}
ROWS = [dict(zip(COLUMNS, map(float, row), strict=True)) for row in zip(*COLUMNS.values(), strict=True)]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def own_named() -> list[dict[str, Any]]:
    """The rows under other names, with a column in the place of one that is read."""
    return [{**{OWN.get(key, key): value for key, value in row.items()}, "policy_chosen": "a text"} for row in ROWS]


@pytest.mark.parametrize("make", [pd.DataFrame, dict, lambda _: ROWS])
def test_a_table_in_memory_says_what_a_file_says(make: Callable[[Any], Any], tmp_path: Path) -> None:
    source, file = make(COLUMNS), written(tmp_path / "log.jsonl", ROWS)
    assert np.array_equal(read_training_log(source).rho, read_training_log(file).rho)
    found = diagnose(source, "dpo", 0.3)
    assert found.mu_squared_loss.value == pytest.approx(0.5 * np.mean(RHO**2), rel=1e-12)
    assert found.summary() == diagnose(TrainingLog.from_columns({k: COLUMNS[k] for k in OWN}), "dpo", 0.3).summary()
    assert audit_log(source).loss == audit_log(file).loss == "logistic"
    assert beta_from_log(source, "dpo", 0.3, margin=0.5).beta == beta_from_log(file, "dpo", 0.3, margin=0.5).beta


def test_a_trainer_s_history_in_memory() -> None:
    history = [{"step": k, "rewards/margins": 0.1 * k, "loss": math.log(2)} for k in range(1, 9)]
    history.insert(4, {"step": 4, "eval_loss": 0.5})
    for source in (history, {"log_history": history, "epoch": 1.0}, pd.DataFrame(history)):
        assert read_history(source).means["rewards/margins"] == pytest.approx(0.1 * np.arange(1, 9))
        assert diagnose(source, "dpo", 0.1).mean_rho == pytest.approx(8.0)


@pytest.mark.parametrize("source", [None, 5, [1, 2], {"rho": 3}, {"rho": [1.0], "step": [1, 2]}])
@pytest.mark.parametrize("read", [diagnose, audit_log, read_training_log, read_history, read_loss_log, read_pairs])
def test_what_is_no_log_is_refused_with_what_is_accepted(read: Callable[[Any], Any], source: Any) -> None:
    with pytest.raises(ValueError, match=r"accepted (are|is)"):
        read(source)


def test_what_is_no_problem_is_refused() -> None:
    problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0]))
    known = asymptotics(problem, "dpo")
    for call in (
        lambda: asymptotics(pd.DataFrame(), "dpo"),  # type: ignore[arg-type]
        lambda: sampled_fits({}, "dpo", 10, 2, seed=0),  # type: ignore[arg-type]
        lambda: relative_efficiency(known, 3),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match="accepted are"):
            call()


@pytest.mark.parametrize("bad", [None, "nan", math.nan, "-inf", ""])
def test_rows_without_a_number_are_left_out_and_counted_alike(bad: Any, tmp_path: Path) -> None:
    """The rest says what it says alone, in both readers."""
    rows = [dict(row) for row in ROWS]
    rows[3]["policy_chosen"] = bad
    rows[7]["reference_rejected"] = bad
    file = written(tmp_path / "log.jsonl", rows)
    rest = np.delete(RHO, [3, 7])
    log = read_training_log(file)
    assert log.rho == pytest.approx(rest, abs=1e-12)
    assert log.report is not None
    assert (log.report.rows, log.report.used) == (COUNT, COUNT - 2)
    assert log.report.left_out[0].lines == (4, 8)
    found = diagnose(file, "dpo", 0.3)
    assert found.mu_squared_loss.value == pytest.approx(0.5 * np.mean(rest**2))
    assert f"are left out: 2 of {COUNT}" in found.summary()
    with pytest.warns(UserWarning, match=f"line 4: 2 of {COUNT} rows"):
        audited = read_loss_log(file)
    assert audited.pairs.rho("sums") == pytest.approx(rest, abs=1e-12)


def test_an_audit_counts_null_as_it_counts_nan(tmp_path: Path) -> None:
    rows = [dict(row) for row in ROWS]
    rows[3]["loss"], rows[7]["loss"] = "nan", None
    with pytest.warns(UserWarning, match=f"line 4: 2 of {COUNT} rows"):
        read_loss_log(written(tmp_path / "log.jsonl", rows))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an evaluation has neither, and is no row of this log
        read_loss_log(written(tmp_path / "with.jsonl", [*ROWS, {"eval_loss": 0.5}]))


def test_a_word_is_no_missing_number(tmp_path: Path) -> None:
    rows = [*ROWS[:20], {**ROWS[20], "policy_chosen": "many"}]
    file = written(tmp_path / "log.jsonl", rows)
    for read in (read_training_log, read_loss_log):
        with pytest.raises(ValueError, match=r"line 21: policy_chosen is 'many'"):
            read(file)


def test_a_log_without_a_single_number_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "log.jsonl", [{**row, "policy_chosen": None} for row in ROWS])
    with pytest.raises(ValueError, match="no row has a finite log-probability"):
        read_training_log(file)


def test_a_log_s_own_names_are_given_alike_to_every_verb(tmp_path: Path) -> None:
    plain, own = written(tmp_path / "plain.jsonl", ROWS), written(tmp_path / "own.jsonl", own_named())
    given = [part for known, name in OWN.items() for part in ("--columns", f"{known}={name}")]
    for verb, options in (
        ("diagnose", ["--loss", "dpo", "--beta", "0.3"]),
        ("audit-log", []),
        ("recommend-beta", ["--loss", "dpo", "--beta", "0.3", "--margin", "0.5"]),
    ):
        before = ["--log"] if verb == "recommend-beta" else []
        told = [
            json.loads(CliRunner().invoke(command, [verb, *before, str(file), *options, *more, "--json"]).stdout)
            for file, more in ((plain, []), (own, given))
        ]
        for one in told:
            one.pop("report", None)
        assert told[0] == told[1], verb
    assert read_training_log(own, columns=OWN).rho == pytest.approx(RHO, abs=1e-12)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        (["policy_chosen=absent"], "has no column 'absent', which was named as policy_chosen; it has"),
        (["winner=pi_w"], "a column is named as 'winner'; accepted are policy_chosen"),
        (["pi_w"], "accepted is NAME=OWN, such as policy_chosen=pi_w"),
        (["policy_chosen=a", "policy_chosen=b"], "names 'policy_chosen' twice"),
    ],
)
def test_names_that_are_wrong_are_refused(columns: list[str], why: str, tmp_path: Path) -> None:
    file = written(tmp_path / "log.jsonl", ROWS)
    given = [part for one in columns for part in ("--columns", one)]
    for verb in (["diagnose", str(file), "--beta", "0.1"], ["audit-log", str(file)]):
        done = CliRunner().invoke(command, [*verb, *given])
        assert done.exit_code
        assert why in str(done.exception), verb


def test_a_log_takes_no_option_of_comparisons(tmp_path: Path) -> None:
    file = written(tmp_path / "log.jsonl", ROWS)
    arguments = ["recommend-beta", "--log", str(file), "--loss", "dpo", "--beta", "0.1", "--margin", "1"]
    done = CliRunner().invoke(command, [*arguments, "--ignore", "step"])
    assert "--ignore is of a FILE of comparisons" in str(done.exception)


@pytest.mark.parametrize("both", [False, True])
def test_margins_alone_say_what_follows_from_margins(both: bool) -> None:
    """The same as of log-probabilities, but for what the chosen and the rejected did."""
    step = np.repeat([10, 20], COUNT // 2)
    source = {"chosen_logratio": H[0], "rejected_logratio": H[1]} if both else {"rho": RHO}
    log = read_pairs({**source, "step": step})
    assert isinstance(log, MarginLog)
    found = diagnose({**source, "step": step}, "ipo", 0.3)
    whole = diagnose({**COLUMNS, "step": step}, "ipo", 0.3)
    last = RHO[step == 20]
    assert found.mu_squared_loss.value == pytest.approx(0.5 * np.mean(last**2))
    assert found.rho_quantiles == pytest.approx(whole.rho_quantiles)
    for a, b in zip((*found.alternatives, *found.others), (*whole.alternatives, *whole.others), strict=True):
        assert a == pytest.approx(b)
    assert bool(np.isfinite(found.chosen_change.value)) is both
    assert ("log π/πref, chosen" in found.summary()) is both
    assert ("the log holds ρ alone" in found.summary()) is not both
    assert [row["mean_rho"] for row in found.steps] == pytest.approx([RHO[step == s].mean() for s in (10, 20)])
    if both:
        assert found.chosen_change.value == pytest.approx(H[0][step == 20].mean())
        told = [beta_from_log(one, "dpo", 0.3, drop=0.1).run for one in (log, {**COLUMNS, "step": step})]
        assert told[0].value == pytest.approx(told[1].value)
    else:
        with pytest.raises(ValueError, match="does not follow from ρ alone"):
            beta_from_log(log, "dpo", 0.3, drop=0.5)


def test_a_last_line_nested_too_deeply_and_a_header_alone_are_refused(tmp_path: Path) -> None:
    deep = tmp_path / "deep.jsonl"
    deep.write_text('{"rho": 1}\n{"rho": ' + "[" * 20_000)
    with pytest.raises(ValueError, match="line 2: malformed JSON"):
        read_pairs(deep)
    empty = tmp_path / "empty.csv"
    empty.write_text("rho,step\n")
    with pytest.raises(ValueError, match="holds no rows"):
        read_pairs(empty)


def test_log_probabilities_count_before_margins_beside_them() -> None:
    log = read_pairs({**COLUMNS, "rho": np.zeros(COUNT)})
    assert isinstance(log, TrainingLog)
    assert log.rho == pytest.approx(RHO, abs=1e-12)


def test_margins_of_any_size_are_answered_or_refused() -> None:
    """Below 1e-100 all losses look alike; beyond 1e100 squares leave the floats."""
    z = np.random.default_rng(0).normal(size=40)
    loss = np.log1p(np.exp(-z))
    for size in (1e-310, 1e-300, 1e-120):
        found = audit_log({"margin": z * size, "loss": loss})
        assert "the same in all rows" in str(found)
    with pytest.raises(ValueError, match=r"row 0: a margin of .*e\+199 nats; accepted are margins of at most 1e\+100"):
        diagnose({"rho": z * 1e200}, "dpo", 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "40 pairs" in diagnose({"rho": z * 1e60}, "dpo", 0.1).summary()


def test_a_margin_beside_its_log_ratios_is_their_difference() -> None:
    z = np.random.default_rng(0).normal(size=40)
    ratios = {"chosen_logratio": z, "rejected_logratio": -z}
    both = diagnose({"rho": 2 * z, **ratios}, "dpo", 0.1)
    assert both.summary() == diagnose(ratios, "dpo", 0.1).summary()
    with pytest.raises(ValueError, match=r"row 0: rho is 0\.125\d* and chosen_logratio less rejected_logratio 0\.251"):
        diagnose({"rho": z, **ratios}, "dpo", 0.1)


def test_log_ratios_that_were_never_filled_say_nothing_beside_margins() -> None:
    z = np.random.default_rng(0).normal(size=40)
    empty = {"chosen_logratio": [None] * 40, "rejected_logratio": [""] * 40}
    assert diagnose({"rho": z, **empty}, "dpo", 0.1).summary() == diagnose({"rho": z}, "dpo", 0.1).summary()


def test_marks_of_missing_values_of_frames_are_missing() -> None:
    z = np.random.default_rng(0).normal(size=60)
    frame = pd.DataFrame({"margin": z, "loss": np.log1p(np.exp(-z))}).convert_dtypes()
    frame.loc[3, "loss"] = pd.NA
    with pytest.warns(UserWarning, match="1 of 60 rows"):
        found = audit_log(frame)
    assert str(found).startswith("logistic at β = 1")
