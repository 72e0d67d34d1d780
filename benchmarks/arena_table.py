"""From a file of votes to a table with intervals, rank sets and bootstraps: processor time of each stage.

    python -m benchmarks.arena_table PATH/arena_votes/votes.csv.gz            all of it, 1,000 bootstraps
    python -m benchmarks.arena_table PATH --resamples 100 --hinge 20

Six losses with ties at half a win each, both models of ties, sandwich intervals, joint rank sets of all that have them,
bootstraps of all on the same weights (hinge, whose refits are linear programs, by itself), tests against noise. Times
are of the processor, which do not count who else is at work; the import is counted apart.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import TypeVar

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

_begun = time.process_time()
import numpy as np  # noqa: E402

from gpo_analysis.cli.arguments import Parser  # noqa: E402
from gpo_analysis.losses import PAPER_LOSSES  # noqa: E402
from gpo_analysis.preferences import read_comparisons  # noqa: E402
from gpo_analysis.ranking import ComparisonProblem, bootstrap, noise_tests, rank, rank_all  # noqa: E402

IMPORTED = time.process_time() - _begun
T = TypeVar("T")


class Stages:
    """Seconds of the processor by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"import": IMPORTED}

    def of(self, name: str, work: Callable[[], T]) -> T:
        """Do something and keep how long it took."""
        begun = time.process_time()
        found = work()
        self.seconds[name] = time.process_time() - begun
        return found


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--hinge", type=int, default=None, help="resamples of hinge (as many by default)")
    arguments = parser.parse_args()
    stages = Stages()
    problem = stages.of("read", lambda: ComparisonProblem.from_comparisons(read_comparisons(arguments.path)))
    fits = stages.of("six losses with sandwich", lambda: rank_all(problem, PAPER_LOSSES))
    ties = stages.of(
        "Davidson and Rao–Kupper", lambda: [rank(problem, ties=kind) for kind in ("davidson", "rao-kupper")]
    )
    tables = stages.of("rank sets and tables", lambda: [fit.to_frame() for fit in (*fits.values(), *ties)])
    smooth = [fit for name, fit in fits.items() if name != "hinge"]
    again = stages.of(
        f"{arguments.resamples} bootstraps of five losses", lambda: bootstrap(smooth, resamples=arguments.resamples)
    )
    count = arguments.resamples if arguments.hinge is None else arguments.hinge
    if count and fits["hinge"].converged:
        stages.of(f"{count} bootstraps of hinge", lambda: bootstrap([fits["hinge"]], resamples=count))
    stages.of("tests against noise", lambda: noise_tests(problem))
    print(problem)
    print(tables[0].head(5).to_string(index=False, float_format="{:.4f}".format))
    worst = max(
        float(np.abs(one.standard_error / fit.standard_errors[: problem.n] - 1).max())
        for one, fit in zip(again, smooth, strict=True)
    )
    print(f"bootstrap against sandwich, largest relative difference of standard errors: {worst:.3f}")
    for name, seconds in stages.seconds.items():
        print(f"{name:<40} {seconds:8.2f} s")
    print(f"{'all':<40} {sum(stages.seconds.values()):8.2f} s")


if __name__ == "__main__":
    main()
