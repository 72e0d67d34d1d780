"""The report: every claim, predicted against computed, with its tolerance and a verdict; made of records alone.

Its first page is `figures.framework.front`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from figures.framework.drawing import commit_of, device_of, origin
from figures.framework.front import front_page
from figures.framework.pictures import Drawn, NotShown, read_picture
from figures.framework.words import (
    counted,
    emphasised,
    escaped,
    number,
    predicted,
    restated,
    shown_of,
    with_interval,
)
from gpo_analysis.files import remove_stale, write_whole
from gpo_analysis.records import Record, RecordError, find_records
from gpo_analysis.runs import RunStatus, damage_of_catalogue, latest_record, read_catalogue, read_status

COMMITTED = "committed"
"""Folder of the figures drawn from committed results, below that of the fresh ones."""
PICTURES = "report_pictures"
"""Folder beside report.html with copies of the pictures it shows."""


@dataclass(frozen=True)
class Section:
    """What the report says of one experiment."""

    name: str
    claim: str
    figure: str
    record: Record | None = None
    why: str = ""
    drawn: Drawn | None = None
    not_shown: str = ""  # why there is no picture
    rows: list[dict[str, Any]] = field(default_factory=list)
    committed: bool = False
    kept: Section | None = None  # the committed result beside it

    @property
    def summary(self) -> str:
        """Return the paragraph on what was found, or nothing where the record has none."""
        return str(self.record.meta.get("summary") or "") if self.record is not None else ""

    @property
    def provenance(self) -> str:
        """Return one line: preset, commit, device and time of the record shown."""
        if self.record is None:
            return f"Not run: {self.why}"
        meta = self.record.meta
        older = f"The last run gave no record ({self.why}); this one is older. " if self.why else ""
        found = f"Record {self.record.name}/{self.record.key}"
        found += " (of a format without a digest over the whole: unchecked)" if self.record.seal is None else ""
        seconds = f"{float(meta.get('wall_seconds', 0.0)):.1f} s of computing"
        if self.committed:
            return f"{origin(meta)} {found}, {seconds}."
        return (
            f"{older}{found}: preset {meta.get('preset', 'unknown')}, {commit_of(meta)}, {device_of(meta)}, "
            f"{seconds}, finished {meta.get('finished', 'at an unknown time')}."
        )


def write_report(records: Path, drawings: Path, out: Path, results: Path | None = None) -> list[dict[str, Any]]:
    """Write ``report.md``, ``report.html`` and ``report.json`` to ``out``; return the rows of the last.

    Parameters
    ----------
    records, drawings : path
        Folders of records and of drawn figures; those of committed results lie in ``committed`` below the figures.
    out : path
        Where to write; the HTML file shows copies of the pictures in ``report_pictures``, the Markdown file links to
        the drawings.
    results : path, optional
        Folder of committed results, each shown after the fresh one under a heading of its own; None for none.

    Raises
    ------
    OSError
        Where a file cannot be written.
    """
    sections = collect(records, drawings, results)
    rows = [row for section in sections for row in (*section.rows, *(section.kept.rows if section.kept else ()))]
    below = Path(os.path.relpath(drawings, out)).as_posix()
    markdown = to_markdown(sections, below, damage_of_catalogue(records))
    for folder in (out, drawings, drawings / COMMITTED):
        remove_stale(folder)
    write_whole(out / "report.json", (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode(), out)
    write_whole(out / "report.md", markdown.encode(), out)
    links = _write_pictures(pictures(sections, below), out)
    page = to_html(markdown, links, folded=[section.name for section in sections])
    write_whole(out / "report.html", page.encode(), out)
    for path in (out / PICTURES).glob("*.png"):  # of an older report
        if f"{PICTURES}/{path.name}" not in links.values():
            path.unlink()
    return rows


def _write_pictures(shown: Mapping[str, bytes], out: Path) -> dict[str, str]:
    """Write the pictures beside the report, each under a name with its digest; return path in a link -> its place.

    A figure that is drawn again later has another name: the report keeps showing what its tables are of.
    """
    links = {}
    for path, picture in shown.items():
        name = f"{Path(path).stem}-{hashlib.sha256(picture).hexdigest()[:16]}.png"
        write_whole(out / PICTURES / name, picture, out)
        links[path] = f"{PICTURES}/{name}"
    return links


def collect(records: Path, drawings: Path, results: Path | None = None) -> list[Section]:
    """Read what there is of every experiment, fresh and committed."""
    listed = read_catalogue(records)
    if results is not None:
        names = {item["name"] for item in listed}
        listed += [item for item in read_catalogue(results) if item["name"] not in names]
    sections = []
    for item in listed:
        name, claim, figure = item["name"], item["claim"], item["figure"]
        kept = _kept(name, figure, drawings / COMMITTED, results) if results is not None else None
        status = read_status(records, name)
        try:
            record: Record | None = latest_record(records, name)
            stale = status is not None and status.status != "complete"
            why = _why(status, "") if stale else ""
        except RecordError as error:
            record = None
            why = _why(status, str(error))
        rows = _rows(name, claim, record, why)
        drawn, not_shown = _picture(figure, record, drawings)
        sections.append(Section(name, claim, figure, record, why, drawn, not_shown, rows, kept=kept))
    return sections


def _kept(name: str, figure: str, drawings: Path, results: Path) -> Section | None:
    """Return the committed result of an experiment, or None where there is none."""
    if not find_records(results, name):
        return None
    try:
        record = latest_record(results, name)
    except RecordError as error:
        return Section(name, "", figure, None, f"the committed result is damaged: {error}", committed=True)
    rows = [{**row, "source": "committed", "origin": origin(record.meta)} for row in _rows(name, "", record, "")]
    drawn, not_shown = _picture(figure, record, drawings, committed=True)
    return Section(name, "", figure, record, "", drawn, not_shown, rows, committed=True)


def _picture(
    figure: str, record: Record | None, drawings: Path, *, committed: bool = False
) -> tuple[Drawn | None, str]:
    """Return the picture of a record, or why there is none."""
    if record is None:
        return None, ""
    try:
        return read_picture(figure, {record.name: record}, drawings, committed=committed), ""
    except NotShown as reason:
        return None, str(reason)


def pictures(sections: list[Section], drawings: str) -> dict[str, bytes]:
    """Return every picture that the report shows, by the path in its links."""
    shown = {_path(section, drawings): section.drawn.png for section in sections if section.drawn is not None}
    for section in sections:
        if section.kept is not None and section.kept.drawn is not None:
            shown[_path(section.kept, drawings)] = section.kept.drawn.png
    return shown


def _path(section: Section, drawings: str) -> str:
    return f"{drawings}/{COMMITTED if section.committed else ''}/{section.figure}.png".replace("//", "/")


def _why(status: RunStatus | None, otherwise: str) -> str:
    """Return why there is no record: what the last run noted, or what reading it said."""
    if status is None or not status.why:
        return otherwise
    return status.why if status.status == "not run" else f"{status.status}: {status.why}"


def _rows(name: str, claim: str, record: Record | None, why: str) -> list[dict[str, Any]]:
    """Return the report's rows of one experiment: one a check, or one saying why there is none."""
    if record is None:
        empty = {"predicted": None, "computed": None, "tolerance": None, "holds": None, "verdict": "not run"}
        return [{"experiment": name, "claim": claim, **empty, "why": why}]
    return [{"experiment": name, **shown_of(check)} for check in record.meta.get("checks", [])]


