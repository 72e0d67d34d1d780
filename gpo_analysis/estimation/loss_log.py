"""A training log with the loss beside margins or log-ratios, read for an audit of what was trained.

Three kinds are read: a row a pair with its own loss; a row a pair whose loss is the mean of its step's pairs; a row a
logging step with means over batches (TRL's ``loss``, ``rewards/margins``, ``rewards/accuracies``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.estimation.identify import Pairs
from gpo_analysis.estimation.log_sources import NEEDED, Source, rows_with_numbers
from gpo_analysis.estimation.log_tables import log_table, metric_of, scalars_of
from gpo_analysis.estimation.logs import _ALIASES
from gpo_analysis.reading import Row, Table, is_blank, number_in

_LOSS = ("loss", "train_loss", "loss/train", "train/loss")
_MARGIN = ("margin", "margins", "reward_margin", "rho", "z")
_MEAN_MARGIN = ("rewards/margins", "train/rewards/margins", "rewards_train/margins")
_APART = (
    ("chosen_logratio", "rejected_logratio"), ("chosen_logratios", "rejected_logratios"),
    ("chosen_log_ratio", "rejected_log_ratio"), ("chosen_reward", "rejected_reward"),
    ("chosen_rewards", "rejected_rewards"), ("reward_chosen", "reward_rejected"),
)  # fmt: skip
_MEANS_APART = (
    ("rewards/chosen", "rewards/rejected"), ("train/rewards/chosen", "train/rewards/rejected"),
    ("rewards_train/chosen", "rewards_train/rejected"),
)  # fmt: skip
_LABEL = "soft_label"
_ACCURACY = ("rewards/accuracies", "train/rewards/accuracies", "rewards_train/accuracies")
ACCEPTED = (
    "a column loss, and either policy_chosen, policy_rejected, reference_chosen, reference_rejected (with "
    "chosen_length and rejected_length, where token means are to be told from sums), or chosen_logratio and "
    "rejected_logratio, or chosen_reward and rejected_reward (β log π/πref of a pair), or margin (βρ or ρ of a pair), "
    "or rewards/margins, rewards/chosen, rewards/rejected (means over batches, as TRL logs them, with "
    "rewards/accuracies where there are any)"
)


@dataclass(frozen=True, eq=False)
class Apart:
    """What was logged of the two responses of each row, or of the batch that it is the mean of; shapes (k,).

    Attributes
    ----------
    chosen, rejected : array
        log π/πref, or β times it.
    chosen_noise, rejected_noise : array
        Standard deviation of what rounding did to them.
    policy, policy_noise : array, or None
        log π of the chosen response, nats, where it was logged.
    """

    chosen: FloatArray
    rejected: FloatArray
    chosen_noise: FloatArray
    rejected_noise: FloatArray
    policy: FloatArray | None = None
    policy_noise: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class LossLog:
    """Losses beside what they are losses of.

    Attributes
    ----------
    pairs : Pairs
        Of each row. Where only margins were logged they stand as the chosen's log-ratio, the rejected's being 0.
    noise : array, shape (k,)
        Standard deviation of what rounding did to the ρ of each row.
    group : array, shape (k,)
        The entry of `loss` that each row belongs to.
    loss : array, shape (m,)
        The mean loss of the rows of a group.
    loss_noise : array, shape (m,)
        Standard deviation of what rounding did to it.
    coarse : bool
        Whether the losses were rounded to bfloat16, so that the margin was on the way.
    of : str
        "log-ratios", "logged log-ratios", "logged margins" or "logged rewards": what β multiplies.
    means : bool
        Whether a row is a mean over a batch whose pairs were not logged.
    accuracy : array, shape (k,), or None
        Shares of pairs with positive margin, in a log of means.
    apart : Apart or None
        The two log-ratios, where they were logged.
    label : array, shape (k,), or None
        p of each pair, where labels were soft: its loss is p f(z) + (1 − p) f(−z).
    """

    pairs: Pairs
    noise: FloatArray
    group: IntArray
    loss: FloatArray
    loss_noise: FloatArray
    coarse: bool
    of: str
    means: bool = False
    accuracy: FloatArray | None = None
    apart: Apart | None = None
    label: FloatArray | None = None


def rounding(values: FloatArray) -> tuple[FloatArray, bool]:
    """Standard deviation of the rounding that a column shows, shape (k,), and whether it is that of bfloat16.

    Examples
    --------
    >>> rounding(np.array([0.6931, 0.5012]))[0].round(7)
    array([2.89e-05, 2.89e-05])
    >>> rounding(np.array([5.96875, 0.265625, -0.53125]))[1], rounding(np.arange(-900.0, -700.0, 4.0))[1]
    (True, True)
    >>> rounding(np.arange(-900.0, -700.0, 3.0))[1]
    False
    """
    with np.errstate(over="ignore"):  # what single precision does not hold is not rounded to it
        single = values.astype(np.float32)
    size = np.maximum(np.abs(values), 1e-30)
    bits = single.view(np.uint32) & 0xFFFF
    # of whole numbers those beyond 256 tell: bfloat16 has steps of 2 and more there, eight others would have an odd one
    telling = np.any(values != np.round(values)) or np.sum(size >= 256) >= 8
    if np.all(single == values) and not bits.any() and telling:
        return np.exp2(np.floor(np.log2(size)) - 7) / np.sqrt(12), True
    for digits in range(1, 9):
        if np.all(np.abs(np.round(values, digits) - values) <= 1e-12 * (1 + size)):
            return np.full(len(values), 10.0**-digits / np.sqrt(12)), False
    return 1e-6 * size, False


def loss_log(columns: Mapping[str, FloatArray]) -> LossLog:
    """From columns of one length; names as :func:`read_loss_log` takes them.

    Parameters
    ----------
    columns : mapping of str to array, shape (k,)

    Raises
    ------
    ValueError
        Where the loss or what it is a loss of is missing.
    """
    named = {_ALIASES.get(key, key): np.asarray(values, dtype=np.float64) for key, values in columns.items()}
    loss = _first(named, _LOSS)
    if loss is None:
        raise ValueError(f"no loss among the columns {', '.join(columns)!r:.200}; accepted are {ACCEPTED}")
    step = named.get("step")
    if set(NEEDED) <= set(named):
        policy, reference = (
            [named[f"{who}_{which}"] for which in ("chosen", "rejected")] for who in ("policy", "reference")
        )
        lengths = [named.get("chosen_length"), named.get("rejected_length")]
        if (lengths[0] is None) != (lengths[1] is None):
            raise ValueError("chosen_length and rejected_length go together: give both or none")
        pairs = Pairs(policy[0] - reference[0], policy[1] - reference[1], *lengths)
        sizes = [rounding(column)[0] for column in (*policy, *reference)]
        apart = Apart(
            pairs.chosen,
            pairs.rejected,
            np.hypot(sizes[0], sizes[2]),
            np.hypot(sizes[1], sizes[3]),
            policy[0],
            sizes[0],
        )
        noise = np.sqrt(sum(size**2 for size in sizes))
        return _grouped(pairs, noise, loss, step, "log-ratios", apart, _labels(named))
    accuracy = _first(named, _ACCURACY)
    means = _first(named, _MEAN_MARGIN)
    single = accuracy is not None and bool(np.isin(accuracy, (0.0, 1.0)).all())
    margins = _first(named, _MARGIN) if means is None or single else None
    both = _both(named, _APART) if means is None or single else None
    of_means = _both(named, _MEANS_APART)
    if means is None and of_means is not None:
        means = of_means.chosen - of_means.rejected
    if margins is None and single:
        margins = means
    if both is None and single:
        both = of_means
    if margins is not None or both is not None:
        if both is not None and margins is not None and not _parts_of(both, margins):
            both = None  # rewards of something else, such as a reward model
        if both is not None:
            of = "logged log-ratios" if any(set(names) <= set(named) for names in _APART[:3]) else "logged rewards"
            pairs = Pairs(both.chosen, both.rejected)
            return _grouped(pairs, np.hypot(both.chosen_noise, both.rejected_noise), loss, step, of, both)
        assert margins is not None
        pairs = Pairs(margins, np.zeros_like(margins))
        return _grouped(pairs, rounding(margins)[0], loss, step, "logged margins")
    if means is None:
        raise ValueError(f"no margins or log-probabilities among {', '.join(columns)!r:.200}; accepted are {ACCEPTED}")
    sizes_of_loss, coarse = rounding(loss)
    pairs, noise = Pairs(means, np.zeros_like(means)), rounding(means)[0]
    apart_means = of_means if of_means is not None and _parts_of(of_means, means) else None
    return LossLog(
        pairs, noise, np.arange(len(loss)), loss, sizes_of_loss, coarse, "logged margins", means=True,
        accuracy=accuracy, apart=apart_means,
    )  # fmt: skip


def _both(named: Mapping[str, FloatArray], names: tuple[tuple[str, str], ...]) -> Apart | None:
    for chosen, rejected in names:
        if chosen in named and rejected in named:
            sides = named[chosen], named[rejected]
            return Apart(*sides, rounding(sides[0])[0], rounding(sides[1])[0])
    return None


def _parts_of(apart: Apart, margins: FloatArray) -> bool:
    """Whether the margins logged are the difference of these two, up to a factor above 0 and rounding."""
    difference = apart.chosen - apart.rejected
    factor = float(difference @ margins) / max(float(difference @ difference), 1e-300)
    rounded = factor * (np.abs(apart.chosen) + np.abs(apart.rejected)) + np.abs(margins)
    noise = factor * (apart.chosen_noise + apart.rejected_noise) + rounding(margins)[0]
    return factor > 0 and bool(np.all(np.abs(factor * difference - margins) <= 4 * noise + 2.0**-7 * rounded))


def _first(named: Mapping[str, FloatArray], names: tuple[str, ...]) -> FloatArray | None:
    return next((named[name] for name in names if name in named), None)


def _labels(named: Mapping[str, FloatArray]) -> FloatArray | None:
    label = named.get(_LABEL)
    if label is None or (label == 1).all():
        return None
    if not ((label >= 0) & (label <= 1)).all():
        raise ValueError(f"{_LABEL} is {label[(label < 0) | (label > 1)][0]:g}; accepted are numbers from 0 to 1")
    return label


def _grouped(
    pairs: Pairs,
    noise: FloatArray,
    loss: FloatArray,
    step: FloatArray | None,
    of: str,
    apart: Apart | None = None,
    label: FloatArray | None = None,
) -> LossLog:
    """One loss a row, unless the rows of every step share theirs: then it is the mean of that step's pairs."""
    group = np.arange(len(loss))
    if step is not None:
        _, first, of_step, counts = np.unique(step, return_index=True, return_inverse=True, return_counts=True)
        if counts.max() > 1 and np.all(loss == loss[first][of_step]) and counts.min() > 1:
            group, loss = of_step.reshape(-1), loss[first]
    sizes, coarse = rounding(loss)
    return LossLog(pairs, noise, group.astype(np.int64), loss, sizes, coarse, of, apart=apart, label=label)


