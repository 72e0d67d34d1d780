"""Pages made from the code at build time: figure gallery, claims, β dictionary, commands, speed, faults, reference.

They lie in ``docs/_generated`` (not committed), so that no page can say something else than the code does.
"""

from __future__ import annotations

import importlib
import os
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dependencies

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
RECORDS = Path(os.environ.get("GPO_RECORDS", ROOT / "out" / "records"))
RESULTS = ROOT / "results"

PACKAGES = {  # package, and what it is for
    "losses": "margin losses: catalogue, parser, numpy and torch forms, modifiers",
    "preferences": "Bradley–Terry and what breaks it; observed comparisons; diagnostics",
    "divergences": "KL, the μ-weighted square loss, generator derivatives of f-divergences",
    "datasets": "a small published table of real comparisons",
    "analysis": "what follows from f alone: κ, calibration, Taylor series, links, equal-strength β, losses to order",
    "tabular": "policies over a finite set of responses: exact optima, grids, Nash policies, frontiers",
    "gaussian": "mixtures of Gaussians: divergences, landscapes, descent, the counterexample",
    "training": "gradient descent and flow; rates, clocks and deviations, said before training",
    "statistics": "intervals over what was drawn independently, shares of variance",
    "estimation": "fits to comparisons with their covariance; which f and β for one's own data; a run diagnosed",
    "ranking": "rankings of what was compared: ties, covariates, intervals, sets of ranks, tests against noise",
    "plotting": "functions that take ``ax=`` and return it",
    "showing": "what every result shows of itself: a summary, a table, a notebook view and a chart",
    "explore": "the explorer: what stands in its fields, its tables, figures and scripts; the page (extra `explore`)",
}
MODULES = {
    "integrations.trl": "GPOTrainer: TRL's DPOTrainer with any margin loss (extra `trl`)",
    "integrations.trl_config": "GPOConfig, its settings",
    "records": "a result: values, configuration, seed, versions",
}


