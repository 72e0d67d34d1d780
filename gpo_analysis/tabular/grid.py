"""Many problems × losses (× βs) at once: one fit a problem and loss serves every β, and problems share iterations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpo_analysis.arrays import AT_ONCE, FloatArray
from gpo_analysis.divergences import GeneratorDerivative, get_link
from gpo_analysis.losses import Loss, MarginLoss, distinct_losses, get_margin_losses, warn_of_rising
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.progress import Progress, followed
from gpo_analysis.tabular.implicit_reward import Fit, fitted, over, spread, tilted_kl
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.tabular.solution import Solution
from gpo_analysis.tabular.two_ratio import solved

if TYPE_CHECKING:
    from gpo_analysis.showing.tables import SolutionGrid

#: Two responses of more than this share each make a pair that has weight.
LEAST_DRAWN = 1e-150


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
    warn_of_rising(functions)
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
        Each name once.
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
    functions = distinct_losses(losses)
    warn_of_rising(functions)
    scales = np.array([check_positive(b, "beta") for b in _several(betas, (int, float, np.number), "betas")])
    if not named or not len(scales):
        raise ValueError("solve_grid needs at least one problem and one beta")
    chosen = get_link(link)
    margin = [f for f in functions if isinstance(f, MarginLoss)]
    found = fitted(list(named.values()), margin) if margin else []
    fits = iter(zip(found, _measured(found, scales, chosen), strict=True))
    blocks = []
    for name, problem in followed(named.items(), progress, "problems"):
        for f in functions:
            columns = _columns(*next(fits), scales, chosen.name) if isinstance(f, MarginLoss) else {}
            columns = columns or _solved_at_each([solved(problem, f, float(beta), chosen) for beta in scales])
            blocks.append({"problem": name, "loss": f.name, **columns})
    return _table(blocks, len(scales))


def _table(blocks: list[dict[str, object]], rows: int) -> SolutionGrid:
    """Blocks of so many rows one below another; what is no list or array is the same in all rows of its block."""
    import pandas as pd

    from gpo_analysis.showing.tables import SolutionGrid

    columns: dict[str, Any] = {}
    for name in blocks[0]:
        values = [block[name] for block in blocks]
        if any(isinstance(value, list | np.ndarray) for value in values):
            full = [value if isinstance(value, list | np.ndarray) else [value] * rows for value in values]
            columns[name] = np.concatenate([np.asarray(one) for one in full])
        else:
            numbers = all(type(value) is float for value in values)
            columns[name] = (np.array(values) if numbers else pd.Series(values).array).repeat(rows)
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


class _Measured(NamedTuple):
    """Of one fit: KL and ½E[ρ²] at each β, shape (betas,), and the largest margin."""

    kl: FloatArray
    squared: FloatArray
    largest_margin: float


def _measured(fits: list[Fit], betas: FloatArray, link: GeneratorDerivative) -> list[_Measured]:
    """What is measured of each fit; for the log link of those of one size together."""
    found: dict[int, _Measured] = {}
    sizes: dict[int, list[int]] = {}
    for k, one in enumerate(fits):
        if one.converged and link.name != "reverse_kl":
            solved = [one.solution(float(beta), link) for beta in betas]
            kl, squared = (np.array([getattr(s, name) for s in solved]) for name in ("kl", "mu_squared_loss"))
            found[k] = _Measured(kl, squared, _largest_margin(one))
        elif one.converged and len(one.minima) == 1 and not one.problem.is_sparse:
            sizes.setdefault(one.problem.n, []).append(k)
        else:
            squared = square_at_each(np.asarray(one.half_square(1.0)), betas)
            found[k] = _Measured(one.kl(betas), squared, _largest_margin(one))
    for n, members in sizes.items():
        rows = max(1, AT_ONCE // (n * len(betas)))
        for first in range(0, len(members), rows):
            part = members[first : first + rows]
            found |= zip(part, _measured_together([fits[k] for k in part], betas), strict=True)
    return [found[k] for k in range(len(fits))]


def _measured_together(fits: list[Fit], betas: FloatArray) -> list[_Measured]:
    """The same of fits of one size, without contexts, that have an answer, for the log link."""
    reward = np.stack([one.minima[0].reward for one in fits])
    reference, mu = (
        np.stack([np.ravel(getattr(one.problem, name)) for one in fits]) for name in ("reference", "behavior")
    )
    at_each = over(reward[:, None, :], betas[:, None])
    highest = reward.max(axis=1, keepdims=True)
    kl = tilted_kl(at_each, reference[:, None, :], (highest / betas)[..., None])
    squared = square_at_each(spread(mu, reward)[:, None], betas)
    range_of_all = (highest[:, 0] - reward.min(axis=1)).tolist()
    drawn = (mu.min(axis=1) > LEAST_DRAWN).tolist()  # each with each, so that all pairs have weight
    return [
        _Measured(kl[k], squared[k], range_of_all[k] if drawn[k] else _largest_margin(one))
        for k, one in enumerate(fits)
    ]


def square_at_each(at_one: FloatArray, betas: FloatArray) -> FloatArray:
    """½E[ρ²] at each β of what it is at β = 1; where no float holds it, inf or 0."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(at_one / betas / betas)


def _columns(found: Fit, measured: _Measured, betas: FloatArray, link: str) -> dict[str, object]:
    """Columns for all βs of one fit."""
    said = found.minima[0] if len(found.minima) == 1 else found
    return {
        "beta": betas,
        "link": link,
        "population_loss": said.value,
        "kl": measured.kl,
        "mu_squared_loss": measured.squared,
        "max_margin": measured.largest_margin,
        "converged": said.converged,
        "status": said.status.value,
        "reason": said.reason,
        "iterations": said.iterations,
        "error": said.error,
    }


def _largest_margin(found: Fit) -> float:
    return float(np.max(np.abs(found.margins), initial=0.0))
