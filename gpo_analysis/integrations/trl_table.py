"""Every loss_type and divergence of the installed TRL, and what is done with it here, each cell computed.

Columns: the largest difference between TRL's executed values and ours; the same of gradients in log π; κ or the form of
F; the exact optimum of a small Bradley–Terry problem beside scipy's constrained solver (:mod:`.trl_optima`), or the
reason why there is none; how close the gradient flow from πref comes to it; values and gradients of what
:class:`.GPOTrainer` trains. A cell holds or fails by the tolerances below, or has a reason and is None.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from gpo_analysis.analysis import BetaConvention, analyze, get_convention, list_conventions
from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import GeneratorDerivative
from gpo_analysis.estimation.identify import Pairs
from gpo_analysis.integrations.guard import ALPHAS, LINKS
from gpo_analysis.integrations.guard_pairs import batch_value, lengths, pair_values, random_pairs
from gpo_analysis.integrations.objective import Objective, PairSums, pair_losses
from gpo_analysis.integrations.trl_losses import REFERENCE_NATS, TrlLosses
from gpo_analysis.integrations.trl_optima import (
    Cell,
    dynamics_cell,
    link_dynamics_cell,
    link_optimum_cell,
    optimum_cell,
)
from gpo_analysis.losses import MarginLoss, TwoRatioLoss, get_batch_loss, get_margin_loss
from gpo_analysis.progress import Progress, followed
from gpo_analysis.showing import Shown

COLUMNS = ("value", "gradient", "form", "optimum", "dynamics", "trainer")
BETA = 0.5
VALUE = 1e-6
"""Largest accepted difference of values and gradients, relative to 1 + their size."""
#: GPOTrainer's name of TRL's divergences; its "alpha" is TRL's at the coefficient ½.
TRAINED_LINKS = {
    "reverse_kl": "reverse_kl",
    "forward_kl": "forward_kl",
    "js_divergence": "jensen_shannon",
    "alpha_divergence": "alpha",
}


@dataclass(frozen=True)
class TableRow(Shown):
    """One loss_type or divergence.

    Attributes
    ----------
    name : str
        TRL's, a divergence with "f_divergence:" before it.
    value, gradient, form, optimum, dynamics, trainer : Cell
        Text, and whether it holds; None where the text is a reason or a statement.
    """

    name: str
    value: Cell
    gradient: Cell
    form: Cell
    optimum: Cell
    dynamics: Cell
    trainer: Cell

    @property
    def holds(self) -> bool:
        """Whether no cell fails."""
        return all(getattr(self, column).holds is not False for column in COLUMNS)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    _no_plot = "it is a row of verdicts in words"

    def _facts(self) -> list[tuple[str, Any]]:
        return [("name", self.name), *((column, getattr(self, column).text) for column in COLUMNS)]


def trl_table(names: tuple[str, ...] | None = None, *, progress: bool | Progress = False) -> list[TableRow]:
    """The table of the installed TRL.

    Parameters
    ----------
    names : tuple of str, optional
        Rows to make, by default all.
    progress : bool or function
        A bar where standard error is a terminal, or a function of the share done and what is next.

    Returns
    -------
    list of TableRow

    Examples
    --------
    >>> [row.name for row in trl_table() if not row.holds]  # doctest: +SKIP
    []
    """
    losses = TrlLosses()
    rows: dict[str, Callable[[], TableRow]] = {}
    covered = {item.name for item in list_conventions()}
    for name in losses.names():
        rows[name] = partial(_row, losses, name) if f"trl:{name}" in covered else partial(_bare, name)
    for name in losses.divergences():
        rows[f"f_divergence:{name}"] = partial(_divergence, losses, name)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        asked = [(name, make) for name, make in rows.items() if names is None or name in names]
        return [make() for _, make in followed(asked, progress, "rows")]


def _bare(name: str) -> TableRow:
    cell = Cell(f"the dictionary has no row trl:{name}", False)
    return TableRow(name, *(cell for _ in COLUMNS))


def _epsilon(row: BetaConvention) -> float:
    """The label smoothing of a row's cells: one that counts where there is one."""
    return 0.1 if row.smoothing in ("robust", "exo", "smoothed") else 0.0


def _row(losses: TrlLosses, name: str) -> TableRow:
    row, epsilon = get_convention(f"trl:{name}"), _epsilon(get_convention(f"trl:{name}"))
    pairs = random_pairs(BETA, count=24)
    settings = {"loss_type": [name], "beta": BETA, "label_smoothing": epsilon}
    theirs = losses.gradient(pairs, **settings)
    ours = _gradient(row, pairs, epsilon)
    value = _value_cell(losses, row, name, pairs, epsilon)
    return TableRow(
        name,
        value,
        _difference(ours, theirs),
        _form(row, epsilon),
        optimum_cell(row, epsilon),
        dynamics_cell(row, epsilon),
        _trainer_cell(losses, row, name, pairs, epsilon),
    )


