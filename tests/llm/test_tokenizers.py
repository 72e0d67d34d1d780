"""Tokenizers say back what they were given, and what does not fit the model is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm.data.types import Example
from llm.data.world import generate
from llm.policy.models import LlamaSize, small_llama
from llm.policy.tokenizers import (
    TokenizerConfig,
    check_tokenizer,
    encode_prompts,
    encode_responses,
    fingerprint,
    load_tokenizer,
    train_tokenizer,
)

TEXTS = ["On the zeros of Riemann's function", "Wörter, naïve: 3.14 (e.g.)", "a  b\nc\ttab ☃"]


def test_words_come_back_and_none_is_unknown(records: list[Example], word_tokenizer: Any) -> None:
    for example, ids in zip(records, encode_responses(word_tokenizer, [e.target for e in records]), strict=True):
        assert ids[-1] == word_tokenizer.eos_token_id
        assert word_tokenizer.unk_token_id not in ids
        assert len(ids) == len(example.target.split()) + 1
        assert word_tokenizer.decode(ids, skip_special_tokens=True) == example.target


def test_byte_pairs_write_any_text() -> None:
    tokenizer = train_tokenizer(TEXTS * 3, TokenizerConfig("bpe", 320))
    assert len(tokenizer) <= 320
    for text in [*TEXTS, "never seen: Ω≈ç√"]:
        ids = encode_responses(tokenizer, [text])[0]
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
    # a response is tokenised as it stands after a space, so the prompt's end does not change it
    joined = tokenizer("x zeros", add_special_tokens=False)["input_ids"]
    assert (
        joined[-len(encode_responses(tokenizer, ["zeros"], end=False)[0]) :]
        == encode_responses(tokenizer, ["zeros"], end=False)[0]
    )


def test_saved_and_loaded_is_the_same(tmp_path: Path, word_tokenizer: Any, records: list[Example]) -> None:
    word_tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert fingerprint(again) == fingerprint(word_tokenizer)
    prompts = [e.prompt for e in records]
    assert encode_prompts(again, prompts) == encode_prompts(word_tokenizer, prompts)
    assert (again.pad_token, again.eos_token) == (word_tokenizer.pad_token, word_tokenizer.eos_token)


def without_pad(tokenizer: Any, tmp_path: Path) -> Path:
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<eos>").save_pretrained(tmp_path)
    return tmp_path


def test_no_pad_token_is_refused_with_a_way_out(tmp_path: Path, word_tokenizer: Any) -> None:
    place = without_pad(word_tokenizer, tmp_path)
    with pytest.raises(ValueError, match=r"has no pad token; name one of its tokens by pad_token .*'<eos>' will do"):
        load_tokenizer(place)
    assert load_tokenizer(place, pad_token="<eos>").pad_token_id == word_tokenizer.eos_token_id
    with pytest.raises(ValueError, match="pad_token is 'nonsense', which tokenizer"):
        load_tokenizer(place, pad_token="nonsense")


def test_another_models_tokenizer_is_refused(word_tokenizer: Any) -> None:
    model = small_llama(LlamaSize(hidden=8, layers=1, heads=2), word_tokenizer, seed=0)
    assert check_tokenizer(word_tokenizer, model) is word_tokenizer
    larger = train_tokenizer([f"w{i}" for i in range(500)])
    with pytest.raises(ValueError, match="has 503 tokens, the model embeds"):
        check_tokenizer(larger, model)
    words = [e.prompt for e in generate(3, seed=0)]
    same_size = train_tokenizer(
        [*words, *(f"v{i}" for i in range(300))], TokenizerConfig(vocab_size=len(word_tokenizer))
    )
    assert len(same_size) == len(word_tokenizer)
    with pytest.raises(ValueError, match="not the one the model was trained with"):
        check_tokenizer(same_size, model)
    model.config.eos_token_id = 7
    with pytest.raises(ValueError, match=r"end token of tokenizer .* is 1, the model's is 7"):
        check_tokenizer(word_tokenizer, model)


def test_no_end_token_is_refused(word_tokenizer: Any) -> None:
    from transformers import PreTrainedTokenizerFast

    endless = PreTrainedTokenizerFast(tokenizer_object=word_tokenizer.backend_tokenizer, pad_token="<pad>")
    with pytest.raises(ValueError, match="has no end token"):
        check_tokenizer(endless)


def test_empty_texts_are_refused(word_tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="prompt 1 has no token"):
        encode_prompts(word_tokenizer, ["record :", " "])
    with pytest.raises(ValueError, match="response 0 has no token"):
        encode_responses(word_tokenizer, ["\n"])
    with pytest.raises(ValueError, match="no texts"):
        train_tokenizer([" "])
    assert encode_prompts(word_tokenizer, []) == []


@pytest.mark.parametrize("bad", [{"kind": "char"}, {"kind": "bpe", "vocab_size": 200}, {"vocab_size": 2}])
def test_bad_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"kind is|vocab_size"):
        TokenizerConfig(**bad)
