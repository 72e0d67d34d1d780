"""A guard against drift: the dictionary's rows for TRL, held against what the installed TRL computes.

Every row is checked by value: its scale · f(β_GPO ρ) must be TRL's loss of each of many random pairs, at several β and
label smoothings. Where it is not, the loss is fitted to TRL's values and the difference told in f, β, reduction,
smoothing and scale. A row of two log-ratios must give scale · F(βh_w, βh_l), one of a batch TRL's loss of whole batches
(:mod:`.guard_pairs`). What TRL has and no row covers is fitted too: a margin loss without a row is an error, a loss of
the two log-ratios taken apart or a statistic of the batch is not covered.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from gpo_analysis.analysis import BetaConvention, convert_beta, list_conventions
from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import GeneratorDerivative, alpha_link, get_link, trl_alpha_link
from gpo_analysis.estimation.identify import LossReading, Pairs, identify
from gpo_analysis.integrations.guard_pairs import (
    BETAS,
    SMOOTHINGS,
    TOLERANCE,
    batch_faults,
    equal,
    lengths,
    pair_faults,
    random_pairs,
)
from gpo_analysis.integrations.trl_losses import VERSION, TrlLosses
from gpo_analysis.progress import Progress, followed
from gpo_analysis.showing import Shown

ALPHAS = (0.2, 0.5, 0.8)

#: TRL's f_divergence_type and the link that stands for it; a function of TRL's coefficient where it has one.
LINKS: dict[str, Callable[[float], GeneratorDerivative]] = {
    "reverse_kl": lambda _: get_link("reverse_kl"),
    "forward_kl": lambda _: get_link("forward_kl"),
    "js_divergence": lambda _: get_link("jensen_shannon"),
    "alpha_divergence": trl_alpha_link,
}


@dataclass(frozen=True)
class Verdict(Shown):
    """What the check says of one row.

    Attributes
    ----------
    library, name, version : str
        "trl", the row's or TRL's own name, and the installed version.
    agrees : bool or None
        None where the row is not covered.
    by : str
        By what they differ, or why it is not covered; "" where they agree.
    """

    library: str
    name: str
    version: str
    agrees: bool | None
    by: str

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    _no_plot = "it is a verdict in words"


def check_trl(
    conventions: Sequence[BetaConvention] | None = None,
    names: Sequence[str] | None = None,
    *,
    progress: bool | Progress = False,
) -> list[Verdict]:
    """Hold the dictionary's rows for TRL against the installed TRL.

    Parameters
    ----------
    conventions : sequence of BetaConvention, optional
        Rows to check, those of other libraries left out; by default the dictionary's.
    names : sequence of str, optional
        What to check, such as "trl:ipo" or "trl:f_divergence:forward_kl"; by default everything.

    Returns
    -------
    list of Verdict
        A row each, then what TRL has beyond them, then its divergences.

    Examples
    --------
    >>> [v.name for v in check_trl() if v.agrees is False]  # doctest: +SKIP
    []
    """
    rows = [item for item in conventions or list_conventions() if item.library == "trl"]
    losses = TrlLosses()
    known = losses.names()
    covered = {item.name.partition(":")[2] for item in rows}
    checks: dict[str, Callable[[], tuple[bool | None, str]]] = {
        **{item.name: partial(_row, losses, known, item) for item in rows},
        **{f"trl:{name}": partial(_without_row, losses, name) for name in known if name not in covered},
        **{f"trl:f_divergence:{name}": partial(_divergence, losses, name) for name in losses.divergences()},
    }
    # the sums of exp(−z) that DiscoPOP and EXO make at large margins overflow on both sides alike
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [
            Verdict("trl", name, VERSION, *check())
            for name, check in followed(
                [(n, check) for n, check in checks.items() if names is None or n in names], progress, "rows"
            )
        ]


def _row(losses: TrlLosses, names: Sequence[str], row: BetaConvention) -> tuple[bool | None, str]:
    name = row.name.partition(":")[2]
    if name not in names:
        return False, f"TRL {VERSION} has no loss_type {name!r} (it has {', '.join(names)})"
    check = {"two log-ratios": pair_faults, "batch": batch_faults}.get(row.kind, _faults)
    faults = [*check(losses, name, row)]
    return (False, "; ".join(dict.fromkeys(faults))) if faults else (True, "")


def _faults(losses: TrlLosses, name: str, row: BetaConvention) -> Iterator[str]:
    refused = losses.refusal(loss_type=[name], label_smoothing=0.0)
    if (refused is not None) is not row.needs_smoothing:
        dictionary = "refuses" if row.needs_smoothing else "accepts"
        trl = "does not" if refused is None else "refuses it"
        yield f"label_smoothing 0: the dictionary {dictionary} it, TRL {trl}"
    epsilons = [e for e in SMOOTHINGS if e > 0 or refused is None]
    executed: dict[float, FloatArray] = {}
    for beta in BETAS:
        pairs = random_pairs(beta)
        for epsilon in epsilons:
            values = executed[epsilon] = losses.values(pairs, name, beta, epsilon)
            yield from _against(row, pairs, values, beta, epsilon)
    if max(float(np.nanmax(np.abs(v - executed[epsilons[0]]))) for v in executed.values()) > TOLERANCE:
        unsaid = convert_beta(BETAS[0], row.name, row.margin_loss(epsilons[0])) if row.smoothing != "exo" else None
        if unsaid is not None and unsaid.exact:
            yield (f"the conversion to {unsaid.target} is called exact with ε left unsaid, but TRL's loss depends on ε")


def _against(row: BetaConvention, pairs: Pairs, values: FloatArray, beta: float, epsilon: float) -> Iterator[str]:
    """What differs between a row and TRL's values at one β and ε."""
    at = f"at β = {beta:g}, label_smoothing = {epsilon:g}"
    try:
        loss = row.margin_loss(epsilon)
    except ValueError as error:
        yield f"{at}: the dictionary says '{error}', TRL trains it"
        return
    expected = row.loss_scale(beta) * loss(row.to_gpo(beta) * pairs.rho(row.ratio))
    if equal(expected, values):
        return
    theirs, ours = identify(pairs, values), identify(pairs, expected)
    if not theirs:
        yield f"{at}: TRL's values are those of no margin loss that is known (dictionary: {row.objective})"
    elif not ours:
        yield f"{at}: TRL trains {theirs[0]}; the dictionary has {row.objective}"
    else:
        yield f"{at}: {_difference(theirs[0], ours[0])}"


