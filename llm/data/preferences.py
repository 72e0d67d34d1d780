"""People's own preference pairs: texts or messages, with or without a prompt apart, labelled hard, softly or by votes.

A record has ``chosen`` and ``rejected`` and mostly a ``prompt``. Each is a text, or messages ({"role", "content"}) as
chat models take them; without a prompt the two sides are whole dialogues and the prompt is what they share: of texts up
to their last common "Assistant:", or else the words they begin with. A side may be a list of several texts: each of
them makes a pair. ``p`` (or ``label``) is the probability that the chosen response is the better one, or votes_chosen,
votes_rejected and votes_equal say it; without any the chosen one won.

Files are those of `gpo_analysis.reading`: JSON lines, a JSON array or CSV, plain or gzip-compressed.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpo_analysis.reading import LeftOut, ReadReport, Row, Table, is_blank, number_in, read_table
from llm.data.readers import TURN, split_dialogues

Message = dict[str, str]
Text = str | tuple[Message, ...]
ACCEPTED = "chosen, rejected and mostly prompt: texts or lists of messages {role, content}"
SIDES = ("chosen", "rejected")
SOFT = ("p", "label")
VOTES = ("votes_chosen", "votes_rejected", "votes_equal")
#: Columns, and keys of messages, that chat templates read and that are not read here.
TEMPLATED = ("tools", "functions", "documents", "chat_template_kwargs", "image", "images", "videos", "audio")
SPOKEN = ("tool_calls", "tool_call_id", "function_call", "name", "thinking", "reasoning", "reasoning_content")
#: Columns that would change what is trained if they were used, and are not.
COUNTING = ("weight", "weights", "sample_weight", "count", "counts", "n", "repeat", "repeats", "tie", "winner")


@dataclass(frozen=True)
class PreferencePair:
    """A prompt, two responses and a label.

    Attributes
    ----------
    line : int
        Where it stands in the file.
    prompt : str or tuple of dict
        A text, as it stands; or messages, of which the last is none of the assistant.
    chosen, rejected : str
        To a text what follows it, as it stands; to messages the content of the assistant's next one.
    p : float
        Probability that ``chosen`` is the better.
    """

    line: int
    prompt: Text
    chosen: str
    rejected: str
    p: float = 1.0

    @property
    def prompt_key(self) -> str:
        """The same for pairs of one prompt."""
        return self.prompt if isinstance(self.prompt, str) else repr(self.prompt)


def read_preferences(path: str | os.PathLike[str]) -> tuple[list[PreferencePair], ReadReport]:
    """Read a file of preference pairs.

    Returns
    -------
    list of PreferencePair, ReadReport
        The report names what was left out (two responses that are the same, empty responses) with its lines, and
        columns that are not used.

    Raises
    ------
    ValueError
        Naming file, line and what is accepted: for a record that is no pair, a label that is none, or a column that
        would count and is not understood (a weight, a tie).
    FileNotFoundError
        Where there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "pairs.jsonl")
    ...     _ = file.write_text('{"prompt": "Hi", "chosen": "Hello", "rejected": "No", "p": 0.9}')
    ...     pairs, report = read_preferences(file)
    >>> pairs[0].chosen, pairs[0].p, report.used
    ('Hello', 0.9, 1)
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is no file; accepted is a file of pairs with {ACCEPTED}")
    table = read_table(Path(path), lambda columns: set(SIDES) <= set(columns), ACCEPTED)
    if not table.rows:
        raise ValueError(f"{path} holds no pairs; accepted are records with {ACCEPTED}")
    _refuse_what_counts(table)
    pairs: list[PreferencePair] = []
    left: dict[str, list[int]] = {}
    used = guessed = 0
    for row in table.rows:
        try:
            p, made = _label(row, table.where(row.line)), _sides(row.values)
        except _Unfit as error:
            raise ValueError(f"{table.where(row.line)}: {error}; accepted are {ACCEPTED}") from None
        kept = 0
        for prompt, chosen, rejected in made:
            if not chosen.strip() or not rejected.strip():
                left.setdefault("a response is empty", []).append(row.line)
            elif chosen.strip() == rejected.strip():
                left.setdefault("chosen and rejected are the same", []).append(row.line)
            else:
                pairs.append(PreferencePair(row.line, prompt, chosen, rejected, p))
                kept = 1
        used += kept
        guessed += row.values.get("prompt") is None and any(
            isinstance(prompt, str) and not prompt.endswith(TURN) for prompt, *_ in made
        )
    known = {"prompt", "system", *SIDES, *SOFT, *VOTES}
    report = ReadReport(
        str(path), table.format, len(table.rows) + len(table.blank), used,
        tuple(LeftOut(tuple(lines), why) for why, lines in left.items())
        + ((LeftOut(table.blank, "nothing but separators"),) if table.blank else ()),
        not_used=tuple(name for name in table.columns if name not in known),
        prompts=len({pair.prompt_key for pair in pairs}),
        notes=(f"no prompt in {guessed} rows: taken are the words that both sides begin with",) if guessed else (),
    )  # fmt: skip
    if not pairs:
        raise ValueError(f"{report}\nno pair is left; accepted are two different responses to a prompt")
    return pairs, report


