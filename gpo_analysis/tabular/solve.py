"""Solve a problem: the exact population optimum for any loss, or the reason why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpo_analysis.divergences import Link, get_link
from gpo_analysis.losses import MarginLoss, get_loss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.solvers.optimum import optimise
from gpo_analysis.tabular.cells import cells_of
from gpo_analysis.tabular.solution import Solution, solution_of

if TYPE_CHECKING:
    from gpo_analysis.tabular.problem import PreferenceProblem


def solve(
    problem: PreferenceProblem, loss: MarginLoss | str, beta: float, *, link: str | Link = "reverse_kl"
) -> Solution:
    """The policy of full support that minimises ``E f(β [g(t_i) − g(t_j)])``, ``t = π/πref`` (arXiv 2402.05749).

    A tabular policy can give ``β g(t)`` any value up to a constant, so neither β nor the link takes part in the
    minimisation: it is solved once in ``β g(t)``, exactly (Newton's method for smooth convex f, a linear
    program for piecewise linear f), and read off for the β and link in hand. With g = log the centred
    log-ratio is therefore proportional to 1/β.

    Parameters
    ----------
    problem : PreferenceProblem
    loss : MarginLoss or str
    beta : float
        Finite and above 0.
    link : str or Link
        Of an f-divergence (see :mod:`gpo_analysis.divergences`); reverse KL, g = log, by default.

    Returns
    -------
    Solution
        `converged` is False, `status` says why, and the policy is NaN, where the optimum is not finite or not unique.

    Raises
    ------
    ValueError
        For β that is not a finite number above 0, an unknown loss or link.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> problem.solve("squared", 1.0).log_ratio.round(4)
    array([ 0.2557, -0.3443])
    >>> sure = gpo.PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    >>> sure.solve("logistic", 1.0).status.split(":")[0]
    'no finite optimum'
    """
    f = get_loss(loss) if isinstance(loss, str) else loss
    scale = check_positive(beta, "beta")
    return solution_of(problem, f.name, scale, optimise(cells_of(problem), f), get_link(link))
