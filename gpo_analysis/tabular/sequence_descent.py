r"""Losses on responses with lengths by descent: losses of every kind, policies a node, and policies tied across nodes.

A tied policy has the logits log πref + Φθ at (node, token), Φ a row of features for each: nodes of equal features
answer equally. With Φ the unit matrix it is the tabular policy. Only differences within a node count. log π is concave
in θ and not linear, so that even convex f are not convex in θ: the best of several starts is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, diags_array

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import Loss, TwoRatioLoss, get_loss
from gpo_analysis.preferences.validation import as_floats, check_positive
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.tabular.prefix_tree import PrefixTree
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.tabular.sequence_solution import SequenceSolution, check_sequences, sequence_solution

_STEPS = 300
_STARTS = 12
_FLAT = 1e-9


def descend_sequences(
    tree: PrefixTree,
    problem: PreferenceProblem,
    loss: Loss | str,
    beta: float,
    *,
    reduction: str = "sum",
    ld_alpha: float = 1.0,
    features: ArrayLike | None = None,
) -> SequenceSolution:
    """A stationary point in logits at the nodes, by Newton steps: for every smooth loss, on small trees.

    Parameters
    ----------
    tree : PrefixTree
    problem : PreferenceProblem
    loss : MarginLoss, TwoRatioLoss or str
        F takes β times the two reduced log-ratios; without reference log-probabilities.
    beta : float
    reduction : str
        "sum", "mean", "sum_without_reference" or "mean_without_reference".
    ld_alpha : float
        LD-DPO's α in [0, 1], with "sum": tokens beyond the shorter length of the pair count α times
        (arXiv 2409.06411).
    features : array, shape (tokens, d), optional
        Of a policy tied across nodes, whose logits are log πref + Φθ (:meth:`PrefixTree.token_features` makes some);
        without them each node has logits of its own.

    Returns
    -------
    SequenceSolution
        `status` "stationary point" where every \\|∂L/∂logit\\| is at most 1e-9 (of a tied policy every \\|∂L/∂θ\\|, a
        feature in units of its largest entry), else "not converged". From πref; tied policies from 12 starts, the best
        of which is given.

    Raises
    ------
    ValueError
        For another reduction, α outside [0, 1] or with means, a problem or features that do not fit the tree.

    Examples
    --------
    The preference is for a first letter. A policy that answers the same everywhere says it more often everywhere, in
    place of the end token too.

    >>> import gpo_analysis as gpo
    >>> tree = PrefixTree(letters=2, depth=3, stop=0.5)
    >>> problem = tree.problem(gpo.bradley_terry([float(word[0] == "a") for word in tree.responses]))
    >>> tied = tree.token_features("token")
    >>> [round(descend_sequences(tree, problem, "dpo", 0.5, features=f).expected_length, 4) for f in (None, tied)]
    [2.5, 2.55]
    """
    f, scale = get_loss(loss), check_positive(beta, "beta")
    check_sequences(tree, problem, reduction)
    if not 0 <= ld_alpha <= 1:
        raise ValueError(f"ld_alpha must be in [0, 1], got {ld_alpha!r}")
    if ld_alpha != 1 and reduction != "sum":
        raise ValueError(f"ld_alpha weights sums of tokens; reduction is {reduction!r}")
    phi, unit = (None, None) if features is None else _checked(features, tree)
    descent = _Descent.of(tree, problem, f, scale, reduction, ld_alpha, phi)
    ends = [descent.minimum(start) for start in descent.starts()]
    least = min(descent.value(theta) for theta, _ in ends)
    level = least + 1e-11 * (1 + abs(least))
    theta, gradient = min((end for end in ends if descent.value(end[0]) <= level), key=lambda end: end[1])
    good = gradient <= _FLAT
    by = "by descent from πref"
    if phi is not None:
        as_good = sum(descent.value(end) <= level for end, _ in ends)
        by = f"the best of {len(ends)} starts, which {as_good} of them reach"
    return sequence_solution(
        tree,
        tree.log_policy(descent.logits(theta)),
        reduction=reduction,
        population_loss=descent.value(theta),
        status=Status.STATIONARY_POINT if good else Status.NOT_CONVERGED,
        reason=by if good else f"Newton's steps ended with a gradient of {gradient:.1e}",
        gradient=gradient,
        weights=None if unit is None else theta / unit,
    )


def _checked(features: ArrayLike, tree: PrefixTree) -> tuple[FloatArray, FloatArray]:
    """Features, each in units of its largest entry, and the units."""
    phi = as_floats(features, "features")
    if phi.ndim != 2 or phi.shape[0] != tree.tokens or not phi.shape[1]:
        raise ValueError(f"features must have the shape ({tree.tokens}, d), a row a token of a node; got {phi.shape}")
    if not np.isfinite(phi).all():
        raise ValueError("features must be finite")
    unit = np.abs(phi).max(axis=0)
    unit = np.where(unit > 0, unit, 1.0)
    return phi / unit, unit


@dataclass(frozen=True, eq=False)
class _Descent:
    """Σ w F(a, b), a = chosen @ ℓ and so on, ℓ the log-probabilities of tokens less πref's (or less 0)."""

    tree: PrefixTree
    loss: Loss
    chosen: csr_array
    rejected: csr_array
    base: FloatArray
    weight: FloatArray
    features: FloatArray | None

    @classmethod
    def of(
        cls,
        tree: PrefixTree,
        problem: PreferenceProblem,
        loss: Loss,
        beta: float,
        reduction: str,
        alpha: float,
        features: FloatArray | None,
    ) -> _Descent:
        pairs, own = problem.directed_pairs(), problem.diagonal_weights()[0]
        same = np.flatnonzero(own)
        first = np.concatenate([pairs.winner, same])
        second = np.concatenate([pairs.loser, same])
        size = tree.lengths.astype(np.float64)
        whole = tree.incidence
        if reduction.startswith("mean"):
            whole = csr_array(diags_array(1 / size) @ whole)
        ends = [beta * whole[one] for one in (first, second)]
        if alpha != 1:
            shorter = np.minimum(size[first], size[second]).astype(np.int64)
            ends = [beta * _weighted(tree, one, shorter, alpha) for one in (first, second)]
        base = np.zeros(tree.tokens) if reduction.endswith("without_reference") else tree.token_reference
        return cls(tree, loss, ends[0], ends[1], base, np.concatenate([pairs.weight, own[same]]), features)

    def starts(self) -> list[FloatArray]:
        """πref, and for a tied policy random weights that move log π by about 2 a token, the same in every run."""
        if self.features is None:
            return [self.tree.token_reference.copy()]
        rng, width = np.random.default_rng(0), self.features.shape[1]
        size = 2.0 / max(float(np.sqrt(np.mean(np.sum(self.features**2, axis=1)))), 1e-300)
        return [np.zeros(width), *(rng.normal(0.0, size, (_STARTS - 1, width)))]

    def logits(self, theta: FloatArray) -> FloatArray:
        """At the nodes; of a policy a node they are θ themselves."""
        return theta if self.features is None else self.tree.token_reference + self.features @ theta

    def _partial(self, theta: FloatArray, orders: tuple[int, int]) -> FloatArray:
        ratio = self.tree.normalised(self.logits(theta)) - self.base
        a, b = self.chosen @ ratio, self.rejected @ ratio
        if isinstance(self.loss, TwoRatioLoss):
            found = self.loss.derivative(a, b, orders)
        else:
            found = (-1.0) ** orders[1] * self.loss.derivative(a - b, sum(orders))
        return np.asarray(self.weight * found)

    def value(self, theta: FloatArray) -> float:
        """L, the draws of twice the same response counted."""
        return float(self._partial(theta, (0, 0)).sum())

    def derivatives(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient and Hessian in θ."""
        tree, policy = self.tree, np.exp(self.tree.normalised(self.logits(theta)))
        pull = self.chosen.T @ self._partial(theta, (1, 0)) + self.rejected.T @ self._partial(theta, (0, 1))
        cross = self.chosen.T @ diags_array(self._partial(theta, (1, 1))) @ self.rejected
        curved = self.chosen.T @ diags_array(self._partial(theta, (2, 0))) @ self.chosen
        curved = curved + self.rejected.T @ diags_array(self._partial(theta, (0, 2))) @ self.rejected
        dense = np.asarray((curved + cross + cross.T).todense())
        at = tree.node[:, None] == tree.node[None, :]
        jacobian = np.eye(tree.tokens) - at * policy[None, :]
        total = np.bincount(tree.node, pull)[tree.node]
        spread = np.diag(policy * total) - at * np.outer(policy, policy * total)
        gradient, hessian = pull - policy * total, jacobian.T @ dense @ jacobian - spread
        if self.features is None:
            return gradient, hessian
        return self.features.T @ gradient, self.features.T @ hessian @ self.features

    def minimum(self, theta: FloatArray) -> tuple[FloatArray, float]:
        """Damped Newton steps, negative curvature taken as positive."""
        value = self.value(theta)
        for _ in range(_STEPS):
            gradient, hessian = self.derivatives(theta)
            if np.abs(gradient).max() <= 1e-13:
                break
            sizes, axes = np.linalg.eigh(hessian)
            kept = np.maximum(np.abs(sizes), 1e-14 * np.abs(sizes).max())
            flat = np.abs(sizes) <= 1e-14 * np.abs(sizes).max()
            step = -axes @ np.where(flat, 0.0, (axes.T @ gradient) / kept)
            scale = min(1.0, 3.0 / float(np.abs(step).max()))
            for _ in range(50):
                trial = self.value(theta + scale * step)
                if trial <= value + 1e-15 * abs(value):
                    break
                scale /= 2
            else:
                break
            theta, value = theta + scale * step, trial
            if self.features is None:
                theta = self.tree.normalised(theta)
        return theta, float(np.abs(self.derivatives(theta)[0]).max())


def _weighted(tree: PrefixTree, response: FloatArray, shorter: FloatArray, alpha: float) -> csr_array:
    """Rows of tokens, those beyond the shorter length α times."""
    tokens = tree.incidence
    starts, sizes = tokens.indptr[response], tree.lengths[response]
    row = np.repeat(np.arange(len(response)), sizes)
    position = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    columns = tokens.indices[np.repeat(starts, sizes) + position]
    entries = np.where(position < np.repeat(shorter, sizes), 1.0, alpha)
    return csr_array((entries, (row, columns)), shape=(len(response), tree.tokens))
