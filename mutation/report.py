"""Scores with intervals, by package and by kind of fault, and survivors as diffs."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mutation.campaign import Campaign, write_text
from mutation.faults import Mutant

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
AIM = 0.85


def equivalents() -> dict[str, str]:
    """Faults that change nothing that a program could be right or wrong about, with the reason, as committed."""
    written = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))
    found = {one["mutant"]: one["reason"].strip() for one in written.get("equivalent", [])}
    for name, reason in found.items():
        if not reason:
            raise ValueError(f"{EQUIVALENT.name}: {name} needs a reason")
    return found


def rows(plan: dict[str, list[Mutant]], possible: dict[str, int], verdicts: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a package that was tried, then all of the library."""
    excused = equivalents()
    found = [_row(name, drawn, possible[name], verdicts, excused) for name, drawn in plan.items()]
    return [row for row in found if row["tried"]]


def _row(name: str, drawn: Iterable[Mutant], possible: int, verdicts: dict[str, Any], excused: Any) -> dict[str, Any]:
    from gpo_analysis.statistics import share_interval

    tried = [mutant.name for mutant in drawn if mutant.name in verdicts]
    words = {name: verdicts[name]["verdict"] for name in tried}
    words |= {name: "equivalent" for name in tried if name in excused and words[name] in ("survived", "no test")}
    counted = Counter(words.values())
    total = len(tried) - counted["equivalent"]
    noticed = counted["killed"] + counted["timeout"]
    score = share_interval(noticed, total) if total else None
    left = sum(verdicts[name]["verdict"] == "survived" and verdicts[name]["left"] > 0 for name in tried)
    return {
        "name": name, "possible": possible, "tried": len(tried), "killed": counted["killed"],
        "timeout": counted["timeout"], "survived": counted["survived"], "no test": counted["no test"],
        "equivalent": counted["equivalent"], "tests left": left, "score": score,
    }  # fmt: skip


def table(found: list[dict[str, Any]]) -> str:
    """Rows as a table in Markdown."""
    lines = [
        "| package | possible | tried | killed | timeout | survived | no test | equivalent | score, 95 % |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in found:
        numbers = [row[key] for key in ("possible", "tried", "killed", "timeout", "survived", "no test", "equivalent")]
        lines.append(f"| {row['name']} | {' | '.join(f'{n:,}' for n in numbers)} | {row['score'] or '–'} |")
    return "\n".join(lines)


def by_operator(plan: dict[str, list[Mutant]], verdicts: dict[str, Any]) -> str:
    """Scores by kind of fault, over all packages."""
    excused = equivalents()
    kinds: dict[str, list[Mutant]] = {}
    for drawn in plan.values():
        for mutant in drawn:
            kinds.setdefault(mutant.operator.replace("_", " "), []).append(mutant)
    found = [_row(kind, drawn, len(drawn), verdicts, excused) for kind, drawn in sorted(kinds.items())]
    lines = ["| kind of fault | tried | noticed | score, 95 % |", "|---|---:|---:|---|"]
    for row in found:
        if row["tried"]:
            noticed = row["killed"] + row["timeout"]
            lines.append(f"| {row['name']} | {row['tried']} | {noticed} | {row['score'] or '–'} |")
    return "\n".join(lines)


def survivors(campaign: Campaign, plan: dict[str, list[Mutant]], verdicts: dict[str, Any]) -> str:
    """Every survivor as a diff, with what is written of it."""
    excused = equivalents()
    lines = []
    for name, drawn in plan.items():
        here = [m for m in drawn if verdicts.get(m.name, {}).get("verdict") in ("survived", "no test")]
        lines += [f"## {name}", ""] if here else []
        for mutant in here:
            one = verdicts[mutant.name]
            said = f"equivalent: {excused[mutant.name]}" if mutant.name in excused else one["verdict"]
            left = f", {one['left']} dear tests not tried" if one["left"] else ""
            lines += [f"`{mutant.name}`: {said} ({one['tests']} tests tried{left})", "", "```diff"]
            lines += [*campaign.diff(mutant), "```", ""]
    return "\n".join(lines)


def written(campaign: Campaign, to: Path | None) -> str:
    """The report; where a folder is named it is kept there, the survivors in a file of their own."""
    plan, verdicts = campaign.planned(), campaign.verdicts()
    made = campaign.plan_record()
    possible = {name: area["possible"] for name, area in made["areas"].items()}
    found = rows(plan, possible, verdicts)
    library = [mutant for name, drawn in plan.items() if not name.startswith("llm.") for mutant in drawn]
    every = sum(number for name, number in possible.items() if not name.startswith("llm."))
    whole = [_row("all of the library's", library, every, verdicts, equivalents())]
    text = "\n\n".join([campaign.provenance(), table(found + whole), by_operator(plan, verdicts)])
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
        write_text(to / "table.md", text + "\n")
        write_text(to / "survivors.md", survivors(campaign, plan, verdicts) + "\n")
        return text
    return text + "\n\n" + survivors(campaign, plan, verdicts)
