"""Log-probabilities against the model's own forward and torch's log-softmax, at every edge of chunks and batches."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="transformers is not installed")

from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from gpo_analysis.integrations.sampling import cache_name
from llm.policy import logprobs
from llm.policy.batches import TokenizedPairs
from llm.policy.logprobs import (
    along,
    chosen_logprobs,
    logprobs_of,
    next_logits,
    pair_logprobs,
    precision,
    reference_logprobs,
    response_logprobs,
)
from llm.policy.models import LoraSettings, add_lora
from llm.policy.packing import Batch, pack, response_rows, unpacked

SIZES = {
    "vocab_size": 13, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 64, "tie_word_embeddings": False,
}  # fmt: skip
#: Of unlike and of equal lengths, in no order of lengths.
PROMPTS = [[3, 4, 5, 6], [7], [8, 9], [2, 3, 4], [5], [6, 7]]
RESPONSES = [[5, 1], [6, 7, 8, 9, 1], [1], [9, 1], [4, 1], [3, 11, 1]]


def llama(seed: int = 0, **settings: Any) -> Any:
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**SIZES, **settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    """Two models of one vocabulary."""
    return llama(0), llama(1)


@pytest.fixture(scope="module")
def pairs() -> TokenizedPairs:
    """Six pairs, whose rejected responses are the chosen ones in another order."""
    return TokenizedPairs(PROMPTS, RESPONSES, [*RESPONSES[1:], RESPONSES[0]], np.ones(len(PROMPTS)))


def slowly(model: Any, prompt: list[int], response: list[int]) -> torch.Tensor:
    """(t, v) log-probabilities of all next tokens at a response's places: the model's own forward, nothing padded."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + response])).logits[0].double()
    return logits.log_softmax(-1)[len(prompt) - 1 : -1]


def sums(model: Any, prompts: list[list[int]], responses: list[list[int]]) -> np.ndarray:
    found = []
    for x, y in zip(prompts, responses, strict=True):
        found.append(float(slowly(model, x, y)[range(len(y)), y].sum()))
    return np.array(found)


def drawn(runs: int, n: int, v: int, d: int, dtype: torch.dtype, shared: bool) -> tuple[torch.Tensor, ...]:
    made = torch.Generator().manual_seed(0)
    hidden = torch.randn(runs, n, d, generator=made).to(dtype).requires_grad_()
    weight = torch.randn(*((v, d) if shared else (runs, v, d)), generator=made).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(0, v, (n,), generator=made), torch.randn(runs, n, generator=made).double()