def _value_cell(losses: TrlLosses, row: BetaConvention, name: str, pairs: Pairs, epsilon: float) -> Cell:
    if row.kind == "batch":
        whole = losses.batch(pairs, loss_type=[name], beta=BETA, label_smoothing=epsilon)
        return _difference(np.array([batch_value(row, pairs, BETA, epsilon)]), np.array([whole]))
    found = losses.values(pairs, name, BETA, epsilon)
    if row.kind == "two log-ratios":
        return _difference(pair_values(row, pairs, BETA, epsilon), found)
    expected = row.loss_scale(BETA) * row.margin_loss(epsilon)(row.to_gpo(BETA) * pairs.rho(row.ratio))
    return _difference(expected, found)


def _gradient(row: BetaConvention, pairs: Pairs, epsilon: float) -> FloatArray:
    """d(mean loss)/d log π of chosen and rejected, (k, 2), from the derivatives of f or F."""
    count, scale, beta = len(pairs.chosen), row.loss_scale(BETA), row.to_gpo(BETA)
    own = lengths(pairs) if row.ratio == "means" else (np.ones(count), np.ones(count))
    if row.kind == "batch":
        return _batch_gradient(row, pairs, epsilon)
    if row.kind == "margin":
        z = beta * pairs.rho(row.ratio)
        slope = row.margin_loss(epsilon).derivative(z)
        pulls = (slope, -slope)
    else:
        loss = row.pair_loss(epsilon)
        assert isinstance(loss, TwoRatioLoss)
        pulls = loss.gradient(beta * pairs.chosen / own[0], beta * pairs.rejected / own[1])
    share = 1.0 / count
    if row.loss == "sft":  # of a mean over tokens
        return np.stack([pulls[0] * beta / lengths(pairs)[0].sum(), 0.0 * pulls[1]], axis=1)
    return np.stack([share * scale * beta * pull / length for pull, length in zip(pulls, own, strict=True)], axis=1)


def _batch_gradient(row: BetaConvention, pairs: Pairs, epsilon: float) -> FloatArray:
    """f′ at each rank, given back to the responses of that rank."""
    f = get_margin_loss("logistic").smoothed(epsilon) if epsilon else get_margin_loss("logistic")
    reference = [-REFERENCE_NATS * length for length in lengths(pairs)]
    loss = get_batch_loss(str(row.loss), f)
    columns = loss.columns(pairs.chosen + reference[0], pairs.rejected + reference[1], *reference)
    orders = [np.argsort(column, kind="stable") for column in columns]
    gaps = columns[0][orders[0]] - columns[1][orders[1]]
    slope = BETA * f.derivative(BETA * gaps) / len(gaps)
    pulled = [np.empty_like(slope) for _ in orders]
    for pull, order in zip(pulled, orders, strict=True):
        pull[order] = slope
    # aot: both responses of a pair stand in one column; unpaired: a column each
    return np.stack([pulled[0], -pulled[0] if row.loss == "aot" else -pulled[1]], axis=1)


def _form(row: BetaConvention, epsilon: float) -> Cell:
    if row.kind == "batch":
        return Cell("large batches: ∫₀¹ f(β [Q_A(u) − Q_B(u)]) du, the quantile coupling", None)
    loss = row.pair_loss(epsilon)
    if isinstance(loss, MarginLoss):
        at = f" at ε = {epsilon:g}" if epsilon else ""
        try:
            return Cell(f"f = {loss.name}, κ = {float(loss.curvature_ratio):.6g}{at}", None)
        except ValueError as reason:
            return Cell(f"f = {loss.name}: {reason}", None)
    found = analyze(loss)
    own = ", ".join(f"{float(pull):g}" for pull in found.own_pulls)
    alone, many = float(found.curvature_ratio), float(found.population_curvature_ratio)
    return Cell(f"F(a, b): κ = {alone:g} along the margin, {many:g} in a population, pulls of a and b {own}", None)


def _difference(ours: Any, theirs: Any, tolerance: float = VALUE) -> Cell:
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    worst = float(np.max(np.abs(a - b)[both] / (1 + np.abs(b[both])), initial=0.0))
    same = bool(np.array_equal(a[~both], b[~both], equal_nan=True))
    return Cell(f"differs by {worst:.1e}", worst <= tolerance and same)


