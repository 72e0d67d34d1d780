"""What GPOTrainer is told and what it makes of it: settings, the objective of a pair, TRL's script and calls."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from gpo_analysis import get_loss  # noqa: E402
from gpo_analysis.integrations import trl_script as script_module  # noqa: E402
from gpo_analysis.integrations.objective import (  # noqa: E402
    DIVERGENCES,
    PairSums,
    generator_derivative,
    pair_losses,
    soft_loss,
    wpo_weights,
)
from gpo_analysis.integrations.trl_calls import OwnBatchSize, Recorder  # noqa: E402
from gpo_analysis.integrations.trl_config import GPOConfig, Settings, settings_of  # noqa: E402
from gpo_analysis.losses import get_two_ratio_loss  # noqa: E402
from tests.integrations.stand_ins import OLD_CALLS, holder  # noqa: E402

pytestmark = OLD_CALLS


trl_script: Any = script_module


def config(folder: Path, **named: Any) -> GPOConfig:
    return GPOConfig(output_dir=str(folder), use_cpu=True, bf16=False, report_to=[], **named)


def test_defaults_and_what_is_said_where() -> None:
    plain = settings_of(None, Settings())
    assert plain == Settings("logistic", "sum", "reverse_kl", None, 256)
    assert plain.objective.name == "logistic"
    assert Settings().objective.name == "logistic"
    assert Settings(" AOT-Unpaired ").objective.name == "aot_unpaired"
    assert Settings("aot").objective.name == "aot"
    hinge = get_loss("hinge")
    assert Settings(hinge).objective is hinge


def test_arguments_count_before_fields_and_fields_before_defaults(tmp_path: Path) -> None:
    args = config(tmp_path, loss="savage", reduction="mean", link="alpha", kl_prompts=7, kl_max_new_tokens=11)
    assert settings_of(args, Settings()) == Settings("savage", "mean", "alpha", 7, 11)
    given = Settings(kl_prompts=7, kl_max_new_tokens=11, loss="savage")
    assert settings_of(args, given) == Settings("savage", "mean", "alpha", 7, 11)
    plain = config(tmp_path)
    assert settings_of(plain, Settings("hinge", "mean", "chi_po", 0, 1)) == Settings("hinge", "mean", "chi_po", 0, 1)
    clashes: tuple[tuple[str, Any], ...] = (
        ("loss", "hinge"),
        ("reduction", "sum"),
        ("link", "chi_po"),
        ("kl_prompts", 3),
    )
    for name, mine in clashes:
        with pytest.raises(ValueError, match=f"{name} is {mine!r} and .* in args; give one of them"):
            settings_of(args, Settings(**{name: mine}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reduction": "max"}, "reduction 'max'; accepted are 'sum' and 'mean'"),
        ({"link": "kl"}, f"link 'kl'; accepted are {', '.join(DIVERGENCES)}"),
        ({"kl_max_new_tokens": 0}, "kl_max_new_tokens 0, kl_prompts None; accepted are ≥ 1, ≥ 0"),
        ({"kl_prompts": -1}, "kl_max_new_tokens 256, kl_prompts -1; accepted"),
        ({"loss": 3}, "loss is a int; accepted are a name"),
        ({"loss": "nca_pair", "link": "alpha"}, "link 'alpha' with nca_pair: its term β log Z cancels in margins"),
        ({"loss": "aot", "reduction": "mean"}, "reduction 'mean' with aot; accepted is 'sum'"),
    ],
)
def test_what_is_refused_and_its_neighbours_that_are_not(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_of(None, Settings(**given))
    settings_of(None, Settings(kl_max_new_tokens=1, kl_prompts=0))
    settings_of(None, Settings(loss="nca_pair", reduction="mean"))
    settings_of(None, Settings(loss="aot"))


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("loss_type", ["ipo"], "name the loss by loss="), ("loss_type", ["sigmoid", "sft"], "name the loss by loss="),
        ("loss_weights", [1.0], r"give gpo_analysis.losses.mixture"),
        ("label_smoothing", 0.1, r"give loss.smoothed\(ε\) or loss.robust\(ε\) as loss="),
        ("f_divergence_type", "forward_kl", "give the divergence by link="),
    ],
)  # fmt: skip
def test_another_objective_is_refused_with_advice(field: str, value: Any, advice: str) -> None:
    with pytest.raises(ValueError, match=rf"{field}=.* in args makes another objective than .*: {advice}"):
        settings_of(SimpleNamespace(beta=0.1, **{field: value}), Settings())
    settings_of(SimpleNamespace(beta=0.1, loss_type=["sigmoid"], loss_weights=None, label_smoothing=0.0), Settings())


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
def test_beta_is_a_finite_number_above_zero(beta: float) -> None:
    with pytest.raises(ValueError, match=f"beta is {beta}; accepted are finite numbers above 0"):
        settings_of(SimpleNamespace(beta=beta), Settings())
    settings_of(SimpleNamespace(beta=1e-9), Settings())


def test_weights_of_pairs_have_no_place_where_a_batch_is_sorted() -> None:
    with pytest.raises(ValueError, match="use_weighting with aot, which sorts the batch"):
        settings_of(SimpleNamespace(beta=0.1, use_weighting=True), Settings("aot"))
    settings_of(SimpleNamespace(beta=0.1, use_weighting=True), Settings("hinge"))
    settings_of(SimpleNamespace(beta=0.1, use_weighting=False), Settings("aot"))


def test_fields_of_the_configuration_their_defaults_and_their_help(tmp_path: Path) -> None:
    found = config(tmp_path)
    expected = {
        "loss": ("logistic", "a name, or an expression in z, or in a and b"), "reduction": ("sum", "'mean'"),
        "link": ("reverse_kl", ", ".join(DIVERGENCES)), "kl_prompts": (None, "0 for none"),
        "kl_max_new_tokens": (256, "are cut"), "pair_log": (None, "gpo diagnose reads"),
        "pair_log_steps": (0, "0: none between"), "pair_log_pairs": (512, "Pairs of the training set"),
    }  # fmt: skip
    for name, (default, words) in expected.items():
        assert getattr(found, name) == default
        assert words in GPOConfig.__dataclass_fields__[name].metadata["help"]
    config(tmp_path, pair_log_steps=0, pair_log_pairs=1)
    for bad in ({"pair_log_steps": -1}, {"pair_log_pairs": 0}):
        with pytest.raises(ValueError, match="accepted are ≥ 0, ≥ 1"):
            config(tmp_path, **bad)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_generator_derivatives_are_those_in_numpy(divergence: str) -> None:
    from gpo_analysis.divergences import get_link

    s = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    found = generator_derivative(divergence, s)
    expected = get_link(divergence).of_log(s.detach().numpy())
    np.testing.assert_allclose(found.detach().numpy() - found[6].item(), expected - expected[6], atol=1e-12)
    (slope,) = torch.autograd.grad(found.sum(), s)
    numeric = (
        generator_derivative(divergence, s.detach() + 1e-6) - generator_derivative(divergence, s.detach() - 1e-6)
    ) / 2e-6
    np.testing.assert_allclose(slope.numpy(), numeric.numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match=r"divergence is 'kl'; accepted are reverse_kl, forward_kl"):
        generator_derivative("kl", s)


def test_soft_labels_weigh_both_directions_and_zero_removes_an_infinite_side() -> None:
    f, z = get_loss("exponential"), torch.tensor([2.0, -1.0, -1000.0, 1000.0], dtype=torch.float64)
    p = torch.tensor([0.75, 0.0, 0.0, 1.0], dtype=torch.float64)
    found = soft_loss(f, z, p)
    assert found.tolist() == pytest.approx([0.75 * math.exp(-2) + 0.25 * math.exp(2), math.exp(-1), 0.0, 0.0])
    apart = get_two_ratio_loss("nca_pair")
    sums = PairSums(
        torch.tensor([[1.0, -2.0], [0.5, 0.25]], dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64),
        torch.tensor([[2, 4], [1, 1]]),
    )  # fmt: skip
    for p_, reduction, by in (([1.0, 1.0], "sum", (1, 1)), ([0.25, 0.0], "sum", (1, 1)), ([0.25, 0.0], "mean", (2, 4))):
        got = pair_losses(apart, 0.5, sums, reduction=reduction, p=torch.tensor(p_))
        a, b = 0.5 * 1.0 / by[0], 0.5 * -2.0 / by[1]
        expected = [
            p_[0] * apart(a, b) + (1 - p_[0]) * apart(b, a),
            apart(*((0.25, 0.125) if p_[1] else (0.125, 0.25))),
        ]
        assert got.tolist() == pytest.approx([float(value) for value in expected])


def test_no_length_is_divided_by_where_a_response_has_no_token() -> None:
    sums = PairSums(torch.tensor([[2.0, -3.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[0, 2]]))
    assert sums.ratios("sum").tolist() == [[1.0, -4.0]]
    assert sums.ratios("mean").tolist() == [[1.0, -2.0]]


def test_weights_of_wpo_are_products_of_means_over_completions() -> None:
    rng = np.random.default_rng(0)
    logps, squares = -rng.random((4, 7)), -rng.random((4, 7))
    mask = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]], dtype=float)
    found = wpo_weights(
        SimpleNamespace(log_probs=torch.tensor(logps), log_sum_sq_probs=torch.tensor(squares)), torch.tensor(mask)
    )
    each = ((logps - squares)[:, -4:] * mask).sum(1) / np.maximum(mask.sum(1), 1)
    np.testing.assert_allclose(found.numpy(), np.exp(each[:2] + each[2:]), rtol=1e-6)


def test_the_script_reads_the_words_of_its_command_line_and_hands_on_what_they_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import trl as trl_module

    trl: Any = trl_module

    told: list[Any] = []
    before = trl.DPOConfig, trl.DPOTrainer

    def run(*parts: Any) -> None:
        told.append(parts)
        assert trl.DPOTrainer is trl_script.GPOTrainer
        assert trl.DPOConfig is GPOConfig

    monkeypatch.setattr(trl_script.dpo, "main", run)
    words = ["--output_dir", str(tmp_path), "--use_cpu", "--bf16", "False", "--report_to", "none", "--beta", "0.25"]
    words += ["--dataset_name", "one", "--model_name_or_path", "two", "--loss", "-log(sigmoid(z))"]
    trl_script.main(words)
    monkeypatch.setattr(sys, "argv", ["trl_script", *words[:-1], "savage"])
    trl_script.main()
    for parts, loss in zip(told, ("-log(sigmoid(z))", "savage"), strict=True):
        assert len(parts) == 4
        script, training, model, _ = parts
        assert (script.dataset_name, model.model_name_or_path) == ("one", "two")
        assert isinstance(training, GPOConfig)
        assert (training.beta, training.loss) == (0.25, loss)
    assert (trl.DPOConfig, trl.DPOTrainer) == before, "TRL is as it was"
    with pytest.raises(ValueError, match="--no_such_option"):
        trl_script.main([*words, "--no_such_option", "3"])
    assert len(told) == 2


def test_only_a_loss_that_begins_with_a_minus_is_joined_to_its_option() -> None:
    join = trl_script.with_formulas
    assert join(["--loss", "-z", "--beta", "1", "--loss", "-a"]) == ["--loss=-z", "--beta", "1", "--loss=-a"]
    for words in (["--loss", "hinge"], ["--loss", "--beta"], ["--beta", "-1"], ["--loss"], [], ["-z", "--loss"]):
        assert join(words) == words


def test_the_first_call_is_remembered_and_a_batch_is_as_large_as_was_asked() -> None:
    seen = Recorder(lambda **given: given)
    assert seen(x=1) == {"x": 1}
    assert seen(x=2) == {"x": 2}
    assert seen.first == {"x": 1}

    class Loop:
        def _inner_training_loop(self, batch_size: Any = None, *rest: Any, **named: Any) -> Any:
            return batch_size, rest, named

    class Own(OwnBatchSize, Loop):
        def __init__(self, auto: bool) -> None:
            self.args = holder(auto_find_batch_size=auto, train_batch_size=8)

    assert Own(auto=False)._inner_training_loop(4, 1, two=2) == (8, (1,), {"two": 2})
    assert Own(auto=True)._inner_training_loop(4, 1, two=2) == (4, (1,), {"two": 2})
    assert Own(auto=False)._inner_training_loop() == (8, (), {})