@contextmanager
def products(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many numbers each product of matrices has."""
    found: list[int] = []
    multiply = torch.bmm

    def counted(*matrices: torch.Tensor, **options: Any) -> torch.Tensor:
        made = multiply(*matrices, **options)
        found.append(made.numel())
        return made

    with monkeypatch.context() as patched:
        patched.setattr(torch, "bmm", counted)
        yield found


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 0.03)]
)
@pytest.mark.parametrize("chunk", [1, 13, 14, 38, 39, 40, 41, 400])
def test_chunks_are_no_larger_than_they_may_be_and_change_nothing(
    shared: bool, dtype: torch.dtype, tolerance: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients of torch's own log-softmax in float64, of either way to share the head."""
    runs, n, v = 2, 7, 5
    hidden, weight, targets, cotangent = drawn(runs, n, v, 3, dtype, shared)
    wide = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    expected = (
        (wide[0] @ wide[1].transpose(-1, -2)).log_softmax(-1).gather(-1, targets.expand(runs, -1)[..., None])[..., 0]
    )
    expected.backward(cotangent)
    with products(monkeypatch) as counted:
        found = chosen_logprobs(hidden, weight, targets, chunk_elements=chunk)
        found.backward(cotangent.to(found.dtype))
    most = max(1, chunk // (runs * v))  # positions at a time
    assert counted == 2 * [runs * v * min(most, n - start) for start in range(0, n, most)]
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    # sums of products that are exact in float32: a half-precision head only rounds what it is given
    torch.testing.assert_close(found.double(), expected, atol=min(tolerance, 2e-6), rtol=0)
    for one, other in zip((hidden, weight), wide, strict=True):
        assert one.grad is not None
        assert one.grad.dtype == dtype
        assert other.grad is not None
        torch.testing.assert_close(one.grad.double(), other.grad, atol=tolerance, rtol=tolerance)


def test_a_frozen_head_or_frozen_states_change_no_gradient_of_the_other() -> None:
    hidden, weight, targets, _ = drawn(2, 7, 5, 3, torch.float64, True)
    whole = torch.autograd.grad(chosen_logprobs(hidden, weight, targets).sum(), (hidden, weight))
    (alone,) = torch.autograd.grad(chosen_logprobs(hidden, weight.detach(), targets).sum(), hidden)
    torch.testing.assert_close(alone, whole[0])
    (alone,) = torch.autograd.grad(chosen_logprobs(hidden.detach(), weight, targets).sum(), weight)
    torch.testing.assert_close(alone, whole[1])


@pytest.mark.parametrize(
    ("hidden", "weight", "targets"),
    [((2, 3), (5, 3), (2,)), ((1, 2, 3, 1), (5, 1), (2,)), ((1, 2, 3), (5, 4), (2,)), ((1, 2, 3), (5, 3), (3,))],
)
def test_shapes_that_do_not_fit_are_named(
    hidden: tuple[int, ...], weight: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError) as said:
        chosen_logprobs(torch.zeros(hidden), torch.zeros(weight), torch.zeros(targets, dtype=torch.long))
    assert all(str(shape) in str(said.value) for shape in (hidden, weight, targets))


def test_everything_stays_on_the_device_of_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of shapes without numbers, of which torch knows no autocast, stands for any but the processor."""
    for shared in (True, False):
        hidden = torch.empty(2, 5, 3, device="meta", requires_grad=True)
        weight = torch.empty(*((7, 3) if shared else (2, 7, 3)), device="meta", requires_grad=True)
        targets = torch.empty(5, dtype=torch.long, device="meta")
        found = logprobs._ChosenLogprobs.apply(hidden, weight, targets, 2)
        found.sum().backward()
        assert all(one is not None and one.is_meta for one in (found, hidden.grad, weight.grad))
    rows = response_rows(PROMPTS, RESPONSES).to("meta")
    assert logprobs._summed(torch.empty(3, len(rows.targets), device="meta"), rows).shape == (3, len(PROMPTS))
    packed = pack(TokenizedPairs(PROMPTS, RESPONSES, RESPONSES, np.ones(6))).to("meta")
    for attention, batch in (("sdpa", packed), ("eager", packed), ("eager", rows)):
        model = llama(attn_implementation=attention).to("meta")
        try:
            states, head = logprobs._predicting(model, batch)
        except RuntimeError as error:  # transformers 5.0 itself asks torch whether it casts there
            if "transformers" not in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts:
                raise
            with monkeypatch.context() as told:
                told.setattr(torch, "is_autocast_enabled", lambda device: False)
                states, head = logprobs._predicting(model, batch)
        assert states.is_meta
        assert states.shape == (1, len(batch.targets), 8)
        assert head is model.lm_head.weight


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layout", [pack, unpacked])
def test_padding_and_packing_change_nothing(attention: str, layout: Any, pairs: TokenizedPairs) -> None:
    model = llama(attn_implementation=attention)
    with torch.no_grad():
        found = pair_logprobs(model, layout(pairs))
    assert found.shape == (1, 6, 2)
    for side, responses in enumerate((pairs.chosen, pairs.rejected)):
        np.testing.assert_allclose(found[0, :, side], sums(model, pairs.prompt, responses), atol=3e-6)


def test_a_model_in_double_precision_stays_in_it(pairs: TokenizedPairs) -> None:
    model = llama().double()
    with torch.no_grad():
        found = response_logprobs(model, pack(pairs))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found[0, ::2], sums(model, pairs.prompt, pairs.chosen), atol=1e-12)


def test_half_precision_rounds_states_and_head_and_no_logit(models: tuple[Any, Any]) -> None:
    """Under autocast: the product of the rounded states and head, in float32."""
    model, batch = models[0], response_rows(PROMPTS, RESPONSES)
    with torch.no_grad(), precision("cpu", "bfloat16"):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        found = response_logprobs(model, batch)
        hidden = model.base_model(input_ids=batch.input_ids).last_hidden_state.reshape(-1, 8)[batch.sources]
    assert found.dtype == torch.float32
    logits = hidden.bfloat16().double() @ model.lm_head.weight.detach().bfloat16().double().T
    each = logits.log_softmax(-1)[range(len(batch.targets)), batch.targets]
    np.testing.assert_allclose(found[0], torch.zeros(6).double().index_add(0, batch.segments, each), atol=3e-6)
    assert isinstance(precision("cpu", "float32"), nullcontext)
    with pytest.raises(ValueError, match="'float16'; accepted are float32, bfloat16"):
        precision("cpu", "float16")


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 7])
def test_batches_hold_as_many_as_they_may_of_like_length_in_the_order_given(
    size: int, models: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Batch] = []

    def kept(*rows: Any) -> Batch:
        seen.append(response_rows(*rows))
        return seen[-1]

    monkeypatch.setattr(logprobs, "response_rows", kept)
    found = logprobs_of(models[0], PROMPTS, RESPONSES, batch_size=size)
    np.testing.assert_allclose(found, sums(models[0], PROMPTS, RESPONSES), atol=3e-6)
    lengths = sorted(len(x) + len(y) for x, y in zip(PROMPTS, RESPONSES, strict=True))
    expected = [lengths[start : start + size] for start in range(0, 6, size)]
    assert [batch.responses for batch in seen] == [len(part) for part in expected]
    assert [batch.input_ids.shape[1] for batch in seen] == [part[-1] for part in expected]


def test_responses_of_one_length_are_taken_in_their_order() -> None:
    """On any processor: numpy's default order of equal numbers is another on one with wider registers."""
    rows = list(logprobs._like_lengths([[1]] * 100, [[2], [3, 4]] * 50, 30))
    assert [len(part) for part in rows] == [30, 30, 30, 10]
    assert np.concatenate(rows).tolist() == [*range(0, 100, 2), *range(1, 100, 2)]


@pytest.mark.parametrize("chunk", [1, 13, 39, 1 << 24])
def test_kl_along_responses_is_the_sum_of_exact_ones(
    chunk: int, models: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", chunk)
    with products(monkeypatch) as counted:
        found = along(*models, PROMPTS, RESPONSES, batch_size=4)
    assert max(counted) <= max(chunk, 13)
    expected = []
    for x, y in zip(PROMPTS, RESPONSES, strict=True):
        mine, theirs = (slowly(model, x, y) for model in models)
        kl = (mine.exp() * (mine - theirs)).sum()
        expected.append([float(kl), *(float(p[range(len(y)), y].sum()) for p in (mine, theirs))])
    np.testing.assert_allclose(found, expected, atol=5e-6)
    assert (along(models[0], models[0], PROMPTS, RESPONSES)[:, 0] == 0).all()


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_next_token_with_and_without_what_was_kept(wrapped: bool, models: tuple[Any, Any]) -> None:
    model, inputs = models[0], torch.tensor([[3, 4, 5], [6, 7, 8]])
    with torch.no_grad():
        expected = [model(input_ids=ids).logits[:, -1] for ids in (inputs, torch.cat([inputs, inputs[:, :1]], 1))]
        policy = model
        if wrapped:
            pytest.importorskip("peft", reason="peft is not installed")
            policy = add_lora(llama(0), LoraSettings(rank=2, targets=("q_proj",))).eval()
        first, cache = next_logits(policy, input_ids=inputs)
        torch.testing.assert_close(first, expected[0])
        again, _ = next_logits(policy, input_ids=inputs[:, :1], **{cache_name(policy): cache})
        torch.testing.assert_close(again, expected[1])
        with precision("cpu", "bfloat16"):
            half, _ = next_logits(policy, input_ids=inputs)
    assert half.dtype == torch.float32
    assert not torch.equal(half, half.bfloat16().float())  # not rounded


def test_windows_bound_rows_from_their_length_on(pairs: TokenizedPairs) -> None:
    """Prompt and response of six tokens: as many as a window of six, more than one of five."""

    def mistral(window: int | None) -> Any:
        torch.manual_seed(0)
        return MistralForCausalLM(MistralConfig(**SIZES, sliding_window=window)).eval()

    longest = response_rows([[2, 3, 4]], [[5, 6, 1]])
    for model in (mistral(6), mistral(None), mistral(7)):
        with torch.no_grad():
            found = float(response_logprobs(model, longest)[0, 0])
        assert found == pytest.approx(sums(model, [[2, 3, 4]], [[5, 6, 1]])[0], abs=3e-6)
    narrow = mistral(5)
    with pytest.raises(ValueError, match="last 5 tokens, and a row has 6"):
        response_logprobs(narrow, longest)
    narrow.config.use_sliding_window = False
    assert response_logprobs(narrow, longest).shape == (1, 1)
    narrow.config.use_sliding_window = True
    for kinds, refused in ((["full_attention"] * 2, False), (["full_attention", "sliding_attention"], True)):
        narrow.config.layer_types = kinds
        with pytest.raises(ValueError, match="last 5 tokens") if refused else nullcontext():
            response_logprobs(narrow, longest)
    narrow.config.layer_types = ["linear_attention", "chunked_attention"]
    with pytest.raises(ValueError, match="has chunked_attention, linear_attention; accepted is full attention"):
        response_logprobs(narrow, longest)


@pytest.mark.parametrize("name", ["final_logit_softcapping", "logit_scale", "logits_scaling"])
def test_logits_that_are_more_than_a_product_are_refused(name: str) -> None:
    model, batch = llama(), response_rows([[2]], [[3]])
    expected = response_logprobs(model, batch)
    for nothing in (None, 1, 1.0):
        setattr(model.config, name, nothing)
        assert torch.equal(response_logprobs(model, batch), expected)
    for scaled in (0.5, 2.0, 2):
        setattr(model.config, name, scaled)
        with pytest.raises(ValueError, match=f"configuration has {name}"):
            response_logprobs(model, batch)


def test_heads_and_attention_that_are_not_computed_here_are_refused() -> None:
    model, batch = llama(), response_rows([[2]], [[3]])
    model.lm_head.bias = torch.nn.Parameter(torch.ones(13))
    with pytest.raises(ValueError, match="no output embeddings, or ones with a bias"):
        response_logprobs(model, batch)
    model.lm_head = None
    with pytest.raises(ValueError, match="no output embeddings, or ones with a bias"):
        response_logprobs(model, batch)
    model = llama()
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match="attention 'flex_attention'; accepted are 'sdpa' and 'eager'"):
        response_logprobs(model, batch)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_reference_is_what_training_would_compute(
    packed: bool, dtype: str, models: tuple[Any, Any], pairs: TokenizedPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 4, 6, 7):
        found = reference_logprobs(models[0], pairs, batch_size=size, dtype=dtype, packed=packed)
        assert found.dtype == np.float32
        with torch.no_grad(), precision("cpu", dtype):
            expected = pair_logprobs(models[0], (pack if packed else unpacked)(pairs))[0].numpy()
        np.testing.assert_allclose(found, expected, atol=3e-6 if dtype == "float32" else 0.1)
    for chunk in (1, 26):
        with products(monkeypatch) as counted:
            again = reference_logprobs(models[0], pairs, dtype=dtype, packed=packed, chunk_elements=chunk)
        assert {one for one in counted if one % 13 == 0} <= {13, 26}
        assert max(counted) <= max(chunk, 13)
        np.testing.assert_allclose(again, found, atol=3e-6 if dtype == "float32" else 0.1)


def test_a_kept_reference_is_used_for_the_same_model_pairs_dtype_and_layout_alone(
    models: tuple[Any, Any], pairs: TokenizedPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(*arguments: Any, **options: Any) -> torch.Tensor:
        made.append(1)
        return pair_logprobs(*arguments, **options)

    monkeypatch.setattr(logprobs, "pair_logprobs", counted)
    other = TokenizedPairs(pairs.prompt, pairs.rejected, pairs.chosen, pairs.p)
    cases: list[tuple[Any, TokenizedPairs, dict[str, Any]]] = [
        (models[0], pairs, {}), (models[1], pairs, {}), (models[0], other, {}),
        (models[0], pairs, {"dtype": "bfloat16"}), (models[0], pairs, {"packed": False}),
        (models[0], pairs, {"dtype": "bfloat16", "packed": False}),
    ]  # fmt: skip
    kept = []
    for number, (model, some, options) in enumerate(cases, 1):
        kept.append(reference_logprobs(model, some, cache=tmp_path, **options))
        assert len(made) == number
        assert len(list(tmp_path.glob("reference-*.safetensors"))) == number
    for (model, some, options), before in zip(cases, kept, strict=True):
        np.testing.assert_array_equal(reference_logprobs(model, some, cache=str(tmp_path), **options), before)
    assert len(made) == len(cases)
    for file in tmp_path.glob("reference-*.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    np.testing.assert_array_equal(reference_logprobs(models[0], pairs, cache=tmp_path), kept[0])
    np.testing.assert_array_equal(reference_logprobs(models[0], pairs, cache=tmp_path), kept[0])
    assert len(made) == len(cases) + 1


@pytest.mark.parametrize("packed", [True, False])
def test_a_reference_without_numbers_names_the_first_pair(packed: bool, tmp_path: Path) -> None:
    model = llama()
    with torch.no_grad():
        model.model.embed_tokens.weight[12] = torch.nan
    pairs = TokenizedPairs([[2], [3], [12], [4], [12]], [[3, 1]] * 5, [[5, 1]] * 5, np.ones(5))
    for size in (1, 3, 5):
        with pytest.raises(ValueError, match=r"pair 2 the log-probabilities \[nan, nan\]"):
            reference_logprobs(model, pairs, cache=tmp_path, batch_size=size, packed=packed)
    assert not list(tmp_path.iterdir())
