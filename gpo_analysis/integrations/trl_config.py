"""The configuration of `GPOTrainer`: DPOConfig with the loss, the link and what is measured as fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

try:
    from trl import DPOConfig  # type: ignore[attr-defined]
except ImportError as error:  # pragma: no cover - what a user without the extra sees
    raise ImportError(f"GPOConfig needs TRL 1.16 (pip install 'gpo-analysis[trl]'): {error}") from error

from gpo_analysis.integrations.objective import DIVERGENCES, Objective
from gpo_analysis.losses import BatchLoss, MarginLoss, TwoRatioLoss, get_batch_loss
from gpo_analysis.losses.lookup import get_loss
from gpo_analysis.reading import is_finite

# what DPOConfig offers that would make the objective another one than loss=, with the value that leaves it alone
_OTHER_OBJECTIVES: dict[str, tuple[Any, str]] = {
    "loss_type": (["sigmoid"], "name the loss by loss="),
    "loss_weights": (None, "give gpo_analysis.losses.mixture([(weight, loss), …]) as loss="),
    "label_smoothing": (0.0, "give loss.smoothed(ε) or loss.robust(ε) as loss="),
    "f_divergence_type": ("reverse_kl", "give the divergence by link="),
}
_Base: Any = DPOConfig


@dataclass
class GPOConfig(_Base):  # type: ignore[misc]
    """DPOConfig with the fields of `GPOTrainer`, so that a command line or a file can set them.

    Parameters
    ----------
    loss : str
        A loss's name, or an expression in z or in a and b.
    reduction : {"sum", "mean"}
        Whether ρ sums over tokens or is of token means.
    link : str
        The divergence whose generator derivative takes the place of the logarithm.
    kl_prompts, kl_max_new_tokens : int, optional
        How much is sampled for the KL divergence; see `GPOTrainer`.
    pair_log : str, optional
        File for a log of pairs that ``gpo diagnose`` reads: log-probabilities of the same pairs at the start, every
        ``pair_log_steps`` steps and at the end.
    pair_log_steps, pair_log_pairs : int
        Steps between two records (0: start and end alone), and how many pairs of the training set are recorded.
    """

    loss: str = field(default="logistic", metadata={"help": "The loss: a name, or an expression in z, or in a and b."})
    reduction: str = field(default="sum", metadata={"help": "'sum' over tokens as in the paper, or 'mean'."})
    link: str = field(
        default="reverse_kl", metadata={"help": f"Divergence of the log-ratio's place: {', '.join(DIVERGENCES)}."}
    )
    kl_prompts: int | None = field(default=None, metadata={"help": "Prompts the KL is measured on; 0 for none."})
    kl_max_new_tokens: int = field(default=256, metadata={"help": "Where responses sampled for the KL are cut."})
    pair_log: str | None = field(default=None, metadata={"help": "File for a log that gpo diagnose reads."})
    pair_log_steps: int = field(default=0, metadata={"help": "Steps between two records of the log; 0: none between."})
    pair_log_pairs: int = field(default=512, metadata={"help": "Pairs of the training set that are recorded."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pair_log_steps < 0 or self.pair_log_pairs < 1:
            raise ValueError(
                f"pair_log_steps {self.pair_log_steps}, pair_log_pairs {self.pair_log_pairs}; accepted are ≥ 0, ≥ 1"
            )
        settings_of(self, Settings())


class Settings(NamedTuple):
    """What `GPOTrainer` is told beside a DPOConfig; None where nothing is said.

    Attributes
    ----------
    loss : str, MarginLoss, TwoRatioLoss or BatchLoss, optional
    reduction, link : str, optional
    kl_prompts, kl_max_new_tokens : int, optional
    """

    loss: str | Objective | None = None
    reduction: str | None = None
    link: str | None = None
    kl_prompts: int | None = None
    kl_max_new_tokens: int | None = None

    @property
    def objective(self) -> Objective:
        """f of the margin, F of two log-ratios, or the loss of a batch."""
        loss = "logistic" if self.loss is None else self.loss
        if not isinstance(loss, str):
            return loss
        if loss.strip().lower().replace("-", "_") in ("aot", "aot_unpaired"):
            return get_batch_loss(loss)
        found: Objective = get_loss(loss)
        return found


def settings_of(args: Any, given: Settings) -> Settings:
    """What holds: arguments of the trainer, else fields of its configuration, else defaults; checked.

    Raises
    ------
    ValueError
        For an unknown name, a number out of range, a loss, reduction or link that is given twice and differently, or a
        configuration of another objective (`refuse_other_objectives`).
    """
    config = args if isinstance(args, GPOConfig) else None
    defaults = {"loss": "logistic", "reduction": "sum", "link": "reverse_kl", "kl_max_new_tokens": 256}
    held: dict[str, Any] = {}
    for name in Settings._fields:
        mine, theirs = getattr(given, name), getattr(config, name, None)
        default = defaults.get(name)
        if mine is not None and theirs not in (None, default) and mine != theirs:
            raise ValueError(f"{name} is {mine!r} and {theirs!r} in args; give one of them")
        held[name] = mine if mine is not None else theirs if theirs is not None else default
    found = Settings(**held)
    objective = found.objective
    if not isinstance(objective, MarginLoss | TwoRatioLoss | BatchLoss):
        raise ValueError(
            f"loss is a {type(found.loss).__name__}; accepted are a name, an expression, a MarginLoss, a TwoRatioLoss "
            "and a BatchLoss"
        )
    if found.reduction not in ("sum", "mean"):
        raise ValueError(f"reduction {found.reduction!r}; accepted are 'sum' and 'mean'")
    if found.link not in DIVERGENCES:
        raise ValueError(f"link {found.link!r}; accepted are {', '.join(DIVERGENCES)}")
    if int(found.kl_max_new_tokens or 0) < 1 or (found.kl_prompts is not None and found.kl_prompts < 0):
        raise ValueError(
            f"kl_max_new_tokens {found.kl_max_new_tokens}, kl_prompts {found.kl_prompts}; accepted are ≥ 1, ≥ 0"
        )
    if not isinstance(objective, MarginLoss) and found.link != "reverse_kl":
        raise ValueError(
            f"link {found.link!r} with {objective.name}: its term β log Z cancels in margins alone; accepted is "
            "'reverse_kl'"
        )
    if isinstance(objective, BatchLoss):
        if found.reduction != "sum":
            raise ValueError(f"reduction {found.reduction!r} with {objective.name}; accepted is 'sum'")
        if getattr(args, "use_weighting", False):
            raise ValueError(
                f"use_weighting with {objective.name}, which sorts the batch: weights of pairs have no place"
            )
    if args is not None:
        refuse_other_objectives(args)
    return found


def refuse_other_objectives(args: Any) -> None:
    """Raise ValueError where a DPOConfig asks for another objective than the mean of ``loss``."""
    for name, (neutral, advice) in _OTHER_OBJECTIVES.items():
        value = getattr(args, name, neutral)
        if value != neutral:
            raise ValueError(f"{name}={value!r} in args makes another objective than the mean of loss=: {advice}")
    if not args.beta > 0 or not is_finite(args.beta):
        raise ValueError(f"beta is {args.beta}; accepted are finite numbers above 0")
