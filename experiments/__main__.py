"""``python -m experiments list | describe | run | all | show | keep | recheck | compare | claims``: runs and records.

Examples
--------
    python -m experiments list
    python -m experiments claims
    python -m experiments describe beta-or-f
    python -m experiments run beta-or-f --set seeds=5 --set 'losses=[logistic, "log(cosh(1-z))"]'
    python -m experiments run losses taylor --preset quick
    python -m experiments all --jobs 2 --out out/records
    python -m experiments all --preset paper --scheduler tcp://127.0.0.1:8786
    python -m experiments keep variants --records out/paper --out results
    python -m experiments show beta-or-f
    python -m experiments show beta-or-f --records out/records --parts
    python -m experiments recheck variants
    python -m experiments compare out/records /mnt/other/records
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpo_analysis.cli.arguments import Parser, number, whole
from gpo_analysis.cli.extras import needs_extra
from gpo_analysis.cli.streams import guarded

# One thread a process: the same sums in the same order, whatever the number of jobs.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

with needs_extra("experiments", "experiments"):
    from experiments.framework.claims import run_claims, table
    from experiments.framework.discovery import UnknownExperiment, find_experiments, get_experiments
    from experiments.framework.results import RESULTS, NotClean, TooLarge, keep_result, recheck_result
    from experiments.framework.settings import BadSetting, Setting, read_assignments, settings_of
    from experiments.framework.shown import by_verdict, not_held, shown, verdicts
    from experiments.framework.tolerances import ATOL, RTOL
    from experiments.framework.written import fields_written
    from gpo_analysis.provenance import git_state
    from gpo_analysis.records import RecordError, find_records
    from gpo_analysis.runs import latest_record

if TYPE_CHECKING:
    from experiments.framework.runner import Plan

SHARED = ("losses", "seeds")  # fields that many experiments have, which the list names
RECORDS = Path("out/records")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code.

    Returns
    -------
    int
        0; 1 where an experiment failed or something could not be written, 2 for bad arguments, 130 where interrupted.
    """
    options = _parser().parse_args(arguments)
    if options.command == "list":
        _list(options.json)
        return 0
    if options.command == "claims":
        return _claims(options.json)
    try:
        if options.command == "recheck":
            return _recheck(options)
        if options.command == "show":
            return _show(options)
        if options.command == "compare":
            return _compare(options)
        if options.command == "describe":
            return _describe(options.name, options.json)
        return _keep(options) if options.command == "keep" else _run(options)
    except (UnknownExperiment, BadSetting) as error:
        print(f"experiments: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    """Run what is named, and say in a line each what became of it."""
    with needs_extra("experiments", "experiments"):
        from experiments.framework.runner import Interrupted, run_experiments

    chosen = find_experiments() if options.command == "all" else get_experiments(options.names)
    if options.data is not None:
        os.environ["GPO_DATA"] = str(options.data.resolve())
    try:
        plans = run_experiments(
            chosen,
            preset=options.preset,
            out=options.out,
            jobs=options.jobs,
            scheduler=options.scheduler,
            progress=not options.quiet,
            changed=read_assignments(getattr(options, "set", None) or []),
            what=" ".join(["python -m experiments", options.command, *getattr(options, "names", [])]),
        )
    except Interrupted as stop:
        print(f"experiments: {stop}", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"experiments: {error if error.filename else error.strerror or error}", file=sys.stderr)
        return 1
    for plan in plans:
        print(_in_words(plan))
        if len(plans) == 1 and plan.record is not None and not options.quiet:
            print("".join(f"  {line}\n" for line in not_held(plan.record.meta["checks"])), end="")
    made = [plan.name for plan in plans if plan.status == "complete"]
    if made and not options.quiet:
        name = made[0] if len(made) == 1 else "NAME"
        print(f"records in {options.out}; each claim: python -m figures report --records {options.out}")
        print(f"figure: python -m figures draw {name} --records {options.out}")
    failed = [plan.name for plan in plans if plan.status == "failed"]
    if failed:
        where = options.out / ".status"
        print(f"experiments: {len(failed)} failed ({', '.join(failed)}); tracebacks in {where}", file=sys.stderr)
    for plan in plans:
        if plan.not_noted:
            line = f"what became of {plan.name} could not be noted, and the report will not say it: {plan.not_noted}"
            print(f"experiments: {line}", file=sys.stderr)
    return 1 if failed or any(plan.not_noted for plan in plans) else 0


def _claims(as_json: bool) -> int:
    """Compute the claims of papers; the exit code is 1 where one is contradicted."""
    broken: dict[str, str] = {}
    results = run_claims(broken)
    print(json.dumps([r.to_dict() for r in results], indent=1, ensure_ascii=False) if as_json else table(results))
    for name, why in broken.items():
        print(f"experiments: claim {name}: {why}", file=sys.stderr)
    return int(bool(broken) or any(r.verdict != "holds" for r in results))


def _list(as_json: bool) -> None:
    found = find_experiments()
    described: list[dict[str, Any]] = [
        {**experiment.describe(), "fields": _fields(experiment.module_name)} for experiment in found
    ]
    if as_json:
        print(json.dumps(described, indent=1))
        return
    for item in described:
        shared = ", ".join(name for name in SHARED if name in item["fields"])
        print(f"{item['name']:<24} {shared:<13} {item['claim']}")
    print(
        "\nAfter the name: which of these fields it has; --set 'losses=[logistic, \"log(cosh(1-z))\"]', --set seeds=5."
    )


def _fields(module_name: str) -> list[str]:
    """The fields that an experiment's file writes; none of one that cannot be read, which its claim says."""
    try:
        return fields_written(module_name)
    except (SyntaxError, ValueError, OSError):
        return []


def _describe(name: str, as_json: bool) -> int:
    """What an experiment claims, and the fields of its configuration with their values in each preset."""
    experiment = get_experiments([name])[0]
    try:
        settings = settings_of(experiment)
    except Exception as error:  # whatever a broken file raises when it is loaded
        print(f"experiments: {experiment.name}: cannot be loaded: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if as_json:
        fields = [
            {
                "name": setting.name,
                "type": setting.kind,
                "default": {preset: _json(value) for preset, value in setting.values.items()},
                "meaning": setting.meaning,
                **({"together": [one.name for one in group]} if len(group) > 1 else {}),
            }
            for group in _groups(settings)
            for setting in group
        ]
        print(json.dumps({**experiment.describe(), "fields": fields}, indent=1, ensure_ascii=False))
        return 0
    print(f"{experiment.name}: {experiment.describe()['claim']}\n")
    for group in _groups(settings):
        kinds = list(dict.fromkeys(setting.kind for setting in group))
        print(f"{', '.join(setting.name for setting in group)} : {', '.join(kinds)}")
        print(textwrap.fill(group[0].meaning, 100, initial_indent="    ", subsequent_indent="    "))
        for preset in group[0].values:
            print(f"    {preset:<6} {', '.join(_json_text(setting.values[preset]) for setting in group)}")
    print(f"\nChange them by: python -m experiments run {experiment.name} --set {settings[0].name}=…")
    return 0


def _groups(settings: list[Setting]) -> list[list[Setting]]:
    """Settings in order, those together that one text explains: it is said once, with all their names before it."""
    return [list(group) for _, group in itertools.groupby(settings, key=lambda one: one.meaning or one.name)]


def _json(value: Any) -> Any:
    return list(map(_json, value)) if isinstance(value, tuple | list) else value


def _json_text(value: Any) -> str:
    return json.dumps(_json(value), ensure_ascii=False)


def _keep(options: argparse.Namespace) -> int:
    """Copy latest records to the committed results; a line says which cannot be."""
    code = 0
    for experiment in get_experiments(options.names):
        try:
            record, folder = keep_result(experiment.name, options.records, options.out)
        except (RecordError, TooLarge, NotClean, OSError) as error:
            print(f"experiments: {error}", file=sys.stderr)
            code = 1
            continue
        dirty = ", made with uncommitted changes" if record.meta.get("git", {}).get("dirty") else ""
        print(f"{experiment.name:<24} {folder} (preset {record.meta.get('preset')}{dirty})")
    return code


def _recheck(options: argparse.Namespace) -> int:
    """Decide the claims of committed results anew, and write those that come out otherwise; say which cannot be."""
    code, git = 0, git_state(Path(__file__).parent)
    for experiment in get_experiments(options.names):
        try:
            before = latest_record(options.out, experiment.name)
            record, folder = recheck_result(experiment, options.out, git)
        except (ValueError, OSError) as error:  # RecordError and NotClean are ValueErrors
            print(f"experiments: {error}", file=sys.stderr)
            code = 1
            continue
        written = "left as it was" if record.key == before.key else f"written anew in place of {before.key}"
        print(f"{experiment.name:<24} {verdicts(record.meta['checks'])} ({folder}: {written})")
        print(by_verdict(record.meta["checks"], _width()))
    return code


def _show(options: argparse.Namespace) -> int:
    """Each claim of the named records with its numbers; nothing is written."""
    code, found = 0, []
    for experiment in get_experiments(options.names):
        try:
            found.append(latest_record(options.records, experiment.name))
        except (RecordError, OSError) as error:
            lacking = not find_records(options.records, experiment.name)
            why = f"no record of {experiment.name} in {options.records}; --records names another folder, as {RECORDS}"
            print(f"experiments: {why if lacking else error}", file=sys.stderr)
            code = 1
    if options.json:
        told = [{"experiment": record.name, "checks": record.meta["checks"]} for record in found]
        print(json.dumps(told, indent=1, ensure_ascii=False))
    elif found:
        print("\n\n".join(shown(record, _width(), parts=options.parts) for record in found))
    return code


def _width() -> int:
    return min(160, shutil.get_terminal_size((100, 24)).columns)


def _compare(options: argparse.Namespace) -> int:
    """Say in which columns two records, or all of two folders, differ; the exit code is 1 where one is beyond."""
    with needs_extra("experiments", "experiments"):
        from experiments.framework.compare import compare, in_words

    try:
        found = compare(options.a, options.b, options.rtol, options.atol, common=options.common)
    except (RecordError, OSError) as error:
        print(f"experiments: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps([one.to_dict() for one in found], indent=1, ensure_ascii=False))
    else:
        print(in_words(found, options.a, options.b, options.rtol, options.atol))
    return int(not all(one.within for one in found))


def _in_words(plan: Plan) -> str:
    """Return one line on what became of an experiment."""
    if plan.status != "complete" or plan.record is None:
        return f"{plan.name:<24} {plan.status}: {plan.why}"
    words = verdicts(plan.record.meta["checks"])
    return f"{plan.name:<24} {words} ({len(plan.record.table)} rows, {plan.record.meta['wall_seconds']:.1f} s)"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m experiments", description="Run experiments and write records.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="name and claim of every experiment")
    listing.add_argument("--json", action="store_true", help="with the figure, for other programs")
    claims = commands.add_parser("claims", help="compute the claims of papers in experiments/claims and print a table")
    claims.add_argument("--json", action="store_true", help="for other programs")
    run = commands.add_parser("run", help="run the named experiments")
    run.add_argument("names", nargs="+", metavar="NAME")
    run.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="another value for a field of the configuration ('describe' lists them); may be given several times",
    )
    described = commands.add_parser("describe", help="the fields of an experiment, their meaning and presets")
    described.add_argument("name", metavar="NAME")
    described.add_argument("--json", action="store_true", help="for other programs")
    everything = commands.add_parser("all", help="run every experiment")
    kept = commands.add_parser("keep", help="copy the latest records of the named experiments to committed results")
    kept.add_argument("names", nargs="+", metavar="NAME")
    kept.add_argument("--records", type=Path, default=RECORDS, metavar="DIR", help=f"default: {RECORDS}")
    kept.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    told = commands.add_parser("show", help="each claim of a record: predicted beside measured, interval and verdict")
    told.add_argument("names", nargs="+", metavar="NAME")
    told.add_argument(
        "--records", type=Path, default=RESULTS, metavar="DIR", help=f"default: the committed results, {RESULTS}"
    )
    told.add_argument("--parts", action="store_true", help="with a line for each loss, seed or setting of a claim")
    told.add_argument("--json", action="store_true", help="for other programs")
    again = commands.add_parser(
        "recheck",
        help="decide the claims of committed results anew, from their tables, and write those that come out otherwise",
        description="Decide the claims of committed results anew, from their own tables by today's checks, and WRITE "
        "each record that comes out otherwise in its place in --out; one that does not stays as it is. "
        "'show' only reads.",
    )
    again.add_argument("names", nargs="+", metavar="NAME")
    again.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    compared = commands.add_parser(
        "compare", help="do two records, or two folders of them, hold the same tables, and if not, by how much?"
    )
    compared.add_argument("a", type=Path, metavar="A", help="a record's folder, a folder of records, or of tables")
    compared.add_argument("b", type=Path, metavar="B", help="likewise")
    compared.add_argument("--rtol", type=number(0.0), default=RTOL, help=f"of numbers, relative (default: {RTOL:g})")
    compared.add_argument("--atol", type=number(0.0), default=ATOL, help=f"of numbers, absolute (default: {ATOL:g})")
    compared.add_argument("--common", action="store_true", help="leave out what only one of them has")
    compared.add_argument("--json", action="store_true", help="for other programs")
    for command in (run, everything):
        command.add_argument("--preset", choices=("quick", "paper"), default="quick", help="default: quick")
        command.add_argument("--jobs", type=whole(1), default=1, metavar="N", help="processes (default: 1)")
        command.add_argument(
            "--scheduler",
            metavar="ADDRESS",
            help="compute on a Dask cluster: tcp://host:port, with workers started in a checkout of the same commit "
            "(PYTHONPATH=. dask worker ADDRESS --nthreads 1), or 'local' for one of --jobs workers on this machine",
        )
        command.add_argument("--out", type=Path, default=RECORDS, metavar="DIR", help=f"default: {RECORDS}")
        command.add_argument("--data", type=Path, metavar="DIR", help="folder of real data (else $GPO_DATA)")
        command.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(guarded("experiments", main))
