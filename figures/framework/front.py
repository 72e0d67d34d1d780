"""The report's first page: the paper's five claims, what does not hold and why, theorems apart from measurements."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

VERDICTS = ("holds", "contradicted", "undecided", "not run")
NATURES = {"theorem": "theorem checks", "measurement": "measurements"}
_OF_OLD = {True: "holds", False: "contradicted", None: "not run"}
_RELATION = {"at_most": "≤ ", "at_least": "≥ "}
_SPECIAL = str.maketrans({character: "\\" + character for character in "\\`*_[]<>|~&"})
_BLOCK = re.compile(r"^(?=[#+=-])|(?<=^\d)(?=[.)])|(?<=^\d\d)(?=[.)])")  # would begin a heading or a list


@dataclass(frozen=True)
class PaperClaim:
    """A claim of Tang et al. (arXiv 2402.05749), and the checks that answer it, the one that decides it first.

    Parameters
    ----------
    number : int
    text : str
    answers : tuple of (str, str)
        Experiment, and words that the claim of its check has.
    """

    number: int
    text: str
    answers: tuple[tuple[str, str], ...]


PAPER_CLAIMS = (
    PaperClaim(
        1, "Variants reach about the same win rate once β is tuned.",
        (("llm-equal-when-tuned", "losses are equal by"), ("llm-side-by-side", "no loss at its best β")),
    ),
    PaperClaim(
        2, "β matters more than f.",
        (("llm-equal-when-tuned", "ω² of β exceeds"), ("beta-or-f", "win_rate, equal beta, three decades")),
    ),
    PaperClaim(
        3, "f″(0) sets the natural strength, so that the best β differs between variants as κ says.",
        (("llm-equal-when-tuned", "what κ alone says"), ("llm-optimum", "exponential: worst |log KL/KL(logistic)|"),
         ("llm-optimum", "squared losses: worst")),
    ),
    PaperClaim(
        4, "All variants trace a similar trade-off between KL and win rate.",
        (("llm-frontier", "one trade-off"),),
    ),
    PaperClaim(
        5, "The μ-weighted square loss and KL are related but distinct.",
        (("llm-kl-and-mu-square", "they part"), ("llm-kl-and-mu-square", "over 2KL"),
         ("mixture-of-gaussians", "raises the KL")),
    ),
)  # fmt: skip


FINDINGS = ("gradient-identity", "beta-or-f", "speed-and-dynamics")
"""Experiments whose summary ends with what is to be remembered; these three stand on the first page."""
OURS = (
    "All settings are ours: problems, grids of β, seeds, sizes, models, data and the constants of the mixture of "
    "Gaussians. Not ours are the losses and the figure of them (the paper's), and all of ipo-toys but one of its data "
    "sets (the IPO paper's). Where the paper's experiments with language models are repeated, models are smaller."
)


def verdict_of(row: Mapping[str, Any]) -> str:
    """The verdict of a check as its record keeps it; records of before 26 November 2026 have ``holds`` alone."""
    return str(row.get("verdict") or _OF_OLD[row["holds"]])


def shown_of(check: Mapping[str, Any]) -> dict[str, Any]:
    """What the report keeps of a check, with today's defaults for what an older record has not."""
    row = {part: check[part] for part in ("claim", "predicted", "computed", "tolerance", "holds")}
    row |= {"kind": check.get("kind", "equal"), "note": check.get("note", ""), "verdict": verdict_of(check)}
    row |= {"nature": check.get("nature", "measurement"), "restated": check.get("restated", "")}
    row |= {part: check.get(part) for part in ("low", "high")} | {"parts": check.get("parts", [])}
    row["mechanism"] = check.get("mechanism", "")
    if check["holds"] is None:
        row["why"] = check.get("note", "")
    return row


def counted(rows: Iterable[Mapping[str, Any]]) -> str:
    """How many there are of each verdict, in words: ``5 hold, 1 is contradicted, 2 are undecided``."""
    named = [row["verdict"] for row in rows]
    words = {
        "holds": ("holds", "hold"), "contradicted": ("is contradicted", "are contradicted"),
        "undecided": ("is undecided", "are undecided"), "not run": ("was not run", "were not run"),
    }  # fmt: skip
    found = [(verdict, named.count(verdict)) for verdict in VERDICTS]
    return ", ".join(f"{count} {words[verdict][count != 1]}" for verdict, count in found if count) or "none"


def with_interval(row: Mapping[str, Any], digits: int = 3) -> str:
    """The number that came out, with its 95 % interval where there is one."""
    value = number(row["computed"], digits)
    if row["kind"] == "between" or row["low"] is None:
        return value
    return f"{number(row['computed'])} [{number(row['low'])}, {number(row['high'])}]"


