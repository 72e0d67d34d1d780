"""The gold reward of the generated world: a program that counts facts recalled and invented, and words too many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray
from llm.data.types import Example
from llm.data.world import SLOTS, VALUES, summary

_VALUES = {value: slot for slot in SLOTS for value in VALUES[slot]}
_FULL = len(summary({slot: VALUES[slot][0] for slot in SLOTS}).split())


@dataclass(frozen=True)
class FactCount:
    """What a response says of a record.

    Parameters
    ----------
    recalled : int
        Facts of the record it names, each counted once.
    invented : int
        Other values of the world it names, each counted once.
    words : int
        Its length in words.
    """

    recalled: int
    invented: int
    words: int


def count_facts(facts: Mapping[str, str], response: str) -> FactCount:
    """Count the facts in a response.

    Examples
    --------
    >>> facts = {"who": "Ana", "count": "two", "what": "lamps", "where": "Rome", "when": "Friday"}
    >>> count_facts(facts, "Ana sold two boats in Rome Rome .")
    FactCount(recalled=3, invented=1, words=8)
    """
    words = response.split()
    named = {word for word in words if word in _VALUES}
    true = set(facts.values())
    return FactCount(len(named & true), len(named - true), len(words))


class WorldReward:
    """Facts recalled − ``invention`` · facts invented − ``length`` · words beyond those of a full summary.

    Parameters
    ----------
    examples : iterable of Example
        Records of the world: the reward knows the facts of these, by their prompts.
    invention : float
        What an invented fact costs, in facts recalled.
    length : float
        What a word beyond a full summary (nine words) costs.

    Examples
    --------
    >>> from llm.data.world import generate
    >>> example = generate(1, seed=0)[0]
    >>> WorldReward([example])([example.prompt] * 2, [example.target, "someone sold some things ."])
    array([5., 0.])
    """

    def __init__(self, examples: Iterable[Example], *, invention: float = 1.0, length: float = 0.1) -> None:
        if invention < 0.0 or length < 0.0:
            raise ValueError(f"invention {invention} and length {length}: costs are 0 or more")
        self.name = "world"
        self.invention, self.length = invention, length
        self.fingerprint = f"invention {invention}, length {length}"
        self._facts = {example.prompt: example.meta["facts"] for example in examples}

    def counts(self, prompts: Sequence[str], responses: Sequence[str]) -> list[FactCount]:
        """Return n counts; a ValueError names the first prompt that is none of the records."""
        found = []
        for prompt, response in zip(prompts, responses, strict=True):
            if prompt not in self._facts:
                raise ValueError(f"no record has the prompt {prompt[:80]!r}; the reward knows {len(self._facts)}")
            found.append(count_facts(self._facts[prompt], response))
        return found

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> FloatArray:
        """Return (n,) rewards, at most 5."""
        rows = [
            one.recalled - self.invention * one.invented - self.length * max(0, one.words - _FULL)
            for one in self.counts(prompts, responses)
        ]
        return np.array(rows, dtype=np.float64)

    def exact(self, prompts: Sequence[str], responses: Sequence[str]) -> BoolArray:
        """Return (n,) whether every fact is recalled and none invented, at any length."""
        rows = [one.recalled == len(SLOTS) and one.invented == 0 for one in self.counts(prompts, responses)]
        return np.array(rows, dtype=np.bool_)
