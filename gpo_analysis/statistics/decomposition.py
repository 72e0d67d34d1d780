"""How much of an outcome's variance is due to which factor of a balanced factorial experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.showing import Shown


def variance_shares(outcome: ArrayLike, factors: Sequence[str], *, within: bool = True) -> dict[str, float]:
    """Shares of the sum of squares of every factor, every interaction, and the repetitions.

    In a balanced layout the total sum of squares about the mean is the sum of those of the effects (Fisher 1925); the
    effect of a set of factors is the mean over the others, less the effects of its subsets.

    Parameters
    ----------
    outcome : array, shape (a, b, …, r)
        One axis a factor, in the order of `factors`; with `within` a last axis of r repetitions. No NaN.
    factors : sequence of str
        Names, one an axis.
    within : bool
        Whether the last axis holds repetitions; their share is called ``"within"``.

    Returns
    -------
    dict of str to float
        ``"a"``, ``"b"``, ``"a:b"``, …, ``"within"``, adding up to 1; all NaN where nothing varies.

    Raises
    ------
    ValueError
        For axes that do not fit the names, or values that are not finite.

    Examples
    --------
    >>> variance_shares([[0.0, 1.0], [0.0, 1.0]], ["f", "beta"], within=False)
    {'f': 0.0, 'beta': 1.0, 'f:beta': 0.0}
    """
    y = _checked(outcome, factors, within, "repetitions")
    cell = y.mean(axis=-1) if within else y
    repeated = y.size / cell.size
    squares = {name: repeated * value for name, value in _squares(cell, factors).items()}
    if within:
        squares["within"] = float(np.sum((y - cell[..., None]) ** 2))
    total = float(np.sum((y - y.mean()) ** 2))
    return {name: value / total if total > 0 else np.nan for name, value in squares.items()}


@dataclass(frozen=True)
class Effect(Shown):
    """An effect of an analysis of variance.

    Attributes
    ----------
    squares, degrees : float, int
        Sum of squares and its degrees of freedom.
    f, p : float
        Fisher's ratio of mean squares and its tail probability; NaN where there is no test.
    omega : float
        ω², the estimated share of the variance; below 0 where the effect is smaller than its noise.
    """

    squares: float
    degrees: int
    f: float
    p: float
    omega: float


def anova(outcome: ArrayLike, factors: Sequence[str], *, blocks: str = "") -> dict[str, Effect]:
    """Fisher's F and ω² of every effect of a balanced layout of fixed factors.

    Without ``blocks`` the last axis holds independent repetitions, and every effect is held against the variance
    within cells. With ``blocks`` the last axis goes over blocks that were drawn at random and saw every cell once
    (seeds that trained all of a grid): an effect A is held against its interaction with the blocks, and so on, for that
    is what redrawing blocks changes of it. Expected mean squares give the components, with a levels of A among N
    values, and blocks of c cells,

        θ²_A = (a − 1)(MS_A − MS_error)/N,   σ²_block = (MS_block − MS_rest)/c,   ω² = component/sum of components

    (Vaughan and Corballis 1969, Psychological Bulletin 72, 204; without blocks ω²_A is Hays' (SS_A − df_A MS_e)/(SS_T
    + MS_e)). MS_rest is that of the interaction of the blocks with all factors, with which their noise is mixed.

    Parameters
    ----------
    outcome : array, shape (a, b, …, r)
        One axis a factor, in the order of ``factors``, and a last one of r ≥ 2 repetitions or blocks. No NaN.
    factors : sequence of str
        Names, one an axis.
    blocks : str
        Name of the blocks; empty: repetitions.

    Returns
    -------
    dict of str to Effect
        ``"a"``, ``"b"``, ``"a:b"``, …, then ``"within"``, or the blocks' name and ``"rest"``, all of their
        interactions. The ω² add up to 1.

    Raises
    ------
    ValueError
        For axes that do not fit the names, one level of a factor, one repetition, or values that are not finite.

    Examples
    --------
    >>> found = anova([[[4.0, 6.0], [5.0, 5.0]], [[9.0, 11.0], [10.0, 10.0]]], ["f", "beta"])
    >>> round(found["f"].f, 6), found["f"].degrees, round(found["f"].omega, 3)
    (50.0, 1, 0.891)
    """
    y = _checked(outcome, factors, True, blocks or "repetitions")
    if min(y.shape) < 2:
        raise ValueError(f"outcome has the shape {y.shape}; accepted is two or more along every axis")
    names = [*factors, blocks or "within"]
    squares = _squares(y, names)
    size = dict(zip(names, y.shape, strict=True))
    degrees = {name: int(np.prod([size[part] - 1 for part in name.split(":")])) for name in squares}
    last = names[-1]
    noise = [name for name in squares if last in name.split(":")]
    pooled = sum(squares[name] for name in noise) / sum(degrees[name] for name in noise)
    mean = {name: squares[name] / degrees[name] for name in squares}
    fixed = [name for name in squares if name not in noise]
    error = {name: (f"{name}:{last}", mean[f"{name}:{last}"], degrees[f"{name}:{last}"]) for name in fixed}
    if not blocks:
        error = dict.fromkeys(fixed, ("within", pooled, sum(degrees[name] for name in noise)))
    component = {name: degrees[name] * (mean[name] - error[name][1]) / y.size for name in fixed}
    rest = {last: pooled} if not blocks else _block_components(mean, size, noise, last, y.size)
    total = sum(component.values()) + sum(rest.values())
    found = {name: _tested(squares[name], degrees[name], *error[name][1:], component[name] / total) for name in fixed}
    if not blocks:
        found["within"] = Effect(sum(squares[k] for k in noise), sum(degrees[k] for k in noise), np.nan, np.nan,
                                 pooled / total)  # fmt: skip
        return found
    others = [name for name in noise if name != last]
    found[last] = Effect(squares[last], degrees[last], np.nan, np.nan, rest[last] / total)
    share = sum(rest[name] for name in others) / total
    found["rest"] = Effect(
        sum(squares[k] for k in others), sum(degrees[k] for k in others), np.nan, np.nan, share
    )  # fmt: skip
    return found


def _block_components(
    mean: dict[str, float], size: dict[str, int], noise: Sequence[str], last: str, count: int
) -> dict[str, float]:
    """Variances of blocks and of their interactions, each over the interaction of the blocks with all factors."""
    finest = max(noise, key=lambda name: name.count(":"))
    found = {}
    for name in noise:
        seen = count / np.prod([size[part] for part in name.split(":")])  # values in each level of the effect
        levels = np.prod([1 - 1 / size[part] for part in name.split(":") if part != last])  # fixed ones sum to 0
        found[name] = float(mean[name] if name == finest else levels * (mean[name] - mean[finest]) / seen)
    return found


def _tested(squares: float, degrees: int, error: float, error_degrees: int, omega: float) -> Effect:
    from scipy.stats import f as fisher

    ratio = squares / degrees / error if error > 0 else np.nan
    return Effect(squares, degrees, float(ratio), float(fisher.sf(ratio, degrees, error_degrees)), float(omega))


def _checked(outcome: ArrayLike, factors: Sequence[str], last: bool, what: str) -> FloatArray:
    y = np.asarray(outcome, dtype=np.float64)
    if y.ndim != len(factors) + last:
        raise ValueError(
            f"outcome has {y.ndim} axes; expected {len(factors) + last}, one for each of {list(factors)}"
            + (f" and one of {what}" if last else "")
        )
    if not np.isfinite(y).all():
        raise ValueError(f"outcome must be finite; {int((~np.isfinite(y)).sum())} of {y.size} values are not")
    return y


def _squares(y: FloatArray, names: Sequence[str]) -> dict[str, float]:
    """Sums of squares of every effect of an array with an axis a factor (Fisher 1925)."""
    effects: dict[tuple[int, ...], FloatArray] = {(): np.asarray(y.mean(keepdims=True)).reshape((1,) * y.ndim)}
    squares: dict[str, float] = {}
    for order in range(1, y.ndim + 1):
        for chosen in combinations(range(y.ndim), order):
            others = tuple(axis for axis in range(y.ndim) if axis not in chosen)
            effect = y.mean(axis=others, keepdims=True)
            for smaller in range(order):
                for subset in combinations(chosen, smaller):
                    effect = effect - effects[subset]
            effects[chosen] = effect
            squares[":".join(names[k] for k in chosen)] = float(np.sum(effect**2)) * y.size / effect.size
    return squares
