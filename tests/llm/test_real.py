"""The study of a real model: adapters over cached states against peft, linearisations, sources, the study itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from llm.forests.network import Shape
from llm.forests.problem import Problem
from llm.forests.trees import plant
from llm.predicted.models import Model
from llm.predicted.training import train
from llm.real.__main__ import main
from llm.real.config import AdapterCell, preset
from llm.real.models import Linear, Network, signal_share, weight_slopes
from llm.real.network import (
    Base,
    Tensors,
    adapted,
    fresh_adapters,
    log_normalizer,
    lower_states,
    plain,
    upper_logprobs,
)
from llm.real.sources import Sources, title_overlap
from llm.real.study import PromptPairs, finished, pairs_of, plan_pieces, run_study

CONFIG = preset("titles-tiny")
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def sources() -> Sources:
    found = Sources(CONFIG, None, None)
    found.model.double()
    return found


@pytest.fixture(scope="module")
def problem(sources: Sources) -> Problem:
    return sources.problem(CONFIG, 0)


@pytest.fixture(scope="module")
def base(sources: Sources) -> Base:
    return Base.of(sources.model, CONFIG.upper)


@pytest.fixture(scope="module")
def pairs(problem: Problem) -> PromptPairs:
    return pairs_of(problem, CONFIG)


@pytest.fixture(scope="module")
def slopes(base: Base, problem: Problem) -> list[Tensors]:
    return [weight_slopes(base, lower_states(base, part.forest)) for _, part in problem.parts()]


def by_peft(model: Any, adapters: Tensors, run: int, rank: int, alpha: float, prompt: list[int], response: Any) -> Any:
    """log π of a response by transformers and peft, a row of its own, and the gradient with respect to A and B."""
    import copy
    import warnings

    from peft import LoraConfig, get_peft_model

    layers = sorted({int(name.split(".")[0]) for name in adapters})
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(TARGETS), layers_to_transform=layers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        wrapped = get_peft_model(copy.deepcopy(model), config)
    weights = {}
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parts = name.split(".")
            layer, target = parts[parts.index("layers") + 1], next(t for t in TARGETS if t in parts)
            side = "a" if "lora_A" in parts else "b"
            key = f"{layer}.{target.removesuffix('_proj')}.{side}"
            parameter.data = adapters[key][run].clone()
            weights[key] = parameter
    ids = torch.tensor([[*prompt, *response]])
    logits = wrapped(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    logprob = logits.gather(1, torch.tensor(response)[:, None]).sum()
    gradients = torch.autograd.grad(logprob, list(weights.values()))
    return logprob.detach(), dict(zip(weights, gradients, strict=True))


def moved(base: Base, runs: int = 2) -> Tensors:
    """Adapters that are not at their start, each run's its own."""
    generator = torch.Generator().manual_seed(3)
    start = fresh_adapters(base, CONFIG.rank, runs, seed=0)
    return {
        name: value + 0.3 * torch.randn(value.shape, generator=generator).to(value) for name, value in start.items()
    }


@pytest.mark.parametrize("upper", [1, 2, 3])
def test_logprobs_and_gradients_over_cached_states_are_those_of_peft(
    sources: Sources, problem: Problem, upper: int
) -> None:
    """To the float32 in which transformers takes norms and rotary angles, whatever the parameters are in."""
    base = Base.of(sources.model, upper)
    adapters = moved(base)
    part = problem.seen
    cached = lower_states(base, part.forest).take([0, 2])
    leaves = {name: value.requires_grad_() for name, value in adapters.items()}
    found = upper_logprobs(base, cached, adapted(base, leaves, CONFIG.scaling))
    _, distinct = plant(part.prompts, part.samples)
    for row, prompt in enumerate((0, 2)):
        for place in (0, len(distinct[prompt]) - 1):
            for run in range(2):
                gradients = torch.autograd.grad(found[run, row, place], list(leaves.values()), retain_graph=True)
                values = {name: value.detach() for name, value in adapters.items()}
                expected, slopes = by_peft(
                    sources.model, values, run, CONFIG.rank, CONFIG.alpha, part.prompts[prompt], distinct[prompt][place]
                )
                assert float(found[run, row, place].detach()) == pytest.approx(float(expected), rel=1e-6)
                for name, value in zip(leaves, gradients, strict=True):
                    assert float((value[run] - slopes[name]).norm()) < 1e-4 * float(slopes[name].norm())
                    assert not value[1 - run].any()


