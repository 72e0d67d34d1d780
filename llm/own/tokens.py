"""Preference pairs as token ids: texts as they stand, messages by the tokenizer's chat template.

A response's ids end with an end token; what a chat template writes after it is never sampled and does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llm.data.preferences import Message, PreferencePair, turns_of

FORMATS = ("auto", "text", "chat")
TokenRow = dict[str, Any]


class PairTokenizer:
    """Tokenises pairs.

    Parameters
    ----------
    tokenizer : tokenizer
        Of transformers, with an end token.
    ends : sequence of int
        Every token at which a response ends.
    layout : {"auto", "text", "chat"}
        "auto": messages by the chat template, texts as they stand. "chat": texts are made messages, a "Human: …
        Assistant: …" dialogue turn by turn, any other text as one message of the user. "text": messages are refused.

    Raises
    ------
    ValueError
        For a tokenizer without an end token, or another layout.
    """

    def __init__(self, tokenizer: Any, ends: Sequence[int], layout: str = "auto") -> None:
        if layout not in FORMATS:
            raise ValueError(f"format is {layout!r}; accepted are {', '.join(FORMATS)}")
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no end token, so no response could end")
        self.tokenizer, self.layout = tokenizer, layout
        self.ends = {*ends, tokenizer.eos_token_id}
        self.begin = self._begin()
        self.cut_prompts = 0  # pairs whose prompt the template writes otherwise once an answer follows

    def _begin(self) -> list[int]:
        """What the tokenizer puts before every text by itself."""
        whole, bare = (self.tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return list(whole[:start])
        return []

    def rows(self, pairs: Sequence[PreferencePair], where: str) -> list[TokenRow]:
        """Return a prepared row a pair: prompt_ids, chosen_ids, rejected_ids, p.

        Parameters
        ----------
        pairs : sequence of PreferencePair
        where : str
            Their file, for messages.

        Raises
        ------
        ValueError
            Naming file and line of a pair that has no token in its prompt, or of messages where there is no template.
        """
        found = []
        for pair in pairs:
            try:
                prompt, sides = self._pair(pair)
            except ValueError as error:
                raise ValueError(f"{where}, line {pair.line}: {error}") from None
            found.append({"prompt_ids": prompt, "chosen_ids": sides[0], "rejected_ids": sides[1], "p": pair.p})
        return found

    def _pair(self, pair: PreferencePair) -> tuple[list[int], list[list[int]]]:
        answers = (pair.chosen, pair.rejected)
        if not isinstance(pair.prompt, str) or self.layout == "chat":
            messages = turns_of(pair.prompt) if isinstance(pair.prompt, str) else pair.prompt
            if self.layout == "text":
                raise ValueError("the prompt is a list of messages, and format is 'text'; accepted is 'auto' or 'chat'")
            prompt, sides = self._chat(messages, answers)
        else:
            prompt, sides = self._text(pair.prompt, answers)
        if not prompt:
            raise ValueError(
                "the prompt has no token, so that the first token of a response has no probability; accepted are "
                "prompts that are not empty, or a tokenizer with a beginning-of-text token"
            )
        return prompt, [self._ended(side) for side in sides]

    def _ended(self, ids: list[int]) -> list[int]:
        last = next((at for at in range(len(ids) - 1, -1, -1) if ids[at] in self.ends), None)
        return [*ids, self.tokenizer.eos_token_id] if last is None else ids[: last + 1]

    def _text(self, prompt: str, answers: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        before = self._ids(prompt)
        sides = []
        for answer in answers:
            apart = not prompt or prompt[-1].isspace() or answer[:1].isspace()
            text = answer if apart else " " + answer
            whole = self._ids(prompt + text)
            # where the two would melt into one token they are tokenised apart, as they are when responses are sampled
            sides.append(whole[len(before) :] if whole[: len(before)] == before else self._ids(text))
        return self.begin + before, sides

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def _chat(self, messages: Sequence[Message], answers: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        if not getattr(self.tokenizer, "chat_template", None):
            raise ValueError("messages need a chat template, and this tokenizer has none; accepted are texts")
        before = self._template(messages, generation=True)
        sides = [self._template([*messages, {"role": "assistant", "content": a}], generation=False) for a in answers]
        shared = len(before)
        for side in sides:
            same = next((i for i, (x, y) in enumerate(zip(before, side, strict=False)) if x != y), len(before))
            shared = min(shared, same)
        self.cut_prompts += shared < len(before)
        return before[:shared], [side[shared:] for side in sides]

    def _template(self, messages: Sequence[Message], *, generation: bool) -> list[int]:
        try:
            ids = self.tokenizer.apply_chat_template(
                list(messages), tokenize=True, add_generation_prompt=generation, return_dict=True
            )["input_ids"]
        except Exception as error:  # templates raise what they like: of roles that they do not know, for one
            raise ValueError(f"the chat template refuses these messages: {error}") from None
        return list(ids)


def within(rows: Sequence[TokenRow], most: int) -> tuple[list[int], list[int]]:
    """Indices of the rows whose prompt and longer response have at most so many tokens, and of the others."""
    sizes = [len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in rows]
    kept = [index for index, size in enumerate(sizes) if size <= most]
    return kept, [index for index, size in enumerate(sizes) if size > most]
