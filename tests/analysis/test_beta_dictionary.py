"""The β dictionary: every convention's objective, written down here again, is what its record says it is."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.analysis import get_convention
from gpo_analysis.analysis.conventions import exo_loss
from tests.cases import cases


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-softplus(-x))


def ipo(rho: np.ndarray, beta: float) -> np.ndarray:
    return (rho - 1 / (2 * beta)) ** 2


def dpo(rho: np.ndarray, beta: float) -> np.ndarray:
    return softplus(-beta * rho)


def hinge(rho: np.ndarray, beta: float) -> np.ndarray:
    return np.maximum(0, 1 - beta * rho)


def exo(rho: np.ndarray, beta: float) -> np.ndarray:
    p, e = sigmoid(beta * rho), 1e-3
    return p * (np.log(p) - math.log(1 - e)) + (1 - p) * (np.log(1 - p) - math.log(e))


def discopop(rho: np.ndarray, beta: float) -> np.ndarray:
    z = beta * rho
    weight = sigmoid(z / 0.05)
    return (1 - weight) * softplus(-z) + weight * np.exp(-z)


# what each library or paper computes for one pair, in its own β
OBJECTIVES = {
    "trl:sigmoid": dpo,
    "trl:hinge": hinge,
    "trl:ipo": ipo,
    "trl:robust": dpo,
    "trl:exo_pair": exo,
    "trl:discopop": discopop,
    "trl:sigmoid_norm": dpo,
    "openrlhf:dpo": dpo,
    "openrlhf:ipo": ipo,
    "torchtune:dpo": dpo,
    "torchtune:rso": hinge,
    "torchtune:ipo": ipo,
    "llama-factory:sigmoid": dpo,
    "llama-factory:hinge": hinge,
    "llama-factory:ipo": ipo,
    "axolotl:dpo": dpo,
    "axolotl:ipo": ipo,
    "unsloth:dpo": dpo,
    "unsloth:ipo": ipo,
    "verl:dpo": dpo,
    "verl:ipo": ipo,
    "nemo-rl:dpo": dpo,
    "nemo-rl:dpo-average": dpo,
    "halos:dpo": dpo,
    "halos:cdpo": dpo,
    "dpo-reference:dpo": dpo,
    "dpo-reference:ipo": ipo,
    "ipo-paper:tau": ipo,
    "arxiv:2405.08448": lambda rho, beta: (beta * rho - 0.5) ** 2,
    "bandit:ipo": lambda rho, beta: (rho - beta) ** 2,
}
# of two log-ratios h, up to what does not depend on the policy; each with its β in it
PAIR_OBJECTIVES = {
    "trl:nca_pair": lambda w, r, beta: softplus(-beta * w) + 0.5 * softplus(beta * w) + 0.5 * softplus(beta * r),
    "trl:bco_pair": lambda w, r, beta: softplus(-beta * w) + softplus(beta * r),
    "trl:sppo_hard": lambda w, r, beta: (w - 0.5 / beta) ** 2 + (r + 0.5 / beta) ** 2,
    "trl:apo_zero": lambda w, r, beta: 1 - sigmoid(beta * w) + sigmoid(beta * r),
    "trl:apo_down": lambda w, r, beta: sigmoid(beta * w) + 1 - sigmoid(beta * (w - r)),
    "trl:sft": lambda w, r, beta: -w,
}
RHO = np.linspace(-3, 3, 41)


@pytest.mark.parametrize("name", PAIR_OBJECTIVES)
@pytest.mark.parametrize("beta", [0.05, 0.7, 3.0])
def test_records_of_two_log_ratios_reproduce_the_objectives(name: str, beta: float) -> None:
    item = get_convention(name)
    w, l = np.meshgrid(RHO, RHO)  # noqa: E741
    rebuilt = item.loss_scale(beta) * item.pair_loss()(item.to_gpo(beta) * w, item.to_gpo(beta) * l)
    np.testing.assert_allclose(rebuilt, PAIR_OBJECTIVES[name](w, l, beta), rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="two log-ratios"):
        item.margin_loss()


def test_beta_of_losses_of_two_log_ratios() -> None:
    same = gpo.convert_beta(0.3, "trl:sppo_hard", "gpo:sppo_hard")
    assert (same.value, same.exact, same.loss_scale) == (0.3, True, pytest.approx(1 / 0.09))
    other = gpo.convert_beta(0.2, "trl:bco_pair", "gpo:dpo")
    assert (other.value, other.exact) == (pytest.approx(0.1), False)
    assert any("takes two log-ratios" in note for note in other.notes)
    assert gpo.convert_beta(0.3, "log(1+exp(b-a))", "dpo").exact
    for source, target, said in (
        ("trl:aot", "gpo:dpo", "statistic of a batch"),
        ("gpo:sft", "trl:sft", "takes no part"),
        ("gpo:apo_zero", "gpo:dpo", "no second-order term"),
    ):
        with pytest.raises(ValueError, match=said):
            gpo.convert_beta(0.1, source, target)
    with pytest.raises(ValueError, match="margin losses"):
        gpo.convert_beta(0.1, "bco_pair", "dpo", eta=0.8)


def test_every_convention_is_here() -> None:
    names = [item.name for item in gpo.list_conventions()]
    assert len(set(names)) == len(names)
    others = {item.name: item.kind for item in gpo.list_conventions() if not item.name.startswith("gpo:")}
    assert {name for name, kind in others.items() if kind == "margin"} == set(OBJECTIVES)
    assert {name for name, kind in others.items() if kind != "margin"} == set(PAIR_OBJECTIVES) | {
        "trl:aot",
        "trl:aot_unpaired",
    }
    assert {f"gpo:{name}" for name in gpo.list_losses()} <= set(names)
    for item in gpo.list_conventions():
        assert item.source
        assert item.objective
        assert json.loads(json.dumps(item.to_dict()))["name"] == item.name


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("beta", [0.05, 0.7, 3.0])
def test_records_reproduce_the_objectives(name: str, beta: float) -> None:
    item = get_convention(name)
    rebuilt = item.loss_scale(beta) * item.margin_loss()(item.to_gpo(beta) * RHO)
    np.testing.assert_allclose(rebuilt, OBJECTIVES[name](RHO, beta), rtol=1e-9, atol=1e-12)
    assert item.from_gpo(item.to_gpo(beta)) == pytest.approx(beta, rel=1e-14)


@pytest.mark.parametrize("source", [n for n in OBJECTIVES if OBJECTIVES[n] in (ipo,) or n[:6] in ("bandit", "arxiv:")])
@pytest.mark.parametrize("target", ["gpo:ipo", "ipo-paper:tau", "arxiv:2405.08448", "bandit:ipo", "trl:ipo"])
def test_conversion_within_one_f_keeps_the_objective(source: str, target: str) -> None:
    found = gpo.convert_beta(0.3, source, target)
    other = OBJECTIVES.get(target, lambda rho, beta: (beta * rho - 1) ** 2)
    np.testing.assert_allclose(
        OBJECTIVES[source](RHO, 0.3), found.loss_scale * other(RHO, found.value), rtol=1e-11, atol=1e-12
    )
    same_ratio = get_convention(source).ratio == get_convention(target).ratio
    assert found.exact is same_ratio
    told = any("difference of token means" in note for note in found.notes)
    assert told is ("means" in (get_convention(source).ratio, get_convention(target).ratio))


def test_the_papers_table() -> None:
    assert gpo.convert_beta(0.1, "openrlhf:ipo", "gpo:ipo").value == 0.2
    assert gpo.convert_beta(0.1, "trl:ipo", "gpo:ipo").value == 0.2
    assert gpo.convert_beta(0.1, "ipo-paper:tau", "gpo:squared").value == 0.2
    assert gpo.convert_beta(0.1, "arxiv:2405.08448", "gpo:ipo").value == 0.2
    assert gpo.convert_beta(0.1, "arxiv:2405.08448", "gpo:ipo").loss_scale == pytest.approx(0.25)
    assert gpo.convert_beta(0.1, "bandit:ipo", "gpo:ipo").value == 10.0
    assert gpo.convert_beta(0.1, "ipo-paper:tau", "gpo:ipo").loss_scale == pytest.approx(25.0)
    assert gpo.convert_beta(0.1).value == 0.2


def test_token_means() -> None:
    length = 50.0
    found = gpo.convert_beta(0.1, "trl:ipo", "gpo:ipo", tokens=length)
    means = RHO / length  # the same pair, its ρ averaged over tokens
    np.testing.assert_allclose(ipo(means, 0.1), found.loss_scale * (found.value * RHO - 1) ** 2, rtol=1e-12)
    back = gpo.convert_beta(found.value, "gpo:ipo", "trl:ipo", tokens=length)
    assert back.value == pytest.approx(0.1)
    assert back.loss_scale == pytest.approx(1 / found.loss_scale)
    assert gpo.convert_beta(0.1, "openrlhf:ipo", "gpo:ipo", tokens=9).value == 0.2  # both on sums
    assert not found.exact


def test_between_losses_to_leading_order() -> None:
    found = gpo.convert_beta(0.1, "gpo:dpo", "gpo:ipo")
    assert (found.value, found.exact) == (0.05, False)
    assert any("leading order" in note for note in found.notes)
    trl = gpo.convert_beta(0.1, "trl:sigmoid", "openrlhf:ipo")
    assert trl.value == pytest.approx(0.025)
    assert gpo.convert_beta(0.1, "trl:sigmoid", "torchtune:dpo").exact
    # the gradient at π = πref is the source's
    step = 1e-6
    source = (dpo(np.array([step]), 0.1) - dpo(np.array([-step]), 0.1)) / (2 * step)
    target = (ipo(np.array([step]), trl.value) - ipo(np.array([-step]), trl.value)) / (2 * step)
    assert float(source[0]) == pytest.approx(trl.loss_scale * float(target[0]), rel=1e-6)


def test_label_smoothing() -> None:
    # κ of the smoothed logistic is ½/(1 − 2ε)
    found = gpo.convert_beta(0.1, "openrlhf:dpo", "gpo:dpo", label_smoothing=0.2)
    assert found.value == pytest.approx(0.1 / 0.6)
    robust = gpo.convert_beta(0.1, "trl:robust", "gpo:dpo", label_smoothing=0.2)
    assert robust.value == pytest.approx(0.1 * 0.6)
    assert gpo.convert_beta(0.1, "trl:exo", "trl:exo_pair", label_smoothing=0.1).value != 0.1
    with pytest.raises(ValueError, match="no label smoothing"):
        gpo.convert_beta(0.1, "openrlhf:ipo", "gpo:ipo", label_smoothing=0.1)
    for bad in (-0.1, 0.5, math.nan, True):
        with pytest.raises(ValueError, match="label_smoothing"):
            gpo.convert_beta(0.1, "trl:sigmoid", "gpo:ipo", label_smoothing=bad)


@pytest.mark.parametrize("name", ["trl:sigmoid", "trl:hinge", "trl:ipo", "trl:discopop", "trl:sigmoid_norm"])
def test_smoothing_that_trl_ignores_changes_nothing_and_is_noted(name: str) -> None:
    plain = gpo.convert_beta(0.1, name, name)
    found = gpo.convert_beta(0.1, name, name, label_smoothing=0.2)
    assert (found.value, found.loss_scale, found.exact) == (0.1, 1.0, True)
    assert found.notes[:-1] == plain.notes
    assert "ignores it" in found.notes[-1]


def test_exo_is_refused_without_smoothing_as_trl_refuses_it() -> None:
    with pytest.raises(ValueError, match="refuses label_smoothing = 0"):
        gpo.convert_beta(0.1, "trl:exo_pair", "trl:exo_pair", label_smoothing=0.0)
    unsaid = gpo.convert_beta(0.1, "trl:exo_pair", "gpo:dpo")
    assert not unsaid.exact
    assert any("left unsaid" in note and "0.001" in note for note in unsaid.notes)
    assert not any("stands for" in note for note in unsaid.notes)


def test_losses_aliases_and_expressions_are_conventions() -> None:
    assert get_convention("dpo").name == "gpo:logistic"
    assert get_convention("IPO").name == "gpo:squared"
    assert gpo.convert_beta(0.1, "dpo", "ipo").value == gpo.convert_beta(0.1, "gpo:dpo", "gpo:ipo").value
    typed = gpo.convert_beta(0.1, "log(1+exp(-z))", "dpo")
    assert typed.value == pytest.approx(0.1)
    loss = gpo.parse_loss("log(cosh(1-z))", name="mine")
    given = gpo.convert_beta(0.2, loss, "ipo", eta=0.8)
    assert given.source == "mine"
    assert given.value == pytest.approx(0.2 * 0.6 / float(gpo.optimal_margin(loss, 0.8)), rel=1e-9)
    smoothed = gpo.convert_beta(0.1, "log(1+exp(-z))", "dpo", label_smoothing=0.1)
    assert smoothed.value == pytest.approx(0.1 / 0.8)
    assert json.loads(json.dumps(get_convention(loss).to_dict()))["loss"].startswith("mine")
    with pytest.raises(ValueError, match="z"):
        gpo.convert_beta(0.1, "logg(z)", "dpo")


def test_every_row_says_where_and_when_it_was_read() -> None:
    for item in gpo.list_conventions():
        if not item.name.startswith("gpo:"):
            assert item.version, item.name
    named = {"verl", "nemo-rl", "halos", "axolotl", "llama-factory", "torchtune", "openrlhf", "unsloth"}
    read = {item.library for item in gpo.list_conventions() if item.read and "commit" in item.version}
    assert named <= read
    for item in gpo.list_conventions():
        if item.library in named and item.read:  # which version it was, and of what day, or that it is not known
            known = item.version.replace("read 2026-11-26", "")
            assert re.search(r"\d+\.\d+\.\d+|no versions|no recipes", known), item.version
            assert re.search(r"20\d\d-\d\d-\d\d|date not known", known), item.version
    assert not get_convention("torchtune:ipo").read


def test_exo() -> None:
    a = gpo.analyze(exo_loss(1e-3))
    logit = math.log(0.999 / 0.001)
    assert float(a.slope) == pytest.approx(-logit / 4, rel=1e-12)
    assert float(a.curvature) == pytest.approx(0.25, rel=1e-12)
    assert float(a.curvature_ratio) == pytest.approx(1 / logit, rel=1e-12)
    with pytest.raises(ValueError, match="label_smoothing of EXO"):
        exo_loss(0.5)


@pytest.mark.parametrize("value", [0, -0.1, math.nan, math.inf, "x", None, True])
def test_values_are_checked(value: object) -> None:
    with pytest.raises(ValueError, match="beta must be a positive finite"):
        gpo.convert_beta(value, "trl:ipo", "gpo:ipo")  # type: ignore[arg-type]
    for source, target in (("trl:ipo", "gpo:ipo"), ("gpo:ipo", "gpo:ipo")):
        with pytest.raises(ValueError, match="tokens must be a positive finite"):
            gpo.convert_beta(0.1, source, target, tokens=value if value is not None else -3)  # type: ignore[arg-type]


def test_unknown_names_have_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'trl:ipo'"):
        gpo.convert_beta(0.1, "trl:ipa", "gpo:ipo")
    with pytest.raises(ValueError, match="did you mean 'openrlhf:dpo'"):
        gpo.convert_beta(0.1, "trl:ipo", "open-rlhf:dpo")
    with pytest.raises(ValueError, match="unknown convention"):
        gpo.convert_beta(0.1, 3, "gpo:ipo")  # type: ignore[arg-type]
    assert get_convention("TRL:DPO").name == "trl:sigmoid"
    assert get_convention("gpo:truncated-quadratic").name == "gpo:truncated_quadratic"
    assert get_convention("llama_factory:ipo").name == "llama-factory:ipo"


def test_losses_without_strength_are_refused_between_losses() -> None:
    with pytest.raises(ValueError, match="no second-order term"):
        gpo.convert_beta(0.1, "trl:hinge", "gpo:ipo")
    assert gpo.convert_beta(0.1, "trl:hinge", "torchtune:rso").value == 0.1
    assert gpo.convert_beta(0.1, "trl:discopop", "gpo:lrml").exact
    with pytest.raises(ValueError, match="slope"):
        gpo.convert_beta(0.1, "trl:discopop", "gpo:dpo")


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (1e-160, "openrlhf:ipo", "arxiv:2405.08448", None),  # the scale, 1e320, is beyond any float
        (1e-160, "arxiv:2405.08448", "gpo:ipo", 2e-160),
        (1e-160, "bandit:ipo", "gpo:ipo", 1e160),
        (1e150, "bandit:ipo", "gpo:ipo", 1e-150),
        (1e200, "trl:dpo", "gpo:dpo", 1e200),
        (1e308, "trl:dpo", "openrlhf:dpo", 1e308),
        (1e308, "arxiv:2405.08448", "gpo:ipo", None),  # 2e308
        (1e308, "trl:ipo", "gpo:ipo", None),
        (5e-324, "trl:dpo", "gpo:dpo", 5e-324),
        (1e200, "trl:ipo", "gpo:ipo", None),
    ],
)
def test_sizes_that_a_float_hardly_holds(value: float, source: str, target: str, expected: float | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="which no float holds"):
            gpo.convert_beta(value, source, target)
        return
    found = gpo.convert_beta(value, source, target)
    assert found.value == pytest.approx(expected, rel=1e-15)
    assert math.isfinite(found.loss_scale)
    assert found.loss_scale > 0


def test_robust_is_exact_only_with_its_epsilon_named() -> None:
    unsaid = gpo.convert_beta(0.1, "trl:robust", "gpo:dpo")
    assert not unsaid.exact
    assert "exactly" not in str(unsaid)
    assert any("label_smoothing=ε" in note and "--label-smoothing" in note for note in unsaid.notes)
    assert gpo.convert_beta(0.1, "trl:robust", "gpo:dpo", label_smoothing=0.0).exact
    assert not gpo.convert_beta(0.1, "trl:dpo", "trl:robust").exact
    # [(1−ε) f(z) − ε f(−z)]/(1−2ε) of the logistic has slope −½/(1−2ε) and curvature ¼: κ = (1−2ε)/2
    assert gpo.convert_beta(0.1, "trl:robust", "gpo:dpo", label_smoothing=0.1).value == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("source", "target"),
    [("trl:dpo", "trl:ipo"), ("trl:ipo", "gpo:ipo"), ("trl:ipo", "bandit:ipo"), ("trl:sigmoid_norm", "trl:sigmoid")],
)
def test_without_a_length_the_length_stands_in_the_answer(source: str, target: str) -> None:
    found = gpo.convert_beta(0.1, source, target)
    assert found.needs_tokens
    assert found.to_dict()["needs_tokens"] is True
    for tokens in (7.0, 200.0):
        given = gpo.convert_beta(0.1, source, target, tokens=tokens)
        assert (given.needs_tokens, given.length_power, given.scale_length_power) == (False, 0, 0)
        assert given.value == pytest.approx(found.value * tokens**found.length_power, rel=1e-12)
        assert given.loss_scale == pytest.approx(found.loss_scale * tokens**found.scale_length_power, rel=1e-12)
    first = str(found).splitlines()[0]
    assert (" × T" if found.length_power > 0 else " / T") in first


def test_between_losses_at_one_eta() -> None:
    found = gpo.convert_beta(0.1, "trl:hinge", "gpo:dpo", eta=0.8)
    # hinge's z*(0.8) is 1, logistic's log 4; the same log-ratio is z*/β
    assert found.value == pytest.approx(0.1 * math.log(4), rel=1e-12)
    assert not found.exact
    for bad in (0.5, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"eta|η"):
            gpo.convert_beta(0.1, "trl:hinge", "gpo:dpo", eta=bad)


def test_shown_and_written() -> None:
    found = gpo.convert_beta(0.1, "trl:ipo", "gpo:ipo")
    text = str(found)
    assert text.startswith("trl:ipo 0.1  →  gpo:squared 0.2 / T")
    assert "tokens=T" in text
    assert "0.2 / T" in text
    assert float(found) == 0.2
    written = json.loads(json.dumps(found.to_dict()))
    assert written["value"] == 0.2
    assert written["notes"] == list(found.notes)
    assert "exactly" in str(gpo.convert_beta(0.1, "openrlhf:ipo", "gpo:ipo"))


@given(
    value=st.floats(1e-5, 1e5), source=st.sampled_from(sorted(OBJECTIVES)), target=st.sampled_from(sorted(OBJECTIVES))
)
@cases(60)
def test_there_and_back(value: float, source: str, target: str) -> None:
    unlike = get_convention(source).loss != get_convention(target).loss
    if unlike and {get_convention(source).loss, get_convention(target).loss} & {"hinge", "lrml"}:
        with pytest.raises(ValueError, match="κ"):
            gpo.convert_beta(value, source, target)
        return
    there = gpo.convert_beta(value, source, target)
    back = gpo.convert_beta(there.value, target, source)
    assert back.value == pytest.approx(value, rel=1e-11)
    assert back.loss_scale * there.loss_scale == pytest.approx(1.0, rel=1e-9)