def read_loss_log(path: Source, *, columns: Mapping[str, str] | None = None) -> LossLog:
    """Read CSV, JSON lines, a JSON array, or a trainer's state with its ``log_history``.

    Parameters
    ----------
    path : str or Path, DataFrame, mapping of columns, or list of rows
        Columns: a loss (``loss``, ``train_loss``, …) and the four log-probabilities that
        :func:`gpo_analysis.estimation.read_training_log` takes, or two log-ratios or rewards, or ``margin``, or
        ``rewards/margins`` of batches. Rows without any of them (evaluations, a last summary) are passed over; rows
        that lack some, or where one is infinite or NaN, are left out with a warning.
    columns : mapping of str to str, optional
        From these names to the log's own: ``{"policy_chosen": "pi_w"}``.

    Raises
    ------
    ValueError
        Naming the file and what is accepted.
    OSError
        Where the file cannot be opened.
    """
    table = scalars_of(log_table(path, lambda own: bool({"loss", *_LOSS} & set(own)), ACCEPTED, columns))
    if not table.rows:
        raise ValueError(f"{table.path} holds no rows; accepted are {ACCEPTED}")
    rows = _of_training(table)
    used = (
        *_LOSS, *_MARGIN, *_MEAN_MARGIN, *_ACCURACY, "chosen_length", "rejected_length", "step", *NEEDED,
        _LABEL, *(name for names in (*_APART, *_MEANS_APART) for name in names),
    )  # fmt: skip
    known = {key for row in rows for key in row.values if _ALIASES.get(key, key) in used}
    loss = next((name for name in _LOSS if name in known), None)
    wanted = [
        *(key for key in known if _ALIASES.get(key, key) in NEEDED),
        *(n for n in (*_MARGIN, *_MEAN_MARGIN) if n in known),
    ]
    if not wanted:
        wanted = [name for names in (*_APART, *_MEANS_APART) if set(names) <= known for name in names]
    if loss is None or not wanted:
        raise ValueError(f"{table.path}: no {_lacking(loss, known)} in it; accepted are {ACCEPTED}")
    if _LABEL in known:  # rows without one have a hard label
        rows = [Row(r.line, {**r.values, _LABEL: 1.0} if is_blank(r.values.get(_LABEL)) else r.values) for r in rows]
    whole = _with_numbers(table, rows, (loss, *wanted))
    if not whole:
        raise ValueError(f"{table.path}: no row has both {loss} and {', '.join(wanted)}; accepted are {ACCEPTED}")
    keys = [key for key in known if not any(is_blank(row.values.get(key)) for row in whole)]
    numbers = {key: np.array([number_in(row.values[key], key, table.where(row.line)) for row in whole]) for key in keys}
    for key, least in (("chosen_length", 1.0), ("rejected_length", 1.0)):
        for name, values in numbers.items():
            if _ALIASES.get(name, name) == key and values.min() < least:
                raise ValueError(f"{table.path}: {name} is {values.min():g}; accepted are numbers of at least 1")
    if len(whole) < 8:
        raise ValueError(f"{table.path} has {len(whole)} rows with a loss and margins; an audit needs at least 8")
    try:
        return loss_log(numbers)
    except ValueError as error:
        raise ValueError(f"{table.path}: {error}") from None


