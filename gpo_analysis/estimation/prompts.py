"""Fits of one loss to many prompts at once: items that no chain of comparisons connects are problems of their own.

Prompts with the same comparisons, however their responses read, are one problem that is solved once and counted as
often as it occurs: a hundred thousand prompts with one label each are one problem of two items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components

from gpo_analysis.analysis import optimal_margin
from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.estimation.warm import refitted
from gpo_analysis.losses import MarginLoss
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.solvers.minimum import described
from gpo_analysis.tabular.implicit_reward import fitted as fits_of
from gpo_analysis.tabular.problem import PreferenceProblem

_NEAR = 1e-9  # of the largest difference: fitted values this close count as one at β → 0
_DENSE = 300  # items of a prompt up to which its resamples are solved by dense Newton steps
_NODES = 24  # at which the KL of every problem is worked out, for the roots of many resamples


@dataclass(frozen=True, eq=False)
class Prompts:
    """The different problems of many prompts, laid end to end.

    Attributes
    ----------
    problem : array of int, shape (n,)
        Which problem an item belongs to.
    reference : array, shape (n,)
        πref, summing to one within each problem.
    winner, loser, count : array, shape (k,)
        Comparisons between these items.
    times : array, shape (problems,)
        Of how many prompts it is the problem.
    names : tuple of str, length n
        The items' names in one of the prompts whose problem it is.
    """

    problem: IntArray
    reference: FloatArray
    winner: IntArray
    loser: IntArray
    count: FloatArray
    times: FloatArray
    names: tuple[str, ...]

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return round(float(self.times.sum()))

    @cached_property
    def largest_kl(self) -> float:
        """Mean over prompts of −log min πref: the KL that no policy over the compared responses exceeds."""
        least = np.full(len(self.times), np.inf)
        np.minimum.at(least, self.problem, self.reference)
        return float(np.average(-np.log(least), weights=self.times))

    @staticmethod
    def of(pool: Comparisons, prompt: IntArray, reference: FloatArray) -> Prompts:
        """From comparisons, each item's prompt and its πref, shape (n,)."""
        seen = pool.aggregated()
        size = np.bincount(prompt)
        net = np.bincount(seen.winner, seen.count, pool.n) - np.bincount(seen.loser, seen.count, pool.n)
        sent = np.bincount(np.concatenate([seen.winner, seen.loser]), minlength=pool.n)
        order = np.lexsort((np.arange(pool.n), reference, sent, -net, prompt))
        place = np.empty(pool.n, dtype=np.int64)  # within the prompt, the most successful first
        place[order] = np.arange(pool.n) - np.repeat(np.cumsum(size) - size, size)
        owner = prompt[seen.winner]
        rows = np.lexsort((place[seen.loser], place[seen.winner], owner))
        of_row = np.bincount(owner, minlength=len(size))
        start_row, start_item = np.cumsum(of_row) - of_row, np.cumsum(size) - size
        table = np.stack([place[seen.winner], place[seen.loser], seen.count], axis=1)[rows]
        parts: list[tuple[FloatArray, FloatArray, int]] = []
        examples: list[IntArray] = []  # items of one such prompt
        for m, r in np.unique(np.stack([size, of_row], axis=1), axis=0).tolist():
            members = np.flatnonzero((size == m) & (of_row == r))
            games = table[start_row[members][:, None] + np.arange(r)].reshape(len(members), -1)
            items = order[start_item[members][:, None] + np.arange(m)]
            kinds, one, times = np.unique(np.hstack([games, reference[items]]), True, False, True, axis=0)
            examples += list(items[one])
            parts += [(row[: 3 * r].reshape(r, 3), row[3 * r :], int(t)) for row, t in zip(kinds, times, strict=True)]
        sizes = np.array([len(shares) for _, shares, _ in parts])
        begin = np.cumsum(sizes) - sizes
        games = np.concatenate([g + np.array([at, at, 0]) for (g, _, _), at in zip(parts, begin, strict=True)])
        return Prompts(
            np.repeat(np.arange(len(parts)), sizes), np.concatenate([shares for _, shares, _ in parts]),
            games[:, 0].astype(np.int64), games[:, 1].astype(np.int64), games[:, 2],
            np.array([t for _, _, t in parts], dtype=np.float64),
            tuple(pool.items[i] for i in np.concatenate(examples).tolist()),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class PromptFits:
    """Fits of one loss to the problems of many prompts, laid end to end."""

    g: FloatArray  # (n,) centred within each problem
    reference: FloatArray  # (n,) summing to one within each problem
    prompt: IntArray  # (n,)
    mean_abs: float  # mean |g_w − g_l| over the labels
    times: FloatArray | None = None  # (problems,), how many prompts have it; ones by default

    @cached_property
    def _times(self) -> FloatArray:
        return np.ones(int(self.prompt.max()) + 1) if self.times is None else self.times

    @cached_property
    def _at_nodes(self) -> dict[tuple[float, float], FloatArray]:
        return {}

    @cached_property
    def spread(self) -> float:
        """Largest difference of g within a problem."""
        top, bottom = np.full(len(self._times), -np.inf), np.full(len(self._times), np.inf)
        np.maximum.at(top, self.prompt, self.g)
        np.minimum.at(bottom, self.prompt, self.g)
        return float(np.max(top - bottom))

    def kl_of_each(self, beta: float) -> FloatArray:
        """KL(π_β‖πref) of every problem, shape (problems,)."""
        count = len(self._times)
        middle = np.bincount(self.prompt, self.reference * self.g, count)
        x = (self.g - middle[self.prompt]) / beta
        far = np.zeros(count, dtype=bool)
        far[self.prompt[np.abs(x) >= 0.5]] = True
        found = np.empty(count)
        if not far.all():
            near = ~far[self.prompt]
            found[~far] = _small_kl(self.reference[near], x[near], self.prompt[near], count)[~far]
        if far.any():
            items = far[self.prompt]
            prompt, g, reference = self.prompt[items], self.g[items], self.reference[items]
            top = np.full(count, -np.inf)
            np.maximum.at(top, prompt, g)
            with np.errstate(under="ignore", over="ignore", invalid="ignore"):
                weight = reference * np.exp((g - top[prompt]) / beta)
                total = np.bincount(prompt, weight, count)[far]
                # E_π[(g − top)/β] − log E_ref e^{(g − top)/β}
                mean = np.bincount(prompt, np.where(weight > 0, weight * ((g - top[prompt]) / beta), 0.0), count)[far]
            found[far] = mean / total - np.log(total)
        return found

    def kl(self, beta: float) -> float:
        """Mean over prompts of KL(π_β‖πref)."""
        return float(np.average(self.kl_of_each(beta), weights=self._times))

    @cached_property
    def limits(self) -> FloatArray:
        """KL of every problem as β → 0, shape (problems,): −log of πref of its best responses."""
        top = np.full(len(self._times), -np.inf)
        np.maximum.at(top, self.prompt, self.g)
        best = self.g >= top[self.prompt] - _NEAR * self.spread
        return np.maximum(-np.log(np.bincount(self.prompt, self.reference * best, len(self._times))), 0.0)

    def kl_limit(self) -> float:
        """KL as β → 0."""
        return float(np.average(self.limits, weights=self._times))

    def beta_of_kl(self, budget: float) -> float:
        """NaN where the budget is out of reach."""
        if not 0 < budget < self.kl_limit():
            return float("nan")
        low = high = self.spread
        while self.kl(low) < budget:
            low /= 4
        while self.kl(high) > budget:
            high *= 4
        return float(np.exp(brentq(lambda t: self.kl(np.exp(t)) - budget, np.log(low) - 1, np.log(high) + 1)))

    def betas_of_kl(self, budget: float, times: FloatArray) -> FloatArray:
        """β for the budget under other numbers of prompts, shape (resamples,); NaN where it is out of reach.

        Parameters
        ----------
        budget : float
        times : array, shape (resamples, problems)

        Notes
        -----
        The KL of each problem is worked out at Chebyshev nodes in log β once; between them a resample's log KL is the
        polynomial through its values, to some 1e-9, since log KL hardly bends there.
        """
        middle = self.beta_of_kl(budget)
        total = times.sum(axis=1)
        found = np.full(len(times), np.nan)
        todo = np.flatnonzero(times @ self.limits / total > budget)
        reach = 0.5
        while len(todo) and np.isfinite(middle) and reach <= 16:
            node = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)  # falling
            key = (middle, reach)
            if key not in self._at_nodes:
                self._at_nodes[key] = np.stack([self.kl_of_each(middle * math.exp(reach * u)) for u in node])
            values = self._at_nodes[key]
            with np.errstate(divide="ignore"):
                height = np.log((times[todo] @ values.T) / total[todo, None]) - math.log(budget)
            inside = (height[:, 0] < 0) & (height[:, -1] > 0)
            roots = _roots(node, height[inside])
            found[todo[inside]] = middle * np.exp(reach * roots)
            todo = todo[~inside]
            reach *= 2
        for r in todo:
            found[r] = PromptFits(self.g, self.reference, self.prompt, self.mean_abs, times[r]).beta_of_kl(budget)
        return found