def to_markdown(sections: list[Section], drawings: str, damage: str = "") -> str:
    """Return the report as Markdown.

    Parameters
    ----------
    sections : list of Section
    drawings : str
        The figures' folder as links give it.
    damage : str
        What is wrong with the list of experiments, where something is: those without a record are then missing.
    """
    rows = [row for section in sections for row in section.rows]
    kept = [row for section in sections if section.kept is not None for row in section.kept.rows]
    lines = [
        "# Report",
        "",
        f"{len(rows)} claims: {counted(rows)}. Every number below was read from a record on disk; a claim's predicted "
        "value was worked out before the run that tests it, unless the claim is marked as restated."
        + (
            f" Beside these stand {len(kept)} claims of committed results of longer runs ({counted(kept)}); each is "
            "marked, and was not computed now."
            if kept
            else ""
        ),
        "",
        *([f"**Experiments without a record are missing here:** {escaped(damage)}.", ""] if damage else []),
        *front_page(rows, kept, {section.name: (section.kept or section).summary for section in sections}),
        "## Experiments",
        "",
        "| experiment | claim | verdict |",
        "| :--- | :--- | :--- |",
    ]
    for section in sections:
        link = f"[{escaped(section.name)}](<#{quote(section.name)}>)"
        lines.append(f"| {link} | {escaped(section.claim)} | {_verdict(section)} |")
    for section in sections:
        lines += ["", f"## {escaped(section.name)}", "", escaped(section.claim), ""]
        lines += _section_lines(section, drawings)
        if section.kept is not None:
            lines += ["", f"### {escaped(section.name)}: committed result", ""]
            lines += _section_lines(section.kept, drawings)
    return "\n".join(lines).rstrip() + "\n"