def _write(path: Path, text: str) -> None:
    """Write a page if it changed, so that what is built stays built."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _cell(text: object) -> str:
    """A table cell: bars and line ends escaped."""
    return str(text).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _table(head: list[str], rows: list[list[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows])


def _reference(out: Path) -> None:
    import gpo_analysis as gpo

    toctree = [f"{name}" for name in PACKAGES] + list(MODULES)
    rows = [[f"[`gpo_analysis.{name}`]({name}.md)", what] for name, what in (PACKAGES | MODULES).items()]
    top = [[f"`gpo.{name}`", _first_line(getattr(gpo, name))] for name in sorted(_top_names())]
    page = [
        "# Reference",
        "From the docstrings, which are executed as tests. `import gpo_analysis as gpo` has at its top:",
        _table(["name", "what it is"], top),
        "All of it, by package:",
        _table(["package", "what it is for"], rows),
        "```{toctree}\n:hidden:\n" + "\n".join(toctree) + "\n```",
    ]
    _write(out / "index.md", "\n\n".join(page) + "\n")
    for name, what in (PACKAGES | MODULES).items():
        module = f"gpo_analysis.{name}"
        options = "   :members:\n   :show-inheritance:\n"
        if getattr(importlib.import_module(module), "__all__", None):
            options += "   :imported-members:\n"
        body = f"```{{eval-rst}}\n.. automodule:: {module}\n{options}```\n"
        _write(out / f"{name}.md", f"# `{module}`\n\n{what[0].upper() + what[1:]}.\n\n{body}")


def _top_names() -> list[str]:
    from types import ModuleType

    import gpo_analysis as gpo

    names = [name for name in dir(gpo) if not name.startswith("_")]
    return [name for name in names if not isinstance(getattr(gpo, name), ModuleType)]


def _first_line(thing: object) -> str:
    doc = (getattr(thing, "__doc__", None) or "").strip()
    if isinstance(thing, tuple | list | str):
        return ", ".join(map(str, thing)) if not isinstance(thing, str) else thing
    return doc.partition("\n\n")[0].replace("\n", " ")


def _gallery(out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from experiments.framework.discovery import find_experiments
    from figures.framework.drawing import caption_of, draw_figure, find_figures, origin
    from gpo_analysis.records import RecordError
    from gpo_analysis.runs import latest_record

    claims = {experiment.name: experiment.load().CLAIM for experiment in find_experiments()}
    listed = []
    for figure in find_figures():
        module = figure.load()
        committed = all((RESULTS / name).is_dir() for name in module.EXPERIMENTS)
        source = RESULTS if committed else RECORDS
        try:
            found = {name: latest_record(source, name) for name in module.EXPERIMENTS}
            draw_figure(figure, source, out, committed=committed)
        except RecordError as error:
            _write(
                out / f"{figure.name}.md", f"# {figure.name}\n\n{claims[module.EXPERIMENTS[0]]}\n\nNot drawn: {error}\n"
            )
            continue
        experiments = ", ".join(f"`{name}`" for name in module.EXPERIMENTS)
        run = " ".join(module.EXPERIMENTS)
        draw = f"python -m figures draw {figure.name}" + (" --committed" if committed else "")
        parts = [
            f"# {figure.name}",
            claims[module.EXPERIMENTS[0]],
            f"![{_cell(claims[module.EXPERIMENTS[0]])}]({figure.name}.png)",
            caption_of(module, found),
            " ".join(str(record.meta.get("summary") or "") for record in found.values()),
            "## Predicted and computed",
            _verdicts(found),
            f"## Again\n\nFrom the record of {experiments}, drawn by `figures/{figure.module_name.split('.')[1]}.py`:",
            "```sh\n" + ("" if committed else f"python -m experiments run {run}\n") + draw + "\n```",
            " ".join(origin(record.meta) for record in found.values()) if committed else "",
        ]
        _write(out / f"{figure.name}.md", "\n\n".join(part for part in parts if part) + "\n")
        listed.append((figure.name, claims[module.EXPERIMENTS[0]]))
    names = [figure.name for figure in find_figures()]
    grid = [
        f"## [{name}]({name}.md)\n\n[![{_cell(claim)}]({name}.png)]({name}.md)\n\n{claim}" for name, claim in listed
    ]
    intro = (
        "# Figures\n\nEach is drawn from a record, a table with its configuration, seeds and versions. The page behind "
        "a picture has its caption, the predictions beside what was computed, and the command that makes it."
    )
    toctree = "```{toctree}\n:hidden:\n" + "\n".join(names) + "\n```"
    _write(out / "index.md", "\n\n".join([intro, *grid, toctree]) + "\n")


def _verdicts(records: dict[str, Any]) -> str:
    """The checks of the records as a table."""
    from figures.framework.words import predicted, shown_of, with_interval

    rows: list[list[object]] = []
    for record in records.values():
        for check in record.meta["checks"]:
            row = shown_of(check)
            mark = " (restated after a first run)" if row["restated"] else ""
            rows.append([row["verdict"], row["claim"] + mark, predicted(row), with_interval(row)])
    return _table(["verdict", "claim", "predicted", "computed"], rows)


def _claims(out: Path) -> None:
    from experiments.framework.claims import run_claims, shown_numbers

    outcomes = sorted(run_claims(), key=lambda outcome: (outcome.source.lower(), outcome.claim))
    parts = [
        "# Claims of papers",
        "Each claim is a file in `experiments/claims/` that computes it; `python -m experiments claims` prints this "
        "table, and one more file adds a row. Computed at build time, by paper. *Remembered* is marked where the paper "
        "itself was not read: such a claim counts because its derivation stands in the file.",
    ]
    for source in dict.fromkeys(outcome.source for outcome in outcomes):
        rows: list[list[object]] = [
            [
                outcome.claim + (" (remembered)" if outcome.remembered else ""),
                shown_numbers(outcome.computed),
                outcome.kind,
                shown_numbers(outcome.stated),
                outcome.verdict,
            ]
            for outcome in outcomes
            if outcome.source == source
        ]
        parts += [f"## {source}", _table(["claim", "computed", "", "stated", "verdict"], rows)]
    _write(out / "claims.md", "\n\n".join(parts) + "\n")


def _conventions(out: Path) -> None:
    from gpo_analysis.analysis import list_conventions

    rows: list[list[object]] = []
    for row in list_conventions():
        smoothing = {None: "none", "ignored": "ignored"}.get(row.smoothing, row.smoothing)
        rows.append([f"`{row.name}`", f"`{row.objective}`", row.ratio, smoothing, row.version or "version not noted"])
    text = f"""# The β dictionary