def _roots(node: FloatArray, height: FloatArray) -> FloatArray:
    """Where the polynomials through values at Chebyshev nodes, shape (k, nodes), cross 0 from above; by halving."""
    size = len(node)
    sign = np.where(np.arange(size) % 2, -1.0, 1.0) * np.sin(np.pi * (np.arange(size) + 0.5) / size)

    def at(u: FloatArray) -> FloatArray:
        gap = u[:, None] - node
        on = gap == 0
        weight = sign / np.where(on, 1.0, gap)
        value = np.sum(weight * height, axis=1) / np.sum(weight, axis=1)
        found: FloatArray = np.where(on.any(axis=1), np.sum(np.where(on, height, 0.0), axis=1), value)
        return found

    low, high = np.full(len(height), node[-1]), np.full(len(height), node[0])
    for _ in range(50):
        middle = (low + high) / 2
        is_above = at(middle) > 0
        low, high = np.where(is_above, middle, low), np.where(is_above, high, middle)
    return np.asarray((low + high) / 2)


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


def fit_prompts(known: Prompts, f: MarginLoss) -> tuple[PromptFits | None, str]:
    """The fit to every problem, or None and why; problems of two items by the link, the others by the solver."""
    sizes = np.bincount(known.problem)
    g = np.full(len(known.problem), np.nan)
    _pairs_by_link(known, f, sizes, g)
    large = np.flatnonzero(sizes > 2)
    if len(large) and np.isfinite(g[sizes[known.problem] == 2]).all():
        begin = np.cumsum(sizes) - sizes
        rows = np.argsort(known.problem[known.winner], kind="stable")
        ends = np.cumsum(np.bincount(known.problem[known.winner], minlength=len(sizes)))
        problems = []
        for k in large:
            mine = rows[ends[k - 1] if k else 0 : ends[k]]
            part = Comparisons(
                known.winner[mine] - begin[k], known.loser[mine] - begin[k], known.count[mine],
                items=known.names[begin[k] : begin[k] + sizes[k]],
            )  # fmt: skip
            problems.append(PreferenceProblem.from_comparisons(part))
        for k, found in zip(large, fits_of(problems, [f]), strict=True):
            if not found.converged:
                return None, described(found.status, found.reason)
            g[begin[k] : begin[k] + sizes[k]] = found.reward
    if not np.isfinite(g).all():
        return None, "no finite optimum: some pair has labels for one side only (try smoothing)"
    mean_abs = mean_margin(known, g, known.times)
    return PromptFits(g, known.reference, known.problem, mean_abs, known.times), "found"