def test_the_normalizer_has_the_gradient_of_logsumexp() -> None:
    generator = torch.Generator().manual_seed(0)
    head = torch.randn(11, 4, generator=generator, dtype=torch.float64)
    hidden = torch.randn(2, 300, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 300, generator=generator, dtype=torch.float64)
    found, expected = log_normalizer(hidden, head), (hidden @ head.T).logsumexp(-1)
    torch.testing.assert_close(found, expected)
    one, other = (torch.autograd.grad((weights * value).sum(), hidden)[0] for value in (found, expected))
    torch.testing.assert_close(one, other)


def test_slopes_are_those_of_finite_differences(base: Base, problem: Problem, slopes: list[Tensors]) -> None:
    cached = lower_states(base, problem.seen.forest)
    generator = torch.Generator().manual_seed(1)
    direction = {k: torch.randn(v.shape, generator=generator).to(v) for k, v in base.weights.items()}
    step = 1e-6
    ends = [
        upper_logprobs(base, cached, plain({k: v + sign * step * direction[k] for k, v in base.weights.items()}))[0]
        for sign in (1.0, -1.0)
    ]
    slope = (ends[0] - ends[1]) / (2 * step)
    found = sum(slopes[0][name] @ direction[name].flatten() for name in direction)
    present = problem.seen.forest.weight > 0
    torch.testing.assert_close(found[present], slope[present], rtol=1e-6, atol=1e-6)
    assert (found[~present] == 0).all()


def test_the_linear_model_has_the_gradient_of_its_own_margins(
    base: Base, pairs: PromptPairs, slopes: list[Tensors]
) -> None:
    leaves = {name: value.requires_grad_() for name, value in moved(base).items()}
    linear = Linear(slopes, pairs, leaves, CONFIG.scaling, [False, True])
    rows = pairs.batch(0, 12)
    rho = linear.margins(rows)
    weights = torch.randn(rho.shape, generator=torch.Generator().manual_seed(2)).to(rho)
    expected = torch.autograd.grad((weights * rho).sum(), list(leaves.values()))
    with torch.no_grad():
        found = linear.gradient(weights)
    for (name, value), other in zip(found.items(), expected, strict=True):
        torch.testing.assert_close(value[0], other[0])
        if name.endswith(".a"):
            assert not value[1].any()  # A is fixed there
        else:
            torch.testing.assert_close(value[1], other[1])


@pytest.mark.parametrize("fixed", [False, True])
def test_both_linear_models_are_the_model_as_the_rate_goes_to_zero(
    base: Base, problem: Problem, pairs: PromptPairs, slopes: list[Tensors], fixed: bool
) -> None:
    """The linearisation in W is off by the first order of the rate; that in the parameters as much where A is fixed."""
    cached = [lower_states(base, part.forest) for _, part in problem.parts()]
    errors: dict[str, list[float]] = {"tangent": [], "parameters": []}
    for rate in (4e-4, 1e-4):
        config = dataclasses.replace(CONFIG, adam_rate=rate)
        cells = [AdapterCell("logistic", 0.4, "adamw", 1.0, 12, 0.0, fixed)]
        models: dict[str, Model] = {
            "real": Network(base, cached, problem, pairs, fresh_adapters(base, 2, 1, 0), config.scaling, [fixed])
        }
        for name, held in (("tangent", fixed), ("parameters", True)):
            models[name] = Linear(slopes, pairs, fresh_adapters(base, 2, 1, 0), config.scaling, [held])
        h = {name: train(model, cells, pairs, config).seen[-1, 0].astype(np.float64) for name, model in models.items()}
        for name, found in errors.items():
            found.append(float(np.abs(h[name] - h["real"]).max() / np.abs(h["real"]).max()))
    assert errors["tangent"][1] < 0.35 * errors["tangent"][0]
    assert errors["tangent"][1] < 0.02
    if fixed:
        assert errors["parameters"] == errors["tangent"]
    else:
        assert errors["parameters"][1] > 3 * errors["tangent"][1]