How libraries and papers write their losses and their β, made from the code's own dictionary. *Ratio* says whether the
log-ratio is summed over a response's tokens or averaged; smoothing is label smoothing. Convert with
`gpo.convert_beta(0.1, source="trl:ipo", target="gpo:ipo")` or at a terminal with
`gpo beta 0.1 --from trl:ipo --to gpo:ipo`; `gpo conventions --check` executes the installed TRL's own losses and holds
its rows against their values.

{_table(["name", "objective", "ratio", "smoothing", "read in"], rows)}
"""
    _write(out / "conventions.md", text)


def _losses(out: Path) -> None:
    import gpo_analysis as gpo

    rows: list[list[object]] = []
    for name in gpo.list_losses():
        loss = gpo.get_loss(name)
        analysis = gpo.analyze(loss)
        kappa = analysis.curvature_ratio
        rows.append(
            [
                f"`{name}`",
                f"`{loss.expression}`",
                _number(analysis.slope),
                _number(analysis.curvature),
                "none" if kappa is None else _number(kappa),
                _yes(analysis.is_convex),
                _number(analysis.taylor_radius),
            ]
        )
    text = f"""# The losses

The catalogue, analysed at build time (`gpo analyze NAME` says all of it). Any other is typed:
`gpo.parse_loss("log(cosh(1-z))")`. κ = f″(0)/|f′(0)| is what sets how strongly a loss regularizes at a given β.

