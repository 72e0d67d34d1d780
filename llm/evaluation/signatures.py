"""Failures of a training run, in words."""

from __future__ import annotations

from collections.abc import Mapping

SIGNATURES: Mapping[str, str] = {
    "collapse": "the policy's entropy fell below a quarter of the reference's: nearly deterministic",
    "instability": "the held-out loss is above that of πref, and KL above 0.1 nats: training made the fit worse",
    "worse than πref": "the win rate's interval lies below ½",
    "runaway": "more than a tenth of the responses do not end within the limit of tokens, and they are a tenth longer "
    "than the reference's on average: mass has left for responses that nobody compared",
    "underfit": "KL below 0.02 nats and the win rate's interval holds ½: the policy hardly left πref",
    "limited by the learning rate": "f′(βρ) stayed within 10 % of f′(0): f was linear over the run, so that the "
    "losses differ by the scale of their gradients alone",
}
"""What each word means; the thresholds are ours."""


def signature(row: Mapping[str, float]) -> str:
    """Words of `SIGNATURES` that fit an evaluation, separated by ``; ``, or ``"none"``.

    Parameters
    ----------
    row : mapping
        Columns of `llm.evaluation.evaluate`: ``entropy``, ``reference_entropy``, ``held_out_loss``, ``loss_at_zero``,
        ``kl``, ``win_rate_low``, ``win_rate_high``, ``finished``, ``length``, ``reference_length``,
        ``relative_error_1``.

    Examples
    --------
    >>> signature({"entropy": 1.0, "reference_entropy": 9.0, "held_out_loss": 0.9, "loss_at_zero": 0.7, "kl": 8.0,
    ...            "win_rate_low": 0.2, "win_rate_high": 0.3, "finished": 0.99, "length": 10.0,
    ...            "reference_length": 10.0, "relative_error_1": 2.0})
    'collapse; instability; worse than πref'
    """
    found = []
    if row["entropy"] < 0.25 * row["reference_entropy"]:
        found.append("collapse")
    if row["held_out_loss"] > row["loss_at_zero"] and row["kl"] > 0.1:
        found.append("instability")
    if row["win_rate_high"] < 0.5:
        found.append("worse than πref")
    if row["finished"] < 0.9 and row["length"] > 1.1 * row["reference_length"]:
        found.append("runaway")
    if row["kl"] < 0.02 and row["win_rate_low"] <= 0.5 <= row["win_rate_high"]:
        found.append("underfit")
    if row["relative_error_1"] < 0.1:
        found.append("limited by the learning rate")
    return "; ".join(found) or "none"
