"""Results as a table: for the screen, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from gpo_analysis.estimation.findings import STILL
from gpo_analysis.losses.lookup import get_margin_loss

_WANTED = 0.3  # of |βρ|: where the losses have begun to differ
_KEPT = (
    "pairs", "mean_rho", "accuracy", "mu_squared_loss", "chosen_change", "rejected_change", "beyond_taylor",
)  # fmt: skip


def as_text(results: Sequence[dict[str, Any]]) -> str:
    """A line a set of pairs and policy, with what the columns mean."""
    head = (
        "loss",
        "β",
        "βκ",
        "seed",
        "pairs",
        "status",
        "ρ>0",
        "mean ρ",
        "chosen",
        "rejected",
        "½E[ρ²]",
        "|βρ|>r",
        "KL",
    )
    lines = [head]
    for result in results:
        kl = result.get("measures", {}).get("kl", {})
        shown = "-" if kl.get("value") is None else f"{kl['value']:.3g} ± {kl['stderr'] or float('nan'):.2g}"
        strength = "-" if result["strength"] is None else f"{result['strength']:.4g}"
        front = (_short(result["loss"]), f"{result['beta']:.4g}", strength, str(result["seed"]))
        for name in ("train", "held_out"):
            found = result.get("measures", {}).get(name)
            if found is None:
                if name == "train":
                    lines.append((*front, "-", result["status"], *["-"] * 6, "-"))
                continue
            numbers = ("accuracy", "mean_rho", "chosen_change", "rejected_change", "mu_squared_loss")
            cells = [f"{found[what]:.3g}" for what in numbers]
            label = f"{found['pairs']} {'held out' if name == 'held_out' else 'trained'}"
            lines.append((*front, label, result["status"], *cells, f"{found['beyond_taylor']:.1%}", shown))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    rows = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join(rows)


def as_csv(results: Sequence[dict[str, Any]]) -> str:
    """A row a cell and set of pairs."""
    stream = io.StringIO()
    columns = ["folder", "loss", "beta", "strength", "seed", "status", "steps", "set", *_KEPT]
    writer = csv.DictWriter(stream, [*columns, "kl", "kl_stderr", "kl_finished", "seconds"], lineterminator="\n")
    writer.writeheader()
    for result in results:
        measures = result.get("measures", {})
        kl = measures.get("kl", {})
        common = {name: result[name] for name in ("folder", "loss", "beta", "strength", "seed", "status", "steps")}
        common |= {"kl": kl.get("value"), "kl_stderr": kl.get("stderr"), "kl_finished": kl.get("finished")}
        for name in [n for n in ("train", "held_out") if n in measures] or ["train"]:
            found = measures.get(name, {})
            row = {**common, "seconds": round(result["seconds"], 3), "set": name}
            writer.writerow({**row, **{what: found.get(what) for what in _KEPT}})
    return stream.getvalue()


def rising(losses: Sequence[str]) -> list[str]:
    """A line for each loss that does not fall at 0, before it is trained.

    Examples
    --------
    >>> rising(["dpo", "log(1+exp(z))"])
    ['warning: log(1+exp(z)) has f′(0) = 0.5, not below 0: from πref on it does not push chosen above rejected']
    """
    said = dict.fromkeys(get_margin_loss(text).why_not_falling() for text in losses)
    return [f"warning: {words}" for words in said if words]


def if_still(result: Mapping[str, Any], rate: float) -> str:
    """A line for a policy that hardly moved, with what to change; "" for another.

    Parameters
    ----------
    result : mapping
        Of a cell.
    rate : float
        Its learning rate.

    Examples
    --------
    >>> if_still({"measures": {"train": {"largest_margin": 0.4}}}, 1e-6)
    ''
    >>> if_still({"measures": {"train": {"largest_margin": 3e-4}}}, 1e-6)[:58]
    'the policy hardly moved: the largest |βρ| is 0.0003, where'
    """
    largest = result.get("measures", {}).get("train", {}).get("largest_margin")
    if largest is None or not largest < STILL:
        return ""
    by = f" (by proportion {rate * _WANTED / largest:.1g} for a |βρ| of {_WANTED:g})" if largest > 0 else ""
    return (
        f"the policy hardly moved: the largest |βρ| is {largest:.2g}, where every f is its tangent at 0; raise --lr, "
        f"which was {rate:g}{by}, or --steps"
    )


def _short(text: str) -> str:
    return text if len(text) <= 28 else text[:27] + "…"
