"""``python -m figures list | draw NAME… | all | report | claims``: figures and the report, from records.

Examples
--------
    python -m figures draw losses --records out/records --out out/figures
    python -m figures draw variants --committed --out docs/figures
    python -m figures all
    python -m figures report --records out/records --figures out/figures --out out
    python -m figures claims
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gpo_analysis.cli.arguments import Parser, whole
from gpo_analysis.cli.extras import needs_extra
from gpo_analysis.cli.streams import guarded

with needs_extra("experiments", "figures"):
    import markdown_it  # noqa: F401 - of the report, which is not to fail at its end
    import pyarrow  # noqa: F401 - of the records

    from figures.framework.drawing import PAPER, FigureModule, UnknownFigure, find_figures, get_figures
    from figures.framework.paper import readme_table
    from figures.framework.report import COMMITTED, write_report
    from figures.framework.side_by_side import draw_all
    from figures.framework.words import NATURES, counted
    from gpo_analysis.records import RecordError, find_records

RECORDS, FIGURES, REPORT, RESULTS = Path("out/records"), Path("out/figures"), Path("out"), Path("results")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code (1 something is missing or does not hold, 2 bad arguments)."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list":
            return _list(options.json)
        if options.command == "report":
            return _report(options)
        if options.command == "claims":
            print("\n".join(readme_table(options.results)))
            return 0
        if options.command == "all":
            return _draw_all(options)
        source = options.results if options.committed else options.records
        chosen = get_figures(options.names)
        return draw_all([(figure, source, options.out, options.committed) for figure in chosen])
    except UnknownFigure as error:
        print(f"figures: {error}", file=sys.stderr)
        return 2
    except RecordError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of the output has gone
        raise
    except OSError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 1


def _list(as_json: bool) -> int:
    listed: list[dict[str, Any]] = []
    for item in find_figures():
        try:
            listed.append({"name": item.name, **item.about()})
        except Exception as error:  # one broken module must not hide the others
            listed.append({"name": item.name, "experiments": [], "error": f"{type(error).__name__}: {error}"})
    if as_json:
        print(json.dumps(listed, indent=1))
    for row in listed:
        if "error" in row:
            print(f"figures: {row['name']}: cannot be loaded: {' '.join(row['error'].split())}", file=sys.stderr)
        elif not as_json:
            other = "" if row["experiments"] == [row["name"]] else f" (from {', '.join(row['experiments'])})"
            paper = f" [{row['paper']}]" if row["paper"] else ""
            print(f"{row['name']:<24} {row['about']}{paper}{other}")
    if not as_json:
        print(f"\nIn brackets: what of the paper ({PAPER}). draw NAME writes the whole caption beside the picture.")
    return int(any("error" in row for row in listed))


def _draw_all(options: argparse.Namespace) -> int:
    """Draw every figure, and those there are committed results for once more, below ``committed``."""
    if not find_records(options.records):
        print(_no_records(options.records), file=sys.stderr)
        return 1
    every = find_figures()
    kept = [
        (figure, options.results, options.out / COMMITTED, True)
        for figure in every
        if _has_results(figure, options.results)
    ]
    return draw_all([*((figure, options.records, options.out, False) for figure in every), *kept], options.jobs)


def _has_results(figure: FigureModule, results: Path) -> bool:
    """Whether there are committed results of all that a figure shows; of one that cannot be loaded nobody knows."""
    try:
        names = figure.load().EXPERIMENTS
    except Exception:  # said where it is drawn
        return False
    return all(find_records(results, name) for name in names)


def _no_records(folder: Path) -> str:
    return f"figures: no records in {folder}; make them with: python -m experiments all --out {folder}"


def _report(options: argparse.Namespace) -> int:
    drawings = options.figures if options.figures is not None else options.out / "figures"
    rows = write_report(options.records, drawings, options.out, options.results)
    if not rows:
        print(_no_records(options.records), file=sys.stderr)
        return 1
    failed = [row for row in rows if row["verdict"] == "contradicted"]
    print(f"{options.out / 'report.html'}: {len(rows)} claims: {counted(rows)}")
    for nature, words in NATURES.items():
        part = [row for row in rows if row.get("nature") == nature]
        print(f"  {len(part)} {words}: {counted(part)}")
    for row in failed:
        print(f"  contradicted: {row['experiment']}: {row['claim']}")
    return 1 if failed and options.strict else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m figures", description="Draw figures and the report from records.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="every figure, what it shows, and what of the paper")
    listing.add_argument("--json", action="store_true", help="for other programs")
    draw = commands.add_parser("draw", help="draw the named figures")
    draw.add_argument("names", nargs="+", metavar="NAME")
    draw.add_argument("--committed", action="store_true", help="from the committed results, and marked so")
    everything = commands.add_parser("all", help="draw every figure")
    everything.add_argument("--jobs", type=whole(1), default=1, metavar="N", help="processes (default: 1)")
    report = commands.add_parser("report", help="write report.md, report.html and report.json")
    report.add_argument("--figures", type=Path, metavar="DIR", help="default: figures in the --out folder")
    report.add_argument("--strict", action="store_true", help="exit with 1 if a claim does not hold")
    claims = commands.add_parser(
        "claims", help="the paper's five claims and what answers them, from committed results: the README's table"
    )
    claims.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    for command, default in ((draw, FIGURES), (everything, FIGURES), (report, REPORT)):
        command.add_argument("--records", type=Path, default=RECORDS, metavar="DIR", help=f"default: {RECORDS}")
        command.add_argument(
            "--results", type=Path, default=RESULTS, metavar="DIR", help=f"committed results (default: {RESULTS})"
        )
        command.add_argument("--out", type=Path, default=default, metavar="DIR", help=f"default: {default}")
    return parser


if __name__ == "__main__":
    sys.exit(guarded("figures", main))
