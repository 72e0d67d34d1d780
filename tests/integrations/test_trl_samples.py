"""Checks of prepared sets, responses by cumulative probabilities, and the KL measured on them, piece by piece."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from gpo_analysis.integrations.on_policy import OnPolicyKl, output_size  # noqa: E402
from gpo_analysis.integrations.preference_sets import (  # noqa: E402
    WithLabels,
    check_references,
    check_rows,
    columns_of,
    is_sized,
    some_rows,
)
from gpo_analysis.integrations.sampling import (  # noqa: E402
    accepts_positions,
    cache_name,
    end_tokens,
    has_learned_positions,
    position_limit,
    positions_of,
    sample_responses,
)
from tests.integrations.stand_ins import OLD_CALLS, holder  # noqa: E402

pytestmark = OLD_CALLS


ROWS = [{"prompt_ids": [1] * k, "chosen_ids": [2] * k, "rejected_ids": [3]} for k in range(1, 12)]


def prepared(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset  # type: ignore[import-untyped]

    return Dataset.from_list(rows)


def test_rows_are_spread_over_a_set_and_the_first_of_a_stream() -> None:
    dataset = prepared(ROWS)
    assert [len(row["prompt_ids"]) for row in some_rows(dataset, 3)] == [1, 6, 11]
    assert [len(row["prompt_ids"]) for row in some_rows(dataset, 2)] == [1, 11]
    assert some_rows(dataset, 100) == ROWS
    assert some_rows(ROWS[:0], 3) == []
    assert some_rows(iter(ROWS), 3) == ROWS[:3]
    assert (is_sized(ROWS), is_sized(iter(ROWS)), is_sized({1})) == (True, False, False)
    assert columns_of(dataset) == ["prompt_ids", "chosen_ids", "rejected_ids"]
    assert columns_of(ROWS) == ["prompt_ids", "chosen_ids", "rejected_ids"]
    assert columns_of([]) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_ids": []}, "row 1 of the train set has a prompt without a token"),
        ({"chosen_ids": []}, "row 1 of the train set has a chosen response without a token"),
        ({"rejected_ids": []}, "row 1 of the train set has a rejected response without a token"),
        ({"rejected_ids": [3] * 7}, "row 1 of the train set has 9 tokens, and the model has positions for 8; .*=8"),
        ({"chosen_ids": [3] * 9}, "row 1 of the train set has 11 tokens, and the model has positions for 8"),
    ],
)
def test_a_row_that_nothing_can_be_trained_on_is_named(changes: dict[str, Any], message: str) -> None:
    rows = [ROWS[0], ROWS[1] | changes]
    with pytest.raises(ValueError, match=message):
        check_rows(prepared(rows), "train", limit=8, max_length=None)
    if "tokens, and" in message:
        check_rows(prepared(rows), "train", limit=8, max_length=8)  # cut there
        check_rows(prepared(rows), "train", limit=11, max_length=None)
        check_rows(prepared(rows), "train", limit=None, max_length=None)
        with pytest.raises(ValueError, match="has 9 tokens"):
            check_rows(prepared(rows), "train", limit=8, max_length=9)


@pytest.mark.parametrize("value", [-1e-9, 1 + 1e-9, math.nan])
def test_soft_labels_are_probabilities(value: float) -> None:
    good = [ROWS[0] | {"p": 0.0}, ROWS[1] | {"p": 1.0}]
    check_rows(prepared(good), "eval", limit=None, max_length=None)
    with pytest.raises(ValueError, match=r"p of row 1 of the eval set is .*; accepted is the probability, from 0 to 1"):
        check_rows(prepared([good[0], good[1] | {"p": value}]), "eval", limit=None, max_length=None)
    with pytest.raises(ValueError, match="p of row 0 of the eval set is None"):
        check_rows(prepared([good[0] | {"p": None}, good[1]]), "eval", limit=None, max_length=None)
    batch = WithLabels(lambda rows: {"n": len(rows)})([{"p": 0.25}, {"p": 1}])
    assert batch["n"] == 2
    assert batch["p"].tolist() == [0.25, 1.0]
    assert WithLabels(lambda rows: {"n": len(rows)})([{}]) == {"n": 1}


@pytest.mark.parametrize("column", ["ref_chosen_logps", "ref_rejected_logps"])
@pytest.mark.parametrize("value", [1e-9, math.inf, -math.inf, math.nan])
def test_references_are_finite_and_at_most_zero(column: str, value: float) -> None:
    good = {"ref_chosen_logps": [-1.0, 0.0], "ref_rejected_logps": [-2.0, -0.5]}
    check_references(good, "train")
    with pytest.raises(ValueError, match=f"{column} of row 1 of the train set is .*finite and at most 0"):
        check_references(good | {column: [-1.0, value]}, "train")


def test_every_source_of_end_tokens_counts() -> None:
    model = holder(generation_config=holder(eos_token_id=[7, 3]), config=holder(eos_token_id=5))
    assert end_tokens(model, holder(eos_token_id=2)) == (2, 3, 5, 7)
    assert end_tokens(holder(config=holder(eos_token_id=None)), holder(eos_token_id=0)) == (0,)
    assert end_tokens(holder(), holder()) == ()


class Positioned(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A module with an embedding of some name and size."""

    def __init__(self, limit: Any, name: str, rows: int) -> None:
        super().__init__()
        self.config = holder(max_position_embeddings=limit)
        self.add_module(name, torch.nn.Embedding(rows, 2))

    def forward(self, input_ids: Any, position_ids: Any, past_key_values: Any) -> None: ...