class _Unfit(ValueError):
    """A record that is no pair; the message says why."""


def _refuse_what_counts(table: Table) -> None:
    for name in COUNTING:
        idle = ("", "None", "0", "0.0", "False") if name == "tie" else ("", "None", "1", "1.0")
        for row in table.rows if name in table.columns else ():
            if str(row.values.get(name, "")).strip() not in idle:
                raise ValueError(
                    f"{table.where(row.line)}: column {name} would change what is trained and is not understood; "
                    "pairs count alike: give a pair as often as it counts, say a tie by p = 0.5, or take it out"
                )

    for name in TEMPLATED:
        for row in table.rows if name in table.columns else ():
            if row.values.get(name) not in (None, "", [], {}):
                raise ValueError(
                    f"{table.where(row.line)}: column {name} would be in what the model reads and is not understood; "
                    "accepted are prompts and responses of text alone: write it into the prompt, or take it out"
                )


def _label(row: Row, where: str) -> float:
    """p of a record, by the one way that it says it."""
    given = [name for name in SOFT if not is_blank(row.values.get(name))]
    voted = any(not is_blank(row.values.get(name)) for name in VOTES)
    if len(given) + voted > 1:
        raise _Unfit(f"{' and '.join([*given, *(['votes'] if voted else [])])} say the label twice")
    if given:
        p = number_in(row.values[given[0]], given[0], where)
        if not 0 <= p <= 1:
            raise ValueError(f"{where}: {given[0]} is {p:g}; accepted is the probability that chosen is the better")
        return p
    if not voted:
        return 1.0
    votes = [
        0.0 if is_blank(row.values.get(name)) else number_in(row.values[name], name, where, least=0) for name in VOTES
    ]
    if not sum(votes):
        raise ValueError(f"{where}: no votes; accepted is one or more, or no columns of votes")
    return (votes[0] + 0.5 * votes[2]) / sum(votes)


def _sides(values: dict[str, Any]) -> list[tuple[Text, str, str]]:
    """The pairs of a record: prompt, chosen, rejected."""
    missing = [name for name in SIDES if values.get(name) is None]
    if missing:
        raise _Unfit(f"no {' and no '.join(missing)}")
    prompt, system = values.get("prompt"), values.get("system")
    found = []
    for chosen, rejected in itertools.product(*(_several(values[name], name) for name in SIDES)):
        if isinstance(chosen, str) and isinstance(rejected, str) and not isinstance(prompt, list | dict):
            if not is_blank(system):
                raise _Unfit("system goes with messages, and this record has texts")
            found.append(_texts(prompt, chosen, rejected))
        else:
            found.append(_dialogue(prompt, system, chosen, rejected))
    return found


