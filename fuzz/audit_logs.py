"""Synthetic training logs whose loss is known, audited: how many are named, how many left open, how many named wrongly.

    python -m fuzz.audit_logs --count 1000 --seed 0
    python -m fuzz.audit_logs --count 200 --early
    python -m fuzz.audit_logs --count 60 --two-ratio
    python -m fuzz.audit_logs --count 200 --outside

A log is drawn with a loss of the catalogue (or EXO), β, label smoothing, reduction and scale, margins that reach
beyond 1 on both sides (from normal, Student and skewed distributions), and the noise of a real run: margins and losses
computed and rounded in bfloat16, or rounded to four decimals; a loss a pair, or a mean over a batch whose pairs are
logged; and, apart, means over batches whose pairs are not (``rewards/margins``, ``rewards/accuracies``), as TRL logs
them. With ``--early`` the logs are such as do not separate two losses: squared and truncated quadratic of margins that
have not reached 1 yet; naming one of them is *wrong* then, and so is a set without both. With ``--two-ratio``
(`fuzz.two_ratio_logs`) most logs are of losses of two log-ratios, their log-ratios logged apart. With ``--outside``
(`fuzz.outside_logs`) they are of losses that the catalogue does not hold, of margins from small to large. Counted:

- *named*: loss, reduction and kind of smoothing are the true ones, β within 5 % and ε within 0.02;
- *set*: undecided, and the losses that are said to fit hold the true one;
- *wrong*: anything else. The exit code is 1 where fewer than 95 % are named (``--early``: a set) or more than 1 % are
  wrong.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402

from fuzz.drawn_margins import bfloat16, drawn_margins, smoothed_loss  # noqa: E402
from fuzz.outside_logs import run as run_outside  # noqa: E402
from fuzz.two_ratio_logs import run as run_two_ratio  # noqa: E402
from gpo_analysis.arrays import FloatArray  # noqa: E402
from gpo_analysis.cli.arguments import Parser, whole  # noqa: E402
from gpo_analysis.estimation.audit import LossAudit, audit_log  # noqa: E402
from gpo_analysis.estimation.loss_log import loss_log  # noqa: E402
from gpo_analysis.losses import get_loss  # noqa: E402

LOSSES = (
    "logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage", "cell", "lrml", "sba", "lsif",
    "kliep", "exo",
)  # fmt: skip
KINDS = ("pairs", "batches")
"""Logs with a row a pair; "means" are drawn apart."""
EARLY = ("early pairs", "early batches")
TWINS = ("squared", "truncated_quadratic")
"""Equal below 1."""


@dataclass(frozen=True)
class Drawn:
    """A log and the truth about it."""

    columns: dict[str, FloatArray]
    loss: str
    beta: float
    smoothing: str | None
    epsilon: float
    reduction: str | None
    kind: str


def draw(rng: np.random.Generator, kind: str) -> Drawn:
    """One log of the kind "pairs", "batches" or "means", or of the first two where no margin has reached 1."""
    if kind == "means":
        return _means(rng)
    early = kind in EARLY
    name = str(rng.choice(TWINS if early else LOSSES))
    smoothing, epsilon, f = smoothed_loss(rng, name)
    beta = float(np.exp(rng.uniform(np.log(0.02), np.log(2.0))))
    logged = str(rng.choice(["log-probabilities", "margin"]))
    reduction = str(rng.choice(["sums", "means"])) if logged == "log-probabilities" else None
    size, batch = int(rng.integers(160, 400)), int(rng.choice([4, 8, 16]))
    if kind.endswith("batches"):
        size = batch * int(rng.integers(60, 120))
    z = (
        _early(rng, size, smoothing is not None)
        if early
        else drawn_margins(rng, size, 5.0 if name in ("lsif", "kliep", "sba", "exponential", "cell", "lrml") else 9.0)
    )
    rounded = bool(rng.random() < 0.6)
    off = bfloat16 if rounded else (lambda x: np.round(x, 4))
    columns: dict[str, FloatArray] = {}
    if logged == "margin":
        rho = off(z / beta)
        columns["margin"] = rho
    else:
        lengths = rng.integers(4, 40, (2, size)).astype(np.float64)
        unit = lengths if reduction == "means" else np.ones_like(lengths)
        rejected = rng.normal(0, 1.0, size) / beta
        chosen = (z / beta + rejected) * unit[0]
        reference = -rng.uniform(0.5, 2.0, (2, size)) * lengths
        policy = reference + np.stack([chosen, rejected * unit[1]])
        above = np.maximum(policy + 0.01, 0)  # log-probabilities are below 0
        policy -= above
        reference -= above if early else 0.0  # margins stay as they are
        exact = lambda x: x.astype(np.float32).astype(np.float64)  # noqa: E731
        for which, i in (("chosen", 0), ("rejected", 1)):
            columns[f"policy_{which}"], columns[f"reference_{which}"] = exact(policy[i]), exact(reference[i])
            columns[f"{which}_length"] = lengths[i]
        h = [columns[f"policy_{w}"] - columns[f"reference_{w}"] for w in ("chosen", "rejected")]
        rho = h[0] / unit[0] - h[1] / unit[1]
    margin = bfloat16(beta * rho) if rounded else beta * rho
    scale = 1.0
    if name == "squared":
        scale = float(rng.choice([1.0, beta**-2]))
    loss = scale * np.asarray(f(margin))
    if kind.endswith("batches"):
        step = np.repeat(np.arange(size // batch), batch)
        columns["step"], loss = step.astype(np.float64), np.repeat(loss.reshape(-1, batch).mean(1), batch)
    columns["loss"] = off(loss)
    return Drawn(columns, name, beta, smoothing, epsilon, reduction, kind)


def _early(rng: np.random.Generator, size: int, both: bool) -> FloatArray:
    """Margins below 1; with label smoothing, which sees −z as well, above −1 too."""
    z = rng.normal(rng.uniform(0.0, 0.3), rng.uniform(0.2, 0.8), size)
    return np.asarray(np.clip(z, -0.9 if both else -4.0, 0.9))


def _means(rng: np.random.Generator) -> Drawn:
    name = str(rng.choice(["logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage"]))
    f, rows, batch = get_loss(name), int(rng.integers(40, 100)), int(rng.choice([32, 64, 128]))
    middle = np.linspace(0, rng.uniform(1.2, 2.5), rows)
    z = middle[:, None] + (0.05 + rng.uniform(0.4, 1.0) * middle[:, None]) * rng.logistic(0, 0.55, (rows, batch))
    off = bfloat16 if rng.random() < 0.5 else (lambda x: np.round(x, 4))
    columns = {
        "loss": off(np.asarray(f(z)).mean(1)), "rewards/margins": off(z.mean(1)), "rewards/accuracies": (z > 0).mean(1),
    }  # fmt: skip
    return Drawn(columns, name, 1.0, None, 0.0, None, "means")


def judge(drawn: Drawn, found: LossAudit) -> str:
    """ "named", "set" or "wrong"."""
    if drawn.kind in EARLY:
        return "set" if found.undecided is not None and set(TWINS) <= set(found.losses) else "wrong"
    if found.undecided is not None:
        return "set" if drawn.loss in found.losses and "no known loss" not in found.undecided else "wrong"
    assert found.beta is not None
    assert found.label_smoothing is not None
    right = (
        found.loss == drawn.loss
        and abs(found.beta / drawn.beta - 1) <= 0.05
        and (drawn.reduction is None or found.reduction == drawn.reduction)
        and found.smoothing == drawn.smoothing
        and abs(found.label_smoothing - drawn.epsilon) <= 0.02
    )
    return "named" if right else "wrong"


def campaign(count: int, seed: int, kinds: tuple[str, ...] = KINDS, verbose: bool = False) -> Counter[str]:
    """Audit so many logs and count."""
    counts: Counter[str] = Counter()
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        drawn = draw(rng, kinds[i % len(kinds)])
        with np.errstate(all="ignore"):
            found = audit_log(loss_log(drawn.columns))
        verdict = judge(drawn, found)
        counts[verdict] += 1
        if verbose and verdict != ("set" if drawn.kind in EARLY else "named"):
            truth = f"{drawn.loss}, β = {drawn.beta:.4g}, {drawn.smoothing} {drawn.epsilon:g}, {drawn.reduction}"
            print(f"{i:4} {verdict:5} {drawn.kind}: {truth}: {found}", flush=True)
    return counts


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = Parser(prog="python -m fuzz.audit_logs", description="Audit logs whose loss is known.")
    parser.add_argument("--count", type=whole(1), default=1000)
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--means", action="store_true", help="logs of batch means whose pairs are not logged")
    parser.add_argument("--early", action="store_true", help="logs whose margins have not reached 1")
    parser.add_argument("--two-ratio", action="store_true", help="logs of losses of two log-ratios, among others")
    parser.add_argument("--outside", action="store_true", help="logs of losses that no catalogue holds")
    options = parser.parse_args(arguments)
    if options.outside:
        return run_outside(options.count, options.seed)
    if options.two_ratio:
        return run_two_ratio(options.count, options.seed)
    kinds = ("means",) if options.means else EARLY if options.early else KINDS
    counts = campaign(options.count, options.seed, kinds, verbose=True)
    print(", ".join(f"{counts[word]} {word}" for word in ("named", "set", "wrong")), f"of {options.count}")
    expected = counts["set"] if options.early else counts["named"]
    return int(expected < 0.95 * options.count or counts["wrong"] > 0.01 * options.count)


if __name__ == "__main__":
    sys.exit(main())
