"""What calculus answers depends on the question alone: not on the order of hashes, nor on what was asked before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import gpo_analysis as gpo
from gpo_analysis.losses.shape import convexity, kinks, pieces, shape_of, tails
texts = sys.argv[1:]
for text in texts:
    loss = gpo.get_loss(text) if text in gpo.list_losses() else gpo.parse_loss(text)
    print(text, pieces(loss), kinks(loss), convexity(loss), tails(loss), shape_of(loss), loss.smoothed(0.1).expression)
"""
TEXTS = [
    *("savage", "lrml", "sba", "hinge", "log(exp(z)+exp(-z)+exp(3-z/2))", "max(exp(-z), z, 1-z**3)", "tanh(1-z)**3"),
    *("-log(erfc(-z/sqrt(2))/2)", "log(1+exp(-z))**2", "softplus(-z)+max(0,z-8)/2", "(1-z)/(1+z**2)", "abs(abs(z)-1)"),
    *("min(1,max(0,1-z))", "z*tanh(z)-z", "log(200+z**2+exp(z/10))-z/50", "exp(-z**2)-z/10", "1/(1+exp(z/500))**2"),
]


def answers(seed: str, texts: list[str]) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *texts], capture_output=True, text=True, check=True, env=environment
    )
    return sorted(done.stdout.splitlines())


@pytest.fixture(scope="module")
def first() -> list[str]:
    return answers("0", TEXTS)


@pytest.mark.parametrize("seed", ["1", "12345"])
def test_neither_hashes_nor_the_order_of_questions_matter(first: list[str], seed: str) -> None:
    assert len(first) == len(TEXTS)
    assert answers(seed, TEXTS[::-1]) == first
