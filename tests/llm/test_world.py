"""The generated world: reproducible, solvable from the prose, and a reward that counts what a reader would count."""

from __future__ import annotations

import numpy as np
import pytest

from llm.data.types import Example
from llm.data.world import SLOTS, VALUES, WorldConfig, demonstration, demonstrations, generate, summary, vocabulary
from llm.rewards.world import FactCount, WorldReward, count_facts

FACTS = {"who": "Ana", "count": "two", "what": "lamps", "where": "Rome", "when": "Friday"}


def test_records_are_reproducible_distinct_and_apart_from_others() -> None:
    first = generate(50, seed=1)
    assert first[:20] == generate(20, seed=1)
    assert len({example.prompt for example in first}) == 50
    assert generate(50, seed=2) != first
    apart = generate(30, seed=1, exclude=first[:30])
    assert not {e.prompt for e in apart} & {e.prompt for e in first[:30]}
    assert apart[:20] == first[30:]


def test_prose_has_the_facts_and_distractors_are_false(records: list[Example]) -> None:
    for example in records:
        words = example.prompt.split()
        values = {word for word in words if any(word in VALUES[slot] for slot in SLOTS)}
        facts, distractors = example.meta["facts"], example.meta["distractors"]
        assert values == set(facts.values()) | set(distractors.values())
        assert all(facts[slot] != value for slot, value in distractors.items())
        assert len(distractors) == WorldConfig().distractors


def test_the_wording_alone_tells_facts_from_distractors(records: list[Example]) -> None:
    # a reader who knows the two kinds of sentences, learned from other records, gets every fact
    told, idle = {}, {}
    for example in generate(400, seed=99):
        for sentence in example.prompt.removeprefix("record : ").removesuffix(" summary :").split(" . "):
            for slot in SLOTS:
                for kind, table in (("facts", told), ("distractors", idle)):
                    value = example.meta[kind].get(slot)
                    if value in sentence.split():
                        table.setdefault(slot, set()).add(sentence.replace(value, "{}").removesuffix(" ."))
    assert all(not told[slot] & idle[slot] for slot in SLOTS)
    for example in records:
        for slot, value in example.meta["facts"].items():
            assert any(frame.format(value) in example.prompt for frame in told[slot])


def test_lists_do_not_overlap_and_the_vocabulary_is_complete(records: list[Example]) -> None:
    values = [value for slot in SLOTS for value in VALUES[slot]]
    assert len(values) == len(set(values))
    known = set(vocabulary())
    assert len(known) < 160
    for example in records:
        said = f"{example.prompt} {example.target} {demonstration(example, seed=5)}".split()
        assert set(said) <= known


def test_demonstrations_are_as_careless_as_asked() -> None:
    records = generate(800, seed=11)
    config = WorldConfig(swap=0.2, drop=0.1, verbose=0.25)
    lines = [demonstration(example, seed=0, config=config) for example in records]
    counts = [count_facts(e.meta["facts"], line) for e, line in zip(records, lines, strict=True)]
    n = 5 * len(records)
    assert sum(c.recalled for c in counts) / n == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / n))
    assert sum(c.invented for c in counts) / n == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / n))
    opened = np.mean([line.split()[0] in ("it", "as", "in") for line in lines])
    assert opened == pytest.approx(0.25, abs=4 * np.sqrt(0.19 / len(lines)))
    clean = WorldConfig(swap=0.0, drop=0.0, verbose=0.0)
    assert [demonstration(e, seed=0, config=clean) for e in records[:50]] == [e.target for e in records[:50]]
    copies = demonstrations(records[:10], seed=0, copies=3)
    assert len({(e.prompt, e.target) for e in copies}) > 10
    assert copies == demonstrations(records[:10], seed=0, copies=3)


@pytest.mark.parametrize(
    ("response", "count", "reward"),
    [
        ("Ana sold two lamps in Rome on Friday .", FactCount(5, 0, 9), 5.0),
        ("", FactCount(0, 0, 0), 0.0),
        ("someone sold some things .", FactCount(0, 0, 5), 0.0),
        ("Ana sold two lamps in Oslo on Friday .", FactCount(4, 1, 9), 3.0),
        ("Ana Ben Cleo", FactCount(1, 2, 3), -1.0),
        ("Ana Ana Ana", FactCount(1, 0, 3), 1.0),
        ("in short , Ana sold two lamps in Rome on Friday .", FactCount(5, 0, 12), 4.7),
    ],
)
def test_reward_by_hand(response: str, count: FactCount, reward: float) -> None:
    record = Example("p", summary(FACTS), {"facts": FACTS, "distractors": {}})
    gold = WorldReward([record])
    assert count_facts(FACTS, response) == count
    assert gold(["p"], [response]) == pytest.approx([reward])
    assert gold.exact(["p"], [response]).tolist() == [count.recalled == 5 and count.invented == 0]


def test_true_summaries_have_the_greatest_reward(records: list[Example]) -> None:
    gold = WorldReward(records)
    prompts = [example.prompt for example in records]
    assert (gold(prompts, [example.target for example in records]) == 5.0).all()
    others = [example.target for example in records[1:] + records[:1]]
    assert (gold(prompts, others) < 5.0).all()


def test_bad_input(records: list[Example]) -> None:
    with pytest.raises(ValueError, match="no record has the prompt 'elsewhere'"):
        WorldReward(records)(["elsewhere"], ["x"])
    with pytest.raises(ValueError, match="distractors is 6"):
        WorldConfig(distractors=6)
    with pytest.raises(ValueError, match="add up to more than 1"):
        WorldConfig(swap=0.7, drop=0.7)
    with pytest.raises(ValueError, match="count is -1"):
        generate(-1, seed=0)
    with pytest.raises(ValueError, match="costs are 0 or more"):
        WorldReward(records, length=-1.0)
