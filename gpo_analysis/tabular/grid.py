"""Many problems × losses (× βs) at once: one fit a problem and loss serves every β, and problems share iterations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import GeneratorDerivative, get_link
from gpo_analysis.losses import Loss, MarginLoss, get_losses, get_margin_losses
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.progress import Progress, followed
from gpo_analysis.tabular.implicit_reward import Fit, fitted
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.tabular.solution import Solution

if TYPE_CHECKING:
    from gpo_analysis.showing.tables import SolutionGrid


def fit(
    problems: PreferenceProblem | Sequence[PreferenceProblem] | Mapping[str, PreferenceProblem],
    losses: MarginLoss | str | Iterable[MarginLoss | str],
) -> list[Fit]:
    """Implicit rewards of many problems and losses.

    All problems of one size take part in one vectorised Newton iteration; one whose solver fails says so in its status
    and leaves the others alone.

    Parameters
    ----------
    problems : PreferenceProblem, sequence of them, or mapping of names to them
    losses : MarginLoss or str, or several

    Returns
    -------
    list of Fit
        In the order problem, loss; each knows its `problem` and `loss`.

    Raises
    ------
    ValueError
        Without a problem or a loss, for an unknown loss, or what is no problem.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> problems = [gpo.PreferenceProblem(gpo.bradley_terry([0.0, r])) for r in (1.0, 2.0)]
    >>> [float(fit.reward[1].round(4)) for fit in gpo.fit(problems, ["logistic", "exponential"])]
    [0.5, 0.25, 1.0, 0.5]
    """
    named, functions = _named(problems), get_margin_losses(losses)
    if not named:
        raise ValueError("fit needs at least one problem")
    return fitted(list(named.values()), functions)


def solve_grid(
    problems: PreferenceProblem | Sequence[PreferenceProblem] | Mapping[str, PreferenceProblem],
    losses: Loss | str | Iterable[Loss | str],
    betas: float | Iterable[float],
    *,
    link: str | GeneratorDerivative = "reverse_kl",
    progress: bool | Progress = False,
) -> SolutionGrid:
    """Population optima over a grid.

    ``g = βh`` does not depend on β (see :mod:`gpo_analysis.solvers.optimum`), so each problem and margin loss is solved
    once; all problems of one size take part in one vectorised Newton iteration. A loss of two log-ratios is solved at
    each β.

    Parameters
    ----------
    problems : PreferenceProblem, sequence of them, or mapping of names to them
    losses : MarginLoss, TwoRatioLoss or str, or several
    betas : float or several
        Finite and above 0.
    link : str or GeneratorDerivative
        As in :meth:`PreferenceProblem.solve`.
    progress : bool or function
        A bar where standard error is a terminal, or a function of the share done and what is next.

    Returns
    -------
    SolutionGrid
        A DataFrame that shows itself: ``summary()``, and ``plot(ax=, y=)`` of KL or another column over β. A row a
        cell, in the order problem, loss, β: ``problem`` (number or name), ``loss, beta, link,
        population_loss, kl, mu_squared_loss, max_margin, converged, status, reason, iterations, error``, as in
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
    named = _named(problems)
    functions = get_losses(losses)
    scales = np.array([check_positive(b, "beta") for b in _several(betas, (int, float, np.number), "betas")])
    if not named or not len(scales):
        raise ValueError("solve_grid needs at least one problem and one beta")
    chosen = get_link(link)
    margin = [f for f in functions if isinstance(f, MarginLoss)]
    fits = iter(fit(list(named.values()), margin) if margin else [])
    blocks = []
    for name, problem in followed(named.items(), progress, "problems"):
        for f in functions:
            columns = _columns(next(fits), scales, chosen) if isinstance(f, MarginLoss) else {}
            columns = columns or _solved_at_each([problem.solve(f, float(beta), link=chosen) for beta in scales])
            blocks.append({"problem": name, "loss": f.name, **columns})
    return _table(blocks, len(scales))


def _table(blocks: list[dict[str, object]], rows: int) -> SolutionGrid:
    """Blocks of so many rows one below another; what is no list or array is the same in all rows of its block."""
    import pandas as pd

    from gpo_analysis.showing.tables import SolutionGrid

    columns = {}
    for name in blocks[0]:
        values = [block[name] for block in blocks]
        if any(isinstance(value, list | np.ndarray) for value in values):
            full = [value if isinstance(value, list | np.ndarray) else [value] * rows for value in values]
            columns[name] = pd.Series(np.concatenate([np.asarray(one) for one in full]))
        else:
            columns[name] = pd.Series(values).repeat(rows).reset_index(drop=True)
    return SolutionGrid(columns)


def _solved_at_each(solutions: list[Solution]) -> dict[str, object]:
    """Columns of a loss of two log-ratios, a row a β."""
    names = ("beta", "link", "population_loss", "kl", "mu_squared_loss", "max_margin", "converged")
    rest = ("reason", "iterations", "error")
    columns: dict[str, object] = {name: [getattr(s, name) for s in solutions] for name in names}
    columns["status"] = [s.status.value for s in solutions]
    return columns | {name: [getattr(s, name) for s in solutions] for name in rest}


def _named(
    problems: PreferenceProblem | Sequence[PreferenceProblem] | Mapping[str, PreferenceProblem],
) -> dict[int | str, PreferenceProblem]:
    named: dict[int | str, PreferenceProblem]
    if isinstance(problems, PreferenceProblem):
        named = {0: problems}
    elif isinstance(problems, Mapping):
        named = dict(problems.items())
    elif isinstance(problems, Iterable):
        named = dict(enumerate(problems))
    else:
        raise ValueError(
            f"problems is {type(problems).__name__}; accepted are PreferenceProblems (of comparisons: "
            "PreferenceProblem.from_comparisons)"
        )
    for name, problem in named.items():
        if not isinstance(problem, PreferenceProblem):
            raise ValueError(f"problem {name!r} is {type(problem).__name__}; accepted are PreferenceProblems")
    return named


def _several(values: Any, single: tuple[type, ...], what: str) -> list[Any]:
    if isinstance(values, single):
        return [values]
    if not isinstance(values, Iterable):
        raise ValueError(f"{what} is {values!r}; accepted is one, or several in a list")
    return list(values)


def _columns(found: Fit, betas: FloatArray, link: GeneratorDerivative) -> dict[str, object]:
    """Columns for all βs of one fit; KL and ½E[ρ²] are vectorised over β where the link is the log."""
    if found.converged and link.name != "reverse_kl":
        solved = [found.solution(float(beta), link) for beta in betas]
        kl, squared = np.array([s.kl for s in solved]), np.array([s.mu_squared_loss for s in solved])
    else:
        kl, squared = found.kl(betas), found.half_square(float(betas[0])) * (betas[0] / betas) ** 2
    return {
        "beta": betas,
        "link": link.name,
        "population_loss": found.value,
        "kl": kl,
        "mu_squared_loss": squared,
        "max_margin": float(np.max(np.abs(found.margins), initial=0.0)),
        "converged": found.converged,
        "status": found.status.value,
        "reason": found.reason,
        "iterations": found.iterations,
        "error": found.error,
    }