def number(value: Any, digits: int = 3) -> str:
    """A number in a few digits, words as they are, and a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def predicted(row: Mapping[str, Any], digits: int = 6) -> str:
    """What was predicted, with its relation."""
    return _RELATION.get(row["kind"], "") + number(row["predicted"], digits)


def escaped(text: str) -> str:
    """Return ``text`` in one line, with everything Markdown would read as markup escaped."""
    return _BLOCK.sub(r"\\", " ".join(text.split()).translate(_SPECIAL))


def emphasised(verdict: str) -> str:
    """A verdict, in bold unless it holds."""
    return verdict if verdict == "holds" else f"**{verdict}**"


def paper_claims(rows: list[dict[str, Any]]) -> list[str]:
    """The paper's five claims, a row an answer: a committed long run where there is one, else the fresh run."""
    lines = ["| claim of the paper | verdict | what was found | number [95 %] | experiment and figure |",
             "| :--- | :--- | :--- | ---: | :--- |"]  # fmt: skip
    for claim in PAPER_CLAIMS:
        found = [row for name, words in claim.answers if (row := _answer(rows, name, words)) is not None]
        text = escaped(f"({claim.number}) {claim.text}")
        if not found:
            names = ", ".join(dict.fromkeys(name for name, _ in claim.answers))
            lines.append(f"| {text} | **not run** | no record of {escaped(names)} | – | – |")
        for position, row in enumerate(found):
            cells = [text if position == 0 else "", emphasised(row["verdict"]), escaped(row["claim"]),
                     escaped(with_interval(row)), _link(row["experiment"])]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _answer(rows: list[dict[str, Any]], experiment: str, words: str) -> dict[str, Any] | None:
    meant = [row for row in rows if row["experiment"] == experiment and words in row["claim"] and "nature" in row]
    committed = [row for row in meant if row.get("source") == "committed"]
    return next(iter(committed or meant), None)


def _link(name: str) -> str:
    return f"[{escaped(name)}](<#{quote(name)}>)"


def not_held(rows: list[dict[str, Any]]) -> list[str]:
    """What is contradicted, by which mechanism, and what is undecided; with what its check says beside it."""
    meant = [row for row in rows if row["verdict"] in ("contradicted", "undecided")]
    if not meant:
        return ["None."]
    lines = ["| experiment | claim | verdict | predicted | computed [95 %] | mechanism where contradicted | note |",
             "| :--- | :--- | :--- | ---: | ---: | :--- | :--- |"]  # fmt: skip
    for row in sorted(meant, key=lambda row: VERDICTS.index(row["verdict"])):
        source = " (committed)" if row.get("source") == "committed" else ""
        cells = [f"{_link(row['experiment'])}{source}", escaped(row["claim"]) + restated(row),
                 emphasised(row["verdict"]), escaped(predicted(row, 3) + _allowed(row)), escaped(with_interval(row)),
                 escaped(_mechanism(row)), escaped(row["note"])]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _mechanism(row: Mapping[str, Any]) -> str:
    """Why a contradicted claim came out otherwise, or that its record does not say so; nothing for the others."""
    if row["verdict"] != "contradicted":
        return "–"
    return str(row.get("mechanism") or "not stated in this record")


def _allowed(row: Mapping[str, Any]) -> str:
    """The tolerance around what was predicted, where there is one."""
    tolerance = row["tolerance"]
    return "" if tolerance is None or tolerance == 0.0 else f" ± {number(tolerance)}"


def restated(row: Mapping[str, Any]) -> str:
    """A mark on a claim that was stated anew after a first run."""
    return f" *(restated: {escaped(row['restated'])})*" if row.get("restated") else ""


def theorem_checks(rows: list[dict[str, Any]]) -> list[str]:
    """One line an experiment: how many of its theorem checks hold, and which do not."""
    lines = []
    for name in dict.fromkeys(row["experiment"] for row in rows):
        meant = [row for row in rows if row["experiment"] == name and row.get("nature") == "theorem"]
        if meant:
            failed = [escaped(row["claim"]) for row in meant if row["verdict"] != "holds"]
            held = f"{len(meant) - len(failed)} of {len(meant)} hold"
            lines.append(f"- {_link(name)}: {held}" + (f"; **not: {'; '.join(failed)}**" if failed else ""))
    return lines or ["None."]


def findings(summaries: Mapping[str, str]) -> list[str]:
    """What three experiments found, a line each, as their summaries end.

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
            lines.append(f"- {escaped(first + text[1:])} ({_link(name)})")
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
            lines.append(f"- {_link(name)}: {len(meant)} claim{'s' if len(meant) > 1 else ''} ({escaped(why)})")
    if unmade:
        made = f"`python -m experiments run {unmade[0] if len(unmade) == 1 else 'NAME'}` makes it"
        lines.append(f"- without a record ({made}): {', '.join(map(_link, unmade))}")
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
    lines += ["## Three findings", "", *findings(summaries or {}), ""]
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
