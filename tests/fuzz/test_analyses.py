"""The bounded part of ``python -m fuzz.analyses`` and ``python -m fuzz.analyze_bytes``; a planted fault is found."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from fuzz.analyses import Findings, check, check_radius, text
from fuzz.analyze_bytes import analysis, losses

ROOT = Path(__file__).resolve().parents[2]
FEW = [
    "savage",
    "robust_logistic",
    "sqrt(1+(1-z)**2)",
    "-log(erfc(-z/sqrt(2))/2)",
    "max(0,exp(-z)-z)",
    "(1-z)/(1+z**2)",
]


def test_random_losses_against_brute_force() -> None:
    """Some 13 s of processor time: what is proved of eight losses is tried in many digits on a grid."""
    generator, found = random.Random(5), Findings()
    for _ in range(8):
        check(found, text(generator))
    assert found.wrong == []
    assert found.checked["margin"] >= 45
    assert found.checked["radius"] >= 2


def test_a_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = gpo.LossAnalysis.optimal_margin
    off = lambda self, eta: honest(self, eta) * np.float64(1.01)  # noqa: E731
    monkeypatch.setattr(gpo.LossAnalysis, "optimal_margin", off)
    found = Findings()
    check(found, "log(1+exp(-z))+z**2/7")
    assert any(line.startswith("risk") for line in found.wrong)


@pytest.mark.parametrize("radius", [2, 3])
def test_a_radius_that_is_too_large_is_found(radius: int) -> None:
    honest = gpo.analyze(gpo.parse_loss("log(1+z**2+sqrt(4+z**2))"))  # 1.5175
    found = Findings()
    check_radius(found, "planted", dataclasses.replace(honest, taylor_radius=sympy.Integer(radius)))
    assert len(found.wrong) == 1
    check_radius(found, "honest", honest)
    assert len(found.wrong) == 1


def checksums(seed: int, order: str) -> str:
    command = [
        sys.executable,
        "-m",
        "fuzz.analyze_bytes",
        "--each",
        "--order",
        order,
        *(f"--only={loss}" for loss in FEW),
    ]
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_same_bytes_whatever_the_hash_seed_and_the_order_of_calls() -> None:
    first = checksums(1, "as listed")
    assert len(first.splitlines()) == len(FEW) + 1
    assert checksums(4242, "backwards") == first


def test_the_same_bytes_again_in_one_process() -> None:
    for loss in FEW[:2]:
        assert analysis(loss) == analysis(loss)
    assert len(losses()) >= 13 + 60
