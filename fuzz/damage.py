"""Damage to a file: bits flipped, cut short, overwritten, or exchanged for another of its kind."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, Path, random.Random], None]


def flip(path: Path, other: Path, chance: random.Random) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(data))


def cut(path: Path, other: Path, chance: random.Random) -> None:
    """Cut it short, as a disk that filled up does."""
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def zero(path: Path, other: Path, chance: random.Random) -> None:
    """Write zeros over a stretch, as a disk does after a power cut."""
    data = bytearray(path.read_bytes())
    begin = chance.randrange(len(data))
    length = min(len(data) - begin, 1 + chance.randrange(512))
    data[begin : begin + length] = bytes(length)
    path.write_bytes(bytes(data))


def lengthen(path: Path, other: Path, chance: random.Random) -> None:
    """Append something."""
    path.write_bytes(path.read_bytes() + chance.randbytes(1 + chance.randrange(64)))


def change_digit(path: Path, other: Path, chance: random.Random) -> None:
    """Change a digit of what is text, as an editor does."""
    data = bytearray(path.read_bytes())
    digits = [at for at, byte in enumerate(data) if 0x30 <= byte <= 0x39]
    if not digits:
        return
    at = chance.choice(digits)
    data[at] = 0x30 + (data[at] - 0x30 + chance.randrange(1, 10)) % 10
    path.write_bytes(bytes(data))


def exchange(path: Path, other: Path, chance: random.Random) -> None:
    """Put another file of the kind in its place."""
    path.write_bytes(other.read_bytes())


KINDS: tuple[Damage, ...] = (flip, cut, zero, lengthen, change_digit, exchange)


def damaged(path: Path, other: Path, chance: random.Random) -> str:
    """Damage ``path``, which is not empty, in some way that changes it; return which."""
    before = path.read_bytes()
    while True:
        kind = chance.choice(KINDS)
        kind(path, other, chance)
        if path.read_bytes() != before:
            return kind.__name__
