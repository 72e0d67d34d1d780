"""Processor seconds of analysing random typed losses of at most 80 characters.

    python -m fuzz.seconds --count 268 --seed 0

Losses are drawn from the generators of :mod:`fuzz.analyses` and :mod:`fuzz.calculus` in turn, each text once. Counted
are those that raise, and those that take over ten seconds of the processor (both to be 0 on an idle machine: beside
other work the same operations take up to twice as many seconds). The exit status says whether there is one.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import islice

import gpo_analysis as gpo
from fuzz.analyses import text
from fuzz.calculus import ALLOWED, LONGEST, loss_text
from gpo_analysis.cli.arguments import Parser, whole


def losses(seed: int) -> Iterator[gpo.MarginLoss]:
    """Typed losses, without end; texts that the parser refuses are left out."""
    generators = [(text, random.Random(f"{seed}/sums")), (loss_text, random.Random(f"{seed}/compositions"))]
    seen: set[str] = set()
    while True:
        for draw, generator in generators:
            written = draw(generator)
            if len(written) > LONGEST or written in seen:
                continue
            seen.add(written)
            try:
                yield gpo.parse_loss(written, name=written)
            except ValueError:
                continue


def main(arguments: list[str] | None = None) -> int:
    """Analyse, and print the seconds; 1 where one raised or took too long."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=whole(1), default=268, help="losses (default: 268)")
    parser.add_argument("--seed", type=whole(0), default=0, help="of what is drawn (default: 0)")
    parser.add_argument("--show", type=whole(1), default=8, help="how many of the dearest are shown (default: 8)")
    chosen = parser.parse_args(arguments)
    taken: list[tuple[float, str]] = []
    raised: list[tuple[str, Exception]] = []
    for loss in islice(losses(chosen.seed), chosen.count):
        began = time.process_time()
        try:
            gpo.analyze(loss)
        except Exception as error:
            raised.append((loss.name, error))
        taken.append((time.process_time() - began, loss.name))
        if len(taken) % 25 == 0:
            print(f"{len(taken):>6} losses, {sum(s for s, _ in taken):.0f} s, {len(raised)} raised", flush=True)
    taken.sort(reverse=True)
    seconds = [s for s, _ in taken]
    over = sum(s > ALLOWED for s in seconds)
    print(
        f"{len(taken)} losses: {len(raised)} raised, {over} over {ALLOWED:g} s, {sum(s > 5 for s in seconds)} over 5 s"
    )
    print(f"median {statistics.median(seconds):.2f} s, dearest {seconds[0]:.1f} s, {sum(seconds):.0f} s in all")
    for s, written in taken[: chosen.show]:
        print(f"{s:8.1f} s  {written}")
    for written, error in raised:
        print(f"  raised  {written}: {type(error).__name__}: {error}")
    return int(bool(raised or over))


if __name__ == "__main__":
    sys.exit(main())