def mean_margin(known: Prompts, g: FloatArray, times: FloatArray) -> float:
    """Mean |g_w − g_l| over the labels of the problems, each as often as `times` says, shape (problems,)."""
    return float(margins_and_labels(known, g, times[None])[0])


def margins_and_labels(known: Prompts, g: FloatArray, times: FloatArray) -> FloatArray:
    """Mean |g_w − g_l| under each row of `times`, shape (resamples, problems); shape (resamples,)."""
    problem = known.problem[known.winner]
    size = known.count * np.abs(g[known.winner] - g[known.loser])
    margins = np.bincount(problem, size, times.shape[1])
    labels = np.bincount(problem, known.count, times.shape[1])
    return np.asarray(times @ margins / (times @ labels))


def fit_samples(
    pool: Comparisons, samples: list[Comparisons], f: MarginLoss, prompt: IntArray, reference: FloatArray
) -> list[PromptFits | None]:
    """One fit a sample of the pool's labels, each with few prompts: from the fit to all labels, or by the solver."""
    sizes = np.bincount(prompt)
    order = np.argsort(prompt, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    problems, owners = [], []
    answers = [np.full(len(prompt), np.nan) for _ in samples]
    for s, sample in enumerate(samples):
        _two_by_link(sample, f, prompt, sizes, answers[s])
    for k in np.flatnonzero(sizes > 2):
        members = order[offsets[k] : offsets[k + 1]]
        warm = _warm(pool, samples, f, members)
        for s, sample in enumerate(samples):
            if np.isfinite(warm[s]).all():
                answers[s][members] = warm[s]
                continue
            part = _restricted(sample, members)
            if part is not None:
                problems.append(PreferenceProblem.from_comparisons(part))
                owners.append((s, members))
    for (s, members), found in zip(owners, fits_of(problems, [f]) if problems else [], strict=True):
        if found.converged:
            answers[s][members] = found.reward
    result: list[PromptFits | None] = []
    for sample, g in zip(samples, answers, strict=True):
        if np.isfinite(g).all():
            mean_abs = float(np.average(np.abs(g[sample.winner] - g[sample.loser]), weights=sample.count))
            result.append(PromptFits(g, reference, prompt, mean_abs))
        else:
            result.append(None)
    return result


def _warm(pool: Comparisons, samples: list[Comparisons], f: MarginLoss, members: IntArray) -> FloatArray:
    """Fits of one prompt's samples from the fit to all its labels, shape (samples, items); NaN where that fails."""
    whole = _restricted(pool, members)
    nothing = np.full((len(samples), len(members)), np.nan)
    if whole is None or len(members) > _DENSE:
        return nothing
    (start,) = fits_of([PreferenceProblem.from_comparisons(whole)], [f])
    if not start.converged:
        return nothing
    index = np.full(pool.n, -1)
    index[members] = np.arange(len(members))
    keys = whole.winner * len(members) + whole.loser
    order = np.argsort(keys)
    counts = np.zeros((len(samples), len(keys)))
    for s, sample in enumerate(samples):
        mine = index[sample.winner] >= 0
        where = np.searchsorted(
            keys, index[sample.winner[mine]] * len(members) + index[sample.loser[mine]], sorter=order
        )
        counts[s, order[where]] = sample.count[mine]
    return refitted(f, whole.winner, whole.loser, counts, start.reward)


def _pairs_by_link(known: Prompts, f: MarginLoss, sizes: IntArray, g: FloatArray) -> None:
    """Fill in ±½ z*(η) for problems of two items."""
    of_two = sizes[known.problem] == 2
    if not of_two.any():
        return
    n = len(g)
    won, lost = np.bincount(known.winner, known.count, n), np.bincount(known.loser, known.count, n)
    first = np.flatnonzero(of_two)[::2]
    shares, where = np.unique(won[first] / (won[first] + lost[first]), return_inverse=True)
    z = optimal_margin(f, shares)[where]
    g[first], g[first + 1] = z / 2, -z / 2


def _two_by_link(sample: Comparisons, f: MarginLoss, prompt: IntArray, sizes: IntArray, g: FloatArray) -> None:
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