@pytest.mark.parametrize(
    ("name", "rows", "learned"),
    [
        ("wpe", 8, True), ("position_embeddings", 8, True), ("wpe", 10, True), ("wpe", 11, False), ("wpe", 7, False),
        ("tokens", 8, False),
    ],
)  # fmt: skip
def test_learned_positions_are_an_embedding_of_as_many_rows(name: str, rows: int, learned: bool) -> None:
    model = Positioned(8, name, rows)
    assert position_limit(model) == 8
    assert has_learned_positions(model) is learned
    assert has_learned_positions(Positioned(None, name, rows)) is False


def test_limits_and_arguments_of_models() -> None:
    assert [position_limit(holder(config=holder(max_position_embeddings=x))) for x in (1, 0, -1, None, "many")] == [
        1, None, None, None, None
    ]  # fmt: skip
    assert position_limit(holder(config=holder())) is None
    inner = holder(max_position_embeddings=5)
    assert position_limit(holder(config=holder(get_text_config=lambda: inner))) == 5
    model = Positioned(8, "wpe", 8)
    assert accepts_positions(model)
    assert cache_name(model) == "past_key_values"
    other = holder(forward=lambda input_ids, cache: None)
    assert not accepts_positions(other)
    assert cache_name(other) == "cache"
    assert cache_name(holder(get_base_model=lambda: other)) == "cache"
    assert positions_of(torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


class Chain:
    """Logits that depend on the last token, with a cache that is counted, and all that it was called with."""

    def __init__(self, size: int = 5, seed: int = 0) -> None:
        self.table = torch.tensor(np.random.default_rng(seed).normal(0, 1.5, (size, size)))
        self.calls: list[dict[str, Any]] = []

    def __call__(self, **inputs: Any) -> Any:
        self.calls.append(inputs)
        return holder(logits=self.table[inputs["input_ids"]], past_key_values=len(self.calls))


def by_hand(chain: Chain, prompt: list[int], ends: set[int], most: int, numbers: np.ndarray) -> list[int]:
    """A response by the inverse of cumulative probabilities."""
    answer: list[int] = []
    while len(answer) < most and not (answer and answer[-1] in ends):
        last = (prompt + answer)[-1]
        p = torch.softmax(chain.table[last], -1).numpy()
        answer.append(int(np.searchsorted(np.cumsum(p), numbers[len(answer)], side="right")))
    return answer


@pytest.mark.parametrize("cached_as", ["past_key_values", None])
@pytest.mark.parametrize("positions", [True, False])
def test_responses_are_drawn_by_cumulative_probabilities(cached_as: str | None, positions: bool) -> None:
    chain, prompts = Chain(), [[1, 2], [3], [4, 4, 2], [0]]
    numbers, most = np.random.default_rng(1).random((4, 6)), [6, 2, 4, 0]
    found = sample_responses(
        chain, prompts, ends=[1], most=most, pad=0, numbers=torch.tensor(numbers), positions=positions,
        cached_as=cached_as,
    )  # fmt: skip
    width = 3
    for k, prompt in enumerate(prompts):
        answer = by_hand(chain, prompt, {1}, most[k], numbers[k])
        assert found.input_ids[k, width - len(prompt) : width + len(answer)].tolist() == prompt + answer
        assert found.mask[k].tolist()[: width + len(answer)] == [0] * width + [1] * len(answer)
        assert found.mask[k].sum() == len(answer)
        assert found.attention_mask[k].sum() == len(prompt) + len(answer)
        assert bool(found.finished[k]) is (bool(answer) and answer[-1] == 1)
    assert {call["use_cache"] for call in chain.calls} == {cached_as is not None}
    assert {"position_ids" in call for call in chain.calls} == {positions}
    sizes = [call["input_ids"].shape[1] for call in chain.calls]
    assert sizes == ([width, *[1] * (len(sizes) - 1)] if cached_as else [width + k for k in range(len(sizes))])
    assert ["past_key_values" in call for call in chain.calls] == [
        cached_as is not None and k > 0 for k in range(len(sizes))
    ]


def test_prompts_without_a_token_are_refused_and_one_number_cuts_all() -> None:
    chain, numbers = Chain(), torch.full((2, 3), 0.5)
    with pytest.raises(ValueError, match="prompt 1 has no token; accepted are one or more"):
        sample_responses(chain, [[1], []], ends=[], most=3, pad=0, numbers=numbers)
    with pytest.raises(ValueError, match="no prompts"):
        sample_responses(chain, [], ends=[], most=3, pad=0, numbers=numbers)
    found = sample_responses(chain, [[1], [2]], ends=[], most=2, pad=0, numbers=numbers)
    assert found.mask.sum(1).tolist() == [2, 2]
    for most in (0, 1):
        few = sample_responses(chain, [[1], [2]], ends=[], most=most, pad=0, numbers=numbers)
        assert few.mask.sum(1).tolist() == [most, most]
    chain.calls.clear()
    found = sample_responses(chain, [[1], [2]], ends=[], most=2, pad=0, numbers=numbers)
    assert not found.finished.any()
    assert len(chain.calls) == 2
    asked: list[bool] = []

    def three(alive: bool) -> bool:
        asked.append(alive)
        return len(asked) < 4

    found = sample_responses(chain, [[1], [2]], ends=[], most=2, pad=0, numbers=numbers, alive_anywhere=three)
    assert asked == [True, True, False, False], "processes go along with others that are not through"
    assert found.mask.sum(1).tolist() == [2, 2]


def measuring(**named: Any) -> OnPolicyKl:
    one = object.__new__(OnPolicyKl)
    accelerator = holder(num_processes=1, process_index=0, device="cpu")
    trainer = holder(
        accelerator=accelerator, kl_prompts=4, args=holder(per_device_eval_batch_size=2, seed=3),
        state=holder(global_step=5),
    )  # fmt: skip
    config_ = holder(max_position_embeddings=named.pop("limit", None))
    inner = holder(config=config_, active_peft_config=holder(num_virtual_tokens=2))
    vars(one).update(
        trainer=trainer, accelerator=accelerator, inner=inner, most=6, sharded=False, progress=False,
        cached_as="past_key_values",
    )  # fmt: skip
    vars(one).update(named)
    return one


def test_prompts_have_room_up_to_the_limit() -> None:
    prompts = [[1] * k for k in (1, 3, 7, 8)]
    assert measuring()._usable(prompts) == [(prompt, 6) for prompt in prompts]
    with pytest.warns(UserWarning, match="1 of 4 prompts that fill the model's 8 positions are left out of the KL"):
        found = measuring(limit=8)._usable(prompts)
    assert [room for _, room in found] == [6, 5, 1]
    with pytest.warns(UserWarning, match="2 of 4 prompts that fill"):
        virtual = measuring(limit=8, cached_as=None)._usable(prompts)
    assert [room for _, room in virtual] == [5, 3], "virtual tokens take positions, too"
    with pytest.warns(UserWarning, match="1 of 2 prompts without a token are left out of the KL"):
        assert measuring(limit=8)._usable([[], [1]]) == [([1], 6)]


def test_the_estimate_is_a_mean_over_prompts_with_its_standard_error() -> None:
    one = measuring()
    rows = [{"prompt_ids": [k + 1]} for k in range(3)]
    values = [(0.5, True), (2.0, False), (0.75, True)]
    vars(one)["_on"] = lambda prompts, mine: [(i, values[i]) for i in reversed(mine)]
    kl, stderr, finished = one(rows)
    x = np.array([0.5, 2.0, 0.75])
    assert [kl, finished] == pytest.approx([x.mean(), 2 / 3])
    assert stderr == pytest.approx(x.std(ddof=1) / math.sqrt(3))
    single = one(rows[:1])
    assert (single.kl, single.stderr, single.finished) == (0.5, math.inf, 1.0)
    vars(one)["_on"] = lambda *_: [(0, (0.5, True)), (1, (math.nan, False)), (2, (math.nan, True))]
    with pytest.raises(ValueError, match="2 of 3 responses have logits that are no numbers"):
        one(rows)
    with pytest.raises(ValueError, match="no prompts that can be used; KL is measured on at least one"):
        one([])
    vars(one)["_on"] = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        one(rows)


def test_numbers_belong_to_a_prompt_a_step_and_a_seed() -> None:
    one = measuring()
    found = one._numbers([4, 0, 4])
    assert found.shape == (3, 6)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    np.testing.assert_array_equal(found[0].numpy(), np.random.default_rng([3, 5, 4]).random(6))


@pytest.mark.parametrize(("sharded", "calls"), [(False, [[1, 3], [5]]), (True, [[1, 3], [5]])])
def test_batches_are_of_one_process_s_prompts(sharded: bool, calls: list[list[int]]) -> None:
    import contextlib

    one = measuring(sharded=sharded)
    prompts = [([k], 6) for k in range(6)]
    seen: list[list[int]] = []

    def batch(policy: Any, rows: Any, numbers: Any) -> list[tuple[float, bool]]:
        seen.append([prompt[0] for prompt, _ in rows])
        return [(float(prompt[0]), True) for prompt, _ in rows]

    vars(one).update(_batch=batch, _evaluating=lambda: contextlib.nullcontext(None))
    one.accelerator.num_processes = 2
    assert one._on(prompts, [1, 3, 5]) == [(k, (float(k), True)) for k in (1, 3, 5)]
    assert seen == calls
    seen.clear()
    assert one._on(prompts[:5], [1, 3]) == [(k, (float(k), True)) for k in (1, 3)]
    assert seen == ([[1, 3], [0]] if sharded else [[1, 3]]), "a sharded model is called equally often everywhere"


def test_how_many_tokens_a_model_gives_probabilities_to() -> None:
    head = torch.nn.Linear(3, 7)
    assert output_size(None) is None
    assert output_size(holder(get_output_embeddings=lambda: None)) is None
    assert output_size(holder(get_output_embeddings=lambda: head)) == 7
    assert output_size(holder(get_output_embeddings=lambda: holder(weight=torch.zeros(5, 2)))) == 5


def test_whether_any_process_is_alive_is_asked_on_its_own_device() -> None:
    asked: list[str] = []

    def gather(flag: Any) -> Any:
        asked.append(flag.device.type)
        return torch.tensor([0.0, others])

    accelerator = holder(device=torch.device("meta"), gather=gather)
    for others in (0.0, 1.0):
        assert OnPolicyKl._any(measuring(accelerator=accelerator), True) is bool(others)
    assert asked == ["meta", "meta"]