def _section_lines(section: Section, drawings: str) -> list[str]:
    """Return what was found, the figure, where it comes from, and the claims."""
    lines = [f"**What was found.** {escaped(section.summary)}", ""] if section.summary else []
    lines += _figure_lines(section, drawings)
    lines += [escaped(section.provenance), ""]
    return lines + (_table_lines(section) if section.record is not None else [])


def _figure_lines(section: Section, drawings: str) -> list[str]:
    if section.record is None:
        return []
    name = escaped(section.figure)
    if section.drawn is None:
        command = f"python -m figures draw {name}{' --committed' if section.committed else ''}"
        return [f"*(figure {name} {section.not_shown}: {command})*", ""]
    caption = escaped(section.drawn.caption)
    return [f"![{caption}](<{quote(_path(section, drawings))}>)", "", f"*Figure.* {caption}", ""]


def _table_lines(section: Section) -> list[str]:
    lines = ["| claim | predicted | computed | tolerance | verdict |", "| :--- | ---: | ---: | ---: | :--- |"]
    for row in section.rows:
        note = f" — {escaped(row['note'])}" if row["note"] else ""
        why = f" **Mechanism:** {escaped(row['mechanism'])}." if row.get("mechanism") else ""
        claim = f"{escaped(row['claim'])}{note}{restated(row)}{why}"
        values = (predicted(row), with_interval(row, 6), number(row["tolerance"], 6))
        lines.append(f"| {claim} | {' | '.join(map(escaped, values))} | {emphasised(row['verdict'])} |")
        for part in row["parts"]:
            values = (predicted(part), with_interval(part, 6), number(part["tolerance"], 6))
            name = f"   · {escaped(part['of'])}"
            lines.append(f"| {name} | {' | '.join(map(escaped, values))} | {emphasised(part['verdict'])} |")
    return lines


def _verdict(section: Section) -> str:
    return f"not run: {escaped(section.why)}" if section.record is None else counted(section.rows)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Report</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
img {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: 0.9rem; margin: 1rem 0 2rem; }}
th, td {{ border-bottom: 1px solid #d8d8d8; padding: 0.3rem 0.6rem; vertical-align: top; }}
td + td {{ overflow-wrap: anywhere; }}
th {{ text-align: left; background: #f4f4f4; }}
summary > h2 {{ display: inline; }}
details {{ border-top: 1px solid #d8d8d8; padding: 0.6rem 0; }}
</style>
</head>
<body>
{body}
<script>
function unfold() {{
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = place && place.closest("details");
  if (folded) {{ folded.open = true; place.scrollIntoView(); }}
}}
addEventListener("hashchange", unfold);
addEventListener("load", unfold);
</script>
</body>
</html>
"""


def to_html(markdown: str, shown: Mapping[str, str], folded: Iterable[str] = ()) -> str:
    """Return the report as one HTML page, its experiments folded.

    Parameters
    ----------
    markdown : str
    shown : mapping of str to str
        Path in a link -> where the picture lies; a link to anything else is not followed, its text stays.
    folded : iterable of str
        The headings whose sections are folded.
    """
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    names, opened = set(folded), False
    tokens: list[Any] = []
    for token, following in itertools.pairwise([*renderer.parse(markdown), Token("html_block", "", 0)]):
        if token.type == "heading_open" and token.tag == "h2":
            heading = "".join(child.content for child in following.children or [])
            if opened:
                tokens.append(Token("html_block", "", 0, content="</details>\n"))
            opened = heading in names
            if opened:
                tokens.append(Token("html_block", "", 0, content="<details><summary>"))
            token.attrSet("id", heading)
        for child in token.children or []:
            if child.type == "image":
                place = shown.get(unquote(str(child.attrGet("src"))))
                if place is None:
                    child.type, child.tag, child.children = "text", "", None
                else:
                    child.attrSet("src", place)
                    child.attrSet("loading", "lazy")
                    for part in child.children or []:  # of which markdown-it-py before 4 leaves escaped letters out
                        part.type = "text" if part.type == "text_special" else part.type
        tokens.append(token)
        if token.type == "heading_close" and token.tag == "h2" and opened:
            tokens.append(Token("html_block", "", 0, content="</summary>\n"))
    if opened:
        tokens.append(Token("html_block", "", 0, content="</details>\n"))
    return _PAGE.format(body=renderer.renderer.render(tokens, renderer.options, {}))