def _difference(theirs: LossReading, ours: LossReading) -> str:
    parts = []
    for what, a, b in (("f", ours.loss, theirs.loss), ("reduction", ours.reduction, theirs.reduction)):
        if a != b:
            parts.append(f"{what} {a} in the dictionary, {b} in TRL")
    if (ours.smoothing, round(ours.label_smoothing, 6)) != (theirs.smoothing, round(theirs.label_smoothing, 6)):
        a, b = ((r.smoothing or "none") + f" (ε = {r.label_smoothing:.4g})" for r in (ours, theirs))
        parts.append(f"smoothing {a} in the dictionary, {b} in TRL")
    for what, x, y in (("β", ours.beta, theirs.beta), ("scale", ours.scale, theirs.scale)):
        if not math.isclose(x, y, rel_tol=1e-5):
            parts.append(f"{what} {x:.6g} in the dictionary, {y:.6g} in TRL")
    return ", ".join(parts) or "values that differ"


def _without_row(losses: TrlLosses, name: str) -> tuple[bool | None, str]:
    """A loss_type that no row covers: an error where it is a margin loss, else not covered, and why."""
    beta = BETAS[-1]
    pairs = random_pairs(beta)
    values = losses.values(pairs, name, beta)
    whole = losses.batch(pairs, loss_type=[name], beta=beta, label_smoothing=0.0)
    found = identify(pairs, values)
    if equal(values, losses.values(Pairs(pairs.chosen, pairs.rejected[::-1], *lengths(pairs)), name, beta)):
        return None, "no loss of pairs: the rejected response does not enter"
    if abs(whole - float(values.mean())) > TOLERANCE * (1 + abs(whole)):
        return None, "a statistic of the batch: its loss is not the mean of the losses of its pairs" + _alone(found)
    if found:
        return False, f"the dictionary has no row for it; TRL trains {found[0]} at its β = {beta:g}"
    return None, "a loss of the two log-ratios taken apart: no function of their difference has its values"


def _alone(found: Sequence[LossReading]) -> str:
    return f"; of one pair alone it is {found[0].loss}" if found else ""


def _divergence(losses: TrlLosses, name: str) -> tuple[bool | None, str]:
    """The link that TRL trains as f_divergence_type, read off its sigmoid loss in float32."""
    if name not in LINKS:
        return False, "the dictionary has no link for it"
    faults = []
    beta, whole = 0.5, random_pairs(1.0)
    one = np.ones_like(whole.chosen)  # responses of one token: nothing is lost to float32 in sums
    pairs = Pairs(np.clip(whole.chosen, -2, 2), np.clip(whole.rejected, -2, 2), one, one)
    for coefficient in ALPHAS if name == "alpha_divergence" else ALPHAS[:1]:
        more: dict[str, Any] = {
            "f_divergence_type": name,
            "f_alpha_divergence_coef": coefficient,
        }
        values = losses.values(pairs, "sigmoid", beta, dtype=torch.float32, **more)
        if equal(_linked(LINKS[name](coefficient), pairs, beta), values, 1e-5):
            continue
        alphas = np.round(np.arange(0.05, 1.0, 0.05), 2)
        fitting = [
            f"(1 − t^(−{a:g}))/{a:g}" for a in alphas if equal(_linked(alpha_link(a), pairs, beta), values, 1e-5)
        ]
        found = fitting[0] if fitting else "no α-divergence that is known"
        faults.append(f"at α = {coefficient:g} the dictionary has {_shown(LINKS[name](coefficient))}, TRL {found}")
    return (False, "; ".join(faults)) if faults else (True, "")


def _shown(link: GeneratorDerivative) -> str:
    return link.formula.replace("α", f"{link.alpha:g}") if link.alpha is not None else link.formula


def _linked(link: GeneratorDerivative, pairs: Pairs, beta: float) -> FloatArray:
    z = beta * (link.of_log(pairs.chosen) - link.of_log(pairs.rejected))
    return np.asarray(np.logaddexp(0.0, -z))
