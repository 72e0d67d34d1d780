"""Fits of one loss to many prompts at once: items that no chain of comparisons connects are problems of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components

from gpo_analysis.analysis import optimal_margin
from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import MarginLoss
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.solvers.minimum import described
from gpo_analysis.tabular.grid import fit
from gpo_analysis.tabular.problem import PreferenceProblem


@dataclass(frozen=True, eq=False)
class PromptFits:
    """Fits of one loss to every prompt, laid end to end."""

    g: FloatArray  # (n,) centred within each prompt
    reference: FloatArray  # (n,) summing to one within each prompt
    prompt: IntArray  # (n,)
    mean_abs: float  # mean |g_w − g_l| over the labels

    def kl(self, beta: float) -> float:
        """Mean over prompts of KL(π_β‖πref)."""
        count = int(self.prompt.max()) + 1
        middle = np.bincount(self.prompt, self.reference * self.g, count)
        x = (self.g - middle[self.prompt]) / beta
        if np.max(np.abs(x)) < 0.5:
            return float(np.mean(_small_kl(self.reference, x, self.prompt, count)))
        top = np.full(count, -np.inf)
        np.maximum.at(top, self.prompt, self.g)
        with np.errstate(under="ignore"):
            weight = self.reference * np.exp((self.g - top[self.prompt]) / beta)
        total = np.bincount(self.prompt, weight, count)
        # E_π[(g − top)/β] − log E_ref e^{(g − top)/β}
        mean = np.bincount(self.prompt, weight * (self.g - top[self.prompt]) / beta, count) / total
        return float(np.mean(mean - np.log(total)))

    def kl_limit(self) -> float:
        """KL as β → 0."""
        spread = float(np.ptp(self.g))
        return self.kl(1e-9 * spread) if spread > 0 else 0.0

    def beta_of_kl(self, budget: float) -> float:
        """NaN where the budget is out of reach."""
        if not 0 < budget < self.kl_limit():
            return float("nan")
        low = high = float(np.ptp(self.g))
        while self.kl(low) < budget:
            low /= 4
        while self.kl(high) > budget:
            high *= 4
        return float(np.exp(brentq(lambda t: self.kl(np.exp(t)) - budget, np.log(low) - 1, np.log(high) + 1)))


def _small_kl(reference: FloatArray, x: FloatArray, prompt: IntArray, count: int) -> FloatArray:
    """KL of the tilt e^x, shape (count,), where E_ref x = 0 and every x lies within ½ of 0.

    E_π x − log E_ref e^x is the difference of two numbers near E_ref x² and half of it, whatever their size, once what
    is 0 has been left out: with s = E_ref(e^x − 1 − x) it is E_ref x(e^x − 1)/(1 + s) − log(1 + s).
    """
    rest = np.zeros_like(x)  # (e^x − 1 − x)/x², by its series
    for k in range(16, 1, -1):
        rest = rest * x + 1 / math.factorial(k)
    s = np.bincount(prompt, reference * rest * x * x, count)
    tilted: FloatArray = np.bincount(prompt, reference * x * np.expm1(x), count) / (1 + s) - np.log1p(s)
    return tilted


def prompts_of(pool: Comparisons) -> IntArray:
    """Which prompt each item belongs to, shape (n,); an item that was never compared is refused."""
    labels = connected_components(pool.matrix(), directed=False)[1].astype(np.int64)
    alone = np.bincount(labels)[labels] == 1
    if alone.any():
        raise ValueError(f"{pool.items[int(np.argmax(alone))]!r} is in no comparison with a count above 0")
    return labels


def repeated(whole: PromptFits, pool: Comparisons, prompt: IntArray, times: FloatArray) -> PromptFits:
    """The fit to prompts drawn with replacement: the prompts' fits, each as often as it was drawn."""
    order = np.repeat(np.arange(len(times)), times.astype(np.int64))
    starts = np.argsort(prompt, kind="stable")
    sizes = np.bincount(prompt)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    rows = np.concatenate([starts[offsets[k] : offsets[k + 1]] for k in order])
    label_prompt = prompt[pool.winner]
    weight = pool.count * times[label_prompt]
    mean_abs = float(np.average(np.abs(whole.g[pool.winner] - whole.g[pool.loser]), weights=weight))
    return PromptFits(whole.g[rows], whole.reference[rows], np.repeat(np.arange(len(order)), sizes[order]), mean_abs)


def fit_prompts(
    samples: list[Comparisons], f: MarginLoss, prompt: IntArray, reference: FloatArray
) -> list[tuple[PromptFits | None, str]]:
    """One fit a sample, or None and why; prompts of two items by the link, the others by the solver, all at once."""
    sizes = np.bincount(prompt)
    order = np.argsort(prompt, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    problems, owners = [], []
    answers = [np.full(len(prompt), np.nan) for _ in samples]
    reasons = ["" for _ in samples]
    for s, sample in enumerate(samples):
        _pairs_by_link(sample, f, prompt, sizes, answers[s])
        for k in np.flatnonzero(sizes > 2):
            members = order[offsets[k] : offsets[k + 1]]
            part = _restricted(sample, members)
            if part is None:
                reasons[s] = "a prompt without labels"
                continue
            problems.append(PreferenceProblem.from_comparisons(part))
            owners.append((s, members))
    for (s, members), found in zip(owners, fit(problems, f) if problems else [], strict=True):
        if found.converged:
            answers[s][members] = found.reward
        else:
            reasons[s] = described(found.status, found.reason)
    result: list[tuple[PromptFits | None, str]] = []
    for sample, g, reason in zip(samples, answers, reasons, strict=True):
        if not np.isfinite(g).all():
            some = "no finite optimum: some pair has labels for one side only (try smoothing)"
            result.append((None, reason or some))
            continue
        mean_abs = float(np.average(np.abs(g[sample.winner] - g[sample.loser]), weights=sample.count))
        result.append((PromptFits(g, reference, prompt, mean_abs), "found"))
    return result


def _pairs_by_link(sample: Comparisons, f: MarginLoss, prompt: IntArray, sizes: IntArray, g: FloatArray) -> None:
    """Fill in ±½ z*(η) for prompts of two items."""
    of_two = sizes[prompt[sample.winner]] == 2
    if not of_two.any():
        return
    winner, loser, count = sample.winner[of_two], sample.loser[of_two], sample.count[of_two]
    forward = winner < loser
    first, second = np.where(forward, winner, loser), np.where(forward, loser, winner)
    won, total = np.zeros(len(prompt)), np.zeros(len(prompt))
    np.add.at(won, first, count * forward)
    np.add.at(total, first, count)
    at = np.unique(first)
    other = np.zeros(len(prompt), dtype=np.int64)
    other[first] = second
    shares, where = np.unique(won[at] / total[at], return_inverse=True)
    z = optimal_margin(f, shares)[where]
    g[at], g[other[at]] = z / 2, -z / 2


def _restricted(sample: Comparisons, members: IntArray) -> Comparisons | None:
    index = np.full(sample.n, -1)
    index[members] = np.arange(len(members))
    keep = (index[sample.winner] >= 0) & (sample.count > 0)
    if not keep.any():
        return None
    names = tuple(sample.items[i] for i in members)
    return Comparisons(index[sample.winner[keep]], index[sample.loser[keep]], sample.count[keep], items=names)
