"""The guard's checks of rows that are no margin losses: of two log-ratios, and of a batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpo_analysis.analysis import BetaConvention
from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.identify import Pairs
from gpo_analysis.integrations.trl_losses import REFERENCE_NATS, TrlLosses
from gpo_analysis.losses import TwoRatioLoss, get_batch_loss, get_margin_loss, get_two_ratio_loss, two_ratio_losses

BETAS = (0.07, 0.9)
SMOOTHINGS = (0.0, 0.1, 0.3)
TOLERANCE = 1e-6
"""Largest accepted difference between dictionary and TRL, relative to 1 + |loss|."""


def random_pairs(beta: float, count: int = 48, seed: int = 0) -> Pairs:
    """Pairs whose margins βρ reach well beyond 1, over token sums in one half and over token means in the other.

    Parameters
    ----------
    beta : float
    count : int
    seed : int
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 20, (2, count)).astype(np.float64)
    ratios = rng.normal(0.0, 1.5 / beta, (2, count))
    chosen, rejected = np.where(np.arange(count) % 2 == 0, ratios, ratios * lengths)
    return Pairs(chosen, rejected, lengths[0], lengths[1])


def equal(a: FloatArray, b: FloatArray, tolerance: float = TOLERANCE) -> bool:
    """Whether values agree to within ``tolerance`` (1 + \\|b\\|), infinite ones exactly.

    Parameters
    ----------
    a, b : array, shape (k,)
    tolerance : float
    """
    both = np.isfinite(a) & np.isfinite(b)
    close = np.abs(np.where(both, a - b, 0.0)) <= tolerance * (1 + np.abs(np.where(both, b, 0.0)))
    return bool(np.all(np.where(both, close, a == b)))


def lengths(pairs: Pairs) -> tuple[FloatArray, FloatArray]:
    """Tokens of the chosen and of the rejected."""
    assert pairs.chosen_length is not None
    assert pairs.rejected_length is not None
    return pairs.chosen_length, pairs.rejected_length


def pair_values(row: BetaConvention, pairs: Pairs, beta: float, epsilon: float = 0.0) -> FloatArray:
    """What a row of two log-ratios says of each pair, shape (k,).

    Parameters
    ----------
    row : BetaConvention
    pairs : Pairs
    beta, epsilon : float
    """
    chosen_length, rejected_length = lengths(pairs)
    w, l = pairs.chosen, pairs.rejected  # noqa: E741
    if row.ratio == "means":
        w, l = w / chosen_length, l / rejected_length  # noqa: E741
    scale = row.to_gpo(beta)
    loss = row.pair_loss(epsilon)
    assert isinstance(loss, TwoRatioLoss)
    found = np.asarray(row.loss_scale(beta) * loss(scale * w, scale * l))
    # likelihood is of π alone, less that of πref
    return found + REFERENCE_NATS if row.loss == "sft" else found


def pair_faults(losses: TrlLosses, name: str, row: BetaConvention) -> Iterator[str]:
    """What differs between a row of two log-ratios and TRL's values.

    Parameters
    ----------
    losses : TrlLosses
    name : str
    row : BetaConvention
    """
    for beta in BETAS:
        pairs = random_pairs(beta, count=20)
        for epsilon in SMOOTHINGS[:2]:
            values, expected = losses.values(pairs, name, beta, epsilon), pair_values(row, pairs, beta, epsilon)
            if equal(expected, values):
                continue
            worst = float(np.nanmax(np.abs(expected - values)))
            at = f"at β = {beta:g}, label_smoothing = {epsilon:g}"
            yield f"{at}: values differ by up to {worst:.6g}{_recognised(pairs, values, beta)}"
        share = lengths(pairs)[0] if row.loss == "sft" else np.ones(len(pairs.chosen))  # of a mean over tokens
        mean = float(np.average(losses.values(pairs, name, beta), weights=share))
        whole = losses.batch(pairs, loss_type=[name], beta=beta, label_smoothing=0.0)
        if abs(whole - mean) > TOLERANCE * (1 + abs(whole)):
            yield f"at β = {beta:g}: the loss of a batch, {whole:.6g}, is not the mean over its pairs, {mean:.6g}"


def _recognised(pairs: Pairs, values: FloatArray, beta: float) -> str:
    """ "; TRL trains …" where the values are a multiple of a known loss of two log-ratios at this β."""
    for name in two_ratio_losses():
        f = get_two_ratio_loss(name)(beta * pairs.chosen, beta * pairs.rejected)
        scale = float(f @ values / (f @ f))
        if equal(scale * f, values):
            return f"; TRL trains {scale:.6g} · {name} at β = {beta:g}"
    return "; TRL's values are those of no loss of two log-ratios that is known"


def batch_faults(losses: TrlLosses, name: str, row: BetaConvention) -> Iterator[str]:
    """What differs between a row of a batch and TRL's losses of whole batches.

    Parameters
    ----------
    losses : TrlLosses
    name : str
    row : BetaConvention
    """
    for beta in BETAS:
        for epsilon in SMOOTHINGS:
            for seed in range(3):
                pairs = random_pairs(beta, count=16, seed=seed)
                found = losses.batch(pairs, loss_type=[name], beta=beta, label_smoothing=epsilon)
                expected = batch_value(row, pairs, beta, epsilon)
                if abs(found - expected) > TOLERANCE * (1 + abs(found)):
                    at = f"at β = {beta:g}, label_smoothing = {epsilon:g}"
                    yield f"{at}: a batch has {expected:.6g} in the dictionary, {found:.6g} in TRL"
                    break


def batch_value(row: BetaConvention, pairs: Pairs, beta: float, epsilon: float = 0.0) -> float:
    """What a row of a batch says of it.

    Parameters
    ----------
    row : BetaConvention
    pairs : Pairs
    beta, epsilon : float
    """
    smoothed = bool(epsilon) and row.smoothing == "smoothed"
    f = get_margin_loss("logistic").smoothed(epsilon) if smoothed else None
    reference = [-REFERENCE_NATS * length for length in lengths(pairs)]
    loss = get_batch_loss(str(row.loss), f)
    policy = pairs.chosen + reference[0], pairs.rejected + reference[1]
    each = loss(policy[0], policy[1], reference[0], reference[1], row.to_gpo(beta))
    return float(row.loss_scale(beta) * np.mean(each))
