"""Samples are exact draws from the model, the same whatever the batch, with the noise a fixed function of its key."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from llm.data.types import Example
from llm.policy.models import LlamaSize, small_llama
from llm.policy.sampling import SpecialIds, gumbel_noise, sample, stream_keys
from llm.policy.tokenizers import encode_prompts


@pytest.fixture
def prompts(records: list[Example], word_tokenizer: Any) -> list[list[int]]:
    # of different lengths, so that padding matters
    return [
        ids[: 3 + 4 * place]
        for place, ids in enumerate(encode_prompts(word_tokenizer, [r.prompt for r in records[:7]]))
    ]


def keys(n: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor(stream_keys(seed, range(n), [0] * n))


def test_noise_is_standard_gumbel() -> None:
    noise = gumbel_noise(keys(300), step=2, size=101).numpy()
    assert stats.kstest(noise.ravel(), stats.gumbel_r.cdf).pvalue > 1e-3
    # neighbours in each direction: key, step, column
    later = gumbel_noise(keys(300), step=3, size=101).numpy()
    for a, b in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1]), (noise, later), (noise[:, 1:], later[:, :-1])):
        assert abs(stats.pearsonr(a.ravel(), b.ravel()).statistic) < 4 / np.sqrt(a.size)


def test_noise_depends_on_every_part_of_its_key() -> None:
    one = gumbel_noise(keys(3), 1, 5)
    assert torch.equal(one, gumbel_noise(keys(3), 1, 5))
    assert torch.equal(one[:2], gumbel_noise(keys(2), 1, 5))
    assert not torch.isclose(one, gumbel_noise(keys(3), 2, 5)).any()
    assert not torch.isclose(one, gumbel_noise(keys(3, seed=1), 1, 5)).any()
    assert len(set(stream_keys(0, [0, 1, 10, 1], [10, 0, 0, 1]).tolist())) == 4


def test_first_token_follows_the_model(tiny_model: Any, word_tokenizer: Any) -> None:
    n = 4000
    drawn = sample(tiny_model, word_tokenizer, [[5, 6, 7]], seed=1, max_new_tokens=1, samples=n, batch_size=n)
    with torch.no_grad():
        expected = torch.softmax(tiny_model(torch.tensor([[5, 6, 7]])).logits[0, -1].double(), 0).numpy()
    counts = np.bincount([row[0] for row in drawn.tokens], minlength=len(expected))
    assert stats.chisquare(counts, n * expected).pvalue > 1e-3
    hot = sample(tiny_model, word_tokenizer, [[5, 6, 7]], seed=1, max_new_tokens=1, samples=n, temperature=0.02)
    assert len(Counter(row[0] for row in hot.tokens)) < len(Counter(row[0] for row in drawn.tokens)) / 2


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_batches_and_order_do_not_matter(
    tiny_model: Any, word_tokenizer: Any, prompts: list[list[int]], batch_size: int
) -> None:
    settings = {"seed": 4, "max_new_tokens": 14, "samples": 3, "keep_logprobs": True}
    whole = sample(tiny_model, word_tokenizer, prompts, **settings)
    again = sample(tiny_model, word_tokenizer, prompts, **settings, batch_size=batch_size)
    assert again.tokens == whole.tokens
    np.testing.assert_allclose(again.logprobs, whole.logprobs, atol=1e-5)
    backwards = sample(tiny_model, word_tokenizer, prompts[::-1], **settings, indices=range(len(prompts))[::-1])
    assert [backwards.tokens[3 * i : 3 * i + 3] for i in range(len(prompts))][::-1] == [
        whole.tokens[3 * i : 3 * i + 3] for i in range(len(prompts))
    ]
    assert len({tuple(row) for row in whole.tokens}) > len(prompts)  # the samples do vary


def test_log_probabilities_are_those_of_one_plain_pass(
    tiny_model: Any, word_tokenizer: Any, prompts: list[list[int]]
) -> None:
    drawn = sample(tiny_model, word_tokenizer, prompts, seed=0, max_new_tokens=9, samples=2, keep_logprobs=True)
    for row, (tokens, total) in enumerate(zip(drawn.tokens, drawn.logprobs, strict=True)):
        prompt = prompts[drawn.prompt_index[row]]
        with torch.no_grad():
            logp = torch.log_softmax(tiny_model(torch.tensor([prompt + tokens])).logits[0].double(), -1)
        plain = sum(float(logp[len(prompt) - 1 + at, token]) for at, token in enumerate(tokens))
        assert total == pytest.approx(plain, abs=1e-5)
        assert sum(drawn.token_logprobs[row]) == pytest.approx(total)


def test_ends_at_the_end_token(tiny_model: Any, word_tokenizer: Any, prompts: list[list[int]]) -> None:
    drawn = sample(tiny_model, word_tokenizer, prompts, seed=2, max_new_tokens=40, samples=30)
    end = word_tokenizer.eos_token_id
    assert 0 < drawn.finished.mean() < 1
    for tokens, finished in zip(drawn.tokens, drawn.finished, strict=True):
        assert (tokens[-1] == end) == finished
        assert end not in tokens[:-1]
        assert finished or len(tokens) == 40
    assert drawn.lengths.tolist() == [len(row) for row in drawn.tokens]
    assert all("<" not in text for text in drawn.texts(word_tokenizer))


def test_common_random_numbers_make_like_models_give_like_samples(
    tiny_model: Any, word_tokenizer: Any, prompts: list[list[int]]
) -> None:
    other = small_llama(LlamaSize(hidden=16, layers=2, heads=2, positions=128), word_tokenizer, seed=0)
    with torch.no_grad():
        other.lm_head.weight += 0.002 * torch.randn(
            other.lm_head.weight.shape, generator=torch.Generator().manual_seed(1)
        )
    settings = {"max_new_tokens": 4, "samples": 40}
    one = sample(tiny_model, word_tokenizer, prompts, seed=0, **settings)
    near = sample(other, word_tokenizer, prompts, seed=0, **settings)
    apart = sample(tiny_model, word_tokenizer, prompts, seed=1, **settings)

    def alike(a: list[list[int]], b: list[list[int]]) -> float:
        return float(np.mean([x == y for x, y in zip(a, b, strict=True)]))

    assert alike(one.tokens, near.tokens) > 0.8
    assert alike(one.tokens, apart.tokens) < 0.2


def test_greedy_is_the_most_probable_token_and_leaves_training_mode(tiny_model: Any, word_tokenizer: Any) -> None:
    tiny_model.train()
    drawn = sample(tiny_model, word_tokenizer, [[9, 8]], seed=0, max_new_tokens=3, temperature=0.0)
    assert tiny_model.training
    tiny_model.eval()
    ids = [9, 8]
    for token in drawn.tokens[0]:
        with torch.no_grad():
            assert token == int(tiny_model(torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_ids": [[4], []]}, "prompt 1 is empty"),
        ({"prompt_ids": [[100000]]}, "token 100000"),
        ({"prompt_ids": [[4] * 120]}, "128 positions"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"indices": [1, 2]}, "2 indices for 1 prompts"),
        ({"tokenizer_or_ids": SpecialIds(None, 1)}, "pad_token_id is None"),
    ],
)
def test_bad_input(tiny_model: Any, word_tokenizer: Any, change: dict[str, Any], message: str) -> None:
    good = {"tokenizer_or_ids": word_tokenizer, "prompt_ids": [[4, 5]], "seed": 0, "max_new_tokens": 10}
    with pytest.raises(ValueError, match=message):
        sample(tiny_model, **(good | change))


def test_no_prompts_give_no_samples(tiny_model: Any, word_tokenizer: Any) -> None:
    assert len(sample(tiny_model, word_tokenizer, [], seed=0, max_new_tokens=3)) == 0