def _several(value: Any, name: str) -> list[str | tuple[Message, ...]]:
    """A side as a list of responses: one, or several texts."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return list(value)
    return [_messages(value, name)]


def _texts(prompt: Any, chosen: str, rejected: str) -> tuple[str, str, str]:
    if prompt is None:
        try:
            return split_dialogues(chosen, rejected)
        except ValueError as error:
            found = _shared_words(chosen, rejected)
            if found is None:
                raise _Unfit(str(error)) from None
            return found
    if not isinstance(prompt, str):
        raise _Unfit(f"prompt is {prompt!r:.40}")
    if prompt.strip() and chosen.startswith(prompt) and rejected.startswith(prompt):
        return prompt, chosen[len(prompt) :], rejected[len(prompt) :]  # whole dialogues beside their beginning
    return prompt, chosen, rejected


def _shared_words(chosen: str, rejected: str) -> tuple[str, str, str] | None:
    """The prompt of two texts that begin alike: whole words, as other trainers take them; None where there are none."""
    apart = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), 0)
    end = max((i for i in range(apart) if chosen[i].isspace()), default=0)
    return (chosen[:end], chosen[end:], rejected[end:]) if chosen[:end].strip() else None


def _dialogue(prompt: Any, system: Any, chosen: Text, rejected: Text) -> tuple[tuple[Message, ...], str, str]:
    """Messages as a prompt and the contents of two replies."""
    before: tuple[Message, ...] = ()
    if isinstance(prompt, list | dict):
        before = _messages(prompt, "prompt")
    sides = [
        (({"role": "assistant", "content": side},) if isinstance(side, str) else side) for side in (chosen, rejected)
    ]
    if before and all(side[: len(before)] == before for side in sides):
        sides = [side[len(before) :] for side in sides]
    elif not before:
        shared = 0
        while all(len(side) > shared + 1 for side in sides) and sides[0][shared] == sides[1][shared]:
            shared += 1
        before, sides = sides[0][:shared], [side[shared:] for side in sides]
        if not before and isinstance(prompt, str) and prompt.strip():
            before = ({"role": "user", "content": prompt},)
    if isinstance(system, str) and system.strip():
        before = ({"role": "system", "content": system}, *before)
    for name, side in zip(SIDES, sides, strict=True):
        if len(side) != 1 or side[0]["role"] != "assistant":
            roles = ", ".join(message["role"] for message in side) or "nothing"
            raise _Unfit(f"after the prompt {name} has {roles}, where one message of the assistant is accepted")
    if not before or before[-1]["role"] == "assistant":
        raise _Unfit("the prompt " + ("ends with a message of the assistant" if before else "has no message"))
    return before, sides[0][0]["content"], sides[1][0]["content"]


def _messages(value: Any, name: str) -> tuple[Message, ...]:
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list) or not items:
        raise _Unfit(f"{name} is {value!r:.40}")
    for item in items:
        if (
            not isinstance(item, dict)
            or not isinstance(item.get("role"), str)
            or not isinstance(item.get("content"), str)
        ):
            raise _Unfit(f"{name} has {item!r:.60}, which is no message with the texts role and content")
        spoken = [key for key in SPOKEN if item.get(key) not in (None, "", [], {})]
        if spoken:
            raise _Unfit(f"{name} has a message with {', '.join(spoken)}, which would not be trained on")
    return tuple({"role": item["role"], "content": item["content"]} for item in items)


def turns_of(text: str) -> tuple[Message, ...]:
    """A text as messages: the turns of a "Human: … Assistant: …" dialogue, or else one message of the user.

    Parameters
    ----------
    text : str
        A prompt.

    Examples
    --------
    >>> [m["role"] for m in turns_of("Human: Hi\\n\\nAssistant: Hello\\n\\nHuman: Bye\\n\\nAssistant:")]
    ['user', 'assistant', 'user']
    >>> turns_of("Why?")
    ({'role': 'user', 'content': 'Why?'},)
    """
    found: list[Message] = []
    roles = {"Human:": "user", "Assistant:": "assistant"}
    for part in ("\n\n" + text.strip()).split("\n\n"):
        mark = next((mark for mark in roles if part.startswith(mark)), None)
        if mark is not None:
            found.append({"role": roles[mark], "content": part[len(mark) :].strip()})
        elif found and part.strip():
            found[-1]["content"] = f"{found[-1]['content']}\n\n{part}"
        elif part.strip():
            found = []
            break
    if found and found[-1] == {"role": "assistant", "content": ""}:
        found.pop()
    if not found or found[-1]["role"] != "user" or any(not m["content"] for m in found):
        found = [{"role": "user", "content": text}]
    return tuple(found)


def split_by_prompt(
    pairs: Sequence[PreferencePair], share: float, seed: int
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Pairs to train on and pairs held out: a share of the prompts, so that no prompt is in both.

    Parameters
    ----------
    pairs : sequence of PreferencePair
    share : float
        Of the prompts, from 0 to below 1.
    seed : int
        Of the draw.
    """
    import numpy as np

    prompts = list(dict.fromkeys(pair.prompt_key for pair in pairs))
    count = round(share * len(prompts))
    if share and (not count or count == len(prompts)):
        raise ValueError(f"held_out is {share:g} of {len(prompts)} prompts, which leaves none on one side")
    drawn = set(np.random.default_rng([seed, 12]).permutation(len(prompts))[:count].tolist())
    out = {prompt for number, prompt in enumerate(prompts) if number in drawn}
    return [p for p in pairs if p.prompt_key not in out], [p for p in pairs if p.prompt_key in out]
