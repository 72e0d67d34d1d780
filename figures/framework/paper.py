"""The paper's five claims and what answers them: one definition, for the report and for the README.

    python -m figures claims

prints the README's table, from the committed results.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from figures.framework.words import allowed, emphasised, escaped, link, predicted, shown_of, with_interval
from gpo_analysis.records import find_records
from gpo_analysis.runs import latest_record

Row = Mapping[str, Any]


class Answer(NamedTuple):
    """A check that answers a claim.

    Parameters
    ----------
    experiment : str
    words : str
        What the claim of its check has in it.
    short : str
        What is measured, as the README's table says it.
    """

    experiment: str
    words: str
    short: str


@dataclass(frozen=True)
class PaperClaim:
    """A claim of Tang et al. (arXiv 2402.05749), and the checks that answer it.

    Parameters
    ----------
    number : int
    text : str
    answers : tuple of Answer
        The worst of them decides.
    """

    number: int
    text: str
    answers: tuple[Answer, ...]


TUNED, SQUARES = "llm-equal-when-tuned", "llm-kl-and-mu-square"
PAPER_CLAIMS = (
    PaperClaim(
        1, "Variants reach about the same win rate once β is tuned.",
        (
            Answer(TUNED, "equal by their own samples", "decided rates by the policies' own samples, farthest pair"),
            Answer(TUNED, "equal by the tilt", "by the tilt of πref's samples, the pair that decides"),
            Answer("llm-side-by-side", "no loss at its best β", "side by side, three seeds, farthest pair"),
        ),
    ),
    PaperClaim(
        2, "β matters more than f.",
        (
            Answer("beta-or-f", "win_rate, equal beta, three decades",
                   "share of variance of β less f's over three decades, exact policies, least of the settings"),
            Answer(TUNED, "without strengths at which a policy ran away, ω² of β",
                   "ω² of β less f's of language models over the 0.9 decades in which none ran away, least"),
            Answer(TUNED, "over the whole grid, ω² of β", "over three decades, runaways as what they reached, least"),
        ),
    ),
    PaperClaim(
        3, "f″(0) sets the natural strength, so that the best β differs between variants as κ says.",
        (
            Answer("llm-optimum", "exponential: worst |log KL/KL(logistic)|",
                   "log KL over logistic's at equal βκ, exponential, worst"),
            Answer("llm-optimum", "squared losses: worst",
                   "squared losses, beside what their optima say, worst"),
            Answer(TUNED, "by their own samples, is what κ alone says",
                   "log₂ of best βκ over logistic's, own samples, farthest"),
            Answer(TUNED, "by the tilt, is what κ alone says", "by the tilt, farthest"),
        ),
    ),
    PaperClaim(
        4, "All variants trace a similar trade-off between KL and win rate.",
        (Answer("llm-frontier", "one trade-off", "win rate at equal KL less the losses' mean, three seeds, farthest"),),
    ),
    PaperClaim(
        5, "The μ-weighted square loss and KL are related but distinct.",
        (
            Answer(SQUARES, "over 2KL", "related: ½E[ρ²] over 2KL near πref, offline, three seeds"),
            Answer(SQUARES, "they part", "distinct: |log of offline over on-policy square| at KL ≥ 1 beyond noise's"),
            Answer(SQUARES, "order differently", "share of policies that they order differently"),
            Answer("online-and-offline", "narrow μ: over 1 %",
                   "exact policies, narrow μ: share of steps that raise KL as the square falls, least"),
        ),
    ),
)  # fmt: skip
_ORDER = ("contradicted", "undecided", "holds", "not run")
HEAD = (
    "| claim of the paper | verdict | experiment and figure | number, with its 95 % interval |",
    "|---|---|---|---|",
)
"""Of the README's table."""


def answers_of(claim: PaperClaim, rows: Iterable[Row]) -> list[tuple[Answer, Row]]:
    """What answers a claim: of each check a committed long run where there is one, else the fresh run."""
    rows, found = list(rows), []
    for answer in claim.answers:
        meant = [
            r for r in rows if r["experiment"] == answer.experiment and answer.words in r["claim"] and "nature" in r
        ]
        committed = [row for row in meant if row.get("source") == "committed"]
        found += [(answer, row) for row in (committed or meant)[:1]]
    return found


def verdict_on(found: Iterable[tuple[Answer, Row]]) -> str:
    """The worst verdict decides; an answer that was not run decides nothing.

    Examples
    --------
    >>> answer = Answer("e", "w", "s")
    >>> verdict_on([(answer, {"verdict": "holds"}), (answer, {"verdict": "undecided"})]), verdict_on([])
    ('undecided', 'not run')
    """
    return min((str(row["verdict"]) for _, row in found), key=_ORDER.index, default="not run")


def paper_claims(rows: list[dict[str, Any]]) -> list[str]:
    """The report's table: the paper's five claims, each with the worst of its answers, and a row an answer."""
    lines = ["| claim of the paper | verdict | what was found | predicted | number [95 %] | experiment and figure |",
             "| :--- | :--- | :--- | ---: | ---: | :--- |"]  # fmt: skip
    for claim in PAPER_CLAIMS:
        found, text = answers_of(claim, rows), escaped(f"({claim.number}) {claim.text}")
        if not found:
            names = ", ".join(dict.fromkeys(answer.experiment for answer in claim.answers))
            lines.append(f"| {text} | **not run** | no record of {escaped(names)} | – | – | – |")
        for position, (_, row) in enumerate(found):
            whole = f"{text} {emphasised(verdict_on(found))}" if position == 0 else ""
            expected = escaped(predicted(row, 3) + allowed(row))
            cells = [whole, emphasised(row["verdict"]), escaped(row["claim"] + _held(row)), expected,
                     escaped(with_interval(row)), link(row["experiment"])]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def readme_table(results: Path) -> list[str]:
    """The README's table, from the committed results: a row a claim, the same answers as the report's.

    Parameters
    ----------
    results : path
        Folder of committed results.

    Raises
    ------
    RecordError
        Where one of them is damaged.
    """
    rows = []
    for name in dict.fromkeys(answer.experiment for claim in PAPER_CLAIMS for answer in claim.answers):
        if find_records(results, name):
            checks = latest_record(results, name).meta["checks"]
            rows += [{"experiment": name, **shown_of(check), "source": "committed"} for check in checks]
    lines = list(HEAD)
    for claim in PAPER_CLAIMS:
        found = answers_of(claim, rows)
        names = ", ".join(dict.fromkeys(f"`{answer.experiment}`" for answer in claim.answers))
        numbers = "; ".join(
            f"{answer.short}: {with_interval(row)} ({predicted(row, 3)}{allowed(row)} predicted{_held(row)}: "
            f"{row['verdict']})"
            for answer, row in found
        )
        text = f"({claim.number}) {claim.text.removesuffix('.')}"
        cells = [text, emphasised(verdict_on(found)), names, re.sub(r"(?<!\w)-(?=\d)", "−", numbers) or "–"]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines


def _held(row: Row) -> str:
    """How many of its parts hold, where it has any."""
    parts = row.get("parts") or []
    return f", {sum(part['verdict'] == 'holds' for part in parts)} of {len(parts)} parts hold" if parts else ""
