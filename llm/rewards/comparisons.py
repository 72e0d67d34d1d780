"""Comparisons rewards are trained on: which of two responses to a prompt is the better, and of which kind that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm.data.types import Example, Pair


@dataclass(frozen=True)
class Comparison:
    """A better and a worse response; ``kind`` says what the worse one is, for the report."""

    prompt: str
    better: str
    worse: str
    kind: str = "pair"


def title_comparisons(
    examples: Sequence[Example], *, samples: Sequence[str] | None = None, seed: int = 0
) -> list[Comparison]:
    """Compare each true title with a title of another paper of its category, and with a sample of the model.

    Parameters
    ----------
    examples : sequence of Example
        Abstracts and titles, ``meta["category"]`` the category. Where a category has one paper, or none is given,
        the other title is any other paper's.
    samples : sequence of str, optional
        One response of a model to each example, in their order; equal ones and empty ones are left out.
    seed : int
        Seed of which other paper.

    Examples
    --------
    >>> examples = [Example("x", "A", {"category": "m"}), Example("y", "B", {"category": "m"})]
    >>> [(one.better, one.worse, one.kind) for one in title_comparisons(examples, samples=["A", "C"])]
    [('A', 'B', 'other'), ('B', 'A', 'other'), ('B', 'C', 'sample')]
    """
    if len(examples) < 2:
        raise ValueError(f"{len(examples)} examples; comparing titles needs two or more")
    if samples is not None and len(samples) != len(examples):
        raise ValueError(f"{len(samples)} samples for {len(examples)} examples; accepted is one each")
    rng = np.random.default_rng([seed, len(examples)])
    members: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        members.setdefault(str(example.meta.get("category", "")), []).append(index)
    found = []
    for index, example in enumerate(examples):
        pool = members[str(example.meta.get("category", ""))]
        pool = pool if len(pool) > 1 else range(len(examples))
        other = index
        while other == index:
            other = pool[int(rng.integers(len(pool)))]
        if examples[other].target != example.target:
            found.append(Comparison(example.prompt, example.target, examples[other].target, "other"))
        if samples is not None and samples[index].strip() and samples[index].strip() != example.target:
            found.append(Comparison(example.prompt, example.target, samples[index].strip(), "sample"))
    return found


def from_pairs(pairs: Sequence[Pair], kind: str = "pair") -> list[Comparison]:
    """Take labelled pairs as comparisons; undecided ones (p = ½) are left out, those below ½ turned round."""
    return [
        Comparison(pair.prompt, pair.chosen, pair.rejected, kind)
        if pair.p > 0.5
        else Comparison(pair.prompt, pair.rejected, pair.chosen, kind)
        for pair in pairs
        if pair.p != 0.5
    ]


def halves(examples: Sequence[Example], *, seed: int = 0) -> tuple[list[Example], list[Example]]:
    """Split at random by prompt: one half for the gold reward, the other for the judge, no prompt in both."""
    prompts = sorted({example.prompt for example in examples})
    order = np.random.default_rng([seed, 2]).permutation(len(prompts))
    first = {prompts[index] for index in order[: (len(prompts) + 1) // 2]}
    return (
        [example for example in examples if example.prompt in first],
        [example for example in examples if example.prompt not in first],
    )
