"""Many problems × losses × βs at once.

One solve a problem and loss serves every β, and problems share the iterations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import Link, get_link
from gpo_analysis.losses import MarginLoss, get_loss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.solvers.optimum import Optimum, optimise
from gpo_analysis.tabular.cells import cells_of
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.tabular.solution import solution_of

if TYPE_CHECKING:
    import pandas as pd


def solve_grid(
    problems: PreferenceProblem | Sequence[PreferenceProblem] | Mapping[str, PreferenceProblem],
    losses: MarginLoss | str | Iterable[MarginLoss | str],
    betas: float | Iterable[float],
    *,
    link: str | Link = "reverse_kl",
) -> pd.DataFrame:
    """Population optima over a grid.

    ``g = βh`` does not depend on β (see :mod:`gpo_analysis.solvers.optimum`), so each problem and loss is solved once;
    all problems of one size take part in one vectorised Newton iteration.

    Parameters
    ----------
    problems : PreferenceProblem, sequence of them, or mapping of names to them
    losses : MarginLoss or str, or several
    betas : float or several
        Finite and above 0.
    link : str or Link
        As in :func:`gpo_analysis.tabular.solve.solve`.

    Returns
    -------
    DataFrame
        A row a cell, in the order problem, loss, β: ``problem`` (number or name), ``loss, beta, link,
        population_loss, kl, mu_squared_loss, max_margin, converged, status, iterations, error``, as in
        :class:`~gpo_analysis.tabular.solution.Solution`.

    Raises
    ------
    ValueError
        For an empty grid, a bad β, an unknown loss or link, or what is no problem.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> table = solve_grid(problem, ["logistic", "squared"], [0.5, 1.0])
    >>> table[["loss", "beta", "kl"]].round(4).to_string(index=False).splitlines()[1].split()
    ['logistic', '0.5', '0.4694']
    """
    import pandas as pd

    named = _named(problems)
    functions = [get_loss(f) if isinstance(f, str) else f for f in _several(losses, (MarginLoss, str))]
    scales = np.array([check_positive(b, "beta") for b in _several(betas, (int, float, np.number))])
    if not named or not functions or not len(scales):
        raise ValueError("solve_grid needs at least one problem, one loss and one beta")
    chosen = get_link(link)
    cells = [cells_of(problem) for problem in named.values()]
    flat = [cell for group in cells for cell in group]
    tables = []
    for order, loss in enumerate(functions):
        optima = iter(optimise(flat, loss))
        for number, ((name, problem), group) in enumerate(zip(named.items(), cells, strict=True)):
            own = [next(optima) for _ in group]
            rows = _rows(problem, loss.name, scales, own, chosen)
            tables.append((number, order, pd.DataFrame({"problem": name, "loss": loss.name, **rows})))
    tables.sort(key=lambda entry: entry[:2])
    return pd.concat([table for *_, table in tables], ignore_index=True)


def _named(
    problems: PreferenceProblem | Sequence[PreferenceProblem] | Mapping[str, PreferenceProblem],
) -> dict[int | str, PreferenceProblem]:
    named: dict[int | str, PreferenceProblem]
    if isinstance(problems, PreferenceProblem):
        named = {0: problems}
    elif isinstance(problems, Mapping):
        named = dict(problems.items())
    else:
        named = dict(enumerate(problems))
    for name, problem in named.items():
        if not isinstance(problem, PreferenceProblem):
            raise ValueError(f"problem {name!r} is {type(problem).__name__}; accepted are PreferenceProblems")
    return named


def _several(values: Any, single: tuple[type, ...]) -> list[Any]:
    return [values] if isinstance(values, single) else list(values)


def _rows(
    problem: PreferenceProblem, loss: str, betas: FloatArray, optima: list[Optimum], link: Link
) -> dict[str, object]:
    """Columns for all βs of one problem and loss; KL and ½E[ρ²] are vectorised over β where the link is the log."""
    first = solution_of(problem, loss, float(betas[0]), optima, link)
    if first.converged and link.name != "reverse_kl":
        solved = [solution_of(problem, loss, float(beta), optima, link) for beta in betas]
        kl, squared = np.array([s.kl for s in solved]), np.array([s.mu_squared_loss for s in solved])
    else:
        kl, squared = _kl(problem, betas, optima), first.mu_squared_loss * (betas[0] / betas) ** 2
    return {
        "beta": betas,
        "link": link.name,
        "population_loss": first.population_loss,
        "kl": kl,
        "mu_squared_loss": squared,
        "max_margin": first.max_margin,
        "converged": first.converged,
        "status": first.status,
        "iterations": first.iterations,
        "error": first.error,
    }


def _kl(problem: PreferenceProblem, betas: FloatArray, optima: list[Optimum]) -> FloatArray:
    """Mean over contexts of ``KL(π‖πref) = Σ π h``, ``h = g/β − log Σ πref e^{g/β}``, shape of betas."""
    from scipy.special import logsumexp

    total: FloatArray = np.zeros(len(betas))
    for share, optimum, reference in zip(problem.shares(), optima, np.atleast_2d(problem.reference), strict=True):
        if share == 0:
            continue
        if optimum.g is None:
            return np.full(len(betas), np.nan)
        u = optimum.g / betas[:, None]
        h = u - logsumexp(u, b=reference, axis=1, keepdims=True)
        total = total + share * np.sum(reference * np.exp(h) * h, axis=1)
    return total
