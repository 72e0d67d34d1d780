"""The guard's words, with a stand-in for TRL whose losses are chosen here: every way in which a row can be wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the guard executes TRL, which needs torch")
pytest.importorskip("trl", reason="the guard executes TRL: pip install 'gpo-analysis[trl]'")

from gpo_analysis import get_loss
from gpo_analysis.analysis import BetaConvention, get_convention
from gpo_analysis.divergences import get_link
from gpo_analysis.estimation.identify import LossReading, Pairs
from gpo_analysis.integrations import guard as guard_module
from gpo_analysis.integrations import guard_pairs as pairs_module
from gpo_analysis.losses import get_two_ratio_loss

guard: Any = guard_module
guard_pairs: Any = pairs_module
LOGISTIC = get_loss("logistic")


class StandIn:
    """What the guard asks of TRL: a loss of each pair, and of a batch the mean of them unless `whole` says else."""

    def __init__(self, loss: Callable[..., np.ndarray], **more: Any) -> None:
        self.loss = loss
        self.refuses = more.get("refuses")
        self.whole = more.get("whole")
        self.asked: list[tuple[float, float]] = []

    def names(self) -> tuple[str, ...]:
        return ("sigmoid", "ipo", "robust", "nca_pair", "other")

    def divergences(self) -> tuple[str, ...]:
        return ("reverse_kl", "made_up")

    def refusal(self, *, loss_type: list[str], label_smoothing: float) -> str | None:
        assert (len(loss_type), label_smoothing) == (1, 0.0)
        return self.refuses

    def values(self, pairs: Pairs, name: str, beta: float, epsilon: float = 0.0, **more: Any) -> np.ndarray:
        self.asked.append((beta, epsilon))
        return self.loss(pairs, beta, epsilon, **more)

    def batch(self, pairs: Pairs, *, loss_type: list[str], beta: float, label_smoothing: float) -> float:
        if self.whole is not None:
            return float(self.whole(pairs, beta, label_smoothing))
        return float(self.loss(pairs, beta, label_smoothing).mean())


def sigmoid(pairs: Pairs, beta: float, epsilon: float = 0.0) -> np.ndarray:
    return np.asarray(LOGISTIC(beta * pairs.rho("sums")))


def robust(pairs: Pairs, beta: float, epsilon: float = 0.0) -> np.ndarray:
    return np.asarray((LOGISTIC.robust(epsilon) if epsilon else LOGISTIC)(beta * pairs.rho("sums")))


def row(name: str, **changes: Any) -> BetaConvention:
    return dataclasses.replace(get_convention(f"trl:{name}"), **changes)


def said(losses: StandIn, item: BetaConvention) -> Any:
    with np.errstate(all="ignore"):
        return guard._row(losses, losses.names(), item)


def test_a_right_row_has_nothing_said_of_it_and_every_beta_and_smoothing_is_tried() -> None:
    losses = StandIn(robust)
    assert said(losses, row("robust")) == (True, "")
    assert set(losses.asked) == {(beta, epsilon) for beta in (0.07, 0.9) for epsilon in (0.0, 0.1, 0.3)}
    losses = StandIn(robust, refuses="no")
    assert said(losses, row("robust", needs_smoothing=True)) == (True, "")
    assert 0.0 not in {epsilon for _, epsilon in losses.asked}, "what TRL refuses is not tried"


@pytest.mark.parametrize(
    ("refuses", "needs", "words"),
    [
        (None, True, "label_smoothing 0: the dictionary refuses it, TRL does not"),
        ("it must be positive", False, "label_smoothing 0: the dictionary accepts it, TRL refuses it"),
    ],
)
def test_who_refuses_no_smoothing(refuses: str | None, needs: bool, words: str) -> None:
    wrong, by = said(StandIn(sigmoid, refuses=refuses), row("sigmoid", needs_smoothing=needs))
    assert wrong is False
    assert by.partition("; ")[0] == words
    assert ("; " in by) is needs, "what the row cannot say is said once more for each β"


def test_a_name_that_trl_lacks() -> None:
    wrong, by = said(StandIn(sigmoid), dataclasses.replace(row("sigmoid"), name="trl:gone"))
    assert wrong is False
    assert by == f"TRL {guard.VERSION} has no loss_type 'gone' (it has sigmoid, ipo, robust, nca_pair, other)"


def test_values_of_no_known_loss_and_a_row_of_no_known_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = guard_pairs.random_pairs(0.9)
    own = LOGISTIC(0.9 * pairs.rho("sums"))
    ours, theirs = (LossReading(name, 0.9, 1.0, "sums", None, 0.0, 0.0) for name in ("logistic", "hinge"))
    at = "at β = 0.9, label_smoothing = 0.1: "
    item = row("sigmoid", objective="f of ρ")
    for known, words in (
        ({True: (ours,), False: ()}, "TRL's values are those of no margin loss that is known (dictionary: f of ρ)"),
        ({True: (), False: (theirs,)}, f"TRL trains {theirs}; the dictionary has f of ρ"),
        ({True: (ours,), False: (theirs,)}, "f logistic in the dictionary, hinge in TRL"),
    ):
        monkeypatch.setattr(guard, "identify", lambda _, values, known=known: known[bool(np.allclose(values, own))])
        assert [*guard._against(item, pairs, own + 1.0, 0.9, 0.1)] == [at + words]
    assert [*guard._against(item, pairs, own, 0.9, 0.1)] == []


def test_a_smoothing_that_the_row_has_none_of() -> None:
    _, by = said(StandIn(robust), row("robust", smoothing=None))
    assert "at β = 0.07, label_smoothing = 0.1: the dictionary says '" in by
    assert by.endswith("', TRL trains it")
    assert "label_smoothing = 0:" not in by, "without smoothing the two agree"


def test_each_difference_has_its_words() -> None:
    one = LossReading("logistic", 0.5, 1.0, "sums", None, 0.0, 0.0)
    told = guard._difference
    assert told(one, one) == "values that differ"
    assert told(dataclasses.replace(one, loss="hinge"), one) == "f logistic in the dictionary, hinge in TRL"
    assert told(dataclasses.replace(one, reduction="means"), one) == "reduction sums in the dictionary, means in TRL"
    smoothed = dataclasses.replace(one, smoothing="smoothed", label_smoothing=0.1)
    assert told(smoothed, one) == "smoothing none (ε = 0) in the dictionary, smoothed (ε = 0.1) in TRL"
    more = dataclasses.replace(smoothed, label_smoothing=0.1 + 4e-7)
    assert told(more, smoothed) == "values that differ", "ε is told to six decimals"
    more = dataclasses.replace(smoothed, label_smoothing=0.12345)
    assert told(more, smoothed) == "smoothing smoothed (ε = 0.1) in the dictionary, smoothed (ε = 0.1235) in TRL"
    assert told(dataclasses.replace(one, beta=0.25), one) == "β 0.5 in the dictionary, 0.25 in TRL"
    assert told(dataclasses.replace(one, scale=4.0), one) == "scale 1 in the dictionary, 4 in TRL"
    assert told(dataclasses.replace(one, scale=1 + 5e-6, beta=0.5 * (1 - 5e-6)), one) == "values that differ"
    assert told(dataclasses.replace(one, scale=1 + 2e-5), one) == "scale 1 in the dictionary, 1.00002 in TRL"
    both = dataclasses.replace(one, beta=1.0, loss="hinge")
    assert told(both, one) == "f logistic in the dictionary, hinge in TRL, β 0.5 in the dictionary, 1 in TRL"


def test_equal_is_relative_to_one_and_the_size() -> None:
    equal, inf, nan = guard_pairs.equal, np.inf, np.nan
    a = np.array([0.0, 9.0])
    assert equal(a, a)
    assert equal(a + np.array([0.9e-6, 9e-6]), a)
    assert not equal(a + np.array([1.1e-6, 0.0]), a)
    assert not equal(a + np.array([0.0, 11e-6]), a)
    assert equal(a + 0.5, a, 0.5)
    with np.errstate(invalid="ignore"):
        assert equal(np.array([inf, 1.0]), np.array([inf, 1.0]))
        assert not equal(np.array([inf, 1.0]), np.array([-inf, 1.0]))
        assert not equal(np.array([inf, 1.0]), np.array([2.0, 1.0]))
        assert not equal(np.array([2.0, 1.0]), np.array([inf, 1.0]))
        assert not equal(np.array([nan]), np.array([1.0]))


def test_a_loss_without_a_row_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    one = LossReading("logistic", 0.9, 1.0, "sums", None, 0.0, 0.0)

    def known(pairs: Pairs, values: np.ndarray) -> tuple[LossReading, ...]:
        return (one,) if np.allclose(values, sigmoid(pairs, 0.9)) else ()

    monkeypatch.setattr(guard, "identify", known)  # which tests of its own are about

    def of(loss: Callable[..., np.ndarray], **more: Any) -> Any:
        return guard._without_row(StandIn(loss, **more), "other")

    assert of(lambda pairs, beta, *_: np.exp(-beta * np.clip(pairs.chosen, -5, 5))) == (
        None, "no loss of pairs: the rejected response does not enter"
    )  # fmt: skip
    missing, by = of(sigmoid)
    assert missing is False
    assert by == "the dictionary has no row for it; TRL trains 1 · logistic at β = 0.9 over token sums at its β = 0.9"
    apart = get_two_ratio_loss("nca_pair")
    assert of(lambda pairs, beta, *_: apart(beta * pairs.chosen, beta * pairs.rejected)) == (
        None, "a loss of the two log-ratios taken apart: no function of their difference has its values"
    )  # fmt: skip
    batch = "a statistic of the batch: its loss is not the mean of the losses of its pairs"
    assert of(sigmoid, whole=lambda *_: 3.0) == (None, f"{batch}; of one pair alone it is logistic")
    assert of(
        lambda pairs, beta, *_: apart(beta * pairs.chosen, beta * pairs.rejected), whole=lambda *_: 3.0
    ) == (None, batch)  # fmt: skip
    for off, told in ((0.9e-6, False), (1.3e-6, None)):  # relative to 1 + the loss of the batch
        mean = lambda pairs, beta, eps, off=off: (m := sigmoid(pairs, beta).mean()) + off * (1 + m)  # noqa: E731
        assert of(sigmoid, whole=mean)[0] is told


def test_divergences_without_a_link_and_with_a_wrong_one() -> None:
    def trained(link: Any) -> StandIn:
        def loss(pairs: Pairs, beta: float, epsilon: float, **more: Any) -> np.ndarray:
            assert more["f_divergence_type"] in guard.LINKS
            assert np.abs(pairs.chosen).max() == np.abs(pairs.rejected).max() == 2.0
            assert set(np.concatenate(guard_pairs.lengths(pairs))) == {1.0}
            of_log = link(more["f_alpha_divergence_coef"]).of_log
            return np.asarray(np.logaddexp(0, -beta * (of_log(pairs.chosen) - of_log(pairs.rejected))))

        return StandIn(loss)

    asked = guard._divergence
    one = trained(guard.LINKS["reverse_kl"])
    assert asked(one, "made_up") == (False, "the dictionary has no link for it")
    assert asked(one, "reverse_kl") == (True, "")
    assert len(one.asked) == 1
    assert one.asked[0][0] == 0.5
    found = asked(trained(lambda _: get_link("chi_po")), "reverse_kl")
    assert found == (False, "at α = 0.2 the dictionary has log t, TRL no α-divergence that is known")
    found = asked(trained(lambda _: guard.alpha_link(0.35)), "forward_kl")
    assert found == (False, "at α = 0.2 the dictionary has −1/t, TRL (1 − t^(−0.35))/0.35")
    alpha = trained(guard.LINKS["alpha_divergence"])
    assert asked(alpha, "alpha_divergence") == (True, "")
    assert len(alpha.asked) == 3, "at three coefficients"
    other = trained(lambda a: guard.LINKS["alpha_divergence"](0.95 if a == 0.8 else a))
    assert asked(other, "alpha_divergence") == (
        False, "at α = 0.8 the dictionary has (1 − t^(−0.2))/0.2, TRL (1 − t^(−0.05))/0.05"
    )  # fmt: skip


def test_what_is_checked_is_every_row_what_has_none_and_every_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "TrlLosses", lambda: StandIn(sigmoid))
    for name in ("_row", "_without_row", "_divergence"):
        monkeypatch.setattr(guard, name, lambda *given, name=name: (True, name))
    rows = [row("sigmoid"), dataclasses.replace(row("ipo"), name="verl:ipo")]
    found = guard.check_trl(rows)
    assert [(v.name, v.by) for v in found] == [
        ("trl:sigmoid", "_row"), ("trl:ipo", "_without_row"), ("trl:robust", "_without_row"),
        ("trl:nca_pair", "_without_row"), ("trl:other", "_without_row"), ("trl:f_divergence:reverse_kl", "_divergence"),
        ("trl:f_divergence:made_up", "_divergence"),
    ]  # fmt: skip
    steps: list[tuple[float, str]] = []
    (one,) = guard.check_trl(rows, ["trl:other"], progress=lambda done, what: steps.append((done, what)))
    assert one.to_dict() == {
        "library": "trl", "name": "trl:other", "version": guard.VERSION, "agrees": True, "by": "_without_row",
    }  # fmt: skip
    assert steps[0] == (0.0, "trl:other")
    assert guard.check_trl(rows, []) == []


@pytest.mark.parametrize(
    ("epsilon", "words"),
    [(0.0, "label_smoothing = 0: values differ by up to "), (0.1, "label_smoothing = 0.1: values differ by up to ")],
)
def test_two_log_ratios_whose_values_differ(epsilon: float, words: str) -> None:
    right, other = get_two_ratio_loss("nca_pair"), get_two_ratio_loss("bco_pair")

    def loss(pairs: Pairs, beta: float, at: float) -> np.ndarray:
        return (other if at == epsilon else right)(beta * pairs.chosen, beta * pairs.rejected)

    losses = StandIn(loss, whole=None)
    found = [*guard_pairs.pair_faults(losses, "nca_pair", row("nca_pair"))]
    assert [words in one for one in found] == [True, True], "at both β"
    assert all(
        one.endswith(f"; TRL trains 1 · bco_pair at β = {b}") for one, b in zip(found, ("0.07", "0.9"), strict=True)
    )
    pairs = guard_pairs.random_pairs(0.07, count=20)
    a, b = 0.07 * pairs.chosen, 0.07 * pairs.rejected
    assert f"up to {np.abs(right(a, b) - other(a, b)).max():.6g};" in found[0]


def test_two_log_ratios_of_no_known_loss_and_a_batch_that_is_no_mean() -> None:
    right = get_two_ratio_loss("nca_pair")

    def loss(pairs: Pairs, beta: float, *_: float) -> np.ndarray:
        return np.asarray(right(beta * pairs.chosen, beta * pairs.rejected))

    losses = StandIn(lambda pairs, beta, *_: np.sin(pairs.chosen))
    for one in guard_pairs.pair_faults(losses, "nca_pair", row("nca_pair")):
        assert one.endswith("; TRL's values are those of no loss of two log-ratios that is known")
    assert [*guard_pairs.pair_faults(StandIn(loss), "nca_pair", row("nca_pair"))] == []
    double = StandIn(loss, whole=lambda pairs, beta, *_: 2 * loss(pairs, beta).mean())
    found = [*guard_pairs.pair_faults(double, "nca_pair", row("nca_pair"))]
    mean = loss(guard_pairs.random_pairs(0.07, count=20), 0.07).mean()
    said = f"at β = 0.07: the loss of a batch, {2 * mean:.6g}, is not the mean over its pairs, {mean:.6g}"
    assert found[0] == said
    assert len(found) == 2
    for off, faults in ((0.9e-6, 0), (1.1e-6, 2)):
        near = StandIn(loss, whole=lambda p, beta, *_, off=off: (m := loss(p, beta).mean()) + off * (1 + m))
        assert len([*guard_pairs.pair_faults(near, "nca_pair", row("nca_pair"))]) == faults


def test_a_batch_that_differs_is_said_once_for_each_beta_and_smoothing() -> None:
    def whole(pairs: Pairs, beta: float, epsilon: float) -> float:
        own = guard_pairs.batch_value(row("aot"), pairs, beta, epsilon)
        return float(own) + (0.25 if beta == 0.9 and epsilon == 0.3 else 0.0)

    losses = StandIn(sigmoid, whole=whole)
    (found,) = guard_pairs.batch_faults(losses, "aot", row("aot"))
    own = guard_pairs.batch_value(row("aot"), guard_pairs.random_pairs(0.9, count=16, seed=0), 0.9, 0.3)
    assert found == (
        f"at β = 0.9, label_smoothing = 0.3: a batch has {own:.6g} in the dictionary, {own + 0.25:.6g} in TRL"
    )


def test_a_batch_sorts_both_sides() -> None:
    """AOT of log-ratios of pairs: f at the differences of sorted columns, by the definition."""
    pairs = guard_pairs.random_pairs(0.5, count=7, seed=2)
    w, l = guard_pairs.lengths(pairs)  # noqa: E741
    policy = pairs.chosen - w, pairs.rejected - l
    for name, columns in (
        ("aot", (policy[0] - policy[1], -w + l)), ("aot_unpaired", (pairs.chosen, pairs.rejected)),
    ):  # fmt: skip
        gaps = np.sort(columns[0]) - np.sort(columns[1])
        for epsilon in (0.0, 0.1):
            f = LOGISTIC.smoothed(epsilon) if epsilon else LOGISTIC
            found = guard_pairs.batch_value(row(name), pairs, 0.5, epsilon)
            assert found == pytest.approx(f(0.5 * gaps).mean(), rel=1e-12)
        plain = guard_pairs.batch_value(row(name, smoothing="ignored"), pairs, 0.5, 0.1)
        assert plain == pytest.approx(LOGISTIC(0.5 * gaps).mean(), rel=1e-12)
