"""What is trained, on what, how: the one configuration of ``python -m llm train``, from options, a file or both."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from gpo_analysis.losses import MarginLoss, refuse_repeated
from gpo_analysis.losses.lookup import get_margin_loss
from gpo_analysis.reading import in_short, is_finite, setting_of, settings_in
from llm.own.tokens import FORMATS
from llm.training.cells import DIVERGENCES

DTYPES = ("float32", "bfloat16")
REQUIRED = ("model", "pairs", "out")
AUTO = "auto"
WITHOUT_ZERO = ("lora_alpha", "lr", "steps", "epochs", "record_steps", "save_steps")
"""Fields whose 0 stands for their default; as an option 0 is no value of them."""
USUAL_SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")
"""Those that are known without loading transformers, which takes seconds."""


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TuningConfig:
    """A run, or a sweep of several losses, β or seeds.

    Every field is an option of the command line and a key of its file; `help` of each says what it is.
    """

    model: str = _option("", "folder or hub name of a causal language model; it is πref too")
    pairs: str = _option("", "file of preference pairs: JSON lines, a JSON array or CSV, plain or .gz")
    out: str = _option("", "folder for all that is written")
    loss: tuple[str, ...] = _option(("logistic",), "f: names or expressions in z; several are a sweep")
    beta: tuple[float, ...] = _option((), "β of f(βρ); several are a sweep (default: 0.1)")
    strength: tuple[float, ...] = _option((), "βκ in place of β, κ = f″(0)/|f′(0)|; β itself where κ is 0")
    seed: tuple[int, ...] = _option((0,), "seed of the order and of adapters; several are a sweep")
    reduction: str = _option("sum", "'sum' over tokens as in the paper, or 'mean', another objective")
    link: str = _option("reverse_kl", f"divergence of the log-ratio's place: {', '.join(DIVERGENCES)}")
    lora: int = _option(0, "rank of LoRA adapters on all linear layers; 0 trains all parameters")
    lora_alpha: float = _option(0.0, "adapters are scaled by alpha / rank (default: twice the rank)")
    lr: float = _option(0.0, "learning rate (default: 1e-6, with --lora 1e-4)")
    schedule: str = _option("linear", "learning-rate schedule of transformers: linear, cosine, constant, …")
    warmup: int = _option(0, "steps over which the learning rate rises")
    steps: int = _option(0, "steps of the optimiser (default: as many as --epochs takes)")
    epochs: float = _option(0.0, "passes over the pairs (default: 1)")
    batch: int = _option(8, "pairs a step")
    accumulation: int = _option(1, "parts a batch is computed in, to save memory")
    weight_decay: float = _option(0.0, "decoupled")
    max_grad_norm: float = _option(1.0, "gradients are clipped to this norm")
    format: str = _option("auto", "auto: messages by the chat template, texts as they stand; chat; text")
    max_length: int = _option(1024, "pairs of more tokens are left out, and counted")
    held_out: float = _option(0.0, "share of the prompts that are not trained on and measured at the end")
    sft_steps: int = _option(0, "steps of fine-tuning on the better responses before; πref is what they make")
    sft_lr: float = _option(1e-5, "learning rate of that fine-tuning")
    record_steps: int = _option(0, "steps between two records of log.jsonl (default: a quarter of the run)")
    record_pairs: int = _option(512, "pairs recorded in log.jsonl")
    kl_prompts: int = _option(64, "prompts the KL is measured on at the end; 0 for none, which saves πref's memory")
    kl_max_new_tokens: int = _option(256, "where responses sampled for the KL are cut")
    save_steps: int = _option(0, "steps between checkpoints (default: a tenth of the run, at least 10)")
    report_to: tuple[str, ...] = _option(
        (AUTO,), "trackers by transformers' names, or none (default: tensorboard where it is installed)"
    )
    dtype: str = _option("float32", "float32, or bfloat16 by autocast")
    device: str = _option("", "cpu or cuda (default: a GPU where there is one)")
    gradient_checkpointing: bool = _option(False, "saves memory, takes a third more time")

    def __post_init__(self) -> None:
        for name in REQUIRED:
            if not getattr(self, name):
                raise ValueError(f"{name} is missing; accepted is {self.help(name)}")
        for name in ("loss", "seed", "report_to"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty; accepted is at least one")
        if self.beta and self.strength:
            raise ValueError(f"beta {self.beta} and strength {self.strength} are both given; accepted is one of them")
        for text in self.loss:
            get_margin_loss(text)
        refuse_repeated(self.loss, "loss")
        least = {
            "lora": 0, "lora_alpha": 0, "lr": 0, "warmup": 0, "steps": 0, "epochs": 0, "batch": 1, "accumulation": 1,
            "weight_decay": 0, "max_length": 2, "held_out": 0, "sft_steps": 0, "record_steps": 0, "record_pairs": 1,
            "kl_prompts": 0, "kl_max_new_tokens": 1, "save_steps": 0,
        }  # fmt: skip
        for name, low in least.items():
            if not (getattr(self, name) >= low and is_finite(getattr(self, name))):
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is a finite number, {low} or more")
        for name in ("beta", "strength", "max_grad_norm", "sft_lr"):
            values = getattr(self, name)
            for value in values if isinstance(values, tuple) else (values,):
                if not (value > 0 and is_finite(value)):
                    raise ValueError(f"{name} is {value}; accepted is a finite number above 0")
        if self.steps and self.epochs:
            raise ValueError(f"steps {self.steps} and epochs {self.epochs} are both given; accepted is one of them")
        if self.batch % self.accumulation:
            raise ValueError(f"accumulation is {self.accumulation}; it must divide batch, {self.batch}")
        if self.held_out >= 1 or any(seed < 0 for seed in self.seed):
            raise ValueError(f"held_out {self.held_out}, seed {self.seed}; accepted are below 1, and 0 or more")
        accepted = {"reduction": ("sum", "mean"), "link": DIVERGENCES, "format": FORMATS, "dtype": DTYPES}
        schedules = USUAL_SCHEDULES if self.schedule in USUAL_SCHEDULES else _schedules()
        for name, names in {**accepted, "device": ("", "cpu", "cuda"), "schedule": schedules}.items():
            if getattr(self, name) not in names:
                raise ValueError(f"{name} is {getattr(self, name)!r}; accepted are {', '.join(filter(None, names))}")
        if len({cell.folder for cell in self.cells}) < len(self.cells):
            raise ValueError("a loss at one β and seed stands twice in the sweep")

    @classmethod
    def help(cls, name: str) -> str:
        """What a field is."""
        return str(next(f.metadata["help"] for f in fields(cls) if f.name == name))

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.lr or (1e-4 if self.lora else 1e-6)

    @property
    def cells(self) -> tuple[TuningCell, ...]:
        """What is trained, one after another."""
        found = []
        for seed in self.seed:
            for text in self.loss:
                loss = get_margin_loss(text)
                betas = [loss.beta_of(s) for s in self.strength] if self.strength else self.beta or (0.1,)
                found += [TuningCell(text, float(beta), seed) for beta in betas]
        return tuple(found)

    def decisive(self) -> dict[str, Any]:
        """The settings that decide a cell's numbers, but the data's and the model's own content."""
        left = ("model", "pairs", "out", "loss", "beta", "strength", "seed", "save_steps", "report_to")
        return {k: v for k, v in asdict(self).items() if k not in left}