def test_a_stack_trains_each_run_as_alone(base: Base, problem: Problem, pairs: PromptPairs) -> None:
    cached = [lower_states(base, part.forest) for _, part in problem.parts()]
    cells = CONFIG.cells()
    fixed = [cell.fixed_a for cell in cells]
    together = Network(base, cached, problem, pairs, fresh_adapters(base, 2, len(cells), 0), CONFIG.scaling, fixed)
    course = train(together, cells, pairs, CONFIG)
    for run in (1, len(cells) - 1):
        alone = Network(base, cached, problem, pairs, fresh_adapters(base, 2, 1, 0), CONFIG.scaling, [fixed[run]])
        found = train(alone, [cells[run]], pairs, CONFIG)
        np.testing.assert_allclose(found.seen[:, 0], course.seen[:, run], rtol=1e-5, atol=1e-6)
        a = [value[run] for name, value in together.parameters.items() if name.endswith(".a")]
        start = [value[0] for name, value in fresh_adapters(base, 2, 1, 0).items() if name.endswith(".a")]
        assert all(torch.equal(*both) for both in zip(a, start, strict=True)) == fixed[run]


def test_a_step_takes_whole_prompts_and_a_pass_all_of_them(pairs: PromptPairs) -> None:
    batches = [pairs.batch(step, 12) for step in range(4)]
    for rows in batches:
        assert np.bincount(pairs.prompt[rows]).max() == 6
        assert len(rows) == 12
    assert sorted(np.concatenate(batches[:2])) == list(range(24)) == sorted(np.concatenate(batches[2:]))


def test_signal_is_a_share(base: Base, pairs: PromptPairs, slopes: list[Tensors]) -> None:
    linear = Linear(slopes, pairs, fresh_adapters(base, 2, 1, 0), CONFIG.scaling, [True])
    everything = np.arange(len(pairs))
    assert signal_share(linear, pairs, [everything, everything]) == pytest.approx(1.0)
    assert 0 < signal_share(linear, pairs, [pairs.batch(step, 12) for step in range(2)]) < 1


def test_a_title_counts_its_words_once_each() -> None:
    assert title_overlap("Red, red boat!", "the RED boat") == pytest.approx(2 / 3)
    assert title_overlap("green", "the red boat") == 0.0


def test_models_and_sizes_that_are_not_computed_are_refused(sources: Sources) -> None:
    with pytest.raises(ValueError, match="4 upper layers of a model with 3"):
        Base.of(sources.model, 4)
    other = type(sources.model.config)(**{**sources.model.config.to_dict(), "attention_bias": True})
    with pytest.raises(ValueError, match="no biases"):
        Shape.of(other)
    with pytest.raises(ValueError, match="samples 2, pairs_per_prompt 1"):
        dataclasses.replace(preset("hh-tiny"), samples=3)
    with pytest.raises(ValueError, match="needs --model and --data"):
        run_study(preset("titles-small"), "nowhere")


@pytest.mark.parametrize("name", ["titles-tiny", "hh-tiny"])
def test_the_tiny_study_runs_goes_on_and_has_its_tables(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    assert main(["--preset", name, "--seeds", "0", "--out", str(out)]) == 0
    first = (out / "seed-0/piece-0.sealed").read_bytes()
    (out / "seed-0/piece-1.sealed").write_bytes(b"damaged")
    assert main(["--preset", name, "--seeds", "0", "--out", str(out)]) == 0
    assert "trained again" in capsys.readouterr().out
    assert (out / "seed-0/piece-0.sealed").read_bytes() == first
    steps = pd.read_parquet(out / "steps.parquet")
    assert set(steps["method"]) == {"tangent", "parameters", "scalar", "direction", "kappa"}
    seen = steps[(steps["split"] == "seen") & (steps["method"] == "tangent")]
    assert len(seen) == 2 * len(preset(name).cells())
    assert (seen["mean_rho"] > 0).all()
    assert (seen["kl"] > 0).all()
    assert len(pd.read_parquet(out / "best.parquet")) == (2 * 6 if name == "titles-tiny" else 0)


def test_a_piece_without_its_limit_waits(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, seeds=(0,))
    run_study(config, tmp_path, budget_seconds=None, tables=False)
    from llm.forests.store import Store, claim

    key = claim(tmp_path, {**config.to_json(), "sources": Sources(config, None, None).digests()})
    store, pieces = Store(tmp_path, key, print), plan_pieces(config)
    assert [len(one.cells) for one in finished(store, pieces)] == [3, 2]
    assert [len(one.cells) for one in finished(store, pieces[1:])] == [2]
