"""The optimum of a loss over responses with lengths, and what such a problem must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, policies
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.tabular.prefix_tree import PrefixTree
from gpo_analysis.tabular.problem import PreferenceProblem

REDUCTIONS = ("sum", "mean", "sum_without_reference", "mean_without_reference")
"""What a loss sees of a response: h or log π, summed over its tokens or a mean of them."""


@dataclass(frozen=True, eq=False)
class SequenceSolution(Shown):
    """The optimum of a loss over the responses of a prefix tree.

    Attributes
    ----------
    policy, log_ratio : array, shape (n,)
        π and log π/πref; NaN where there is no finite or no unique optimum. π = 0 and −∞ where AlphaPO with α < 0
        leaves a response without mass.
    reduction : str
        One of :data:`REDUCTIONS`.
    expected_length, cut_off : float
        E_π T in tokens, and π's mass on what is cut off.
    kl, kl_per_token : float
        KL(π‖πref) a sequence, and over E_π T, in nats.
    population_loss : float
    converged : bool
    status : Status
    reason : str
    gradient : float
        Of what was found by descent the largest \\|∂L/∂logit\\| at a node, or in a weight; NaN for the closed form.
    gap : float
        What is at most left to gain in the population loss, where a certificate was needed; NaN elsewhere.
    weights : array, shape (d,), or None
        Of a policy tied across nodes.
    """

    policy: FloatArray
    log_ratio: FloatArray
    reduction: str
    expected_length: float
    cut_off: float
    kl: float
    kl_per_token: float
    population_loss: float
    converged: bool
    status: Status
    reason: str
    gradient: float
    gap: float = np.nan
    weights: FloatArray | None = None

    def _panel(self) -> Panel:
        with np.errstate(all="ignore"):
            reference = self.policy / np.exp(self.log_ratio)
        title, label = f"policy over sequences: {self.status}", self.reduction.replace("_", " ")
        return policies((), reference, {label: self.policy}, title)


def check_sequences(tree: PrefixTree, problem: PreferenceProblem, reduction: str) -> None:
    """Refuse another reduction, and a problem that is not over the tree's responses and πref.

    Raises
    ------
    ValueError
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    if problem.shape != (tree.n,):
        raise ValueError(f"problem must have the {tree.n} responses of the tree, got shape {problem.shape}")
    if not np.allclose(problem.reference, tree.reference, rtol=1e-9, atol=0):
        raise ValueError("problem must have the reference of the tree: make it with tree.problem")


def sequence_solution(
    tree: PrefixTree,
    log_policy: FloatArray,
    *,
    reduction: str,
    population_loss: float,
    status: Status,
    reason: str,
    gradient: float = np.nan,
    gap: float = np.nan,
    weights: FloatArray | None = None,
) -> SequenceSolution:
    """The quantities of a policy over the leaves; of NaN where there is none.

    Parameters
    ----------
    tree : PrefixTree
    log_policy : array, shape (n,)
    reduction : str
    population_loss : float
    status : Status
    reason : str
    gradient : float
    gap : float
    weights : array, shape (d,), or None
    """
    policy = np.exp(log_policy)
    known = not np.isnan(log_policy).any()
    length = tree.expected_length(policy) if known else np.nan
    kl = tree.kl(policy) if known else np.nan
    return SequenceSolution(
        policy=policy,
        log_ratio=log_policy - tree.log_reference,
        reduction=reduction,
        expected_length=length,
        cut_off=tree.cut_off(policy) if known else np.nan,
        kl=kl,
        kl_per_token=kl / length,
        population_loss=population_loss,
        converged=status.is_answer,
        status=status,
        reason=reason,
        gradient=gradient,
        gap=gap,
        weights=weights,
    )
