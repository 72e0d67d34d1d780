"""Words of findings, errors and summaries, edges of thresholds, and coefficients taken apart."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

import gpo_analysis as gpo
from gpo_analysis.estimation import audit as audit_module
from gpo_analysis.estimation.audit_fits import Fitted, _PairFit
from gpo_analysis.estimation.identify import Pairs, families, identify, rescaling, unmix
from gpo_analysis.estimation.logs import TrainingLog
from gpo_analysis.estimation.loss_log import LossLog
from gpo_analysis.estimation.mean_diagnosis import MeanDiagnosis
from gpo_analysis.estimation.recommend import BetaRecommendation, BetaRecommendations
from gpo_analysis.estimation.trained_with import (
    Recorded,
    as_trained,
    holds_token_means,
    objective_of,
    recorded_objective,
    trained_with,
)
from gpo_analysis.statistics import Interval

NAN = math.nan


@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 0.3])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_exo_s_coefficients_are_its_scale_and_smoothing(epsilon: float, scale: float) -> None:
    """−H − σ log(1−ε) − (1−σ) log ε has 1, logit ε and −log ε beside −H, σ and 1."""
    parts = scale * np.array([1.0, logit(epsilon), -math.log(epsilon)])
    found = unmix(parts, exo=True)
    assert found is not None
    assert (found[0], found[1]) == (scale, "exo")
    assert found[2] == pytest.approx(epsilon, rel=1e-9)
    assert unmix(-parts, exo=True) is None
    assert unmix(parts * np.array([0, 1, 1]), exo=True) is None
    assert unmix(parts + np.array([0, 0, 1e-3]), exo=True) is None, "the constant is another's"
    assert unmix(parts + np.array([0, 0, 1e-7]), exo=True) is not None
    half = scale * np.array([1.0, logit(1 - epsilon), -math.log(1 - epsilon)])
    assert unmix(half, exo=True) is None, "ε is below a half"


def test_coefficients_of_both_sides_are_smoothed_or_robust() -> None:
    assert unmix(np.array([2.5])) == (2.5, None, 0.0)
    assert unmix(np.array([-2.5])) is None
    assert unmix(np.array([0.0])) is None
    assert unmix(np.array([1.6, 0.4])) == pytest.approx((2.0, "smoothed", 0.2))
    assert unmix(np.array([1.0, 0.0])) == (1.0, "smoothed", 0.0)
    assert unmix(np.array([1.0, 1.0])) is None
    found = unmix(3 * np.array([1 - 0.1, -0.1]) / 0.8)
    assert found is not None
    assert found[1] == "robust"
    assert (found[0], found[2]) == pytest.approx((3.0, 0.1))


def test_a_loss_is_another_s_at_another_beta() -> None:
    logistic = gpo.get_loss("logistic")
    assert rescaling(gpo.get_loss("log(1+exp(-3*z))"), logistic) == pytest.approx(3.0)
    assert rescaling(logistic, logistic) == 1.0
    assert rescaling(gpo.get_loss("squared"), logistic) == 0.0
    known = {family.name for family in families()}
    assert "exo" in known
    assert "smoothed_logistic" not in known
    own = gpo.parse_loss("log(1+exp(-3*z))", name="thrice")
    assert {family.name for family in families([own])} == (known - {"logistic"}) | {"thrice"}
    same = gpo.parse_loss("log(1+exp(-z))", name="mine")
    assert {family.name for family in families([same])} == known


def test_exo_is_read_off_its_values() -> None:
    rng = np.random.default_rng(0)
    pairs = Pairs(rng.normal(0, 5, 40), rng.normal(0, 5, 40))
    z, epsilon = 0.4 * pairs.rho("sums"), 0.2
    p, q = expit(z), expit(-z)
    values = 2.0 * (p * (np.log(p) - np.log1p(-epsilon)) + q * (np.log(q) - np.log(epsilon)))
    (found,) = identify(pairs, values)
    assert (found.loss, found.smoothing, found.reduction) == ("exo", "exo", "sums")
    assert [found.beta, found.scale, found.label_smoothing] == pytest.approx([0.4, 2.0, 0.2], rel=1e-4)
    assert str(found) == "2 · exo at β = 0.4 over token sums, exo with ε = 0.2"


def loss_log(beta: float = 0.5, count: int = 60) -> LossLog:
    rho = np.random.default_rng(1).normal(0, 4, count)
    values = np.asarray(gpo.get_loss("logistic")(beta * rho))
    return LossLog(
        Pairs(rho, np.zeros(count)), np.full(count, 1e-4), np.arange(count), values, np.full(count, 1e-4), False,
        "log-ratios",
    )  # fmt: skip


def test_criteria_of_an_audit_count_what_is_free() -> None:
    log = loss_log()
    (family,) = [one for one in families() if one.name == "logistic"]
    fit = _PairFit(log, family, log.pairs.rho("sums"), log.noise)
    for scale, smoothed, parameters in (("one", False, 1), ("free", False, 2)):
        found = fit("sums", scale, smoothed)
        assert found is not None
        assert found.parameters == parameters
        assert [found.beta, found.scale] == pytest.approx([0.5, 1.0], rel=1e-3)
    smoothed_log = dataclasses.replace(
        log, loss=np.asarray(gpo.get_loss("logistic").smoothed(0.1)(0.5 * log.pairs.rho("sums")))
    )
    fit = _PairFit(smoothed_log, family, log.pairs.rho("sums"), log.noise)
    for scale, parameters in (("one", 2), ("free", 3)):
        found = fit("sums", scale, smoothed=True)
        assert found is not None
        assert found.parameters == parameters
        assert [found.beta, found.label_smoothing] == pytest.approx([0.5, 0.1], rel=1e-3)


def fitted(loss: str, beta: float, *, chi: float = 60.0, error: float = 1e-3, reduction: str = "sums") -> Fitted:
    return Fitted(loss, reduction, beta, 1.0, None, 0.0, error, chi, 0.0, 1, np.zeros(60))


@pytest.mark.parametrize(
    ("fits", "loss", "words"),
    [
        ([fitted("logistic", 0.5)], "logistic", None),
        ([fitted("logistic", 0.5), fitted("logistic", 0.52)], "logistic", None),
        ([fitted("logistic", 0.5), fitted("logistic", 0.6)], None, "does not separate its β from its label smoothing"),
        ([fitted("logistic", 0.5), fitted("logistic", 0.4)], None, "does not separate its β from its label smoothing"),
        ([fitted("logistic", 0.5), fitted("logistic", 0.6, chi=80.0)], "logistic", None),
        ([fitted("logistic", 0.5, error=0.04)], "logistic", None),
        ([fitted("logistic", 0.5, error=0.06)], None, "does not separate its β from its label smoothing or scale"),
        ([fitted("logistic", 0.5), fitted("hinge", 0.5)], None, "the log does not separate "),
        (
            [fitted("logistic", 0.5), fitted("logistic", 0.5, reduction="means")], None,
            "does not separate token sums from token means for logistic",
        ),
        ([fitted("logistic", 0.5, chi=1e6)], None, "no known loss explains the logged values (the nearest is logistic"),
    ],
)  # fmt: skip
def test_what_an_audit_decides(fits: list[Fitted], loss: str | None, words: str | None) -> None:
    log = loss_log()
    lengths = np.random.default_rng(2).integers(3, 30, (2, 60)).astype(float)
    log = dataclasses.replace(log, pairs=Pairs(log.pairs.chosen, log.pairs.rejected, *lengths))
    found = audit_module._decide(log, fits)
    assert found.loss == loss
    if words is None:
        assert (found.beta, found.reduction) == (0.5, "sums")
    else:
        assert found.undecided is not None
        assert words in found.undecided


def test_a_part_that_the_record_contradicts_is_told_in_the_words_of_the_command_line(tmp_path: Path) -> None:
    run: dict[str, Any] = {"loss": "dpo", "beta": 0.2, "reduction": "sum", "link": "reverse_kl"}
    file = tmp_path / "run.json"
    log = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"run": run}))
    found = recorded_objective(log)
    assert found == Recorded("dpo", 0.2, "sum", file)
    assert str(found) == "dpo at β = 0.2"
    assert objective_of(log).said == f"as {file} says: dpo at β = 0.2"
    assert objective_of(log, "dpo", 0.2).said.startswith("as ")
    for given, words in (
        ({"beta": 0.3}, "beta 0.3: "), ({"loss": "ipo"}, "loss ipo: "),
        ({"loss": gpo.get_loss("hinge")}, "loss hinge: "), ({"reduction": "mean"}, "reduction mean: "),
        ({"beta": 0.3, "reduction": "mean"}, "beta 0.3 and reduction mean: "),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{words}.*says --loss 'dpo' --beta 0.2; accepted are none of these"):
            objective_of(log, **given)
    both = objective_of(log, "ipo", 0.3)
    assert (both.loss.name, both.beta) == ("squared", 0.3)
    assert both.said == f"read as squared at β = 0.3, as given, not as {file} says: dpo at β = 0.2"
    file.write_text(json.dumps({"run": {**run, "reduction": "mean"}}))
    with pytest.raises(ValueError, match=r"--beta 0.2 --reduction mean; accepted"):
        objective_of(log, beta=0.3)
    assert str(recorded_objective(log)).endswith(" over token means")
    for change in ({"link": "alpha"}, {"reduction": "max"}, {"beta": "0.2"}, {"loss": 3}):
        file.write_text(json.dumps({"run": run | change}))
        assert recorded_objective(log) is None
    assert objective_of(log).beta == 0.1
    assert objective_of(log).loss.name == "logistic"


def test_a_library_s_name_brings_its_beta_and_reduction() -> None:
    found = trained_with("trl:ipo", 0.1)
    assert (found.beta, found.own_beta, found.reduction) == (0.2, 0.1, "mean")
    assert found.scale == pytest.approx(25.0)
    assert found.said == "trl:ipo at its β = 0.1 is squared at GPO's β = 0.2, ρ from token means"
    with pytest.raises(ValueError, match="reduction is 'sum', but trl:ipo takes token means; leave one of them out"):
        trained_with("trl:ipo", 0.1, "sum")
    with pytest.raises(ValueError, match="reduction is 'max'; accepted are 'sum' and 'mean'"):
        trained_with("dpo", 0.1, "max")
    assert trained_with("dpo", 0.1).reduction == "sum"
    assert trained_with("dpo", 0.1, "mean").reduction == "mean"


def test_means_and_sums_are_told_apart_by_length() -> None:
    rng = np.random.default_rng(0)
    length = rng.integers(5, 60, (2, 40)).astype(float)
    a_token = rng.uniform(0.5, 2.0, (2, 40))
    reference, policy = -a_token, -a_token * rng.uniform(0.9, 1.1, (2, 40))
    means = TrainingLog(*policy, *reference, *length)
    sums = TrainingLog(*(policy * length), *(reference * length), *length)
    assert holds_token_means(means) is True
    assert holds_token_means(sums) is False
    assert holds_token_means(TrainingLog(*policy, *reference)) is None
    assert holds_token_means(means.at(np.arange(40) < 4)) is False, "too few to tell"
    by_sum, by_mean = trained_with("dpo", 0.1), trained_with("dpo", 0.1, "mean")
    for log, run, rho in (
        (means, by_sum, sums.rho), (sums, by_mean, means.rho), (means, by_mean, means.rho), (sums, by_sum, sums.rho),
    ):  # fmt: skip
        changed, said = as_trained(log, run)
        np.testing.assert_allclose(changed.rho, rho)
        assert len(said) == (rho is not log.rho and not np.array_equal(rho, log.rho))
    bare = TrainingLog(*(policy * length), *(reference * length))
    with pytest.raises(ValueError, match="logistic over token means needs chosen_length and rejected_length"):
        as_trained(bare, by_mean)
    _, (doubt,) = as_trained(TrainingLog(*policy, *reference), by_mean)
    assert "there are no lengths to tell); taken as token means, as the loss takes them" in doubt


def test_columns_from_memory_are_called_columns() -> None:
    with pytest.raises(ValueError, match=r"^columns: missing policy_chosen and policy_rejected; accepted are"):
        TrainingLog.from_columns({"ref_chosen_logps": [-1.0], "ref_rejected_logps": [-1.0]})
    with pytest.raises(ValueError, match=r"^columns: 'chosen_logps' and 'policy_chosen' mean the same column"):
        TrainingLog.from_columns({"chosen_logps": [-1.0], "policy_chosen": [-1.0]})


def bfloat16(values: np.ndarray) -> np.ndarray:
    single = values.astype(np.float32)
    return (single.view(np.uint32) & 0xFFFF0000).view(np.float32).astype(np.float64)


@pytest.mark.parametrize(
    ("size", "count", "coarse", "said"),
    [(300.0, 40, True, True), (300.0, 40, False, False), (10.0, 40, True, False), (300.0, 4, True, False)],
)
def test_rounding_to_bfloat16_is_said_where_it_is_a_tenth_of_the_spread(
    size: float, count: int, coarse: bool, said: bool
) -> None:
    """At 300 nats bfloat16 has steps of 2, at 10 of 1/16; margins spread by about 4."""
    rng = np.random.default_rng(0)
    columns = -size * rng.uniform(0.9, 1.5, (4, count))
    columns[:2] = columns[2:] + rng.normal(0, 2.5, (2, count))
    log = TrainingLog(*(bfloat16(columns) if coarse else np.round(columns, 5)))
    found = [one for one in gpo.diagnose(log, resamples=50).findings if "rounded to bfloat16: ρ is known to ±" in one]
    assert bool(found) is said
    if said:
        steps = np.exp2(np.floor(np.log2(np.abs(bfloat16(columns)))) - 7) / np.sqrt(12)
        typical = float(np.median(np.sqrt((steps**2).sum(axis=0))))
        assert 0.1 * log.rho.std() < typical < 0.9 * log.rho.std()
        assert found[0] == (
            f"log-probabilities are rounded to bfloat16: ρ is known to ±{typical:.2g} nats, its spread is "
            f"{log.rho.std():.3g}"
        )
        assert "sum token log-probabilities in float32 when logging" in gpo.diagnose(log, resamples=50).advice


def test_what_was_not_recorded_is_a_dash_in_the_course_and_no_line_above_it() -> None:
    row = {"mean_rho": 1.5, "chosen_change": NAN, "rejected_change": -2.0, "accuracy": NAN, "loss": 0.5}
    steps = tuple({"step": float(k), **row} for k in (1, 2))
    found = MeanDiagnosis(
        "logistic", 0.5, 2.0, 2, 1.5, 0.75, NAN, -2.0, NAN, 0.5, NAN, 1.125, steps, ("a",), ("b",), ("c", "d")
    )
    lines = found.summary().splitlines()
    assert lines[0] == "means over batches, 2 of them, logistic at β = 0.5, step 2"
    heads = [line[:23].rstrip() for line in lines[1:6]]
    assert heads == ["E[ρ], nats", "E[βρ]", "log π/πref, rejected", "loss", "½E[ρ²], nats²"]
    assert lines[5].endswith(" at least 1.125")
    course = [line.split() for line in lines if line.strip().startswith(("1 ", "2 "))]
    assert course == [["1", "1.5", "–", "-2", "–", "0.5"], ["2", "1.5", "–", "-2", "–", "0.5"]]
    assert "not told by means over batches: c; d" in lines
    assert lines[-2:] == ["what to do", "- b"]
    recorded = dataclasses.replace(found, mu_squared_loss=2.0, accuracy=0.75).summary()
    assert "at least" not in recorded
    assert "share with ρ > 0        0.75" in recorded
    assert found.to_dict()["kind"] == "batch means"


@pytest.mark.parametrize(("without", "sure"), [(0.0, True), (0.1, True), (0.11, False)])
def test_an_interval_that_no_resample_moves_is_said(without: float, sure: bool) -> None:
    row = BetaRecommendation("logistic", Interval(0.5, NAN, NAN), 0.25, 1.0, 2.0, without, "found")
    names = [field.name for field in dataclasses.fields(BetaRecommendations)]
    given: dict[str, Any] = dict.fromkeys(names, "x") | {
        "rows": (row,), "notes": ("n",), "labels": 10.0, "prompts": 1, "confidence": 0.95, "resamples": 9, "policy": "",
    }  # fmt: skip
    text = BetaRecommendations(**given).summary()
    assert ("(every resample gives this β: no sample says how sure it is)" in text) is sure
    assert ("of the resamples without a fit)" in text) is (without > 0)
    assert "1 prompt; 95% intervals from 9 resamples" in text
    assert "2 prompts;" in BetaRecommendations(**{**given, "prompts": 2}).summary()
    assert text.splitlines()[-1] == "- n"
    told = BetaRecommendations(**{**given, "rows": (dataclasses.replace(row, beta=Interval(0.5, 0.4, 0.6)),)}).summary()
    assert "[0.4, 0.6]" in told
    assert "every resample" not in told
    none = BetaRecommendations(**{**given, "rows": (dataclasses.replace(row, status="out of reach"),)}).summary()
    assert "–  out of reach" in none
