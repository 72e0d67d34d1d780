"""A generated world: records of sales in prose, with distractors, to be summarized in one line.

A record has five facts, each from a word list of its own: who, how many, what, where, when. The prose tells them in
shuffled sentences, each worded in one of several ways, among sentences that name values of other sales. The summary
is one line, such as ``Ana sold seven lamps in Rome on Friday .`` Which words of a response are facts can be read off
the lists, so that the gold reward is a program (`llm.rewards.world`).

Everything is lower-level than language on purpose: about 140 words, separated by spaces, so that a Llama of 0.1 million
parameters learns the task in half a minute, and gets it right often but not always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from llm.data.types import Example

VALUES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "who": ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo", "Iris", "Jon", "Kim", "Lena"),
        "count": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"),
        "what": ("lamps", "boats", "chairs", "books", "kites", "clocks", "rugs", "drums", "vases", "coats", "bells"),
        "where": ("Rome", "Oslo", "Lima", "Cairo", "Delhi", "Paris", "Quito", "Seoul", "Tunis", "Bern"),
        "when": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    }
)
SLOTS = tuple(VALUES)

_WORDINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "who": ("the seller was {} .", "it was {} who made the sale .", "the deal was made by {} ."),
        "count": ("exactly {} pieces were sold .", "the buyer took {} of them .", "the receipt says {} ."),
        "what": ("the goods were {} .", "what changed hands were {} .", "the boxes held {} ."),
        "where": ("they met in {} .", "the shop stands in {} .", "the papers were signed in {} ."),
        "when": ("it all happened on {} .", "the payment came on {} .", "they shook hands on {} ."),
    }
)
_DISTRACTORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "who": ("{} only watched .", "{} had hoped to come but fell ill ."),
        "count": ("another {} stayed in the store .", "last year there were {} ."),
        "what": ("nobody asked for {} .", "{} are sold by others ."),
        "where": ("the weather in {} was bad .", "a train to {} was late ."),
        "when": ("the market is closed on {} .", "rain is expected on {} ."),
    }
)
_LEAD = "record :"
_CUE = "summary :"
_VERBOSE = ("it is said that", "as far as we know ,", "in short ,")


@dataclass(frozen=True)
class WorldConfig:
    """How many records, how hard, and how noisy the demonstrations are.

    Parameters
    ----------
    distractors : int
        Sentences in each prose that tell of something else, each about another slot (at most five).
    swap : float
        Chance that a demonstration gives, for a fact, a value of the distractors or of the lists instead.
    drop : float
        Chance that a demonstration leaves a fact out.
    verbose : float
        Chance that a demonstration opens with empty words.
    """

    distractors: int = 2
    swap: float = 0.08
    drop: float = 0.06
    verbose: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.distractors <= len(SLOTS):
            raise ValueError(f"distractors is {self.distractors}; accepted is 0 to {len(SLOTS)}")
        for name in ("swap", "drop", "verbose"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is a probability from 0 to 1")
        if self.swap + self.drop > 1.0:
            raise ValueError(f"swap {self.swap} and drop {self.drop} add up to more than 1")


def generate(
    count: int, *, seed: int, config: WorldConfig | None = None, exclude: Sequence[Example] = ()
) -> list[Example]:
    """Return records as examples with distinct prompts and true, full summaries.

    Parameters
    ----------
    count : int
        Number of records.
    seed : int
        Seed; record i of a seed is the same whatever ``count`` is, unless it repeats an earlier prompt.
    config : WorldConfig, optional
        Difficulty; the noise of demonstrations plays no part here.
    exclude : sequence of Example
        Examples whose prompts must not come up again, such as those of another split.

    Returns
    -------
    list of Example
        ``meta`` holds "facts" (slot → value) and "distractors" (slot → value).

    Examples
    --------
    >>> example = generate(1, seed=0)[0]
    >>> example.target == summary(example.meta["facts"])
    True
    >>> all(value in example.prompt for value in example.meta["facts"].values())
    True
    """
    if count < 0:
        raise ValueError(f"count is {count}; accepted is 0 or more")
    config = config or WorldConfig()
    taken = {example.prompt for example in exclude}
    found: list[Example] = []
    for index in range(20 * count + 1000):
        if len(found) == count:
            return found
        example = _record(np.random.default_rng([seed, index]), config)
        if example.prompt not in taken:
            taken.add(example.prompt)
            found.append(example)
    if len(found) == count:
        return found
    raise ValueError(f"count is {count}; the world has too few records that differ from those excluded")


def _record(rng: np.random.Generator, config: WorldConfig) -> Example:
    facts = {slot: VALUES[slot][rng.integers(len(VALUES[slot]))] for slot in SLOTS}
    sentences = [_WORDINGS[slot][rng.integers(len(_WORDINGS[slot]))].format(facts[slot]) for slot in SLOTS]
    distractors = {}
    for index in rng.choice(len(SLOTS), size=config.distractors, replace=False):
        slot = SLOTS[index]
        others = [value for value in VALUES[slot] if value != facts[slot]]
        distractors[slot] = others[rng.integers(len(others))]
        wordings = _DISTRACTORS[slot]
        sentences.append(wordings[rng.integers(len(wordings))].format(distractors[slot]))
    order = rng.permutation(len(sentences))
    prose = " ".join(sentences[index] for index in order)
    return Example(f"{_LEAD} {prose} {_CUE}", summary(facts), {"facts": facts, "distractors": distractors})


def summary(facts: Mapping[str, str]) -> str:
    """Return the line that says the facts given, the others left out.

    Examples
    --------
    >>> summary({"who": "Ana", "count": "two", "what": "lamps", "where": "Rome", "when": "Friday"})
    'Ana sold two lamps in Rome on Friday .'
    >>> summary({"what": "lamps", "when": "Friday"})
    'someone sold some lamps on Friday .'
    """
    words = [facts.get("who", "someone"), "sold", facts.get("count", "some"), facts.get("what", "things")]
    if "where" in facts:
        words += ["in", facts["where"]]
    if "when" in facts:
        words += ["on", facts["when"]]
    return " ".join([*words, "."])


def demonstration(example: Example, *, seed: int, config: WorldConfig | None = None) -> str:
    """Return a summary as a careless person would write it, for supervised fine-tuning.

    Each fact is left out, or given wrongly, by chance; so that the model fine-tuned on such lines gives good and bad
    ones, and preferences between its samples have something to say.

    Parameters
    ----------
    example : Example
        A record of `generate`.
    seed : int
        Seed of the noise; another one gives another line.
    config : WorldConfig, optional
        The chances.
    """
    config = config or WorldConfig()
    rng = np.random.default_rng([seed, *example.prompt.encode()])
    given = {}
    for slot in SLOTS:
        chance = rng.random()
        if chance < config.drop:
            continue
        wrong = chance < config.drop + config.swap
        given[slot] = _wrong(example, slot, rng) if wrong else example.meta["facts"][slot]
    opening = [_VERBOSE[rng.integers(len(_VERBOSE))]] if rng.random() < config.verbose else []
    return " ".join([*opening, summary(given)])


def demonstrations(
    examples: Sequence[Example], *, seed: int, config: WorldConfig | None = None, copies: int = 1
) -> list[Example]:
    """Return the examples with careless targets, ``copies`` of each with noise of their own."""
    return [
        Example(example.prompt, demonstration(example, seed=seed * copies + copy, config=config), example.meta)
        for example in examples
        for copy in range(copies)
    ]


def _wrong(example: Example, slot: str, rng: np.random.Generator) -> str:
    """The distractor's value half of the time where there is one, else any wrong one."""
    distractor: str | None = example.meta["distractors"].get(slot)
    if distractor is not None and rng.random() < 0.5:
        return distractor
    others = [value for value in VALUES[slot] if value != example.meta["facts"][slot]]
    return others[rng.integers(len(others))]


def vocabulary() -> list[str]:
    """Return every word the world can say, so that a tokenizer knows them all whatever it was trained on."""
    texts = [_LEAD, _CUE, *_VERBOSE, summary({})]
    texts += [value for values in VALUES.values() for value in values]
    texts += [text.format("") for table in (_WORDINGS, _DISTRACTORS) for texts_ in table.values() for text in texts_]
    return sorted({word for text in texts for word in text.split()} | {"in", "on"})
