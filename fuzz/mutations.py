"""Mutations of a file that is a table, lines of JSON or a document: of bytes, lines, cells, names, encodings."""

from __future__ import annotations

import gzip
import random

_CELLS = (
    "", " ", "nan", "NaN", "None", "null", "inf", "-1", "0", "1e308", "1e-320", "1_000", "1,5", "٣", "tie", "[]",
    '"', '""', "\\ud83d", "\x00", "\x1b[31m", "\u202e", "\u200b", "\u00a0", "a\nb", "Jose\u0301", "$x^", "-0.0", "0x1f",
    "9" * 400, "9" * 5000, "[" * 3000, "{a: b}", "2001-02-30", "!!int x", "&a [*a]", "x" * 140_000, "日本", "\ufeff",
)  # fmt: skip
_KEYS = (
    "winner",
    "loser",
    "count",
    "weight",
    "votes",
    "ties",
    "tie",
    "prompt",
    "n",
    "step",
    "x",
    "",
    "Winner ",
    "debate",
    "loss",
    "beta",
    "seeds",
    "steps",
)


def _bytes(data: bytes, chance: random.Random) -> bytes:
    """Flip, insert, delete or repeat a few bytes."""
    out = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(out) + 1)
        kind = chance.randrange(4)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at:at] = chance.randbytes(chance.randrange(1, 5))
        elif kind == 2:
            del out[at : at + chance.randrange(1, 9)]
        else:
            out[at:at] = out[max(0, at - 20) : at]
    return bytes(out)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _line(data: bytes, chance: random.Random) -> bytes:
    """Drop, repeat or exchange lines."""
    rows = data.split(b"\n")
    i, j = chance.randrange(len(rows)), chance.randrange(len(rows))
    kind = chance.randrange(3)
    if kind == 0:
        del rows[i]
    elif kind == 1:
        rows.insert(j, rows[i])
    else:
        rows[i], rows[j] = rows[j], rows[i]
    return b"\n".join(rows)


def _cell(data: bytes, chance: random.Random) -> bytes:
    """Put something strange in place of what stands between two separators."""
    ends = [at for at, byte in enumerate(data) if byte in b",;:\n{}[]"]
    if len(ends) < 2:
        return data
    k = chance.randrange(len(ends) - 1)
    word = chance.choice(_CELLS)
    if chance.random() < 0.5:
        word = f'"{word}"'
    return data[: ends[k] + 1] + word.encode("utf-8", "surrogatepass") + data[ends[k + 1] :]


def _name(data: bytes, chance: random.Random) -> bytes:
    """Give a column another's name."""
    old, new = (chance.choice(_KEYS).encode() for _ in range(2))
    return data.replace(old, new, chance.choice((1, -1))) if old else new + b"," + data


def _encoding(data: bytes, chance: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(chance.choice(("utf-16", "utf-16-le", "latin-1", "utf-8-sig", "utf-32", "utf-7")), "replace")


def _separator(data: bytes, chance: random.Random) -> bytes:
    return data.replace(
        chance.choice((b",", b";", b"\n")), chance.choice((b";", b"\t", b"|", b"\r\n", b"\r", b",", b""))
    )


def _packed(data: bytes, chance: random.Random) -> bytes:
    packed = gzip.compress(data, mtime=0)
    return packed if chance.random() < 0.5 else packed[: chance.randrange(len(packed))]


MUTATIONS = (_bytes, _cut, _line, _cell, _cell, _cell, _name, _encoding, _separator, _packed)


def mutated_bytes(data: bytes, chance: random.Random) -> bytes:
    """Mutate one to four times."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        data = chance.choice(MUTATIONS)(data, chance) if data else data
    return data
