"""A bounded part of fuzz/calculus.py: random losses whose pieces, convexity and tails are compared with values."""

from __future__ import annotations

import random

from fuzz.calculus import LONGEST, Findings, attack, loss_text


def test_no_claim_on_random_losses_is_wrong() -> None:
    generator, found = random.Random(41), Findings()
    texts = [loss_text(generator) for _ in range(8)]
    assert len(set(texts)) == 8
    assert max(map(len, texts)) <= LONGEST
    for text in texts:
        attack(found, text, generator)
    assert found.losses >= 6
    assert found.wrong == []
    assert found.undecided.total() <= found.losses
