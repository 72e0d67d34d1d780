"""Every analysis as bytes, and one checksum of all: the same on a busy machine and an idle one, whatever came before.

    python -m fuzz.analyze_bytes
    PYTHONHASHSEED=7 python -m fuzz.analyze_bytes --order backwards --each

What is analysed are the losses of the catalogue and those of ``typed_losses.txt`` beside this file. Two runs in fresh
processes must print the same checksum, with other hash seeds, in another order, and beside busy processes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from pathlib import Path

import gpo_analysis as gpo
from gpo_analysis.cli.arguments import Parser

TYPED = Path(__file__).with_name("typed_losses.txt")


def losses() -> list[str]:
    """The names of the catalogue, then the typed texts."""
    return [*gpo.list_losses(), *TYPED.read_text(encoding="utf-8").splitlines()]


def analysis(text: str) -> str:
    """The analysis of one loss as JSON, or why it is refused."""
    try:
        loss = gpo.get_loss(text) if text in gpo.list_losses() else gpo.parse_loss(text)
        return gpo.analyze(loss).to_json(sort_keys=True)
    except ValueError as refused:
        return json.dumps({"refused": str(refused)}, ensure_ascii=False)


def checksums(texts: list[str], order: str = "as listed") -> dict[str, str]:
    """SHA-256 of each analysis, worked out in some order, given in that of ``texts``."""
    worked = list(texts)
    if order == "backwards":
        worked.reverse()
    elif order != "as listed":
        random.Random(order).shuffle(worked)
    found = {text: hashlib.sha256(analysis(text).encode()).hexdigest() for text in worked}
    return {text: found[text] for text in texts}


def whole(sums: dict[str, str]) -> str:
    """One checksum of all."""
    return hashlib.sha256(json.dumps(sums, ensure_ascii=False).encode()).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Print the checksum; with ``--each`` also one a loss."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--order", default="as listed", help="'as listed', 'backwards', or a word that seeds a shuffle")
    parser.add_argument("--each", action="store_true", help="one line a loss before the last")
    parser.add_argument(
        "--only", action="append", metavar="LOSS", help="this loss, and others so given, instead of all"
    )
    chosen = parser.parse_args(arguments)
    sums = checksums(losses() if chosen.only is None else chosen.only, chosen.order)
    if chosen.each:
        for text, checksum in sums.items():
            print(checksum[:16], text)
    print(whole(sums))
    return 0


if __name__ == "__main__":
    sys.exit(main())