def _lacking(loss: str | None, known: set[str]) -> str:
    """What a log without a loss, or without margins, lacks, and where the loss of such a run usually is."""
    if loss is not None:
        return "margins"
    if {_ALIASES.get(key, key) for key in known} >= set(NEEDED):
        return "loss of the pairs (the trainer's state, trainer_state.json, or its folder of events has means of them)"
    return "loss"


def _with_numbers(table: Table, rows: list[Row], keys: Sequence[str]) -> list[Row]:
    """Rows that have all of these as numbers that float32 holds, in which losses are computed; others are counted."""
    whole, broken = rows_with_numbers(rows, keys, float(np.finfo(np.float32).max))
    if broken and whole:
        count = f"{len(broken)} of {len(whole) + len(broken)} rows"
        left = f"{count} have an infinite loss or margin, or none that is a number"
        warnings.warn(f"{table.where(broken[0].line)}: {left}; left out", stacklevel=3)
    return whole


def _of_training(table: Table) -> list[Row]:
    """Rows by TRL's names, where a W&B export has a run's name before them."""
    known = {column: metric_of(column) for column in table.columns if " - " in column}
    named = {column: found[0] for column, found in known.items() if found is not None and found[1] == "train"}
    return [Row(r.line, {named.get(key, key): value for key, value in r.values.items()}) for r in table.rows]
