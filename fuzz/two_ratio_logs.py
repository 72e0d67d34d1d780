"""Synthetic logs that hold the chosen's and the rejected's log-ratio apart, audited; `fuzz.audit_logs --two-ratio`.

Of ten logs four are of pairs and two of batches trained with a loss of two log-ratios (its parameters drawn); one is of
means over batches, as TRL logs them; one has margins alone, so that naming anything is *wrong*; two were trained with a
margin loss, so that naming a loss of two log-ratios is *wrong*. Log-ratios reach beyond 1 in size, values are rounded
to bfloat16 or four decimals, and what is logged are log-probabilities with lengths (and sums or means), log-ratios, or
rewards.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from fuzz.drawn_margins import bfloat16, drawn_margins, smoothed_loss
from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.audit import LossAudit, audit_log
from gpo_analysis.estimation.loss_log import loss_log
from gpo_analysis.losses import get_loss, get_two_ratio_loss, two_ratio_losses

KINDS = (
    "pairs", "batches", "margin loss, pairs", "pairs", "means", "pairs", "margins alone", "batches",
    "margin loss, batches", "pairs",
)  # fmt: skip
LOSSES = ("nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down", "sft", "cal_dpo", "dpop", "rpo", "kto")
WITHOUT_PARAMETER = ("nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down")
MARGIN_LOSSES = ("logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage", "exo")


@dataclass(frozen=True)
class TwoDrawn:
    """A log and the truth about it."""

    columns: dict[str, FloatArray]
    kind: str
    loss: str
    beta: float
    reduction: str | None = None
    parameters: dict[str, float] = field(default_factory=dict)
    likelihood: str = ""
    smoothing: str | None = None

    def __str__(self) -> str:
        of = f", {self.likelihood}" if self.likelihood else ""
        return f"{self.loss} {self.parameters}, β = {self.beta:.4g}, {self.reduction}{of}, {self.smoothing}"


def _parameters(rng: np.random.Generator, name: str) -> dict[str, float]:
    drawn = {
        "bco_pair": {"shift": float(rng.choice([0.0, rng.uniform(-1.5, 1.5)]))},
        "kto": {
            "reference_point": float(rng.uniform(0.2, 1.5)), "desirable": float(rng.choice([0.5, 1.0, 1.33])),
            "undesirable": float(rng.choice([0.5, 1.0])),
        },
        "cal_dpo": {"tau": float(rng.choice([0.1, 0.3, 0.5])), "weight": float(rng.choice([0.5, 1.0]))},
        "dpop": {"penalty": float(rng.choice([1.0, 5.0, 50.0]))},
        "rpo": {"weight": float(rng.choice([0.1, 0.5, 1.0]))},
    }.get(name, {})  # fmt: skip
    return {} if drawn == {"shift": 0.0} else drawn


def draw(rng: np.random.Generator, kind: str) -> TwoDrawn:
    """One log of a kind of `KINDS`."""
    if kind == "means":
        return _means(rng)
    batch = int(rng.choice([4, 8, 16]))
    groups = int(rng.integers(60, 120)) if kind.endswith("batches") else int(rng.integers(160, 400))
    size = groups * (batch if kind.endswith("batches") else 1)
    rounded = bool(rng.random() < 0.6)
    off = bfloat16 if rounded else (lambda x: np.round(x, 4))
    smoothing = None
    name = str(rng.choice(MARGIN_LOSSES if kind.startswith("margin loss") else LOSSES))
    parameters = _parameters(rng, name)
    beta = 1.0 if name == "cal_dpo" else float(np.exp(rng.uniform(np.log(0.02), np.log(2.0))))
    margin, common = drawn_margins(rng, size, 5.0), rng.normal(rng.uniform(-1, 1), rng.uniform(0.4, 1.5), size)
    ratios = np.stack([common + margin / 2, common - margin / 2]) / beta
    logged = str(rng.choice(["log-probabilities", "log-ratios", "rewards"]))
    columns: dict[str, FloatArray] = {}
    lengths = rng.integers(4, 40, (2, size)).astype(np.float64)
    reduction = None
    if logged == "log-probabilities":
        reduction = str(rng.choice(["sums", "means"]))
        unit = lengths if reduction == "means" else np.ones_like(lengths)
        reference = -rng.uniform(0.5, 2.0, (2, size)) * lengths
        policy = reference + ratios * unit
        above = np.maximum(policy + 0.01, 0)
        policy, reference = (np.float64(np.float32(x - above)) for x in (policy, reference))
        for i, which in enumerate(("chosen", "rejected")):
            columns[f"policy_{which}"], columns[f"reference_{which}"] = policy[i], reference[i]
            columns[f"{which}_length"] = lengths[i]
        ratios = (policy - reference) / unit
        a, b = bfloat16(beta * ratios) if rounded else beta * ratios
    elif logged == "log-ratios":
        ratios = np.stack([off(ratios[0]), off(ratios[1])])
        columns["chosen_logratio"], columns["rejected_logratio"] = ratios
        a, b = bfloat16(beta * ratios) if rounded else beta * ratios
    else:
        a, b = columns["chosen_reward"], columns["rejected_reward"] = off(beta * ratios[0]), off(beta * ratios[1])
    step = np.repeat(np.arange(groups), size // groups)
    mean = lambda x: np.bincount(step, x) / np.bincount(step)  # noqa: E731
    likelihood = ""
    if kind.startswith("margin loss"):
        smoothing, _, f = smoothed_loss(rng, name)
        loss = mean(np.asarray(f(a - b)))
    else:
        loss = mean(np.asarray(get_two_ratio_loss(name, **parameters)(a, b)))
        if name in ("rpo", "sft"):
            can = ["log π/πref", "log π", "log π a token"] if reduction == "sums" else ["log π/πref"]
            likelihood = str(rng.choice(can))
        if likelihood in ("log π", "log π a token"):
            total = -np.bincount(step, columns["policy_chosen"])
            nll = total / (np.bincount(step, lengths[0]) if likelihood.endswith("token") else np.bincount(step))
            loss = nll if name == "sft" else mean(np.logaddexp(0, b - a)) + parameters["weight"] * nll
    if name in ("sppo_hard", "squared"):
        loss = loss * float(rng.choice([1.0, beta**-2]))
    if kind.endswith("batches"):
        columns["step"] = step.astype(np.float64)
    columns["loss"] = np.repeat(off(loss), size // groups)
    if kind == "margins alone":
        columns = {"margin": off(ratios[0] - ratios[1]), "loss": columns["loss"]}
        reduction = None
    of_rewards = logged == "rewards" and kind != "margins alone"
    return TwoDrawn(columns, kind, name, 1.0 if of_rewards else beta, reduction, parameters, likelihood, smoothing)


def _means(rng: np.random.Generator) -> TwoDrawn:
    """Means over batches: mostly of losses of two log-ratios, a third of margin losses."""
    margin_loss = bool(rng.random() < 1 / 3)
    name = str(rng.choice(["logistic", "hinge", "squared", "savage"] if margin_loss else WITHOUT_PARAMETER))
    rows, batch = int(rng.integers(40, 100)), int(rng.choice([32, 64, 128]))
    course = np.linspace(0, 1, rows)
    ends = rng.uniform(-0.5, 1.5), rng.uniform(-3.0, -0.5)
    spread = rng.uniform(0.4, 1.0)
    common = rng.normal(0, 1, (rows, batch)) * rng.uniform(0, 0.3) * course[:, None]
    a, b = (
        e * course[:, None] + common + (0.03 + spread * abs(e) * course[:, None]) * rng.logistic(0, 0.55, (rows, batch))
        for e in ends
    )
    f = get_loss(name)
    loss = np.asarray(f(a - b) if margin_loss else f(a, b)).mean(1)  # type: ignore[call-arg]
    if name == "sppo_hard":
        loss = loss / 0.1**2
    off = bfloat16 if rng.random() < 0.5 else (lambda x: np.round(x, 4))
    columns = {
        "loss": off(loss), "rewards/chosen": off(a.mean(1)), "rewards/rejected": off(b.mean(1)),
        "rewards/margins": off((a - b).mean(1)), "rewards/accuracies": (a > b).mean(1),
    }  # fmt: skip
    return TwoDrawn(columns, "means", name, 1.0)


def judge(drawn: TwoDrawn, found: LossAudit) -> str:
    """ "named", "set", "wrong", or "untold" for margins alone of which nothing is said."""
    if drawn.kind == "margins alone":
        return "untold" if found.undecided is not None else "wrong"
    if found.undecided is not None:
        return "set" if drawn.loss in found.losses and "no known loss" not in found.undecided else "missed"
    right = (
        found.loss == drawn.loss
        and (found.beta is None or abs(found.beta / drawn.beta - 1) <= 0.05)
        and (found.beta is None or drawn.reduction is None or found.reduction == drawn.reduction)
        and found.smoothing == drawn.smoothing
        and found.likelihood == drawn.likelihood
        and all(
            abs(found.parameters.get(key, 0.0) - value) <= 0.1 * abs(value) + 0.02
            for key, value in drawn.parameters.items()
        )
    )
    return "named" if right else "wrong"


def campaign(count: int, seed: int, verbose: bool = False, start: int = 0) -> Counter[str]:
    """Audit so many logs and count."""
    counts: Counter[str] = Counter()
    for i in range(start, start + count):
        drawn = draw(np.random.default_rng([seed, i, 2]), KINDS[i % len(KINDS)])
        with np.errstate(all="ignore"):
            found = audit_log(loss_log(drawn.columns))
        verdict = judge(drawn, found)
        counts[verdict] += 1
        if verbose and verdict not in ("named", "untold"):
            print(f"{i:4} {verdict:6} {drawn.kind}: {drawn}: {found}", flush=True)
    return counts


def run(count: int, seed: int) -> int:
    """Print the counts; 1 where fewer than 95 % of what can be named is, or more than 1 % is wrong."""
    counts = campaign(count, seed, verbose=True)
    print(", ".join(f"{counts[word]} {word}" for word in ("named", "set", "untold", "missed", "wrong")), f"of {count}")
    assert set(LOSSES) == set(two_ratio_losses())
    could = count - counts["untold"]
    return int(counts["named"] < 0.95 * could or counts["wrong"] > 0.01 * count)
