"""``python -m llm export``: the policies of a finished study.

Examples
--------
python -m llm export out/llm/cpu                                         (names of the cells)
python -m llm export out/llm/cpu squared-0.3-s0-fresh --out out/policy   (Hugging Face format)
"""

from __future__ import annotations

import argparse
import sys

from gpo_analysis.cli.arguments import Parser, whole
from gpo_analysis.cli.streams import guarded
from llm.commands import ended


def main(arguments: list[str]) -> int:
    """Run the command; an error is one line."""
    parser = Parser(
        prog="python -m llm export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", metavar="STUDY", help="the --out of an llm run")
    parser.add_argument("cell", metavar="CELL", nargs="?", help="name of a cell; none lists them")
    parser.add_argument("--out", metavar="DIR", help="folder for the model")
    parser.add_argument("--step", type=whole(0), help="one of the exported steps (default: the last)")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    given = parser.parse_args(arguments)

    def work() -> None:
        from llm.study.export import export_cell, study_cells

        if given.cell is None:
            for cell, (status, steps) in study_cells(given.study).items():
                print(f"{cell.name:<40} β {cell.beta:<10.4g} {status}, steps {', '.join(map(str, steps))}")
            return
        if given.out is None:
            raise ValueError("--out DIR is missing: where is the policy to be written?")
        folder = export_cell(given.study, given.cell, given.out, step=given.step)
        print(f"written to {folder}: load it by from_pretrained")

    return ended(work, given.traceback, "llm export")


if __name__ == "__main__":
    sys.exit(guarded("llm export", lambda: main(sys.argv[1:])))