def _trainer_cell(losses: TrlLosses, row: BetaConvention, name: str, pairs: Pairs, epsilon: float) -> Cell:
    """Value and gradient of the function that GPOTrainer descends, beside TRL's."""
    if row.loss == "sft":  # GPOTrainer's mean is over pairs: the same where all responses are as long
        long = np.full(len(pairs.chosen), 7.0)
        pairs = Pairs(pairs.chosen, pairs.rejected, long, long)
    objective: Objective
    if row.kind == "batch":
        objective = get_batch_loss(name, get_margin_loss("logistic").smoothed(epsilon))
    else:
        objective = row.pair_loss(epsilon)
    value, gradient = _trained(objective, row.to_gpo(BETA), pairs, "mean" if row.ratio == "means" else "sum")
    scale = row.loss_scale(BETA)
    settings = {"loss_type": [name], "beta": BETA, "label_smoothing": epsilon}
    constant = REFERENCE_NATS if row.loss == "sft" else 0.0
    found = _difference(
        np.append(scale * gradient, scale * value + constant),
        np.append(losses.gradient(pairs, **settings), losses.batch(pairs, **settings)),
    )
    said = "" if scale == 1 else f", times {scale:g}"
    said += ", reduction='mean'" if row.ratio == "means" else ""
    said += ", up to a constant, for responses of one length" if row.loss == "sft" else ""
    shown = name if row.kind == "batch" else objective.name
    return Cell(f"loss={shown!r} at β = {row.to_gpo(BETA):g}{said}: {found.text}", found.holds)


def _trained(
    objective: Objective,
    beta: float,
    pairs: Pairs,
    reduction: str,
    link: str = "reverse_kl",
    dtype: Any = torch.float64,
) -> tuple[float, FloatArray]:
    """GPOTrainer's loss of a batch and its gradient in log π, (k, 2)."""
    length = torch.tensor(np.stack(lengths(pairs), axis=1), dtype=dtype)
    reference = -REFERENCE_NATS * length
    logps = torch.tensor(np.stack([pairs.chosen, pairs.rejected], axis=1), dtype=dtype) + reference
    logps.requires_grad_(True)
    loss = pair_losses(objective, beta, PairSums(logps, reference, length), reduction=reduction, link=link).mean()
    (gradient,) = torch.autograd.grad(loss, logps)
    return float(loss.detach()), np.asarray(gradient.double().numpy())


def _divergence(losses: TrlLosses, name: str) -> TableRow:
    """A divergence, with the sigmoid loss of its scores; TRL's α-divergence is computed in float32."""
    link: GeneratorDerivative = LINKS[name](0.5)
    dtype = torch.float32 if name == "alpha_divergence" else torch.float64
    whole = random_pairs(1.0, count=24)
    one = np.ones_like(whole.chosen)
    pairs = Pairs(np.clip(whole.chosen, -2, 2), np.clip(whole.rejected, -2, 2), one, one)
    settings = {"loss_type": ["sigmoid"], "beta": BETA, "label_smoothing": 0.0, "f_divergence_type": name}
    coefficients = ALPHAS if name == "alpha_divergence" else (0.5,)
    values, slopes = [], []
    for coefficient in coefficients:
        here = LINKS[name](coefficient)
        given = settings | {"f_alpha_divergence_coef": coefficient}
        z = BETA * (here.of_log(pairs.chosen) - here.of_log(pairs.rejected))
        by_pair = losses.values(pairs, "sigmoid", BETA, dtype=dtype, **_without(given))
        values.append(_difference(np.logaddexp(0.0, -z), by_pair))
        pull = -BETA / (1 + np.exp(z)) / len(z)
        # dφ′(e^s)/ds = t φ″(t)
        steep = [here.derivative(np.exp(s)) * np.exp(s) for s in (pairs.chosen, pairs.rejected)]
        ours = np.stack([pull * steep[0], -pull * steep[1]], axis=1)
        slopes.append(_difference(ours, losses.gradient(pairs, dtype=dtype, **given)))
    trained = _trained(get_margin_loss("logistic"), BETA, pairs, "sum", TRAINED_LINKS[name], dtype)
    theirs = losses.gradient(pairs, dtype=dtype, **settings, f_alpha_divergence_coef=0.5)
    whole_value = losses.batch(pairs, dtype=dtype, **settings, f_alpha_divergence_coef=0.5)
    found = _difference(np.append(trained[1], trained[0]), np.append(theirs, whole_value))
    at = " at α = ½ alone" if name == "alpha_divergence" else ""
    return TableRow(
        f"f_divergence:{name}",
        _worst(values),
        _worst(slopes),
        Cell(f"φ′(t) = {link.formula} in the place of log t" + (", α being TRL's coefficient ½" if at else ""), None),
        link_optimum_cell(link),
        link_dynamics_cell(link),
        Cell(f"link={TRAINED_LINKS[name]!r}{at}: {found.text}", found.holds),
    )


def _without(settings: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in settings.items() if k not in ("loss_type", "beta", "label_smoothing")}


def _worst(cells: list[Cell]) -> Cell:
    failing = [cell for cell in cells if cell.holds is False]
    return failing[0] if failing else max(cells, key=lambda cell: float(cell.text.rpartition(" ")[2]))
