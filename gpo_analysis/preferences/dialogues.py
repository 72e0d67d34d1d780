"""Answers to prompts as people keep them: texts, lists of messages, whole dialogues whose beginning is the prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

TURN = "Assistant:"  #: Ends the prompt of a dialogue that is one text.
ACCEPTED = "accepted are texts or lists of messages {role, content}"
Message = tuple[str, str]


class Unfit(ValueError):
    """A cell that is no answer and no prompt; the message says why."""


def messages_of(value: Any, what: str) -> tuple[Message, ...] | None:
    """The messages of a cell, or None where it is a text.

    Raises
    ------
    Unfit
        Where it is neither.

    Examples
    --------
    >>> messages_of([{"role": "user", "content": "Hi"}], "prompt")
    (('user', 'Hi'),)
    >>> messages_of('[{"role": "user", "content": "Hi"}]', "prompt")
    (('user', 'Hi'),)
    """
    if isinstance(value, str):
        if not value.lstrip().startswith("[{"):
            return None
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return None
        is_dialogue = isinstance(found, list) and all(
            isinstance(m, dict) and {"role", "content"} <= set(m) for m in found
        )
        return messages_of(found, what) if is_dialogue and found else None
    if isinstance(value, dict) and {"role", "content"} <= set(value):
        value = [value]
    if not isinstance(value, list):
        return None
    messages = []
    for message in value:
        if not isinstance(message, dict) or not isinstance(message.get("content"), str) or not message.get("role"):
            raise Unfit(f"{what} is {value!r:.60}; {ACCEPTED}")
        messages.append((str(message["role"]), message["content"]))
    if not messages:
        raise Unfit(f"{what} is []; {ACCEPTED}")
    return tuple(messages)


def written(messages: Sequence[Message]) -> str:
    """Messages as one text: an answer alone as its content, a dialogue with its roles.

    Examples
    --------
    >>> written([("assistant", "Hello")]), written([("user", "Hi"), ("assistant", "Hello")])
    ('Hello', 'user: Hi\\n\\nassistant: Hello')
    """
    if len(messages) == 1 and messages[0][0] == "assistant":
        return messages[0][1]
    return "\n\n".join(f"{role}: {content}" for role, content in messages)


def split_messages(chosen: Sequence[Message], rejected: Sequence[Message]) -> tuple[str, str, str]:
    """Two dialogues as the prompt that they share, ``""`` where they share nothing, and what follows it."""
    same = 0
    while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
        same += 1
    return written(chosen[:same]) if same else "", written(chosen[same:]), written(rejected[same:])


def split_dialogues(chosen: str, rejected: str, *, turn: str = TURN) -> tuple[str, str, str] | None:
    """Two whole dialogues as a prompt and two answers: the prompt is what they share, up to the last "Assistant:".

    Parameters
    ----------
    chosen, rejected : str
    turn : str
        What the prompt ends with; ``""`` for the last white space before the two part.

    Returns
    -------
    tuple of str, or None
        None where they share no such beginning.

    Examples
    --------
    >>> split_dialogues("Human: Hi\\n\\nAssistant: Hello", "Human: Hi\\n\\nAssistant: No")
    ('Human: Hi\\n\\nAssistant:', ' Hello', ' No')
    >>> split_dialogues("The sky is blue.", "The sky is green.", turn="")
    ('The sky is', ' blue.', ' green.')
    """
    shared = _shared(chosen, rejected)
    if turn:
        end = chosen.rfind(turn, 0, shared) + len(turn)
        return None if end < len(turn) else (chosen[:end], chosen[end:], rejected[end:])
    end = shared
    while end > 0 and not chosen[end - 1].isspace():
        end -= 1
    end = len(chosen[:end].rstrip())
    return (chosen[:end], chosen[end:], rejected[end:]) if end else None


def _shared(a: str, b: str) -> int:
    """Length of the common beginning, by halving."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