@dataclass(frozen=True)
class TuningCell:
    """One policy: its loss, β and seed.

    Attributes
    ----------
    loss : str
        A name, or an expression in z.
    beta : float
    seed : int
    """

    loss: str
    beta: float
    seed: int

    @property
    def margin_loss(self) -> MarginLoss:
        """f."""
        return get_margin_loss(self.loss)

    @property
    def strength(self) -> float | None:
        """βκ; None where κ is 0 or not defined, as for hinge."""
        try:
            kappa = float(self.margin_loss.curvature_ratio)
        except ValueError:
            return None
        return float(f"{self.beta * kappa:.12g}") if kappa > 0 else None

    @property
    def folder(self) -> str:
        """A name for files: readable, and its own where the loss is an expression."""
        word = re.sub(r"[^A-Za-z0-9]+", "_", self.loss).strip("_")[:40]
        if word != self.loss:
            word += "-" + hashlib.sha256(self.loss.encode()).hexdigest()[:6]
        return f"{word}-beta{self.beta:.12g}-seed{self.seed}"


def read_config(path: str | Path) -> dict[str, Any]:
    """Return the fields that a YAML or TOML file sets, with the values' types.

    Raises
    ------
    ValueError
        For another kind of file, an unknown key (naming the nearest one), or a value of another type.
    FileNotFoundError
        Where there is none.
    """
    return typed({key.replace("-", "_"): value for key, value in settings_in(path, "options").items()}, str(path))


def typed(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values as the fields' types; a ValueError names the place, the key and what is accepted."""
    known = {f.name: f for f in fields(TuningConfig)}
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{where}: unknown option {in_short(name)}{hint} (accepted are {', '.join(known)})")
        default = known[name].default
        assert default is not MISSING
        several = isinstance(default, tuple)
        one = {"beta": float, "strength": float, "seed": int}.get(name, str) if several else type(default)
        items = value if several and isinstance(value, list | tuple) else [value]
        made = [setting_of(one, item, f"{where}: {name}") for item in items]
        if name in WITHOUT_ZERO and made == [0]:
            raise ValueError(f"{where}: {name} is 0; accepted is more, or to leave it out ({TuningConfig.help(name)})")
        found[name] = tuple(made) if several else made[0]
    return found


def _schedules() -> tuple[str, ...]:
    from transformers import SchedulerType

    return tuple(kind.value for kind in SchedulerType)


def described(cell: TuningCell, config: TuningConfig) -> dict[str, Any]:
    """A cell with the settings that decide its numbers, as plain JSON."""
    found: dict[str, Any] = json.loads(json.dumps({**asdict(cell), **config.decisive()}))
    return found
