"""The report's first page: the paper's five claims, what does not hold and why, theorems apart from measurements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from figures.framework.paper import paper_claims
from figures.framework.words import (
    NATURES,
    VERDICTS,
    allowed,
    counted,
    emphasised,
    escaped,
    link,
    predicted,
    restated,
    with_interval,
)

FINDINGS = ("gradient-identity", "beta-or-f", "speed-and-dynamics")
"""Experiments whose summary ends with what is to be remembered and stands on the first page, where there is one."""
OURS = (
    "All settings are ours: problems, grids of β, seeds, sizes, models, data and the constants of the mixture of "
    "Gaussians. Not ours are the losses and the figure of them (the paper's), and all of ipo-toys but one of its data "
    "sets (the IPO paper's). Where the paper's experiments with language models are repeated, models are smaller."
)


def not_held(rows: list[dict[str, Any]]) -> list[str]:
    """What is contradicted, by which mechanism, and what is undecided; with what its check says beside it."""
    meant = [row for row in rows if row["verdict"] in ("contradicted", "undecided")]
    if not meant:
        return ["None."]
    lines = ["| experiment | claim | verdict | predicted | computed [95 %] | mechanism where contradicted | note |",
             "| :--- | :--- | :--- | ---: | ---: | :--- | :--- |"]  # fmt: skip
    for row in sorted(meant, key=lambda row: VERDICTS.index(row["verdict"])):
        source = " (committed)" if row.get("source") == "committed" else ""
        cells = [f"{link(row['experiment'])}{source}", escaped(row["claim"]) + restated(row),
                 emphasised(row["verdict"]), escaped(predicted(row, 3) + allowed(row)), escaped(with_interval(row)),
                 escaped(_mechanism(row)), escaped(row["note"])]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _mechanism(row: Mapping[str, Any]) -> str:
    """Why a contradicted claim came out otherwise, or that its record does not say so; nothing for the others."""
    if row["verdict"] != "contradicted":
        return "–"
    return str(row.get("mechanism") or "not stated in this record")


def theorem_checks(rows: list[dict[str, Any]]) -> list[str]:
    """One line an experiment: how many of its theorem checks hold, and which do not."""
    lines = []
    for name in dict.fromkeys(row["experiment"] for row in rows):
        meant = [row for row in rows if row["experiment"] == name and row.get("nature") == "theorem"]
        if meant:
            failed = [escaped(row["claim"]) for row in meant if row["verdict"] != "holds"]
            held = f"{len(meant) - len(failed)} of {len(meant)} hold"
            lines.append(f"- {link(name)}: {held}" + (f"; **not: {'; '.join(failed)}**" if failed else ""))
    return lines or ["None."]


def findings(summaries: Mapping[str, str]) -> list[str]:
    """What these experiments found, a line each that has a record, as their summaries end.

    Examples
    --------
    >>> findings({"beta-or-f": "Numbers. To remember: β matters more."})
    ['- β matters more. ([beta-or-f](<#beta-or-f>))']
    """
    lines = []
    for name in FINDINGS:
        text = " ".join(summaries.get(name, "").partition("To remember:")[2].split())
        if text:
            first = text[0].upper() if text[0].isascii() else text[0]  # β stays β
            lines.append(f"- {escaped(first + text[1:])} ({link(name)})")
    return lines or ["None of these experiments has a record."]


def not_run(rows: list[dict[str, Any]]) -> list[str]:
    """How many claims of which experiments were not run, and why the first of each; those without a record at once."""
    lines, unmade = [], list[str]()
    for name in dict.fromkeys(row["experiment"] for row in rows):
        meant = [row for row in rows if row["experiment"] == name and row["verdict"] == "not run"]
        if meant:
            why = str(meant[0].get("why") or meant[0].get("note") or "no reason given")
            if why.startswith(f"no record of experiment {name!r}"):
                unmade.append(name)
                continue
            lines.append(f"- {link(name)}: {len(meant)} claim{'s' if len(meant) > 1 else ''} ({escaped(why)})")
    if unmade:
        made = f"`python -m experiments run {unmade[0] if len(unmade) == 1 else 'NAME'}` makes it"
        lines.append(f"- without a record ({made}): {', '.join(map(link, unmade))}")
    return lines or ["Everything was."]


def front_page(
    rows: list[dict[str, Any]], kept: list[dict[str, Any]], summaries: Mapping[str, str] | None = None
) -> list[str]:
    """The page before the experiments.

    Parameters
    ----------
    rows, kept : list of dict
        Rows of the report: of fresh records, and of committed results.
    summaries : mapping of str to str, optional
        What experiments found, by name.
    """
    split = {
        name: [[row for row in part if row.get("nature", "measurement") == name] for part in (rows, kept)]
        for name in NATURES
    }
    lines = ["## The paper's claims", "", *paper_claims([*rows, *kept]), ""]
    lines += ["## To remember", "", *findings(summaries or {}), ""]
    lines += ["## What was checked", ""]
    meaning = {
        "theorem": "can fail only by a bug",
        "measurement": "can fail by nature; decided by the whole 95 % interval of what was drawn; older records, which "
        "do not tell the two apart, are counted here",
    }
    for name, (fresh, committed) in split.items():
        also = f" Of committed results: {counted(committed)}." if committed else ""
        lines.append(f"- {len(fresh)} {NATURES[name]} ({meaning[name]}): {counted(fresh)}.{also}")
    marked = sum(bool(row.get("restated")) for row in (*rows, *kept))
    lines += [f"- {marked} of these claims were stated anew after a first run; each is marked, with why.", ""]
    lines += ["## Settings that are ours", "", OURS, "", "## What was not run", "", *not_run([*rows, *kept]), ""]
    lines += ["## Contradicted and undecided", "", *not_held([*rows, *kept]), ""]
    return [*lines, "## Theorem checks", "", *theorem_checks([*rows, *kept]), ""]
