"""Values round a loop: those of an analytic function have no negative powers and close."""

from __future__ import annotations

import mpmath
import pytest

from gpo_analysis.analysis import singularities
from gpo_analysis.calculus.arithmetic import NUMBERS

COUNT = 24


def around(function: object) -> list[object]:
    return [function(NUMBERS.expjpi(2 * NUMBERS.mpf(k) / COUNT)) for k in range(COUNT + 1)]  # type: ignore[operator]


@pytest.mark.parametrize("power", range(1, COUNT // 2))
def test_every_negative_power_is_seen_and_no_other(power: int) -> None:
    assert singularities._has_singularity(around(lambda z: z**-power))
    assert singularities._has_singularity(around(lambda z: 3 + z + z**-power / 1000))
    assert not singularities._has_singularity(around(lambda z: z**power))
    assert not singularities._has_singularity(around(lambda z: 1 + z**power / 7))


def test_branches_do_not_close() -> None:
    """√z changes its sign, log z gains 2πi."""
    turns = [NUMBERS.mpf(k) / COUNT for k in range(COUNT + 1)]
    assert singularities._has_singularity([NUMBERS.expjpi(turn) for turn in turns])
    assert singularities._has_singularity([2j * mpmath.pi * turn for turn in turns])
    assert not singularities._has_singularity([NUMBERS.mpc(1)] * (COUNT + 1))
    assert not singularities._has_singularity([NUMBERS.mpc(0)] * (COUNT + 1))