{_table(["name", "f(z)", "f′(0)", "f″(0)", "κ", "convex", "Taylor radius"], rows)}
"""
    _write(out / "losses.md", text)


def _number(value: object) -> str:
    try:
        return f"{float(value):.4g}".replace("inf", "∞").replace("nan", "none")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(value)


def _yes(value: object) -> str:
    return {True: "yes", False: "no", None: "undecided"}.get(value, str(value))  # type: ignore[call-overload]


def _commands(out: Path) -> None:
    import click

    from gpo_analysis.cli.main import gpo

    parts = ["# Commands", "What `gpo --help` and `gpo COMMAND --help` print."]
    context = click.Context(gpo, info_name="gpo", max_content_width=100)
    parts.append(f"```text\n{gpo.get_help(context)}\n```")
    for name in gpo.list_commands(context):
        command = gpo.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(command, info_name=name, parent=context, max_content_width=100)
        parts += [f"## gpo {name}", f"```text\n{textwrap.dedent(command.get_help(inner))}\n```"]
    _write(out / "commands.md", "\n\n".join(parts) + "\n")


def _speed(out: Path) -> None:
    from benchmarks.__main__ import BENCHMARKS
    from benchmarks.kept import HEAD, cells, latest, tables

    parts = [
        "# Speed",
        "Measured by `python -m benchmarks run`, from the records in `results/benchmarks`. Every measurement is a "
        "process of its own with one thread; the sides take turns, round after round, and the time is the processor's. "
        "A *ratio* is the other side's time over ours in the same round: the median over the rounds, and between which "
        "two rounds the true median lies with 95 % probability, whatever the distribution. It counts only where ours "
        "is as accurate as the task asks, or as the other side; *error* is the task's own measure, against a closed "
        "form or another method. A side that does a part of the cells has its time divided by that share. *Memory* is "
        "the peak above what the input took. *Grows as* is the power of the amount with which time grows, fitted to "
        "all rounds.",
    ]
    for benchmark in BENCHMARKS.values():
        record = latest(benchmark.name)
        parts.append(f"## {benchmark.name}: {benchmark.about}")
        if record is None:
            parts.append(f"No record: `python -m benchmarks run {benchmark.name} --out results/benchmarks` makes one.")
            continue
        aims = [f"- `{task.name}`: {task.about}." + (f" Asked for: {task.aim}." if task.aim else "")
                for task, _, _ in tables(benchmark, record)]  # fmt: skip
        meta = record.meta
        own = sorted(set(meta["versions"]) & {"python", "numpy", "scipy", "sympy", "torch", "cvxpy", "choix"})
        origin = ", ".join(f"{name} {meta['versions'][name]}" for name in own)
        parts += [
            "\n".join(aims),
            f"Sizes are {' × '.join(benchmark.axes)}.",
            _table(list(HEAD), [list(row) for row in cells(benchmark, record)]),
            f"`{meta['command']}`, commit {str(meta['git']['commit'])[:10]}, {meta['device']['processor']}, "
            f"load of the machine {meta['load']:.1f}; {origin}.",
        ]
    _write(out / "speed.md", "\n\n".join(parts) + "\n")


def _faults(out: Path) -> None:
    from fuzz.kept import page

    _write(out / "faults.md", page(_table))


def _dependencies(out: Path) -> None:
    head = ["distribution", "range", "here", "licence", "asked for by"]
    lines = [
        "# What it is built on",
        "The library needs the first lines; an extra adds its own. The ranges are those of `pyproject.toml`: their "
        "oldest ends and their newest versions are tried by `make test-lowest` and `make test-newest`, and "
        "`constraints.txt` holds one set that is tested at every change. `make audit` writes the whole tree of them as "
        "a CycloneDX bill of materials with licences, and asks which have known vulnerabilities.",
        _table(head, dependencies.rows(ROOT / "pyproject.toml")),
    ]
    _write(out / "dependencies.md", "\n\n".join(lines) + "\n")


def _between(text: str, start: str, end: str) -> str:
    """The part of a file between two of its lines; a line that is gone is an error here, not a silent gap."""
    _, found, rest = text.partition(start)
    part, ended, _ = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"no {start!r} followed by {end!r}: the page takes its text from there")
    return part.strip()


def _moved(text: str) -> str:
    """Links of a file at the root, as seen from docs/_generated; those to what has no page become plain text."""

    def link(found: re.Match[str]) -> str:
        bang, label, target = found.groups()
        if "://" in target:
            return found.group(0)
        if target.startswith("docs/"):
            return f"{bang}[{label}](../{target.removeprefix('docs/')})"
        return f"`{label.strip('`')}`"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, text)


def _of_the_readme(out: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n")[2]
    internals = [
        "# How it is built",
        "For who carries it on. The tree:",
        _between(readme, "## The tree", "## From claim to test"),
        contributing,
    ]
    _write(out / "internals.md", _moved("\n\n".join(internals)) + "\n")


def _generate(app: Sphinx) -> None:
    out = Path(app.srcdir) / "_generated"
    (out / "gallery").mkdir(parents=True, exist_ok=True)
    for path in out.rglob("*.md"):  # pages of what is gone
        if path.stem not in PACKAGES | MODULES:
            path.unlink()
    _reference(out / "reference")
    _gallery(out / "gallery")
    _claims(out)
    _conventions(out)
    _losses(out)
    _commands(out)
    _speed(out)
    _faults(out)
    _dependencies(out)
    _of_the_readme(out)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the pages before Sphinx looks for them."""
    app.connect("builder-inited", _generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
